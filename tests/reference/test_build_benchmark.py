"""Builds of other builders: ratios within a round, and what the page says of a record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.reference import build_benchmark
from serving_mathematics.reference.build_benchmark import (
    BUILDERS,
    CASES,
    PEERS,
    _aims,
    _paired_ratios,
    example,
)

SECONDS = st.floats(1e-3, 1e3)


@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=9))
def test_ratios_against_one_round_after_the_other(rounds: list[tuple[float, float]]) -> None:
    times, reference = zip(*rounds, strict=True)
    median, least, most = _paired_ratios(times, reference)
    each = sorted(one / other for one, other in rounds)
    assert (least, most) == (each[0], each[-1])
    assert sum(ratio <= median * (1 + 1e-9) for ratio in each) * 2 >= len(each)
    assert sum(ratio >= median * (1 - 1e-9) for ratio in each) * 2 >= len(each)


@given(st.lists(SECONDS, min_size=1, max_size=9), st.floats(0.1, 10))
def test_a_machine_that_slows_both_changes_no_ratio(times: list[float], slower: float) -> None:
    found = _paired_ratios([3 * slower * time for time in times], [slower * time for time in times])
    np.testing.assert_allclose(found, 3.0)


@pytest.mark.parametrize(
    ("times", "reference", "message"),
    [
        ([1.0, 2.0], [1.0], "times must be of length 1, got 2"),
    ],
)
def test_bad_series_are_refused(times: list[float], reference: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _paired_ratios(times, reference)


def row(*samples: float) -> dict[str, Any]:
    ordered = sorted(samples)
    return {
        "median": ordered[len(ordered) // 2],
        "least": ordered[0],
        "most": ordered[-1],
        "samples": list(samples),
    }


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A made-up record, in which MyST-NB serves an edit faster than this site."""
    seconds = {"ours": 2.0, "plain": 1.0, "sphinx-gallery": 4.0, "mkdocs-jupyter": 6.0}
    rows = {name: row(*(seconds.get(name, 8.0) * f for f in (1.0, 1.5, 0.5))) for name in BUILDERS}
    versions = {"numpy": "2", "matplotlib": "3"}
    made: dict[str, Any] = {
        "date": "2026-01-02",
        "machine": {"cpu": "a processor", "cores": 2},
        "load_before": 0.1,
        "rounds": 3,
        "ours": {"pages": 44, "modules": 160, "figures": 126, "workers": 2},
        "peers": {"pages": 25, "modules": 139, "figures": 118, "comparisons": 3113},
        "versions": {name: versions | {name: "1.2"} for name in ("ours", *PEERS)},
        "results": {case: dict(rows) for case in CASES} | {"cold_pss": dict(rows)},
    }
    made["results"]["serve"]["myst-nb"] = row(1.0, 1.5, 0.5)
    monkeypatch.setattr(build_benchmark, "read_record", lambda _: made)
    return made


def test_a_peer_that_wins_is_named(record: dict[str, Any]) -> None:
    found = example()
    assert (found.faster_cold, found.faster_serve) == ("none", "MyST-NB")
    assert (found.cold_peer, found.cold_peer_ratio) == ("sphinx-gallery", 2.0)
    record["results"]["cold"]["mkdocs-jupyter"] = row(1.0, 1.5, 0.5)
    assert example().faster_cold == "mkdocs-jupyter"
    assert example().cold_peer == "mkdocs-jupyter"


def test_the_aim_is_held_against_the_plain_site(record: dict[str, Any]) -> None:
    assert (example().unchanged_ratio, _aims()[0][3]) == (2.0, False)
    record["results"]["unchanged"]["plain"] = row(1.7, 2.55, 0.85)
    assert _aims()[0][3]


def test_an_edit_is_served_in_about_a_second_or_not(record: dict[str, Any]) -> None:
    assert _aims()[1][2:] == ("2.0 s", False)
    record["results"]["serve"]["ours"] = row(1.4, 1.4, 1.4)
    assert _aims()[1][2:] == ("1.4 s", True)


def test_tables_have_a_row_for_each_builder(record: dict[str, Any]) -> None:
    lines = example().build_rows.splitlines()
    assert [line.split(" | ")[0] for line in lines] == [f"| {name}" for name in BUILDERS.values()]
    assert lines[0] == "| this site | 2 (1–3) | 2 (1–3) | 2 (1–3) | 2 (1–3) | 2 (1–3) |"
    del record["results"]["cold_pss"]  # where there is no /proc to read
    assert example().build_rows.splitlines()[0].endswith("| – |")


def test_a_record_that_was_edited_is_found_out(record: dict[str, Any]) -> None:
    build_benchmark.check_summaries_of_builds()
    record["results"]["cold"]["ours"] = row(2.0, 3.0, 1.0) | {"median": 1.0}
    with pytest.raises(AssertionError, match="cold, this site"):
        build_benchmark.check_summaries_of_builds()


def test_builders_with_other_versions_are_found_out(record: dict[str, Any]) -> None:
    build_benchmark.check_builders_computed_with_the_same()
    record["versions"]["myst-nb"] |= {"numpy": "1"}
    with pytest.raises(AssertionError, match="numpy of MyST-NB"):
        build_benchmark.check_builders_computed_with_the_same()


def test_a_builder_that_was_timed_less_is_found_out(record: dict[str, Any]) -> None:
    record["results"]["cold"]["plain"] = row(1.0, 1.5)
    with pytest.raises(AssertionError, match="cold: samples"):
        build_benchmark.check_summaries_of_builds()
