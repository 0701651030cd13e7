"""Tasks: the functions of the domain that a rollout can run in tenants."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from db import domain
from db.session.transaction import TenantTransaction

Task = Callable[[TenantTransaction, dict[str, Any]], Awaitable[bool | None]]
"""Works in a tenant's schema, with the rollout's arguments, and returns whether it is to be called once more.

Each call is a transaction.
"""

TASKS: Final[dict[str, Task]] = getattr(domain, "TASKS", {})
"""By the names under which operators roll them out."""
