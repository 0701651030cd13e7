"""docs/threats.md names a test for each threat; those tests exist."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "threats.md"
NAMED = re.compile(r"`((?:unit|integration|faults|e2e)/\w+\.py)::(\w+)`")


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_threat_has_a_test_that_exists() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 28))
    for row in rows:
        assert NAMED.search(row), row
    for file, name in NAMED.findall(PAGE.read_text()):
        assert name in functions(TESTS / file), f"{file}::{name}"
