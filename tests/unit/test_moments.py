"""Moments: one range of times and dates, whichever type they have and whichever way they come."""

from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest
from sqlalchemy import Date, DateTime, Time
from sqlalchemy.dialects.postgresql import DATEMULTIRANGE, DATERANGE, TSRANGE, TSTZMULTIRANGE, TSTZRANGE
from sqlalchemy.types import ARRAY, TypeEngine

from db import moments
from db.audit import AuditFilter
from db.errors import InvalidValueError
from db.ledger import envelope
from db.ledger.contracts import ContractError
from db.ledger.lists import MessageFilter
from db.session.codecs import Range, get_encoder
from tests.flows import event

FIRST = datetime(1, 1, 2, tzinfo=UTC)
LAST = datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=UTC)
BEYOND = [
    datetime.min.replace(tzinfo=UTC),
    FIRST - timedelta(microseconds=1),
    LAST + timedelta(microseconds=1),
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-14))),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
]


@pytest.mark.parametrize("moment", [FIRST, LAST, datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=14)))])
def test_a_time_in_range_is_given_in_utc(moment: datetime) -> None:
    assert moments.utc(moment) == moment
    assert moments.utc(moment).tzinfo is UTC
    assert all(moment.astimezone(timezone(timedelta(hours=hours))) for hours in (-14, 14))


@pytest.mark.parametrize("moment", BEYOND)
def test_a_time_beyond_the_range_is_refused_wherever_it_comes_from(moment: datetime) -> None:
    with pytest.raises(ValueError, match="beyond"):
        moments.utc(moment)
    for made in (AuditFilter, MessageFilter):
        with pytest.raises(InvalidValueError, match="beyond"):
            made(since=moment)
    with pytest.raises(ContractError, match="beyond"):
        envelope.signup(
            event("1", name="x").replace(b'"data"', f'"time":"{moment.isoformat()}","data"'.encode())
        )


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        (DateTime(timezone=True), BEYOND[3], LAST),
        (DateTime(), datetime.max, datetime(9999, 12, 30)),  # noqa: DTZ001, DTZ901
        (DateTime(), datetime.min, datetime(1, 1, 2)),  # noqa: DTZ001, DTZ901
        (DateTime(), LAST, datetime(2026, 1, 1)),  # noqa: DTZ001
        (Date(), date.max, date(9999, 12, 30)),
        (Date(), date.min, date(1, 1, 2)),
        (Time(), time(1, tzinfo=UTC), time(1)),
        (ARRAY(Date()), [date.max], [date(2026, 1, 1)]),
        (TSTZRANGE(), Range(None, BEYOND[3]), Range(FIRST, LAST)),
        (TSRANGE(), Range(datetime.min), Range(datetime(2026, 1, 1))),  # noqa: DTZ001, DTZ901
        (DATERANGE(), Range(date(2026, 1, 1), date.max), Range(date(2026, 1, 1), None)),
        (DATEMULTIRANGE(), [Range(date.min)], [Range(date(2026, 1, 1))]),
        (TSTZMULTIRANGE(), [Range(None, BEYOND[3])], [Range(None, LAST)]),
    ],
)
def test_a_column_of_times_takes_the_same_range(
    kind: TypeEngine[object], wrong: object, right: object
) -> None:
    encode = get_encoder(kind)
    assert encode is not None
    encode(right)
    with pytest.raises(ValueError, match=r"beyond|offset"):
        encode(wrong)
