"""The directory of a local deployment: its secrets, its logs and ``run.json``."""

import secrets
import threading
from pathlib import Path
from typing import Final

import msgspec

from db.local.processes.private import write_private


def _password() -> str:
    return secrets.token_urlsafe(24)


class Deployment(msgspec.Struct):
    """What the supervisor keeps for one database: the operator's token, and the state of the first tenant."""

    operator_token: str | None = None
    signup_key: str = msgspec.field(default_factory=_password)
    api_key: str | None = None
    row_written: bool = False


class Secrets(msgspec.Struct):
    """The content of ``secrets.json``: passwords of the database logins, and of sign-up flows at the broker."""

    superuser_password: str = msgspec.field(default_factory=_password)
    owner_password: str = msgspec.field(default_factory=_password)
    app_password: str = msgspec.field(default_factory=_password)
    signup_amqp_password: str = msgspec.field(default_factory=_password)
    deployments: dict[str, Deployment] = {}


class TenantAccess(msgspec.Struct, frozen=True):
    """The first tenant's slug and key."""

    slug: str
    api_key: str


class Pids(msgspec.Struct, frozen=True):
    """The services' process ids. None means that the service does not run here."""

    api: int | None = None
    provisioner: int | None = None
    postgres: int | None = None
    rabbitmq: int | None = None


class Running(msgspec.Struct, frozen=True):
    """The content of ``run.json``. None means that the value is not known yet or does not exist."""

    api: str | None = None
    operator_token: str | None = None
    tenant: TenantAccess | None = None
    database_url: str | None = None
    owner_database_url: str | None = None
    superuser_database_url: str | None = None
    amqp_url: str | None = None
    signup_amqp_url: str | None = None
    pids: Pids = Pids()


class HomeError(Exception):
    """A file of the directory cannot be used. The message names it and names the remedy."""


_REMEDY: Final = (
    "it holds the passwords of the databases beside it. Restore it from a copy; or remove {}, "
    "with all data of all tenants in it, to begin anew"
)


class Home:
    """The directory of a local deployment, which is made if it does not exist.

    Args:
        path: the directory, ``TENANTRY_HOME``.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path.resolve()
        self.logs = self.path / "logs"
        self.logs.mkdir(exist_ok=True)
        self._run_file = self.path / "run.json"
        self._secrets_file = self.path / "secrets.json"
        self._writing = threading.Lock()
        self._written: Running | None = None

    def log(self, name: str) -> Path:
        """Return the log file of the service ``name``."""
        return self.logs / f"{name}.log"

    def left_running(self) -> tuple[Running, float] | None:
        """Read the ``run.json`` that an earlier supervisor left behind.

        Returns:
            The content, and when it was written, in seconds since the epoch. If the file is damaged, the
            content is empty and the time 0. None if there is no file.
        """
        try:
            content, written = self._run_file.read_bytes(), self._run_file.stat().st_mtime
            return msgspec.json.decode(content, type=Running), written
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            return Running(), 0.0

    def read_secrets(self) -> Secrets:
        """Return the content of ``secrets.json``. On the first run, make the file; add what an older one lacks.

        Raises:
            HomeError: the file is damaged, or missing where an earlier run has left its data.
        """
        try:
            content = self._secrets_file.read_bytes()
            kept = msgspec.json.decode(content, type=Secrets)
        except FileNotFoundError:
            if (self.path / "postgres").exists():
                raise HomeError(f"{self._secrets_file} is missing: {_REMEDY.format(self.path)}") from None
            content, kept = b"", Secrets()
        except msgspec.DecodeError as error:
            raise HomeError(
                f"{self._secrets_file} is damaged ({error}): {_REMEDY.format(self.path)}"
            ) from None
        if _pretty(kept) != content:
            self.write_secrets(kept)
        return kept

    def write_secrets(self, content: Secrets) -> None:
        """Write ``secrets.json``, readable by its owner only."""
        with self._writing:
            write_private(self._secrets_file, _pretty(content))

    def write_running(self, content: Running) -> None:
        """Write ``run.json``, readable by its owner only, if its content changes."""
        with self._writing:
            if content != self._written:
                write_private(self._run_file, _pretty(content))
                self._written = content

    def remove_running(self) -> None:
        """Remove ``run.json``."""
        with self._writing:
            self._run_file.unlink(missing_ok=True)
            self._written = None


def _pretty(content: msgspec.Struct) -> bytes:
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
