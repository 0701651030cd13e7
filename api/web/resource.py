"""Resources: implements the routes of a tenant's resource, including the audit log.

A resource is made of a table, a struct with the columns to show, and a noun:

    NOTES = Resource(Note, NoteOut, "note")

Each of its five routes is then one line: `Resource.page`, `read`, `create`, `change` or `remove`. Each runs one
transaction in the caller's tenant; a change writes its audit entry in the same transaction. A route that needs
more opens an `act` and uses the resource's `rows`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic

from api.gate.caller import ApiRequest, by
from api.web.filters import Filter, before, contains, equals, includes, since
from api.web.lists import Page
from api.web.rows import Out, Rows, changes
from db import audit
from db.models.base import Base
from db.session.connection import Connection
from db.session.transaction import TenantTransaction

__all__ = [
    "Act",
    "Filter",
    "Resource",
    "Rows",
    "act",
    "before",
    "changes",
    "contains",
    "equals",
    "includes",
    "since",
]


class Act:
    """A change in the caller's tenant that is being made.

    Args:
        transaction: the tenant transaction.
        detail: details for the audit entry; never a secret, nor a value of the tenant's but
            the name of a role, a permission or a scope.
    """

    def __init__(self, transaction: TenantTransaction, detail: dict[str, Any]) -> None:
        self.transaction = transaction
        self.detail = detail
        self._login: Connection | None = None

    async def as_login(self) -> Connection:
        """Leave the tenant's role to write in ``shared``. The tenant's rows cannot be reached after that."""
        if self._login is None:
            self._login = await self.transaction.as_login()
        return self._login


@asynccontextmanager
async def act(request: ApiRequest, action: str, **detail: Any) -> AsyncIterator[Act]:
    """Open a transaction in the caller's tenant that writes an audit entry before it commits.

    Args:
        request: the request that makes the change.
        action: what is done, as ``noun.verb``.
        detail: details for the audit entry; the body can add more to the act's ``detail``.
    """
    async with request.auth.transaction() as transaction:
        done = Act(transaction, detail)
        yield done
        tenant_id = request.auth.home.id
        entry = audit.entry(by(request), action, tenant_id=tenant_id, **done.detail)
        await transaction.conclude(audit.INSERT, *entry)


class Resource(Generic[Out]):
    """A resource that every tenant has.

    Args:
        model: the resource's table.
        out: the struct to show for a row; each field is a column.
        noun: the name of one row in the audit log, as in the action ``noun.create`` and the detail ``noun_id``.
        options: options of `Rows`: ``filters``, ``order`` and ``taken``.
    """

    def __init__(self, model: type[Base], out: type[Out], noun: str, **options: Any) -> None:
        self.rows: Rows[Out] = Rows(model, out, **options)
        self.noun = noun

    async def page(
        self, request: ApiRequest, *, limit: int, cursor: str | None, order: str = "id", **filters: Any
    ) -> Page[Out]:
        """Return a page of rows; see `Rows.list_`."""
        return await self.rows.list_(request.auth.reads(), limit=limit, cursor=cursor, order=order, **filters)

    async def read(self, request: ApiRequest, row_id: int) -> Out:
        """Return one row; see `Rows.require`."""
        return await self.rows.require(request.auth.reads(), row_id)

    async def create(self, request: ApiRequest, values: Mapping[str, Any]) -> Out:
        """Add a row and return it; see `Rows.insert`."""
        async with act(request, f"{self.noun}.create") as done:
            made = await self.rows.insert(done.transaction, values)
            done.detail[f"{self.noun}_id"] = made.id  # type: ignore[attr-defined]
        return made

    async def change(self, request: ApiRequest, row_id: int, values: Mapping[str, Any]) -> Out:
        """Change a row and return it; see `Rows.update`."""
        detail = {f"{self.noun}_id": row_id, "fields": sorted(values)}
        async with act(request, f"{self.noun}.change", **detail) as done:
            return await self.rows.update(done.transaction, row_id, values)

    async def remove(self, request: ApiRequest, row_id: int) -> None:
        """Delete a row; see `Rows.delete`."""
        async with act(request, f"{self.noun}.delete", **{f"{self.noun}_id": row_id}) as done:
            await self.rows.delete(done.transaction, row_id)
