"""No answer of the planner changes in silence."""

from __future__ import annotations

import pytest

from . import outcomes, shown
from .planner.outcomes import CASES, FOLDER


@pytest.mark.parametrize("name", CASES)
def test_no_outcome_changes_in_silence(name: str) -> None:
    found = list(outcomes.changes(CASES, FOLDER, name))
    advice = "if that is meant, `python -m tests.planner.outcomes` keeps it for the reviewer to see"
    assert not found, "\n".join([f"{name}, {advice}:", *found])


def test_outcomes_that_are_kept_are_asked_for() -> None:
    held = {name for path in FOLDER.glob("*.json") for name in shown.read(path)}
    assert held == set(CASES)
