"""Two telegraph signals, one slow and one fast, reproduce a trace's rate, gap CV and dispersion at
three windows.

The rate is λ(t) = λ̄(1 + aX(t) + bY(t)), where X and Y are independent and flip between +1 and −1,
forgetting their state at rates s and u. The dispersion is I(w) = 1 + 2λ̄[a²h(sw)/s + b²h(uw)/u]
with h(x) = 1 − (1 − e^{−x})/x, and the gap CV is that of a Markov-modulated Poisson process with
four phases. Four equations, solved by Newton's method, fix a, s, b and u; the stream they describe
stands in for a trace that is not at hand.

Assumes: a stationary stream whose second moments matter most. The four numbers say nothing about
the shape of a peak or about when it comes, and an hour of data pins the slow signal down only
roughly.

Source: Gusella (1991), who fits a Markov-modulated process to the index of dispersion in the same
way; statistics of the Azure conversation trace from `arrival_trace`.
"""

from __future__ import annotations

import functools
import itertools
import math
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.arrival_rates.arrival_models import (
    BURSTY_LEAVES,
    BURSTY_RATES,
    _uniform_in_order,
    mmpp_dispersion,
    mmpp_gap_cv,
    switching_generator,
)
from serving_mathematics.capacity.arrival_rates.arrival_rates import dispersion_index, window_counts
from serving_mathematics.capacity.arrival_rates.arrival_rates import gap_cv as cv_of_gaps
from serving_mathematics.capacity.arrival_rates.arrival_trace import COLUMNS, _recorded
from serving_mathematics.core.queues.queue_simulator import MeanEstimate, fifo_waits, gamma_times
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_in,
    require_non_negative_integer,
    require_positive,
    require_work,
    widen_fields,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

FLIPS = np.array([[-0.5, 0.5], [0.5, -0.5]])  # generator of one signal that forgets at rate 1
SLOW_FLIPS, FAST_FLIPS = np.kron(FLIPS, np.eye(2)), np.kron(np.eye(2), FLIPS)
FIT_WINDOWS_S = (1, 10, 60)  # windows whose dispersion the fit meets [s]


@dataclass(frozen=True)
class RateSignal:
    """A rate λ̄(1 + aX + bY) with two telegraph signals: λ̄ [1/s], swings a and b, their rates of
    forgetting [1/s].
    """

    mean_rate: float
    slow_swing: float
    slow_rate: float
    fast_swing: float
    fast_rate: float

    def __post_init__(self) -> None:
        """Refuse a signal whose rate could be negative, or that does not move."""
        widen_fields(self)
        require_positive(mean_rate=self.mean_rate)
        require(
            self.slow_swing > 0 and self.fast_swing > 0 and self.slow_swing + self.fast_swing <= 1,
            "slow_swing and fast_swing",
            "positive, with a sum of at most 1",
            (self.slow_swing, self.fast_swing),
        )
        require(
            0 < self.slow_rate < math.inf and 0 < self.fast_rate < math.inf,
            "slow_rate and fast_rate",
            "positive and finite",
            (self.slow_rate, self.fast_rate),
        )


def signal_phases(signal: RateSignal) -> tuple[FloatArray, FloatArray]:
    """The signal as a Markov-modulated Poisson process: rates of its four phases, shape (4,) [1/s],
    and generator, shape (4, 4) [1/s], for `mmpp_mean_time` and its like.

    >>> signal_phases(RateSignal(10.0, 0.5, 0.1, 0.25, 2.0))[0].tolist()
    [17.5, 12.5, 7.5, 2.5]
    """
    a, b = signal.slow_swing, signal.fast_swing
    rates = signal.mean_rate * (1 + np.array([a + b, a - b, b - a, -a - b]))
    return rates, signal.slow_rate * SLOW_FLIPS + signal.fast_rate * FAST_FLIPS


def signal_dispersion(window_s: npt.ArrayLike, signal: RateSignal) -> FloatArray:
    """Index of dispersion of the signal's arrivals in windows of the given lengths.

    window_s: [s], positive, any shape. Returns I(w) in the same shape. Raises ValueError on other
    windows.

    >>> signal_dispersion([1e9], RateSignal(10.0, 0.5, 0.1, 0.25, 2.0)).round(4).tolist()
    [51.625]
    """
    window = as_floats(window_s=window_s)
    require(np.all((window > 0) & (window < math.inf)), "window_s", "positive and finite", window_s)
    index = np.ones_like(window)
    for swing, rate in (
        (signal.slow_swing, signal.slow_rate),
        (signal.fast_swing, signal.fast_rate),
    ):
        forgotten = rate * window
        index += 2 * signal.mean_rate * swing**2 / rate * (1 + np.expm1(-forgotten) / forgotten)
    return index


def signal_gap_cv(signal: RateSignal) -> float:
    """Coefficient of variation of the gaps of the signal's arrivals, CV² = 2λ̄·E[time to the next]
    − 1.

    The expected time to the next arrival is that from a phase chosen at random, all four being
    equally likely.

    >>> round(signal_gap_cv(RateSignal(10.0, 1e-9, 0.1, 1e-9, 2.0)), 9)
    1.0
    """
    rates, generator = signal_phases(signal)
    silence = np.linalg.solve(np.diag(rates) - generator, np.ones(4))
    return math.sqrt(2 * signal.mean_rate * float(silence.mean()) - 1)


def fit_rate_signal(
    rate_per_s: float, gap_cv: float, windows_s: npt.ArrayLike, dispersion: npt.ArrayLike
) -> RateSignal:
    """The signal with this rate, this gap CV and these dispersions at three windows.

    rate_per_s: λ̄ [1/s]. gap_cv: above 1. windows_s: three increasing windows [s], of 0.001 to 10¹²
    arrivals each. dispersion: I at them, above 1 and increasing. Raises ValueError outside these
    ranges, and when no signal of this form has these statistics.

    >>> fit = fit_rate_signal(5.53014, 1.094198, (1, 10, 60), (1.385538, 3.868047, 16.411211))
    >>> round(1 / fit.slow_rate), round(1 / fit.fast_rate, 2)
    (217, 0.13)
    """
    rate_per_s = require_positive(rate_per_s=rate_per_s)
    require(1 < gap_cv < math.inf, "gap_cv", "finite and above 1", gap_cv)
    windows, target = as_floats(windows_s=windows_s), as_floats(dispersion=dispersion)
    require(
        windows.shape == (3,) and 0 < windows[0] < windows[1] < windows[2] < math.inf,
        "windows_s",
        "three increasing windows",
        windows_s,
    )
    require(
        target.shape == (3,) and 1 < target[0] < target[1] < target[2] < math.inf,
        "dispersion",
        "three increasing numbers above 1",
        dispersion,
    )
    expected = rate_per_s * windows
    rule = "long and short enough for 0.001 to 10^12 arrivals at rate_per_s"
    require(expected[0] >= 1e-3 and expected[2] <= 1e12, "windows_s", rule, windows_s)
    gap_cv = require_in("[1, 1e6]", gap_cv=gap_cv)
    wanted = np.log(np.append(target - 1, gap_cv**2 - 1))

    def mismatch(logs: FloatArray) -> FloatArray:
        a, s, b, u = np.exp(logs)
        if a + b >= 1:
            return np.full(4, math.inf)
        signal = RateSignal(rate_per_s, a, s, b, u)
        excess = signal_dispersion(windows, signal) - 1
        moments = np.append(excess, signal_gap_cv(signal) ** 2 - 1)
        return np.asarray(np.log(moments) - wanted)

    # Starts: the slow signal forgets in a few long windows, the fast one in a few short windows.
    starts = itertools.product((4.0, 1.0, 20.0), (0.1, 0.5, 2.0), (0.2, 0.1, 0.4))
    possible = np.all(np.diff((target - 1) / windows) < 0)  # I − 1 grows more slowly than a window
    for slow, fast, swing in starts if possible else ():
        logs = np.log([swing, 1 / (slow * windows[2]), swing, 1 / (fast * windows[0])])
        error = mismatch(logs)
        for _ in range(60):  # Newton's method, with steps halved until they help
            slopes = [(mismatch(logs + 1e-6 * e) - error) / 1e-6 for e in np.eye(4)]
            if not np.all(np.isfinite(slopes)) or np.linalg.matrix_rank(slopes) < 4:
                break
            step = np.linalg.solve(np.transpose(slopes), -error)
            step *= min(1.0, 2.0 / np.abs(step).max())
            while np.abs(step).max() > 1e-12:
                trial = mismatch(logs + step)
                if np.linalg.norm(trial) < np.linalg.norm(error):
                    break
                step /= 2
            else:
                break
            logs, error = logs + step, trial
            if np.abs(error).max() < 1e-10:
                return RateSignal(rate_per_s, *(float(x) for x in np.exp(logs)))
    raise ValueError(
        "rate_per_s, gap_cv and dispersion must be those of a rate with two telegraph signals, "
        f"got {rate_per_s}, {gap_cv} and {target.tolist()}"
    )


def signal_arrivals(rng: np.random.Generator, signal: RateSignal, horizon_s: float) -> FloatArray:
    """Arrival times of the signal from a steady state, from 0 to the horizon [s].

    Raises ValueError unless the horizon is positive and finite.

    >>> signal = RateSignal(10.0, 0.5, 0.1, 0.25, 2.0)
    >>> times = signal_arrivals(np.random.default_rng(0), signal, 60.0)
    >>> 300 < times.size < 900
    True
    """
    horizon_s = require_positive(horizon_s=horizon_s)
    fastest = signal.mean_rate + signal.slow_rate + signal.fast_rate
    require_work(fastest * horizon_s, horizon_s=horizon_s)
    slow, fast = (_flips(rng, r, horizon_s) for r in (signal.slow_rate, signal.fast_rate))
    edges = _merged(slow, fast[1:-1])
    x, y = (_sign(rng, flips, edges) for flips in (slow, fast))
    rates = signal.mean_rate * (1 + signal.slow_swing * x + signal.fast_swing * y)
    return _arrivals_at(rng, edges, rates)


def replay_arrivals(
    rng: np.random.Generator, requests_per_minute: npt.ArrayLike, signal: RateSignal
) -> FloatArray:
    """Arrival times that follow recorded requests per minute, with the signal's fast part on top
    [s].

    requests_per_minute: shape (minutes,), non-negative. signal: only fast_swing and fast_rate are
    used.
    Raises ValueError on an empty or negative record.

    >>> signal = RateSignal(5.0, 0.2, 0.01, 0.3, 7.0)
    >>> times = replay_arrivals(np.random.default_rng(0), [0, 600], signal)
    >>> bool(times.min() > 60), 450 < times.size < 750
    (True, True)
    """
    recorded = as_floats(requests_per_minute=requests_per_minute)
    require(
        recorded.ndim == 1
        and recorded.size > 0
        and np.all((recorded >= 0) & (recorded < math.inf)),
        "requests_per_minute",
        "non-negative and finite, in one dimension",
        requests_per_minute,
    )
    horizon = 60.0 * recorded.size
    fast = _flips(rng, signal.fast_rate, horizon)
    edges = _merged(60.0 * np.arange(recorded.size + 1, dtype=float), fast[1:-1])
    rates = recorded[(edges[:-1] / 60).astype(int)] / 60
    return _arrivals_at(rng, edges, rates * (1 + signal.fast_swing * _sign(rng, fast, edges)))


def _flips(rng: np.random.Generator, rate: float, horizon_s: float) -> FloatArray:
    """Both ends of the horizon, and between them the times at which a telegraph signal flips."""
    flips = _uniform_in_order(rng, rng.poisson(rate / 2 * horizon_s), horizon_s)
    return np.concatenate([[0.0], flips, [horizon_s]])


def _merged(times: FloatArray, others: FloatArray) -> FloatArray:
    """Both in order; a stable sort goes through two that are in order once."""
    return np.sort(np.concatenate([times, others]), kind="stable")


def _sign(rng: np.random.Generator, flips: FloatArray, edges: FloatArray) -> IntArray:
    """The signal, +1 or −1, from each edge to the next; its first sign is tossed."""
    passed = np.searchsorted(flips, edges[:-1], side="right")
    return np.asarray(1 - 2 * ((passed + rng.integers(2)) % 2), dtype=np.int64)


def _arrivals_at(rng: np.random.Generator, edges: FloatArray, rates: FloatArray) -> FloatArray:
    """A Poisson process with these rates between the edges: a unit-rate one on the clock ∫λ, whose
    times, given their number, are uniform."""
    clock = np.concatenate([[0.0], np.cumsum(rates * np.diff(edges))])
    require(clock[-1] <= 1e9, "rates", "a thousand million requests at most", clock[-1])
    ticks = _uniform_in_order(rng, rng.poisson(clock[-1]), clock[-1])
    return np.asarray(np.interp(ticks, clock, edges))


def draw_tokens(
    rng: np.random.Generator, size: int, percents: npt.ArrayLike, quantiles: npt.ArrayLike
) -> IntArray:
    """Token counts drawn from recorded quantiles, linear between them, independent of one another.

    size: how many. percents: increasing from 0 to 100, shape (n,). quantiles: non-decreasing, from
    0, shape (n,). Raises ValueError on other levels or quantiles.

    >>> draw_tokens(np.random.default_rng(0), 3, [0, 100], [7, 7]).tolist()
    [7, 7, 7]
    """
    levels, values = as_floats(percents=percents), as_floats(quantiles=quantiles)
    require(
        levels.ndim == 1
        and levels.size >= 2
        and levels[0] == 0
        and levels[-1] == 100
        and np.all(np.diff(levels) > 0),
        "percents",
        "increasing from 0 to 100",
        percents,
    )
    require(
        values.shape == levels.shape
        and np.all(np.diff(values) >= 0)
        and 0 <= values[0] <= values[-1] < math.inf,
        "quantiles",
        f"non-negative, non-decreasing and of shape {levels.shape}",
        quantiles,
    )
    size = require_non_negative_integer(size=size)
    require_work(size, size=size)
    drawn = np.interp(100 * rng.random(int(size)), levels, values)
    return np.asarray(np.rint(drawn), dtype=np.int64)


def _fitted() -> RateSignal:
    """The signal that meets the recorded statistics at `FIT_WINDOWS_S`."""
    told = _recorded()
    index = dict(zip(told.windows_s, told.dispersion, strict=True))
    wanted = [index[w] for w in FIT_WINDOWS_S]
    return fit_rate_signal(told.rate_per_s, told.gap_cv, FIT_WINDOWS_S, wanted)


def main(arguments: list[str]) -> int:
    """Print a made-up trace in the format of the real one, an hour replayed; the exit status.

    arguments: one seed, or none for seed 0.
    """
    if len(arguments) > 1 or not all(a.isascii() and a.isdigit() for a in arguments):
        print(
            "usage: python -m serving_mathematics.capacity.arrival_rates.arrival_standin [SEED]",
            file=sys.stderr,
        )
        return 2
    rng, told = np.random.default_rng(int(arguments[0]) if arguments else 0), _recorded()
    times = replay_arrivals(rng, told.requests_per_minute, _fitted())
    context, generated = (
        draw_tokens(rng, times.size, told.token_quantiles_percent, quantiles)
        for quantiles in (told.context_tokens, told.generated_tokens)
    )
    ticks = (1e7 * times).astype(np.int64) * np.timedelta64(100, "ns")
    stamps = np.datetime_as_string(np.datetime64("2023-11-16T18:15:46", "ns") + ticks)
    print(",".join(COLUMNS))
    for stamp, a, b in zip(stamps, context, generated, strict=True):
        print(f"{stamp[:10]} {stamp[11:27]},{a},{b}")
    return 0


@functools.cache
def _hours(source: str, hours: int = 28) -> tuple[FloatArray, FloatArray]:
    """Dispersion at the fitted windows and mean waits at the recorded utilizations, of simulated
    hours.

    source: "signal" for the stationary stand-in, "replay" for the recorded minutes. Returns arrays
    of shape (hours, 3) and (hours, utilizations). Service times are those of the recorded waits: ρ
    mean gaps of the real trace.
    """
    rng, told, fit = np.random.default_rng(1911), _recorded(), _fitted()
    index, waits = [], []
    for _ in range(hours):
        if source == "signal":
            times = signal_arrivals(rng, fit, 58 * 60.0)
        else:
            times = replay_arrivals(rng, told.requests_per_minute, fit)
        index.append([dispersion_index(window_counts(times, w)) for w in FIT_WINDOWS_S])
        waits.append(
            [
                fifo_waits(times, np.full(times.size, rho / told.rate_per_s)).mean()
                for rho in told.utilizations
            ]
        )
    return np.array(index), np.array(waits)


def _one_signal() -> FloatArray:
    """Dispersion at the recorded windows of the best fit with a single signal, least squares in
    log(I − 1).
    """
    told = _recorded()
    windows, wanted = np.array(told.windows_s, dtype=float), np.log(np.array(told.dispersion) - 1)
    chosen = np.isin(windows, FIT_WINDOWS_S)
    rates = np.geomspace(1e-3, 1, 400)[:, None]
    shapes = np.log(1 + np.expm1(-rates * windows) / (rates * windows))
    scale = (wanted - shapes)[:, chosen].mean(axis=1, keepdims=True)
    misses = ((scale + shapes - wanted)[:, chosen] ** 2).sum(axis=1)
    best = int(misses.argmin())
    return np.asarray(1 + np.exp(scale[best] + shapes[best]))


def _poisson_wait(utilization: float) -> float:
    """Mean wait of M/D/1 at the recorded rate [s]."""
    return utilization**2 / (2 * (1 - utilization)) / _recorded().rate_per_s


def example() -> SimpleNamespace:
    """Numbers of the fit and of the simulated hours that the text quotes."""
    told = _recorded()
    fit, target = _fitted(), np.array(told.dispersion)
    unseen = ~np.isin(told.windows_s, FIT_WINDOWS_S)
    seen_hours, waits = _hours("signal")
    at_80, at_50 = told.utilizations.index(0.8), told.utilizations.index(0.5)
    signal, replay = waits[:, at_80], _hours("replay")[1][:, at_80]
    return SimpleNamespace(
        fit_slow_s=1 / fit.slow_rate,
        fit_slow_swing=fit.slow_swing,
        fit_fast_s=1 / fit.fast_rate,
        fit_fast_swing=fit.fast_swing,
        fit_top_rate=fit.mean_rate * (1 + fit.slow_swing),
        server_80_rate=told.rate_per_s / 0.8,
        fit_unseen_worst=float(
            np.abs(signal_dispersion(told.windows_s, fit) / target - 1)[unseen].max()
        ),
        one_signal_worst=float(np.abs(_one_signal() / target - 1)[~unseen].max()),
        hour_60s_low=float(np.quantile(seen_hours[:, 2], 0.05)),
        hour_60s_high=float(np.quantile(seen_hours[:, 2], 0.95)),
        hour_60s_expected=_expected_estimate(60.0, 58, fit),
        wait_50_trace_ms=1e3 * told.mean_waits_s[at_50],
        wait_50_poisson_ms=1e3 * _poisson_wait(0.5),
        wait_80_trace_s=told.mean_waits_s[at_80],
        wait_80_poisson_s=_poisson_wait(0.8),
        wait_80_ratio=told.mean_waits_s[at_80] / _poisson_wait(0.8),
        wait_80_signal_s=float(signal.mean()),
        wait_80_signal_pm=1.96
        * float(signal.std(ddof=1))
        / math.sqrt(signal.size),  # half of the 95% interval over the simulated hours
        wait_80_replay_s=float(replay.mean()),
        wait_80_replay_pm=1.96 * float(replay.std(ddof=1)) / math.sqrt(replay.size),
    )


def _expected_estimate(window_s: float, windows: int, signal: RateSignal) -> float:
    """What variance over mean of k windows of one run estimates: k/(k−1)·(I(w) − I(kw)/k)."""
    short, whole = signal_dispersion([window_s, windows * window_s], signal)
    return float(windows / (windows - 1) * (short - whole / windows))


def figure_dispersion_by_window(figure: Figure) -> None:
    """The gaps of the trace look Poisson; its counts do so in no window, and less the longer the
    window.

    Dots are the public trace of a conversation service. A gamma stream with the same gap CV, what a
    load generator would send, stays near 1. The fitted rate signal meets the filled dots and
    predicts the open ones.

    Alt: Log-log chart of the index of dispersion against the window from half a second to ten
    minutes. A flat line at 1 for Poisson, a line at 1.2 for gamma gaps, dots of the trace rising
    from 1.4 at one second to 62 at five minutes with a fitted curve through them, and above them
    the curve of the two-phase example, which levels off at 60.
    """
    told = _recorded()
    fit, q = _fitted(), switching_generator(BURSTY_LEAVES)
    windows = np.geomspace(0.5, 600, 80)
    axes = figure.subplots()
    bursty = [mmpp_dispersion(w, BURSTY_RATES, q) for w in windows]
    axes.loglog(windows, bursty, color="C1")
    axes.loglog(windows, signal_dispersion(windows, fit), color="C0")
    axes.axhline(1, color="C4", linestyle=":", linewidth=1.4)
    rng = np.random.default_rng(8)
    gaps = gamma_times(rng, 1 / told.rate_per_s, told.gap_cv**2, 490_000)
    counts = window_counts(np.cumsum(gaps), 0.5)
    halves = np.array([1, 2, 3, 5, 8, 14, 24, 41, 70, 120])  # half seconds in a window
    merged = [counts[: counts.size // k * k].reshape(-1, k).sum(axis=1) for k in halves.tolist()]
    axes.loglog(halves / 2, [dispersion_index(some) for some in merged], color="C2")
    for w, index in zip(told.windows_s, told.dispersion, strict=True):
        filled = "C0" if w in FIT_WINDOWS_S else "none"
        axes.plot(w, index, "o", color="C0", markerfacecolor=filled, markersize=6)
    axes.annotate("two-phase example", (4.2, 30), color="C1", ha="right")
    axes.annotate("conversation trace\nand fitted signal", (13, 3.0), color="C0", va="center")
    axes.annotate("gamma gaps of the same CV", (9, 1.27), color="C2", va="bottom")
    axes.annotate("Poisson", (600, 0.95), color="C4", ha="right", va="top")
    axes.set(
        xlim=(0.5, 600),
        ylim=(0.7, 110),
        xlabel="window [s]",
        ylabel="index of dispersion $I(w)$",
    )
    axes.minorticks_off()


def figure_waits_of_the_trace(figure: Figure) -> None:
    """At 50% busy the trace waits a third longer than Poisson traffic; at 80%, 38 times longer.

    One server with constant service time, utilization by the hour's mean rate. Dots are the
    recorded waits of the real arrivals, the line is M/D/1, bands hold 90% of 28 simulated hours:
    the replayed minutes predict the real waits, the stationary signal does not know how high the
    peak was.

    Alt: Chart of mean wait on a logarithmic axis against utilization from 0.5 to 0.9. The Poisson
    line rises from 45 milliseconds to 0.7 seconds. The dots of the trace start at 60 milliseconds,
    leave the line at 0.65, and reach 11 seconds at 0.8 and 53 seconds at 0.9. The band of the
    replay covers them. The band of the stationary signal lies below them at 0.7 and 0.8.
    """
    told = _recorded()
    axes = figure.subplots()
    rho = np.linspace(0.5, 0.92, 60)
    axes.semilogy(rho, [_poisson_wait(r) for r in rho], color="C4")
    for source, colour in (("signal", "C1"), ("replay", "C0")):
        low, high = np.quantile(_hours(source)[1], [0.05, 0.95], axis=0)
        axes.fill_between(told.utilizations, low, high, color=colour, alpha=0.3, linewidth=0)
    axes.plot(told.utilizations, told.mean_waits_s, "o", color="C0")
    axes.annotate("real arrivals on\nthe replay's band", (0.735, 6.0), color="C0", ha="right")
    axes.annotate("stationary\nsignal", (0.825, 1.6), color="C1", ha="left")
    axes.annotate("Poisson", (0.86, 0.33), color="C4", ha="left", va="top")
    axes.set(
        xlim=(0.48, 0.94),
        ylim=(0.03, 150),
        xlabel="utilization at the hour's mean rate",
        ylabel="mean wait [s]",
    )


def check_fit_meets_the_statistics() -> None:
    """The fitted signal has the trace's rate, gap CV and dispersion at 1, 10 and 60 s.

    Source: recorded statistics; the fitted dispersion is evaluated by the matrix formula of the
    four-phase process.
    """
    told = _recorded()
    phases = signal_phases(_fitted())
    for window in FIT_WINDOWS_S:
        expected = told.dispersion[told.windows_s.index(window)]
        got = mmpp_dispersion(window, *phases)
        checks.close(f"I({window} s)", got, expected, rtol=1e-8, kind="measured")
    checks.close("gap CV", mmpp_gap_cv(*phases), told.gap_cv, rtol=1e-8, kind="measured")
    checks.close("rate [1/s]", phases[0].mean(), told.rate_per_s, rtol=1e-12, kind="measured")


def check_fit_error_at_other_windows() -> None:
    """At the six windows that the fit did not use it is off by at most 9%; a single signal misses
    even its own three.

    Source: recorded dispersion at 2, 5, 20, 30, 120 and 300 s; least squares over a grid of single
    signals.
    """
    told = _recorded()
    target = np.array(told.dispersion)
    unseen = ~np.isin(told.windows_s, FIT_WINDOWS_S)
    error = np.abs(signal_dispersion(told.windows_s, _fitted()) / target - 1)
    checks.inside("two signals, unseen windows", error[unseen].max(), 0.0, 0.09, kind="measured")
    single = np.abs(_one_signal() / target - 1)[~unseen].max()
    checks.inside("one signal, fitted windows", single, 0.10, 0.12, kind="measured")


def check_tokens_have_the_quantiles() -> None:
    """Tokens drawn for 100,000 made-up requests have the recorded median and 90th percentile.

    Source: the share of draws below a recorded quantile is binomial; standard error √(p(1−p)/n).
    """
    told, rng = _recorded(), np.random.default_rng(9)
    for name, quantiles in (("prompt", told.context_tokens), ("answer", told.generated_tokens)):
        drawn = draw_tokens(rng, 100_000, told.token_quantiles_percent, quantiles)
        for percent in (50, 90):
            level = quantiles[told.token_quantiles_percent.index(percent)]
            below = float(np.mean(drawn < level)) + float(np.mean(drawn == level)) / 2
            error = math.sqrt(percent * (100 - percent) / 1e4 / 100_000)
            estimate = MeanEstimate(below, error, 0.0)
            checks.covers(f"{name}: share below the {percent}% quantile", estimate, percent / 100)


def check_standin_counts() -> None:
    """Counted in simulated hours, the stand-in has the fitted dispersion, less what one hour cannot
    show.

    Source: k/(k−1)·(I(w) − I(kw)/k) for k windows of one hour; 28 independent hours.
    """
    index, fit = _hours("signal")[0], _fitted()
    fit_cv = _recorded().gap_cv
    for j, window in enumerate(FIT_WINDOWS_S):
        hours = index[:, j]
        error = float(hours.std(ddof=1) / math.sqrt(hours.size))
        expected = _expected_estimate(float(window), 58 * 60 // window, fit)
        checks.covers(f"I({window} s)", MeanEstimate(float(hours.mean()), error, 0.0), expected)
    times = signal_arrivals(np.random.default_rng(17), fit, 140_000.0)
    # Twenty parts, each 7,000 s long: nearly independent, as the slow signal forgets in 217 s.
    parts = [cv_of_gaps(part) for part in np.array_split(times, 20)]
    error = float(np.std(parts, ddof=1) / math.sqrt(20))
    checks.covers("gap CV of 39 hours", MeanEstimate(cv_of_gaps(times), error, 0.0), fit_cv)


def check_replay_predicts_the_waits() -> None:
    """Replayed minutes give the waits of the real arrivals within the scatter of an hour; Poisson
    misses 38-fold at 80%.

    Source: recorded waits at one server with constant service time; mean ± 3 standard deviations of
    28 replayed hours; M/D/1, ρS/(2(1−ρ)).
    """
    told, waits = _recorded(), _hours("replay")[1]
    for j, rho in enumerate(told.utilizations):
        logs = np.log(waits[:, j])
        middle, spread = float(logs.mean()), float(logs.std(ddof=1))
        checks.inside(
            f"real mean wait at ρ = {rho} [s]",
            told.mean_waits_s[j],
            math.exp(middle - 3 * spread),
            math.exp(middle + 3 * spread),
            kind="measured",
        )
    at_80 = told.utilizations.index(0.8)
    service = 0.8 / told.rate_per_s
    poisson = 0.8 * service / (2 * (1 - 0.8))
    ratio = told.mean_waits_s[at_80] / poisson
    checks.close("over the Poisson wait at 80%", ratio, 37.9, atol=0.05, kind="measured")
    signal = float(_hours("signal")[1][:, at_80].mean())
    short = told.mean_waits_s[at_80] / signal
    checks.inside("over the stationary signal's at 80%", short, 4.0, 12.0, kind="measured")


def check_signal_against_the_matrix_formula() -> None:
    """Two telegraph signals are a Markov-modulated process of four phases with the same dispersion.

    Source: I(t) of `arrival_models` on the Kronecker sum of the two generators.
    """
    signal = RateSignal(3.0, 0.6, 0.02, 0.3, 1.5)
    windows = np.array([0.1, 1.0, 30.0, 3600.0])
    matrix = [mmpp_dispersion(w, *signal_phases(signal)) for w in windows]
    checks.close("I(w)", signal_dispersion(windows, signal), matrix, rtol=1e-9)


def check_bad_input_is_refused() -> None:
    """Negative rates, dispersion below 1, windows out of order and statistics that no signal has
    are errors.
    """
    checks.raises(
        "rate below zero",
        RateSignal,
        1.0,
        0.7,
        0.1,
        0.5,
        1.0,
        match="slow_swing and fast_swing must be positive, with a sum of at most 1",
    )
    checks.raises(
        "Poisson counts",
        fit_rate_signal,
        5.0,
        1.1,
        (1, 10, 60),
        (1.0, 1.0, 1.0),
        match="dispersion must be three increasing numbers above 1",
    )
    checks.raises(
        "regular gaps",
        fit_rate_signal,
        5.0,
        0.9,
        (1, 10, 60),
        (1.4, 3.9, 16.0),
        match="gap_cv must be finite and above 1, got 0.9",
    )
    checks.raises(
        "dispersion that grows faster than a window",
        fit_rate_signal,
        5.0,
        1.1,
        (1, 10, 60),
        (1.1, 3.0, 60.0),
        match="must be those of a rate with two telegraph signals",
    )
    checks.raises(
        "no minutes",
        replay_arrivals,
        np.random.default_rng(0),
        [],
        RateSignal(5.0, 0.2, 0.01, 0.3, 7.0),
        match="requests_per_minute must be non-negative and finite",
    )
    checks.raises(
        "quantiles that fall",
        draw_tokens,
        np.random.default_rng(0),
        1,
        [0, 100],
        [5, 4],
        match="quantiles must be non-negative, non-decreasing",
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
