"""Slots: bulk work leaves one to sign-ups, however many there are."""

import asyncio
import contextlib

import pytest

from provisioner.slots import Slots
from tests.support import eventually


@pytest.mark.parametrize(("concurrency", "all_", "bulk"), [(1, 2, 1), (2, 2, 1), (5, 5, 4)])
async def test_bulk_work_leaves_one_slot_and_sign_ups_take_them_all(
    concurrency: int, all_: int, bulk: int
) -> None:
    slots, over = Slots(concurrency), asyncio.Event()
    at_work = {True: 0, False: 0}

    async def work(*, is_bulk: bool) -> None:
        async with slots.taken(bulk=is_bulk):
            at_work[is_bulk] += 1
            await over.wait()

    async def settled(expected: dict[bool, int]) -> None:
        async def probe() -> bool:
            return at_work == expected

        await eventually(probe, within=5, what=str(expected))

    async with asyncio.TaskGroup() as group, contextlib.AsyncExitStack() as stack:
        stack.callback(over.set)
        for _ in range(2 * all_):
            group.create_task(work(is_bulk=True))
        await settled({True: bulk, False: 0})
        for _ in range(2 * all_):
            group.create_task(work(is_bulk=False))
        await settled({True: bulk, False: all_ - bulk})
    assert at_work == {True: 2 * all_, False: 2 * all_}
