"""A service that decides has a score and a threshold, and the threshold follows from the costs of
the two errors.

Scores are probabilities: p = e^{z_i}/Σe^{z_j}, computed after subtracting the largest logit. To act
costs c_fp when there was no reason to, not to act costs c_fn when there was. Acting is the cheaper
side when (1 − p)·c_fp ≤ p·c_fn, that is from p* = c_fp/(c_fp + c_fn) on.

Assumes: calibrated scores (of the requests that score p, a share p are positive); correct decisions
cost nothing.

Source: Elkan (2001) for the threshold; Blanchard, Higham and Higham (2021) for the
shifted softmax; Guo, Pleiss, Sun and Weinberger (2017) for temperature scaling.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_all_finite,
    require_in,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def softmax(logits: npt.ArrayLike) -> FloatArray:
    """Probabilities of the classes, which sum to 1 along the last axis and never overflow.

    logits: finite, shape (..., classes). The largest one is subtracted first, which changes
    nothing but the size of the exponentials. Raises ValueError on an empty or non-finite array.

    >>> softmax([10_000.0, 10_000.0]).tolist()
    [0.5, 0.5]
    """
    values = as_floats(logits=logits)
    shape = "an array of one class or more"
    require(values.ndim >= 1 and values.size > 0, "logits", shape, values.shape)
    require_all_finite(logits=values)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def escalated(scores: npt.ArrayLike, threshold: float) -> BoolArray:
    """Which requests are acted upon: those that score the threshold or more.

    scores: probabilities, any shape. threshold: in [0, 1]. Raises ValueError outside [0, 1].

    >>> escalated([0.2, 0.7], threshold=0.7).tolist()
    [False, True]
    """
    scores = as_numbers(scores=scores)
    threshold = require_in("[0, 1]", threshold=threshold)
    return _probabilities("scores", scores) >= threshold


def cost_threshold(false_positive_cost: float, false_negative_cost: float) -> float:
    """The score from which acting is cheaper on average, c_fp/(c_fp + c_fn).

    false_positive_cost: c_fp > 0 of acting without reason. false_negative_cost: c_fn > 0 of not
    acting with reason, in the same unit. Raises ValueError outside these ranges.

    >>> cost_threshold(false_positive_cost=1.0, false_negative_cost=9.0)
    0.1
    """
    false_positive_cost, false_negative_cost = as_number(
        false_positive_cost=false_positive_cost, false_negative_cost=false_negative_cost
    )
    _require_costs(false_positive_cost, false_negative_cost)
    return false_positive_cost / (false_positive_cost + false_negative_cost)


def expected_cost(
    scores: npt.ArrayLike,
    threshold: float,
    false_positive_cost: float,
    false_negative_cost: float,
) -> float:
    """Mean cost per request of acting from a threshold on, if the scores are calibrated.

    scores: probabilities, any shape but empty. Other arguments and errors as for `escalated` and
    `cost_threshold`.

    >>> round(expected_cost([0.2, 0.8], 0.5, 1.0, 9.0), 12)  # (0.2·9 + 0.2·1)/2
    1.0
    """
    false_positive_cost, false_negative_cost = as_number(
        false_positive_cost=false_positive_cost, false_negative_cost=false_negative_cost
    )
    scores = as_numbers(scores=scores)
    _require_costs(false_positive_cost, false_negative_cost)
    threshold = require_in("[0, 1]", threshold=threshold)
    p = _probabilities("scores", scores)
    require(p.size > 0, "scores", "one or more", p.shape)
    cost = np.where(p >= threshold, (1 - p) * false_positive_cost, p * false_negative_cost)
    return float(cost.mean())


def incurred_costs(
    scores: npt.ArrayLike,
    positive: npt.ArrayLike,
    threshold: float,
    false_positive_cost: float,
    false_negative_cost: float,
) -> FloatArray:
    """What each request did cost once its truth is known, calibrated or not.

    scores: shape (n,). positive: whether there was a reason to act, shape (n,). Other arguments and
    errors as for `expected_cost`; also refuses truths that are not booleans.

    >>> incurred_costs([0.2, 0.8, 0.9], [True, True, False], 0.5, 1.0, 9.0).tolist()
    [9.0, 0.0, 1.0]
    """
    false_positive_cost, false_negative_cost = as_number(
        false_positive_cost=false_positive_cost, false_negative_cost=false_negative_cost
    )
    scores = as_numbers(scores=scores)
    _require_costs(false_positive_cost, false_negative_cost)
    threshold = require_in("[0, 1]", threshold=threshold)
    p, truth = _probabilities("scores", scores), np.asarray(positive)
    rule = f"booleans of shape {p.shape}"
    require(truth.dtype == np.bool_ and truth.shape == p.shape, "positive", rule, positive)
    acted = p >= threshold
    return np.asarray(
        np.where(acted & ~truth, false_positive_cost, 0.0)
        + np.where(~acted & truth, false_negative_cost, 0.0)
    )


def at_temperature(scores: npt.ArrayLike, temperature: float) -> FloatArray:
    """Scores whose logits are divided by a temperature: below 1 surer than before, above 1 less.

    scores: in (0, 1), any shape. temperature: positive and finite. Raises ValueError outside.

    >>> at_temperature([0.25], temperature=0.5).round(12).tolist()  # odds 1/3 become 1/9
    [0.1]
    """
    scores = as_numbers(scores=scores)
    temperature = require_positive(temperature=temperature)
    p = _probabilities("scores", scores)
    require(np.all((p > 0) & (p < 1)), "scores", "in (0, 1)", p)
    logit = (np.log(p) - np.log1p(-p)) / temperature
    return np.asarray(np.exp(-np.logaddexp(0.0, -logit)))


def _probabilities(argument: str, values: npt.ArrayLike) -> FloatArray:
    """An array whose entries all lie in [0, 1]."""
    p = as_floats(values=values)
    require(np.all((p >= 0) & (p <= 1)), argument, "in [0, 1]", p)
    return p


def _require_costs(false_positive_cost: float, false_negative_cost: float) -> None:
    """Refuse costs that are not positive and finite."""
    for name, cost in (
        ("false_positive_cost", false_positive_cost),
        ("false_negative_cost", false_negative_cost),
    ):
        require(0 < cost < math.inf, name, "positive and finite", cost)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    five, uniform = [0.05, 0.20, 0.45, 0.80, 0.95], (np.arange(20_000) + 0.5) / 20_000
    best = cost_threshold(1.0, 9.0)
    lowest, handpicked = (expected_cost(uniform, t, 1.0, 9.0) for t in (best, 0.7))
    double, half = (
        100 * (expected_cost(uniform, cost_threshold(1.0, miss), 1.0, 9.0) / lowest - 1)
        for miss in (18.0, 4.5)
    )
    true = float(at_temperature([best], 2.0)[0])  # what an overconfident 10% really is
    return SimpleNamespace(
        escalated_of_five=int(escalated(five, 0.70).sum()),
        miss_nine_threshold=best,
        best_cost=lowest,
        handpicked_cost=handpicked,
        handpicked_factor=handpicked / lowest,
        sure_true_threshold=true,
        sure_extra_percent=100 * (expected_cost(uniform, true, 1.0, 9.0) / lowest - 1),
        escalated_by_cost=int(escalated(five, best).sum()),
        guess_double_percent=double,
        guess_half_percent=half,
    )


def figure_expected_cost(figure: Figure) -> None:
    """The cheapest threshold is where the costs say, and a hand-picked one can cost a multiple.

    Calibrated scores, spread evenly over [0, 1]; the unit is the smaller of the two costs. Points
    are means over 20,000 simulated requests with 95% intervals, open circles the minima.

    Alt: Line chart of mean cost per request against the threshold for three cost ratios. When a
    miss costs nine false alarms the curve has its minimum of 0.45 at threshold 0.1 and rises to 4.5
    at 1. With equal costs it is a shallow bowl around 0.5. When a false alarm costs three misses
    the minimum lies at 0.75. Simulated points lie on the curves.
    """
    rng = np.random.default_rng(64)
    axes = figure.subplots()
    grid, uniform = np.linspace(0, 1, 51), (np.arange(4000) + 0.5) / 4000
    scores = rng.random(20_000)
    truth = rng.random(20_000) < scores
    for alarm, miss, text, colour, spot in (
        (1.0, 9.0, "a miss costs 9 false alarms", "C3", (0.05, 2.3)),
        (3.0, 1.0, "a false alarm costs 3 misses", "C2", (0.03, 1.58)),
        (1.0, 1.0, "equal costs", "C0", (0.82, 0.1)),
    ):
        axes.plot(grid, [expected_cost(uniform, float(t), alarm, miss) for t in grid], color=colour)
        points = np.linspace(0.05, 0.95, 10)
        runs = [incurred_costs(scores, truth, float(t), alarm, miss) for t in points]
        errors = [1.96 * float(run.std()) / math.sqrt(run.size) for run in runs]
        axes.errorbar(
            points, [run.mean() for run in runs], errors, fmt="o", markersize=3.5, color=colour
        )
        best = cost_threshold(alarm, miss)
        lowest = expected_cost(uniform, best, alarm, miss)
        axes.plot(best, lowest, "o", color=colour, markersize=11, fillstyle="none")
        axes.annotate(text, spot, color=colour)
    axes.set(
        xlim=(0, 1), ylim=(0, 4.5), xlabel="threshold on the score", ylabel="mean cost per request"
    )


def check_softmax() -> None:
    """Logits of ten thousand do not overflow, and adding a constant to all logits changes nothing.

    Source: by hand, 1/(1 + e + e²) and so on for logits 10,000, 10,001 and 10,002; shift
    invariance; the odds of two classes are e to the difference of their logits.
    """
    weights = np.array([1.0, math.e, math.e**2])
    large = softmax([10_000.0, 10_001.0, 10_002.0])
    checks.close("10,000-sized logits", large, weights / weights.sum(), atol=1e-12)
    checks.close("far apart", softmax([10_000.0, -10_000.0]), [1.0, 0.0])
    logits = np.random.default_rng(65).normal(0.0, 5.0, (50, 7))
    shifted = softmax(logits + 1000.0)
    checks.close("shifted by 1000", shifted, softmax(logits), atol=1e-12)
    odds = np.log(softmax(logits)[:, 0] / softmax(logits)[:, 1])
    checks.close("log odds", odds, logits[:, 0] - logits[:, 1], atol=1e-12)


def check_two_of_five_are_escalated() -> None:
    """Of the scores 0.05, 0.20, 0.45, 0.80 and 0.95 a threshold of 0.70 escalates two.

    Source: by hand.
    """
    decisions = escalated([0.05, 0.20, 0.45, 0.80, 0.95], 0.70)
    checks.equal("decisions", decisions.tolist(), [False, False, False, True, True])
    checks.equal("escalated", int(decisions.sum()), 2)


def check_costs_decide_the_threshold() -> None:
    """No threshold is cheaper than c_fp/(c_fp + c_fn): at 1 to 9 it is 0.1, and the hand-picked
    0.70 costs five times as much.

    Source: with evenly spread scores c_fp(1 − t)²/2 + c_fn·t²/2, by integration; a search over
    1,001 thresholds; 140,000 simulated requests with their truth.
    """
    even = (np.arange(20_000) + 0.5) / 20_000
    best = cost_threshold(1.0, 9.0)
    checks.close("threshold", best, 0.1, rtol=1e-14)
    for t, cost in ((0.1, 0.45), (0.7, 2.25), (0.0, 0.5), (1.0, 4.5)):
        checks.close(f"cost at {t}", expected_cost(even, t, 1.0, 9.0), cost, rtol=1e-6)
    tried = np.linspace(0, 1, 1001)
    costs = [expected_cost(even[5::10], float(t), 1.0, 9.0) for t in tried]
    checks.close("best of 1,001", float(tried[int(np.argmin(costs))]), best, atol=5e-4)
    rng = np.random.default_rng(66)
    scores = rng.random(140_000)
    truth = rng.random(140_000) < scores
    for t, cost in ((best, 0.45), (0.7, 2.25)):
        incurred = batch_means(incurred_costs(scores, truth, t, 1.0, 9.0))
        checks.covers(f"simulated cost at {t}", incurred, cost)


def check_overconfidence_moves_the_threshold() -> None:
    """If the logits are twice too large, a threshold of 0.1 acts only from a true 0.25 on, and
    costs 25% more.

    Source: odds of 1/9 have the square root 1/3; 0.75²/2 + 9·0.25²/2 = 0.5625 against 0.45; 200,000
    simulated requests that are scored too surely.
    """
    checks.close("true probability", at_temperature([0.1], 2.0), [0.25], rtol=1e-12)
    rng = np.random.default_rng(67)
    true = rng.random(200_000)
    truth = rng.random(200_000) < true
    sure = at_temperature(true, 0.5)
    incurred = batch_means(incurred_costs(sure, truth, 0.1, 1.0, 9.0))
    checks.covers("simulated cost", incurred, 0.5625)
    believed = expected_cost(sure, 0.1, 1.0, 9.0)
    checks.holds("the model believes less", believed < 0.45, got=believed)


def check_bad_input_is_refused() -> None:
    """NaN scores, infinite logits, costs of zero and truths that are no booleans are errors."""
    checks.raises("NaN", escalated, [0.1, math.nan], 0.7, match="scores must be in [0, 1]")
    checks.raises("infinite", softmax, [0.0, math.inf], match="logits must be finite")
    checks.raises("free", cost_threshold, 0.0, 1.0, match="false_positive_cost must be positive")
    checks.raises("0/1", incurred_costs, [0.1], [1], 0.5, 1.0, 1.0, match="positive must be bool")
    checks.raises("T = 0", at_temperature, [0.1], 0.0, match="temperature must be positive")
