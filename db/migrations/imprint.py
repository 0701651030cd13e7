"""Imprints: which rows the catalog has of a schema, and which transactions wrote them.

Whatever alters an object of the schema, or a right on it, writes one of these rows. So a schema with the same imprint
is as it was; one with another may still be the same, which its fingerprint tells. An imprint takes a fifth of the
fingerprint's time. ANALYZE and VACUUM change the catalog in place, without another ``xmin``.
"""

from typing import Final

from db.session.connection import Connection

# By indexes all the way: pg_class and its like have none on the schema alone, and tenants have many relations.
_PARTS: Final = """
s AS MATERIALIZED (SELECT n.oid, n.xmin FROM pg_catalog.pg_namespace n WHERE n.nspname = $1),
member AS MATERIALIZED (
  SELECT DISTINCT d.classid, d.objid FROM s JOIN pg_catalog.pg_depend d
    ON d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = s.oid),
typ AS MATERIALIZED (
  SELECT t.oid, t.typrelid FROM member m JOIN pg_catalog.pg_type t ON t.oid = m.objid
  WHERE m.classid = 'pg_catalog.pg_type'::regclass),
rel AS MATERIALIZED (
  SELECT m.objid AS oid FROM member m WHERE m.classid = 'pg_catalog.pg_class'::regclass
  UNION ALL SELECT typ.typrelid FROM typ WHERE typ.typrelid <> 0),
rels AS MATERIALIZED (
  SELECT rel.oid FROM rel UNION ALL
  SELECT i.indexrelid FROM rel JOIN pg_catalog.pg_index i ON i.indrelid = rel.oid)
"""
_OF_RELATIONS: Final = (
    ("pg_class", "oid", "rels", "x.oid"),
    ("pg_attribute", "attrelid", "rels", "x.attrelid, x.attnum"),
    ("pg_attrdef", "adrelid", "rel", "x.oid"),
    ("pg_index", "indrelid", "rel", "x.indexrelid"),
    ("pg_constraint", "conrelid", "rel", "x.oid"),
    ("pg_constraint", "contypid", "typ", "x.oid"),
    ("pg_trigger", "tgrelid", "rel", "x.oid"),
    ("pg_rewrite", "ev_class", "rel", "x.oid"),
    ("pg_policy", "polrelid", "rel", "x.oid"),
    ("pg_sequence", "seqrelid", "rel", "x.seqrelid"),
    ("pg_inherits", "inhrelid", "rel", "x.inhrelid, x.inhseqno"),
    ("pg_partitioned_table", "partrelid", "rel", "x.partrelid"),
    ("pg_type", "oid", "typ", "x.oid"),
    ("pg_enum", "enumtypid", "typ", "x.oid"),
    ("pg_description", "objoid", "rels", "x.classoid, x.objoid, x.objsubid"),
    ("pg_description", "objoid", "(SELECT objid AS oid FROM member)", "x.classoid, x.objoid, x.objsubid"),
    (
        "pg_ts_config_map",
        "mapcfg",
        "(SELECT objid AS oid FROM member)",
        "x.mapcfg, x.maptokentype, x.mapseqno",
    ),
)
_MEMBERS: Final = (
    *("pg_statistic_ext", "pg_proc", "pg_collation", "pg_operator", "pg_opclass", "pg_opfamily"),
    *("pg_conversion", "pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template"),
)
_IMPRINT: Final = (
    f"WITH {_PARTS} SELECT pg_catalog.md5(string_agg(r.line, ';' ORDER BY r.line)) FROM ("
    "SELECT concat_ws(' ', 'pg_namespace', s.oid, s.xmin) AS line FROM s"
    " UNION ALL SELECT concat_ws(' ', 'pg_default_acl', x.oid, x.xmin)"
    " FROM s JOIN pg_catalog.pg_default_acl x ON x.defaclnamespace = s.oid"
    + "".join(
        f" UNION ALL SELECT concat_ws(' ', '{table}', {key}, x.xmin)"
        f" FROM {of} o JOIN pg_catalog.{table} x ON x.{column} = o.oid"
        for table, column, of, key in _OF_RELATIONS
    )
    + "".join(
        f" UNION ALL SELECT concat_ws(' ', '{table}', x.oid, x.xmin)"
        f" FROM member m JOIN pg_catalog.{table} x ON x.oid = m.objid"
        f" WHERE m.classid = 'pg_catalog.{table}'::regclass"
        for table in _MEMBERS
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
