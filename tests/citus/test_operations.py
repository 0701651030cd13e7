"""Operations on Citus: bootstrap and doctor, migrations of the fleet, and what is missing made again."""

from pathlib import Path

import asyncpg

from api.cli.doctor import examine
from db import bootstrap
from db.migrations.fingerprint import structure
from db.names import quoted
from db.server import repair, roles
from db.server.citus import SHARDING
from db.settings import Settings
from tests.citus.conftest import PREFIX, REAL
from tests.migrations import HEAD, asked, registered, release, revisions, settles
from tests.operators import Operator
from tests.shell import alembic
from tests.support import APP_PASSWORD, OWNER_PASSWORD, Client, Service, provisioning, serving, sign_up

IN_TRANSACTION = """
def upgrade():
    op.add_column("users", sa.Column("note", sa.Text()))
    id = sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True)
    op.create_table("notes", id, sa.Column("a", sa.Text()))
    op.create_index("ix_notes_a", "notes", ["a"])

def downgrade():
    op.drop_table("notes")
    op.drop_column("users", "note")
"""
ONLINE = """
online = True
idempotent = True

def upgrade():
    op.execute("UPDATE users SET note = email")
    op.alter_column("users", "note", server_default="none")

def upgrade_empty():
    op.alter_column("users", "note", server_default="none")

def downgrade():
    op.alter_column("users", "note", server_default=None)
"""


async def test_doctor_finds_nothing(api: Client, config: Settings, provisioner: Service) -> None:
    await sign_up(api, "bakery")
    assert await examine(config) == []


async def test_doctor_finds_what_is_missing_and_bootstrap_mends_it(
    api: Client,
    config: Settings,
    superuser: asyncpg.Connection,
    owner: asyncpg.Connection,
    provisioner: Service,
    superuser_url: str,
) -> None:
    await sign_up(api, "bakery")
    schema = (await registered(owner, "bakery")).schema_name
    database = quoted(await superuser.fetchval("SELECT current_database()"))
    await superuser.execute(f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC")
    await superuser.execute(f"ALTER ROLE {PREFIX}_owner IN DATABASE {database} RESET {SHARDING}")
    await superuser.execute(f"ALTER ROLE {schema} NOLOGIN")
    found = [finding.problem.partition(":")[0] for finding in await examine(config)]
    assert found == [
        "PUBLIC may not connect",
        f"{SHARDING} is not on for {PREFIX}_owner",
        "1 keepers and tenants' roles may not log in",
    ]
    await bootstrap.bootstrap(
        superuser_url, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD, settings=config
    )
    assert await examine(config) == []


async def test_a_fleet_is_migrated_by_commands_and_by_alembic(
    api: Client,
    config: Settings,
    owner: asyncpg.Connection,
    provisioner: Service,
    operator_token: str,
    tmp_path: Path,
) -> None:
    bakery = await sign_up(api, "bakery")
    await sign_up(api, "florist")
    await provisioner.stop()
    newer = release(config, tmp_path, IN_TRANSACTION, ONLINE)
    async with serving(newer) as newer_api, provisioning(newer):
        await settles(owner, await asked(Operator(newer_api, operator_token), "bakery"), "handled")
        await sign_up(newer_api, "grocer")  # from an empty schema
        assert (await newer_api.get("/users", headers=bakery.headers)).status_code == 200
    await alembic(newer, "-c", str(newer.alembic_config), "upgrade", "head")
    schemas = [(await registered(owner, slug)).schema_name for slug in ("bakery", "florist", "grocer")]
    structures = {await structure(owner, schema) for schema in schemas}
    assert len(structures) == 1
    for slug in ("bakery", "florist", "grocer"):
        assert await revisions(owner, slug) == ("r2", HEAD, "r2")
    assert await examine(newer) == []
    await alembic(newer, "-c", str(newer.alembic_config), "-x", "yes=True", "downgrade", HEAD)
    for slug in ("bakery", "florist", "grocer"):
        assert (await revisions(owner, slug))[0] == HEAD


async def test_alembic_compares_the_models_with_a_schema_of_its_own(
    api: Client, config: Settings, owner: asyncpg.Connection, provisioner: Service
) -> None:
    await sign_up(api, "bakery")
    await alembic(config, "check")
    bakery = await registered(owner, "bakery")
    await owner.execute(f"DROP TABLE {bakery.schema_name}.alembic_version")
    await alembic(config, "-x", "tenant=bakery", "stamp", "head")
    assert (await revisions(owner, "bakery"))[2] == HEAD
    if REAL:
        assert await owner.fetchval("SELECT count(*) FROM pg_dist_schema") == 1


async def test_missing_rights_of_tenants_are_given_again(
    api: Client, config: Settings, owner: asyncpg.Connection, provisioner: Service
) -> None:
    tenant = await sign_up(api, "bakery")
    schema = (await registered(owner, "bakery")).schema_name
    keeper = await roles.keeper_of(owner, schema)
    assert keeper is not None
    async with owner.transaction():
        await owner.execute(f"SET LOCAL ROLE {keeper}")
        await owner.execute(f"REVOKE {schema} FROM {PREFIX}_app")
    await owner.execute(f"REVOKE USAGE ON SCHEMA {schema} FROM {schema}")
    assert [lack.slug for lack in await repair.lacking(owner)] == ["bakery"]
    assert await repair.mend(owner) == 1
    assert await repair.lacking(owner) == []
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200
