"""``litestar rollouts``: brings a revision or a task to all tenants in waves, and watches, stops and mends that."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final, get_args
from uuid import UUID

import click
import msgspec

from api.cli import shell
from db.audit import By
from db.control import rollout_acts, rollout_orders, rollout_plan, rollout_tenants, rollouts
from db.control.fleet import TenantFilter
from db.control.rollout_orders import Order
from db.control.rollout_plan import RolloutPlan
from db.control.rollout_tenants import RolloutTenant
from db.control.rollouts import MOST_AT_ONCE, OVER, Rollout, RolloutStatus
from db.migrations.lineage import Lineage
from db.migrations.lineages import lineage
from db.session.connection import Connection
from db.tenants.states import TenantStatus

_LOOK: Final = 0.5
"""Seconds between two looks at a rollout that is watched."""
_SHOWN: Final = 20
"""Failed tenants that are shown."""


class Seen(msgspec.Struct, frozen=True):
    """A rollout, and those of its tenants that have failed."""

    rollout: Rollout
    failed: list[RolloutTenant]


@click.group("rollouts")
def rollouts_group() -> None:
    """Rollouts: a revision or a task for many tenants, in waves. Needs OWNER_DATABASE_URL."""


_ORDER: Final = (
    click.option("--target", help="head, a revision or the beginning of one.  [default: head]"),
    click.option("--task", help="A task of the domain, in place of a revision."),
    click.option("--arguments", default="{}", help="The task's arguments, as a JSON object."),
    click.option(
        "--canary",
        default=f"{rollout_orders.CANARY}",
        show_default=True,
        help="How many tenants first, or their slugs with commas.",
    ),
    click.option(
        "--wave", default=rollout_orders.WAVE, show_default=True, help="How many a wave, or their share."
    ),
    click.option(
        "--concurrency",
        type=click.IntRange(1, MOST_AT_ONCE),
        default=rollout_orders.CONCURRENCY,
        show_default=True,
        help="Tenants at once.",
    ),
    click.option("--rate", type=click.IntRange(1, 1000), help="Tenants a second, at most."),
    click.option(
        "--max-failures",
        type=click.IntRange(0, rollout_orders.MOST),
        default=0,
        show_default=True,
        help="More of them halt it.",
    ),
    click.option(
        "--bake-time",
        type=click.FloatRange(0, rollout_orders.LONGEST_BAKE),
        default=0,
        show_default=True,
        help="Seconds between waves.",
    ),
    click.option("--status", type=click.Choice(get_args(TenantStatus)), help="Only tenants in this state."),
    click.option("--revision", help="Only tenants at this revision."),
    click.option("--q", help="Only tenants with this text within slug or name."),
)


def _order_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_ORDER):
        command = option(command)
    return command


@rollouts_group.command("plan")
@_order_options
@shell.json_option
def plan(*, as_json: bool, **wanted: Any) -> None:
    """Show what a rollout would do, and change nothing."""
    chain = _lineage()
    order = _order(chain, **wanted)
    found = shell.act(lambda connection: rollout_plan.make(connection, chain, order))
    shell.show(found, as_json=as_json, text=_planned(found))


@rollouts_group.command("run")
@_order_options
@click.option(
    "--watch", "watched", is_flag=True, help="Wait for its end; exit code 1 if it is not a good one."
)
@shell.needed_reason_option
@shell.json_option
def run(*, watched: bool, reason: str, as_json: bool, **wanted: Any) -> None:
    """Begin a rollout, which the provisioners carry out."""
    order = _order(_lineage(), **wanted)
    started = shell.act(lambda connection: rollout_acts.start(connection, shell.by(reason), order))
    if watched:
        _watch(started.id, as_json=as_json)
    else:
        shell.show(started, as_json=as_json, text=_line(started))


@rollouts_group.command("list")
@click.option("--status", type=click.Choice(get_args(RolloutStatus)), help="Only those in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many.")
@shell.json_option
def list_(*, status: RolloutStatus | None, limit: int, as_json: bool) -> None:
    """List rollouts, newest first."""
    found = shell.act(lambda connection: rollouts.list_(connection, status=status, limit=limit))
    shell.show(found, as_json=as_json, text=[_line(each) for each in found] or "no such rollout")


@rollouts_group.command("status")
@click.argument("rollout_id", type=click.UUID)
@shell.json_option
def status(*, rollout_id: UUID, as_json: bool) -> None:
    """Show how far the rollout ROLLOUT_ID is, and which tenants have failed."""
    seen = shell.act(lambda connection: _see(connection, rollout_id))
    shell.show(seen, as_json=as_json, text=_described(seen))


@rollouts_group.command("watch")
@click.argument("rollout_id", type=click.UUID)
@shell.json_option
def watch(*, rollout_id: UUID, as_json: bool) -> None:
    """Wait until the rollout ROLLOUT_ID is over or halts. The exit code is 1 unless all of it is done."""
    _watch(rollout_id, as_json=as_json)


@rollouts_group.command("pause")
@click.argument("rollout_id", type=click.UUID)
@shell.needed_reason_option
@shell.json_option
def pause(*, rollout_id: UUID, reason: str, as_json: bool) -> None:
    """Begin no more tenants of the rollout ROLLOUT_ID until it is resumed."""
    _act(rollout_acts.pause, rollout_id, reason, as_json=as_json)


@rollouts_group.command("resume")
@click.argument("rollout_id", type=click.UUID)
@shell.needed_reason_option
@shell.json_option
def resume(*, rollout_id: UUID, reason: str, as_json: bool) -> None:
    """Go on with the tenants of the rollout ROLLOUT_ID that wait."""
    _act(rollout_acts.resume, rollout_id, reason, as_json=as_json)


@rollouts_group.command("abort")
@click.argument("rollout_id", type=click.UUID)
@shell.needed_reason_option
@shell.json_option
def abort(*, rollout_id: UUID, reason: str, as_json: bool) -> None:
    """End the rollout ROLLOUT_ID; tenants that wait stay where they are."""
    _act(rollout_acts.abort, rollout_id, reason, as_json=as_json)


@rollouts_group.command("retry")
@click.argument("rollout_id", type=click.UUID)
@shell.needed_reason_option
@shell.json_option
def retry(*, rollout_id: UUID, reason: str, as_json: bool) -> None:
    """Go on with the rollout ROLLOUT_ID, also with the tenants that have failed."""
    _act(rollout_acts.retry, rollout_id, reason, as_json=as_json)


def _lineage() -> Lineage:
    with shell.in_words():
        return lineage("tenant", shell.configured().alembic_config)


def _order(chain: Lineage, **wanted: Any) -> Order:
    """Return the order that a command's options give.

    Raises:
        click.UsageError: one of them is wrong (exit code 2).
    """
    target, task = wanted["target"], wanted["task"]
    canary, wave = wanted["canary"].strip(), wanted["wave"].strip()
    try:
        arguments = msgspec.json.decode(wanted["arguments"], type=dict[str, Any])
        share = msgspec.convert(int(wave) if wave.isdecimal() else wave, rollout_orders.WaveSize)
    except msgspec.MsgspecError as error:
        raise click.UsageError(f"--arguments or --wave: {error}") from error
    with shell.in_words():
        return rollout_orders.order(
            chain,
            target="head" if target is None and task is None else target,
            task=task,
            arguments=arguments,
            canary=int(canary) if canary.isdecimal() else [each.strip() for each in canary.split(",")],
            wave=share,
            concurrency=wanted["concurrency"],
            rate=wanted["rate"],
            max_failures=wanted["max_failures"],
            bake_time=wanted["bake_time"],
            filter_=TenantFilter(
                status=wanted["status"], revision=wanted["revision"] or None, q=wanted["q"] or None
            ),
        )


def _act(
    act: Callable[[Connection, UUID, By], Awaitable[Rollout]], rollout_id: UUID, reason: str, *, as_json: bool
) -> None:
    found = shell.act(lambda connection: act(connection, rollout_id, shell.by(reason)))
    shell.show(found, as_json=as_json, text=_line(found))


def _watch(rollout_id: UUID, *, as_json: bool) -> None:
    """Wait for a rollout's end, show it, and end with 1 unless all of it is done."""

    async def work(connection: Connection) -> Seen:
        await _follow(connection, rollout_id)
        return await _see(connection, rollout_id)

    config = shell.configured()
    seen = shell.run(shell.connected(shell.required(config, "owner_database_url"), work))
    shell.show(seen, as_json=as_json, text=_described(seen))
    if seen.rollout.status != "finished" or seen.rollout.tenants.failed:
        raise click.exceptions.Exit(1)


async def _follow(connection: Connection, rollout_id: UUID) -> None:
    """Wait until a rollout is over or has halted, with a progress bar if standard error is a terminal."""
    now = await rollouts.get(connection, rollout_id)
    length = now.tenants.due + now.tenants.done + now.tenants.failed + now.tenants.skipped
    with click.progressbar(length=length, label=f"rollout {rollout_id}", file=sys.stderr) as bar:
        while True:
            bar.length = length
            bar.update(now.tenants.done + now.tenants.failed + now.tenants.skipped - bar.pos)
            if now.status in OVER or now.status == "halted":
                return
            await asyncio.sleep(_LOOK)
            now = await rollouts.get(connection, rollout_id)


async def _see(connection: Connection, rollout_id: UUID) -> Seen:
    found = await rollouts.get(connection, rollout_id)
    return Seen(found, await rollout_tenants.list_(connection, rollout_id, status="failed"))


def _what(target: str | None, task: str | None) -> str:
    return f"to {target}" if task is None else f"task {task}"


def _line(found: Rollout) -> str:
    counts = found.tenants
    return (
        f"{found.id}  {found.status:9} {_what(found.target, found.task):24} wave {found.current_wave} of {found.waves}:"
        f" {counts.done} done, {counts.due} waiting, {counts.skipped} skipped, {counts.failed} failed"
    )


def _described(seen: Seen) -> list[str]:
    lines = [_line(seen.rollout)]
    if seen.rollout.note:
        lines.append(f"  {seen.rollout.note}")
    lines += [f"  {each.slug}: {each.error_class}: {each.error}" for each in seen.failed[:_SHOWN]]
    if len(seen.failed) > _SHOWN:
        lines.append(f"  and {len(seen.failed) - _SHOWN} more")
    if seen.rollout.status == "halted":
        then = "retry" if seen.failed else "resume"
        lines.append(f"  mend what is wrong, then: litestar rollouts {then} {seen.rollout.id} --reason ...")
    return lines


def _planned(found: RolloutPlan) -> list[str]:
    lines = [f"{_what(found.target, found.task)}: {found.tenants} tenants, {found.skipped} are there already"]
    if found.waves:
        lines.append(f"  waves: {', '.join(map(str, found.waves))}")
    if found.seconds is not None:
        lines.append(f"  about {found.seconds:g} s, by what a tenant has taken before")
    for step in found.steps:
        lines.append(f"  {step.tenants} from {step.revision_from or 'base'}:")
        lines += [f"    {each}: runs online; what it does depends on the rows" for each in step.online]
        for each in step.statements:
            first, *more = each.sql.splitlines()
            lines += [f"    [{each.lock}] {first}", *(f"      {line}" for line in more)]
    return lines
