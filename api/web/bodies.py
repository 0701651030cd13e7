"""Bodies: what a request's body may be before any type is asked of it."""

from typing import Any

from litestar import Request
from litestar.exceptions import ClientException


class BodyRequest(Request[Any, Any, Any]):
    """A request whose body may be any bytes at all: what cannot be decoded is the client's fault."""

    async def json(self) -> Any:
        """Return the body, decoded.

        Raises:
            ClientException: it is not UTF-8, or is nested deeper than any body that a route takes.
        """
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError):
            raise ClientException("this is not JSON") from None
