"""Four engines behind a router: the slider against it, and the files to take along."""

from __future__ import annotations

import math
import re
import sys

import numpy as np
import pytest
import yaml
from serving_mathematics.architecture.model_routers.four_engines import (
    example,
    slider_four_engines,
)
from serving_mathematics.architecture.model_routers.prefix_routing import _sticky
from serving_mathematics.architecture.model_routers.routed_fleets import (
    CLIP_SLACKS,
    FRAMES,
    RATES,
    SLACKS,
    _record,
)
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.machine.predictions.predict import predict_table

from builder import ROOT
from tests.promql import Series, Vector
from tests.rule_files import FOUND, rules, vectors

PAGE = ROOT / "docs/architecture/model-routers.md"
ENGINES = ("vllm", "sglang")


def test_the_slider_shows_what_is_recorded() -> None:
    slider = slider_four_engines()
    fleet, first = slider["panels"]
    running, prompts = np.array(fleet["running"]), np.array(fleet["prompts"])
    assert running.shape == (len(CLIP_SLACKS), len(RATES), FRAMES, 4)
    assert (prompts <= running).all()
    assert running.max() <= CHAT.places
    assert np.array(first["curves"][0]["values"]).shape == running.shape[:3]
    kept = np.array(slider["readouts"][2]["values"])
    again = _record()["again"]  # of the run that is played
    assert kept[2, 0] == pytest.approx(100 * again["kept"])
    assert kept[2].min() > 95 > kept[0, 0]
    token_ms = np.array(first["curves"][0]["values"]).mean(axis=2)
    assert ((token_ms > first["y"]["limit"]["at"]) == (kept < 80)).all()  # what fails is drawn


def test_a_crowded_engine_is_seen() -> None:
    """Always followed, one large customer's engine has far more than the others."""
    running = np.array(slider_four_engines()["panels"][0]["running"])
    waiting = np.array(slider_four_engines()["panels"][0]["waiting"])
    inside = (running + waiting)[:, 1].mean(axis=1)  # slacks and engines, with a large customer
    assert inside[-1].max() > 2 * inside[-1].mean() * 0.9
    assert inside[2].max() < 1.3 * inside[2].mean()


LOADS = {  # requests that run and wait
    "vllm": ("vllm:num_requests_running", "vllm:num_requests_waiting"),
    "sglang": ("sglang:num_running_reqs", "sglang:num_queue_reqs"),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("loads", "queue", "found", "due"),
    [
        ((180.0, 30.0, 40.0, 22.0), 30.0, 0.6, {"RouterCrowdsAnEngine"}),
        ((180.0, 30.0, 40.0, 22.0), 0.0, 0.6, set()),
        # of two and of three engines, one with a queue beside free places
        ((256.0, 120.0), 60.0, 0.6, {"RouterCrowdsAnEngine"}),
        ((256.0, 150.0, 140.0), 40.0, 0.6, {"RouterCrowdsAnEngine"}),
        ((250.0, 251.0, 249.0, 250.0), 30.0, 0.6, set()),  # full, and even
        ((9.0, 5.0, 5.0, 5.0), 1.0, 0.6, set()),  # so few that this is chance
        ((50.0, 52.0, 49.0, 51.0), 0.0, 0.3, {"RouterMissesPrefixes"}),
        ((0.0, 0.0, 0.0, 0.0), 0.0, math.nan, set()),
    ],
)
def test_rules_say_what_the_router_does(
    engine: str, loads: tuple[float, ...], queue: float, found: float, due: set[str]
) -> None:
    """An engine that is crowded, one that is not, and a night without requests."""
    asked = np.full(90, 0.0 if math.isnan(found) else 1000.0)
    running, waiting = LOADS[engine]
    series: dict[str, Series | Vector] = {
        running: {str(i): np.full(90, load) for i, load in enumerate(loads)},
        waiting: {str(i): np.full(90, queue if i == 0 else 0.0) for i in range(len(loads))},
        FOUND[engine]: dict.fromkeys("0123", asked * np.nan_to_num(found)),
        f"{engine}:prompt_tokens_total": dict.fromkeys("0123", asked),
    }
    told = vectors(f"routing-{engine}", series)
    alerts = ("RouterMissesPrefixes", "RouterCrowdsAnEngine")
    fired = {a for a in alerts if any(not math.isnan(one[-1]) for one in told[a].values())}
    assert fired == due


@pytest.mark.parametrize("engine", ENGINES)
def test_each_model_is_a_fleet_of_its_own(engine: str) -> None:
    for rule in rules(f"routing-{engine}"):
        aggregates = re.findall(r"\b(?:sum|max|avg)\b(.{16})", rule["expr"])
        assert set(aggregates) <= {" by (model_name)"}


def test_what_the_page_says_of_rivals_is_of_the_record() -> None:
    rates = _record()["carried"]["customers"]
    assert rates["SGLang"] <= rates["fewest requests"] < rates["SGLang, 32"]
    assert rates["Dynamo"] < rates["Dynamo, 16"]
    assert rates["endpoint picker"] < rates["llm-d"] < rates["llm-d, by requests"]
    for rows in _record()["slack"].values():  # from four requests to 32
        assert min(row["kept"] for s, row in zip(SLACKS, rows, strict=True) if 4 <= s <= 32) > 0.95


def test_the_file_has_what_was_simulated() -> None:
    """Thresholds of the file are the defaults of the rule that the chapter runs."""
    assert "](../downloads/prefix-router.yaml)" in PAGE.read_text("utf-8")
    file = yaml.safe_load((ROOT / "docs/downloads/prefix-router.yaml").read_bytes())
    assert file["kind"] == "EndpointPickerConfig"
    (profile,) = file["schedulingProfiles"]
    used = [one["pluginRef"] for one in profile["plugins"]]
    assert used == ["prefix-cache-affinity-filter", "token-load-scorer", "max-score-picker"]
    given = {one["type"]: one.get("parameters") for one in file["plugins"]}
    assert {*used, "inflight-load-producer"} < set(given)
    affinity, penalty_tokens, *_ = _sticky.__defaults__ or ()
    gate = given["prefix-cache-affinity-filter"]
    assert gate["affinityThreshold"] == affinity
    assert gate["maxTTFTPenaltyMs"] / 1000 * gate["peakPrefillThroughput"] == penalty_tokens
    assert (gate["ttftSource"], gate["explorationProbability"]) == ("prefillThroughput", 0)
    record = given["approx-prefix-cache-producer"]
    assert record == {  # in larger blocks than those of the engines
        "autoTune": False,
        "blockSizeTokens": 64,
        "lruCapacityPerServer": 500_000 // 64,
    }


def test_the_command_of_the_page_says_what_a_prefix_is_worth() -> None:
    """Two first tokens differ by the time that the chat machine takes to read the preamble."""
    shown = re.search(r"printf '(.*)' \|\n  serving-mathematics predict -", PAGE.read_text("utf-8"))
    assert shown
    head, *rows = (line.split(",") for line in shown[1].removesuffix(r"\n").split(r"\n"))
    assert len(rows) == 2
    told, *_ = predict_table("rows", head, rows, False, sys.stderr)
    columns = told.splitlines()[0].split(",")
    first, later = (
        float(row.split(",")[columns.index("predicted_ttft_s")]) for row in told.splitlines()[1:]
    )
    assert int(rows[1][2]) - int(rows[0][2]) == example().preamble
    assert 1000 * (later - first) == pytest.approx(example().saved_ms, rel=0.05)
