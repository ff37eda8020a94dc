"""A night of four engines, whose rows are cut into shards, and what befalls it.

Rows like those of the chat machine's traffic, four engine-hours of them. A row's work is what it
adds to an engine that is full; a shard costs its overhead besides: an engine that fills and empties
where one follows the other, or also its start, where every shard has its own. What runs on an
engine that is killed is lost, and done again by whoever is free next.

Assumes: what `offline_engine` assumes; work that does not depend on the other rows of a shard.

Source: `machines` for the work of a row, records/offline_engine.json for the overhead.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.batch_serving.batch_serving import (
    best_shards,
    latest_finish_s,
)
from serving_mathematics.architecture.batch_serving.offline_engine import _line, _takes_s
from serving_mathematics.core.machines.machines import CHAT, INSTALLED
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks

FloatArray = npt.NDArray[np.float64]
ENGINES, HOURS = 4, 1.0  # of work for each
START_S, BACK_S = 120.0, 180.0  # by choice: until an engine serves, and until a killed one is back
KILLED_AT_S = 2400.0
NIGHT_S = 8 * 3600.0  # by choice, of the ten million rows
SHARDS = (4, 8, 16, 32, 64)
DAY_S, SPOT_S = 86_400.0, 7200.0  # between two kills of an engine: seldom, and as on spot machines
NIGHTS, TRIED = 600, (4, 8, 12, 16, 20, 24, 32)
PAYS = {"filling and emptying": 0.0, "an engine's start too": START_S}
MISHAPS = ("nothing", "an engine is killed", "an engine is a third slower")
Bar = tuple[int, float, float, str]


@functools.cache
def _rows_s() -> FloatArray:
    """Work of each row of the night, on an engine that is full [s]."""
    rows = round(ENGINES * HOURS * 3600 * CHAT.ceiling_per_s)
    drawn = draw_lengths(np.random.default_rng(84), CHAT.traffic, rows)
    most = CHAT.sequences_at_most
    each = float(CHAT.step_s(most)) / most
    return CHAT.prompt_s(drawn.prompt_tokens) + (drawn.output_tokens - 1) * each


def _shards_s(count: int) -> FloatArray:
    """Work of each of so many shards, cut by numbers of rows."""
    done = np.append(0.0, np.cumsum(_rows_s()))
    cuts = np.rint(np.linspace(0, done.size - 1, count + 1)).astype(np.int64)
    return np.asarray(np.diff(done[cuts]))


def _overhead_s(pays: str) -> float:
    """What a shard costs beside its rows [s]."""
    return PAYS[pays] + _line("chat")[0]


def _night(shards_s: FloatArray, overhead_s: float, mishap: str) -> list[Bar]:
    """What each engine does, as (engine, start, end, state), with the wait for the last one."""
    slow = [
        4 / 3 if mishap.endswith("slower") and e == ENGINES - 1 else 1.0 for e in range(ENGINES)
    ]
    free = [(0.0, engine) for engine in range(ENGINES)]
    waiting = list(range(shards_s.size))[::-1]
    bars: list[Bar] = []
    killed = mishap.endswith("killed")
    ends = [0.0] * ENGINES
    while waiting:
        now, engine = heapq.heappop(free)
        shard = waiting.pop()
        begun = now + slow[engine] * overhead_s
        end = begun + slow[engine] * float(shards_s[shard])
        if killed and engine == ENGINES - 1 and now <= KILLED_AT_S < end:
            bars.append((engine, now, KILLED_AT_S, "broken"))
            bars.append((engine, KILLED_AT_S, KILLED_AT_S + BACK_S, "starts"))
            waiting.append(shard)
            heapq.heappush(free, (KILLED_AT_S + BACK_S, engine))
            ends[engine] = KILLED_AT_S + BACK_S
            killed = False
            continue
        bars.append((engine, now, begun, "starts"))
        bars.append((engine, begun, end, "answer"))
        heapq.heappush(free, (end, engine))
        ends[engine] = end
    last = max(ends)
    bars += [(engine, end, last, "idle") for engine, end in enumerate(ends) if end < last]
    return bars


@functools.cache
def _end_s(count: int, pays: str, mishap: str) -> float:
    """When the night is over [s]."""
    return max(end for *_, end, _ in _night(_shards_s(count), _overhead_s(pays), mishap))


def _killed_end_s(
    shards_s: FloatArray, overhead_s: float, between_s: float, rng: np.random.Generator
) -> float:
    """When a night is over whose engines are killed at random, each so far apart in the mean [s];
    a killed engine is back after BACK_S, and its shard is done again by whoever is free first."""
    waiting, idle, left = list(shards_s), list[int](), shards_s.size
    events = [(0.0, engine, "free", 0.0) for engine in range(ENGINES)]
    kills = rng.exponential(between_s, ENGINES)
    now = 0.0
    while left:
        now, engine, what, work = heapq.heappop(events)
        if what == "lost":
            waiting.append(work)
            heapq.heappush(events, (now + BACK_S, engine, "free", 0.0))
        else:
            idle.append(engine)
            left -= what == "done"
        while waiting and idle:
            engine, work = idle.pop(0), waiting.pop(0)
            if kills[engine] <= now:  # when it had nothing to lose, or before it was back
                kills[engine] = now + rng.exponential(between_s)
            end = now + overhead_s + work
            lost = bool(kills[engine] < end)
            heapq.heappush(
                events, (min(kills[engine], end), engine, "lost" if lost else "done", work)
            )
    return now


@functools.cache
def _killed_min(count: int, between_s: float) -> tuple[float, float]:
    """Mean and p95 of the ends of random nights in which each shard starts an engine [min]."""
    shards_s, overhead_s = _shards_s(count), _overhead_s(list(PAYS)[1])
    rng = np.random.default_rng(3)
    ends = [_killed_end_s(shards_s, overhead_s, between_s, rng) for _ in range(NIGHTS)]
    return float(np.mean(ends)) / 60, float(np.quantile(ends, 0.95)) / 60


def _soonest(between_s: float) -> int:
    """The number of shards whose random nights end soonest in the mean."""
    return min(TRIED, key=lambda count: _killed_min(count, between_s)[0])


def _best(pays: str) -> int:
    """How many shards the night should have, a multiple of its engines."""
    return ENGINES * round(best_shards(_rows_s(), ENGINES, _overhead_s(pays)) / ENGINES)


def _engines_for(rows: float, pays: str, slower: float = 1.0) -> int:
    """Engines that do so many rows in a night by the bound, in the best number of equal shards,
    where they are so many times slower."""
    work_s = slower * rows / _line("chat")[1]
    overhead_s = PAYS[pays] + slower * _line("chat")[0]
    for engines in itertools.count(2):
        shards = math.ceil(math.sqrt((engines - 1) * work_s / overhead_s))
        if latest_finish_s(work_s, engines, overhead_s, shards, work_s / shards) <= NIGHT_S:
            break
    return engines


def _installed_slower() -> float:
    """How many times slower than the tuned engine one as installed ends rows."""
    return CHAT.ceiling_per_s / INSTALLED.ceiling_per_s


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    rows, start = _rows_s().size, "an engine's start too"
    own = _best("filling and emptying")
    few, bound = _soonest(DAY_S), _best(start)
    return SimpleNamespace(
        night_rows=rows,
        night_best=own,
        ten_million_running=_engines_for(1e7, "filling and emptying"),
        ten_million_starting=_engines_for(1e7, start),
        installed_running=_engines_for(1e7, "filling and emptying", _installed_slower()),
        installed_starting=_engines_for(1e7, start, _installed_slower()),
        night_best_start=bound,
        mean_best_day=few,
        mean_few_min=_killed_min(few, DAY_S)[0],
        mean_bound_min=_killed_min(bound, DAY_S)[0],
        tail_few_min=_killed_min(few, DAY_S)[1],
        tail_bound_min=_killed_min(bound, DAY_S)[1],
        calm_4_min=_end_s(4, "filling and emptying", MISHAPS[0]) / 60,
        calm_64_min=_end_s(64, "filling and emptying", MISHAPS[0]) / 60,
        calm_64_start_min=_end_s(64, start, MISHAPS[0]) / 60,
        killed_4_min=_end_s(4, "filling and emptying", MISHAPS[1]) / 60,
        killed_64_min=_end_s(64, "filling and emptying", MISHAPS[1]) / 60,
        killed_64_start_min=_end_s(64, start, MISHAPS[1]) / 60,
    )


def check_work_is_what_the_engine_does() -> None:
    """The rows' work adds up to what the engine takes for them when it is full, to 3%.

    Source: the rate of the record, from simulated engines.
    """
    rate = _rows_s().size / float(_rows_s().sum())
    checks.close("rows a second", rate, _line("chat")[1], rtol=0.03, kind="simulation")


def check_an_engine_as_installed_is_slower_all_night() -> None:
    """An engine as installed ends rows by as much more slowly as its ceiling is lower, to 3%, and
    takes that much longer to fill and empty, to a tenth: ten million rows take four engines more.

    Source: rows of one draw, simulated behind that front.
    """
    slower = _installed_slower()
    overhead_s, tuned_rate = _line("chat")
    few_s, many_s = (_takes_s(INSTALLED, rows) for rows in (1024, 16_384))
    rate = (16_384 - 1024) / (many_s - few_s)
    told = example()
    checks.close("rows a second", tuned_rate / slower, rate, rtol=0.03, kind="simulation")
    took_s = slower * overhead_s
    checks.close("overhead [s]", took_s, few_s - 1024 / rate, rtol=0.1, kind="simulation")
    for tuned, installed in (
        (told.ten_million_running, told.installed_running),
        (told.ten_million_starting, told.installed_starting),
    ):
        checks.equal(f"beside {tuned}", installed - tuned, 4)


def check_a_kill_costs_less_in_many_shards() -> None:
    """Killed after 40 minutes, an engine holds four shards up by more than half an hour, and 64 by
    less than five minutes; with a start for each shard the best number lies between, and 64 take
    longer than it.

    Source: the nights, undisturbed and not.
    """
    for pays, few, many in (
        ("filling and emptying", (30, 60), (0, 5)),
        (list(PAYS)[1], (30, 60), (0, 6)),
    ):
        for n, (low, high) in ((4, few), (64, many)):
            late = (_end_s(n, pays, MISHAPS[1]) - _end_s(n, pays, MISHAPS[0])) / 60
            checks.inside(f"{n} shards, {pays}: later [min]", late, low, high, kind="simulation")
    start = list(PAYS)[1]
    best = min(_end_s(n, start, MISHAPS[1]) for n in SHARDS)
    checks.holds("64 with a start each are too many", _end_s(64, start, MISHAPS[1]) > best + 300)


def check_kills_at_random_ask_for_as_many_shards_as_the_bound_or_fewer() -> None:
    """Where shards start engines and kills are a day apart, fewer shards than the bound's end
    sooner in the mean, by two minutes or more, and later in the worst twentieth by as much; two
    hours apart the bound's number is within two minutes of the best in both.

    Source: random nights, 600 of each number of shards; their standard error is below half a
    minute, and without kills a night ends as the list schedule.
    """
    start = list(PAYS)[1]
    bound = _best(start)
    few = _soonest(DAY_S)
    own, best = _killed_min(bound, DAY_S), _killed_min(few, DAY_S)
    checks.inside("fewer than the bound's", few, ENGINES, bound - ENGINES)
    checks.inside("mean, the bound's later [min]", own[0] - best[0], 2, 10, kind="simulation")
    checks.inside("p95, the bound's sooner [min]", best[1] - own[1], 2, 20, kind="simulation")
    for part, name in enumerate(("mean", "p95")):
        least = min(_killed_min(count, SPOT_S)[part] for count in TRIED)
        later = _killed_min(bound, SPOT_S)[part] - least
        checks.inside(f"spot, {name}: the bound's later [min]", later, 0, 2, kind="simulation")
    calm = _killed_end_s(_shards_s(16), _overhead_s(start), 1e15, np.random.default_rng(0))
    checks.close("without kills [s]", calm, _end_s(16, start, MISHAPS[0]), rtol=1e-9)


def check_a_multiple_of_the_engines_ends_first() -> None:
    """Undisturbed, the night ends no later with a multiple of its engines than with any number of
    shards within three of it.

    Source: the nights.
    """
    for pays in PAYS:
        best = _best(pays)
        own = _end_s(best, pays, MISHAPS[0])
        near = [_end_s(n, pays, MISHAPS[0]) for n in range(best - 3, best + 4)]
        checks.inside(f"{best} shards, {pays}: over the best near it", own / min(near), 1.0, 1.002)


def check_every_night_does_all_rows() -> None:
    """Whatever happens, each engine does one thing at a time, and all shards are done once.

    Source: bars of every night of the stepper: their gaps, and their sum.
    """
    for n in SHARDS:
        for pays in PAYS:
            for mishap in MISHAPS:
                bars = _night(_shards_s(n), _overhead_s(pays), mishap)
                rows = [b - a for _, a, b, state in bars if state == "answer"]
                label = f"{n} shards, {pays}, {mishap}"
                checks.equal(f"{label}: done", len(rows), n)
                for engine in range(ENGINES):
                    own = sorted((a, b) for lane, a, b, _ in bars if lane == engine)
                    gaps = [later[0] - earlier[1] for earlier, later in itertools.pairwise(own)]
                    checks.inside(f"{label}, engine {engine + 1}", max(map(abs, gaps)), 0, 1e-6)
