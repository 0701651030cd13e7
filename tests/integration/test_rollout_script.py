"""The script of a tenant in a rollout does in one message what the long way does."""

import json
from pathlib import Path

import asyncpg
import pytest

from db.control import tenants
from db.control.rollout_script import Scripts
from db.migrations.fingerprint import structure
from db.migrations.lineages import lineage
from db.settings import Settings
from tests.migrations import HEAD, SCRIPT, asked, registered, release, settles
from tests.operators import Operator
from tests.rollouts import Fleet, begun, shops
from tests.support import BY_TEST, eventually, provisioning, serving


@pytest.mark.parametrize(
    ("body", "quick"),
    [
        (SCRIPT, True),
        ("\ndef upgrade():\n    op.execute('UPDATE users SET first_name = $$a;b$$ -- the end')\n", True),
        ("\ndef upgrade():\n    op.execute('CREATE TABLE notes (id int)')\n", False),
        ("\ndef upgrade():\n    op.execute('CREATE VIEW names AS SELECT first_name FROM users')\n", False),
        ("\ndef upgrade():\n    op.execute('SELECT 1 / 0')\n", False),
    ],
    ids=["column", "rows", "table", "view", "fails"],
)
async def test_one_message_does_what_the_long_way_does(
    config: Settings,
    owner: asyncpg.Connection,
    as_operator: dict[str, str],
    operator_token: str,
    tmp_path: Path,
    body: str,
    *,
    quick: bool,
) -> None:
    await shops(config, 2)
    newer = release(config, tmp_path, body)
    chain = lineage("tenant", newer.alembic_config)
    registered_ = await registered(owner, "shop000001")
    scripts = Scripts(chain, "r1", registered_.id, registered_.id, lock_timeout=1)
    assert (scripts.text(registered_) is not None) == quick
    async with serving(newer) as api, provisioning(newer):
        message_id = await asked(Operator(api, operator_token), "shop000000")
        if "1 / 0" in body:
            await settles(owner, message_id, "parked")
            fleet = Fleet(api, as_operator)
            rollout_id = await fleet.begins(target="head", canary=["shop000001"])
            await fleet.becomes(rollout_id, "halted")
            (failed,) = await fleet.tenants(rollout_id, "failed")
            assert failed["error_class"] == "DivisionByZeroError"
            return
        await settles(owner, message_id, "handled")
        fleet = Fleet(api, as_operator)
        rollout_id = await fleet.begins(target="head")
        await fleet.becomes(rollout_id, "finished")
        (done,) = await fleet.tenants(rollout_id, "done")
        assert (done["attempts"], done["error"]) == (1, None)
        assert done["started_at"] <= done["finished_at"]
    one, other = [await registered(owner, slug) for slug in ("shop000000", "shop000001")]
    assert await structure(owner, one.schema_name) == await structure(owner, other.schema_name)
    assert (one.revision, one.compatible_from) == (other.revision, other.compatible_from) == ("r1", HEAD)
    events = [
        {
            **dict(row),
            "payload": json.loads(row["payload"]) | {"id": 0, "time": 0, "causationid": 0},
            "slug": None,
        }
        for row in await owner.fetch(
            "SELECT kind, status, priority, tenant_version, payload, payload->>'subject' AS slug FROM shared.messages"
            " WHERE type = 'tenant.migrated' ORDER BY payload->>'subject'"
        )
    ]
    assert len(events) == 2
    for event in events:
        assert event["payload"].pop("subject") == event["payload"]["data"].pop("slug")
        assert event["payload"].pop("tenantversion") == event.pop("tenant_version")
        event["payload"]["data"].pop("tenant_id")
    assert events[0] == events[1]


async def test_a_tenant_that_was_suspended_since_its_claim_takes_the_long_way(
    config: Settings, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    await shops(config, 1)
    chain = lineage("tenant", release(config, tmp_path, SCRIPT).alembic_config)
    claimed = await registered(owner, "shop000000")
    rollout_id = await begun(owner, chain)
    await owner.execute("UPDATE shared.rollout_tenants SET status = 'running'")
    scripts = Scripts(chain, "r1", rollout_id, rollout_id, lock_timeout=1)
    text = scripts.text(claimed)
    assert text is not None
    async with owner.transaction():
        await tenants.suspend(owner, "shop000000", BY_TEST)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await owner.execute(text)
    await owner.execute("ROLLBACK")
    again = scripts.text(await registered(owner, "shop000000"))
    assert again is not None
    await owner.execute(again)
    assert (await registered(owner, "shop000000")).revision == "r1"


async def test_a_tenant_purged_after_its_claim_is_skipped(
    config: Settings, owner: asyncpg.Connection, as_operator: dict[str, str], tmp_path: Path
) -> None:
    await shops(config, 2)
    newer = release(config, tmp_path, SCRIPT)
    rows = await owner.fetch("SELECT id, schema_name FROM shared.tenants ORDER BY id")
    (_, first), (other, gone) = rows
    reader = await asyncpg.connect(config.require("owner_database_url"))
    async with serving(newer) as api, provisioning(newer):
        fleet = Fleet(api, as_operator)
        async with reader.transaction():
            await reader.execute(f"LOCK TABLE {first}.users IN ACCESS SHARE MODE")
            rollout_id = await fleet.begins(target="head", canary=0, wave=2, concurrency=1)

            async def both_claimed() -> bool:
                return bool((await fleet.sees(rollout_id))["tenants"]["running"] == 2)

            await eventually(both_claimed, what="two tenants that are claimed at once")
            await owner.execute(f"DROP SCHEMA {gone} CASCADE")
            await owner.execute(
                "UPDATE shared.tenants SET status = 'purged', version = version + 1 WHERE id = $1", other
            )
        finished = await fleet.becomes(rollout_id, "finished")
        (skipped,) = await fleet.tenants(rollout_id, "skipped")
    await reader.close()
    assert finished["tenants"] == {"waiting": 0, "running": 0, "done": 1, "skipped": 1, "failed": 0}
    assert (skipped["tenant_id"], skipped["error"]) == (str(other), None)
