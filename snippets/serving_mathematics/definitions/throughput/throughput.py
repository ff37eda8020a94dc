"""The textbook's closed loop: servers that take one request at a time.

N clients think for Z and then need D_k of server k. Whatever the distributions and the order of
service, X ≤ min(1/D_max, N/(D + Z)) with D = ΣD_k, and the two meet at N* = (D + Z)/D_max. With
exponential service the throughput is exact, one client at a time: an arrival finds the queues of a
loop with one client less, R_k(n) = D_k·(1 + Q_k(n−1)), X(n) = n/(Z + ΣR_k(n)), Q_k(n) = X(n)R_k(n).

Assumes: for the bounds, that a request is at one server at a time. For the rest, single servers,
one class of clients, exponential service if the order is first come first served.

Source: Denning and Buzen (1978) for the upper bounds; Reiser and Lavenberg (1980) for the
recursion.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.queues.mean_value_analysis import (
    asymptotic_bounds,
    exact_mva,
)
from serving_mathematics.definitions.throughput.closed_loop_engine import loop_rate, rates_of
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

TEXTBOOK_S = (0.605, 2.1, 1.35)  # CPU and two disks [s], Lazowska et al. (1984), chapter 6
TEXTBOOK_THINK_S, TEXTBOOK_CLIENTS = 15.0, 3
AWAY_S = 10.0


def _one_place() -> float:
    """Time of the chat machine for a request alone [s]."""
    return 1 / float(rates_of(CHAT)[0])


def example() -> SimpleNamespace:
    """Numbers quoted in the text: the chat machine as if it took one request at a time."""
    return SimpleNamespace(
        one_factor=float(rates_of(CHAT)[-1]) * _one_place(),
    )


def figure_one_or_many(figure: Figure) -> None:
    """With one place, the same machine is full with a few clients, and every further one waits.

    The chat machine, with clients away for ten seconds: the exact curve for one request at a time,
    with its two bounds dashed, and the curve for the machine's own places.

    Alt: Chart with two logarithmic axes of answers a second against clients. The curve for one
    place bends at a few clients and stays low, between two dashed lines that meet there. The curve
    for all places follows the rising line for much longer and ends far above.
    """
    axes = figure.subplots()
    clients = np.unique(np.geomspace(1, 600, 60).round().astype(int))
    alone = _one_place()
    exact = exact_mva(600, [alone], AWAY_S)[0]
    axes.loglog(clients, clients / (alone + AWAY_S), "--", color="C4", linewidth=1.2)
    axes.axhline(1 / alone, linestyle="--", color="C4", linewidth=1.2)
    axes.loglog(clients, exact[clients - 1], color="C3")
    many = [loop_rate(int(n), AWAY_S, rates_of(CHAT))[0] for n in clients]
    axes.loglog(clients, many, color="C0")
    axes.annotate("one request at a time", (60, 0.42), color="C3")
    axes.annotate("its own places", (22, 3.2), color="C0", ha="right")
    axes.set(xlabel="clients", ylabel="answers a second", ylim=(0.05, 60))
    axes.set_xticks([1, 10, 100], ["1", "10", "100"])
    axes.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.minorticks_off()


def check_textbook_example() -> None:
    """Three users of a CPU and two disks, who think for 15 s, get X = 0.1515 answers a second,
    each in 4.80 s.

    Source: demands of Lazowska et al. (1984), chapter 6; queue lengths as the regression test of
    the LQN solver prints them for that example.
    """
    throughput, residence = exact_mva(TEXTBOOK_CLIENTS, TEXTBOOK_S, TEXTBOOK_THINK_S)
    checks.close("X [1/s]", throughput[-1], 0.15151649, atol=5e-9)
    checks.close("R [s]", float(residence[-1].sum()), 4.79982478, atol=5e-9)
    queues = throughput[-1] * residence[-1]
    checks.close("queues", queues, [0.0976, 0.3947, 0.2350], atol=5.5e-5, kind="published")


def check_one_place_is_the_textbook() -> None:
    """The chapter's closed form with one place is the textbook's upper bound; the exact mean is
    below it by at most a half.

    Source: `asymptotic_bounds` and `exact_mva`, one server of 0.5 s.
    """
    for clients in (2, 10, 21, 40):
        told = loop_rate(clients, AWAY_S, [2.0])[0]
        bound = asymptotic_bounds(clients, [0.5], AWAY_S)[1]
        checks.close(f"{clients} clients", told, min(2.0, clients / 10.5), rtol=1e-9)
        checks.close("the bound", bound, told, rtol=1e-9)
        checks.inside(
            "exact over it", float(exact_mva(clients, [0.5], AWAY_S)[0][-1]) / told, 0.5, 1
        )
