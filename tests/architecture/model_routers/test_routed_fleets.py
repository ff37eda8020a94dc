"""The record of routed fleets, and the search for a rate by which it was made."""

from __future__ import annotations

from collections.abc import Callable, Collection

import pytest
from serving_mathematics.architecture.model_routers import routed_fleets
from serving_mathematics.architecture.model_routers.routed_fleets import (
    HALVINGS,
    LOADS,
    OTHERS,
    RULES,
    SITUATIONS,
    SPAN,
    TRIED,
    WITHOUT,
    _carries,
    _gain,
    _rate,
    _record,
    _without_prefixes,
)
from serving_mathematics.core.fleet.routers import least_requests
from serving_mathematics.core.machines.machines import CHAT


def test_the_record_is_whole() -> None:
    carried = _record()["carried"]
    assert set(carried) == {*SITUATIONS, "eight engines", "agents"}
    assert set(carried["customers"]) == {*RULES, *OTHERS}
    assert all(set(TRIED) <= set(rates) for rates in carried.values())


def test_a_rate_that_is_carried_lies_in_its_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few requests are always served in time at a low rate, and never at a very high one."""
    monkeypatch.setitem(routed_fleets.REQUESTS, CHAT.name, 600)
    found = _carries(CHAT, least_requests, 1.0, 60.0)
    assert 2.0 < found < 40.0
    assert _carries(CHAT, least_requests, 80.0, 90.0) == 80.0


@pytest.mark.parametrize(("of", "situation"), [(min, "1,024 tokens"), (max, "all ask alike")])
def test_what_is_carried_more_lies_between_the_ends_of_the_coarser_search(
    of: Callable[[Collection[float]], float], situation: str
) -> None:
    """Of which each rate is known to the last of its halvings."""
    own, fewest = (_rate(situation, rule) for rule in ("prefix first, slack 16", "fewest requests"))
    step = (SPAN[1] - SPAN[0]) / 2**HALVINGS
    assert own / (fewest + step) < 1 + _gain(of) / 100 < (own + step) / fewest


def test_how_long_requests_take_is_told_of_engines_that_are_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nearly full engines take minutes to fill, and empty when the last request has come: twice as
    many requests say the same to a twentieth, which a sixth of them did not."""
    told = _record()["without"]["two choices"][LOADS.index(0.9)]
    monkeypatch.setattr(routed_fleets, "BUSY_REQUESTS", 2 * routed_fleets.BUSY_REQUESTS)
    assert told == pytest.approx(_without_prefixes(0.9, WITHOUT["two choices"]), rel=0.05)
