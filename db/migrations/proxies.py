"""Alembic's proxies: `alembic.op` and `alembic.context`, pointed at the run in hand.

Each is one for the whole process, so only one run at a time may use them. A revision finds the same there on
every path: an online run, whatever is done with its statements, and none of a command's arguments.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import alembic.context
import alembic.op
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext

from db.errors import TenantryError


class ArgumentError(TenantryError):
    """A revision asks Alembic's environment for something that is not the same on every path."""


class _Environment:
    """What a revision sees of Alembic's environment."""

    def __init__(self, context: MigrationContext) -> None:
        self._context = context

    def get_context(self) -> MigrationContext:
        return self._context

    def get_bind(self) -> Any:
        return self._context.bind

    def is_offline_mode(self) -> bool:
        return False

    def __getattr__(self, name: str) -> NoReturn:
        raise ArgumentError(
            f"context.{name}: not the same on every path, so a revision must not depend on it"
        )


@contextmanager
def pointed_at(context: MigrationContext) -> Iterator[None]:
    """Point `alembic.op` and `alembic.context` at a context, and afterwards back at what they pointed at."""
    modules = vars(alembic.context)
    waiting, outer = getattr(alembic.op, "_proxy", None), modules.get("_proxy")
    modules["_proxy"] = _Environment(context)
    try:
        with Operations.context(context):
            yield
    finally:
        modules["_proxy"] = outer
        if waiting is not None:
            waiting._install_proxy()  # noqa: SLF001 - Alembic itself does not restore the previous proxy
