"""The provisioners, as operators steer them: paused, all of them at once, and resumed."""

from db import audit
from db.audit import By
from db.ledger import pause as pauses
from db.ledger.pause import Pause
from db.session.connection import Connection


async def pause(connection: Connection, by: By) -> Pause:
    """Stop commands everywhere; those in hand are finished. Within the caller's transaction."""
    await audit.record(connection, by, "provisioner.pause")
    return await pauses.change(connection, paused=True, reason=by.reason, changed_by=by.actor)


async def resume(connection: Connection, by: By) -> Pause:
    """Let commands go on everywhere. Within the caller's transaction."""
    await audit.record(connection, by, "provisioner.resume")
    return await pauses.change(connection, paused=False, reason=by.reason, changed_by=by.actor)
