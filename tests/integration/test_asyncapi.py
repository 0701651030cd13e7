"""The AsyncAPI document: whole, and true of the messages that are sent."""

from collections.abc import Iterator
from typing import Any

import asyncpg
import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]

from db.ledger.contracts import COMMANDS, EVENTS
from db.settings import PROJECT
from tests.support import Client, Tenant


@pytest.fixture
async def document(api: Client) -> dict[str, Any]:
    answer = await api.get("/schema/asyncapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    read: dict[str, Any] = answer.json()
    return read


def references(node: Any) -> Iterator[str]:
    """Walk a document's references."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def at(document: dict[str, Any], reference: str) -> Any:
    found: Any = document
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found[step]
    return found


def validator(document: dict[str, Any], type_: str) -> Draft202012Validator:
    payload = document["components"]["messages"][type_]["payload"]
    return Draft202012Validator({**payload, "components": document["components"]})


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    """The official schema, which `make test` has fetched."""
    folder = PROJECT / ".cache" / "asyncapi" / "node_modules" / "@asyncapi" / "specs" / "schemas"
    return Draft7Validator(msgspec.json.decode((folder / "3.0.0-without-$id.json").read_bytes()))


async def test_it_keeps_to_the_official_schema(document: dict[str, Any], official: Draft7Validator) -> None:
    official.validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("asyncapi",), "2.6.0"),
        (("channels", "signup", "adress"), "tenantry.signup"),
        (("channels", "signup", "bindings", "amqp", "is"), "pigeon"),
        (("operations", "signUp", "action"), "get"),
        (("components", "schemas", "Signup", "type"), "tenant"),
    ],
)
async def test_the_official_schema_would_find_a_mistake(
    document: dict[str, Any], official: Draft7Validator, path: tuple[str, ...], value: str
) -> None:
    *above, name = path
    at(document, "#/" + "/".join(above) if above else "")[name] = value
    assert not official.is_valid(document)


async def test_it_is_an_asyncapi_3_document_without_loose_ends(document: dict[str, Any]) -> None:
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(document["info"])
    for reference in references(document):
        assert at(document, reference), reference
    for channel in document["channels"].values():
        assert channel["address"]
        assert channel["messages"]
        assert channel["bindings"]["amqp"]["exchange"]["name"].startswith("tenantry.")
    for operation in document["operations"].values():
        assert operation["action"] in {"send", "receive"}
        assert operation["channel"]["$ref"].startswith("#/channels/")
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_it_has_every_message_and_tells_which_way_it_goes(document: dict[str, Any]) -> None:
    assert set(document["components"]["messages"]) == {*COMMANDS, *EVENTS}
    sent = {
        type_
        for operation in document["operations"].values()
        if operation["action"] == "send"
        for type_ in at(document, operation["channel"]["$ref"])["messages"]
    }
    assert sent == set(EVENTS)
    assert document["operations"]["signUp"]["action"] == "receive"


async def test_what_is_sent_is_what_it_says(
    document: dict[str, Any], tenant: Tenant, owner: asyncpg.Connection
) -> None:
    rows = await owner.fetch("SELECT type, payload FROM shared.messages")
    assert len(rows) == 3
    for row in rows:
        payload = msgspec.json.decode(row["payload"])
        validator(document, row["type"]).validate(payload)
        assert not validator(document, row["type"]).is_valid({**payload, "data": {"colour": "red"}})


async def test_a_signup_from_outside_is_told_exactly(document: dict[str, Any]) -> None:
    signup = validator(document, "tenant.signup")
    event = {"specversion": "1.0", "id": "1", "source": "shop", "type": "tenant.signup"}
    assert signup.is_valid({**event, "data": {"name": "Bakery", "admin_email": "a@example.com"}})
    assert signup.is_valid({**event, "traceparent": "00-1", "data": {"name": "Bakery"}})
    assert not signup.is_valid({**event, "data": {}})
    assert not signup.is_valid({**event, "data": {"name": "Bakery", "plan": "gold"}})
    assert not signup.is_valid({**event, "type": "tenant.provision", "data": {"name": "Bakery"}})
