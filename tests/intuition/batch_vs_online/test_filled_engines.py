"""What the record of filled engines says: best settings, and the numbers of the page."""

from __future__ import annotations

from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.intuition.batch_vs_online.filled_engines import (
    _best,
)


def test_where_none_keeps_it_the_best_is_nearest() -> None:
    priority = _best("chat", "priority")
    assert min(priority["kept"]) < CHAT.promise.share
    assert priority["places"] == CHAT.places
