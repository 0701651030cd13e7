"""What carries messages: RabbitMQ, or this process itself. Both pass the same contract tests."""

from collections.abc import Sequence
from typing import Protocol

from db.ledger.heartbeats import BrokerState
from db.ledger.outbox import Claim


class DatabaseAwayError(Exception):
    """PostgreSQL cannot be reached: nothing was decided about the message, and no attempt spent."""


class Consumer(Protocol):
    """Where a transport hands what it receives. A call that returns has settled the message."""

    async def command(self, message_id: str | None, body: bytes) -> None:
        """Handle a command; raises `DatabaseAwayError` where it must be delivered again later."""

    async def signup(self, message_id: str | None, body: bytes) -> None:
        """Take in a sign-up from outside, or one sent again; raises `DatabaseAwayError` like `command`."""

    async def dead(self, message_id: str | None, body: bytes) -> None:
        """Take in what RabbitMQ gave up on; raises `DatabaseAwayError` like `command`."""

    async def database_back(self) -> None:
        """Return when PostgreSQL answers again."""


class Transport(Protocol):
    """Carries claims to consumers, and what arrives to an `Consumer`."""

    @property
    def state(self) -> BrokerState: ...

    @property
    def receiving(self) -> bool:
        """Whether messages are being received."""

    @property
    def in_hand(self) -> int:
        """Messages received here and not settled yet."""

    async def wait_up(self) -> None:
        """Return when publishing has a chance."""

    async def publish(self, claims: Sequence[Claim]) -> list[str | None]:
        """Publish one or more claims at once; for each, None when it was taken, else why it was not."""

    async def ready(self) -> int | None:
        """Return how many commands wait for a consumer; None where that cannot be known now."""

    async def run(self, consumer: Consumer) -> None:
        """Receive until cancelled."""

    async def stop_receiving(self) -> None:
        """Take nothing new; what is in hand goes on."""

    async def drained(self) -> None:
        """Return when nothing is in hand any more."""

    async def abandon(self) -> None:
        """Cut off what is still in hand, which then gives its attempt back."""
