"""The handler of ``tenant.provision``, which builds a new tenant's schema."""

from typing import ClassVar

from db.ledger import contracts
from db.ledger.contracts import Provisioned, ProvisioningFailed
from db.ledger.inbox import Entry, Failure
from db.migrations import warm_pool
from db.migrations.lineage import Lineage
from db.migrations.render import render
from db.migrations.run import record_revision, run_script
from db.models.access import ADMINISTRATOR
from db.names import quoted
from db.server import roles
from db.session.connection import Connection
from db.tenants import people, registry
from db.tenants.registry import Tenant
from provisioner.handlers.handler import Handler, Job, Outcome


class ProvisionHandler(Handler[contracts.Provision]):
    """Creates role, schema, tables, grants and administrator, and activates the tenant, in one transaction.

    Where the warm pool has a schema, that is taken. On Citus the role is committed first.

    Args:
        lineage: the tenant lineage.
    """

    types: ClassVar = (contracts.Provision.type,)

    def __init__(self, lineage: Lineage) -> None:
        self._lineage = lineage

    async def begin(self, connection: Connection, job: Job[contracts.Provision], /) -> bool:
        if job.tenant.status in {"pending", "failed"}:
            await registry.transition(connection, job.tenant, "provisioning")
            return True
        # If provisioning, an earlier attempt was cut short. If active, `work` finds the work done.
        return job.tenant.status in {"provisioning", "active"}

    async def prepare(self, connection: Connection, job: Job[contracts.Provision], /) -> None:
        if job.tenant.status != "active":
            await roles.prepare_schema(connection, job.tenant.schema_name)

    async def work(self, connection: Connection, job: Job[contracts.Provision], /) -> Outcome:
        tenant = job.tenant
        if tenant.status == "active":
            return "handled"
        if tenant.status != "provisioning":
            return "superseded"
        start: str | None = None
        if (claimed := await warm_pool.claim(connection, tenant, self._lineage)) is not None:
            tenant, start = claimed
        else:
            await roles.create_schema(connection, tenant.schema_name)
        if start != self._lineage.head:
            script = render(self._lineage, start, self._lineage.head)
            await run_script(connection, tenant.schema_name, script)
        await _make_administrator(connection, tenant)
        await record_revision(connection, tenant.id, self._lineage, self._lineage.head)
        locked = await registry.lock(connection, tenant.id)
        assert locked is not None  # registry rows are never deleted
        active = await registry.transition(connection, locked, "active")
        await registry.tell(
            connection,
            active,
            Provisioned(tenant_id=tenant.id, slug=active.slug, revision=self._lineage.head),
            caused_by=job.entry.id,
            priority=job.entry.priority,
        )
        return "handled"

    async def gave_up(
        self, connection: Connection, entry: Entry, tenant: Tenant | None, failure: Failure, /
    ) -> None:
        if tenant is None or tenant.status not in {"pending", "provisioning"}:
            return
        failed = await registry.transition(connection, tenant, "failed")
        await registry.tell(
            connection,
            failed,
            ProvisioningFailed(
                tenant_id=tenant.id,
                slug=failed.slug,
                error_class=failure.error_class,
                message_id=entry.id,
            ),
            caused_by=entry.id,
        )


async def _make_administrator(connection: Connection, tenant: Tenant) -> None:
    """Make the sign-up's waiting administrator a user, if there is one, and delete the waiting row."""
    admin = await people.take_waiting(connection, tenant.id)
    if admin is None:
        return
    schema = quoted(tenant.schema_name)
    await connection.execute(
        f"""
        INSERT INTO {schema}.users (email, first_name, last_name, password_hash, user_role_id)
        SELECT $1, $2, $3, $4, id FROM {schema}.roles WHERE role_name = $5
        """,
        admin.email,
        admin.first_name,
        admin.last_name,
        admin.password_hash,
        ADMINISTRATOR,
    )
