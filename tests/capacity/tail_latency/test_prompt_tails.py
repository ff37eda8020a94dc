"""Shares of blocked arrivals, and the page's numbers against the record."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.capacity.tail_latency import prompt_tails
from serving_mathematics.capacity.tail_latency.tail_record import REMEDIES, _recorded

from builder import ROOT


@given(st.floats(0, 50), st.floats(0, 1), st.floats(0, 10))
def test_blocked_share_is_a_share_of_time(rate: float, share: float, read: float) -> None:
    told = prompt_tails.blocked_share(rate, share, read)
    assert 0 <= told <= 1
    assert told == pytest.approx(min(1.0, rate * share * read))


def test_the_page_sets_what_was_tried() -> None:
    """The command is the limit in the larger budget, the advice below it that in the old one."""
    page = (ROOT / "docs" / "capacity" / "tail-latency.md").read_text("utf-8")
    limit, old = REMEDIES["limit"], REMEDIES["limit in the old budget"]
    flags = "--max-num-batched-tokens {token_budget} --long-prefill-token-threshold {most_tokens}"
    assert flags.format(**limit) in page
    budget = f"{prompt_tails.MIXES['documents'][0].token_budget:,}"
    assert f"a budget of {budget}" in page
    assert f"a limit of {old['most_tokens']}" in page


def test_the_best_of_the_delays_is_shown() -> None:
    rows = _recorded()["remedies"]
    best = prompt_tails._remedy("documents", 0.5, "copy")["short_p99"]
    for level in (90, 95, 98):
        assert best <= rows[f"documents, 0.5, copy at the p{level}"]["short_p99"]
