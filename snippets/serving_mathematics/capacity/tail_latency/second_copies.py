"""Engines side by side, and a second copy of a request whose first token does not come.

Each engine plans every step anew: whoever decodes gets a token, and what that leaves of the token
budget goes to prompts, in order of arrival or the shortest first, to each no more than a limit. A
request goes to the engine with the fewest, or with the fewest unread tokens: those of prompts that
have no first token yet. If its own does not come within a delay, a second copy goes to another
engine, and the first token that comes counts. The loser is then cancelled, or runs on to the end of
its answer, because nobody told the engine.

Assumes: memory for whatever runs; routing and cancelling take no time; only the first copy finds
what is cached, because requests are sent where their prefix is.

Source: `core.batching` for steps; Dean and Barroso (2013); vLLM's `long_prefill_token_threshold`.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_positive_integer,
    require_shape,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
BURST = 10.0  # most second copies that an unused budget saves up
ARRIVES, LATE, STEPS = 0, 1, 2  # events, in their order at one moment


@dataclass(frozen=True, eq=False)
class Copies:
    """What became of each request, shape (n,): when a step first read of it, its first token and
    its last [s]; whether a second copy left, and whether that one was first."""

    read_s: FloatArray
    first_token_s: FloatArray
    completion_s: FloatArray
    sent: npt.NDArray[np.bool_]
    won: npt.NDArray[np.bool_]


@dataclass(eq=False)
class _Copy:
    request: int
    number: int  # 0 is the first
    asked: int  # tokens of its prompt that it does not find
    left: int  # of them
    place: int
    over: bool = False


# In one piece: one loop, whose numbers are all of its state: as locals they are read fastest.
def serve_copies(
    asked: Workload,
    engine: Engine,
    engines: int,
    *,
    counted: Literal["requests", "tokens"] = "requests",
    order: Literal["arrival", "shortest"] = "arrival",
    most_tokens: float = math.inf,
    after_s: float = math.inf,
    runs_on: bool = False,
    budget: float = math.inf,
    homes: npt.ArrayLike | None = None,
    pauses: Sequence[tuple[int, float, float]] = (),
) -> Copies:
    """Serve requests on engines that are alike.

    asked: arrivals and lengths; cached tokens are found by first copies. counted: of what the
    engine of a copy has fewest, requests or unread tokens, and of equal ones requests. order: in
    which prompts are read. most_tokens: of a prompt in one step. after_s: delay of a second copy;
    infinite for none. runs_on: whether the loser is served to its end. budget: second copies for
    each request. homes: the engine of each first copy, where it is not the one with the fewest.
    pauses: engine, begin and end [s] of a time in which it begins no step. Raises ValueError unless
    there is an engine, and a second one for second copies, on more than 1000 of them, on homes and
    pauses of none, and on limits that are not positive.

    >>> asked = Workload([0.0, 0.0], [6, 2], [1, 1])
    >>> one = Engine(step_s=1.0, token_budget=4, max_sequences=4)
    >>> serve_copies(asked, one, 1).first_token_s.tolist()
    [2.0, 2.0]
    >>> serve_copies(asked, one, 1, order="shortest").first_token_s.tolist()
    [2.0, 1.0]
    """
    engines = int(require_positive_integer(engines=engines))
    most_tokens, after_s, budget = as_number(
        most_tokens=most_tokens, after_s=after_s, budget=budget
    )
    require(counted in ("requests", "tokens"), "counted", "requests or tokens", counted)
    require(order in ("arrival", "shortest"), "order", "arrival or shortest", order)
    require(most_tokens >= 1, "most_tokens", "at least 1", most_tokens)
    require(budget > 0, "budget", "positive", budget)
    bound = after_s >= 0 and (engines > 1 or after_s == math.inf)
    require(bound, "after_s", "non-negative, and infinite for one engine", after_s)
    require(engines <= 1000, "engines", "at most 1000", engines)
    size = asked.arrival_s.size
    given = np.zeros(size) if homes is None else as_floats(homes=homes)
    require_shape((size,), homes=given)
    halts = as_floats(pauses=[*pauses, (0, 0.0, 0.0)])
    require(halts[:, 1] <= halts[:, 2], "pauses", "(engine, begin, end) in order", pauses)
    for name, places in (("homes", given), ("pauses", halts[:, 0])):
        known = np.all((places >= 0) & (places < engines) & (places % 1 == 0))
        require(known, name, f"engines, from 0 to {engines - 1}", places[:5])
    chunks = (asked.prompt_tokens / min(most_tokens, engine.token_budget)).sum()
    require_work(chunks + asked.output_tokens.sum() / 4, asked=asked.arrival_s.size)
    batch_ticks, prompt_ticks, end_ticks, _ = engine.tables(asked)
    arrival = asked.arrival_s.tolist()
    prompt, output = asked.prompt_tokens.tolist(), asked.output_tokens.tolist()
    read_s, first_s, last_s = [math.inf] * size, [math.inf] * size, [math.inf] * size
    sent, won, tokens = [False] * size, [False] * size, 0.0
    reading = [list[_Copy]() for _ in range(engines)]  # copies without their first token
    writing = [list[tuple[int, int]]() for _ in range(engines)]  # heaps: last step, request
    copies = dict[int, list[_Copy]]()
    work = [list[tuple[_Copy, int]]() for _ in range(engines)]  # of the step under way
    inside, steps, context = [0] * engines, [0] * engines, [0] * engines
    unread = [0] * engines  # tokens of prompts without a first token, as a router counts them
    busy, events = [False] * engines, [(arrival[0], ARRIVES, 0)]

    def fewest(places: Sequence[int]) -> int:
        if counted == "requests":
            return min(places, key=inside.__getitem__)
        return min(places, key=lambda place: (unread[place], inside[place]))

    def join(request: int, number: int, place: int, now: float) -> None:
        """A copy comes to an engine."""
        left = prompt[request] - (0 if number else int(asked.cached_tokens[request]))
        one = _Copy(request, number, left, left, place)
        copies.setdefault(request, []).append(one)
        reading[place].append(one)
        inside[place] += 1
        unread[place] += left
        if not busy[place]:
            busy[place] = True  # it begins when all that come at this moment are there
            heapq.heappush(events, (now, STEPS, place))

    def plan(place: int, now: float) -> None:
        """The next step of an engine, or none."""
        halts = [end for which, begin, end in pauses if which == place and begin <= now < end]
        decoding, line = len(writing[place]), reading[place]
        busy[place] = bool(line or decoding or halts)
        if halts:
            heapq.heappush(events, (max(halts), STEPS, place))
        if halts or not busy[place]:
            return
        steps[place] += 1
        chosen = work[place] = list[tuple[_Copy, int]]()
        left, ticks, chunks = engine.token_budget - decoding, batch_ticks[decoding], 0
        for one in sorted(line, key=lambda one: one.left) if order == "shortest" else line:
            if left <= 0 or decoding + len(chosen) >= engine.max_sequences:
                break
            chunk = int(min(one.left, left, most_tokens))
            done = prompt[one.request] - one.left
            ticks += prompt_ticks[done + chunk] - prompt_ticks[done]
            ticks += end_ticks * (chunk == one.left)
            left, chunks = left - chunk, chunks + chunk
            chosen.append((one, chunk))
            read_s[one.request] = min(read_s[one.request], now)
        took_s = engine.elapsed_s(1, chunks, decoding, context[place], ticks)
        context[place] += decoding
        heapq.heappush(events, (now + took_s, STEPS, place))

    def end(place: int, now: float) -> None:
        """A step is over."""
        while writing[place] and writing[place][0][0] <= steps[place]:
            _, request = heapq.heappop(writing[place])
            context[place] -= prompt[request] + output[request]
            inside[place] -= 1
            last_s[request] = min(last_s[request], now)
        chosen, work[place] = work[place], []
        for one, chunk in chosen:
            one.left -= chunk
            if one.left or one.over:
                continue
            reading[place].remove(one)
            unread[place] -= one.asked
            request = one.request
            if first_s[request] == math.inf:
                first_s[request], won[request] = now, one.number == 1
                for other in copies[request]:
                    if other is not one and not runs_on:
                        other.over = True
                        reading[other.place].remove(other)
                        inside[other.place] -= 1
                        unread[other.place] -= other.asked
            if output[request] > 1:
                heapq.heappush(writing[place], (steps[place] + output[request] - 1, request))
                context[place] += prompt[request] + 1
            else:
                inside[place] -= 1
                last_s[request] = min(last_s[request], now)

    while events:
        now, kind, which = heapq.heappop(events)
        if kind == ARRIVES:
            if which + 1 < size:
                heapq.heappush(events, (arrival[which + 1], ARRIVES, which + 1))
            tokens = min(tokens + budget, BURST)
            place = fewest(range(engines)) if homes is None else int(given[which])
            join(which, 0, place, now)
            if after_s < math.inf:
                heapq.heappush(events, (now + after_s, LATE, which))
        elif kind == STEPS:
            end(which, now)
            plan(which, now)
        elif first_s[which] == math.inf and tokens >= 1:
            tokens, sent[which] = tokens - 1, True
            free = [place for place in range(engines) if place != copies[which][0].place]
            join(which, 1, fewest(free), now)
    return Copies(*map(np.array, (read_s, first_s, last_s, sent, won)))


def check_against_the_simulator() -> None:
    """Without second copies, one engine gives every first and last token at the same time as the
    simulator of the other chapters, on the dense machine and on the mixture.

    Source: `core.batching.event_skipping`; loads at which memory holds whatever runs.
    """
    for machine, requests in ((CHAT, 300), (MIXTURE, 60)):
        rng = np.random.default_rng(3)
        drawn = draw_lengths(rng, machine.traffic, requests)
        arrivals = np.cumsum(rng.exponential(1 / (0.6 * machine.ceiling_per_s), requests))
        asked = Workload(arrivals, drawn.prompt_tokens, drawn.output_tokens, drawn.cached_tokens)
        got, expected = serve_copies(asked, machine.engine, 1), simulate(asked, machine.engine)
        first, last = expected.first_token_s, expected.completion_s
        checks.close(f"{machine.name}: first [s]", got.first_token_s, first, rtol=1e-9)
        checks.close(f"{machine.name}: last [s]", got.completion_s, last, rtol=1e-9)


def check_copies_by_hand() -> None:
    """A second copy overtakes an engine that stands still, cancelling frees it, and running on
    keeps it busy; if only the home engine has the prefix, the second copy reads what the first need
    not. If unread tokens are counted, a request goes to the engine that has as many requests but
    reads nothing.

    Source: traced by hand; steps of one second.
    """
    one = Engine(step_s=1.0, token_budget=4, max_sequences=4)
    asked = Workload([0.0, 4.0, 10.0], [4, 4, 4], [3, 1, 1])
    for runs_on, last in ((False, 11.0), (True, 12.0)):
        still = [(0, 0.0, 10.0)]
        got = serve_copies(asked, one, 2, after_s=1.0, runs_on=runs_on, homes=[0] * 3, pauses=still)
        checks.equal(f"runs on: {runs_on}, the second won", got.won.tolist(), [True, True, runs_on])
        checks.close("first tokens [s]", got.first_token_s, [2.0, 6.0, last], rtol=1e-12)
    cold = Workload([0.0], [8], [1], [7])
    got = serve_copies(cold, one, 2, after_s=0.5, homes=[0], pauses=[(0, 0.0, 2.0)])
    checks.close("the prefix at home is quicker [s]", got.first_token_s, [2.5], rtol=1e-12)
    behind = Workload([0.0, 0.5, 2.0], [12, 4, 3], [1, 5, 1])
    by_requests = serve_copies(behind, one, 2, counted="requests").first_token_s
    by_tokens = serve_copies(behind, one, 2, counted="tokens").first_token_s
    checks.close("by requests [s]", by_requests, [3.0, 1.5, 4.0], rtol=1e-12)
    checks.close("by unread tokens [s]", by_tokens, [3.0, 1.5, 3.5], rtol=1e-12)
