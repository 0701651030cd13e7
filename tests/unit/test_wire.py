"""The wire: what is added to asyncpg's messages goes out with them, in one write, or nothing does."""

import asyncio
from typing import Any, cast

import pytest

from db.session.wire import Wire, WireError, executed, parsed_and_executed

SYNC = b"S\0\0\0\x04"
RUN = b"B\0\0\0\x0c\0s\0\0\0\0\0\0\0" + b"E\0\0\0\x09\0\0\0\0\0" + SYNC


class Transport:
    """Notes what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str) -> str:
        return f"the transport's {name}"


@pytest.fixture
def transport() -> Transport:
    """What the wire writes to."""
    return Transport()


@pytest.fixture
def wire(transport: Transport) -> Wire:
    """The wire."""
    return Wire(cast("asyncio.Transport", transport))


def test_messages_are_those_of_the_manual() -> None:
    assert executed("role", "tenant") == (
        b"B\0\0\0\x1a\0role\0\0\0\0\x01\0\0\0\x06tenant\0\0" + b"E\0\0\0\x09\0\0\0\0\0"
    )
    assert parsed_and_executed("BEGIN") == (
        b"P\0\0\0\x0d\0BEGIN\0\0\0" + b"B\0\0\0\x0c\0\0\0\0\0\0\0\0" + b"E\0\0\0\x09\0\0\0\0\0"
    )


def test_what_is_not_added_to_goes_through(wire: Wire, transport: Transport) -> None:
    wire.write(memoryview(b"Q\0\0\0\x04"))
    assert transport.written == [b"Q\0\0\0\x04"]
    assert wire.get_extra_info("socket") == "the transport's socket"


def test_what_is_added_goes_around_the_request_before_its_sync(wire: Wire, transport: Transport) -> None:
    wire.arm(b"<before>", b"<after>")
    wire.write(memoryview(RUN))
    wire.write(RUN)
    assert transport.written == [b"<before>" + RUN.removesuffix(SYNC) + b"<after>" + SYNC, RUN]


def test_what_was_not_sent_is_not_added_later(wire: Wire, transport: Transport) -> None:
    wire.arm(b"<before>", b"")
    wire.disarm()
    wire.write(RUN)
    assert transport.written == [RUN]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"P\0\0\0\x08\0\0\0\0" + SYNC, id="a statement prepared anew"),
        pytest.param(b"Q\0\0\0\x04", id="a simple query"),
        pytest.param(RUN.removesuffix(SYNC), id="no sync"),
        pytest.param(b"X\0\0\0\x04", id="the end"),
    ],
)
def test_another_message_than_expected_drops_the_connection(
    wire: Wire, transport: Transport, sent: Any
) -> None:
    wire.arm(b"<before>", b"")
    with pytest.raises(WireError):
        wire.write(sent)
    assert transport.aborted
    assert transport.written == []
