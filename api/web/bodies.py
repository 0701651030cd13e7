"""Bodies: checks and decodes request bodies before they are converted to a type."""

from collections.abc import AsyncGenerator
from typing import Any, Final

from litestar import Request
from litestar.exceptions import ClientException
from litestar.types import HTTPReceiveMessage

from db.errors import ProblemError

_JSON: Final = "application/json"


class BodyRequest(Request[Any, Any, Any]):
    """A request that answers 4xx, and not 500, if its body cannot be read or decoded."""

    async def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ProblemError: the body does not say that it is JSON, or is compressed.
            ClientException: the body is not UTF-8, or is nested too deeply.
        """
        self._check_media_type()
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError):
            raise ClientException("this is not JSON") from None

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Yield the parts of the body.

        Raises:
            ClientException: the client is gone before the body was complete. Nobody will read the answer.
        """
        told, self.receive = self.receive, self._receive_whole(self.receive)
        try:
            async for part in super().stream():
                yield part
        finally:
            self.receive = told

    @staticmethod
    def _receive_whole(receive: Any) -> Any:
        async def receive_or_refuse() -> HTTPReceiveMessage:
            message: HTTPReceiveMessage = await receive()
            if message["type"] == "http.disconnect":
                raise ClientException("the client is gone")
            return message

        return receive_or_refuse

    def _check_media_type(self) -> None:
        types = self.headers.getall("content-type", [])
        codings = self.headers.getall("content-encoding", [])
        plain = all(coding.strip().lower() in {"", "identity"} for coding in codings)
        if len(types) != 1 or types[0].partition(";")[0].strip().lower() != _JSON or not plain:
            raise ProblemError("unsupported-media-type")
