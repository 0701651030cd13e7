"""The pages name the rooms and modules that exist, all of them; modules and functions stay small."""

import ast
import itertools
import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("api", "provisioner", "db")
LONGEST_MODULE = 300
LONGEST_FUNCTION = 60
REASON = "Longer than other modules: "
"""What a module says in its first lines if it is."""


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


def page(name: str) -> str:
    return (PROJECT / "docs" / name).read_text()


def table(text: str, heading: str) -> set[str]:
    """Return the code names in the first column of the first table after a heading."""
    lines = text[text.index(heading) :].splitlines()
    rows = itertools.dropwhile(lambda line: not line.startswith("|"), lines)
    cells = [row.split("|")[1] for row in itertools.takewhile(lambda line: line.startswith("|"), rows)]
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def rooms() -> set[str]:
    """Return all packages below the three, nested ones too."""
    found = [file.parent for package in PACKAGES for file in (PROJECT / package).rglob("__init__.py")]
    return {folder.relative_to(PROJECT).as_posix() for folder in found} - set(PACKAGES)


def test_the_picture_shows_every_room_and_no_other() -> None:
    picture = page("architecture.md").split("```mermaid")[1].split("```")[0]
    drawn = {match[1] for match in re.finditer(r'\["((?:api|db|provisioner)/\w+)<br/>', picture)}
    assert drawn == {room for room in rooms() if room.count("/") == 1}


def test_the_glossary_has_every_room_and_no_other() -> None:
    listed = table(page("glossary.md"), "## Rooms")
    assert {name for name in listed if not name.endswith(".py")} == rooms()
    assert [name for name in listed if not (PROJECT / name).exists()] == []


def test_every_room_says_what_it_is() -> None:
    for room in rooms():
        file = PROJECT / room / "__init__.py"
        assert ast.get_docstring(ast.parse(file.read_text())), file


def test_every_module_beside_the_rooms_is_listed_and_no_other() -> None:
    modules = {
        file.relative_to(PROJECT).as_posix()
        for package in PACKAGES
        for file in (PROJECT / package).glob("*.py")
        if file.name != "__init__.py"
    }
    assert table(page("architecture.md"), "Single modules beside the rooms") == modules


def test_the_participants_of_the_sequences_exist() -> None:
    participants = re.findall(r"^ *participant \w+ as (.+)$", page("architecture.md"), re.MULTILINE)
    paths = [word for name in participants for word in name.split() if "/" in word]
    assert paths
    found = {path: (PROJECT / f"{path}.py").is_file() or path in rooms() for path in paths}
    assert [path for path, exists in found.items() if not exists] == []


def test_modules_and_functions_are_small() -> None:
    found = []
    for file in sources():
        text = file.read_text()
        lines = text.count("\n")
        if lines > LONGEST_MODULE and REASON not in text[:300]:
            found.append(f"{file.relative_to(PROJECT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > LONGEST_FUNCTION:
                    found.append(f"{file.relative_to(PROJECT)}: {node.name}: {length} lines")
    assert found == []
