"""Limits that set themselves by what they measure, before an engine past its ceiling.

A gateway counts the requests that are under way and refuses whoever finds as many as its limit.
Envoy's filter compares the time of answers with what it should be and takes longer ones for a line,
but an engine's steps grow with its batch before anybody waits. It multiplies its limit L by g = (1
+ B)·T/S, for the time T that it expects, the time S that it sees and a buffer B, and adds √(g·L);
so it rests where S is (1 + B)/g of T, with L(1 − g) = √(g·L). It measures T of a few requests at
once, or under its limit as it is where the least limit is set apart (`min_concurrency_limit`),
unless it is told. Another looks for broken promises: three requests more for a limit of answers
that keep theirs, and a tenth less when one does not, once a round trip, as TCP does.

`python -m serving_mathematics.capacity.overload_control.adaptive` runs all of them, in some
minutes, and writes records/adaptive_limits.json.gz.

Assumes: one gateway before one engine; Poisson arrivals at twice the ceiling, refused for good; the
engine of `core.machines`, with all its places.

Source: Envoy, `gradient_controller.cc` and its page on adaptive concurrency, whose example runs
here; Netflix concurrency-limits, `AIMDLimit`; RFC 6582 for one decrease a round trip.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from serving_mathematics.capacity.overload_control.limits import _ceiling_per_s, _engine, _in_time
from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Admit, Fleet
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import draw_requests
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import require_non_negative, require_positive

SPAN_S = {"chat": 900.0, "mixture": 9000.0}  # simulated, of which a third is not counted
LOAD = 2.0  # in the ceiling
DRAWS = range(1, 21)
FEW = (1, 2, 3)  # draws that choose a setting
TRAFFIC = ("as it is", "other prompts", "minutes")
OTHER = {"chat": 3.0, "mixture": 0.5}  # times as long as the trace's prompts are the other ones
INTERVAL_S = 30.0  # Envoy's `concurrency_update_interval`, where it is not its example's
# minutes between measurements, of B and whether the limit stays meanwhile, for Envoy's
MEASURED = tuple((m, b, u) for m in (1, 5) for b in (0.25, 1.0) for u in (False, True))
SETTINGS: Mapping[str, Mapping[str, Sequence[float]]] = {
    "fixed": {
        "chat": (40, 50, 60, 80, 110, 140, 160, 180, 200, 220),
        "mixture": (20, 25, 30, 35, 45, 60),
    },
    "Envoy's, measured": dict.fromkeys(("chat", "mixture"), range(len(MEASURED))),
    "Envoy's, told": {"chat": (2.4, 3.2, 4.0, 4.8), "mixture": (8, 11, 14, 18)},  # [s]
}


def gradient_limit(
    limit: float, expected_s: float, sampled_s: float, buffer: float = 0.25
) -> float:
    """Envoy's next limit, g·L + √(g·L), where g = (1 + B)·T/S is kept between a half and two.

    limit: L, requests under way. expected_s: T, minRTT or `fixed_value` [s]. sampled_s: S, of the
    answers since the last change [s]. buffer: B, at least 0. Raises ValueError unless the others
    are positive.

    >>> gradient_limit(limit=100.0, expected_s=4.0, sampled_s=5.0)
    110.0
    """
    limit, expected_s, sampled_s = require_positive(
        limit=limit, expected_s=expected_s, sampled_s=sampled_s
    )
    buffer = require_non_negative(buffer=buffer)
    gradient = min(max((1 + buffer) * expected_s / sampled_s, 0.5), 2.0)
    return gradient * limit + math.sqrt(gradient * limit)


class _Answer(NamedTuple):
    """When it ended and was sent [s], how many were under way then, and if its promise was kept."""

    ended_s: float
    sent_s: float
    under_way: int
    kept: bool


@dataclass
class _Fixed:
    """A limit that stays, and what all others do: hear of moments and of answers, in order."""

    limit: float

    def pass_to(self, now: float) -> None:
        """It is that late."""

    def hear(self, answer: _Answer) -> None:
        """It has ended."""


@dataclass
class _Envoy(_Fixed):
    """Envoy's filter. With `unpinned` the least limit is one of its own, and it measures what it
    expects without lowering its limit to `pinned`."""

    limit: float = 3.0
    interval_s: float = 0.1
    measured_s: float = 60.0  # between two measurements
    percentile: float = 50.0
    buffer: float = 0.25
    jitter: float = 0.15
    pinned: float = 3.0
    unpinned: float = 0.0
    most: float = 1000.0
    expected_s: float = 0.0  # measured, where it is 0

    def __post_init__(self) -> None:
        """It begins with a measurement."""
        self.seen: list[float] = []
        self.rng, self.least = np.random.default_rng(0), self.unpinned or self.pinned
        self.begun_s, self.at_least, self.resumed = -1.0, 0, self.limit
        self.due_s, self.measuring = self.interval_s, not self.expected_s
        self.measured_next_s = math.inf

    def pass_to(self, now: float) -> None:
        while min(self.measured_next_s, self.due_s) <= now and not self.measuring:
            if self.measured_next_s <= self.due_s:
                self.begun_s, self.measuring, self.seen = self.measured_next_s, True, []
                self.measured_next_s, self.resumed = math.inf, self.limit
                self.limit = self.limit if self.unpinned else self.pinned
                continue
            if self.seen:
                seen_s = float(np.percentile(self.seen, self.percentile))
                more = math.floor(gradient_limit(self.limit, self.expected_s, seen_s, self.buffer))
                before, self.limit = self.limit, min(max(more, self.least), self.most)
                low = before == self.limit == self.least
                self.at_least, self.seen = self.at_least + 1 if low else 0, []
                if self.at_least >= 5 and self.measured_next_s < math.inf:
                    self.measured_next_s = self.due_s
            self.due_s += self.interval_s

    def hear(self, answer: _Answer) -> None:
        if answer.sent_s < self.begun_s:
            return
        self.seen.append(answer.ended_s - answer.sent_s)
        if self.measuring and len(self.seen) >= 50:
            self.expected_s = float(np.percentile(self.seen, self.percentile))
            self.measuring, self.seen, self.limit = False, [], self.resumed
            pause_s = self.measured_s * (1 + self.jitter * float(self.rng.random()))
            self.measured_next_s = answer.ended_s + pause_s
            self.due_s = answer.ended_s + self.interval_s


@dataclass
class _Promise(_Fixed):
    """A tenth less for a broken promise, once a round trip; three more for a limit of kept ones."""

    limit: float = 10.0
    cut_s: float = -1.0

    def hear(self, answer: _Answer) -> None:
        if answer.kept:
            self.limit += 3 / self.limit if 2 * answer.under_way >= self.limit else 0.0
        elif answer.sent_s > self.cut_s:
            self.limit, self.cut_s = max(1.0, 0.9 * self.limit), answer.ended_s


def _told(rule: _Fixed, asked: Requests, machine: Machine) -> Admit:
    """Who comes is let in below the limit of a rule, which first hears what has ended."""
    inside: list[tuple[int, float, int]] = []
    promise, around_s = machine.promise, machine.made.around_s

    def admit(request: int, view: View) -> float:
        now, ended_s, first_s = view.now, view.ledger.completion_s, view.ledger.first_s
        over = list[tuple[float, tuple[int, float, int]]]()
        if view.requests[0] < len(inside):
            over = sorted((ended_s[one[0]], one) for one in inside if 0 <= ended_s[one[0]] <= now)
            inside[:] = [one for one in inside if not 0 <= ended_s[one[0]] <= now]
        for end_s, (which, sent_s, under_way) in over:
            later = int(asked.output_tokens[which]) - 1
            kept = first_s[which] - sent_s + around_s <= promise.ttft_s
            kept &= end_s - first_s[which] <= later * promise.tpot_s
            rule.pass_to(end_s)
            rule.hear(_Answer(end_s, sent_s, under_way, kept))
        rule.pass_to(now)
        if len(inside) >= math.floor(rule.limit):
            return math.inf
        inside.append((request, now, len(inside) + 1))
        return 0.0

    return admit


def _rule(machine: Machine, kind: str, setting: float) -> _Fixed:
    """A limit as it begins."""
    if kind == "fixed":
        return _Fixed(setting)
    if kind == "Envoy's example":
        return _Envoy(percentile=90.0, jitter=0.1, pinned=50.0, unpinned=25.0, limit=50.0)
    most = float(machine.places)
    if kind == "Envoy's, told":
        return _Envoy(interval_s=INTERVAL_S, expected_s=setting, most=most)
    if kind == "Envoy's, measured":
        minutes, buffer, stays = MEASURED[int(setting)]
        pause_s, least = minutes * SPAN_S[machine.name] / 15, most / 10 if stays else 0.0
        rule = _Envoy(max(3.0, least), INTERVAL_S, pause_s, buffer=buffer, most=most)
        return replace(rule, unpinned=least)
    return _Promise()


class _Kept(NamedTuple):
    """Work in time, over what the engine can do, and the share in time of those let in."""

    work: float
    let_in: float


def _run(
    machine: Machine, kind: str, setting: float, traffic: str, seed: int = 1
) -> tuple[Requests, Outcome, Engine]:
    """What is asked, what became of it, and the engine. traffic: as it is, or with other prompts,
    at twice the ceiling; or at the rate and with the lengths of the trace's minutes, at the ceiling
    on average."""
    rng, minutes = np.random.default_rng(seed), traffic == "minutes"
    rate_per_s = (1.0 if minutes else LOAD) * _ceiling_per_s(machine)
    many = int(SPAN_S[machine.name] * rate_per_s)
    arrivals, drawn = draw_requests(rng, machine.traffic, rate_per_s, many, minutes)
    longer = OTHER[machine.name] if traffic == "other prompts" else 1.0
    cached = np.floor(longer * drawn.cached_tokens).astype(np.int64)
    prompts = np.maximum(np.rint(longer * drawn.prompt_tokens).astype(np.int64), cached + 1)
    asked = Requests(arrivals, prompts, drawn.output_tokens, cached_tokens=cached)
    engine = _engine(machine, int(prompts.max()) if longer > 1 else 0)
    rule = _rule(machine, kind, setting)
    fleet = Fleet([engine], admit=_told(rule, asked, machine))
    return asked, simulate_fleet(asked, fleet), engine


@recorded(_Kept, "adaptive_limits")
def _served(machine: Machine, kind: str, setting: float, traffic: str, seed: int = 1) -> _Kept:
    """What is in time in `_run`."""
    asked, done, engine = _run(machine, kind, setting, traffic, seed)
    arrivals = asked.arrival_s
    good, own_s = _in_time(machine, machine.places, asked, done, engine)
    counted = arrivals >= arrivals[-1] / 3
    let_in = counted & np.isfinite(done.completion_s)
    work = float((own_s * good)[counted].sum() / np.ptp(arrivals[counted]))
    return _Kept(work, float(good[let_in].mean()))


def _mean(
    machine: Machine, kind: str, setting: float, traffic: str, draws: Sequence[int] = DRAWS
) -> float:
    """Work in time, averaged over draws."""
    runs = [_served(machine, kind, setting, traffic, seed).work for seed in draws]
    return float(np.mean(runs))


@functools.cache
def _best(machine: Machine, kind: str, traffic: str) -> float:
    """The setting with most work in time, of few draws."""
    settings = SETTINGS.get(kind, {}).get(machine.name, (0.0,))
    return max(map(float, settings), key=lambda one: _mean(machine, kind, one, traffic, FEW))


def _percent(machine: Machine, kind: str, traffic: str, tuned: str = TRAFFIC[0]) -> float:
    """Work in time, in percent of what the best fixed limit for the same traffic keeps. tuned: the
    traffic for which the setting is best."""
    most = _mean(machine, "fixed", _best(machine, "fixed", traffic), traffic)
    return 100 * _mean(machine, kind, _best(machine, kind, tuned), traffic) / most


def example() -> SimpleNamespace:
    """Numbers of the page: chat's work in time, in percent of the best fixed limit's."""
    names = {
        "fixed": "fixed",
        "example": "Envoy's example",
        "told": "Envoy's, told",
        "promise": "promise",
    }
    fields = {
        f"{short}_{when}": _percent(CHAT, kind, traffic)
        for short, kind in names.items()
        for when, traffic in zip(("now", "longer", "minutes"), TRAFFIC, strict=True)
    }
    return SimpleNamespace(**fields)


def check_it_rests_where_answers_take_a_third_longer() -> None:
    """With Envoy's buffer, a limit of two hundred settles where answers take a third longer than
    expected, and a limit of ten where they take two thirds longer.

    Source: L(1 − g) = √(g·L), solved for g, and two hundred steps of the formula.
    """
    for limit, low, high in ((200.0, 1.3, 1.37), (10.0, 1.6, 1.72)):
        root = (math.sqrt(1 + 4 * limit) - 1) / 2
        over = 1.25 * limit / root**2
        checks.inside(f"{limit:g} requests: over what is expected", over, low, high)
        now = 3.0
        for _ in range(200):  # answers take longer in proportion to the limit
            now = gradient_limit(now, 1.0, over * now / limit)
        checks.close(f"{limit:g} requests", now, limit, rtol=1e-6)


def check_a_fixed_limit_is_best_for_what_it_was_set_for() -> None:
    """As long as the traffic stays the same, no limit that sets itself keeps more of chat's work
    than the best fixed one, by more than chance. With prompts three times as long, that fixed limit
    keeps next to nothing, and Envoy's, where it measures what it expects, less than a quarter at
    its best. As its documentation sets it, Envoy's limit keeps little with either traffic.

    Source: the engine at twice its ceiling, means of twenty draws.
    """
    for kind in ("Envoy's, measured", "Envoy's, told", "promise"):
        share = _percent(CHAT, kind, TRAFFIC[0])
        checks.inside(f"{kind} [% of the best fixed]", share, 85.0, 103.0)
    for kind, traffic, high in (
        ("fixed", TRAFFIC[1], 3.0),
        ("Envoy's, measured", TRAFFIC[1], 25.0),
        ("Envoy's example", TRAFFIC[0], 35.0),
        ("Envoy's example", TRAFFIC[1], 25.0),
    ):
        share = _percent(CHAT, kind, traffic)
        checks.inside(f"{kind}, {traffic} [% of the best fixed]", share, 0.0, high)


def check_a_broken_promise_is_the_signal() -> None:
    """The limit that looks for broken promises keeps nine tenths or more of what the best fixed
    limit for each traffic keeps, on two machines; so it does on the minutes of two traces, where
    chat's fixed limit keeps four fifths.

    Source: the same runs.
    """
    for machine in (CHAT, MIXTURE):
        for traffic in TRAFFIC:
            label, share = (
                f"{machine.name}, {traffic} [% of the best fixed]",
                _percent(machine, "promise", traffic),
            )
            checks.inside(label, share, 90.0, 150.0)
        told = _percent(machine, "Envoy's, told", TRAFFIC[0])
        checks.inside(f"{machine.name}: told [% of the best fixed]", told, 90.0, 103.0)
    fixed = _percent(CHAT, "fixed", TRAFFIC[2])
    checks.inside("chat, fixed, minutes [% of their best]", fixed, 72.0, 85.0)


def check_what_to_tell_envoy() -> None:
    """The best `fixed_value` is about two thirds of the median answer time under the best fixed
    limit, and three in five answers or more take no longer than the interval.

    Source: one draw of two machines.
    """
    for machine in (CHAT, MIXTURE):
        asked, done, _ = _run(machine, "fixed", _best(machine, "fixed", TRAFFIC[0]), TRAFFIC[0])
        answer_s = (done.completion_s - asked.arrival_s)[np.isfinite(done.completion_s)]
        told = _best(machine, "Envoy's, told", TRAFFIC[0]) / float(np.median(answer_s))
        checks.inside(f"{machine.name}: over the median", told, 0.6, 0.75)
        soon = float(np.mean(answer_s <= INTERVAL_S))
        checks.inside(f"{machine.name}: within the interval", soon, 0.6, 1.0)


def check_a_run_is_made_again() -> None:
    """A recorded limit, run again, keeps as much.

    Source: the record, and its command.
    """
    run = CHAT, "promise", 0.0, TRAFFIC[1]
    checks.close(
        "work, share in time", _served.again(*run), _served(*run), rtol=1e-6, kind="simulation"
    )


if __name__ == "__main__":
    _served.make()
