"""The closed forms of a machine: limits, identities, and where they end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.core.machines.token_sharing import (
    Shared,
    StepLine,
    share_tokens,
    step_line,
)
from serving_mathematics.core.queues.erlang import erlang_c


def test_alone_it_is_a_step_of_one() -> None:
    told = share_tokens(CHAT, 1e-6)
    assert told.tpot_s == pytest.approx(float(CHAT.step_s(0)), rel=0.02)
    assert told.inside == pytest.approx(0.0, abs=1e-3)
    assert told.all_taken < 1e-12


@given(st.floats(0.05, 0.9))
def test_littles_law_and_monotone(load: float) -> None:
    for machine in (CHAT, MIXTURE):
        rate = load * machine.ceiling_per_s
        told, more = share_tokens(machine, rate), share_tokens(machine, 1.05 * rate)
        later = step_line(machine).later_tokens
        assert told.sequences == pytest.approx(rate * later * told.tpot_s, rel=1e-3)
        assert more.tpot_s > told.tpot_s
        assert more.all_taken >= told.all_taken
        assert told.erlang == pytest.approx(erlang_c(machine.places, told.inside))


def test_one_place_is_a_single_server() -> None:
    """With one place the chance to find it taken is the utilization, for any law."""
    alone = CHAT.limited(1)
    line = step_line(alone)
    assert line.sequence_s == 0.0
    service = line.prompt_s + line.later_tokens * float(CHAT.step_s(1))
    told = share_tokens(alone, 0.4 / service)
    assert told.all_taken == pytest.approx(0.4, rel=1e-9)


def test_the_ceiling_is_where_places_end() -> None:
    """Refused from where all places do not suffice; the limit of many places is above."""
    line = step_line(CHAT)
    assert CHAT.ceiling_per_s < line.most_per_s
    for rate in (line.most_per_s, 1.001 * CHAT.ceiling_per_s):
        with pytest.raises(ValueError, match="rate_per_s must be below the"):
            share_tokens(CHAT, rate)
    assert isinstance(share_tokens(CHAT, 1.0), Shared)
    assert StepLine(0.01, 1e-4, 0.02, 200.0).most_per_s == pytest.approx(25.0)
    near = share_tokens(CHAT, 0.999 * CHAT.ceiling_per_s)
    assert 0.5 < near.all_taken < 1.0
