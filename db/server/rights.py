"""The rights of the API's login in ``shared``, by table and column: the list, granting and comparing."""

from typing import Final

import msgspec

from db.names import quoted
from db.server import installation
from db.session.connection import Connection

ALL: Final = "*"
"""All columns of the table, including those that later revisions add."""

RIGHTS: Final[dict[str, dict[str, str]]] = {
    "alembic_version": {"SELECT": ALL},
    "tenants": {
        "SELECT": ALL,
        "INSERT": "id, slug, name, schema_name, claim_hash",
        "UPDATE": "slug, name, status, status_before, version, updated_at, purge_after, claim_hash",
    },
    "tenant_hosts": {"SELECT": ALL, "INSERT": "host, tenant_id", "DELETE": ALL},
    "shared_users": {
        "SELECT": ALL,
        "INSERT": "email, tenant_id, is_active",
        "UPDATE": "email, is_active, updated_at",
        "DELETE": ALL,
    },
    # password_hash is read so that a waiting administrator is told to wait only after the right password.
    "pending_admins": {
        "SELECT": "tenant_id, email, password_hash",
        "INSERT": "tenant_id, email, first_name, last_name, password_hash",
    },
    "access_tokens": {
        "SELECT": ALL,
        "INSERT": "id, kind, token_hash, name, tenant_id, user_id, scopes, expires_at",
        "UPDATE": "revoked_at, last_used_at, expires_at",
    },
    "messages": {
        "SELECT": ALL,
        "INSERT": "id, kind, type, tenant_id, tenant_version, priority, payload, caused_by, created_at, "
        "source, source_id",
        "UPDATE": (
            "status, attempts, available_at, leased_until, published_at, handled_at, last_error, "
            "error_class, traceback, replays, source, source_id"
        ),
    },
    "replays": {
        "SELECT": ALL,
        "INSERT": "id, filter, rate, reason, actor, total",
        "UPDATE": "total, status, finished_at",
    },
    "replay_messages": {"SELECT": ALL, "INSERT": ALL, "DELETE": ALL},
    "rollouts": {
        "SELECT": ALL,
        "INSERT": (
            "id, target, task, arguments, canary, wave, concurrency, rate, max_failures, bake_time, filter, reason,"
            " actor, current_wave, waves"
        ),
        "UPDATE": "status, failures, wave_failures, note, message_id, finished_at",
    },
    # A task marks its tenant done in its own transaction, which is the login's.
    "rollout_tenants": {
        "SELECT": ALL,
        "INSERT": "rollout_id, tenant_id, wave, status",
        "UPDATE": "wave, status, attempts, available_at, error, error_class, finished_at",
    },
    "heartbeats": {"SELECT": ALL},
    "structures": {"SELECT": ALL},
    "switches": {"SELECT": ALL, "INSERT": ALL, "UPDATE": "enabled, reason, changed_by, changed_at"},
    "idempotency_keys": {
        "SELECT": ALL,
        "INSERT": "key_hash, body_hash, tenant_id, token_id",
        "UPDATE": "token_id",
    },
    "audit_log": {
        "SELECT": ALL,
        "INSERT": "actor, tenant_id, request_id, action, outcome, detail",
    },
}


_HELD: Final = """
WITH tables AS (
  SELECT c.oid, c.relname FROM pg_catalog.pg_class c
  WHERE c.relnamespace = to_regnamespace('shared') AND c.relkind IN ('r', 'p'))
SELECT t.relname, p.privilege, a.attname,
       has_column_privilege(current_user, t.oid, a.attnum, p.privilege) AS held
FROM tables t
CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS p (privilege)
JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT t.relname, p.privilege, NULL, has_table_privilege(current_user, t.oid, p.privilege)
FROM tables t CROSS JOIN unnest($1::text[]) AS p (privilege)
UNION ALL
SELECT c.relname, p.privilege, NULL, has_sequence_privilege(current_user, c.oid, p.privilege)
FROM pg_catalog.pg_class c CROSS JOIN unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) AS p (privilege)
WHERE c.relnamespace = to_regnamespace('shared') AND c.relkind = 'S'
ORDER BY 1, 2, 3
"""
_WHOLE_TABLE: Final = ("DELETE", "TRUNCATE", "TRIGGER")
_MAINTAIN: Final = 170_000
"""The first ``server_version_num`` with the privilege MAINTAIN."""


class Differences(msgspec.Struct, frozen=True):
    """Differences between a login's rights in ``shared`` and `RIGHTS`, such as ``UPDATE (revision) on tenants``."""

    missing: list[str]
    surplus: list[str]


async def differences(connection: Connection) -> Differences:
    """Return the differences between the login's rights in ``shared`` and `RIGHTS`.

    Args:
        connection: of the API's login.
    """
    missing: list[str] = []
    surplus: list[str] = []
    schema = await connection.fetchval("SELECT to_regnamespace('shared')::oid")
    if schema is None:
        return Differences(["USAGE on schema shared, which is not there"], [])
    for privilege, needed in (("USAGE", True), ("CREATE", False)):
        if needed != await connection.fetchval(
            "SELECT has_schema_privilege(current_user, $1::oid, $2)", schema, privilege
        ):
            (missing if needed else surplus).append(f"{privilege} on schema shared")
    number = await connection.fetchval("SELECT current_setting('server_version_num')::int")
    for row in await connection.fetch(_HELD, [*_WHOLE_TABLE, *(["MAINTAIN"] if number >= _MAINTAIN else [])]):
        columns = RIGHTS.get(row["relname"], {}).get(row["privilege"])
        wanted = columns == ALL or (columns is not None and row["attname"] in columns.split(", "))
        if wanted != row["held"]:
            column = f" ({row['attname']})" if row["attname"] else ""
            (missing if wanted else surplus).append(f"{row['privilege']}{column} on {row['relname']}")
    return Differences(missing, surplus)


async def grant_shared(connection: Connection) -> None:
    """Grant the API's login the rights in `RIGHTS`, and revoke all others in ``shared``.

    Tables that do not exist yet are skipped.

    Args:
        connection: of the owner, in a transaction.
    """
    present = {
        row["relname"]
        for row in await connection.fetch(
            "SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relnamespace = 'shared'::regnamespace"
            " AND c.relkind IN ('r', 'p')"
        )
    }
    ours = await installation.of(connection)
    app = quoted(ours.app)
    script = [
        f"REVOKE ALL ON SCHEMA shared FROM {app}, PUBLIC",
        f"REVOKE ALL ON ALL TABLES IN SCHEMA shared FROM {app}, PUBLIC",
        f"REVOKE ALL ON ALL SEQUENCES IN SCHEMA shared FROM {app}, PUBLIC",
        f"GRANT USAGE ON SCHEMA shared TO {app}",
    ]
    for table, rights in RIGHTS.items():
        if table in present:
            for privilege, columns in rights.items():
                suffix = "" if columns == ALL else f" ({columns})"
                script.append(f"GRANT {privilege}{suffix} ON shared.{quoted(table)} TO {app}")
    await ours.execute(connection, script)
