"""The script of a tenant in a rollout: all that brings it to the target, in one message that is one transaction.

What a tenant takes otherwise is mostly round trips. So everything is checked within the message: where something is not
as the claim saw it, a division by zero undoes all of it, and the caller takes the long way, which looks what it is.
"""

from typing import Final
from uuid import UUID

import msgspec

from db.ledger import envelope
from db.ledger.contracts import Migrated
from db.migrations.lexer import statements
from db.migrations.lineage import Lineage
from db.migrations.render import Rendered, is_online, render
from db.names import literal, quoted, schema_name
from db.session import locks
from db.session.connection import migration_path
from db.tenants import registry
from db.tenants.registry import Tenant

_KEEP_RIGHTS: Final = (
    ("alter", "table"),
    ("create", "index"),
    ("create", "unique"),
    ("comment",),
    ("delete",),
    ("drop",),
    ("insert",),
    ("set",),
    ("truncate",),
    ("update",),
)
"""What statements begin with that make nothing on which the tenant's role would need rights."""


_UPDATE: Final = """
UPDATE shared.tenants SET revision = {to}, compatible_from = {fits}, version = version + 1, updated_at = now()
WHERE id = '{id}' AND version = {version}
"""
_DONE: Final = """
UPDATE shared.rollout_tenants
SET status = 'done', started_at = now(), finished_at = clock_timestamp(), error = NULL, error_class = NULL
WHERE {step}
"""


def keeps_rights(script: Rendered) -> bool:
    """Return whether a script makes nothing on which rights would have to be granted."""
    return all(
        any(tuple(token.key for token in tokens[: len(each)]) == each for each in _KEEP_RIGHTS)
        for statement in script.statements
        if not _settles(statement.sql)
        for tokens in statements(statement.sql)
    )


def _settles(sql: str) -> bool:
    """Return whether a statement is the one that ends each revision, which makes nothing."""
    return sql.lstrip().startswith("DO $$") and "SET CONSTRAINTS" in sql


class Scripts:
    """Makes the messages of a wave.

    Args:
        lineage: the tenants' lineage.
        target: the revision to reach.
        rollout_id: the rollout's id.
        message_id: the id of the wave's command.
        lock_timeout: seconds that a statement waits for a table's lock.
    """

    def __init__(
        self, lineage: Lineage, target: str, rollout_id: UUID, message_id: UUID, *, lock_timeout: float
    ) -> None:
        self._lineage = lineage
        self._target = target
        self._rollout_id = rollout_id
        self._message_id = message_id
        self._lock_timeout = round(lock_timeout * 1000)
        self._bodies: dict[str, str | None] = {}

    def text(self, tenant: Tenant) -> str | None:
        """Return a tenant's message; None if it takes the long way.

        Args:
            tenant: the tenant as it was when it was claimed.
        """
        going = tenant.revision is None or tenant.status in {"purging", "purged"}
        body = None if going else self._body(tenant.revision or "")
        if body is None:
            return None
        target, schema = literal(self._target), schema_name(tenant.schema_name)
        at = f"(SELECT string_agg(version_num, ' ') FROM {quoted(schema)}.alembic_version)"
        reached = msgspec.structs.replace(tenant, version=tenant.version + 1)
        event = registry.about(
            reached, Migrated(tenant.id, tenant.slug, self._target), caused_by=self._message_id
        )
        own = f"id = '{tenant.id}'"
        step = f"rollout_id = '{self._rollout_id}' AND tenant_id = '{tenant.id}'"
        return "\n;\n".join(
            (
                "BEGIN",
                f"SET LOCAL lock_timeout = {self._lock_timeout}",
                _check(f"pg_try_advisory_xact_lock({locks.tenant(literal(str(tenant.id)))})"),
                _check(
                    f"EXISTS (SELECT FROM shared.tenants WHERE {own} AND version = {tenant.version})"
                    f" AND EXISTS (SELECT FROM shared.rollouts WHERE id = '{self._rollout_id}' AND status = 'running')"
                    f" AND EXISTS (SELECT FROM shared.rollout_tenants WHERE {step} AND status = 'running')"
                    f" AND {at} = {literal(tenant.revision or '')}"
                ),
                f"SET LOCAL search_path TO {migration_path(schema)}",
                body,
                "SET LOCAL search_path TO ''",
                _check(f"{at} = {target}"),
                _UPDATE.format(
                    to=target,
                    fits=literal(self._lineage.compatible_from(self._target)),
                    id=tenant.id,
                    version=tenant.version,
                ),
                # An operator's act that came between has the version that the event would have.
                _check(
                    f"EXISTS (SELECT FROM shared.tenants WHERE {own}"
                    f" AND version = {reached.version} AND revision = {target})"
                ),
                envelope.insertion(event),
                _DONE.format(step=step),
                "COMMIT",
            )
        )

    def _body(self, at: str) -> str | None:
        """Return the statements from a revision; None if one runs online, or makes something new."""
        if at not in self._bodies:
            self._bodies[at] = self._rendered(at)
        return self._bodies[at]

    def _rendered(self, at: str) -> str | None:
        lineage = self._lineage
        if not lineage.knows(at) or at == self._target or at not in lineage.applied(self._target):
            return None
        if any(is_online(script.module) for script in lineage.path(at, self._target)):
            return None
        script = render(lineage, at, self._target)
        if not keeps_rights(script):
            return None
        return "\n;\n".join(statement.sql.strip().rstrip(";") for statement in script.statements)


def _check(condition: str) -> str:
    """Return a statement that fails unless a condition is true."""
    return f"SELECT 1 / (CASE WHEN {condition} THEN 1 ELSE 0 END)"
