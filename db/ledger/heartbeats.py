"""Heartbeats: what each provisioner process last said of itself."""

import socket
from typing import Literal
from uuid import UUID

import msgspec

from db.session.connection import Connection

BrokerState = Literal["up", "down", "in-process"]


class Heard(msgspec.Struct, frozen=True):
    """The provisioners that are heard now.

    Args:
        count: how many they are.
        broker: what the best placed of them says of the broker; None if there are none.
    """

    count: int
    broker: BrokerState | None


async def beat(connection: Connection, process_id: UUID, pid: int, broker: BrokerState, in_hand: int) -> None:
    """Say that a process of this host lives.

    Args:
        connection: the owner's.
        process_id: what the process calls itself.
        pid: its number on this host.
        broker: what it knows of the broker.
        in_hand: commands that it has received and not settled.
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
    """Return the numbers of this host's processes, by what they call themselves."""
    rows = await connection.fetch(
        "SELECT id, pid FROM shared.heartbeats WHERE host = $1", socket.gethostname()
    )
    return {row["id"]: row["pid"] for row in rows}


async def remove(connection: Connection, *process_ids: UUID) -> None:
    """Forget processes: nobody counts on them any more."""
    await connection.execute("DELETE FROM shared.heartbeats WHERE id = ANY($1)", list(process_ids))


async def sweep(connection: Connection, *, silent_after: float) -> None:
    """Forget processes that have said nothing for ``silent_after`` seconds."""
    await connection.execute(
        "DELETE FROM shared.heartbeats WHERE seen_at < now() - make_interval(secs => $1)", silent_after
    )


async def count_in_hand(connection: Connection, *, silent_after: float) -> int:
    """Return how many commands are in provisioners' hands.

    Args:
        connection: anybody's who may read the table.
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
    """Return what is heard of the provisioners.

    Args:
        connection: anybody's who may read the table.
        silent_after: seconds after which a silent provisioner counts as gone.
    """
    rows = await connection.fetch(
        "SELECT broker FROM shared.heartbeats WHERE seen_at > now() - make_interval(secs => $1)", silent_after
    )
    states = {row["broker"] for row in rows}
    best: tuple[BrokerState, ...] = ("up", "in-process", "down")
    return Heard(len(rows), next((state for state in best if state in states), None))
