"""Fingerprints: hashes of schemas' structures, read from the catalog, to compare schemas by."""

import hashlib
from typing import Final

from db.session.connection import Connection

_STRUCTURE: Final = """
WITH own AS (SELECT $1::regnamespace::oid AS schema)
SELECT 'column' AS kind, c.relname || '.' || a.attname AS name,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                 nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
                 pg_get_expr(d.adbin, d.adrelid)) AS definition
FROM own JOIN pg_catalog.pg_class c ON c.relnamespace = own.schema AND c.relkind IN ('r', 'p', 'v', 'm')
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
UNION ALL
SELECT 'constraint', c.relname || '.' || k.conname, pg_get_constraintdef(k.oid)
FROM own JOIN pg_catalog.pg_constraint k ON k.connamespace = own.schema
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
UNION ALL
SELECT 'index', t.relname || '.' || i.relname, pg_get_indexdef(i.oid) || CASE WHEN x.indisvalid THEN '' ELSE ' invalid' END
FROM own JOIN pg_catalog.pg_class i ON i.relnamespace = own.schema AND i.relkind IN ('i', 'I')
JOIN pg_catalog.pg_index x ON x.indexrelid = i.oid JOIN pg_catalog.pg_class t ON t.oid = x.indrelid
UNION ALL
SELECT 'trigger', c.relname || '.' || g.tgname, pg_get_triggerdef(g.oid)
FROM own JOIN pg_catalog.pg_class c ON c.relnamespace = own.schema
JOIN pg_catalog.pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal
UNION ALL
SELECT 'function', p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', md5(pg_get_functiondef(p.oid))
FROM own JOIN pg_catalog.pg_proc p ON p.pronamespace = own.schema AND p.prokind IN ('f', 'p')
UNION ALL
SELECT 'view', c.relname, pg_get_viewdef(c.oid)
FROM own JOIN pg_catalog.pg_class c ON c.relnamespace = own.schema AND c.relkind IN ('v', 'm')
UNION ALL
SELECT 'policy', c.relname || '.' || p.polname, pg_get_expr(p.polqual, p.polrelid)
FROM own JOIN pg_catalog.pg_class c ON c.relnamespace = own.schema
JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid
ORDER BY 1, 2, 3
"""


async def structure(connection: Connection, schema: str) -> tuple[str, ...]:
    """Return a schema's structure, without the schema's name.

    There is one line for each column, constraint, index, trigger, function, view and policy.

    Args:
        connection: of any login; all may read the catalog.
        schema: the schema's name.
    """
    rows = await connection.fetch(_STRUCTURE, schema)
    lines = (f"{row['kind']} {row['name']}: {row['definition']}" for row in rows)
    return tuple(line.replace(f"{schema}.", "") for line in lines)


async def fingerprint(connection: Connection, schema: str) -> str:
    """Return the SHA-256 of a schema's `structure`, in hexadecimal."""
    return hashlib.sha256("\n".join(await structure(connection, schema)).encode()).hexdigest()
