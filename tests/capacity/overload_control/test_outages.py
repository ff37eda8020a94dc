"""An outage: attempts and answers add up under every guard and habit, and the slider."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.capacity.overload_control.limits import _best
from serving_mathematics.capacity.overload_control.outages import (
    GUARDS,
    HABITS,
    PATIENCE_S,
    RETRIES,
    _run,
    slider_storm,
)
from serving_mathematics.core.machines.machines import CHAT


@pytest.mark.parametrize("guard", GUARDS)
@pytest.mark.parametrize("habit", HABITS)
def test_who_is_answered_is_answered_in_time(guard: str, habit: str) -> None:
    """Attempts are first ones, and one for each refusal that is not the last."""
    run = _run(0.4, guard, habit, 90)
    got, due = run.outcome, run.asked.arrival_s
    answered = ~np.isnan(got.first_token_s)
    first = answered & (got.refused == 0)
    assert (got.first_token_s - due)[first].max() <= PATIENCE_S
    most = RETRIES if habit != "none" else 0
    assert got.refused.max() <= most + 1
    retries = run.attempts_s.size - due.size
    assert got.refused.sum() - (~answered).sum() == retries
    before = got.completion_s[due < 20]
    assert not np.isnan(before).any()  # ten seconds before the outage all is calm
    if habit == "a budget of a tenth":
        assert retries <= 0.12 * due.size
    if guard == "refuses":
        assert run.line[:, 1].max() <= _best(CHAT, "requests")


def test_the_slider_says_what_the_page_says() -> None:
    data = slider_storm()
    loads = data["controls"][0]["values"]
    attempts = np.array(data["panels"][0]["curves"][0]["values"])
    assert attempts.shape[:3] == (len(loads), len(GUARDS), len(HABITS))
    assert attempts.shape[3] == data["clock"]["values"].size
    half = attempts[loads.index(50), 0, 1]
    assert half[-6:].mean() == pytest.approx(200, rel=0.04)
    waits = np.array(data["panels"][1]["curves"][0]["values"])
    for values, panel in ((attempts, 0), (waits, 1)):
        assert values.max() < data["panels"][panel]["y"]["range"][1]
    assert waits[loads.index(50), 0, 1, -1] > 5000
    assert waits[:, GUARDS.index("refuses")].max() <= 10
