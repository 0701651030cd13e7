"""Responses: what routes return, encoded once and sent as it is."""

from typing import Any, Final

import msgspec
from litestar import Litestar, Request, Response
from litestar.enums import MediaType
from litestar.serialization import default_serializer
from litestar.types import ASGIApp, Receive, Scope, Send

_TYPE: Final = (b"content-type", MediaType.JSON.encode())
_ENCODER: Final = msgspec.json.Encoder(enc_hook=default_serializer)
_NO_BODY: Final = frozenset({204, 304})


class JSONResponse(Response[Any]):
    """The application's response class: plain JSON takes a short way, everything else Litestar's own."""

    def to_asgi_response(self, app: Litestar | None, request: Request[Any, Any, Any], **options: Any) -> Any:
        """Return what sends the response; see `litestar.Response.to_asgi_response`."""
        plain = (
            self.media_type == MediaType.JSON
            and self.status_code is not None
            and self.status_code not in _NO_BODY
            and not (self.headers or self.cookies or self.background or any(options.values()))
            and not isinstance(self.content, bytes | str)
        )
        if not plain:
            return super().to_asgi_response(app, request, **options)
        return _sending(self.status_code or 200, _ENCODER.encode(self.content))


def _sending(status: int, body: bytes) -> ASGIApp:
    async def send_answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [_TYPE, length]})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return send_answer
