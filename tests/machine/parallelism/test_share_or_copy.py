"""Shared layers against copies: the closed form by brute force, and the pairs of runs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.parallelism.exercises import BOARD_EVEN
from serving_mathematics.machine.parallelism.parallelism import _engines
from serving_mathematics.machine.parallelism.share_or_copy import (
    TIMES,
    _comparisons,
    _pooled,
    example,
    requests_worth_sharing,
)


@given(st.floats(1e-4, 0.1), st.floats(0, 0.01), st.floats(1e-6, 1e-3), st.integers(2, 64))
def test_both_ways_take_as_long_there(w: float, m: float, e: float, n: int) -> None:
    even = requests_worth_sharing(w, m, e, n)
    shared, copies = w / n + m + e * n * even, w
    if even:
        assert shared == pytest.approx(copies)
    else:
        assert shared >= copies * (1 - 1e-12)


def test_one_device_is_never_worth_sharing() -> None:
    assert requests_worth_sharing(1.0, 0.0, 1.0, 1) == 0


def test_a_comparison_by_brute_force() -> None:
    """Median ratio of one model, over all pairs of its runs with twice the devices and requests."""
    runs = [run for run in _engines() if "Llama-3.1-8B" in str(run.model)]
    ratios = []
    for few in runs:
        for many in runs:
            a, b = few.answers, many.answers
            same = (a.system.name, a.backend, a.precision, a.input_tokens, a.output_tokens)
            other = (b.system.name, b.backend, b.precision, b.input_tokens, b.output_tokens)
            twice = b.tensor == 2 * a.tensor and many.concurrency == 2 * few.concurrency
            if twice and same == other and few.source == many.source:
                ratios.append(few.per_token_s / many.per_token_s)
    told = [seen for name, n, _, seen, _ in _comparisons() if "Llama-3.1-8B" in name and n == 2]
    assert np.median(told) == pytest.approx(np.median(ratios), rel=0.03)


def test_pools_are_ordered_and_of_many_runs() -> None:
    for large in (True, False):
        for times in TIMES:
            for low, middle, high, told in _pooled(large, times).values():
                assert low <= middle <= high
                assert 0.5 < told < 2.5
    assert example().comparisons == len(_comparisons())
    assert example().large_few == pytest.approx(next(iter(_pooled(True, 8).values()))[1])


def test_the_prediction_changes_sides_where_runs_of_both_ways_are_close() -> None:
    """By the closed form sharing pays up to 26; from a dozen on the runs show little of it, and
    little of copies that are faster."""
    told = example()
    ratios = {at: row[1] for at, row in _pooled(True, 8).items()}
    assert min(value for at, value in ratios.items() if at < 12) > 1.2
    beyond = [row for at, row in _pooled(True, 8).items() if at > 12]
    assert all(low < 1 < high for low, _, high, _ in beyond)
    assert told.even_whole == BOARD_EVEN  # the exercise decides with it
    assert 0.5 < told.large_many < 0.7
    assert 12 <= told.even_whole <= 20 < told.even_requests
    again = (
        (told.weights_ms * 7 / 8 - told.floors_ms) / (8e-3 * told.token_us),
        told.even_requests,
    )
    assert again[0] == pytest.approx(again[1])
