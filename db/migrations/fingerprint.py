"""Fingerprints: schemas' structures, read from the catalog, and hashes of them, to compare schemas by.

Equal are schemas of one revision on one version of PostgreSQL, whatever their names. What is in the catalog
outside the schema does not count, and neither does data: rows, statistics, where a sequence is.

The order of a table's columns does not count. A column that one path added and another created in place has
another number, and PostgreSQL cannot move it. SQL of the house names its columns.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import asyncpg

from db.migrations.catalog import COMMON, KINDS
from db.session.connection import Connection

_EACH: Final = " UNION ALL ".join(
    f"SELECT '{kind}' AS kind, x.name, x.definition FROM ({sql}) AS x (name, definition)"
    for kind, sql in KINDS.items()
)
STRUCTURES: Final = f"""
SELECT n.nspname AS schema, object.kind, object.name, object.definition
FROM pg_namespace n LEFT JOIN LATERAL (WITH {COMMON} {_EACH}) AS object ON true
WHERE n.nspname = ANY ($1::text[])
"""
"""The query for many schemas. A schema without an object has one row, one that is not there has none."""

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


class Object(NamedTuple):
    """An object of a schema, with ``<tenant>`` for the schema and its role, and ``<owner>`` for the schema's owner.

    `db.migrations.catalog` has the kinds.
    """

    kind: str
    name: str
    definition: str

    @property
    def line(self) -> str:
        """The object as one line, whatever its name and definition hold."""
        text = f"{self.kind} {self.name}: {self.definition}"
        return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


Structure = frozenset[Object]
"""All objects of a schema."""


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
    if schema not in definition and '"' not in schema:
        return definition  # as most are
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


async def structures(connection: Connection, schemas: Sequence[str]) -> dict[str, Structure]:
    """Return the structures of schemas, by their names. Schemas that are not there are left out.

    It is one query, whose plan takes longer than several schemas. One of a hundred schemas is a good size.

    Args:
        connection: of any login; all may read the catalog. It may be in a transaction of asyncpg's (not in
            one that the text BEGIN started), and gets its settings back.
        schemas: the schemas' names.

    Raises:
        asyncpg.PostgresError: an object was dropped while it was read.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(_PRINTING)
        rows = await connection.fetch(STRUCTURES, list(schemas))
    finally:
        # Not a commit: the settings would stay until the end of an outer transaction.
        await transaction.rollback()
    found: dict[str, set[Object]] = {}
    for schema, kind, name, definition in rows:
        objects = found.setdefault(schema, set())
        if kind is not None:
            objects.add(Object(kind, _nameless(name, schema), _nameless(definition or "", schema)))
    return {schema: frozenset(objects) for schema, objects in found.items()}


async def structure(connection: Connection, schema: str) -> tuple[str, ...]:
    """Return a schema's structure as `lines`.

    Args:
        connection: as for `structures`.
        schema: the schema's name.

    Raises:
        asyncpg.InvalidSchemaNameError: there is no such schema.
        asyncpg.PostgresError: an object was dropped while it was read.
    """
    found = await structures(connection, [schema])
    if schema not in found:
        raise asyncpg.InvalidSchemaNameError(f"there is no schema {schema!r}")
    return lines(found[schema])


def lines(objects: Iterable[Object]) -> tuple[str, ...]:
    """Return a line for each object, sorted by code point, without line feeds and carriage returns in it."""
    return tuple(sorted(each.line for each in objects))


def hashed(objects: Iterable[Object]) -> str:
    """Return the SHA-256 of a structure, in hexadecimal."""
    return hashlib.sha256("\n".join(lines(objects)).encode()).hexdigest()


async def fingerprint(connection: Connection, schema: str) -> str:
    """Return the SHA-256 of a schema's structure, in hexadecimal. Raise what `structure` does."""
    return hashlib.sha256("\n".join(await structure(connection, schema)).encode()).hexdigest()
