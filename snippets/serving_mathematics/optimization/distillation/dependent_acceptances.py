"""Tokens per round when acceptances depend on each other: exact for tables, by matrices.

When target and draft are tables over the last k tokens, let P be the transitions of the target, A
those that are accepted, with weights min(p, q), and R = P − A. A round that begins in some context
yields Σ A^i·1 tokens, i from 0 to γ, and the next one begins where Σ A^i·R + A^γ·P leads. Easy
and hard passages that last make a round yield less than the mean acceptance promises.

Assumes: a target that comes back to every context it uses; contexts of exactly k tokens.

Source: derived on the page; Leviathan, Kalman and Matias (2023), equation 1, for independent
acceptances.
"""

from __future__ import annotations

import math
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.speculative_decoding import (
    best_draft_length,
    expected_tokens,
    speedup,
)
from serving_mathematics.optimization.distillation.speculative_sampling import (
    _MeanTokens,
    speculate,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative_integer,
    require_shape,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

EASY, HARD, RUN_LENGTH, GAMMA = 0.95, 0.35, 20, 4  # acceptances, mean passage, drafted tokens
COST = 0.05  # of a pass of the draft


def _transition_matrix(table: npt.ArrayLike) -> FloatArray:
    """Context to context, shape (V^k, V^k), for weights of the next token, shape (V^k, V).

    A context is the last k tokens as digits to the base V. Rows keep their sums. Raises ValueError
    on other shapes or numbers.
    """
    weights = as_floats(table=table)
    require(weights.ndim == 2 and weights.shape[1] >= 2, "table", "a table", weights.shape)
    size, tokens = weights.shape
    whole = tokens ** round(math.log(size, tokens)) == size
    require(whole, "table", "of shape (V^k, V)", weights.shape)
    require(np.all((weights >= 0) & (weights < math.inf)), "table", "non-negative", weights)
    matrix = np.zeros((size, size))
    contexts = np.arange(size)[:, None]
    np.add.at(matrix, (contexts, (contexts * tokens + np.arange(tokens)) % size), weights)
    return matrix


def _context_shares(transitions: npt.ArrayLike) -> FloatArray:
    """Long-run share of every state of a Markov chain, shape (n,).

    transitions: rows that sum to 1, shape (n, n), with one class of states that is returned to.
    Raises ValueError on other matrices.
    """
    chain = as_floats(transitions=transitions)
    square = chain.ndim == 2 and chain.size > 0 and chain.shape[0] == chain.shape[1]
    require(square, "transitions", "square", chain.shape)
    good = np.all(chain >= 0) and np.all(np.abs(chain.sum(axis=1) - 1) < 1e-9)
    require(good, "transitions", "rows that sum to 1", chain)
    size = len(chain)
    rows = np.vstack([chain.T - np.eye(size), np.ones(size)])
    shares, _, rank, _ = np.linalg.lstsq(rows, np.append(np.zeros(size), 1.0))
    require(rank == size, "transitions", "a chain with one recurrent class", chain)
    return np.asarray(np.maximum(shares, 0.0))


def exact_tokens_per_round(target: npt.ArrayLike, draft: npt.ArrayLike, draft_tokens: int) -> float:
    """Mean tokens per round in the long run, without assuming independent acceptances.

    target, draft: tables of next-token probabilities, shape (V^k, V). draft_tokens: γ ≥ 0. Raises
    ValueError on other shapes or numbers.

    >>> round(exact_tokens_per_round([[0.5, 0.5]] * 2, [[1.0, 0.0]] * 2, draft_tokens=2), 12)
    1.75
    """
    p, q = as_floats(target=target), as_floats(draft=draft)
    require_shape(p.shape, draft=q)
    draft_tokens = require_non_negative_integer(draft_tokens=draft_tokens)
    draft_tokens = require_in("[0, 1e5]", draft_tokens=draft_tokens)
    every, accepted = _transition_matrix(p), _transition_matrix(np.minimum(p, q))
    require(np.all(np.abs(q.sum(axis=1) - 1) < 1e-9), "draft", "rows that sum to 1", q)
    reached = np.eye(len(p))  # contexts after i accepted tokens, by where the round began
    kernel, tokens = np.zeros_like(reached), np.ones(len(p))
    for _ in range(int(draft_tokens)):
        kernel += reached @ (every - accepted)
        reached = reached @ accepted
        tokens += reached.sum(axis=1)
    starts = _context_shares(np.maximum(kernel + reached @ every, 0.0))
    return float(starts @ tokens)


def _two_modes(easy: float, hard: float, switch: float) -> tuple[FloatArray, FloatArray]:
    """Target and draft of seven tokens, of which three belong to an easy mode and three to a hard.

    easy, hard: acceptance in either mode, in [0, 1]. switch: probability in (0, 1] that the next
    token is of the other mode. The draft wastes the rest of its probability on a seventh token that
    the target never emits. Raises ValueError outside these ranges.
    """
    easy, hard = as_number(easy=easy, hard=hard)
    for name, value in (("easy", easy), ("hard", hard)):
        require(0 <= value <= 1, name, "in [0, 1]", value)
    switch = require_in("(0, 1]", switch=switch)
    stay = [(1 - switch) / 3] * 3
    leave = [switch / 3] * 3
    target = np.array([[*stay, *leave, 0.0]] * 3 + [[*leave, *stay, 0.0]] * 4)
    passing = np.array([easy] * 3 + [hard] * 4)[:, None]
    return target, passing * target + (1 - passing) * np.eye(7)[6]


def _tested_acceptance(target: FloatArray, draft: FloatArray, draft_tokens: int) -> float:
    """Of the tokens that are tested, up to a round's first refusal, the share that is accepted."""
    every, accepted = _transition_matrix(target), _transition_matrix(np.minimum(target, draft))
    reached, kernel = np.eye(len(target)), np.zeros((len(target), len(target)))
    ways = [reached]
    for _ in range(draft_tokens):
        kernel += reached @ (every - accepted)
        ways.append(reached := reached @ accepted)
    starts = _context_shares(np.maximum(kernel + reached @ every, 0.0))
    found = [float((starts @ way).sum()) for way in ways]
    return sum(found[1:]) / sum(found[:-1])


def _best_lengths() -> tuple[int, int]:
    """Of easy passages, and of hard ones."""
    return best_draft_length(EASY, COST), best_draft_length(HARD, COST)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    formula = expected_tokens((EASY + HARD) / 2, GAMMA)
    modes = _two_modes(EASY, HARD, 1 / RUN_LENGTH)
    exact = exact_tokens_per_round(*modes, GAMMA)
    tested = expected_tokens(_tested_acceptance(*modes, GAMMA), GAMMA)
    return SimpleNamespace(
        modes_error_percent=100 * (formula / exact - 1),
        tested_error_percent=100 * (tested / exact - 1),
        easy_length=_best_lengths()[0],
        hard_length=_best_lengths()[1],
    )


def figure_mode_runs(figure: Figure) -> None:
    """When easy and hard passages last, a round yields less than the mean acceptance promises.

    Acceptance is 0.95 in one mode and 0.35 in the other, half of the tokens each, and four tokens
    are drafted. Line: exact. Dots: the sampler, with 95% intervals. Dashed: the formula at the mean
    acceptance, and the limit of endless passages.

    Alt: Tokens per round against the mean length of a passage, from 1 to 300 tokens on a
    logarithmic axis. The exact curve starts near 2.6, crosses the formula's 2.53 at a length of 2
    and falls to 2.29. The dots lie on it.
    """
    axes = figure.subplots()
    lengths = np.geomspace(1.0, 300.0, 40)
    exact = [exact_tokens_per_round(*_two_modes(EASY, HARD, 1 / x), GAMMA) for x in lengths]
    axes.plot(lengths, exact, color="C0")
    dots = (1.0, 2.0, 6.0, 20.0, 60.0)
    means = [_modes_measured(x).mean for x in dots]
    halves = [_modes_measured(x).half_width for x in dots]
    axes.errorbar(dots, means, halves, fmt="o", color="C0", capsize=2, clip_on=False)
    axes.set_xscale("log")
    slow = 2 / (1 / expected_tokens(EASY, GAMMA) + 1 / expected_tokens(HARD, GAMMA))
    for level, text, place, side in (
        (expected_tokens((EASY + HARD) / 2, GAMMA), "formula at the mean α", (290, 0.006), "right"),
        (slow, "endless passages", (1.1, -0.022), "left"),
    ):
        axes.axhline(level, color="C4", linestyle="--", linewidth=1)
        axes.annotate(text, (place[0], level + place[1]), ha=side)
    axes.annotate("exact", (7, 2.42), color="C0")
    axes.set(xlim=(1, 300), ylim=(2.2, 2.62))
    axes.set_xticks([1, 3, 10, 30, 100, 300], ["1", "3", "10", "30", "100", "300"])
    axes.minorticks_off()
    axes.set(xlabel="mean length of a passage [token]", ylabel="tokens per round")


@cache
def _modes_measured(run_length: float) -> _MeanTokens:
    """Tokens per round of the two modes, sampled; half of the sequences begin in either."""
    starts = np.repeat([0, 3], 280)
    target, draft = _two_modes(EASY, HARD, 1 / run_length)
    run = speculate(target, draft, starts, GAMMA, 120, np.random.default_rng(196))
    return run.per_round(skip=40)


def check_exact_tokens_per_round() -> None:
    """The matrices give what the sampler yields, when passages last for one token or for twenty.

    Source: 560 sequences of 80 rounds; standard errors from the sequences.
    """
    for length in (1.0, 20.0):
        exact = exact_tokens_per_round(*_two_modes(EASY, HARD, 1 / length), GAMMA)
        checks.covers(f"passages of {length:g}", _modes_measured(length), exact)


def check_formula_needs_independence() -> None:
    """The formula is exact when every token draws its mode afresh; with endless passages the truth
    is the harmonic mean of the modes.

    Source: the matrices at a switching probability of ½; rounds per token, averaged over tokens.
    """
    for easy, hard, gamma in ((0.95, 0.35, 4), (0.8, 0.1, 7)):
        exact = exact_tokens_per_round(*_two_modes(easy, hard, 0.5), gamma)
        formula = expected_tokens((easy + hard) / 2, gamma)
        checks.close(f"independent, γ = {gamma}", exact, formula, rtol=1e-12)
        slow = exact_tokens_per_round(*_two_modes(easy, hard, 1e-7), gamma)
        rounds = (1 / expected_tokens(easy, gamma) + 1 / expected_tokens(hard, gamma)) / 2
        checks.close(f"endless, γ = {gamma}", slow, 1 / rounds, rtol=1e-5)


def check_tested_tokens_promise_too_much() -> None:
    """Acceptance averaged over the tokens that were tested promises half as much too much as that
    averaged over the output's, for two pairs of modes and two lengths of drafts; where each token
    draws its mode afresh the two are one.

    Source: the matrices, and positions of an output drawn one by one.
    """
    rng = np.random.default_rng(7)
    for easy, hard, gamma in ((EASY, HARD, GAMMA), (EASY, HARD, 7), (0.8, 0.1, 4)):
        modes = _two_modes(easy, hard, 1 / RUN_LENGTH)
        tested = _tested_acceptance(*modes, gamma)
        exact = exact_tokens_per_round(*modes, gamma)
        over = [expected_tokens(a, gamma) / exact - 1 for a in (tested, (easy + hard) / 2)]
        label = f"{easy:g} and {hard:g}, γ = {gamma}"
        checks.inside(f"{label}: excess, tested over all", over[0] / over[1], 0.4, 0.7)
        mode = np.cumsum(rng.random(200_000) < 1 / RUN_LENGTH) % 2
        passes = rng.random(mode.size) < np.where(mode, hard, easy)
        place = seen = good = 0
        while place + gamma < mode.size:
            run = passes[place : place + gamma]
            accepted = gamma if run.all() else int(run.argmin())
            seen, good = seen + min(accepted + 1, gamma), good + accepted
            place += accepted + 1
        checks.close(f"{label}: drawn", good / seen, tested, rtol=0.02, kind="simulation")
        afresh = _tested_acceptance(*_two_modes(easy, hard, 0.5), gamma)
        checks.close(f"{label}: afresh", afresh, (easy + hard) / 2, rtol=1e-9)


def check_no_one_length_fits() -> None:
    """Whether a draft takes a twentieth, a tenth or a fifth of the time, the best length in easy
    passages is seven times that in hard ones or more, and each costs a tenth or more in the other.

    Source: the speedup at every length up to 60.
    """
    for cost in (COST, 0.1, 0.2):
        speeds = {
            mode: np.array([speedup(mode, length, cost) for length in range(60)])
            for mode in (EASY, HARD)
        }
        easy, hard = (int(np.argmax(speeds[mode])) for mode in (EASY, HARD))
        if cost == COST:
            checks.equal("easy and hard, as told", (easy, hard), _best_lengths())
        checks.inside(f"c = {cost:g}: easy over hard", easy / hard, 7, 20)
        for mode, own, other in ((EASY, easy, hard), (HARD, hard, easy)):
            kept = float(speeds[mode][other] / speeds[mode][own])
            checks.inside(f"c = {cost:g}, {mode:g}: the other's length", kept, 0.2, 0.9)


def check_bad_input_is_refused() -> None:
    """Three rows over two tokens, two closed classes, half tokens and modes that never change are
    errors.
    """
    checks.raises("shape", _transition_matrix, [[0.5, 0.5]] * 3, match="table must be of shape")
    checks.raises("classes", _context_shares, np.eye(2), match="transitions must be a chain with")
    table = [[0.5, 0.5]] * 2
    checks.raises("γ", exact_tokens_per_round, table, table, 0.5, match="draft_tokens must be a")
    checks.raises("never", _two_modes, 0.9, 0.3, 0.0, match="switch must be in (0, 1]")
