"""Steps and prompts with a draft model's passes, added one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.deployments import FROM_TEXT, WORKED, Deployment
from serving_mathematics.core.hardware.guessed_steps import guessed_prompt_s, guessed_step_s
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    prompt_s,
    step_parts,
)

from tests.core.hardware.guessing import DENSE, GUESSED, MIXTURE, SMALL


def step_s(one: Deployment, sequences: float, context: float) -> float:
    """Without what a draft model takes."""
    work = count_work([one])
    return float(decode_step_s(work, FITTED, np.array([sequences]), np.array([context]))[0])


@pytest.mark.parametrize("sequences", [1.0, 40.0, 500.0])
def test_a_draft_models_passes_are_added_one_by_one(sequences: float) -> None:
    verified = step_s(replace(GUESSED, drafter=FROM_TEXT), sequences, 900)
    draft = replace(DENSE, architecture=SMALL)
    host = float(
        step_parts(count_work([draft]), FITTED, np.array([sequences]), np.array([900.0])).host[0]
    )
    first = step_s(replace(draft, draft_tokens=3, drafter=FROM_TEXT), sequences, 900)
    later = step_s(draft, sequences, 900)
    by_hand = verified + (first - host) + 2 * (later - host)
    assert guessed_step_s(GUESSED, FITTED, sequences, 900)[0] == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("one", [WORKED, DENSE, replace(MIXTURE, draft_tokens=2)])
def test_without_a_draft_model_it_is_the_step(one: Deployment) -> None:
    found = guessed_step_s(one, FITTED, [1.0, 30.0], [700.0, 20.0])
    assert found.tolist() == [step_s(one, 1, 700), step_s(one, 30, 20)]
    alone = prompt_s(replace(count_work([one]), prompt=np.array([5.0, 900.0])), FITTED)
    assert guessed_prompt_s(one, FITTED, [5, 900]).tolist() == alone.tolist()


def test_one_number_goes_with_any_and_other_lengths_are_refused() -> None:
    both = guessed_step_s(WORKED, FITTED, [3.0, 3.0], [50.0, 90.0])
    assert guessed_step_s(WORKED, FITTED, 3, [50.0, 90.0]).tolist() == both.tolist()
    assert guessed_prompt_s(WORKED, FITTED, 50)[0] == guessed_prompt_s(WORKED, FITTED, [50])[0]
    with pytest.raises(ValueError, match="context must be as many as sequences, or one, got 3"):
        guessed_step_s(WORKED, FITTED, [1.0, 2.0], [1.0, 2.0, 3.0])
