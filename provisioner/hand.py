"""The hand: which deliveries this process has received and not settled, and for how long."""

import time


class Delivery:
    """A message from its receipt until it is settled or its channel is closed, and the work on it is over."""

    def __init__(self) -> None:
        self.unsettled = True
        """Whether the broker still counts the message as unacknowledged."""
        self.working = True
        """Whether this process is still busy with it."""
        self.since: float | None = time.monotonic()
        """When it was received, or got its slot; None while it waits for one."""


class Hand:
    """The deliveries in hand."""

    def __init__(self) -> None:
        self._deliveries: set[Delivery] = set()

    @property
    def count(self) -> int:
        """The number of unsettled deliveries, which is the broker's number of unacknowledged messages."""
        return sum(delivery.unsettled for delivery in self._deliveries)

    @property
    def held_for(self) -> float:
        """The seconds that the delivery has been in hand that is there longest, without its wait for a slot."""
        now = time.monotonic()
        return max((now - each.since for each in self._deliveries if each.since is not None), default=0.0)

    def take(self) -> Delivery:
        """Note a delivery that has just been received."""
        delivery = Delivery()
        self._deliveries.add(delivery)
        return delivery

    def wait(self, delivery: Delivery) -> None:
        """Note that a delivery waits for a slot: as long as it takes, its time does not count."""
        delivery.since = None

    def restart(self, delivery: Delivery) -> None:
        """Note that a delivery has got its slot; its time begins."""
        delivery.since = time.monotonic()

    def settled(self, delivery: Delivery) -> None:
        """Note that a delivery was settled, or that the closing of its channel gave it back."""
        delivery.unsettled = False
        self._sweep(delivery)

    def done(self, delivery: Delivery) -> None:
        """Note that nobody works on a delivery any more."""
        delivery.working = False
        self._sweep(delivery)

    def given_back(self) -> None:
        """Note that the connection is closed: the broker has everything back that was unsettled."""
        for delivery in list(self._deliveries):
            self.settled(delivery)

    def _sweep(self, delivery: Delivery) -> None:
        if not (delivery.unsettled or delivery.working):
            self._deliveries.discard(delivery)
