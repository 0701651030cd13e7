"""Sign-up: a tenant's registry row, first key, two messages and audit entry, written in one transaction."""

from uuid import UUID

import asyncpg
import msgspec

from db import audit, names
from db.audit import By
from db.errors import TakenError
from db.ledger import outbox
from db.ledger.contracts import Provision, Requested
from db.ledger.envelope import SIGN_UP
from db.session.connection import Connection
from db.tenants import hosts, idempotency, keys, people, registry
from db.tenants.people import Administrator
from db.tenants.registry import Tenant
from db.tenants.tokens import Token


class SignUp(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-up whose names are valid. Made by `checked`.

    Args:
        name: the tenant's name, for people.
        slug: the tenant's name, for machines.
        host: a host name that will lead to the tenant.
        administrator: the tenant's first user.
        claim_hash: the SHA-256 of the secret with which the first key will be claimed, once. If None, the
            key is made at sign-up.
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
    """Return a sign-up with valid names. If there is no slug, make one from the name.

    Raises:
        InvalidNameError: the name, slug or host cannot be used, or no slug can be made from the name.
    """
    return SignUp(
        name=names.line(name),
        slug=names.slug(slug) if slug is not None else names.slug_from(name),
        host=names.host(host) if host is not None else None,
        administrator=administrator,
        claim_hash=claim_hash,
    )


class Origin(msgspec.Struct, frozen=True):
    """The message that asked for a sign-up from outside.

    Args:
        message_id: the id of the message's ledger row.
        source: the CloudEvent's source.
        source_id: the CloudEvent's id.
    """

    message_id: UUID
    source: str
    source_id: str


class SignedUp(msgspec.Struct, frozen=True):
    """A tenant that was signed up, and its first key, which is shown once.

    ``key`` is None if the key is made later. For a repeated request, it is also None if the first key was
    used or revoked.
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

    A request that was done before with the same idempotency key is answered again: if the first key has not
    been used or revoked, a new key replaces it.

    Args:
        connection: in a transaction.
        wanted: the sign-up.
        by: who signs the tenant up.
        origin: the message that asked for the sign-up, if it came from outside. Then no key is made, because
            nobody would see it: the key is claimed, or an operator makes one.
        once: the request's idempotency key and body.

    Raises:
        TakenError: the slug, host or e-mail belongs to somebody already.
        IdempotencyMismatchError: the idempotency key was first sent with another body.
    """
    if once is None:
        return await _register(connection, wanted, by, origin)
    before = await _repeat(connection, once, by)
    if before is None:
        try:
            async with connection.transaction():
                made = await _register(connection, wanted, by, origin)
                assert made.key is not None  # only sign-ups over HTTP have an idempotency key
                await idempotency.remember(connection, once, made.tenant.id, made.key.id)
                return made
        except (TakenError, asyncpg.UniqueViolationError):
            before = await _repeat(connection, once, by)  # perhaps the same request, sent twice at once
            if before is None:
                raise
    return before


async def _register(connection: Connection, wanted: SignUp, by: By, origin: Origin | None) -> SignedUp:
    tenant = await registry.add(connection, wanted.slug, wanted.name, wanted.claim_hash)
    if wanted.host is not None:
        await hosts.add(connection, tenant.id, wanted.host)
    if wanted.administrator is not None:
        await people.reserve(connection, tenant.id, wanted.administrator)
    key = None
    if wanted.claim_hash is None and origin is None:
        key = await keys.add_first(connection, tenant.id)
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


async def _repeat(connection: Connection, once: idempotency.Request, by: By) -> SignedUp | None:
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
