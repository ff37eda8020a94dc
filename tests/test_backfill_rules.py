"""The rules of batch work beside online work: read by a parser of their language, and run."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.intuition.batch_vs_online.exercises import places_for_promise
from serving_mathematics.intuition.batch_vs_online.filled_engines import _best, _cells

from builder import ROOT

from .promql import Series, Vector
from .rule_files import RUNNING, WAITING, at_the_end, rule_text, vectors


def per_token(engine: str, gap_s: Vector) -> dict[str, Vector]:
    """Series of each instance's mean time per token, with 6,000 later tokens a minute, and as many
    answers of a single token."""
    tokens = {name: 6000 + 0 * one for name, one in gap_s.items()}
    spent = {name: 6000 * one for name, one in gap_s.items()}
    if engine == "sglang":
        gaps = "sglang:inter_token_latency_seconds"
        return {f"{gaps}_sum": spent, f"{gaps}_count": tokens}
    answers = "vllm:request_generation_tokens"
    return {
        "vllm:request_decode_time_seconds_sum": spent,
        f"{answers}_sum": {name: 2 * one for name, one in tokens.items()},
        f"{answers}_count": tokens,
    }


def run(engine: str, running: float, waiting: float, gap_s: float) -> dict[str, float]:
    """The last minute of an hour."""
    steady = np.ones(60)
    series: dict[str, Series | Vector] = {
        RUNNING[engine]: running * steady,
        WAITING[engine]: waiting * steady,
        **per_token(engine, {"": gap_s * steady}),
    }
    return at_the_end(f"backfill-{engine}", series)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_too_much_and_too_little_are_told(engine: str) -> None:
    best = _best("chat", "places and priority")
    full = run(engine, best["places"], 300.0, best["mean"]["token_s"])
    assert np.isnan(full["BatchWorkSlowsEverybody"])
    assert np.isnan(full["ValleyIsEmpty"])
    most = next(c for c in _cells("chat") if c["rule"] == "priority")
    slow = run(engine, CHAT.places, 300.0, most["mean"]["token_s"])
    assert slow["BatchWorkSlowsEverybody"] == pytest.approx(most["mean"]["token_s"])
    assert run(engine, 40.0, 0.0, 0.015)["ValleyIsEmpty"] == pytest.approx(40)
    assert run(engine, 0.0, 0.0, np.nan)["ValleyIsEmpty"] == 0  # nothing over nothing is no number
    assert np.isnan(run(engine, 40.0, 9.0, 0.015)["ValleyIsEmpty"])
    # a few long documents in flight, on purpose: places are free, and tokens as slow as they may be
    assert np.isnan(run(engine, 40.0, 0.0, 0.035)["ValleyIsEmpty"])


@pytest.mark.parametrize("engine", list(RUNNING))
def test_the_numbers_are_those_of_the_machine(engine: str) -> None:
    text = rule_text(f"backfill-{engine}")
    places = _best("chat", "places and priority")["places"]
    assert f"> 0.8 * {places}\n" in text
    assert f"< 0.5 * {places} " in text
    assert f"> {CHAT.promise.tpot_s / 1.2:.3f} " in text
    assert f">= 0.6 * {CHAT.promise.tpot_s / 1.2:.3f}\n" in text
    promise = f"{1e3 * CHAT.promise.tpot_s:g} ms for {CHAT.promise.share:.0%}, over 1.2)"
    assert promise in text
    page = (ROOT / "docs" / "intuition" / "batch-vs-online.md").read_text("utf-8")
    assert f"--max-num-seqs {places} " in page
    prompt, answer = CHAT.sample.prompt_tokens.mean(), CHAT.sample.output_tokens.mean()
    assert f",H100,{prompt:.0f},{answer:.0f},{places}\\n" in page


def test_a_tenth_fewer_places_than_keep_the_promise_are_best() -> None:
    """Than exercise 2 finds on the machine of the simulation, whose tokens a second follow."""
    few, many = ((n, CHAT.limited(n).ceiling_tokens_per_s) for n in (64, 256))
    found = places_for_promise(few, many, CHAT.promise.tpot_s, 1.2)
    best = _best("chat", "places and priority")["places"]
    assert best / found == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_each_engine_of_a_fleet_is_looked_at(engine: str) -> None:
    """One valley and one engine that is too full, beside eight that are as they should be."""
    best, steady = _best("chat", "places and priority"), np.ones(60)
    running = {f"engine {i}": float(best["places"]) for i in range(8)} | {"idle": 40.0, "full": 250}
    gaps = dict.fromkeys(running, best["mean"]["token_s"]) | {"full": 0.05, "idle": 0.015}
    waiting = dict.fromkeys(running, 9.0) | {"idle": 0.0}
    series: dict[str, Series | Vector] = {
        RUNNING[engine]: {name: value * steady for name, value in running.items()},
        WAITING[engine]: {name: value * steady for name, value in waiting.items()},
        **per_token(engine, {n: gaps[n] * steady for n in gaps}),
    }
    told = vectors(f"backfill-{engine}", series)
    for alert, name in (("ValleyIsEmpty", "idle"), ("BatchWorkSlowsEverybody", "full")):
        assert [n for n, value in told[alert].items() if not np.isnan(value[-1])] == [name]
