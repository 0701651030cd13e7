"""Tasks: functions of the domain that a rollout runs in tenants, with the tenant's role and through the API's login."""

from typing import Final

from db.control import rollout_steps, waves
from db.control.tasks import TASKS
from db.control.waves import Work
from db.errors import TenantryError
from db.session import locks
from db.session.failures import NoRoleError
from db.session.pooler import Plain
from db.session.tenancy import Database
from db.tenants.registry import Tenant
from provisioner.failures import BusyError, NewerReleaseError

_LOCKED: Final = 1.0
"""Seconds until a tenant is looked at again that somebody else works on."""


class NoLoginError(TenantryError):
    """The provisioner has no address of the API's login."""

    def __init__(self) -> None:
        super().__init__("a provisioner runs tasks through the API's login: set its DATABASE_URL")


class Tasks:
    """Runs tasks.

    Args:
        database: the API's login; None if the provisioner was given none.
    """

    def __init__(self, database: Database | None) -> None:
        self._database = database

    def check_known(self, name: str) -> None:
        """Check that a task can be run.

        Raises:
            NewerReleaseError: this release has no such task.
            NoLoginError: there is no login to run it through.
        """
        if name not in TASKS:
            raise NewerReleaseError("UnknownTaskError", f"the task {name}")
        if self._database is None:
            raise NoLoginError

    async def run(self, session: Plain, work: Work, tenant: Tenant) -> None:
        """Run a task in a tenant until it says that it is done; each time is a transaction.

        The last one also writes that the tenant has come to its end, so that it is not run again after that.

        Args:
            session: of the owner, not in a transaction. It holds the tenant's lock meanwhile.
            work: the rollout's.
            tenant: the tenant.

        Raises:
            BusyError: somebody else works on the tenant.
        """
        assert self._database is not None and work.task is not None  # noqa: PT018 - `check_known` has looked
        task = TASKS[work.task]
        async with session.transaction():
            if not await locks.try_tenant(session, tenant.id):
                raise BusyError(_LOCKED)
            if not await rollout_steps.is_open(session, work.id, tenant.id):
                return
            more: bool | None = True
            while more:
                if not await waves.runs(session, work.id):
                    raise BusyError(0)  # what it has done so far stays done
                try:
                    async with self._database.tenant(tenant.schema_name) as transaction:
                        more = await task(transaction, work.arguments)
                        if not more:
                            await transaction.conclude(rollout_steps.END, work.id, tenant.id, "done")
                except NoRoleError:  # it was purged
                    await rollout_steps.end(session, work.id, tenant.id, "skipped")
                    return
