"""Throughput of a closed loop: clients buy it until one server is always busy, and then only wait.

N clients think for Z and then need D_k of server k. Whatever the distributions and the order of
service, X ≤ min(1/D_max, N/(D + Z)) with D = ΣD_k, and the two meet at N* = (D + Z)/D_max. With
exponential service the throughput is exact, one client at a time: an arrival finds the queues of a
loop with one client less, R_k(n) = D_k·(1 + Q_k(n−1)), X(n) = n/(Z + ΣR_k(n)), Q_k(n) = X(n)R_k(n).

Assumes: for the bounds, that a request is at one server at a time. For the rest, single servers,
one class of clients, exponential service if the order is first come first served.

Source: Denning and Buzen (1978) for the upper bounds; Reiser and Lavenberg (1980) for the
recursion; Zahorjan, Sevcik, Eager and Galler (1982) for the balanced bounds.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.core.queues.closed_network import (
    AWAY_S,
    SERVER_S,
    convolution_throughput,
    mean_gap,
    simulate_cycles,
)
from serving_mathematics.core.queues.mean_value_analysis import (
    asymptotic_bounds,
    balanced_job_bounds,
    exact_mva,
    saturation_clients,
)
from serving_mathematics.support import checks

if TYPE_CHECKING:
    from matplotlib.figure import Figure


TEXTBOOK_S = (0.605, 2.1, 1.35)  # CPU and two disks [s], Lazowska et al. (1984), chapter 6
TEXTBOOK_THINK_S, TEXTBOOK_CLIENTS = 15.0, 3


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    throughput, residence = exact_mva(64, SERVER_S, AWAY_S)
    response = residence.sum(axis=1)
    book, book_residence = exact_mva(TEXTBOOK_CLIENTS, TEXTBOOK_S, TEXTBOOK_THINK_S)
    return SimpleNamespace(
        ceiling=1 / max(SERVER_S),
        knee=saturation_clients(SERVER_S, AWAY_S),
        six_ms=1000 * float(response[5]),
        six_ceiling_share=float(throughput[5]) * max(SERVER_S),
        twelve_ms=1000 * float(response[11]),
        clients_for_95=1 + int(np.argmax(throughput * max(SERVER_S) >= 0.95)),
        textbook_throughput=float(book[-1]),
        textbook_response_s=float(book_residence[-1].sum()),
        textbook_bound=asymptotic_bounds(TEXTBOOK_CLIENTS, TEXTBOOK_S, TEXTBOOK_THINK_S)[1],
        textbook_knee=saturation_clients(TEXTBOOK_S, TEXTBOOK_THINK_S),
        loop_knee=saturation_clients(SERVER_S, 0.0),
        human_knee=saturation_clients(SERVER_S, 20.0),
    )


def figure_bounds(figure: Figure) -> None:
    """Two straight lines hold the whole curve, and they are furthest from it where they meet.

    One model server (6, 20 and 2 ms; 100 ms away). Line: exact; band: balanced job bounds; dashed:
    asymptotic bounds; points: 8,000 simulated requests each, with 95% intervals.

    Alt: Line chart of throughput against clients from 0 to 24. The exact curve rises along a dashed
    line through the origin, bends below the point where that line meets a dashed ceiling of 50 per
    second at 6.4 clients, and follows the ceiling from 15 clients on. A band surrounds it, five
    simulated points lie on it, and a dashed curve far below it approaches a lower ceiling.
    """
    axes = figure.subplots()
    n = np.arange(1, 25)
    throughput, _ = exact_mva(24, SERVER_S, AWAY_S)
    band = np.array([balanced_job_bounds(k, SERVER_S, AWAY_S) for k in n.tolist()])
    lowest = [asymptotic_bounds(k, SERVER_S, AWAY_S)[0] for k in n.tolist()]
    knee, cycle = saturation_clients(SERVER_S, AWAY_S), sum(SERVER_S) + AWAY_S
    axes.fill_between(n, band[:, 0], band[:, 1], color="C0", alpha=0.2)
    axes.plot([0, knee * 1.1], [0, knee * 1.1 / cycle], "--", color="C4", linewidth=1.4)
    axes.axhline(1 / max(SERVER_S), linestyle="--", color="C4", linewidth=1.4)
    axes.plot(n, lowest, "--", color="C3", linewidth=1.4)
    axes.plot(n, throughput, color="C0")
    points = []
    for clients in (2, 4, 7, 11, 18):
        rng = np.random.default_rng(40 + clients)
        gap = mean_gap(simulate_cycles(rng, clients, SERVER_S, AWAY_S, cycles=8000)[0])
        points.append((clients, 1 / gap.mean, gap.half_width / gap.mean**2))
    places, rates, halves = np.array(points).T
    axes.errorbar(places, rates, halves, fmt="o", color="C1")
    axes.axvline(knee, color="C4", linestyle=":", linewidth=1.2)
    axes.annotate("1/D$_{max}$", (0.3, 50.7), color="C4", va="bottom")
    axes.annotate("N/(D + Z)", (3.8, 31), color="C4", ha="right")
    axes.annotate("N*", (knee + 0.2, 2), color="C4")
    axes.annotate("exact", (9.4, 44.5), color="C0", va="top")
    axes.annotate("everybody queues everywhere", (23.5, 25.5), color="C3", ha="right")
    axes.set(xlim=(0, 24), ylim=(0, 58), xlabel="clients N", ylabel="throughput X [1/s]")


def check_textbook_example() -> None:
    """Three users of a CPU and two disks, who think 15 s: X = 0.1515 per second in 4.80 s.

    Source: demands of Lazowska et al. (1984), chapter 6; queue lengths as the regression test of
    the LQN solver prints them for that example; X and R by convolution over the states.
    """
    throughput, residence = exact_mva(TEXTBOOK_CLIENTS, TEXTBOOK_S, TEXTBOOK_THINK_S)
    response = float(residence[-1].sum())
    checks.close("X [1/s]", throughput[-1], 0.15151649, atol=5e-9)
    checks.close("R [s]", response, 4.79982478, atol=5e-9)
    states = convolution_throughput(TEXTBOOK_CLIENTS, TEXTBOOK_S, TEXTBOOK_THINK_S)[-1]
    checks.close("R from the states, N/X − Z [s]", response, 3 / states - 15, rtol=1e-12)
    queues = throughput[-1] * residence[-1]
    checks.close("queues", queues, [0.0976, 0.3947, 0.2350], atol=5.5e-5, kind="published")


def check_recursion_against_states() -> None:
    """The recursion, which never looks at a state, gives the throughput that all states give.

    Source: convolution of the normalizing constants (Buzen 1973), up to 300 clients.
    """
    for label, demands, think in (
        ("model server", SERVER_S, AWAY_S),
        ("no thinking", SERVER_S, 0.0),
        ("people", SERVER_S, 20.0),
    ):
        got, _ = exact_mva(300, demands, think)
        checks.close(label, got, convolution_throughput(300, demands, think), rtol=1e-10)


def check_bounds_hold() -> None:
    """Exact throughput lies within the balanced bounds, and they within the asymptotic ones.

    Source: 60 random networks of one to six servers, evaluated at up to 40 clients.
    """
    rng = np.random.default_rng(82)
    wide_low, narrow_low, narrow_high, wide_high = [], [], [], []
    for _ in range(60):
        demands = rng.exponential(1.0, rng.integers(1, 7)) + 0.01
        think, clients = float(rng.exponential(5.0)), int(rng.integers(1, 41))
        exact = float(exact_mva(clients, demands, think)[0][-1]) * (1 + np.array([1, -1]) * 1e-12)
        wide, narrow = (
            f(clients, demands, think) for f in (asymptotic_bounds, balanced_job_bounds)
        )
        wide_low.append(narrow[0] * (1 + 1e-12) >= wide[0])
        narrow_low.append(exact[0] >= narrow[0])
        narrow_high.append(exact[1] <= narrow[1])
        wide_high.append(narrow[1] <= wide[1] * (1 + 1e-12))
    checks.holds("asymptotic ≤ balanced, below", all(wide_low))
    checks.holds("balanced ≤ exact", all(narrow_low))
    checks.holds("exact ≤ balanced", all(narrow_high))
    checks.holds("balanced ≤ asymptotic, above", all(wide_high))


def check_bounds_of_any_distribution() -> None:
    """Constant or very variable service: simulated throughput stays within the asymptotic bounds.

    Source: simulation, three standard errors; with constant service two clients who never wait for
    each other reach N/(D + Z).
    """
    for scv in (0.0, 4.0):
        rng = np.random.default_rng(83)
        done, _ = simulate_cycles(rng, 8, SERVER_S, AWAY_S, service_scv=scv, cycles=14_000)
        gap = mean_gap(done)
        noise = 3 * gap.standard_error
        least, greatest = asymptotic_bounds(8, SERVER_S, AWAY_S)
        label = f"gap between completions, C² = {scv:g} [s]"
        checks.inside(label, gap.mean, 1 / greatest - noise - 1e-12, 1 / least + noise)
    rng = np.random.default_rng(2)
    done, _ = simulate_cycles(rng, 2, SERVER_S, AWAY_S, service_scv=0.0, cycles=2000)
    bound = asymptotic_bounds(2, SERVER_S, AWAY_S)[1]
    checks.close("two clients, constant service", 1 / mean_gap(done).mean, bound, rtol=1e-9)


def check_bad_input_is_refused() -> None:
    """Half clients, free or missing servers, NaN and negative pauses are errors."""
    checks.raises("half a client", exact_mva, 2.5, [1.0], 1.0, match="clients must be a positive")
    checks.raises("no server", saturation_clients, [], 1.0, match="demands_s must be a (K,) array")
    checks.raises(
        "free server", asymptotic_bounds, 3, [1.0, 0.0], 1.0, match="demands_s must be positive"
    )
    checks.raises(
        "NaN", balanced_job_bounds, 3, [math.nan], 1.0, match="demands_s must be positive"
    )
    checks.raises("Z < 0", exact_mva, 3, [1.0], -1.0, match="think_time_s must be non-negative")
