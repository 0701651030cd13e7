"""The timeline: what has happened to a tenant, as the ledger tells it."""

from datetime import datetime
from uuid import UUID

import msgspec

from db.session.connection import Connection


class Step(msgspec.Struct, frozen=True):
    """A command or event of a tenant.

    Args:
        type: the message's type.
        kind: ``command`` or ``event``.
        status: the ledger's.
        at: when it was handled or published, or else written.
        attempts: how often a command was tried.
        error_class: what kept it from being handled, where something did.
    """

    type: str
    kind: str
    status: str
    at: datetime
    attempts: int
    error_class: str | None


async def list_steps(connection: Connection, tenant_id: UUID, *, limit: int = 100) -> list[Step]:
    """Return a tenant's newest steps, oldest first.

    Args:
        connection: anybody's who may read the ledger.
        tenant_id: whose.
        limit: steps at most.
    """
    rows = await connection.fetch(
        """
        SELECT type, kind, status, coalesce(handled_at, published_at, created_at) AS at, attempts, error_class
        FROM shared.messages WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2
        """,
        tenant_id,
        limit,
    )
    return [Step(**dict(row)) for row in reversed(rows)]
