"""The front of layouts: prices by the loop, what the record has no run of, and half batches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.benchmark_loops import (
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    two_batches_s,
)
from serving_mathematics.machine.parallelism.device_splits import every_split, pareto_front
from serving_mathematics.machine.parallelism.layout_front import (
    HALVES_CONTEXT,
    MEASURED_DEVICES,
    PARETO_COUNTS,
    PARETO_LOADS,
    _r1_choices,
    example,
)

R1 = replace(
    WORKED,
    architecture=find_model("DeepSeek-R1")[0],
    system=find_system("b200"),
    precision="fp8",
)


def test_choices_are_priced_by_the_loop() -> None:
    tried, each, hours = _r1_choices()
    expected = [
        (layout.tensor, layout.attention_data, layout.pipeline, load)
        for devices in PARETO_COUNTS
        for layout in every_split(replace(R1, input_tokens=1024, output_tokens=1024), devices)
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
    kept = np.flatnonzero(pareto_front(each, hours))
    assert example().front_points == kept.size
    assert example().front_measured == sum(
        tried[i].devices <= MEASURED_DEVICES and tried[i].pipeline == 1 for i in kept
    )


def test_what_is_extrapolated_is_what_the_record_has_no_run_of() -> None:
    engines = [run.answers for run in read_runs(read_lines()) if run.kind == "engine"]
    assert {one.pipeline for one in engines} == {1}
    assert max(one.devices for one in engines) == MEASURED_DEVICES


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
