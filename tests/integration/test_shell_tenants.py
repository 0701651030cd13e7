"""``litestar tenants``, as an operator types it."""

import getpass
import json
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from db.settings import Settings
from tests.migrations import BEFORE, HEAD
from tests.shell import Finished, alembic, typed
from tests.support import Client, Service, Tenant, becomes, eventually, problem, requested, sign_up


async def tenants(config: Settings, *arguments: str) -> Finished:
    """Run ``litestar tenants``, and return how it ended, failed or not."""
    return await typed(config, "litestar", "tenants", *arguments)


async def printed(config: Settings, *arguments: str) -> Any:
    """Run ``litestar tenants ... --json``, which must succeed, and return what it prints."""
    done = await tenants(config, *arguments, "--json")
    assert done.code == 0, done.err
    return json.loads(done.out)


async def test_a_tenant_created_in_a_shell_becomes_active_and_its_key_works(
    api: Client, config: Settings, provisioner: Service, owner: asyncpg.Connection
) -> None:
    made = await printed(
        config, "create", "Joe's Bakery", "--host", "joe.example.com", "--reason", "asked for"
    )
    assert made["slug"] == "joe-s-bakery"
    tenant = Tenant(made["id"], made["slug"], made["api_key"])
    await becomes(api, tenant, "active")
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    shown = await printed(config, "show", "joe-s-bakery")
    assert (shown["tenant"]["status"], shown["hosts"]) == ("active", ["joe.example.com"])
    actor = await owner.fetchval("SELECT actor FROM shared.audit_log")
    assert actor == f"shell:{getpass.getuser()}"


async def test_a_tenant_goes_through_its_states_at_the_shell(
    api: Client, config: Settings, tenant: Tenant, owner: asyncpg.Connection
) -> None:
    done = await tenants(config, "suspend", "bakery", "--reason", "unpaid")
    assert (done.code, done.out) == (0, "bakery is suspended\n")
    problem(await api.get("/users", headers=tenant.headers), 403, "tenant-suspended")
    assert (await printed(config, "resume", "bakery"))["status"] == "active"
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200
    done = await tenants(config, "delete", "bakery")
    assert done.out.startswith("bakery is deleted, restorable until ")
    assert (await printed(config, "restore", "bakery"))["status"] == "active"
    entries = await owner.fetch("SELECT action FROM shared.audit_log ORDER BY id")
    assert [row["action"] for row in entries][1:] == [
        "tenant.suspend",
        "tenant.resume",
        "tenant.delete",
        "tenant.restore",
    ]


async def test_lists_take_the_filters_of_the_api_and_print_an_array(
    api: Client, config: Settings, tenant: Tenant, provisioner: Service
) -> None:
    await provisioner.stop()
    await requested(api, "florist")
    assert [found["slug"] for found in await printed(config, "list")] == ["bakery", "florist"]
    assert [found["slug"] for found in await printed(config, "list", "--status", "active")] == ["bakery"]
    assert [found["slug"] for found in await printed(config, "list", "--revision", "head")] == ["bakery"]
    assert [found["slug"] for found in await printed(config, "list", "--q", "FLO")] == ["florist"]
    assert await printed(config, "list", "--status", "purged") == []
    assert "bakery" in (await tenants(config, "list")).out


async def test_migrate_all_asks_each_tenant_that_is_behind_once(
    api: Client, config: Settings, tenant: Tenant, provisioner: Service, owner: asyncpg.Connection
) -> None:
    for slug in ("florist", "grocer"):
        await sign_up(api, slug)
        await alembic(config, "-x", f"tenant={slug}", "downgrade", BEFORE)
    await provisioner.stop()
    assert (await printed(config, "migrate", "--all"))["count"] == 2
    again = await tenants(config, "migrate", "--all")
    assert again.code == 1
    assert "is planned" in " ".join(again.err.replace("│", " ").split())
    await provisioner.start()

    async def at_head() -> bool:
        return len(await printed(config, "list", "--revision", "head")) == 3

    await eventually(at_head, what="every tenant at head")
    done = await tenants(config, "migrate", "--all")
    assert (done.code, done.out) == (0, f"0 tenants asked to migrate to {HEAD}\n")
    versions = await owner.fetch(
        "SELECT tenant_version FROM shared.messages WHERE type LIKE 'tenant.migrate%' AND tenant_id ="
        " (SELECT id FROM shared.tenants WHERE slug = 'florist') ORDER BY id"
    )
    assert versions[0]["tenant_version"] < versions[1]["tenant_version"]


async def test_a_tenant_before_the_first_revision_is_behind_as_well(
    api: Client, config: Settings, tenant: Tenant, provisioner: Service
) -> None:
    await sign_up(api, "florist")
    for slug in ("bakery", "florist"):
        await alembic(config, "-x", "yes=True", "-x", f"tenant={slug}", "downgrade", "base")
    await provisioner.stop()
    assert (await printed(config, "migrate", "bakery"))["count"] == 1
    assert (await printed(config, "migrate", "--all"))["count"] == 2  # whether it is asked already or not
    await provisioner.start()

    async def at_head() -> bool:
        return len(await printed(config, "list", "--revision", "head")) == 2

    await eventually(at_head, what="every tenant at head")
    assert (await api.get("/users", headers=tenant.headers)).status_code == 200


async def test_one_tenant_is_asked_to_migrate_by_name(config: Settings, tenant: Tenant) -> None:
    done = await tenants(config, "migrate", "bakery")
    assert (done.code, done.out) == (0, f"1 tenant asked to migrate to {HEAD}\n")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("show", "florist"), 1, "there is no tenant 'florist'"),
        (("resume", "bakery"), 1, "bakery is pending, and cannot be resumed"),
        (("migrate", "bakery"), 1, "bakery is pending, and cannot be migrated"),
        (("create", "Bakery"), 1, "this slug is taken"),
        (("create", "Select", "--slug", "select"), 2, "this slug is reserved"),
        (("create", "x" * 201), 2, "200 characters"),
        (("migrate",), 2, "name a tenant, or say --all"),
        (("verify",), 2, "name a tenant, or say --all"),
        (("verify", "florist"), 1, "there is no tenant 'florist'"),
        (("migrate", "bakery", "--all"), 2, "name a tenant, or say --all"),
        (("migrate", "--all", "--revision", "nonsense"), 2, "no revision 'nonsense'"),
        (("list", "--status", "gone"), 2, "'gone' is not one of"),
    ],
)
async def test_what_cannot_be_done_is_said_in_words_and_by_the_exit_code(
    api: Client, config: Settings, arguments: tuple[str, ...], code: int, words: str
) -> None:
    await requested(api, "bakery")
    done = await tenants(config, *arguments)
    assert done.code == code, done.err
    assert words in " ".join(done.err.replace("│", " ").split())
    assert "Traceback" not in done.err


async def test_without_an_address_or_a_server_the_shell_says_so(config: Settings) -> None:
    missing = await tenants(replace(config, owner_database_url=None), "list")
    away = await tenants(replace(config, owner_database_url="postgresql://u:p@127.0.0.1:1/none"), "list")
    assert (missing.code, away.code) == (2, 1)
    assert "OWNER_DATABASE_URL is not set" in missing.err
    assert "PostgreSQL" in away.err
    assert "Traceback" not in missing.err + away.err


async def test_a_shell_prints_names_that_were_kept_before_without_obeying_them(
    config: Settings, owner: asyncpg.Connection
) -> None:
    assert (await tenants(config, "create", "Bakery")).code == 0
    forged = "Bakery\nevil                           active\x1b[2J\u202e"
    await owner.execute("UPDATE shared.tenants SET name = $1", forged)
    await owner.execute("UPDATE shared.access_tokens SET name = $1", forged)
    listed = await tenants(config, "list")
    assert len(listed.out.splitlines()) == 1
    shown = await tenants(config, "show", "bakery")
    assert not any(line.startswith("evil") for line in shown.out.splitlines())
    for out in (listed.out, shown.out):
        assert "\\nevil" in out
        assert not {"\x1b", "\u202e"} & set(out)
    assert json.loads((await tenants(config, "list", "--json")).out)[0]["name"] == forged


@pytest.mark.parametrize("name", ["a\nb", " ", "\x1b[2J", "x" * 201])
async def test_a_shell_takes_no_name_that_http_refuses(config: Settings, name: str) -> None:
    done = await tenants(config, "create", name)
    assert (done.code, "one line" in done.err) == (2, True)
    done = await tenants(config, "suspend", "bakery", "--reason", name * 3)
    assert (done.code, "say why" in done.err) == (2, True)
