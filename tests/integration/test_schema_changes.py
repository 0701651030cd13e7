"""A request that finds its tenant's schema otherwise than the cached registry says gets 503, and never 500."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, cast

import asyncpg
import httpx
import pytest
from litestar import get
from sqlalchemy import column, select

from api.gate.caller import ApiRequest
from api.gate.rules import tenant
from db.models.access import User
from db.server import roles
from db.session.statements import Statement
from db.settings import Settings
from tests.isolation import Resident
from tests.shell import alembic
from tests.support import Client, problem, serving

RENAMED = "ALTER TABLE {schema}.users RENAME TO people"
REPLACED = "CREATE TABLE {schema}.users (LIKE {schema}.people)"  # and not granted yet
CHANGES = {
    "table renamed": (RENAMED, "UndefinedTableError"),
    "table replaced": (f"{RENAMED}; {REPLACED}", "InsufficientPrivilegeError"),
    "column renamed": ("ALTER TABLE {schema}.users RENAME first_name TO given", "UndefinedColumnError"),
    "rights gone": ("REVOKE ALL ON {schema}.users FROM {schema}", "InsufficientPrivilegeError"),
    "schema closed": ("REVOKE USAGE ON SCHEMA {schema} FROM {schema}", "InsufficientPrivilegeError"),
    "schema gone": ("DROP SCHEMA {schema} CASCADE", "UndefinedTableError"),
}


def not_ready(answer: httpx.Response) -> None:
    problem(answer, 503, "tenant-not-ready")
    assert int(answer.headers["retry-after"]) > 0


def errors(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """Return what was logged as an error."""
    return [cast("dict[str, Any]", record.msg) for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_schema_that_changed_under_the_cache_is_not_ready(
    api: Client,
    owner: asyncpg.Connection,
    residents: list[Resident],
    caplog: pytest.LogCaptureFixture,
    change: str,
) -> None:
    ash, birch, *_ = residents
    statement, error = CHANGES[change]
    for _ in range(2):  # the second is served from the cache, by a prepared statement
        assert (await api.get("/users", headers=ash.headers)).status_code == 200
    await owner.execute(statement.replace("{schema}", ash.schema))
    not_ready(await api.get("/users", headers=ash.headers))
    (logged,) = errors(caplog)
    assert (logged["tenant"], logged["error"]) == ("bakery", error)
    assert (await api.get("/users", headers=birch.headers)).status_code == 200


async def test_a_tenant_without_its_role_is_not_ready(
    api: Client, owner: asyncpg.Connection, residents: list[Resident], caplog: pytest.LogCaptureFixture
) -> None:
    assert (await api.get("/users", headers=residents[0].headers)).status_code == 200
    async with owner.transaction():
        await roles.drop_schema(owner, residents[0].schema)
    not_ready(await api.get("/users", headers=residents[0].headers))
    assert [logged["error"] for logged in errors(caplog)] == ["NoRoleError"]


async def test_the_tenant_is_looked_up_again_after_that(
    api: Client, owner: asyncpg.Connection, superuser: asyncpg.Connection, residents: list[Resident]
) -> None:
    ash = residents[0]
    await superuser.execute("ALTER TABLE shared.tenants DISABLE TRIGGER ALL")  # nobody tells the API

    async def answered() -> int:
        return (await api.get("/users", headers=ash.headers)).status_code

    assert await answered() == 200
    await owner.execute("UPDATE shared.tenants SET status = 'suspended' WHERE id = $1", ash.id)
    assert await answered() == 200
    await owner.execute(RENAMED.replace("{schema}", ash.schema))
    assert await answered() == 503
    problem(await api.get("/users", headers=ash.headers), 403, "tenant-suspended")


async def test_requests_that_fall_into_a_downgrade_are_never_500(
    api: Client, config: Settings, residents: list[Resident]
) -> None:
    ash, birch, *_ = residents
    seen: Counter[str] = Counter()
    done = asyncio.Event()

    async def keep_asking(path: str) -> None:
        while not done.is_set():
            answer = await api.get(path, headers=ash.headers)
            kind = "" if answer.status_code == 200 else answer.json()["type"].rpartition("/")[2]
            seen[f"{answer.status_code} {kind}".strip()] += 1
            await asyncio.sleep(
                0
            )  # an answer out of the cache waits for nothing, and nothing else would be run

    async with asyncio.TaskGroup() as tasks:
        for path in ("/users", "/roles", "/permissions", "/users/1"):
            tasks.create_task(keep_asking(path))
        await alembic(config, "-x", "tenant=bakery", "downgrade", "base")
        done.set()
    kinds = ("tenant-not-ready", "tenant-out-of-range", "overloaded", "unavailable")
    # Unavailable: a request and the downgrade wait for locks of each other, and PostgreSQL ends the request.
    assert seen.keys() <= {"200", *(f"503 {kind}" for kind in kinds)}, seen
    not_ready(await api.get("/users", headers=ash.headers))
    assert (await api.get("/users", headers=birch.headers)).status_code == 200


WRONG = Statement(select(column("colour")).select_from(User))


@get("/wrong", opt=tenant("users:read"))
async def wrong(request: ApiRequest) -> None:
    """Select a column that no revision makes."""
    async with request.auth.transaction() as transaction:
        await transaction.fetch(WRONG)


@pytest.fixture
async def mistaken(config: Settings) -> AsyncIterator[Client]:
    """The API with a route that cannot work."""
    async with serving(config, wrong) as client:
        yield client


async def test_a_column_that_no_revision_makes_is_in_the_log_as_an_error(
    mistaken: Client, residents: list[Resident], caplog: pytest.LogCaptureFixture
) -> None:
    not_ready(await mistaken.get("/wrong", headers=residents[0].headers))
    (logged,) = errors(caplog)
    assert logged["error"] == "UndefinedColumnError"
    assert 'column "colour" does not exist' in logged["exception"]
