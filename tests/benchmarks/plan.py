"""The plan: how long, how often and with how many tenants, quick or in full."""

from typing import Final

import msgspec


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much is measured. More rounds and longer ones bring less chance into the figures."""

    seconds: float
    """Of one load."""
    rounds: int
    connections: int = 32
    tenants: int
    """Of the requests' section."""
    sizes: tuple[int, ...]
    """How many tenants there are, one after the other, in the section on growth."""
    fleet_sizes: tuple[int, ...]
    """How many tenants there are, one after the other, in the section on the fleet."""
    signups: int
    """A round, through each transport."""
    batch: int
    """Tenants that are provisioned a round."""
    messages: int
    """A round of the relay."""


QUICK: Final = Plan(
    seconds=1.0,
    rounds=3,
    tenants=100,
    sizes=(10, 100, 300),
    fleet_sizes=(20, 100),
    signups=10,
    batch=20,
    messages=2_000,
)
FULL: Final = Plan(
    seconds=3.0,
    rounds=5,
    tenants=1_000,
    sizes=(10, 1_000, 10_000),
    fleet_sizes=(100, 1_000, 10_000),
    signups=40,
    batch=100,
    messages=5_000,
)
