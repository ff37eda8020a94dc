"""A cache remembers a block for as long as it takes to fill it with others: C over what is fresh.

Let the block be what enters and leaves. Shared or not, it is in the cache once, and it enters only
when nobody finds it there. A full cache of C tokens into which r fresh tokens come each second so
keeps one for C/r on average, by Little's law, counted from its entry. Where what was used last is
kept longest, each use begins its time anew, and what is not used goes after T: the time in which as
many different tokens are used as the cache holds. A session finds its prefix if it comes back
within T, which is no longer than C/r, and the shorter the oftener prefixes are found.

`python -m serving_mathematics.capacity.littles_law.block_lifetime` runs the agents, in some
seconds, and writes records/block_lifetime.json.gz.

Assumes: a full cache that lets go of what was used longest ago; the book's agents.

Source: Little (1961); Che, Tung and Wang (2002) for one age at which all blocks are let go; own
simulation of the book's machines.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse, reused_tokens
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import AGENTS, Machine
from serving_mathematics.core.machines.sessions import sessions_under_way
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import require_non_negative, require_positive

LOADS = (0.2, 0.3, 0.4, 0.5, 0.6)  # of the agents' ceiling, at which all prefixes are found
REQUESTS = 6000
DRAWS = tuple(range(1, 17))  # whose medians are told: when a cache begins to forget is chance
PAUSE_S = 130.0  # after which nine in ten requests of the agents' sessions have come, at low load
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def block_lifetime_s(cache_tokens: float, fresh_tokens_per_s: float) -> float:
    """How long a full cache keeps a token on average from its entry, C/r [s]; the most that it is
    kept unused; infinite without fresh tokens.

    cache_tokens: C, that it holds. fresh_tokens_per_s: r, of prompts that are not found in it, and
    of answers. Raises ValueError unless the first is positive and the second non-negative.

    >>> block_lifetime_s(cache_tokens=3_000_000, fresh_tokens_per_s=5_000)
    600.0
    """
    cache_tokens = require_positive(cache_tokens=cache_tokens)
    fresh_tokens_per_s = require_non_negative(fresh_tokens_per_s=fresh_tokens_per_s)
    return cache_tokens / fresh_tokens_per_s if fresh_tokens_per_s else math.inf


class _Seen(NamedTuple):
    """Lifetime and time unused while sessions begin [s], shares of the reusable tokens that were
    found, and that came back within the time unused, and within a lifetime, and the times until
    half and nine tenths of the requests of a session come [s]."""

    lifetime: float
    unused: float
    found: float
    back: float
    back_of_lifetime: float
    away: float
    away_most: float


def _let_go_after_s(
    came: FloatArray, done: FloatArray, tokens: IntArray, session: IntArray, now: float, cache: int
) -> float:
    """How long a session has not been used whose tokens are the next to go [s].

    came, done: when each request is admitted and done [s]. tokens: that it uses, all of its
    session's. session: whose it is. cache: tokens that it holds.
    """
    inside = np.flatnonzero(came <= now)
    age = np.maximum(now - done[inside], 0.0)
    order = inside[np.argsort(age, kind="stable")]  # used last comes first
    _, first = np.unique(session[order], return_index=True)
    latest = order[np.sort(first)]
    over = np.flatnonzero(np.cumsum(tokens[latest]) > cache)
    return max(now - float(done[latest[over[0]]]), 0.0) if over.size else math.inf


def _stay_and_found(
    machine: Machine, asked: Requests, seen: Outcome
) -> tuple[npt.NDArray[np.bool_], float, float]:
    """Which requests are counted, while sessions begin; a token's stay [s]; the share found."""
    end = float(asked.arrival_s.max())  # when the last session begins; then the engine empties
    middle = (seen.completion_s > 0.3 * end) & (seen.completion_s < 0.9 * end)
    tokens = asked.prompt_tokens + asked.output_tokens
    fresh = float((tokens - seen.found_tokens)[middle].sum())
    lifetime = block_lifetime_s(machine.cache_tokens, fresh / (0.6 * end))
    total = float(reused_tokens(asked)[middle].sum())
    return middle, lifetime, float(seen.found_tokens[middle].sum()) / total


@recorded(_Seen, "block_lifetime")
def _sessions(machine: Machine, load: float, seed: int = 1) -> _Seen:
    """A machine under sessions at a share of its ceiling."""
    context = machine.deployment.architecture.context_tokens
    rng, rate = np.random.default_rng(seed), load * machine.ceiling_per_s
    asked = sessions_under_way(rng, rate, REQUESTS, context)
    seen = simulate_fleet(asked, Fleet([machine.engine], caching=True))
    middle, lifetime, found = _stay_and_found(machine, asked, seen)
    end, tokens = float(asked.arrival_s.max()), asked.prompt_tokens + asked.output_tokens
    session = np.arange(tokens.size)
    for request in np.flatnonzero(asked.after >= 0).tolist():  # after its predecessor's
        session[request] = session[asked.after[request]]
    times = [
        _let_go_after_s(
            seen.admitted_s, seen.completion_s, tokens, session, now, machine.cache_tokens
        )
        for now in np.linspace(0.3 * end, 0.9 * end, 60).tolist()
    ]
    unused = float(np.median(times))
    last = np.where(asked.after >= 0, seen.completion_s[np.maximum(asked.after, 0)], -math.inf)
    gap, reusable = seen.admitted_s - last, reused_tokens(asked)
    total = float(reusable[middle].sum())
    back, longer = (float(reusable[middle & (gap < t)].sum()) / total for t in (unused, lifetime))
    away = np.quantile(gap[middle & (asked.after >= 0)], (0.5, 0.9)).tolist()
    return _Seen(lifetime, unused, found, back, longer, *away)


def _typical(load: float) -> _Seen:
    """The agents in the median of draws."""
    runs = [_sessions(AGENTS, load, draw) for draw in DRAWS]
    return _Seen(*np.median(runs, axis=0).tolist())


def _stay_of_pause(found: float) -> float:
    """Of equally popular blocks of which a share h is to be found, C/r over the pause after which
    nine in ten uses of a block have come: h/(1 − h)/ln 10, by the same approximation."""
    return found / (1 - found) / math.log(10)


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    return SimpleNamespace(
        pause_s=PAUSE_S,
        calm_found=100 * _typical(0.4).found,
        alike_times=math.ceil(_stay_of_pause(0.9)),
    )


def figure_block_lifetime(figure: Figure) -> None:
    """As fresh tokens come faster, the cache evicts sooner, until sessions come back too late and
    make everything fresh.

    The book's agents on one engine. Left: how long the cache keeps a token from its entry, how long
    it keeps an unused one, and the median time that a session is away. Right: the share of reusable
    tokens that is found; points are simulated, the line follows the rule that a prefix is found if
    it comes back before an unused token goes. Medians of sixteen draws.

    Alt: Two panels against load from 20 to 60 percent. Left, on a logarithmic axis, two lifetimes
    fall, the unused one below the other, and cross the rising time that sessions stay away. Right,
    the share found stays near everything and then drops; points lie on the line.
    """
    figure.set_size_inches(5.8, 2.7)
    left, right = figure.subplots(1, 2)
    loads = np.array([100 * load for load in LOADS])
    seen = [_typical(load) for load in LOADS]
    left.semilogy(loads, [one.lifetime for one in seen], "o-", color="C0")
    left.semilogy(loads, [one.unused for one in seen], "o-", color="C2")
    left.semilogy(loads, [one.away for one in seen], "o-", color="C4")
    right.plot(loads, [100 * one.back for one in seen], color="C2")
    left.annotate("from its entry", (31, 1500), color="C0")
    left.annotate("unused", (20, 270), color="C2")
    left.annotate("away", (26, 16), color="C4")
    right.plot(loads, [100 * one.found for one in seen], "o", color="C1")
    right.annotate("by the rule", (22, 82), color="C2")
    right.annotate("simulated", (48.5, 8), color="C1", ha="right")
    left.set_yticks([10, 100, 1000], ["10", "100", "1,000"])
    left.set(xlabel="load [% of the ceiling]", ylabel="time [s]", ylim=(6, 4000))
    left.minorticks_off()
    right.set(xlabel="load [% of the ceiling]", ylabel="found [%]", ylim=(0, 103))


def check_mean_stay_in_a_cache() -> None:
    """In a cache that evicts the least recently used, blocks stay C/r on average from their entry,
    however often they are found again in between. Those evicted have been unused for a shorter
    time, which predicts what is found; C/r predicts too much. For equally popular blocks, of which
    a share h is found, C/r is h/(1 − h)/ln 10 times the pause within which nine in ten uses of a
    block follow.

    Source: blocks kept one by one, 60,000 uses, of 2,000 blocks with popularities 1/√k and of 200
    alike, of which a cache holds 180; entries in the middle of the run and the time until
    each left. Uses of a block at rate p find it with probability 1 − exp(−pT), Che, Tung and Wang
    (2002).
    """
    for label, popular, size in (
        ("1/√k", np.arange(1, 2001) ** -0.5, 200),
        ("alike", np.ones(200), 180),
    ):
        rng, kept, left = np.random.default_rng(6), OrderedDict[int, int](), list[int]()
        share, unused = popular / popular.sum(), list[int]()
        uses = rng.choice(share.size, 60_000, p=share)
        entered, fresh = dict[int, int](), 0
        for now, block in enumerate(uses.tolist()):
            if block in kept:
                kept.move_to_end(block)
                kept[block] = now
                continue
            kept[block] = entered[block] = now
            fresh += now > 5000
            if len(kept) > size:
                gone, used = kept.popitem(last=False)
                if now > 5000:
                    left.append(now - entered[gone])
                    unused.append(now - used)
        rate = fresh / (60_000 - 5000)
        expected, idle = block_lifetime_s(size, rate), float(np.mean(unused))
        stay = float(np.mean(left))
        checks.close(f"{label}: mean stay", stay, expected, rtol=0.03, kind="simulation")
        due, longer = (float(share @ -np.expm1(-share * t)) for t in (idle, expected))
        checks.close(f"{label}: found, unused", 1 - rate, due, rtol=0.02, kind="simulation")
        checks.holds(f"{label}: C/r says more", longer > 1.003 * (1 - rate), got=longer)
        if label != "1/√k":
            by_block = np.argsort(uses, kind="stable")
            pauses = np.diff(by_block)[np.diff(uses[by_block]) == 0]
            ratio = expected / float(np.quantile(pauses, 0.9))
            told = _stay_of_pause(size / share.size)
            checks.close(f"{label}: stay over pause", ratio, told, rtol=0.05, kind="simulation")


def check_time_unused_says_what_is_found() -> None:
    """To a fiftieth, the share of reusable tokens that is found is the share that comes back before
    an unused token goes: at every load, with other sessions, and with half of the places. C/r,
    which is longer, predicts more each time.

    Source: `core.fleet`, with its own cache of blocks, 6,000 requests each.
    """
    tried = [(AGENTS, load, 1) for load in LOADS]
    tried += [(AGENTS, 0.5, 2), (AGENTS.limited(32), 0.4, 1)]
    for machine, load, seed in tried:
        seen = _sessions(machine, load, seed)
        label = f"{machine.places} places at {load:g}, sessions {seed}"
        checks.close(f"{label}: found", seen.found, seen.back, atol=0.02, kind="simulation")
        checks.inside(f"{label}: unused", seen.unused / seen.lifetime, 0.45, 0.95)
        checks.inside(f"{label}: C/r", seen.back_of_lifetime - seen.found, 0.0, 0.1)


def check_warning_comes_before_the_fall() -> None:
    """The lifetime exceeds three times the pause within which nine in ten requests follow where
    nearly all is still found, and not where it is lost; for sessions that find nearly all at half
    of the ceiling, it is about three times.

    Source: the same runs.
    """
    for load, seed, calm in ((0.2, 1, True), (0.3, 1, True), (0.4, 1, True), (0.5, 1, False)):
        seen = _sessions(AGENTS, load, seed)
        checks.holds(f"calm at {load:g}", (seen.lifetime > 3 * PAUSE_S) == calm, got=seen.lifetime)
        if calm:
            checks.close(f"pause at {load:g} [s]", seen.away_most, PAUSE_S, rtol=0.2)
    seen = _sessions(AGENTS, 0.5, 2)
    checks.holds("at 0.5: about there", seen.lifetime < 3.1 * PAUSE_S, got=seen.lifetime)
    checks.holds("at 0.5: not lost", seen.found > 0.9, got=seen.found)


def check_quick_calls_need_more() -> None:
    """In sessions of thirty calls, eight seconds apart, nearly all is found while C/r is above
    twenty pauses, and a third or more is lost where it is still above five.

    Source: `core.fleet` on the agents' machine, exponential pauses.
    """
    calls, pause_s, answer, own = 30, 8.0, 150, 3000  # tokens of an answer, and that a call adds
    for rate_per_s, sessions, (low, high), (least, most) in (
        (2.0, 100, (20, 40), (0.99, 1.0)),
        (6.0, 200, (5, 10), (0.0, 0.67)),
    ):
        rng, turn = np.random.default_rng(1), np.tile(np.arange(calls), sessions)
        first, prompts = turn == 0, 20_000 + own * turn
        after = np.where(first, -1, np.arange(turn.size) - 1)
        asked = Requests(
            np.repeat(np.cumsum(rng.exponential(calls / rate_per_s, sessions)), calls),
            prompts,
            np.full(turn.size, answer),
            after=after,
            pause_s=np.where(first, 0.0, rng.exponential(pause_s, turn.size)),
            prefixes=prefixes_of_reuse(after, np.where(first, 0, prompts - own), prompts),
        )
        seen = simulate_fleet(asked, Fleet([AGENTS.engine], caching=True))
        _, lifetime, found = _stay_and_found(AGENTS, asked, seen)
        label, times = f"{rate_per_s:g} calls a second", lifetime / (pause_s * math.log(10))
        checks.inside(f"{label}: C/r over the pause", times, low, high)
        checks.inside(f"{label}: found", found, least, most)


def check_forgetting_feeds_itself() -> None:
    """Between 40% and 60% of the ceiling, the lifetime falls by much more than the load rises,
    because what is not found is fresh; at 60% next to nothing is found. So it is with other
    sessions, too. At 50%, how much is found is a matter of chance.

    Source: the simulated agents; load alone would divide it by 1.5.
    """
    for seed in (1, 2):
        calm, busy = _sessions(AGENTS, 0.4, seed), _sessions(AGENTS, 0.6, seed)
        checks.inside(
            f"sessions {seed}: C/r at 40% over 60%", calm.lifetime / busy.lifetime, 2.5, 9
        )
        checks.inside(f"sessions {seed}: found at 60%", busy.found, 0.0, 0.01)
    one, other = (_sessions(AGENTS, 0.5, seed).found for seed in (1, 2))
    checks.inside("found at 50%, in two runs", abs(one - other), 0.4, 1.0)


def check_a_run_is_made_again() -> None:
    """A load of the record, simulated again, has the same lifetime and shares.

    Source: the record, and its command.
    """
    checks.close(
        "at 0.2", _sessions.again(AGENTS, 0.2), _sessions(AGENTS, 0.2), rtol=1e-6, kind="simulation"
    )


if __name__ == "__main__":
    _sessions.make()
