"""The transaction of a tenant: what runs in it runs as the tenant, and all of it counts or nothing does."""

import asyncpg
import msgspec
import pytest
from sqlalchemy import Integer, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from db.models.access import Role
from db.names import SchemaName
from db.session.failures import NoRoleError, UnavailableError
from db.session.statements import Statement
from db.session.tenancy import Database
from db.session.transaction import LostError, TenantTransaction, preamble
from db.settings import Settings
from tests.isolation import ADD_NAME, FAILS, NAMES, WHO, Resident, backend, names
from tests.support import one, problem, serving


@pytest.fixture
def config(config: Settings, pipeline: bool) -> Settings:
    """Settings with a tenant's role and its statement in one message, and one after the other."""
    return msgspec.structs.replace(config, pipeline=pipeline)


async def test_what_a_savepoint_keeps_is_committed(single: Database, residents: list[Resident]) -> None:
    ash = residents[0]
    async with single.tenant(ash.schema) as transaction, transaction.savepoint():
        await transaction.fetch(ADD_NAME, name="kept")
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with transaction.savepoint():
                await transaction.fetch(ADD_NAME, name="undone")
                await transaction.fetch(FAILS)
    assert await names(single, ash) == [ash.canary, "kept"]


async def test_a_swallowed_failure_cannot_look_like_a_commit(
    single: Database, residents: list[Resident]
) -> None:
    ash = residents[0]

    async def swallow(transaction: TenantTransaction) -> None:
        with pytest.raises(asyncpg.DivisionByZeroError):
            await transaction.fetch(FAILS)

    with pytest.raises(LostError):
        async with single.tenant(ash.schema) as transaction:
            await transaction.fetch(ADD_NAME, name="lost")
            await swallow(transaction)
    with pytest.raises(LostError):
        async with single.tenant(ash.schema) as transaction:
            await transaction.fetch(ADD_NAME, name="lost")
            await swallow(transaction)
            with pytest.raises(LostError):
                async with transaction.savepoint():
                    pass  # a savepoint begun too late heals nothing
    with pytest.raises(LostError):
        async with single.tenant(ash.schema) as transaction:
            await transaction.fetch(ADD_NAME, name="lost")
            connection = await transaction.as_login()
            with pytest.raises(asyncpg.UndefinedTableError):
                await connection.execute("SELECT FROM shared.nothing")
    async with single.tenant(ash.schema) as transaction:
        with pytest.raises(LostError):
            async with transaction.savepoint():
                await transaction.fetch(ADD_NAME, name="undone")
                await swallow(transaction)
        await transaction.fetch(ADD_NAME, name="kept")
    assert await names(single, ash) == [ash.canary, "kept"]


async def test_a_query_after_commit_fails_closed(single: Database, residents: list[Resident]) -> None:
    ash, birch, *_ = residents
    async with single.tenant(ash.schema) as transaction:
        assert await transaction.fetchval(NAMES) == ash.canary
    with pytest.raises(asyncpg.InterfaceError):
        await transaction.fetch(NAMES)
    async with single.tenant(birch.schema):
        with pytest.raises(asyncpg.InterfaceError):
            await transaction.fetch(NAMES)


async def test_the_login_after_the_tenant_has_nothing_of_the_tenant(
    single: Database, residents: list[Resident]
) -> None:
    ash = residents[0]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with single.tenant(ash.schema) as transaction:
            connection = await transaction.as_login()
            assert await connection.fetchval("SELECT count(*) FROM shared.tenants") == len(residents)
            await transaction.fetch(NAMES)


async def test_nested_transactions_of_two_tenants_do_not_mix(
    several: Database, residents: list[Resident]
) -> None:
    ash, birch, *_ = residents
    async with several.tenant(ash.schema) as outer, several.tenant(birch.schema) as inner:
        assert await inner.fetchval(NAMES) == birch.canary
        assert await outer.fetchval(NAMES) == ash.canary
        assert (await outer.fetch(WHO))[0][0] == ash.schema
        assert (await inner.fetch(WHO))[0][0] == birch.schema


async def test_where_there_is_but_one_connection_nesting_is_refused_in_time(
    config: Settings, residents: list[Resident]
) -> None:
    ash, birch, *_ = residents
    database = await Database.connect(config.require("database_url"), size=1, acquire_timeout=0.1)
    async with database.tenant(ash.schema) as transaction:
        with pytest.raises(UnavailableError):
            await names(database, birch)
        assert await transaction.fetchval(NAMES) == ash.canary
    await database.close()


@pytest.mark.parametrize(
    "name",
    [
        "shared",
        "public",
        "none",
        "",
        "t_short",
        "T_AAAAAAAAAAAAAAAA",
        "t_aaaaaaaaaaaaaaaa'; --",
        "tenantry_owner",
    ],
)
async def test_what_is_no_tenants_schema_is_refused_before_any_sql(
    single: Database, superuser: asyncpg.Connection, name: str
) -> None:
    before = await backend(single)
    with pytest.raises(ValueError, match="not a tenant schema"):
        async with single.tenant(SchemaName(name)):
            pytest.fail("entered")
    assert await backend(single) == before  # nor was a good connection thrown away for it


async def test_a_tenant_that_is_not_there_has_no_role(single: Database) -> None:
    with pytest.raises(NoRoleError):
        await single.reads(SchemaName("t_" + "a" * 16)).fetch(WHO)
    with pytest.raises(NoRoleError):
        async with single.tenant(SchemaName("t_" + "a" * 16)) as transaction:
            await transaction.fetch(WHO)
    await backend(single)


async def test_arrays_and_other_looked_up_types_work_under_the_tenants_role(
    single: Database, residents: list[Resident]
) -> None:
    """The driver looks types up under the tenant's role; that must work without the rights that hardening revokes."""
    wanted = Statement(
        select(Role.role_name, bindparam("numbers", type_=ARRAY(Integer)).label("numbers")).order_by(Role.id)
    )
    async with single.tenant(residents[0].schema) as transaction:
        row = await transaction.fetchrow(wanted, numbers=[1, 2, 3])
    assert row is not None
    assert row["numbers"] == [1, 2, 3]


async def test_a_migration_under_a_prepared_statement_fails_no_request(
    single: Database, residents: list[Resident], owner: asyncpg.Connection
) -> None:
    ash, birch, *_ = residents
    before = await backend(single)
    for length in (600, 700):
        assert await names(single, ash) == [ash.canary]
        await owner.execute(f"ALTER TABLE {ash.schema}.users ALTER COLUMN first_name TYPE varchar({length})")
        assert await names(single, ash) == [ash.canary]
        assert await names(single, birch) == [birch.canary]
    await owner.execute(f"ALTER TABLE {ash.schema}.users ADD COLUMN note text")
    assert await names(single, ash) == [ash.canary]
    assert await backend(single) == before


async def test_a_migration_between_two_statements_fails_the_request_at_most_once(
    single: Database, residents: list[Resident], owner: asyncpg.Connection
) -> None:
    """What ran before would be lost by beginning again, so the request fails, undone, and can be repeated."""
    ash = residents[0]

    async def add(name: str) -> None:
        async with single.tenant(ash.schema) as transaction:
            await transaction.fetchval(WHO)
            await transaction.fetch(ADD_NAME, name=name)

    await add("before")
    await owner.execute(f"ALTER TABLE {ash.schema}.users ALTER COLUMN first_name TYPE varchar(600)")
    with pytest.raises(asyncpg.InvalidCachedStatementError):
        await add("after")
    await add("after")
    assert await names(single, ash) == [ash.canary, "before", "after"]


async def test_over_http_a_migration_under_load_answers_503_at_worst(
    config: Settings, residents: list[Resident], owner: asyncpg.Connection
) -> None:
    ash = residents[0]
    async with serving(config) as api:
        for length in (510, 520, 530):
            await api.get("/users", headers=ash.headers)
            await owner.execute(
                f"ALTER TABLE {ash.schema}.users ALTER COLUMN first_name TYPE varchar({length})"
            )
            answer = await api.get("/users", headers=ash.headers)
            if answer.status_code != 200:
                problem(answer, 503, "unavailable")
            again = await api.get("/users", headers=ash.headers)
            assert [user["first_name"] for user in again.json()["items"]] == [ash.canary]


async def test_the_preamble_is_one_message_with_tripwire_and_role(
    app_login: asyncpg.Connection, residents: list[Resident]
) -> None:
    ash, birch, *_ = residents
    await app_login.execute(preamble(ash.schema))
    row = await one(app_login, "SELECT current_user, session_user")
    assert tuple(row) == (ash.schema, "tenantry_app")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):  # hardened: a tenant's role sets nothing at all
        await app_login.execute(preamble(birch.schema))
    await app_login.execute("ROLLBACK")
    assert await app_login.fetchval("SELECT current_user") == "tenantry_app"
