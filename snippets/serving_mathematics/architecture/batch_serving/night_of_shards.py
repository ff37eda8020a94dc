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
from serving_mathematics.architecture.batch_serving.offline_engine import _line
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks

FloatArray = npt.NDArray[np.float64]
ENGINES, HOURS = 4, 1.0  # of work for each
START_S, BACK_S = 120.0, 180.0  # by choice: until an engine serves, and until a killed one is back
KILLED_AT_S = 2400.0
NIGHT_S = 8 * 3600.0  # by choice, of the ten million rows
SHARDS = (4, 8, 16, 32, 64)
PAYS = {"filling and emptying": 0.0, "an engine's start too": START_S}
MISHAPS = ("all goes well", "an engine is killed", "an engine is a third slower")
Bar = tuple[int, float, float, str]


@functools.cache
def _rows_s() -> FloatArray:
    """Work of each row of the night, on an engine that is full [s]."""
    rows = round(ENGINES * HOURS * 3600 * CHAT.ceiling_per_s)
    drawn = draw_lengths(np.random.default_rng(84), CHAT.traffic, rows)
    most = CHAT.sequences_at_most
    each = float(CHAT.step_s(most)) / most
    return CHAT.prompt_s(drawn.prompt_tokens) + (drawn.output_tokens - 1) * each


@functools.cache
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


@functools.cache
def _best(pays: str) -> int:
    """How many shards the night should have, a multiple of its engines."""
    return ENGINES * round(best_shards(_rows_s(), ENGINES, _overhead_s(pays)) / ENGINES)


def _engines_for(rows: float, pays: str) -> int:
    """Engines that do so many rows in a night by the bound, in the best number of equal shards."""
    work_s, overhead_s = rows / _line("chat")[1], _overhead_s(pays)
    for engines in itertools.count(2):
        shards = math.ceil(math.sqrt((engines - 1) * work_s / overhead_s))
        if latest_finish_s(work_s, engines, overhead_s, shards, work_s / shards) <= NIGHT_S:
            break
    return engines


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    own, start = PAYS
    return SimpleNamespace(
        night_best=_best(own),
        night_best_start=_best(start),
        ten_million_running=_engines_for(1e7, own),
        ten_million_starting=_engines_for(1e7, start),
        calm_4_min=_end_s(4, own, MISHAPS[0]) / 60,
        calm_64_min=_end_s(64, own, MISHAPS[0]) / 60,
        killed_4_min=_end_s(4, own, MISHAPS[1]) / 60,
        killed_64_min=_end_s(64, own, MISHAPS[1]) / 60,
    )


def check_work_is_what_the_engine_does() -> None:
    """The work of the rows adds up to the time that a full engine takes for them, to 3%.

    Source: the rate of the record, from simulated engines.
    """
    rate = _rows_s().size / float(_rows_s().sum())
    checks.close("rows a second", rate, _line("chat")[1], rtol=0.03, kind="simulation")


def check_a_kill_costs_less_in_many_shards() -> None:
    """If an engine is killed after 40 minutes, a night of four shards ends more than half an hour
    later than without the kill, and one of 64 at most six minutes later (five, if shards do not
    start engines). If each shard starts an engine, 64 shards end more than five minutes later than
    the best number tried.

    Source: the nights, with and without the kill.
    """
    for pays, few, many in (
        ("filling and emptying", (30, 60), (0, 5)),
        (list(PAYS)[1], (30, 60), (0, 6)),
    ):
        for n, (low, high) in ((4, few), (64, many)):
            late = (_end_s(n, pays, MISHAPS[1]) - _end_s(n, pays, MISHAPS[0])) / 60
            checks.inside(f"{n} shards, {pays}: later [min]", late, low, high)
    start = list(PAYS)[1]
    best = min(_end_s(n, start, MISHAPS[1]) for n in SHARDS)
    later = _end_s(64, start, MISHAPS[1]) > best + 300
    checks.holds("64 shards, an engine's start too: 300 s later than the best", later)


def check_a_multiple_of_the_engines_ends_first() -> None:
    """An undisturbed night with the number of shards that the page names, a multiple of the
    engines, ends at most 0.2% later than with any number within three of it.

    Source: the nights.
    """
    for pays in PAYS:
        best = _best(pays)
        own = _end_s(best, pays, MISHAPS[0])
        near = [_end_s(n, pays, MISHAPS[0]) for n in range(best - 3, best + 4)]
        checks.inside(f"{best} shards, {pays}: over the earliest", own / min(near), 1.0, 1.002)
