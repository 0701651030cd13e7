"""Switches: what operators turn on for all processes at once. A change wakes whoever listens to the ledger."""

from datetime import datetime
from typing import Final, Literal

import msgspec

from db import audit
from db.audit import By
from db.connection import Connection

PAUSED: Final = "provisioner.paused"
"""Commands are neither published nor begun; events go on."""

IS_PAUSED: Final = f"EXISTS (SELECT FROM shared.switches WHERE name = '{PAUSED}' AND enabled)"
"""An SQL condition."""


class Switch(msgspec.Struct, frozen=True):
    """What a switch is set to, by whom, when and why."""

    enabled: bool = False
    reason: str | None = None
    changed_by: str | None = None
    changed_at: datetime | None = None


async def read(connection: Connection, name: str = PAUSED) -> Switch:
    """Return a switch; one that nobody has touched is off."""
    row = await connection.fetchrow(
        "SELECT enabled, reason, changed_by, changed_at FROM shared.switches WHERE name = $1", name
    )
    return Switch(*row.values()) if row else Switch()


async def paused(connection: Connection) -> bool:
    """Say whether the provisioners are paused."""
    return bool(await connection.fetchval(f"SELECT {IS_PAUSED}"))


async def pause(connection: Connection, *, by: By) -> Switch:
    """Stop commands everywhere; those in hand are finished. Within the caller's transaction."""
    return await _set(connection, "pause", by)


async def resume(connection: Connection, *, by: By) -> Switch:
    """Let commands go on everywhere. Within the caller's transaction."""
    return await _set(connection, "resume", by)


async def _set(connection: Connection, verb: Literal["pause", "resume"], by: By) -> Switch:
    row = await connection.fetchrow(
        """
        INSERT INTO shared.switches (name, enabled, reason, changed_by) VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled, reason = excluded.reason,
          changed_by = excluded.changed_by, changed_at = now()
        RETURNING enabled, reason, changed_by, changed_at
        """,
        PAUSED,
        verb == "pause",
        by.reason,
        by.actor,
    )
    assert row is not None  # noqa: S101 - an upsert returns its row
    await audit.record(
        connection,
        actor=by.actor,
        action=f"provisioner.{verb}",
        request_id=by.request_id,
        detail={"reason": by.reason},
    )
    return Switch(*row.values())
