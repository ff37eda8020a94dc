"""The law of a shared step: limits, a plain loop, properties, and what the slider says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.machines.machines import AGENTS, CHAT, MIXTURE
from serving_mathematics.intuition.batch_vs_online.filled_engines import _best
from serving_mathematics.intuition.latency_throughput_cost.latency_throughput_cost import (
    _MACHINES,
    BATCHES,
    PROMPTS,
    _dearer,
    _Law,
    answers_per_s,
    example,
    most_within,
    slider_next_sequence,
    token_gap_s,
)

times = st.floats(1e-4, 1e-1)


def test_a_round_of_requests_by_hand() -> None:
    """Four places, step 10 ms, prompts 30 ms, 50 later tokens: every 50 steps four prompts."""
    round_s = 50 * 0.010 + 4 * 0.030
    assert float(answers_per_s(4, 0.010, 0.030, 50)) == pytest.approx(4 / round_s)
    assert float(token_gap_s(4, 0.010, 0.030, 50)) == pytest.approx((round_s - 0.030) / 50)
    with pytest.raises(ValueError, match="batch must be at least 1"):
        token_gap_s(0.5, 1.0, 1.0, 1.0)


@given(st.floats(1, 500), times, times, st.floats(1, 2000))
def test_littles_law_ties_the_two(batch: float, step: float, prompt: float, later: float) -> None:
    inside_s = prompt + later * float(token_gap_s(batch, step, prompt, later))
    assert batch == pytest.approx(float(answers_per_s(batch, step, prompt, later)) * inside_s)


@given(times, times, times, st.integers(2, 1000))
def test_more_share_a_line_cheaper_and_slower(s: float, d: float, p: float, m: int) -> None:
    batch = np.array([1.0, 2.0, 10.0, 100.0])
    gaps, rates = (law(batch, s + d * batch, p, m) for law in (token_gap_s, answers_per_s))
    assert np.all(np.diff(gaps) > 0)
    assert np.all(np.diff(rates) > 0)
    assert rates[-1] < 1 / (p + m * d)


@given(st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=30), st.floats(1e-3, 1.0))
def test_most_within_counts(gaps: list[float], limit: float) -> None:
    assert most_within(limit, sorted(gaps)) == sum(gap <= limit for gap in gaps)


@pytest.mark.parametrize("machine", [CHAT, MIXTURE, AGENTS])
def test_all_places_are_the_ceiling_of_the_machine(machine) -> None:  # type: ignore[no-untyped-def]
    law = _Law(machine)
    told = machine.ceiling_per_s * law.output
    assert float(law.tokens_per_s(machine.sequences_at_most)) == pytest.approx(told, rel=0.01)
    for batch in (1, 5, machine.places):
        assert sum(float(part) for part in law.shares(batch)) == pytest.approx(1)
    gaps = law.gap_s([1, law.twice - 1, law.twice])
    assert gaps[1] < 2 * gaps[0] <= gaps[2]
    assert law.gap_s(law.promised) <= machine.promise.tpot_s


def test_prompts_cost_twice_or_nothing() -> None:
    alone = _Law(CHAT, 0.0)
    assert float(alone.gap_s(64)) == pytest.approx(float(CHAT.step_s(64)))
    assert float(alone.shares(64)[2]) == 0
    more = float(_Law(CHAT, 2.0).gap_s(64) - _Law(CHAT).gap_s(64))
    assert more == pytest.approx(float(_Law(CHAT).gap_s(64) - alone.gap_s(64)))
    assert float(_Law(CHAT, slow=1.2).price(64) / _Law(CHAT).price(64)) == pytest.approx(1.2)


def test_longer_prompts_leave_fewer_within_the_promise() -> None:
    now, then = _Law(CHAT), _Law(CHAT, 2.0)
    assert _dearer(CHAT, 2.0) > float(then.price(now.promised) / now.price(now.promised)) > 1


def test_the_slider_says_the_numbers_of_the_page() -> None:
    told, page = slider_next_sequence(), example()
    price, gap = told["panels"][1]["curves"][0]["values"], told["panels"][0]["curves"][0]["values"]
    at, chat = BATCHES.index(page.few), list(_MACHINES).index("chat")
    assert price[at, chat, 0] == pytest.approx(float(_Law(CHAT).price(page.few)))
    slower = 100 * (gap[at, chat, 0] / gap[0, chat, 0] - 1)
    assert slower == pytest.approx(page.few_slower_percent)
    assert next(iter(PROMPTS)) == "as they are"
    agents = price[:, list(_MACHINES).index("agents"), 0]
    assert [value is None for value in agents] == [batch > 40 for batch in BATCHES]
    rate = told["readouts"][0]["values"]
    assert price[at, chat, 1] == pytest.approx(2e6 / 3600 / rate[at, chat, 1])


def test_a_promised_p99_takes_a_quarter_of_the_places() -> None:
    """The page's margin: places that a full engine kept for 99%, over those that keep the mean."""
    kept = _best("chat", "places and priority")["places"]
    assert 1 - kept / _Law(CHAT).promised == pytest.approx(0.25, abs=0.05)
