"""``/cc/provisioner``: to pause the provisioners, all of them at once, and to let them go on."""

from litestar import Controller, get, post
from litestar.params import JSONBody

from api.cc.reasons import ReasonIn
from api.gate.caller import ApiRequest, by
from api.gate.rules import operator
from db.control import provisioner
from db.ledger import pause as pauses
from db.ledger.pause import Pause


class ProvisionerController(Controller):
    """While paused, commands wait in the ledger; what is in hand is finished, and events go on."""

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
