"""The rate signal, its fit, and what is drawn from it."""

from __future__ import annotations

import math
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.arrival_rates.arrival_models import (
    mmpp_dispersion,
    mmpp_gap_cv,
    mmpp_mean_rate,
)
from serving_mathematics.capacity.arrival_rates.arrival_standin import (
    RateSignal,
    _sign,
    draw_tokens,
    fit_rate_signal,
    main,
    replay_arrivals,
    signal_arrivals,
    signal_dispersion,
    signal_gap_cv,
    signal_phases,
)
from serving_mathematics.capacity.arrival_rates.arrival_trace import (
    RECORD,
    parse_trace,
    read_statistics,
    trace_statistics,
)

SIGNAL = RateSignal(10.0, 0.5, 0.02, 0.25, 3.0)
signals = st.builds(
    RateSignal,
    st.floats(1, 50),
    st.floats(0.05, 0.45),
    st.floats(0.001, 0.05),
    st.floats(0.05, 0.45),
    st.floats(1.0, 20.0),
)


@given(signals, st.floats(0.01, 1e4))
def test_signal_is_a_modulated_process_of_four_phases(signal: RateSignal, window: float) -> None:
    phases = signal_phases(signal)
    assert mmpp_mean_rate(*phases) == pytest.approx(signal.mean_rate)
    assert signal_gap_cv(signal) == pytest.approx(mmpp_gap_cv(*phases), rel=1e-9)
    index = float(signal_dispersion(window, signal))
    assert index == pytest.approx(mmpp_dispersion(window, *phases), rel=1e-6)


def test_phases_of_a_signal_by_hand() -> None:
    rates, generator = signal_phases(SIGNAL)
    assert rates.tolist() == [17.5, 12.5, 7.5, 2.5]
    assert generator[0].tolist() == [-1.51, 1.5, 0.01, 0.0]
    assert generator[3].tolist() == [0.0, 0.01, 1.5, -1.51]


@given(signals)
def test_fit_finds_the_statistics_of_a_signal(signal: RateSignal) -> None:
    windows = (1.0, 10.0, 60.0)
    index, cv = signal_dispersion(windows, signal), signal_gap_cv(signal)
    fit = fit_rate_signal(signal.mean_rate, cv, windows, index)
    assert fit.mean_rate == signal.mean_rate
    assert signal_dispersion(windows, fit) == pytest.approx(index, rel=1e-8)
    assert signal_gap_cv(fit) == pytest.approx(cv, rel=1e-8)
    assert 0 < fit.slow_swing + fit.fast_swing < 1


def test_fit_in_other_units_of_time() -> None:
    windows = np.array([1.0, 10.0, 60.0])
    index, cv = signal_dispersion(windows, SIGNAL), signal_gap_cv(SIGNAL)
    hours = fit_rate_signal(SIGNAL.mean_rate * 3600, cv, windows / 3600, index)
    assert hours.slow_rate == pytest.approx(SIGNAL.slow_rate * 3600, rel=1e-5)
    assert hours.fast_swing == pytest.approx(SIGNAL.fast_swing, rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ((5.0, 5.0, (1, 10, 60), (1.4, 3.9, 16)), "must be those of a rate with two telegraph"),
    ],
)
def test_bad_fit(arguments: tuple[object, ...], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        fit_rate_signal(*arguments)


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ((0.0, 0.1, 1.0, 0.1, 1.0), "mean_rate must be positive"),
        ((math.inf, 0.1, 1.0, 0.1, 1.0), "mean_rate must be positive"),
        ((1.0, 0.0, 1.0, 0.1, 1.0), "slow_swing and fast_swing must be positive"),
        ((1.0, 0.1, 1.0, -0.1, 1.0), "slow_swing and fast_swing must be positive"),
        ((1.0, 0.6, 1.0, 0.41, 1.0), "with a sum of at most 1"),
        ((1.0, math.nan, 1.0, 0.4, 1.0), "slow_swing and fast_swing must be positive"),
        ((1.0, 0.1, 0.0, 0.1, 1.0), "slow_rate and fast_rate must be positive"),
        ((1.0, 0.1, 1.0, 0.1, math.inf), "slow_rate and fast_rate must be positive"),
    ],
)
def test_bad_signals(fields: tuple[float, ...], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        RateSignal(*fields)


def test_swings_may_reach_zero_rate() -> None:
    assert signal_phases(RateSignal(4.0, 0.75, 1.0, 0.25, 1.0))[0].min() == 0


def test_dispersion_keeps_the_shape_of_the_windows() -> None:
    assert signal_dispersion([[1.0, 2.0], [3.0, 4.0]], SIGNAL).shape == (2, 2)
    assert signal_dispersion(1e-6, SIGNAL) == pytest.approx(1, abs=1e-4)


def test_arrivals_have_the_rate_and_reach_the_horizon() -> None:
    times = signal_arrivals(np.random.default_rng(2), SIGNAL, 20_000.0)
    error = math.sqrt(float(signal_dispersion(20_000.0, SIGNAL)) * 10.0 / 20_000)
    assert times.size / 20_000 == pytest.approx(10.0, abs=4 * error)
    assert np.all(np.diff(times) >= 0)
    assert 0 <= times[0] < 5
    assert 19_995 < times[-1] <= 20_000


def test_the_sign_changes_at_a_flip_and_nowhere_else() -> None:
    flips, edges = np.array([0.0, 2.0, 5.0]), np.array([0.0, 1.0, 2.0, 3.0, 5.0])
    paths = {tuple(_sign(np.random.default_rng(k), flips, edges).tolist()) for k in range(20)}
    assert paths == {(1, 1, -1, -1), (-1, -1, 1, 1)}


def test_a_signal_that_never_flips_starts_high_or_low() -> None:
    rng, frozen = np.random.default_rng(8), RateSignal(100.0, 0.6, 1e-9, 0.3, 1e-9)
    sizes = np.array([signal_arrivals(rng, frozen, 10.0).size for _ in range(200)])
    levels = np.array([100, 700, 1300, 1900])  # 1000·(1 ± 0.6 ± 0.3)
    nearest = np.abs(sizes[:, None] - levels).argmin(axis=1)
    assert np.all(np.abs(sizes - levels[nearest]) < 250)
    assert np.bincount(nearest, minlength=4).min() > 25
    replays = [replay_arrivals(rng, [1000], frozen).size for _ in range(60)]
    assert sum(size > 1000 for size in replays) in range(15, 46)


def test_replay_follows_the_minutes() -> None:
    rng, minutes = np.random.default_rng(4), [300, 0, 1200, 600]
    counts = [
        np.histogram(replay_arrivals(rng, minutes, SIGNAL), [0, 60, 120, 180, 240])[0]
        for _ in range(150)
    ]
    fast = 1 + 2 * 0.25**2 * np.array([300, 0, 1200, 600]) / 60 / 3.0  # dispersion of the fast part
    error = np.sqrt(np.array(minutes) * fast / 150)
    assert np.all(np.abs(np.mean(counts, axis=0) - minutes) <= 4 * error)
    spread = np.var(counts, axis=0)[2] / 1200
    assert spread == pytest.approx(fast[2], rel=0.5)


def test_more_requests_than_memory_holds_are_refused_with_their_number() -> None:
    steady = RateSignal(1.0, 0.1, 1e-9, 1e-300, 1e-9)
    none = Mock(poisson=lambda _: 0, integers=lambda _: 0, uniform=lambda *_: np.zeros(0))
    none.standard_exponential = np.ones
    with pytest.raises(ValueError, match=r"a thousand million requests at most, got 1500000000\.0"):
        replay_arrivals(none, [6e8, 9e8], steady)
    assert replay_arrivals(none, [4e8, 6e8], steady).size == 0  # the most that there may be


def test_tokens_are_whole_and_within_the_quantiles() -> None:
    drawn = draw_tokens(np.random.default_rng(6), 50_000, [0, 50, 100], [2, 100, 1000])
    assert drawn.dtype == np.int64
    assert drawn.min() >= 2
    assert drawn.max() <= 1000
    assert np.mean(drawn <= 100) == pytest.approx(0.5, abs=0.02)
    assert np.mean(drawn <= 550) == pytest.approx(0.75, abs=0.02)
    assert draw_tokens(np.random.default_rng(6), 0, [0, 100], [0, 0]).size == 0
    tossed = draw_tokens(np.random.default_rng(6), 10_000, [0, 100], [0, 1])  # to the nearest
    assert tossed.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("percents", "quantiles", "rule"),
    [
        ([0, 50, 75, 100], [1, 9, 5, 10], "quantiles must be non-negative, non-decreasing"),
    ],
)
def test_bad_quantiles(percents: object, quantiles: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        draw_tokens(np.random.default_rng(0), 1, percents, quantiles)


def test_command_writes_a_trace_that_the_loader_reads(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["7"]) == 0
    text = capsys.readouterr().out
    trace = parse_trace(text)
    told, real = trace_statistics(trace), read_statistics(RECORD.read_text(encoding="utf-8"))
    assert told.rate_per_s == pytest.approx(real.rate_per_s, rel=0.05)
    assert told.gap_cv == pytest.approx(real.gap_cv, rel=0.05)
    assert told.dispersion[:7] == pytest.approx(real.dispersion[:7], rel=0.25)
    assert np.corrcoef(told.requests_per_minute[:57], real.requests_per_minute[:57])[0, 1] > 0.9
    assert np.median(trace.generated_tokens) == pytest.approx(129, abs=6)
    assert main([]) == 0
    assert capsys.readouterr().out != text
    assert main(["7"]) == 0
    assert capsys.readouterr().out == text
    assert main(["x"]) == main(["1", "2"]) == 2
    assert "usage:" in capsys.readouterr().err
