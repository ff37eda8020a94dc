"""What the benchmark's scripts keep back: looks counted one by one, and the settings' ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies, waiting_steps_s
from serving_mathematics.core.hardware.catalogue import deployed, find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.kept_back import held_steps
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    prompt_s,
)

TUNED = replace(WORKED, backend="sglang", system=find_system("B200"), concurrency=16.0)
GROUPED = deployed(
    "DeepSeek-R1",
    "b200",
    backend="trtllm",
    precision="fp8",
    attention_data=8,
    expert=8,
    input_tokens=1000.0,
    output_tokens=1000.0,
    concurrency=64.0,
)


@pytest.mark.parametrize("between", [1, 10, 30])
def test_a_prompt_waits_for_half_of_the_steps_between_two_looks(between: int) -> None:
    """One that comes at the end of some step is seen at the next look, which may be the same."""
    simulated = np.mean([(-step) % between for step in range(between)])
    assert simulated == (between - 1) / 2
    tuned = {1: replace(TUNED, system=find_system("H100")), 10: replace(TUNED, concurrency=15.0)}
    assert held_steps(tuned.get(between, TUNED)) == simulated


@pytest.mark.parametrize(
    ("model", "precision", "system", "looks"),
    [
        ("GLM-5", "fp8", "b200", (0.0, 14.5)),
        ("GLM-5", "fp4", "b200", (4.5, 14.5)),
        ("Qwen3.5-397B-A17B", "fp8", "b300", (4.5, 14.5)),
        ("Qwen3.5-397B-A17B", "fp8", "b200", (14.5, 14.5)),
        ("Qwen3.5-397B-A17B", "fp8", "h200", (0.0, 0.0)),
    ],
)
def test_scripts_differ_by_model(
    model: str, precision: str, system: str, looks: tuple[float, float]
) -> None:
    one = replace(
        TUNED,
        architecture=find_model(model)[0],
        precision=precision,
        system=find_system(system),
        tensor=8,
    )
    assert (held_steps(one), held_steps(one, "0.5.9")) == looks


def test_few_looks_of_deepseek_on_four_devices() -> None:
    one = replace(TUNED, architecture=GROUPED.architecture, precision="fp8", tensor=4)
    assert [held_steps(replace(one, tensor=width)) for width in (4, 8)] == [4.5, 14.5]
    assert held_steps(replace(one, attention_data=2)) == 0


def test_groups_wait_for_one_prompt_each() -> None:
    """Eight prompts come in 8 · 1,000/256 steps of 256 sequences, and in 125 of 64: 60 at most."""
    assert held_steps(GROUPED) == (60 - 1) / 2
    assert held_steps(replace(GROUPED, concurrency=256.0)) == (8 * 1000 / 256 - 1) / 2
    assert held_steps(replace(GROUPED, concurrency=7.0)) == 0  # a group has nothing to wait for
    assert held_steps(replace(GROUPED, attention_data=1)) == 0
    assert held_steps(replace(GROUPED, concurrency=1e5)) == 0
    other = replace(GROUPED, architecture=find_model("gpt-oss-120b")[0])
    assert held_steps(other) == (50 - 1) / 2


def test_what_is_kept_back_waits_for_steps_of_the_batch_and_is_read_together() -> None:
    at_once, later = count_work([TUNED]), count_work([replace(TUNED, held_steps=14.5)])
    step = np.array([0.01])
    waited = waiting_steps_s(later, FITTED, step) - waiting_steps_s(at_once, FITTED, step)
    assert waited == pytest.approx(14.5 * step)
    first, held = loop_latencies(at_once, FITTED), loop_latencies(later, FITTED)
    assert held.per_token_s == first.per_token_s
    prompts = 29 / 200 * 15 * prompt_s(later, FITTED)  # of 15 others, in 29 of 200 steps
    assert held.first_token_s - first.first_token_s == pytest.approx(
        14.5 * first_step(held.per_token_s) + prompts
    )


def first_step(per_token_s: np.ndarray) -> np.ndarray:
    """Of the batch: without what others' prompts take."""
    work = count_work([TUNED])
    taken = 15 / 200 * (prompt_s(work, FITTED) + FITTED.prompt_s)
    return per_token_s - taken


def test_a_first_token_waits_for_the_prompts_of_all_others_at_most() -> None:
    """With answers of a few tokens all of them come between two looks."""
    short = count_work([replace(TUNED, output_tokens=4.0, held_steps=14.5)])
    found, step = (
        loop_latencies(short, FITTED),
        decode_step_s(short, FITTED, np.r_[16.0], short.context),
    )
    queue = found.first_token_s - waiting_steps_s(short, FITTED, step) - prompt_s(short, FITTED)
    assert queue == pytest.approx(15 * prompt_s(short, FITTED))


def test_guesses_that_are_accepted_bring_prompts_in_fewer_steps() -> None:
    """Answers of 1,000 tokens take 500 steps of two."""
    guessed = replace(GROUPED, concurrency=256.0, draft_tokens=1, accepted_tokens=2.0)
    assert held_steps(guessed) == (8 * 500 / 256 - 1) / 2
    twice = replace(TUNED, draft_tokens=1, accepted_tokens=2.0)
    at_once, later = count_work([twice]), count_work([replace(twice, held_steps=14.5)])
    step = decode_step_s(later, FITTED, np.r_[16.0], later.context)
    grown = loop_latencies(later, FITTED).first_token_s
    grown = grown - loop_latencies(at_once, FITTED).first_token_s
    prompts = 29 * 2 / 200 * 15 * prompt_s(later, FITTED)
    assert grown == pytest.approx(14.5 * step + prompts)
