"""Heartbeats: what each provisioner process last reported of itself."""

import socket
from typing import Literal
from uuid import UUID

import msgspec

from db.session.connection import Connection

BrokerState = Literal["up", "down", "in-process"]


class Heard(msgspec.Struct, frozen=True):
    """The provisioners whose heartbeats are recent.

    Args:
        count: the number of provisioners.
        broker: the best state of the broker that one of them reports; None if there are no provisioners.
    """

    count: int
    broker: BrokerState | None


async def beat(connection: Connection, process_id: UUID, pid: int, broker: BrokerState, in_hand: int) -> None:
    """Record the heartbeat of a process on this host.

    Args:
        connection: of the owner.
        process_id: the id that the process has chosen for itself.
        pid: the process's number on this host.
        broker: the state of the broker, as the process sees it.
        in_hand: the number of commands that the process has received and not settled.
    """
    await connection.execute(
        """
        INSERT INTO shared.heartbeats (id, process, host, pid, broker, in_hand)
        VALUES ($1, 'provisioner', $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE
        SET broker = excluded.broker, in_hand = excluded.in_hand, seen_at = now()
        """,
        process_id,
        socket.gethostname(),
        pid,
        broker,
        in_hand,
    )


async def list_pids(connection: Connection) -> dict[UUID, int]:
    """Return the process numbers of this host's provisioners, by process id."""
    rows = await connection.fetch(
        "SELECT id, pid FROM shared.heartbeats WHERE host = $1", socket.gethostname()
    )
    return {row["id"]: row["pid"] for row in rows}


async def remove(connection: Connection, *process_ids: UUID) -> None:
    """Remove the heartbeats of processes that have ended."""
    await connection.execute("DELETE FROM shared.heartbeats WHERE id = ANY($1)", list(process_ids))


async def sweep(connection: Connection, *, silent_after: float) -> None:
    """Remove heartbeats that are older than ``silent_after`` seconds."""
    await connection.execute(
        "DELETE FROM shared.heartbeats WHERE seen_at < now() - make_interval(secs => $1)", silent_after
    )


async def count_in_hand(connection: Connection, *, silent_after: float) -> int:
    """Return how many commands provisioners have received and not settled.

    Args:
        connection: of a login that may read the table.
        silent_after: seconds after which a silent provisioner counts as gone.
    """
    return int(
        await connection.fetchval(
            "SELECT coalesce(sum(in_hand), 0) FROM shared.heartbeats"
            " WHERE seen_at > now() - make_interval(secs => $1)",
            silent_after,
        )
    )


async def get_heard(connection: Connection, *, silent_after: float) -> Heard:
    """Return the provisioners whose heartbeats are recent.

    Args:
        connection: of a login that may read the table.
        silent_after: seconds after which a silent provisioner counts as gone.
    """
    rows = await connection.fetch(
        "SELECT broker FROM shared.heartbeats WHERE seen_at > now() - make_interval(secs => $1)", silent_after
    )
    states = {row["broker"] for row in rows}
    best: tuple[BrokerState, ...] = ("up", "in-process", "down")
    return Heard(len(rows), next((state for state in best if state in states), None))
