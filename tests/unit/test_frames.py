"""Frames from the broker are passed on without properties, headers and names that others have chosen."""

import asyncio
import struct

import pamqp.frame
import pytest
from pamqp import commands
from pamqp.header import ContentHeader

from provisioner import frames

BASICS = struct.Struct(">HHQH")


def stripped(flags: int, properties: bytes) -> ContentHeader:
    """Return the header as the library decodes it after it was stripped."""
    found = ContentHeader()
    found.unmarshal(frames.header(BASICS.pack(60, 0, 17, flags) + properties))
    assert found.body_size == 17
    return found


def test_priority_and_id_are_kept_and_everything_else_is_not() -> None:
    whole = commands.Basic.Properties(
        content_type="text/plain",
        headers={"a": {"b": [1, 2]}},
        delivery_mode=2,
        priority=9,
        correlation_id="c",
        expiration="1000",
        message_id="an id",
        message_type="t",
        app_id="a",
    )
    raw = whole.marshal()
    found = stripped(struct.unpack(">H", raw[:2])[0], raw[2:]).properties
    assert found == commands.Basic.Properties(priority=9, message_id="an id")


DEEP = b""
for _ in range(5_000):
    DEEP = b"\x01hF" + struct.pack(">L", len(DEEP)) + DEEP


@pytest.mark.parametrize(
    ("flags", "properties", "kept"),
    [
        (1 << 13 | 1 << 7, struct.pack(">L", len(DEEP)) + DEEP + b"\x01x", "x"),
        (1 << 7 | 1 << 6, b"\x01x" + b"\xff" * 8, "x"),
        (1 << 12 | 1 << 7, b"\x07\x01x", "x"),
        (1 << 7, b"\x02\xff\xfe", None),
        (1 << 7, b"\x09short", None),
        (1 << 7, b"", None),
        (1 << 13 | 1 << 7, b"\xff\xff\xff\xff\x01x", None),
        (1 << 7 | 1, b"\x01x", None),
        (0, b"", None),
    ],
)
def test_what_the_library_could_not_decode_does_no_harm(
    flags: int, properties: bytes, kept: str | None
) -> None:
    assert stripped(flags, properties).properties.message_id == kept


def test_a_delivery_keeps_its_tags_and_loses_a_key_that_is_no_text() -> None:
    payload = struct.pack(">HH", 60, 60) + b"\x03tag" + struct.pack(">QB", 7, 1) + b"\x01x\x02\xff\xfe"
    found = commands.Basic.Deliver()
    found.unmarshal(frames.delivery(payload)[4:])
    assert (found.consumer_tag, found.delivery_tag, found.redelivered) == ("tag", 7, True)
    assert (found.exchange, found.routing_key) == ("", "")


def test_other_methods_are_passed_on_as_they_are() -> None:
    payload = pamqp.frame.marshal(commands.Basic.QosOk(), 1)[7:-1]
    assert frames.delivery(payload) == payload


async def test_a_stream_that_ends_within_a_frame_is_incomplete() -> None:
    source = asyncio.StreamReader()
    read = frames.Frames(source, limit=1024)
    source.feed_data(b"\x03\x00\x01\x00\x00\x00\x02ab\xce" + b"\x03\x00\x01\x00\x00\x00\x02a")
    source.feed_eof()
    assert await read.readexactly(10) == b"\x03\x00\x01\x00\x00\x00\x02ab\xce"
    assert not read.at_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        await read.readexactly(1)
    assert read.at_eof()
