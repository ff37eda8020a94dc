"""The rules of Little's law: read by a parser of their language, and run."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.capacity.littles_law.block_lifetime import block_lifetime_s
from serving_mathematics.core.machines.machines import AGENTS

from .promql import Series
from .rule_files import at_the_end, rule_text

NAMES = {
    "vllm": {
        "running": "vllm:num_requests_running",
        "waiting": "vllm:num_requests_waiting",
        "asked": "vllm:prefix_cache_queries_total",
        "found": "vllm:prefix_cache_hits_total",
    },
    "sglang": {
        "running": "sglang:num_running_reqs",
        "waiting": "sglang:num_queue_reqs",
        "asked": "sglang:prompt_tokens_total",
        "found": "sglang:cached_tokens_total",
    },
}


def run(engine: str, inside: float, latency: float, found: float = 0.9) -> dict[str, float]:
    """The last minute of an hour with two requests a second of 40,000 tokens each."""
    names, steady = NAMES[engine], np.ones(60)
    series: dict[str, Series] = {
        names["running"]: 0.75 * inside * steady,
        names["waiting"]: 0.25 * inside * steady,
        names["asked"]: 60 * 80_000.0 * steady,
        names["found"]: 60 * 80_000.0 * found * steady,
        f"{engine}:generation_tokens_total": 60 * 800.0 * steady,
        f"{engine}:e2e_request_latency_seconds_sum": 60 * 2 * latency * steady,
    }
    return at_the_end(f"littles-law-{engine}", series)


@pytest.mark.parametrize("engine", list(NAMES))
def test_books_that_close_and_books_that_do_not(engine: str) -> None:
    assert run(engine, inside=20.0, latency=10.0)["stream:books"] == pytest.approx(1)
    for latency, silent in ((10.0, True), (7.0, False), (13.0, False), (9.0, True)):
        assert np.isnan(run(engine, 20.0, latency)["BooksDoNotClose"]) == silent
    assert np.isnan(run(engine, 0.5, 10.0)["BooksDoNotClose"])  # nearly nobody inside


@pytest.mark.parametrize("engine", list(NAMES))
def test_the_lifetime_is_that_of_the_chapter(engine: str) -> None:
    for found, silent in ((0.95, True), (0.5, False)):
        told = run(engine, 20.0, 10.0, found)
        fresh = 80_000 * (1 - found) + 800
        due = block_lifetime_s(AGENTS.cache_tokens, fresh)
        assert told["cache:lifetime:s"] == pytest.approx(due)
        assert np.isnan(told["CacheForgetsSessions"]) == silent


@pytest.mark.parametrize("engine", list(NAMES))
def test_the_cache_is_that_of_the_machine(engine: str) -> None:
    assert rule_text(f"littles-law-{engine}").count(str(AGENTS.cache_tokens)) == 2
