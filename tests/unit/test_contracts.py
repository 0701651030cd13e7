"""Contracts: CloudEvents 1.0, and a command's data or nothing."""

from uuid import uuid4

import msgspec
import pytest

from db.ledger import envelope
from db.ledger.contracts import COMMANDS, EVENTS, ContractError, Provision
from db.ledger.envelope import message


def test_a_payload_is_a_cloud_event() -> None:
    tenant_id, cause = uuid4(), uuid4()
    made = message(
        Provision(tenant_id=tenant_id),
        subject="bakery",
        tenant_id=tenant_id,
        tenant_version=3,
        caused_by=cause,
    )
    event = msgspec.json.decode(made.payload)
    assert event.pop("time").endswith("Z")
    assert event == {
        "specversion": "1.0",
        "id": str(made.id),
        "source": "tenantry",
        "type": "tenant.provision",
        "subject": "bakery",
        "tenantversion": 3,
        "causationid": str(cause),
        "data": {"tenant_id": str(tenant_id)},
    }
    assert made.id.version == 7


def test_a_command_is_read_back() -> None:
    data = Provision(tenant_id=uuid4())
    assert envelope.command("tenant.provision", message(data).payload) == data


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        ("tenant.unheard", "{}"),
        ("tenant.provision", ""),
        ("tenant.provision", "[]"),
        ("tenant.provision", '{"specversion": "1.0", "data": {}}'),
    ],
)
def test_anything_else_breaks_the_contract(type_: str, payload: str) -> None:
    with pytest.raises(ContractError):
        envelope.command(type_, payload)


def test_types_are_named_as_the_parts_of_the_system_know_them() -> None:
    assert set(COMMANDS) >= {"tenant.provision", "tenant.migrate"}
    assert set(EVENTS) >= {
        "tenant.requested",
        "tenant.provisioned",
        "tenant.provisioning_failed",
        "message.parked",
    }
    assert not set(COMMANDS) & set(EVENTS)
