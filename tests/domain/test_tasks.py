"""The example's task: to-dos that are overdue are finished, batch by batch, in every tenant."""

import asyncpg
import pytest

from db import domain
from db.settings import Settings
from tests.rollouts import Fleet
from tests.support import Client, Service, problem, sign_up


async def test_what_is_overdue_is_finished_in_every_tenant(
    api: Client,
    config: Settings,
    provisioner: Service,
    owner: asyncpg.Connection,
    as_operator: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(domain, "_BATCH", 2)
    tenants = [await sign_up(api, slug) for slug in ("bakery", "florist")]
    for tenant in tenants:
        for due_at in (*["2026-01-01T00:00:00Z"] * 5, "2026-12-31T00:00:00Z", None):
            made = await api.post(
                "/todos",
                headers=tenant.headers,
                json={"title": "Bake", **({"due_at": due_at} if due_at else {})},
            )
            assert made.status_code == 201, made.text
    fleet = Fleet(api, as_operator)
    rollout_id = await fleet.begins(task="finish_overdue", arguments={"before": "2026-06-01T00:00:00Z"})
    assert (await fleet.becomes(rollout_id, "finished"))["tenants"]["done"] == 2
    for tenant in tenants:
        items = (await api.get("/todos", headers=tenant.headers)).json()["items"]
        assert [each["done"] for each in items].count(True) == 5
        assert {each["due_at"] for each in items if each["done"]} == {"2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    "arguments", [{}, {"before": "yesterday"}, {"before": 7}, {"before": "2026-01-01T00:00:00"}]
)
async def test_a_time_that_is_none_halts_it_at_the_canary(
    api: Client, provisioner: Service, as_operator: dict[str, str], arguments: dict[str, object]
) -> None:
    await sign_up(api, "bakery")
    fleet = Fleet(api, as_operator)
    await fleet.becomes(await fleet.begins(task="finish_overdue", arguments=arguments), "halted")
    (failed,) = await fleet.tenants((await _newest(api, as_operator)), "failed")
    assert failed["error_class"] == "InvalidValueError"
    problem(await fleet.asks(task="finish_overdue"), 409, "state-conflict")


async def _newest(api: Client, as_operator: dict[str, str]) -> str:
    listed = await api.get("/cc/rollouts", headers=as_operator, params={"limit": 1})
    return str(listed.json()["items"][0]["id"])
