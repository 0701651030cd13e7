"""``/cc/drift`` and ``/cc/tenants/{slug}/verify``: schemas that are not what their revisions say."""

from collections.abc import Sequence
from typing import Annotated, Final
from uuid import UUID

import msgspec
from litestar import Controller, get, post
from litestar.params import FromPath, JSONBody

from api.cc.reasons import ActIn
from api.gate.caller import ApiRequest
from api.gate.rules import operator
from api.web import lists
from api.web.fields import Slug, search
from api.web.lists import Cursor, Limit
from db.control import drift, tenants
from db.control.drift import Drift, Unchecked, Verdict
from db.migrations.structures import Structures
from db.session.tenancy import Database

MOST: Final = 500
"""Tenants that one request compares, so that it takes a few seconds at most."""


class DriftPage(msgspec.Struct, frozen=True):
    """One page of drift.

    Args:
        items: the tenants with drift. There may be none on a page, and yet a next one.
        next_cursor: null once all tenants have been compared.
        checked: how many tenants this page has compared.
        unchecked: those that could not be compared.
    """

    items: Sequence[Drift]
    next_cursor: str | None
    checked: int
    unchecked: Sequence[Unchecked]


class DriftController(Controller):
    path = "/cc/drift"
    tags = ("Control center: tenants",)

    @get(
        opt=operator() | {"problems": ("not-found",)},
        summary="Compare tenants' schemas with their revisions, and list those that differ",
    )
    async def index(
        self,
        request: ApiRequest,
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
        slug: Annotated[str | None, search("A tenant's slug: compare that tenant alone.")] = None,
    ) -> DriftPage:
        database = request.auth.database
        structures = Structures(request.app.state.tenant_lineage, builds=False)
        if slug:
            async with database.shared() as connection:
                tenant = await tenants.require(connection, slug)
                return _page(await drift.verify(connection, [tenant], structures), None)
        after: tuple[str, UUID] | None = None
        if cursor is not None:
            last, last_id = lists.decode(cursor, Slug, UUID)
            after = (last, last_id)
        return await _compared(database, structures, limit, after)


class Verified(msgspec.Struct, frozen=True):
    """What comparing a tenant's schema with its revision found.

    Args:
        differences: how it differs, in words; empty if it is what its revision says.
        unchecked: why it could not be compared now, or null.
    """

    slug: str
    revision: str | None
    differences: list[str]
    unchecked: str | None


class VerifyController(Controller):
    path = "/cc/tenants"
    tags = ("Control center: tenants",)

    @post(
        "/{slug:str}/verify",
        opt=operator() | {"problems": ("not-found",)},
        status_code=200,
        summary="Compare a tenant's schema with its revision; nothing is changed",
    )
    async def verify(
        self, request: ApiRequest, slug: FromPath[str], data: JSONBody[ActIn | None] = None
    ) -> Verified:
        del data  # what every act takes; there is nothing to write down
        structures = Structures(request.app.state.tenant_lineage, builds=False)
        async with request.auth.database.shared() as connection:
            tenant = await tenants.require(connection, slug)
            (verdict,) = await drift.verify(connection, [tenant], structures)
        return Verified(tenant.slug, tenant.revision, verdict.differences, verdict.unchecked)


async def _compared(
    database: Database, structures: Structures, limit: int, after: tuple[str, UUID] | None
) -> DriftPage:
    """Compare tenants after a place, until a page is full or many have been compared."""
    seen: list[Verdict] = []
    while len(seen) < MOST:
        async with (
            database.shared() as connection
        ):  # each batch its own, as other requests need connections too
            found = await drift.list_(connection, limit=drift.BATCH, after=after)
            for verdict in await drift.verify(connection, found, structures) if found else []:
                seen.append(verdict)
                after = (verdict.tenant.slug, verdict.tenant.id)
                if sum(bool(each.differences) for each in seen) == limit:
                    return _page(seen, lists.encode(*after))
        if len(found) < drift.BATCH:
            return _page(seen, None)
    assert after is not None  # some have been seen
    return _page(seen, lists.encode(*after))


def _page(seen: Sequence[Verdict], cursor: str | None) -> DriftPage:
    """Return a page of what was found."""
    report = drift.summed(seen)
    return DriftPage(report.drifted, cursor, report.checked, report.unchecked)
