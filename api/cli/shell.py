"""Helpers for all commands: settings, shared options, and errors that end with an exit code."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import asyncpg
import click
import msgspec

from db import names, settings
from db.audit import By
from db.errors import TenantryError
from db.session import address, failures
from db.session.connection import Connection
from db.settings import Settings

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def _said(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else names.line(value, "reason", longest=500)
    except names.InvalidNameError as error:
        raise click.BadParameter(f"say why, in {error}") from error


reason_option = click.option("--reason", callback=_said, help="Why; it is kept in the audit log.")
needed_reason_option = click.option(
    "--reason", required=True, callback=_said, help="Why; it is kept in the audit log."
)


class ShellError(click.ClickException):
    """A command failed; exit code 1."""


def reported(error: TenantryError) -> click.ClickException:
    """Return the error as the shell reports it, with its exit code."""
    wrong = click.UsageError if error.exit_code == click.UsageError.exit_code else ShellError
    return wrong("\n".join(map(names.escaped, str(error).splitlines())))


def configured() -> Settings:
    """Return the settings.

    Raises:
        click.UsageError: a setting is invalid (exit code 2).
    """
    try:
        return settings.load()
    except TenantryError as error:
        raise reported(error) from error


def required(config: Settings, name: str) -> str:
    """Return the value of a setting that the command needs.

    Raises:
        click.UsageError: the setting is not set (exit code 2).
    """
    try:
        return config.require(name)
    except TenantryError as error:
        raise reported(error) from error


def by(reason: str | None = None) -> By:
    """Return the user of this shell, for the audit log."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # the user id has no name, as in a container
        name = str(os.getuid())
    return By(f"shell:{name}", None, reason)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work and return its result.

    Raises:
        click.UsageError: the command was given wrongly (exit code 2).
        ShellError: the work failed, or PostgreSQL cannot be reached (exit code 1).
    """
    try:
        return asyncio.run(work)
    except TenantryError as error:
        raise reported(error) from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        said = "\n".join(map(names.escaped, failures.in_words(error).splitlines()))
        raise ShellError(f"PostgreSQL: {said}") from error


@contextmanager
def in_words() -> Iterator[None]:
    """Report an error of what the command was given, as `run` does."""
    try:
        yield
    except TenantryError as error:
        raise reported(error) from error


async def connected(url: str, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` with a new connection to ``url``, and return its result."""
    connection = await address.connect(url)
    try:
        return await work(connection)
    finally:
        await connection.close()


def act(work: Callable[[Connection], Awaitable[T]]) -> T:
    """Run ``work`` as the owner, in a transaction, and return its result. Raise the same errors as `run`."""

    async def transaction(connection: Connection) -> T:
        async with connection.transaction():
            return await work(connection)

    return run(connected(required(configured(), "owner_database_url"), transaction))


def block(text: str) -> list[str]:
    """Return the lines of a text from outside, indented, so that none of them looks like one of the command's."""
    return [f"    {line}" for line in text.splitlines()]


def show(value: Any, *, as_json: bool, text: str | Iterable[str]) -> None:
    """Print ``value`` as JSON if ``as_json`` is true, otherwise ``text``.

    Whatever a text holds, it prints as one line and cannot steer the terminal.

    Args:
        value: what programs are told.
        as_json: whether to print JSON.
        text: a line, or lines, to read.
    """
    if as_json:
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
        return
    for line in [text] if isinstance(text, str) else text:
        click.echo(names.escaped(line))
