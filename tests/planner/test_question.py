"""A question: what follows from what is asked."""

from __future__ import annotations

from dataclasses import replace

import pytest
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.planner.objectives import promised
from serving_mathematics.planner.question import Question
from serving_mathematics.planner.traffic import Traffic

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


def test_classes_have_their_promises_or_all_requests_have_one() -> None:
    assert BASE.goals == (BASE.promise,)
    own = promised(1.0, 0.05), promised(2.0, 0.05)
    assert replace(BASE, class_promises=own).goals == own
    assert BASE.usd_per_hour(3) == 6.0
    assert replace(BASE, spare_replicas=1, price_per_hour=4.0).usd_per_hour(3) == 16.0
