"""Operators: act on tenants through the control center's routes."""

from typing import Any

import httpx

from tests.support import Client


class Operator:
    """An operator who acts on tenants.

    Args:
        api: a client of the API.
        token: the operator's token.
    """

    def __init__(self, api: Client, token: str) -> None:
        self._api = api
        self._headers = {"authorization": f"Bearer {token}"}

    async def does(self, act: str, slug: str, /, **body: Any) -> httpx.Response:
        """Request ``act`` on a tenant and return the response, whatever its status."""
        if act == "delete":
            return await self._api.delete(f"/cc/tenants/{slug}", headers=self._headers, params=body)
        return await self._api.post(f"/cc/tenants/{slug}/{act}", headers=self._headers, json=body or None)

    async def has(self, act: str, slug: str, /, **body: Any) -> dict[str, Any]:
        """Request ``act`` on a tenant, check that it succeeds, and return the body of the answer."""
        answer = await self.does(act, slug, **body)
        assert answer.status_code in {200, 204}, answer.text
        done: dict[str, Any] = answer.json() if answer.content else {}
        return done

    async def sees(self, slug: str, /) -> dict[str, Any]:
        """Return a tenant as the control center shows it."""
        answer = await self._api.get(f"/cc/tenants/{slug}", headers=self._headers)
        assert answer.status_code == 200, answer.text
        seen: dict[str, Any] = answer.json()
        return seen
