"""Standing: figures of the whole system at one moment."""

import msgspec

from db.ledger import backlog, heartbeats, pause
from db.ledger.backlog import Backlog
from db.session.connection import Connection
from db.tenants import lists
from db.tenants.lists import AtRevision


class Standing(msgspec.Struct, frozen=True):
    """Figures of the whole system at one moment.

    Args:
        backlog: what waits in the ledger.
        tenants: the number of tenants in each state.
        revisions: the number of active tenants at each revision.
        provisioners: the number of provisioners with recent heartbeats.
        paused: whether the provisioners are paused.
    """

    backlog: Backlog
    tenants: dict[str, int]
    revisions: list[AtRevision]
    provisioners: int
    paused: bool


async def get(connection: Connection, *, silent_after: float) -> Standing:
    """Return the standing.

    Args:
        connection: of a login that may read the ledger and the registry.
        silent_after: seconds after which a silent provisioner counts as gone.
    """
    heard = await heartbeats.get_heard(connection, silent_after=silent_after)
    return Standing(
        backlog=await backlog.get(connection),
        tenants=await lists.count_by_status(connection),
        revisions=await lists.count_by_revision(connection),
        provisioners=heard.count,
        paused=await pause.is_paused(connection),
    )
