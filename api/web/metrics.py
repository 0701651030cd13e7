"""``/metrics``: figures in Prometheus's text format, on this process's requests and on the whole system.

The figures on the system are read from PostgreSQL at the scrape. The route is public like ``/health`` and shows
numbers only; the proxy should hide it from the outside. Requests are counted per process: with more than one
worker, set ``PROMETHEUS_MULTIPROC_DIR`` to an empty directory, and any worker answers for all of them
(prometheus-client, multiprocess mode).
"""

import asyncio
import os
import time
from collections.abc import Iterable
from functools import cache
from typing import Any, Final, cast

import asyncpg
from litestar import Response, get
from litestar.types import HTTPScope, Scope
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from api.gate.caller import ApiRequest
from api.gate.rules import public
from api.gate.serving import count_out_of_range
from db.control import standing
from db.control.standing import Standing
from db.migrations.lineage import Lineage
from db.models.shared import STATUSES
from db.session.failures import UnavailableError
from db.session.tenancy import Database
from db.settings import Settings

REQUESTS: Final = Counter(
    "tenantry_http_requests", "Requests answered, by route template.", ["method", "route", "status"]
)
SECONDS: Final = Histogram(
    "tenantry_http_request_duration_seconds",
    "Seconds until an answer began.",
    ["method", "route"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

_FRESH: Final = 1.0
"""Seconds for which PostgreSQL's figures are kept, so that scrapes read them at most once per second."""


def count(status: int, scope: Scope, *, seconds: float) -> None:
    """Count an answer: refusals and unknown addresses too.

    Args:
        status: the answer's.
        scope: the request's.
        seconds: how long it took until the answer began.
    """
    if "route_handler" not in cast("dict[str, Any]", scope):
        _answered("", "none", status).inc()  # one series for all unknown addresses
        return
    method, route = cast("HTTPScope", scope)["method"], scope["path_template"] or "/"
    _answered(method, route, status).inc()
    _took(method, route).observe(seconds)


@cache
def _answered(method: str, route: str, status: int) -> Counter:
    return REQUESTS.labels(method, route, status)


@cache
def _took(method: str, route: str) -> Histogram:
    return SECONDS.labels(method, route)


class Figures(Collector):
    """The collector of the figures that are read from PostgreSQL, at most once per second.

    Args:
        database: the API's connections.
        settings: `ready_timeout` bounds a read; `heartbeat_timeout` says how old a heartbeat may be.
        lineage: the tenant lineage that this release knows.
    """

    def __init__(self, database: Database, settings: Settings, lineage: Lineage) -> None:
        self._database = database
        self._lineage = lineage
        self._settings = settings
        self._lock = asyncio.Lock()
        self._read_at = 0.0
        self._found: Standing | None = None

    async def refresh(self) -> None:
        """Read the figures again if they are older than a second. If PostgreSQL is down, there are none."""
        async with self._lock:
            if time.monotonic() - self._read_at < _FRESH:
                return
            silent_after = self._settings.heartbeat_timeout
            try:
                async with (
                    asyncio.timeout(self._settings.ready_timeout),
                    self._database.shared() as connection,
                ):
                    self._found = await standing.get(connection, silent_after=silent_after)
            except (UnavailableError, TimeoutError, asyncpg.PostgresError, OSError):
                self._found = None
            self._read_at = time.monotonic()

    def collect(self) -> Iterable[Metric]:
        found = self._found
        yield GaugeMetricFamily(
            "tenantry_postgres_up", "Whether PostgreSQL told its figures.", value=int(found is not None)
        )
        if found is None:
            return
        age = GaugeMetricFamily(
            "tenantry_oldest_message_age_seconds",
            "How long the oldest message has waited to be published, and the oldest command to be handled.",
            labels=["waits_to_be"],
        )
        age.add_metric(["published"], found.backlog.unpublished)
        age.add_metric(["handled"], found.backlog.unhandled)
        yield age
        backlog = GaugeMetricFamily(
            "tenantry_messages", "Open and parked messages.", labels=["kind", "status"]
        )
        for kind, status in _BACKLOG:
            backlog.add_metric([kind, status], found.backlog.counts.get((kind, status), 0))
        yield backlog
        parked = GaugeMetricFamily(
            "tenantry_parked_messages", "Parked messages by error class.", labels=["error_class"]
        )
        for error_class, number in found.backlog.parked.items():
            parked.add_metric([error_class], number)
        yield parked
        tenants = GaugeMetricFamily("tenantry_tenants", "Tenants by status.", labels=["status"])
        for status in STATUSES:
            tenants.add_metric([status], found.tenants.get(status, 0))
        yield tenants
        yield GaugeMetricFamily(
            "tenantry_tenants_out_of_range",
            "Active tenants whose revisions this release does not serve.",
            value=count_out_of_range(self._lineage, found.revisions),
        )
        yield GaugeMetricFamily("tenantry_provisioners", "Provisioners heard.", value=found.provisioners)
        yield GaugeMetricFamily(
            "tenantry_provisioners_paused", "Whether operators paused them.", value=int(found.paused)
        )


_BACKLOG: Final = (
    ("command", "pending"),
    ("command", "published"),
    ("command", "parked"),
    ("event", "pending"),
)


@get("/metrics", opt=public(), media_type="text/plain", summary="Figures for Prometheus", tags=("Health",))
async def metrics(request: ApiRequest) -> Response[bytes]:
    """Return figures on requests, the backlog, parked messages, tenants and provisioners."""
    figures: Figures = request.app.state.figures
    await figures.refresh()
    text = generate_latest(_counter()) + generate_latest(_alone(figures))
    return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


def _counter() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


def _alone(collector: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(collector)
    return registry
