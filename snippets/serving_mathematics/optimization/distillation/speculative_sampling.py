"""The sampler of speculative decoding, for many sequences at once, whose output is the target's.

The draft proposes γ tokens; the target scores all γ + 1 positions in one pass and accepts token x
with probability min(1, p(x)/q(x)). The first refused one is replaced by a draw from what p has
beyond q, and everything behind it is forgotten; when all pass, a draw from p is added. A token of
the output has the probability min(p, q) + (p − min(p, q)) = p, whatever the draft.

Assumes: models that are tables over the last k tokens, which stand in for networks; p and q are
what is sampled from, after temperature and truncation.

Source: Leviathan, Kalman and Matias (2023), algorithm 1 and appendix A.1; Chen et al. (2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.speculative_decoding import expected_tokens
from serving_mathematics.optimization.distillation.distillation import _distributions
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_non_negative_integer,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

FALSE_ALARM = 1e-3  # chance that the χ² check refuses a sampler that is right
TOY_TARGET = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.4, 0.4, 0.2]])
TOY_DRAFT = np.array([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])


def acceptance_rate(p: npt.ArrayLike, q: npt.ArrayLike) -> FloatArray:
    """Probability Σmin(p, q) that a token drawn from q is accepted, along the last axis.

    p, q: distributions of the target and of the draft, of one shape (..., tokens). Raises
    ValueError unless both are distributions.

    >>> float(acceptance_rate([0.5, 0.5], [0.9, 0.1]).round(12))
    0.6
    """
    target, draft = _distributions(p, q)
    return np.asarray(np.minimum(target, draft).sum(axis=-1))


def residual(p: npt.ArrayLike, q: npt.ArrayLike) -> FloatArray:
    """What replaces a refused token: max(0, p − q) along the last axis, scaled to sum 1.

    p, q: distributions of the target and of the draft, of one shape (..., tokens). Where they are
    equal, nothing is ever refused, and p is returned. Raises ValueError unless both are
    distributions.

    >>> residual([0.5, 0.25, 0.25], [1.0, 0.0, 0.0]).tolist()
    [0.0, 0.5, 0.5]
    """
    target, draft = _distributions(p, q)
    beyond = np.maximum(target - draft, 0.0)
    total = beyond.sum(axis=-1, keepdims=True)
    return np.where(total > 0, beyond / np.where(total > 0, total, 1.0), target)


@dataclass(frozen=True)
class _MeanTokens:
    """A mean over sequences, its standard error, and half of its 95% interval."""

    mean: float
    standard_error: float
    half_width: float


@dataclass(frozen=True)
class _Rounds:
    """Speculation of n sequences at once: what each round put out."""

    tokens: IntArray  # shape (rounds, n, γ + 1), −1 after the last token of a round
    passed: BoolArray  # whether each proposed one passed its own test, also behind a refused one

    @property
    def lengths(self) -> IntArray:
        """Tokens that each round put out, shape (rounds, n)."""
        return np.asarray((self.tokens >= 0).sum(axis=2))

    def per_round(self, skip: int = 0) -> _MeanTokens:
        """Mean tokens per round after the first ones; standard error from the sequences, of which
        there are two or more. Raises ValueError otherwise."""
        rounds, sequences = self.lengths.shape
        require(0 <= skip < rounds, "skip", f"below the {rounds} rounds", skip)
        require(sequences >= 2, "contexts", "two or more for a standard error", sequences)
        means = self.lengths[skip:].mean(axis=0)
        error = float(means.std(ddof=1) / math.sqrt(means.size))
        return _MeanTokens(float(means.mean()), error, 1.96 * error)


def speculate(
    target: npt.ArrayLike,
    draft: npt.ArrayLike,
    contexts: npt.ArrayLike,
    draft_tokens: int,
    rounds: int,
    rng: np.random.Generator,
) -> _Rounds:
    """Decode n sequences speculatively with two tables of next-token probabilities.

    target, draft: rows p(·|context) and q(·|context), shape (V^k, V); the context is the last k
    tokens read as digits to the base V. contexts: where the sequences begin, shape (n,).
    draft_tokens: γ ≥ 0. rounds: passes of the target, at least 1. Raises ValueError outside these
    ranges.

    >>> sure = [[0.0, 1.0], [1.0, 0.0]]  # 0 and 1 in turn
    >>> speculate(sure, sure, [0], 2, 1, np.random.default_rng(0)).tokens.tolist()
    [[[1, 0, 1]]]
    """
    contexts = as_numbers(contexts=contexts)
    p, q = as_floats(target=target), as_floats(draft=draft)
    require(p.ndim == 2 and p.shape[1] >= 2, "target", "a table of two or more tokens", p.shape)
    size, tokens = p.shape
    order = round(math.log(size, tokens))
    require(tokens**order == size, "target", "of shape (V^k, V)", p.shape)
    acceptance_rate(p, q)  # refuses what is no pair of tables
    state = np.asarray(contexts)
    known = state.ndim == 1 and state.size > 0 and np.isin(state, np.arange(size)).all()
    require(known, "contexts", f"integers below {size}", contexts)
    draft_tokens = require_non_negative_integer(draft_tokens=draft_tokens)
    rounds = require_positive_integer(rounds=rounds)
    require_work(
        draft_tokens * rounds + 200 * draft_tokens + 200 * rounds,
        draft_tokens=draft_tokens,
        rounds=rounds,
    )

    def draw(edges: FloatArray) -> IntArray:
        level = rng.random((len(edges), 1)) * edges[:, -1:]
        return np.asarray((edges <= level).sum(axis=1))

    p_edges, q_edges, replacing = (table.cumsum(axis=1) for table in (p, q, residual(p, q)))
    rounds, draft_tokens = int(rounds), int(draft_tokens)
    lanes, state = np.arange(state.size), state.astype(np.int64)
    out = np.full((rounds, state.size, draft_tokens + 1), -1, dtype=np.int64)
    passed = np.empty((rounds, state.size, draft_tokens), dtype=np.bool_)
    for turn in range(rounds):
        path, guesses = [state], np.empty((state.size, draft_tokens), dtype=np.int64)
        for k in range(draft_tokens):
            guesses[:, k] = draw(q_edges[path[k]])
            path.append((path[k] * tokens + guesses[:, k]) % size)
        before = np.stack(path[:-1], axis=1) if draft_tokens else np.empty_like(guesses)
        level = rng.random(guesses.shape) * q[before, guesses]
        passed[turn] = level < p[before, guesses]
        accepted = np.cumprod(passed[turn], axis=1).sum(axis=1)
        state = np.stack(path, axis=1)[lanes, accepted]
        refused = (accepted < draft_tokens)[:, None]
        last = draw(np.where(refused, replacing[state], p_edges[state]))
        out[turn, :, :-1] = np.where(np.arange(draft_tokens) < accepted[:, None], guesses, -1)
        out[turn, lanes, accepted] = last
        state = (state * tokens + last) % size
    return _Rounds(out, passed)


def _even_tail(statistic: float, degrees: int) -> float:
    """P(χ² > statistic) for an even number of degrees of freedom: a Poisson sum."""
    half, terms = statistic / 2, np.arange(degrees // 2)
    logs = terms * math.log(half) - half - np.array([math.lgamma(k + 1.0) for k in terms])
    return float(np.exp(logs).sum())


def _chi_square(target: FloatArray, draft: FloatArray, seed: int) -> tuple[float, float]:
    """χ² of the first three tokens of 30,000 sequences against TOY_TARGET, and its p-value."""
    size = 30_000
    run = speculate(target, draft, np.zeros(size, int), 2, 3, np.random.default_rng(seed))
    flat = run.tokens.transpose(1, 0, 2).reshape(size, -1)
    triples = flat[np.arange(size)[:, None], np.argsort(flat < 0, axis=1, kind="stable")[:, :3]]
    counts = np.bincount(triples @ [9, 3, 1], minlength=27)
    joint = np.einsum("a,ab,bc->abc", TOY_TARGET[0], TOY_TARGET, TOY_TARGET).ravel()
    statistic = float(((counts - size * joint) ** 2 / (size * joint)).sum())
    return statistic, _even_tail(statistic, 26)


@cache
def _right_and_wrong() -> tuple[tuple[float, float], tuple[float, float]]:
    """χ² and p-value of the sampler, and of one whose replacements come from p itself."""
    alpha = acceptance_rate(TOY_TARGET, TOY_DRAFT)[:, None]
    wrong = np.minimum(TOY_TARGET, TOY_DRAFT) + (1 - alpha) * TOY_TARGET
    return _chi_square(TOY_TARGET, TOY_DRAFT, 191), _chi_square(wrong, wrong, 191)


def check_what_comes_out_is_the_target() -> None:
    """Accepted or replaced, a token has the target's distribution: min(p, q) + (1 − α)·residual
    is p.

    Source: Leviathan, Kalman and Matias (2023), appendix A.1; the identity on 2,000 random pairs,
    and α = 1 − ½Σ|p − q|.
    """
    rng = np.random.default_rng(192)
    p, q = rng.dirichlet(np.full(9, 0.4), (2, 2000))
    alpha = acceptance_rate(p, q)
    out = np.minimum(p, q) + (1 - alpha)[:, None] * residual(p, q)
    checks.close("largest difference", float(np.abs(out - p).max()), 0.0, atol=1e-14)
    checks.close("α", alpha, 1 - np.abs(p - q).sum(axis=1) / 2, atol=1e-13)


def check_sampled_tokens_have_the_target_distribution() -> None:
    """Three tokens in a row of 30,000 sequences have the target's joint distribution; the test
    detects a sampler with a common mistake.

    Source: χ² with 26 degrees of freedom against products of the target's rows; a right sampler
    fails this for one seed in 1,000. The mistake: replacements drawn from p, not from the residual.
    """
    (right, tail), (wrong, wrong_tail) = _right_and_wrong()
    checks.inside(f"p-value of χ² = {right:.1f}", tail, FALSE_ALARM, 1.0, kind="simulation")
    checks.inside(
        f"mistaken: p-value of χ² = {wrong:.0f}", wrong_tail, 0.0, 1e-9, kind="simulation"
    )


def check_measured_acceptance() -> None:
    """The first token is accepted with probability Σmin(p, q), and a round of one context yields
    what the formula says.

    Source: 20,000 sequences with the same target and draft in every context, so that acceptances
    are independent; standard errors from the sequences.
    """
    p, q = np.tile([0.7, 0.2, 0.1], (3, 1)), np.tile([0.4, 0.2, 0.4], (3, 1))
    start = np.zeros(20_000, dtype=int)
    run = speculate(p, q, start, 4, 2, np.random.default_rng(193))
    first = run.passed[0, :, 0]
    error = float(first.std()) / math.sqrt(first.size)
    checks.covers("acceptance", _MeanTokens(float(first.mean()), error, 1.96 * error), 0.7)
    checks.covers("tokens per round, γ = 4", run.per_round(), expected_tokens(0.7, 4))
