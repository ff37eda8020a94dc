"""Engines from the step model: its times at every batch, memory, and every refusal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import TICK_S, Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.hardware.benchmark_loops import waiting_steps_s
from serving_mathematics.core.hardware.catalogue import deployed, find_model
from serving_mathematics.core.hardware.deployed_engine import (
    MachineEngine,
    cache_blocks,
    engine_of,
    mean_token_bytes,
)
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    Deployment,
    sequence_bytes,
    weight_bytes,
)
from serving_mathematics.core.hardware.guessed_steps import guessed_step_s
from serving_mathematics.core.hardware.step_time import FITTED, count_work, decode_step_s, prompt_s
from serving_mathematics.machine.predictions.own_runs import scaled_constants

ASKED = Workload([0, 0, 0], [200, 1000, 4000], [50, 400, 300])
R1 = deployed("DeepSeek-R1", "B200", precision="fp8", attention_data=8, expert=8)
GEMMA = replace(WORKED, architecture=find_model("Gemma-3-27B")[0])


def step_s(made: MachineEngine, sequences: int, context: int) -> float:
    """A step of the engine."""
    assert made.engine.table is not None
    ticks = made.engine.table.batch[sequences]
    return made.engine.elapsed_s(1, 0, sequences, sequences * context, ticks)


@pytest.mark.parametrize("one", [WORKED, R1, replace(WORKED, tensor=4), replace(R1, pipeline=2)])
@pytest.mark.parametrize("sequences", [1, 3, 8, 40, 256])
def test_steps_at_the_mean_context_are_the_models(one: Deployment, sequences: int) -> None:
    made = engine_of(one, ASKED)
    later = ASKED.output_tokens - 1.0
    mean = float(np.average(ASKED.prompt_tokens + ASKED.output_tokens / 2, weights=later))
    work = count_work([one])
    expected = decode_step_s(work, FITTED, np.array([float(sequences)]), np.array([mean]))
    got = step_s(made, sequences, 0) + made.engine.context_token_s * sequences * mean
    assert got == pytest.approx(float(expected[0]), rel=1e-9)


def test_a_window_is_a_slope_between_two_contexts() -> None:
    """Within a fifth of the step model from half the mean context to twice."""
    made, work = engine_of(GEMMA, ASKED), count_work([GEMMA])
    for context in (600, 1200, 2500):
        for sequences in (1, 64):
            counts = np.array([float(sequences)]), np.array([float(context)])
            expected = float(decode_step_s(work, FITTED, *counts)[0])
            assert step_s(made, sequences, context) == pytest.approx(expected, rel=0.2)


def test_guesses_divide_steps_and_not_prompts() -> None:
    guessing = replace(R1, draft_tokens=3, accepted_tokens=2.5)
    made, work = engine_of(guessing, ASKED), count_work([guessing])
    whole = decode_step_s(work, FITTED, np.array([16.0]), np.array([1000.0]))
    assert step_s(made, 16, 1000) == pytest.approx(float(whole[0]) / 2.5, rel=1e-3)
    plain = engine_of(R1, ASKED)
    assert made.engine.table is not None
    assert plain.engine.table is not None
    assert made.engine.table.prompt == plain.engine.table.prompt


def test_a_draft_model_is_in_steps_prompts_and_memory() -> None:
    target = replace(WORKED, architecture=find_model("Qwen3-32B")[0], tensor=2)
    drafter = find_model("Qwen3-0.6B")[0]
    alone = replace(target, architecture=drafter)
    guessing = replace(target, draft_tokens=3, accepted_tokens=2.0, drafter=drafter)
    made, plain, draft = (engine_of(one, ASKED) for one in (guessing, target, alone))
    steps = guessed_step_s(guessing, FITTED, 16, 1000)[0] / 2
    assert step_s(made, 16, 1000) == pytest.approx(float(steps), rel=1e-3)
    assert made.engine.table is not None
    tables = [one.engine.table for one in (made, plain, draft)]
    both, first, second = (np.array(table.prompt) for table in tables if table)
    assert np.abs(both - first - second).max() <= 1  # ticks
    assert made.token_bytes == plain.token_bytes + draft.token_bytes
    spare = 0.9 * target.system.memory_bytes - 4 * 2**30
    spare -= weight_bytes(target) + weight_bytes(alone)
    assert made.engine.kv_blocks == int(spare // (16 * made.token_bytes))


def test_prompts_and_what_lies_around_them() -> None:
    one = replace(WORKED, pipeline=2)
    made, work = engine_of(one, ASKED), count_work([one])
    for tokens in (1, 700, 4200):
        whole = float(prompt_s(replace(work, prompt=np.array([float(tokens)])), FITTED)[0])
        assert made.engine.table is not None
        assert TICK_S * made.engine.table.prompt[tokens] == pytest.approx(whole / 2, rel=1e-9)
        assert made.behind_s[tokens] == pytest.approx(whole / 2)
    typical = replace(work, prompt=np.array([ASKED.prompt_tokens.mean()]))
    around = waiting_steps_s(typical, FITTED, np.zeros(1))
    assert made.around_s == pytest.approx(float(around[0]))
    assert TICK_S * engine_of(R1, ASKED).engine.table.prompt_end == pytest.approx(  # type: ignore[union-attr]
        FITTED.prompt_s / 8
    )


def test_a_prompt_grows_faster_than_its_length() -> None:
    table = engine_of(WORKED, Workload([0], [64_000], [2])).engine.table
    assert table is not None
    short, long = table.prompt[1000], table.prompt[64_000]
    assert long > 1.5 * 64 * short


@given(st.floats(0.5, 3.0))
def test_slowness_is_a_factor_of_everything(slowness: float) -> None:
    plain, slow = engine_of(WORKED, ASKED), engine_of(WORKED, ASKED, slowness=slowness)
    pairs = [
        (step_s(slow, 7, 900), step_s(plain, 7, 900)),
        (slow.around_s, plain.around_s),
        (
            simulate(ASKED, slow.engine).completion_s[2],
            simulate(ASKED, plain.engine).completion_s[2],
        ),
    ]
    for one, other in pairs:
        assert one == pytest.approx(slowness * other, rel=1e-6)


def test_memory_by_hand() -> None:
    share = 0.8 * 85_899_345_920 - 1e9 - weight_bytes(WORKED)
    made = engine_of(WORKED, ASKED, memory_share=0.8, reserved_bytes=1e9)
    assert made.token_bytes == pytest.approx(131_072)
    assert made.engine.kv_blocks == int(share // (16 * 131_072))
    groups = cache_blocks(R1, 50_000.0)
    alone = 0.9 * R1.system.memory_bytes - 4 * 2**30 - weight_bytes(R1)
    assert groups == 8 * int(alone // (16 * 50_000))
    half = replace(WORKED, cache_bytes=1.0)
    assert engine_of(half, ASKED).engine.kv_blocks >= 2 * engine_of(WORKED, ASKED).engine.kv_blocks


def test_what_a_token_holds_falls_with_a_window() -> None:
    short, long = (mean_token_bytes(GEMMA, Workload([0], [n], [1])) for n in (500, 50_000))
    assert long < 0.5 * short
    whole = mean_token_bytes(GEMMA, Workload([0], [2000], [500]))
    assert whole == pytest.approx(sequence_bytes(GEMMA, 2499) / 2499, rel=1e-8)  # none of the last
    lengths = np.array([100, 900])
    mixed = mean_token_bytes(GEMMA, Workload([0, 0], lengths, [1, 1]))
    assert sequence_bytes(GEMMA, 900) / 900 <= mixed <= sequence_bytes(GEMMA, 100) / 100 * 1.001


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"places": 0}, "places must be a positive integer, got 0"),
        ({"places": 1025, "token_budget": 4096}, "places must be from 1 to 1024"),
        ({"memory_share": 1.1}, "memory_share must be in"),
        ({"memory_share": float("nan")}, "memory_share must be in"),
        ({"reserved_bytes": -1.0}, "reserved_bytes must be non-negative"),
        (
            {"reserved_bytes": 80e9},
            r"model weights must be smaller than the 0\.0 GB of the H100 SXM",
        ),
    ],
)
def test_refusals(change: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        engine_of(WORKED, ASKED, **change)  # type: ignore[arg-type]


def test_calibrated_constants_reach_every_time() -> None:
    asked = Workload([0], [1000], [250])
    plain = engine_of(WORKED, asked)
    for place in range(4):
        slow = scaled_constants(FITTED, np.log(2) * (np.arange(5) == place))
        found = engine_of(WORKED, asked, constants=slow)
        assert found.engine.table is not None
        assert plain.engine.table is not None
        changed = (
            found.engine.step_s > 1.1 * plain.engine.step_s,
            found.engine.context_token_s > 1.1 * plain.engine.context_token_s,
            found.engine.table.prompt[1000] > 1.1 * plain.engine.table.prompt[1000],
            found.engine.table.prompt_end > 1.1 * plain.engine.table.prompt_end,
            found.around_s > 1.1 * plain.around_s,
        )
        assert (
            changed
            == (
                (True, False, False, False, True),
                (True, True, False, False, True),
                (False, False, True, False, False),
                (False, False, False, True, True),
            )[place]
        )
