"""Shares of paged memory against a loop over the steps."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.caching.paged_memory import paged_use

REQUESTS = st.lists(st.tuples(st.integers(1, 60), st.integers(1, 40)), min_size=1, max_size=8)


@given(REQUESTS, st.integers(1, 40))
def test_paged_use_counts_steps(requests: list[tuple[int, int]], block: int) -> None:
    held = [n for p, o in requests for n in range(p, p + o)]
    taken = [block * math.ceil(n / block) for n in held]
    prompts, outputs = zip(*requests, strict=True)
    assert paged_use(prompts, outputs, block) == pytest.approx(sum(held) / sum(taken))
    assert paged_use(prompts, outputs, 1) == 1.0


def test_lengths_beyond_counting_are_refused() -> None:
    with pytest.raises(ValueError, match="prompts must be positive integers below"):
        paged_use([2**31], [2], 16)
    with pytest.raises(ValueError, match="outputs must be positive integers below"):
        paged_use([2], [2**31], 16)
