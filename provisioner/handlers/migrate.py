"""``tenant.migrate``: an existing schema to the wanted revision, with grants, registry and event at once."""

from db import contracts, registry
from db.connection import Connection
from db.contracts import Command, ContractError, MigrationFailed
from db.ledger import Entry, Failure
from db.migrations.lineage import Lineage
from db.migrations.online import Online, migrated
from db.migrations.render import render
from db.migrations.run import MigrationError, current_revision, upgrade_schema
from db.registry import Tenant
from provisioner.failures import Busy
from provisioner.handlers.handler import Outcome


class Migrate:
    """Brings a tenant's schema up; active and suspended tenants alike.

    Args:
        lineage: the tenants' revisions.
        online: for revisions that cannot run as a script.
    """

    def __init__(self, lineage: Lineage, online: Online) -> None:
        self._lineage = lineage
        self._online = online

    async def begin(self, _: Connection, tenant: Tenant) -> bool:
        # Failed: its provisioning was parked, and a replay of that builds the newest revision.
        return tenant.status in {"pending", "provisioning", "active", "suspended"}

    async def prepare(self, connection: Connection, tenant: Tenant, entry: Entry, command: Command) -> None:
        if tenant.revision is None:
            return
        target = _target(command)
        current = await self._current(connection, tenant)
        if not self._behind(current, target) or not self._online.needed(current, target):
            return
        if not await self._online.upgrade(tenant, target, caused_by=entry.id):
            raise Busy

    async def work(self, connection: Connection, tenant: Tenant, entry: Entry, command: Command) -> Outcome:
        if tenant.status in {"pending", "provisioning"}:
            raise Busy  # too early: given back, and the ledger keeps it behind the sign-up's command
        if tenant.status not in {"active", "suspended"}:
            return "superseded"
        target = _target(command)
        current = await self._current(connection, tenant)
        if not self._behind(current, target):
            return "handled"
        await upgrade_schema(connection, tenant.schema_name, render(self._lineage, current, target))
        await migrated(connection, tenant.id, self._lineage, target, caused_by=entry.id)
        return "handled"

    async def gave_up(self, connection: Connection, tenant: Tenant, entry: Entry, failure: Failure) -> None:
        try:
            target = _target(contracts.command(entry.type, entry.payload or ""))
        except ContractError:
            return  # it does not even say where to; `message.parked` tells of it
        if tenant.status in {"purging", "purged"}:
            return
        event = MigrationFailed(
            tenant_id=tenant.id,
            slug=tenant.slug,
            revision=target,
            error_class=failure.error_class,
            message_id=entry.id,
        )
        await registry.tell(connection, await registry.touch(connection, tenant), event, caused_by=entry.id)

    def _behind(self, current: str, target: str) -> bool:
        """Say whether the schema is older than the target.

        Raises:
            UnknownRevision: this release does not know the target.
        """
        wanted = self._lineage.position(target)
        # A revision that this release does not know is newer than all that it does.
        return self._lineage.knows(current) and self._lineage.position(current) < wanted

    async def _current(self, connection: Connection, tenant: Tenant) -> str:
        found = await current_revision(connection, tenant.schema_name)
        if found is None:
            raise MigrationError(f"{tenant.schema_name} has none of the revisions of its lineage")
        return found


def _target(command: Command) -> str:
    assert isinstance(command, contracts.Migrate)  # noqa: S101 - as registered
    return command.revision
