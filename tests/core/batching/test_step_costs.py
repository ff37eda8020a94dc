"""Costs of a step: against scipy's non-negative least squares, and what an interval covers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from serving_mathematics.core.batching.continuous_batching import TICK_S
from serving_mathematics.core.batching.step_costs import StepCosts, fit_costs, mean_and_half_width


def steps(seed: int, noise: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = np.column_stack(
        [rng.integers(0, 512, 40), rng.integers(0, 32, 40), rng.integers(0, 9000, 40)]
    )
    known = StepCosts(7e-3, 5e-4, 1e-3, 2e-6, 0.0, 0.0)
    return rows, known.predict_s(rows) * rng.lognormal(0, noise, 40)


@pytest.mark.parametrize("seed", range(5))
def test_fit_is_that_of_scipy(seed: int) -> None:
    rows, times = steps(seed, 0.05)
    costs = fit_costs(rows, times)
    terms = np.column_stack([np.ones(40), rows]) / times[:, None]
    want, _ = optimize.nnls(terms * [1, 100, 1, 1e3], np.ones(40))
    got = [costs.step_s, costs.prompt_token_s, costs.decode_token_s, costs.context_token_s]
    np.testing.assert_allclose(got, want * [1, 100, 1, 1e3], rtol=1e-6, atol=1e-12)
    errors = np.abs(costs.predict_s(rows) / times - 1)
    assert costs.median_error == pytest.approx(np.median(errors))
    assert costs.largest_error == pytest.approx(errors.max())


def test_pairs_are_told_from_prompt_tokens() -> None:
    rows, _ = steps(3, 0.0)
    pairs = rows[:, 0] * (rows[:, 0] + 1) / 2
    known = StepCosts(7e-3, 5e-4, 1e-3, 2e-6, 0.0, 0.0, 4e-7)
    tokens = np.column_stack([rows, pairs])
    found = fit_costs(tokens, known.predict_s(tokens))
    assert found.pair_s == pytest.approx(4e-7, rel=1e-6)
    assert found.prompt_token_s == pytest.approx(5e-4, rel=1e-6)
    assert fit_costs(rows, known.predict_s(tokens)).largest_error > 0.01


@given(st.integers(0, 100), st.floats(0.01, 100))
def test_costs_scale_with_the_unit_of_time(seed: int, unit: float) -> None:
    rows, times = steps(seed, 0.02)
    one, other = fit_costs(rows, times), fit_costs(rows, unit * times)
    np.testing.assert_allclose(other.predict_s(rows), unit * one.predict_s(rows), rtol=1e-6)


def test_engine_takes_the_costs_and_the_limits() -> None:
    costs = StepCosts(1.0, 2.0, 3.0, 4.0, 0.0, 0.0)
    limited = {"kv_blocks": 9, "block_tokens": 8, "token_budget": 7, "max_sequences": 6}
    engine = costs.engine(**limited, context_tokens=20, change_s=0.25)
    assert engine.elapsed_s(1, 1, 1, 1) == costs.predict_s([[1, 1, 1]])[0] == 10.0
    assert engine.table is not None
    assert TICK_S * engine.table.change == 0.25
    squares = replace(costs, pair_s=0.5).engine(**limited, context_tokens=20)
    assert squares.table is not None
    assert TICK_S * (squares.table.prompt[4] - squares.table.prompt[2]) == 0.5 * (3 + 4)
    assert replace(costs, pair_s=0.5).predict_s([[1, 1, 1, 7]])[0] == 13.5
    limits = engine.kv_blocks, engine.block_tokens, engine.token_budget, engine.max_sequences
    assert limits == (9, 8, 7, 6)


def test_interval_is_students() -> None:
    for runs in (3, 4, 5):
        sample = np.random.default_rng(runs).normal(size=runs)
        mean, half = mean_and_half_width(sample.tolist())
        low, high = stats.t.interval(0.95, runs - 1, sample.mean(), stats.sem(sample))
        assert (mean - half, mean + half) == pytest.approx((low, high))


def test_bad_input() -> None:
    rows, times = steps(0, 0.0)
    with pytest.raises(ValueError, match="tokens"):
        fit_costs(np.where(rows == rows[0], np.nan, rows), times)
    with pytest.raises(ValueError, match="tokens must be steps that tell"):
        fit_costs([[0, 1, 10]] * 4, [1.0] * 4)
