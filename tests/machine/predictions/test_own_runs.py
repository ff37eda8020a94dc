"""Calibration with own runs: what it finds, what it leaves, brute force as oracle, every error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.step_time import CONSTANT_NAMES, FITTED, count_work
from serving_mathematics.machine.predictions.own_runs import (
    FACTORS,
    PER_TOKEN_SPREAD,
    SPREADS,
    OwnRun,
    calibrate,
    calibration_rows,
    calibration_text,
    fit_moves,
    scaled_constants,
)

from ...profiles import costly


def runs_at(loads: list[float], slower: float = 1.0) -> list[OwnRun]:
    """Runs that take so many times as long as predicted."""
    found = []
    for load in loads:
        one = replace(WORKED, concurrency=load)
        told = loop_latencies(count_work([one]), FITTED)
        each, first = float(told.per_token_s[0]), float(told.first_token_s[0])
        found.append(OwnRun(one, slower * first, slower * each, label=f"{load:g}"))
    return found


def test_what_is_predicted_changes_nothing() -> None:
    found = calibrate(runs_at([1, 8, 64]))
    assert found.factors == pytest.approx([1.0] * 5, abs=1e-6)
    assert found.constants.as_array() == pytest.approx(FITTED.as_array(), rel=1e-6)


@costly
@given(st.floats(0.6, 1.6))
def test_every_time_goes_the_way_of_the_runs(slower: float) -> None:
    found = calibrate(runs_at([1, 128], slower))  # of three each would be left out in turn
    ratio = found.after.per_token_s / found.before.per_token_s
    assert np.all((ratio - 1) * (slower - 1) >= 0)
    assert np.all(np.abs(np.log(ratio)) <= abs(np.log(slower)) + 0.02)


def test_more_runs_that_say_the_same_are_believed_more() -> None:
    said = [calibrate(runs_at([1] * count, 1.3)) for count in (1, 2, 8)]
    errors = [abs(one.after.per_token_s[0] / one.runs[0].per_token_s - 1) for one in said]
    assert errors[0] > errors[1] > errors[2]
    assert said[2].shrunk[1] > said[0].shrunk[1]


def test_the_most_likely_factor_by_brute_force() -> None:
    """One run, whose only free time is the memory's: the sum that is minimized, on a grid."""
    work = count_work([replace(WORKED, concurrency=1.0)])
    each = 1.3 * loop_latencies(work, FITTED).per_token_s
    nearly_none = np.where(np.arange(5) == 1, SPREADS, 1e-6)
    moved, _ = fit_moves(work, np.array([np.nan]), each, FITTED, nearly_none)

    def minimized(x: float) -> float:
        told = loop_latencies(work, scaled_constants(FITTED, x * (np.arange(5) == 1)))
        off = np.log(told.per_token_s[0] / each[0]) / PER_TOKEN_SPREAD
        return float(np.sqrt(1 + off**2) - 1 + (x / SPREADS[1]) ** 2 / 2)

    near = min(np.linspace(0.0, 0.5, 51), key=minimized)
    least = min(np.linspace(near - 0.01, near + 0.01, 41), key=minimized)
    assert moved[1] == pytest.approx(least, abs=2e-3)


def test_each_group_moves_its_own_constants() -> None:
    names = [name for group in FACTORS.values() for name in group]
    assert len(names) == len(set(names)) == 14
    for place, group in enumerate(FACTORS.values()):
        moved = scaled_constants(FITTED, -0.05 * (np.arange(5) == place)).as_array()
        changed = np.abs(moved / FITTED.as_array() - 1) > 1e-9
        assert {name for name, is_so in zip(CONSTANT_NAMES, changed, strict=True) if is_so} == set(
            group
        )


def test_no_share_is_above_one() -> None:
    fast = scaled_constants(FITTED, np.full(5, -9.0))
    shares = [value for name, value in vars(fast).items() if name.endswith("_share")]
    assert max(shares) == 1.0


def test_first_tokens_of_a_rate_are_not_fitted() -> None:
    slow = [replace(run, first_token_s=9 * run.first_token_s) for run in runs_at([4])]
    told = calibrate([replace(slow[0], steady=False)])
    assert told.factors == pytest.approx([1.0] * 5, abs=1e-6)
    assert "around a prompt" not in told.known
    assert "compared, not fitted" in calibration_text(told)
    assert calibrate(slow).factors[3] > 1.5


def test_a_device_that_nobody_measured_may_differ_by_more() -> None:
    runs = runs_at([1, 8], 4.0)
    known, new = (calibrate(runs, measured).after.per_token_s[0] for measured in (True, False))
    assert known < new
    assert new == pytest.approx(runs[0].per_token_s, rel=0.15)


def test_from_three_runs_on_each_is_predicted_by_the_others() -> None:
    assert calibrate(runs_at([1, 8], 1.2)).held_out is None
    runs = runs_at([1, 8, 64], 1.2)
    found = calibrate(runs)
    assert found.held_out is not None
    two = calibrate(runs[1:])
    expected = loop_latencies(count_work([runs[0].deployment]), two.constants).per_token_s[0]
    assert found.held_out.per_token_s[0] == pytest.approx(expected)
    rows = calibration_rows(found)
    assert len({len(row) for row in rows}) == 1
    assert rows[1][2] == "-17%"
    assert all(row[4] for row in rows[1:])
    assert not any(row[4] for row in calibration_rows(two)[1:])


def test_the_text_says_what_is_known_and_what_is_not() -> None:
    text = calibration_text(calibrate(runs_at([1], 1.2)))
    assert text.startswith("Calibrated with 1 run: ")
    assert "The runs say nothing of " in text
