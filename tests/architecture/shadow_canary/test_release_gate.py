"""The release gate: bounds against scipy and brute force, the rule, its monotony, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats
from serving_mathematics.architecture.shadow_canary.release_gate import (
    Bounds,
    Decision,
    Harm,
    Margins,
    Shadow,
    Window,
    cost_harm,
    decide,
    error_harm,
    latency_harm,
    quality_harm,
    release_harms,
)


def score(w: int, r: int, n: int, loss: float) -> float:
    """z of the hypothesis “the loss is this”, with the likeliest shares under it."""

    def unlikely(q: float) -> float:
        p = q + loss
        parts = ((w, p), (r, q), (n - w - r, 1 - p - q))
        return -sum(k * math.log(x) for k, x in parts if k)

    lowest, highest = max(0.0, -loss) + 1e-13, (1 - loss) / 2 - 1e-13
    q = optimize.minimize_scalar(
        unlikely, bounds=(lowest, highest), method="bounded", options={"xatol": 1e-12}
    ).x
    return float((w - r - n * loss) / math.sqrt(n * (2 * q + loss - loss**2)))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(85, 3000), st.floats(0.001, 0.4))
def test_quality_bounds_invert_the_score_test(w: int, r: int, n: int, level: float) -> None:
    got = quality_harm(w, r, n, level)
    z = stats.norm.isf(level)
    assert got.estimate == (w - r) / n
    assert score(w, r, n, got.low) == pytest.approx(z, abs=1e-4)
    assert score(w, r, n, got.high) == pytest.approx(-z, abs=1e-4)
    mirrored = quality_harm(r, w, n, level)
    assert (mirrored.low, mirrored.high) == pytest.approx((-got.high, -got.low), abs=1e-9)


def test_quality_bounds_without_discordant_pairs_are_wilsons() -> None:
    got = quality_harm(0, 0, 500, 0.05)
    wilson = stats.binomtest(0, 500).proportion_ci(0.9, method="wilson").high
    assert (got.low, got.high) == pytest.approx((-wilson, wilson), abs=1e-9)


def test_quality_bounds_are_halved_42_times() -> None:
    """From a width of 1 on: the middle of what is left is an odd number of 2^−43."""
    got = quality_harm(10, 10, 1000, 0.05)
    assert [got.low * 2**43 % 2, got.high * 2**43 % 2] == [1, 1]


@given(st.integers(0, 50), st.integers(0, 50), st.integers(50, 2000), st.floats(0.001, 0.4))
def test_error_bounds_are_newcombe_from_scipy(old: int, new: int, n: int, level: float) -> None:
    m = 2 * n
    a = stats.binomtest(old, n).proportion_ci(1 - 2 * level, method="wilson")
    b = stats.binomtest(new, m).proportion_ci(1 - 2 * level, method="wilson")
    p, q = old / n, new / m
    got = error_harm(old, n, new, m, level)
    assert got.estimate == pytest.approx(q - p)
    assert got.low == pytest.approx(q - p - math.hypot(q - b.low, a.high - p), abs=1e-9)
    assert got.high == pytest.approx(q - p + math.hypot(b.high - q, p - a.low), abs=1e-9)


def ranks(n: int, q: float, level: float) -> tuple[int | None, int | None]:
    """Largest and smallest rank whose order statistic bounds the quantile at this level."""
    low = [k for k in range(1, n + 1) if stats.binom.cdf(k - 1, n, q) <= level]
    high = [k for k in range(1, n + 1) if stats.binom.sf(k - 1, n, q) <= level]
    return (max(low) if low else None), (min(high) if high else None)


@pytest.mark.parametrize(("n", "q", "level"), [(200, 0.9, 0.05), (60, 0.5, 0.01), (400, 0.99, 0.1)])
def test_latency_bounds_are_binomial_ranks(n: int, q: float, level: float) -> None:
    rng = np.random.default_rng(n)
    old, new = rng.exponential(1.0, n), rng.exponential(2.0, n + 50)
    got = latency_harm(old, new, q, level)
    logs = []
    for values in (np.log(np.sort(old)), np.log(np.sort(new))):
        low, high = ranks(values.size, q, level)
        assert low is not None
        assert high is not None
        logs.append((values[low - 1], values[math.ceil(values.size * q) - 1], values[high - 1]))
    (a, b, c), (d, e, f) = logs
    assert got.low == pytest.approx(math.exp(e - b - math.hypot(e - d, c - b)) - 1)
    assert got.estimate == pytest.approx(math.exp(e - b) - 1)
    assert got.high == pytest.approx(math.exp(e - b + math.hypot(f - e, b - a)) - 1)


def test_a_small_sample_bounds_no_p99() -> None:
    few = np.linspace(1, 2, 50)
    assert ranks(50, 0.99, 0.05)[1] is None
    got = latency_harm(few, few, 0.99, 0.05)
    assert (got.low, got.high) == (-1.0, math.inf)
    assert latency_harm(few, few, 0.01, 0.05).high == math.inf


@given(st.floats(0.1, 10), st.integers(0, 100))
def test_latency_bounds_know_no_unit(scale: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    old, new = rng.lognormal(size=(2, 300))
    first, second = (latency_harm(f * old, f * new, 0.9, 0.05) for f in (1.0, scale))
    assert (second.low, second.high) == pytest.approx((first.low, first.high))
    assert first.low <= first.estimate <= first.high


def test_cost_bounds_are_the_delta_method_and_cover() -> None:
    rng = np.random.default_rng(3)
    old, new = rng.gamma(2.0, 1.0, 400), 1.3 * rng.gamma(2.0, 1.0, 900)
    got = cost_harm(old, new, 0.05)
    error = math.hypot(stats.variation(old, ddof=1) / 20, stats.variation(new, ddof=1) / 30)
    ratio = new.mean() / old.mean()
    assert got.estimate == pytest.approx(ratio - 1)
    half = math.log((1 + got.high) / ratio)
    assert half == pytest.approx(stats.norm.isf(0.05) * error)
    assert math.log(ratio / (1 + got.low)) == pytest.approx(half)
    missed = [
        cost_harm(rng.gamma(2.0, 1.0, 300), rng.gamma(2.0, 1.3, 300), 0.1).high < 0.3
        for _ in range(600)
    ]
    assert 0.06 < np.mean(missed) < 0.14


HARMS = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(0, 1), st.floats(-0.5, 0.5)), min_size=1, max_size=5
).map(lambda rows: [Harm(str(i), low, low + w, m) for i, (low, w, m) in enumerate(rows)])


@given(HARMS)
def test_decide_follows_its_definition(harms: list[Harm]) -> None:
    decision = decide(harms)
    bad = [h for h in harms if h.low > h.margin]
    good = [h for h in harms if h.high < h.margin]
    if bad:
        assert decision == Decision("roll back", tuple(bad))
    elif len(good) == len(harms):
        assert decision == Decision("promote", tuple(harms))
    else:
        assert decision.action == "hold"
        assert set(decision.because) == set(harms) - set(good)


@given(HARMS, st.floats(0.001, 1))
def test_more_harm_never_helps(harms: list[Harm], more: float) -> None:
    order = ["promote", "hold", "roll back"]
    worse = [replace(h, low=h.low + more, high=h.high + more) for h in harms]
    assert order.index(decide(worse).action) >= order.index(decide(harms).action)


def test_a_harm_exactly_at_its_margin_is_neither() -> None:
    assert decide([Harm("a", 0.1, 0.1, 0.1)]).action == "hold"


def test_reasons_can_be_read() -> None:
    decision = decide([Harm("errors", 0.01, 0.02, 0.005), Harm("cost", -0.1, 0.0, 0.05)])
    assert str(decision) == "roll back: errors +1.00% to +2.00%, allowed +0.50%"


def window(rng: np.random.Generator, n: int, slower: float = 1.0) -> Window:
    return Window(n // 100, n, slower * rng.lognormal(size=n), rng.gamma(2.0, 1.0, n))


def test_release_harms_use_the_levels_that_the_rule_needs() -> None:
    rng = np.random.default_rng(6)
    old, new, shadow = window(rng, 3000), window(rng, 3000), Shadow(12, 9, 2500)
    margins = Margins(quality=0.02, errors=0.01, latency=0.2, cost=0.07)
    for alpha, looks in ((0.05, 1), (0.1, 4)):
        harms = release_harms(old, new, shadow, margins, alpha, looks)
        assert [h.margin for h in harms] == [0.02, 0.01, 0.2, 0.07]
        low, high = alpha / looks / 4, alpha / looks
        expected = (
            (quality_harm(12, 9, 2500, low), quality_harm(12, 9, 2500, high)),
            (error_harm(30, 3000, 30, 3000, low), error_harm(30, 3000, 30, 3000, high)),
            (
                latency_harm(old.latencies_s, new.latencies_s, 0.99, low),
                latency_harm(old.latencies_s, new.latencies_s, 0.99, high),
            ),
            (cost_harm(old.costs, new.costs, low), cost_harm(old.costs, new.costs, high)),
        )
        for harm, (at_low, at_high) in zip(harms, expected, strict=True):
            assert isinstance(at_low, Bounds)
            assert (harm.low, harm.high) == (at_low.low, at_high.high)


def test_release_harms_find_the_slow_release() -> None:
    rng = np.random.default_rng(7)
    old, new = window(rng, 5000), window(rng, 5000, slower=2.0)
    decision = decide(release_harms(old, new, Shadow(3, 3, 5000), Margins(errors=0.02)))
    assert decision.action == "roll back"
    assert [h.metric for h in decision.because] == ["p99 latency"]


def test_bad_input_is_refused() -> None:
    ok = [1.0, 2.0]
    for level in (0.0, 0.5, math.nan):
        for call in (
            lambda level=level: quality_harm(1, 1, 10, level),
            lambda level=level: error_harm(1, 10, 1, 10, level),
            lambda level=level: latency_harm(ok, ok, 0.5, level),
            lambda level=level: cost_harm(ok, ok, level),
        ):
            with pytest.raises(ValueError, match=r"level must be in \(0, 0.5\)"):
                call()
    for count in (-1, 0.5, math.nan):
        with pytest.raises(ValueError, match="newly_wrong must be a count"):
            quality_harm(count, 1, 10, 0.1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="newly_right must be a count"):
            quality_harm(1, count, 10, 0.1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="baseline_errors must be a count"):
            error_harm(count, 10, 1, 10, 0.1)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="candidate_errors must be a count"):
            error_harm(1, 10, count, 10, 0.1)  # type: ignore[arg-type]
    for pairs in (1, 10.5, math.inf):
        with pytest.raises(ValueError, match="pairs must be a count"):
            quality_harm(1, 1, pairs, 0.1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="candidate_errors must be a count"):
        error_harm(1, 10, 0, 0, 0.1)
    for q in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"probability must be in \(0, 1\)"):
            latency_harm(ok, ok, q, 0.1)
    for bad in ([0.0, 1.0], [1.0, math.inf], [1.0, math.nan]):
        with pytest.raises(ValueError, match="baseline_s must be positive and finite"):
            latency_harm(bad, ok, 0.5, 0.1)
        with pytest.raises(ValueError, match="candidate_s must be positive and finite"):
            latency_harm(ok, bad, 0.5, 0.1)
    with pytest.raises(ValueError, match="candidate_s must be a non-empty sequence"):
        latency_harm(ok, [], 0.5, 0.1)
    for bad in ([-1.0, 1.0], [1.0, math.nan], [0.0, 0.0]):
        with pytest.raises(ValueError, match="baseline must be non-negative and finite, not all 0"):
            cost_harm(bad, ok, 0.1)
    with pytest.raises(ValueError, match="candidate must be two costs or more"):
        cost_harm(ok, [1.0], 0.1)
    with pytest.raises(ValueError, match="harms must be non-empty"):
        decide([])
    with pytest.raises(ValueError, match="harms must be intervals with low ≤ high"):
        decide([Harm("a", 1.0, 0.0, 0.0)])
    with pytest.raises(ValueError, match="harms must be given finite margins"):
        decide([Harm("a", 0.0, 1.0, math.inf)])
    steady = Window(1, 10, [1.0] * 10, [1.0] * 10)
    for alpha in (0.0, 0.5, math.nan):
        with pytest.raises(ValueError, match=r"alpha must be in \(0, 0.5\)"):
            release_harms(steady, steady, Shadow(0, 0, 9), Margins(), alpha)
    for looks in (0, 1.5, math.inf):
        with pytest.raises(ValueError, match="looks must be a positive integer"):
            release_harms(steady, steady, Shadow(0, 0, 9), Margins(), 0.05, looks)  # type: ignore[arg-type]
