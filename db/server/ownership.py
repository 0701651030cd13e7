"""Whose the objects are in ``shared`` and in the tenants' schemas: the owner's, also after a dump was restored.

Restored where the owner was not yet there, or by ``--no-owner``, they are the superuser's who restored them.
"""

from typing import Final

from db.names import quoted
from db.session.connection import Connection

BATCH: Final = 20
"""Most schemas that one transaction changes; each object takes a place in the lock table."""

SCHEMAS: Final = """
SELECT n.nspname FROM pg_catalog.pg_namespace n
WHERE n.nspname = 'shared' OR n.nspname IN (SELECT schema_name FROM shared.tenants WHERE status <> 'purged')
ORDER BY 1
"""

_FOREIGN: Final = """
WITH places AS (SELECT oid, nspname, nspowner FROM pg_catalog.pg_namespace WHERE nspname = ANY($2::text[])),
objects AS (
  SELECT 'pg_class'::regclass AS catalog, c.oid, relnamespace AS place, relowner AS owner
  FROM pg_catalog.pg_class c WHERE relkind IN ('r', 'p', 'v', 'm', 'f') OR relkind = 'S' AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_depend d -- a column's sequence goes with its table
    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i'))
  UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace, proowner FROM pg_catalog.pg_proc
  UNION ALL SELECT 'pg_type'::regclass, t.oid, typnamespace, typowner FROM pg_catalog.pg_type t
  WHERE typtype IN ('b', 'd', 'e', 'r') AND typcategory <> 'A'
    OR typtype = 'c' AND (SELECT relkind FROM pg_catalog.pg_class WHERE oid = typrelid) = 'c'
  UNION ALL SELECT 'pg_operator'::regclass, oid, oprnamespace, oprowner FROM pg_catalog.pg_operator
  UNION ALL SELECT 'pg_opclass'::regclass, oid, opcnamespace, opcowner FROM pg_catalog.pg_opclass
  UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfnamespace, opfowner FROM pg_catalog.pg_opfamily
  UNION ALL SELECT 'pg_collation'::regclass, oid, collnamespace, collowner FROM pg_catalog.pg_collation
  UNION ALL SELECT 'pg_statistic_ext'::regclass, oid, stxnamespace, stxowner FROM pg_catalog.pg_statistic_ext
  UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgnamespace, cfgowner FROM pg_catalog.pg_ts_config
  UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictnamespace, dictowner FROM pg_catalog.pg_ts_dict)
SELECT nspname, 'schema' AS type, pg_catalog.quote_ident(nspname) AS identity FROM places
WHERE nspowner IS DISTINCT FROM to_regrole($1)
UNION ALL
SELECT p.nspname, replace(i.type, 'statistics object', 'statistics'), i.identity
FROM objects o JOIN places p ON p.oid = o.place
CROSS JOIN LATERAL pg_catalog.pg_identify_object(o.catalog, o.oid, 0) i
WHERE o.owner IS DISTINCT FROM to_regrole($1) AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.catalog AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
"""


async def foreign(connection: Connection, owner: str) -> list[str]:
    """Return the objects that are not the owner's, such as ``table shared.tenants``.

    Args:
        connection: of a login that may read ``shared.tenants``.
        owner: the login that should own everything.
    """
    schemas = [row["nspname"] for row in await connection.fetch(SCHEMAS)]
    return [
        f"{row['type']} {row['identity']}" for row in await connection.fetch(_FOREIGN, quoted(owner), schemas)
    ]


async def adopt(connection: Connection, owner: str) -> int:
    """Make the owner own what is in ``shared`` and in the tenants' schemas; return how many objects changed hands.

    Args:
        connection: of a superuser, not in a transaction.
        owner: the login that shall own everything.
    """
    if not await connection.fetchval("SELECT to_regclass('shared.tenants') IS NOT NULL"):
        return 0
    schemas = [row["nspname"] for row in await connection.fetch(SCHEMAS)]
    rows = await connection.fetch(_FOREIGN, quoted(owner), schemas)  # once: it reads whole catalogs
    concerned = sorted({row["nspname"] for row in rows})
    for start in range(0, len(concerned), BATCH):
        batch = concerned[start : start + BATCH]
        async with connection.transaction():
            for row in rows:
                if row["nspname"] in batch:
                    await connection.execute(
                        f"ALTER {row['type']} {row['identity']} OWNER TO {quoted(owner)}"
                    )
    return len(rows)
