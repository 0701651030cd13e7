"""``/health``: tells whether the process is alive, and whether it can serve requests."""

import asyncio
from typing import Literal

import asyncpg
import msgspec
from litestar import Controller, Response, get

from api.gate.caller import ApiRequest
from api.gate.rules import public
from api.gate.serving import count_out_of_range
from db.ledger import heartbeats, pause
from db.migrations.lineage import Lineage
from db.migrations.run import current_revision
from db.server import version
from db.session.connection import Connection
from db.session.failures import UnavailableError
from db.session.pooler import PooledError
from db.session.tenancy import Database
from db.settings import Settings
from db.tenants import lists


class Live(msgspec.Struct, frozen=True):
    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct, frozen=True):
    """Whether the process can serve requests.

    Args:
        status: ``ok``; ``degraded`` if tenants are served but none is provisioned for now; ``unavailable`` if
            no requests can be served.
        postgres: ``up``, ``down``, ``unsupported`` if the server is too old for tenants' roles, or ``pooled`` if a
            pooler between gives each transaction another server connection.
        shared_revision: the revision of the shared schema; None if it is missing or not known.
        broker: the broker's state in the provisioners' last heartbeats; ``unknown`` if there are none.
        provisioners: number of provisioners whose heartbeats are heard.
        paused: whether operators have paused the provisioners.
        out_of_range: number of active tenants that are answered 503, as this release does not serve their revisions.
        problem: what an operator can do, if ``postgres`` is ``pooled``.
    """

    status: Literal["ok", "degraded", "unavailable"]
    postgres: Literal["up", "down", "unsupported", "pooled"]
    shared_revision: str | None
    broker: Literal["up", "down", "in-process", "unknown"]
    provisioners: int
    paused: bool = False
    out_of_range: int = 0
    problem: str | None = None


class HealthController(Controller):
    path = "/health"
    tags = ("Health",)

    @get("/live", opt=public(), summary="The process answers")
    async def live(self) -> Live:
        return Live()

    @get("/ready", opt=public(), summary="The process can serve")
    async def ready(self, request: ApiRequest) -> Response[Ready]:
        settings: Settings = request.app.state.settings
        state = request.app.state
        found = await readiness(request.auth.database, state.shared_lineage, state.tenant_lineage, settings)
        return Response(found, status_code=503 if found.status == "unavailable" else 200)


async def readiness(database: Database, shared: Lineage, tenants: Lineage, settings: Settings) -> Ready:
    """Check PostgreSQL, the shared revision and the provisioners' heartbeats.

    Args:
        database: the API's connections.
        shared: the shared lineage that this release knows.
        tenants: the tenant lineage that this release knows.
        settings: `ready_timeout` bounds the check; `heartbeat_timeout` says how old a heartbeat may be.
    """
    try:
        async with asyncio.timeout(settings.ready_timeout), database.shared() as connection:
            if not await _supported(connection):
                return Ready("unavailable", "unsupported", None, "unknown", 0)
            revision = await current_revision(connection, "shared")
            if not _fits(shared, revision):
                return Ready("unavailable", "up", revision, "unknown", 0)
            heard = await heartbeats.get_heard(connection, silent_after=settings.heartbeat_timeout)
            paused = await pause.is_paused(connection)
            counts = await lists.count_by_revision(connection)
    except PooledError as error:
        return Ready("unavailable", "pooled", None, "unknown", 0, problem=str(error))
    except (UnavailableError, TimeoutError, asyncpg.PostgresError, OSError):
        return Ready("unavailable", "down", None, "unknown", 0)
    well = heard.broker in {"up", "in-process"} and not paused
    return Ready(
        "ok" if well else "degraded",
        "up",
        revision,
        heard.broker or "unknown",
        heard.count,
        paused,
        count_out_of_range(tenants, counts),
    )


async def _supported(connection: Connection) -> bool:
    try:
        await version.check(connection)
    except version.UnsupportedServerError:
        return False
    return True


def _fits(shared: Lineage, revision: str | None) -> bool:
    """Return whether this release can run on the shared revision: its own head, or a newer, unknown one."""
    return revision is not None and (revision == shared.head or not shared.knows(revision))
