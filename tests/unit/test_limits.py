"""Buckets: so many at once, then evenly; each key for itself, in bounded memory."""

from api.gate.limits import Bucket


def test_a_minutes_worth_can_be_taken_at_once_and_no_more() -> None:
    bucket = Bucket(6)
    assert [bucket.take("a", now=100.0) for _ in range(6)] == [0.0] * 6
    assert bucket.take("a", now=100.0) == 10.0


def test_it_refills_evenly() -> None:
    bucket = Bucket(6)
    for _ in range(6):
        bucket.take("a", now=100.0)
    assert bucket.take("a", now=109.0) == 1.0
    assert bucket.take("a", now=110.0) == 0.0
    assert bucket.take("a", now=110.0) == 10.0
    assert [bucket.take("a", now=1000.0) for _ in range(6)] == [0.0] * 6


def test_refusals_cost_nothing() -> None:
    bucket = Bucket(1)
    bucket.take("a", now=100.0)
    assert [bucket.take("a", now=100.0) for _ in range(3)] == [60.0] * 3
    assert bucket.take("a", now=160.0) == 0.0


def test_one_keys_takes_are_not_anothers() -> None:
    bucket = Bucket(1)
    assert bucket.take("a", now=100.0) == 0.0
    assert bucket.take("b", now=100.0) == 0.0
    assert bucket.take("a", now=100.0) > 0


def test_what_is_given_back_can_be_taken_again() -> None:
    bucket = Bucket(1)
    for _ in range(5):
        assert bucket.take("a", now=100.0) == 0.0
        bucket.give_back("a")
    bucket.give_back("nobody")
    assert bucket.take("a", now=100.0) == 0.0
    assert bucket.take("a", now=100.0) > 0


def test_no_limit_is_no_limit() -> None:
    bucket = Bucket(0)
    assert {bucket.take("a", now=100.0) for _ in range(1000)} == {0.0}


def test_memory_is_bounded_and_the_key_that_took_longest_ago_goes_first() -> None:
    bucket = Bucket(1, capacity=2)
    for key in ("a", "b", "c"):
        assert bucket.take(key, now=100.0) == 0.0
    assert len(bucket._full_at) == 2
    assert bucket.take("c", now=100.0) > 0
    assert bucket.take("a", now=100.0) == 0.0  # forgotten, and so full again
