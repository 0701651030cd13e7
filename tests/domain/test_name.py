"""The example's name stands in its own rooms only, so that nothing of it is left once it is replaced."""

import re

from tests.unit.test_architecture import PROJECT, sources

NAME = re.compile(r"(?i:(?<![a-z])to[-_ ]?dos?(?![a-z]))|Todos?(?=[A-Z])")
ROOMS = ("db/domain.py", "api/domain/", "tests/domain/", "tests/benchmarks/", "alembic/versions/tenant/")


def test_the_examples_name_stands_in_its_own_rooms_only() -> None:
    found = []
    for file in sources():
        path = file.relative_to(PROJECT).as_posix()
        if not path.startswith(ROOMS):
            lines = enumerate(file.read_text().splitlines(), 1)
            found += [f"{path}:{number}: {line.strip()}" for number, line in lines if NAME.search(line)]
    assert found == []


def test_every_spelling_is_known() -> None:
    for text in ("todo", "Todos", "to-do", "TO_DO", "to dos", "TodoIn", "first_todo", "todo_id", "my_todos"):
        assert NAME.search(text), text
    for text in ("to document", "into double", "protodome", "to down"):
        assert not NAME.search(text), text
