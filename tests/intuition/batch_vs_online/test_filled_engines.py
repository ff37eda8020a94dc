"""What the record of filled engines says: best settings, and the numbers of the page."""

from __future__ import annotations

from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.intuition.batch_vs_online.filled_engines import (
    ROWS,
    _best,
    _cells,
    example,
)


def test_the_best_setting_keeps_the_promise_and_does_most() -> None:
    for machine in (CHAT, MIXTURE):
        for rule in ("a number in flight", "places and priority"):
            best = _best(machine.name, rule)
            assert min(best["kept"]) >= machine.promise.share
            for other in _cells(machine.name):
                if other["rule"] == rule and min(other["kept"]) >= machine.promise.share:
                    assert other["mean"]["work"] <= best["mean"]["work"]


def test_where_none_keeps_it_the_best_is_nearest() -> None:
    priority = _best("chat", "priority")
    assert min(priority["kept"]) < CHAT.promise.share
    assert priority["places"] == CHAT.places


def test_numbers_of_the_page() -> None:
    told = example()
    assert told.rule_rows.count("\n") == len(ROWS) - 1
    assert told.filled_token_ms > 2 * told.alone_token_ms
    assert 1000 * CHAT.promise.tpot_s > told.filled_token_ms
