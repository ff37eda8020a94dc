"""The load from two counters: identities, and the rules that are handed out, parsed and run."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.utilization.token_load import (
    answer_ceiling,
    example,
    token_load,
)

from builder import ROOT
from tests.promql import Parser, Series

RATES = st.floats(0, 1e6)
CACHED = {"vllm": "vllm:prefix_cache_hits_total", "sglang": "sglang:cached_tokens_total"}


@given(RATES, st.floats(1e-3, 1e6), st.floats(1.001, 100))
def test_at_saturation_the_load_is_one(prompts: float, answers: float, spare: float) -> None:
    ceiling = max(prompts, 1.0) * spare
    written = answer_ceiling(prompts, answers, ceiling)
    assert token_load(prompts, answers, ceiling, written) == pytest.approx(1, rel=1e-9)
    assert written >= answers


@given(RATES, RATES, RATES, RATES)
def test_loads_of_two_streams_add_up(a: float, b: float, c: float, d: float) -> None:
    both = token_load(a + b, c + d, 5e4, 1e4)
    assert both == pytest.approx(token_load(a, c, 5e4, 1e4) + token_load(b, d, 5e4, 1e4))


def test_bad_ceilings_are_refused() -> None:
    for ceilings in ((0.0, 1.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match="_ceiling must be positive"):
            token_load(1.0, 1.0, *ceilings)
    with pytest.raises(ValueError, match="answer_per_s must be positive"):
        answer_ceiling(0.0, 0.0, 1.0)


def read(engine: str) -> tuple[str, list[dict[str, str]]]:
    text = (ROOT / f"docs/downloads/engine-load-{engine}.yaml").read_text(encoding="utf-8")
    return text, [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]


def run(engine: str, series: dict[str, Series]) -> dict[str, Series]:
    """What the rules record, and 1 where an alert's expression holds; of one instance."""
    found = dict(series)
    for rule in read(engine)[1]:
        value = Parser(rule["expr"], found).whole()
        found[rule.get("record", rule.get("alert", ""))] = value
    return found


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("has_cache", [True, False])
def test_rules_record_the_load_of_the_chapter(engine: str, has_cache: bool) -> None:
    minutes = np.ones(60)
    series = {
        f"{engine}:prompt_tokens_total": 60 * 22_000 * minutes,
        f"{engine}:generation_tokens_total": 60 * 3_000 * minutes,
    }
    if has_cache:
        series[CACHED[engine]] = 60 * 2_000 * minutes
    shown = run(engine, series)["engine:load:ratio5m"][-1]
    fresh = 20_000 if has_cache else 22_000
    due = token_load(fresh, 3_000, example().prompt_ceiling, example().answer_ceiling)
    assert shown == pytest.approx(due, rel=1e-3)


@pytest.mark.parametrize(("engine", "le"), [("vllm", "0.05"), ("sglang", "0.06")])
def test_alerts_fire_where_a_hundredth_is_late(engine: str, le: str) -> None:
    late = np.zeros(120)
    late[60:] = 0.02
    tokens, firsts = (
        f"{engine}:inter_token_latency_seconds",
        f"{engine}:time_to_first_token_seconds",
    )
    series = {
        f"{tokens}_count": 9e4 * np.ones(120),
        f'{tokens}_bucket{{le="{le}"}}': 9e4 * (1 - late),
        f"{firsts}_count": 600 * np.ones(120),
        f'{firsts}_bucket{{le="1.0"}}': 600 * np.ones(120),
    }
    fires = ~np.isnan(run(engine, series)["PromiseBreaks"])
    assert not fires[:60].any()
    assert fires[65:].all()


def test_files_are_of_one_form_and_the_page_shows_a_rule() -> None:
    page = (ROOT / "docs/definitions/utilization.md").read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    for engine in CACHED:
        text, rules = read(engine)
        assert shown[1] in text
        assert f"](../downloads/engine-load-{engine}.yaml)" in page
        alerts = [rule for rule in rules if "alert" in rule]
        assert [rule["alert"] for rule in alerts] == ["PromiseBreaks", "NoRoomLeft"]
        assert all(rule["labels"] == {"severity": "ticket"} for rule in alerts)  # type: ignore[comparison-overlap]
        for ceiling in (example().prompt_ceiling, example().answer_ceiling):
            assert f"{ceiling:.0f}" in text
