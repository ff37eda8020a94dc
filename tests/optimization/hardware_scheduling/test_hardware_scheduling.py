"""Response by size: scipy integrals, limits, orders between policies, refusals; exercises."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from serving_mathematics.core.queues.size_based import (
    EXPONENTIAL,
    UNEVEN,
    Sizes,
    mean_response,
    predicted_sjf_mean,
    response_by_size,
)
from serving_mathematics.optimization.hardware_scheduling.exercises import (
    best_threshold,
    cheapest_device,
    multifit,
    pipeline_overtakes,
)

MIXTURES = (EXPONENTIAL, UNEVEN, Sizes((0.5, 0.3, 0.2), (0.2, 1.0, 4.0)))


def test_the_grid_holds_the_sizes() -> None:
    for sizes in MIXTURES:
        x = sizes.log_grid()
        assert np.allclose(np.diff(np.log(x)), 0.01)
        assert 0.01 * np.sum(sizes.density(x) * x**2) == pytest.approx(sizes.moment(1), rel=1e-9)


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: Sizes((), ()), "shares must be non-empty"),
    (lambda: Sizes((1.0,), (0.0,)), "means must be non-empty, positive"),
    (lambda: Sizes((0.5, 0.6), (1.0, 1.0)), "shares must be numbers that sum"),
    (lambda: Sizes((1.0,), (1.0, 2.0)), "means must be as many as the 1 shares"),
    (lambda: response_by_size("ps", 1.0, 0.5, UNEVEN), "policy must be fcfs, sjf or srpt"),
    (lambda: response_by_size("sjf", [], 0.5, UNEVEN), "size_s must be positive"),
    (lambda: response_by_size("sjf", math.nan, 0.5, UNEVEN), "size_s must be positive"),
    (lambda: response_by_size("sjf", 1.0, -0.1, UNEVEN), "arrival_rate must be non-negative"),
    (lambda: mean_response("srpt", math.nan, UNEVEN), "arrival_rate must be non-negative"),
    (lambda: mean_response("fcfs", 1.0, UNEVEN), "arrival_rate must be in"),
    (lambda: predicted_sjf_mean(1.0, UNEVEN, 0.5), "arrival_rate must be in"),
    (lambda: predicted_sjf_mean(0.5, UNEVEN, math.nan), r"log_error must be in \[0, 20\]"),
    (lambda: predicted_sjf_mean(0.5, UNEVEN, 21.0), r"log_error must be in \[0, 20\]"),
    (lambda: cheapest_device(-1.0, 1.0, {"a": (1, 1, 1)}), "flops must be non-negative"),
    (lambda: cheapest_device(1.0, math.inf, {"a": (1, 1, 1)}), "bytes_moved must be"),
    (lambda: cheapest_device(0.0, 0.0, {"a": (1, 1, 1)}), "flops must be positive where"),
    (lambda: cheapest_device(1.0, 1.0, {}), "devices must be at least one"),
    (lambda: cheapest_device(1.0, 1.0, {"a": (1, 0, 1)}), "devices must be positive and finite"),
    (lambda: pipeline_overtakes(0.0, 1.5), "prefill_s must be positive"),
    (lambda: pipeline_overtakes(0.1, 1.0), r"speedup must be in \(1, 2\)"),
    (lambda: best_threshold(0.0), r"utilization must be in \(0, 1\)"),
    (lambda: multifit([], 2), "durations must be at least one"),
    (lambda: multifit([0], 2), "durations must be positive integers"),
    (lambda: multifit([1], 0), "devices must be a positive integer"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
