"""A question: what follows from what is asked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.traffic import Traffic

BASE = Question(LLAMA, Traffic(60.0), promised(0.5, 0.03, 0.9))


@pytest.mark.parametrize(
    ("device", "memory_gib", "limits"),
    [
        ("H100", 70, (8192, 1024)),
        ("H100", 69.99, (2048, 256)),
        ("H200", None, (8192, 1024)),
        ("B200", None, (16384, 1024)),
        ("MI300X", None, (16384, 1024)),
        ("B200", 159.99, (8192, 1024)),
        ("A100", None, (2048, 256)),
        ("A800", None, (8192, 1024)),  # the name is another, and the memory the same
        ("A40", None, (2048, 256)),
        ("DGX Spark", None, (2048, 256)),  # by its compute capability, from 0.33 on
        ("tpu_v5p", None, (2048, 256)),
        ("tpu_v7", None, (2048, 256)),
    ],
)
def test_usual_limits_are_those_of_the_device(
    device: str, memory_gib: float | None, limits: tuple[int, int]
) -> None:
    system = find_system(device)
    if memory_gib is not None:
        system = replace(system, memory_bytes=memory_gib * 2**30)
    assert replace(BASE, deployment=replace(LLAMA, system=system)).usual_limits == limits


BURST = Workload(np.zeros(300), np.full(300, 1000), np.full(300, 250))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"spare_replicas": -1}, "spare_replicas must be a non-negative integer, got -1"),
        ({"spare_replicas": 0.5}, "spare_replicas must be a non-negative integer"),
        ({"requests": 200.5}, "requests must be a positive integer"),
        ({"seed": -1}, "seed must be a non-negative integer"),
        ({"seed": None}, "seed must be a non-negative integer, got None"),
        ({"gpus": 0}, "gpus must be a positive integer"),
        ({"batch_limit": 0}, "batch_limit must be a positive integer"),
        ({"power_w": -700.0}, "power_w must be positive"),
        ({"usd_per_kwh": math.nan}, "usd_per_kwh must be non-negative"),
        ({"grams_per_kwh": -5.0}, "grams_per_kwh must be non-negative"),
        ({"api_usd": (-1.0, 1.0)}, "api_usd must be non-negative"),
        ({"api_usd": (1.0,)}, r"api_usd must be of shape \(2,\)"),
        ({"promise": ()}, "promise must be objectives"),
        ({"promise": (1.0, 0.05)}, "promise must be objectives"),
        ({"front": "benchmark"}, "front must be one of FRONTS, got 'benchmark'"),
        ({"traffic": BURST}, "traffic must be over some time, got 300 requests at one moment"),
        ({"traffic": 5.0}, "traffic must be Traffic or a Workload, got 5.0"),
        ({"traffic": Traffic(60.0, like="agents")}, "like must be means without routing, unless"),
    ],
)
def test_questions_that_are_none(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(BASE, **change)


def test_whole_numbers_of_any_type_are_counts() -> None:
    asked = replace(BASE, requests=200.0, seed=np.uint8(3))
    assert (type(asked.requests), type(asked.seed)) == (int, int)
    with pytest.raises(ValueError, match="like must be one of means, agents"):
        Traffic(60.0, like="chatt")


def test_classes_have_their_promises_or_all_requests_have_one() -> None:
    assert BASE.goals == (BASE.promise,)
    own = promised(1.0, 0.05), promised(2.0, 0.05)
    assert replace(BASE, class_promises=own).goals == own
    assert BASE.usd_per_hour(3) == 6.0
    assert replace(BASE, spare_replicas=1, price_per_hour=4.0).usd_per_hour(3) == 16.0
