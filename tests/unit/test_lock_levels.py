"""Which lock a statement takes, as the PostgreSQL manual's "Explicit Locking" says."""

import pytest

from db.migrations import lock_levels
from db.migrations.lexer import statements

LEVELS = {
    "CREATE TABLE a (id int)": "none",
    "CREATE TABLE a (id int REFERENCES b (id))": "SHARE ROW EXCLUSIVE",
    "CREATE INDEX i ON a (b)": "SHARE",
    "CREATE UNIQUE INDEX i ON a (b)": "SHARE",
    "CREATE INDEX CONCURRENTLY i ON a (b)": "SHARE UPDATE EXCLUSIVE",
    "DROP INDEX i": "ACCESS EXCLUSIVE",
    "DROP INDEX CONCURRENTLY i": "SHARE UPDATE EXCLUSIVE",
    "DROP TABLE a": "ACCESS EXCLUSIVE",
    "TRUNCATE a": "ACCESS EXCLUSIVE",
    "ALTER TABLE a ADD COLUMN b text": "ACCESS EXCLUSIVE",
    'ALTER TABLE "a" ADD COLUMN b text': "ACCESS EXCLUSIVE",
    "ALTER TABLE ONLY s.a VALIDATE CONSTRAINT c": "SHARE UPDATE EXCLUSIVE",
    "ALTER TABLE a ADD CONSTRAINT c FOREIGN KEY (b) REFERENCES d (id) NOT VALID": "SHARE ROW EXCLUSIVE",
    "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0)": "ACCESS EXCLUSIVE",
    "ALTER TABLE a ALTER COLUMN b SET STATISTICS 100": "SHARE UPDATE EXCLUSIVE",
    "ALTER TABLE a SET (fillfactor = 70)": "SHARE UPDATE EXCLUSIVE",
    "ALTER TABLE a VALIDATE CONSTRAINT c, ADD COLUMN b numeric(10, 2)": "ACCESS EXCLUSIVE",
    "ALTER TABLE a DISABLE TRIGGER t": "SHARE ROW EXCLUSIVE",
    "ALTER TABLE a ATTACH PARTITION b DEFAULT": "ACCESS EXCLUSIVE",  # on the one that is attached
    "CREATE TABLE b PARTITION OF a DEFAULT": "ACCESS EXCLUSIVE",
    "CREATE TABLE b (id int) INHERITS (a)": "SHARE UPDATE EXCLUSIVE",
    "CREATE UNLOGGED TABLE a (id int REFERENCES b (id))": "SHARE ROW EXCLUSIVE",
    "CREATE TRIGGER t BEFORE INSERT ON a EXECUTE FUNCTION f()": "SHARE ROW EXCLUSIVE",
    "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1": "none",
    "CREATE VIEW v AS SELECT 1": "none",
    "DROP FUNCTION f()": "none",
    "COMMENT ON TABLE a IS 'b'": "SHARE UPDATE EXCLUSIVE",
    "INSERT INTO a VALUES (1)": "ROW EXCLUSIVE",
    "UPDATE a SET b = 1": "ROW EXCLUSIVE",
    "WITH x AS (SELECT 1) DELETE FROM a": "ROW EXCLUSIVE",
    "SELECT * FROM a FOR UPDATE": "ROW SHARE",
    "SELECT 1": "ACCESS SHARE",
    "LOCK TABLE a IN SHARE ROW EXCLUSIVE MODE": "SHARE ROW EXCLUSIVE",
    "LOCK a": "ACCESS EXCLUSIVE",
    "REFRESH MATERIALIZED VIEW v": "ACCESS EXCLUSIVE",
    "REFRESH MATERIALIZED VIEW CONCURRENTLY v": "EXCLUSIVE",
    "DO $$ BEGIN END $$": "unknown",
}


@pytest.mark.parametrize(("sql", "level"), LEVELS.items())
def test_a_statement_takes_this_lock(sql: str, level: str) -> None:
    (tokens,) = statements(sql)
    assert lock_levels.level([token.text for token in tokens]) == level


@pytest.mark.parametrize(
    ("levels", "strongest"),
    [
        ([], "none"),
        (["none", "SHARE"], "SHARE"),
        (["SHARE", "ACCESS EXCLUSIVE", "ROW EXCLUSIVE"], "ACCESS EXCLUSIVE"),
        (["unknown", "SHARE"], "unknown"),
        (["unknown", "ACCESS EXCLUSIVE"], "ACCESS EXCLUSIVE"),
    ],
)
def test_the_strongest_counts(levels: list[str], strongest: str) -> None:
    assert lock_levels.strongest(levels) == strongest
