"""What stays in a cache against a sum over requests, and the rules that are handed out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.machines.machines import AGENTS
from serving_mathematics.optimization.caching.kept_sessions import (
    TOKEN_BYTES,
    found_share,
    lifetime,
)

from tests.promql import Series
from tests.rule_files import FOUND, STEPS, evaluated, rule_text, rules

RETURNS = st.one_of(st.floats(0.01, 1e4), st.just(math.inf))
ROWS = st.lists(st.tuples(st.floats(1, 1e5), RETURNS), min_size=1, max_size=12)
NAMES = {engine: (FOUND[engine], f"{engine}:prompt_tokens_total") for engine in ("vllm", "sglang")}
LINE = {"vllm": "vllm:num_requests_waiting", "sglang": "sglang:num_queue_reqs"}
FIRST = {engine: f"{engine}:time_to_first_token_seconds_count" for engine in ("vllm", "sglang")}
LOST = {"vllm": "vllm:num_preemptions_total", "sglang": "sglang:num_retracted_requests_total"}


@given(ROWS, st.floats(0.01, 100), st.floats(1, 1e7))
def test_so_long_a_stay_fills_the_cache(
    rows: list[tuple[float, float]], rate: float, room: float
) -> None:
    contexts, returns = np.array(rows).T
    stays = lifetime(room, rate, contexts, returns)
    held = rate * float(np.mean(contexts * np.minimum(returns, min(stays, 1e12))))
    if math.isinf(stays):
        assert np.isfinite(returns).all()
        assert held <= room * (1 + 1e-9)
    else:
        assert held == pytest.approx(room, rel=1e-9)


@given(ROWS, st.floats(0.01, 1e4))
def test_what_returns_in_time_is_found(rows: list[tuple[float, float]], stays: float) -> None:
    prompts, since = np.array(rows).T
    repeated = prompts / 2
    by_hand = sum(old for old, s in zip(repeated, since, strict=True) if s <= stays)
    assert found_share(stays, prompts, repeated, since) == pytest.approx(by_hand / prompts.sum())


def test_bytes_a_token_are_those_of_the_model() -> None:
    layers = AGENTS.deployment.architecture.layers
    numbers = sum(count * attention.cached_values for count, attention, _ in layers)
    assert 2 * numbers == TOKEN_BYTES


@pytest.mark.parametrize("engine", list(NAMES))
def test_rules_fire_when_the_cache_forgets(engine: str) -> None:
    found, asked = NAMES[engine]
    share = np.where(np.arange(240) < 120, 0.92, 0.6)
    lost = np.where(np.arange(240) < 180, 1.0, 60.0)
    series = {asked: 60 * 50_000 * np.ones(240), LOST[engine]: lost}
    series[FIRST[engine]] = 600 * np.ones(240)
    series[found] = share * series[asked]
    series = evaluated(f"engine-cache-{engine}", series)
    forgets, short = (~np.isnan(series[name]) for name in ("CacheForgets", "MemoryShort"))
    assert not forgets[:120].any()
    assert forgets[135:].all()
    assert not short[:180].any()
    assert short[195:].all()
    assert series["engine:cache_missed:ratio15m"][60] == pytest.approx(0.08)


@pytest.mark.parametrize("engine", list(NAMES))
def test_the_line_is_told_half_an_hour_before_the_cache(engine: str) -> None:
    """A burst from minute 60 on, with the agents' line and what their cache finds."""
    found, asked = NAMES[engine]
    series = {asked: 60 * 50_000 * np.ones(240), LOST[engine]: np.zeros(240)}
    burst = np.arange(240) >= 60
    series[found] = np.where(burst, 0.05, 0.92) * series[asked]
    series[LINE[engine]] = np.where(burst, 60.0, 2.0)
    told = evaluated(f"engine-cache-{engine}", series)
    waits = {one["alert"]: int(one["for"][:-1]) for one in rules(f"engine-cache-{engine}")[2:]}
    line, forgets = (
        int(np.flatnonzero(~np.isnan(told[name]))[0]) + waits[name]
        for name in ("LineOutgrowsCache", "CacheForgets")
    )
    assert 60 < line <= 75
    assert forgets >= line + 30


def quiet(engine: str, found: Series | None) -> set[str]:
    """The alerts on an engine with so much found in each minute, that stay for as long as they ask;
    None where the counter has not come yet."""
    hits, asked = NAMES[engine]
    series = {asked: 60 * 50_000 * np.ones(240), LOST[engine]: np.zeros(240)}
    if found is not None:
        series[hits] = found * series[asked]
    told = evaluated(f"engine-cache-{engine}", series)
    waits = {one["alert"]: int(one["for"][:-1]) for one in rules(f"engine-cache-{engine}")[2:]}
    stayed = {
        name: max(
            len(run)
            for run in "".join("-" if math.isnan(x) else "x" for x in told[name]).split("-")
        )
        for name in waits
    }
    return {name for name, minutes in stayed.items() if minutes > waits[name]}


def test_requests_that_were_aborted_have_missed_nothing() -> None:
    """SGLang ends each with all of its prompt and nothing found: of a cache that finds 92% these
    counters say 74% where one request in five is aborted, and those of the steps what was."""
    minutes = np.ones(240)
    series = {"sglang:prompt_tokens_total": 60e3 * minutes, LOST["sglang"]: 0 * minutes}
    series[FOUND["sglang"]] = 0.8 * 0.92 * series["sglang:prompt_tokens_total"]
    steps = {"prefill_compute": 0.08, "prefill_cache": 0.92}
    named = {f'{STEPS}{{mode="{mode}"}}': 60e3 * share * minutes for mode, share in steps.items()}
    told = evaluated("engine-cache-sglang", series | named)
    assert told["engine:cache_missed:ratio15m"][60] == pytest.approx(0.08)
    assert np.isnan(told["CacheForgets"]).all()


@pytest.mark.parametrize("engine", list(NAMES))
def test_a_restart_is_no_forgetting_and_a_cache_that_finds_nothing_is(engine: str) -> None:
    minute = np.arange(240)
    assert quiet(engine, np.where((minute > 60) & (minute < 75), 0.0, 0.92)) == set()
    assert quiet(engine, np.where(minute > 60, 0.6, 0.92)) == {"CacheForgets"}
    assert quiet(engine, None) == {"CacheForgets"}  # silent before: the counter was not there


def test_files_are_of_one_form() -> None:
    for engine in NAMES:
        assert LOST[engine] in rule_text(f"engine-cache-{engine}")
        alerts = [rule["alert"] for rule in rules(f"engine-cache-{engine}") if "alert" in rule]
        assert alerts == ["CacheForgets", "LineOutgrowsCache", "MemoryShort"]


def test_sessions_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match=r"returns_s must be of shape \(1,\)"):
        lifetime(1.0, 1.0, [1.0], [])
