"""How good the best of d choices is with n servers instead of infinitely many.

The share x_i of servers with i or more requests moves at the rate ρ·(g(x_{i−1}) − g(x_i)) − (x_i −
x_{i+1}), where g is the probability that all of d different servers belong to that share. For n → ∞
its rest point is the mean-field formula. For finite n the shares fluctuate around it, the curvature
of g turns fluctuations into longer queues, and T_n ≈ T + a/n with an a that two linear equations
give. The fleet is also simulated, exactly, as a chain of shares; a control variate takes out the
fluctuations of first order.

Assumes: Poisson arrivals, exponential service of mean 1, d different servers per request, current
queue lengths; joining the shortest queue is d = n.

Source: Gast and Van Houdt (2017) for the 1/n term, with one more term for choosing without
replacement; Henderson and Glynn (2002) for the control variate; Asmussen and Glynn (2007) for
uniformized simulation.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.model_routers.model_routers import (
    best_of_d_found,
    response_quantile,
    round_robin_found,
    shorter_of_two_found,
)
from serving_mathematics.core.queues.erlang import mean_wait
from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import STUDENT_T_975
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FloatArray = npt.NDArray[np.float64]

GROUPS = 16  # groups of lanes of which quantiles are taken
MOST_SERVERS = 32_767  # of a simulated fleet: counts are 16 bits wide
NORMAL_975 = 1.959963984540054  # 97.5% point of the normal distribution


def _rest_point(utilization: float, choices: int) -> tuple[FloatArray, FloatArray]:
    """Mean-field shares s_0 … s_{L+1} and the Jacobian, shape (L, L), of the drift at s_1 … s_L."""
    shares = [1.0, utilization]
    while len(shares) < 3 or shares[-1] > 1e-18:
        shares.append(utilization * shares[-1] ** choices)
    s = np.array(shares)
    slope = utilization * choices * s ** (choices - 1)
    jacobian = np.diag(-slope[1:-1] - 1.0) + np.diag(slope[1:-2], -1)
    return s, jacobian + np.diag(np.ones(s.size - 3), 1)


def finite_fleet_mean(utilization: float, choices: int, servers: int) -> float:
    """Mean response T + a/n of the best of d different servers out of n, in mean services.

    utilization: ρ in (0, 1). choices: d ≥ 2. servers: n ≥ d. With J the Jacobian of the drift and Q
    its noise, the covariance W of the shares solves JW + WJᵀ + Q = 0, and their shift v solves
    −Jv = (curvature × diag W)/2 − (what is lost because no server is drawn twice); a = Σv/ρ. Raises
    ValueError outside these ranges. Source: Gast and Van Houdt (2017).

    >>> round(finite_fleet_mean(0.9, choices=2, servers=10), 4)
    2.9224
    """
    choices, servers = as_number(choices=choices, servers=servers)
    utilization = require_in("(0, 1)", utilization=utilization)
    require(2 <= choices < math.inf and choices % 1 == 0, "choices", "an integer ≥ 2", choices)
    rule = f"an integer of at least {choices}"
    require(choices <= servers < math.inf and servers % 1 == 0, "servers", rule, servers)
    s, jacobian = _rest_point(utilization, choices)
    size = len(jacobian)
    require_work(size**6 / 300, utilization=utilization)
    noise = np.diag(2 * (s[1:-1] - s[2:]))  # jumps up and down are equally frequent at rest
    eye = np.eye(size)
    lyapunov = np.kron(jacobian, eye) + np.kron(eye, jacobian)
    variance = np.diag(np.linalg.solve(lyapunov, -noise.ravel()).reshape(size, size))
    bend = s[:-1] ** (choices - 2) * np.concatenate([[0.0], variance])
    twice = s[:-1] ** (choices - 1) - s[:-1] ** choices
    pairs = choices * (choices - 1) / 2
    shift = np.linalg.solve(jacobian, utilization * pairs * np.diff(bend - twice))
    return float((s[1:].sum() + shift.sum() / servers) / utilization)


@dataclass(frozen=True)
class FleetSample:
    """Simulated fleet: mean response with and without control variate, in mean services, and the
    probabilities that a request finds j or more others, shape (GROUPS, levels).
    """

    mean_response: MeanEstimate
    uncontrolled: MeanEstimate
    found: FloatArray


def simulate_fleet(
    rng: np.random.Generator,
    utilization: float,
    choices: int,
    servers: int,
    *,
    lanes: int = 320,
    horizon: float = 80.0,
    warm_up: float = 40.0,
) -> FleetSample:
    """Independent fleets of n servers side by side, in which requests join the best of d.

    utilization: ρ in (0, 1). choices: d in 1…n different servers, n for the shortest of all.
    servers: n. lanes: fleets, a multiple of GROUPS. horizon: length of a run in mean services, of
    which warm_up is discarded; a run starts with queues drawn from the mean-field shares. The state
    is the number of servers with i or more requests: with the servers ordered from the longest
    queue to the shortest, the best of d is the last of d random places. Raises ValueError outside
    these ranges.
    """
    choices, servers, lanes, horizon = as_number(
        choices=choices, servers=servers, lanes=lanes, horizon=horizon
    )
    utilization = require_in("(0, 1)", utilization=utilization)
    counted = 1 <= servers <= MOST_SERVERS and servers % 1 == 0
    require(counted, "servers", f"an integer from 1 to {MOST_SERVERS}", servers)
    whole = 1 <= choices <= servers and choices % 1 == 0
    require(whole, "choices", f"an integer from 1 to {servers}", choices)
    grouped = GROUPS <= lanes < math.inf and lanes % GROUPS == 0
    require(grouped, "lanes", f"a multiple of {GROUPS}", lanes)
    warm_up = require_non_negative(warm_up=warm_up)
    require(warm_up + 1 <= horizon < math.inf, "horizon", "at least warm_up + 1", horizon)
    events = 2 * horizon * servers  # of a lane, each of all lanes at once
    require_work(events * (lanes + 2000) / 1.2, servers=servers, lanes=lanes, horizon=horizon)
    s, jacobian = _rest_point(utilization, choices)
    levels, place = len(jacobian), np.arange(lanes)
    weight = np.linalg.solve(jacobian.T, -np.ones(levels))[:, None]
    subsets = math.comb(servers, choices)
    all_chosen = np.array([math.comb(i, choices) / subsets for i in range(servers + 1)])
    start = rng.random((servers, lanes))
    count = np.array([(start < share).sum(axis=0) for share in s], dtype=np.int16)
    count[0] = servers
    events = max(1, round(servers * (1 + utilization) / 2))  # between two observations
    observed: list[tuple[FloatArray, FloatArray]] = []
    found = np.zeros((1, lanes))
    for step in range(round(2 * horizon)):
        arrives = rng.random((events, lanes)) < utilization / (1 + utilization)
        rank = rng.random((events, lanes))
        best = np.searchsorted(all_chosen[1:], rank)
        rank = np.where(arrives, best, rank * servers).astype(np.int16)
        change, shift = (2 * arrives - 1).astype(np.int16), arrives - 1
        for chosen, more, up in zip(rank, change, shift, strict=True):
            longer = (count > chosen).view(np.int8)  # bytes add up faster than truth values
            level = longer.sum(axis=0, dtype=np.int16) + up
            if level.max() == len(count):
                count = np.vstack([count, np.zeros((4, lanes), np.int16)])
            count.reshape(-1)[level * lanes + place] += more
            count[0] = servers  # an idle server has nobody to let go
        if step >= 2 * warm_up:
            x, g = count / servers, all_chosen[count]
            found = np.pad(found, ((0, len(g) - len(found)), (0, 0))) + g
            drift = utilization * (g[:-1] - g[1:]) - x[1:]
            drift[:-1] += x[2:]
            requests = x[1:].sum(axis=0)
            observed.append((requests, (weight * drift[:levels]).sum(axis=0)))
    plain, control = np.mean(observed, axis=0) / utilization
    found = found.reshape(len(found), GROUPS, -1).mean(axis=2).T / len(observed)
    return FleetSample(_over_lanes(plain + control), _over_lanes(plain), found)


def _over_lanes(values: FloatArray) -> MeanEstimate:
    """Mean over independent lanes with its standard error and normal interval."""
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    return MeanEstimate(float(values.mean()), error, NORMAL_975 * error)


def _p99(sample: FleetSample) -> MeanEstimate:
    """The p99 of a simulated fleet with an interval from groups of lanes."""
    groups = _over_lanes(np.array([response_quantile(found, 0.99) for found in sample.found]))
    return replace(groups, half_width=STUDENT_T_975[15] * groups.standard_error)


@functools.cache
def _of_ten(choices: int) -> FleetSample:
    """Fleets of ten servers at ρ = 0.9."""
    return simulate_fleet(np.random.default_rng([143, choices]), 0.9, choices, 10)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: ρ = 0.9."""
    limit = float(best_of_d_found(0.9, 2).sum())
    constant = 1000 * (finite_fleet_mean(0.9, 2, 1000) - limit)
    two, shortest = _of_ten(2), _of_ten(10)
    two_p99, shortest_p99 = _p99(two), _p99(shortest)
    return SimpleNamespace(
        gap_constant=constant,
        gap_percent_of_ten=100 * (finite_fleet_mean(0.9, 2, 10) / limit - 1),
        gap_percent_of_hundred=100 * (finite_fleet_mean(0.9, 2, 100) / limit - 1),
        shorter_of_two_at_90=float(shorter_of_two_found(0.9).sum()),
        shortest_of_ten=shortest.mean_response.mean,
        shortest_of_ten_half=shortest.mean_response.half_width,
        shortest_of_ten_p99=shortest_p99.mean,
        shortest_of_ten_p99_half=shortest_p99.half_width,
        two_of_ten=two.mean_response.mean,
        two_of_ten_half=two.mean_response.half_width,
        two_of_ten_p99=two_p99.mean,
        two_of_ten_p99_half=two_p99.half_width,
    )


def figure_mean_and_p99(figure: Figure) -> None:
    """Two choices get most of what knowing all queues would, and the tail gains more than the mean.

    Mean (left) and p99 (right) of the response against load for ten servers. Lines of random and
    round robin are exact, that of two choices is for very many servers; points with 95% intervals
    are simulated fleets of ten.

    Alt: Two line charts against load from 0.3 to 0.95. In both, random lies highest, then round
    robin, then the best of two, then the shortest of ten, and all rise towards load 1. At load 0.9
    the means are 10, 5.7, 2.9 and 1.9, the p99s 46, 26, 10 and 8. Simulated points of two choices
    lie slightly above their line at high load.
    """
    rng = np.random.default_rng(144)
    figure.set_size_inches(5.8, 3.5)
    left, right = figure.subplots(1, 2)
    load = 1 - np.geomspace(0.7, 0.05, 20)
    points = (0.5, 0.8, 0.9, 0.94)
    runs: dict[int, list[FleetSample]] = {2: [], 10: []}
    for x in points:
        for choices, samples in runs.items():
            more = {"lanes": 128, "horizon": 51, "warm_up": 30}
            samples.append(
                _of_ten(choices) if x == 0.9 else simulate_fleet(rng, x, choices, 10, **more)
            )
    for (choices, samples), colour in zip(runs.items(), ("C0", "C2"), strict=True):
        for axes, shown in (
            (left, [sample.mean_response for sample in samples]),
            (right, [_p99(sample) for sample in samples]),
        ):
            means, halves = [one.mean for one in shown], [one.half_width for one in shown]
            axes.errorbar(points, means, halves, fmt="o", color=colour, markersize=4)
            if choices == 10:
                axes.plot(points, means, color=colour, linewidth=1.0)
    for label, found, colour, height, tail in (
        ("random", [best_of_d_found(x, 1) for x in load], "C4", 9.4, 44),
        ("round robin", [round_robin_found(x, 10) for x in load], "C1", 7.6, 36),
        ("best of two", [best_of_d_found(x, 2) for x in load], "C0", 5.8, 28),
    ):
        left.plot(load, [f.sum() for f in found], color=colour)
        right.plot(load, [response_quantile(f, 0.99) for f in found], color=colour)
        left.annotate(label, (0.32, height), color=colour)
        right.annotate(label, (0.32, tail), color=colour)
    left.annotate("shortest of ten", (0.32, 4.0), color="C2")
    right.annotate("shortest of ten", (0.32, 20), color="C2")
    for axes, top, what in ((left, 11, "mean"), (right, 50, "p99")):
        axes.set(xlim=(0.3, 1.0), ylim=(0, top))
        axes.set(xlabel="load ρ [1]", ylabel=f"{what} response [mean services]")


def slider_mean_and_p99() -> dict[str, Any]:
    """Let every request look at more servers, and see how hot the fleet may run."""
    loads, choices = np.round(np.arange(0.3, 0.985, 0.02), 2), [1, 2, 3, 5, 10]
    found = [[best_of_d_found(load, d) for d in choices] for load in loads]
    return {
        "controls": [
            {"label": "load", "values": loads, "text": "ρ = {:.2f}", "start": 0.9},
            {"label": "servers looked at", "values": choices, "text": "d = {}", "start": 2},
        ],
        "x": {"label": "load ρ", "unit": "", "range": (0.3, 1)},
        "y": {"label": "response", "unit": "mean services", "range": (0, 50)},
        "curves": [
            {
                "label": "p99",
                "unit": "",
                "values": [[response_quantile(f, 0.99) for f in row] for row in found],
            },
            {
                "label": "mean",
                "unit": "services",
                "values": [[f.sum() for f in row] for row in found],
                "decimals": 2,
            },
        ],
        "reading": "At {load} and the best of {servers looked at} random servers, of very many, a"
        " request takes {mean} on average and {p99} at the 99th percentile.",
    }


def check_simulated_against_mean_field() -> None:
    """Fleets of a hundred servers at 90% load agree with 2.614 once the gap of 1.2% is added, and
    not without.

    Source: Mitzenmacher's series plus the 1/n term; intervals over independent fleets.
    """
    rng = np.random.default_rng(146)
    limit = float(best_of_d_found(0.9, 2).sum())
    run = simulate_fleet(rng, 0.9, 2, 100, lanes=64, horizon=51, warm_up=30).mean_response
    checks.covers("n = 100, with the gap", run, finite_fleet_mean(0.9, 2, 100))
    above = (run.mean - limit) / run.standard_error
    checks.holds(
        "above the mean field by 3 s.e. or more",
        above > 3,
        got=f"{above:.1f}",
        kind="simulation",
    )
    run = simulate_fleet(rng, 0.7, 3, 30, lanes=320, horizon=26, warm_up=15).mean_response
    checks.covers("three choices, n = 30, ρ = 0.7", run, finite_fleet_mean(0.7, 3, 30))


def check_simulated_against_exact() -> None:
    """Two servers and random routing have exact answers, which the simulation covers.

    Source: the chain of the shorter queue; M/M/1; the control variate has mean zero, so that both
    estimates agree, and without choices the drift is linear, so that it removes everything.
    """
    rng = np.random.default_rng(147)
    two = simulate_fleet(rng, 0.8, 2, 2, lanes=800, horizon=120, warm_up=60)
    exact = shorter_of_two_found(0.8)
    checks.covers("shorter of two, ρ = 0.8", two.mean_response, float(exact.sum()))
    checks.covers("without control variate", two.uncontrolled, float(exact.sum()))
    checks.covers("its p99", _p99(two), response_quantile(exact, 0.99))
    one = simulate_fleet(rng, 0.5, 1, 4, horizon=30, warm_up=15)
    checks.close("random, ρ = 0.5, all noise controlled", one.mean_response.mean, 2.0, rtol=1e-9)
    checks.covers("random, without control variate", one.uncontrolled, 2.0)


def check_order_of_policies() -> None:
    """At the same load no policy that keeps queues apart beats one common queue, and more choices
    never hurt.

    Source: Erlang's C for ten servers; simulated fleets of ten.
    """
    runs = [_of_ten(d).mean_response for d in (2, 3, 10)]
    pooled = 1 + mean_wait(9.0, 1.0, 10)
    for (label, run), better in zip(
        (("2 over 3", runs[0]), ("3 over 10", runs[1]), ("10 over one queue", runs[2])),
        (runs[1].mean, runs[2].mean, pooled),
        strict=True,
    ):
        margin = (run.mean - better) / run.standard_error
        checks.holds(f"{label} [s.e.]", margin > 3, got=f"{margin:.1f}", kind="simulation")


def check_bad_input_is_refused() -> None:
    """More choices than servers, a full load and lanes that make no groups are errors."""
    rng = np.random.default_rng(0)
    checks.raises("ρ = 1", finite_fleet_mean, 1.0, 2, 10, match="utilization must be in (0, 1)")
    checks.raises("d = 1", finite_fleet_mean, 0.9, 1, 10, match="choices must be an integer")
    checks.raises("n < d", finite_fleet_mean, 0.9, 3, 2, match="servers must be an integer of at")
    checks.raises("3 of 2", simulate_fleet, rng, 0.9, 3, 2, match="choices must be an integer from")
    checks.raises("NaN", simulate_fleet, rng, math.nan, 2, 2, match="utilization must be in (0, 1)")
