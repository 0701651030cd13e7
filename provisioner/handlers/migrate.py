"""The handler of ``tenant.migrate``, which migrates an existing schema to a revision.

Schema, grants, registry and event change in one transaction, or in one per revision if they run online.
"""

from functools import partial
from typing import ClassVar

from db.ledger import contracts, inbox
from db.ledger.contracts import ContractError, MigrationFailed
from db.ledger.inbox import Entry, Failure
from db.session.connection import Connection
from db.tenants import registry
from db.tenants.registry import Tenant
from provisioner.failures import BusyError
from provisioner.handlers.handler import Handler, Job, Outcome
from provisioner.handlers.upgrades import Upgrades


class MigrateHandler(Handler[contracts.Migrate]):
    """Migrates the schema of an active or suspended tenant.

    Args:
        upgrades: brings schemas to revisions.
    """

    types: ClassVar = (contracts.Migrate.type,)

    def __init__(self, upgrades: Upgrades) -> None:
        self._upgrades = upgrades

    async def begin(self, _: Connection, job: Job[contracts.Migrate], /) -> bool:
        # Not if failed: its provisioning is parked, and a replay of it builds the newest revision.
        return job.tenant.status in {"pending", "provisioning", "active", "suspended"}

    async def prepare(self, connection: Connection, job: Job[contracts.Migrate], /) -> None:
        tenant, target = job.tenant, job.command.revision
        current = await self._upgrades.current(connection, tenant) if tenant.revision is not None else None
        if self._upgrades.needs_online(current, target):
            await self._upgrades.run_online(
                connection,
                tenant,
                target,
                partial(inbox.note, connection, job.entry.id),
                before=job.entry.error_class,
                caused_by=job.entry.id,
            )

    async def work(self, connection: Connection, job: Job[contracts.Migrate], /) -> Outcome:
        tenant, target = job.tenant, job.command.revision
        if tenant.status in {"pending", "provisioning"}:
            raise BusyError  # too early: the ledger publishes it after the tenant's provisioning
        if tenant.status not in {"active", "suspended"}:
            return "superseded"
        current = await self._upgrades.current(connection, tenant)
        if self._upgrades.is_behind(current, target):
            await self._upgrades.run_script(connection, tenant, current, target, caused_by=job.entry.id)
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
