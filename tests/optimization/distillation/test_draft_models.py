"""The accepted-most draft against a linear program and medians, fitted drafts against means, every
error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from serving_mathematics.optimization.distillation.draft_models import fit_draft, most_accepted


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(2, 5))
def test_no_draft_is_accepted_more_often(seed: int, rows: int, tokens: int) -> None:
    rng = np.random.default_rng(seed)
    p, w = rng.dirichlet(np.full(tokens, 0.6), rows), rng.random(rows)
    q = most_accepted(p, w)
    assert q.sum() == pytest.approx(1)
    assert np.all(q >= 0)
    size = rows * tokens  # variables: m(u, x) ≤ p(u, x), m(u, x) ≤ q(x), and q on the simplex
    below = np.hstack([np.eye(size), -np.tile(np.eye(tokens), (rows, 1))])
    best = optimize.linprog(
        -np.concatenate([np.repeat(w, tokens), np.zeros(tokens)]),
        A_ub=below,
        b_ub=np.zeros(size),
        A_eq=[[0.0] * size + [1.0] * tokens],
        b_eq=[1.0],
        bounds=[(0, float(x)) for x in p.ravel()] + [(0, 1)] * tokens,
    )
    assert w @ np.minimum(p, q).sum(axis=1) == pytest.approx(-best.fun, abs=1e-8)


def test_one_row_is_its_own_draft() -> None:
    assert most_accepted([[0.2, 0.5, 0.3]], [4.0]) == pytest.approx([0.2, 0.5, 0.3])
    rows = [[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]]
    assert most_accepted(rows, [1.0, 0.0]) == pytest.approx(rows[0])


def test_three_equal_rows_have_the_median_where_it_adds_up() -> None:
    rows = [[0.5, 0.5, 0.0], [0.5, 0.2, 0.3], [0.4, 0.5, 0.1]]
    medians = np.median(rows, axis=0)
    assert medians.sum() == pytest.approx(1.1)
    q = most_accepted(rows, [1.0, 1.0, 1.0])
    assert np.all(q <= medians + 1e-12)
    assert np.all(q >= np.min(rows, axis=0) - 1e-12)


@given(st.integers(0, 10**6))
def test_units_of_the_weights_do_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, w = rng.dirichlet(np.ones(4), 3), rng.random(3)
    assert most_accepted(p, 8 * w) == pytest.approx(most_accepted(p, w))
    twice = most_accepted(np.vstack([p, p]), np.concatenate([w, w]) / 2)
    shared = w @ np.minimum(p, twice).sum(axis=1)
    assert shared == pytest.approx(w @ np.minimum(p, most_accepted(p, w)).sum(axis=1))


def test_fitted_draft_is_a_mean_with_one_token_of_doubt() -> None:
    targets = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.2, 0.2, 0.6]])
    table = fit_draft([1, 1, 0], targets, 3)
    assert table[1] == pytest.approx((targets[:2].sum(axis=0) + 1 / 3) / 3)
    assert table[0] == pytest.approx((targets[2] + 1 / 3) / 2)
    assert table[2] == pytest.approx([1 / 3] * 3)


def test_soft_and_hard_targets_agree_in_the_end() -> None:
    rng = np.random.default_rng(0)
    p = np.array([0.7, 0.2, 0.1])
    tokens = rng.choice(3, 50_000, p=p)
    hard = fit_draft(np.zeros(50_000, int), np.eye(3)[tokens], 1)[0]
    soft = fit_draft(np.zeros(50_000, int), np.tile(p, (50_000, 1)), 1)[0]
    assert soft == pytest.approx(p, abs=1e-4)
    assert hard == pytest.approx(p, abs=0.01)


@pytest.mark.parametrize("bad", [[0.0], [-1.0], [math.nan], [math.inf]])
def test_weights_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="weights must be non-negative"):
        most_accepted([[0.5, 0.5]], bad)
    with pytest.raises(ValueError, match=r"weights must be of shape \(1,\)"):
        most_accepted([[0.5, 0.5]], [1.0, 1.0])


def test_a_whole_float_is_a_size() -> None:
    assert np.array_equal(fit_draft([0], [[0.5, 0.5]], 2.0), fit_draft([0], [[0.5, 0.5]], 2))  # type: ignore[arg-type]
