"""The audit log: who did what, written in the transaction of the change. Rows are only ever added.

Every change of an operator, of a tenant's client and of a sign-up flow is recorded here, and in one way.
Details have the names of the columns that they are about: ``key_id``, ``message_id``, ``replay_id``,
``user_id``, ``role_id``, ``permission_id``; ``fields`` are the names of what was changed.
"""

from typing import Any
from uuid import UUID

import msgspec

from db.session.connection import Connection


class By(msgspec.Struct, frozen=True):
    """Who acts, and why.

    Args:
        actor: the key id of the token, or ``shell:<user>``, ``provisioner``, ``anonymous``.
        request_id: the request's, or the id of the message that asked for it.
        reason: in their own words.
    """

    actor: str
    request_id: str | None = None
    reason: str | None = None


async def record(
    connection: Connection,
    by: By,
    action: str,
    *,
    tenant_id: UUID | None = None,
    outcome: str = "ok",
    **detail: Any,
) -> None:
    """Write an entry.

    Args:
        connection: within the transaction of the change; as the login, not as a tenant's role.
        by: who did it, and why.
        action: what was done, as ``resource.verb``, such as ``tenant.suspend``.
        tenant_id: the tenant that it was done to.
        outcome: ``ok``, or the kind of problem that it ended with.
        detail: what else is worth knowing, but never a secret. What is None is left out.
    """
    said = {"reason": by.reason, **detail}
    await connection.execute(
        """
        INSERT INTO shared.audit_log (actor, tenant_id, request_id, action, outcome, detail)
        VALUES ($1, $2, $3, $4, $5, $6::jsonb)
        """,
        by.actor,
        tenant_id,
        by.request_id,
        action,
        outcome,
        msgspec.json.encode({name: value for name, value in said.items() if value is not None}).decode(),
    )
