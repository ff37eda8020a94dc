"""Routers by hand and by property, with requests that share prefixes."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    chat_workload,
)
from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.ledger import Ledger
from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import (
    ROUTERS,
    at_random,
    by_session,
    cache_aware,
    endpoint_picker,
    least_requests,
    least_work,
    power_of_two,
    round_robin,
)
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View


def view_of(requests: list[int], tree: Prefixes | None = None, size: int = 6) -> View:
    """Engines that were sent so many requests, of capacity 1,000 tokens, with blocks of 10."""
    asked = Requests([0.0] * size, [100] * size, [1] * size, prefixes=tree)
    ledger = Ledger(asked)
    blocks: Any = SimpleNamespace(parent=[], begins=[], ends=[])
    if tree is not None:
        blocks = tree.in_blocks(10)
        ledger.keep(blocks, tiers=0)
    view = View(ledger, blocks, [], 0.0, np.random.default_rng(1))
    for place, count in enumerate(requests):
        ledger.engine()
        view.caches.append(BlockCache(blocks) if tree is not None else None)
        view.opened(place, 1000)
        view.sent(place, count)
    return view


HALVES = prefixes_of_reuse([-1, 0, 0, -1, 3, 3], [0, 50, 20, 0, 100, 0], [100] * 6)


def test_round_robin_goes_around_those_that_serve() -> None:
    view = view_of([0, 0, 0])
    view.closed(1)
    assert [round_robin(0, view) for _ in range(5)] == [0, 2, 0, 2, 0]


def test_chance_reaches_all_alike() -> None:
    view = view_of([0, 0, 0, 0])
    counts = np.bincount([at_random(0, view) for _ in range(4000)])
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(4000 * 0.25 * 0.75)


def test_two_choices_never_take_the_longest_of_three() -> None:
    """The longest is taken by nobody, the shortest by two of three pairs."""
    view = view_of([5, 9, 2])
    counts = np.bincount([power_of_two(0, view) for _ in range(3000)], minlength=3)
    assert counts[1] == 0
    assert abs(counts[2] - 2000) < 4 * np.sqrt(3000 * 2 / 9)
    assert power_of_two(0, view_of([7])) == 0


def test_sessions_stay_and_only_those_of_a_lost_engine_move() -> None:
    asked = Requests(
        [0.0] * 80, [9] * 80, [1] * 80, after=[i - 1 if i % 2 else -1 for i in range(80)]
    )
    nothing: Any = SimpleNamespace()
    view = View(Ledger(asked), nothing, [], 0.0, np.random.default_rng(0))
    for place in range(4):
        view.opened(place, 1)
    before = [by_session(i, view) for i in range(80)]
    assert before[::2] == before[1::2]
    assert set(before) == {0, 1, 2, 3}
    view.closed(2)
    after = [by_session(i, view) for i in range(80)]
    assert all(old == new for old, new in zip(before, after, strict=True) if old != 2)
    assert 2 not in after


def test_cache_aware_by_hand() -> None:
    """Half of the prompt is on record at the first engine: enough at 0.3, not at 0.5; loads that
    differ by more than 4 and half as much again send it to the other."""
    view = view_of([0, 0], HALVES)
    route = partial(cache_aware, balance_abs_threshold=4)
    assert route(0, view) == 0  # nothing on record, both records empty
    view.sent(0, 1)
    assert route(1, view) == 0
    assert route(1, view, cache_threshold=0.5) == 0  # now all of it is there
    assert route(2, view) == 1  # only 20 of 100: to the smaller record
    view.sent(0, 5)
    assert route(1, view) == 1
    assert route(3, view, balance_rel_threshold=1e9) == 1  # balanced then, and of equal size
    assert route(4, view) == 1


def test_a_record_forgets() -> None:
    view = view_of([0, 0], HALVES)
    route = partial(cache_aware, max_tree_size=10)
    assert [route(i, view) for i in (0, 1, 3, 4)] == [0, 0, 1, 1]
    assert route(5, view) == 0
    assert view.memory["records"][0].resident == 10
    assert view.memory["records"][0].look(*view.way(0))[1] == 0


def test_endpoint_picker_by_hand() -> None:
    """Prefix 3 · 0.5 at the first, an empty queue 2 · 1 at the second, memory 2 · 0.9 against 2:
    together 3.3 against 4; with queues alike 5.3 against 4."""
    view = view_of([0, 0], HALVES)
    caches = [cache for cache in view.caches if cache is not None]
    caches[0].hold(*view.way(0))
    caches[0].release(*view.way(0))
    view.waiting, view.stored = [4, 0], [100, 0]
    assert endpoint_picker(1, view, precise=True) == 1
    view.waiting = [4, 4]
    assert endpoint_picker(1, view, precise=True) == 0
    assert endpoint_picker(1, view, precise=True, prefix_weight=0.1) == 1
    assert endpoint_picker(1, view, precise=True, max_prefix_blocks=1, kv_weight=0.0) == 0


def test_equal_scores_are_left_to_chance() -> None:
    view = view_of([0] * 3, HALVES)
    view.waiting, view.stored = [0] * 3, [0] * 3
    counts = np.bincount([endpoint_picker(0, view, precise=True) for _ in range(3000)])
    assert np.abs(counts - 1000).max() < 4 * np.sqrt(3000 * 2 / 9)


def test_a_record_of_the_picker_is_what_it_sent() -> None:
    view = view_of([0] * 3, HALVES)
    view.waiting, view.stored = [0] * 3, [0] * 3
    first = endpoint_picker(0, view)
    assert [endpoint_picker(i, view) for i in (1, 2, 1)] == [first] * 3
    assert endpoint_picker(3, view, lru_capacity_per_server=1) in (0, 1, 2)
    assert max(record.resident for record in view.memory["records"]) <= 10


def test_least_work_by_hand() -> None:
    """5 blocks to read and 12 stored against 10 to read and 6 stored, of 10 tokens each; then the
    second engine has 10 more to read, until their first token is there."""
    view = view_of([0, 0], HALVES)
    cache = view.caches[0]
    assert cache is not None
    cache.hold(*view.way(0))
    cache.release(*view.way(0))
    view.stored = [120, 60]
    assert least_work(1, view, block_tokens=10) == 1
    view.ledger.at[1] = 1
    assert least_work(2, view, block_tokens=10) == 0
    view.ledger.first_s[1] = view.now
    assert least_work(2, view, block_tokens=10) == 1
    assert least_work(1, view, prefill_load_scale=2.0, block_tokens=10) == 0


def test_a_way_to_fewer_blocks() -> None:
    """The first 100 tokens are a chain of 2, one of 3 and one of 5 blocks, as others turn off."""
    view = view_of([0], HALVES)
    depths = {most: view.way(0, most) for most in (10, 5, 3, 2, 1)}
    tree = view.tree
    for most, (chain, depth) in depths.items():
        assert depth == most
        assert tree.begins[chain] < depth <= tree.ends[chain]
    assert view.way(0, 0) == (-1, 0)


@pytest.mark.parametrize("name", sorted(ROUTERS))
def test_every_router_answers_everybody(name: str) -> None:
    """With one seed the same twice; and every request is answered, on an engine that is there."""
    rng = np.random.default_rng(4)
    size = 300
    after = np.where(rng.random(size) < 0.6, (rng.random(size) * np.arange(size)).astype(int), -1)
    after[0] = -1
    prompts = rng.integers(100, 400, size)
    shared = np.where(after >= 0, np.minimum(prompts, prompts[after]) // 2, 0)
    asked = Requests(
        np.where(after < 0, np.cumsum(rng.exponential(0.1, size)), 0.0),
        prompts, rng.integers(1, 60, size), after=after, pause_s=0.5,
        prefixes=prefixes_of_reuse(after, shared, prompts),
    )  # fmt: skip
    fleet = Fleet([EIGHT_BILLION] * 3, ROUTERS[name], caching=True, refresh_s=0.1)
    one, other = (simulate_fleet(asked, fleet, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one.completion_s, other.completion_s)
    assert not np.isnan(one.completion_s).any()
    assert set(np.unique(one.engine)) <= {0, 1, 2}
    if name in ("cache aware", "endpoint picker", "session"):
        blind = simulate_fleet(asked, dataclass_with(fleet, round_robin))
        assert one.found_tokens.sum() > 1.2 * blind.found_tokens.sum()


def dataclass_with(fleet: Fleet, route: Any) -> Fleet:
    return Fleet(fleet.engines, route, caching=True, refresh_s=0.1)


def test_least_requests_is_a_least() -> None:
    """The heap behind it gives what a look at every engine gives."""

    def checked(request: int, view: Any) -> int:
        place = least_requests(request, view)
        assert place == view.requests.index(min(view.requests))
        return place

    work = chat_workload(np.random.default_rng(9), 20.0, 3000)
    asked = Requests(work.arrival_s, work.prompt_tokens, work.output_tokens)
    simulate_fleet(asked, Fleet([EIGHT_BILLION] * 9, checked))
