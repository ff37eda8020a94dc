"""Layouts against brute force, fronts against their definition."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.benchmark_loops import (
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment, require_deployment
from serving_mathematics.core.hardware.run_reading import read_lines, read_runs
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    two_batches_s,
)
from serving_mathematics.machine.parallelism.device_splits import (
    HALVES_CONTEXT,
    MEASURED_DEVICES,
    PARETO_COUNTS,
    PARETO_LOADS,
    _layout_name,
    _r1_choices,
    example,
    layouts,
    pareto_front,
)

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
    found = layouts(one, devices)
    assert {(x.tensor, x.attention_data, x.pipeline) for x in found} == expected
    assert len(found) == len(expected)
    assert all(x.devices == devices for x in found)


def test_experts_lie_over_a_stage() -> None:
    for one in layouts(R1, 16):
        assert one.expert == one.tensor * one.attention_data
    assert all(one.expert == 1 for one in layouts(WORKED, 4))


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
        layouts(WORKED, 0)


def test_choices_are_priced_by_the_loop() -> None:
    tried, each, hours = _r1_choices()
    expected = [
        (layout.tensor, layout.attention_data, layout.pipeline, load)
        for devices in PARETO_COUNTS
        for layout in layouts(replace(R1, input_tokens=1024, output_tokens=1024), devices)
        for load in PARETO_LOADS
    ]
    assert [(x.tensor, x.attention_data, x.pipeline, x.concurrency) for x in tried] == expected
    for i in (0, len(tried) // 2, len(tried) - 1):
        work = count_work([tried[i]])
        one = loop_latencies(work, FITTED)
        rate = tokens_per_s_per_device(
            one, work.answer, work.concurrency, np.array([tried[i].devices])
        )
        assert each[i] == pytest.approx(float(one.per_token_s[0]))
        assert hours[i] == pytest.approx(1e6 / float(rate[0]) / 3600)
    assert example().front_rows.count("\n") + 1 == int(pareto_front(each, hours).sum())


def test_a_layout_is_called_by_its_widths() -> None:
    assert _layout_name(replace(R1, tensor=2, attention_data=4, pipeline=2)) == "TP 2 × DP 4 × PP 2"
    assert _layout_name(replace(R1, tensor=8)) == "TP 8"


def test_what_is_extrapolated_is_what_the_record_has_no_run_of() -> None:
    engines = [run.answers for run in read_runs(read_lines()) if run.kind == "engine"]
    assert {one.pipeline for one in engines} == {1}
    assert max(one.devices for one in engines) == MEASURED_DEVICES
    for row in example().front_rows.split("\n"):
        devices, layout = row.strip("| ").split(" | ")[:2]
        assert layout.endswith("○") == (int(devices) > MEASURED_DEVICES or "PP" in layout)


def test_half_batches_at_the_loads_that_the_page_names() -> None:
    found = example()
    for each, said in ((16, found.halves_few), (512, found.halves_many)):
        one = replace(
            WORKED,
            architecture=find_model("DeepSeek-R1")[0],
            system=find_system("gb200"),
            backend="sglang",
            precision="fp8",
            attention_data=32,
            expert=32,
            concurrency=32.0 * each,
        )
        told = count_work([one]), FITTED, np.array([32.0 * each]), np.array([HALVES_CONTEXT])
        assert said == pytest.approx(float(two_batches_s(*told)[0] / decode_step_s(*told)[0]))
