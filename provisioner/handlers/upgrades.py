"""Upgrades: bringing a tenant's schema to a revision, by a script or by Alembic's online run."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from alembic.script import Script

from db.ledger.inbox import Failure
from db.migrations.lineage import Lineage
from db.migrations.online import Online, migrated
from db.migrations.render import is_idempotent, is_online, render
from db.migrations.run import MigrationError, current_revision, run_script
from db.session.connection import Connection
from db.tenants.registry import Tenant
from provisioner.failures import TRANSIENT, BusyError, NewerReleaseError

_ONLINE_DELAY: Final = 3.0
"""Seconds until a command is delivered again whose online revisions could not run yet. Scripts go first."""
_BEGUN: Final = "OnlineRunBegun"
"""The error class that is kept while a revision runs online that must not be run again."""
_NOT_AGAIN: Final = "and is not idempotent, so it is not tried again: look what it did, then replay"

Keep = Callable[[Failure | None], Awaitable[None]]
"""Keeps what the failure is if the work is cut short; None takes it back. It must not be in a transaction."""


class NotRepeatableError(MigrationError):
    """An online revision that is not idempotent failed. What it did before that is not known."""


def _once(script: Script) -> bool:
    """Return whether a revision must not be run again after a failure."""
    return is_online(script.module) and not is_idempotent(script.module)


class Upgrades:
    """Brings tenants' schemas to revisions.

    Args:
        lineage: the tenant lineage.
        online: runs revisions that cannot run as a script.
    """

    def __init__(self, lineage: Lineage, online: Online) -> None:
        self.lineage = lineage
        self._online = online

    def check_known(self, target: str) -> None:
        """Check that this release knows a revision.

        Raises:
            NewerReleaseError: it does not.
        """
        if not self.lineage.knows(target):
            raise NewerReleaseError("UnknownRevisionError", f"revision {target}")

    async def current(self, connection: Connection, tenant: Tenant) -> str | None:
        """Return the revision of a tenant's schema, or None if it was taken back to before the first one.

        Raises:
            MigrationError: the schema has no revision, although the registry has one.
        """
        found = await current_revision(connection, tenant.schema_name)
        if found is None and tenant.revision is not None:
            raise MigrationError(f"{tenant.schema_name} has none of the revisions of its lineage")
        return found

    def is_behind(self, current: str | None, target: str) -> bool:
        """Return whether a schema's revision (None: before the first) is older than the target.

        Raises:
            NewerReleaseError: this release does not know the target.
            MigrationError: the schema is on another branch.
        """
        self.check_known(target)
        if current is None:
            return True
        # A revision that this release does not know is newer than all revisions that it knows.
        if not self.lineage.knows(current):
            return False
        have = self.lineage.applied(current)
        if target not in have and current not in self.lineage.applied(target):
            raise MigrationError(f"the schema is at {current}, on another branch than {target}")
        return target not in have

    def needs_online(self, current: str | None, target: str) -> bool:
        """Return whether a revision on the way must run online. Without data, every revision runs as a script."""
        return (
            current is not None and self.is_behind(current, target) and self._online.needed(current, target)
        )

    async def run_script(
        self, connection: Connection, tenant: Tenant, current: str | None, target: str, *, caused_by: UUID
    ) -> None:
        """Run the script from one revision to another, and write to the registry and the ledger that it was run.

        Args:
            connection: of the owner, in a transaction that holds the tenant's lock.
            tenant: the tenant.
            current: the schema's revision.
            target: the revision to reach.
            caused_by: the id of the command.
        """
        await run_script(connection, tenant.schema_name, render(self.lineage, current, target))
        await migrated(connection, tenant.id, self.lineage, target, caused_by=caused_by)

    async def run_online(
        self,
        connection: Connection,
        tenant: Tenant,
        target: str,
        keep: Keep,
        *,
        before: str | None,
        caused_by: UUID,
    ) -> None:
        """Bring a schema to a revision of which a part must run online.

        Args:
            connection: of the owner, for look-ups.
            tenant: the tenant, which is not locked.
            target: the revision to reach.
            keep: keeps what the failure is if the process dies.
            before: the error class that was kept of the attempt before.
            caused_by: the id of the command.

        Raises:
            BusyError: another session works on the tenant, or another run of this process goes on.
            NotRepeatableError: a revision failed that must not be run again.
        """
        current = await self.current(connection, tenant)
        assert current is not None  # else nothing must run online
        path = self.lineage.path(current, target)
        if before == _BEGUN and _once(path[0]):
            raise NotRepeatableError(f"revision {path[0].revision} was cut short, {_NOT_AGAIN}")

        async def begun() -> None:
            if any(_once(script) for script in path):
                await keep(Failure(_BEGUN, "an online revision has begun"))

        try:
            if not await self._online.upgrade(tenant, target, begun, caused_by=caused_by):
                raise BusyError(_ONLINE_DELAY)
        except TRANSIENT as error:
            left = self.lineage.path(await self.current(connection, tenant), target)
            if left and _once(left[0]):
                raise NotRepeatableError(
                    f"revision {left[0].revision} failed, {_NOT_AGAIN}: {error}"
                ) from error
            raise
        # The note stays if the process dies or loses PostgreSQL: nobody knows how far the revision came.
        await keep(None)
