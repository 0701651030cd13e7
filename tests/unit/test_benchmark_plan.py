"""What `make bench` is asked for on its command line."""

from pathlib import Path

import pytest

from tests.benchmarks.__main__ import PARTS, asked, planned
from tests.benchmarks.plan import FULL, QUICK


def test_all_is_measured_in_full_unless_it_is_said_otherwise() -> None:
    assert asked([]).chosen == []
    assert planned(asked([])) == FULL
    assert planned(asked(["--quick"])) == QUICK


def test_parts_are_chosen_by_name() -> None:
    assert asked(["requests", "relay"]).chosen == ["requests", "relay"]
    assert asked([*PARTS]).chosen == [*PARTS]


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        asked(["everything"])
    assert "everything" in capsys.readouterr().err


def test_a_plan_is_changed_piece_by_piece() -> None:
    options = asked(["--quick", "--rounds", "9", "--sizes", "1000,10", "--json", "here.json"])
    plan = planned(options)
    assert (plan.rounds, plan.sizes) == (9, (10, 1_000))
    assert (plan.seconds, plan.tenants) == (QUICK.seconds, QUICK.tenants)
    assert options.json == Path("here.json")
