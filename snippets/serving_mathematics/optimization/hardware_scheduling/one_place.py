"""The textbook's server is an engine with one place: there an order does what its formula says.

On one place a request waits for all that goes before it. In order of arrival that is
λE[S²]/(2(1 − ρ)) whatever its size; shortest first it is λE[S²]/(2(1 − ρ(x))²), with the load ρ(x)
of what is no longer than it. With more places short requests run beside long ones already, and the
order has less to decide.

`python -m serving_mathematics.optimization.hardware_scheduling.one_place` serves both orders, in
some seconds, and writes records/one_place.json.gz.

Assumes: Poisson arrivals; sizes of the chat machine's requests, alone on it.

Source: Kleinrock (1976), chapter 3, for shortest job first; Pollaczek and Khinchine.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.policies import shortest_answer
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import require, require_all_positive, require_in

FloatArray = npt.NDArray[np.float64]

PLACES = (1, 2, 4, 16, 64)
REQUESTS, RUNS = 1500, 32  # of three runs the gain was half as large again as of others


def sjf_gain(sizes_s: npt.ArrayLike, utilization: float) -> float:
    """Mean response time shortest first over that in order of arrival, on one place.

    sizes_s: a sample of service times, positive [s], shape (n,). utilization: ρ in (0, 1). Raises
    ValueError outside these ranges.

    >>> round(sjf_gain([1.0, 1.0], utilization=0.5), 9)  # equal sizes are served as they came
    1.0
    """
    sizes = np.asarray(require_all_positive(sizes_s=sizes_s), dtype=float)
    require(sizes.ndim == 1 and sizes.size > 0, "sizes_s", "of shape (n,), n ≥ 1", sizes.shape)
    utilization = require_in("(0, 1)", utilization=utilization)
    sizes = np.sort(sizes)
    rate, square = utilization / float(sizes.mean()), float(np.mean(sizes**2))
    total = np.cumsum(sizes)
    shorter = np.searchsorted(sizes, sizes, side="left")  # how many are shorter
    upto = np.searchsorted(sizes, sizes, side="right")
    below = np.where(shorter > 0, total[shorter - 1], 0.0) * rate / sizes.size
    through = total[upto - 1] * rate / sizes.size
    wait_s = rate * square / 2 / ((1 - below) * (1 - through))
    in_order_s = rate * square / (2 * (1 - utilization))
    return float((sizes + wait_s).mean() / (sizes.mean() + in_order_s))


@functools.cache
def _asked(run: int) -> Requests:
    rng = np.random.default_rng(40 + run)
    lengths = draw_lengths(rng, CHAT.traffic, REQUESTS)
    columns = lengths.prompt_tokens, lengths.output_tokens
    return Requests(draw_arrivals(rng, 1.0, REQUESTS), *columns)


class _Gain(NamedTuple):
    """Mean response shortest answer first over that in order of arrival, of all runs."""

    ratio: float


@recorded(_Gain, "one_place")
def _served(places: int, load: float, runs: int = RUNS) -> _Gain:
    """What an order of known answers does to the mean response on so many places."""
    machine, sums = CHAT.limited(places), [0.0, 0.0]
    rate = load * machine.ceiling_per_s
    for run in range(runs):
        one = _asked(run)
        asked = Requests(one.arrival_s / rate, one.prompt_tokens, one.output_tokens)
        for place, rank in enumerate((None, shortest_answer)):
            ends = simulate_fleet(asked, Fleet([machine.engine], schedule=rank)).completion_s
            sums[place] += float((ends - asked.arrival_s)[REQUESTS // 10 :].sum())
    return _Gain(sums[1] / sums[0])


def _ratio(places: int, load: float) -> float:
    """Mean response shortest answer first over that in order of arrival."""
    return _served(places, load).ratio


@functools.cache
def _sizes_s() -> FloatArray:
    """Service times of requests that are alone on the chat machine [s]."""
    lengths = CHAT.sample
    later, prompts = lengths.output_tokens - 1.0, lengths.prompt_tokens
    step, dearer = CHAT.step_s([1.0, 1.0], 0.0)[0], CHAT.engine.context_token_s
    own = CHAT.prompt_s(prompts) + float(CHAT.step_s(0.0, 0.0)) + later * step
    return np.asarray(own + dearer * later * (prompts + lengths.output_tokens / 2))


def example() -> SimpleNamespace:
    """The numbers quoted in the text: percent off the mean, shortest answer first."""
    return SimpleNamespace(
        one_place_80=100 * (1 - sjf_gain(_sizes_s(), 0.8)),
        places_16_95=100 * (1 - _ratio(16, 0.95)),
    )


def figure_places(figure: Figure) -> None:
    """How much an order of known answer lengths takes off the mean: a great deal on one place,
    which is the textbook's server, and little in an engine, unless it has few places and is nearly
    full.

    The chat machine, shortest answer first against the order of arrival. Crosses: the formula.

    Alt: Percent taken off the mean response time against places, logarithmic. Two curves, for a
    high and a very high load, fall from the formula's crosses at one place to nearly nothing from
    64 places up; the curve of the higher load lies above.
    """
    axes = figure.subplots()
    for load, colour in ((0.8, "C0"), (0.95, "C1")):
        axes.plot(PLACES, [100 * (1 - _ratio(p, load)) for p in PLACES], "o-", color=colour)
        axes.plot(1, 100 * (1 - sjf_gain(_sizes_s(), load)), "x", color="C4", markersize=11)
        height = 100 * (1 - _ratio(4, load))
        axes.annotate(f"{100 * load:.0f}% load", (4.4, height + 1), color=colour)
    axes.set(xscale="log", ylim=(-1, None), xlabel="places", ylabel="taken off the mean [%]")
    axes.set_xticks(PLACES, [str(places) for places in PLACES])
    axes.set_xticks([], minor=True)


def check_one_place_is_the_formula() -> None:
    """On one place the simulated gain is the formula's, to within a fifth of it.

    Source: 32 runs of 1,500 requests of the chat machine, alone or behind each other.
    """
    for load in (0.5, 0.8):
        gain, told = 1 - _ratio(1, load), 1 - sjf_gain(_sizes_s(), load)
        checks.close(f"{load:.0%}: off the mean", gain, told, rtol=0.2, kind="simulation")


def check_the_gain_falls_with_the_places() -> None:
    """The gain falls from one place to 16 and to 64, at 80% and at 95% load; with 64 places at 80%
    load it is below 1%.

    Source: the same requests at a rate in proportion to what the places carry.
    """
    for load in (0.8, 0.95):
        gains = [1 - _ratio(places, load) for places in (1, 16, 64)]
        got = ", ".join(f"{100 * gain:.1f}%" for gain in gains)
        checks.holds(f"{load:.0%}: falls", gains[0] > gains[1] > gains[2], got=got)
    checks.close("64 places, 80%", _ratio(64, 0.8), 1.0, atol=0.01, kind="simulation")


def check_a_run_is_made_again() -> None:
    """The recorded run on four places, served again, gains as much.

    Source: the record, and its command.
    """
    checks.close(
        "4 places, 80%", _served.again(4, 0.8, 2), _served(4, 0.8, 2), rtol=1e-6, kind="simulation"
    )


def check_formula_by_hand() -> None:
    """Sizes of 1 and 3 at load 0.8 by hand.

    Source: λ = 0.4, E[S²] = 5; waits 1/((1)(0.8)) and 1/((0.8)(0.2)) after W₀ = 1; 5 in order.
    """
    expected = (2 + (1 / 0.8 + 1 / 0.16) / 2) / (2 + 1 / 0.2)
    checks.close("shortest first over first come", sjf_gain([1.0, 3.0], 0.8), expected, rtol=1e-12)


if __name__ == "__main__":
    _served.make()
