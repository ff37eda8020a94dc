"""The textbook's loop beside the engine's: limits of one place and of many."""

from __future__ import annotations

import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.queues.mean_value_analysis import exact_mva
from serving_mathematics.definitions.throughput.closed_loop_engine import loop_rate, rates_of
from serving_mathematics.definitions.throughput.throughput import AWAY_S, _one_place, example


def test_one_client_is_the_same_in_both() -> None:
    alone = exact_mva(1, [_one_place()], AWAY_S)[0][0]
    assert loop_rate(1, AWAY_S, rates_of(CHAT))[0] == pytest.approx(alone, rel=0.02)


def test_the_factor_is_that_of_the_ceilings() -> None:
    many = loop_rate(10_000, AWAY_S, rates_of(CHAT))[0]
    one = exact_mva(400, [_one_place()], AWAY_S)[0][-1]
    assert many / one == pytest.approx(example().one_factor, rel=1e-6)
