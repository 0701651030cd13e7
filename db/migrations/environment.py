"""The code behind ``alembic/env.py``: Alembic's commands on one tenant, the shared lineage, or all schemas.

Each schema is moved as a provisioner moves it: under the same advisory lock, by the same scripts, with the same
grants, registry entry and event. What fails in one schema keeps none of the others waiting.
"""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast, get_args

import uvloop
from alembic.runtime.environment import EnvironmentContext
from alembic.util import CommandError

from db.errors import TenantryError
from db.migrations import commands, plan, stamps
from db.migrations.arguments import Arguments
from db.migrations.lineage import Lineage, LineageName, narrow
from db.migrations.lineages import lineage
from db.migrations.moves import Moves, print_leg
from db.migrations.plan import Direction
from db.migrations.report import Report, StoppedError, UnfinishedError
from db.migrations.schemas import Schemas, Target
from db.settings import Settings


def main(environment: EnvironmentContext, given: Sequence[str], load: Callable[[], Settings]) -> None:
    """Run the command that Alembic has prepared. At a shell, end it with the exit code of its outcome.

    Args:
        environment: Alembic's environment.
        given: the ``-x`` arguments.
        load: reads the settings; called only if they are needed.

    Raises:
        CommandError: the command cannot run, or failed; the message is for the person at the shell.
        SystemExit: at a shell, it failed in some of the schemas, or was stopped.
    """
    shell = environment.config.cmd_opts
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(environment, given, load))
    except (UnfinishedError, KeyboardInterrupt) as error:
        if shell is None or shell.raiseerr:
            raise
        # Alembic ends with 255, whatever it was.
        outcome = error if isinstance(error, UnfinishedError) else StoppedError("stopped")
        print(f"FAILED: {outcome}", file=sys.stderr)  # noqa: T201 - for the person at the shell
        sys.exit(outcome.exit_code)


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
    arguments.check(command)
    file = Path(environment.config.config_file_name or "alembic.ini")
    try:
        if command in {"upgrade", "downgrade"}:
            direction = cast("Direction", command)
            if environment.is_offline_mode():
                chain = lineage(arguments.lineage, file)
                _print_between(environment, chain, direction)
            else:
                schemas, text = Schemas(load(), file), options["destination_rev"]
                await Moves(environment.config, schemas, direction, text, arguments).run()
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
        print_leg(environment.config, chain, direction, leg)


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
    stamping = command == "do_stamp"
    if stamping and len(environment.context_opts["destination_rev"]) != 1:
        raise CommandError("stamp one revision: a schema is at one")
    if arguments.dry_run and command in {"do_stamp", "do_ensure_version"}:
        raise CommandError("-x dry_run=True: upgrade and downgrade know it; --sql prints what this one does")
    if arguments.shared:
        targets = [await schemas.shared()]
    elif arguments.tenant is not None:
        targets = [await schemas.tenant(arguments.tenant)]
    elif stamping or command == "_display_current_history":
        raise CommandError("one schema at a time: -x tenant=SLUG or -x tenant=shared")
    else:
        targets = [await schemas.shared(), *await schemas.tenants()]
    report = Report()
    if stamping:
        async with report.of(targets[0]):
            await _stamp(environment, schemas, targets[0])
    else:
        async with schemas.connected("shared") as connection:
            for target in targets:
                async with report.of(target):
                    await commands.run_on(environment, connection, target)
    report.close()


async def _stamp(environment: EnvironmentContext, schemas: Schemas, target: Target) -> None:
    options = environment.context_opts
    if target.tenant_id is None:
        await commands.stamp_shared(environment, schemas, target)
    else:
        await stamps.stamp(schemas, target, options["destination_rev"][0], purge=options["purge"])
