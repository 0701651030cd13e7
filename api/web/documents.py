"""The OpenAPI document: adds to Litestar's own the token and the problems of each operation."""

import dataclasses
from collections.abc import Callable, Iterable
from datetime import time
from typing import Any, Final

from litestar import Litestar, Router, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import ScalarRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPI,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.base import BaseSchemaObject
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType
from litestar.params import FromPath
from litestar.plugins import OpenAPISchemaPlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.typing import FieldDefinition

from api.gate.caller import ApiRequest
from api.gate.rules import OPT, Rule, public
from api.web import problems
from api.web.problems import KINDS, ProblemType
from db.errors import ProblemError

_SCHEMA_NAME: Final = "ProblemDetails"
_METHODS: Final = ("get", "post", "put", "patch", "delete")

_ALWAYS: Final = ("validation", "malformed", "internal", "unavailable", "overloaded", "deadline")
_BY_RULE: Final[dict[str, tuple[str, ...]]] = {
    "public": (),
    "signup": ("unauthenticated", "forbidden", "signup-closed", "too-many-requests"),
    "operator": ("unauthenticated", "forbidden"),
    "tenant-or-operator": (
        "unauthenticated",
        "forbidden",
        "tenant-forbidden",
        "not-found",
        "too-many-requests",
    ),
    "user": (
        "unauthenticated",
        "forbidden",
        "tenant-ambiguous",
        "tenant-forbidden",
        "tenant-suspended",
        "tenant-not-ready",
        "tenant-out-of-range",
        "too-many-requests",
    ),
    "tenant": (
        "unauthenticated",
        "forbidden",
        "too-many-requests",
        "tenant-required",
        "tenant-ambiguous",
        "tenant-forbidden",
        "tenant-suspended",
        "tenant-not-ready",
        "tenant-out-of-range",
    ),
}
_FIELD_TYPES: Final[dict[Any, Callable[[], Schema]]] = {
    time: lambda: Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.TIME),
    bytes: lambda: Schema(type=OpenAPIType.STRING, content_encoding="base64"),
}
_READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_WITH_BODY: Final = ("body-too-large", "unsupported-media-type")


def config(version: str) -> OpenAPIConfig:
    """Return the settings of the document and its viewers: Scalar at ``/schema``, Swagger next to it."""
    return OpenAPIConfig(
        title="Tenantry",
        version=version,
        description="Tenants with a PostgreSQL schema each, provisioned by messages.",
        openapi_router=Router(
            "/schema",
            route_handlers=[],
            opt=public(),
            include_in_schema=False,
            before_request=_complete,
        ),
        render_plugins=[ScalarRenderPlugin(path="/scalar"), SwaggerRenderPlugin(path="/swagger")],
        components=Components(
            security_schemes={"token": SecurityScheme(type="http", scheme="bearer")},
        ),
    )


@get("/problems/{name:str}", opt=public(), summary="What a problem type means", tags=("Problems",))
async def describe_problem(name: FromPath[str]) -> ProblemType:
    """Describe a problem type. The ``type`` of every error answer is an address of this route."""
    kind = KINDS.get(name)
    if kind is None:
        raise ProblemError("not-found")
    return kind


class FieldTypes(OpenAPISchemaPlugin):
    """Describes the field types that Litestar describes otherwise than msgspec writes them."""

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Return True for a time of day and for bytes."""
        return field_definition.annotation in _FIELD_TYPES

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """Return the schema of the field's type."""
        _ = schema_creator
        return _FIELD_TYPES[field_definition.annotation]()


class DocumentedApp(Litestar):
    """An application whose document says of every operation which problems and token belong to it."""

    @property
    def openapi_schema(self) -> OpenAPI:
        """The document. It is made when first asked for: that takes as long as all else of the start."""
        openapi = super().openapi_schema
        if _SCHEMA_NAME not in openapi.components.schemas:
            openapi.components.schemas[_SCHEMA_NAME] = _schema()
            _document_all(openapi, self.routes)
            _port_patterns(openapi)
        return openapi


def _complete(request: ApiRequest) -> None:
    """Complete the document before a viewer reads it: viewers ask Litestar's plugin, not the application."""
    _ = request.app.openapi_schema


def _port_patterns(part: Any) -> None:
    r"""Write ``\A`` and ``\Z`` as ``^`` and ``$``: in JSON Schema's expressions these match at the very ends."""
    if isinstance(part, Schema) and part.pattern:
        part.pattern = part.pattern.replace("\\A", "^").replace("\\Z", "$")
    if isinstance(part, BaseSchemaObject):
        part = [getattr(part, field.name) for field in dataclasses.fields(part)]
    if isinstance(part, dict):
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            _port_patterns(each)


def _document_all(openapi: OpenAPI, routes: Iterable[BaseRoute]) -> None:
    for route in routes:
        if not isinstance(route, HTTPRoute):
            continue
        item = (openapi.paths or {}).get(route.path_format or "/")
        if item is None:
            continue
        for handler, _ in route.route_handler_map.values():
            for method in _METHODS:
                operation: Operation | None = getattr(item, method)
                if operation is not None and method.upper() in handler.http_methods:
                    _document(operation, handler)


def _document(operation: Operation, handler: HTTPRouteHandler) -> None:
    rule = handler.opt.get(OPT)
    if not isinstance(rule, Rule):
        return
    names = [*_ALWAYS, *_BY_RULE[rule.who], *handler.opt.get("problems", ())]
    if operation.request_body is not None:
        names += _WITH_BODY
        body = handler.parsed_data_field
        if isinstance(operation.request_body, RequestBody) and body is not None:
            operation.request_body.required = not body.is_optional
    if rule.who == "tenant" and not handler.http_methods <= _READS:
        names.append("conflict")
    if any("{" in path for path in handler.paths):
        names.append("not-found")
    if rule.who not in {"public", "signup"}:
        operation.security = [{"token": []}]
    by_status: dict[int, list[ProblemType]] = {}
    for name in dict.fromkeys(names):
        by_status.setdefault(KINDS[name].status, []).append(KINDS[name])
    responses = operation.responses = dict(operation.responses or {})
    for status, kinds in sorted(by_status.items()):
        responses[str(status)] = OpenAPIResponse(
            description="; ".join(f"`{kind.type}`: {kind.detail}" for kind in kinds),
            content={
                problems.MEDIA_TYPE: OpenAPIMediaType(
                    schema=Reference(f"#/components/schemas/{_SCHEMA_NAME}")
                )
            },
        )


def _schema() -> Schema:
    """Return the schema of `problems.ProblemDetails`. No handler returns it, so Litestar generates none."""
    text, number = Schema(type=OpenAPIType.STRING), Schema(type=OpenAPIType.INTEGER)
    wrong = Schema(
        type=OpenAPIType.OBJECT, properties={"field": text, "message": text}, required=["field", "message"]
    )
    members = {
        "type": text,
        "title": text,
        "status": number,
        "detail": text,
        "instance": text,
        "request_id": text,
    }
    return Schema(
        title=_SCHEMA_NAME,
        description="An error answer (RFC 9457).",
        type=OpenAPIType.OBJECT,
        properties={**members, "constraint": text, "errors": Schema(type=OpenAPIType.ARRAY, items=wrong)},
        required=list(members),
    )
