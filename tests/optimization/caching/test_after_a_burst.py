"""Sessions of a burst among others: nobody is lost, and each goes on as it would alone."""

from __future__ import annotations

import numpy as np
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import reused_tokens, session_of
from serving_mathematics.core.machines.machines import AGENTS
from serving_mathematics.core.machines.sessions import sessions_under_way
from serving_mathematics.optimization.caching.after_a_burst import _together

LATER_S = 50.0


def _sessions(asked: Requests, later_s: float) -> list[tuple[float, list[tuple[float, ...]]]]:
    """Of each session its beginning, and prompts, answers, pauses and what is repeated."""
    session = session_of(asked)
    columns = (asked.prompt_tokens, asked.output_tokens, asked.pause_s, reused_tokens(asked))
    rows = np.array(columns, dtype=float).T
    found = []
    for one in range(int(session.max()) + 1):
        own = np.flatnonzero(session == one)
        begins = float(asked.arrival_s[own[0]]) + later_s
        found.append((begins, [tuple(row) for row in rows[own].tolist()]))
    return found


def test_a_burst_joins_the_others_whole() -> None:
    context = AGENTS.deployment.architecture.context_tokens
    calm, burst = (
        sessions_under_way(np.random.default_rng(seed), rate, 300, context)
        for seed, rate in ((1, 0.5), (2, 2.0))
    )
    both = _together(calm, burst, LATER_S)
    expected = sorted(_sessions(calm, 0.0) + _sessions(burst, LATER_S))
    assert sorted(_sessions(both, 0.0)) == expected
    begins = both.arrival_s[both.after < 0]
    assert np.all(np.diff(begins) >= 0)
