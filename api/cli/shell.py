"""What commands share: settings, ``--json``, and errors that end with an exit code instead of a traceback."""

import asyncio
import getpass
import os
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
import click
import msgspec

from db import settings
from db.audit import By
from db.connection import Connection
from db.settings import Settings, SettingsError

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Failed(click.ClickException):
    """A command could not do its work; exit code 1."""


def configured() -> Settings:
    """Return the settings.

    Raises:
        click.UsageError: one is wrong (exit code 2).
    """
    try:
        return settings.load()
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def required(config: Settings, name: str) -> str:
    """Return a setting the command needs.

    Raises:
        click.UsageError: it is not set (exit code 2).
    """
    try:
        return config.require(name)
    except SettingsError as error:
        raise click.UsageError(str(error)) from error


def by(reason: str | None = None) -> By:
    """Return who is at this shell, for the audit log."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # an id without a name, as in a container
        name = str(os.getuid())
    return By(f"shell:{name}", None, reason)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's work.

    Raises:
        Failed: PostgreSQL cannot be reached, or refused (exit code 1).
    """
    try:
        return asyncio.run(work)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise Failed(f"PostgreSQL: {error}") from error


async def connected(url: str, work: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
    """Run ``work`` with a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return await work(connection)
    finally:
        await connection.close()


def show(value: Any, *, as_json: bool, text: str) -> None:
    """Print a result: JSON for programs, ``text`` for people."""
    if as_json:
        sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    else:
        click.echo(text)
