"""Bodies: decodes request bodies before they are converted to a type."""

from typing import Any

from litestar import Request
from litestar.exceptions import ClientException


class BodyRequest(Request[Any, Any, Any]):
    """A request that answers 400, and not 500, if its body cannot be decoded."""

    async def json(self) -> Any:
        """Return the decoded body.

        Raises:
            ClientException: the body is not UTF-8, or is nested too deeply.
        """
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError):
            raise ClientException("this is not JSON") from None
