"""Moves: an upgrade or downgrade of one schema or of all, several at a time if that is asked for."""

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Final, get_args

import asyncpg
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from db.errors import TenantryError
from db.migrations import plan
from db.migrations.arguments import Arguments
from db.migrations.lineage import Lineage, LineageName, UnknownRevisionError
from db.migrations.move import driver
from db.migrations.plan import Direction
from db.migrations.progress import Progress
from db.migrations.report import Report
from db.migrations.run import current_revision
from db.migrations.schemas import Schemas, Target
from db.migrations.worker import Way, Worker

_HEADS: Final = frozenset({"head", "heads"})


class Moves:
    """An upgrade or downgrade of the schemas that a command's arguments name.

    Args:
        config: Alembic's configuration, which knows where to print.
        schemas: the schemas of the database.
        direction: up or down.
        text: the destination, as it was typed.
        arguments: the ``-x`` arguments.
    """

    def __init__(
        self, config: Config, schemas: Schemas, direction: Direction, text: str, arguments: Arguments
    ) -> None:
        self._config = config
        self._schemas = schemas
        self._direction: Direction = direction
        self._text = text
        self._arguments = arguments

    async def run(self) -> None:
        """Move the schemas.

        Raises:
            CommandError: the destination is unknown, a schema could not be moved, or nobody agreed to it.
        """
        arguments = self._arguments
        for name in ("shared",) if arguments.shared else get_args(LineageName):
            self._schemas.lineage(name)  # a revision that cannot be run is told before anything is
        if arguments.shared:  # without its tables there would be no tenants
            await self._move("shared", [await self._schemas.shared()], ask=True)
        elif arguments.tenant is not None:
            await self._move("tenant", [await self._schemas.tenant(arguments.tenant)])
        elif self._direction == "upgrade" and self._text in _HEADS:
            await self._move("shared", [await self._schemas.shared()])  # the registry is read afterwards
            await self._move("tenant", await self._schemas.tenants())
        elif self._is_of_shared():
            await self._move("shared", [await self._schemas.shared()], ask=True)
        else:
            await self._move("tenant", await self._schemas.tenants(), ask=True)

    def _is_of_shared(self) -> bool:
        try:
            self._schemas.lineage("shared").resolve(self._text)
        except UnknownRevisionError:
            return False
        return self._text not in _HEADS

    async def _move(self, name: LineageName, targets: Sequence[Target], *, ask: bool = False) -> None:
        chain = self._schemas.lineage(name)
        destination = plan.resolve(chain, self._text, [target.revision for target in targets])
        if self._direction == "downgrade":
            plan.check_way(chain, destination, [target.revision for target in targets])
            if ask and not self._arguments.dry_run:
                self._ask(plan.describe(chain, destination, {t.label: t.revision for t in targets}))
        if self._arguments.dry_run:
            report = Report()
            for target in targets:
                async with report.of(target):
                    await self._print(chain, target, destination)
            report.close()
        else:
            await self._run(Way(chain, self._direction, destination), targets)

    def _ask(self, text: str) -> None:
        """Print a plan that destroys rows, and have somebody agree to it.

        Raises:
            CommandError: nobody did.
        """
        self._config.print_stdout("%s", text)
        if self._arguments.yes:
            return
        if not sys.stdin.isatty():
            raise CommandError("nothing was done: there is no terminal to ask at; -x yes=True agrees")
        # At the first Ctrl-C the event loop would wait for the answer still.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            answer = input("Go on? Only yes does: ")
        finally:
            signal.signal(signal.SIGINT, before)
        if answer.strip().casefold() != "yes":
            raise CommandError("nothing was done")

    async def _print(self, chain: Lineage, target: Target, destination: str | None) -> None:
        async with self._schemas.connected(target.schema) as connection:
            current = await current_revision(await driver(connection), target.schema)
        self._config.print_stdout("-- %s, at %s", target.label, current or "base")
        if plan.moves(chain, self._direction, current, destination):
            for leg in plan.legs(chain, self._direction, current, destination):
                print_leg(self._config, chain, self._direction, leg)

    async def _run(self, way: Way, targets: Sequence[Target]) -> None:
        """Move schemas, as many at a time as there are jobs. One's failure keeps none of the others waiting.

        Raises:
            UnfinishedError: a schema could not be moved, or somebody stopped the command.
            CommandError: there are not so many connections.
        """
        report, waiting = Report(), iter(targets)
        level = logging.INFO if len(targets) == 1 else logging.DEBUG
        jobs = min(self._arguments.jobs or 1, len(targets))
        workers = [Worker(self._schemas, way, level=level) for _ in range(jobs)]
        try:
            with Progress(self._direction, len(targets)) as progress:
                async with AsyncExitStack() as stack:
                    for number, worker in enumerate(workers, 1):
                        stack.push_async_callback(worker.close)
                        if way.lineage.name == "tenant":
                            await _open(worker, number)
                    async with asyncio.TaskGroup() as group:
                        for worker in workers:
                            group.create_task(_work(worker, waiting, report, progress))
        except asyncio.CancelledError:
            raise report.stopped(len(targets)) from None
        report.close(await self._revisions(report))

    async def _revisions(self, report: Report) -> Mapping[str, str | None]:
        """Return what the tenants are at now, by label, if the report has to say it."""
        if not report.failures:
            return {}
        try:
            return {target.label: target.revision for target in await self._schemas.tenants()}
        except (CommandError, TenantryError, DBAPIError, asyncpg.PostgresError):
            return {}  # what failed may be PostgreSQL


async def _open(worker: Worker, number: int) -> None:
    """Open the connection of the worker with a number, from 1.

    Raises:
        CommandError: PostgreSQL does not give it.
    """
    try:
        await worker.open()
    except asyncpg.PostgresError as error:
        fewer = f"; -x jobs={number - 1} is the most" if number > 1 else ""
        raise CommandError(f"no tenant was moved: {error}{fewer}") from error


async def _work(worker: Worker, waiting: Iterator[Target], report: Report, progress: Progress) -> None:
    """Let a worker move one after the other of what all workers share."""
    for target in waiting:
        async with report.of(target):
            await worker.move(target)
        progress.step(len(report.failures))


def print_leg(config: Config, chain: Lineage, direction: Direction, leg: plan.Leg) -> None:
    """Print the SQL of a leg, with a comment before each of its stops.

    Args:
        config: Alembic's configuration, which knows where to print.
        chain: the lineage.
        direction: up or down.
        leg: the leg.
    """
    for before, after in leg.stops:
        config.print_stdout("-- %s %s -> %s", direction, before or "base", after or "base")
        if leg.online:
            config.print_stdout("-- It runs online: what it does depends on the schema's rows.")
        else:
            script = plan.script_of(chain, (before, after), direction)
            config.print_stdout("%s", script.sql)
