"""Deliveries as nobody should send them: bodies, headers and properties at random, for all three queues."""

import math
import random
import string
import struct
from asyncio import gather
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final
from uuid import UUID

import aio_pika
import msgspec
from aio_pika.abc import AbstractChannel
from aiormq.abc import AbstractChannel as Underlay
from pamqp import commands

from provisioner import topology
from tests.flows import event

BATCH: Final = 200
_QUEUES: Final = (topology.SIGNUP, topology.COMMANDS, topology.DEAD)
_KEYS: Final = {topology.SIGNUP: topology.SIGNUP_KEY, topology.COMMANDS: topology.COMMANDS_KEY}
_EXPIRATION: Final = 1 << 8
_DEPTHS: Final = (900, 3_000, 20_000)


class Sent(msgspec.Struct, frozen=True):
    """A message to publish.

    Args:
        exchange: the exchange to publish it to.
        body: its body.
        properties: its properties as they go over the wire, flags first.
        slug: the tenant that it asks for, if it is a genuine sign-up; everything else is to be parked.
    """

    exchange: str
    body: bytes
    properties: bytes
    slug: str | None = None


class Raw(commands.Basic.Properties):
    """Properties that go over the wire as they are."""

    def __init__(self, raw: bytes) -> None:
        super().__init__()
        self._raw = raw

    def marshal(self) -> bytes:
        return self._raw


class RawKey(str):
    """A routing key that is no UTF-8."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"\xff\xfe" + super().encode(encoding, errors)


def messages(seed: int, *, genuine: float = 0.015) -> Iterator[Sent]:
    """Yield messages without an end, the same for the same seed; no two bodies are equal.

    Args:
        seed: the generator's.
        genuine: the share of genuine sign-ups among them.
    """
    chance = random.Random(seed)
    number = 0
    while True:
        number += 1
        if chance.random() < genuine:
            yield _genuine(chance, f"genuine{number}")
        else:
            exchange = chance.choice(_QUEUES)
            body = chance.choice(_BODIES)(chance, b"%d" % number)
            # A broker drops what expires in the last queue of all.
            yield Sent(exchange, body, properties(chance, lasting=exchange == topology.DEAD))


def signups(seed: int, slug: str, count: int) -> list[Sent]:
    """Return genuine sign-ups whose slugs begin with ``slug``, the same for the same seed."""
    chance = random.Random(f"{seed} {slug}")
    return [_genuine(chance, f"{slug}{number}") for number in range(count)]


def _genuine(chance: random.Random, slug: str) -> Sent:
    body = event(str(UUID(int=chance.getrandbits(128))), source="fuzz", name=slug, slug=slug)
    return Sent(topology.SIGNUP, body, properties(chance, lasting=True), slug)


async def publish(url: str, sent: Iterable[Sent]) -> None:
    """Publish messages, many at once, and return when the broker has them all."""
    async with await aio_pika.connect(url) as connection:
        channel: AbstractChannel = await connection.channel()
        await topology.declare(channel)
        underlay = await channel.get_underlay_channel()
        left = iter(sent)
        while batch := list(islice(left, BATCH)):
            await gather(*(_publish(underlay, one) for one in batch))


async def _publish(channel: Underlay, sent: Sent) -> None:
    key = _KEYS.get(sent.exchange, RawKey("key"))
    await channel.basic_publish(
        sent.body, exchange=sent.exchange, routing_key=key, properties=Raw(sent.properties)
    )


def properties(chance: random.Random, *, lasting: bool = False) -> bytes:
    """Return properties that a broker passes on, with odd values for some of them.

    Args:
        chance: the generator.
        lasting: whether the message must not expire.
    """
    flags, values = 0, b""
    for flag, make in _PROPERTIES:
        if chance.random() < 0.3 and not (lasting and flag == _EXPIRATION):
            flags |= flag
            values += make(chance)
    return struct.pack(">H", flags) + values


def _short(value: bytes) -> bytes:
    return bytes([len(value)]) + value


def _text(chance: random.Random) -> bytes:
    return _short(
        chance.choice(
            (
                b"",
                b"x" * 255,
                b"\0",
                b"\xff\xfe",
                b"text/plain",
                "\N{SNOWMAN}".encode(),
                chance.randbytes(chance.randrange(40)),
            )
        )
    )


def _message_id(chance: random.Random) -> bytes:
    if chance.random() < 0.5:
        return _short(str(UUID(int=chance.getrandbits(128))).encode())
    return chance.choice((_text(chance), _short(b"'; DROP TABLE shared.messages; --"), _short(b"1_" * 16)))


def _table(content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + content


def _double(raw: bytes) -> bytes:
    """Return a double that is a number: at others the broker's channel crashes, and nobody gets the message."""
    return raw if math.isfinite(struct.unpack(">d", raw)[0]) else bytes(8)


def _headers(chance: random.Random) -> bytes:
    kind = chance.randrange(7)
    if kind == 0:
        content = b""
        for _ in range(chance.choice((5, 400, 3_000))):
            content = b"\x01hF" + _table(content)
    elif kind == 1:
        content = b"".join(_short(b"%d" % n) + b"V" for n in range(chance.choice((3, 2_000))))
    elif kind == 2:
        content = b"\x01hS" + _table(chance.randbytes(chance.choice((7, 60_000))))
    elif kind == 3:
        content = b"\x01hT" + chance.choice((b"\xff" * 8, b"\0" * 8))
    elif kind == 4:
        content = b"\x02\xff\xfet\x01" + b"\x01hD\xff" + b"\xff" * 4
    elif kind == 5:
        content = b"\x01hA" + _table(b"I\x80\0\0\0" * 50) + b"\x01ld" + _double(chance.randbytes(8))
    else:
        content = b"\x07x-deathS" + _table(b"forged")
    return _table(content)


def _byte(*values: int) -> Callable[[random.Random], bytes]:
    return lambda chance: bytes([chance.choice(values)])


# Flag and value, in the protocol's order; a broker itself refuses other delivery modes and user ids.
_PROPERTIES: Final[tuple[tuple[int, Callable[[random.Random], bytes]], ...]] = (
    (1 << 15, _text),
    (1 << 14, _text),
    (1 << 13, _headers),
    (1 << 12, _byte(1, 2)),
    (1 << 11, _byte(0, 1, 9, 10, 255)),
    (1 << 10, _text),
    (1 << 9, _text),
    (_EXPIRATION, lambda chance: _short(chance.choice((b"1", b"3600000")))),
    (1 << 7, _message_id),
    (1 << 6, lambda chance: chance.choice((b"\0" * 8, b"\x7f" + b"\xff" * 7, b"\xff" * 8))),
    (1 << 5, _text),
    (1 << 3, _text),
)


def _nested(chance: random.Random, tag: bytes) -> bytes:
    depth = chance.choice(_DEPTHS)
    opened, closed = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    deep = opened * depth + b"1" + closed * depth
    return chance.choice(
        (
            b"[%s,%s]" % (tag, deep),
            b'{"specversion":"1.0","id":"%s","source":"x","type":"tenant.signup","data":%s}' % (tag, deep),
            b'{"id":"%s","more":%s,"data":{}}' % (tag, deep),
            b"[%s,%s" % (tag, opened * depth),
        )
    )


def _no_text(chance: random.Random, tag: bytes) -> bytes:
    return (
        tag + chance.choice((b"\0", b"\xff\xfe", b"\xed\xa0\x80")) + chance.randbytes(chance.randrange(200))
    )


def _number(chance: random.Random, tag: bytes) -> bytes:
    number = chance.choice((b"1e999", b"9" * 5_000, b"-" + b"1" * 400, b"0." + b"0" * 3_000 + b"1", b"NaN"))
    return b'{"specversion":%s,"id":"%s","type":"tenant.signup"}' % (number, tag)


def _signup(chance: random.Random, tag: bytes) -> bytes:
    """Return a sign-up of which one thing is wrong."""
    whole: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"fuzz-{tag.decode()}",
        "source": "fuzz",
        "type": "tenant.signup",
        "data": {"name": "Shop"},
    }
    wrong: tuple[dict[str, Any], ...] = (
        {"specversion": "2.0"},
        {"id": None},
        {"id": "x" * 501},
        {"source": "a\0b"},
        {"type": "tenant.purge"},
        {"time": "yesterday"},
        {"time": "99999-01-01T00:00:00Z"},
        {"data": None},
        {"data": {"name": ""}},
        {"data": {"name": "\0"}},
        {"data": {"name": "Shop", "slug": 7}},
        {"data": {"name": "Shop", "admin_email": "a@\0.b"}},
        {"data": {"name": "Shop", "claim_sha256": "zz"}},
        {"data": {"name": "Shop", "more": True}},
        # More than an index of PostgreSQL takes.
        {"source": "".join(chance.choices("".join(map(chr, range(0x1F300, 0x1F5FF))), k=500)), "id": None},
    )
    fields = chance.choice(wrong)
    if len(str(fields.get("source", ""))) == 500:
        fields = {**fields, "id": "".join(chance.choices("".join(map(chr, range(0x1F300, 0x1F5FF))), k=500))}
    return msgspec.json.encode(whole | fields | {"tag": tag.decode()})


def _escapes(chance: random.Random, tag: bytes) -> bytes:
    name = chance.choice((b"\\ud800", b"\\u0000", b"\\udfff\\ud800", b"\\x"))
    return b'{"specversion":"1.0","id":"%s","source":"x","type":"tenant.signup","data":{"name":"%s"}}' % (
        tag,
        name,
    )


def _twice(chance: random.Random, tag: bytes) -> bytes:
    return b'{"id":"%s",%s"data":{"name":"a","name":1}}' % (
        tag,
        b'"type":"tenant.signup",' * chance.randrange(2, 50),
    )


def _any(chance: random.Random, tag: bytes) -> bytes:
    return tag + b" " + "".join(chance.choices(string.printable, k=chance.randrange(300))).encode()


def _cut(chance: random.Random, tag: bytes) -> bytes:
    whole = event(tag.decode(), name="Shop")
    return whole[: chance.randrange(30, len(whole))][:-1] + tag


_BODIES: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    _nested,
    _no_text,
    _number,
    _signup,
    _escapes,
    _twice,
    _any,
    _cut,
)
