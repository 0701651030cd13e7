"""``litestar messages``: looks at the ledger, sends messages again, pauses and resumes the provisioners."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, BinaryIO, Final, TypeVar
from uuid import UUID

import click
import msgspec

from api.cli import shell
from db import messages, remedies, replays, switches
from db.connection import Connection
from db.contracts import ContractError
from db.messages import Detail, Filter, Group, Item
from db.remedies import NoMessage, Refused
from db.replays import CountMismatch, Replay

T = TypeVar("T")

_PAGE: Final = 500
_STEP: Final = 0.1
"""Seconds between looks at a running replay."""


@click.group("messages")
def messages_group() -> None:
    """The ledger's messages. Needs OWNER_DATABASE_URL."""


def _reason(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and not value.strip():
        raise click.BadParameter("say why")
    return value


reason_option = click.option(
    "--reason", required=True, callback=_reason, help="Why; it is kept in the audit log."
)

_FILTERS: Final = {
    "status": "The ledger's status, such as parked.",
    "kind": "command or event.",
    "type": "The message's type, such as tenant.provision.",
    "tenant": "A tenant's slug.",
    "error_class": "What went wrong last.",
    "since": "Written then or later, such as 2026-01-31T12:00:00Z.",
}


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the list's filters as options."""
    for name, words in reversed(_FILTERS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, help=words)(command)
    return command


def _filter(given: dict[str, str | None]) -> Filter:
    try:
        return msgspec.convert({name: value for name, value in given.items() if value}, Filter, strict=False)
    except msgspec.ValidationError as error:
        raise click.UsageError(f"filter: {error}") from error


def _run(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run work in a transaction of its own; what cannot be done ends with exit code 1."""

    async def transaction(connection: Connection) -> T:
        async with connection.transaction():
            return await work(connection)

    url = shell.required(shell.configured(), "owner_database_url")
    try:
        return shell.run(shell.connected(url, transaction))
    except (NoMessage, Refused, CountMismatch, ContractError) as error:
        raise shell.Failed(str(error)) from error


@messages_group.command("list")
@_filter_options
@click.option("--limit", type=click.IntRange(1), default=50, help="Messages at most.")
@shell.json_option
def list_(*, limit: int, as_json: bool, **given: str | None) -> None:
    """List messages, newest first."""
    wanted = _filter(given)

    async def work(connection: Connection) -> list[Item]:
        found: list[Item] = []
        while len(found) < limit:
            size = min(_PAGE, limit - len(found))
            before = found[-1].id if found else None
            page = await messages.find(connection, wanted, limit=size, before=before)
            found += page
            if len(page) < size:
                break
        return found

    found = _run(work)
    shell.show(found, as_json=as_json, text="\n".join(map(_line, found)) or "no message")


@messages_group.command("groups")
@_filter_options
@shell.json_option
def groups(*, as_json: bool, **given: str | None) -> None:
    """Group messages that failed alike: those that are parked, unless --status says otherwise."""
    wanted = _filter(given)
    found = _run(lambda connection: messages.groups(connection, wanted))
    shell.show(found, as_json=as_json, text="\n".join(map(_group, found)) or "no message")


@messages_group.command("show")
@click.argument("message_id", type=click.UUID)
@shell.json_option
def show(*, message_id: UUID, as_json: bool) -> None:
    """Show the message MESSAGE_ID: payload, failure and timeline."""
    found = _run(partial(_read, message_id=message_id))
    shell.show(found, as_json=as_json, text=_page(found))


@messages_group.command("replay")
@click.argument("message_id", type=click.UUID, required=False)
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Which messages; repeatable.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--expected-count", type=click.IntRange(0), help="How many there must be, or nothing is done.")
@click.option(
    "--rate", type=click.IntRange(1, 1000), default=replays.DEFAULT_RATE, help="Messages a second, at most."
)
@click.option("--reason", callback=_reason, help="Why; it is kept in the audit log.")
@shell.json_option
def replay(
    *,
    message_id: UUID | None,
    filters: tuple[str, ...],
    dry_run: bool,
    expected_count: int | None,
    rate: int,
    reason: str | None,
    as_json: bool,
) -> None:
    """Send the message MESSAGE_ID again, or all that the filters mean.

    Many are sent at a rate, by the provisioners and this command; it may be interrupted, and they go on.
    """
    if (message_id is None) == (not filters) or (message_id and dry_run):
        raise click.UsageError("name a message, or filters; --dry-run goes with filters")
    if reason is None and not dry_run:
        raise click.UsageError("Missing option '--reason'.")
    if message_id is not None:
        _act(
            partial(remedies.replay_one, message_id=message_id, by=shell.by(reason)),
            message_id,
            as_json=as_json,
        )
        return
    wanted = _filter(dict(map(_pair, filters)))
    if dry_run:
        preview = _run(lambda connection: replays.preview(connection, wanted))
        sample = "\n".join(map(_line, preview.sample))
        text = f"{preview.count} messages would be sent again\n{sample}".rstrip()
        shell.show(preview, as_json=as_json, text=text)
        return
    started = _run(
        lambda connection: replays.start(
            connection, wanted, rate=rate, by=shell.by(reason), expected_count=expected_count
        )
    )
    url = shell.required(shell.configured(), "owner_database_url")
    ended = shell.run(shell.connected(url, partial(_follow, replay=started)))
    shell.show(ended, as_json=as_json, text=_progress(ended))
    if ended.status != "finished":
        raise SystemExit(1)


@messages_group.command("archive")
@click.argument("message_id", type=click.UUID)
@reason_option
@shell.json_option
def archive(*, message_id: UUID, reason: str, as_json: bool) -> None:
    """Put the parked message MESSAGE_ID away."""
    _act(partial(remedies.archive, message_id=message_id, by=shell.by(reason)), message_id, as_json=as_json)


@messages_group.command("restore")
@click.argument("message_id", type=click.UUID)
@reason_option
@shell.json_option
def restore(*, message_id: UUID, reason: str, as_json: bool) -> None:
    """Take the archived message MESSAGE_ID back among the parked ones."""
    _act(partial(remedies.restore, message_id=message_id, by=shell.by(reason)), message_id, as_json=as_json)


@messages_group.command("edit")
@click.argument("message_id", type=click.UUID)
@click.argument("payload", type=click.File("rb"), default="-")
@reason_option
@shell.json_option
def edit(*, message_id: UUID, payload: BinaryIO, reason: str, as_json: bool) -> None:
    """Send the parked message MESSAGE_ID again with other data, as a new one; show that.

    PAYLOAD is a file, or standard input: the CloudEvent as `show --json` has it, changed, or its data alone.
    """
    try:
        content = msgspec.json.decode(payload.read(), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise click.UsageError(f"payload: {error}") from error

    async def act(connection: Connection) -> Detail:
        made = await remedies.edit(connection, message_id, content, by=shell.by(reason))
        return await _read(connection, message_id=made)

    found = _run(act)
    shell.show(found, as_json=as_json, text=_line(found))


@messages_group.command("cancel")
@click.argument("replay_id", type=click.UUID)
@shell.json_option
def cancel(*, replay_id: UUID, as_json: bool) -> None:
    """Cancel the bulk replay REPLAY_ID; what has been sent stays so."""
    found = _run(lambda connection: replays.cancel(connection, replay_id, by=shell.by()))
    if found is None:
        raise shell.Failed(f"no replay {replay_id}")
    shell.show(found, as_json=as_json, text=_progress(found))


@messages_group.command("pause")
@reason_option
@shell.json_option
def pause(*, reason: str, as_json: bool) -> None:
    """Pause the provisioners: commands wait, events go on, what is in hand is finished."""
    switch = _run(partial(switches.pause, by=shell.by(reason)))
    shell.show({"paused": switch.enabled, "reason": switch.reason}, as_json=as_json, text="paused")


@messages_group.command("resume")
@reason_option
@shell.json_option
def resume(*, reason: str, as_json: bool) -> None:
    """Let the provisioners go on."""
    switch = _run(partial(switches.resume, by=shell.by(reason)))
    shell.show({"paused": switch.enabled, "reason": switch.reason}, as_json=as_json, text="resumed")


async def _follow(connection: Connection, *, replay: Replay) -> Replay:
    """Take part in a replay until it is over, with a progress bar where somebody watches."""
    label = f"replay {replay.id}"
    with click.progressbar(length=replay.count, label=label, file=sys.stderr) as bar:
        while replay.status == "running":
            await replays.advance(connection)
            now = await replays.read(connection, replay.id)
            if now is None:
                raise shell.Failed(f"replay {replay.id} is gone")
            bar.update(now.done + now.skipped - bar.pos)
            replay = now
            if replay.status == "running":
                await asyncio.sleep(_STEP)
    return replay


def _act(work: Callable[[Connection], Awaitable[Any]], message_id: UUID, *, as_json: bool) -> None:
    async def act(connection: Connection) -> Detail:
        await work(connection)
        return await _read(connection, message_id=message_id)

    found = _run(act)
    shell.show(found, as_json=as_json, text=_line(found))


async def _read(connection: Connection, *, message_id: UUID) -> Detail:
    found = await messages.read(connection, message_id)
    if found is None:
        raise NoMessage(f"no message {message_id}")
    return found


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not value or name not in _FILTERS:
        raise click.UsageError(f"--filter {text}: expected NAME=VALUE, where NAME is {', '.join(_FILTERS)}")
    return name, value


def _line(item: Item) -> str:
    return f"{item.id}  {item.status:10} {item.type:26} {item.tenant or '-':20} {item.error_class or ''}".rstrip()


def _progress(replay: Replay) -> str:
    return f"{replay.status}: {replay.done} of {replay.count} sent again, {replay.skipped} passed over"


def _group(group: Group) -> str:
    place = f"{group.error_class or '-'} at {group.frame or '-'}"
    return f"{group.count:6}  {group.type}  {place}\n        {group.sample}  {group.error or ''}".rstrip()


def _page(found: Detail) -> str:
    parts = [_line(found), f"attempts {found.attempts}, replays {found.replays}"]
    if found.last_error:
        parts.append(f"\n{found.last_error}")
    if found.payload is not None:
        parts.append("\n" + msgspec.json.format(msgspec.json.encode(found.payload)).decode())
    if found.raw_body is not None:
        parts.append(f"\n{found.raw_body}")
    if found.traceback:
        parts.append(f"\n{found.traceback.rstrip()}")
    parts.append("")
    parts += [
        f"{failed.at:%Y-%m-%d %H:%M:%S}  attempt {failed.attempt}: {failed.error_class}: {failed.error}"
        for failed in found.failures
    ]
    for step in found.timeline:
        more = f"  {step.actor}: {step.reason}" if step.what == "audit" else f"  {step.status}"
        parts.append(f"{step.at:%Y-%m-%d %H:%M:%S}  {step.what:6} {step.name}{more}")
    return "\n".join(parts)
