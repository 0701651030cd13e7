"""The interfaces of transports and consumers.

There are two transports, RabbitMQ and the process itself; both pass the same contract tests.
"""

from collections.abc import Sequence
from typing import Protocol

from db.ledger.heartbeats import BrokerState
from db.ledger.outbox import Leased
from provisioner.frames import TooLarge


class DatabaseAwayError(Exception):
    """PostgreSQL cannot be reached or used now. Nothing was decided about the message, and no attempt is spent."""


class Consumer(Protocol):
    """Takes the messages that a transport receives. When a call returns, the message can be acknowledged."""

    async def command(self, message_id: str | None, body: bytes) -> None:
        """Handle a command.

        Args:
            message_id: the message's id as the transport received it, if there was one.
            body: the message's body.

        Raises:
            DatabaseAwayError: the message must be delivered again later.
        """

    async def postpone(self, message_id: str | None, body: bytes) -> None:
        """Give a command back, for which there is no room. Arguments and errors are those of `command`."""

    async def signup(self, message_id: str | None, body: bytes) -> None:
        """Handle a sign-up from outside, new or sent again. Arguments and errors are those of `command`."""

    async def dead(self, message_id: str | None, body: bytes) -> None:
        """Handle a message that RabbitMQ gave up delivering. Arguments and errors are those of `command`."""

    async def too_large(self, message_id: str | None, first: bytes, message: TooLarge) -> None:
        """Handle a message, from any queue, whose body is above the limit.

        Args:
            message_id: the message's id as the transport received it, if there was one.
            first: the body's first bytes.
            message: what is known of the whole body.

        Raises:
            DatabaseAwayError: the message must be delivered again later.
        """

    async def database_back(self) -> None:
        """Wait until PostgreSQL answers again."""


class Transport(Protocol):
    """Publishes leased rows, and hands received messages to a `Consumer`."""

    @property
    def state(self) -> BrokerState: ...

    @property
    def receiving(self) -> bool:
        """Whether messages are being received."""

    @property
    def in_hand(self) -> int:
        """Number of messages received and not settled yet."""

    @property
    def held_for(self) -> float:
        """Seconds that a message has been in hand, of the one that is there longest; the wait for a slot aside."""

    async def wait_up(self) -> None:
        """Wait until the transport is ready to publish."""

    async def publish(self, leased: Sequence[Leased]) -> list[str | None]:
        """Publish one or more rows at once. Return for each None if it was accepted, otherwise the reason."""

    async def ready(self) -> int | None:
        """Return the number of commands that wait for a consumer, or None if it cannot be known now."""

    async def run(self, consumer: Consumer) -> None:
        """Receive messages and hand them to ``consumer`` until cancelled."""

    async def stop_receiving(self) -> None:
        """Stop receiving new messages; work on the messages in hand goes on."""

    async def drained(self) -> None:
        """Wait until no message is in hand."""

    async def abandon(self) -> None:
        """Cancel the work on messages still in hand, which then gives its attempts back."""
