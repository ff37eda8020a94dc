"""Sessions under way: whole chains, in order, within the context."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.fleet.session_fit import reused_tokens, session_of
from serving_mathematics.core.machines.sessions import (
    LONGEST_S,
    session_requests,
    sessions_under_way,
)

CONTEXT = 150_000


def test_sessions_are_chains_within_the_context() -> None:
    asked = sessions_under_way(np.random.default_rng(3), 1.0, 4000, CONTEXT)
    assert np.max(asked.prompt_tokens + asked.output_tokens) <= CONTEXT
    later = asked.after >= 0
    assert np.all(asked.after[later] == np.flatnonzero(later) - 1)
    assert np.all(np.diff(asked.arrival_s[~later]) >= 0)
    assert asked.arrival_s.max() <= 4000.0
    assert np.all(asked.pause_s[~later] == 0)
    pauses = np.bincount(session_of(asked), asked.pause_s)
    assert pauses.max() <= LONGEST_S


def test_most_of_a_prompt_was_sent_before() -> None:
    """As in the traces: 96% of all prompt tokens, the first ones of a session left out."""
    asked = sessions_under_way(np.random.default_rng(3), 1.0, 4000, CONTEXT)
    later = asked.after >= 0
    reused = reused_tokens(asked)
    assert np.all(reused[~later] == 0)
    assert reused[later].sum() / asked.prompt_tokens[later].sum() > 0.93


def test_the_same_generator_gives_the_same_sessions() -> None:
    one, other = (sessions_under_way(np.random.default_rng(9), 0.5, 500, CONTEXT) for _ in range(2))
    assert one.prompt_tokens.tolist() == other.prompt_tokens.tolist()
    assert one.arrival_s.tolist() == other.arrival_s.tolist()


def test_a_wider_context_holds_longer_sessions() -> None:
    assert session_requests(400_000) > session_requests(CONTEXT) > session_requests(50_000)
    with pytest.raises(ValueError, match="requests must be"):
        sessions_under_way(np.random.default_rng(0), 1.0, 0, CONTEXT)
