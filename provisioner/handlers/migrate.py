"""The handler of ``tenant.migrate``, which migrates an existing schema to a revision.

Schema, grants, registry and event change in one transaction, or in one per revision if they run online.
"""

from typing import ClassVar, Final

from alembic.script import Script

from db.ledger import contracts, inbox
from db.ledger.contracts import ContractError, MigrationFailed
from db.ledger.inbox import Entry, Failure
from db.migrations.lineage import Lineage
from db.migrations.online import Online, migrated
from db.migrations.render import is_idempotent, is_online, render
from db.migrations.run import MigrationError, current_revision, run_script
from db.session.connection import Connection
from db.tenants import registry
from db.tenants.registry import Tenant
from provisioner.failures import TRANSIENT, BusyError, NewerReleaseError
from provisioner.handlers.handler import Handler, Job, Outcome

_ONLINE_DELAY: Final = 3.0
"""Seconds until a command is delivered again whose online revisions could not run yet. Scripts go first."""


_BEGUN: Final = "OnlineRunBegun"
"""The error class of a command while a revision runs online that must not be run again."""
_NOT_AGAIN: Final = "and is not idempotent, so it is not tried again: look what it did, then replay"


class NotRepeatableError(MigrationError):
    """An online revision that is not idempotent failed. What it did before that is not known."""


def _once(script: Script) -> bool:
    """Return whether a revision must not be run again after a failure."""
    return is_online(script.module) and not is_idempotent(script.module)


class MigrateHandler(Handler[contracts.Migrate]):
    """Migrates the schema of an active or suspended tenant.

    Args:
        lineage: the tenant lineage.
        online: runs revisions that cannot run as a script.
    """

    types: ClassVar = (contracts.Migrate.type,)

    def __init__(self, lineage: Lineage, online: Online) -> None:
        self._lineage = lineage
        self._online = online

    async def begin(self, _: Connection, job: Job[contracts.Migrate], /) -> bool:
        # Not if failed: its provisioning is parked, and a replay of it builds the newest revision.
        return job.tenant.status in {"pending", "provisioning", "active", "suspended"}

    async def prepare(self, connection: Connection, job: Job[contracts.Migrate], /) -> None:
        target = job.command.revision
        current = await self._current(connection, job.tenant) if job.tenant.revision is not None else None
        if current is None:
            return  # without data, every revision runs as a script
        if not self._is_behind(current, target) or not self._online.needed(current, target):
            return
        path = self._lineage.path(current, target)
        if job.entry.error_class == _BEGUN and _once(path[0]):
            raise NotRepeatableError(f"revision {path[0].revision} was cut short, {_NOT_AGAIN}")

        async def begun() -> None:
            if any(_once(script) for script in path):
                await inbox.note(connection, job.entry.id, Failure(_BEGUN, "an online revision has begun"))

        try:
            if not await self._online.upgrade(job.tenant, target, begun, caused_by=job.entry.id):
                raise BusyError(_ONLINE_DELAY)
        except TRANSIENT as error:
            left = self._lineage.path(await self._current(connection, job.tenant), target)
            if left and _once(left[0]):
                raise NotRepeatableError(
                    f"revision {left[0].revision} failed, {_NOT_AGAIN}: {error}"
                ) from error
            raise
        # The note stays if the process dies or loses PostgreSQL: nobody knows how far the revision came.
        await inbox.note(connection, job.entry.id, None)

    async def work(self, connection: Connection, job: Job[contracts.Migrate], /) -> Outcome:
        tenant, target = job.tenant, job.command.revision
        if tenant.status in {"pending", "provisioning"}:
            raise BusyError  # too early: the ledger publishes it after the tenant's provisioning
        if tenant.status not in {"active", "suspended"}:
            return "superseded"
        current = await self._current(connection, tenant)
        if not self._is_behind(current, target):
            return "handled"
        await run_script(connection, tenant.schema_name, render(self._lineage, current, target))
        await migrated(connection, tenant.id, self._lineage, target, caused_by=job.entry.id)
        return "handled"

    async def gave_up(
        self, connection: Connection, entry: Entry, tenant: Tenant | None, failure: Failure, /
    ) -> None:
        try:
            target = self.read(entry).revision
        except ContractError:
            return  # the payload names no target; the event `message.parked` reports it
        if tenant is None or tenant.status in {"purging", "purged"}:
            return
        event = MigrationFailed(
            tenant_id=tenant.id,
            slug=tenant.slug,
            revision=target,
            error_class=failure.error_class,
            message_id=entry.id,
        )
        await registry.tell(connection, await registry.touch(connection, tenant), event, caused_by=entry.id)

    def _is_behind(self, current: str | None, target: str) -> bool:
        """Return whether the schema's revision (None: before the first) is older than the target.

        Raises:
            NewerReleaseError: this release does not know the target.
        """
        if not self._lineage.knows(target):
            raise NewerReleaseError("UnknownRevisionError", f"revision {target}")
        if current is None:
            return True
        # A revision that this release does not know is newer than all revisions that it knows.
        if not self._lineage.knows(current):
            return False
        have = self._lineage.applied(current)
        if target not in have and current not in self._lineage.applied(target):
            raise MigrationError(f"the schema is at {current}, on another branch than {target}")
        return target not in have

    async def _current(self, connection: Connection, tenant: Tenant) -> str | None:
        """Return the schema's revision, or None if it was taken back to before the first one.

        Raises:
            MigrationError: the schema has no revision, although the registry has one.
        """
        found = await current_revision(connection, tenant.schema_name)
        if found is None and tenant.revision is not None:
            raise MigrationError(f"{tenant.schema_name} has none of the revisions of its lineage")
        return found
