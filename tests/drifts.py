"""Drifts: what somebody may do to a tenant's schema by hand, and the words in which it is found.

``{schema}`` stands for the schema, and for its role. All is done to the house's own tables.
"""

from tests.migrations import CHAIN, HEAD

OTHER = CHAIN.base
"""A revision whose structure is not the head's."""

DRIFTS = [
    (
        "ALTER TABLE users ALTER first_name TYPE text",
        ["users.first_name: varchar(100) expected, text found"],
    ),
    (
        "ALTER TABLE users ALTER email TYPE varchar(300)",
        ["users.email: varchar(256) expected, varchar(300) found"],
    ),
    ("ALTER TABLE users ALTER email DROP NOT NULL", ["users.email: NOT NULL expected, nothing found"]),
    (
        "ALTER TABLE users ALTER is_active SET DEFAULT false",
        ["users.is_active: DEFAULT true expected, DEFAULT false found"],
    ),
    (
        "ALTER TABLE users ALTER is_active DROP DEFAULT",
        ["users.is_active: DEFAULT true expected, nothing found"],
    ),
    ("ALTER TABLE users DROP last_name", ["users.last_name: missing"]),
    ("ALTER TABLE users ADD note timestamptz(3)", ["users.note: not expected, timestamptz(3) found"]),
    (
        "ALTER TABLE users RENAME last_name TO surname",
        ["users.last_name: missing", "users.surname: not expected, varchar(100) found"],
    ),
    ("ALTER TABLE users DROP CONSTRAINT uq_users_email", ["constraint users.uq_users_email: missing"]),
    (
        "ALTER TABLE users ADD CONSTRAINT grown CHECK (id > 0)",
        ["constraint users.grown: not expected, CHECK ((id > 0)) found"],
    ),
    (
        (
            "ALTER TABLE users DROP CONSTRAINT fk_users_user_role_id;"
            "ALTER TABLE users ADD CONSTRAINT fk_users_user_role_id FOREIGN KEY (user_role_id) REFERENCES roles"
            " ON DELETE CASCADE"
        ),
        [
            (
                "constraint users.fk_users_user_role_id: FOREIGN KEY (user_role_id) REFERENCES roles(id) expected,"
                " FOREIGN KEY (user_role_id) REFERENCES roles(id) ON DELETE CASCADE found"
            )
        ],
    ),
    ("DROP INDEX ix_users_user_role_id", ["index users.ix_users_user_role_id: missing"]),
    (
        "CREATE INDEX by_name ON users (last_name)",
        [("index users.by_name: not expected, CREATE INDEX by_name ON users USING btree (last_name) found")],
    ),
    ("DROP TABLE roles_permissions_link", ["table roles_permissions_link: missing"]),
    ("CREATE TABLE more (id integer GENERATED ALWAYS AS IDENTITY)", ["table more: not expected"]),
    ("CREATE VIEW names AS SELECT email FROM users", ["view names: not expected"]),
    (
        "CREATE FUNCTION one() RETURNS integer LANGUAGE sql RETURN 1",
        [
            (
                "function one(): not expected, function () RETURNS integer LANGUAGE sql VOLATILE PARALLEL u COST 100"
                " ROWS 0 AS RETURN 1 found"
            ),
        ],
    ),
    (
        (
            "CREATE TRIGGER same BEFORE UPDATE ON users FOR EACH ROW"
            " EXECUTE FUNCTION suppress_redundant_updates_trigger()"
        ),
        [
            (
                "trigger users.same: not expected, CREATE TRIGGER same BEFORE UPDATE ON users FOR EACH ROW"
                " EXECUTE FUNCTION suppress_redundant_updates_trigger() found"
            )
        ],
    ),
    (
        "ALTER SEQUENCE users_id_seq INCREMENT 2",
        ["sequence users_id_seq: INCREMENT 1 expected, INCREMENT 2 found"],
    ),
    (
        "REVOKE DELETE ON users FROM {schema}",
        ["rights of the tenant's role on table users: DELETE missing"],
    ),
    ("GRANT SELECT ON users TO PUBLIC", ["rights of everybody on table users: SELECT not expected"]),
    (
        "GRANT SELECT ON alembic_version TO {schema}",
        ["rights of the tenant's role on table alembic_version: SELECT not expected"],
    ),
    ("COMMENT ON TABLE users IS 'people'", ["comment of table users: not expected, 'people' found"]),
    ("DROP SCHEMA {schema} CASCADE", ["the schema is missing"]),
    (
        f"UPDATE alembic_version SET version_num = '{OTHER}'",
        [f"alembic_version: {HEAD} expected, {OTHER} found"],
    ),
    ("DELETE FROM alembic_version", [f"alembic_version: {HEAD} expected, no revision found"]),
]
"""Each alteration, and the differences that it makes."""
