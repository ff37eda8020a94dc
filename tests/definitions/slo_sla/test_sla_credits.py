"""Credits of single months and their expectation: edges, monotony and errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.definitions.slo_sla.sla_credits import (
    BEDROCK,
    Agreement,
    _credit_due,
    expected_credit,
)


@pytest.mark.parametrize(
    ("agreement", "attainment", "credit"),
    [
        (BEDROCK, 0.999, 0.0),
        (BEDROCK, 0.9989, 0.10),
        (BEDROCK, 0.99, 0.10),
        (BEDROCK, 0.9899, 0.25),
        (BEDROCK, 0.9499, 1.00),
        (BEDROCK, 0.95, 0.25),
        (BEDROCK, 0.0, 1.00),
    ],
)
def test_published_tiers(agreement: Agreement, attainment: float, credit: float) -> None:
    assert _credit_due(np.array(attainment), agreement) == credit


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_expectation_is_the_mean_of_the_months(months: list[float]) -> None:
    below = [float(np.mean(np.array(months) < s)) for s in BEDROCK.floors]
    paid = _credit_due(np.array(months), BEDROCK)
    assert expected_credit(below, BEDROCK.credits) == pytest.approx(paid.mean())
