"""PgBouncer in front of PostgreSQL: its session mode serves, the other modes are found out and refused in words."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import msgspec
import pytest

from api.cli.doctor import examine
from db.settings import Settings
from tests.journey import everything_works
from tests.operators import Operator
from tests.pgbouncer import PgBouncer, carrying, pooled, through
from tests.processes import a_provisioner, running
from tests.shell import Finished, typed
from tests.support import (
    Client,
    Service,
    Tenant,
    eventually,
    problem,
    serving,
    sign_up,
)

WORDS = (
    "PostgreSQL is reached through a pooler in transaction mode: connect directly, or use its session mode"
)


@pytest.fixture
async def front(config: Settings, tmp_path: Path) -> AsyncIterator[PgBouncer]:
    """A pooler in session mode in front of the test's server."""
    async with pooled(tmp_path / "pooler", config) as pooler:
        yield pooler


def said(done: Finished) -> str:
    """Return what the shell said, without the box around it."""
    return " ".join((done.out + done.err).replace("│", " ").split())


async def test_everything_works_in_session_mode(
    config: Settings,
    front: PgBouncer,
    owner: asyncpg.Connection,
    tmp_path: Path,
    operator_token: str,
) -> None:
    behind = through(front, config)
    await everything_works(behind, owner, tmp_path / "newer", operator_token)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_the_api_serves_nothing_until_the_mode_is_session(
    config: Settings, front: PgBouncer, tenant: Tenant, mode: str
) -> None:
    await front.configure(pool_mode=mode)
    async with serving(through(front, config)) as api:
        ready = await api.get("/health/ready")
        assert ready.status_code == 503
        assert (ready.json()["postgres"], ready.json()["problem"]) == ("pooled", WORDS)
        problem(await api.get("/users", headers=tenant.headers), 503, "unavailable")
        await front.configure(pool_mode="session")
        await is_ready(api)
        assert (await api.get("/users", headers=tenant.headers)).status_code == 200


async def is_ready(api: Client, wanted: int = 200) -> None:
    async def probe() -> bool:
        return (await api.get("/health/ready")).status_code == wanted

    await eventually(probe, within=30, what=f"readiness {wanted}")


async def test_a_mode_that_is_changed_under_load_is_noticed_and_fails_no_request_otherwise(
    config: Settings,
    front: PgBouncer,
    provisioner: Service,
    operator_token: str,
) -> None:
    behind = through(front, config, pool_size=6)
    async with serving(behind) as api:
        tenants = [await sign_up(api, slug) for slug in ("ash", "birch", "cedar")]
        for each in tenants:
            await api.post("/users", headers=each.headers, json={"email": f"{each.slug}@example.com"})
        over = asyncio.Event()
        answers: list[tuple[str, httpx.Response]] = []

        async def load(tenant: Tenant) -> None:
            while not over.is_set():
                path = "/users" if len(answers) % 2 else "/roles"
                answers.append(
                    (tenant.slug if path == "/users" else "", await api.get(path, headers=tenant.headers))
                )
                await asyncio.sleep(0.01)  # as a client across a network would

        clients = [asyncio.create_task(load(each)) for each in tenants * 2]
        try:
            for extra in carrying():
                served = len(answers)
                await front.configure(pool_mode="transaction", **extra)
                await is_ready(api, 503)
                assert (await api.get("/health/ready")).json()["problem"] == WORDS
                await front.configure(pool_mode="session")
                await is_ready(api)
                assert len(answers) > served
        finally:
            over.set()
            await asyncio.gather(*clients)
        seen = {answer.status_code for _, answer in answers}
        assert seen == {200, 503}, [
            answer.text for _, answer in answers if answer.status_code not in {200, 503}
        ][:3]
        for slug, answer in answers:
            if slug and answer.status_code == 200:
                assert [user["email"] for user in answer.json()["items"]] == [f"{slug}@example.com"]
        done = await api.get("/users", headers=tenants[0].headers)
        assert done.status_code == 200

        async def hears() -> bool:
            await Operator(api, operator_token).does("suspend", "ash", reason="unpaid")
            return (await api.get("/users", headers=tenants[0].headers)).status_code == 403

        await eventually(hears, what="the revocation")


COMMANDS = {
    "alembic": ("alembic", "-x", "tenant=shared", "current"),
    "shell": ("litestar", "tokens", "list"),
    "bootstrap": ("litestar", "bootstrap"),
}


@pytest.mark.parametrize("command", COMMANDS)
async def test_a_command_refuses_in_one_line(config: Settings, front: PgBouncer, command: str) -> None:
    await front.configure(pool_mode="transaction")
    done = await typed(through(front, config), *COMMANDS[command])
    assert done.code != 0
    assert WORDS in said(done)
    assert "Traceback" not in said(done)


async def test_doctor_tells_which_login_goes_through_a_pooler(config: Settings, front: PgBouncer) -> None:
    await front.configure(pool_mode="transaction")
    behind = through(front, config)
    assert [(found.check, found.problem) for found in await examine(behind)] == [
        ("API login", WORDS),
        ("owner", WORDS),
    ]
    owner_only = msgspec.structs.replace(config, owner_database_url=behind.owner_database_url)
    assert [(found.check, found.problem) for found in await examine(owner_only)] == [("owner", WORDS)]


async def test_a_provisioner_refuses_to_start(config: Settings, front: PgBouncer) -> None:
    await front.configure(pool_mode="transaction")
    await ends(through(front, config), front, WORDS)


async def test_a_provisioner_ends_when_the_mode_is_changed(
    config: Settings, front: PgBouncer, api: Client
) -> None:
    await ends(through(front, config), front, WORDS, started=api)


async def test_a_pooler_that_refuses_what_is_sent_at_the_start_is_told_in_words(
    config: Settings, front: PgBouncer
) -> None:
    await front.configure(ignore_startup_parameters="extra_float_digits")
    behind = through(front, config)
    await ends(behind, front, "let the pooler pass it, by its ignore_startup_parameters")
    done = await typed(behind, "alembic", "-x", "tenant=shared", "current")
    assert done.code != 0
    assert "by its ignore_startup_parameters" in said(done)
    assert "Traceback" not in said(done)


async def ends(config: Settings, front: PgBouncer, words: str, *, started: Client | None = None) -> None:
    """Run a provisioner until it ends with these words and exit code 2; change the mode once it has started."""
    async with running(a_provisioner(config)) as process:
        if started is not None:
            await sign_up(started, "bakery")
            await front.configure(pool_mode="transaction")

        async def ended() -> bool:
            return not process.alive

        await eventually(ended, within=40, what="the end")
        assert process.exit_code == 2
        assert "OWNER_DATABASE_URL: " in process.tail()
        assert words in process.tail()
        assert "Traceback" not in process.tail()
