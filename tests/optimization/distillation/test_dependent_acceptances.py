"""The matrices against paths written out, against the sampler on random tables, and every error."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.speculative_decoding import expected_tokens
from serving_mathematics.optimization.distillation.dependent_acceptances import (
    _context_shares,
    _transition_matrix,
    _two_modes,
    exact_tokens_per_round,
)
from serving_mathematics.optimization.distillation.speculative_sampling import speculate

from tests.profiles import costly


def test_contexts_move_like_digits() -> None:
    table = np.arange(27.0).reshape(9, 3)
    matrix = _transition_matrix(table)
    for context, token in itertools.product(range(9), range(3)):
        assert matrix[context, (context * 3 + token) % 9] == table[context, token]
    assert matrix.sum() == table.sum()
    assert _transition_matrix([[0.2, 0.8]]).tolist() == [[1.0]]


@given(st.integers(0, 10**6), st.integers(1, 6))
def test_shares_are_stationary(seed: int, size: int) -> None:
    chain = np.random.default_rng(seed).dirichlet(np.ones(size), size)
    shares = _context_shares(chain)
    assert shares @ chain == pytest.approx(shares, abs=1e-9)
    assert shares == pytest.approx(np.linalg.matrix_power(chain, 2**14)[0], abs=1e-9)


def test_transient_contexts_have_no_share() -> None:
    assert _context_shares([[0.0, 1.0, 0.0], [0.0, 0.5, 0.5], [0.0, 1.0, 0.0]]) == pytest.approx(
        [0.0, 2 / 3, 1 / 3]
    )
    assert _context_shares([[0.0, 1.0], [1.0, 0.0]]) == pytest.approx([0.5, 0.5])


def by_paths(p: Any, q: Any, gamma: int) -> float:
    """Tokens per round by writing out every drafted word, for tables of one token."""
    size = len(p)
    tokens, kernel = np.zeros(size), np.zeros((size, size))
    for start in range(size):
        for word in itertools.product(range(size), repeat=gamma):
            chance, state = 1.0, start
            for place, token in enumerate(word):
                drafted = q[state, token]
                accepted = min(1.0, p[state, token] / drafted)
                beyond = np.maximum(p[state] - q[state], 0)
                refused = chance * drafted * (1 - accepted)
                tail = size ** (gamma - place - 1)  # words that share this beginning
                tokens[start] += refused / tail * (place + 1)
                if refused:
                    kernel[start] += refused / tail * beyond / beyond.sum()
                chance *= drafted * accepted
                state = token
            tokens[start] += chance * (gamma + 1)
            kernel[start] += chance * p[state]
    return float(_context_shares(kernel) @ tokens)


@costly
@given(st.integers(0, 10**6), st.integers(0, 4))
def test_every_word_written_out(seed: int, gamma: int) -> None:
    p, q = np.random.default_rng(seed).dirichlet(np.ones(3), (2, 3))
    assert exact_tokens_per_round(p, q, gamma) == pytest.approx(by_paths(p, q, gamma), rel=1e-9)


def test_order_two_against_the_sampler() -> None:
    rng = np.random.default_rng(2)
    p, q = rng.dirichlet(np.full(3, 0.6), (2, 9))
    run = speculate(p, q, rng.integers(0, 9, 2000), 3, 30, rng).per_round(skip=10)
    assert abs(run.mean - exact_tokens_per_round(p, q, 3)) < 4 * run.standard_error


@given(st.integers(0, 10**6), st.integers(0, 6))
def test_one_acceptance_everywhere_is_the_formula(seed: int, gamma: int) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(4), 4)
    p[:, 3] = 0
    p /= p.sum(axis=1, keepdims=True)
    alpha = float(rng.random())
    q = alpha * p + (1 - alpha) * np.eye(4)[3]
    exact = exact_tokens_per_round(p, q, gamma)
    assert exact == pytest.approx(expected_tokens(alpha, gamma), rel=1e-9)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.49), st.integers(1, 8))
def test_lasting_modes_never_help(easy: float, hard: float, switch: float, gamma: int) -> None:
    lasting = exact_tokens_per_round(*_two_modes(easy, hard, switch), gamma)
    formula = expected_tokens((easy + hard) / 2, gamma)
    endless = 2 / (1 / expected_tokens(easy, gamma) + 1 / expected_tokens(hard, gamma))
    assert endless - 1e-9 <= lasting <= formula + 1e-9


def test_modes_switch_as_often_as_said() -> None:
    target, draft = _two_modes(0.9, 0.4, 0.1)
    assert target[:3, 3:6].sum(axis=1) == pytest.approx([0.1] * 3)
    assert target[3:6, :3].sum(axis=1) == pytest.approx([0.1] * 3)
    assert target[:, 6].tolist() == [0.0] * 7
    assert np.minimum(target, draft).sum(axis=1) == pytest.approx([0.9] * 3 + [0.4] * 4)
    assert _context_shares(_transition_matrix(target)) == pytest.approx([1 / 6] * 6 + [0.0])


@pytest.mark.parametrize("bad", [[], [0.5, 0.5], [[1.0]], [[0.5, 0.5]] * 3, [[math.nan, 1.0]] * 2])
def test_tables_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="table must be"):
        _transition_matrix(bad)


@pytest.mark.parametrize(
    "bad",
    [[], [1.0], [[0.5, 0.5]], [[0.5, 0.6], [0.5, 0.5]], [[-1.0, 2.0], [1.0, 0.0]], np.eye(3)],
)
def test_chains_are_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="transitions must be"):
        _context_shares(bad)


def test_pairs_are_refused() -> None:
    table = [[0.5, 0.5]] * 2
    with pytest.raises(ValueError, match=r"draft must be of shape \(2, 2\)"):
        exact_tokens_per_round(table, table[:1], 1)
    with pytest.raises(ValueError, match="draft must be rows that sum to 1"):
        exact_tokens_per_round(table, [[0.5, 0.6]] * 2, 1)
    with pytest.raises(ValueError, match="transitions must be rows that sum to 1"):
        exact_tokens_per_round([[0.5, 0.6]] * 2, table, 1)
    with pytest.raises(ValueError, match="table must be non-negative"):
        exact_tokens_per_round(table, [[-0.5, 1.5]] * 2, 1)
    for bad in (-1, 1.5, math.nan, math.inf):
        with pytest.raises(ValueError, match="draft_tokens must be a"):
            exact_tokens_per_round(table, table, bad)  # type: ignore[arg-type]


def test_a_whole_float_is_a_length() -> None:
    table = [[0.5, 0.5], [0.25, 0.75]]
    draft = [[0.5, 0.5], [0.5, 0.5]]
    assert exact_tokens_per_round(table, draft, 3.0) == exact_tokens_per_round(table, draft, 3)  # type: ignore[arg-type]
