"""Rollouts as operators begin, watch and steer them over HTTP."""

from typing import Any

import asyncpg
import httpx

from tests.support import Client, eventually

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


async def events(owner: asyncpg.Connection) -> list[str]:
    """Return the types of all events of rollouts, oldest first."""
    rows = await owner.fetch(
        "SELECT type FROM shared.messages WHERE type LIKE 'rollout.%' AND kind = 'event' ORDER BY id"
    )
    return [row["type"] for row in rows]


async def waves(owner: asyncpg.Connection, rollout_id: str) -> list[int]:
    """Return how many tenants are in each wave of a rollout."""
    rows = await owner.fetch(
        "SELECT count(*) AS count FROM shared.rollout_tenants WHERE rollout_id = $1 AND wave IS NOT NULL"
        " GROUP BY wave ORDER BY wave",
        rollout_id,
    )
    return [row["count"] for row in rows]


async def touches(owner: asyncpg.Connection) -> int:
    """Return how often tables of tenants' schemas were read or written, as PostgreSQL counts it."""
    await owner.execute("SELECT pg_stat_clear_snapshot()")
    count: int = await owner.fetchval(
        "SELECT coalesce(sum(seq_scan + coalesce(idx_scan, 0) + n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint"
        " FROM pg_stat_all_tables WHERE schemaname ~ '^t_[a-z2-7]{16}$'"
    )
    return count
