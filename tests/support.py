"""Helpers for all tests: wait for a condition, sign tenants up, run the API and provisioners."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar, cast
from uuid import UUID

import asyncpg
import httpx
import msgspec

from api.app import create_app
from db.audit import By
from db.settings import Settings
from db.tenants import signup
from db.tenants.signup import SignedUp
from provisioner.__main__ import run as run_provisioner

Client = httpx.AsyncClient
T = TypeVar("T")

OWNER_PASSWORD = "owner-password"
APP_PASSWORD = "app-password"
SIGNUP_PASSWORD = "signup-password"


async def eventually(probe: Callable[[], Awaitable[T]], *, within: float = 20.0, what: str = "it") -> T:
    """Call ``probe`` until it returns a true value, and return that value.

    Args:
        probe: the function to call; an assertion error counts as a false value.
        within: seconds to wait at most.
        what: name of the condition, for the error's message.

    Raises:
        AssertionError: the condition did not come true in time.
    """
    deadline = time.monotonic() + within
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = await probe()
            if last:
                return last
        except AssertionError as error:
            last = error
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {within:g} s; last seen: {last!r}")


class Tenant(msgspec.Struct, frozen=True):
    """A tenant as its client knows it: with an API key."""

    id: str
    slug: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request of the tenant's client."""
        return {"tenant": self.slug, "authorization": f"Bearer {self.key}"}

    @property
    def bearer(self) -> dict[str, str]:
        """The authorization header alone."""
        return {"authorization": f"Bearer {self.key}"}


async def requested(api: Client, slug: str, **fields: Any) -> Tenant:
    """Sign a tenant up without waiting until it is active."""
    answer = await api.post("/tenants", json={"name": slug.title(), "slug": slug, **fields})
    assert answer.status_code == 202, answer.text
    body = answer.json()
    return Tenant(body["id"], body["slug"], body["api_key"])


async def status(api: Client, tenant: Tenant) -> str:
    """Return a tenant's status, read with the tenant's own key."""
    answer = await api.get(f"/tenants/{tenant.slug}", headers=tenant.bearer)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["status"])


BY_TEST = By("test")


async def signed_up(connection: asyncpg.Connection, slug: str, **more: Any) -> SignedUp:
    """Sign a tenant up in the database, without the API, in the caller's transaction."""
    return await signup.sign_up(connection, signup.checked(name=slug, slug=slug, **more), BY_TEST)


async def one(connection: asyncpg.Connection, sql: str, *values: Any) -> asyncpg.Record:
    """Return the first row of a query, and check that there is one."""
    row = await connection.fetchrow(sql, *values)
    assert row is not None, sql
    return row


async def its_time_comes(owner: asyncpg.Connection, message_id: UUID | str) -> None:
    """Make a message that waits for a retry due at once."""
    await owner.execute("UPDATE shared.messages SET available_at = now() WHERE id = $1", message_id)


async def becomes(api: Client, tenant: Tenant, wanted: str, *, within: float = 20.0) -> None:
    """Wait until a tenant has the wanted status, for up to ``within`` seconds."""

    async def probe() -> bool:
        seen = await status(api, tenant)
        assert seen == wanted, seen
        return True

    await eventually(probe, within=within, what=f"{tenant.slug} {wanted}")


async def sign_up(api: Client, slug: str, **fields: Any) -> Tenant:
    """Sign a tenant up and wait until it is active."""
    tenant = await requested(api, slug, **fields)
    await becomes(api, tenant, "active")
    return tenant


@contextlib.asynccontextmanager
async def held(context: contextlib.AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
    """Keep a context manager open in one task, since a fixture may begin and end in different tasks."""
    entered: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def hold() -> None:
        try:
            async with context as value:
                entered.set_result(value)
                await leave.wait()
        except BaseException as error:
            if not entered.done():
                entered.set_exception(error)
                return
            raise

    task = asyncio.create_task(hold())
    try:
        yield await entered
    finally:
        leave.set()
        await task


class Service:
    """Runs a coroutine on the test's event loop until it is told to stop.

    Args:
        main: the function to run; its argument is the event that tells it to stop.
    """

    def __init__(self, main: Callable[[asyncio.Event], Awaitable[None]]) -> None:
        self._main = main
        self._stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        async def body() -> None:
            await self._main(self._stop)

        self._stop = asyncio.Event()
        self._task = asyncio.create_task(body())
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Tell the service to stop, and check that it ends without an error."""
        if self._task is not None:
            self._stop.set()
            await asyncio.wait_for(self._task, 30)
            self._task = None

    async def crash(self) -> None:
        """Cancel the service, wherever it is."""
        assert self._task is not None
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None


@contextlib.asynccontextmanager
async def serving(config: Settings, *routes: Any) -> AsyncIterator[Client]:
    """Run the API, with more routes if any are given, on the test's event loop, and yield a client for it."""
    app = create_app(config)
    for route in routes:
        app.register(route)
    async with held(app.lifespan()):
        transport = httpx.ASGITransport(app=cast("Any", app), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver.local") as client:
            yield client


@contextlib.asynccontextmanager
async def provisioning(config: Settings) -> AsyncIterator[Service]:
    """Run a provisioner on the test's own event loop, and yield it as a service."""
    service = Service(lambda stop: run_provisioner(config, stop))
    await service.start()
    try:
        yield service
    finally:
        await service.stop()


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Check that an answer is a problem of this status and kind, and return its body."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["type"] == f"/problems/{kind}", body
    assert body["status"] == status
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def kind_only(answer: httpx.Response) -> dict[str, object]:
    """Return a problem's body without the members that differ between two answers of the same kind."""
    return {name: value for name, value in answer.json().items() if name not in {"instance", "request_id"}}
