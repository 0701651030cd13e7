"""The provisioner's composition root: ``python -m provisioner`` puts the parts together and runs them."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import asyncpg
import structlog
import uvloop

from db import bootstrap, garbage, logs, settings
from db.control.rollouts import MOST_AT_ONCE
from db.migrations.lineage import LineageError
from db.migrations.lineages import lineage
from db.migrations.online import Online
from db.server import extensions, version
from db.session import address
from db.session.address import AddressError
from db.session.connection import SESSION
from db.session.failures import in_words
from db.session.pooler import PooledError
from db.session.tenancy import Database
from db.settings import Settings, SettingsError
from provisioner import metrics
from provisioner.attempt import Policy
from provisioner.connections import open_pool, waited
from provisioner.delivery import Deliveries
from provisioner.failures import AWAY
from provisioner.handlers.handler import by_type
from provisioner.handlers.migrate import MigrateHandler
from provisioner.handlers.provision import ProvisionHandler
from provisioner.handlers.signup import SignupHandler
from provisioner.handlers.tasks import Tasks
from provisioner.handlers.upgrades import Upgrades
from provisioner.handlers.wave import WaveHandler
from provisioner.inprocess import InProcess
from provisioner.rabbit import Rabbit
from provisioner.relay.relay import Relay
from provisioner.replayer import Replayer
from provisioner.transport import Transport
from provisioner.upkeep import Upkeep
from provisioner.warmer import Warmer

log = structlog.get_logger("provisioner")

_ABANDON = 5.0
"""Seconds that cancelled work has to give its attempts back."""
_LOOK = 5.0
"""Seconds that opening a connection to look may take."""
_WATCH = 10.0
"""Seconds between looks at what is between this process and PostgreSQL."""


def transport(config: Settings) -> Transport:
    """Return the transport: RabbitMQ if ``AMQP_URL`` is set, otherwise delivery within this process."""
    if config.amqp_url is None:
        return InProcess(concurrency=config.provision_concurrency)
    return Rabbit(
        config.amqp_url,
        prefetch=config.prefetch,
        concurrency=config.provision_concurrency,
        publish_timeout=config.publish_timeout,
        bulk=config.bulk_in_flight,
        limit=config.message_limit,
        bind_every=config.heartbeat_interval,
    )


async def run(config: Settings, stop: asyncio.Event) -> None:
    """Migrate the shared lineage, then run the relay, the consumer and the upkeep until ``stop`` is set.

    Args:
        config: the settings; `owner_database_url` is required.
        stop: the event that SIGTERM and SIGINT set.

    Raises:
        SettingsError: a setting is missing.
        UnsupportedServerError: PostgreSQL is too old.
        LineageError: a revision cannot be run.
        AddressError: the address, or the server's certificate, does not allow a connection.
        PooledError: a pooler gives each transaction another server connection.
    """
    owner_url = config.require("owner_database_url")
    await waited(lambda: bootstrap.migrate_shared(owner_url, config), stop)
    if stop.is_set():
        return
    carrier = transport(config)
    async with open_pool(owner_url, config.provisioner_pool, stop) as pool, _login(config) as database:
        if pool is None:
            return
        consumer = _consumer(pool, owner_url, config, database)
        relay = Relay(
            pool,
            owner_url,
            carrier,
            batch=config.relay_batch,
            lease=config.relay_lease,
            poll=config.relay_poll,
            in_flight=config.max_in_flight,
            bulk_in_flight=config.bulk_in_flight,
        )
        upkeep = _upkeep(pool, carrier, config)
        await upkeep.take_over()
        log.info("started", delivery="RabbitMQ" if config.amqp_url else "in process")
        metrics.IN_HAND.set_function(lambda: carrier.in_hand)
        with metrics.served(config.metrics_port):
            parts = (
                relay.run(),
                carrier.run(consumer),
                upkeep.run(),
                Replayer(pool).run(),
                Warmer(pool, lineage("tenant", config.alembic_config), size=config.pool_schemas).run(),
                _watch(owner_url),
            )
            try:
                await _serve(parts, carrier, relay, upkeep, stop, config.grace_period)
            except (asyncpg.PostgresError, ExceptionGroup):
                await _look(owner_url)  # a pooler whose mode was changed may be the cause
                raise
    log.info("stopped")


async def _watch(owner_url: str) -> None:
    """Look now and then, until cancelled, whether connections are still sessions, which hold locks.

    Raises:
        PooledError: a pooler gives each transaction another server connection.
    """
    while True:
        await asyncio.sleep(_WATCH)
        await _look(owner_url)


async def _look(owner_url: str) -> None:
    """Look once. If PostgreSQL cannot be reached, that decides nothing.

    Raises:
        PooledError: a pooler gives each transaction another server connection.
    """
    try:
        (await address.connect(owner_url, timeout=_LOOK)).terminate()
    except PooledError:
        raise
    except (*AWAY, asyncpg.PostgresError):
        pass


def _upkeep(pool: asyncpg.Pool, carrier: Transport, config: Settings) -> Upkeep:
    """Put together the periodic work."""
    return Upkeep(
        pool,
        carrier,
        interval=config.heartbeat_interval,
        silent_after=config.heartbeat_timeout,
        republish_after=config.republish_after,
        retention_days=config.retention_days,
        watchdog=config.watchdog_timeout,
        delivery_timeout=config.delivery_timeout,
    )


@asynccontextmanager
async def _login(config: Settings) -> AsyncIterator[Database | None]:
    """Yield the API's login, through which tasks run in tenants; None if there is no address of it."""
    if config.database_url is None:
        yield None
        return
    database = await Database.connect(
        config.database_url, size=MOST_AT_ONCE, acquire_timeout=config.acquire_timeout
    )
    try:
        yield database
    finally:
        await database.close()


def _consumer(pool: asyncpg.Pool, owner_url: str, config: Settings, database: Database | None) -> Deliveries:
    """Put together what handles the commands."""
    chain = lineage("tenant", config.alembic_config)
    upgrades = Upgrades(chain, Online(owner_url, chain, lock_timeout=config.migration_lock_timeout))
    session = partial(address.connect, owner_url, server_settings=SESSION)
    policy = Policy(
        attempts=config.attempt_limit,
        retry_base=config.retry_base,
        retry_cap=config.retry_cap,
        lock_timeout=config.migration_lock_timeout,
        newer_release_delay=config.newer_release_delay,
    )
    handlers = by_type(
        SignupHandler(),
        ProvisionHandler(chain),
        MigrateHandler(upgrades),
        WaveHandler(session, upgrades, Tasks(database), lock_timeout=config.migration_lock_timeout),
    )
    return Deliveries(pool, handlers, policy, lineage("shared", config.alembic_config))


async def _serve(
    parts: tuple[Coroutine[Any, Any, None], ...],
    carrier: Transport,
    relay: Relay,
    upkeep: Upkeep,
    stop: asyncio.Event,
    grace: float,
) -> None:
    """Run the parts until ``stop`` is set or one of them fails.

    When stopped, wait up to ``grace`` seconds for the commands in hand; then cancel the rest, which gives its
    attempts back.

    Raises:
        Exception: the error of the part that failed.
    """
    tasks = [asyncio.create_task(part) for part in parts]
    stopped = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
        if stopped not in done:
            done.pop().result()  # a part that ends by itself has failed: end the process, to be restarted
            return
        log.info("stopping", in_hand=carrier.in_hand)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await carrier.stop_receiving()
                await carrier.drained()
                await relay.stop()
                await upkeep.stop()
    finally:
        with suppress(TimeoutError):
            async with asyncio.timeout(_ABANDON):
                await carrier.abandon()
                await relay.stop()
        for task in (*tasks, stopped):
            task.cancel()
        await asyncio.gather(*tasks, stopped, return_exceptions=True)


async def _main(config: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(config, stop)


def main() -> int:
    """Run the process. Return 0 if it was stopped, or 2 if a setting is invalid or PostgreSQL is unfit."""
    try:
        config = settings.load()
        config.require("owner_database_url")
        if config.amqp_url is not None:
            config.require("amqp_url")
    except SettingsError as error:
        print(f"provisioner: {error}", file=sys.stderr)  # noqa: T201 - there is no log yet
        return 2
    logs.configure(config.log_format, config.log_level)
    garbage.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(config))
    except (version.UnsupportedServerError, extensions.ExtensionError, LineageError) as error:
        log.error("refused to start", error=str(error))
        return 2
    except (AddressError, PooledError) as error:
        log.error("no connection to work with", error=f"OWNER_DATABASE_URL: {error}")
        return 2
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        log.error("cannot log in", error=f"OWNER_DATABASE_URL: {in_words(error)}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
