"""A fingerprint sees whatever in a schema is structure, says the same of every schema, and nothing of data."""

from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from db import bootstrap, names
from db.local.servers.postgres import PostgresServer
from db.migrations import run
from db.migrations.fingerprint import fingerprint, structure
from db.migrations.imprint import imprint
from db.migrations.lineages import lineage
from db.migrations.render import render
from db.names import SchemaName
from db.server import roles
from db.settings import Settings
from tests.databases import cloned
from tests.structures import ALTERATIONS, EVERYTHING, NO_STRUCTURE
from tests.support import APP_PASSWORD, OWNER_PASSWORD


async def run_in(connection: asyncpg.Connection, schema: SchemaName, script: str) -> None:
    """Run a script in a schema, within a transaction, as a migration runs."""
    await connection.execute(f"SET LOCAL search_path TO {schema}, pg_temp")
    await connection.execute(script.replace("{tenant}", schema))
    await connection.execute("SET LOCAL search_path TO ''")


async def build(owner: asyncpg.Connection, *scripts: str) -> SchemaName:
    """Return a fresh schema with the newest revision, and what the scripts make."""
    schema, chain = names.new_schema_name(), lineage("tenant", Settings().alembic_config)
    async with owner.transaction():
        await roles.create_schema(owner, schema)
        await run.run_script(owner, schema, render(chain, None, chain.head))
        for script in scripts:
            await run_in(owner, schema, script)
    return schema


class Built(msgspec.Struct, frozen=True):
    """A schema with every kind of object, its structure and imprint, and a superuser's address of its database."""

    url: str
    schema: SchemaName
    structure: tuple[str, ...]
    imprint: str | None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def built(postgres: PostgresServer, template: bootstrap.Bootstrapped) -> AsyncIterator[Built]:
    """Build a schema with every kind of object, which all tests of the module may share."""
    async with cloned(postgres.superuser_url) as url:
        owner = await asyncpg.connect(bootstrap.with_login(url, "tenantry_owner", OWNER_PASSWORD))
        schema = await build(owner, EVERYTHING)
        before = await structure(owner, schema)
        pressed = await imprint(owner, schema)
        await owner.close()
        yield Built(url, schema, before, pressed)


@pytest.fixture
async def anyone(built: Built) -> AsyncIterator[asyncpg.Connection]:
    """Yield a superuser's connection, in a transaction that leaves nothing behind."""
    connection = await asyncpg.connect(built.url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


def changed(before: tuple[str, ...], after: tuple[str, ...]) -> list[str]:
    """Return the beginnings of the lines that only one of two structures has."""
    return [line.partition(": ")[0] for line in set(before) ^ set(after)]


@pytest.mark.parametrize(("alteration", "name"), ALTERATIONS)
async def test_an_alteration_changes_the_structure(
    built: Built, anyone: asyncpg.Connection, alteration: str, name: str
) -> None:
    await run_in(anyone, built.schema, alteration)
    after = await structure(anyone, built.schema)
    assert any(line.endswith(f" {name}") for line in changed(built.structure, after))
    assert await imprint(anyone, built.schema) != built.imprint


@pytest.mark.parametrize("script", NO_STRUCTURE)
async def test_what_is_not_structure_changes_nothing(
    built: Built, anyone: asyncpg.Connection, script: str
) -> None:
    await run_in(anyone, built.schema, script)
    assert await structure(anyone, built.schema) == built.structure


async def test_vacuum_changes_nothing(built: Built) -> None:
    connection = await asyncpg.connect(built.url)
    await connection.execute("VACUUM (FREEZE, ANALYZE)")
    assert await imprint(connection, built.schema) == built.imprint
    await connection.execute("VACUUM (FULL, ANALYZE)")  # which gives tables other files
    assert await structure(connection, built.schema) == built.structure
    await connection.close()


async def test_every_schema_of_one_script_has_the_same_structure(owner: asyncpg.Connection) -> None:
    one, other = await build(owner, EVERYTHING), await build(owner, EVERYTHING)
    lines = await structure(owner, one)
    assert changed(lines, await structure(owner, other)) == []
    assert await fingerprint(owner, one) == await fingerprint(owner, other)
    assert not [line for line in lines if one in line]
    assert {line.split(" ", 1)[0] for line in lines} >= {
        *("relation", "column", "constraint", "index", "trigger", "rule", "policy", "sequence", "type"),
        *("function", "operator", "collation", "statistics", "text", "grant", "default", "comment"),
    }


async def test_the_order_of_creation_does_not_count(owner: asyncpg.Connection) -> None:
    parts = [
        "CREATE TABLE one (a integer, b text)",
        "CREATE TYPE mood AS ENUM ('fine')",
        "CREATE FUNCTION f() RETURNS integer LANGUAGE sql RETURN 1",
        "CREATE TABLE two (a integer); GRANT SELECT ON two TO PUBLIC, {tenant}",
    ]
    grown = ["CREATE TABLE one (b text)", "ALTER TABLE one ADD a integer", *parts[1:]]
    first = await structure(owner, await build(owner, *parts))
    assert await structure(owner, await build(owner, *reversed(parts))) == first
    assert await structure(owner, await build(owner, *grown)) == first


async def test_a_schema_name_in_a_body_or_literal_is_a_difference(owner: asyncpg.Connection) -> None:
    for script in (
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT '{tenant}.a' $$",
        "CREATE TABLE a (b text DEFAULT '{tenant}.b')",
        "CREATE TABLE a (b text CHECK (b <> '{tenant}'))",
    ):
        one, other = await build(owner, script), await build(owner, script)
        assert len(changed(await structure(owner, one), await structure(owner, other))) == 2


async def test_every_login_sees_the_same_and_keeps_its_settings(
    built: Built, anyone: asyncpg.Connection
) -> None:
    app = await asyncpg.connect(bootstrap.with_login(built.url, "tenantry_app", APP_PASSWORD))
    for connection in (app, anyone):
        await connection.execute("SET search_path TO extensions")
        settings = await connection.fetch("SHOW ALL")
        assert await structure(connection, built.schema) == built.structure
        assert await connection.fetch("SHOW ALL") == settings
    await app.close()


async def test_a_schema_that_is_not_there_is_an_error(owner: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.InvalidSchemaNameError):
        await structure(owner, names.new_schema_name())


async def test_a_name_cannot_forge_a_line(owner: asyncpg.Connection) -> None:
    one = await build(owner, 'CREATE TABLE a (); CREATE TABLE "b\nrelation c: table USING heap" ()')
    other = await build(owner, 'CREATE TABLE a (); CREATE TABLE "b\\nrelation c: table USING heap" ()')
    assert all("\n" not in line for line in await structure(owner, one))
    assert await fingerprint(owner, one) != await fingerprint(owner, other)
