"""Drawn laws of lengths have the trace's means, and "together" is the trace with other partners."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.definitions.utilization.other_engines import LAWS, LONGEST, _drawn


@pytest.mark.parametrize("law", LAWS)
def test_laws_have_the_means_of_the_trace(law: str) -> None:
    prompts, answers = _drawn(law, 40_000)
    assert prompts.max() <= LONGEST[0]
    assert answers.max() <= LONGEST[1]
    assert prompts.mean() == pytest.approx(CHAT.sample.prompt_tokens.mean(), rel=0.04)
    assert answers.mean() == pytest.approx(CHAT.sample.output_tokens.mean(), rel=0.04)


def test_together_only_pairs_anew() -> None:
    (one, short), (other, long) = _drawn("trace", 5000), _drawn("together", 5000)
    assert np.array_equal(one, other)
    assert np.array_equal(np.sort(short), np.sort(long))
    assert np.corrcoef(other, long)[0, 1] > 0.7
