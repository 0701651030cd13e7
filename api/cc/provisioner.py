"""``/cc/provisioner``: pauses and resumes all provisioners at once."""

from litestar import Controller, get, post
from litestar.params import JSONBody

from api.cc.reasons import ReasonIn
from api.gate.caller import ApiRequest, by
from api.gate.rules import operator
from db.control import provisioner
from db.ledger import pause as pauses
from db.ledger.pause import Pause


class ProvisionerController(Controller):
    """While provisioners are paused, new commands wait in the ledger.

    Commands already in hand are finished, and events are still published.
    """

    path = "/cc/provisioner"
    tags = ("Control center: messages",)

    @get(opt=operator(), summary="See whether the provisioners are paused")
    async def read(self, request: ApiRequest) -> Pause:
        async with request.auth.database.shared() as connection:
            return await pauses.get(connection)

    @post("/pause", opt=operator(), status_code=200, summary="Pause the provisioners")
    async def pause(self, request: ApiRequest, data: JSONBody[ReasonIn]) -> Pause:
        async with request.auth.database.shared() as connection:
            return await provisioner.pause(connection, by(request, data.reason))

    @post("/resume", opt=operator(), status_code=200, summary="Let the provisioners go on")
    async def resume(self, request: ApiRequest, data: JSONBody[ReasonIn]) -> Pause:
        async with request.auth.database.shared() as connection:
            return await provisioner.resume(connection, by(request, data.reason))
