"""``/cc/audit``: the audit log, which says who did what."""

from typing import Annotated

from litestar import Controller, get
from litestar.params import QueryParameter
from msgspec import Meta

from api.gate.caller import ApiRequest
from api.gate.rules import operator
from api.web import lists
from api.web.fields import Moment, search
from api.web.lists import Cursor, Limit, Page
from db import audit
from db.audit import AuditEntry, AuditFilter


class AuditController(Controller):
    path = "/cc/audit"
    tags = ("Control center: audit",)

    @get(opt=operator(), summary="List entries of the audit log, newest first")
    async def index(
        self,
        request: ApiRequest,
        limit: Limit = lists.DEFAULT_LIMIT,
        cursor: Cursor = None,
        tenant: Annotated[str | None, search("A tenant's slug.")] = None,
        actor: Annotated[str | None, search("A token's key id, or such as `shell:root`.")] = None,
        action: Annotated[str | None, search("Such as `tenant.suspend`.")] = None,
        since: Annotated[Moment | None, QueryParameter(description="Done then or later.")] = None,
    ) -> Page[AuditEntry]:
        wanted = AuditFilter(
            tenant=tenant or None,
            actor=actor or None,
            action=action or None,
            since=since,
        )
        before: int | None = None
        if cursor is not None:
            (before,) = lists.decode(cursor, Annotated[int, Meta(ge=1, le=2**63 - 1)])
        async with request.auth.database.shared() as connection:
            found = await audit.list_(connection, wanted, limit=limit + 1, before=before)
        items = found[:limit]
        return Page(items, lists.encode(items[-1].id) if len(found) > limit else None)
