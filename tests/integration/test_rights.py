"""The API login's rights in ``shared``, and that a repeated bootstrap makes them true again."""

import asyncpg
import pytest

from api.cli.doctor import examine
from db import bootstrap
from db.settings import Settings
from tests.support import APP_PASSWORD, OWNER_PASSWORD, Tenant


async def test_a_repeated_bootstrap_gives_and_takes_rights_even_where_nothing_is_to_migrate(
    config: Settings, superuser_url: str, owner: asyncpg.Connection, app_login: asyncpg.Connection
) -> None:
    await owner.execute("REVOKE SELECT ON shared.tenants FROM tenantry_app")
    await owner.execute("GRANT DELETE ON shared.tenants TO tenantry_app")
    await owner.execute("GRANT CREATE ON SCHEMA shared TO tenantry_app")
    await owner.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA shared TO PUBLIC")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_login.fetch("SELECT slug FROM shared.tenants")
    await bootstrap.bootstrap(
        superuser_url,
        owner_password=OWNER_PASSWORD,
        app_password=APP_PASSWORD,
        settings=config,
        harden=False,
    )
    assert await app_login.fetch("SELECT slug FROM shared.tenants") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await app_login.execute("DELETE FROM shared.tenants")
    assert await examine(config) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("GRANT DELETE ON shared.tenants TO tenantry_app", "has DELETE on tenants"),
        ("GRANT UPDATE (revision) ON shared.tenants TO PUBLIC", "has UPDATE (revision) on tenants"),
        ("GRANT TRUNCATE ON shared.audit_log TO tenantry_app", "has TRUNCATE on audit_log"),
        ("GRANT UPDATE ON shared.heartbeats TO tenantry_app", "has UPDATE (pid) on heartbeats"),
        ("GRANT MAINTAIN ON shared.tenants TO tenantry_app", "has MAINTAIN on tenants"),
        ("GRANT CREATE ON SCHEMA shared TO tenantry_app", "has CREATE on schema shared"),
        ("GRANT USAGE ON ALL SEQUENCES IN SCHEMA shared TO PUBLIC", "has USAGE on audit_log_id_seq"),
        ("REVOKE USAGE ON SCHEMA shared FROM tenantry_app", "lacks USAGE on schema shared"),
        ("REVOKE DELETE ON shared.tenant_hosts FROM tenantry_app", "lacks DELETE on tenant_hosts"),
        ("REVOKE UPDATE (status) ON shared.messages FROM tenantry_app", "lacks UPDATE (status) on messages"),
    ],
)
async def test_doctor_names_each_right_in_shared_that_is_not_as_it_should_be(
    config: Settings, owner: asyncpg.Connection, change: str, problem: str
) -> None:
    assert await examine(config) == []
    await owner.execute(change)
    found = await examine(config)
    assert {finding.check for finding in found} == {"rights in shared"}
    assert problem in {finding.problem for finding in found}
    assert all(finding.allows for finding in found)


async def test_doctor_names_a_tenant_that_the_login_reaches_without_its_role(
    config: Settings, owner: asyncpg.Connection, tenant: Tenant
) -> None:
    assert await examine(config) == []
    schema = await owner.fetchval("SELECT schema_name FROM shared.tenants")
    await owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO tenantry_app")
    assert [finding.problem for finding in await examine(config)] == [f"has rights of its own in {schema}"]
