"""What tests of isolation share: tenants with a canary row each, made as the owner makes them."""

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import msgspec
import uuid_utils.compat as uuid7
from sqlalchemy import String, bindparam, func, insert, literal_column, select

from db.migrations.lineages import lineage
from db.migrations.render import render
from db.migrations.run import record_revision, run_script
from db.models.access import Role, User
from db.names import SchemaName, new_schema_name
from db.server import roles
from db.session.connection import Connection
from db.session.statements import Statement
from db.session.tenancy import Database
from db.settings import Settings
from db.tenants import permissions, tokens

DENIED = "42501"

_NAME = bindparam("name", type_=String(100))
NAMES = Statement(select(User.first_name).order_by(User.id))
ADD_NAME = Statement(
    insert(User)
    .from_select(
        ["email", "first_name", "user_role_id"],
        select(func.concat(_NAME, literal_column("'@example.com'")), _NAME, Role.id).where(
            Role.role_name == literal_column("'USER'")
        ),
    )
    .returning(User.id, User.first_name)
)
WHO = Statement(select(func.current_user(), func.session_user(), func.pg_backend_pid()))
FAILS = Statement(select(literal_column("1") / (func.length(User.first_name) * literal_column("0"))))


class Resident(msgspec.Struct, frozen=True):
    """A tenant with a row that nobody else may ever see.

    Args:
        id: the tenant's.
        slug: the tenant's.
        schema: the tenant's.
        canary: its only user's first name, and the e-mail made of it; one word, which stands nowhere else.
        key: an API key with all scopes.
    """

    id: UUID
    slug: str
    schema: SchemaName
    canary: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """What its client sends with every request."""
        return {"tenant": self.slug, "authorization": f"Bearer {self.key}"}


async def settle(owner: Connection, config: Settings, slugs: Sequence[str]) -> list[Resident]:
    """Make an active tenant for each slug, without waiting for a provisioner."""
    tenant_lineage = lineage("tenant", config.alembic_config)
    script = render(tenant_lineage, None, tenant_lineage.head)
    residents = []
    async with owner.transaction():
        for slug in slugs:
            token = tokens.mint("tenant")
            one = Resident(
                uuid7.uuid7(), slug, new_schema_name(), f"canary{secrets.token_hex(8)}", token.text
            )
            residents.append(one)
            await owner.execute(
                "INSERT INTO shared.tenants (id, slug, name, schema_name, status)"
                " VALUES ($1, $2, $2, $3, 'active')",
                one.id,
                one.slug,
                one.schema,
            )
            await roles.create_schema(owner, one.schema)
            await run_script(owner, one.schema, script)
            await record_revision(owner, one.id, tenant_lineage, script.end)
            await owner.execute(
                f"INSERT INTO {one.schema}.users (email, first_name, user_role_id)"
                f" SELECT $1 || '@example.com', $1, id FROM {one.schema}.roles WHERE role_name = 'USER'",
                one.canary,
            )
            await tokens.store(owner, token, name="key", tenant_id=one.id, scopes=permissions.ALL)
    return residents


async def names(database: Database, resident: Resident) -> list[str]:
    """Read the first names of a tenant's users in a transaction of its own."""
    async with database.tenant(resident.schema) as transaction:
        return [row["first_name"] for row in await transaction.fetch(NAMES)]


async def backend(database: Database) -> int:
    """Return the process id behind the pool's connection, as the login; also proves that it is the login."""
    async with database.shared() as connection:
        row = await connection.fetchrow("SELECT current_user, session_user, pg_backend_pid()")
        assert row is not None
        assert row[0] == row[1] == "tenantry_app"
        return int(row[2])


@asynccontextmanager
async def undone(connection: Connection) -> AsyncIterator[None]:
    """Run the body in a transaction that is always rolled back."""
    await connection.execute("BEGIN")
    try:
        yield
    finally:
        await connection.execute("ROLLBACK")


async def sqlstate(connection: Connection, statement: str) -> str | None:
    """Run a statement within a savepoint; return its SQLSTATE, or None where it worked."""
    await connection.execute("SAVEPOINT probe")
    try:
        await connection.execute(statement)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    finally:
        await connection.execute("ROLLBACK TO SAVEPOINT probe")
    return None
