"""Half batches: what they may gain, and where they turn."""

from __future__ import annotations

from serving_mathematics.machine.parallelism.half_batches import (
    FEW,
    MANY,
    _halves_over_whole,
    example,
)


def test_they_pay_from_some_load_on_and_ever_more() -> None:
    found = [_halves_over_whole(each) for each in (FEW, 64.0, 256.0, MANY)]
    assert found == sorted(found, reverse=True)
    assert (example().halves_few, example().halves_many) == (found[0], found[-1])
