"""Refusals: which is told, in which words, and by how much."""

from __future__ import annotations

import pickle
from itertools import permutations

import pytest
from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.planner.capacity_planner.refusals import (
    Infeasible,
    _nearest_refusal,
    _require_held,
    _require_in_time,
)
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.questions import read_choices

CHOICES = read_choices({"rate_per_s": 1, "parallelism": "tp1,tp2,tp4", "precision": "fp8"})


def test_of_many_refusals_that_of_a_deployment_that_holds_the_requests_is_told() -> None:
    """Agents on a 70B: one device has no room for a session, and on eight a prompt takes long."""
    small, late, later = Impossible("like"), Infeasible("late"), Infeasible("later")
    refused = [*zip(CHOICES, (small, late, later), strict=True)]
    assert _nearest_refusal(refused) is late
    assert _nearest_refusal(refused[:1]) is small


def test_the_nearest_is_told_and_named_whatever_comes_first() -> None:
    by = (Infeasible("far", 9.0), Infeasible("near", 1.5), Infeasible("unknown"))
    for refused in permutations(zip(CHOICES, by, strict=True)):
        told = _nearest_refusal(refused)
        assert str(told) == "near, on 2 × H100 SXM (tp2) in FP8, the nearest"
        assert isinstance(told, Infeasible)
        assert told.over == 1.5
    one = [(CHOICES[0], problem) for problem in by]  # of each of its limits
    assert _nearest_refusal(one) is by[1]


def test_the_first_limit_that_is_missed_is_told_and_by_how_much_the_worst() -> None:
    ttft, tpot = promised(1.0, 0.05)
    _require_in_time([("", ttft, 1.0), ("", tpot, 0.05)])
    with pytest.raises(Infeasible, match=r"^no fleet keeps a TTFT .* of chat: .* takes 2 s$") as no:
        _require_in_time([("", tpot, 0.05), ("chat", ttft, 2.0), ("", tpot, 0.2)])
    assert no.value.over == 4.0
    assert pickle.loads(pickle.dumps(no.value)).over == 4.0  # of another process


def test_room_is_for_the_longest() -> None:
    with pytest.raises(Infeasible, match=r"longest request: 1,001 tokens, .* holds 1,000$"):
        _require_held(1001, 1000)
