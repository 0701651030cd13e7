"""Rollouts as operators begin, watch and steer them over HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import httpx

from db.control import rollout_acts, rollout_orders
from db.migrations.lineage import Lineage
from db.settings import Settings
from tests.benchmarks.fleet import grow
from tests.support import BY_TEST, Client, eventually

WHY = {"reason": "a test"}


class Fleet:
    """What an operator does with rollouts.

    Args:
        api: a client of the API.
        headers: the operator's.
    """

    def __init__(self, api: Client, headers: dict[str, str]) -> None:
        self._api = api
        self._headers = headers

    async def asks(self, **body: Any) -> httpx.Response:
        """Order a rollout, and return the answer."""
        return await self._api.post("/cc/rollouts", headers=self._headers, json=WHY | body)

    async def begins(self, **body: Any) -> str:
        """Begin a rollout, and return its id."""
        answer = await self.asks(**body)
        assert answer.status_code == 202, answer.text
        begun = answer.json()
        assert answer.headers["location"] == f"/cc/rollouts/{begun['id']}"
        return str(begun["id"])

    async def plans(self, **body: Any) -> dict[str, Any]:
        """Return the plan of a rollout."""
        answer = await self._api.post("/cc/rollouts", headers=self._headers, json=body | {"dry_run": True})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def sees(self, rollout_id: str) -> dict[str, Any]:
        """Return a rollout."""
        answer = await self._api.get(f"/cc/rollouts/{rollout_id}", headers=self._headers)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def does(self, act: str, rollout_id: str) -> httpx.Response:
        """Pause, resume, abort or retry a rollout, and return the answer."""
        return await self._api.post(f"/cc/rollouts/{rollout_id}/{act}", headers=self._headers, json=WHY)

    async def has(self, act: str, rollout_id: str) -> str:
        """Pause, resume, abort or retry a rollout, and return its new status."""
        answer = await self.does(act, rollout_id)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["status"])

    async def becomes(self, rollout_id: str, status: str, *, within: float = 30) -> dict[str, Any]:
        """Wait until a rollout has a status, and return it."""

        async def probe() -> dict[str, Any]:
            found = await self.sees(rollout_id)
            assert found["status"] == status, found
            return found

        found = await eventually(probe, within=within, what=f"a rollout that is {status}")
        assert found is not None
        return found

    async def rests(self, rollout_id: str) -> dict[str, Any]:
        """Wait until nobody of a rollout is under way, and return it."""

        async def probe() -> dict[str, Any]:
            found = await self.sees(rollout_id)
            assert found["tenants"]["running"] == 0, found
            return found

        found = await eventually(probe, what="a rollout of which nobody is under way")
        assert found is not None
        return found

    async def notes(self, rollout_id: str, words: str) -> None:
        """Wait until a rollout says why it does not go on."""

        async def probe() -> bool:
            return bool((await self.sees(rollout_id))["note"] == words)

        await eventually(probe, what=f"a note: {words}")

    async def tenants(self, rollout_id: str, status: str | None = None) -> list[dict[str, Any]]:
        """Return a rollout's tenants, all pages of them."""
        found: list[dict[str, Any]] = []
        wanted: dict[str, Any] = {"limit": 100} | ({"status": status} if status else {})
        cursor: str | None = None
        while True:
            answer = await self._api.get(
                f"/cc/rollouts/{rollout_id}/tenants",
                headers=self._headers,
                params=wanted | ({"cursor": cursor} if cursor else {}),
            )
            assert answer.status_code == 200, answer.text
            page = answer.json()
            found += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found


async def shops(config: Settings, count: int) -> None:
    """Make tenants with a user each, made by SQL as provisioning makes them: ``shop000000`` and so on."""
    await grow(config, [], count, with_rows=False)


async def begun(owner: asyncpg.Connection, chain: Lineage) -> UUID:
    """Begin a rollout to the head that nobody carries out, though it runs; return its id."""
    order = rollout_orders.order(chain, target="head")
    async with owner.transaction():
        rollout = await rollout_acts.start(owner, BY_TEST, order)
    await owner.execute("UPDATE shared.rollouts SET status = 'running'")
    return rollout.id


async def events(owner: asyncpg.Connection) -> list[str]:
    """Return the types of all events of rollouts, oldest first."""
    rows = await owner.fetch(
        "SELECT type FROM shared.messages WHERE type LIKE 'rollout.%' AND kind = 'event' ORDER BY id"
    )
    return [row["type"] for row in rows]


async def moved(owner: asyncpg.Connection, revision: str = "r1") -> int:
    """Return how many tenants are at a revision, by the registry."""
    count: int = await owner.fetchval("SELECT count(*) FROM shared.tenants WHERE revision = $1", revision)
    return count


async def waves(owner: asyncpg.Connection, rollout_id: str) -> list[int]:
    """Return how many tenants are in each wave of a rollout."""
    rows = await owner.fetch(
        "SELECT count(*) AS count FROM shared.rollout_tenants WHERE rollout_id = $1 AND wave IS NOT NULL"
        " GROUP BY wave ORDER BY wave",
        rollout_id,
    )
    return [row["count"] for row in rows]


@asynccontextmanager
async def untouchable(url: str) -> AsyncIterator[None]:
    """Let nobody read or write a table in any tenant's schema, so that whoever tries comes to no end."""
    session = await asyncpg.connect(url)
    try:
        async with session.transaction():
            tables = await session.fetch(
                "SELECT format('%I.%I', n.nspname, c.relname) AS name"
                " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE n.nspname ~ '^t_[a-z2-7]{16}$' AND c.relkind = 'r'"
            )
            assert tables
            await session.execute(
                f"LOCK TABLE {', '.join(row['name'] for row in tables)} IN ACCESS EXCLUSIVE MODE"
            )
            yield
    finally:
        await session.close()
