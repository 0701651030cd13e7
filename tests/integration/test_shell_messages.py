"""``litestar messages``, as an operator types it."""

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner

from api.cli.messages import messages_group
from db.audit import By
from db.control import replays
from db.ledger.lists import MessageFilter
from db.settings import Settings
from tests.processes import environment
from tests.shell import Finished, typed
from tests.support import Service, one, signed_up


@pytest.fixture
async def parked(owner: asyncpg.Connection) -> list[str]:
    """Three parked provisions, oldest first."""
    async with owner.transaction():
        for number in range(3):
            await signed_up(owner, f"shop{number}")
        await owner.execute("UPDATE shared.tenants SET status = 'failed'")
        await owner.execute("UPDATE shared.messages SET status = 'published' WHERE kind = 'event'")
        await owner.execute(
            "UPDATE shared.messages SET status = 'parked', error_class = 'DiskFullError', last_error = 'full',"
            " traceback = 'Traceback: it was full', frame = 'db/roles.py:1 in create_schema'"
            " WHERE kind = 'command'"
        )
    rows = await owner.fetch("SELECT id FROM shared.messages WHERE status = 'parked' ORDER BY id")
    return [str(row["id"]) for row in rows]


async def messages(config: Settings, *arguments: str, given: str | None = None) -> Finished:
    """Run a command, in a thread of its own: a process each would spend most of its time on imports."""
    runner = CliRunner()
    addresses = {name: value for name, value in environment(config).items() if name.endswith("_URL")}
    done = await asyncio.to_thread(runner.invoke, messages_group, arguments, env=addresses, input=given)
    return Finished(done.exit_code, done.stdout, done.stderr)


async def told(config: Settings, *arguments: str, given: str | None = None) -> Any:
    """Run a command that must succeed, and return what it tells programs."""
    done = await messages(config, *arguments, "--json", given=given)
    assert done.code == 0, done.err
    return msgspec.json.decode(done.out)


async def test_a_list_takes_the_filters_as_options_and_prints_an_array(
    config: Settings, parked: list[str]
) -> None:
    found = await told(config, "list", "--status", "parked", "--limit", "2")
    assert [message["id"] for message in found] == [parked[2], parked[1]]
    assert await told(config, "list", "--tenant", "shop0", "--kind", "event", "--status", "parked") == []
    for_people = await messages(
        config, "list", "--error-class", "DiskFullError", "--type", "tenant.provision"
    )
    assert for_people.code == 0
    assert all(message_id in for_people.out for message_id in parked)
    wrong = await messages(config, "list", "--status", "lost")
    assert (wrong.code, "status" in wrong.err) == (2, True)


async def test_the_commands_are_litestars(config: Settings, parked: list[str]) -> None:
    done = await typed(config, "litestar", "messages", "list", "--status", "parked", "--json")
    assert done.code == 0, done.err
    assert len(msgspec.json.decode(done.out)) == 3


async def test_groups_and_one_message_are_shown(config: Settings, parked: list[str]) -> None:
    (group,) = await told(config, "groups")
    assert (group["count"], group["error_class"]) == (3, "DiskFullError")
    message = await told(config, "show", parked[0])
    assert message["traceback"] == "Traceback: it was full"
    assert [step["what"] for step in message["timeline"]] == ["cause", "self"]
    for_people = await messages(config, "show", parked[0])
    assert "it was full" in for_people.out
    missing = await messages(config, "show", "00000000-0000-7000-8000-000000000000")
    assert (missing.code, "no message" in missing.err) == (1, True)


async def test_one_message_is_archived_restored_and_replayed_with_a_reason(
    config: Settings, owner: asyncpg.Connection, parked: list[str]
) -> None:
    silent = await messages(config, "archive", parked[0])
    assert silent.code == 2
    assert (await told(config, "archive", parked[0], "--reason", "known"))["status"] == "archived"
    assert (await told(config, "restore", parked[0], "--reason", "unknown"))["status"] == "parked"
    assert (await told(config, "replay", parked[0], "--reason", "healed"))["status"] == "pending"
    again = await messages(config, "replay", parked[0], "--reason", "healed")
    assert (again.code, "cannot be replayed" in again.err) == (1, True)
    rows = await owner.fetch(
        "SELECT actor, action FROM shared.audit_log WHERE action LIKE 'message.%' ORDER BY id"
    )
    assert [row["action"] for row in rows] == ["message.archive", "message.restore", "message.replay"]
    assert all(row["actor"].startswith("shell:") for row in rows)


async def test_one_message_is_edited_from_a_file_or_from_standard_input(
    config: Settings, owner: asyncpg.Connection, parked: list[str], tmp_path: Path
) -> None:
    payload = (await told(config, "show", parked[0]))["payload"]
    made = await told(config, "edit", parked[0], "--reason", "mended", given=json.dumps(payload))
    assert (made["status"], made["caused_by"]) == ("pending", parked[0])
    file = tmp_path / "payload.json"
    file.write_text(json.dumps((await told(config, "show", parked[1]))["payload"]["data"]))
    again = await told(config, "edit", parked[1], str(file), "--reason", "mended")
    assert again["caused_by"] == parked[1]
    for given, code, words in (("{", 2, "payload"), ("{}", 1, "tenant_id"), (json.dumps(payload), 0, "")):
        done = await messages(config, "edit", parked[2], "--reason", "mended", given=given)
        assert (done.code, words in done.err) == (code, True), done
    reasons = await owner.fetch(
        "SELECT detail->>'reason' FROM shared.audit_log WHERE action = 'message.edit'"
    )
    assert [row[0] for row in reasons] == ["mended"] * 3


async def test_a_running_replay_is_cancelled(
    config: Settings, owner: asyncpg.Connection, parked: list[str]
) -> None:
    async with owner.transaction():
        running = await replays.start(
            owner, MessageFilter(status="parked"), rate=1, by=By("test", None, "why")
        )
    ended = await told(config, "cancel", str(running.id))
    assert (ended["status"], ended["done"]) == ("cancelled", 0)
    missing = await messages(config, "cancel", parked[0])
    assert (missing.code, "no replay" in missing.err) == (1, True)


async def test_many_are_counted_first_and_then_sent_again_whether_a_provisioner_runs_or_not(
    config: Settings, owner: asyncpg.Connection, parked: list[str]
) -> None:
    these = ("replay", "--filter", "status=parked", "--filter", "type=tenant.provision")
    counted = await told(config, *these, "--dry-run")
    assert (counted["count"], len(counted["sample"])) == (3, 3)
    wrong = await messages(config, *these, "--expected-count", "2", "--reason", "healed")
    assert (wrong.code, "3 messages" in wrong.err) == (1, True)
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'parked'") == 3
    sent = await told(config, *these, "--expected-count", "3", "--rate", "2", "--reason", "healed")
    assert (sent["status"], sent["done"], sent["count"]) == ("finished", 3, 3)
    assert await owner.fetchval("SELECT count(*) FROM shared.messages WHERE status = 'pending'") == 3


async def test_a_bulk_replay_needs_filters_that_exist_and_a_reason(
    config: Settings, parked: list[str]
) -> None:
    for arguments in (
        ("replay",),
        ("replay", "--filter", "status=parked"),
        ("replay", "--filter", "colour=red", "--reason", "why"),
        ("replay", "--filter", "status", "--reason", "why"),
        ("replay", "--filter", "status=parked", "--reason", " "),
        ("replay", parked[0], "--filter", "status=parked", "--reason", "why"),
    ):
        assert (await messages(config, *arguments)).code == 2, arguments
    assert len(await told(config, "list", "--status", "parked")) == 3


async def test_the_provisioners_are_paused_and_resumed(
    config: Settings, owner: asyncpg.Connection, provisioner: Service
) -> None:
    assert await told(config, "pause", "--reason", "disk") == {"paused": True, "reason": "disk"}
    row = await one(
        owner, "SELECT enabled, changed_by FROM shared.switches WHERE name = 'provisioner.paused'"
    )
    assert (row["enabled"], row["changed_by"].partition(":")[0]) == (True, "shell")
    assert (await told(config, "resume", "--reason", "done"))["paused"] is False
    assert await owner.fetchval("SELECT enabled FROM shared.switches") is False


@pytest.mark.parametrize("since", ["9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00", "2026-01-01"])
async def test_a_time_out_of_range_is_a_wrong_option(config: Settings, since: str) -> None:
    for command in (("list", "--since", since), ("replay", "--filter", f"since={since}", "--dry-run")):
        done = await messages(config, *command)
        assert (done.code, "filter" in done.err) == (2, True)
