"""Settings of the API and the provisioner, read from environment variables once in each process.

Longer than other modules: each setting is described where it stands.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from db import tls
from db.errors import TenantryError

PROJECT = Path(__file__).resolve().parent.parent


class SettingsError(TenantryError):
    """A setting is missing or invalid. The message names its variable."""

    exit_code = 2


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. A field's environment variable is the field's name in capitals."""

    database_url: Annotated[
        str | None,
        Meta(
            description="The API's PostgreSQL login (`tenantry_app`), as `postgresql://...`; with TLS,"
            " `?sslmode=verify-full&sslrootcert=FILE`."
        ),
    ] = None
    owner_database_url: Annotated[
        str | None,
        Meta(description="The provisioner's and Alembic's login (`tenantry_owner`); not a superuser."),
    ] = None
    superuser_database_url: Annotated[
        str | None, Meta(description="A superuser, for `litestar bootstrap` only.")
    ] = None
    role_prefix: Annotated[
        str,
        Meta(
            pattern=r"\A(?!pg(_|\Z))[a-z][a-z0-9_]{0,30}\Z",
            description="Beginning of the roles' names for `litestar bootstrap`; one an installation of a cluster.",
        ),
    ] = "tenantry"
    amqp_url: Annotated[
        str | None,
        Meta(
            description="RabbitMQ, as `amqp://...`, or `amqps://...?cafile=FILE` with TLS (`certfile` and `keyfile`"
            " for a certificate of one's own); unset: commands are delivered in process."
        ),
    ] = None
    alembic_config: Annotated[Path, Meta(description="Alembic's configuration file.")] = (
        PROJECT / "alembic.ini"
    )
    log_format: Annotated[Literal["json", "console"], Meta(description="How log lines are written.")] = "json"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least severe level written.")
    ] = "info"

    signup: Annotated[
        Literal["open", "operator", "closed"],
        Meta(description="Who may sign a tenant up: anybody, operators' tokens only, or nobody."),
    ] = "operator"
    body_limit: Annotated[int, Meta(ge=1024, description="Largest request body, in bytes.")] = 1_000_000
    pool_size: Annotated[
        int, Meta(ge=1, description="PostgreSQL connections of one API worker; a provisioner has its own.")
    ] = 10
    acquire_timeout: Annotated[
        float, Meta(gt=0, description="Seconds a request waits for a connection before it is answered 503.")
    ] = 5.0
    pipeline: Annotated[
        bool,
        Meta(
            description="Send a tenant's role and its statement in one message; false sends one after the other."
        ),
    ] = True
    backend_memory: Annotated[
        int,
        Meta(
            ge=1 << 24,
            description="Bytes that the server process of an API connection may take before it is replaced.",
        ),
    ] = 1 << 27
    statement_timeout: Annotated[
        float, Meta(gt=0, description="Seconds one of the API's statements may run (set on the login).")
    ] = 5.0
    lock_timeout: Annotated[
        float, Meta(gt=0, description="Seconds one of the API's statements waits for a lock (on the login).")
    ] = 2.0
    idle_in_transaction_timeout: Annotated[
        float, Meta(gt=0, description="Seconds an API transaction may stand idle (set on the login).")
    ] = 10.0
    ready_timeout: Annotated[
        float, Meta(gt=0, description="Seconds `/health/ready` and `/metrics` wait for PostgreSQL.")
    ] = 2.0
    heartbeat_timeout: Annotated[
        float, Meta(gt=0, description="Seconds after which a silent provisioner counts as gone.")
    ] = 15.0
    cache_ttl: Annotated[
        float,
        Meta(gt=0, description="Seconds the API may remember a token or tenant while it hears of changes."),
    ] = 10.0
    request_deadline: Annotated[
        float, Meta(gt=0, description="Seconds a request may take as a whole before it is answered 503.")
    ] = 30.0
    concurrent_requests: Annotated[
        int, Meta(ge=0, description="Requests of one tenant that a worker serves at once; 0: no limit.")
    ] = 50
    rate_limit_per_minute: Annotated[
        int, Meta(ge=0, description="Requests a minute of one token, per worker; 0: no limit.")
    ] = 600
    login_rate_limit_per_minute: Annotated[
        int, Meta(ge=0, description="Failed log-ins a minute of one e-mail, per worker; 0: no limit.")
    ] = 10
    address_rate_limit_per_minute: Annotated[
        int,
        Meta(
            ge=0,
            description="Log-ins, open sign-ups and claims a minute of one address, per worker; 0: no limit.",
        ),
    ] = 60
    trusted_proxies: Annotated[
        int,
        Meta(ge=0, description="Reverse proxies in front, whose word in X-Forwarded-For is believed."),
    ] = 0
    login_ttl: Annotated[float, Meta(gt=0, le=315_360_000, description="Seconds until a log-in ends.")] = (
        43_200.0
    )
    key_limit: Annotated[int, Meta(ge=2, description="API keys a tenant may have at once.")] = 20
    stream_limit: Annotated[
        float, Meta(gt=0, description="Seconds a stream of server-sent events lasts at most.")
    ] = 300.0
    stream_poll: Annotated[
        float, Meta(gt=0, description="Seconds between a stream's looks when nothing wakes it.")
    ] = 1.0

    provision_concurrency: Annotated[
        int,
        Meta(
            ge=1,
            description="Commands that one provisioner works on at once. Bulk work takes all but one; 1 counts as 2.",
        ),
    ] = 2
    prefetch: Annotated[
        int,
        Meta(
            ge=1,
            description="Sign-ups RabbitMQ hands to one provisioner ahead, besides BULK_IN_FLIGHT of bulk work.",
        ),
    ] = 10
    relay_batch: Annotated[int, Meta(ge=1, description="Ledger rows the relay leases at once.")] = 100
    relay_poll: Annotated[
        float, Meta(gt=0, description="Seconds between looks at the ledger when no wake-up comes.")
    ] = 5.0
    relay_lease: Annotated[
        float,
        Meta(
            gt=0,
            description="Seconds a leased ledger row stays with its relay; twice PUBLISH_TIMEOUT or more.",
        ),
    ] = 30.0
    publish_timeout: Annotated[
        float, Meta(gt=0, description="Seconds a publish, confirm included, may take.")
    ] = 10.0
    max_in_flight: Annotated[
        int,
        Meta(
            ge=1,
            description="Most commands published and not yet handled. Sign-ups do not wait for bulk work among them.",
        ),
    ] = 200
    bulk_in_flight: Annotated[
        int,
        Meta(
            ge=1,
            description="Most of them that are bulk work: migrations and bulk replays. Raise it above the slots"
            " of all provisioners together.",
        ),
    ] = 10
    republish_after: Annotated[
        float,
        Meta(gt=0, description="Seconds after which a published command that nobody holds is sent again."),
    ] = 60.0
    attempt_limit: Annotated[
        int, Meta(ge=8, description="Attempts at a command before it is parked; at least 8.")
    ] = 8
    retry_base: Annotated[
        float,
        Meta(
            gt=0,
            description="Most seconds before a command's first retry, at least half; they double with each.",
        ),
    ] = 1.0
    retry_cap: Annotated[
        float, Meta(gt=0, description="Longest wait before a command's retry, in seconds.")
    ] = 300.0
    newer_release_delay: Annotated[
        float,
        Meta(
            gt=0,
            description="Seconds until a command that this release does not know is offered to a newer one again.",
        ),
    ] = 5.0
    heartbeat_interval: Annotated[
        float,
        Meta(
            gt=0,
            description="Seconds between heartbeats, and between declarations of exchanges and bindings.",
        ),
    ] = 2.0
    metrics_port: Annotated[
        int | None,
        Meta(
            description="Port on which a provisioner serves its metrics, to anybody who can reach it; unset: none."
        ),
    ] = None
    watchdog_timeout: Annotated[
        float,
        Meta(gt=0, description="Seconds without receiving, while messages wait, that end a provisioner."),
    ] = 60.0
    message_limit: Annotated[
        int, Meta(ge=1024, description="Largest body, in bytes, that is taken in whole from RabbitMQ.")
    ] = 1_000_000
    delivery_timeout: Annotated[
        float,
        Meta(
            gt=0,
            description="Seconds of work on one message that end a provisioner; more than any migration takes.",
        ),
    ] = 3600.0
    grace_period: Annotated[
        float, Meta(gt=0, description="Seconds a provisioner may take to finish after SIGTERM.")
    ] = 20.0
    migration_lock_timeout: Annotated[
        float, Meta(gt=0, description="Seconds DDL waits for a table lock before it is tried again later.")
    ] = 3.0
    tenant_lock_wait: Annotated[
        float, Meta(gt=0, description="Seconds `alembic` waits for a tenant that is being worked on.")
    ] = 30.0
    purge_after_days: Annotated[
        int,
        Meta(
            ge=1,
            le=3650,
            description="Days that a deleted tenant can be restored; its schema is kept after that.",
        ),
    ] = 30
    pool_schemas: Annotated[
        int, Meta(ge=0, le=1000, description="Schemas that are built ahead of sign-ups; not on Citus.")
    ] = 0
    retention_days: Annotated[
        int, Meta(ge=1, description="Days that handled and published messages are kept.")
    ] = 30

    @property
    def provisioner_pool(self) -> int:
        """The size of a provisioner's connection pool.

        The relay's four batches, upkeep, the replayer and the warmer need one connection each. A command that is worked
        on needs two: one to hold its lock, and one to record its result. At least two are worked on at once.
        """
        return 7 + 2 * max(self.provision_concurrency, 2)

    @property
    def connections(self) -> int:
        """The most PostgreSQL connections that one API worker and one provisioner open together.

        Besides the pools, each process listens on one connection and looks for poolers on one now and then, and
        online runs use one.
        """
        return (self.pool_size + 2) + (self.provisioner_pool + 3)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(...)"  # the addresses hold passwords

    def __rich_repr__(self) -> Any:
        yield from ()

    def require(self, name: str) -> str:
        """Return the setting ``name``, which this process needs. Of an address, check the TLS that it asks for.

        Raises:
            SettingsError: the setting is not set, or a file that it names is not there.
        """
        value = getattr(self, name)
        if not value:
            raise SettingsError(f"{name.upper()} is not set")
        try:
            if name == "amqp_url":
                tls.check_amqp(value)
            elif name.endswith("database_url"):
                tls.check_postgresql(value, os.environ)
        except ValueError as error:
            raise SettingsError(f"{name.upper()}: {error}") from error
        return str(value)


def load(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment.

    Args:
        environment: the variables; the process's own by default. In that case, if neither DATABASE_URL nor
            OWNER_DATABASE_URL is set, missing addresses are read from ``$TENANTRY_HOME/run.json``, so that
            a shell beside ``make run`` needs no set-up.

    Raises:
        SettingsError: a value is invalid; the message names the variable.
    """
    given = os.environ if environment is None else environment
    hints = get_type_hints(Settings, include_extras=True)
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        text = given.get(field.name.upper(), "").strip()
        if not text:
            continue
        try:
            values[field.name] = _convert(text, hints[field.name])
        except (msgspec.ValidationError, ValueError) as error:
            raise SettingsError(f"{field.name.upper()}: {error}") from error
    if environment is None and "database_url" not in values and "owner_database_url" not in values:
        values |= _running(Path(given.get("TENANTRY_HOME") or PROJECT / ".local"), given)
    for name in ("database_url", "owner_database_url", "superuser_database_url"):
        url = values.get(name)
        if url is not None and urlsplit(url).scheme not in {"postgresql", "postgres"}:
            raise SettingsError(f"{name.upper()}: expected a postgresql:// address")
        if url is not None and not (urlsplit(url).path.strip("/") or "dbname=" in url or "database=" in url):
            raise SettingsError(f"{name.upper()}: the address names no database: end it with /NAME")
    if "amqp_url" in values and urlsplit(values["amqp_url"]).scheme not in {"amqp", "amqps"}:
        raise SettingsError("AMQP_URL: expected an amqp:// or amqps:// address")
    return Settings(**values)


def _convert(text: str, kind: Any) -> Any:
    inner = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    return Path(text) if inner is Path else msgspec.convert(text, kind, strict=False)


def _running(home: Path, given: Mapping[str, str]) -> dict[str, str]:
    try:
        running = msgspec.json.decode((home / "run.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError):
        return {}
    names = ("database_url", "owner_database_url", "superuser_database_url", "amqp_url")
    return {name: running[name] for name in names if running.get(name) and not given.get(name.upper())}
