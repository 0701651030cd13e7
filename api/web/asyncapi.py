"""``/schema/asyncapi.json``: an AsyncAPI 3 document of all messages, generated from their contracts."""

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Final, Literal

import msgspec
from litestar import Response, get

from api.gate.rules import public
from db.ledger import exchanges
from db.ledger.contracts import COMMANDS, EVENTS, Data, Signup
from db.ledger.envelope import SOURCE, CloudEvent, SignupEvent

_CONTENT_TYPE: Final = "application/cloudevents+json"
_REF: Final = "#/components/schemas/{name}"

Action = Literal["send", "receive"]


@get("/schema/asyncapi.json", opt=public(), summary="Messages, as AsyncAPI 3", include_in_schema=False)
async def asyncapi() -> Response[dict[str, Any]]:
    """Describe every message that Tenantry sends or receives."""
    return Response(document(), media_type="application/json")


@cache
def document() -> dict[str, Any]:
    """Return the AsyncAPI document."""
    internal = [data for type_, data in COMMANDS.items() if type_ != Signup.type]
    types: list[type[msgspec.Struct]] = [*COMMANDS.values(), *EVENTS.values()]
    _, schemas = msgspec.json.schema_components([CloudEvent, SignupEvent, *types], ref_template=_REF)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tenantry",
            "version": version("tenantry"),
            "description": (
                "CloudEvents 1.0 in JSON over AMQP 0-9-1. Delivery is at least once: a repeat has the same id."
                " Bind a queue of your own, named `signup.` and what you like, to the topic exchange for events; their"
                " routing key is their type."
            ),
        },
        "defaultContentType": _CONTENT_TYPE,
        "channels": {
            "signup": _channel(exchanges.SIGNUP_KEY, exchanges.SIGNUP, "direct", [Signup]),
            "commands": _channel(exchanges.COMMANDS_KEY, exchanges.COMMANDS, "direct", internal),
            **{type_: _channel(type_, exchanges.EVENTS, "topic", [data]) for type_, data in EVENTS.items()},
        },
        "operations": {
            "signUp": _operation("receive", "signup", "A flow outside signs a tenant up."),
            "handleCommands": _operation("receive", "commands", "Between Tenantry's own processes."),
            **{f"tell.{type_}": _operation("send", type_, _summary(data)) for type_, data in EVENTS.items()},
        },
        "components": {
            "messages": {data.type: _message(data) for data in [*COMMANDS.values(), *EVENTS.values()]},
            "schemas": schemas,
        },
    }


def _channel(key: str, exchange: str, kind: str, carried: Sequence[type[Data]]) -> dict[str, Any]:
    return {
        "address": key,
        "messages": {data.type: {"$ref": f"#/components/messages/{data.type}"} for data in carried},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {"name": exchange, "type": kind, "durable": True, "autoDelete": False},
                "bindingVersion": "0.3.0",
            }
        },
    }


def _operation(action: Action, channel: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}


def _message(data: type[Data]) -> dict[str, Any]:
    payload: dict[str, Any]
    if data is Signup:
        payload = {"$ref": _REF.format(name=SignupEvent.__name__)}
    else:
        ours = {
            "source": {"const": SOURCE},
            "type": {"const": data.type},
            "data": {"$ref": _REF.format(name=data.__name__)},
        }
        envelope = {"$ref": _REF.format(name=CloudEvent.__name__)}
        payload = {"allOf": [envelope, {"type": "object", "properties": ours, "required": ["data"]}]}
    return {
        "name": data.type,
        "title": data.type,
        "summary": _summary(data),
        "contentType": _CONTENT_TYPE,
        "payload": payload,
    }


def _summary(data: type[Data]) -> str:
    return (data.__doc__ or "").strip().splitlines()[0]
