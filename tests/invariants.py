"""Invariants: checks that must hold once the system has come to rest, whatever failed before.

Each rule is a query for the rows that break it, so that a failure names them.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from uuid import UUID

import aio_pika
import asyncpg

from db.names import quoted
from db.settings import Settings
from provisioner import topology
from tests.support import eventually

SCHEMA: Final = "^t_[a-z2-7]{16}$"

_OPEN: Final = """
SELECT kind || ' ' || type || ' ' || id || ' is ' || status FROM shared.messages
WHERE status = 'pending' OR (kind = 'command' AND status = 'published')
"""

# A tenant has a schema from the end of its provisioning to its purge.
_TENANTS: Final = """
SELECT t.id, t.slug, t.schema_name, t.revision, coalesce(t.status_before, t.status) AS status,
       n.oid IS NOT NULL AS has_schema, r.oid IS NOT NULL AS has_role
FROM shared.tenants t
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = t.schema_name
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = t.schema_name
"""

_RULES: Final[dict[str, str]] = {
    "a tenant is left half-way": """
        SELECT slug || ' is ' || status FROM shared.tenants
        WHERE status IN ('pending', 'provisioning', 'purging')""",
    "a failed tenant has no parked message": """
        SELECT slug FROM shared.tenants t WHERE status = 'failed' AND NOT EXISTS (
          SELECT FROM shared.messages m
          WHERE m.tenant_id = t.id AND m.type = 'tenant.provision' AND m.status = 'parked')""",
    "a parked provisioning has a tenant that is not failed": """
        SELECT t.slug || ' is ' || t.status FROM shared.messages m JOIN shared.tenants t ON t.id = m.tenant_id
        WHERE m.type = 'tenant.provision' AND m.status = 'parked'
          AND coalesce(t.status_before, t.status) <> 'failed'""",
    "a schema has no tenant": f"""
        SELECT nspname FROM pg_catalog.pg_namespace WHERE nspname ~ '{SCHEMA}'
        AND NOT EXISTS (SELECT FROM shared.tenants WHERE schema_name = nspname AND status <> 'purged')
        AND NOT EXISTS (SELECT FROM shared.pool_schemas WHERE schema_name = nspname)""",
    "a schema of the pool is not there": """
        SELECT schema_name FROM shared.pool_schemas WHERE to_regnamespace(schema_name) IS NULL""",
    "a schema of the pool is a tenant's": """
        SELECT schema_name FROM shared.pool_schemas JOIN shared.tenants USING (schema_name)""",
    "a provisioned tenant has no handled command": """
        SELECT slug FROM shared.tenants t WHERE revision IS NOT NULL AND status <> 'purged' AND NOT EXISTS (
          SELECT FROM shared.messages m
          WHERE m.tenant_id = t.id AND m.type = 'tenant.provision' AND m.status = 'handled')""",
    "a handled provisioning left nothing": """
        SELECT t.slug FROM shared.messages m JOIN shared.tenants t ON t.id = m.tenant_id
        WHERE m.type = 'tenant.provision' AND m.status = 'handled' AND t.revision IS NULL""",
    "a sign-up was not told of exactly once": """
        SELECT slug || ': ' || (SELECT count(*) FROM shared.messages m
                                WHERE m.tenant_id = t.id AND m.type = 'tenant.requested')
        FROM shared.tenants t WHERE 1 <> (
          SELECT count(*) FROM shared.messages m WHERE m.tenant_id = t.id AND m.type = 'tenant.requested')""",
    "a provisioning was not told of exactly once": """
        SELECT slug || ': ' || told FROM (
          SELECT slug, (revision IS NOT NULL)::int AS done, (
            SELECT count(*) FROM shared.messages m
            WHERE m.tenant_id = t.id AND m.type = 'tenant.provisioned') AS told
          FROM shared.tenants t) counted
        WHERE told <> done""",
    "a failure was not told of exactly once": """
        SELECT m.type || ' ' || m.id FROM shared.messages m
        WHERE m.status = 'parked' AND m.kind = 'command' AND m.tenant_id IS NOT NULL AND (
          SELECT count(*) FROM shared.messages e
          WHERE e.caused_by = m.id AND e.type = 'message.parked') NOT BETWEEN 1 AND 1 + m.replays""",
    "a failed provisioning was not told of exactly once": """
        SELECT m.type || ' ' || m.id FROM shared.messages m
        WHERE m.status = 'parked' AND m.type = 'tenant.provision' AND (
          SELECT count(*) FROM shared.messages e
          WHERE e.caused_by = m.id AND e.type = 'tenant.provisioning_failed') NOT BETWEEN 1 AND 1 + m.replays""",
    "a suspension or its end is missing": """
        SELECT slug FROM (
          SELECT slug, ('suspended' IN (status, status_before))::int AS is, (
            SELECT count(*) FILTER (WHERE m.type = 'tenant.suspended')
                 - count(*) FILTER (WHERE m.type = 'tenant.resumed')
            FROM shared.messages m WHERE m.tenant_id = t.id) AS told
          FROM shared.tenants t) counted
        WHERE told <> coalesce("is", 0)""",
    "a deletion or its undoing is missing": """
        SELECT slug FROM (
          SELECT slug, (status IN ('deleted', 'purging', 'purged'))::int AS is, (
            SELECT count(*) FILTER (WHERE m.type = 'tenant.deleted')
                 - count(*) FILTER (WHERE m.type = 'tenant.restored')
            FROM shared.messages m WHERE m.tenant_id = t.id) AS told
          FROM shared.tenants t) counted
        WHERE told <> "is" """,
    "a change was told of twice": """
        SELECT type || ' of ' || tenant_id || ' at ' || tenant_version FROM shared.messages
        WHERE kind = 'event' AND tenant_id IS NOT NULL
        GROUP BY type, tenant_id, tenant_version HAVING count(*) > 1""",
    "an event is of a version that never was": """
        SELECT m.type || ' ' || m.id FROM shared.messages m JOIN shared.tenants t ON t.id = m.tenant_id
        WHERE m.tenant_version NOT BETWEEN 1 AND t.version""",
    "a settled message is still leased": """
        SELECT type || ' ' || id FROM shared.messages WHERE status <> 'pending' AND leased_until IS NOT NULL""",
    "an administrator still waits": """
        SELECT p.email FROM shared.pending_admins p JOIN shared.tenants t ON t.id = p.tenant_id
        WHERE t.revision IS NOT NULL""",
    "an administrator is not active": """
        SELECT u.email FROM shared.shared_users u JOIN shared.tenants t ON t.id = u.tenant_id
        WHERE t.status = 'active' AND NOT u.is_active""",
}


async def roles(connection: asyncpg.Connection) -> frozenset[str]:
    """Return the tenants' roles of the whole server, including those of other databases."""
    rows = await connection.fetch(f"SELECT rolname FROM pg_catalog.pg_roles WHERE rolname ~ '{SCHEMA}'")
    return frozenset(row["rolname"] for row in rows)


async def violations(connection: asyncpg.Connection, *, foreign: Iterable[str] = ()) -> list[str]:
    """Return the violations in registry, ledger and schemas, one line each.

    Args:
        connection: a connection of the owner or of a superuser.
        foreign: tenants' roles of other databases, which existed before this database's first tenant.
    """
    found = [f"{row[0]} (not quiet)" for row in await connection.fetch(_OPEN)]
    for rule, query in _RULES.items():
        found += [f"{rule}: {row[0]}" for row in await connection.fetch(query)]
    expected = set()
    for tenant in await connection.fetch(_TENANTS):
        served = tenant["status"] in {"active", "suspended"}
        expected |= {tenant["schema_name"]} if served else set()
        if served != tenant["has_schema"]:
            found.append(f"{tenant['slug']} is {tenant['status']}, its schema there: {tenant['has_schema']}")
        if served and not tenant["has_role"]:
            found.append(f"{tenant['slug']} has no role")
        if served and tenant["has_schema"]:
            versions = await connection.fetch(
                f"SELECT version_num FROM {quoted(tenant['schema_name'])}.alembic_version"
            )
            seen = [row["version_num"] for row in versions]
            if seen != [tenant["revision"]]:
                found.append(f"{tenant['slug']} is at {seen}, the registry says {tenant['revision']}")
    expected |= {row[0] for row in await connection.fetch("SELECT schema_name FROM shared.pool_schemas")}
    left = await roles(connection) - set(foreign) - expected
    return found + [f"a role has no tenant: {name}" for name in sorted(left)]


async def left_at_broker(url: str) -> list[str]:
    """Return the provisioner's queues that are not empty. Messages in hand count once their consumer has closed."""
    found = []
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        for queue in topology.QUEUES:
            declared = await channel.declare_queue(queue.name, passive=True)
            count = declared.declaration_result.message_count or 0
            if count:
                found.append(f"{queue.name} holds {count}")
    return found


async def unheard(connection: asyncpg.Connection, heard: Mapping[UUID, Iterable[bytes]]) -> list[str]:
    """Return the differences between the ledger's events and those that a listener at the broker heard.

    Args:
        connection: a connection of the owner.
        heard: bodies by message id, including repeats.

    Returns:
        A line for each event that was never heard, that is not in the ledger, or that had two bodies.
    """
    rows = await connection.fetch("SELECT id, type FROM shared.messages WHERE kind = 'event'")
    told = {row["id"]: row["type"] for row in rows}
    missing = [f"never heard: {told[id_]} {id_}" for id_ in told.keys() - heard.keys()]
    invented = [f"heard, but not in the ledger: {id_}" for id_ in heard.keys() - told.keys()]
    changed = [f"two bodies of one id: {id_}" for id_, bodies in heard.items() if len(set(bodies)) > 1]
    return missing + invented + changed


async def quiet(connection: asyncpg.Connection, *, within: float = 30.0) -> None:
    """Wait until no message is pending and no command unhandled.

    Args:
        connection: a connection of the owner.
        within: seconds to wait at most.
    """

    async def probe() -> bool:
        waiting = await connection.fetch(_OPEN)
        assert not waiting, [row[0] for row in waiting][:5]
        return True

    await eventually(probe, within=within, what="quiet")


class Healed:
    """Checks the whole system once it has come to rest.

    Args:
        config: the settings of the system.
        foreign: tenants' roles of other databases, which existed before.
    """

    def __init__(self, config: Settings, foreign: Iterable[str] = ()) -> None:
        self._config = config
        self._foreign = frozenset(foreign)

    async def __call__(self, *, amqp_url: str | None = None, within: float = 30.0) -> None:
        """Wait until the system is quiet, then check that nothing is missing, half done or done twice.

        Args:
            amqp_url: the broker's address, to check that its queues are empty; None to skip this.
            within: seconds to wait at most for quiet, and again for empty queues.
        """
        connection = await asyncpg.connect(self._config.require("owner_database_url"))
        try:
            await quiet(connection, within=within)
            wrong = await violations(connection, foreign=self._foreign)
            assert not wrong, "\n".join(wrong)
        finally:
            await connection.close()
        if amqp_url is None:
            return

        async def empty() -> bool:
            left = await left_at_broker(amqp_url)
            assert not left, left
            return True

        await eventually(empty, within=within, what="empty queues")
