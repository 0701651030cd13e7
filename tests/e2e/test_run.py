"""`make run`: what it starts, shows and keeps, and how it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import httpx
import psutil  # type: ignore[import-untyped]
import pytest

from db.local.processes.waiting import free_port, wait_until
from db.local.run.environment import read_configuration
from db.local.run.signup import FIRST_ROW
from db.local.servers.installation import HIDE
from db.local.servers.rabbitmq import RabbitNode
from tests.conftest import topology_gone
from tests.running import ADDRESSES, PROJECT, Run, alive, asked, listed, pasted, running

pytestmark = pytest.mark.timeout(240)

KEYS = [
    "api",
    "operator_token",
    "tenant",
    "database_url",
    "owner_database_url",
    "superuser_database_url",
    "amqp_url",
    "signup_amqp_url",
    "pids",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(tmp_path_factory.mktemp("run") / "home") as run:
        yield run


def test_the_run_file_says_what_runs_and_only_its_owner_reads_it(run: Run) -> None:
    state = run.until_up()
    assert list(state) == KEYS
    assert set(state["pids"]) == {"api", "provisioner", "postgres", "rabbitmq"}
    assert state["api"] == f"http://127.0.0.1:{run.port}"
    assert state["amqp_url"] is state["signup_amqp_url"] is None
    assert state["pids"]["rabbitmq"] is None
    assert all(psutil.pid_exists(state["pids"][name]) for name in ("api", "provisioner", "postgres"))
    for name in ("run.json", "secrets.json"):
        assert (run.home / name).stat().st_mode & 0o777 == 0o600


def test_the_first_tenant_is_active_and_answers(run: Run) -> None:
    state = run.until_up()
    assert state["tenant"]["slug"] == "bakery"
    assert listed(state, "/users", "email") == []
    assert listed(state, "/roles", "role_name")[:3] == ["ADMIN_MASTER", "ADMIN", "USER"]


def test_the_terminal_shows_progress_and_lines_to_paste(run: Run) -> None:
    run.until_up()
    assert "messages are delivered in process" in run.told
    assert "tenant bakery: active" in run.told
    assert pasted(run, "List ")["items"]
    assert pasted(run, "Sign another tenant up:")["slug"] == "florist"


def test_the_applications_first_row_is_there_and_a_line_lists_it(run: Run) -> None:
    path, row = FIRST_ROW or ("/roles", {"role_name": "ADMIN_MASTER"})
    run.until_up()
    items = pasted(run, f"List {path} of bakery:")["items"]
    assert row.items() <= items[0].items()


def test_the_operators_token_is_taken_by_the_api(run: Run) -> None:
    state = run.until_up()
    headers = {"Authorization": f"Bearer {state['operator_token']}"}
    answer = httpx.get(f"{state['api']}/tenants/bakery", headers=headers, trust_env=False)
    assert answer.status_code == 200, answer.text


def test_each_program_is_told_its_own_addresses_only() -> None:
    given = dict.fromkeys(ADDRESSES, "postgresql://a:b@127.0.0.1/c")
    configuration = read_configuration(given)
    assert set(configuration.api("app")) & set(ADDRESSES) == {"DATABASE_URL"}
    logins = {"OWNER_DATABASE_URL", "DATABASE_URL"}  # tasks run through the API's
    assert set(configuration.provisioner("owner", "app", "amqp")) & set(ADDRESSES) == {*logins, "AMQP_URL"}
    assert set(configuration.provisioner("owner", "app", None)) & set(ADDRESSES) == logins


@pytest.mark.parametrize("name", ["provisioner", "api", "postgres"])
def test_what_is_killed_is_started_again(run: Run, name: str) -> None:
    state = run.until_up()
    pid = state["pids"][name]
    asked(state, "POST", "/roles", {"role_name": f"Before {name} was killed"})
    os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: run.state["pids"][name] not in {None, pid}, 30), run.told
    state = run.state
    assert psutil.pid_exists(state["pids"][name])

    def serves() -> bool:
        with contextlib.suppress(httpx.TransportError, AssertionError):
            return f"Before {name} was killed" in listed(state, "/roles", "role_name")
        return False

    assert wait_until(serves, 30), run.told


def test_a_second_run_on_the_same_home_is_refused(run: Run) -> None:
    run.until_up()
    second = subprocess.run(
        [sys.executable, "-m", "db.local"],
        cwd=PROJECT,
        env={**run.environment, "PORT": str(free_port())},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert second.returncode == 1
    assert f"in use: `make run` is running there (process {run.process.pid})" in second.stderr
    assert run.state["tenant"]


def test_an_interrupt_leaves_no_process_and_the_next_run_finds_the_same_data(run: Run) -> None:
    before = run.until_up()
    asked(before, "POST", "/roles", {"role_name": "Baker"})
    roles = listed(before, "/roles", "role_name")
    family = run.family()
    assert run.stop(signal.SIGINT) == 0, run.told
    assert not alive(family)
    assert not (run.home / "run.json").exists()
    run.start()
    after = run.until_up()
    assert after["tenant"] == before["tenant"]
    assert after["operator_token"] == before["operator_token"]
    assert listed(after, "/roles", "role_name") == roles


def test_a_killed_supervisor_leaves_no_process_and_its_home_is_usable_at_once(run: Run) -> None:
    before = run.until_up()
    asked(before, "POST", "/roles", {"role_name": "Sweeper"})
    roles = listed(before, "/roles", "role_name")
    family = run.family()
    run.process.kill()
    run.process.wait(10)
    run.start()
    after = run.until_up()
    assert after["tenant"] == before["tenant"]
    assert wait_until(lambda: not alive(family), 30)
    assert listed(after, "/roles", "role_name") == roles


def test_a_hang_up_and_a_termination_stop_everything_too(run: Run) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        run.until_up()
        family = run.family()
        assert run.stop(number) == 0, run.told
        assert not alive(family)
        run.start()


@pytest.mark.rabbitmq
def test_a_private_node_carries_the_messages_where_a_server_is_installed(tmp_path: Path) -> None:
    run = Run(tmp_path / "home", **{HIDE: ""})
    run.start()
    try:
        state = run.until_up()
        if state["amqp_url"] is None:
            pytest.skip("no RabbitMQ server is installed")
        assert psutil.pid_exists(state["pids"]["rabbitmq"])
        user = urlsplit(state["signup_amqp_url"])
        asyncio.run(makes_a_queue_of_its_own(state["signup_amqp_url"]))
        family = run.family()
        assert run.stop() == 0, run.told
        assert not alive(family)
        run.start()
        again = run.until_up()["signup_amqp_url"]
        assert (urlsplit(again).username, urlsplit(again).password) == (user.username, user.password)
        asyncio.run(makes_a_queue_of_its_own(again))
        assert run.stop() == 0, run.told
    finally:
        run.end()


async def makes_a_queue_of_its_own(url: str) -> None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("signup.own", exclusive=True)


@pytest.mark.rabbitmq
def test_a_broker_of_the_users_own_gets_no_user_for_sign_up_flows(
    tmp_path: Path, rabbit_node: RabbitNode
) -> None:
    run = Run(tmp_path / "home", AMQP_URL=rabbit_node.url)
    run.start()
    try:
        state = run.until_up()
        assert state["amqp_url"] == rabbit_node.url
        assert state["signup_amqp_url"] is None
        assert run.stop() == 0, run.told
        asyncio.run(topology_gone(rabbit_node.url))
    finally:
        run.end()


def test_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    run = Run(tmp_path / "home")
    with socket.create_server(("127.0.0.1", run.port)):
        run.start()
        assert run.process.wait(30) == 1
    assert f"port {run.port} is taken" in run.told
    assert not (run.home / "run.json").exists()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"PORT": "many"}, "PORT: expected a number from 0 to 65535, not 'many'"),
        ({"WEB_CONCURRENCY": "0"}, "WEB_CONCURRENCY: expected a number from 1 to 256, not '0'"),
        ({"DATABASE_URL": "postgresql://a:b@127.0.0.1/c"}, "neither OWNER_DATABASE_URL nor SUPERUSER"),
        ({"OWNER_DATABASE_URL": "postgresql://a:b@127.0.0.1/c"}, "without DATABASE_URL"),
        ({"SIGNUP": "perhaps"}, "SIGNUP:"),
    ],
)
def test_an_environment_that_cannot_be_is_a_clear_error(
    tmp_path: Path, environment: dict[str, str], message: str
) -> None:
    run = Run(tmp_path / "home", **environment)
    run.start()
    try:
        assert run.process.wait(30) == 1, run.told
        assert message in run.told
        assert "Traceback" not in run.told
    finally:
        run.end()
