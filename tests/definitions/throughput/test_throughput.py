"""Bounds, exact mean value analysis and the exercises: hand cases, limits, properties, errors."""

from __future__ import annotations

from hypothesis import strategies as st

DEMANDS = st.lists(st.floats(0.01, 10.0), min_size=1, max_size=5)
CLIENTS = st.integers(1, 30)


# the exercises
