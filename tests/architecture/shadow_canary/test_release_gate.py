"""The release gate: the rule, its monotony, what the page says of it, refusals."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.shadow_canary.release_gate import (
    decide,
)

HARMS = st.lists(
    st.tuples(st.floats(-1, 1), st.floats(0, 1), st.floats(-0.5, 0.5)), min_size=1, max_size=5
).map(lambda rows: {str(i): (low, low + w, m) for i, (low, w, m) in enumerate(rows)})


@given(HARMS)
def test_decide_follows_its_definition(harms: dict[str, tuple[float, float, float]]) -> None:
    action, because = decide(harms)
    bad = [name for name, (low, _, margin) in harms.items() if low > margin]
    good = [name for name, (_, high, margin) in harms.items() if high < margin]
    if bad:
        assert (action, because) == ("roll back", bad)
    elif len(good) == len(harms):
        assert (action, because) == ("promote", list(harms))
    else:
        assert action == "hold"
        assert set(because) == set(harms) - set(good)


def test_a_harm_exactly_at_its_margin_is_neither() -> None:
    assert decide({"a": (0.1, 0.1, 0.1)}) == ("hold", ["a"])


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="harms must be non-empty"):
        decide({})
    with pytest.raises(ValueError, match="harms must be intervals with low ≤ high"):
        decide({"a": (1.0, 0.0, 0.0)})
    with pytest.raises(ValueError, match="harms must be given finite margins"):
        decide({"a": (0.0, 1.0, math.inf)})
