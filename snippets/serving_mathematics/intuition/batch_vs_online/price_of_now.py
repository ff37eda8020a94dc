"""An answer now costs the peak over the mean, over the load that its promise allows.

Batch work needs the engines that are busy on average, and they may be full. Online work needs
engines for the peak, and each may be no fuller than the promise allows. With peak over mean r and a
load ρ* that keeps the promise, "now" costs r/ρ* times as much as "by tomorrow".

Assumes: a fleet that does not scale; as much work a request in both; engines that share no queue.

Source: own simulation of the book's chat machine; MLCommons (2025) for one machine measured
with and without a promise; Reddi et al. (2020) for the scenarios.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.queues.erlang import erlang_c
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_positive_integer,
)

FloatArray = npt.NDArray[np.float64]

PEAK = 2.5  # over the mean, of the worked day
LOADS = (0.1, 0.2, 0.35, 0.5, 0.65, 0.75, 0.85, 0.95)  # of the ceiling
REQUESTS = 40_000  # of each load: a tenth as many put its slowest hundredth a tenth too high
MLPERF = {"Offline": 27803.9, "Server": 24593.8, "Interactive": 8840.42}  # closed division, v5.1,
# Llama 2 70B on eight MI300X with vLLM [tokens/s]
LIMITS_MS = {"Server": (2000, 200), "Interactive": (450, 40)}  # first token, each further, at p99


def cost_ratio(peak_to_mean: float, promised_load: float) -> float:
    """How many times as much an online answer costs as a batch one: r/ρ*.

    peak_to_mean: r ≥ 1. promised_load: ρ* in (0, 1], of an engine's ceiling, at which the promise
    is still kept. Raises ValueError outside these ranges. Its inverse is the share of its ceiling
    that an online engine does on average.

    >>> cost_ratio(peak_to_mean=2.0, promised_load=0.5)
    4.0
    """
    peak_to_mean = as_number(peak_to_mean=peak_to_mean)
    require(1 <= peak_to_mean < math.inf, "peak_to_mean", "finite and at least 1", peak_to_mean)
    promised_load = require_in("(0, 1]", promised_load=promised_load)
    return peak_to_mean / promised_load


def shared_prices(
    engines: int, online_load: float, batch_load: float, batch_price: float
) -> tuple[float, float]:
    """Prices that just pay for a fleet when batch work fills its gaps, (online, batch).

    engines: c. online_load, batch_load: mean busy engines of each, together at most c, the first
    positive. batch_price: what batch pays as a share of the online price, in [0, 1].
    Returns engine-hours paid per engine-hour of work. Raises ValueError outside these ranges.

    >>> shared_prices(engines=6, online_load=2.0, batch_load=2.0, batch_price=0.5)
    (2.0, 1.0)
    """
    online_load, batch_load = as_number(online_load=online_load, batch_load=batch_load)
    engines = require_positive_integer(engines=engines)
    require(0 < online_load <= engines, "online_load", f"in (0, {engines}]", online_load)
    require(
        0 <= batch_load <= engines - online_load,
        "batch_load",
        f"in [0, {engines - online_load:g}], what online work leaves",
        batch_load,
    )
    batch_price = require_in("[0, 1]", batch_price=batch_price)
    online = engines / (online_load + batch_price * batch_load)
    return online, batch_price * online


class _Gap(NamedTuple):
    """Time per token that 99% have [s]."""

    most_s: float


@recorded(_Gap, "price_of_now")
def _gap(load: float) -> _Gap:
    """The chat machine at a share of its ceiling."""
    rng = np.random.default_rng(11)
    run = run_engine(CHAT, load * CHAT.ceiling_per_s, REQUESTS, rng)
    return _Gap(float(np.nanquantile(run.tpot_s[REQUESTS // 5 :], 0.99)))


def _gaps_s() -> FloatArray:
    """Time per token of the chat machine that 99% have, at each load [s]."""
    return np.array([_gap(load).most_s for load in LOADS])


def _load_of(promise_ms: float) -> float:
    """Highest load at which 99% have a token within so many milliseconds."""
    return float(np.interp(1e-3 * promise_ms, _gaps_s(), LOADS))


def _places_load(places: int, waiting: float) -> float:
    """Load at which that share waits, with places counted as servers."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        few_wait = erlang_c(places, middle * places) <= waiting
        low, high = (middle, high) if few_wait else (low, middle)
    return low


def example() -> SimpleNamespace:
    """Numbers of the page."""
    allowed = round(promised_load(CHAT.name), 2)  # as pages say it: its search is no finer
    hurried = _load_of(20)
    online, batch = shared_prices(20, 7.0, 10.0, 0.5)
    kept = {name: score / MLPERF["Offline"] for name, score in MLPERF.items()}
    return SimpleNamespace(
        day_peak=PEAK,
        now_factor=cost_ratio(PEAK, allowed),
        promised_percent=100 * allowed,
        promise_ms=1000 * CHAT.promise.tpot_s,
        hurried_percent=100 * hurried,
        hurried_factor=cost_ratio(PEAK, hurried),
        kept_server=100 * kept["Server"],
        kept_interactive=100 * kept["Interactive"],
        server_tpot_ms=LIMITS_MS["Server"][1],
        interactive_tpot_ms=LIMITS_MS["Interactive"][1],
        places_percent=100 * _places_load(CHAT.places, 0.02),
        alone_online_price=shared_prices(20, 7.0, 0.0, 0.5)[0],
        shared_online_price=online,
        shared_batch_price=batch,
    )


def figure_price_of_now(figure: Figure) -> None:
    """How full an engine may be depends on the time per token that is promised.

    Left, the load at which 99% of the chat machine's requests get their tokens in time. Right,
    MLPerf results of Llama 2 70B on eight MI300X, as shares of the result without a promise.

    Alt: Left, a line that rises steeply with the promised time per token and bends towards the
    ceiling. Right, three bars: full height without a promise, most of it with the Server limits,
    and about a third with the Interactive limits.
    """
    left, right = figure.subplots(1, 2)
    left.plot(1e3 * _gaps_s(), 100 * np.array(LOADS), "o-", color="C0", markersize=4)
    left.set(xlim=(0, 62), ylim=(0, 100), xlabel="promised time per token [ms]")
    left.set_ylabel("load that keeps the promise [%]")
    kept = [100 * score / MLPERF["Offline"] for score in MLPERF.values()]
    right.bar(range(len(kept)), kept, color="C0", width=0.7)
    right.set_xticks(range(len(kept)), list(MLPERF), rotation=40, ha="right")
    right.set(ylim=(0, 115), xlabel="MLPerf scenario", ylabel="throughput [% of Offline]")


def check_the_promise_of_the_machine() -> None:
    """The load read off at the machine's promise per token is the one that every chapter takes.

    Source: the record of promises, found by halving with other requests.
    """
    told = _load_of(1000 * CHAT.promise.tpot_s)
    checks.close("load", told, promised_load(CHAT.name), atol=0.05, kind="simulation")


def check_a_run_is_made_again() -> None:
    """A load of the record, simulated again, has the same time per token.

    Source: the record, and its command.
    """
    checks.close("at 0.1", _gap.again(LOADS[0]), _gap(LOADS[0]), rtol=1e-6, kind="simulation")


def check_places_are_no_servers() -> None:
    """Counted as servers at which 2% of requests may wait, sixteen places may be less than six
    tenths full, a thousand more than nine tenths, and 256 as full as a spare of 2.05 roots of the
    load allows, within 2%. For the mixture, whose tokens slow down more, this allows more load than
    its promise does.

    Source: square-root staffing, c = a + 2.054·√a, from 1 − Φ(2.054) = 0.02; the promised load.
    """
    root = (-2.054 + math.sqrt(2.054**2 + 4 * 256)) / 2
    checks.close("chat", _places_load(256, 0.02), root**2 / 256, rtol=0.02)
    few, many = (_places_load(count, 0.02) for count in (16, 1024))
    checks.holds("16 and 1,024", few < 0.6 < 0.9 < many, got=[few, many])
    checks.inside("mixture", _places_load(64, 0.02) / promised_load("mixture"), 1.05, 1.5)


if __name__ == "__main__":
    _gap.make()
