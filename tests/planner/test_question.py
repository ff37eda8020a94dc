"""A question: what follows from what is asked."""

from __future__ import annotations

from dataclasses import replace

from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.planner.objectives import promised
from serving_mathematics.planner.question import Question
from serving_mathematics.planner.traffic import Traffic

BASE = Question(LLAMA, Traffic(60.0), promised(0.5, 0.03, 0.9))


def test_usual_limits_are_those_of_the_device() -> None:
    assert BASE.usual_limits == (8192, 1024)
    for change in ({"generation": "ampere"}, {"memory_bytes": 48e9}):
        other = replace(LLAMA, system=replace(LLAMA.system, **change))
        assert replace(BASE, deployment=other).usual_limits == (2048, 256)
    least = replace(LLAMA, system=replace(LLAMA.system, memory_bytes=70 * 2.0**30))
    assert replace(BASE, deployment=least).usual_limits == (8192, 1024)


def test_classes_have_their_promises_or_all_requests_have_one() -> None:
    assert BASE.goals == (BASE.promise,)
    own = promised(1.0, 0.05), promised(2.0, 0.05)
    assert replace(BASE, class_promises=own).goals == own
    assert BASE.usd_per_hour(3) == 6.0
    assert replace(BASE, spare_replicas=1, price_per_hour=4.0).usd_per_hour(3) == 16.0
