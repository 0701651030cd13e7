"""The environment variables that ``make run`` reads, and the environments of its programs."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from db.settings import PROJECT

EMBEDDED = "embedded"

# `make run` is for trials, so sign-up is open and quick and nothing is rate-limited, unless the user sets it.
_DEFAULTS = {
    "SIGNUP": "open",
    "RATE_LIMIT_PER_MINUTE": "0",
    "LOGIN_RATE_LIMIT_PER_MINUTE": "0",
    "ADDRESS_RATE_LIMIT_PER_MINUTE": "0",
    "POOL_SCHEMAS": "2",
}
_SECRETS = ("DATABASE_URL", "OWNER_DATABASE_URL", "SUPERUSER_DATABASE_URL", "AMQP_URL")


class ConfigurationError(Exception):
    """The environment is invalid. The message says why."""


class ExternalDatabase(NamedTuple):
    """Database addresses from the environment: the API's login, and the owner's, a superuser's or both."""

    app: str
    owner: str | None
    superuser: str | None


class Configuration(NamedTuple):
    """The checked environment of ``make run``.

    ``database`` is None if the embedded server is used. ``amqp_url`` is None if no broker is given.
    """

    home: Path
    port: int
    workers: int
    database: ExternalDatabase | None
    amqp_url: str | None
    inherited: dict[str, str]

    @property
    def deployment(self) -> str:
        """The key of the database's entry in the secrets."""
        if self.database is None:
            return EMBEDDED
        parts = urlsplit(self.database.app)
        return f"{parts.hostname or ''}:{parts.port or 5432}{parts.path}"

    def api(self, app_url: str) -> dict[str, str]:
        """Return the API's environment. It has the API's login only, not the owner's or the broker's."""
        return {**self.inherited, "DATABASE_URL": app_url}

    def provisioner(self, owner_url: str, app_url: str, amqp_url: str | None) -> dict[str, str]:
        """Return the provisioner's environment: both logins, since tasks run through the API's, and the broker."""
        broker = {"AMQP_URL": amqp_url} if amqp_url else {}
        return {**self.inherited, "OWNER_DATABASE_URL": owner_url, "DATABASE_URL": app_url, **broker}


def read_configuration(environment: Mapping[str, str]) -> Configuration:
    """Check and return the variables that ``make run`` uses.

    Raises:
        ConfigurationError: a variable is invalid, or another one that it needs is missing.
    """
    home = Path(environment.get("TENANTRY_HOME") or PROJECT / ".local").expanduser()
    home = home if home.is_absolute() else PROJECT / home
    given = {name: environment.get(name, "").strip() or None for name in _SECRETS}
    app, owner, superuser = (given[name] for name in _SECRETS[:3])
    if app and not (owner or superuser):
        raise ConfigurationError(
            "DATABASE_URL is set, but neither OWNER_DATABASE_URL nor SUPERUSER_DATABASE_URL: "
            "the provisioner needs the owner's login, or a superuser's to make one with"
        )
    if not app and (owner or superuser):
        raise ConfigurationError("OWNER_DATABASE_URL or SUPERUSER_DATABASE_URL is set without DATABASE_URL")
    inherited = {name: value for name, value in environment.items() if name not in _SECRETS}
    return Configuration(
        home=home,
        port=_number(environment, "PORT", 8000, low=0, high=65535),
        workers=_number(environment, "WEB_CONCURRENCY", 1, low=1, high=256),
        database=ExternalDatabase(app, owner, superuser) if app else None,
        amqp_url=given["AMQP_URL"],
        inherited={**_DEFAULTS, **inherited, "TENANTRY_HOME": str(home)},
    )


def _number(environment: Mapping[str, str], name: str, default: int, *, low: int, high: int) -> int:
    text = environment.get(name, "").strip() or str(default)
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ConfigurationError(f"{name}: expected a number from {low} to {high}, not {text!r}")
    return int(text)
