"""Layouts against brute force, fronts against their definition."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment, require_deployment
from serving_mathematics.machine.parallelism.device_splits import every_split, pareto_front

R1 = replace(
    WORKED,
    architecture=find_model("DeepSeek-R1")[0],
    system=find_system("b200"),
    precision="fp8",
)


def allowed(one: Deployment) -> bool:
    try:
        require_deployment(one)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("devices", [1, 4, 8, 12, 16])
@pytest.mark.parametrize("one", [R1, WORKED])
def test_every_layout_that_can_be_is_there(one: Deployment, devices: int) -> None:
    mixture = one.architecture.routed_parameters > 0
    expected = set()
    widths = range(1, devices + 1)
    for tensor, groups, stages in itertools.product(widths, widths, widths):
        if tensor * groups * stages != devices or (groups > 1 and not mixture):
            continue
        tried = replace(one, tensor=tensor, attention_data=groups, pipeline=stages)
        tried = replace(tried, expert=tensor * groups if mixture else 1)
        if allowed(tried):
            expected.add((tensor, groups, stages))
    found = every_split(one, devices)
    assert {(x.tensor, x.attention_data, x.pipeline) for x in found} == expected
    assert len(found) == len(expected)
    assert all(x.devices == devices for x in found)


def test_experts_lie_over_a_stage() -> None:
    for one in every_split(R1, 16):
        assert one.expert == one.tensor * one.attention_data
    assert all(one.expert == 1 for one in every_split(WORKED, 4))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30))
def test_a_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    x, y = np.array(points, dtype=float).T
    kept = pareto_front(x, y)
    for i, (a, b) in enumerate(points):
        beaten = any(c <= a and d <= b and (c, d) != (a, b) for c, d in points)
        if beaten:
            assert not kept[i]
    front = [point for point, on in zip(points, kept, strict=True) if on]
    assert len(front) == len(set(front))  # of equal points one stays
    unbeaten = {
        (a, b)
        for a, b in points
        if not any(c <= a and d <= b and (c, d) != (a, b) for c, d in points)
    }
    assert set(front) == unbeaten


def test_of_equal_points_the_first_stays() -> None:
    assert pareto_front([1.0, 1.0], [2.0, 2.0]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([1.0], [1.0, 2.0], "second must be of shape"),
    ],
)
def test_fronts_of_nothing_are_refused(first: Any, second: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pareto_front(first, second)
    with pytest.raises(ValueError, match="devices must be a positive integer"):
        every_split(WORKED, 0)
