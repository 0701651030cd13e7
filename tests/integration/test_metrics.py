"""Metrics: what Prometheus reads from the API and from a provisioner."""

import socket

import asyncpg
import httpx
import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from db.settings import Settings
from tests.isolation import settle
from tests.support import (
    Client,
    Service,
    Tenant,
    eventually,
    provisioning,
    requested,
    serving,
    sign_up,
)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Parse a scrape into values by name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0)


async def scraped(api: Client) -> Samples:
    answer = await api.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return samples(answer.text)


async def test_requests_are_counted_by_route_template_and_status(api: Client, tenant: Tenant) -> None:
    before = await scraped(api)
    for user_id in (1, 2, 3):
        await api.get(f"/users/{user_id}", headers=tenant.headers)
    await api.get("/users/1")
    after = await scraped(api)

    def counted(status: str) -> float:
        labels = {"method": "GET", "route": "/users/{user_id}", "status": status}
        name = "tenantry_http_requests_total"
        return value(after, name, **labels) - value(before, name, **labels)

    assert (counted("404"), counted("401")) == (3, 1)
    measured = {"method": "GET", "route": "/users/{user_id}"}
    name = "tenantry_http_request_duration_seconds_count"
    assert value(after, name, **measured) - value(before, name, **measured) == 4


async def test_made_up_addresses_are_one_series(api: Client) -> None:
    before = await scraped(api)
    for number in range(5):
        await api.get(f"/nowhere/{number}")
    after = await scraped(api)
    labels = {"method": "", "route": "none", "status": "404"}
    name = "tenantry_http_requests_total"
    assert value(after, name, **labels) - value(before, name, **labels) == 5
    assert not any("nowhere" in str(key) for key in after)


async def test_backlog_parked_messages_and_tenants_are_told_at_the_scrape(
    api: Client, config: Settings, owner: asyncpg.Connection
) -> None:
    for number in range(3):
        await requested(api, f"shop{number}")
    await settle(owner, config, ["served", "newer"])
    await owner.execute(
        "UPDATE shared.tenants SET revision = 'ffffffffffff', compatible_from = NULL WHERE slug = 'newer'"
    )
    await owner.execute("UPDATE shared.messages SET created_at = now() - interval '1 hour'")
    await owner.execute(
        "UPDATE shared.messages SET status = 'parked', error_class = 'DiskFullError'"
        " WHERE id = (SELECT min(id::text)::uuid FROM shared.messages WHERE kind = 'command')"
    )
    found = await scraped(api)
    assert value(found, "tenantry_postgres_up") == 1
    assert value(found, "tenantry_messages", kind="command", status="pending") == 2
    assert value(found, "tenantry_messages", kind="command", status="parked") == 1
    assert value(found, "tenantry_messages", kind="event", status="pending") == 3
    assert value(found, "tenantry_parked_messages", error_class="DiskFullError") == 1
    assert value(found, "tenantry_tenants", status="pending") == 3
    assert value(found, "tenantry_tenants", status="active") == 2
    assert value(found, "tenantry_tenants_out_of_range") == 1
    for waits_to_be in ("published", "handled"):
        age = value(found, "tenantry_oldest_message_age_seconds", waits_to_be=waits_to_be)
        assert 3600 <= age < 3700
    assert value(found, "tenantry_provisioners_paused") == 0


async def test_a_scrape_tells_that_postgresql_is_away_within_its_bound(
    config: Settings, superuser: asyncpg.Connection
) -> None:
    async with serving(replace(config, ready_timeout=0.5, pool_size=1)) as api:
        assert value(await scraped(api), "tenantry_postgres_up") == 1
        await superuser.execute("BEGIN; LOCK TABLE shared.messages")

        async def told() -> bool:
            found = await scraped(api)
            return ("tenantry_postgres_up", frozenset()) in found and not value(found, "tenantry_postgres_up")

        await eventually(told, within=10, what="the scrape without PostgreSQL")
        await superuser.execute("ROLLBACK")


@pytest.fixture
def port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def read(port: int) -> Samples:
    async with httpx.AsyncClient() as client:
        return samples((await client.get(f"http://127.0.0.1:{port}/metrics")).text)


async def test_a_provisioner_tells_attempts_handling_times_and_wake_ups(
    api: Client, config: Settings, port: int
) -> None:
    async with provisioning(replace(config, metrics_port=port)):
        await sign_up(api, "first")
        before = await read(port)
        await sign_up(api, "second")
        after = await read(port)

    def more(name: str, **labels: str) -> float:
        return value(after, name, **labels) - value(before, name, **labels)

    assert more("tenantry_attempts_total", type="tenant.provision", outcome="done") == 1
    assert more("tenantry_handling_seconds_count", type="tenant.provision") == 1
    assert more("tenantry_relay_wake_ups_total", source="notify") >= 1
    assert value(after, "tenantry_in_hand") == 0
    with pytest.raises(httpx.ConnectError):
        await read(port)  # it stops with the provisioner


@pytest.mark.rabbitmq
async def test_a_provisioner_tells_how_long_the_broker_takes_to_confirm(
    rabbit_config: Settings, port: int
) -> None:
    async with serving(rabbit_config) as api, provisioning(replace(rabbit_config, metrics_port=port)):
        await sign_up(api, "bakery")
        found = await read(port)
    assert value(found, "tenantry_publish_confirm_seconds_count") >= 2
    assert ("tenantry_publish_failures_total", frozenset({("why", "returned")})) in found


async def test_without_a_port_a_provisioner_serves_no_metrics(provisioner: Service, port: int) -> None:
    with pytest.raises(httpx.ConnectError):
        await read(port)
