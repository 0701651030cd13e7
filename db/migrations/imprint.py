"""Imprints: which rows the catalog has of a schema, and which transactions wrote them.

Whatever alters an object of the schema, or a right on it, writes one of these rows. So a schema with the same imprint
is as it was; one with another may still be the same, which its fingerprint tells. An imprint takes a fifth of the
fingerprint's time. ANALYZE and VACUUM change the catalog in place, without another ``xmin``.
"""

from typing import Final

from db.session.connection import Connection

_RELATIONS: Final = "(SELECT c.oid FROM pg_catalog.pg_class c WHERE c.relnamespace = s.oid)"
_DEPENDENT: Final = (
    "(SELECT d.objid FROM pg_catalog.pg_depend d"
    " WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = s.oid)"
)
_ROWS: Final = (
    ("pg_class", "x.relnamespace = s.oid", "x.oid"),
    ("pg_attribute", f"x.attrelid IN {_RELATIONS}", "x.attrelid, x.attnum"),
    ("pg_attrdef", f"x.adrelid IN {_RELATIONS}", "x.oid"),
    ("pg_index", f"x.indrelid IN {_RELATIONS}", "x.indexrelid"),
    ("pg_constraint", "x.connamespace = s.oid", "x.oid"),
    ("pg_trigger", f"x.tgrelid IN {_RELATIONS}", "x.oid"),
    ("pg_rewrite", f"x.ev_class IN {_RELATIONS}", "x.oid"),
    ("pg_policy", f"x.polrelid IN {_RELATIONS}", "x.oid"),
    ("pg_sequence", f"x.seqrelid IN {_RELATIONS}", "x.seqrelid"),
    ("pg_inherits", f"x.inhrelid IN {_RELATIONS}", "x.inhrelid, x.inhseqno"),
    ("pg_partitioned_table", f"x.partrelid IN {_RELATIONS}", "x.partrelid"),
    ("pg_statistic_ext", "x.stxnamespace = s.oid", "x.oid"),
    ("pg_proc", "x.pronamespace = s.oid", "x.oid"),
    ("pg_type", "x.typnamespace = s.oid", "x.oid"),
    (
        "pg_enum",
        "x.enumtypid IN (SELECT t.oid FROM pg_catalog.pg_type t WHERE t.typnamespace = s.oid)",
        "x.oid",
    ),
    ("pg_collation", "x.collnamespace = s.oid", "x.oid"),
    ("pg_operator", "x.oprnamespace = s.oid", "x.oid"),
    ("pg_default_acl", "x.defaclnamespace = s.oid", "x.oid"),
    ("pg_ts_dict", "x.dictnamespace = s.oid", "x.oid"),
    ("pg_ts_config", "x.cfgnamespace = s.oid", "x.oid"),
    (
        "pg_ts_config_map",
        "x.mapcfg IN (SELECT t.oid FROM pg_catalog.pg_ts_config t WHERE t.cfgnamespace = s.oid)",
        "x.mapcfg, x.maptokentype, x.mapseqno",
    ),
    # Comments: on relations, and on whatever else depends on the schema.
    ("pg_description", f"x.objoid IN {_RELATIONS}", "x.classoid, x.objoid, x.objsubid"),
    ("pg_description", f"x.objoid IN {_DEPENDENT}", "x.classoid, x.objoid, x.objsubid"),
)
_IMPRINT: Final = (
    "WITH s AS MATERIALIZED (SELECT n.oid, n.xmin FROM pg_catalog.pg_namespace n WHERE n.nspname = $1)"
    " SELECT pg_catalog.md5(string_agg(r.line, ';' ORDER BY r.line)) FROM ("
    "SELECT concat_ws(' ', 'pg_namespace', s.oid, s.xmin) AS line FROM s"
    + "".join(
        f" UNION ALL SELECT concat_ws(' ', '{table}', {key}, x.xmin) FROM s, pg_catalog.{table} x WHERE ({condition})"
        for table, condition, key in _ROWS
    )
    + ") r"
)


async def imprint(connection: Connection, schema: str) -> str | None:
    """Return the imprint of a schema; None if it is not there.

    Args:
        connection: of any login, in the transaction in which nobody else may change the schema, if that matters.
        schema: the schema's name.
    """
    found: str | None = await connection.fetchval(_IMPRINT, schema)
    return found
