"""Retries wait longer each time, with jitter and a cap."""

from hypothesis import given
from hypothesis import strategies as st

from provisioner import failures


@given(st.integers(1, 10_000))
def test_a_wait_lies_between_half_and_all_of_its_doubling(attempts: int) -> None:
    wait = failures.backoff(attempts, base=1, cap=300)
    full = min(300, 2 ** min(attempts - 1, 30))
    assert full / 2 <= wait <= full
