"""The rules of ranks: read by a parser of their language, and run."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import yaml

from builder import ROOT
from tests.promql import Parser

NAMES = {
    "vllm": ("vllm:num_requests_running", "vllm:kv_cache_usage_perc"),
    "sglang": ("sglang:num_running_reqs", "sglang:token_usage"),
}


def rules(engine: str) -> list[dict[str, Any]]:
    file = ROOT / "docs" / "downloads" / f"parallel-ranks-{engine}.yaml"
    return [
        rule for group in yaml.safe_load(file.read_bytes())["groups"] for rule in group["rules"]
    ]


def run(engine: str, running: list[float], cache: list[float]) -> dict[str, float]:
    """The last minute of an hour in which each rank has so much."""
    series: dict[str, Any] = {
        name: {str(rank): np.full(60, value) for rank, value in enumerate(values)}
        for name, values in zip(NAMES[engine], (running, cache), strict=True)
    }
    told = {}
    for rule in rules(engine):
        value = Parser(rule["expr"], series).whole()
        name = rule.get("record") or rule["alert"]
        series[name] = {"": value}
        told[name] = float(value[-1])
    return told


@pytest.mark.parametrize("engine", list(NAMES))
def test_ranks_that_are_uneven_and_ranks_that_are_not(engine: str) -> None:
    even = run(engine, [20.0, 22.0, 18.0, 20.0], [0.5] * 4)
    assert even["ranks:busiest_over_mean:ratio"] == pytest.approx(1.1)
    assert np.isnan(even["RanksAreUneven"])
    crowded = run(engine, [40.0, 10.0, 10.0, 10.0], [0.97, 0.2, 0.2, 0.2])
    assert crowded["RanksAreUneven"] == pytest.approx(40 / 17.5)
    assert crowded["RankHasNoCacheLeft"] == pytest.approx(0.97)
    assert np.isnan(even["RankHasNoCacheLeft"])
    idle = run(engine, [4.0, 0.0, 0.0, 0.0], [0.1] * 4)
    assert np.isnan(idle["RanksAreUneven"])  # hardly anybody runs


@pytest.mark.parametrize("engine", list(NAMES))
def test_rules_have_the_form_of_prometheus(engine: str) -> None:
    for rule in rules(engine):
        if "record" in rule:
            assert rule.keys() == {"record", "expr"}
        else:
            assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}


def test_the_page_shows_rules_of_the_file() -> None:
    page = (ROOT / "docs" / "machine" / "parallelism.md").read_text("utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in (ROOT / "docs/downloads/parallel-ranks-vllm.yaml").read_text("utf-8")
    for engine, names in NAMES.items():
        assert f"](../downloads/parallel-ranks-{engine}.yaml)" in page
        assert all(name in page for name in names)
