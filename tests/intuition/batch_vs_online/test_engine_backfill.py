"""One engine with batch work in its valleys: limits, accounting, the record's shape."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.intuition.batch_vs_online.engine_backfill import (
    LONGER,
    PEAK,
    RECORD,
    SEEDS,
    SPANS_S,
    TOP,
    _longer_rules,
    _online,
    _Rule,
    _rules,
    _run,
)
from serving_mathematics.support.measuring import read_record


def test_the_wave_has_its_top_and_its_mean() -> None:
    times, span = _online(CHAT, False, np.random.default_rng(1))
    assert span == SPANS_S["chat"]
    assert np.all(np.diff(times) >= 0)
    assert 0 <= times[0] <= times[-1] <= span
    top = TOP * promised_load("chat") * CHAT.ceiling_per_s
    counts = np.histogram(times, 24, (0, span))[0] * 24 / span
    assert counts.max() == pytest.approx(top, rel=0.1)
    assert times.size / span == pytest.approx(top / PEAK, rel=0.05)
    assert 10 <= int(counts.argmax()) <= 13  # in the middle of the run


def test_without_batch_work_nothing_else_is_done() -> None:
    alone = _run(MIXTURE, _Rule(0, 64, False), 0)
    times, span = _online(MIXTURE, False, np.random.default_rng([17, 0]))
    assert alone["work"] == pytest.approx(times.size / (MIXTURE.ceiling_per_s * span))
    assert alone["given_up"] == 0
    assert alone["kept"] <= min(alone["first"], alone["gap"])


def test_priority_brings_first_tokens_forward() -> None:
    first = [_run(MIXTURE, _Rule(64, 32, priority), 0)["first"] for priority in (False, True)]
    assert first[1] > first[0] + 0.3


def test_the_record_has_every_rule() -> None:
    cells = read_record(RECORD)["cells"]
    for machine in ("chat", "mixture"):
        told = [cell for cell in cells if cell["machine"] == machine and not cell["real"]]
        told = [cell for cell in told if "batch" not in cell]
        settings = [(cell["rule"], cell["in_flight"], cell["places"]) for cell in told]
        expected = [
            (name, rule.in_flight, rule.places)
            for name, rules in _rules(machine).items()
            for rule in rules
        ]
        assert settings == expected
    for batch_is in LONGER:
        told = [cell for cell in cells if cell.get("batch") == batch_is]
        settings = [(cell["rule"], cell["in_flight"], cell["places"]) for cell in told]
        longer = _longer_rules().items()
        assert settings == [(name, r.in_flight, r.places) for name, rules in longer for r in rules]
    assert {len(cell["kept"]) for cell in cells} == {SEEDS}
    assert {cell["machine"] for cell in cells if cell["real"]} == {"chat"}
