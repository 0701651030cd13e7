"""Catalog: one query for each kind of object that a schema can have, for `db.migrations.fingerprint`.

Longer than other modules: the queries are read side by side.

Each query returns an object's ``name`` and ``definition``. All names are quoted where SQL would quote them,
and all free text (labels, comments, bodies of functions) is a literal. Lists are sorted in collation "C", and
never by OID. `COMMON` gives the queries these tables, made for one row ``n`` of ``pg_namespace``:

- ``own``: the schema;
- ``member``: what PostgreSQL has noted as standing in the schema by itself, so not indexes, constraints, columns;
- ``tab``: the schema's relations without indexes;
- ``rel``: the schema's relations;
- ``con``: the schema's constraints;
- ``object``: all objects that can have an owner, privileges or a comment, with their identity;
- ``privilege``: the privileges on them, one by one.

Catalogs are of all schemas, and none has an index on the schema; so each object is looked up by its OID, as
``pg_depend`` has it. A schema among a thousand then takes as long as one that is alone.

Of operator classes and families, conversions and text search parsers and templates, there is only the name.
"""

from typing import Final


def _members(catalog: str, alias: str, schema: str) -> str:
    """Return what follows FROM, for the members that a catalog has.

    Args:
        catalog: the catalog.
        alias: what to call its rows.
        schema: the column with the schema, which is compared since other objects can depend on a schema too.
    """
    return (
        f"own CROSS JOIN member JOIN {catalog} {alias}"
        f" ON member.classid = '{catalog}'::regclass AND {alias}.oid = member.objid AND {alias}.{schema} = own.oid"
    )


def _role(oid: str) -> str:
    """Return an expression for a role's name as the structure has it, NULL if there is no such role."""
    return (
        f"CASE WHEN {oid} = 0 THEN 'PUBLIC' ELSE (SELECT CASE WHEN r.rolname = own.nspname THEN '<tenant>'"
        f" WHEN r.oid = own.nspowner THEN '<owner>' ELSE quote_ident(r.rolname) END"
        f" FROM pg_roles r WHERE r.oid = {oid}) END"
    )


# Catalogs whose objects have no privileges: the columns with the schema and with the owner, if there is one.
_WITHOUT_PRIVILEGES: Final = "\n  ".join(
    f"UNION ALL SELECT '{catalog}'::regclass, x.oid, 0, {owner}, NULL FROM {_members(catalog, 'x', schema)}"
    for catalog, schema, owner in (
        ("pg_statistic_ext", "stxnamespace", "stxowner"),
        ("pg_collation", "collnamespace", "collowner"),
        ("pg_operator", "oprnamespace", "oprowner"),
        ("pg_opclass", "opcnamespace", "opcowner"),
        ("pg_opfamily", "opfnamespace", "opfowner"),
        ("pg_conversion", "connamespace", "x.conowner"),
        ("pg_ts_config", "cfgnamespace", "cfgowner"),
        ("pg_ts_dict", "dictnamespace", "dictowner"),
        ("pg_ts_parser", "prsnamespace", "NULL"),
        ("pg_ts_template", "tmplnamespace", "NULL"),
    )
)

COMMON: Final = f"""
own AS (SELECT n.oid, n.nspname, n.nspowner, n.nspacl),
member AS (
  SELECT DISTINCT d.classid, d.objid FROM own
  JOIN pg_depend d ON d.refclassid = 'pg_namespace'::regclass AND d.refobjid = own.oid AND d.objsubid = 0),
tab AS (
  SELECT c.* FROM {_members("pg_class", "c", "relnamespace")} WHERE c.relkind NOT IN ('i', 'I', 'c')
  UNION ALL SELECT c.* FROM {_members("pg_type", "t", "typnamespace")}
    JOIN pg_class c ON c.oid = t.typrelid AND c.relkind = 'c'),
rel AS (
  SELECT quote_ident(tab.relname) AS name, tab.* FROM tab
  UNION ALL SELECT quote_ident(c.relname), c.*
    FROM tab JOIN pg_index i ON i.indrelid = tab.oid JOIN pg_class c ON c.oid = i.indexrelid),
-- A table's own type is the table's, and so no member.
typ AS (
  SELECT quote_ident(t.typname) AS name, t.*
  FROM own CROSS JOIN (
    SELECT objid FROM member WHERE classid = 'pg_type'::regclass UNION SELECT reltype FROM tab) AS x (oid)
  JOIN pg_type t ON t.oid = x.oid AND t.typnamespace = own.oid
  WHERE NOT EXISTS (SELECT FROM pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid)),
con AS (
  SELECT k.* FROM tab JOIN pg_constraint k ON k.conrelid = tab.oid
  UNION ALL SELECT k.* FROM typ JOIN pg_constraint k ON k.contypid = typ.oid),
-- Without what PostgreSQL makes of a range type, and gives to the superuser.
proc AS (
  SELECT p.* FROM {_members("pg_proc", "p", "pronamespace")}
  WHERE NOT EXISTS (SELECT FROM pg_depend d
    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')),
part (class, oid, sub, owner, acl) AS (
  SELECT 'pg_namespace'::regclass, oid, 0, nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM own
  UNION ALL SELECT 'pg_class'::regclass, oid, 0, CASE WHEN relkind NOT IN ('i', 'I', 'c') THEN relowner END,
    CASE WHEN relkind NOT IN ('i', 'I', 'c')
         THEN coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner)) END FROM rel
  UNION ALL SELECT 'pg_class'::regclass, rel.oid, a.attnum, NULL, a.attacl
    FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
  -- A table's own type follows the table, unless somebody was granted it.
  UNION ALL SELECT 'pg_type'::regclass, typ.oid, 0, typ.typowner, coalesce(typ.typacl, acldefault('T', typ.typowner))
    FROM typ LEFT JOIN rel ON rel.oid = typ.typrelid
    WHERE typ.typtype <> 'm' AND (typ.typrelid = 0 OR rel.relkind = 'c'
      OR typ.typacl::text <> acldefault('T', typ.typowner)::text)
  UNION ALL SELECT 'pg_proc'::regclass, oid, 0, proowner, coalesce(proacl, acldefault('f', proowner)) FROM proc
  UNION ALL SELECT 'pg_trigger'::regclass, g.oid, 0, NULL, NULL
    FROM rel JOIN pg_trigger g ON g.tgrelid = rel.oid AND NOT g.tgisinternal
  UNION ALL SELECT 'pg_rewrite'::regclass, w.oid, 0, NULL, NULL FROM rel JOIN pg_rewrite w ON w.ev_class = rel.oid
  UNION ALL SELECT 'pg_policy'::regclass, p.oid, 0, NULL, NULL FROM rel JOIN pg_policy p ON p.polrelid = rel.oid
  UNION ALL SELECT 'pg_constraint'::regclass, oid, 0, NULL, NULL FROM con
  {_WITHOUT_PRIVILEGES}),
object AS (
  SELECT part.*, i.type || ' ' || CASE i.type WHEN 'schema' THEN '<tenant>' ELSE i.identity END AS identity
  FROM part, pg_identify_object(part.class, part.oid, part.sub) i),
privilege AS (
  SELECT object.identity, x.privilege_type, x.is_grantable, {_role("x.grantee")} AS grantee,
    {_role("x.grantor")} AS grantor
  FROM own, object, aclexplode(object.acl) x)
"""

# Recent minor releases (seen: 15.20) keep a number made from the table's OID among a column's options.
_COLUMN: Final = """
concat_ws(' ', format_type(a.atttypid, a.atttypmod),
  (SELECT 'COLLATE ' || a.attcollation::regcollation FROM pg_type t
    WHERE t.oid = a.atttypid AND a.attcollation NOT IN (0, t.typcollation)),
  (SELECT 'STORAGE ' || a.attstorage::text FROM pg_type t WHERE t.oid = a.atttypid AND a.attstorage <> t.typstorage),
  'COMPRESSION ' || nullif(a.attcompression::text, ''), CASE WHEN a.attnotnull THEN 'NOT NULL' END,
  'IDENTITY ' || nullif(a.attidentity::text, ''), 'GENERATED ' || nullif(a.attgenerated::text, ''),
  (SELECT 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
    FROM pg_attrdef d WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum),
  'STATISTICS ' || nullif(a.attstattarget, -1),
  (SELECT 'OPTIONS ' || quote_literal(string_agg(o, ', ' ORDER BY o COLLATE "C"))
    FROM unnest(a.attoptions || a.attfdwoptions) o WHERE NOT starts_with(o, 'pg_attver=')),
  CASE WHEN NOT a.attislocal THEN 'INHERITED' END)
"""

# Of search_path and role, whose values may be the schema's and the tenant's role's names.
_SETTINGS: Final = """
(SELECT string_agg('SET ' || s.name || ' TO ' || CASE
    WHEN s.name = 'search_path' THEN coalesce((
      SELECT string_agg(CASE word WHEN own.nspname THEN '<tenant>' ELSE quote_ident(word) END, ', ' ORDER BY m.number)
      FROM regexp_matches(s.value, '"((?:[^"]|"")*)"|([^\\s,"]+)', 'g') WITH ORDINALITY AS m (parts, number),
           coalesce(replace(m.parts[1], '""', '"'), lower(m.parts[2])) AS word), '''''')
    WHEN s.name = 'role' AND s.value = own.nspname THEN '<tenant>'
    ELSE quote_literal(s.value) END, ' ' ORDER BY s.name COLLATE "C")
  FROM unnest(p.proconfig) AS entry,
       LATERAL (SELECT split_part(entry, '=', 1) AS name, substr(entry, strpos(entry, '=') + 1) AS value) s)
"""

KINDS: Final[dict[str, str]] = {
    # Views that only wait for their first REFRESH, or were refreshed, are alike: that is data.
    "relation": """
SELECT rel.name, concat_ws(' ', CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END,
  CASE relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned table' WHEN 'v' THEN 'view'
    WHEN 'm' THEN 'materialized view' ELSE 'foreign table' END,
  'OF ' || nullif(reloftype, 0)::regtype, 'PARTITION BY ' || CASE relkind WHEN 'p' THEN pg_get_partkeydef(rel.oid) END,
  'INHERITS (' || (
    SELECT string_agg(concat(inhparent::regclass, CASE WHEN inhdetachpending THEN ' DETACH PENDING' END),
      ', ' ORDER BY inhseqno)
    FROM pg_inherits WHERE inhrelid = rel.oid) || ')', pg_get_expr(relpartbound, rel.oid),
  'USING ' || (SELECT quote_ident(amname) FROM pg_am WHERE pg_am.oid = relam),
  'TABLESPACE ' || (SELECT quote_ident(spcname) FROM pg_tablespace t WHERE t.oid = reltablespace),
  'WITH ' || (SELECT quote_literal(string_agg(o, ', ' ORDER BY o COLLATE "C")) FROM unnest(reloptions) o),
  'TOAST WITH ' || (SELECT quote_literal(string_agg(o, ', ' ORDER BY o COLLATE "C"))
    FROM pg_class t, unnest(t.reloptions) o WHERE t.oid = rel.reltoastrelid),
  CASE WHEN relrowsecurity THEN 'ROW SECURITY' END, CASE WHEN relforcerowsecurity THEN 'FORCE ROW SECURITY' END,
  CASE WHEN relkind IN ('r', 'p') AND relreplident <> 'd' THEN 'REPLICA IDENTITY ' || relreplident::text END,
  (SELECT 'SERVER ' || quote_ident(srvname) || coalesce(' OPTIONS ' || quote_literal(ftoptions::text), '')
    FROM pg_foreign_table JOIN pg_foreign_server s ON s.oid = ftserver WHERE ftrelid = rel.oid),
  'AS ' || CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(rel.oid) END) AS definition
FROM rel WHERE relkind IN ('r', 'p', 'v', 'm', 'f')""",
    "column": f"""
SELECT rel.name || '.' || quote_ident(a.attname), {_COLUMN}
FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE rel.relkind IN ('r', 'p', 'v', 'm', 'f')""",
    # Triggers of a foreign key are internal, but ALTER TABLE ... DISABLE TRIGGER ALL disables them too.
    "constraint": """
SELECT coalesce(rel.name, typ.name) || '.' || quote_ident(k.conname), concat_ws(' ', pg_get_constraintdef(k.oid),
  CASE WHEN NOT k.conislocal THEN 'INHERITED' END,
  'ENABLED ' || (SELECT string_agg(f || ' ' || g.tgenabled::text, ', ' ORDER BY f COLLATE "C")
    FROM pg_trigger g, CAST(g.tgfoid::regproc AS text) f
    WHERE g.tgconstraint = k.oid AND g.tgisinternal AND g.tgenabled <> 'O'))
FROM con k LEFT JOIN rel ON rel.oid = k.conrelid LEFT JOIN typ ON typ.oid = k.contypid""",
    "index": """
SELECT t.name || '.' || rel.name, concat_ws(' ', pg_get_indexdef(rel.oid),
  CASE WHEN NOT indisvalid THEN 'INVALID' END, CASE WHEN NOT indisready THEN 'NOT READY' END,
  CASE WHEN NOT indimmediate THEN 'DEFERRABLE' END, CASE WHEN indisreplident THEN 'REPLICA IDENTITY' END,
  CASE WHEN indisclustered THEN 'CLUSTER' END,
  'ATTACHED TO ' || (SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = rel.oid),
  'TABLESPACE ' || (SELECT quote_ident(spcname) FROM pg_tablespace s WHERE s.oid = rel.reltablespace),
  'STATISTICS ' || (SELECT string_agg(attnum || ' ' || attstattarget, ', ' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = rel.oid AND attstattarget <> -1))
FROM rel JOIN pg_index ON indexrelid = rel.oid JOIN rel t ON t.oid = indrelid""",
    "trigger": """
SELECT rel.name || '.' || quote_ident(tgname),
  concat_ws(' ', pg_get_triggerdef(g.oid), 'ENABLED ' || nullif(tgenabled::text, 'O'))
FROM rel JOIN pg_trigger g ON g.tgrelid = rel.oid AND NOT g.tgisinternal""",
    "rule": """
SELECT rel.name || '.' || quote_ident(rulename),
  concat_ws(' ', pg_get_ruledef(w.oid), 'ENABLED ' || nullif(ev_enabled::text, 'O'))
FROM rel JOIN pg_rewrite w ON w.ev_class = rel.oid WHERE rulename <> '_RETURN' OR ev_enabled <> 'O'""",
    "policy": f"""
SELECT rel.name || '.' || quote_ident(polname), concat_ws(' ',
  CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, 'FOR ' || polcmd::text,
  'TO ' || (SELECT string_agg(role.name, ', ' ORDER BY role.name COLLATE "C")
    FROM unnest(polroles) AS p (oid), LATERAL (SELECT {_role("p.oid")}) AS role (name)),
  'USING (' || pg_get_expr(polqual, polrelid) || ')', 'WITH CHECK (' || pg_get_expr(polwithcheck, polrelid) || ')')
FROM own, rel JOIN pg_policy ON polrelid = rel.oid""",
    # An identity's sequence, and one that a column owns, is dropped with its column.
    "sequence": """
SELECT rel.name, concat_ws(' ', CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END, format_type(seqtypid, NULL),
  'START', seqstart, 'INCREMENT', seqincrement, 'MIN', seqmin, 'MAX', seqmax, 'CACHE', seqcache,
  CASE WHEN seqcycle THEN 'CYCLE' END,
  (SELECT concat(CASE d.deptype WHEN 'i' THEN 'IDENTITY OF ' ELSE 'OWNED BY ' END, refobjid::regclass, '.',
      quote_ident(attname))
    FROM pg_depend d JOIN pg_attribute ON attrelid = refobjid AND attnum = refobjsubid
    WHERE d.classid = 'pg_class'::regclass AND d.objid = rel.oid AND d.refclassid = 'pg_class'::regclass
      AND d.deptype IN ('a', 'i')))
FROM rel JOIN pg_sequence ON seqrelid = rel.oid""",
    "type": f"""
SELECT typ.name, CASE typtype
  WHEN 'e' THEN 'enum ' || coalesce((
    SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
    FROM pg_enum WHERE enumtypid = typ.oid), '')
  WHEN 'd' THEN concat_ws(' ', 'domain', format_type(typbasetype, typtypmod),
    (SELECT 'COLLATE ' || typ.typcollation::regcollation FROM pg_type b
      WHERE b.oid = typ.typbasetype AND b.typcollation <> typ.typcollation),
    CASE WHEN typnotnull THEN 'NOT NULL' END,
    'DEFAULT ' || coalesce(pg_get_expr(typdefaultbin, 0), quote_literal(typdefault)))
  WHEN 'c' THEN 'composite ' || coalesce((
    SELECT string_agg(quote_ident(a.attname) || ' ' || {_COLUMN}, ', ' ORDER BY a.attnum)
    FROM pg_attribute a WHERE a.attrelid = typrelid AND a.attnum > 0 AND NOT a.attisdropped), '')
  WHEN 'r' THEN (
    SELECT concat_ws(' ', 'range of', format_type(rngsubtype, NULL),
      'COLLATE ' || nullif(rngcollation, 0)::regcollation,
      (pg_identify_object('pg_opclass'::regclass, rngsubopc, 0)).identity,
      'CANONICAL ' || nullif(rngcanonical, 0)::regproc,
      'DIFF ' || nullif(rngsubdiff, 0)::regproc, 'MULTIRANGE ' || format_type(rngmultitypid, NULL))
    FROM pg_range WHERE rngtypid = typ.oid)
  WHEN 'b' THEN concat_ws(' ', 'base', typinput::regproc, typoutput::regproc, typlen, typalign, typstorage, typcategory)
  ELSE 'shell' END
FROM typ LEFT JOIN rel ON rel.oid = typrelid WHERE typtype <> 'm' AND (typrelid = 0 OR relkind = 'c')""",
    "function": f"""
SELECT quote_ident(proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')', concat_ws(' ',
  CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' WHEN 'w' THEN 'window function' ELSE 'function' END,
  '(' || pg_get_function_arguments(p.oid) || ')', 'RETURNS ' || pg_get_function_result(p.oid),
  'LANGUAGE ' || (SELECT quote_ident(lanname) FROM pg_language l WHERE l.oid = prolang),
  CASE provolatile WHEN 'i' THEN 'IMMUTABLE' WHEN 's' THEN 'STABLE' ELSE 'VOLATILE' END,
  CASE WHEN prosecdef THEN 'SECURITY DEFINER' END, CASE WHEN proleakproof THEN 'LEAKPROOF' END,
  CASE WHEN proisstrict THEN 'STRICT' END, 'PARALLEL', proparallel, 'COST', procost, 'ROWS', prorows,
  'SUPPORT ' || nullif(prosupport, 0)::regproc,
  'TRANSFORM ' || (SELECT string_agg(format_type(t, NULL), ', ' ORDER BY n)
    FROM unnest(protrftypes) WITH ORDINALITY u (t, n)),
  {_SETTINGS}, 'AS', coalesce(pg_get_function_sqlbody(p.oid), quote_literal(prosrc)), quote_literal(probin),
  (SELECT concat_ws(' ', aggkind, aggnumdirectargs, aggtransfn::regproc, aggfinalfn::regproc, aggcombinefn::regproc,
      aggserialfn::regproc, aggdeserialfn::regproc, aggmtransfn::regproc, aggminvtransfn::regproc, aggmfinalfn::regproc,
      aggfinalmodify, aggmfinalmodify, aggfinalextra, aggmfinalextra, aggsortop::regoperator,
      format_type(aggtranstype, NULL),
      nullif(aggmtranstype, 0)::regtype, quote_nullable(agginitval), quote_nullable(aggminitval), aggtransspace)
    FROM pg_aggregate WHERE aggfnoid = p.oid))
FROM own, proc p""",
    # The columns of statistics are kept in the order of the table's, which does not count here.
    "statistics": f"""
SELECT quote_ident(stxname), concat_ws(' ', (SELECT string_agg(k, ', ' ORDER BY k) FROM unnest(stxkind) k),
  'ON', (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attname COLLATE "C")
    FROM pg_attribute WHERE attrelid = stxrelid AND attnum = ANY (stxkeys)),
  array_to_string(pg_get_statisticsobjdef_expressions(s.oid), ', '), 'FROM', stxrelid::regclass,
  'STATISTICS ' || nullif(stxstattarget, -1))
FROM {_members("pg_statistic_ext", "s", "stxnamespace")}""",
    "collation": f"""
SELECT quote_ident(collname), quote_literal(
  (to_jsonb(c) - '{{oid,collname,collnamespace,collowner,collversion}}'::text[])::text)
FROM {_members("pg_collation", "c", "collnamespace")}""",
    "operator": f"""
SELECT o.oid::regoperator::text, concat_ws(' ', oprcode::regproc, format_type(oprresult, NULL), oprcom::regoperator,
  oprnegate::regoperator, oprrest::regproc, oprjoin::regproc, oprcanmerge, oprcanhash)
FROM {_members("pg_operator", "o", "oprnamespace")}""",
    "text search": f"""
SELECT 'configuration ' || quote_ident(cfgname), (
  SELECT string_agg(concat_ws(' ', maptokentype, mapseqno, mapdict::regdictionary), ', '
    ORDER BY maptokentype, mapseqno)
  FROM pg_ts_config_map WHERE mapcfg = c.oid)
FROM {_members("pg_ts_config", "c", "cfgnamespace")}
UNION ALL
SELECT 'dictionary ' || quote_ident(dictname), concat_ws(' ',
  (pg_identify_object('pg_ts_template'::regclass, dicttemplate, 0)).identity, quote_literal(dictinitoption))
FROM {_members("pg_ts_dict", "d", "dictnamespace")}""",
    "name": """
SELECT identity, NULL FROM object
WHERE class = ANY ('{pg_opclass,pg_opfamily,pg_conversion,pg_ts_parser,pg_ts_template}'::regclass[])""",
    "extension": """
SELECT quote_ident(extname), quote_literal(extversion) FROM own JOIN pg_extension ON extnamespace = own.oid""",
    "owner": f"""
SELECT identity, {_role("object.owner")} FROM own, object WHERE object.owner <> own.nspowner""",
    "grant": """
SELECT identity || ' TO ' || grantee, string_agg(DISTINCT concat_ws(' ', privilege_type,
  CASE WHEN is_grantable THEN 'WITH GRANT OPTION' END, 'BY', grantor) COLLATE "C", ', ')
FROM privilege WHERE grantee IS NOT NULL AND grantor IS NOT NULL
GROUP BY identity, grantee""",
    "default grant": f"""
SELECT concat_ws(' ', role.name, defaclobjtype, 'TO', role.grantee), string_agg(DISTINCT concat_ws(' ', privilege_type,
  CASE WHEN is_grantable THEN 'WITH GRANT OPTION' END) COLLATE "C", ', ')
FROM own JOIN pg_default_acl ON defaclnamespace = own.oid CROSS JOIN aclexplode(defaclacl) x
CROSS JOIN LATERAL (SELECT {_role("defaclrole")}, {_role("x.grantee")}) AS role (name, grantee)
WHERE role.name IS NOT NULL AND role.grantee IS NOT NULL
GROUP BY role.name, defaclobjtype, role.grantee""",
    "comment": """
SELECT identity, quote_literal(description) FROM object
JOIN pg_description d ON d.classoid = object.class AND d.objoid = object.oid AND d.objsubid = object.sub""",
}
