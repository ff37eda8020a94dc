"""Three counts of the experts that a step reads, on published runs: order, limits, errors."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.hardware.step_terms import engine_runs
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


def test_touched_is_the_step_models_own() -> None:
    _, ratios = _ratios()
    table, added, sparse = engine_runs()
    told = (added["prompts of others"] / table.per_token_s)[sparse]
    assert ratios["touched"] == pytest.approx(told)


def test_numbers_of_the_page() -> None:
    told = example()
    assert told.touched_error == _error("touched")
    assert told.touched_error < 0.5 * min(_error("of one token"), _error("all"))
    assert np.all(_medians("touched") > 0.8)
