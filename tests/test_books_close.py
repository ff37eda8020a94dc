"""The rules of Little's law: read by a parser of their language, and run."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.capacity.littles_law.block_lifetime import (
    PAUSE_S,
    _sessions,
    block_lifetime_s,
)
from serving_mathematics.core.machines.machines import AGENTS

from .promql import Vector
from .rule_files import FOUND, IN_THE_DEVICE, rule_text, vectors

NAMES = {
    "vllm": {
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
        "asked": "vllm:prompt_tokens_total",
        "found": IN_THE_DEVICE,
    },
    "sglang": {
        "running": "sglang:num_running_reqs",
        "waiting": "sglang:num_queue_reqs",
        "asked": "sglang:prompt_tokens_total",
        "found": "sglang:cached_tokens_total",
    },
}


def run(engine: str, *each: tuple[float, float, float]) -> dict[str, list[float]]:
    """The last minute of an hour of engines with two requests a second of 40,000 tokens: of each
    what is inside, the latency, and the share that its cache finds."""
    names, steady = NAMES[engine], np.ones(60)
    series: dict[str, Vector] = {}

    def has(name: str, *values: float) -> None:
        series[name] = {f"{n}": value * steady for n, value in enumerate(values)}

    has(names["running"], *(0.75 * inside for inside, *_ in each))
    has(names["waiting"], *(0.25 * inside for inside, *_ in each))
    has(names["asked"], *(60 * 80_000.0 for _ in each))
    has(names["found"], *(60 * 80_000.0 * found for *_, found in each))
    has(f"{engine}:generation_tokens_total", *(60 * 800.0 for _ in each))
    has(f"{engine}:e2e_request_latency_seconds_sum", *(120 * latency for _, latency, _ in each))
    told = vectors(f"littles-law-{engine}", series)
    return {
        name: [float(value[f"{n}"][-1]) for n in range(len(each))] for name, value in told.items()
    }


@pytest.mark.parametrize("engine", list(NAMES))
def test_books_that_close_and_books_that_do_not(engine: str) -> None:
    for inside, latency, silent in (
        (20.0, 10.0, True),
        (20.0, 7.0, False),
        (20.0, 13.0, engine == "sglang"),  # whose gauges leave out whose prompts are read
        (20.0, 9.0, True),
        (20.0, 0.0, False),  # it hangs, and nothing ends
        (0.5, 10.0, True),  # nearly nobody inside
    ):
        told = run(engine, (inside, latency, 0.95))
        assert told["engine:books"] == pytest.approx([2 * latency / inside])
        assert np.isnan(told["BooksDoNotClose"]).tolist() == [silent]


@pytest.mark.parametrize("engine", list(NAMES))
def test_the_lifetime_is_that_of_one_engine(engine: str) -> None:
    """Of ten engines one forgets, and loses a quarter of its requests: it is told alone."""
    told = run(engine, (20.0, 7.0, 0.5), *[(20.0, 10.0, 0.95)] * 9)
    for name in ("CacheForgetsSessions", "BooksDoNotClose"):
        assert np.isnan(told[name]).tolist() == [False] + [True] * 9
    for lifetime, found in zip(told["engine:cache_lifetime:s"][:2], (0.5, 0.95), strict=True):
        fresh = 80_000 * (1 - found) + 800
        assert lifetime == pytest.approx(block_lifetime_s(AGENTS.cache_tokens, fresh))


def test_what_a_tier_holds_enters_the_cache_when_it_is_loaded() -> None:
    """It is computed by no step, and takes room in the device like what is."""
    names, steady = NAMES["vllm"], np.ones(60)
    series = {names["running"]: 9.0, names["waiting"]: 0.0, names["asked"]: 6e5}
    series |= {names["found"]: 3e5, FOUND["vllm"]: 5e5, "vllm:generation_tokens_total": 6e4}
    series |= {"vllm:e2e_request_latency_seconds_sum": 540.0}
    shown: dict[str, Vector] = {name: {"0": value * steady} for name, value in series.items()}
    told = vectors("littles-law-vllm", shown)["engine:cache_lifetime:s"]["0"][-1]
    assert told == pytest.approx(AGENTS.cache_tokens / 6000)


@pytest.mark.parametrize(("loaded", "silent"), [(0.0, False), (0.2, False), (0.8, True)])
def test_a_tier_that_gives_sessions_back_is_no_loss(loaded: float, silent: bool) -> None:
    """The device keeps a token for less than three pauses, and a tier gives back such a share of
    what it forgets; the rest is computed again."""
    by = "vllm:prompt_tokens_by_source_total"
    fresh = 60 * AGENTS.cache_tokens / (2 * PAUSE_S)
    series = {
        NAMES["vllm"]["running"]: 9.0,
        NAMES["vllm"]["waiting"]: 0.0,
        f'{by}{{source=~"local_compute|external_kv_transfer"}}': 0.99 * fresh,
        f'{by}{{source="external_kv_transfer"}}': 0.99 * fresh * loaded,
        "vllm:generation_tokens_total": 0.01 * fresh,
        "vllm:e2e_request_latency_seconds_sum": 540.0,
    }
    shown: dict[str, Vector] = {name: {"0": value * np.ones(60)} for name, value in series.items()}
    alarm = vectors("littles-law-vllm", shown)["CacheForgetsSessions"]["0"][-1]
    assert bool(np.isnan(alarm)) == silent


@pytest.mark.parametrize("engine", list(NAMES))
def test_the_cache_warns_before_its_sessions_are_lost(engine: str) -> None:
    """At the agents' loads: silent where nearly all is found, and not where sessions are away for
    longer than a token is kept unused."""
    assert f"3 * {PAUSE_S:g}" in rule_text(f"littles-law-{engine}")
    for load, silent in ((0.4, True), (0.5, False), (0.6, False)):
        fresh = AGENTS.cache_tokens / _sessions(AGENTS, load).lifetime
        told = run(engine, (20.0, 10.0, 1 - (fresh - 800) / 80_000))
        assert np.isnan(told["CacheForgetsSessions"]).tolist() == [silent]


@pytest.mark.parametrize("engine", list(NAMES))
def test_the_cache_is_that_of_the_machine(engine: str) -> None:
    assert rule_text(f"littles-law-{engine}").count(str(AGENTS.cache_tokens)) == 2
