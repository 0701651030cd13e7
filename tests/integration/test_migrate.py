"""``tenant.migrate``: a tenant brought up by message, by hand nothing, and what happens when it goes wrong."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from db.ledger.contracts import Migrate as MigrateCommand
from db.migrations.fingerprint import structure
from db.migrations.lineage import lineage
from db.migrations.online import Online
from db.migrations.render import render
from db.settings import PROJECT, Settings
from db.tenants import registry
from db.tenants.registry import Tenant as Registered
from provisioner.attempt import Policy
from provisioner.delivery import Deliveries
from provisioner.handlers.migrate import Migrate
from tests.operators import Operator
from tests.shell import alembic
from tests.support import (
    Client,
    Service,
    Tenant,
    eventually,
    its_time_comes,
    one,
    problem,
    provisioning,
    requested,
    serving,
    sign_up,
)

CHAIN = lineage("tenant", PROJECT / "alembic.ini")
EVERY = [script.revision for script in CHAIN.revisions]
BEFORE, HEAD = EVERY[-2:]
FITS = CHAIN.compatible_from(HEAD)
POLICY = Policy(attempts=8, retry_base=0.05, retry_cap=0.5, lock_timeout=1)

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
PATIENT = """
online = True

def upgrade():
    op.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
    op.add_column("users", sa.Column("note", sa.Text()))

def upgrade_empty():
    op.add_column("users", sa.Column("note", sa.Text()))
"""
BROKEN = """
online = True

def upgrade():
    op.execute("SELECT no_such_function()")

def upgrade_empty():
    pass
"""


@pytest.fixture
def operator(api: Client, operator_token: str) -> Operator:
    """An operator of the test's API."""
    return Operator(api, operator_token)


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
        (versions / f"r{number}.py").write_text(f"{header}{body}\n\ndef downgrade():\n    pass\n")
        before = f"r{number}"
    return replace(config, alembic_config=folder / "alembic.ini")


async def revisions(owner: asyncpg.Connection, slug: str) -> tuple[str, str, str]:
    """Return a tenant's revision and the oldest that fits it, and its schema's own word."""
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


async def test_an_older_tenant_is_brought_to_head_and_served_again(
    api: Client, config: Settings, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    fresh = await structure(owner, (await registered(owner, "bakery")).schema_name)
    await alembic(config, "-x", "tenant=bakery", "downgrade", CHAIN.base)
    problem(await api.get("/users", headers=tenant.headers), 503, "tenant-out-of-range")
    await settles(owner, await asked(operator, "bakery"), "handled")
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)
    assert await structure(owner, (await registered(owner, "bakery")).schema_name) == fresh
    made = await api.post("/users", headers=tenant.headers, json={"email": "ann@example.com"})
    assert made.status_code == 201, made.text
    revisions_told = await told(owner, "tenant.migrated")
    down, up = revisions_told[: len(EVERY) - 1], revisions_told[len(EVERY) - 1 :]
    assert down == EVERY[-2::-1]  # each revision by hand
    assert up == [
        *sorted({*up} - {HEAD}, key=EVERY.index),
        HEAD,
    ]  # each script, and each online one, by command


async def registered(owner: asyncpg.Connection, slug: str) -> Registered:
    """Return the registry's row of a tenant."""
    found = await registry.get_named(owner, slug)
    assert found is not None
    return found


async def test_the_event_comes_after_the_command_and_names_it(
    config: Settings, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", "-1")
    message_id = await asked(operator, "bakery")
    command = await settles(owner, message_id, "handled")
    event = await one(
        owner,
        "SELECT * FROM shared.messages WHERE type = 'tenant.migrated' AND caused_by = $1",
        UUID(message_id),
    )
    assert event["tenant_version"] > command["tenant_version"]


async def test_a_tenant_goes_to_a_revision_on_the_way_if_that_is_asked_for(
    config: Settings, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", CHAIN.base)
    await settles(owner, await asked(operator, "bakery", revision=BEFORE[:6]), "handled")
    assert (await revisions(owner, "bakery"))[0] == BEFORE


async def test_a_suspended_tenant_is_migrated_and_stays_suspended(
    config: Settings, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await alembic(config, "-x", "tenant=bakery", "downgrade", "-1")
    await operator.has("suspend", "bakery")
    await settles(owner, await asked(operator, "bakery"), "handled")
    assert (await revisions(owner, "bakery"))[0] == HEAD
    assert (await operator.sees("bakery"))["status"] == "suspended"


async def test_a_tenant_that_is_there_already_is_left_as_it_is(
    tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    await settles(owner, await asked(operator, "bakery"), "handled")
    assert await told(owner, "tenant.migrated") == []


async def test_unknown_and_older_revisions_and_tenants_without_a_schema_are_refused(
    api: Client, tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    for text in ("nonsense", "base", "-1", "heads+1", ""):
        problem(await operator.does("migrate", "bakery", revision=text), 400, "validation")
    problem(await operator.does("migrate", "bakery", revision=BEFORE), 409, "state-conflict")
    await owner.execute("UPDATE shared.tenants SET revision = 'ffffffffffff'")  # a later release's
    problem(await operator.does("migrate", "bakery"), 409, "state-conflict")
    await owner.execute("UPDATE shared.tenants SET revision = $1", HEAD)
    await operator.has("delete", "bakery")
    problem(await operator.does("migrate", "bakery"), 409, "state-conflict")
    await operator.has("restore", "bakery")
    assert (await operator.does("migrate", "bakery")).status_code == 202


async def test_a_waiting_tenant_cannot_be_asked_to_migrate(api: Client, operator: Operator) -> None:
    await requested(api, "bakery")
    problem(await operator.does("migrate", "bakery"), 409, "state-conflict")


async def test_a_script_revision_of_the_next_release_is_applied_with_its_grants(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as api, provisioning(newer):
        await settles(owner, await asked(Operator(api, operator_token), "bakery"), "handled")
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    assert await revisions(owner, "bakery") == ("r1", HEAD, "r1")


async def test_the_release_before_serves_a_tenant_that_is_ahead_of_it(
    api: Client,
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT)
    async with serving(newer) as newer_api, provisioning(newer):
        await settles(owner, await asked(Operator(newer_api, operator_token), "bakery"), "handled")
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    problem(await Operator(api, operator_token).does("migrate", "bakery"), 409, "state-conflict")


async def test_an_online_revision_sees_data_and_tells_of_each_revision_once(
    api: Client,
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await api.post("/users", headers=tenant.headers, json={"email": "ann@example.com"})
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT, ONLINE)
    schema = (await registered(owner, "bakery")).schema_name
    async with serving(newer) as newer_api, provisioning(newer):
        operator = Operator(newer_api, operator_token)
        await settles(owner, await asked(operator, "bakery"), "handled")
        assert await owner.fetchval(f"SELECT users FROM {schema}.counted") == 1
        assert await told(owner, "tenant.migrated") == ["r1", "r2"]
        assert await revisions(owner, "bakery") == ("r2", HEAD, "r2")
        assert await owner.fetchval(
            "SELECT has_table_privilege($1, $2, 'SELECT')", schema, f"{schema}.counted"
        )
        # The same structure as that of a tenant which starts there, though not by the same way.
        await sign_up(newer_api, "florist")
        assert (await newer_api.get("/users", headers=tenant.headers)).status_code == 200
    other = (await registered(owner, "florist")).schema_name
    assert await structure(owner, schema) == await structure(owner, other)
    locks = await owner.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
    assert locks == 0


async def test_an_online_revision_that_fails_is_parked_and_keeps_what_went_before(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT, BROKEN)
    async with serving(newer) as api, provisioning(newer):
        operator = Operator(api, operator_token)
        row = await settles(owner, await asked(operator, "bakery"), "parked")
        assert row["error_class"] == "UndefinedFunctionError"
        assert (await operator.sees("bakery"))["status"] == "active"
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    assert await revisions(owner, "bakery") == ("r1", HEAD, "r1")
    assert await told(owner, "tenant.migrated") == ["r1"]
    assert await told(owner, "tenant.migration_failed") == ["r2"]


async def test_a_script_that_fails_leaves_no_trace_but_the_parked_command_and_its_event(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, SCRIPT, BROKEN.replace("online = True", ""))
    async with serving(newer) as api, provisioning(newer):
        operator = Operator(api, operator_token)
        row = await settles(owner, await asked(operator, "bakery"), "parked")
        assert row["error_class"] == "UndefinedFunctionError"
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200
        assert (await operator.sees("bakery"))["status"] == "active"
    assert await revisions(owner, "bakery") == (HEAD, FITS, HEAD)
    assert await told(owner, "tenant.migration_failed") == ["r2"]
    assert await told(owner, "tenant.migrated") == []


async def test_a_locked_table_is_waited_for_within_bounds_and_tried_again(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    provisioner: Service,
    tmp_path: Path,
    operator_token: str,
) -> None:
    await provisioner.stop()
    newer = replace(release(config, tmp_path, SCRIPT), migration_lock_timeout=0.1)
    schema = (await registered(owner, "bakery")).schema_name
    async with serving(newer) as api, provisioning(newer):
        async with owner.transaction():
            await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS SHARE MODE")
            message_id = await asked(Operator(api, operator_token), "bakery")

            async def tried() -> bool:
                row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
                assert row["error_class"] == "LockNotAvailableError", row["status"]
                return True

            await eventually(tried, what="a first attempt")
        row = await settles(owner, message_id, "handled")
    assert row["attempts"] > 1


@pytest.fixture
async def pool(config: Settings) -> AsyncIterator[asyncpg.Pool]:
    """The owner's connections, for a consumer without its process."""
    async with asyncpg.create_pool(config.require("owner_database_url"), min_size=1, max_size=4) as made:
        yield made


def consumer(pool: asyncpg.Pool, config: Settings) -> Deliveries:
    """Return a consumer that knows migrations alone."""
    chain = lineage("tenant", config.alembic_config)
    online = Online(config.require("owner_database_url"), chain, lock_timeout=1)
    return Deliveries(pool, {"tenant.migrate": Migrate(chain, online)}, POLICY)


async def command_for(owner: asyncpg.Connection, slug: str, revision: str = HEAD) -> str:
    """Write a command for a tenant, whatever its state."""
    tenant = await registered(owner, slug)
    made = await registry.tell(owner, tenant, MigrateCommand(tenant_id=tenant.id, revision=revision))
    return str(made.id)


@pytest.mark.parametrize("state", ["pending", "provisioning"])
async def test_a_delivery_before_the_tenant_is_provisioned_is_given_back(
    api: Client, config: Settings, owner: asyncpg.Connection, pool: asyncpg.Pool, state: str
) -> None:
    await requested(api, "bakery")
    await owner.execute("UPDATE shared.tenants SET status = $1", state)
    message_id = await command_for(owner, "bakery")
    await consumer(pool, config).command(message_id, b"")
    row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert (await registered(owner, "bakery")).status == state


@pytest.mark.parametrize("state", ["failed", "deleted"])
async def test_a_delivery_for_a_tenant_that_has_moved_on_is_superseded(
    api: Client, config: Settings, owner: asyncpg.Connection, pool: asyncpg.Pool, state: str
) -> None:
    await requested(api, "bakery")
    await owner.execute("UPDATE shared.tenants SET status = $1", state)
    message_id = await command_for(owner, "bakery")
    await consumer(pool, config).command(message_id, b"")
    await settles(owner, message_id, "superseded")
    assert (await registered(owner, "bakery")).status == state


async def test_a_command_of_a_later_release_is_parked_and_the_tenant_goes_on(
    api: Client,
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
) -> None:
    await provisioner.stop()
    message_id = await command_for(owner, "bakery", "ffffffffffff")
    await consumer(pool, config).command(message_id, b"")
    row = await settles(owner, message_id, "parked")
    assert row["error_class"] == "UnknownRevisionError"
    assert await told(owner, "tenant.migration_failed") == ["ffffffffffff"]
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200


async def test_a_repeated_online_migration_finds_its_work_done(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, ONLINE)
    for _ in range(2):
        message_id = await command_for(owner, "bakery", "r1")
        await consumer(pool, newer).command(message_id, b"")
        await settles(owner, message_id, "handled")
    assert await told(owner, "tenant.migrated") == ["r1"]


async def test_an_online_migration_waits_its_turn_while_somebody_else_works_on_the_tenant(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, ONLINE)
    message_id = await command_for(owner, "bakery", "r1")
    await owner.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", tenant.id)
    await consumer(pool, newer).command(message_id, b"")
    row = await one(owner, "SELECT * FROM shared.messages WHERE id = $1", message_id)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    await owner.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", tenant.id)
    await its_time_comes(owner, message_id)
    await consumer(pool, newer).command(message_id, b"")
    await settles(owner, message_id, "handled")


async def test_a_script_is_rendered_while_an_online_revision_waits_for_a_lock(
    config: Settings,
    tenant: Tenant,
    owner: asyncpg.Connection,
    pool: asyncpg.Pool,
    provisioner: Service,
    tmp_path: Path,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, PATIENT)
    chain = lineage("tenant", newer.alembic_config)
    online = Online(config.require("owner_database_url"), chain, lock_timeout=20)
    schema = (await registered(owner, "bakery")).schema_name

    async def waiting() -> bool:
        return bool(await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with owner.transaction():
        await owner.execute(f"LOCK TABLE {schema}.users IN ACCESS SHARE MODE")
        upgrade = asyncio.create_task(online.upgrade(await registered(owner, "bakery"), "r1"))
        await eventually(waiting, what="an online revision that waits")
        assert "ADD COLUMN note" in render(chain, None, "r1").sql
        assert not upgrade.done()
    assert await upgrade
    assert await revisions(owner, "bakery") == ("r1", HEAD, "r1")


async def test_the_payload_says_no_more_than_ids(
    tenant: Tenant, operator: Operator, owner: asyncpg.Connection
) -> None:
    message_id = await asked(operator, "bakery")
    row = await one(owner, "SELECT payload FROM shared.messages WHERE id = $1", message_id)
    data = msgspec.json.decode(row["payload"])["data"]
    assert data == {"tenant_id": tenant.id, "revision": HEAD}
