"""Fixtures: a database that is run as Citus needs it.

It is plain PostgreSQL, with Citus's ways forced and what it would refuse refused. With ``CITUS_URL``, a superuser's
address of a real one, it is that: a cluster for tests alone, since what Tenantry has there is deleted for each test.
"""

import os
from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import msgspec
import pytest

from db import bootstrap
from db.local.servers.postgres import PostgresServer
from db.names import schema_name
from db.server import repair
from db.server.roles import drop_schema
from db.settings import Settings
from tests.databases import cloned
from tests.support import APP_PASSWORD, OWNER_PASSWORD

REAL: Final = os.environ.get("CITUS_URL")
PREFIX: Final = "tenantry_test" if REAL else "tenantry"

_REFUSALS: Final = r"""
CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $body$
DECLARE
  plain text := regexp_replace(
    current_query(), $$ \$(\w*)\$ .*? \$\1\$ | '(?: [^'] | '' )*' | --[^\n]* $$, '', 'xg');
BEGIN
  IF plain ~ ';\s*[^\s;]' THEN
    RAISE 'cannot insert multiple commands into a prepared statement: %', left(plain, 200);
  END IF;
  IF NOT (SELECT rolsuper FROM pg_authid WHERE rolname = session_user)
    AND EXISTS (SELECT FROM pg_authid WHERE pg_xact_status(xmin::text::xid8) = 'in progress') THEN
    RAISE 'role does not exist: other nodes do not see what this transaction made';
  END IF;
END $body$;
CREATE EVENT TRIGGER refuse ON ddl_command_end EXECUTE FUNCTION public.refuse();
"""
"""What Citus's nodes refuse: a message of several statements, and DDL for a role that is not committed."""


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest) -> str:
    """A superuser's address of the real cluster, or of the run's server."""
    if REAL:
        return REAL
    request.getfixturevalue("template")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.superuser_url


@pytest.fixture
async def superuser_url(server_url: str) -> AsyncIterator[str]:
    """Yield a superuser's address of a database that Citus, or what stands in for it, looks after."""
    if REAL:
        await _emptied(server_url)
        yield server_url
        return
    async with cloned(server_url) as url:
        connection = await asyncpg.connect(url)
        name = await connection.fetchval("SELECT current_database()")
        await connection.execute(f"ALTER DATABASE {name} SET tenantry.citus TO on")
        await connection.execute(_REFUSALS)
        await connection.close()
        yield url


@pytest.fixture
async def config(config: Settings, superuser_url: str) -> Settings:
    """Bootstrap the database, and return settings for it."""
    config = msgspec.structs.replace(config, role_prefix=PREFIX)
    made = await bootstrap.bootstrap(
        superuser_url, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD, settings=config
    )
    return msgspec.structs.replace(config, database_url=made.app_url, owner_database_url=made.owner_url)


async def _emptied(url: str) -> None:
    """Drop all tenants of an earlier test, and their rows."""
    owner = bootstrap.with_login(url, f"{PREFIX}_owner", OWNER_PASSWORD)
    superuser = await asyncpg.connect(url)
    if await superuser.fetchval("SELECT to_regclass('shared.tenants') IS NOT NULL"):
        connection = await asyncpg.connect(owner)
        for row in await connection.fetch("SELECT schema_name FROM shared.tenants"):
            async with connection.transaction():
                await drop_schema(connection, schema_name(row["schema_name"]))
        await connection.execute("UPDATE shared.tenants SET status = 'purged'")
        await repair.drop_unused(connection)
        await connection.close()
        tables = await superuser.fetchval(
            "SELECT string_agg(oid::regclass::text, ', ') FROM pg_class"
            " WHERE relnamespace = 'shared'::regnamespace AND relkind = 'r' AND relname <> 'alembic_version'"
        )
        await superuser.execute("SET session_replication_role = replica")  # the log of audits refuses it else
        await superuser.execute(f"TRUNCATE {tables}")
    await superuser.close()
