"""The rules that say what a percentile is worth: read by a parser of their language, and run."""

from __future__ import annotations

import re

import numpy as np
import pytest
from serving_mathematics.definitions.latency_distribution.clumped_percentiles import design_effect
from serving_mathematics.definitions.latency_distribution.latency_distribution import (
    wilks_sample_size,
)

from .promql import Series
from .rule_files import evaluated, rule_text, rules, without_streaming

ENGINES = ("vllm", "sglang")


def run(engine: str, asked: Series, slow: Series) -> dict[str, Series]:
    count = f"{engine}:time_to_first_token_seconds"
    series = {f"{count}_count": asked, f'{count}_bucket{{le="1.0"}}': asked - slow}
    return evaluated(f"percentile-worth-{engine}", series)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_effect_is_that_of_the_chapter(engine: str) -> None:
    rng = np.random.default_rng(5)
    causes = rng.poisson(0.5, 3 * 1440)
    slow = rng.negative_binomial(np.maximum(causes, 1), 0.25) * (causes > 0)
    asked = np.full(slow.size, 400.0)
    found = run(engine, asked, slow.astype(float))
    windows = slow[-1440:].reshape(-1, 5).sum(axis=1)
    assert found["first:slow:effect"][-1] == pytest.approx(design_effect(windows), rel=0.15)
    worth = 400 * 60 / found["first:slow:effect"][-1]
    assert found["first:worth:1h"][-1] == pytest.approx(worth)
    assert np.isnan(found["PercentileOfTooFew"][-1]) == (worth >= wilks_sample_size(0.99))


@pytest.mark.parametrize("engine", ENGINES)
def test_night_and_noon_are_no_groups(engine: str) -> None:
    """Slow requests that come one by one, at a rate that follows the day, have an effect of one,
    however large the fleet."""
    minutes = np.arange(3 * 1440)
    mean = 100 * (1 + 0.8 * np.sin(2 * np.pi * minutes / 1440))
    slow = np.random.default_rng(6).poisson(mean).astype(float)
    found = run(engine, 100 * mean, slow)
    assert found["first:slow:effect"][-1] == pytest.approx(1, abs=0.75)
    whole = slow[-1440:].reshape(-1, 5).sum(axis=1)
    assert design_effect(whole) > 50  # over the whole day
    assert np.isnan(found["LimitIsNoPercentile"][-1])


@pytest.mark.parametrize("engine", ENGINES)
def test_few_requests_open_a_ticket_and_a_limit_that_nobody_exceeds_opens_one(engine: str) -> None:
    found = run(engine, np.full(3000, 3.0), np.zeros(3000))
    assert found["first:slow:effect"][-1] == 1
    assert found["first:worth:1h"][-1] == pytest.approx(180)
    assert not np.isnan(found["PercentileOfTooFew"][-1])
    assert found["LimitIsNoPercentile"][-1] == 0
    many = run(engine, np.full(3000, 3000.0), np.full(3000, 300.0))
    assert many["LimitIsNoPercentile"][-1] == pytest.approx(0.1)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_quiet_night_opens_no_ticket(engine: str) -> None:
    """By day slow requests come fifteen together; by night, at a tenth of the load, one by one,
    and an hour's thousand are worth as many: the day's effect would leave sixty-seven."""
    minutes = np.arange(3 * 1440)
    day, rng = minutes % 1440 < 960, np.random.default_rng(10)
    asked = np.where(day, 10_000 / 60, 1000 / 60)
    slow = np.where(day, 8.0 * rng.poisson(asked * 0.01 / 8), rng.poisson(asked * 0.01))
    found = run(engine, asked, slow)
    night = slice(2 * 1440 + 960 + 60, 3 * 1440)
    assert (found["first:worth:1h"][night] < 299).all()
    assert np.isnan(found["PercentileOfTooFew"][night]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_queues_of_a_quarter_of_an_hour_are_seen_in_part(engine: str) -> None:
    """Of slow requests that one cause spreads so far, the rule's effect is a third or less of D."""
    rng, minutes = np.random.default_rng(11), 10 * 1440
    sizes = rng.geometric(1 / 9, rng.poisson(minutes * 0.1))
    at = np.repeat(rng.uniform(0, minutes, sizes.size), sizes)
    at = at + rng.uniform(0, 15, at.size)
    slow = np.histogram(at, np.arange(minutes + 1))[0].astype(float)
    effect = float(np.mean(run(engine, np.full(minutes, 200.0), slow)["first:slow:effect"][1440:]))
    hours = design_effect(slow.reshape(-1, 120).sum(axis=1))
    assert 0.1 < effect / hours < 1 / 3


def test_the_number_is_that_of_wilks() -> None:
    for engine in ENGINES:
        found = rules(f"percentile-worth-{engine}")
        alert = next(rule for rule in found if rule.get("alert") == "PercentileOfTooFew")
        assert alert["expr"].startswith(f"first:worth:1h < {wilks_sample_size(0.99)} and ")
        assert alert["labels"]["severity"] == "ticket"


def test_files_differ_in_the_engine_alone() -> None:
    mine, other = (rule_text(f"percentile-worth-{engine}") for engine in ENGINES)
    mine = re.sub(
        r"# Where prompts have engines of their own.*\n", "", mine
    )  # one tells, of SGLang
    assert mine.replace("vllm:", "sglang:").replace("vLLM", "SGLang") == without_streaming(other)
