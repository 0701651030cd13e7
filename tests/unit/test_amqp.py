"""What the AMQP library raises of a closed connection counts as its loss, and a defect does not."""

import asyncio

import pytest
from aiormq.base import FutureStore
from aiormq.tools import Countdown

from provisioner.amqp import lost_not_cancelled


async def test_a_plain_exception_of_the_library_is_a_lost_connection() -> None:
    """What waits when a connection closes is rejected with one if no reason is known."""
    store = FutureStore(asyncio.get_running_loop())
    written = store.create_future()
    rejected = asyncio.ensure_future(store.reject_all(None))
    with pytest.raises(ConnectionError, match="closed"), lost_not_cancelled():
        await Countdown(None)(written)
    await rejected


@pytest.mark.parametrize("error", [Exception("a defect"), RuntimeError("a defect"), KeyError("a defect")])
async def test_a_defect_stays_what_it_is(error: Exception) -> None:
    with pytest.raises(type(error), match="a defect"), lost_not_cancelled():
        raise error
