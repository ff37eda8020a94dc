"""The law is about means: how many are inside at the worst moment, it does not say.

With Poisson arrivals, no queue, and requests that leave each other alone, the number inside is
Poisson with mean λW, whatever the law of their stay. In an engine each slows the others, so that
many inside stay longer and become more. Its number varies more than Poisson, and less than that of
one server in which all queue.

Assumes: Poisson arrivals; the book's chat machine.

Source: own simulation of the book's machines; the Poisson distribution of M/G/∞ and the geometric
one of M/M/1.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

FloatArray = npt.NDArray[np.float64]
LOAD, REQUESTS = 0.8, 40_000


@functools.cache
def _numbers(machine: Machine, load: float, requests: int = REQUESTS) -> tuple[int, ...]:
    """Requests inside at 30,000 moments of a run, after its first tenth."""
    rng = np.random.default_rng(17)
    run = run_engine(machine, load * machine.ceiling_per_s, requests, rng)
    last = float(run.arrival_s[-1])
    seen = run.series(np.linspace(0.1 * last, last, 30_000))
    return tuple((seen.running + seen.waiting).tolist())


def _poisson(mean: float, most: int) -> FloatArray:
    """Probabilities of 0 … most."""
    n = np.arange(most + 1)
    logs = np.append(0.0, np.cumsum(np.log(n[1:])))
    return np.asarray(np.exp(n * math.log(mean) - mean - logs))


def example() -> SimpleNamespace:
    """Numbers quoted in the text, of the chat machine at 80% load; the engine's places to ten,
    because runs differ by as much."""
    numbers = np.array(_numbers(CHAT, LOAD))
    mean = float(numbers.mean())
    return SimpleNamespace(
        mean_inside=mean,
        slots_engine=round(int(np.quantile(numbers, 0.999)), -1),
        slots_poisson=int(np.searchsorted(np.cumsum(_poisson(mean, 400)), 0.999)),
        slots_server=math.ceil(math.log(0.001) / math.log(mean / (1 + mean))) - 1,  # P(N > n)
    )


def figure_engine_slots(figure: Figure) -> None:
    """Three systems with the same mean inside need different numbers of places.

    The chat machine in bars; lines for requests that do not affect each other, and for one server
    with a queue.

    Alt: Distribution of the number inside. A narrow hump of the Poisson line around the mean, wider
    bars of the engine around it, and a line that falls slowly from zero far beyond both.
    """
    figure.set_size_inches(5.8, 2.7)
    axes = figure.subplots()
    numbers = np.array(_numbers(CHAT, LOAD))
    mean, n = float(numbers.mean()), np.arange(301)
    axes.hist(numbers, list(range(0, 301, 5)), density=True, color="C0", alpha=0.45)
    axes.plot(n, _poisson(mean, 300), color="C1")
    axes.plot(n, (mean / (1 + mean)) ** n / (1 + mean), color="C3")
    axes.annotate("independent requests", (mean + 12, 0.036), color="C1")
    axes.annotate("engine", (mean + 33, 0.011), color="C0")
    axes.annotate("one server", (210, 0.0035), color="C3")
    axes.set(xlim=(0, 300), xlabel="requests inside", ylabel="share of the time")


def check_the_engine_lies_between() -> None:
    """At three loads, the number inside varies more than Poisson and less than in one server of the
    same mean, and the places that suffice lie between theirs.

    Source: the simulated chat machine; variances of the two laws, m and m(1 + m).
    """
    for run in ((0.3, 10_000), (0.6, 10_000), (LOAD,)):
        numbers = np.array(_numbers(CHAT, *run))
        mean, variance = float(numbers.mean()), float(numbers.var())
        checks.inside(f"variance over mean at {run[0]:g}", variance / mean, 1.15, 1 + mean)
    shown = example()
    checks.inside("places", shown.slots_engine, shown.slots_poisson + 1, shown.slots_server - 1)
