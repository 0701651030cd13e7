"""The pause: a switch that keeps commands from being published and begun. Events go on.

Changing the switch notifies the listeners to the ledger. Operators change it with `db.control.provisioner`.
"""

from datetime import datetime
from typing import Final

import msgspec

from db.session.connection import Connection

_SWITCH: Final = "provisioner.paused"

IS_PAUSED: Final = f"EXISTS (SELECT FROM shared.switches WHERE name = '{_SWITCH}' AND enabled)"
"""SQL condition that is true while the provisioners are paused."""


class Pause(msgspec.Struct, frozen=True):
    """Whether the provisioners are paused, and who changed the switch last, when and why."""

    paused: bool = False
    reason: str | None = None
    changed_by: str | None = None
    changed_at: datetime | None = None


async def get(connection: Connection) -> Pause:
    """Return the state of the switch. If it was never changed, the provisioners are not paused."""
    row = await connection.fetchrow(
        "SELECT enabled, reason, changed_by, changed_at FROM shared.switches WHERE name = $1", _SWITCH
    )
    return Pause(*row.values()) if row else Pause()


async def is_paused(connection: Connection) -> bool:
    """Return True if the provisioners are paused."""
    return bool(await connection.fetchval(f"SELECT {IS_PAUSED}"))


async def change(connection: Connection, *, paused: bool, reason: str | None, changed_by: str) -> Pause:
    """Pause or resume the provisioners, in the caller's transaction."""
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
