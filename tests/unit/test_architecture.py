"""docs/architecture.md shows the rooms that there are; modules and functions stay small."""

import ast
import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "provisioner", "db")
LONGEST_MODULE = 300
LONGEST_FUNCTION = 60


def sources() -> list[Path]:
    """Return the project's own Python files, as git knows them; all of them where there is no git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode == 0 and listed.stdout:
        return [PROJECT / line for line in listed.stdout.splitlines() if (PROJECT / line).exists()]
    folders = (*PACKAGES, "alembic", "tests", "docs")
    return [file for folder in folders for file in sorted((PROJECT / folder).rglob("*.py"))]


def test_the_picture_shows_every_room_and_no_other() -> None:
    picture = (PROJECT / "docs" / "architecture.md").read_text().split("```mermaid")[1].split("```")[0]
    drawn = {match[1] for match in re.finditer(r'\["((?:api|db|provisioner)/\w+)<br/>', picture)}
    rooms = {
        folder.relative_to(PROJECT).as_posix()
        for package in PACKAGES
        for folder in (PROJECT / package).iterdir()
        if (folder / "__init__.py").is_file()
    }
    assert drawn == rooms


def test_every_room_says_what_it_is() -> None:
    glossary = (PROJECT / "docs" / "architecture.md").read_text()
    for package in PACKAGES:
        for file in (PROJECT / package).rglob("__init__.py"):
            assert ast.get_docstring(ast.parse(file.read_text())), file
            assert file.parent.parent.name == "local" or file.parent.name in glossary, file


def test_modules_and_functions_are_small() -> None:
    found = []
    for file in sources():
        text = file.read_text()
        tree = ast.parse(text)
        lines, reason = text.count("\n"), "one file" in (ast.get_docstring(tree) or "")
        if lines > LONGEST_MODULE and not reason:  # why it is longer stands in its first lines
            found.append(f"{file.relative_to(PROJECT)}: {lines} lines")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    found.append(f"{file.relative_to(PROJECT)}: {node.name}: {length} lines")
    assert found == []
