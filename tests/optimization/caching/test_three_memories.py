"""Three ways to hand out memory: the stepper against the chapter's numbers, and limits."""

from __future__ import annotations

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
    stepper_three_memories,
)


def test_the_stepper_says_what_the_engines_did() -> None:
    told = stepper_three_memories()
    (engine,) = told["panels"]
    running, prompts, places, cache = (
        np.array(engine[part]) for part in ("running", "prompts", "places", "cache")
    )
    assert running.shape == (len(SHARED), len(RATES), 61, len(WAYS))
    assert np.all(prompts <= running)
    assert np.all(running <= places)
    assert np.all((cache >= 0) & (cache <= 1))
    at = SHARED.index(4000), RATES.index(6)
    for column, way in enumerate(WAYS):
        seen = _shown(way, 4000, 6)
        assert running[at][:, column].tolist() == seen.running.tolist()
        assert told["readouts"][column]["values"][at[0]][at[1]] == seen.answered_per_s


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
    assert example().most_blocks_4000 == CHAT.cache_tokens // (own + 4000)
    assert example().most_shared_4000 == (CHAT.cache_tokens - 4000) // own


def test_nobody_is_lost() -> None:
    """Requests that arrived are inside, waiting, or were answered before."""
    seen = _shown("reserved", 1000, 12)
    assert int(seen.waiting[-1]) > 300
    assert int(seen.running[-1]) == 13
