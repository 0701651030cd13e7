"""What stands in the way of a start is told in words, and what passes by itself is waited for."""

from typing import Any, cast
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from api.cli.doctor import examine
from db import bootstrap, settings
from db.server.version import UnsupportedServerError
from db.settings import Settings, SettingsError
from tests.processes import a_provisioner
from tests.shell import typed
from tests.support import (
    APP_PASSWORD,
    OWNER_PASSWORD,
    Client,
    eventually,
    provisioning,
    requested,
    sign_up,
    status,
)

LATIN = "ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"


def logged(caplog: pytest.LogCaptureFixture, event: str) -> list[dict[str, Any]]:
    found = [cast("dict[str, Any]", record.msg) for record in caplog.records if isinstance(record.msg, dict)]
    return [entry for entry in found if entry.get("event") == event]


def said(text: str) -> str:
    """Return what the shell said, without the box around it."""
    return " ".join(text.replace("│", " ").split())


async def test_a_database_that_holds_no_unicode_is_refused_and_found(
    config: Settings, superuser: asyncpg.Connection
) -> None:
    name = f"{await superuser.fetchval('SELECT current_database()')}_latin"
    await superuser.execute(f"CREATE DATABASE {name} {LATIN}")
    try:
        url = config.require("superuser_database_url").rpartition("/")[0] + f"/{name}"
        there = msgspec.structs.replace(
            config,
            superuser_database_url=url,
            database_url=bootstrap.with_login(url, "tenantry_app", APP_PASSWORD),
            owner_database_url=bootstrap.with_login(url, "tenantry_owner", OWNER_PASSWORD),
        )
        with pytest.raises(UnsupportedServerError, match=f"the database {name} is in LATIN1"):
            await bootstrap.bootstrap(url, owner_password=OWNER_PASSWORD, app_password=APP_PASSWORD)
        done = await typed(there, "litestar", "bootstrap")
        assert done.code == 1
        assert "is in LATIN1" in said(done.err)
        (found,) = [finding for finding in await examine(there) if finding.check == "encoding"]
        assert "ENCODING 'UTF8'" in found.problem
    finally:
        await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.parametrize("name", ["DATABASE_URL", "OWNER_DATABASE_URL", "SUPERUSER_DATABASE_URL"])
def test_an_address_without_a_database_is_refused_by_name(name: str) -> None:
    for address in ("postgresql://u:p@h", "postgresql://u:p@h1,h2/", "postgresql://u:p@h?ssl=require"):
        with pytest.raises(SettingsError, match=f"^{name}: the address names no database"):
            settings.load({name: address})
    address = "postgresql://u:p@h?dbname=d"
    assert getattr(settings.load({name: address}), name.lower()) == address


def other(url: str, *, database: str | None = None, password: str | None = None) -> str:
    parts = urlsplit(url)
    changed = url if database is None else parts._replace(path=f"/{database}").geturl()
    return changed if password is None else bootstrap.with_login(changed, str(parts.username), password)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"database": "nowhere"}, 'database "nowhere" does not exist: the address must end with the name'),
        ({"password": "wrong"}, "the password in the address is wrong"),
    ],
)
async def test_a_wrong_address_is_told_in_words_by_the_shell_and_the_provisioner(
    config: Settings, change: dict[str, str], words: str
) -> None:
    url = other(config.require("owner_database_url"), **change)
    wrong = msgspec.structs.replace(config, owner_database_url=url)
    done = await typed(wrong, "litestar", "tokens", "list")
    assert done.code == 1
    assert words in said(done.err)
    assert "Traceback" not in said(done.err)
    process = a_provisioner(wrong)
    process.start()
    try:

        async def ended() -> bool:
            return not process.alive

        await eventually(ended, what="the end")
        assert process.exit_code == 2
        assert "cannot log in" in process.tail()
        assert words in process.tail()
        assert "Traceback" not in process.tail()
    finally:
        process.kill()


async def test_too_many_connections_are_waited_for_at_the_start_and_told_by_the_shell(
    api: Client, config: Settings, superuser: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    name = await superuser.fetchval("SELECT current_database()")
    await superuser.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    done = await typed(config, "litestar", "tokens", "list")
    assert done.code == 1
    assert "others have all connections; raise max_connections" in said(done.err)
    async with provisioning(config):

        async def waits() -> bool:
            return bool(logged(caplog, "waiting for PostgreSQL"))

        await eventually(waits, what="the wait")
        assert {entry["error_class"] for entry in logged(caplog, "waiting for PostgreSQL")} == {
            "TooManyConnectionsError"
        }
        await superuser.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
        await sign_up(api, "bakery")


async def test_a_stop_while_a_connection_is_waited_for_is_obeyed(
    api: Client, config: Settings, superuser: asyncpg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    name = await superuser.fetchval("SELECT current_database()")
    await superuser.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
    async with provisioning(config):

        async def waits() -> bool:
            return bool(logged(caplog, "waiting for PostgreSQL"))

        await eventually(waits, what="the wait")


@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("@", "wrong@", "the broker refuses tenantry or its password: see AMQP_URL"),
        ("?", "nowhere?", "the broker has no virtual host nowhere, or tenantry may not use it: see AMQP_URL"),
    ],
)
async def test_a_broker_that_lets_nobody_in_is_told_in_one_line(
    api: Client, rabbit_config: Settings, caplog: pytest.LogCaptureFixture, old: str, new: str, words: str
) -> None:
    url = f"{rabbit_config.amqp_url}?".replace(old, new).rstrip("?")
    user = str(urlsplit(url).username)
    async with provisioning(msgspec.structs.replace(rabbit_config, amqp_url=url)):
        tenant = await requested(api, "bakery")

        async def told() -> bool:
            return bool(logged(caplog, "broker connection lost"))

        await eventually(told, what="the line")
        assert await status(api, tenant) == "pending"
    for entry in logged(caplog, "broker connection lost"):
        assert words.replace("tenantry", user) in entry["error"]
        assert "\n" not in entry["error"]
    assert [record for record in caplog.records if record.exc_info] == []
