"""Messages that operators edit: a new message takes the place of the old one."""

import json
from typing import Any

import asyncpg
import pytest

from db.settings import Settings
from db.tenants import tokens
from tests.messages import WHY, healed, parked
from tests.support import Client, Tenant, becomes, problem, requested


async def test_an_edited_message_is_a_new_one_caused_by_the_old_which_is_archived(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, failed: Tenant
) -> None:
    old = (await api.get(f"/cc/messages/{await parked(api, as_operator)}", headers=as_operator)).json()
    await healed(owner, failed.slug)
    answer = await api.post(
        f"/cc/messages/{old['id']}/edit", headers=as_operator, json={"payload": old["payload"], **WHY}
    )
    assert answer.status_code == 200, answer.text
    new = answer.json()
    assert new["id"] != old["id"]
    assert new["caused_by"] == old["id"]
    assert new["payload"]["data"] == old["payload"]["data"]
    assert new["payload"]["id"] == new["id"]
    archived = (await api.get(f"/cc/messages/{old['id']}", headers=as_operator)).json()
    assert archived["status"] == "archived"
    assert ("effect", new["id"]) in {(step["what"], step["id"]) for step in archived["timeline"]}
    await becomes(api, failed, "active")


async def test_an_edit_is_one_audit_entry_that_both_messages_show(
    api: Client, as_operator: dict[str, str], owner: asyncpg.Connection, failed: Tenant
) -> None:
    old = await parked(api, as_operator)
    other = await requested(api, "florist")
    made = await api.post(
        f"/cc/messages/{old}/edit", headers=as_operator, json={"payload": {"tenant_id": other.id}, **WHY}
    )
    new = made.json()["id"]
    (entry,) = await owner.fetch("SELECT * FROM shared.audit_log WHERE action LIKE 'message.%'")
    assert (entry["action"], str(entry["tenant_id"])) == ("message.edit", failed.id)
    assert json.loads(entry["detail"]) == {
        "message_id": old,
        "successor_id": new,
        "successor_tenant_id": other.id,
        **WHY,
    }
    await api.post(f"/cc/messages/{old}/restore", headers=as_operator, json=WHY)
    for message_id, acts in ((old, ["message.edit", "message.restore"]), (new, ["message.edit"])):
        seen = (await api.get(f"/cc/messages/{message_id}", headers=as_operator)).json()["timeline"]
        assert [step["name"] for step in seen if step["what"] == "audit"] == acts


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"tenant_id": "nobody"},
        {"tenant_id": "00000000-0000-7000-8000-000000000000"},
        {"tenant_id": "00000000-0000-7000-8000-000000000000", "plan": "gold"},
        {"specversion": "1.0", "type": "tenant.migrate", "data": {}},
    ],
)
async def test_an_edit_that_does_not_fit_the_contract_is_refused(
    api: Client, as_operator: dict[str, str], failed: Tenant, payload: dict[str, Any]
) -> None:
    message_id = await parked(api, as_operator)
    answer = await api.post(
        f"/cc/messages/{message_id}/edit", headers=as_operator, json={"payload": payload, **WHY}
    )
    body = problem(answer, 400, "validation")
    assert body["errors"][0]["field"] == "payload"
    assert await parked(api, as_operator) == message_id


async def test_editing_asks_for_a_permission_of_its_own(
    api: Client, config: Settings, owner: asyncpg.Connection, failed: Tenant
) -> None:
    narrow = tokens.mint("operator")
    await tokens.store(owner, narrow, name="narrow", scopes=["messages:read"])
    wide = tokens.mint("operator")
    await tokens.store(owner, wide, name="wide", scopes=["messages:edit"])
    message_id = await parked(api, {"authorization": f"Bearer {narrow.text}"})
    edit = {"payload": {"tenant_id": failed.id}, **WHY}
    refused = await api.post(
        f"/cc/messages/{message_id}/edit", headers={"authorization": f"Bearer {narrow.text}"}, json=edit
    )
    problem(refused, 403, "forbidden")
    allowed = await api.post(
        f"/cc/messages/{message_id}/edit", headers={"authorization": f"Bearer {wide.text}"}, json=edit
    )
    assert allowed.status_code == 200
