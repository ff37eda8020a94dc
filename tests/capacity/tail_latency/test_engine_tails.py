"""What the record says, the page's numbers, the stepper, and shares of blocked arrivals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.tail_latency import copy_tails, long_prompt, prompt_tails
from serving_mathematics.capacity.tail_latency.mixes import MIXES, _ask, _ceiling_per_s
from serving_mathematics.capacity.tail_latency.tail_record import (
    COPIES,
    LOADS,
    REMEDIES,
    _recorded,
    _serve,
    _tail,
)


@given(st.floats(0, 50), st.floats(0, 1), st.floats(0, 10))
def test_blocked_share_is_a_share_of_time(rate: float, share: float, read: float) -> None:
    told = prompt_tails.blocked_share(rate, share, read)
    assert 0 <= told <= 1
    assert told == pytest.approx(min(1.0, rate * share * read))


def test_the_record_has_every_case() -> None:
    record = _recorded()
    assert record["loads"].keys() == {f"{load}, {name}" for load in LOADS for name in COPIES}
    cases = itertools.product(MIXES, (0.5, 0.7), REMEDIES)
    assert record["remedies"].keys() == {f"{mix}, {load}, {name}" for mix, load, name in cases}
    for rows in (record["loads"], record["remedies"], record["cases"]):
        for row in rows.values():
            assert 0 < row["p50"] <= row["p95"] <= row["p99"]
            assert 0 <= row["sent"] <= 1 >= row["won"] >= 0


def test_requests_are_drawn_at_the_load_that_is_said() -> None:
    asked = _ask("documents", 0.5, 1)
    rate = asked.workload.arrival_s.size / asked.workload.arrival_s[-1]
    assert rate == pytest.approx(0.5 * 4 * _ceiling_per_s("documents", 0), rel=0.05)
    assert asked.long.mean() == pytest.approx(0.02, abs=0.006)
    pages = _ask("chat", 0.5, 1, together=8).workload.arrival_s.reshape(-1, 8)
    assert np.all(pages == pages[:, :1])
    cold = _ask("chat", 0.5, 1, before=3000).workload
    assert np.all(cold.cached_tokens == 3000)


def test_long_prompts_have_an_engine_of_their_own() -> None:
    asked = _ask("documents", 0.5, 1)
    apart = _tail(asked, _serve("documents", asked, REMEDIES["own engine"]))
    mixed = _tail(asked, _serve("documents", asked, REMEDIES["none"]))
    assert apart["short_p99"] < mixed["short_p99"]
    assert apart["long_p99"] > mixed["long_p99"]


def test_numbers_of_the_page_are_those_of_the_record() -> None:
    rows = _recorded()["remedies"]
    told = prompt_tails.example()
    none, first = (rows[f"documents, 0.7, {name}"]["short_p99"] for name in ("none", "shortest"))
    assert told.shortest_cut == pytest.approx(100 * (1 - first / none))
    assert len(told.remedy_rows.splitlines()) == len(prompt_tails.SHOWN)
    copies = copy_tails.example()
    loads = _recorded()["loads"]
    lost = [load for load in LOADS if loads[f"{load}, runs on"]["p99"] > copy_tails.LOST_S]
    assert copies.collapse_percent in (100 * lost[0], 100 * lost[1])
    rise = rows["documents, 0.7, copy at the p95"]["p99"] / rows["documents, 0.7, none"]["p99"] - 1
    assert copies.engine_rise == pytest.approx(100 * rise)
    assert copies.outage_lost_s == _recorded()["outage"]["runs on"][-1]


def test_the_stepper_shows_what_was_served() -> None:
    told = long_prompt.stepper_long_prompt()
    bars = told["panels"][0]["bars"]
    for row, long in zip(bars, long_prompt.LONGS.values(), strict=True):
        for shown, read in zip(row, long_prompt.READ, strict=True):
            got = long_prompt._served(long, read)
            lanes = {lane for lane, *_ in shown}
            assert lanes == set(long_prompt.LANES) - (set() if long else {"long"})
            answers = sorted(begin for _, begin, _, state in shown if state == "answer")
            seen = got.first_token_s[got.first_token_s < long_prompt.CLIP_S]
            assert answers == pytest.approx(np.sort(seen))
    half, short, own = (one["values"] for one in told["readouts"])
    assert np.all(np.array(own[0]) == 0)
    assert np.all(np.array(half) <= np.array(short) + 1e-9)
    assert math.isfinite(max(map(max, own)))
