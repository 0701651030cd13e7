"""The pause: while it is on, commands are neither published nor begun; events go on.

Throwing the switch wakes whoever listens to the ledger. `db.control.provisioner` is what operators throw it by.
"""

from datetime import datetime
from typing import Final

import msgspec

from db.session.connection import Connection

_SWITCH: Final = "provisioner.paused"

IS_PAUSED: Final = f"EXISTS (SELECT FROM shared.switches WHERE name = '{_SWITCH}' AND enabled)"
"""The SQL condition that the provisioners are paused."""


class Pause(msgspec.Struct, frozen=True):
    """Whether the provisioners are paused, and who changed that last, when and why."""

    paused: bool = False
    reason: str | None = None
    changed_by: str | None = None
    changed_at: datetime | None = None


async def get(connection: Connection) -> Pause:
    """Return whether the provisioners are paused, and since when; they are not if nobody ever paused them."""
    row = await connection.fetchrow(
        "SELECT enabled, reason, changed_by, changed_at FROM shared.switches WHERE name = $1", _SWITCH
    )
    return Pause(*row.values()) if row else Pause()


async def is_paused(connection: Connection) -> bool:
    """Say whether the provisioners are paused."""
    return bool(await connection.fetchval(f"SELECT {IS_PAUSED}"))


async def change(connection: Connection, *, paused: bool, reason: str | None, changed_by: str) -> Pause:
    """Pause the provisioners, or let them go on, in the caller's transaction."""
    row = await connection.fetchrow(
        """
        INSERT INTO shared.switches (name, enabled, reason, changed_by) VALUES ($1, $2, $3, $4)
        ON CONFLICT (name) DO UPDATE SET enabled = excluded.enabled, reason = excluded.reason,
          changed_by = excluded.changed_by, changed_at = now()
        RETURNING enabled, reason, changed_by, changed_at
        """,
        _SWITCH,
        paused,
        reason,
        changed_by,
    )
    assert row is not None  # an upsert returns its row
    return Pause(*row.values())
