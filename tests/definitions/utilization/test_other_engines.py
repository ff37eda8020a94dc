"""A slower engine is a faster clock's: the same steps, at a higher share of its own ceiling."""

from __future__ import annotations

import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.definitions.utilization.other_engines import _run


def test_a_step_a_fifth_slower_is_a_load_a_fifth_higher() -> None:
    slow, hot = _run(CHAT, 80, 16_000, slowness=1.2), _run.again(CHAT, 96, 16_000)
    assert slow.slow_s == pytest.approx(1.2 * hot.slow_s, rel=0.02)
    assert slow.running == pytest.approx(hot.running, rel=0.02)
