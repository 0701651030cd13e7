"""Fingerprints: hashes of schemas' structures, read from the catalog, to compare schemas by.

Equal are schemas of one revision on one version of PostgreSQL, whatever their names. What is in the catalog
outside the schema does not count, and neither does data: rows, statistics, where a sequence is.

The order of a table's columns does not count. A column that one path added and another created in place has
another number, and PostgreSQL cannot move it. SQL of the house names its columns.
"""

import hashlib
import re
from functools import lru_cache
from typing import Final

from db.migrations.catalog import COMMON, KINDS
from db.session.connection import Connection

_STRUCTURE: Final = f"WITH {COMMON}" + " UNION ALL ".join(
    f"SELECT '{kind}' AS kind, x.name, x.definition FROM ({sql}) AS x (name, definition)"
    for kind, sql in KINDS.items()
)

# The settings that change how PostgreSQL prints a definition. Only pg_catalog is in the path, so that all other
# names are printed with their schema, also to a login that has no right to use it. To compile the query would
# take longer than to run it.
_PRINTING: Final = """
SET LOCAL search_path TO pg_catalog, pg_temp;
SET LOCAL quote_all_identifiers TO off;
SET LOCAL TimeZone TO 'UTC';
SET LOCAL DateStyle TO 'ISO, YMD';
SET LOCAL IntervalStyle TO 'postgres';
SET LOCAL extra_float_digits TO 1;
SET LOCAL bytea_output TO 'hex';
SET LOCAL lc_monetary TO 'C';
SET LOCAL jit TO off
"""


@lru_cache(maxsize=64)
def _names(schema: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of a schema's name before a dot: in SQL, and within a ``regclass`` and its like.

    In SQL, the pattern also finds whole literals and other names, so that it never looks inside one.
    """
    bare, quoted = re.escape(schema), re.escape(schema.replace('"', '""'))
    name = rf'(?<![\w$.])(?:{bare}|"{quoted}")(?=\.)'
    literal = r"(?P<literal>'(?:[^']|'')*')(?P<type>::reg[a-z]+(?:\[\])?)?"
    return re.compile(rf"""{literal}|(?P<name>{name})|"(?:[^"]|"")*"|[^\W\d][\w$]*"""), re.compile(name)


def _nameless(definition: str, schema: str) -> str:
    """Return an object's definition with ``<tenant>`` in place of the schema's name.

    Literals stay what they are, unless PostgreSQL would print another name in them for another schema:
    those of type ``regclass``, ``regtype``, ``regnamespace`` and their like.
    """
    in_sql, in_literal = _names(schema)

    def replaced(found: re.Match[str]) -> str:
        if found["name"]:
            return "<tenant>"
        if not found["type"]:
            return found[0]
        whole = found["literal"] == f"'{schema}'" and found["type"] in {"::regnamespace", "::regrole"}
        literal = "'<tenant>'" if whole else in_literal.sub("<tenant>", found["literal"])
        return literal + found["type"]

    return in_sql.sub(replaced, definition)


def _line(kind: str, name: str, definition: str | None, schema: str) -> str:
    """Return an object as one line, whatever its name and definition hold."""
    text = f"{kind} {_nameless(name, schema)}: {_nameless(definition or '', schema)}"
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


async def structure(connection: Connection, schema: str) -> tuple[str, ...]:
    """Return a schema's structure: a line for each object, with ``<tenant>`` for the schema and its role.

    The schema's owner is ``<owner>``. Lines are sorted by code point, and have neither line feeds nor
    carriage returns. `db.migrations.catalog` has the kinds of objects.

    Args:
        connection: of any login; all may read the catalog. It may be in a transaction of asyncpg's (not in
            one that the text BEGIN started), and gets its settings back.
        schema: the schema's name.

    Raises:
        asyncpg.InvalidSchemaNameError: there is no such schema.
        asyncpg.PostgresError: an object was dropped while it was read.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(_PRINTING)
        rows = await connection.fetch(_STRUCTURE, schema)
    finally:
        # Not a commit: the settings would stay until the end of an outer transaction.
        await transaction.rollback()
    return tuple(sorted(_line(row["kind"], row["name"], row["definition"], schema) for row in rows))


async def fingerprint(connection: Connection, schema: str) -> str:
    """Return the SHA-256 of a schema's `structure`, in hexadecimal."""
    return hashlib.sha256("\n".join(await structure(connection, schema)).encode()).hexdigest()
