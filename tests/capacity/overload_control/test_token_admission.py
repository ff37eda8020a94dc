"""Admission by requests and by tokens: a slow one that lists who is inside, monotony, errors."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.overload_control import token_admission
from serving_mathematics.capacity.overload_control.token_admission import (
    DEADLINE_S,
    LONG,
    OVER,
    READ_PER_S,
    SHORT,
    admit,
    example,
    in_time,
)

from tests.profiles import costly


def slow_admit(
    arrivals: list[float], tokens: list[int], rate: float, places: float, most: float
) -> list[float]:
    """First tokens, from a list of what is left of every prompt inside, read in order."""
    inside: list[float] = []
    first, now = [], 0.0
    for time, size in zip(arrivals, tokens, strict=True):
        budget, now = (time - now) * rate, time
        while inside and budget > 0:
            done = min(budget, inside[0])
            budget -= done
            inside[0] -= done
            if inside[0] <= 1e-9:
                inside.pop(0)
        if len(inside) < places and sum(inside) + size <= most + 1e-9:
            inside.append(float(size))
            first.append(sum(inside) / rate)
        else:
            first.append(math.inf)
    return first


@costly
@given(st.integers(0, 10_000), st.sampled_from([1, 3, math.inf]), st.sampled_from([900, math.inf]))
def test_admission_equals_the_slow_one(seed: int, places: float, most: float) -> None:
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(1.0, 60))
    tokens = rng.integers(1, 800, 60)
    found = admit(arrivals, tokens, 300.0, most_requests=places, most_tokens=most)
    expected = slow_admit(arrivals.tolist(), tokens.tolist(), 300.0, places, most)
    np.testing.assert_allclose(found.first_s, expected, atol=1e-9)
    assert found.admitted.tolist() == [math.isfinite(x) for x in expected]


def test_a_prompt_that_is_read_leaves_at_that_moment() -> None:
    found = admit([0.0, 1.0, 1.0], [1000, 500, 500], 1000.0, most_requests=1)
    assert found.first_s.tolist() == [1.0, 0.5, math.inf]


def test_shares_in_time() -> None:
    assert in_time([2.0, 2.5, math.inf], [10, 10, 20], 2.0) == (pytest.approx(1 / 3), 0.25)
    assert in_time([2.0], [7], 2.0) == (1.0, 1.0)  # at the deadline is in time


def test_laws_have_one_mean() -> None:
    mean = SHORT + 0.1 * (LONG - SHORT)
    for sizes in ("two kinds", "lognormal"):
        arrivals, tokens = token_admission._traffic(sizes, OVER)
        assert tokens.mean() == pytest.approx(mean, rel=0.05)
        offered = tokens.sum() / arrivals[-1]
        assert offered == pytest.approx(OVER * READ_PER_S, rel=0.05)


def test_numbers_of_the_page() -> None:
    """The limits shown are the best of those tried, and the tokens in time stay below what can be
    read."""
    told = example()
    for kind, shown, best in (
        ("most_requests", told.by_places_percent, told.best_places),
        ("most_tokens", told.by_tokens_percent, told.best_tokens),
    ):
        tried = {
            "most_requests": token_admission.PLACES,
            "most_tokens": token_admission.TOKENS,
        }[kind]
        shares = {x: token_admission._share("two kinds", OVER, kind, float(x))[0] for x in tried}
        assert shown == shares[best] == max(shares.values())
    assert told.by_places_tokens < told.by_tokens_tokens < 100 / OVER + 1
    assert told.unlimited_percent < 1
    assert told.long_by_tokens < told.long_by_places
    assert told.engine_by_tokens > 1.5 * told.engine_by_places
    assert told.engine_fast_tokens < told.engine_fast_places
    assert told.best_tokens <= READ_PER_S * DEADLINE_S


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tokens": [1.0]}, r"tokens must be of shape \(2,\)"),
    ],
)
def test_admission_refuses(arguments: dict[str, Any], message: str) -> None:
    usual: dict[str, Any] = {"arrival_s": [0.0, 1.0], "tokens": [5, 5], "tokens_per_s": 1.0}
    with pytest.raises(ValueError, match=message):
        admit(**(usual | arguments))
