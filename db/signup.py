"""Sign-up: the registry's row, the first key, and the two messages, in one transaction."""

import hmac
from typing import Final
from uuid import UUID

import asyncpg
import msgspec
import uuid_utils.compat as uuid7

from db import ledger, names, permissions, registry, tokens
from db.connection import Connection
from db.contracts import SIGN_UP, Provision, Requested
from db.registry import Tenant
from db.tokens import Token

_NO_HASH: Final = bytes(32)


class Administrator(msgspec.Struct, frozen=True, kw_only=True):
    """The first user of a tenant. ``password_hash`` is argon2's; the password itself never comes here."""

    email: str
    first_name: str | None = None
    last_name: str | None = None
    password_hash: str | None = None


class Taken(Exception):  # noqa: N818 - reads as what was met
    """Somebody has it already.

    Args:
        what: ``slug``, ``host`` or ``email``.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"this {what} is taken")
        self.what = what


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
    """A new tenant and its first key, which is shown once; None where it is made later."""

    tenant: Tenant
    key: Token | None


async def sign_up(
    connection: Connection,
    *,
    name: str,
    slug: str | None = None,
    host: str | None = None,
    administrator: Administrator | None = None,
    claim_hash: bytes | None = None,
    origin: Origin | None = None,
) -> SignedUp:
    """Register a tenant, and ask for it to be provisioned.

    Args:
        connection: within a transaction.
        name: what people call it.
        slug: what machines call it; made from the name where it is None.
        host: a host name that shall lead to it.
        administrator: its first user.
        claim_hash: the SHA-256 of a secret that its first key will be claimed with, once; without it, the
            key is made now.
        origin: the message that asked for it. Nobody would see a key that is made now, so none is: without
            a claim, an operator makes one.

    Raises:
        NameRefused: slug or host cannot be used.
        Taken: slug, host or e-mail is somebody's.
    """
    chosen = names.slug(slug) if slug is not None else names.slug_from(name)
    tenant = await _register(connection, chosen, name, claim_hash)
    if host is not None:
        await add_host(connection, tenant.id, names.host(host))
    if administrator is not None:
        await _reserve(connection, tenant.id, administrator)
    key = await first_key(connection, tenant.id) if claim_hash is None and origin is None else None
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
    await ledger.append(connection, [requested, provision])
    return SignedUp(tenant, key)


async def first_key(connection: Connection, tenant_id: UUID) -> Token:
    """Make the key that a tenant starts with, which may do everything, in the caller's transaction."""
    key = tokens.mint("tenant")
    await tokens.store(connection, key, name="first key", tenant_id=tenant_id, scopes=permissions.ALL)
    return key


async def claim(connection: Connection, slug: str, claim_hash: bytes) -> tuple[UUID, Token] | None:
    """Make the first key of a tenant for whoever has the secret of its sign-up; it works once.

    Args:
        connection: within a transaction.
        slug: the tenant's.
        claim_hash: the SHA-256 of the secret.

    Returns:
        The tenant's id and the key; None where there is nothing to claim, or not with this secret.
    """
    row = await connection.fetchrow(
        """
        SELECT id, claim_hash FROM shared.tenants
        WHERE slug = $1 AND status NOT IN ('deleted', 'purging', 'purged')
        """,
        slug.casefold() if names.SLUG.match(slug.casefold()) else "",
    )
    # Compared against a dummy on a miss, so that both take the same time.
    right = hmac.compare_digest((row and row["claim_hash"]) or _NO_HASH, claim_hash)
    if row is None or not right:
        return None
    claimed = await connection.fetchval(
        "UPDATE shared.tenants SET claim_hash = NULL WHERE id = $1 AND claim_hash = $2 RETURNING id",
        row["id"],
        claim_hash,
    )
    return None if claimed is None else (claimed, await first_key(connection, claimed))


async def _register(connection: Connection, slug: str, name: str, claim_hash: bytes | None) -> Tenant:
    row = await connection.fetchrow(
        f"""
        INSERT INTO shared.tenants (id, slug, name, schema_name, claim_hash) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (slug) WHERE status <> 'purged' DO NOTHING
        RETURNING {registry.COLUMNS}
        """,
        uuid7.uuid7(),
        slug,
        name,
        names.new_schema_name(),
        claim_hash,
    )
    if row is None:
        raise Taken("slug")
    return Tenant.of(row)


async def add_host(connection: Connection, tenant_id: UUID, host: str) -> None:
    """Lead a host name to a tenant.

    Args:
        connection: within a transaction.
        tenant_id: the tenant's.
        host: as `names.host` returned it.

    Raises:
        Taken: it leads to somebody already.
    """
    try:
        await connection.execute(
            "INSERT INTO shared.tenant_hosts (host, tenant_id) VALUES ($1, $2)", host, tenant_id
        )
    except asyncpg.UniqueViolationError as error:
        raise Taken("host") from error


async def _reserve(connection: Connection, tenant_id: UUID, administrator: Administrator) -> None:
    """Reserve the administrator's e-mail, inactive until provisioning has made the user."""
    try:
        await connection.execute(
            "INSERT INTO shared.shared_users (email, tenant_id, is_active) VALUES ($1, $2, false)",
            administrator.email,
            tenant_id,
        )
    except asyncpg.UniqueViolationError as error:
        raise Taken("email") from error
    await connection.execute(
        """
        INSERT INTO shared.pending_admins (tenant_id, email, first_name, last_name, password_hash)
        VALUES ($1, $2, $3, $4, $5)
        """,
        tenant_id,
        administrator.email,
        administrator.first_name,
        administrator.last_name,
        administrator.password_hash,
    )
