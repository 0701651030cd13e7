"""Sign-up: the registry's row, the first key, the two messages and the audit's entry, in one transaction."""

from uuid import UUID

import msgspec

from db import audit, names
from db.audit import By
from db.ledger import outbox
from db.ledger.contracts import Provision, Requested
from db.ledger.envelope import SIGN_UP
from db.session.connection import Connection
from db.tenants import hosts, idempotency, keys, people, registry
from db.tenants.people import Administrator
from db.tenants.registry import Tenant
from db.tenants.tokens import Token


class SignUp(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-up whose names are known to be usable; made by `checked`.

    Args:
        name: what people call the tenant.
        slug: what machines call it.
        host: a host name that shall lead to it.
        administrator: its first user.
        claim_hash: the SHA-256 of a secret that its first key will be claimed with, once; without it, the
            key is made now.
    """

    name: str
    slug: str
    host: str | None = None
    administrator: Administrator | None = None
    claim_hash: bytes | None = None


def checked(
    *,
    name: str,
    slug: str | None = None,
    host: str | None = None,
    administrator: Administrator | None = None,
    claim_hash: bytes | None = None,
) -> SignUp:
    """Return a sign-up; without a slug, one is made from the name.

    Raises:
        InvalidNameError: slug or host cannot be used, or no slug can be made from the name.
    """
    return SignUp(
        name=name,
        slug=names.slug(slug) if slug is not None else names.slug_from(name),
        host=names.host(host) if host is not None else None,
        administrator=administrator,
        claim_hash=claim_hash,
    )


class Origin(msgspec.Struct, frozen=True):
    """The message by which a tenant was signed up from outside.

    Args:
        message_id: its ledger row.
        source: its CloudEvent's source.
        source_id: its CloudEvent's id.
    """

    message_id: UUID
    source: str
    source_id: str


class SignedUp(msgspec.Struct, frozen=True):
    """A tenant that is signed up, and its key, which is shown once.

    ``key`` is None where it is made later; or, for a repeated request, where the first one was used, revoked
    or claimed, so that whoever sends it again has it or can do without.
    """

    tenant: Tenant
    key: Token | None


async def sign_up(
    connection: Connection,
    wanted: SignUp,
    by: By,
    *,
    origin: Origin | None = None,
    once: idempotency.Request | None = None,
) -> SignedUp:
    """Register a tenant, and ask for it to be provisioned.

    Args:
        connection: within a transaction.
        wanted: what to sign up.
        by: who does it.
        origin: the message that asked for it. Nobody would see a key that is made now, so none is: without
            a claim, an operator makes one.
        once: the request's idempotency key; `repeat` answers the same request when it comes again.

    Raises:
        TakenError: slug, host or e-mail is somebody's.
        asyncpg.UniqueViolationError: a request with the same idempotency key is being done at this moment.
    """
    tenant = await registry.add(connection, wanted.slug, wanted.name, wanted.claim_hash)
    if wanted.host is not None:
        await hosts.add(connection, tenant.id, wanted.host)
    if wanted.administrator is not None:
        await people.reserve(connection, tenant.id, wanted.administrator)
    key = None
    if wanted.claim_hash is None and origin is None:
        key = await keys.add_first(connection, tenant.id)
        if once is not None:
            await idempotency.remember(connection, once, tenant.id, key.id)
    await _tell(connection, tenant, origin)
    await audit.record(
        connection,
        by,
        "tenant.create",
        tenant_id=tenant.id,
        message_id=origin.message_id if origin else None,
        source=origin.source if origin else None,
    )
    return SignedUp(tenant, key)


async def repeat(connection: Connection, once: idempotency.Request, by: By) -> SignedUp | None:
    """Answer a sign-up that was done before under the same idempotency key; return None if it is new.

    While its first key has not been used, a fresh one takes its place.

    Args:
        connection: within a transaction.
        once: the request's idempotency key and body.
        by: who sends it.

    Raises:
        IdempotencyMismatchError: it came with another body the first time.
    """
    before = await idempotency.get(connection, once)
    if before is None:
        return None
    tenant = await registry.get(connection, before.tenant_id)
    assert tenant is not None  # registry rows are never deleted
    key = await idempotency.exchange(connection, once, before)
    await audit.record(connection, by, "tenant.create_again", tenant_id=tenant.id)
    return SignedUp(tenant, key)


async def _tell(connection: Connection, tenant: Tenant, origin: Origin | None) -> None:
    requested = registry.about(
        tenant,
        Requested(
            tenant_id=tenant.id,
            slug=tenant.slug,
            name=tenant.name,
            source=origin.source if origin else None,
            source_id=origin.source_id if origin else None,
        ),
        caused_by=origin.message_id if origin else None,
        priority=SIGN_UP,
    )
    provision = registry.about(
        tenant, Provision(tenant_id=tenant.id), caused_by=requested.id, priority=SIGN_UP
    )
    await outbox.append(connection, [requested, provision])
