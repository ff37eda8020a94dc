"""One engine past its ceiling: what it still answers in time, under limits on its line.

Requests of a machine's traffic come at a rate that may exceed what it carries. An answer is in time
when it keeps what the machine promises: its first token, and its time per token. What is refused
costs nothing. The result is counted in requests, in the engine's work (prompts, and steps shared by
all places), and for long and short prompts apart, because a limit that prefers short ones answers
more requests with the same work.

A line of w requests, of which a full engine ends μ a second, is served within the promise τ if w ≤
μτ. The same holds of prompt tokens, and of those that a full engine reads a second while it
answers; with nothing to answer it reads faster, so that speed tells nothing here. A limit on tokens
may count the prompt that comes, which a gateway knows, or not: vLLM checks before it has looked at
it, and counts the prompts of all who have no first token, as long as they are. So one prompt as
long as the limit shuts the door until it is read.

`python -m serving_mathematics.capacity.overload_control.limits` runs the engine under each limit,
in some seconds, and writes records/queue_limits.json.gz.

Assumes: Poisson arrivals at a constant rate; the engine of `core.machines`.

Source: `core.fleet`; vLLM pull request 49445, `AsyncLLM.check_admission`, for what its limit on
tokens counts.
"""

# In one piece: one experiment; half are its picture and checks, which stand beside what they show.

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import TICK_S, Engine, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.fleet.design import Admit, Fleet, Route
from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.machines.machines import CHAT, L40S, MIXTURE, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.machines.token_sharing import step_line
from serving_mathematics.core.machines.traffic import Lengths, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import require_in, require_positive

FloatArray = npt.NDArray[np.float64]
REQUESTS, WARM = 4000, 800  # simulated; of these, the first are not counted
LONG = 0.9  # a long prompt is longer than so many of all
SEEDS = (1, 2, 3)
DRAWS = range(1, 13)  # of what the page tells
DOCUMENT, DOCUMENTS = 16_000, 0.01  # tokens of a prompt, and the share that are so long
LOADS = (0.6, 0.8, 0.9, 1.0, 1.2, 1.5, 2.0)
PLACES = {"chat": 195, "mixture": 40, "L40S": 33}  # that keep the promise per token
# what is limited, and settings; those of tokens are shares of what is read in time
POLICIES: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "nothing": ("", (0.0,)),
    "requests": ("most_waiting", (1, 2, 3, 5, 10, 20)),
    "tokens": ("unread", (0.125, 0.25, 0.5, 0.6, 0.75, 1.0)),  # as vLLM counts them
    "with its own": ("most_waiting_tokens", (0.125, 0.25, 0.375, 0.5, 0.85)),  # as a gateway
    "a time-out": ("patience_s", (0.5, 0.9)),  # of the promise: until the first token
    "a time-out, newest first": ("patience_s", (0.9,)),
    "a time-out of the wait": ("wait_s", (0.5, 0.9)),  # until a place is free
}


class InTime(NamedTuple):
    """Shares that are in time: of the requests, of the most work that the engine can do, of the
    short prompts, of the long ones, and of the requests that are let in. The most is the closed
    form's; a run may exceed it by chance, so that one is the largest share."""

    requests: float
    work: float
    short: float
    long: float
    let_in: float


def queue_room(served_per_s: float, promise_s: float, share: float = 0.5) -> int:
    """Requests that may wait, ⌊s·μ·τ⌋: the share of what is served within the promise.

    served_per_s: μ that a full engine, or a busy server, ends; or prompt tokens that it reads, for
    a limit on these. promise_s: τ. share: s in (0, 1]; requests also wait for a place. Raises
    ValueError outside these ranges.

    >>> queue_room(served_per_s=22.0, promise_s=1.0)
    11
    """
    served_per_s, promise_s = require_positive(served_per_s=served_per_s, promise_s=promise_s)
    share = require_in("(0, 1]", share=share)
    return math.floor(share * served_per_s * promise_s + 1e-9)


def _written(drawn: Lengths, longer: float) -> Lengths:
    """The same with answers so many times as long, after prompts as many times shorter."""
    if longer == 1:
        return drawn
    whole = (drawn.prompt_tokens, drawn.cached_tokens)
    prompts, cached = ((part / longer).astype(np.int64) for part in whole)
    outputs = np.rint(drawn.output_tokens * longer).astype(np.int64)
    return Lengths(np.maximum(prompts, 1), np.minimum(cached, np.maximum(prompts - 1, 0)), outputs)


@functools.cache
def _ceiling_per_s(machine: Machine, longer: float = 1.0) -> float:
    """Requests a second that it carries at most, with all its places or as many as memory holds."""
    asked = _written(machine.sample, longer)
    most = replace(machine.engine, max_sequences=machine.sequences_at_most)
    return saturated_rate(asked.prompt_tokens, asked.output_tokens, most, asked.cached_tokens)


def _ended_per_s(machine: Machine, longer: float = 1.0) -> float:
    """Requests that it ends a second while the places are taken with which it keeps its promise per
    token."""
    return _ceiling_per_s(machine.limited(_places(machine)), longer)


def _read_per_s(machine: Machine, longer: float = 1.0) -> float:
    """Prompt tokens that it reads a second, found ones included, while the places are taken with
    which it keeps its promise per token."""
    prompts = _written(machine.sample, longer).prompt_tokens
    return _ended_per_s(machine, longer) * float(prompts.mean())


@functools.cache
def _asked(machine: Machine, load: float, seed: int = 1, longer: float = 1.0) -> Requests:
    """Requests at a load, given in the ceiling of the machine."""
    rng = np.random.default_rng(seed)
    rate_per_s = load * _ceiling_per_s(machine, longer)
    arrivals = np.cumsum(rng.exponential(1 / rate_per_s, REQUESTS))
    drawn = _written(draw_lengths(rng, machine.traffic, REQUESTS), longer)
    prompts, outputs, cached = drawn.prompt_tokens, drawn.output_tokens, drawn.cached_tokens
    return Requests(arrivals, prompts, outputs, cached_tokens=cached)


def _places(machine: Machine) -> int:
    """So many that in a full engine as many requests as promised keep their time per token."""
    return PLACES[machine.name]


def _unread_below(most_tokens: float) -> Admit:
    """Who comes is let in while the prompts of those without a first token have fewer tokens."""
    unread: list[int] = []

    def short_enough(request: int, view: View) -> float:
        first_s, prompt = view.ledger.first_s, view.ledger.prompt  # below 0 while there is none
        unread[:] = [one for one in unread if not 0 <= first_s[one] <= view.now]
        if sum(prompt[one] for one in unread) >= most_tokens:
            return math.inf
        unread.append(request)
        return 0.0

    return short_enough


@functools.cache
def _engine(machine: Machine, longest: int) -> Engine:
    """Its engine, which reads prompts of so many tokens too; as it is, where that is 0."""
    if not longest:
        return machine.engine
    return engine_of(
        machine.deployment,
        Workload([0.0], [longest], [1]),
        machine.token_budget,
        machine.places,
        constants=front_constants(find_front(machine.front)),
        longest=longest + 2000,
    ).engine


def _with_documents(asked: Requests, documents: float, seed: int) -> Requests:
    """The same, but such a share of the prompts, at random, is a document."""
    drawn = np.random.default_rng([7, seed]).random(asked.prompt_tokens.size) < documents
    prompts = np.where(drawn, DOCUMENT, asked.prompt_tokens)
    return replace(asked, prompt_tokens=prompts, cached_tokens=asked.cached_tokens * ~drawn)


def _sent_within(wait_s: float, asked: Requests, places: int) -> Route:
    """Who has waited for longer, when a place is free, is never sent."""

    def route(request: int, view: View) -> int:
        late = view.now - float(asked.arrival_s[request]) > wait_s
        return -1 if late or view.requests[0] >= places else 0

    return route


def _newest_first(request: int, ledger: Ledger) -> float:
    return -float(ledger.requests.arrival_s[request])


def _in_time(
    machine: Machine, places: int, asked: Requests, done: Outcome, engine: Engine
) -> tuple[npt.NDArray[np.bool_], FloatArray]:
    """Which requests are in time with so many places, and the work of each [s], in steps that all
    places share."""
    around_s = machine.limited(places).made.around_s
    later = np.maximum(asked.output_tokens - 1, 1)
    good = done.first_token_s - asked.arrival_s + around_s <= machine.promise.ttft_s
    tokens_s = (done.completion_s - done.first_token_s) / later
    good &= (tokens_s <= machine.promise.tpot_s) | (asked.output_tokens == 1)
    lengths = (asked.prompt_tokens, asked.output_tokens, asked.cached_tokens)
    own_s = TICK_S * engine.prompt_ticks(Workload(asked.arrival_s, *lengths))
    most = min(machine.sequences_at_most, machine.places)
    return good, own_s + (asked.output_tokens - 1) * float(machine.step_s(most)) / most


@recorded(InTime, "queue_limits")
def _served(
    machine: Machine,
    load: float,
    policy: str,
    setting: float,
    places: int,
    seed: int = 1,
    longer: float = 1.0,
    documents: float = 0.0,
) -> InTime:
    """What is in time at a load. longer: answers are so many times as long, and prompts as many
    times shorter. documents: such a share of the prompts has 16,000 tokens."""
    asked = _with_documents(_asked(machine, load, seed, longer), documents, seed)
    limit = POLICIES[policy][0]
    limits: dict[str, Any] = {}
    if limit == "most_waiting":
        limits = {limit: setting}
    elif limit == "patience_s":
        asked = replace(asked, patience_s=np.full(REQUESTS, setting * machine.promise.ttft_s))
        limits = {"schedule": _newest_first if "newest" in policy else None}
    elif limit == "wait_s":
        promise_s = machine.promise.ttft_s
        asked = replace(asked, patience_s=np.full(REQUESTS, 2 * promise_s))  # and then forgotten
        limits = {"route": _sent_within(setting * promise_s, asked, places)}
    elif limit:
        tokens = setting * _read_per_s(machine, longer) * machine.promise.ttft_s
        limits = {"admit": _unread_below(tokens)} if limit == "unread" else {limit: tokens}
    limited = machine.limited(places)
    engine = _engine(limited, DOCUMENT if documents else 0)
    done = simulate_fleet(asked, Fleet([engine], **limits))
    good, own_s = _in_time(machine, places, asked, done, engine)
    counted = np.arange(REQUESTS) >= WARM
    span = float(asked.arrival_s[-1] - asked.arrival_s[WARM])
    prompts = _written(machine.sample, longer).prompt_tokens
    long = asked.prompt_tokens > np.quantile(prompts, LONG)
    return InTime(
        float(good[counted].mean()),
        min(float((own_s * good)[counted].sum()) / span, 1.0),
        float(good[counted & ~long].mean()),
        float(good[counted & long].mean()),
        float(good[counted & np.isfinite(done.completion_s)].mean()),
    )


@functools.cache
def _told(load: float, policy: str, setting: float, places: int) -> InTime:
    """What the chat machine has in time, averaged over draws."""
    runs = [_served(CHAT, load, policy, setting, places, seed) for seed in DRAWS]
    return InTime(*np.mean(runs, axis=0).tolist())


def _worst(machine: Machine, policy: str, setting: float, places: int) -> float:
    """Least work in time of what could be, near the ceiling and past it."""
    loads = (0.9, 1.2, 2.0)
    return min(
        _served(machine, load, policy, setting, places).work / min(load, 1.0) for load in loads
    )


def _work(machine: Machine, load: float, policy: str, setting: float) -> float:
    """Work in time, averaged over draws."""
    runs = (_served(machine, load, policy, setting, _places(machine), seed) for seed in SEEDS)
    return float(np.mean([run.work for run in runs]))


def _calm(machine: Machine, policy: str, setting: float, load: float | None = None) -> float:
    """Share of all requests in time, averaged over draws, below the ceiling; by itself at the load
    up to which the machine keeps its promise."""
    load, places = load or promised_load(machine.name), _places(machine)
    runs = (_served(machine, load, policy, setting, places, seed) for seed in SEEDS)
    return float(np.mean([run.requests for run in runs]))


@functools.cache
def _best(machine: Machine, policy: str) -> float:
    """Of the settings with which the promise is kept at the load up to which the machine keeps it,
    the one whose worst load is best; of all, where there is none."""
    places, settings = _places(machine), POLICIES[policy][1]
    kept = [x for x in settings if _calm(machine, policy, x) >= machine.promise.share]
    return max(kept or settings, key=lambda setting: _worst(machine, policy, setting, places))


def _late(policy: str) -> float:
    """Share of the chat machine's short prompts that are late or refused at half load with
    documents, averaged over draws, under the limit that is best without these."""
    places, best = _places(CHAT), _best(CHAT, policy)
    runs = (_served(CHAT, 0.5, policy, best, places, seed, documents=DOCUMENTS) for seed in SEEDS)
    return 1 - float(np.mean([run.short for run in runs]))


def example() -> SimpleNamespace:
    """Numbers of the page: shares in percent."""
    places = _places(CHAT)
    fields: dict[str, float] = {}
    for short, policy in (
        ("none", "nothing"),
        ("requests", "requests"),
        ("tokens", "tokens"),
        ("gateway", "with its own"),
    ):
        twice = _told(2.0, policy, _best(CHAT, policy), places)
        fields |= {
            f"{short}_work": 100 * twice.work,
            f"{short}_in_time": 100 * twice.requests,
            f"{short}_short": 100 * twice.short,
            f"{short}_long": 100 * twice.long,
        }
    wait, itself = (
        queue_room(_read_per_s(CHAT), CHAT.promise.ttft_s, _best(CHAT, policy))
        for policy in ("tokens", "with its own")
    )
    most = _best(CHAT, "requests")
    kept, every = (_told(2.0, "requests", most, n).let_in for n in (places, CHAT.places))
    return SimpleNamespace(
        **fields,
        kept_places=places,
        all_places=CHAT.places,
        chat_promise_ends=100 * promised_load("chat"),
        best_requests=int(most),
        queued_requests=places + int(most),
        ended_per_s=_ended_per_s(CHAT),
        half_requests=queue_room(_ended_per_s(CHAT), CHAT.promise.ttft_s),
        best_tokens=wait,
        gateway_tokens=itself,
        documents_tokens=100 * _late("tokens"),
        document_tokens=DOCUMENT,
        one_refused=100 * (1 - _calm(CHAT, "requests", 1.0, 0.5)),
        twice_work=100 * _told(2.0, "requests", 2.0 * most, places).work,
        half_wait_work=100 * _told(2.0, "a time-out of the wait", 0.5, places).work,
        l40s_times=_work(L40S, 2.0, "a time-out of the wait", 0.5)
        / _work(L40S, 2.0, "requests", 3.0),
        reading_work=100 * _told(2.0, "a time-out", 0.5, places).work,
        requests_let_in=100 * kept,
        all_let_in=100 * every,
    )


def figure_goodput(figure: Figure) -> None:
    """Past the ceiling, an engine without a limit answers no request in time. Each limit keeps it
    near its maximum, but the limits serve different requests.

    The chat machine, each limit at its best setting: on requests, on tokens as vLLM counts them
    (dashed), and on tokens including those of the incoming prompt. Left: work in time, over what an
    engine with all its places taken does. Right: long prompts in time. Means of twelve draws.

    Alt: Two panels against the load, from below the ceiling to twice it. In the left one a curve
    without a limit falls to zero just past the ceiling, and the curves for three limits stay near
    the most. In the right one the share of long prompts falls for all, slowly for the limit on
    requests and vLLM's on tokens, which lie side by side, and fast for the one that counts the
    prompt itself.
    """
    figure.set_size_inches(5.8, 3.0)
    left, right = figure.subplots(1, 2)
    places = _places(CHAT)
    loads = [100 * load for load in LOADS]
    for policy, colour, line in (
        ("nothing", "C3", "o-"),
        ("requests", "C0", "o-"),
        ("tokens", "C1", "o--"),
        ("with its own", "C2", "o-"),
    ):
        runs = [_told(load, policy, _best(CHAT, policy), places) for load in LOADS]
        left.plot(loads, [100 * run.work for run in runs], line, color=colour, ms=3)
        right.plot(loads, [100 * run.long for run in runs], line, color=colour, ms=3)
    left.annotate("no limit", (120, 12), color="C3")
    left.annotate("on requests", (135, 82), color="C0")
    left.annotate("incoming too", (140, 103), color="C2")
    right.annotate("on requests", (140, 76), color="C0")
    right.annotate("on tokens", (140, 68), color="C1")
    right.annotate("incoming too", (145, 29), color="C2")
    left.set(xlabel="load [% of the ceiling]", ylabel="work in time [% of the most]", ylim=(0, 110))
    right.set(xlabel="load [% of the ceiling]", ylabel="long prompts in time [%]", ylim=(0, 103))


def check_a_limit_keeps_the_work() -> None:
    """At twice the ceiling, nothing is in time without a limit. At the worst load, near the ceiling
    or past it, a limit on requests, or on tokens as vLLM counts them, keeps nine tenths of the chat
    machine's work in time and more than half of the mixture's. A limit that counts the incoming
    prompt too keeps nearly all of chat's and five sixths of the mixture's.

    Source: `core.fleet`, each limit at its best; places that keep the promise per token.
    """
    for machine, policy, low, high in (
        (CHAT, "requests", 0.9, 0.98),
        (CHAT, "tokens", 0.9, 0.98),
        (CHAT, "with its own", 0.97, 1.05),
        (MIXTURE, "requests", 0.52, 0.7),
        (MIXTURE, "tokens", 0.52, 0.7),
        (MIXTURE, "with its own", 0.8, 0.9),
    ):
        worst = _worst(machine, policy, _best(machine, policy), _places(machine))
        checks.inside(f"{machine.name}, {policy}: work in time", worst, low, high)
        none = _served(machine, 2.0, "nothing", 0.0, _places(machine)).work
        checks.inside(f"{machine.name}, no limit: work in time", none, 0.0, 0.02)


def check_whom_a_limit_serves() -> None:
    """With a limit on tokens that counts the incoming prompt, more requests are answered in time
    than with one on requests, but fewer long ones. With vLLM's, which does not count it, as many
    are as with the limit on requests, and these two treat long and short prompts nearly alike, on
    the mixture less so.

    Source: the same runs, at twice the ceiling.
    """
    for machine in (CHAT, MIXTURE):
        places = _places(machine)
        requests, blind, tokens = (
            _served(machine, 2.0, policy, _best(machine, policy), places)
            for policy in ("requests", "tokens", "with its own")
        )
        label = machine.name
        got = [requests, tokens]
        checks.holds(f"{label}: more", tokens.requests > 1.2 * requests.requests, got=got)
        checks.holds(f"{label}: fewer long ones", tokens.long < 0.6 * requests.long, got=got)
        as_many = blind.requests / requests.requests
        checks.inside(f"{label}: vLLM's over requests", as_many, 0.9, 1.1)
        for name, run in (("requests", requests), ("vLLM's", blind)):
            ratio = run.long / run.short
            least = 0.8 if machine is CHAT else 0.7
            checks.inside(f"{label}: alike to {name}", ratio, least, 1.2)


def check_places_keep_the_promise_per_token() -> None:
    """In a full engine with the places that the page names, the promised share of requests keep
    their time per token, to half of one in a hundred (on the mixture to three), and clearly fewer
    with a fifth more places. On chat, these are four fifths of the places with which the mean keeps
    it. With all places, the limit on requests keeps less than half of the work it keeps with these.

    Source: engines at nearly twice their ceiling, the middle half of the requests, one draw and
    four; for the mean `share_tokens`' line of a step; the same limit.
    """
    for machine, requests, draws, near in (
        (CHAT, 16_000, 1, 0.005),
        (L40S, 16_000, 1, 0.005),
        (MIXTURE, 2000, 4, 0.03),
    ):
        share, middle = machine.promise.share, slice(requests // 4, 3 * requests // 4)
        for more, low, high in ((1.0, share - near, 1.0), (1.2, 0.0, share - 2 * near)):
            places, kept = round(more * _places(machine)), list[float]()
            for seed in range(draws):
                rng, rate = np.random.default_rng(seed), 1.8 * machine.ceiling_per_s
                tokens_s = run_engine(machine, rate, requests, rng, places=places).tpot_s[middle]
                known = tokens_s[~np.isnan(tokens_s)]
                kept.append(float(np.mean(known <= machine.promise.tpot_s)))
            label = f"{machine.name}, {places} places: kept per token"
            checks.inside(label, float(np.mean(kept)), low, high)
    line = step_line(CHAT)  # of a step; each in the engine adds its own to everybody's token
    own_s = line.sequence_s + line.prompt_s / line.later_tokens
    mean = (CHAT.promise.tpot_s - line.fixed_s) / own_s
    checks.inside("over those that keep the mean", _places(CHAT) / mean, 0.78, 0.84)
    setting = _best(CHAT, "requests")
    few, every = (_served(CHAT, 2.0, "requests", setting, n).work for n in (_places(CHAT), 256))
    checks.holds("work in time", every < 0.5 * few, got=[every, few])


def check_of_those_let_in() -> None:
    """Past the ceiling, the chat machine keeps its promise to 99 in a hundred of the requests that
    a limit on requests lets in, and with all its places to fewer than half of them.

    Source: the same runs, the limit at its best.
    """
    setting = _best(CHAT, "requests")
    for load in (1.2, 2.0):
        kept = _served(CHAT, load, "requests", setting, _places(CHAT)).let_in
        checks.inside(f"at {load}: kept", kept, 0.985, 1.0)
    every = _served(CHAT, 2.0, "requests", setting, CHAT.places).let_in
    checks.inside("all places: kept", every, 0.0, 0.5)


def check_a_limit_must_not_cost_below() -> None:
    """Below the ceiling, with refusals counted as broken promises, the page's limit on requests
    keeps the promise of each machine; on the mixture, the limit that keeps the most work past the
    ceiling does not.

    Source: the same engine, three draws.
    """
    for machine, load in ((MIXTURE, 0.5), (CHAT, 0.8)):
        kept = _calm(machine, "requests", _best(machine, "requests"), load)
        label = f"{machine.name}, at {load}: kept"
        checks.inside(label, kept, machine.promise.share, 1.0)
    settings, places = POLICIES["requests"][1], _places(MIXTURE)
    past = max(settings, key=lambda one: _worst(MIXTURE, "requests", one, places))
    kept = _calm(MIXTURE, "requests", past)
    checks.inside("mixture, best past the ceiling: kept", kept, 0.0, MIXTURE.promise.share)


def check_who_comes_within_a_step_waits_too() -> None:
    """Where every arrival waits for the end of a step, a limit of one refuses a tenth of the chat
    machine's requests at half load, although places are free, and a limit of three a hundredth. A
    time-out of the wait, at half of the promise, refuses next to none.

    Source: the same engine, three draws.
    """
    for policy, setting, low, high in (
        ("requests", 1.0, 0.07, 0.14),
        ("requests", 3.0, 0.003, 0.015),
        ("a time-out of the wait", 0.5, 0.0, 0.001),
    ):
        refused = 1 - _calm(CHAT, policy, setting, 0.5)
        checks.inside(f"{policy}, {setting:g}: refused", refused, low, high)


def check_where_half_is_below_three() -> None:
    """On an L40S, half of what a full engine finishes within the promise is one request. There a
    time-out of half of the promise keeps nine tenths of the work that its places carry, and so does
    a limit of one, which refuses a tenth at half load. A limit of three keeps less than two thirds
    of what the time-out keeps.

    Source: the same engine, three draws.
    """
    half = queue_room(_ended_per_s(L40S), L40S.promise.ttft_s)
    checks.equal("half of what is ended", half, 1, kind="simulation")
    carried = L40S.limited(_places(L40S)).ceiling_per_s / L40S.ceiling_per_s
    for load in (1.2, 2.0):
        late = _work(L40S, load, "a time-out of the wait", 0.5)
        checks.inside(f"at {load}: a time-out over what is carried", late / carried, 0.87, 1.0)
        one, three = (_work(L40S, load, "requests", most) for most in (1.0, 3.0))
        checks.inside(f"at {load}: one over a time-out", one / late, 0.95, 1.1)
        checks.inside(f"at {load}: three over a time-out", three / late, 0.0, 0.67)
    refused = 1 - _calm(L40S, "requests", 1.0, 0.5)
    checks.inside("one, at half load: refused or late", refused, 0.07, 0.14)


def check_half_of_what_is_ended() -> None:
    """Past the ceiling, a limit of half of what a full engine finishes within the promise keeps
    nine tenths or more of the requests that the best limit keeps, and on the mixture four fifths.
    So it does with answers two or three times as long, after prompts as many times shorter. Twice
    the best limit loses more than half of the chat machine's work.

    Source: the same engines, with other lengths.
    """
    for machine, longer in ((CHAT, 1.0), (CHAT, 3.0), (MIXTURE, 1.0), (MIXTURE, 2.0)):
        places, promise_s = _places(machine), machine.promise.ttft_s
        half = float(queue_room(_ended_per_s(machine, longer), promise_s))
        for load in (1.2, 2.0):
            kept = {
                setting: _served(machine, load, "requests", setting, places, longer=longer).requests
                for setting in {*POLICIES["requests"][1], half}
            }
            label = f"{machine.name}, answers × {longer:g}, at {load}: half over the best"
            low = 0.9 if (machine, longer) != (MIXTURE, 1.0) else 0.8  # the mixture's own vary
            checks.inside(label, kept[half] / max(kept.values()), low, 1.0)
    best = _best(CHAT, "requests")
    right, wrong = (_served(CHAT, 2.0, "requests", best * of, 195).work for of in (1.0, 2.0))
    checks.inside("twice as large, at 2: work over the best's", wrong / right, 0.0, 0.5)


def check_a_prompt_as_long_as_the_limit() -> None:
    """Where one in a hundred of the chat machine's prompts has 16,000 tokens, vLLM's limit on
    tokens refuses one in twenty of the short ones at half load. With a limit on requests, or none,
    at most one in a hundred is late.

    Source: the same engine, the limits that are best without documents.
    """
    for policy, low, high in (
        ("tokens", 0.04, 0.07),
        ("nothing", 0.0, 0.013),
        ("requests", 0.0, 0.013),
    ):
        checks.inside(f"{policy}: late", _late(policy), low, high)


def check_a_time_out_is_a_limit_if_it_is_short() -> None:
    """With service in order of arrival, a time-out of the wait for a place keeps nine tenths of the
    chat machine's work at twice the ceiling, as the limit on requests does, if it is half of the
    promised first token, and at most a quarter if it is nine tenths of it. On the mixture, the
    short one keeps as much as the limit, and the long one less. A time-out until the first token
    keeps less than a fifth of chat's work at either, unless the newest request goes first.

    Source: the same engine, two draws.
    """
    cases = (
        (" of the wait", 0.5, 0.9, 1.0),
        (" of the wait", 0.9, 0.0, 0.25),
        (", newest first", 0.9, 0.9, 1.0),
        ("", 0.5, 0.0, 0.2),
        ("", 0.9, 0.0, 0.2),
    )
    for seed, (kind, setting, low, high) in itertools.product((1, 2), cases):
        run = (setting, _places(CHAT), seed)
        work = _served(CHAT, 2.0, f"a time-out{kind}", *run).work
        checks.inside(f"draw {seed}{kind}, {setting:g}: work in time", work, low, high)
    places, half = _places(MIXTURE), queue_room(_ended_per_s(MIXTURE), MIXTURE.promise.ttft_s)
    for seed in (1, 2):
        limit, short, late = (
            _served(MIXTURE, 2.0, policy, setting, places, seed).work
            for policy, setting in (
                ("requests", float(half)),
                ("a time-out of the wait", 0.5),
                ("a time-out of the wait", 0.9),
            )
        )
        checks.inside(f"mixture, draw {seed}: short over the limit", short / limit, 0.85, 1.15)
        checks.inside(f"mixture, draw {seed}: long over short", late / short, 0.3, 0.8)


def check_a_run_is_made_again() -> None:
    """A recorded engine, run again, answers as many in time.

    Source: the record, and its command.
    """
    run = CHAT, 1.2, "with its own", _best(CHAT, "with its own"), _places(CHAT)
    checks.close("with its own", _served.again(*run), _served(*run), rtol=1e-6, kind="simulation")


if __name__ == "__main__":
    _served.make()
