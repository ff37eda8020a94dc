"""How a replica answers load: requests inside, time per token, and how steeply both rise.

With n requests inside, a replica ends X(n) = n/(n p + m D(n)) requests a second, where p is the
time of a prompt, m the tokens of an answer after its first, and D(n) the step of n sequences. In a
steady state λ = X(n). A signal that grows by e percent when the load of a replica grows by one has
the elasticity e. A controller that orders n·m/m* replicas takes e for 1. Ordered anew once per
start-up, an error of the fleet is multiplied by 1 − e each time, so that it dies out where
0 < e < 2, and grows beyond.

Assumes: load spread evenly over replicas and places; prompts within the steps that they share;
lengths of the machine's traffic on average.

Source: Little (1961) for n = λ(p + m T), with T the time per token; the fixed point of the
proportional rule of Kubernetes, linearized.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.token_sharing import share_tokens, step_line
from serving_mathematics.core.queues.erlang import erlang_c
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_non_negative,
    require_in,
)

FloatArray = npt.NDArray[np.float64]
ENGINES = 12  # of the chat machine, for the textbook


@dataclass(frozen=True, eq=False)
class Replica:
    """One engine by the number of requests in it, 0 to its places.

    rates: that it ends a second. tokens_s: time per token of each. held: most requests with which
    it keeps its promise per token. ttft_s: promised for a first token.
    """

    rates: FloatArray
    tokens_s: FloatArray
    held: int
    ttft_s: float

    @property
    def places(self) -> int:
        """Requests that it holds at once."""
        return int(self.rates.size) - 1

    @property
    def most_per_s(self) -> float:
        """Requests a second with all places taken."""
        return float(self.rates[-1])

    def inside(self, rate_per_s: npt.ArrayLike) -> FloatArray:
        """Requests in it at a steady rate up to its most, of the same shape."""
        rates = as_floats(rate_per_s=rate_per_s)
        require_all_non_negative(rate_per_s=rates)
        most = float(np.max(rates))
        require(most <= self.most_per_s, "rate_per_s", f"at most {self.most_per_s:.6g}", most)
        return np.interp(rates, self.rates, np.arange(self.rates.size))


def replica_of(machine: Machine) -> Replica:
    """A replica that is one of the book's machines.

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> chat = replica_of(CHAT)
    >>> chat.places, bool(chat.inside(0.8 * chat.most_per_s) < 0.4 * chat.places)
    (256, True)
    """
    count = np.arange(machine.sequences_at_most + 1.0)
    steps_s, line = machine.step_s(count), step_line(machine)
    rates = count / np.maximum(count * line.prompt_s + line.later_tokens * steps_s, 1e-12)
    tokens_s = steps_s / (1 - rates * line.prompt_s)
    held = int(np.flatnonzero(tokens_s <= machine.promise.tpot_s)[-1])
    return Replica(rates, tokens_s, held, machine.promise.ttft_s)


def elasticities(replica: Replica, load: float) -> tuple[float, float]:
    """Percent by which the requests in a replica, and the time per token, grow with one percent of
    load.

    load: of the most that it ends a second, in [0.05, 0.95]. Raises ValueError outside it.

    >>> count = np.arange(101.0)  # one token of 1 s + 0.01 s for each request inside
    >>> line = Replica(count / (1 + 0.01 * count), 1 + 0.01 * count, 100, 1.0)
    >>> inside, tokens = elasticities(line, 0.5)
    >>> round(inside, 2), round(tokens, 2)
    (1.33, 0.33)
    """
    load = require_in("[0.05, 0.95]", load=load)
    about = np.array([load - 0.01, load + 0.01]) * replica.most_per_s
    inside = replica.inside(about)
    tokens_s = np.interp(inside, np.arange(replica.rates.size), replica.tokens_s)
    rise = float(np.diff(np.log(about))[0])
    return tuple(float(np.diff(np.log(own))[0]) / rise for own in (inside, tokens_s))  # type: ignore[return-value]


def _load_at(replica: Replica, which: int) -> float:
    """Load at which the elasticity of requests (0) or time per token (1) is two."""
    loads = np.arange(0.1, 0.95, 0.005)
    found = np.array([elasticities(replica, float(load))[which] for load in loads])
    return float(loads[np.argmax(found >= 2.0)])


def _textbook_load() -> float:
    """Load of a fleet whose places are taken for servers: a of a + √a, which are all of them."""
    places = ENGINES * CHAT.places
    return (math.sqrt(places + 0.25) - 0.5) ** 2 / places


def example() -> SimpleNamespace:
    """Where the signals of the chat machine become too steep, and what its places then hold."""
    chat = replica_of(CHAT)
    steep = {which: _load_at(chat, which) for which in (0, 1)}
    load = _textbook_load()
    return SimpleNamespace(
        places=chat.places,
        steep_requests_percent=100 * steep[0],
        steep_tokens_percent=100 * steep[1],
        steep_places_percent=100 * float(chat.inside(steep[0] * chat.most_per_s)) / chat.places,
        promise_ms=1e3 * CHAT.promise.tpot_s,
        engines=ENGINES,
        textbook_percent=100 * load,
        textbook_tpot_ms=1e3 * share_tokens(CHAT, load * CHAT.ceiling_per_s).tpot_s,
    )


def figure_responses(figure: Figure) -> None:
    """The autoscaler's rule assumes the straight line, and only arrivals follow it.

    The chat machine; each signal is divided by its value at half load.

    Alt: Signal over its value at half load, against load, on logarithmic axes. A straight diagonal
    is arrivals. Requests inside follow it at low load and bend upwards. Time per token is flatter
    at low load, and steeper at high load. A level line is the device's utilization.
    """
    chat = replica_of(CHAT)
    axes = figure.subplots()
    loads = np.linspace(0.1, 0.96, 80)
    inside = chat.inside(loads * chat.most_per_s)
    tokens_s = np.interp(inside, np.arange(chat.rates.size), chat.tokens_s)
    middle = int(np.argmin(np.abs(loads - 0.5)))
    for values, colour, label, where in (
        (loads, "C4", "arrivals", (10.3, 0.34)),
        (inside, "C3", "requests inside", (50, 5.2)),
        (tokens_s, "C0", "time per token", (10.5, 0.7)),
        (np.ones(loads.size), "C2", "device's utilization", (11.5, 1.12)),
    ):
        axes.loglog(100 * loads, values / values[middle], color=colour)
        axes.annotate(label, where, color=colour)
    axes.set(
        xlabel="load [% of the ceiling]",
        ylabel="signal [of its value at half load]",
        xlim=(10, 100),
        ylim=(0.09, 9),
    )
    axes.set_xticks([10, 20, 50, 100], ["10", "20", "50", "100"])
    axes.set_yticks([0.1, 0.5, 1, 2, 5], ["0.1", "0.5", "1", "2", "5"])
    axes.minorticks_off()


def check_inside_against_the_closed_form() -> None:
    """Requests inside and time per token agree with Little's law and a step that serves all.

    Source: `share_tokens`, which adds who is timed to the mean of those in the step.
    """
    for machine in (CHAT, CHAT.limited(64), MIXTURE):
        replica = replica_of(machine)
        for load in (0.3, 0.6):
            rate = load * replica.most_per_s
            told, inside = share_tokens(machine, rate), float(replica.inside(rate))
            tokens_s = float(np.interp(inside, np.arange(replica.rates.size), replica.tokens_s))
            label = f"{machine.name}, {machine.places} places, at {100 * load:.0f}%"
            # a long prompt is waited for by itself, too
            near, same = (0.12, 0.08) if machine is MIXTURE else (0.03, 0.03)
            checks.close(f"{label}: inside", inside, told.inside, rtol=near)
            checks.close(f"{label}: time per token [s]", tokens_s, told.tpot_s, rtol=same)


def check_elasticities_by_hand() -> None:
    """Where a step takes s + dn, requests inside have the elasticity 1/(1 − λ(p + md)), which is
    the time per token over a lone request's, and time per token has about one less.

    Source: n = λms/(1 − λ(p + md)) for those that decode, differentiated; requests inside.
    """
    line, chat = step_line(CHAT), replica_of(CHAT)
    for load in (0.3, 0.5, 0.7):
        own = load * chat.most_per_s * (line.prompt_s + line.later_tokens * line.sequence_s)
        inside, tokens = elasticities(chat, load)
        checks.close(f"at {load}: requests", inside, 1 / (1 - own), rtol=0.03)
        checks.close(f"at {load}: requests less tokens", inside - tokens, 1.0, atol=0.01)
        here_s = float(np.interp(load * chat.most_per_s, chat.rates, chat.tokens_s))
        times = here_s / float(chat.tokens_s[1])
        checks.close(f"at {load}: over a lone request", times, inside, rtol=0.06)


def check_two_is_the_limit() -> None:
    """With one order per start-up, the proportional rule on requests inside settles where their
    elasticity is below 2, and swings for ever where it is above.

    Source: the map c ← N(c)/target, walked 60 times from a fleet that is 2% too small.
    """
    chat = replica_of(CHAT)
    steep, rate = _load_at(chat, 0), 20 * chat.most_per_s
    for load, settles in ((steep - 0.05, True), (steep + 0.05, False)):
        right = rate / (load * chat.most_per_s)  # replicas at which each has this load
        target = float(chat.inside(load * chat.most_per_s))
        fleet = 0.98 * right
        for _ in range(60):
            fleet *= float(chat.inside(min(rate / fleet, chat.most_per_s))) / target
        error = abs(fleet / right - 1)
        checks.holds(f"at {100 * load:.0f}% load", (error < 0.02) == settles, got=error)


def check_few_wait_for_a_place_at_the_textbooks_load() -> None:
    """With √a spare servers, about a fifth of arrivals wait for a place, as Halfin and Whitt's
    limit says.

    Source: Erlang's formula; 1/(1 + Φ(1)/φ(1)), by the tables of the normal distribution.
    """
    places = ENGINES * CHAT.places
    waits = erlang_c(places, _textbook_load() * places)
    checks.close("share that waits", waits, 1 / (1 + 0.841345 / 0.241971), rtol=0.03)
