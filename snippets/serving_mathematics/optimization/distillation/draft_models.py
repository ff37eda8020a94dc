"""What distilling a draft is worth, and what a draft should be distilled for.

A draft that sees less than the target must give one answer where the target has several. The mean
of the target's probabilities is nearest by forward KL; counts of the target's tokens estimate it
with more noise than the probabilities themselves. What is accepted most often is a weighted
quantile, because α is an overlap and not a likelihood.

Assumes: tables over one token (draft) and two (target); text and target are random tables, the
target served at a lower temperature than the text was written.

Source: Leviathan, Kalman and Matias (2023), corollary 3.6 for α; Zhou et al. (2024) for distilled
drafts and the choice of the divergence.
"""

from __future__ import annotations

import bisect
import itertools
import math
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.speculative_decoding import best_draft_length, speedup
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.optimization.distillation.dependent_acceptances import (
    context_shares,
    exact_tokens_per_round,
    transition_matrix,
)
from serving_mathematics.optimization.distillation.distillation import kl_divergence, soften
from serving_mathematics.optimization.distillation.speculative_sampling import MeanTokens, speculate
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import half_width
from serving_mathematics.support.require import (
    as_floats,
    as_numbers,
    require,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

VOCABULARY, PAIRS, SEEDS, COST = 8, 20, 10, 0.05
TYPICAL = 1  # of the twenty pairs, one near their mean; the figures show it
TEMPERATURE = 0.5  # at which the target is served
STUDENT_975_DF19 = 2.093024  # 97.5% point of Student's t with 19 degrees of freedom
OUTPUT_TOKENS = (10, 30, 100, 300, 1000, 3000)  # of the target, to distil from


def fit_draft(contexts: npt.ArrayLike, targets: npt.ArrayLike, size: int) -> FloatArray:
    """A table of drafts: mean of the targets seen in each context, with one pseudo-token spread
    evenly.

    contexts: what the draft sees, integers below size, shape (n,). targets: distributions that it
    should give there, shape (n, V): the target's probabilities (distilled), or one-hot tokens
    (counted). size: contexts of the draft. Raises ValueError on other shapes or numbers.

    >>> fit_draft([0, 0], [[1.0, 0.0], [0.5, 0.5]], size=2).round(4).tolist()
    [[0.6667, 0.3333], [0.5, 0.5]]
    """
    contexts = as_numbers(contexts=contexts)
    seen, wanted = np.asarray(contexts), as_floats(targets=targets)
    size = require_positive_integer(size=size)
    require_work(size, size=size)
    known = seen.ndim == 1 and seen.size > 0 and np.isin(seen, np.arange(size)).all()
    require(known, "contexts", f"integers below {size}", contexts)
    good = wanted.ndim == 2 and len(wanted) == seen.size and np.all(wanted >= 0)
    good = good and np.all(np.abs(wanted.sum(axis=1) - 1) < 1e-9)
    require(good, "targets", "one distribution per context", wanted.shape)
    table = np.full((int(size), wanted.shape[1]), 1 / wanted.shape[1])
    np.add.at(table, seen.astype(np.int64), wanted)
    return np.asarray(table / table.sum(axis=1, keepdims=True))


def most_accepted(rows: npt.ArrayLike, weights: npt.ArrayLike) -> FloatArray:
    """The one distribution that is accepted most often where the target has several.

    rows: what the target may have where the draft cannot tell, shape (m, V). weights: how often,
    non-negative, shape (m,). Raising q(x) from t gains the weight of the rows with p(x) > t, which
    falls with t; the dearest pieces are taken until they add up to 1. So q(x) is a weighted
    quantile of p(x), of one level for all x. Raises ValueError on other shapes or numbers.

    >>> most_accepted([[1.0, 0.0], [0.0, 1.0]], [0.6, 0.4]).tolist()
    [1.0, 0.0]
    """
    p, w = as_floats(rows=rows), as_floats(weights=weights)
    good = p.ndim == 2 and p.size > 0 and np.all(p >= 0)
    good = good and np.all(np.abs(p.sum(axis=1) - 1) < 1e-9)
    require(good, "rows", "distributions, shape (m, V)", p)
    require(w.shape == (len(p),), "weights", f"of shape ({len(p)},)", w.shape)
    require(np.all((w >= 0) & (w < math.inf)) and w.sum() > 0, "weights", "non-negative", w)
    order = np.argsort(p, axis=0)
    pieces = np.diff(np.take_along_axis(p, order, axis=0), axis=0, prepend=0.0)
    gains = np.cumsum(w[order][::-1], axis=0)[::-1]
    first = np.argsort(-gains, axis=None, kind="stable")
    lengths = pieces.ravel()[first]
    taken = np.clip(1 - (np.cumsum(lengths) - lengths), 0.0, lengths)
    return np.asarray(np.bincount(first % p.shape[1], taken, p.shape[1]), dtype=float)


@dataclass(frozen=True)
class _Pair:
    """A text and its model, served at a temperature, over two tokens; and drafts over one."""

    target: FloatArray  # (V², V)
    shares: FloatArray  # of the target's contexts, (V²,)
    drafts: dict[str, FloatArray]  # (V, V)

    def spread(self, name: str) -> FloatArray:
        """A draft as a table over two tokens."""
        return np.tile(self.drafts[name], (VOCABULARY, 1))

    def alpha(self, draft: FloatArray) -> float:
        """Mean acceptance over the contexts of the target's own output."""
        overlap = np.minimum(self.target, np.tile(draft, (VOCABULARY, 1))).sum(axis=1)
        return float(self.shares @ overlap)


@cache
def _pair(seed: int) -> _Pair:
    """A random pair; the logits are a part that the draft can see and one that it cannot."""
    rng, size = np.random.default_rng(seed), VOCABULARY
    logits = rng.gumbel(scale=0.8, size=(1, size, size)) + rng.gumbel(size=(size, size, size))
    text = soften(logits.reshape(-1, size))
    target = soften(logits.reshape(-1, size), TEMPERATURE)

    def average(table: FloatArray, shares: FloatArray) -> FloatArray:
        weights = shares.reshape(size, size) / shares.reshape(size, size).sum(axis=0)
        return np.asarray(np.einsum("uv,uvx->vx", weights, table.reshape(size, size, size)))

    shares = context_shares(transition_matrix(target))
    plain = average(text, context_shares(transition_matrix(text)))
    drafts = {
        "text": plain,
        "sharpened": soften(np.log(plain), TEMPERATURE),
        "distilled": average(target, shares),
        "most accepted": np.array(
            [most_accepted(target[v::size], shares[v::size]) for v in range(size)]
        ),
    }
    return _Pair(target, shares, drafts)


@cache
def _alphas() -> dict[str, FloatArray]:
    """α of every draft of every pair, shape (pairs,)."""
    pairs = [_pair(seed) for seed in range(PAIRS)]
    return {
        name: np.array([pair.alpha(pair.drafts[name]) for pair in pairs])
        for name in pairs[0].drafts
    }


def _gain(better: str, worse: str) -> MeanEstimate:
    """Mean difference of α over the pairs, with a 95% interval."""
    gap = _alphas()[better] - _alphas()[worse]
    error = float(gap.std(ddof=1)) / math.sqrt(gap.size)
    return MeanEstimate(float(gap.mean()), error, STUDENT_975_DF19 * error)


@cache
def _learning() -> dict[str, FloatArray]:
    """α of drafts of the typical pair from tokens of the target, shape (numbers, seeds)."""
    pair, size, most = _pair(TYPICAL), VOCABULARY, max(OUTPUT_TOKENS)
    alphas = {name: np.empty((len(OUTPUT_TOKENS), SEEDS)) for name in ("counted", "distilled")}
    edges = pair.target.cumsum(axis=1)[:, :-1].tolist()
    for seed in range(SEEDS):
        rng = np.random.default_rng(1940 + seed)
        state, before, after = int(rng.integers(size * size)), [], []
        for level in rng.random(most).tolist():
            before.append(state)
            after.append(bisect.bisect_right(edges[state], level))
            state = (state * size + after[-1]) % (size * size)
        contexts, hard, soft = np.array(before), np.eye(size)[after], pair.target[before]
        for i, n in enumerate(OUTPUT_TOKENS):
            for name, wanted in (("counted", hard), ("distilled", soft)):
                fitted = fit_draft(contexts[:n] % size, wanted[:n], size)
                alphas[name][i, seed] = pair.alpha(fitted)
    return alphas


@cache
def _measured(name: str, draft_tokens: int) -> tuple[MeanTokens, float, float]:
    """Tokens per round of the typical pair, sampled; the share of all proposed that passed, and
    half of its 95% interval from the sequences."""
    pair, rng = _pair(TYPICAL), np.random.default_rng(195)
    starts = rng.choice(pair.shares.size, 400, p=pair.shares / pair.shares.sum())
    run = speculate(pair.target, pair.spread(name), starts, draft_tokens, 48, rng)
    passed = run.passed[10:].mean(axis=(0, 2))
    return run.per_round(skip=10), float(passed.mean()), float(half_width(np.mean, passed))


def _speed(name: str, draft_tokens: int) -> float:
    """Exact speedup of the typical pair."""
    pair = _pair(TYPICAL)
    tokens = exact_tokens_per_round(pair.target, pair.spread(name), draft_tokens)
    return tokens / (draft_tokens * COST + 1)


@cache
def _fastest(name: str) -> int:
    """The length with the largest exact speedup of the typical pair."""
    return int(np.argmax([_speed(name, gamma) for gamma in range(16)]))


def example() -> SimpleNamespace:
    """Numbers quoted in the text; α in percent, means over the twenty pairs."""
    alphas = {name: 100 * float(values.mean()) for name, values in _alphas().items()}
    gains = [
        _gain(*names)
        for names in (
            ("sharpened", "text"),
            ("distilled", "sharpened"),
            ("most accepted", "distilled"),
        )
    ]
    learning = {name: 100 * values.mean(axis=1) for name, values in _learning().items()}
    hundred = OUTPUT_TOKENS.index(100)
    more = _learning()["distilled"][hundred] - _learning()["counted"][hundred]
    name, gamma = "most accepted", 6
    measured, passed, passed_half = _measured(name, gamma)
    return SimpleNamespace(
        text_alpha=alphas["text"],
        alphas_half=max(
            100 * STUDENT_975_DF19 * float(one.std(ddof=1)) / math.sqrt(PAIRS)
            for one in _alphas().values()
        ),
        sharpened_alpha=alphas["sharpened"],
        distilled_alpha=alphas["distilled"],
        sharpened_gain=100 * gains[0].mean,
        sharpened_half=100 * gains[0].half_width,
        distilled_gain=100 * gains[1].mean,
        distilled_half=100 * gains[1].half_width,
        accepted_gain=100 * gains[2].mean,
        accepted_half=100 * gains[2].half_width,
        text_length=_fastest("text"),
        text_speedup=_speed("text", _fastest("text")),
        accepted_length=_fastest(name),
        accepted_speedup=_speed(name, _fastest(name)),
        counted_100=float(learning["counted"][hundred]),
        distilled_100=float(learning["distilled"][hundred]),
        more_100=100 * float(more.mean()),
        more_half_100=100 * float(half_width(np.mean, more)),
        rate_of_contexts=100 * float(_alphas()[name][TYPICAL]),
        rate_of_passed=100 * passed,
        rate_of_prefix=100 * (measured.mean - 1) / gamma,
        rates_half=100 * max(passed_half, measured.half_width / gamma),
    )


def figure_draft_learning(figure: Figure) -> None:
    """Probabilities teach a draft more per token than the tokens do, and neither teaches it what is
    accepted most.

    A draft that sees one token learns from the output of a target that sees two: counted tokens,
    or the target's probabilities at the same places. Dots and bars: mean and range of ten outputs.
    Lines: the text's own model, the same at the target's temperature, and the best of all drafts.

    Alt: Acceptance against tokens of output, from 10 to 3,000 on a logarithmic axis. The distilled
    draft rises from about 0.51 to 0.68 and the counted one from 0.46 to 0.68, a few points lower
    until 1,000 tokens. Horizontal lines at 0.60, 0.67 and 0.73.
    """
    axes = figure.subplots()
    tokens = np.array(OUTPUT_TOKENS, dtype=float)
    for values, colour, shift in zip(_learning().values(), ("C1", "C0"), (1.04, 0.96), strict=True):
        middle = values.mean(axis=1)
        reach = [middle - values.min(axis=1), values.max(axis=1) - middle]
        axes.errorbar(tokens * shift, middle, reach, fmt="o-", color=colour, capsize=2)
    axes.set_xscale("log")
    for name, label in (
        ("most accepted", "accepted most"),
        ("sharpened", "text, sharpened"),
        ("text", "text"),
    ):
        level = float(_alphas()[name][TYPICAL])
        axes.axhline(level, color="C4", linestyle="--", linewidth=1)
        axes.annotate(label, (11, level + 0.006))
    axes.annotate("distilled", (11, 0.57), color="C0")
    axes.annotate("counted", (38, 0.5), color="C1")
    axes.set(xlim=(8, 4000), ylim=(0.3, 0.78))
    axes.set_xticks([10, 100, 1000], ["10", "100", "1,000"])
    axes.set(xlabel="tokens of the target's output", ylabel="acceptance α [share of tokens]")


def figure_speedup(figure: Figure) -> None:
    """Each draft has its best length, and a better draft is worth more the longer it is let run.

    A pass of the draft costs 5% of one of the target. Thin: the formula for independent
    acceptances. Dots: the sampler with the drafts of the typical pair, 95% intervals smaller than
    the dots. Dashed: the best length for every α.

    Alt: Speedup against the number of drafted tokens from 0 to 14. Curves for acceptance 0.5, 0.6,
    0.7, 0.8 and 0.9 rise, level off and fall; the last one reaches 4.7 at the right edge. Dots of
    three drafts follow the curves of their acceptance, 0.60, 0.68 and 0.73, with maxima of about
    1.9, 2.2 and 2.4 at three to six tokens. A dashed line joins the maxima.
    """
    axes = figure.subplots()
    lengths = np.arange(15)
    for alpha in (0.5, 0.6, 0.7, 0.8, 0.9):
        curve = [speedup(alpha, int(g), COST) for g in lengths]
        axes.plot(lengths, curve, color="C4", linewidth=1)
        axes.annotate(f"α = {alpha}", (14.2, curve[-1]), va="center")
    alphas = np.arange(0.3, 0.9, 0.005)
    best = np.array([best_draft_length(a, COST) for a in alphas.tolist()])
    tops = [speedup(float(np.median(alphas[best == g])), int(g), COST) for g in np.unique(best)]
    axes.plot(np.unique(best), tops, color="C5", linestyle="--", linewidth=1.2)
    axes.annotate("best length", (9.6, 3.75), color="C5", ha="right")
    for name, colour in (("text", "C1"), ("distilled", "C0"), ("most accepted", "C2")):
        dots = np.array([1, 3, 6, 10])
        runs, scale = [_measured(name, int(g))[0] for g in dots], dots * COST + 1
        means, halves = (
            np.array([getattr(run, part) for run in runs]) / scale
            for part in ("mean", "half_width")
        )
        axes.errorbar(dots, means, halves, fmt="o", color=colour)
    for text, name, height, colour in (
        ("accepted most", "most accepted", 4.5, "C2"),
        ("distilled", "distilled", 4.2, "C0"),
        ("the text's draft", "text", 3.9, "C1"),
    ):
        level = float(_alphas()[name][TYPICAL])
        axes.annotate(f"● {text}, {level:.2f}", (0.3, height), color=colour)
    axes.set(xlim=(0, 16.6), ylim=(0.9, 4.9))
    axes.set_xticks(range(0, 15, 2))
    axes.set(xlabel="drafted tokens γ per round", ylabel="speedup [times]")


def check_sampled_tokens_per_round() -> None:
    """The sampler yields the tokens per round that matrices give, for three drafts.

    Source: `exact_tokens_per_round`; 400 sequences of 38 rounds of the typical pair; standard
    errors from the sequences.
    """
    pair = _pair(TYPICAL)
    for name, gamma in (("text", 3), ("distilled", 6), ("most accepted", 10)):
        exact = exact_tokens_per_round(pair.target, pair.spread(name), gamma)
        checks.covers(f"{name}, γ = {gamma}", _measured(name, gamma)[0], exact)


def check_mean_is_nearest_by_forward_kl() -> None:
    """No draft that sees one token is nearer to the target by forward KL than the mean.

    Source: the compensation identity Σw·KL(p‖q) = Σw·KL(p‖mean) + KL(mean‖q), for three other
    drafts of every context of the typical pair.
    """
    pair, size = _pair(TYPICAL), VOCABULARY
    mean = pair.drafts["distilled"]
    seen = pair.shares.reshape(size, size).sum(axis=0)

    def distance(q: FloatArray) -> float:
        return float(pair.shares @ kl_divergence(pair.target, np.tile(q, (size, 1))))

    smooth = 0.99 * pair.drafts["most accepted"] + 0.01 / size
    others = {
        "text": pair.drafts["text"],
        "sharpened": pair.drafts["sharpened"],
        "quantile": smooth,
    }
    for name, q in others.items():
        excess = float(seen @ kl_divergence(mean, q))
        checks.close(name, distance(q), distance(mean) + excess, rtol=1e-12)


def check_most_accepted_is_optimal() -> None:
    """No other draft is accepted more often: the dual problem has the same value.

    Source: for any price λ of probability, Σ_x max_t(Σw·min(p(x), t) − λt) + λ bounds α from above;
    the smallest bound over all λ, for every context of the typical pair.
    """
    pair, size = _pair(TYPICAL), VOCABULARY
    gaps = []
    for v in range(size):
        rows, weights = pair.target[v::size], pair.shares[v::size]
        alpha = weights @ np.minimum(rows, pair.drafts["most accepted"][v]).sum(axis=1)
        levels = np.vstack([np.zeros(size), rows])  # the maximum over t is at one of these
        kept = np.einsum("u,tux->tx", weights, np.minimum(rows[None], levels[:, None]))
        subsets = (np.arange(2**size)[:, None] >> np.arange(size)) % 2 @ weights
        bounds = [float((kept - price * levels).max(axis=0).sum() + price) for price in subsets]
        gaps.append(min(bounds) - float(alpha))
    checks.close("largest gap", max(map(abs, gaps)), 0.0, atol=1e-12)


def check_what_distilling_gains() -> None:
    """Over twenty random pairs every step gains: the target's temperature, its probabilities, the
    overlap instead of KL.

    Source: α from the context shares, no sampling; intervals over the pairs, Student's t. At 100
    tokens, distilled against counted, paired over ten outputs.
    """
    names = list(_alphas())
    for worse, better in itertools.pairwise(names):
        gain = _gain(better, worse)
        low, high = gain.mean - gain.half_width, gain.mean + gain.half_width
        checks.inside(f"{better} over {worse}: low end", low, 0.0, high)
    gap = (_learning()["distilled"] - _learning()["counted"])[OUTPUT_TOKENS.index(100)]
    t = float(gap.mean() / gap.std(ddof=1) * math.sqrt(SEEDS))
    checks.holds("distilled at 100 tokens, t > 3", t > 3, got=f"{t:.1f}", kind="simulation")


def check_bad_input_is_refused() -> None:
    """Targets that sum to 2, contexts that do not exist and weights of zero are errors."""
    table = [[0.5, 0.5]] * 2
    checks.raises("context", fit_draft, [2], table[:1], 2, match="contexts must be integers")
    checks.raises("sum", fit_draft, [0], [[1.0, 1.0]], 2, match="targets must be one distribution")
    checks.raises("weights", most_accepted, table, [0.0, 0.0], match="weights must be non-negative")
