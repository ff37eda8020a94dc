"""Three counts of the experts that a step reads, on published runs: order, limits, errors."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.step_terms import engine_runs
from serving_mathematics.core.hardware.step_time import step_parts
from serving_mathematics.machine.mixture_of_experts.three_counts import (
    COUNTS,
    _error,
    _medians,
    _ratios,
    example,
)


def test_of_one_token_is_least_and_all_is_most() -> None:
    _, ratios = _ratios()
    one, every, touched = (ratios[name] for name in COUNTS)
    rounding = 1 + 1e-9
    assert np.all(one <= touched * rounding)
    assert np.all(touched <= every * rounding)


def test_a_crowd_touches_all() -> None:
    crowd, ratios = _ratios()
    many = crowd > 6
    assert many.sum() > 50
    assert ratios["touched"][many] == pytest.approx(ratios["all"][many], rel=0.01)


def test_touched_is_the_step_models_own() -> None:
    _, ratios = _ratios()
    table, added, sparse = engine_runs()
    told = (added["prompts of others"] / table.per_token_s)[sparse]
    assert ratios["touched"] == pytest.approx(told)


def test_an_error_of_reading_counts_for_the_experts_alone() -> None:
    table, _, sparse = engine_runs()
    work = table.engines.rows(sparse)
    running = np.minimum(work.concurrency, work.room)
    parts = step_parts(work, KERNELS, running, work.prompt + work.answer / 2)
    more = (_ratios(1.5)[1]["touched"] - _ratios()[1]["touched"]) * table.per_token_s[sparse]
    assert more == pytest.approx(0.5 * parts.experts / work.accepted)


def test_numbers_of_the_page() -> None:
    told = example()
    assert told.touched_error == _error("touched")
    assert told.touched_error < 0.5 * min(_error("of one token"), _error("all"))
    assert np.all(_medians("touched") > 0.8)
