"""Both limits at once: bounds, single tokens, failures, load caps and replicas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from serving_mathematics.core.batching.continuous_batching import Workload, latencies_s
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.definitions.slo_sla import joint_objective
from serving_mathematics.definitions.slo_sla.joint_objective import (
    joint_attainment,
    missed_without_spare,
    replicas_for,
)

TIMES = st.lists(st.tuples(st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=30)


@given(TIMES, st.floats(0.1, 9), st.floats(0.1, 9))
def test_both_lie_between_frechets_bounds(
    times: list[tuple[float, float]], first: float, further: float
) -> None:
    ttft, tpot = np.array(times).T
    both = joint_attainment(ttft, tpot, first, further)
    alone = joint_attainment(ttft, tpot, first, 1e9), joint_attainment(ttft, tpot, 1e9, further)
    assert max(0.0, sum(alone) - 1) - 1e-12 <= both <= min(alone)


def test_one_token_has_no_gap_and_a_failure_keeps_nothing() -> None:
    assert joint_attainment([0.1, math.inf], [math.nan, math.nan], 1.0, 1.0) == 0.5


def test_a_time_at_its_limit_keeps_it() -> None:
    assert joint_attainment([1.0, 1.0], [2.0, 2.5], 1.0, 2.0) == 0.5


@given(st.floats(0, 1e6), st.floats(0.1, 1e3), st.integers(0, 3))
def test_what_is_left_of_the_replicas_carries_the_rate(rate: float, cap: float, lost: int) -> None:
    left = replicas_for(rate, cap, lost) - lost
    assert left * cap >= rate * (1 - 1e-6) - 1e-6
    assert (left - 1) * cap < rate * (1 + 1e-9) + 1e-9


@pytest.mark.parametrize("machine", [CHAT, MIXTURE])
def test_one_server_is_the_queue_of_the_textbook(machine: Machine) -> None:
    loads = np.array([0.1, 0.5, 0.9])
    rate = machine.ceiling_per_s
    due = [stats.expon(scale=1 / (rate * (1 - x))).cdf(machine.promise.ttft_s) for x in loads]
    np.testing.assert_allclose(joint_objective._one_server(machine, loads), due)
    assert joint_objective._one_server(machine, 1.2) == 0


def test_the_slider_has_the_numbers_of_the_figure() -> None:
    slider = joint_objective.slider_goodput()
    both, goodput = (np.array(curve["values"]) for curve in slider["panels"][0]["curves"])
    loads = np.array(slider["controls"][0]["values"])
    np.testing.assert_allclose(goodput, both * loads[:, None] / 100)
    lost, cap = np.array(slider["readouts"][-1]["values"]), joint_objective._cap(CHAT)
    due = joint_objective._shares(CHAT, joint_objective._lost(cap)).both
    assert np.interp(100 * cap, loads, lost[:, 0]) == pytest.approx(100 * due, abs=0.5)


def test_a_stricter_share_has_a_lower_cap() -> None:
    """Other runs at a fortieth less than that cap keep it, and at a twentieth more do not."""
    for factor, held in ((0.975, True), (1.05, False)):
        kept, load = [], factor * joint_objective._cap(CHAT, share=0.999)
        for seed in range(3):
            rng = np.random.default_rng([77, seed])
            run = joint_objective.run_engine(CHAT, load * CHAT.ceiling_per_s, 9000, rng)
            kept.append(joint_attainment(run.ttft_s[900:], run.tpot_s[900:], 1.0, 0.05))
        assert (float(np.mean(kept)) >= 0.999) is held


def test_a_loss_at_the_cap_leaves_less_than_a_quarter() -> None:
    """From a steady state at the cap on, in the quarter of an hour that follows: four runs."""
    kept, rate = [], joint_objective.example().chat_cap_per_s
    for seed in range(4, 8):
        rng = np.random.default_rng([31, seed])
        gaps = rng.exponential(1 / rate, 30_000)
        gaps[8000:] *= 7 / 8
        arrivals = np.cumsum(gaps)
        lengths = draw_lengths(rng, CHAT.traffic, gaps.size)
        asked = Workload(arrivals, lengths.prompt_tokens, lengths.output_tokens)
        ttft, tpot = latencies_s(asked, simulate(asked, CHAT.engine))
        after = slice(8000, int(np.searchsorted(arrivals, arrivals[8000] + 900)))
        kept.append(joint_attainment(ttft[after] + CHAT.made.around_s, tpot[after], 1.0, 0.05))
    assert float(np.mean(kept)) < 0.25


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_what_is_missed_is_counted_over_states(
    replicas: int, up: float, peak_share: float, kept: float
) -> None:
    """Over how many replicas are there: all of them, or fewer."""
    fewer = sum(
        math.comb(replicas, there) * up**there * (1 - up) ** (replicas - there)
        for there in range(replicas)
    )
    missed = missed_without_spare(replicas, up, peak_share, kept)
    assert missed == pytest.approx(fewer * peak_share * (1 - kept), abs=1e-9)
