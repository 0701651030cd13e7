"""The API login's rights in ``shared``, and that a repeated bootstrap makes them true again."""

import asyncpg
import pytest

from db import bootstrap
from db.settings import Settings
from tests.support import APP_PASSWORD, OWNER_PASSWORD


async def test_a_repeated_bootstrap_gives_and_takes_rights_even_where_nothing_is_to_migrate(
    config: Settings, superuser_url: str, owner: asyncpg.Connection, app_login: asyncpg.Connection
) -> None:
    await owner.execute("REVOKE SELECT ON shared.tenants FROM tenantry_app")
    await owner.execute("GRANT DELETE ON shared.tenants TO tenantry_app")
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
