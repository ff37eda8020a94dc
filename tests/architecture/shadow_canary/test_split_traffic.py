"""How traffic is split: shares, customers, and what the arms have in common."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.architecture.shadow_canary.split_traffic import (
    START_S,
    _arms,
)
from serving_mathematics.core.machines.customers import _customers


@pytest.mark.parametrize("how", ["request", "customer"])
def test_arms_have_their_shares_from_their_start(how: str) -> None:
    asked = _customers(np.random.default_rng(2), 50.0, 40_000)
    arm = _arms(asked, how, 0.1, np.random.default_rng(3))
    early = asked.arrival_s < START_S
    assert (arm[early] == 0).all()
    for number in (1, 2):
        assert (arm[~early] == number).mean() == pytest.approx(0.1, abs=0.01)
    assert asked.prefixes is not None
    who = asked.prefixes.parent[asked.prefixes.node][~early]
    homes = [np.unique(arm[~early][who == customer]).size for customer in np.unique(who)]
    assert (max(homes) == 1) == (how == "customer")
