"""A run is taken from those before it only where it is that of the same requests and engine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching import event_skipping
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    Served,
    Workload,
    chat_workload,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.planner import capacity_planner, separate_fleets

from . import simulated
from .profiles import THOROUGH
from .simulated import SimulatedOnce, once

ASKED = chat_workload(np.random.default_rng(1), 2.0, 30, 100.0, 20.0)


def counted(most: int = 9) -> tuple[list[int], Callable[..., Served]]:
    calls: list[int] = []

    def noted(asked: Workload, engine: Engine, *others: object, **named: object) -> Served:
        calls.append(engine.max_sequences)
        return simulate(asked, engine, *others, **named)  # type: ignore[arg-type]

    return calls, once(noted, most)


def test_the_same_is_simulated_once_and_anything_else_anew() -> None:
    calls, kept = counted()
    first = kept(ASKED, EIGHT_BILLION)
    copied = Workload(ASKED.arrival_s.copy(), ASKED.prompt_tokens, ASKED.output_tokens)
    assert kept(copied, replace(EIGHT_BILLION)) is first
    assert len(calls) == 1
    again = simulate(ASKED, EIGHT_BILLION)
    assert first.completion_s.tolist() == again.completion_s.tolist()
    others = [
        (Workload(ASKED.arrival_s + 1.0, ASKED.prompt_tokens, ASKED.output_tokens), EIGHT_BILLION),
        (ASKED, replace(EIGHT_BILLION, max_sequences=2)),
        (ASKED, EIGHT_BILLION, 1),
    ]
    for given in others:
        told, alone = kept(*given), simulate(*given)  # type: ignore[arg-type]
        assert told.completion_s.tolist() == alone.completion_s.tolist()
    assert len(calls) == 4


def test_nobody_writes_in_a_run_and_gaps_are_noted_each_time() -> None:
    calls, kept = counted()
    with pytest.raises(ValueError, match="read-only"):
        kept(ASKED, EIGHT_BILLION).completion_s[0] = 0.0
    noted = [list[tuple[float, int]](), list[tuple[float, int]]()]
    for gaps in noted:
        kept(ASKED, EIGHT_BILLION, gaps=gaps)
    assert noted[0] == noted[1] != []
    assert len(calls) == 3


def test_the_last_are_kept() -> None:
    calls, kept = counted(most=2)
    for places in (1, 2, 1, 3, 1, 2):
        kept(ASKED, replace(EIGHT_BILLION, max_sequences=places))
    assert calls == [1, 2, 3, 2]


def test_only_the_planner_is_answered_so(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = [vars(one) for one in (capacity_planner, separate_fleets)]
    assert all((one["simulate"] is simulate) == THOROUGH for one in theirs)
    assert event_skipping.simulate is simulate
    for one in theirs:
        monkeypatch.setitem(one, "simulate", simulate)
    monkeypatch.setattr(simulated, "once", lambda _: sys)
    SimulatedOnce().pytest_collection_finish()
    assert all(one["simulate"] is sys for one in theirs)
