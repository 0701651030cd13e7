"""The audit log: who did what, written in the transaction of the change. Rows are never changed or deleted.

Every change by an operator, a tenant's client or a sign-up flow is recorded with `record`. Details have the
names of columns: ``key_id``, ``message_id``, ``replay_id``, ``user_id``, ``role_id``, ``permission_id``;
``fields`` lists the names of changed fields.
"""

from typing import Any
from uuid import UUID

import msgspec

from db.session.connection import Connection


class By(msgspec.Struct, frozen=True):
    """Who acts, and why.

    Args:
        actor: the key id of the token, or ``shell:<user>``, ``provisioner`` or ``anonymous``.
        request_id: the id of the request or message that asked for the change.
        reason: why, in the actor's own words.
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
    """Write an audit entry.

    Args:
        connection: in the transaction of the change, with the role of the login, not of a tenant.
        by: who acted, and why.
        action: what was done, as ``resource.verb``, such as ``tenant.suspend``.
        tenant_id: the id of the tenant that was acted on.
        outcome: ``ok``, or the kind of the problem that the act ended with.
        detail: further details, never a secret. A detail that is None is left out.
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
