"""Fair shares: what the slider counts, request by request, and the tenants of the burst."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.optimization.hardware_scheduling.fair_shares import (
    BEFORE_S,
    BURST,
    ORDERS,
    OTHERS,
    PLACES,
    STEADY,
    _asked,
    _p90,
    _served,
    example,
    slider_three_orders,
)

from builder import ROOT


def test_the_burst_is_one_tenants_and_comes_at_once() -> None:
    asked, others, at = _asked(CHAT.limited(16))
    assert asked.arrival_s.size == STEADY + BURST
    assert np.sum(~others) == BURST
    assert set(asked.arrival_s[~others]) == {at}
    assert set(asked.tenant) == set(range(OTHERS + 1))


@pytest.mark.parametrize("run", range(len(PLACES)))
def test_the_slider_counts_who_is_there(run: int) -> None:
    told = slider_three_orders()
    clock = np.asarray(told["clock"]["values"])
    engine, bars = told["panels"]
    machine = CHAT.limited(PLACES[run])
    asked, others, at = _asked(machine)
    for place, order in enumerate(ORDERS):
        served = _served(machine, order)
        for frame in (0, 8, 40, 100):
            now = at - BEFORE_S + clock[frame]
            let_in = served.admitted_s <= now
            waits = (asked.arrival_s <= now) & ~let_in
            inside = let_in & (served.completion_s > now)
            assert engine["running"][run][frame][place] == np.sum(inside)
            assert engine["prompts"][run][frame][place] == np.sum(inside & ~others)
            drawn = {bar[3]: bar[1:3] for bar in bars["bars"][run][frame] if bar[0] == order}
            ends = np.cumsum([0, np.sum(waits & others), np.sum(waits & ~others)]).tolist()
            spans = zip(("broken", "waits"), pairwise(ends), strict=True)
            assert drawn == {state: span for state, span in spans if span[0] < span[1]}
            assert told["readouts"][place]["values"][run][frame] == ends[1]
        assert max(row[place] for row in engine["running"][run]) <= PLACES[run]
    assert not bars["bars"][run][-1]  # in the end nobody waits


def test_the_slider_plays_one_of_the_draws_whose_mean_the_page_says() -> None:
    readouts = {r["label"]: r["values"] for r in slider_three_orders()["readouts"]}
    told, few = example(), CHAT.limited(PLACES[0])
    for order, mean in (("first come", told.few_first_p90_s), ("fair", told.few_fair_p90_s)):
        drawn = [_p90(few, order, seed) for seed in range(1, told.bursts + 1)]
        assert readouts[f"p90 {order}"][0] == drawn[0]
        assert mean == pytest.approx(np.mean(drawn))


def test_the_page_says_how_a_gateway_shares_and_what_it_costs() -> None:
    page = (ROOT / "docs/optimization/hardware-scheduling.md").read_text(encoding="utf-8")
    answer = page.split("## The answer")[1].split("## On your engine")[0]
    for name in ("fair_p90_s:.1f", "first_p90_s:.1f"):
        assert f"{{{{ {name} }}}}" in answer
    production = page.split("## In production")[1].split("## Exercises")[0]
    assert "overwrite what clients send" in production
    for said in ("one counter per tenant", "`--max-num-seqs`", "`--max-num-batched-tokens`"):
        assert said in production
    assert example().few_fair_end_s > 2 * example().few_first_end_s
