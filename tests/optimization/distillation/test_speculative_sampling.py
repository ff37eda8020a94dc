"""The sampler's output distribution over many seeds and lengths of draft, the coupling bound by a
linear program, drafts at their extremes, every error."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from serving_mathematics.optimization.distillation.speculative_sampling import (
    TOY_DRAFT,
    TOY_TARGET,
    _even_tail,
    _MeanTokens,
    _Rounds,
    acceptance_rate,
    residual,
    speculate,
)


def written(run: _Rounds, length: int) -> np.ndarray[Any, Any]:
    """The first tokens of every sequence."""
    lanes = run.tokens.transpose(1, 0, 2).reshape(run.tokens.shape[1], -1)
    return np.array([lane[lane >= 0][:length] for lane in lanes])


@given(st.integers(0, 10**6))
def test_no_coupling_agrees_more_often(seed: int) -> None:
    p, q = np.random.default_rng(seed).dirichlet(np.full(4, 0.7), 2)
    rows = np.kron(np.eye(4), np.ones(4))
    columns = np.kron(np.ones(4), np.eye(4))
    best: Any = optimize.linprog(
        -np.eye(4).ravel(), A_eq=np.vstack([rows, columns]), b_eq=np.concatenate([p, q])
    )
    assert acceptance_rate(p, q) == pytest.approx(-best.fun, abs=1e-8)


def test_equal_models() -> None:
    assert acceptance_rate([0.3, 0.7], [0.3, 0.7]) == pytest.approx(1)
    assert residual([0.3, 0.7], [0.3, 0.7]).tolist() == [0.3, 0.7]
    run = speculate(TOY_TARGET, TOY_TARGET, [0, 1, 2], 5, 4, np.random.default_rng(0))
    assert run.lengths.tolist() == [[6] * 3] * 4
    assert run.passed.all()
    assert run.tokens.shape == (4, 3, 6)


def test_disjoint_models_write_one_token_a_round() -> None:
    target, draft = np.tile([0.5, 0.5, 0.0], (3, 1)), np.tile([0.0, 0.0, 1.0], (3, 1))
    run = speculate(target, draft, np.zeros(500, int), 3, 2, np.random.default_rng(0))
    assert (run.lengths == 1).all()
    assert not run.passed.any()
    assert set(written(run, 2).ravel()) == {0, 1}
    assert run.per_round().mean == 1.0


@pytest.mark.parametrize("gamma", [0, 1, 3])
def test_order_two_tables_keep_the_joint_distribution(gamma: int) -> None:
    rng = np.random.default_rng(7 + gamma)
    target, draft = rng.dirichlet(np.ones(2), (2, 4))
    run = speculate(target, draft, np.full(40_000, 2), gamma, 4, rng)
    counts = np.bincount(written(run, 4) @ [8, 4, 2, 1], minlength=16)
    expected = []
    for word in itertools.product(range(2), repeat=4):
        state, chance = 2, 1.0
        for token in word:
            chance *= target[state, token]
            state = (2 * state + token) % 4
        expected.append(40_000 * chance)
    assert stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.parametrize(("statistic", "degrees"), [(0.5, 2), (20.0, 26), (60.0, 26), (9.0, 8)])
def test_tail_is_scipys(statistic: float, degrees: int) -> None:
    assert _even_tail(statistic, degrees) == pytest.approx(stats.chi2.sf(statistic, degrees))


def test_first_tests_pass_as_often_as_alpha_in_each_context() -> None:
    rng = np.random.default_rng(3)
    for context in range(3):
        run = speculate(TOY_TARGET, TOY_DRAFT, [context] * 20_000, 2, 1, rng)
        alpha = float(acceptance_rate(TOY_TARGET[context], TOY_DRAFT[context]))
        error = math.sqrt(alpha * (1 - alpha) / 20_000)
        assert abs(run.passed[0, :, 0].mean() - alpha) < 4 * error


def test_lengths_and_means_are_counted_from_the_tokens() -> None:
    tokens = np.array([[[1, 2, -1], [0, -1, -1]], [[2, 2, 2], [1, 0, -1]]])
    run = _Rounds(tokens, np.zeros((2, 2, 2), bool))
    assert run.lengths.tolist() == [[2, 1], [3, 2]]
    assert run.per_round().mean == 2.0
    assert run.per_round(skip=1).mean == 2.5
    assert run.per_round().standard_error == pytest.approx(0.5)
    assert run.per_round().half_width == pytest.approx(0.98)
    assert isinstance(run.per_round(), _MeanTokens)
    with pytest.raises(ValueError, match="skip must be below the 2 rounds"):
        run.per_round(skip=2)
    with pytest.raises(ValueError, match="contexts must be two or more"):
        _Rounds(tokens[:, :1], run.passed).per_round()


def test_tables_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"q must be of shape \(2,\)"):
        residual([0.5, 0.5], [1.0])
    table = [[0.5, 0.5]] * 3
    with pytest.raises(ValueError, match="target must be of"):
        speculate(table, table, [0], 1, 1, np.random.default_rng(0))
