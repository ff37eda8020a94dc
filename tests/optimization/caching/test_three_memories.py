"""Three ways to hand out memory: the slider against the chapter's numbers, and limits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.optimization.caching.three_memories import (
    LONGEST,
    RATES,
    SHARED,
    WAYS,
    _most,
    _shown,
    example,
    slider_three_memories,
)


def test_the_strips_are_what_the_engines_held() -> None:
    """Each is full from end to end; its parts are those of the requests that are in."""
    told = slider_three_memories()
    (panel,) = told["panels"]
    at = SHARED.index(4000), RATES.index(6)
    for frame in (6, 30):
        bars = panel["bars"][at[0]][at[1]][frame // 2]
        for lane, way in zip(panel["lanes"], WAYS, strict=True):
            seen = _shown(way, 4000, 6)
            mine = [bar for bar in bars if bar[0] == lane]
            assert (mine[0][1], mine[-1][2]) == (0, 100)
            assert all(one[2] == next_[1] for one, next_ in itertools.pairwise(mine))
            assert mine[-1][4] == f"{seen.running[frame]} in, {seen.waiting[frame]} wait"
            widths = {bar[3]: bar[2] - bar[1] for bar in mine}
            copies = min(seen.running[frame], 1) if way == "shared" else seen.running[frame]
            room = CHAT.cache_tokens / 100
            assert widths["cached"] == pytest.approx(4000 * copies / room, abs=1.01)
            assert widths["answer"] == pytest.approx(seen.own[frame] / room, abs=1.01)
            if way == "reserved":
                taken = seen.running[frame] * LONGEST / room
                assert 100 - widths["free"] == pytest.approx(taken, abs=1.01)
    for column, way in enumerate(WAYS):
        said = np.array(told["readouts"][column]["values"])
        assert said.shape == (len(SHARED), len(RATES), 16)
        assert said[at].tolist() == _shown(way, 4000, 6).waiting[::2].tolist()


def test_a_full_memory_holds_next_to_nothing_or_copies() -> None:
    """What the card is for: with 4,000 tokens before each prompt, both are full in a minute."""
    reserved, blocks, shared = (_shown(way, 4000, 6) for way in WAYS)
    room = CHAT.cache_tokens
    for seen, full, useful in ((reserved, 0.98, 0.2), (blocks, 0.98, 0.3)):
        assert seen.common[-1] + seen.own[-1] + seen.empty[-1] > full * room
        assert seen.own[-1] < useful * room
        assert seen.waiting[-1] > 10
    assert shared.common[-1] + shared.own[-1] < 0.1 * room
    assert shared.waiting[-1] == 0
    assert 0 < blocks.empty[-1] < CHAT.engine.block_tokens * blocks.running[-1]


def test_no_way_answers_more_than_is_asked_and_sharing_never_costs() -> None:
    for shared in SHARED:
        for rate in RATES:
            blocks, kept = (_shown(way, shared, rate).answered_per_s for way in WAYS[1:])
            assert blocks - 0.05 <= kept <= rate


def test_without_a_common_beginning_sharing_changes_nothing() -> None:
    assert _most("blocks", 0) == _most("shared", 0)
    one, other = (_shown(way, 0, 6) for way in ("blocks", "shared"))
    assert one.running == pytest.approx(other.running)


def test_what_fits_by_hand() -> None:
    own = CHAT.mean_context_tokens + 8
    assert example().most_reserved == CHAT.cache_tokens // LONGEST == 13
    assert example().most_blocks == CHAT.cache_tokens // own
    assert _most("blocks", 4000) == CHAT.cache_tokens // (own + 4000)
    assert _most("shared", 4000) == (CHAT.cache_tokens - 4000) // own


def test_nobody_is_lost() -> None:
    """Requests that arrived are inside, waiting, or were answered before."""
    seen = _shown("reserved", 1000, 12)
    assert int(seen.waiting[-1]) > 300
    assert int(seen.running[-1]) == 13
