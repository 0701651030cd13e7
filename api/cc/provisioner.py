"""``/cc/provisioner``: to pause the provisioners, all of them at once, and to let them go on."""

from datetime import datetime

import msgspec
from litestar import Controller, get, post
from litestar.params import JSONBody

from api.access import operator
from api.cc.acts import OperatorRequest, by
from api.cc.messages import ReasonIn
from db import switches
from db.switches import Switch


class PauseOut(msgspec.Struct, frozen=True):
    """Whether the provisioners are paused, and who changed that last, when and why."""

    paused: bool
    reason: str | None
    changed_by: str | None
    changed_at: datetime | None

    @classmethod
    def of(cls, switch: Switch) -> "PauseOut":
        return cls(switch.enabled, switch.reason, switch.changed_by, switch.changed_at)


class ProvisionerController(Controller):
    """While paused, commands wait in the ledger; what is in hand is finished, and events go on."""

    path = "/cc/provisioner"
    tags = ("Control center: messages",)

    @get(opt=operator(), summary="See whether the provisioners are paused")
    async def read(self, request: OperatorRequest) -> PauseOut:
        async with request.auth.database.shared() as connection:
            return PauseOut.of(await switches.read(connection))

    @post("/pause", opt=operator(), status_code=200, summary="Pause the provisioners")
    async def pause(self, request: OperatorRequest, data: JSONBody[ReasonIn]) -> PauseOut:
        async with request.auth.database.shared() as connection:
            return PauseOut.of(await switches.pause(connection, by=by(request, data.reason)))

    @post("/resume", opt=operator(), status_code=200, summary="Let the provisioners go on")
    async def resume(self, request: OperatorRequest, data: JSONBody[ReasonIn]) -> PauseOut:
        async with request.auth.database.shared() as connection:
            return PauseOut.of(await switches.resume(connection, by=by(request, data.reason)))
