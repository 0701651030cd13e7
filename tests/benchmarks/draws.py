"""Draws: which tenant each request is of."""

import random
from itertools import accumulate
from typing import Final, Literal

Draw = Literal["uniform", "zipf", "turn"]
"""Each alike; the k-th of n with 1/k of the first's share; each once, one after the other."""

_LENGTH: Final = 1 << 16


def drawn(how: Draw, count: int, seed: int) -> list[int]:
    """Return the places of the tenants that requests are of, to be gone through again and again.

    Args:
        how: the distribution.
        count: how many tenants there are.
        seed: of the random ones.
    """
    if how == "turn":
        return list(range(count))
    chance = random.Random(seed)
    weights = [1.0 if how == "uniform" else 1 / place for place in range(1, count + 1)]
    return chance.choices(range(count), cum_weights=list(accumulate(weights)), k=_LENGTH)
