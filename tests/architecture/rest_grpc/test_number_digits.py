"""What digits cost: what is measured is what is written, and in the units that are told."""

from __future__ import annotations

import json

import pytest
from serving_mathematics.architecture.rest_grpc.number_digits import (
    KINDS,
    NUMBERS,
    _numbers,
    example,
    number_cost,
    number_s,
)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_those_of_the_text(kind: str) -> None:
    text = json.dumps(_numbers(kind), separators=(",", ":"))
    assert number_cost.again(kind).size_bytes * NUMBERS == len(text)  # brackets, for one comma
    cost = number_cost(kind)
    assert number_s(kind) == pytest.approx((cost.write_ns + cost.read_ns) * 1e-9)


def test_the_page_quotes_what_engines_send() -> None:
    told = example()
    assert told.digit_ns == pytest.approx(1e9 * number_s("embedding"))
    assert told.digit_bytes == number_cost("embedding").size_bytes
    assert told.short_bytes < 0.7 * told.digit_bytes
