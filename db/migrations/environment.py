"""The code behind ``alembic/env.py``: Alembic's commands on one tenant, the shared lineage, or all schemas.

Each schema is moved as a provisioner moves it: under the same advisory lock, by the same scripts, with the same
grants, registry entry and event. What fails in one schema keeps none of the others waiting.
"""

import logging
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final, cast, get_args

import asyncpg
from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from db.errors import TenantryError
from db.migrations import commands, plan
from db.migrations.arguments import Arguments
from db.migrations.lineage import Lineage, LineageName, UnknownRevisionError, narrow
from db.migrations.lineages import lineage
from db.migrations.move import driver, move
from db.migrations.plan import Direction
from db.migrations.run import current_revision
from db.migrations.schemas import Schemas, Target
from db.settings import Settings

log = logging.getLogger(__name__)

_HEADS: Final = frozenset({"head", "heads"})


async def run(environment: EnvironmentContext, given: Sequence[str], load: Callable[[], Settings]) -> None:
    """Run the command that Alembic has prepared.

    Args:
        environment: Alembic's environment.
        given: the ``-x`` arguments.
        load: reads the settings; called only if they are needed.

    Raises:
        CommandError: the command cannot run, or failed; the message is for the person at the shell.
    """
    arguments = Arguments.read(given)
    options = environment.context_opts
    command = options["fn"].__name__
    file = Path(environment.config.config_file_name or "alembic.ini")
    try:
        if command in {"upgrade", "downgrade"}:
            direction = cast("Direction", command)
            if environment.is_offline_mode():
                chain = lineage(arguments.lineage, file)
                _print_between(environment, chain, direction)
            else:
                await _Moves(environment, Schemas(load(), file), direction, arguments).run()
        elif environment.is_offline_mode():
            _print_stamp(environment, arguments.lineage)
        elif "revision_context" in options:
            await commands.compare(environment, Schemas(load(), file), arguments)
        elif command == "nothing":  # `alembic merge` only reads the revisions
            narrow(environment.script, arguments.lineage)
        elif command == "_display_current_history" and not _asks_for_current(environment):
            commands.print_history(environment, ("shared",) if arguments.shared else get_args(LineageName))
        else:
            await _each(environment, Schemas(load(), file), command, arguments)
    except TenantryError as error:
        raise CommandError(str(error)) from error


def _asks_for_current(environment: EnvironmentContext) -> bool:
    """Return whether ``alembic history`` was asked what a schema is at."""
    given = environment.config.cmd_opts
    return given is None or given.indicate_current or "current" in (given.rev_range or "")


def _print_between(environment: EnvironmentContext, chain: Lineage, direction: Direction) -> None:
    """Print the SQL of ``upgrade FROM:TO --sql`` or ``downgrade FROM:TO --sql``."""
    # Not as Alembic reads it, which knows both lineages.
    start, text = (environment.context_opts[name] for name in ("starting_rev", "destination_rev"))
    current = plan.resolve(chain, start, ()) if start else None
    destination = plan.resolve(chain, text, [current])
    if current != destination and not plan.moves(chain, direction, current, destination):
        raise CommandError(f"there is no {direction} from {current or 'base'} to {destination or 'base'}")
    for leg in plan.legs(chain, direction, current, destination):
        _print_leg(environment, chain, direction, leg)


def _print_leg(environment: EnvironmentContext, chain: Lineage, direction: Direction, leg: plan.Leg) -> None:
    for before, after in leg.stops:
        environment.config.print_stdout("-- %s %s -> %s", direction, before or "base", after or "base")
        if leg.online:
            environment.config.print_stdout("-- It runs online: what it does depends on the schema's rows.")
        else:
            script = plan.script_of(chain, (before, after), direction)
            environment.config.print_stdout("%s", script.sql)


def _print_stamp(environment: EnvironmentContext, name: LineageName) -> None:
    narrow(environment.script, name)
    environment.configure(
        dialect_name="postgresql+asyncpg",
        as_sql=True,
        literal_binds=True,
        version_table_schema="shared" if name == "shared" else None,
    )
    with environment.begin_transaction():
        environment.run_migrations()


async def _each(
    environment: EnvironmentContext, schemas: Schemas, command: str, arguments: Arguments
) -> None:
    """Run ``current``, ``stamp`` and the like."""
    stamps = command == "do_stamp"
    if stamps and len(environment.context_opts["destination_rev"]) != 1:
        raise CommandError("stamp one revision: a schema is at one")
    if arguments.dry_run and command in {"do_stamp", "do_ensure_version"}:
        raise CommandError("-x dry_run=True: upgrade and downgrade know it; --sql prints what this one does")
    if arguments.shared:
        targets = [await schemas.shared()]
    elif arguments.tenant is not None:
        targets = [await schemas.tenant(arguments.tenant)]
    elif stamps or command == "_display_current_history":
        raise CommandError("one schema at a time: -x tenant=SLUG or -x tenant=shared")
    else:
        targets = [await schemas.shared(), *await schemas.tenants()]
    report = _Report()
    for target in targets:
        async with report.of(target):
            await commands.run_on(environment, schemas, target, records=stamps)
    report.close()


class _Report:
    """What failed, by schema."""

    def __init__(self) -> None:
        self._tried = 0
        self._failures: list[str] = []

    @asynccontextmanager
    async def of(self, target: Target) -> AsyncIterator[None]:
        """Note the failure of a target's work, so that the other targets' work goes on."""
        self._tried += 1
        try:
            yield
        except Exception as error:
            log.debug("%s failed", target.label, exc_info=error)
            self._failures.append(f"{target.label}: {_words(error)}")

    def close(self) -> None:
        """Raise what failed.

        Raises:
            CommandError: something did.
        """
        if len(self._failures) == self._tried == 1:
            raise CommandError(self._failures[0])
        if self._failures:
            listed = "\n  ".join(self._failures)
            raise CommandError(f"{len(self._failures)} of {self._tried} failed:\n  {listed}")


class _Moves:
    """An upgrade or downgrade of one schema or of all."""

    def __init__(
        self, environment: EnvironmentContext, schemas: Schemas, direction: Direction, arguments: Arguments
    ) -> None:
        self._environment = environment
        self._schemas = schemas
        self._direction: Direction = direction
        self._arguments = arguments
        self._text: str = environment.context_opts["destination_rev"]

    async def run(self) -> None:
        """Move the schemas that the arguments name.

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
        report = _Report()
        for target in targets:
            async with report.of(target):
                if self._arguments.dry_run:
                    await self._print(chain, target, destination)
                else:
                    await self._run(chain, target, destination)
        report.close()

    def _ask(self, text: str) -> None:
        """Print a plan that destroys rows, and have somebody agree to it.

        Raises:
            CommandError: nobody did.
        """
        self._environment.config.print_stdout("%s", text)
        if self._arguments.yes:
            return
        if not sys.stdin.isatty():
            raise CommandError("nothing was done: there is no terminal to ask at; -x yes=True agrees")
        if input("Go on? Only yes does: ").strip().casefold() != "yes":
            raise CommandError("nothing was done")

    async def _print(self, chain: Lineage, target: Target, destination: str | None) -> None:
        async with self._schemas.connected(target.schema) as connection:
            current = await current_revision(await driver(connection), target.schema)
        self._environment.config.print_stdout("-- %s, at %s", target.label, current or "base")
        if plan.moves(chain, self._direction, current, destination):
            for leg in plan.legs(chain, self._direction, current, destination):
                _print_leg(self._environment, chain, self._direction, leg)

    async def _run(self, chain: Lineage, target: Target, destination: str | None) -> None:
        async with self._schemas.locked(target) as connection:
            current = await current_revision(await driver(connection), target.schema)
            plan.check_planned(chain, self._direction, current, target.revision)
            if not plan.moves(chain, self._direction, current, destination):
                log.info("%s stays at %s", target.label, current or "base")
                return
            log.info(
                "%s: %s %s -> %s", target.label, self._direction, current or "base", destination or "base"
            )
            record = partial(commands.record, chain, target)
            await move(connection, chain, target.schema, self._direction, current, destination, record)


def _words(error: Exception) -> str:
    """Return what an error says, with its class where that is not one of ours or PostgreSQL's."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig.__cause__ or error.orig)
    if isinstance(error, CommandError | TenantryError | asyncpg.PostgresError):
        return str(error)
    return f"{type(error).__name__}: {error}"
