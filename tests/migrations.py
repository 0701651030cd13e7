"""Migrations: a release with revisions of its own, and tenants that are asked to go to them."""

import shutil
from pathlib import Path

import asyncpg
from msgspec.structs import replace

from db.ledger.contracts import Migrate
from db.migrations.lineages import lineage
from db.migrations.online import Online
from db.settings import PROJECT, Settings
from db.tenants import registry
from db.tenants.registry import Tenant as Registered
from provisioner.delivery import Deliveries
from provisioner.handlers.migrate import MigrateHandler
from provisioner.handlers.upgrades import Upgrades
from tests.commands import POLICY
from tests.operators import Operator
from tests.support import eventually, one

CHAIN = lineage("tenant", PROJECT / "alembic.ini")
EVERY = [script.revision for script in CHAIN.revisions if CHAIN.is_alone(script.revision)]
"""All revisions, the oldest first, but those on branches that a later one joins: none comes before the other."""
BEFORE, HEAD = EVERY[-2:]
FITS = CHAIN.compatible_from(HEAD)

SCRIPT = """
def upgrade():
    op.execute("ALTER TABLE users ADD COLUMN note text")
"""
ONLINE = """
online = True

def upgrade():
    rows = op.get_bind().execute(sa.text("SELECT count(*) FROM users")).scalar()
    op.execute(f"CREATE TABLE counted AS SELECT {rows} AS users")
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY ix_users_first_name ON users (first_name)")

def upgrade_empty():
    op.execute("CREATE TABLE counted AS SELECT 0 AS users")
    op.execute("CREATE INDEX ix_users_first_name ON users (first_name)")
"""
FAILING = """
def upgrade():
    op.execute("SELECT no_such_function()")
"""
BROKEN = f"""
online = True
{FAILING}
def upgrade_empty():
    pass
"""


def release(config: Settings, folder: Path, *bodies: str) -> Settings:
    """Return the settings of a release whose tenant lineage goes on with these revisions, ``r1``, ``r2``, ..."""
    shutil.copytree(PROJECT / "alembic", folder / "alembic")
    shutil.copy(PROJECT / "alembic.ini", folder)
    before = lineage("tenant", config.alembic_config).head
    for number, body in enumerate(bodies, 1):
        header = (
            f"import sqlalchemy as sa\nfrom alembic import op\nrevision = 'r{number}'\n"
            f"down_revision = {before!r}\nbranch_labels = None\ndepends_on = None\n"
            f"compatible_from = {HEAD!r}\n"
        )
        versions = folder / "alembic" / "versions" / "tenant"
        end = "" if "def downgrade()" in body else "\n\ndef downgrade():\n    pass\n"
        (versions / f"r{number}.py").write_text(f"{header}{body}{end}")
        before = f"r{number}"
    return replace(config, alembic_config=folder / "alembic.ini")


async def revisions(owner: asyncpg.Connection, slug: str) -> tuple[str, str, str]:
    """Return a tenant's revision and the oldest compatible one, and the revision that its schema states."""
    row = await one(owner, "SELECT * FROM shared.tenants WHERE slug = $1", slug)
    own = await owner.fetchval(f"SELECT version_num FROM {row['schema_name']}.alembic_version")
    return row["revision"], row["compatible_from"], own


async def told(owner: asyncpg.Connection, kind: str) -> list[str]:
    """Return the revisions that events of a type tell of, oldest first."""
    rows = await owner.fetch(
        "SELECT payload->'data'->>'revision' AS revision FROM shared.messages WHERE type = $1 ORDER BY id",
        kind,
    )
    return [row["revision"] for row in rows]


async def settles(owner: asyncpg.Connection, message_id: str, wanted: str) -> asyncpg.Record:
    """Wait until a command has a status, and return its row."""

    async def probe() -> asyncpg.Record | None:
        row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
        assert row["status"] == wanted, (row["status"], row["last_error"])
        return row

    row = await eventually(probe, what=f"command {wanted}")
    assert row is not None
    return row


async def asked(operator: Operator, slug: str, **body: str) -> str:
    """Ask for a migration, and return the command's id."""
    answer = await operator.does("migrate", slug, **body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/cc/tenants/{slug}"
    return str(answer.json()["message_id"])


async def registered(owner: asyncpg.Connection, slug: str) -> Registered:
    """Return the registry's row of a tenant."""
    found = await registry.get_named(owner, slug)
    assert found is not None
    return found


def deliveries(pool: asyncpg.Pool, config: Settings) -> Deliveries:
    """Return a consumer of deliveries that knows migrations alone."""
    chain = lineage("tenant", config.alembic_config)
    online = Online(config.require("owner_database_url"), chain, lock_timeout=1)
    return Deliveries(pool, {"tenant.migrate": MigrateHandler(Upgrades(chain, online))}, POLICY)


async def command_for(owner: asyncpg.Connection, slug: str, revision: str = HEAD) -> str:
    """Write a command for a tenant, whatever its state."""
    tenant = await registered(owner, slug)
    made = await registry.tell(owner, tenant, Migrate(tenant_id=tenant.id, revision=revision))
    return str(made.id)
