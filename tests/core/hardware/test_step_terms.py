"""Terms by hand, regimes of steps that are known, the runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.catalogue import deployed, find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.step_terms import (
    DATA_SHEET,
    REGIMES,
    engine_runs,
    example,
    regimes,
    roofline_parts,
    terms_added,
)
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    step_parts,
)


def test_the_data_sheet_knows_bytes_and_operations_alone() -> None:
    one = replace(WORKED, tensor=4, concurrency=8)
    parts = step_parts(count_work([one]), DATA_SHEET, np.array([8.0]), np.array([500.0]))
    assert float(parts.kernels[0]) == float(parts.host[0]) == 0
    model = one.architecture
    read = 2 * (model.parameters - model.vocabulary * model.hidden) + 8 * 500 * 131_072
    assert float(roofline_parts(parts)[0]) == pytest.approx(read / 4 / 3.35e12, rel=1e-9)


def test_terms_end_at_the_loop() -> None:
    """The last line is what the closed loop predicts, and each adds its own part."""
    mixture = deployed("DeepSeek-R1", "b200", precision="fp8", tensor=8)
    rows = [
        replace(WORKED, tensor=2, concurrency=64),
        replace(mixture, draft_tokens=3, accepted_tokens=2.5),
    ]
    work = count_work(rows)
    added = terms_added(work, FITTED)
    loop = loop_latencies(work, FITTED)
    assert added["prompts of others"] == pytest.approx(loop.per_token_s, rel=1e-12)
    running, context = loop.running, work.prompt + work.answer / 2
    parts = step_parts(work, FITTED, running, context)
    steps = list(added.values())
    assert steps[2] - steps[1] == pytest.approx(parts.kernels / work.accepted, rel=1e-9)
    sent = (parts.messages + parts.host) / work.accepted
    assert steps[3] - steps[2] == pytest.approx(sent, rel=1e-9)
    alone = decode_step_s(work, DATA_SHEET, running, context) / work.accepted
    assert np.all(steps[0] < alone)  # which counts messages too


def test_regimes_of_steps_that_are_known() -> None:
    small = replace(WORKED, concurrency=1.0)
    long = replace(WORKED, concurrency=8.0, input_tokens=60_000.0, output_tokens=60_000.0)
    busy = replace(WORKED, concurrency=64.0, input_tokens=4000.0, output_tokens=20.0)
    tiny = replace(
        small, architecture=find_model("Qwen3-30B-A3B")[0], tensor=4, system=find_system("b200")
    )
    slow = replace(find_system("h100"), link_bytes_per_s=1e9)
    sent = replace(WORKED, system=slow, tensor=8, concurrency=64.0, output_tokens=5000.0)
    found = [REGIMES[i] for i in regimes(count_work([small, long, busy, tiny, sent]), KERNELS)]
    assert found == ["weights", "cache", "prompts of others", "kernels", "messages"]


def test_runs_are_those_of_one_engine() -> None:
    table, added, sparse = engine_runs()
    found = example()
    assert found.engine_runs == len(table.runs) == sparse.size == 3555
    ratio = table.per_token_s / added["roofline"]
    assert found.times_roof == pytest.approx(np.median(ratio))
    guessing = table.engines.accepted > 1
    assert int((guessing & (ratio < 1)).sum()) == 0
    led = regimes(table.engines, KERNELS) == REGIMES.index("kernels")
    last = added["prompts of others"] / table.per_token_s
    assert 1 - found.floors_lead_short == pytest.approx(np.median(last[led]))
