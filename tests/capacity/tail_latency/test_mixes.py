"""Requests of the mixes: their rate, their documents, and calls that come together."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.capacity.tail_latency.mixes import _ask, _ceiling_per_s


def test_requests_are_drawn_at_the_load_that_is_said() -> None:
    asked = _ask("documents", 0.5, 1)
    rate = asked.workload.arrival_s.size / asked.workload.arrival_s[-1]
    assert rate == pytest.approx(0.5 * 4 * _ceiling_per_s("documents"), rel=0.05)
    assert asked.long.mean() == pytest.approx(0.02, abs=0.006)
    pages = _ask("chat", 0.5, 1, together=8).workload.arrival_s.reshape(-1, 8)
    assert np.all(pages == pages[:, :1])
