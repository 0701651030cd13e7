"""The benchmark's psql does the same work as provisioning does."""

from pathlib import Path

import asyncpg

from db import names
from db.migrations.fingerprint import fingerprint
from db.settings import Settings
from tests.benchmarks.provisioning import by_psql, copies, ddl
from tests.benchmarks.signup import build

_SCHEMAS = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^t_[a-z2-7]{16}$' ORDER BY 1"
_RIGHTS = """
SELECT c.relname, privilege_type FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace = to_regnamespace($1) AND a.grantee = to_regrole($1) ORDER BY 1, 2
"""


async def test_psql_builds_what_provisioning_builds(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    text, schema = await ddl(owner, config)
    assert await owner.fetch(_SCHEMAS) == []  # it was recorded and rolled back
    assert await by_psql(config, copies(text, schema, 3), 2, tmp_path) > 0
    built = [row["nspname"] for row in await owner.fetch(_SCHEMAS)]
    assert len(built) == 3
    assert schema not in built
    reference = names.new_schema_name()
    async with owner.transaction():
        await build(owner, config.alembic_config, reference)
    rights = await owner.fetch(_RIGHTS, reference)
    assert rights
    for one in built:
        assert await fingerprint(owner, one) == await fingerprint(owner, reference)
        assert await owner.fetch(_RIGHTS, one) == rights
        assert await owner.fetchval("SELECT pg_has_role('tenantry_app', $1, 'SET')", one)
