"""The fitted constants of the step model as they are held while answers and cases are asked for: a
new fit moves the constants and what pages show, and not every answer that stands on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from serving_mathematics.machine.step_time import FITTED, Constants

HELD = Constants(
    factor_trtllm=1.116,
    factor_sglang=1.36,
    factor_vllm=1.366,
    weight_share=0.8879,
    expert_share=0.9328,
    cache_share=0.7426,
    arithmetic_share=0.5284,
    attention_share=0.4849,
    link_share=0.1228,
    sequence_s=4.395e-06,
    prompt_share=0.8884,
    prompt_expert_share=0.3078,
    prompt_link_share=0.5577,
    prompt_s=0.003551,
    first_steps_trtllm=18.35,
    first_steps_sglang=40.68,
    first_steps_vllm=8.545,
    burst_share=0.1191,
    lockstep_trtllm=0.1427,
    lockstep_sglang=0.4559,
    lockstep_vllm=0.08186,
)


@contextlib.contextmanager
def held_constants() -> Iterator[None]:
    """`FITTED` is `HELD`, wherever it was imported, and afterwards what it was."""
    fitted = replace(FITTED)
    _become(HELD)
    try:
        yield
    finally:
        _become(fitted)


def _become(other: Constants) -> None:
    for name, value in vars(other).items():
        object.__setattr__(FITTED, name, value)
