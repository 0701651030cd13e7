"""The backlog: figures of what waits in the ledger.

The queries read open and parked messages only, so their cost does not grow with the handled ones.
"""

from typing import Final

import msgspec

from db.session.connection import Connection


class Backlog(msgspec.Struct, frozen=True):
    """The backlog at one moment.

    Args:
        unpublished: seconds that the oldest pending message has waited; 0 if no message waits.
        unhandled: seconds that the oldest open command has waited to be handled; 0 if no command waits.
        counts: numbers of open and parked messages, by kind and status.
        parked: numbers of parked messages, by error class.
    """

    unpublished: float
    unhandled: float
    counts: dict[tuple[str, str], int]
    parked: dict[str, int]


# Seconds since the message was written or last replayed.
_WAITING: Final = (
    "extract(epoch FROM now() - min("
    "CASE WHEN replays > 0 THEN least(available_at, now()) ELSE created_at END))"
)
# Each side of the OR matches a partial index.
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
    """Return the backlog.

    Args:
        connection: of a login that may read the ledger.
    """
    oldest = await connection.fetchrow(_OLDEST)
    assert oldest is not None  # a SELECT without FROM returns one row
    return Backlog(
        unpublished=float(oldest["unpublished"] or 0),
        unhandled=float(oldest["unhandled"] or 0),
        counts={(row["kind"], row["status"]): row["count"] for row in await connection.fetch(_COUNTS)},
        parked={row["error_class"]: row["count"] for row in await connection.fetch(_PARKED)},
    )
