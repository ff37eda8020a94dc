"""Weeks of minutes: what the busiest minute asks for, and what 99% of a week's requests do.

A minute is late when its work is above the share of the ceiling that keeps the promise, or finds
more unfinished work than the engines do in a second. An hour's busiest minute holds more than a
hundredth of its requests, a week's a few in ten thousand. So engines for the busiest minute of a
week keep all of it, and those for all but its busiest twenty minutes about 99% of its requests,
late ones together, if these minutes are scattered over days.

Assumes: work in minutes that scatter log-normally around a wave of the day, some minutes alike;
weekends with half of it; requests in proportion to work.

Source: own model; the scatter is that of the real hour's requests.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.arrival_rates.real_hour import HOT, WEEK_MIN
from serving_mathematics.support import checks

FloatArray = npt.NDArray[np.float64]
MOST = 0.998  # of the minutes: all but twenty of a week
DAY_MIN = 1440


class _Week(NamedTuple):
    """How a week is made: scatter of minutes over their mean, how many are alike, the height of the
    day's wave (0 for none), and a weekend's work over that of other days."""

    scatter: float
    alike_min: int
    wave: float
    weekend: float


WEEKS = (
    _Week(0.22, 5, 0.0, 1.0),
    _Week(0.22, 1, 0.7, 0.5),
    _Week(0.22, 20, 0.7, 0.5),
    _Week(0.35, 5, 0.7, 0.5),
    _Week(0.1, 5, 0.7, 0.5),
)


def _work(how: _Week, seed: int) -> FloatArray:
    """Of each minute, over the mean of the week."""
    rng, minutes = np.random.default_rng(seed), np.arange(WEEK_MIN)
    noise = rng.standard_normal(WEEK_MIN + how.alike_min - 1)
    alike = np.convolve(noise, np.full(how.alike_min, how.alike_min**-0.5), mode="valid")
    days = np.exp(how.wave * np.cos(2 * np.pi * minutes / DAY_MIN))
    days[minutes >= 5 * DAY_MIN] *= how.weekend
    own = days * np.exp(np.sqrt(np.log1p(how.scatter**2)) * alike)
    return np.asarray(own / own.mean())


def _late(work: FloatArray, engines: float) -> float:
    """Share of the work that comes in late minutes; engines: over those of the mean."""
    unfinished = late = 0.0
    for own in work.tolist():
        if own > HOT * engines or unfinished > engines / 60:
            late += own
        unfinished = max(0.0, unfinished + own - engines)
    return late / float(work.sum())


def _least(work: FloatArray, promised: float = 0.99) -> float:
    """Fewest engines, over those of the mean, with which so large a share is in time."""
    low, high = 1.0, float(work.max()) / HOT
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if _late(work, middle) > 1 - promised else (low, middle)
    return high


def example() -> SimpleNamespace:
    """Engines for all but twenty minutes, fewer than for the busiest [%]."""
    saved = [100 * (1 - float(np.quantile(own, MOST) / own.max())) for own in _weeks()]
    spikes = [100 * _late_of_a_spike(own, 3.0) for own in _weeks()]
    return SimpleNamespace(
        week_least_percent=min(saved), week_most_percent=max(saved), spike_late_percent=max(spikes)
    )


def _late_of_a_spike(work: FloatArray, times: float) -> float:
    """Share of a week's work that is late, with engines for all but twenty minutes, if twenty at
    the top of its third day bring so many times the work."""
    spiked = work.copy()
    spiked[2 * DAY_MIN : 2 * DAY_MIN + 20] *= times
    return _late(spiked, float(np.quantile(spiked, MOST)) / HOT)


def _weeks() -> list[FloatArray]:
    return [_work(how, seed) for how in WEEKS for seed in (1, 2)]


def check_twenty_minutes_of_a_week() -> None:
    """With engines for the busiest minute of a week nobody is late; those for all but its busiest
    twenty minutes keep 99% of its requests, to some in ten thousand, and are a tenth to two fifths
    fewer. The fewest that keep 99% are fewer still.

    Source: the model of weeks, five of them twice; engines that are found by halving.
    """
    for number, work in enumerate(_weeks()):
        most, some = float(work.max()), float(np.quantile(work, MOST))
        how, draw = WEEKS[number // 2], number % 2 + 1
        label = (
            f"scatter {how.scatter:g}, {how.alike_min} min alike, wave {how.wave:g}, draw {draw}"
        )
        checks.close(f"{label}: late, the busiest minute", _late(work, most / HOT), 0.0)
        late = _late(work, some / HOT)
        checks.inside(f"{label}: late, all but twenty", late, 0.002, 0.0125, kind="simulation")
        checks.inside(f"{label}: engines", some / most, 0.58, 0.92, kind="simulation")
    work = _work(WEEKS[1], 1)
    least = _least(work) * HOT
    checks.inside("the fewest", least / float(np.quantile(work, MOST)), 0.9, 1.0)


def check_one_spike_is_late() -> None:
    """Where the busiest twenty minutes are one spike of three times the work at the top of a day,
    engines for all but twenty make up to a fortieth late, and more than a hundredth, because what
    is left behind outlasts it; without a wave of the day they keep 99%.

    Source: the same weeks, with a spike.
    """
    for how, work in zip(np.repeat(np.arange(len(WEEKS)), 2), _weeks(), strict=True):
        low, high = (0.012, 0.025) if WEEKS[how].wave else (0.0, 0.01)
        late = _late_of_a_spike(work, 3.0)
        checks.inside(f"week {how + 1}: late", late, low, high, kind="simulation")


def check_an_hour_has_no_such_minutes() -> None:
    """Of an hour the engines for its busiest minute are the fewest that keep 99%, or nearly.

    Source: hours of the same model, without a wave.
    """
    ratios = []
    for seed in range(20):
        hour = _work(WEEKS[0], seed)[:58]
        ratios.append(_least(hour / hour.mean()) * HOT / float((hour / hour.mean()).max()))
    checks.inside("fewest over those of the busiest", float(np.mean(ratios)), 0.97, 1.001)
