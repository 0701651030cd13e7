"""The timeline: what has happened to a tenant, according to the ledger."""

from datetime import datetime
from uuid import UUID

import msgspec

from db.session.connection import Connection


class Step(msgspec.Struct, frozen=True):
    """A command or event of a tenant.

    Args:
        type: the message's type.
        kind: ``command`` or ``event``.
        status: the message's status.
        at: when the message was handled, or else published, or else written.
        attempts: the number of attempts at a command.
        error_class: the class of the last error, if there was one.
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
        connection: of a login that may read the ledger.
        tenant_id: the tenant's id.
        limit: most steps to return.
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
