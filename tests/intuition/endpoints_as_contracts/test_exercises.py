"""Limits, oracles and errors of the exercises, beyond their checks."""

from __future__ import annotations

import pytest
from hypothesis import given
from serving_mathematics.intuition.endpoints_as_contracts.endpoints_as_contracts import (
    Contract,
    can_replace,
)
from serving_mathematics.intuition.endpoints_as_contracts.exercises import (
    common_contract,
    contract_from_metadata,
    gate,
    time_until_fresh,
)

from tests.intuition.endpoints_as_contracts.test_endpoints_as_contracts import BASE, neighbours


@given(neighbours())
def test_common_contract_is_below_both(three: list[Contract]) -> None:
    a, b = three[:2]
    try:
        common = common_contract(a, b)
    except ValueError:
        assert a != b
        assert not can_replace(a, b)
        return
    assert can_replace(a, common)
    assert can_replace(b, common)
    assert common == common_contract(b, a)
    assert can_replace(common, b) == can_replace(a, b)


def test_solutions_refuse() -> None:
    with pytest.raises(ValueError, match="inputs must be a list"):
        contract_from_metadata({})
    status, errors = gate(
        BASE, '{"inputs": [{"name": "q", "shape": [], "datatype": "BOOL", "data": [true]}]}'
    )
    assert status == 400
    assert [e.split(":")[0] for e in errors] == ["inputs[0].name", "inputs"]
    with pytest.raises(ValueError, match="duration_s"):
        time_until_fresh({"a": []}, [], {}, "a")
