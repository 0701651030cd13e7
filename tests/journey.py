"""A journey: each program at work once through the same addresses, from bootstrap to an online revision."""

from pathlib import Path

import asyncpg

from api.cli.doctor import examine
from db.settings import Settings
from tests.migrations import HEAD, ONLINE, SCRIPT, asked, release, revisions, settles
from tests.operators import Operator
from tests.shell import alembic, typed
from tests.support import eventually, provisioning, serving, sign_up


async def everything_works(
    config: Settings, owner: asyncpg.Connection, folder: Path, operator_token: str
) -> None:
    """Check that everything works through the addresses of ``config``.

    Args:
        config: the settings.
        owner: a direct connection of the owner, to look at what was done.
        folder: an empty folder, for a release with more revisions.
        operator_token: an operator's.
    """
    done = await typed(config, "litestar", "bootstrap", "--json")
    assert done.code == 0, done.err
    async with serving(config) as api, provisioning(config):
        tenant = await sign_up(api, "bakery")
        made = await api.post("/users", headers=tenant.headers, json={"email": "ann@example.com"})
        assert made.status_code == 201
        ready = await api.get("/health/ready")
        assert (ready.status_code, ready.json()["postgres"]) == (200, "up")
        done = await typed(config, "litestar", "tenants", "suspend", "bakery", "--reason", "unpaid")
        assert done.code == 0, done.err

        async def refused() -> bool:
            return (await api.get("/users", headers=tenant.headers)).status_code == 403

        await eventually(refused, what="the revocation, which is heard")
        await Operator(api, operator_token).has("resume", "bakery", reason="paid")

        async def told() -> bool:
            waiting = "SELECT EXISTS (SELECT FROM shared.messages WHERE status = 'pending')"
            return not await owner.fetchval(waiting)

        # A relay that stops in the middle keeps its lease, behind which later messages of the tenant wait.
        await eventually(told, what="all messages published")
    await alembic(config, "-x", "tenant=bakery", "downgrade", "-1")
    assert await examine(config) == []
    newer = release(config, folder, SCRIPT, ONLINE)
    async with serving(newer) as api, provisioning(newer):
        await settles(owner, await asked(Operator(api, operator_token), "bakery"), "handled")
    assert await revisions(owner, "bakery") == ("r2", HEAD, "r2")
