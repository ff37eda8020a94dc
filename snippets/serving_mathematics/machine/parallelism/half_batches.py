"""Two half batches take turns, so that one exchanges tokens while the other computes.

What it hides are messages; what it costs is that each half reads the weights for itself.

Assumes: what `step_time` does, of DeepSeek-R1 with attention in parallel and its experts over 32
GB200; engines of that kind were measured without halves only.

Source: DeepSeek-AI (2024), arXiv 2412.19437, section 3.4.2; `step_time` with the fitted constants.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    two_batches_s,
)
from serving_mathematics.support import checks

DEVICES = 32
CONTEXT = 2000.0  # tokens of a sequence
FEW, MANY = 16.0, 512.0  # sequences of each device


def _halves_over_whole(each: float) -> float:
    """Time of a step in two halves that take turns, over that of the whole batch at once.

    each: sequences of each device.
    """
    one = deployed(
        "DeepSeek-R1",
        "gb200",
        backend="sglang",
        precision="fp8",
        attention_data=DEVICES,
        expert=DEVICES,
        concurrency=DEVICES * each,
    )
    told = count_work([one]), FITTED, np.array([DEVICES * each]), np.array([CONTEXT])
    return float(two_batches_s(*told)[0] / decode_step_s(*told)[0])


def example() -> SimpleNamespace:
    """Numbers of the page."""
    return SimpleNamespace(halves_few=_halves_over_whole(FEW), halves_many=_halves_over_whole(MANY))


def check_halves_cost_few_and_gain_with_many() -> None:
    """Half batches that take turns make a step with few requests up to twice as long, and shorten
    one with many by at most a half.

    Source: each half reads the weights for itself, and at most its whole time is hidden behind the
    other half.
    """
    checks.inside("16 a device: halves over whole", _halves_over_whole(FEW), 1.0, 2.0)
    checks.inside("512 a device: halves over whole", _halves_over_whole(MANY), 0.5, 1.0)
