"""The fitted constants of the step model as they are held while answers and cases are asked for: a
new fit moves the constants and what pages show, and not every answer that stands on them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from serving_mathematics.core.hardware.step_time import FITTED, Constants

HELD = Constants(
    factor_trtllm=1.103,
    factor_sglang=1.354,
    factor_vllm=1.341,
    weight_share=0.8408,
    expert_share=0.9443,
    cache_share=0.8153,
    attention_share=0.3429,
    link_share=0.1485,
    sequence_s=2e-05,
    prompt_share=0.8406,
    prompt_expert_share=0.3658,
    prompt_link_share=0.4866,
    prompt_s=2e-05,
    first_steps_trtllm=18.35,
    first_steps_sglang=40.74,
    first_steps_vllm=8.814,
    burst_share=0.1188,
    lockstep_trtllm=0.1271,
    lockstep_sglang=0.404,
    lockstep_vllm=0.07201,
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
