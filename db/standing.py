"""How things stand: what waits in the ledger, and the tenants by status, at a cost bounded by what is open."""

import msgspec

from db.connection import Connection
from db.switches import IS_PAUSED


class Standing(msgspec.Struct, frozen=True):
    """Figures at one moment.

    Args:
        unpublished: seconds that the oldest message has waited to be published; 0 where none does.
        unhandled: seconds that the oldest command has waited to be handled; 0 where none does.
        backlog: open and parked messages, by kind and status.
        parked: parked messages by error class.
        tenants: tenants by status.
        provisioners: how many are heard.
        paused: whether they are paused.
    """

    unpublished: float
    unhandled: float
    backlog: dict[tuple[str, str], int]
    parked: dict[str, int]
    tenants: dict[str, int]
    provisioners: int
    paused: bool


# Since it was written, or last replayed. Handled rows, of which there are many, are not looked at.
_WAITING = "extract(epoch FROM now() - min(CASE WHEN replays > 0 THEN least(available_at, now()) ELSE created_at END))"

_ONE = f"""
SELECT (SELECT {_WAITING} FROM shared.messages WHERE status = 'pending') AS unpublished,
       (SELECT {_WAITING} FROM shared.messages
        WHERE status = 'pending' AND kind = 'command' OR status = 'published' AND kind = 'command') AS unhandled,
       (SELECT count(*) FROM shared.heartbeats WHERE seen_at > now() - make_interval(secs => $1)) AS provisioners,
       {IS_PAUSED} AS paused
"""
# Each arm has an index of its own.
_BACKLOG = """
SELECT kind, status, count(*) AS count FROM shared.messages
WHERE status = 'pending' OR status = 'parked' OR status = 'published' AND kind = 'command' GROUP BY kind, status
"""
_PARKED = """
SELECT coalesce(error_class, '') AS error_class, count(*) AS count
FROM shared.messages WHERE status = 'parked' GROUP BY 1 ORDER BY 2 DESC LIMIT 100
"""
_TENANTS = "SELECT status, count(*) AS count FROM shared.tenants GROUP BY status"


async def read(connection: Connection, *, silent_after: float) -> Standing:
    """Read the figures.

    Args:
        connection: anybody's who may read the ledger.
        silent_after: seconds after which a silent provisioner counts as gone.
    """
    row = await connection.fetchrow(_ONE, silent_after)
    assert row is not None  # noqa: S101 - it has no condition
    return Standing(
        unpublished=float(row["unpublished"] or 0),
        unhandled=float(row["unhandled"] or 0),
        backlog={(r["kind"], r["status"]): r["count"] for r in await connection.fetch(_BACKLOG)},
        parked={r["error_class"]: r["count"] for r in await connection.fetch(_PARKED)},
        tenants={r["status"]: r["count"] for r in await connection.fetch(_TENANTS)},
        provisioners=row["provisioners"],
        paused=row["paused"],
    )
