"""Pausing and resuming all provisioners, for operators."""

from db import audit
from db.audit import By
from db.ledger import pause as pauses
from db.ledger.pause import Pause
from db.session.connection import Connection


async def pause(connection: Connection, by: By) -> Pause:
    """Pause all provisioners, in the caller's transaction. Commands in hand are finished."""
    await audit.record(connection, by, "provisioner.pause")
    return await pauses.change(connection, paused=True, reason=by.reason, changed_by=by.actor)


async def resume(connection: Connection, by: By) -> Pause:
    """Resume all provisioners, in the caller's transaction."""
    await audit.record(connection, by, "provisioner.resume")
    return await pauses.change(connection, paused=False, reason=by.reason, changed_by=by.actor)
