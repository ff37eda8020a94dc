"""Four engines behind a router: the stepper against it, and the files to take along."""

from __future__ import annotations

import re

import numpy as np
import pytest
import yaml
from serving_mathematics.architecture.model_routers.four_engines import (
    example,
    stepper_four_engines,
)
from serving_mathematics.architecture.model_routers.routed_fleets import (
    CLIP_SLACKS,
    FRAMES,
    RATES,
    SITUATIONS,
    SLACKS,
    _record,
)
from serving_mathematics.core.fleet.routers import endpoint_picker
from serving_mathematics.core.machines.machines import CHAT

from builder import ROOT
from tests.promql import Parser
from tests.rule_files import rules

PAGE = ROOT / "docs/architecture/model-routers.md"
ENGINES = ("vllm", "sglang")


def test_the_stepper_shows_what_is_recorded() -> None:
    stepper = stepper_four_engines()
    fleet, first = stepper["panels"]
    running, prompts = np.array(fleet["running"]), np.array(fleet["prompts"])
    assert running.shape == (len(CLIP_SLACKS), len(RATES), FRAMES, 4)
    assert (prompts <= running).all()
    assert running.max() <= CHAT.places
    assert np.array(first["curves"][0]["values"]).shape == running.shape[:3]
    kept = np.array(stepper["readouts"][2]["values"])
    asked = _record()["slack"]["customers"]
    assert kept[2, 0] == pytest.approx(100 * asked[SLACKS.index(16)]["kept"])
    assert kept[2].min() > 95 > kept[0, 0]


def test_a_crowded_engine_is_seen() -> None:
    """Always followed, one large customer's engine has far more than the others."""
    running = np.array(stepper_four_engines()["panels"][0]["running"])
    waiting = np.array(stepper_four_engines()["panels"][0]["waiting"])
    inside = (running + waiting)[:, 1].mean(axis=1)  # slacks and engines, with a large customer
    assert inside[-1].max() > 2 * inside[-1].mean() * 0.9
    assert inside[2].max() < 1.3 * inside[2].mean()


def test_example_is_of_the_record() -> None:
    told, carried = example(), _record()["carried"]
    rates = carried["customers"]
    best = max(rates[name] for name in ("at random", "two choices", "fewest requests"))
    ratio = rates["prefix first, slack 16"] / best
    assert told.over_loads_percent == pytest.approx(100 * (ratio - 1))
    assert set(carried) == {*SITUATIONS, "eight engines", "agents"}


@pytest.mark.parametrize("engine", ENGINES)
def test_rules_say_what_the_router_does(engine: str) -> None:
    found, busiest, missed, crowded = rules(f"routing-{engine}")
    hits, asked = re.findall(r"rate\((\S+)\[30m\]\)", found["expr"])
    series = {hits: 300.0 * np.ones(90), asked: 1000.0 * np.ones(90)}
    share = Parser(found["expr"], series).whole()
    assert share[-1] == pytest.approx(0.3)
    for value, fires in ((0.3, True), (0.6, False)):
        at = Parser(missed["expr"], {found["record"]: np.full(3, value)}).whole()
        assert (~np.isnan(at)).all() == fires
    inside = re.fullmatch(r"max\((.*)\) / avg\((.*)\)", busiest["expr"].strip())
    assert inside
    assert inside[1] == inside[2]
    running, waiting = inside[1].split(" + ")
    counts = [
        Parser(inside[1], {running: np.array([a]), waiting: np.array([b])}).whole()[0]
        for a, b in ((150.0, 30.0), (30.0, 0.0), (40.0, 0.0), (22.0, 0.0))
    ]
    ratio = np.array([max(counts) / np.mean(counts)])
    for queue, fires in ((30.0, True), (0.0, False)):
        now = {busiest["record"]: ratio, waiting: np.array([queue])}
        at = Parser(crowded["expr"], now).whole()
        assert bool(~np.isnan(at)[0]) == fires


def test_the_page_shows_a_rule_and_links_the_files() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in (ROOT / "docs/downloads/routing-vllm.yaml").read_text(encoding="utf-8")
    for name in ("routing-vllm", "routing-sglang", "prefix-router"):
        assert f"](../downloads/{name}.yaml)" in page


def test_the_picker_weighs_what_was_simulated() -> None:
    """Weights and sizes of the file are the defaults of the rule that the chapter runs."""
    file = yaml.safe_load((ROOT / "docs/downloads/prefix-router.yaml").read_bytes())
    assert file["kind"] == "EndpointPickerConfig"
    (profile,) = file["schedulingProfiles"]
    weights = {one["pluginRef"]: one.get("weight") for one in profile["plugins"]}
    assert set(weights) <= {one["type"] for one in file["plugins"]}
    prefix, queue, kv, blocks, capacity, _ = endpoint_picker.__defaults__ or ()
    assert weights["prefix-cache-scorer"] == prefix
    assert weights["queue-scorer"] == queue
    assert weights["kv-cache-utilization-scorer"] == kv
    given = next(one for one in file["plugins"] if one["type"] == "prefix-cache-scorer")
    assert given["parameters"] == {
        "maxPrefixBlocksToMatch": blocks,
        "lruCapacityPerServer": capacity,
    }
