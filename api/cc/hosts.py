"""``/cc/tenants/{slug}/hosts``: host names that lead to a tenant."""

from litestar import Controller, delete, put
from litestar.params import FromPath

from api.access import operator
from api.cc.acts import ACT, OperatorRequest, ReasonParameter, by
from api.problems import Problem, invalid
from db import lifecycle, names
from db.names import NameRefused


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
        request: OperatorRequest,
        slug: FromPath[str],
        host: FromPath[str],
        reason: ReasonParameter = None,
    ) -> None:
        checked = _checked(host)
        async with request.auth.database.shared() as connection:
            await lifecycle.add_host(connection, slug, by(request, reason), checked)

    @delete("/{host:str}", opt=ACT, summary="Lead a host name nowhere again")
    async def remove(
        self,
        request: OperatorRequest,
        slug: FromPath[str],
        host: FromPath[str],
        reason: ReasonParameter = None,
    ) -> None:
        checked = _checked(host)
        async with request.auth.database.shared() as connection:
            if not await lifecycle.remove_host(connection, slug, by(request, reason), checked):
                raise Problem("not-found")


def _checked(host: str) -> str:
    try:
        return names.host(host)
    except NameRefused as error:
        raise invalid("host", str(error)) from None
