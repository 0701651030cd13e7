"""``/cc/tenants/{slug}/hosts``: the host names that lead to a tenant."""

from litestar import Controller, delete, put
from litestar.params import FromPath

from api.cc.reasons import ACT, ReasonParameter
from api.gate.caller import ApiRequest, by
from api.gate.rules import operator
from db import names
from db.control import hosts
from db.errors import ProblemError


class HostController(Controller):
    path = "/cc/tenants/{slug:str}/hosts"
    tags = ("Control center: tenants",)

    @put(
        "/{host:str}",
        opt=operator() | {"problems": ("state-conflict", "host-taken")},
        status_code=204,
        summary="Lead a host name to a tenant",
    )
    async def add(
        self,
        request: ApiRequest,
        slug: FromPath[str],
        host: FromPath[str],
        reason: ReasonParameter = None,
    ) -> None:
        named = names.host(host)
        async with request.auth.database.shared() as connection:
            await hosts.add(connection, slug, by(request, reason), named)

    @delete("/{host:str}", opt=ACT, summary="Lead a host name nowhere again")
    async def remove(
        self,
        request: ApiRequest,
        slug: FromPath[str],
        host: FromPath[str],
        reason: ReasonParameter = None,
    ) -> None:
        named = names.host(host)
        async with request.auth.database.shared() as connection:
            if not await hosts.remove(connection, slug, by(request, reason), named):
                raise ProblemError("not-found")
