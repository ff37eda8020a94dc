"""What the page says of sketches follows the record."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from serving_mathematics.reference import performance_sketches
from serving_mathematics.reference.performance_sketches import RECORD, SKETCHES, example
from serving_mathematics.support import measuring


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A copy of the record, to be changed."""
    found = copy.deepcopy(measuring.read_record(RECORD))
    monkeypatch.setattr(performance_sketches, "read_record", lambda _: found)
    return found


def test_every_sketch_has_a_row() -> None:
    lines = example().rows_sketches.split("\n")
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [*SKETCHES.values()]
    assert {line.count("|") for line in lines} == {8}


def test_winners_win_in_both_runs(record: dict[str, Any]) -> None:
    first, second = (run["found"] for run in record["runs"])
    for run in (first, second):
        for name in SKETCHES:
            run[name]["fill_ns"]["median"] = 10.0 if name == "log histogram" else 20.0
    assert example().filled_faster == "none"
    first["KLL"]["fill_ns"]["median"] = 9.0
    assert example().filled_faster == "none"
    second["KLL"]["fill_ns"]["median"] = 9.5
    assert example().filled_faster == SKETCHES["KLL"] != example().merged_faster


def test_closeness_is_of_the_worst_round(record: dict[str, Any]) -> None:
    for run in record["runs"]:
        for name in SKETCHES:
            run["found"][name]["worst"]["errors"]["0.5"]["relative"] = 0.01
    assert example().closer_p50 == "none"
    for run in record["runs"]:
        run["found"]["t-digest in C"]["worst"]["errors"]["0.5"]["relative"] = 0.005
    assert example().closer_p50 == SKETCHES["t-digest in C"]


def test_a_broken_promise_fails(record: dict[str, Any]) -> None:
    record["runs"][0]["found"]["log histogram"]["worst"]["errors"]["0.99"]["relative"] = 0.0101
    with pytest.raises(AssertionError, match=r"errors at 0\.99"):
        performance_sketches.check_promise_is_kept()
