"""Sessions under way: whole chains, in order, within the context."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import reused_tokens, session_of
from serving_mathematics.core.machines import sessions
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


def told(asked: Requests) -> tuple[float, ...]:
    """What a cache meets: first requests, how long sessions are seen, prompts, pauses."""
    later = asked.after >= 0
    many = np.bincount(session_of(asked))
    quantiles = np.quantile(asked.pause_s[later], [0.5, 0.9])
    reused = reused_tokens(asked).sum() / asked.prompt_tokens.sum()
    return (
        float((~later).mean()),
        float(many.mean()),
        float(np.quantile(many, 0.9)),
        float(asked.prompt_tokens.mean()),
        *quantiles.tolist(),
        float(reused),
    )


def test_copies_that_are_seen_are_like_sessions_drawn_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Means of two runs each, whose standard errors are about 1%, of long sessions 4%."""
    drawn, copied = (
        [
            told(sessions_under_way(np.random.default_rng([seed, pool]), rate, 4000, CONTEXT))
            for seed in range(2)
            if monkeypatch.setattr(sessions, "POOL", pool) is None
        ]
        for rate, pool in ((7.0, 4000), (7.0, 3500))
    )
    np.testing.assert_allclose(np.mean(copied, axis=0), np.mean(drawn, axis=0), rtol=0.1)


@pytest.mark.parametrize(("rate", "requests"), [(16.0, 4000), (1000.0, 100_000), (1e5, 4000)])
def test_any_rate_is_answered_and_kept(rate: float, requests: int) -> None:
    """Requests of 900 to 25,000 copies; what is seen of one is more than one request."""
    asked = sessions_under_way(np.random.default_rng(5), rate, requests, CONTEXT)
    assert asked.after.size == pytest.approx(requests, rel=0.1)
    later = asked.after >= 0
    assert np.all(asked.after[later] == np.flatnonzero(later) - 1)
    assert np.all(np.diff(asked.arrival_s[~later]) >= 0)
    assert asked.arrival_s.max() <= requests / rate
    assert np.max(asked.prompt_tokens + asked.output_tokens) <= CONTEXT
