"""The backlog: what waits in the ledger, at a cost bounded by what is open and parked."""

from typing import Final

import msgspec

from db.session.connection import Connection


class Backlog(msgspec.Struct, frozen=True):
    """Figures of the ledger at one moment.

    Args:
        unpublished: seconds that the oldest message has waited to be published; 0 if none does.
        unhandled: seconds that the oldest command has waited to be handled; 0 if none does.
        counts: open and parked messages, by kind and status.
        parked: parked messages, by error class.
    """

    unpublished: float
    unhandled: float
    counts: dict[tuple[str, str], int]
    parked: dict[str, int]


# Since it was written, or last replayed. Handled rows, of which there are many, are not looked at.
_WAITING: Final = (
    "extract(epoch FROM now() - min("
    "CASE WHEN replays > 0 THEN least(available_at, now()) ELSE created_at END))"
)
# Each arm has an index of its own.
_OLDEST: Final = f"""
SELECT (SELECT {_WAITING} FROM shared.messages WHERE status = 'pending') AS unpublished,
       (SELECT {_WAITING} FROM shared.messages
        WHERE status = 'pending' AND kind = 'command' OR status = 'published' AND kind = 'command') AS unhandled
"""
_COUNTS: Final = """
SELECT kind, status, count(*) AS count FROM shared.messages
WHERE status = 'pending' OR status = 'parked' OR status = 'published' AND kind = 'command' GROUP BY kind, status
"""
_PARKED: Final = """
SELECT coalesce(error_class, '') AS error_class, count(*) AS count
FROM shared.messages WHERE status = 'parked' GROUP BY 1 ORDER BY 2 DESC LIMIT 100
"""


async def get(connection: Connection) -> Backlog:
    """Return the figures.

    Args:
        connection: anybody's who may read the ledger.
    """
    oldest = await connection.fetchrow(_OLDEST)
    assert oldest is not None  # it has no condition
    return Backlog(
        unpublished=float(oldest["unpublished"] or 0),
        unhandled=float(oldest["unhandled"] or 0),
        counts={(row["kind"], row["status"]): row["count"] for row in await connection.fetch(_COUNTS)},
        parked={row["error_class"]: row["count"] for row in await connection.fetch(_PARKED)},
    )
