"""``/tenants/{slug}/claim``: hands the first key to the flow that signed the tenant up by an event."""

import hashlib
from typing import Annotated

import msgspec
from litestar import Controller, post
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from api.gate.caller import ApiRequest, by
from api.gate.limits import Limits
from api.gate.rules import public
from db.errors import ProblemError
from db.tenants import claims


class ClaimIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secret whose SHA-256 was sent with the sign-up."""

    claim: Annotated[str, Meta(min_length=1, max_length=1000)]


class ClaimOut(msgspec.Struct, frozen=True):
    """The tenant's first key, with all scopes. It is shown only this once."""

    api_key: str


class ClaimController(Controller):
    """Claim first keys."""

    path = "/tenants"
    tags = ("Tenants",)

    @post(
        "/{slug:str}/claim",
        opt={**public(), "problems": ("claim-refused", "too-many-requests")},
        status_code=200,
        summary="Claim the first key of a tenant that an event signed up",
    )
    async def claim(self, request: ApiRequest, slug: FromPath[str], data: JSONBody[ClaimIn]) -> ClaimOut:
        """Return the first key, once. A wrong claim, a repeated claim and an unknown tenant get the same answer."""
        limits: Limits = request.app.state.limits
        limits.address(request.scope)
        claim_hash = hashlib.sha256(data.claim.encode()).digest()
        async with request.auth.database.shared() as connection:
            key = await claims.claim(connection, slug, claim_hash, by(request))
        if key is None:
            raise ProblemError("claim-refused")
        return ClaimOut(key.text)
