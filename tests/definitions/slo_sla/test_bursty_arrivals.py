"""Bursts on the engine: gaps of scatter 1 are those of a Poisson process."""

from __future__ import annotations

import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.definitions.slo_sla.bursty_arrivals import _kept
from serving_mathematics.definitions.slo_sla.joint_objective import _shares


def test_gaps_of_scatter_one_keep_what_poisson_arrivals_keep() -> None:
    for load in (0.85, 0.9):
        assert _kept(CHAT, load, 1.0)[0] == pytest.approx(_shares(CHAT, load).both, abs=0.02)


def test_the_burstier_the_fewer_keep_the_promise() -> None:
    kept = [_kept(CHAT, 0.85, scatter)[0] for scatter in (0.5, 1.0, 2.0, 4.0)]
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < kept[0] - 0.2
