"""Young's interval against scipy's least mean, and Daly's series."""

from __future__ import annotations

import math

import pytest
from scipy import optimize
from serving_mathematics.architecture.batch_serving.checkpointing import young_interval_s


@pytest.mark.parametrize("checkpoint", [1e-4, 0.01, 0.3])
def test_young_is_least_for_cheap_checkpoints(checkpoint: float) -> None:
    """By Daly's series, √(2δM)·(1 + √(δ/2M)/3 + δ/18M) − δ, it is longer than the best by most of
    a checkpoint."""
    gap = 10.0
    found = optimize.minimize_scalar(
        lambda x: math.expm1((x + checkpoint) / gap) / x, bounds=(1e-3, 10), method="bounded"
    )
    share = checkpoint / (2 * gap)
    daly = young_interval_s(checkpoint, gap) * (1 + math.sqrt(share) / 3 + share / 9) - checkpoint
    assert daly == pytest.approx(found.x, rel=2e-3)
    assert young_interval_s(60 * checkpoint, 60 * gap) == pytest.approx(
        60 * young_interval_s(checkpoint, gap)
    )
