"""The directory that a local deployment lives in: its secrets, its logs, and what says that it runs."""

import contextlib
import secrets
import threading
from pathlib import Path

import msgspec

from db.local.processes.private import write_private


def _password() -> str:
    return secrets.token_urlsafe(24)


class Deployment(msgspec.Struct):
    """What the supervisor knows of one database: the operator's token and the first tenant."""

    operator_token: str | None = None
    signup_key: str = msgspec.field(default_factory=_password)
    api_key: str | None = None
    row_written: bool = False


class Secrets(msgspec.Struct):
    """The content of ``secrets.json``; passwords are of the embedded server's logins."""

    superuser_password: str = msgspec.field(default_factory=_password)
    owner_password: str = msgspec.field(default_factory=_password)
    app_password: str = msgspec.field(default_factory=_password)
    deployments: dict[str, Deployment] = {}


class TenantAccess(msgspec.Struct, frozen=True):
    """The first tenant, and the key to it."""

    slug: str
    api_key: str


class Pids(msgspec.Struct, frozen=True):
    """Process ids; None for what does not run here."""

    api: int | None = None
    provisioner: int | None = None
    postgres: int | None = None
    rabbitmq: int | None = None


class Running(msgspec.Struct, frozen=True):
    """The content of ``run.json``; None for what is not there."""

    api: str | None = None
    operator_token: str | None = None
    tenant: TenantAccess | None = None
    database_url: str | None = None
    owner_database_url: str | None = None
    superuser_database_url: str | None = None
    amqp_url: str | None = None
    pids: Pids = Pids()


class Home:
    """A local deployment's directory, made if it is missing.

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
        """Read the ``run.json`` that an ended supervisor left here.

        Returns:
            Its content, empty if it is damaged, and when it was written, in seconds since the epoch;
            None if there is none.
        """
        try:
            content, written = self._run_file.read_bytes(), self._run_file.stat().st_mtime
            return msgspec.json.decode(content, type=Running), written
        except FileNotFoundError:
            return None
        except msgspec.DecodeError:
            return Running(), 0.0

    def read_secrets(self) -> Secrets:
        """Read ``secrets.json``; make it first if there is none.

        Raises:
            msgspec.DecodeError: the file is damaged.
        """
        with contextlib.suppress(FileNotFoundError):
            return msgspec.json.decode(self._secrets_file.read_bytes(), type=Secrets)
        fresh = Secrets()
        self.write_secrets(fresh)
        return fresh

    def write_secrets(self, content: Secrets) -> None:
        """Write ``secrets.json``, readable by its owner only."""
        with self._writing:
            write_private(self._secrets_file, _pretty(content))

    def write_running(self, content: Running) -> None:
        """Write ``run.json``, readable by its owner only, if it changes."""
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
