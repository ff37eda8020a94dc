"""The published example, mended, keeps its rules."""

from __future__ import annotations

import math

from serving_mathematics.intuition.endpoints_as_contracts.published_example import (
    PUBLISHED_REQUEST,
    example,
)


def test_three_elements_would_do() -> None:
    told = example()
    assert (told.published_elements, told.published_given) == (3, 1)
    assert told.published_missing == "model_name"
    names = [one["name"] for one in PUBLISHED_REQUEST["inputs"]]
    assert len(set(names)) == len(names)
    assert math.prod([]) == 1  # of a scalar
