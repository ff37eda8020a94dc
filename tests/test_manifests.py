"""The manifests that Autoscaling hands out: read, held against what their schemas ask for, with
queries of the language that Prometheus reads, and with the numbers of the page."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from serving_mathematics.capacity.autoscaling.signals import example

from builder import ROOT

from .promql import Parser

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
    """Two seconds of tokens a second and a hundred of them are twenty milliseconds."""
    signal, timetable = read(f"keda-{engine}")["spec"]["triggers"]
    assert signal["metricType"] == "Value"
    name = f"{engine}:inter_token_latency_seconds"
    series = {f"{name}_sum": np.full(5, 2.0), f"{name}_count": np.full(5, 100.0)}
    assert Parser(signal["metadata"]["query"], series).whole() == pytest.approx(0.02)
    target_ms = 1e3 * float(signal["metadata"]["threshold"])
    assert target_ms == pytest.approx(example().tokens_target_ms, rel=0.02)
    for key in ("start", "end"):
        assert re.fullmatch(r"[\d*]+ [\d*]+ [\d*]+ [\d*]+ [\d*-]+", timetable["metadata"][key])
    assert {"timezone", "desiredReplicas"} <= timetable["metadata"].keys()


def test_requests_inside_are_half_of_64_places() -> None:
    metric = read("hpa-vllm")["spec"]["metrics"][0]["pods"]
    assert metric["target"] == {"type": "AverageValue", "averageValue": "32"}
