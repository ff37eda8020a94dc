"""The manifests that three chapters hand out: read, held against what their schemas ask for, with
queries of the language that Prometheus reads, and with the numbers of the pages."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from serving_mathematics.capacity.arrival_rates.real_hour import HOT, _token_costs
from serving_mathematics.capacity.autoscaling.signals import example
from serving_mathematics.capacity.overload_control import limits as queue_limits
from serving_mathematics.capacity.overload_control.outages import (
    BUDGET,
    GUARDS,
    HABITS,
    PATIENCE_S,
    _run,
)
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.report.artefacts import QUEUED

from builder import ROOT

from .promql import Parser
from .rule_files import FOUND, evaluated, rule_text, rules

ATTEMPTS = 'envoy_cluster_upstream_rq_total{envoy_cluster_name="engines"}'
WHOLE, TEXT = {"type": "integer", "minimum": 0}, {"type": "string"}
BEHAVIOR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "scaleDown": {"type": "object", "properties": {"stabilizationWindowSeconds": WHOLE}}
    },
}
# of the custom resource definition keda.sh_scaledobjects.yaml and its two scalers
KEDA = {
    "type": "object",
    "required": ["scaleTargetRef", "triggers"],
    "additionalProperties": False,
    "properties": {
        "scaleTargetRef": {"type": "object", "required": ["name"]},
        "pollingInterval": WHOLE,
        "minReplicaCount": WHOLE,
        "maxReplicaCount": WHOLE,
        "advanced": {
            "type": "object",
            "properties": {
                "horizontalPodAutoscalerConfig": {
                    "type": "object",
                    "properties": {"behavior": BEHAVIOR},
                }
            },
        },
        "triggers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["type", "metadata"],
                "additionalProperties": False,
                "properties": {
                    "type": {"enum": ["prometheus", "cron"]},
                    "metricType": {"enum": ["AverageValue", "Value", "Utilization"]},
                    "metadata": {"type": "object", "additionalProperties": TEXT},
                },
            },
        },
    },
}
# of autoscaling/v2, HorizontalPodAutoscalerSpec
HPA = {
    "type": "object",
    "required": ["scaleTargetRef", "maxReplicas"],
    "additionalProperties": False,
    "properties": {
        "scaleTargetRef": {"type": "object", "required": ["apiVersion", "kind", "name"]},
        "minReplicas": WHOLE,
        "maxReplicas": WHOLE,
        "metrics": {
            "type": "array",
            "items": {"type": "object", "required": ["type", "pods"]},
        },
        "behavior": BEHAVIOR,
    },
}


def read(name: str) -> Any:
    text = (ROOT / "docs" / "downloads" / f"autoscaling-{name}.yaml").read_text("utf-8")
    return yaml.safe_load(text)


@pytest.mark.parametrize(
    ("name", "kind", "schema"),
    [
        ("keda-vllm", "ScaledObject", KEDA),
        ("keda-sglang", "ScaledObject", KEDA),
        ("hpa-vllm", "HorizontalPodAutoscaler", HPA),
    ],
)
def test_a_manifest_is_of_its_schema(name: str, kind: str, schema: dict[str, Any]) -> None:
    manifest = read(name)
    assert manifest["kind"] == kind
    Draft202012Validator(schema).validate(manifest["spec"])
    spec = manifest["spec"]
    assert spec.get("maxReplicaCount", spec.get("maxReplicas")) > 2


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_query_is_the_mean_time_per_token(engine: str) -> None:
    """Two seconds of tokens a second and a hundred of them are twenty milliseconds, which KEDA cuts
    to thousandths, whatever other fleets do; one with nobody inside reads 0, and one that hangs, or
    has no series, nothing, which is an error that keeps the fleet."""
    signal, timetable = read(f"keda-{engine}")["spec"]["triggers"]
    assert signal["metricType"] == "Value"
    assert signal["metadata"]["ignoreNullValues"] == "false"
    query, name = signal["metadata"]["query"], f"{engine}:inter_token_latency_seconds"
    total, count = (f'{name}_{part}{{model_name="chat"}}' for part in ("sum", "count"))
    others = {f"{name}_sum": np.full(5, 9e9), f"{name}_count": np.full(5, 1.0)}
    others |= {level: np.full(5, 7.0) for level in QUEUED[engine]}
    running, waiting = (f'{level}{{model_name="chat"}}' for level in QUEUED[engine])
    inside = {running: np.full(5, 3.0), waiting: np.zeros(5)}
    series = {total: np.full(5, 2.0), count: np.full(5, 100.0)}
    assert Parser(query, others | series | inside).whole() == pytest.approx(20.0)
    idle = {total: np.zeros(5), count: np.zeros(5)}
    nobody = dict.fromkeys(inside, np.zeros(5))
    assert Parser(query, others | idle | nobody).whole() == pytest.approx(0.0)
    assert np.all(np.isnan(Parser(query, others | idle | inside).whole()))
    late = {running: np.zeros(5), waiting: np.full(5, 3.0)}
    assert np.all(np.isnan(Parser(query, others | idle | late).whole()))
    assert np.all(np.isnan(Parser(query, others).whole()))
    # a scrape a minute, as Prometheus does by itself, leaves one value in a minute: no rate
    assert "[1m]" not in query
    target_ms = float(signal["metadata"]["threshold"])
    assert target_ms == pytest.approx(example().tokens_target_ms, rel=0.02)
    for key in ("start", "end"):
        assert re.fullmatch(r"[\d*]+ [\d*]+ [\d*]+ [\d*]+ [\d*-]+", timetable["metadata"][key])
    assert {"timezone", "desiredReplicas"} <= timetable["metadata"].keys()


def test_the_page_shows_the_triggers_of_the_file() -> None:
    page = (ROOT / "docs" / "capacity" / "autoscaling.md").read_text("utf-8")
    shown = yaml.safe_load(page[page.index("  triggers:\n") : page.index("```\n\nKEDA takes")])
    assert shown["triggers"] == read("keda-vllm")["spec"]["triggers"]


def test_requests_inside_are_half_of_64_places() -> None:
    metric = read("hpa-vllm")["spec"]["metrics"][0]["pods"]
    assert metric["target"] == {"type": "AverageValue", "averageValue": "32"}


@pytest.mark.parametrize(
    ("load", "guard", "habit", "fires"),
    [
        (0.5, "nothing", "three each", True),  # the page's storm
        (0.5, "cancels", "three each", False),
        (0.5, "refuses", "three each", False),
        (0.5, "nothing", "a budget of a tenth", False),
        (0.8, "nothing", "none", False),
        (1.8, "refuses", "none", False),  # overload that a limit refuses
        (1.8, "nothing", "none", True),  # and that nothing does
    ],
)
def test_the_storm_alert_fires_in_the_storm_of_the_page(
    load: float, guard: str, habit: str, fires: bool
) -> None:
    """Clients retry, so that no retry is the gateway's, which serves others too; whether it fires
    from three minutes after the outage on, and ten minutes after it."""
    rule, *_ = rules("overload-storm-alert")
    assert guard in GUARDS
    assert habit in HABITS
    storm = _run(load, guard, habit, 780, outage_s=(120, 150))
    minutes = 60.0 * np.arange(14)
    attempts = np.histogram(storm.attempts_s, minutes)[0]
    series = {
        ATTEMPTS: attempts,
        ATTEMPTS.replace("engines", "logins"): 10 * attempts,
        "envoy_cluster_upstream_rq_total": 11 * attempts,
        'vllm:time_to_first_token_seconds_bucket{le="10.0"}': np.histogram(
            storm.outcome.first_token_s, minutes
        )[0],
        "vllm:num_requests_waiting": storm.line[
            np.searchsorted(storm.line[:, 0], minutes[1:]) - 1, 1
        ],
    }
    found = ~np.isnan(Parser(rule["expr"], series).whole())
    assert np.all(found[6:] == fires)
    assert load > 1 or not found[:2].any()
    assert rule["labels"] == {"severity": "page"}


@pytest.mark.parametrize(
    ("answered", "waiting", "fires"),
    [(None, 60.0, True), (28.0, 21.0, True), (31.0, 21.0, False), (28.0, 20.0, False)],
)
def test_the_storm_alert_fires_beyond_both_of_its_limits(
    answered: float | None, waiting: float, fires: bool
) -> None:
    """Sixty attempts a minute; and when no engine answers, of which there is no series then."""
    rule, *_ = rules("overload-storm-alert")
    series = {ATTEMPTS: np.full(9, 60.0), "vllm:num_requests_waiting": np.full(9, waiting)}
    if answered is not None:
        name = 'vllm:time_to_first_token_seconds_bucket{le="10.0"}'
        series[name] = np.full(9, answered)
    assert np.all(~np.isnan(Parser(rule["expr"], series).whole()) == fires)


def test_envoy_keeps_the_budget_of_the_page() -> None:
    text = (ROOT / "docs" / "downloads" / "overload-envoy-retries.yaml").read_text("utf-8")
    asked = yaml.safe_load(text)
    host = asked["route_config"]["virtual_hosts"][0]
    assert host["include_request_attempt_count"]  # the header that the page reads, off by default
    route = host["routes"][0]["route"]
    cluster = asked["clusters"][0]
    assert route["cluster"] == cluster["name"]
    assert f'"{cluster["name"]}"' in ATTEMPTS
    assert route["retry_policy"]["num_retries"] == 1
    (elsewhere,) = route["retry_policy"]["retry_host_predicate"]  # not at the engine that refused
    assert elsewhere["name"] == "envoy.retry_host_predicates.previous_hosts"
    assert int(route["retry_policy"]["per_try_idle_timeout"].removesuffix("s")) > PATIENCE_S
    limits = cluster["circuit_breakers"]["thresholds"][0]
    fleet = read("keda-vllm")["spec"]["maxReplicaCount"] * queue_limits.example().queued_requests
    assert min(limits["max_connections"], limits["max_requests"]) > fleet
    (protocol,) = cluster["typed_extension_protocol_options"].values()
    idle = protocol["common_http_protocol_options"]["idle_timeout"]
    assert int(idle.removesuffix("s")) < 5  # of the engines' servers
    budget = limits["retry_budget"]
    assert budget["budget_percent"]["value"] == pytest.approx(100 * BUDGET)
    page = (ROOT / "docs" / "capacity" / "overload-control.md").read_text("utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in text


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_recorded_work_is_that_of_the_chat_machine(engine: str) -> None:
    """The rules of Arrival rates, on minutes of prompts, of which a cache finds a sixth, and on
    minutes of answers; then a quiet week of which two minutes were busy."""
    line = {"vllm": "num_requests_waiting", "sglang": "num_queue_reqs"}[engine]

    def run(prompts: Any, hits: Any, answers: Any, waiting: Any) -> dict[str, Any]:
        """What each rule gives, for two engines with half of the tokens each."""
        series: dict[str, Any] = {}
        for name, values in (
            (f"{engine}:prompt_tokens_total", prompts),
            (f"{engine}:generation_tokens_total", answers),
            *([(FOUND[engine], hits)] if hits is not None else []),
        ):
            series[name] = {one: np.array(values) / 2 for one in "ab"}
        series[f"{engine}:{line}"] = {one: np.array(waiting) for one in "ab"}
        return evaluated(f"arrival-rates-{engine}", series)

    prompt_s, answer_s = _token_costs(CHAT)
    told = run([6e6] * 2 + [0.0] * 2, [1e6] * 2 + [0.0] * 2, [0.0] * 2 + [6e5] * 2, [0.0] * 4)
    due = np.array([5e6 / 60 * prompt_s, 1e4 * answer_s])
    assert told["engine:work:rate1m"][[1, 3]] == pytest.approx(due, rel=0.01)
    assert np.isnan(told["SizeIsALowerBound"]).all()
    week = np.full(3000, 6e4)
    week[1000:1002] = 6e5
    told = run(0 * week, None, week, np.where(week > 1e5, 9.0, 0.0))  # no cache is asked
    assert told["engine:engines:7d"][-1] == pytest.approx(1e4 * answer_s / HOT, rel=0.01)
    assert np.flatnonzero(~np.isnan(told["SizeIsALowerBound"])).tolist() == [1000, 1001, 1002]
    assert f"/ {HOT:.2f}\n" in rule_text(f"arrival-rates-{engine}")
