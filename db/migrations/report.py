"""Reports: what a command could not do in which schema, and the errors by which it ends."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import ClassVar

import asyncpg
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from db.errors import TenantryError
from db.migrations.schemas import Target

log = logging.getLogger(__name__)


class UnfinishedError(CommandError):
    """A command did its work in some schemas, and not in others.

    Attributes:
        exit_code: the exit code of the shell's command.
    """

    exit_code: ClassVar = 1


class StoppedError(UnfinishedError):
    """Somebody stopped the command, by Ctrl-C."""

    exit_code: ClassVar = 130


class Report:
    """What failed, by schema."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}
        self.done = 0

    @asynccontextmanager
    async def of(self, target: Target) -> AsyncIterator[None]:
        """Note the failure of a target's work, so that the other targets' work goes on."""
        try:
            yield
        except Exception as error:
            log.debug("%s failed", target.label, exc_info=error)
            self.failures[target.label] = words(error)
        self.done += 1

    def close(self, revisions: Mapping[str, str | None] | None = None) -> None:
        """Raise what failed.

        Args:
            revisions: what the schemas are at, if the report is to say it, by label.

        Raises:
            UnfinishedError: something did.
        """
        if not self.failures:
            return
        lines = self._lines(revisions)
        if self.done == 1:
            raise UnfinishedError(lines[0])
        listed = "\n  ".join(lines)
        raise UnfinishedError(f"{len(lines)} of {self.done} failed:\n  {listed}")

    def stopped(self, total: int) -> StoppedError:
        """Return the error of a command that was stopped after some of ``total`` schemas."""
        failed = "".join(f"\n  failed: {line}" for line in self._lines(None))
        return StoppedError(
            f"stopped after {self.done} of {total}; the others are as they were, and the same command goes on{failed}"
        )

    def _lines(self, revisions: Mapping[str, str | None] | None) -> list[str]:
        """Return a line for each failure: who, why, and at which revision it is."""
        return [
            f"{label}: {why}"
            + (f" (at {revisions[label] or 'base'})" if revisions and label in revisions else "")
            for label, why in sorted(self.failures.items())
        ]


def words(error: Exception) -> str:
    """Return what an error says, with its class where that is not one of ours or PostgreSQL's."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig.__cause__ or error.orig)
    if isinstance(error, CommandError | TenantryError | asyncpg.PostgresError):
        return str(error)
    return f"{type(error).__name__}: {error}"
