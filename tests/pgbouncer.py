"""PgBouncer, a pooler: in front of a PostgreSQL server, in any pool mode, with or without TLS."""

import asyncio
import contextlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from db.local.processes.account import unprivileged
from db.local.processes.process import Process, ProcessError
from db.local.processes.waiting import LOOPBACK, free_port, wait_until
from db.local.servers.debian import Program, is_debian_like, unpack_pgbouncer
from db.session import address
from db.settings import Settings
from tests import leaks
from tests.support import APP_PASSWORD, OWNER_PASSWORD

_CONSOLE = "pgbouncer"
_READY = 20.0

STARTUP_PARAMETERS = (
    "search_path, lock_timeout, client_connection_check_interval, tcp_keepalives_idle, tcp_keepalives_interval,"
    " tcp_keepalives_count, tcp_user_timeout"
)
"""What `docs/how-to.md` says a pooler must let pass."""


@cache
def program() -> Program:
    """Return the installed PgBouncer, or the one from unpacked packages. Skip, except in CI, where neither can be."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if found is None and not is_debian_like() and not os.environ.get("CI"):
        pytest.skip("PgBouncer is not installed, and the system is not Debian-like")
    return Program(Path(found)) if found else unpack_pgbouncer()


def environment() -> dict[str, str]:
    libraries = os.pathsep.join(map(str, program().libraries))
    return {**os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}


def carrying() -> list[dict[str, str]]:
    """Return settings: none, and those to carry prepared statements across server connections where it can (1.21)."""
    return [{}, *([{"max_prepared_statements": "200"}] if version() >= (1, 21) else [])]


@cache
def version() -> tuple[int, int]:
    told = subprocess.run(
        [str(program().path), "--version"], env=environment(), capture_output=True, text=True, check=True
    )
    found = re.search(r"PgBouncer (\d+)\.(\d+)", told.stdout)
    assert found is not None, told.stdout
    return int(found[1]), int(found[2])


class PgBouncer:
    """A pooler in front of a server. It knows the logins it is given, with their passwords.

    Args:
        home: the directory of its files, which is made.
        server: an address of the PostgreSQL server.
        logins: passwords, by user. All may log in at its console too.
        settings: its settings, over those of this class; `configure` changes them while it runs.
    """

    def __init__(
        self, home: Path, server: str, logins: Mapping[str, str], settings: Mapping[str, str | Path]
    ) -> None:
        home.mkdir(parents=True)
        self._home = home
        self._server = urlsplit(server)
        self._logins = dict(logins)
        self._settings: dict[str, str | Path] = dict(settings)
        self.port = free_port()
        self._account = unprivileged(home, [program().path])
        self._process = Process(
            "pgbouncer",
            [str(program().path), str(home / "pgbouncer.ini")],
            environment=environment(),
            log=leaks.output("pgbouncer"),
            directory=home,
            account=self._account,
            grace=5,
        )

    def url(self, url: str, *, host: str = LOOPBACK, query: str = "") -> str:
        """Return the address through the pooler of the database and the login in ``url``."""
        login = urlsplit(url).netloc.rpartition("@")[0]
        return f"postgresql://{login}@{host}:{self.port}/{address.database(url)}{query and '?'}{query}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._write()
        self._process.start()
        if not wait_until(lambda: self._listens() or not self._process.alive, _READY) or not self._listens():
            self.stop()
            raise ProcessError(f"PgBouncer did not start; it said:\n{self._process.tail()}")

    def stop(self) -> None:
        self._process.kill()

    async def configure(self, **settings: str | Path) -> None:
        """Change settings while it runs."""
        self._settings |= settings
        self._write()
        await self.told("RELOAD")

    async def told(self, command: str) -> None:
        """Run a command of the console."""
        user, password = next(iter(self._logins.items()))
        # The console understands the simple protocol alone, and nothing that asyncpg asks at the end.
        console = await asyncpg.connect(
            host=LOOPBACK, port=self.port, user=user, password=password, database=_CONSOLE, ssl=self._ssl
        )
        try:
            await console.execute(command)
        finally:
            console.terminate()

    @property
    def _ssl(self) -> Literal["disable", "require"]:
        return "require" if "client_tls_sslmode" in self._settings else "disable"

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=1):
            return True
        return False

    def _write(self) -> None:
        settings = {
            "listen_addr": LOOPBACK,
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": self._home / "userlist.txt",
            "admin_users": ", ".join(self._logins),
            "pool_mode": "session",
            "default_pool_size": "40",
            "max_client_conn": "500",
            "ignore_startup_parameters": STARTUP_PARAMETERS,
            **self._settings,
        }
        files = {
            "pgbouncer.ini": "\n".join(
                [
                    "[databases]",
                    f"* = host={self._server.hostname} port={self._server.port}",
                    "[pgbouncer]",
                    *(f"{name} = {value}" for name, value in settings.items()),
                    "",
                ]
            ),
            "userlist.txt": "".join(f'"{user}" "{password}"\n' for user, password in self._logins.items()),
        }
        for name, content in files.items():
            path = self._home / name
            path.write_text(content, encoding="utf-8")
            if self._account is not None:
                os.chown(path, self._account.uid, self._account.gid)


@asynccontextmanager
async def pooled(home: Path, config: Settings, **settings: str | Path) -> AsyncIterator[PgBouncer]:
    """Run a pooler in front of a test's server, which knows the three logins, and stop it at the end."""
    server = config.require("superuser_database_url")
    superuser, password = address.login(server)
    logins = {"tenantry_app": APP_PASSWORD, "tenantry_owner": OWNER_PASSWORD, str(superuser): str(password)}
    pooler = PgBouncer(home, server, logins, settings)
    await asyncio.to_thread(pooler.start)
    try:
        yield pooler
    finally:
        await asyncio.to_thread(pooler.stop)


def through(
    front: PgBouncer, config: Settings, host: str = LOOPBACK, query: str = "", **more: Any
) -> Settings:
    """Return settings with all addresses through a pooler, and a short `cache_ttl`."""
    names = ("database_url", "owner_database_url", "superuser_database_url")
    urls = {name: front.url(config.require(name), host=host, query=query) for name in names}
    return msgspec.structs.replace(config, **urls, cache_ttl=0.5, **more)
