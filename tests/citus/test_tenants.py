"""Tenants on Citus: signed up, served under their roles, kept apart, and dropped."""

from pathlib import Path

import asyncpg
import pytest

from db.names import schema_name
from db.server import repair, roles
from db.settings import Settings
from tests.citus.conftest import PREFIX, REAL
from tests.migrations import registered, release
from tests.operators import Operator
from tests.processes import forked
from tests.support import (
    Client,
    Service,
    becomes,
    eventually,
    one,
    provisioning,
    requested,
    serving,
    sign_up,
    status,
)

ASLEEP = """
def upgrade():
    op.execute("SELECT pg_sleep(600)")
"""


async def test_tenants_are_signed_up_and_served_apart(delivery: Settings, owner: asyncpg.Connection) -> None:
    async with serving(delivery) as api, provisioning(delivery):
        bakery, florist = await sign_up(api, "bakery"), await sign_up(api, "florist")
        for tenant in (bakery, florist):
            email = f"ann@{tenant.slug}.example"
            made = await api.post("/users", headers=tenant.headers, json={"email": email})
            assert made.status_code == 201, made.text
        for tenant in (bakery, florist):
            listed = (await api.get("/users", headers=tenant.headers)).json()["items"]
            assert [user["email"] for user in listed] == [f"ann@{tenant.slug}.example"]
        assert (await api.get("/users", headers=bakery.headers | florist.bearer)).status_code == 403
    if REAL:
        sharded = await owner.fetch(
            "SELECT schemaid::regnamespace::text AS name FROM pg_dist_schema ORDER BY 1"
        )
        schemas = [(await registered(owner, slug)).schema_name for slug in ("bakery", "florist")]
        assert [row["name"] for row in sharded] == sorted(schemas)


async def test_a_role_reads_its_own_schema_alone(
    api: Client, app_login: asyncpg.Connection, owner: asyncpg.Connection, provisioner: Service
) -> None:
    await sign_up(api, "bakery")
    await sign_up(api, "florist")
    own, others = [(await registered(owner, slug)).schema_name for slug in ("bakery", "florist")]

    async def as_own(statement: str) -> list[asyncpg.Record]:
        async with app_login.transaction():
            await app_login.execute(f"SET LOCAL ROLE {own}")
            return await app_login.fetch(statement)

    assert await as_own(f"SELECT id FROM {own}.users") == []
    for statement in (
        f"SELECT * FROM {others}.users",
        f"INSERT INTO {others}.users (email) VALUES ('mine')",
        f"SELECT * FROM {own}.alembic_version",
        f"CREATE TABLE {own}.mine (id int)",
        "SELECT * FROM shared.tenants",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await as_own(statement)


async def test_roles_may_log_in_without_a_password_and_were_committed_first(
    api: Client, superuser: asyncpg.Connection, owner: asyncpg.Connection, provisioner: Service
) -> None:
    await sign_up(api, "bakery")
    schema = (await registered(owner, "bakery")).schema_name
    row = await one(
        superuser,
        "SELECT r.rolcanlogin, r.rolpassword, r.rolinherit, r.xmin::text AS made, n.xmin::text AS used"
        " FROM pg_authid r JOIN pg_namespace n ON n.nspname = r.rolname WHERE rolname = $1",
        schema,
    )
    assert (row["rolcanlogin"], row["rolpassword"], row["rolinherit"]) == (True, None, False)
    assert row["made"] != row["used"]
    keeper = await roles.keeper_of(owner, schema)
    assert await superuser.fetchval(
        "SELECT rolcanlogin AND rolpassword IS NULL FROM pg_authid WHERE rolname = $1", keeper
    )


async def test_a_new_keeper_is_committed_before_it_makes_a_role(
    api: Client,
    superuser: asyncpg.Connection,
    owner: asyncpg.Connection,
    provisioner: Service,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await sign_up(api, "bakery")
    first = await roles.keeper_of(owner, (await registered(owner, "bakery")).schema_name)
    monkeypatch.setattr(roles, "KEEPER_CAPACITY", 0)
    async with owner.transaction():
        newest = await roles.keeper(owner)  # another one at each call: none has room
    assert newest != first
    await sign_up(api, "florist")
    schema = (await registered(owner, "florist")).schema_name
    keeper = await roles.keeper_of(owner, schema)
    assert keeper not in {first, newest}
    made = {
        row["rolname"]: row["made"]
        for row in await superuser.fetch(
            "SELECT rolname, xmin::text AS made FROM pg_authid WHERE rolname = ANY ($1)", [schema, keeper]
        )
    }
    assert made[schema] != made[keeper]


async def test_killed_between_the_role_and_the_schema_another_attempt_takes_the_role_up(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    async with serving(config) as api:
        tenant = await requested(api, "bakery")
        await _killed(config, owner, tmp_path)
        schema = (await registered(owner, "bakery")).schema_name
        made = await owner.fetchval("SELECT oid FROM pg_roles WHERE rolname = $1", schema)
        assert made is not None
        assert await owner.fetchval("SELECT to_regnamespace($1)", schema) is None
        assert await status(api, tenant) == "provisioning"
        async with provisioning(config):
            await becomes(api, tenant, "active", within=40)
        assert await owner.fetchval("SELECT oid FROM pg_roles WHERE rolname = $1", schema) == made
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200


async def test_killed_between_the_two_and_deleted_nothing_is_left_behind(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path, operator_token: str
) -> None:
    async with serving(config) as api:
        await requested(api, "bakery")
        await _killed(config, owner, tmp_path)
        schema = (await registered(owner, "bakery")).schema_name
        assert await _has_role(owner, schema)
        await owner.execute("UPDATE shared.tenants SET status = 'failed'")  # as when its command is parked
        await Operator(api, operator_token).has("delete", "bakery")
        async with provisioning(config):

            async def gone() -> bool:
                return not await _has_role(owner, schema)

            await eventually(gone, what="the role dropped")


async def test_the_role_of_a_failed_tenant_is_dropped_and_a_replay_makes_it_again(
    config: Settings, owner: asyncpg.Connection, operator_token: str, tmp_path: Path
) -> None:
    broken = release(config, tmp_path, "\ndef upgrade():\n    op.execute('SELECT no_such_function()')\n")
    async with serving(config) as api:
        async with provisioning(broken):
            tenant = await requested(api, "bakery")
            await becomes(api, tenant, "failed")
        schema = (await registered(owner, "bakery")).schema_name
        assert await _has_role(owner, schema)
        assert await repair.drop_unused(owner) == 1
        assert not await _has_role(owner, schema)
        assert await repair.drop_unused(owner) == 0
        message_id = await owner.fetchval("SELECT id FROM shared.messages WHERE status = 'parked'")
        answer = await api.post(
            f"/cc/messages/{message_id}/replay",
            headers={"authorization": f"Bearer {operator_token}"},
            json={"reason": "mended"},
        )
        assert answer.status_code == 200, answer.text
        async with provisioning(config):
            await becomes(api, tenant, "active")


async def test_what_is_being_provisioned_is_in_use(owner: asyncpg.Connection, config: Settings) -> None:
    async with serving(config) as api:
        await requested(api, "bakery")
    schema = (await registered(owner, "bakery")).schema_name
    await roles.prepare_schema(owner, schema)
    await roles.prepare_schema(owner, schema)  # as another attempt does
    assert await repair.drop_unused(owner) == 0
    assert await _has_role(owner, schema)


async def test_a_schema_is_dropped_and_then_its_role(
    api: Client, config: Settings, owner: asyncpg.Connection, provisioner: Service
) -> None:
    await sign_up(api, "bakery")
    await provisioner.stop()
    schema = (await registered(owner, "bakery")).schema_name
    async with owner.transaction():
        await roles.drop_schema(owner, schema)
    assert await owner.fetchval("SELECT to_regnamespace($1)", schema) is None
    assert await _has_role(owner, schema)
    await owner.execute("UPDATE shared.tenants SET status = 'purged'")
    assert await repair.drop_unused(owner) == 1
    assert not await _has_role(owner, schema)


async def test_a_role_that_somebody_else_made_is_told_in_words(
    api: Client, config: Settings, owner: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    await requested(api, "bakery")
    schema = (await registered(owner, "bakery")).schema_name
    await superuser.execute(f"CREATE ROLE {schema}")
    try:
        with pytest.raises(roles.ForeignRoleError, match=schema):
            await roles.prepare_schema(owner, schema_name(schema))
    finally:
        await superuser.execute(f"DROP ROLE {schema}")


async def _killed(config: Settings, owner: asyncpg.Connection, folder: Path) -> None:
    """Have a provisioner build the only waiting tenant, and kill it once it makes tables."""

    async def at_it() -> bool:
        return bool(
            await owner.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = $1",
                f"{PREFIX}_owner",
            )
        )

    async def over() -> bool:
        return not await at_it()

    async with forked(release(config, folder, ASLEEP)) as process:
        await eventually(at_it, what="the statement that sleeps")
        await process.kill()
    await eventually(over, what="the end of the killed process's session")


async def _has_role(owner: asyncpg.Connection, schema: str) -> bool:
    return bool(await owner.fetchval("SELECT to_regrole($1) IS NOT NULL", schema))
