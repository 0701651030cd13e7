"""AMQP connections: opens, closes and awaits them within time limits, and detects lost ones."""

import asyncio
import ssl
import traceback
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ChannelInvalidStateError,
    ProbableAuthenticationError,
)
from aiormq.exceptions import InvalidFrameError
from pamqp.exceptions import PAMQPException
from yarl import URL

from provisioner.frames import StrippedTransport

LOST: Final = (AMQPError, ChannelInvalidStateError, PAMQPException, OSError)
"""The errors raised if a connection is lost or does not answer in time (`TimeoutError` is an `OSError`).

The library's own tuple, ``CONNECTION_EXCEPTIONS``, has `RuntimeError` in it, and with that `RecursionError`: it
would hide errors of this program. Wait on the library within `lost_not_cancelled`, which sorts them.
"""
HEARTBEAT: Final = 10
"""Seconds between heartbeats. A peer that is silent for about three of them is gone (AMQP 0-9-1, heartbeats)."""


class RefusedError(ConnectionError):
    """The broker lets nobody in at this address. The message says what to look at."""


def address(url: str) -> URL:
    """Return a broker's address with a heartbeat of `HEARTBEAT` seconds, unless ``url`` names its own."""
    found = URL(url)
    return found if "heartbeat" in found.query else found.update_query(heartbeat=str(HEARTBEAT))


async def connect(
    broker: URL,
    *,
    timeout: float,  # noqa: ASYNC109 - aio-pika's own
    limit: int,
) -> AbstractConnection:
    """Open a connection; close it at once if that fails.

    Args:
        broker: the broker's address.
        timeout: seconds to wait for the connection.
        limit: the largest body that is received whole, in bytes.

    Raises:
        RefusedError: user, password or virtual host are not the broker's, or its certificate is not to be trusted.
    """
    connection = aio_pika.Connection(broker)
    connection.kwargs["transport_factory"] = StrippedTransport(limit)
    try:
        await connection.connect(timeout=timeout)
    except BaseException as error:
        await connection.close()  # otherwise its finalizer closes it, on whichever thread that runs
        if isinstance(error, AuthenticationError | ProbableAuthenticationError):
            raise RefusedError(f"the broker refuses {broker.user} or its password: see AMQP_URL") from error
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise RefusedError(
                f"the broker's certificate is refused: {error.__cause__.verify_message.rstrip('.')}:"
                " see the host and cafile in AMQP_URL"
            ) from error
        if isinstance(error.__cause__, ssl.SSLError):
            raise RefusedError(f"no TLS with the broker ({error.__cause__.reason}): see AMQP_URL") from error
        # It closes instead of opening, and aiormq does not tell why.
        if isinstance(error, InvalidFrameError) and "Connection.Close" in str(error):
            host = broker.path[1:] or "/"
            raise RefusedError(
                f"the broker has no virtual host {host}, or {broker.user} may not use it: see AMQP_URL"
            ) from error
        raise
    return connection


async def first(*awaitables: Awaitable[object]) -> None:
    """Wait for the first of several awaitables to be done, and cancel the others."""
    waits = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


@contextmanager
def lost_not_cancelled() -> Iterator[None]:
    """Turn what the library does with a closed connection into an error.

    It cancels tasks that wait on a closing channel: such a task would end without an error, since a task group
    ignores cancelled children. And it raises plain `RuntimeError` for what is closed already, and plain `Exception`
    for what was being written when it closed.

    Raises:
        ConnectionError: the connection was lost.
        asyncio.CancelledError: somebody else cancelled the task.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if is_asked_for():
            raise
        raise ConnectionError("closed while it was waited for") from error
    except Exception as error:
        if type(error) not in {RuntimeError, Exception} or not _is_the_librarys(error):
            raise
        raise ConnectionError(f"closed: {error!r}") from error


def _is_the_librarys(error: Exception) -> bool:
    """Return whether an error was raised in the AMQP library, and not in what it calls."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return frames[-1].f_globals.get("__name__", "").partition(".")[0] in {"aio_pika", "aiormq"}


def is_asked_for() -> bool:
    """Return whether this task's cancellation was requested, and does not come from aiormq."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def close(connection: AbstractConnection) -> None:
    with suppress(*LOST), lost_not_cancelled():
        async with asyncio.timeout(2):
            await connection.close()
    await connection.close()  # if the first was cut off, this only marks the connection closed
