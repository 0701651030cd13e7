"""The fleet: many active tenants with rows, a key and a log-in each, made by SQL as provisioning makes them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec
import uuid_utils.compat as uuid7

from db.migrations.lineages import lineage
from db.migrations.render import render
from db.migrations.run import record_revision, run_script
from db.names import SchemaName, new_schema_name, quoted
from db.server import roles
from db.session.connection import Connection
from db.settings import Settings
from db.tenants import permissions, tokens
from tests.benchmarks.client import Target
from tests.benchmarks.domain import BODY, TABLE
from tests.benchmarks.marks import filled, row_mark, tenant_mark

ROWS: Final = 20
"""Of each tenant; the page that is asked for."""

_TOGETHER: Final = 20
"""Schemas a transaction, since each takes dozens of locks."""
_PER_SESSION: Final = 500
"""Schemas a session: its server process remembers each, and looks through all of them at each DDL statement."""


class Member(msgspec.Struct, frozen=True):
    """A tenant of the fleet."""

    slug: str
    schema: SchemaName
    mark: str
    key: str
    login: str

    def target(self, *, login: bool = False, row: int = 1) -> Target:
        """Return what its requests are sent with: its key, or a user's log-in."""
        token = self.login if login else self.key
        return Target({"tenant": self.slug, "authorization": f"Bearer {token}"}, self.mark, row)


def rows(of: str, body: dict[str, Any] = BODY, *, first: int = 1, last: int = ROWS) -> str:
    """Return rows of the tenant with the mark ``of``, as JSON."""
    return json.dumps([filled(body, row_mark(of, number)) for number in range(first, last + 1)])


async def fill(config: Settings, member: Member, count: int) -> None:
    """Give a new tenant ``count`` rows."""
    owner = await asyncpg.connect(config.require("owner_database_url"))
    try:
        await _insert(owner, member, rows(member.mark, first=ROWS + 1, last=count))
        await owner.execute(f"ANALYZE {quoted(member.schema)}.{quoted(TABLE)}")
    finally:
        await owner.close()


async def grow(config: Settings, fleet: list[Member], size: int, *, with_rows: bool = True) -> None:
    """Add tenants until there are ``size`` of them.

    Args:
        config: settings, for the owner's address.
        fleet: the tenants that there are, to which the new ones are added.
        size: how many there are to be.
        with_rows: whether they have rows in the application's table; each has a user all the same.
    """
    while len(fleet) < size:
        owner = await asyncpg.connect(config.require("owner_database_url"))
        try:
            until = min(len(fleet) + _PER_SESSION, size)
            while len(fleet) < until:
                async with owner.transaction():
                    numbers = range(len(fleet), min(len(fleet) + _TOGETHER, until))
                    made = [await _add(owner, config, number, with_rows=with_rows) for number in numbers]
                fleet += made
            await owner.execute("ANALYZE shared.tenants, shared.access_tokens")
        finally:
            await owner.close()


async def _add(owner: Connection, config: Settings, number: int, *, with_rows: bool) -> Member:
    chain = lineage("tenant", config.alembic_config)
    script = render(chain, None, chain.head)
    key, login = tokens.mint("tenant"), tokens.mint("user")
    one = Member(f"shop{number:06d}", new_schema_name(), tenant_mark(number), key.text, login.text)
    tenant_id = uuid7.uuid7()
    await owner.execute(
        "INSERT INTO shared.tenants (id, slug, name, schema_name, status) VALUES ($1, $2, $2, $3, 'active')",
        tenant_id,
        one.slug,
        one.schema,
    )
    await roles.create_schema(owner, one.schema)
    await run_script(owner, one.schema, script)
    await record_revision(owner, tenant_id, chain, script.end)
    schema = quoted(one.schema)
    email = f"{one.slug}@example.com"
    user_id = await owner.fetchval(
        f"INSERT INTO {schema}.users (email, user_role_id)"
        f" SELECT $1, id FROM {schema}.roles WHERE role_name = 'ADMIN' RETURNING id",
        email,
    )
    await owner.execute(
        "INSERT INTO shared.shared_users (email, tenant_id, is_active) VALUES ($1, $2, true)",
        email,
        tenant_id,
    )
    if with_rows:
        await _insert(owner, one, rows(one.mark))
    until = datetime.now(UTC) + timedelta(days=1)
    await tokens.store(owner, key, name="key", tenant_id=tenant_id, scopes=permissions.ALL)
    await tokens.store(owner, login, name="log-in", tenant_id=tenant_id, user_id=user_id, expires_at=until)
    return one


async def _insert(owner: Connection, one: Member, made: str) -> None:
    table, columns = f"{quoted(one.schema)}.{quoted(TABLE)}", ", ".join(quoted(name) for name in BODY)
    await owner.execute(
        f"INSERT INTO {table} ({columns})"
        f" SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, $1::jsonb)",
        made,
    )
