"""The private PostgreSQL server: first start, restart, crash, and who may use its data."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil  # type: ignore[import-untyped]
import pytest

from db.local.processes.lock import InUseError
from db.local.processes.process import ProcessError, working_in
from db.local.processes.waiting import is_free, wait_until
from db.local.servers.postgres import PostgresServer

FAST = {"fsync": "off", "full_page_writes": "off"}  # a killed process loses nothing by it


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path / "postgres", settings=FAST)
    server.start()
    yield server
    server.kill()


async def query(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_a_fresh_server_speaks_utf8_and_listens_on_loopback_only(server: PostgresServer) -> None:
    assert await query(server.superuser_url, "SHOW server_encoding") == "UTF8"
    assert await query(server.superuser_url, "SHOW listen_addresses") == "127.0.0.1"
    assert await query(server.superuser_url, "SHOW unix_socket_directories") == ""
    assert await query(server.superuser_url, "SELECT lower('ÄÖ') = 'äö'")


async def test_settings_are_taken_over_the_defaults(server: PostgresServer, tmp_path: Path) -> None:
    assert await query(server.superuser_url, "SHOW fsync") == "off"
    assert await query(server.superuser_url, "SHOW max_connections") == "200"
    other = PostgresServer(tmp_path / "other", settings={**FAST, "max_connections": "17"})
    other.start()
    try:
        assert await query(other.superuser_url, "SHOW max_connections") == "17"
    finally:
        other.stop()


async def test_a_wrong_password_is_refused(server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await query(server.url("postgres", "wrong", "postgres"), "SELECT 1")


def test_as_root_the_server_runs_as_an_unprivileged_user_who_owns_the_data(server: PostgresServer) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs to be root")
    assert server.pid is not None
    uid = psutil.Process(server.pid).uids().effective
    assert uid != 0
    assert server.data.stat().st_uid == uid
    assert server.data.stat().st_mode & 0o777 == 0o700


async def test_a_home_below_a_closed_directory_works(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "postgres", settings=FAST)
    server.start()
    try:
        assert await query(server.superuser_url, "SELECT 1") == 1
    finally:
        server.stop()


async def test_data_port_and_password_survive_a_stop(server: PostgresServer) -> None:
    url = server.superuser_url
    await query(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert not server.alive
    assert is_free(server.port)
    server.start()
    assert server.superuser_url == url
    assert await query(url, "SELECT answer FROM kept") == 42


async def test_another_object_finds_the_data_of_a_home(server: PostgresServer) -> None:
    await query(server.superuser_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    other = PostgresServer(server.home, settings=FAST)
    assert other.initialised
    other.start()
    try:
        assert await query(other.superuser_url, "SELECT answer FROM kept") == 42
    finally:
        other.stop()


async def test_a_killed_server_leaves_no_process_and_starts_again_with_its_data(
    server: PostgresServer,
) -> None:
    await query(server.superuser_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    assert server.pid is not None
    family = [server.pid, *(child.pid for child in psutil.Process(server.pid).children(recursive=True))]
    server.kill()
    assert all(is_gone(pid) for pid in family)
    assert (server.data / "postmaster.pid").exists()
    server.start()
    assert await query(server.superuser_url, "SELECT answer FROM kept") == 42


async def test_a_postmaster_killed_by_somebody_else_is_noticed_and_replaced(server: PostgresServer) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert wait_until(lambda: server.pid is None, 5)
    server.start()
    assert await query(server.superuser_url, "SELECT 1") == 1


async def test_a_stale_pid_file_that_names_a_living_stranger_is_no_obstacle(server: PostgresServer) -> None:
    file = server.data / "postmaster.pid"
    content = file.read_text().splitlines()
    server.kill()
    file.write_text("\n".join([str(os.getpid()), *content[1:]]) + "\n")
    server.start()
    assert await query(server.superuser_url, "SELECT 1") == 1


async def test_an_interrupted_first_start_is_made_good_by_the_next(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", settings=FAST)
    half = tmp_path / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server.start()
    try:
        assert await query(server.superuser_url, "SELECT 1") == 1
        assert not half.exists()
    finally:
        server.stop()


def test_a_home_serves_one_server_at_a_time(server: PostgresServer) -> None:
    with pytest.raises(InUseError, match=str(os.getpid())):
        PostgresServer(server.home).start()
    assert server.alive


def test_a_setting_that_the_server_refuses_is_told_with_its_log(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", settings={**FAST, "no_such_setting": "1"})
    with pytest.raises(ProcessError, match="no_such_setting"):
        server.start()
    assert not server.alive


async def test_a_server_started_in_a_thread_outlives_the_thread(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres", settings=FAST)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    try:
        assert await query(server.superuser_url, "SELECT 1") == 1
    finally:
        server.stop()


def test_a_server_ends_with_a_killed_supervisor(tmp_path: Path) -> None:
    home = tmp_path / "postgres"
    script = (
        "import sys, time; from pathlib import Path; from db.local.servers.postgres import PostgresServer\n"
        f"server = PostgresServer(Path({str(home)!r}), settings={FAST!r}); server.start()\n"
        "print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        pid = int(supervisor.stdout.readline())
        supervisor.kill()
    assert wait_until(lambda: is_gone(pid), 10)
    assert wait_until(lambda: not working_in(home / "data"), 10)


def test_a_server_does_not_hear_the_terminals_interrupt(server: PostgresServer) -> None:
    assert server.pid is not None
    assert os.getpgid(server.pid) == server.pid != os.getpgrp()
