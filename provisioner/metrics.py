"""The provisioner's figures for Prometheus, served on METRICS_PORT if it is set."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)

from provisioner.failures import BusyError, NewerReleaseError

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

CONFIRMED: Final = Histogram(
    "tenantry_publish_confirm_seconds",
    "Seconds from a publish to the broker's confirm.",
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
UNCONFIRMED: Final = Counter(
    "tenantry_publish_failures",
    "Publishes that the broker did not take: returned, nacked, timed out or cut off.",
    ["why"],
    registry=REGISTRY,
)
WAKE_UPS: Final = Counter(
    "tenantry_relay_wake_ups",
    "What made the relay look at the ledger: a notice, the time that had passed, or a full batch before.",
    ["source"],
    registry=REGISTRY,
)
ATTEMPTS: Final = Counter(
    "tenantry_attempts",
    "Attempts at commands, by how they ended: done, failed, busy (the tenant), left (to a newer release),"
    " cut_off (this process).",
    ["type", "outcome"],
    registry=REGISTRY,
)
HANDLING: Final = Histogram(
    "tenantry_handling_seconds",
    "Seconds that an attempt at a command took.",
    ["type"],
    registry=REGISTRY,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
)
IN_HAND: Final = Gauge("tenantry_in_hand", "Commands received and not settled yet.", registry=REGISTRY)

for why in ("returned", "nacked", "timed_out", "connection_lost"):
    UNCONFIRMED.labels(why)
for source in ("notify", "poll", "batch"):
    WAKE_UPS.labels(source)


@contextmanager
def attempt(type_: str) -> Iterator[None]:
    """Count and time an attempt at a command, however it ends.

    Args:
        type_: the command's type.
    """
    started = time.perf_counter()
    outcome = "done"
    try:
        yield
    except BusyError:
        outcome = "busy"
        raise
    except NewerReleaseError:
        outcome = "left"
        raise
    except asyncio.CancelledError:
        outcome = "cut_off"
        raise
    except BaseException:
        outcome = "failed"
        raise
    finally:
        ATTEMPTS.labels(type_, outcome).inc()
        HANDLING.labels(type_).observe(time.perf_counter() - started)


@contextmanager
def served(port: int | None) -> Iterator[None]:
    """Serve the figures on ``port`` in a separate thread; do not serve them if ``port`` is None."""
    if port is None:
        yield
        return
    server, thread = start_http_server(port, registry=REGISTRY)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
