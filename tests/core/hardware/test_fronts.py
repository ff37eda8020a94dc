"""Fronts: what they change and what they leave, planted ones found again, every error."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.fronts import (
    FRONTS,
    KERNEL_FACTORS,
    SCALED,
    Front,
    crossing,
    find_front,
    fit_front,
    front_constants,
    front_rows,
    require_agreement,
    steps_alone,
    untuned,
)
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    step_parts,
)

LOADS = [replace(WORKED, tensor=2, concurrency=load) for load in (1.0, 8.0, 64.0, 200.0)]


def test_a_front_of_short_floats_gives_constants_of_64_bits() -> None:
    short: dict[str, Any] = {"scale": np.float32(1.25), "sequence_s": np.float32(2.0**-15)}
    told = front_constants(replace(FRONTS["engine"], **short))
    same = front_constants(replace(FRONTS["engine"], scale=1.25, sequence_s=2.0**-15))
    assert vars(told) == vars(same)


def test_a_front_changes_its_own_constants_and_no_other() -> None:
    moved = front_constants(FRONTS["ml-energy"])
    changed = {name for name, value in vars(FITTED).items() if getattr(moved, name) != value}
    steps = {"first_steps_trtllm", "first_steps_sglang", "first_steps_vllm"}
    assert changed == {*SCALED, *KERNEL_FACTORS, "sequence_s", *steps}
    assert moved.first_steps_vllm == FRONTS["ml-energy"].first_steps
    kept = front_constants(FRONTS["benchmark"])
    assert kept.first_steps_sglang == FITTED.first_steps_sglang


@given(st.floats(0.5, 2.0), st.floats(0.0, 1e-4))
def test_a_step_is_scaled_and_the_host_added(scale: float, host: float) -> None:
    """By hand: kernels, bytes and what crosses links are longer, floors of messages are not."""
    front = replace(FRONTS["unknown"], scale=scale, sequence_s=host)
    work = count_work([replace(WORKED, concurrency=32.0)])
    parts = step_parts(work, FITTED, work.concurrency, work.prompt)
    device = parts.kernels + parts.weights + parts.cache + parts.vocabulary
    got = decode_step_s(work, front_constants(front), work.concurrency, work.prompt)
    assert got == pytest.approx(scale * device + 32 * host)


@given(st.floats(0.9, 1.4), st.floats(5e-6, 8e-5), st.floats(0.95, 1.05))
def test_a_front_is_found_among_noise(scale: float, host: float, wrong: float) -> None:
    work = count_work(LOADS)
    truth = replace(FRONTS["unknown"], scale=scale, sequence_s=host)
    told = steps_alone(work, front_constants(truth)).per_token_s * np.array([1, 1, wrong, 1])
    found = fit_front(work, told, FRONTS["benchmark"])
    assert found.scale == pytest.approx(scale, rel=0.06)
    again = steps_alone(work, front_constants(found)).per_token_s
    assert np.max(np.abs(again / told - 1)) < 0.06


def test_steps_alone_have_no_prompts_and_say_nothing_of_first_tokens() -> None:
    work = count_work(LOADS)
    found = steps_alone(work, FITTED)
    step = decode_step_s(work, FITTED, work.concurrency, work.prompt + work.answer / 2)
    assert found.per_token_s == pytest.approx(step)
    assert np.isnan(found.first_token_s).all()
    guessing = count_work([replace(WORKED, draft_tokens=3, accepted_tokens=2.5)])
    whole = decode_step_s(guessing, FITTED, guessing.concurrency, guessing.prompt + 100)
    assert steps_alone(guessing, FITTED).per_token_s == pytest.approx(whole / 2.5)


def test_fronts_are_found_by_name_in_any_spelling() -> None:
    for name, front in FRONTS.items():
        assert find_front(name.upper().replace("-", " ")) is front
        assert front.name == name
    with pytest.raises(ValueError, match=r"front 'benchmarks' is not known; nearest: benchmark"):
        find_front("benchmarks")


def test_the_table_has_a_row_for_each() -> None:
    rows = front_rows()
    assert [row[0] for row in rows[1:]] == list(FRONTS)
    assert len({len(row) for row in rows}) == 1
    assert rows[1][-1] == "by engine"
    assert front_rows([Front("a", "b", "c", "d", "e", 1.5, 3e-6, 2.0)])[1][-3:] == [
        *("1.50", "3", "2 steps")
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": 0.0}, "scale must be positive"),
        ({"scale": float("nan")}, "scale must be"),
        ({"sequence_s": -1e-6}, "sequence_s must be non-negative"),
        ({"first_steps": -1.0}, "first_steps must be non-negative"),
    ],
)
def test_a_front_takes_time(change: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        front_constants(replace(FRONTS["unknown"], **change))  # type: ignore[arg-type]


def test_runs_contradict_a_front_and_name_another() -> None:
    work = count_work([replace(WORKED, concurrency=load) for load in (128.0, 256.0, 400.0)])
    slow = steps_alone(work, front_constants(FRONTS["ml-energy"])).per_token_s
    require_agreement(FRONTS["ml-energy"], work, slow)
    require_agreement(FRONTS["unknown"], work, slow)
    with pytest.raises(ValueError, match=r"\(nearest: ml-energy; or none\), .* take 0.6\d times"):
        require_agreement(FRONTS["inference-perf"], work, slow)


@pytest.mark.parametrize(
    ("model", "precision", "assumed"),
    [
        ("Qwen3-235B-A22B", "fp8", True),
        ("Qwen3-235B-A22B", "bf16", False),
        ("DeepSeek-R1", "fp8", False),
        ("Llama-3.1-70B", "fp8", False),
    ],
)
def test_a_mixture_in_other_bits_than_published_needs_tuned_kernels(
    model: str, precision: str, assumed: bool
) -> None:
    one = replace(WORKED, architecture=find_model(model)[0], precision=precision)
    assert ("kernels that are tuned" in untuned(one)) is assumed


@pytest.mark.parametrize(
    ("system", "widths", "told"),
    [
        ("H100", {"tensor": 8}, ""),
        (
            "H100",
            {"tensor": 16},
            "fast links of H100 SXM join no more than 8 of .* 50 GB/s .* 450",
        ),
        ("H100", {"attention_data": 16}, ".* no more than 8 of the 16 "),
        ("H100", {"tensor": 8, "pipeline": 2}, ".* no more than 8 of the 16 "),
        ("GB200", {"tensor": 64}, ""),  # NVL72 is one domain
        ("GB200", {"tensor": 8, "pipeline": 16}, ".* than 72 of the 128 "),
        ("GH200", {"tensor": 2}, ".* than 1 of the 2 "),
    ],
)
def test_links_beyond_a_domain_are_told(system: str, widths: dict[str, int], told: str) -> None:
    one = replace(WORKED, system=find_system(system), **widths)
    assert re.match(told or "$", crossing(one))
