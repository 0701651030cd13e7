"""AMQP connections: opened, closed and waited for within bounds, whatever aio-pika makes of a lost one."""

import asyncio
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import CONNECTION_EXCEPTIONS
from yarl import URL

LOST: Final = (*CONNECTION_EXCEPTIONS, TimeoutError)
"""What is raised where a connection was lost, or did not answer in time."""
HEARTBEAT: Final = 10
"""Seconds; a peer that says nothing for some three of these is gone (AMQP 0-9-1, heartbeats)."""


def address(url: str) -> URL:
    """Return a broker's address with a heartbeat, the address's own if it names one."""
    found = URL(url)
    return found if "heartbeat" in found.query else found.update_query(heartbeat=str(HEARTBEAT))


async def connect(broker: URL, *, timeout: float) -> AbstractConnection:  # noqa: ASYNC109 - aio-pika's own
    """Open a connection; one that could not be opened in time is closed at once."""
    connection = aio_pika.Connection(broker)
    try:
        await connection.connect(timeout=timeout)
    except BaseException:
        await connection.close()  # or its finalizer would, on whatever thread it comes to run
        raise
    return connection


async def first(*awaitables: Awaitable[object]) -> None:
    """Return when the first is done; the others are no longer waited for."""
    waits = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


@contextmanager
def lost_not_cancelled() -> Iterator[None]:
    """Tell a lost connection from a cancellation: aiormq cancels what waits on a channel that it closes.

    Unnoticed, that would end the caller's task in silence: a task group takes it for a cancelled child.

    Raises:
        ConnectionError: the connection was lost.
    """
    try:
        yield
    except asyncio.CancelledError as error:
        if is_asked_for():
            raise
        raise ConnectionError("closed while it was waited for") from error


def is_asked_for() -> bool:
    """Say whether this task's cancellation was asked for, and is not aiormq's."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def close(connection: AbstractConnection) -> None:
    with suppress(*LOST):
        async with asyncio.timeout(2):
            await connection.close()
    await connection.close()  # where the first was cut off, nothing is left to be done but to say so
