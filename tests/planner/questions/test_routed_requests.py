"""Requests for a fleet behind routers, and routers by name."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import ROUTERS
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.planner.questions.questions import read_choices, read_workload
from serving_mathematics.planner.questions.routed_requests import (
    Below,
    Router,
    Routing,
    _begins_alone,
    _mixed,
    _nominal_s,
    drawn_requests,
    mean_lengths,
    read_routers,
    read_shared,
    traced_share,
)
from serving_mathematics.planner.questions.traffic import Traffic


def test_tiers_below_are_those_that_have_room() -> None:
    asked = {"rate_per_s": 5, "like": "agents", "store_gib": 3}
    for more, disk in (({}, []), ({"disk_gib": 2}, [Below("disk", 2.0, 13e9)])):
        routing = read_choices(asked | more)[0].routing
        assert routing is not None
        assert routing.below == (*disk, Below("store", 3.0, 50e9, for_all=True))


def session(start: float, tokens: int) -> Requests:
    """Two requests, of which the second repeats the first."""
    prompts = [tokens, 2 * tokens]
    tree = prefixes_of_reuse([-1, 0], [0, tokens], prompts)
    return Requests([start, 0.0], prompts, [1, 1], after=[-1, 0], pause_s=[0.0, 3.0], prefixes=tree)


def shared(asked: Requests, one: int, other: int) -> int:
    """Tokens at the beginning of two prompts that are the same."""
    tree = asked.prefixes
    assert tree is not None

    def way(request: int) -> set[int]:
        node, found = int(tree.node[request]), set()
        while node >= 0:
            found.add(node)
            node = int(tree.parent[node])
        return found

    return int(sum(tree.tokens[node] for node in way(one) & way(other)))


def test_kinds_keep_their_sessions_and_prefixes_when_they_are_mixed() -> None:
    plain = Requests([0.5, 2.0], [7, 8], [1, 1])
    both = _mixed([session(1.0, 40), plain, session(0.0, 60)])
    assert both.tenant.tolist() == [2, 2, 1, 0, 0, 1]
    assert both.after.tolist() == [-1, 0, -1, -1, 3, -1]
    assert both.prompt_tokens.tolist() == [60, 120, 7, 40, 80, 8]
    assert (shared(both, 0, 1), shared(both, 3, 4), shared(both, 1, 4)) == (60, 40, 0)
    assert both.prefixes is not None
    assert both.prefixes.node[[2, 5]].tolist() == [-1, -1]


@pytest.mark.parametrize("name", [*ROUTERS, *(name.replace(" ", "-") for name in ROUTERS)])
def test_every_router_of_the_simulator_is_found(name: str) -> None:
    assert len(read_routers(name)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("leest-work", "routers: 'leest-work' is not known; nearest: least-work"),
        ("", "routers: '' is not known; nearest: "),
        ("random,random", "routers must be of different rules (random is there), got random"),
        ("session; sticky", "of different rules (session is there), got sticky"),
        ("cache-aware; sglang:cache_threshold=0.3", "(cache-aware is there), got sglang:"),
        ("cache-aware:balance_abs_threshold=1.7", "abs_threshold must be a whole number, got"),
        ("session:x=1", "a parameter of session must be none, got 'x=1'"),
        (
            "cache-aware:cache_threshold=-1",
            "cache_threshold must be a number, not negative, got '-1'",
        ),
        ("endpoint-picker:precise=2", "routers: precise must be true or false, got '2'"),
        ("least-work:block_tokens=16,block_tokens=8", "once, got 'block_tokens=8'"),
    ],
)
def test_what_is_no_router_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match="routers") as refusal:
        read_routers(text)
    assert message in str(refusal.value)


def test_what_is_compared_for_a_fleet_says_what_was_asked() -> None:
    (router,) = read_routers("Session")
    assert router == Router("session", router.route)
    routing = Routing(2, (router,), (0.0,), 5e10)
    assert (routing.weights, routing.lost_for_s, routing.requests) == ((), 0.0, None)


def test_parameters_are_those_of_the_rule() -> None:
    one, two = read_routers("cache-aware:cache-threshold=0.5, max_tree_size=99; sglang")
    assert one.route.keywords == {"cache_threshold": 0.5, "max_tree_size": 99}  # type: ignore[attr-defined]
    assert two.route.func is one.route.func  # type: ignore[attr-defined]


def test_a_trace_at_another_rate_is_the_same_trace() -> None:
    times = np.arange(0.0, 400.0, 2.0)
    trace = Requests(times, np.arange(1, 201), np.ones(200))
    fast = traced_share(np.random.default_rng(0), trace, 200, 5.0)
    assert fast.prompt_tokens.tolist() == trace.prompt_tokens.tolist()
    assert 200 / fast.arrival_s[-1] == pytest.approx(5.0, rel=1e-9)
    few = traced_share(np.random.default_rng(0), trace, 30)
    assert few.arrival_s.tolist() == times[:30].tolist()


def test_sessions_that_begin_alone_are_spread_and_cut_where_one_looks() -> None:
    parts = _mixed([session(0.0, 10 * place + 10) for place in range(300)])
    assert _begins_alone(parts)
    spread = traced_share(np.random.default_rng(1), parts, 600, 2.0)
    assert spread.arrival_s.size == 600
    moments = _nominal_s(spread)
    assert 0 <= moments.min() < moments.max() <= 300.0 + 3.02
    later = spread.after >= 0
    assert 280 <= later.sum() <= 300  # some sessions lie across the end
    assert (spread.prompt_tokens[later] == 2 * spread.prompt_tokens[spread.after[later]]).all()
    some = traced_share(np.random.default_rng(1), parts, 150, 2.0)
    assert 110 <= some.arrival_s.size <= 190
    assert _nominal_s(some).max() <= 75.0 + 3.02


def test_bursts_are_drawn_for_what_is_no_session() -> None:
    for scv in (1.0, 9.0):
        traffic = Traffic(4.0, scv, *mean_lengths("chat", 10_000), like="chat")
        asked = drawn_requests(np.random.default_rng(3), traffic, 20_000, 10_000)
        gaps = np.diff(asked.arrival_s)
        assert gaps.var() / gaps.mean() ** 2 == pytest.approx(scv, rel=0.15)
        assert asked.arrival_s.size / asked.arrival_s[-1] == pytest.approx(4.0, rel=0.06)


def test_a_file_is_refused_by_its_line(tmp_path: Path) -> None:
    row = {"timestamp": 0, "input_length": 900, "output_length": 0, "hash_ids": [1]}
    rows = [row, row | {"timestamp": 5, "hash_ids": [1, 2, 3]}]
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(ValueError, match=r"trace\.jsonl: line 2: hash_ids must be 2 or 1 blocks"):
        read_shared(str(path))
    path.write_text(json.dumps(row), encoding="utf-8")
    assert read_shared(str(path)).output_tokens.tolist() == [1]
    with pytest.raises(ValueError, match="trace_columns must be left out: the names of this trace"):
        read_shared(str(path), "time=timestamp")


def test_a_file_that_tells_nothing_of_sharing_is_the_same_with_routers_and_without(
    tmp_path: Path,
) -> None:
    """Milliseconds without a name were taken for seconds where there were routers."""
    path = tmp_path / "trace.csv"
    rows = [f"{180 * i},{100 + i},{0 if i == 7 else 5}" for i in range(120)]
    path.write_text("\n".join(["when,isl,osl", *rows]), encoding="utf-8")
    asked, alone = (read(str(path), "time=when") for read in (read_shared, read_workload))
    assert asked.arrival_s.tolist() == alone.arrival_s.tolist()
    assert asked.arrival_s[-1] == pytest.approx(0.18 * 119)
    assert (asked.output_tokens[7], alone.output_tokens[7]) == (1, 1)


ROWS = [
    {"timestamp": 0.18 * i, "input_length": 100 + 40 * (i % 7), "output_length": 5}
    for i in range(120)
]


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        (ROWS, ""),
        (ROWS, "unit=s"),
        ([row | {"timestamp": f"2026-01-05T10:00:{i // 2:02}Z"} for i, row in enumerate(ROWS)], ""),
        ([row | {"when": row["timestamp"] / 2} for row in ROWS], "time=when"),
        ([row | {"hash_ids": [i]} for i, row in enumerate(ROWS)], ""),
    ],
)
def test_json_lines_come_as_fast_with_routers_as_without(
    tmp_path: Path, rows: list[dict[str, object]], columns: str
) -> None:
    """Lines that name input_length were taken for Mooncake's, in milliseconds: seconds and times
    by the calendar came a thousand times as fast, and no unit could be said."""
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    asked, alone = (read(str(path), columns) for read in (read_shared, read_workload))
    assert asked.arrival_s.tolist() == alone.arrival_s.tolist()
    assert (asked.prefixes is not None) == ("hash_ids" in rows[0])


def test_few_lines_are_read_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS[:9])), encoding="utf-8")
    assert read_shared(path).arrival_s[-1] == pytest.approx(8 * 0.18 / 1000)
    with pytest.raises(ValueError, match="the trace must be at least 100 requests long, got 9"):
        read_shared(path, "unit=s")
