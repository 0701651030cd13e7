"""Injections: what an attacker may put into a statement, sorted by its aim.

``{attacker}`` and ``{victim}`` stand for the schemas of two tenants.
"""

# Each makes one column of text. `become` is a row whose column x shows that the role was changed first.
BECOME = "(SELECT set_config('role', '{victim}', true) AS x) AS become"
READ = "SELECT first_name FROM {victim}.users"
STEALS = {
    "ts_stat": (
        f"SELECT string_agg(word, ' ') FROM {BECOME}, LATERAL ts_stat("
        "CASE WHEN become.x <> '' THEN 'SELECT to_tsvector(''simple'', first_name) FROM {victim}.users' END)"
    ),
    "ts_stat with weights": (
        f"SELECT string_agg(word, ' ') FROM {BECOME}, LATERAL ts_stat("
        "CASE WHEN become.x <> '' THEN 'SELECT to_tsvector(''simple'', first_name) FROM {victim}.users' END, 'd')"
    ),
    "ts_rewrite": (
        f"SELECT ts_rewrite('a'::tsquery, CASE WHEN become.x <> '' THEN"
        " 'SELECT ''a''::tsquery, plainto_tsquery(''simple'', first_name) FROM {victim}.users' END)::text"
        f" FROM {BECOME}"
    ),
    "the role of the login, and its tokens": (
        "SELECT string_agg(word, ' ') FROM (SELECT set_config('role', 'none', true) AS x) AS become,"
        " LATERAL ts_stat(CASE WHEN become.x <> '' THEN"
        " 'SELECT to_tsvector(''simple'', slug) FROM shared.tenants' END)"
    ),
}
MEDDLES = {
    "set_config, for the session": "SELECT set_config('role', '{victim}', false)",
    "set_config, time-outs": "SELECT set_config('statement_timeout', '0', false)",
    "query_to_xml": f"SELECT query_to_xml('{READ}', true, false, '')::text FROM {BECOME}",
    "query_to_xml, of one's own": "SELECT query_to_xml('SELECT 1', true, false, '')::text",
    "ts_stat, of one's own": (
        "SELECT string_agg(word, ' ') FROM"
        " ts_stat('SELECT to_tsvector(''simple'', first_name) FROM {attacker}.users')"
    ),
    "ts_rewrite, of one's own": (
        "SELECT ts_rewrite('a'::tsquery, 'SELECT ''a''::tsquery, ''b''::tsquery FROM {attacker}.users')::text"
    ),
    "table_to_xml": "SELECT table_to_xml('pg_class', true, false, '')::text",
    "schema_to_xml": "SELECT schema_to_xml('pg_catalog', true, false, '')::text",
    "database_to_xml": "SELECT database_to_xml(true, false, '')::text",
    "cursor_to_xml": "SELECT cursor_to_xml('c', 1, true, false, '')::text",
    "pg_notify": "SELECT pg_notify('tenantry_registry', 'forged')::text",
    "advisory lock of the session": "SELECT pg_advisory_lock(1)::text",
    "advisory lock of the transaction": "SELECT pg_advisory_xact_lock(hashtextextended('{victim}', 0))::text",
    "advisory lock, tried": "SELECT pg_try_advisory_lock(1)::text",
    "large object": "SELECT lo_create(0)::text",
    "large object from bytes": "SELECT lo_from_bytea(0, 'hidden')::text",
    "large object, read": "SELECT lo_get(1)::text",
    "prepared statements of others": "SELECT string_agg(statement, ' ') FROM pg_catalog.pg_prepared_statements",
    "cursors": "SELECT string_agg(statement, ' ') FROM pg_catalog.pg_cursors",
    "seed": "SELECT setseed(0.5)::text",
    "write-ahead log": "SELECT pg_logical_emit_message(false, 'a', 'b')::text",
}
# Refused, whatever a database's hardening: rights and roles are enough.
REFUSED_ANYWAY = {
    "another tenant's table": READ,
    "another tenant's table, in a subquery": f"SELECT ({READ} LIMIT 1)",
    "shared": "SELECT string_agg(slug, ' ') FROM shared.tenants",
    "tokens": "SELECT string_agg(id, ' ') FROM shared.access_tokens",
    "its own version": "SELECT version_num FROM {attacker}.alembic_version",
    "file": "SELECT pg_read_file('PG_VERSION')",
    "passwords": "SELECT string_agg(rolpassword, ' ') FROM pg_catalog.pg_authid",
    "another's sequence": "SELECT nextval('{victim}.users_id_seq')::text",
    "statistics": "SELECT string_agg(stavalues1::text, ' ') FROM pg_catalog.pg_statistic",
    "other sessions": "SELECT pg_terminate_backend(pid)::text FROM pg_stat_activity WHERE usename = 'tenantry_app'",
}
# For a route that takes several statements. They come back as the login, or not at all.
STACKED = {
    "RESET ROLE": f"RESET ROLE; {READ}",
    "RESET ALL": f"RESET ALL; {READ}",
    "SET ROLE NONE": f"SET ROLE NONE; {READ}",
    "DISCARD": f"COMMIT; DISCARD ALL; {READ}",
    "SESSION AUTHORIZATION": f"SET SESSION AUTHORIZATION '{{victim}}'; {READ}",
    "owner": f"SET ROLE tenantry_owner; {READ}",
    "keeper": "SET ROLE tenantry_keeper_00",
    "temporary table": "CREATE TEMP TABLE users (id int, first_name text)",
    "temporary view": "CREATE TEMP VIEW users AS SELECT 1 AS id",
    "DO": "DO $$ BEGIN EXECUTE 'SET ROLE {victim}'; END $$",
    "DO, language sql": "DO LANGUAGE sql $$ SELECT 1 $$",
    "function": "CREATE FUNCTION {attacker}.f() RETURNS int LANGUAGE sql RETURN 1",
    "function in public": "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql RETURN 1",
    "function for the session": "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql RETURN 1",
    "trigger": (
        "CREATE TRIGGER t BEFORE INSERT ON {attacker}.users FOR EACH ROW"
        " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
    ),
    "pg_settings": "UPDATE pg_settings SET setting = '{victim}' WHERE name = 'role'",
    "extension": "CREATE EXTENSION dblink SCHEMA public",
    "COPY": "COPY (SELECT 1) TO PROGRAM 'true'",
    "its neighbour's table": "DROP TABLE {victim}.users",
    "its own table": "DROP TABLE {attacker}.users",
}
# What a statement leaves behind on the connection for its next user.
LEFTOVERS = {
    "SET ROLE": "COMMIT; SET ROLE {victim}",
    "SET ROLE NONE": "COMMIT; SET ROLE NONE",
    "open transaction": "COMMIT; BEGIN; SET LOCAL ROLE {victim}",
    "search_path": "COMMIT; SET search_path = {victim}",
    "read only": "COMMIT; SET default_transaction_read_only = on",
    "time-out": "COMMIT; SET statement_timeout = 1",
    "cursor": "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    "listen": "COMMIT; LISTEN tenantry_registry",
    "failed": "COMMIT; BEGIN; SELECT 1/0",
}


def as_subquery(text: str) -> str:
    """Put an expression into a statement's quoted value, as a row of its own."""
    return f"' UNION ALL SELECT ({text}) AS first_name --"


def as_statements(text: str) -> str:
    """End a statement within its quoted value, and put others after it."""
    return f"'; {text} --"
