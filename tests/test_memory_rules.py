"""The rules of attention memory: read by a parser of their language, and run."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import yaml

from builder import ROOT
from tests.promql import Parser, Series

WAITING = {"vllm": "vllm:num_requests_waiting", "sglang": "sglang:num_queue_reqs"}
TAKEN = {"vllm": "vllm:kv_cache_usage_perc", "sglang": "sglang:token_usage"}


def rules(engine: str) -> list[dict[str, Any]]:
    file = ROOT / "docs" / "downloads" / f"memory-or-places-{engine}.yaml"
    return [
        rule for group in yaml.safe_load(file.read_bytes())["groups"] for rule in group["rules"]
    ]


def fires(engine: str, waiting: float, taken: float) -> set[str]:
    """Alerts of the last minute of half an hour."""
    steady = np.ones(30)
    series: dict[str, Series] = {WAITING[engine]: waiting * steady, TAKEN[engine]: taken * steady}
    told = set()
    for rule in rules(engine):
        value = Parser(rule["expr"], series).whole()
        series[rule.get("record") or rule["alert"]] = value
        if "alert" in rule and not np.isnan(value[-1]):
            told.add(rule["alert"])
    return told


@pytest.mark.parametrize("engine", list(WAITING))
def test_who_waits_for_what(engine: str) -> None:
    assert fires(engine, 5.0, 0.97) == {"MemoryEndsFirst"}
    assert fires(engine, 5.0, 0.4) == {"PlacesEndFirst"}
    assert fires(engine, 5.0, 0.8) == set()  # either may be
    assert fires(engine, 0.2, 0.97) == fires(engine, 0.2, 0.4) == set()


@pytest.mark.parametrize("engine", list(WAITING))
def test_rules_have_the_form_of_prometheus(engine: str) -> None:
    for rule in rules(engine):
        wanted = {"record", "expr"} if "record" in rule else {"alert", "expr", "for"}
        assert wanted <= rule.keys() <= wanted | {"labels", "annotations"}


def test_the_page_shows_rules_of_the_file() -> None:
    page = (ROOT / "docs" / "machine" / "attention-memory.md").read_text("utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in (ROOT / "docs/downloads/memory-or-places-vllm.yaml").read_text("utf-8")
    for engine in WAITING:
        assert f"](../downloads/memory-or-places-{engine}.yaml)" in page
