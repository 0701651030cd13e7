"""Functions of a tenant's schema name its tables without schema, whoever calls them and whatever made them."""

from pathlib import Path

import asyncpg
import pytest

from db.settings import Settings
from tests.migrations import registered, release
from tests.shell import alembic
from tests.support import Client, Service, Tenant, provisioning, serving, sign_up

LOGGED = '''
def upgrade():
    op.execute("CREATE TABLE changes (what text)")
    op.execute("""
        CREATE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO changes VALUES (TG_TABLE_NAME || note(1)); RETURN NULL; END $$
    """)
    op.execute("CREATE FUNCTION note(n integer) RETURNS text LANGUAGE sql AS $$ SELECT ': ' || count(*) FROM users $$")
    op.execute("CREATE FUNCTION note(t text) RETURNS text LANGUAGE sql AS $$ SELECT count(*)::text FROM users $$")
    op.execute("CREATE PROCEDURE forget() LANGUAGE sql AS $$ DELETE FROM changes $$")
    op.execute("CREATE TRIGGER log AFTER INSERT ON users FOR EACH STATEMENT EXECUTE FUNCTION log_change()")

def downgrade():
    op.execute("DROP TRIGGER log ON users")
    for routine in ("log_change()", "note(integer)", "note(text)", "forget()"):
        op.execute(f"DROP ROUTINE {routine}")
    op.drop_table("changes")
'''
REPLACED = '''
def upgrade():
    op.execute("""
        CREATE OR REPLACE FUNCTION log_change() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO changes VALUES ('again'); RETURN NULL; END $$
    """)
'''


@pytest.mark.parametrize("how", ["alembic", "sign-up"])
async def test_a_trigger_that_names_a_table_works_for_the_api(
    config: Settings,
    tenant: Tenant,
    provisioner: Service,
    owner: asyncpg.Connection,
    tmp_path: Path,
    how: str,
) -> None:
    await provisioner.stop()
    newer = release(config, tmp_path, LOGGED, REPLACED)
    async with serving(newer) as api, provisioning(newer):
        if how == "alembic":
            ini = ("-c", str(newer.alembic_config), "-x", "tenant=bakery", "upgrade")
            await alembic(newer, *ini, "r1")
            assert await change(api, tenant, owner, "ann") == ["users: 1"]
            await alembic(newer, *ini, "head")
            assert await change(api, tenant, owner, "bob") == ["again", "users: 1"]
        else:
            tenant = await sign_up(api, "cafe")
            assert await change(api, tenant, owner, "ann") == ["again"]
    schema = (await registered(owner, tenant.slug)).schema_name
    paths = await owner.fetch(
        "SELECT DISTINCT proconfig FROM pg_proc WHERE pronamespace = $1::regnamespace", schema
    )
    assert [row["proconfig"] for row in paths] == [[f"search_path={schema}, extensions, pg_temp"]]


async def change(api: Client, tenant: Tenant, owner: asyncpg.Connection, name: str) -> list[str]:
    """Add a user over HTTP, and return what the trigger has written so far."""
    made = await api.post("/users", headers=tenant.headers, json={"email": f"{name}@example.com"})
    assert made.status_code == 201, made.text
    schema = (await registered(owner, tenant.slug)).schema_name
    rows = await owner.fetch(f"SELECT what FROM {schema}.changes ORDER BY what")
    return [row["what"] for row in rows]
