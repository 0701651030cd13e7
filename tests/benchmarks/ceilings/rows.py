"""The rows of one fixed schema: the statements of the ceilings, and a struct with the table's columns."""

import os
from typing import Any

import msgspec

import db.domain  # noqa: F401 - so that the tables are known
from db.models.base import Base
from db.names import quoted
from tests.benchmarks.domain import BODY, TABLE

_COLUMNS = [column.name for column in Base.metadata.tables[TABLE].columns]
_TABLE = f"{quoted(os.environ['SCHEMA'])}.{quoted(TABLE)}"
_LIST = ", ".join(quoted(name) for name in _COLUMNS)

Row: Any = msgspec.defstruct("Row", [(name, Any) for name in _COLUMNS], frozen=True)
"""What the routes answer."""
Body: Any = msgspec.defstruct("Body", [(name, Any) for name in BODY], frozen=True)
"""What POST and PATCH take."""

READ = f"SELECT {_LIST} FROM {_TABLE} WHERE id = $1"
PAGE = f"SELECT {_LIST} FROM {_TABLE} ORDER BY id LIMIT $1"
ADD = (
    f"INSERT INTO {_TABLE} ({', '.join(quoted(name) for name in BODY)})"
    f" VALUES ({', '.join(f'${at}' for at in range(1, len(BODY) + 1))}) RETURNING {_LIST}"
)
CHANGE = (
    f"UPDATE {_TABLE} SET {', '.join(f'{quoted(name)} = ${at}' for at, name in enumerate(BODY, 2))}"
    f" WHERE id = $1 RETURNING {_LIST}"
)
