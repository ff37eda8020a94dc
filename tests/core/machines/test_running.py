"""Machines at work: what each request gets, and what a monitor sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet.tiers import Tier
from serving_mathematics.core.machines.machines import AGENTS, CHAT, MIXTURE
from serving_mathematics.core.machines.reader import READER
from serving_mathematics.core.machines.running import Run, Series, ask_machine, run_engine


def test_it_is_the_simulators_answer() -> None:
    run = run_engine(CHAT, 18.0, 1500, np.random.default_rng(2))
    assert isinstance(run, Run)
    asked = Workload(run.arrival_s, run.prompt_tokens, run.output_tokens, run.cached_tokens)
    served = simulate(asked, CHAT.engine)
    assert run.completion_s.tolist() == served.completion_s.tolist()
    around = run.ttft_s - (run.first_token_s - run.arrival_s)
    assert around == pytest.approx(CHAT.made.around_s)
    assert np.array_equal(np.isnan(run.tpot_s), run.output_tokens == 1)
    for warm in (0, 150):
        later = run.output_tokens[warm:] - 1
        each = np.nan_to_num(run.tpot_s[warm:])
        assert run.token_s(warm) == pytest.approx(np.average(each, weights=later))
    assert run_engine(READER, 2.0, 20, np.random.default_rng(2)).token_s() == 0.0  # of one token


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 2.0))
def test_what_is_seen_is_counted_by_hand(seed: int, load: float) -> None:
    rng = np.random.default_rng(seed)
    run = run_engine(CHAT, load * CHAT.ceiling_per_s, 150, rng, places=8)
    moments = np.append(rng.uniform(0, run.completion_s.max(), 8), run.arrival_s[3])
    seen = run.series(moments)
    assert isinstance(seen, Series)
    for place, now in enumerate(moments.tolist()):
        inside = (run.admitted_s <= now) & (run.completion_s > now)
        answering = inside & (run.first_token_s <= now)
        assert seen.running[place] == inside.sum() <= 8
        assert seen.prompts[place] == (inside & ~answering).sum()
        assert seen.waiting[place] == ((run.arrival_s <= now) & (run.admitted_s > now)).sum()
        spans = np.maximum(run.completion_s - run.first_token_s, 1e-12)
        grown = (run.output_tokens - 1) * (now - run.first_token_s) / spans
        held = run.prompt_tokens[inside].sum() + grown[answering].sum()
        assert seen.cache_share[place] * run.cache_tokens == pytest.approx(held, abs=1e-3)


def test_more_load_never_helps() -> None:
    kept = [
        run_engine(CHAT, load * CHAT.ceiling_per_s, 6000, np.random.default_rng(1)).kept(CHAT)
        for load in (0.5, 0.9, 1.3)
    ]
    assert kept[0] == 1.0
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < 0.5


def test_few_places_make_requests_wait() -> None:
    wide = run_engine(CHAT, 13.0, 4000, np.random.default_rng(5))
    narrow = run_engine(CHAT, 13.0, 4000, np.random.default_rng(5), places=32)
    assert narrow.places == 32
    assert np.median(narrow.ttft_s) > 2 * np.median(wide.ttft_s)
    assert np.nanmedian(narrow.tpot_s) < np.nanmedian(wide.tpot_s)
    assert narrow.series([100.0, 200.0]).running.max() <= 32


def test_real_minutes_have_rush_hours() -> None:
    size = int(0.8 * CHAT.ceiling_per_s * 3480)
    even, real = (
        run_engine(
            CHAT, 0.8 * CHAT.ceiling_per_s, size, np.random.default_rng(7), real_minutes=real
        )
        for real in (False, True)
    )
    assert real.kept(CHAT) < even.kept(CHAT)


def test_a_tier_keeps_what_the_device_forgets() -> None:
    """Half the weights' memory of a host, at 50 GB/s to each of eight devices."""
    block_bytes = 16 * 8 * AGENTS.made.token_bytes
    tier = Tier(int(2e12 / block_bytes), block_bytes, 4e11)
    rate = 0.7 * AGENTS.ceiling_per_s
    bare, held = (
        run_engine(AGENTS, rate, 2000, np.random.default_rng(1), tiers=tiers)
        for tiers in ((), (tier,))
    )
    share = [run.cached_tokens.sum() / run.prompt_tokens.sum() for run in (bare, held)]
    assert share[1] > 0.85 > 2 * share[0]


def test_a_slower_clock_for_sessions_and_lines() -> None:
    for machine, rate in ((READER, 30.0), (MIXTURE, 0.5)):
        fast = run_engine(machine, 2 * rate, 400, np.random.default_rng(3))
        slow = run_engine(machine, rate, 400, np.random.default_rng(3), slowness=2.0)
        assert slow.ttft_s == pytest.approx(2 * fast.ttft_s)
        assert slow.busy_share == pytest.approx(fast.busy_share)


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="token_budget must be None for a reader"):
        run_engine(READER, 1.0, 5, rng, token_budget=9)
    with pytest.raises(ValueError, match="tiers must be none for a reader"):
        run_engine(READER, 1.0, 5, rng, tiers=[Tier(1, 1.0, 1.0)])
    with pytest.raises(ValueError, match="tiers must be none, but for sessions"):
        run_engine(CHAT, 1.0, 10, rng, tiers=[Tier(10, 1.0, 1.0)])
    with pytest.raises(ValueError, match="real_minutes must be False for sessions"):
        run_engine(AGENTS, 1.0, 10, rng, real_minutes=True)
    with pytest.raises(ValueError, match="times_s must be of shape"):
        run_engine(READER, 1.0, 5, rng).series([])


def test_the_machine_is_asked_at_its_load() -> None:
    for machine, load in ((CHAT, 0.5), (MIXTURE, 1.5)):
        asked = ask_machine(machine, load, 4000)
        rate = 4000 / asked.arrival_s[-1]
        assert rate == pytest.approx(load * machine.ceiling_per_s, rel=0.05)
        assert asked.prompt_tokens.mean() == pytest.approx(
            machine.sample.prompt_tokens.mean(), rel=0.1
        )
    again = ask_machine(CHAT, 1.0, 50)
    assert np.array_equal(ask_machine(CHAT, 0.5, 50).output_tokens, again.output_tokens)
    assert not np.array_equal(ask_machine(CHAT, 0.5, 50, 2).output_tokens, again.output_tokens)
