"""``litestar messages``: lists and shows the ledger's messages, and sends them again."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, BinaryIO, Final
from uuid import UUID

import click
import msgspec

from api.cli import shell
from api.cli.provisioner import pause_command, resume_command
from db.control import messages, replays
from db.control.messages import UnknownMessageError
from db.control.replays import Replay
from db.ledger import history, lists
from db.ledger.history import MessageDetail
from db.ledger.lists import MessageFilter, MessageGroup, MessageItem
from db.session.connection import Connection

_PAGE: Final = 500
_STEP: Final = 0.1
"""Seconds between two looks at a running replay."""


@click.group("messages")
def messages_group() -> None:
    """The ledger's messages. Needs OWNER_DATABASE_URL."""


messages_group.add_command(pause_command)
messages_group.add_command(resume_command)


_FILTERS: Final = {
    "status": "The ledger's status, such as parked.",
    "kind": "command or event.",
    "type": "The message's type, such as tenant.provision.",
    "tenant": "A tenant's slug.",
    "error_class": "What went wrong last.",
    "since": "Written then or later, such as 2026-01-31T12:00:00Z.",
}


def _filter_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the filters of the message list to a command, as options."""
    for name, words in reversed(_FILTERS.items()):
        command = click.option(f"--{name.replace('_', '-')}", name, help=words)(command)
    return command


def _filter(given: dict[str, str | None]) -> MessageFilter:
    try:
        return msgspec.convert(
            {name: value for name, value in given.items() if value}, MessageFilter, strict=False
        )
    except msgspec.ValidationError as error:
        raise click.UsageError(f"filter: {error}") from error


@messages_group.command("list")
@_filter_options
@click.option("--limit", type=click.IntRange(1), default=50, help="Messages at most.")
@shell.json_option
def list_(*, limit: int, as_json: bool, **given: str | None) -> None:
    """List messages, newest first."""
    wanted = _filter(given)

    async def work(connection: Connection) -> list[MessageItem]:
        found: list[MessageItem] = []
        while len(found) < limit:
            size = min(_PAGE, limit - len(found))
            before = found[-1].id if found else None
            page = await lists.list_(connection, wanted, limit=size, before=before)
            found += page
            if len(page) < size:
                break
        return found

    found = shell.act(work)
    shell.show(found, as_json=as_json, text=list(map(_line, found)) or "no message")


@messages_group.command("groups")
@_filter_options
@shell.json_option
def groups(*, as_json: bool, **given: str | None) -> None:
    """Group messages by failure; only parked ones unless --status is given."""
    wanted = _filter(given)
    found = shell.act(lambda connection: lists.list_groups(connection, wanted))
    shell.show(
        found, as_json=as_json, text=[line for group in found for line in _group(group)] or "no message"
    )


@messages_group.command("show")
@click.argument("message_id", type=click.UUID)
@shell.json_option
def show(*, message_id: UUID, as_json: bool) -> None:
    """Show the message MESSAGE_ID with its payload, failures and timeline."""
    found = shell.act(partial(_read, message_id=message_id))
    shell.show(found, as_json=as_json, text=_page(found))


@messages_group.command("replay")
@click.argument("message_id", type=click.UUID, required=False)
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Which messages; repeatable.")
@click.option("--dry-run", is_flag=True, help="Only count them.")
@click.option("--expected-count", type=click.IntRange(0), help="How many there must be, or nothing is done.")
@click.option(
    "--rate", type=click.IntRange(1, 1000), default=replays.DEFAULT_RATE, help="Messages a second, at most."
)
@shell.reason_option
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
    """Send the message MESSAGE_ID again, or all messages that match the filters.

    Many are sent at a rate, by the provisioners and this command; if it is interrupted, they go on.
    """
    if (message_id is None) == (not filters) or (message_id and dry_run):
        raise click.UsageError("name a message, or filters; --dry-run goes with filters")
    if reason is None and not dry_run:
        raise click.UsageError("Missing option '--reason'.")
    if message_id is not None:
        _act(
            lambda connection: messages.replay_one(connection, message_id, shell.by(reason)),
            message_id,
            as_json=as_json,
        )
        return
    wanted = _filter(dict(map(_pair, filters)))
    if dry_run:
        preview = shell.act(lambda connection: replays.preview(connection, wanted))
        lines = [f"{preview.count} messages would be sent again", *map(_line, preview.sample)]
        shell.show(preview, as_json=as_json, text=lines)
        return
    started = shell.act(
        lambda connection: replays.start(
            connection, wanted, shell.by(reason), rate=rate, expected_count=expected_count
        )
    )
    url = shell.required(shell.configured(), "owner_database_url")
    ended = shell.run(shell.connected(url, partial(_follow, replay=started)))
    shell.show(ended, as_json=as_json, text=_progress(ended))
    if ended.status != "finished":
        raise SystemExit(1)


@messages_group.command("archive")
@click.argument("message_id", type=click.UUID)
@shell.needed_reason_option
@shell.json_option
def archive(*, message_id: UUID, reason: str, as_json: bool) -> None:
    """Archive the message MESSAGE_ID, which is parked or waits for a newer release."""
    _act(
        lambda connection: messages.archive(connection, message_id, shell.by(reason)),
        message_id,
        as_json=as_json,
    )


@messages_group.command("restore")
@click.argument("message_id", type=click.UUID)
@shell.needed_reason_option
@shell.json_option
def restore(*, message_id: UUID, reason: str, as_json: bool) -> None:
    """Park the archived message MESSAGE_ID again."""
    _act(
        lambda connection: messages.restore(connection, message_id, shell.by(reason)),
        message_id,
        as_json=as_json,
    )


@messages_group.command("edit")
@click.argument("message_id", type=click.UUID)
@click.argument("payload", type=click.File("rb"), default="-")
@shell.needed_reason_option
@shell.json_option
def edit(*, message_id: UUID, payload: BinaryIO, reason: str, as_json: bool) -> None:
    """Send the parked message MESSAGE_ID again with other data, as a new message; show the new one.

    PAYLOAD is a file, or standard input. It holds the changed CloudEvent as `show --json` prints it, or only
    its data.
    """
    try:
        content = msgspec.json.decode(payload.read(), type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise click.UsageError(f"payload: {error}") from error

    async def act(connection: Connection) -> MessageDetail:
        made = await messages.edit(connection, message_id, content, shell.by(reason))
        return await _read(connection, message_id=made)

    found = shell.act(act)
    shell.show(found, as_json=as_json, text=_line(found))


@messages_group.command("cancel")
@click.argument("replay_id", type=click.UUID)
@shell.json_option
def cancel(*, replay_id: UUID, as_json: bool) -> None:
    """Cancel the bulk replay REPLAY_ID; messages already sent stay sent."""
    found = shell.act(lambda connection: replays.cancel(connection, replay_id, shell.by()))
    shell.show(found, as_json=as_json, text=_progress(found))


async def _follow(connection: Connection, *, replay: Replay) -> Replay:
    """Help with a replay until it ends, and return it; show a progress bar if standard error is a terminal."""
    label = f"replay {replay.id}"
    with click.progressbar(length=replay.count, label=label, file=sys.stderr) as bar:
        while replay.status == "running":
            await replays.advance(connection)
            now = await replays.get(connection, replay.id)
            if now is None:
                raise shell.ShellError(f"replay {replay.id} is gone")
            bar.update(now.done + now.skipped - bar.pos)
            replay = now
            if replay.status == "running":
                await asyncio.sleep(_STEP)
    return replay


def _act(work: Callable[[Connection], Awaitable[Any]], message_id: UUID, *, as_json: bool) -> None:
    async def act(connection: Connection) -> MessageDetail:
        await work(connection)
        return await _read(connection, message_id=message_id)

    found = shell.act(act)
    shell.show(found, as_json=as_json, text=_line(found))


async def _read(connection: Connection, *, message_id: UUID) -> MessageDetail:
    found = await history.get(connection, message_id)
    if found is None:
        raise UnknownMessageError(message_id)
    return found


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or not value or name not in _FILTERS:
        raise click.UsageError(f"--filter {text}: expected NAME=VALUE, where NAME is {', '.join(_FILTERS)}")
    return name, value


def _line(item: MessageItem) -> str:
    return f"{item.id}  {item.status:10} {item.type:26} {item.tenant or '-':20} {item.error_class or ''}".rstrip()


def _progress(replay: Replay) -> str:
    return f"{replay.status}: {replay.done} of {replay.count} sent again, {replay.skipped} passed over"


def _group(group: MessageGroup) -> list[str]:
    place = f"{group.error_class or '-'} at {group.frame or '-'}"
    return [
        f"{group.count:6}  {group.type}  {place}",
        f"        {group.sample}  {group.error or ''}".rstrip(),
    ]


def _page(found: MessageDetail) -> list[str]:
    parts = [_line(found), f"attempts {found.attempts}, replays {found.replays}"]
    if found.last_error:
        parts += ["", *shell.block(found.last_error)]
    if found.payload is not None:
        parts += ["", *msgspec.json.format(msgspec.json.encode(found.payload)).decode().split("\n")]
    if found.raw_body is not None:
        parts += ["", *shell.block(found.raw_body)]
    if found.traceback:
        parts += ["", *shell.block(found.traceback.rstrip())]
    parts.append("")
    parts += [
        f"{failed.at:%Y-%m-%d %H:%M:%S}  attempt {failed.attempt}: {failed.error_class}: {failed.error}"
        for failed in found.failures
    ]
    for step in found.timeline:
        more = f"  {step.actor}: {step.reason}" if step.what == "audit" else f"  {step.status}"
        parts.append(f"{step.at:%Y-%m-%d %H:%M:%S}  {step.what:6} {step.name}{more}")
    return parts
