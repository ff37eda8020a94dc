"""The price rules that a chapter hands out: parsed and run on counters that are made up."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from serving_mathematics.intuition.latency_throughput_cost.exercises import price_on_dashboard

from builder import ROOT
from tests.promql import Parser, Series

RUNNING = {"vllm": "vllm:num_requests_running", "sglang": "sglang:num_running_reqs"}


def run(engine: str, running: Series, tokens: Series) -> dict[str, Series]:
    """Every record and alert by its name; tokens are those of each minute."""
    file = ROOT / "docs" / "downloads" / f"token-price-{engine}.yaml"
    series = {RUNNING[engine]: running, f"{engine}:generation_tokens_total": tokens}
    for group in yaml.safe_load(file.read_bytes())["groups"]:
        for rule in group["rules"]:
            name = rule.get("record") or rule["alert"]
            assert rule.keys() - {"for", "labels", "annotations"} in (
                {"record", "expr"},
                {"alert", "expr"},
            )
            series[name] = Parser(rule["expr"], series).whole()
    return series


@pytest.mark.parametrize("engine", RUNNING)
def test_rules_say_what_the_exercise_says(engine: str) -> None:
    minutes = np.arange(3 * 1440)
    running = np.where(minutes < 1440, 24.0, 2.0)
    rate = np.where(minutes < 1440, 400.0, 200.0)  # tokens a second
    told = run(engine, running, 60 * rate)
    price, wait = price_on_dashboard(2.0, 24, 400)
    assert told["tokens:gap_seconds:5m"][1000] == pytest.approx(wait / 1000)
    assert told["tokens:dollars_per_million:1d"][1439] == pytest.approx(price)
    assert ~np.isnan(told["TokensAreSlow"][1000])  # 60 ms, above 50
    assert np.isnan(told["TokensAreSlow"][2000])  # 10 ms
    assert ~np.isnan(told["TokensAreDear"]).all()
    cheap = run(engine, running, 60 * np.full(minutes.size, 4000.0))
    assert np.isnan(cheap["TokensAreDear"]).all()


def test_files_differ_in_the_engine_alone() -> None:
    mine, other = (
        (ROOT / "docs" / "downloads" / f"token-price-{engine}.yaml").read_text("utf-8")
        for engine in RUNNING
    )
    mine = mine.replace(RUNNING["vllm"], RUNNING["sglang"])
    assert mine.replace("vllm:", "sglang:").replace("vLLM", "SGLang") == other


def test_the_page_shows_a_rule_of_the_file() -> None:
    page = (ROOT / "docs" / "intuition" / "latency-throughput-cost.md").read_text("utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in (ROOT / "docs/downloads/token-price-vllm.yaml").read_text("utf-8")
    for engine in RUNNING:
        assert f"](../downloads/token-price-{engine}.yaml)" in page
