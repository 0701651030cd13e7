"""Resources: what the routes of a tenant's resource have in common, audit included.

A resource is a table, a struct for what is shown of a row, and a noun:

    NOTES = Resource(Note, NoteOut, "note")

Its five routes are then one line each: `Resource.page`, `read`, `create`, `change` and `remove`. Each is one
transaction in the caller's tenant; a change writes its entry to the audit log in the same transaction. What
needs more than that opens an `act` and puts together what it needs of the resource's `rows`.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic

from api.gate.caller import ApiRequest, by
from api.web.lists import Page
from api.web.rows import Filter, Out, Rows, before, changes, contains, equals, since
from db import audit
from db.models.base import Base
from db.session.connection import Connection
from db.session.tenancy import TenantTransaction

__all__ = ["Act", "Filter", "Resource", "Rows", "act", "before", "changes", "contains", "equals", "since"]


class Act:
    """A change in the caller's tenant, while it is made.

    Args:
        transaction: the tenant's.
        detail: what the audit log's entry says of it; never a secret, nor a value of the tenant's.
    """

    def __init__(self, transaction: TenantTransaction, detail: dict[str, Any]) -> None:
        self.transaction = transaction
        self.detail = detail
        self._login: Connection | None = None

    async def as_login(self) -> Connection:
        """Leave the tenant's role, for what is written in ``shared``; nothing of the tenant after that."""
        if self._login is None:
            self._login = await self.transaction.as_login()
        return self._login


@asynccontextmanager
async def act(request: ApiRequest, action: str, **detail: Any) -> AsyncIterator[Act]:
    """Open a transaction in the caller's tenant, whose change is in the audit log when it commits.

    Args:
        request: whose act it is.
        action: what is done, as ``noun.verb``.
        detail: what the entry says; more may be added to the act's own ``detail`` inside.
    """
    async with request.auth.transaction() as transaction:
        done = Act(transaction, detail)
        yield done
        tenant_id = request.auth.home.id
        await audit.record(await done.as_login(), by(request), action, tenant_id=tenant_id, **done.detail)


class Resource(Generic[Out]):
    """A resource of each tenant.

    Args:
        model: its table.
        out: what is shown of a row: each field is a column.
        noun: what one of them is called in the audit log: ``noun.create``, with a detail ``noun_id``.
        options: those of `Rows`: ``filters``, ``order``, ``taken``.
    """

    def __init__(self, model: type[Base], out: type[Out], noun: str, **options: Any) -> None:
        self.rows: Rows[Out] = Rows(model, out, **options)
        self.noun = noun

    async def page(
        self, request: ApiRequest, *, limit: int, cursor: str | None, order: str = "id", **filters: Any
    ) -> Page[Out]:
        """Answer a list: see `Rows.list_`."""
        async with request.auth.transaction() as transaction:
            return await self.rows.list_(transaction, limit=limit, cursor=cursor, order=order, **filters)

    async def read(self, request: ApiRequest, row_id: int) -> Out:
        """Answer one row: see `Rows.require`."""
        async with request.auth.transaction() as transaction:
            return await self.rows.require(transaction, row_id)

    async def create(self, request: ApiRequest, values: Mapping[str, Any]) -> Out:
        """Add a row and answer it: see `Rows.insert`."""
        async with act(request, f"{self.noun}.create") as done:
            made = await self.rows.insert(done.transaction, values)
            done.detail[f"{self.noun}_id"] = made.id  # type: ignore[attr-defined]
        return made

    async def change(self, request: ApiRequest, row_id: int, values: Mapping[str, Any]) -> Out:
        """Change a row and answer it: see `Rows.update`."""
        detail = {f"{self.noun}_id": row_id, "fields": sorted(values)}
        async with act(request, f"{self.noun}.change", **detail) as done:
            return await self.rows.update(done.transaction, row_id, values)

    async def remove(self, request: ApiRequest, row_id: int) -> None:
        """Delete a row: see `Rows.delete`."""
        async with act(request, f"{self.noun}.delete", **{f"{self.noun}_id": row_id}) as done:
            await self.rows.delete(done.transaction, row_id)
