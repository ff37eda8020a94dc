"""Four ways to size a fleet, on the same days, by cost, late requests and oscillation.

A day's traffic is a Poisson process whose rate is a wave that repeats every day, doubled for twenty
minutes by two bursts that no forecast knows. Each policy drives the closed loop over the same four
days, with one slot in a replica, and with 4 and 16 slots and as many times the traffic; differences
are taken day by day, so that the traffic's own luck cancels. The days are recorded by
`policy_measurement`, and one of each kind is run again here.

Assumes: exponential service with the same mean for every request, whatever else its replica does; a
constant start-up time; a forecast that is right about the wave and knows nothing of the bursts.

Source: own traffic, by choice; the policies' sources are those of autoscaling.
"""

from __future__ import annotations

import functools
import math
from dataclasses import asdict
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.autoscaling.autoscaler_simulation import (
    Outcome,
    Run,
    outcome,
    simulate,
)
from serving_mathematics.capacity.autoscaling.server_staffing import min_servers
from serving_mathematics.core.fleet.scaling_rules import (
    HPA_SYNC_S,
    KNATIVE_TICK_S,
    Policy,
    fixed,
    hpa,
    hpa_waiting,
    knative,
    largest,
    planned,
)
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_finite,
    require_in,
    require_non_negative,
    require_positive,
    require_shape,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

DAY_S = 86_400.0
MEAN_RATE = 0.5  # [1/s] the chapter's traffic, by choice
SWING = 0.6  # share of the mean rate by which the day's wave rises and falls, by choice
PEAK_HOUR = 15.0  # [h] by choice
BURSTS = ((3.0, 2.0), (10.5, 2.0))  # (start [h], factor on the rate), by choice
BURST_S = 1200.0  # [s] length of a burst, by choice
SERVICE_S = 30.0  # [s] mean of an exponential generation time, by choice
STARTUP_S = 180.0  # [s] from order to readiness: node, image, weights; by choice
SLO_S = 10.0  # [s] longest acceptable wait, by choice
DAYS = 4  # independent days per policy
SLOTS = (1, 4, 16)  # in a replica; the traffic is as many times that of one slot
LATE_ENOUGH = 2.0  # [%] late requests at which policies are compared by their cost, by choice
RECORD = "policy_days"
FIELDS = ("late_percent", "replica_hours")  # of an outcome, less is better
DRAWN = (  # policies with one slot whose first day is drawn
    ("knative", 0.7),
    ("utilization", 0.8),
    ("forecast", 0.01),
    ("concurrency", 0.8),
)


def daily_rates(
    mean_rate: float,
    swing: float,
    peak_hour: float,
    bursts: tuple[tuple[float, float], ...] = (),
    burst_s: float = BURST_S,
) -> tuple[FloatArray, FloatArray]:
    """A day's arrival rate per minute: a wave that repeats daily, multiplied during bursts.

    mean_rate: [1/s]. swing: in [0, 1], amplitude over mean. peak_hour: in [0, 24) [h]. bursts:
    (start [h], factor) pairs. burst_s: length of each [s]. Returns (start of each minute [s], rate
    in it [1/s]), both of shape (1440,). Raises ValueError on input outside these ranges.

    >>> times, rates = daily_rates(2.0, swing=0.5, peak_hour=12.0, bursts=((0.0, 3.0),))
    >>> float(rates[720]), float(rates[0])  # noon; midnight, the trough, in a burst
    (3.0, 3.0)
    """
    mean_rate = require_non_negative(mean_rate=mean_rate)
    swing = require_in("[0, 1]", swing=swing)
    peak_hour = require_in("[0, 24)", peak_hour=peak_hour)
    burst_s = require_positive(burst_s=burst_s)
    require(
        all(0 <= start < 24 and 0 <= factor < math.inf for start, factor in bursts),
        "bursts",
        "pairs of a start in [0, 24) and a non-negative finite factor",
        bursts,
    )
    times = np.arange(0.0, DAY_S, 60.0)
    hours = times / 3600
    rates = mean_rate * (1 + swing * np.cos(2 * math.pi * (hours - peak_hour) / 24))
    for start, factor in bursts:
        rates[(times >= 3600 * start) & (times < 3600 * start + burst_s)] *= factor
    return times, rates


def poisson_arrivals(
    rng: np.random.Generator, times_s: npt.ArrayLike, rates: npt.ArrayLike, end_s: float
) -> FloatArray:
    """Sorted arrival times of a Poisson process whose rate is constant on pieces [s].

    times_s: increasing starts of the pieces [s], shape (n,). rates: λ in each [1/s], shape (n,).
    end_s: end of the last [s]. In each piece the count is Poisson and the times, given the count,
    are uniform, which is exact. Raises ValueError on mismatched, unsorted, negative or non-finite
    input.
    """
    end_s = require_finite(end_s=end_s)
    starts, pieces = as_floats(times_s=times_s), as_floats(rates=rates)
    require(
        starts.ndim == 1 and starts.size > 0,
        "times_s",
        "a non-empty array in one dimension",
        starts.shape,
    )
    require_shape(starts.shape, rates=pieces)
    require_all_non_negative(rates=pieces)
    lengths = np.diff(np.append(starts, end_s))
    require(
        np.all(np.isfinite(starts)) and np.all((lengths > 0) & (lengths < math.inf)),
        "times_s and end_s",
        "finite and increasing",
        (starts, end_s),
    )
    require_work(float(pieces @ lengths), end_s=end_s)
    counts = rng.poisson(pieces * lengths).astype(np.intp)  # which a browser has 32 bits for
    offsets = np.repeat(lengths, counts) * rng.random(int(counts.sum()))
    return np.sort(np.repeat(starts, counts) + offsets)


@functools.cache
def _rates(slots: int) -> FloatArray:
    """Rate in each minute of the chapter's day [1/s]."""
    return daily_rates(slots * MEAN_RATE, SWING, PEAK_HOUR, BURSTS)[1]


@functools.cache
def _traffic(day: int, slots: int = 1) -> tuple[FloatArray, FloatArray]:
    """Arrival and service times of one of the chapter's days."""
    rng = np.random.default_rng([24, day] if slots == 1 else [24, day, slots])
    times, rates = daily_rates(slots * MEAN_RATE, SWING, PEAK_HOUR, BURSTS)
    arrivals = poisson_arrivals(rng, times, rates, DAY_S)
    return arrivals, rng.exponential(SERVICE_S, arrivals.size)


def _staffed(rate: float, wait_probability: float, slots: int) -> int:
    """Replicas with slots enough for a rate [1/s]."""
    return -(-min_servers(rate * SERVICE_S, wait_probability) // slots)


def _policy(name: str, setting: float, forecast_error: float, slots: int) -> tuple[Policy, float]:
    """A fresh policy of the chapter by name, with its setting for one slot, and the time between
    ticks [s]."""
    if name == "static":
        return fixed(int(setting)), 600.0
    if name == "utilization":
        return hpa(setting), HPA_SYNC_S
    if name == "concurrency":
        return hpa(slots * setting, signal="concurrency"), HPA_SYNC_S
    if name == "waiting":  # bounded by twice the fleet for the top of the traffic
        most = 2 * _staffed(float(_rates(slots).max()), 0.2, slots)
        alone = hpa_waiting(setting, slots)
        return lambda *seen: min(most, alone(*seen)), HPA_SYNC_S
    if name == "knative":
        return knative(slots * setting), KNATIVE_TICK_S
    if name == "knative, delayed":
        return knative(slots * setting, scale_down_delay_s=300.0), KNATIVE_TICK_S
    times, rates = daily_rates(slots * MEAN_RATE * (1 + forecast_error), SWING, PEAK_HOUR)
    counts = {rate: _staffed(rate, setting, slots) for rate in set(rates.tolist())}
    wave = planned(times, [counts[rate] for rate in rates.tolist()], lead_s=STARTUP_S)
    return largest(wave, hpa(float(slots), signal="concurrency")), HPA_SYNC_S


@functools.cache
def _run(
    name: str,
    setting: float,
    day: int,
    startup_s: float = STARTUP_S,
    forecast_error: float = 0.0,
    slots: int = 1,
) -> Run:
    """One policy on one of the chapter's days."""
    policy, sync_s = _policy(name, setting, forecast_error, slots)
    first = daily_rates(slots * MEAN_RATE, SWING, PEAK_HOUR)[1][0]
    fleet = int(setting) if name == "static" else _staffed(first, 0.2, slots)
    return simulate(
        *_traffic(day, slots),
        policy,
        replicas=fleet,
        sync_s=sync_s,
        startup_s=startup_s,
        slots=slots,
        end_s=DAY_S,
    )


def measured_day(
    name: str,
    setting: float,
    day: int,
    startup_s: float = STARTUP_S,
    forecast_error: float = 0.0,
    slots: int = 1,
) -> Outcome:
    """The outcome of one policy on one of the chapter's days at its SLO.

    name: "static", "utilization", "concurrency", "waiting", "knative", "knative, delayed" or
    "forecast". setting: replicas, target for one slot, waiting requests per replica, or waiting
    probability. day: which. startup_s: [s].
    forecast_error: by which share the forecast wave is too high. slots: of a replica. Raises
    ValueError as the policies and the loop do.

    >>> measured_day("static", 40, 0).replica_hours
    960.0
    """
    return outcome(_run(name, setting, day, startup_s, forecast_error, slots), SLO_S)


def _static_sizes() -> tuple[int, int]:
    """Servers for the top of the wave and for the top of the traffic with its bursts, at a waiting
    probability of 0.2.
    """
    tops = [daily_rates(MEAN_RATE, SWING, PEAK_HOUR, bursts)[1].max() for bursts in ((), BURSTS)]
    return min_servers(tops[0] * SERVICE_S, 0.2), min_servers(tops[1] * SERVICE_S, 0.2)


def _over_days(values: list[float]) -> MeanEstimate:
    """Mean over DAYS independent days with its confidence interval by Student's t."""
    error = float(np.std(values, ddof=1)) / math.sqrt(DAYS)
    return MeanEstimate(float(np.mean(values)), error, STUDENT_T_975[3] * error)


@functools.cache
def _cells() -> dict[tuple[str, float, float, float, int], dict[str, list[float]]]:
    """The recorded days by policy, setting, start-up, error of the forecast, and slots."""
    return {
        (c["policy"], c["setting"], c["startup_s"], c["forecast_error"], c["slots"]): c["days"]
        for c in read_record(RECORD)["cells"]
    }


def _days(
    name: str,
    setting: float,
    field: str,
    startup_s: float = STARTUP_S,
    forecast_error: float = 0.0,
    slots: int = 1,
) -> list[float]:
    """One field of the recorded outcomes of a policy, for each day; "late_percent" is the share of
    violations in percent.
    """
    days = _cells()[name, setting, startup_s, forecast_error, slots]
    return [100 * share for share in days["violations"]] if field == "late_percent" else days[field]


def _settings(name: str, slots: int) -> list[float]:
    """The settings of a policy that were recorded, with the usual start-up and a right forecast."""
    return sorted(
        setting
        for policy, setting, startup_s, error, many in _cells()
        if (policy, startup_s, error, many) == (name, STARTUP_S, 0.0, slots)
    )


def hours_for(late_percent: float, hours: npt.ArrayLike, late: npt.ArrayLike) -> float:
    """Replica-hours at which a policy is late so often, between its settings [h].

    late_percent: wanted, positive [%]. hours, late: of each setting, shape (n,) [h, %]. On straight
    lines through the logarithm of the lateness, from the dearest setting down to the first that is
    later than wanted. Infinite where no setting is as punctual, and the cheapest setting's hours
    where all are. Raises ValueError on another shape or negative numbers.

    >>> round(hours_for(1.0, hours=[500.0, 600.0], late=[10.0, 0.1]), 9)
    550.0
    """
    late_percent = require_positive(late_percent=late_percent)
    cost, share = as_floats(hours=hours), as_floats(late=late)
    require(cost.ndim == 1 and cost.size > 0, "hours", "a non-empty list", cost.shape)
    require_shape(cost.shape, late=share)
    require_all_non_negative(hours=cost, late=share)
    order = np.argsort(-cost, kind="stable")
    cost, share = cost[order], np.log(np.maximum(share[order], 1e-12))
    wanted = math.log(late_percent)
    later = np.flatnonzero(share > wanted)
    if later.size == 0:
        return float(cost[-1])
    first = int(later[0])
    if first == 0:
        return math.inf
    part = (wanted - share[first - 1]) / (share[first] - share[first - 1])
    return float(cost[first - 1] + part * (cost[first] - cost[first - 1]))


def _hours_at_late(name: str, slots: int) -> MeanEstimate:
    """Replica-hours per day at which a policy is late LATE_ENOUGH of the time, over days."""
    settings = _settings(name, slots)
    late = np.array([_days(name, x, "late_percent", slots=slots) for x in settings])
    hours = np.array([_days(name, x, "replica_hours", slots=slots) for x in settings])
    return _over_days([hours_for(LATE_ENOUGH, hours[:, d], late[:, d]) for d in range(DAYS)])


def _late_avoided() -> list[float]:
    """Late requests of the HPA at 0.8 minus those of the forecast, for each day [%]."""
    by_hpa, by_forecast = (
        _days(name, setting, "late_percent")
        for name, setting in (("utilization", 0.8), ("forecast", 0.01))
    )
    return [a - b for a, b in zip(by_hpa, by_forecast, strict=True)]


def example() -> SimpleNamespace:
    """Worked numbers of the simulated day; hours and violations are means over days, pm is the 95%
    half-width.
    """
    wave, burst = _static_sizes()
    rates = daily_rates(MEAN_RATE, SWING, PEAK_HOUR, BURSTS)[1]
    load = float(rates.mean()) * SERVICE_S
    policies = {
        "wave": ("static", float(wave)),
        "burst": ("static", float(burst)),
        "hpa": ("utilization", 0.8),
        "queue": ("concurrency", 0.8),
        "knative": ("knative", 0.7),
        "forecast": ("forecast", 0.01),
    }
    hours = {key: _over_days(_days(*p, "replica_hours")) for key, p in policies.items()}
    late = {key: _over_days(_days(*p, "late_percent")) for key, p in policies.items()}
    turns = {key: _over_days(_days(*p, "direction_changes")).mean for key, p in policies.items()}
    peak = {key: _over_days(_days(*p, "peak_replicas")).mean for key, p in policies.items()}
    avoided = _over_days(_late_avoided())
    others = {
        "delayed": _days("knative, delayed", 0.7, "late_percent"),
        "quick": _days("knative", 0.7, "late_percent", startup_s=5.0),
        "slow": _days("utilization", 0.8, "late_percent", startup_s=600.0),
        "low": _days("forecast", 0.01, "late_percent", forecast_error=-0.3),
    }
    late |= {key: _over_days(values) for key, values in others.items()}
    delayed_hours = _over_days(_days("knative, delayed", 0.7, "replica_hours"))
    low_hours = _over_days(_days("forecast", 0.01, "replica_hours", forecast_error=-0.3))
    costs = {key: _hours_at_late(*key) for key in ((n, c) for n in COMPARED for c in SLOTS)}
    many = SLOTS[-1]
    waiting = {field: _over_days(_days("waiting", 5.0, field, slots=many)) for field in FIELDS}
    waiting_late = [
        _over_days(_days("waiting", x, "late_percent", slots=many)).mean
        for x in _settings("waiting", many)
    ]
    ahead = {c: _hours_saved("concurrency", "forecast", c) for c in SLOTS}
    signal = {c: _hours_saved("utilization", "concurrency", c) for c in SLOTS}
    return SimpleNamespace(
        mean_load=load,
        top_of_wave=MEAN_RATE * (1 + SWING) * SERVICE_S,
        top_of_burst=float(rates.max()) * SERVICE_S,
        requests_per_day=float(rates.mean()) * DAY_S,
        demand_hours=24 * load,
        wave_servers=wave,
        burst_servers=burst,
        wave_hours=hours["wave"].mean,
        wave_late=late["wave"].mean,
        wave_late_pm=late["wave"].half_width,
        burst_hours=hours["burst"].mean,
        burst_late=late["burst"].mean,
        hpa_hours=hours["hpa"].mean,
        hpa_hours_pm=hours["hpa"].half_width,
        hpa_late=late["hpa"].mean,
        hpa_late_pm=late["hpa"].half_width,
        hpa_turns=turns["hpa"],
        hpa_peak=peak["hpa"],
        queue_hours=hours["queue"].mean,
        queue_hours_pm=hours["queue"].half_width,
        queue_late=late["queue"].mean,
        queue_late_pm=late["queue"].half_width,
        queue_turns=turns["queue"],
        queue_peak=peak["queue"],
        knative_hours=hours["knative"].mean,
        knative_hours_pm=hours["knative"].half_width,
        knative_late=late["knative"].mean,
        knative_late_pm=late["knative"].half_width,
        knative_turns=turns["knative"],
        knative_peak=peak["knative"],
        forecast_hours=hours["forecast"].mean,
        forecast_hours_pm=hours["forecast"].half_width,
        forecast_late=late["forecast"].mean,
        forecast_late_pm=late["forecast"].half_width,
        forecast_turns=turns["forecast"],
        forecast_peak=peak["forecast"],
        waiting_late=waiting["late_percent"].mean,
        waiting_late_pm=waiting["late_percent"].half_width,
        waiting_hours=waiting["replica_hours"].mean,
        waiting_least_late=min(waiting_late),
        late_avoided=avoided.mean,
        late_avoided_pm=avoided.half_width,
        hpa_surplus=100 * (hours["hpa"].mean * 0.8 / (24 * load) - 1),
        delayed_hours=delayed_hours.mean,
        delayed_hours_pm=delayed_hours.half_width,
        delayed_late=late["delayed"].mean,
        delayed_late_pm=late["delayed"].half_width,
        quick_knative_late=late["quick"].mean,
        quick_knative_late_pm=late["quick"].half_width,
        slow_hpa_late=late["slow"].mean,
        slow_hpa_late_pm=late["slow"].half_width,
        low_forecast_late=late["low"].mean,
        low_forecast_late_pm=late["low"].half_width,
        low_forecast_hours=low_hours.mean,
        late_enough=LATE_ENOUGH,
        slots_rows="\n".join(
            f"| {label} | {' | '.join(_cell(costs[name, c]) for c in SLOTS)} |"
            for name, label in COMPARED.items()
        ),
        many_slots=SLOTS[-1],
        forecast_at_one=costs["forecast", 1].mean,
        queue_at_one=costs["concurrency", 1].mean,
        utilization_at_one=costs["utilization", 1].mean,
        forecast_at_many=costs["forecast", SLOTS[-1]].mean,
        queue_at_many=costs["concurrency", SLOTS[-1]].mean,
        utilization_at_many=costs["utilization", SLOTS[-1]].mean,
        ahead_at_one_percent=ahead[1].mean,
        ahead_at_many_percent=ahead[SLOTS[-1]].mean,
        signal_at_one_percent=signal[1].mean,
        signal_at_one_percent_pm=signal[1].half_width,
        signal_at_many_percent=signal[SLOTS[-1]].mean,
        signal_at_many_percent_pm=signal[SLOTS[-1]].half_width,
        ahead_at_one_percent_pm=ahead[1].half_width,
        ahead_at_many_percent_pm=ahead[SLOTS[-1]].half_width,
    )


COMPARED = {  # policies that are compared at equal lateness, as the page names them
    "utilization": "HPA on utilization",
    "concurrency": "HPA on requests per replica",
    "knative": "Knative",
    "forecast": "forecast of the wave, and the queue",
}


def _cell(hours: MeanEstimate) -> str:
    """Hours of a table, with their interval."""
    return f"{hours.mean:.0f} ± {hours.half_width:.0f}"


def _hours_saved(dear: str, cheap: str, slots: int) -> MeanEstimate:
    """Share of the hours that one policy saves over another at equal lateness, over days [%]."""
    saved = []
    for day in range(DAYS):
        cost = {}
        for name in (dear, cheap):
            settings = _settings(name, slots)
            late, hours = (
                [_days(name, x, field, slots=slots)[day] for x in settings] for field in FIELDS
            )
            cost[name] = hours_for(LATE_ENOUGH, hours, late)
        saved.append(100 * (1 - cost[cheap] / cost[dear]))
    return _over_days(saved)


def figure_day(figure: Figure) -> None:
    """Three controllers at about the same cost: reacting to a noisy gauge is late at any hour, a
    forecast only in the bursts.

    One slot in a replica. Ordered replicas per ten minutes, and the 99th percentile of the wait per
    half hour, on one day; two bursts double the rate.

    Alt: Two panels over 24 hours. Above, the load, a wave from 6 to 24 with two short peaks at 3:00
    and 10:30, and the replicas ordered by three policies, all about one and a half times the load
    on average and up to 90 in the second burst; the forecast policy is smooth, the other two are
    jagged. Below, the 99th percentile of the wait: around 50 seconds all day for Knative, mostly
    between 0 and 20 for autoscaling on utilization, near zero for the forecast except after
    the bursts, where it reaches 20 and 60 seconds.
    """
    figure.set_size_inches(5.8, 5.8)
    above, below = figure.subplots(2, 1, height_ratios=(1.2, 1))
    times, rates = daily_rates(MEAN_RATE, SWING, PEAK_HOUR, BURSTS)
    above.plot(times[::6] / 3600, rates[::6] * SERVICE_S, color="C4", linestyle=":")
    above.annotate("load", (21.6, 7.0), color="C4", ha="center")
    halves = np.arange(0, DAY_S + 1, 1800.0)
    for name, setting, colour, label, spot in (
        ("knative", 0.7, "C3", "Knative, target 0.7", (12.2, 94)),
        ("utilization", 0.8, "C1", "HPA, utilization 0.8", (12.2, 81)),
        ("forecast", 0.01, "C0", "forecast and queue", (12.2, 68)),
    ):
        run = _run(name, setting, 0)
        fleet = run.replicas.reshape(144, -1).mean(axis=1)  # per ten minutes
        above.plot((np.arange(144) + 0.5) / 6, fleet, color=colour, linewidth=1.4)
        above.annotate(label, spot, color=colour)
        edges = np.searchsorted(_traffic(0)[0], halves[1:-1])
        tail = [np.quantile(waits, 0.99) for waits in np.split(run.waits_s, edges)]
        below.plot((halves[:-1] + 900) / 3600, tail, color=colour, linewidth=1.4)
    below.axhline(SLO_S, color="C4", linestyle=":", linewidth=1.2)
    below.annotate("SLO", (23.8, SLO_S), color="C4", ha="right", va="bottom")
    below.set_yscale("symlog", linthresh=1.0)
    below.set_yticks([0, 1, 10, 100], ["0", "1", "10", "100"])
    hours = {"xlabel": "hour of the day [h]", "xlim": (0, 24), "xticks": range(0, 25, 4)}
    above.set(ylabel="replicas ordered", ylim=(0, 110), **hours)
    below.set(ylabel="p99 wait [s]", ylim=(0, 600), **hours)


def figure_burst(figure: Figure) -> None:
    """When traffic doubles, nothing helps for one start-up, and then every policy overshoots.

    Ready replicas around the burst of 10:30 on one day; the load is the number of busy slots that
    the traffic needs.

    Alt: Line chart of ready replicas from 10:15 to 11:45. The load jumps from 18 to 37 at 10:30 and
    back at 10:50. Five minutes later Knative's fleet spikes to 133, the one scaled on queue length
    to 108, the forecast with queue to 96, and the one scaled on utilization climbs in steps to 67
    at 10:42. All are back near 32 by 11:00, except Knative's, which keeps wandering between 18 and
    46.
    """
    axes = figure.subplots()
    times, rates = daily_rates(MEAN_RATE, SWING, PEAK_HOUR, BURSTS)
    shown = slice(615, 705)
    axes.step(
        times[shown] / 3600, rates[shown] * SERVICE_S, where="post", color="C4", linestyle=":"
    )
    axes.annotate("load", (10.27, 7), color="C4")
    for name, setting, colour, label, spot in (
        ("knative", 0.7, "C3", "Knative 0.7", (10.62, 142)),
        ("concurrency", 0.8, "C2", "HPA, queue 0.8", (10.69, 106)),
        ("utilization", 0.8, "C1", "HPA, utilization 0.8", (10.79, 65)),
        ("forecast", 0.01, "C0", "forecast and queue", (10.69, 88)),
    ):
        run = _run(name, setting, 0)
        window = (run.tick_times_s >= 10.25 * 3600) & (run.tick_times_s <= 11.75 * 3600)
        stride = 1 if name != "knative" else 9
        axes.step(
            run.tick_times_s[window][::stride] / 3600,
            run.ready[window][::stride],
            where="post",
            color=colour,
            linewidth=1.4,
        )
        axes.annotate(label, spot, color=colour)
    axes.set(
        xlabel="hour of the day [h]", ylabel="ready replicas", xlim=(10.25, 11.75), ylim=(0, 165)
    )


def figure_frontier(figure: Figure) -> None:
    """For the same money a forecast with the queue as its safety net is late least often, with one
    slot in a replica; with sixteen the queue alone comes close, and utilization falls behind.

    Means of four days; bars are 95% intervals over days. Each curve is one policy with its
    settings; hours are divided by those that the work itself needs.

    Alt: Two panels of the share of late requests, on a logarithmic axis, against replica-hours over
    the hours of work, for one slot in a replica and for sixteen. Each policy is a falling curve.
    With one slot the forecast with queue is lowest, the two HPA curves lie on each other, and
    Knative is far to the right. With sixteen slots forecast, queue and Knative fall steeply to one
    percent at almost the same hours, and utilization reaches it last.
    """
    figure.set_size_inches(5.8, 5.8)
    panels = figure.subplots(2, 1, sharex=True)
    work = 24 * float(daily_rates(MEAN_RATE, SWING, PEAK_HOUR, BURSTS)[1].mean()) * SERVICE_S
    spots = {
        1: {"forecast": (1.2, 0.55), "utilization": (1.2, 5.2), "knative": (2.1, 7.0)},
        16: {"forecast": (1.02, 0.28), "utilization": (1.42, 3.2), "knative": (1.82, 0.6)},
    }
    labels = {"forecast": "forecast\nand queue", "utilization": "utilization", "knative": "Knative"}
    for axes, slots in zip(panels, (1, SLOTS[-1]), strict=True):
        for name, colour in (
            ("utilization", "C1"),
            ("concurrency", "C2"),
            ("knative", "C3"),
            ("forecast", "C0"),
        ):
            settings = _settings(name, slots)
            late = [_over_days(_days(name, x, "late_percent", slots=slots)) for x in settings]
            hours = [_over_days(_days(name, x, "replica_hours", slots=slots)) for x in settings]
            axes.errorbar(
                [value.mean / work for value in hours],
                [value.mean for value in late],
                [min(value.half_width, 0.99 * value.mean) for value in late],
                color=colour,
                marker="o",
                markersize=3,
                linewidth=1.4,
            )
            if name in labels:
                axes.annotate(labels[name], spots[slots][name], color=colour)
        axes.axhline(LATE_ENOUGH, color="C4", linestyle=":", linewidth=1.2)
        axes.set_yscale("log")
        axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
        many = "1 slot" if slots == 1 else f"{slots} slots"
        axes.set(
            xlabel="paid for, over the work itself",
            ylabel=f"waits above {SLO_S:.0f} s [%], {many}",
            xlim=(0.95, 2.5),
            ylim=(0.1, 40),
        )
    panels[0].annotate("queue", (1.53, 14.0), color="C2", ha="left")
    panels[1].annotate("queue", (1.01, 4.2), color="C2", ha="left")


def check_forecast_beats_reaction_at_the_same_cost() -> None:
    """For the cost of the HPA at 0.8, a forecast with the queue as safety net is late less than
    half as often.

    Source: four days of 44,000 requests each, the same for both policies; differences by day,
    Student's t.
    """
    hours = np.subtract(
        _days("utilization", 0.8, "replica_hours"), _days("forecast", 0.01, "replica_hours")
    )
    checks.inside("replica-hours saved", _over_days(hours.tolist()).mean, -10.0, 10.0)
    late = [
        _over_days(_days(name, setting, "late_percent")).mean
        for name, setting in (("forecast", 0.01), ("utilization", 0.8))
    ]
    checks.inside("ratio of late requests", late[0] / late[1], 0.0, 0.5)
    avoided = _over_days(_late_avoided())
    checks.inside(
        "late requests avoided [%], lower 95% bound", avoided.mean - avoided.half_width, 0.3, 2.0
    )


def check_drawn_days_are_those_of_the_record() -> None:
    """A day of four policies with one slot, run again, is what the record says.

    Source: the record, and its command.
    """
    for name, setting in DRAWN:
        again = asdict(outcome(_run(name, setting, 0), SLO_S))
        for field in ("replica_hours", "violations", "direction_changes"):
            was = _days(name, setting, field)[0]
            label = f"{name} {setting:g}, {field.replace('_', ' ')}"
            checks.close(label, again[field], was, rtol=1e-9)


def check_short_windows_need_short_starts() -> None:
    """Knative's defaults chase noise when start-up takes three windows: late tenfold more often
    than with a 5 s start.

    Source: four days (first difference, Student's t); one day for the remedies, a shorter start-up
    or a scale-down delay.
    """
    excess = np.subtract(
        _days("knative", 0.7, "late_percent"), _days("utilization", 0.8, "late_percent")
    )
    estimate = _over_days(excess.tolist())
    checks.inside(
        "late, beyond the HPA [%], lower 95% bound", estimate.mean - estimate.half_width, 8.0, 20.0
    )
    late = {
        label: _over_days(_days(name, 0.7, "late_percent", startup_s)).mean
        for label, name, startup_s in (
            ("as it comes", "knative", STARTUP_S),
            ("quick", "knative", 5.0),
            ("delayed", "knative, delayed", STARTUP_S),
        )
    }
    checks.inside("ratio to a 5 s start-up", late["as it comes"] / late["quick"], 10.0, math.inf)
    checks.inside(
        "ratio to a scale-down delay of 300 s",
        late["as it comes"] / late["delayed"],
        5.0,
        math.inf,
    )


def check_which_rankings_hold() -> None:
    """At equal lateness the queue beats utilization with 4 and with 16 slots in a replica and not
    with one; the forecast beats the queue with one, and by less than a tenth with any; and Knative,
    by far the dearest with one slot, is cheaper than utilization with 16. Waiting requests alone,
    with 16, are late more than twice as often as the queue for more than twice the hours.

    Source: the recorded days, hours at two percent late by interpolation between settings, every
    policy at its own best; differences by day, Student's t.
    """
    rows = (
        ("queue over utilization", "utilization", "concurrency", 1, False, True),
        ("queue over utilization", "utilization", "concurrency", 4, True, True),
        ("queue over utilization", "utilization", "concurrency", 16, True, True),
        ("forecast over queue", "concurrency", "forecast", 1, True, False),
        ("forecast over queue", "concurrency", "forecast", 16, False, False),
        ("utilization over Knative", "knative", "utilization", 1, True, True),
        ("Knative over utilization", "utilization", "knative", 16, True, True),
    )
    for label, dear, cheap, slots, differs, may_be_large in rows:
        saved = _hours_saved(dear, cheap, slots)
        wide = saved.half_width
        low, high = (0.0, 60.0) if differs else (-wide, wide)
        name = f"{slots} slots, {label}: saved [%], "
        bound = saved.mean - wide if differs else saved.mean
        what = "lower 95% bound" if differs else "within its interval of none"
        checks.inside(name + what, bound, low, high, kind="simulation")
        if not may_be_large:
            checks.inside(name + "mean", saved.mean, 0.0, 10.0, kind="simulation")
    queue = [_over_days(_days("concurrency", 0.9, x, slots=16)).mean for x in FIELDS]
    for threshold in _settings("waiting", 16):
        alone = [_over_days(_days("waiting", threshold, x, slots=16)).mean for x in FIELDS]
        text = f"16 slots, waiting alone, threshold {threshold:g}, over the queue: "
        for field, much, little in zip(FIELDS, alone, queue, strict=True):
            checks.inside(text + field, much / little, 2.0, math.inf, kind="simulation")


def check_arrivals_follow_the_rates() -> None:
    """Generated days have the Poisson counts of their rates, in and out of a burst.

    Source: mean of a Poisson count, 280 independent days of a small service, the standard error of
    their mean.
    """
    rng = np.random.default_rng(3)
    times, rates = daily_rates(0.01, 0.6, 15.0, BURSTS)
    days = [poisson_arrivals(rng, times, rates, DAY_S) for _ in range(280)]
    for label, low, high in (("whole day", 0.0, DAY_S), ("burst at 10:30", 37_800.0, 39_000.0)):
        counts = np.array([np.sum((day >= low) & (day < high)) for day in days], dtype=float)
        inside = (times >= low) & (times < high)
        error = float(counts.std(ddof=1)) / math.sqrt(280)
        checks.covers(
            label,
            MeanEstimate(float(counts.mean()), error, 2 * error),
            float(rates[inside].sum() * 60),
        )


def check_bad_input_is_refused() -> None:
    """Waves that would go below zero, bursts outside the day and pieces of negative length are
    errors.
    """
    checks.raises(
        "swing above 1", daily_rates, 1.0, 1.5, 12.0, match="swing must be in [0, 1], got 1.5"
    )
    checks.raises(
        "pieces that end before they start",
        poisson_arrivals,
        np.random.default_rng(0),
        [0.0, 5.0],
        [1.0, 1.0],
        4.0,
        match="times_s and end_s must be finite and increasing",
    )
