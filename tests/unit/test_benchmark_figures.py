"""What `make bench` makes of its rounds: percentiles, ratios, the table, the JSON; and which tenants it draws."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests.benchmarks import figures
from tests.benchmarks.draws import drawn
from tests.benchmarks.figures import figure, percentile, ratio


def test_a_percentile_is_a_value_that_so_many_do_not_exceed() -> None:
    values = [float(value) for value in range(200, 0, -1)]
    assert percentile(values, 0.50) == 100
    assert percentile(values, 0.99) == 198
    assert percentile(values, 1.0) == 200
    assert percentile([7.0], 0.99) == 7
    assert percentile([1.0, 2.0], 0.0) == 1
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_a_ratio_is_made_round_by_round() -> None:
    # The machine was ten times slower in the last round; the medians' ratio would be 0.06.
    assert ratio([50.0, 60.0, 5.0], [100.0, 1_000.0, 10.0]) == 0.5
    with pytest.raises(ValueError, match="argument"):
        ratio([1.0], [1.0, 2.0])


def test_a_figure_has_spread_ratio_and_what_it_is_of() -> None:
    base = {"per_second": [100.0, 200.0, 300.0]}
    rounds = {"per_second": [10.0, 40.0, 90.0], "p99_ms": [3.0, 1.0, 2.0], "p50_ms": list[float]()}
    one = figure("Reading", "ours", rounds, base=base, of="ceiling")
    assert one.ratio == 0.2
    assert one.of == "ceiling"
    assert set(one.measured) == {"per_second", "p99_ms"}
    spread = one.measured["per_second"]
    assert (spread.min, spread.median, spread.max) == (10, 40, 90)
    assert figure("Reading", "ours", rounds, by="p99_ms", base={"p99_ms": [1.0, 1.0, 1.0]}).ratio == 2
    assert figure("Reading", "theirs", base).ratio is None


def test_the_table_has_a_line_for_each_figure_below_its_section() -> None:
    base = {"per_second": [12_345.0, 12_000.0, 13_000.0], "p50_ms": [1.25] * 3, "p99_ms": [250.4] * 3}
    slow = {"per_second": [4_115.0, 4_000.0, 4_333.0]}
    lines = figures.table(
        [
            figure("Reading", "ceiling", base),
            figure("Reading", "ours", slow, base=base, of="ceiling", note="with tokens"),
            figure("Memory", "worker", {"megabytes": [83.42]}),
        ]
    ).splitlines()
    assert re.split(r"  +", lines[0]) == [
        *("Reading:", "per second", "least", "most", "p50 ms", "p99 ms", "cpu ms", "MB", "ratio")
    ]
    assert lines[1].split() == ["ceiling", "12,345", "12,000", "13,000", "1.25", "250"]
    assert lines[2].split() == ["ours", "4,115", "4,000", "4,333", "0.33", "of", "ceiling;", "with", "tokens"]
    assert lines[3] == ""
    assert lines[4].startswith("Memory:")
    assert lines[5].split() == ["worker", "83.4"]
    for column in ("least", "most", "per second"):  # numbers stand below the ends of their names
        end = lines[0].index(column) + len(column)
        assert lines[1][end - 1].isdigit()
        assert lines[1][end : end + 1] in {"", " "}
    assert lines[5].index("83.4") + 4 == lines[4].index("MB") + 2


def test_no_figures_make_an_empty_table() -> None:
    assert figures.table([]) == ""


def test_the_json_has_every_round(tmp_path: Path) -> None:
    rounds = {"per_second": [10.0, 30.0, 20.0]}
    file = tmp_path / "made" / "bench.json"
    figures.write(
        file, [figure("Reading", "ours", rounds, base=rounds, of="itself")], {"machine": {"cores": 2}}
    )
    assert json.loads(file.read_text()) == {
        "machine": {"cores": 2},
        "figures": [
            {
                "section": "Reading",
                "what": "ours",
                "measured": {"per_second": {"median": 20, "min": 10, "max": 30, "rounds": [10, 30, 20]}},
                "ratio": 1,
                "of": "itself",
            }
        ],
    }


def test_zipf_meets_the_first_tenant_as_often_as_its_rank_says() -> None:
    met = Counter(drawn("zipf", 1_000, 1))
    total = sum(met.values())
    harmonic = sum(1 / rank for rank in range(1, 1_001))
    for rank in (1, 2, 4, 10):
        assert met[rank - 1] / total == pytest.approx(1 / rank / harmonic, rel=0.1)
    assert len(met) > 950


def test_uniform_meets_all_alike_and_a_seed_repeats() -> None:
    met = Counter(drawn("uniform", 10, 1))
    assert set(met) == set(range(10))
    assert max(met.values()) < 1.1 * min(met.values())
    assert drawn("uniform", 10, 1) == drawn("uniform", 10, 1) != drawn("uniform", 10, 2)


def test_a_turn_meets_each_once() -> None:
    assert drawn("turn", 5, 1) == [0, 1, 2, 3, 4]
