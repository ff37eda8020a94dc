"""One tenant's burst: in order of arrival everybody stands behind it, with counted tokens nobody
else does.

A tenant asks for many answers at once. In order of arrival whoever comes afterwards waits until all
of them have a place. If the next place goes to the tenant that has had the fewest tokens, the burst
uses what the others leave, and the engine is as busy as before.

A gateway that counts for an engine must hold back what the engine could not read at once: whatever
it has forwarded is read in order of arrival. A limit on requests inside holds nothing back where
the whole burst finds places.

`python -m serving_mathematics.optimization.hardware_scheduling.fair_shares` serves many such
bursts, in half a minute, and writes records/bursts.json.gz.

Assumes: what `core.fleet` assumes; nine tenants with a steady load, and a tenth with a burst.

Source: Sheng et al. (2024), virtual token counter: tokens of answers count twice, and a tenant that
was away starts level with the others.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.batching import serve
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.waiting_lines import Fair
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

PLACES = (16, 64, 256)
STEADY, BURST, OTHERS = 500, 150, 9  # requests of nine tenants, of the tenth at once; these nine
BEFORE = STEADY // 8  # of the nine, before the burst: a percentile is of those that come with it on
LOAD = 0.7  # of the nine
DRAWS = 40  # of a burst and its others, whose means the page tells
FRAMES, CLIP_S = 101, 80.0  # until nobody waits
BEFORE_S = 5.0  # shown before the burst
ORDERS = ("first come", "shortest prompt", "fair")


@functools.cache
def _asked(machine: Machine, seed: int = 1) -> tuple[Requests, BoolArray, float]:
    """Requests, which are not of the burst, and when that comes [s]."""
    rng = np.random.default_rng(seed)
    steady, burst = (draw_lengths(rng, machine.traffic, count) for count in (STEADY, BURST))
    arrivals = draw_arrivals(rng, LOAD * machine.ceiling_per_s, STEADY)
    at = float(arrivals[BEFORE])
    times = np.concatenate([arrivals, np.full(BURST, at)])
    whose = np.concatenate([rng.integers(0, OTHERS, STEADY), np.full(BURST, OTHERS)])
    order = np.argsort(times, kind="stable")
    prompts, answers, cached = (
        np.concatenate([getattr(steady, name), getattr(burst, name)])[order]
        for name in ("prompt_tokens", "output_tokens", "cached_tokens")
    )
    asked = Requests(times[order], prompts, answers, cached, tenant=whose[order])
    return asked, asked.tenant < OTHERS, at


def _fresh_prompt(request: int, ledger: Ledger) -> float:
    """Tokens of a prompt that no cache holds."""
    return float(ledger.prompt[request] - ledger.cached[request])


@functools.cache
def _served(machine: Machine, order: str, seed: int = 1) -> Outcome:
    asked = _asked(machine, seed)[0]
    schedule = _fresh_prompt if order == "shortest prompt" else None
    weights = [1.0] * (OTHERS + 1) if order == "fair" else None
    return simulate_fleet(asked, Fleet([machine.engine], schedule=schedule, weights=weights))


def _p90(machine: Machine, order: str, seed: int = 1) -> float:
    """Of first tokens of the others that come with the burst or after it [s]."""
    asked, others, at = _asked(machine, seed)
    first_s = _served(machine, order, seed).first_token_s - asked.arrival_s
    beside = first_s[others & (asked.arrival_s >= at)] + machine.made.around_s
    return float(np.quantile(beside, 0.9))


class _Gateway(Fair):
    """Fair shares before an engine that serves in order of arrival: the next request goes in while
    fewer are inside than there are places, and the prompts inside of which no first token has come
    have fewer tokens than a limit."""

    def __init__(self, ledger: Ledger, places: int, unread_tokens: float) -> None:
        """Nobody waits."""
        super().__init__(ledger.requests.tenant.tolist(), [1.0] * (OTHERS + 1))
        self.ledger, self.places, self.unread_tokens = ledger, places, unread_tokens
        self.forwarded: deque[int] = deque()  # and not yet let in by the engine
        self.unread: list[int] = []

    def head(self) -> int:
        """What was forwarded first, after all that may be has been."""
        ledger = self.ledger
        self._join()
        self.unread = [i for i in self.unread if ledger.first_s[i] < 0]
        tokens = sum(ledger.prompt[i] - ledger.cached[i] for i in self.unread)
        while (
            ledger.running[0] + len(self.forwarded) < self.places
            and tokens < self.unread_tokens
            and (request := super().head()) >= 0
        ):
            super().pop()
            own = ledger.prompt[request] - ledger.cached[request]
            super().read(request, own)
            self.forwarded.append(request)
            self.unread.append(request)
            tokens += own
        return self.forwarded[0] if self.forwarded else -1

    def pop(self) -> None:
        """The engine let the first in."""
        self.forwarded.popleft()

    def back(self, request: int) -> None:
        """The engine preempted somebody, who stays inside."""
        self.forwarded.appendleft(request)

    def read(self, request: int, tokens: int) -> None:
        """A prompt was counted when it was forwarded."""


@functools.cache
def _gateway_p90_s(machine: Machine, unread_tokens: float, seed: int = 1) -> float:
    """The p90 of the others' first tokens, from the burst on, behind such a gateway [s]."""
    asked, others, at = _asked(machine, seed)
    ledger = Ledger(asked)
    line = _Gateway(ledger, machine.places, unread_tokens)
    engine = serve(machine.engine, ledger, ledger.engine(), line)
    due = next(engine)
    for request, when in enumerate(asked.arrival_s.tolist()):
        while due < when:
            due = engine.send(None)
        line.push(request)
        ledger.waiting[0] += 1
        due = engine.send(when)
    while due < math.inf:
        due = engine.send(None)
    first_s = np.asarray(ledger.first_s) - asked.arrival_s + machine.made.around_s
    return float(np.quantile(first_s[others & (asked.arrival_s >= at)], 0.9))


def _burst_end_s(machine: Machine, order: str, seed: int = 1) -> float:
    """From the burst to its last answer [s]."""
    _, others, at = _asked(machine, seed)
    return float(_served(machine, order, seed).completion_s[~others].max() - at)


def _there(machine: Machine, order: str, clock: FloatArray) -> IntArray:
    """Who has a place and who waits, of the others and of the burst's tenant, at each moment, shape
    (2, 2, moments)."""
    asked, others, _ = _asked(machine)
    served, both = _served(machine, order), (others, ~others)
    times = (asked.arrival_s, served.admitted_s, served.completion_s)
    come, let_in, done = (
        np.array([np.searchsorted(np.sort(t[whose]), clock, side="right") for whose in both])
        for t in times
    )
    return np.array([let_in - done, come - let_in])


class _Burst(NamedTuple):
    """Means of draws [s]: p90 of the others' first tokens in order of arrival, shortest prompt
    first, with fair shares and behind a gateway; the burst's last answer in the first order and
    with fair shares."""

    first_p90_s: float
    short_p90_s: float
    fair_p90_s: float
    gateway_p90_s: float
    first_end_s: float
    fair_end_s: float


@recorded(_Burst, "bursts")
def _bursts(machine: Machine, draws: int = DRAWS) -> _Burst:
    """Bursts on a machine."""
    found = [
        (
            *(_p90(machine, order, seed) for order in ORDERS),
            _gateway_p90_s(machine, 2 * machine.engine.token_budget, seed),
            *(_burst_end_s(machine, order, seed) for order in ORDERS[::2]),
        )
        for seed in range(1, draws + 1)
    ]
    return _Burst(*np.mean(found, axis=0).tolist())


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    every, few = _bursts(CHAT), _bursts(CHAT.limited(16))
    return SimpleNamespace(
        burst=BURST,
        others_next=STEADY - BEFORE,
        others_load=100 * LOAD,
        bursts=DRAWS,
        places=CHAT.places,
        first_p90_s=every.first_p90_s,
        short_p90_s=every.short_p90_s,
        fair_p90_s=every.fair_p90_s,
        gateway_p90_s=every.gateway_p90_s,
        few_first_p90_s=few.first_p90_s,
        few_fair_p90_s=few.fair_p90_s,
        few_first_end_s=few.first_end_s,
        few_fair_end_s=few.fair_end_s,
    )


def figure_three_orders(figure: Figure) -> None:
    """A burst from one tenant: in order of arrival all other tenants wait behind it; with counted
    tokens hardly any do.

    The chat machine and nine other tenants; in print, with 16 places. Requests that wait although a
    place is free wait for prompts to be read.

    Alt: Waiting requests of the other tenants against time. The curve for the order of arrival
    rises steeply after the burst, stays high and falls late; that for shortest prompt first rises
    about half as high and falls slowly; that for fair shares stays near zero.
    """
    few, clock = CHAT.limited(16), np.linspace(-BEFORE_S, CLIP_S - BEFORE_S, FRAMES)
    at = _asked(few)[2]
    axes = figure.subplots()
    for order, colour in zip(ORDERS, ("C3", "C1", "C0"), strict=True):
        axes.plot(clock, _there(few, order, at + clock)[1, 0], color=colour, label=order)
    axes.legend()
    axes.set(xlabel="time since the burst [s]", ylabel="others waiting [requests]")


def slider_three_orders() -> dict[str, Any]:
    """After five seconds, one tenant asks for 150 answers at once. Play it: whose requests wait?
    Then give the engine more places."""
    clock, machines = np.linspace(0.0, CLIP_S, FRAMES), [CHAT.limited(few) for few in PLACES]
    runs = [
        [_there(machine, order, _asked(machine)[2] - BEFORE_S + clock) for order in ORDERS]
        for machine in machines
    ]
    inside, waits = np.moveaxis(np.array(runs), (2, -1), (0, 2))  # places, frame, order, whose

    def bars(counted: IntArray) -> list[tuple[Any, ...]]:
        drawn: list[tuple[Any, ...]] = []
        for order, (others, tenant) in zip(ORDERS, counted.tolist(), strict=True):
            drawn += [(order, 0, others, "broken", f"{others}")] * (others > 0)
            drawn += [(order, others, others + tenant, "waits")] * (tenant > 0)
        return drawn

    def said(label: str, unit: str, decimals: int, values: Any) -> dict[str, Any]:
        return {"label": label, "unit": unit, "decimals": decimals, "values": values}

    return {
        "controls": [
            {"label": "places", "values": list(PLACES), "text": "{} places", "start": 16},
        ],
        "clock": {"label": "time", "unit": "s", "values": clock, "start": clock[8]},
        "panels": [
            {
                "kind": "engine",
                "engines": list(ORDERS),
                "places": list(PLACES),
                "running": inside.sum(axis=-1),
                "prompts": inside[..., 1],
            },
            {
                "kind": "bars",
                "label": "whose requests wait",
                "lanes": list(ORDERS),
                "x": {"label": "requests", "unit": ""},
                "bars": [[bars(counted) for counted in run] for run in waits],
            },
        ],
        "readouts": [
            *(said(order, "", 0, waits[..., i, 0]) for i, order in enumerate(ORDERS)),
            *(
                said(f"p90 {order}", "s", 1, [_p90(machine, order) for machine in machines])
                for order in ORDERS[::2]
            ),
        ],
        "legend": {
            "answer": "another tenant's, has a place",
            "prompt": "the one tenant's, has a place",
            "waits": "the one tenant's, waits",
            "broken": "another tenant's, waits",
        },
        "reading": "After {time}, {first come} of the others' requests wait in order of arrival,"
        " {shortest prompt} by shortest prompt, {fair} by fair shares. The p90 of their first"
        " tokens is {p90 first come}, by fair shares {p90 fair}.",
    }


def check_fair_shares_spare_the_others() -> None:
    """With counted tokens, the p90 of the others' first tokens is less than a third of that in
    order of arrival, with 16, 64 and 256 places, for three draws, and on the mixture less than
    half; the last answer of all comes no more than a twentieth later.

    Source: `core.fleet` on the same requests.
    """
    for machine in (*(CHAT.limited(places) for places in PLACES), MIXTURE):
        most = 0.5 if machine is MIXTURE else 1 / 3
        for seed in (1, 2, 3) if machine is not MIXTURE else (1,):
            ratio = _p90(machine, "fair", seed) / _p90(machine, "first come", seed)
            label = f"{machine.name}, {machine.places} places, draw {seed}: p90, fair over first"
            checks.inside(label, ratio, 0, most)
        ends = [float(_served(machine, o).completion_s.max()) for o in ("fair", "first come")]
        label = f"{machine.name}, {machine.places} places: end of all"
        checks.close(label, ends[0] / ends[1], 1.0, rtol=0.05, kind="simulation")


def check_a_gateway_holds_prompts_back() -> None:
    """A gateway that lets in as many requests as there are places changes nothing on the chat
    machine, whose places the burst does not fill: the p90 of the others' first tokens is that in
    order of arrival, to within a twentieth. If the prompts inside that have no first token yet also
    have fewer tokens together than two steps' budgets, it is within a fifth of fair shares in the
    engine, in three draws each with 16, 64 and 256 places, and on the mixture.

    Source: `core.fleet` on the same requests, where the engine itself takes fair shares.
    """
    for seed in (1, 2, 3):
        ratio = _gateway_p90_s(CHAT, math.inf, seed) / _p90(CHAT, "first come", seed)
        checks.close(
            f"places alone, draw {seed}: over first come", ratio, 1, rtol=0.05, kind="simulation"
        )
    for machine in (*(CHAT.limited(places) for places in PLACES), MIXTURE):
        for seed in (1, 2, 3) if machine is not MIXTURE else (1,):
            held = _gateway_p90_s(machine, 2 * machine.engine.token_budget, seed)
            label = f"{machine.name}, {machine.places} places, draw {seed}: over fair"
            ratio = held / _p90(machine, "fair", seed)
            checks.close(label, ratio, 1, rtol=0.2, kind="simulation")


def check_short_prompts_first_spare_nobody_with_few_places() -> None:
    """With 16 places and the shortest prompt first, the p90 of the others' first tokens is as late
    as in order of arrival, or later, in three draws; with 256 places it is less than half longer
    than with fair shares.

    Source: `core.fleet` on the same requests.
    """
    few = CHAT.limited(16)
    for seed in (1, 2, 3):
        short = _p90(CHAT, "shortest prompt", seed) / _p90(CHAT, "fair", seed)
        checks.inside(f"256 places, draw {seed}: shortest over fair", short, 0.8, 1.5)
        ratio = _p90(few, "shortest prompt", seed) / _p90(few, "first come", seed)
        label = f"draw {seed}: p90, shortest over first"
        checks.inside(label, ratio, 0.95, 1.6)


def check_bursts_are_made_again() -> None:
    """Two recorded bursts, served again, take the same times.

    Source: the record, and its command.
    """
    run = CHAT.limited(16), 2
    checks.close("16 places [s]", _bursts.again(*run), _bursts(*run), rtol=1e-6, kind="simulation")


def check_work_is_conserved() -> None:
    """Fair shares make the burst's own last answer later, and keep the engine as busy as before.

    Source: tokens that were read and written in three orders.
    """
    few = CHAT.limited(16)
    later = _burst_end_s(few, "fair") / _burst_end_s(few, "first come")
    checks.inside("the burst's end, fair over first come", later, 1.5, 10)
    tokens = [_served(few, order).work[0, 1:3].tolist() for order in ORDERS]
    checks.equal("tokens in three orders", tokens, [tokens[0]] * 3)


if __name__ == "__main__":
    _bursts.make()
