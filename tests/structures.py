"""A schema with every kind of object, as SQL: what alters its structure, and what does not.

``{tenant}`` stands for the schema, and for its role.
"""

EVERYTHING = r"""
CREATE TYPE mood AS ENUM ('sad', 'fine', 'it''s so good');
CREATE TYPE address AS (street text, "Town" varchar(40));
CREATE TYPE spans AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE FUNCTION has_at(t text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT position('@' IN t) > 0 $$;
CREATE DOMAIN email AS varchar(99) DEFAULT 'a@b' NOT NULL CONSTRAINT at CHECK (has_at(VALUE));
CREATE SEQUENCE counter AS integer INCREMENT 2 START 10 MINVALUE 2 MAXVALUE 1000 CACHE 3;
CREATE COLLATION plain FROM "C";

CREATE TABLE people (
  id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT 5) PRIMARY KEY,
  number integer NOT NULL DEFAULT nextval('counter'),
  tag serial,
  mail email UNIQUE DEFERRABLE,
  mood mood DEFAULT 'fine',
  moods mood[] DEFAULT '{sad,fine}',
  home address DEFAULT ROW('a', 'b')::address,
  place regclass DEFAULT 'counter'::regclass,
  kinds regtype[] DEFAULT '{mood,address}',
  since timestamptz DEFAULT '2020-01-01 00:00+02',
  share float8 DEFAULT 0.1,
  plain_name text COLLATE plain CHECK (plain_name <> 'x' || chr(10)),
  loud text GENERATED ALWAYS AS (upper(plain_name COLLATE "C")) STORED,
  during int4range,
  boss bigint REFERENCES people DEFERRABLE INITIALLY DEFERRED,
  CONSTRAINT alone EXCLUDE USING gist (during WITH &&) WHERE (number > 0)
);
ALTER TABLE people ALTER plain_name SET STORAGE external, ALTER loud SET COMPRESSION pglz,
  ALTER number SET STATISTICS 200, ALTER number SET (n_distinct = 5),
  SET (fillfactor = 70, toast.autovacuum_enabled = off);
CREATE INDEX by_mood ON people (lower(plain_name), mood DESC) INCLUDE (tag) WHERE mood <> 'sad';
CREATE TABLE "Odd.Name
here" ("a.b" integer DEFAULT 1);
COMMENT ON TABLE "Odd.Name
here" IS 'two
lines';
CREATE UNLOGGED TABLE quick (a integer, twice integer GENERATED ALWAYS AS (a * 2) VIRTUAL);
CREATE TABLE parent (a integer);
ALTER TABLE parent ADD CONSTRAINT small CHECK (a < 9) NOT VALID;
CREATE TABLE child (b integer) INHERITS (parent);
CREATE TABLE typed OF address;

CREATE TABLE visits (person bigint, at date NOT NULL, note text,
  CONSTRAINT visits_key PRIMARY KEY (person, at)) PARTITION BY RANGE (at);
CREATE INDEX visits_note ON visits (note);
CREATE TABLE visits_2024 PARTITION OF visits FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE visits_rest PARTITION OF visits DEFAULT;
ALTER TABLE visits ADD FOREIGN KEY (person) REFERENCES people;

CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT SET work_mem TO '5MB'
AS $$ BEGIN NEW.number := NEW.number + 1; RETURN NEW; END $$;
CREATE FUNCTION happy(m mood, lowest mood DEFAULT 'fine') RETURNS SETOF bigint STABLE STRICT COST 7 ROWS 20 LANGUAGE sql
BEGIN ATOMIC SELECT p.id FROM people p WHERE p.mood >= lowest AND p.mood <> m; END;
CREATE PROCEDURE tidy(INOUT done integer) LANGUAGE sql AS $$ DELETE FROM quick; SELECT 1 $$;
CREATE AGGREGATE product(integer) (SFUNC = int4mul, STYPE = integer, INITCOND = '1');
CREATE FUNCTION same(a mood, b mood) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$ SELECT a = b $$;
CREATE OPERATOR === (LEFTARG = mood, RIGHTARG = mood, FUNCTION = same, COMMUTATOR = ===);
CREATE FUNCTION lower(a mood) RETURNS text IMMUTABLE LANGUAGE sql RETURN pg_catalog.lower(a::text);
CREATE TRIGGER stamp BEFORE INSERT OR UPDATE OF mood ON people
  FOR EACH ROW WHEN (NEW.mood = 'sad') EXECUTE FUNCTION stamp('x''y');
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON people DEFERRABLE FOR EACH ROW EXECUTE FUNCTION stamp();
CREATE TRIGGER visited AFTER INSERT ON visits FOR EACH ROW EXECUTE FUNCTION stamp();

CREATE VIEW cheerful WITH (security_barrier, security_invoker) AS
  SELECT p.id, p.mood AS "Mood", lower(p.mood) AS low, p.mood === 'fine' AS eq, (p.home).street, 'people.mood' AS text
  FROM people p WHERE p.id IN (SELECT happy('sad')) AND EXISTS (SELECT FROM quick) WITH LOCAL CHECK OPTION;
CREATE VIEW "user" AS SELECT id, plain_name FROM people WHERE id > 0 WITH CHECK OPTION;
CREATE MATERIALIZED VIEW totals WITH (fillfactor = 80) AS
  SELECT mood, count(*) AS n, product(number) FROM people GROUP BY mood;
CREATE UNIQUE INDEX totals_mood ON totals (mood);
CREATE RULE quiet AS ON DELETE TO quick DO INSTEAD UPDATE people SET mood = 'fine' WHERE id = OLD.a;
ALTER TABLE people ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, REPLICA IDENTITY FULL;
CREATE POLICY mine ON people AS RESTRICTIVE FOR UPDATE TO {tenant}, tenantry_app
  USING (mood = 'fine' AND id IN (SELECT a FROM quick)) WITH CHECK (has_at(mail));
CREATE STATISTICS related (dependencies, ndistinct) ON tag, number FROM people;
CREATE STATISTICS computed ON (lower(plain_name)), (number + tag) FROM people;
CREATE TEXT SEARCH DICTIONARY stems (TEMPLATE = simple, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH stems;
CREATE INDEX by_words ON people USING gin (to_tsvector('words'::regconfig, plain_name));

GRANT SELECT, UPDATE (mood) ON people TO {tenant} WITH GRANT OPTION;
GRANT USAGE ON SEQUENCE counter TO {tenant};
REVOKE EXECUTE ON FUNCTION stamp() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION stamp() TO {tenant};
REVOKE USAGE ON TYPE mood FROM PUBLIC;
GRANT USAGE ON TYPE mood TO {tenant};
ALTER DEFAULT PRIVILEGES IN SCHEMA {tenant} GRANT SELECT ON TABLES TO {tenant};
COMMENT ON COLUMN people.mood IS 'how it''s \going';
COMMENT ON CONSTRAINT alone ON people IS 'one at a time';
COMMENT ON SCHEMA {tenant} IS 'a tenant';
"""


ALTERATIONS = [
    ("ALTER TYPE mood ADD VALUE 'new' BEFORE 'fine'", "mood"),
    ("ALTER TYPE mood RENAME VALUE 'sad' TO 'sadder'", "mood"),
    ("ALTER DOMAIN email SET DEFAULT 'c@d'", "email"),
    ("ALTER DOMAIN email DROP NOT NULL", "email"),
    ("ALTER DOMAIN email ADD CHECK (VALUE <> '')", "email.email_check"),
    ("ALTER TYPE address ADD ATTRIBUTE zip text CASCADE", "address"),
    ("ALTER SEQUENCE counter INCREMENT 3", "counter"),
    ("ALTER SEQUENCE counter START 11", "counter"),
    ("ALTER SEQUENCE counter MINVALUE 1", "counter"),
    ("ALTER SEQUENCE counter MAXVALUE 2000", "counter"),
    ("ALTER SEQUENCE counter CACHE 4", "counter"),
    ("ALTER SEQUENCE counter CYCLE", "counter"),
    ("ALTER SEQUENCE counter OWNED BY people.number", "counter"),
    ("ALTER TABLE people ALTER id SET GENERATED BY DEFAULT", "people.id"),
    ("ALTER TABLE people ALTER id SET INCREMENT 6", "people_id_seq"),
    ("ALTER TABLE people ALTER number SET DEFAULT 7", "people.number"),
    ("ALTER TABLE people ALTER number DROP NOT NULL", "people.number"),
    ("ALTER TABLE people ALTER moods SET DEFAULT '{sad}'", "people.moods"),
    ('ALTER TABLE visits ALTER note TYPE text COLLATE "C"', "visits.note"),
    ("ALTER TABLE people ALTER plain_name SET STORAGE main", "people.plain_name"),
    ("ALTER TABLE people ALTER plain_name SET COMPRESSION pglz", "people.plain_name"),
    ("ALTER TABLE people ALTER number SET STATISTICS 300", "people.number"),
    ('ALTER TABLE people ALTER loud SET EXPRESSION AS (lower(plain_name COLLATE "C"))', "people.loud"),
    ("ALTER TABLE people ALTER loud DROP EXPRESSION", "people.loud"),
    ("ALTER TABLE quick ALTER twice SET EXPRESSION AS (a * 3)", "quick.twice"),
    (
        "ALTER TABLE quick DROP twice, ADD twice integer GENERATED ALWAYS AS (a * 2) STORED",
        "quick.twice",
    ),
    ("ALTER TABLE people ADD more integer", "people.more"),
    ("ALTER TABLE people RENAME CONSTRAINT people_number_not_null TO other", "people.other"),
    ("ALTER TABLE people ALTER CONSTRAINT people_boss_fkey NOT DEFERRABLE", "people.people_boss_fkey"),
    ("ALTER TABLE people ALTER CONSTRAINT people_boss_fkey NOT ENFORCED", "people.people_boss_fkey"),
    ("ALTER TABLE people DISABLE TRIGGER ALL", "people.people_boss_fkey"),
    ("ALTER TABLE parent VALIDATE CONSTRAINT small", "parent.small"),
    ("ALTER TABLE child NO INHERIT parent", "child"),
    ("ALTER TABLE typed NOT OF", "typed"),
    ("ALTER TABLE people DISABLE TRIGGER stamp", "people.stamp"),
    ("ALTER TABLE people ENABLE ALWAYS TRIGGER stamp", "people.stamp"),
    ("DROP TRIGGER later ON people", "people.later"),
    ("ALTER TABLE quick DISABLE RULE quiet", "quick.quiet"),
    ("CREATE OR REPLACE RULE quiet AS ON DELETE TO quick DO INSTEAD NOTHING", "quick.quiet"),
    ("ALTER TABLE people DISABLE ROW LEVEL SECURITY", "people"),
    ("ALTER TABLE people NO FORCE ROW LEVEL SECURITY", "people"),
    ("ALTER POLICY mine ON people TO {tenant}", "people.mine"),
    ("ALTER POLICY mine ON people USING (true)", "people.mine"),
    ("ALTER POLICY mine ON people WITH CHECK (true)", "people.mine"),
    (
        (
            "DROP POLICY mine ON people; CREATE POLICY mine ON people FOR UPDATE TO {tenant}, tenantry_app"
            " USING (mood = 'fine' AND id IN (SELECT a FROM quick)) WITH CHECK (has_at(mail))"
        ),
        "people.mine",
    ),
    ("ALTER TABLE visits DETACH PARTITION visits_2024", "visits_2024"),
    (
        (
            "ALTER TABLE visits DETACH PARTITION visits_2024;"
            "ALTER TABLE visits ATTACH PARTITION visits_2024 FOR VALUES FROM ('2024-01-01') TO ('2026-01-01')"
        ),
        "visits_2024",
    ),
    ("CREATE TABLE other (a integer) PARTITION BY HASH (a)", "other"),
    ("ALTER TABLE quick SET LOGGED", "quick"),
    ("ALTER TABLE people SET (fillfactor = 71)", "people"),
    ("ALTER TABLE people RESET (toast.autovacuum_enabled)", "people"),
    ("ALTER TABLE people REPLICA IDENTITY NOTHING", "people"),
    ("ALTER TABLE people REPLICA IDENTITY USING INDEX people_pkey", "people.people_pkey"),
    ("ALTER TABLE people CLUSTER ON people_pkey", "people.people_pkey"),
    ("ALTER VIEW cheerful RESET (security_barrier)", "cheerful"),
    ("ALTER VIEW cheerful SET (check_option = cascaded)", "cheerful"),
    ('CREATE OR REPLACE VIEW "user" AS SELECT id, plain_name FROM people WITH CHECK OPTION', '"user"'),
    ("DROP INDEX totals_mood", "totals.totals_mood"),
    (
        (
            "DROP MATERIALIZED VIEW totals; CREATE MATERIALIZED VIEW totals WITH (fillfactor = 80) AS"
            " SELECT mood, count(*) AS n, product(tag) FROM people GROUP BY mood;"
            "CREATE UNIQUE INDEX totals_mood ON totals (mood)"
        ),
        "totals",
    ),
    ("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_mood'::regclass", "people.by_mood"),
    ("ALTER INDEX by_mood SET (fillfactor = 50)", "people.by_mood"),
    ("ALTER FUNCTION stamp() SECURITY INVOKER", "stamp()"),
    ("ALTER FUNCTION stamp() SET search_path TO {tenant}, public", "stamp()"),
    ("ALTER FUNCTION stamp() RESET work_mem", "stamp()"),
    ("ALTER FUNCTION stamp() SET role TO {tenant}", "stamp()"),
    ("ALTER FUNCTION has_at(text) STABLE", "has_at(t text)"),
    (
        "CREATE OR REPLACE FUNCTION has_at(t text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'",
        "has_at(t text)",
    ),
    (
        (
            "CREATE OR REPLACE FUNCTION has_at(t text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS"
            " $$ BEGIN RETURN position('@' IN t) > 0; END $$"
        ),
        "has_at(t text)",
    ),
    (
        "CREATE OR REPLACE FUNCTION lower(a mood) RETURNS text IMMUTABLE LANGUAGE sql RETURN lower(a::text) || ''",
        "lower(a <tenant>.mood)",
    ),
    ("CREATE FUNCTION more(a integer) RETURNS integer LANGUAGE sql RETURN a", "more(a integer)"),
    ("DROP STATISTICS related", "related"),
    ("ALTER STATISTICS related SET STATISTICS 50", "related"),
    ("COMMENT ON TABLE people IS 'us'", "table <tenant>.people"),
    ("COMMENT ON COLUMN people.mood IS NULL", "table column <tenant>.people.mood"),
    ("COMMENT ON FUNCTION stamp() IS 'now'", "function <tenant>.stamp()"),
    ("GRANT TRUNCATE ON people TO {tenant}", "table <tenant>.people TO <tenant>"),
    ("GRANT SELECT ON people TO PUBLIC", "table <tenant>.people TO PUBLIC"),
    ("GRANT INSERT (mood) ON people TO tenantry_app", "table column <tenant>.people.mood TO tenantry_app"),
    (
        "REVOKE GRANT OPTION FOR UPDATE (mood) ON people FROM {tenant}",
        "table column <tenant>.people.mood TO <tenant>",
    ),
    ("GRANT CREATE ON SCHEMA {tenant} TO {tenant}", "schema <tenant> TO <tenant>"),
    ("GRANT EXECUTE ON FUNCTION stamp() TO PUBLIC", "function <tenant>.stamp() TO PUBLIC"),
    ("REVOKE USAGE ON TYPE mood FROM {tenant}", "type <tenant>.mood TO <tenant>"),
    ("REVOKE USAGE ON SEQUENCE counter FROM {tenant}", "sequence <tenant>.counter TO <tenant>"),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA {tenant} GRANT USAGE ON SEQUENCES TO PUBLIC",
        "postgres S TO PUBLIC",
    ),
    ("ALTER TABLE quick OWNER TO tenantry_app", "table <tenant>.quick"),
    ("ALTER TABLE quick OWNER TO {tenant}", "table <tenant>.quick"),
    ("ALTER TEXT SEARCH DICTIONARY stems (ACCEPT = true)", "dictionary stems"),
    ("ALTER TEXT SEARCH CONFIGURATION words DROP MAPPING FOR asciiword", "configuration words"),
    ('CREATE TABLE "people.id\nrelation b" ()', '"people.id\\nrelation b"'),
]
"""Alterations, each with the name of an object that it alters."""


NO_STRUCTURE = [
    "INSERT INTO people (mail, plain_name) VALUES ('x@y', 'x'); REFRESH MATERIALIZED VIEW totals",
    "ANALYZE people; ANALYZE visits",
    "SELECT nextval('counter'), setval('people_id_seq', 1000)",
    "INSERT INTO quick VALUES (1); ALTER TABLE quick ADD b integer DEFAULT 5; ALTER TABLE quick DROP b",
    "ALTER TABLE people DROP place; ALTER TABLE people ADD place regclass DEFAULT 'counter'::regclass",
    "DROP INDEX visits_note; CREATE INDEX visits_note ON visits (note)",
    (
        "SET LOCAL ROLE tenantry_owner; DROP STATISTICS related;"
        " CREATE STATISTICS related (ndistinct, dependencies) ON number, tag FROM people"
    ),
    "UPDATE pg_attribute SET attoptions = '{pg_attver=7}' WHERE attrelid = 'quick'::regclass AND attname = 'a'",
    "GRANT DELETE ON people TO PUBLIC; REVOKE DELETE ON people FROM PUBLIC",
    "GRANT USAGE ON TYPE quick TO tenantry_app; REVOKE USAGE ON TYPE quick FROM tenantry_app",
    "CREATE TABLE public.elsewhere (a integer); CREATE TEMPORARY TABLE people (a integer)",
    (
        "SET LOCAL TimeZone TO 'Asia/Tokyo'; SET LOCAL DateStyle TO 'German'; SET LOCAL quote_all_identifiers TO on;"
        "SET LOCAL extra_float_digits TO -5"
    ),
]
"""Scripts that change no structure."""
