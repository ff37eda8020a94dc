"""What digits cost: what is measured is what is written, and in the units that are told."""

from __future__ import annotations

import json

import pytest
from serving_mathematics.architecture.rest_grpc.number_digits import (
    KINDS,
    NUMBERS,
    _number_cost,
    _number_s,
    _numbers,
)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_those_of_the_text(kind: str) -> None:
    text = json.dumps(_numbers(kind), separators=(",", ":"))
    assert _number_cost.again(kind).size_bytes * NUMBERS == len(text)  # brackets, for one comma
    cost = _number_cost(kind)
    assert _number_s(kind) == pytest.approx((cost.write_ns + cost.read_ns) * 1e-9)


def test_longer_digits_take_longer_here_too() -> None:
    again = [_number_cost.again(kind) for kind in KINDS]
    times = [cost.write_ns + cost.read_ns for cost in again]
    assert times[0] > 1.5 * times[1]
