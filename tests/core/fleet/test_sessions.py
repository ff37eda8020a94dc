"""A law of sessions is found again from what it drew, and a cut context from a trace."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sessions import (
    AGENT,
    LEVELS,
    Quantity,
    SessionLaw,
    draw_sessions,
)
from serving_mathematics.core.fleet.sharing import (
    prefixes_of_reuse,
    reused_tokens,
    session_of,
)
from serving_mathematics.core.fleet.simulator import simulate_fleet

from .session_laws import fit_sessions, fitted_quantity, summary


def test_a_law_is_found_again() -> None:
    """Fitted to 1,500 short sessions of its own it draws like them, by every line of the summary
    and within what it is judged by; its habits and cuts come back."""
    short = replace(AGENT, requests=Quantity((2.0,) * 5 + (12.0,) * 6))
    asked = draw_sessions(np.random.default_rng(1), short, 1500)
    law = fit_sessions(asked)
    assert isinstance(law, SessionLaw)
    expected, found = (
        summary(draw_sessions(np.random.default_rng(2), one, 1500)) for one in (short, law)
    )
    for line, value in expected.items():
        if "median" in line or "p90" in line:
            assert found[line] == pytest.approx(value, rel=0.15 if "median" in line else 0.25), line
        else:
            assert found[line] == pytest.approx(value, abs=0.03), line
    for name in ("new_tokens", "output_tokens", "pause_s"):
        ours, theirs = getattr(law, name).habit, getattr(AGENT, name).habit
        assert ours == pytest.approx(theirs, abs=0.06), name
    assert law.cut_share == pytest.approx(AGENT.cut_share, rel=0.3)
    assert law.together == pytest.approx(AGENT.together, abs=0.15)


def test_a_law_without_chance_is_one_session_again_and_again() -> None:
    """Three requests of 100 tokens, and 30 more in each; or half of the context, where it is cut,
    and 50 more."""
    always = [Quantity((value,) * len(LEVELS)) for value in (3.0, 100.0, 30.0, 7.0, 2.0, 0.5, 50.0)]
    for cut_share, prompts in ((0.0, [100, 130, 160]), (1.0, [100, 100, 100])):
        law = SessionLaw(*always[:5], 0.0, cut_share, *always[5:])
        asked = draw_sessions(np.random.default_rng(1), law, 2)
        assert asked.prompt_tokens.tolist() == 2 * prompts
        assert asked.output_tokens.tolist() == [7] * 6
        assert asked.pause_s.tolist() == [0.0, 2.0, 2.0] * 2
        assert reused_tokens(asked).tolist() == 2 * [0, *([50] * 2 if cut_share else prompts[:2])]


def test_quantiles_of_draws_are_the_table() -> None:
    scores = np.random.default_rng(3).standard_normal(40_000)
    drawn = AGENT.output_tokens.drawn(scores)
    for level, value in zip(LEVELS[1:8], AGENT.output_tokens.quantiles[1:8], strict=True):
        error = math.sqrt(level * (1 - level) / scores.size)
        assert abs(float((drawn <= value).mean()) - level) < 4 * error


def test_habits_are_how_far_sessions_are_apart() -> None:
    """Normal logarithms with a third of their variance between sessions of 30."""
    rng = np.random.default_rng(4)
    session = np.repeat(np.arange(300), 30)
    logs = rng.normal(0, 1, 300)[session] + rng.normal(0, math.sqrt(2), session.size)
    assert fitted_quantity(np.exp(logs), session).habit == pytest.approx(1 / 3, abs=0.06)
    assert fitted_quantity(np.exp(rng.normal(0, 1, session.size)), session).habit < 0.02
    assert fitted_quantity([2.0, 2.0], [0, 1]).habit == 0.0


def test_what_is_repeated_by_hand() -> None:
    """The second repeats 60 of 100; the third, after a cut, 20; another session all of the first,
    which was not its own."""
    tree = prefixes_of_reuse([-1, 0, 1, 0], [0, 60, 20, 100], [100, 90, 50, 120])
    asked = Requests([0.0] * 4, [100, 90, 50, 120], [1] * 4, after=[-1, 0, 1, -1], prefixes=tree)
    assert reused_tokens(asked).tolist() == [0, 60, 20, 0]
    assert session_of(asked).tolist() == [0, 0, 0, 1]
    law = fit_sessions(asked)
    assert law.cut_share == 1.0  # both repeat less than nine tenths
    assert law.kept_share.quantiles[0] == pytest.approx(20 / 90)


@given(st.integers(0, 2**32), st.integers(1, 12))
def test_draws_are_sessions(seed: int, sessions: int) -> None:
    """Prompts grow by what is new, start where they are told, and repeat what was there."""
    law = replace(AGENT, requests=Quantity((1.0,) * 5 + (9.0,) * 6), cut_share=0.2)
    starts = np.arange(sessions) * 2.0
    asked = draw_sessions(np.random.default_rng(seed), law, sessions, starts)
    own = asked.after < 0
    assert asked.arrival_s[own].tolist() == starts.tolist()
    again = reused_tokens(asked)
    assert (again < asked.prompt_tokens).all()
    assert (again[own] == 0).all()
    assert (again[~own] <= asked.prompt_tokens[asked.after[~own]]).all()
    same = draw_sessions(np.random.default_rng(seed), law, sessions, starts)
    assert np.array_equal(same.prompt_tokens, asked.prompt_tokens)


def test_a_fleet_finds_what_sessions_repeat() -> None:
    """One engine with room for everything computes what is new in every prompt, and at most a block
    more."""
    asked = draw_sessions(np.random.default_rng(6), AGENT, 12)
    engine = Engine(0.01, prefill_token_s=1e-6, block_tokens=64)
    got = simulate_fleet(asked, Fleet([engine], caching=True))
    again = reused_tokens(asked)
    assert (got.found_tokens <= again).all()
    assert (again - got.found_tokens < 64).all()


def test_laws_that_are_none() -> None:
    with pytest.raises(ValueError, match="quantiles must be 11 positive numbers that do not fall"):
        Quantity((1.0, 2.0))
    with pytest.raises(ValueError, match="quantiles must be 11 positive numbers that do not fall"):
        Quantity((2.0,) * 10 + (1.0,))
    with pytest.raises(ValueError, match=r"habit must be in \[0, 1\], got 1.5"):
        Quantity((1.0,) * 11, 1.5)
    with pytest.raises(ValueError, match=r"together must be in \[-1, 1\], got 1.5"):
        replace(AGENT, together=1.5)
    with pytest.raises(ValueError, match=r"cut_share must be in \[0, 1\], got -0.5"):
        replace(AGENT, cut_share=-0.5)
    with pytest.raises(ValueError, match=r"requests.prefixes must be given"):
        reused_tokens(Requests([0.0], [9], [1]))
