from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.faults import (
    FAULTS,
    RECORD,
    _Fault,
    _told_of,
    score_fault,
    served,
)
from serving_mathematics.support.measuring import read_record


def runs(make: Callable[[np.random.Generator, int], Run]) -> list[Run]:
    return [make(np.random.default_rng([5, seed]), 1000) for seed in range(2)]


@functools.cache
def without(make: Callable[[np.random.Generator, int], Run]) -> list[Run]:
    """Runs without a fault, of which most findings have the same."""
    return runs(make)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_found_and_a_run_without_is_left_alone(name: str) -> None:
    fault = FAULTS[name]
    assert all(_told_of(name, run, fault.least) for run in runs(fault.made))
    assert not any(_told_of(name, run, fault.least) for run in without(fault.without))


def test_a_score_counts_what_is_missed_and_what_is_told_of_runs_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fails = FAULTS["failures"].made
    monkeypatch.setitem(FAULTS, "failures", _Fault(served))  # without its fault
    expected = {"finding": "failures", "runs": 4, "missed": 4, "alarms": 0}
    assert score_fault("failures", 2, (60, 90)) == expected
    monkeypatch.setitem(FAULTS, "failures", _Fault(served, without=fails))
    assert score_fault("failures", 2, (60, 90)) == expected | {"alarms": 4}


def test_the_record_is_of_all_faults() -> None:
    rows = read_record(RECORD)["rows"]
    assert [row["finding"] for row in rows] == list(FAULTS)


def test_a_run_is_the_same_for_the_same_seed() -> None:
    one, other = (served(np.random.default_rng(5), 200) for _ in range(2))
    assert all((one.columns[name] == other.columns[name]).all() for name in one.columns)
    assert not _told_of("failures", one, "note")
    assert not _told_of("bursts", one, "problem")
