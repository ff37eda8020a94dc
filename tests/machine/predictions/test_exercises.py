"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from serving_mathematics.machine.predictions.exercises import (
    ridge_tokens,
    running_requests,
    tokens_that_touch,
)


def test_tokens_that_touch() -> None:
    assert tokens_that_touch(0.5, 2, 1) == pytest.approx(1)
    assert tokens_that_touch(0.99, 256, 8) == pytest.approx(2 * tokens_that_touch(0.9, 256, 8))
    with pytest.raises(ValueError, match="share must be"):
        tokens_that_touch(1.5, 8, 2)


def test_running_requests() -> None:
    assert running_requests(10, 0.0, 0.1, 5) == 10
    assert running_requests(10, 0.5, 0.1, 5) == 5
    with pytest.raises(ValueError, match="concurrency must be"):
        running_requests(0, 0.5, 0.1, 5)


def test_ridge_tokens() -> None:
    assert ridge_tokens(1000, 10, 1) == 50
    with pytest.raises(ValueError, match="peak_flops_per_s must be"):
        ridge_tokens(0, 10, 1)
