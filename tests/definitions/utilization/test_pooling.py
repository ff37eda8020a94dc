"""One place and many: the slider."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.definitions.utilization.pooling import (
    example,
    slider_hockey_stick,
)


def test_hockey_stick_slider_says_the_numbers_of_the_page() -> None:
    told = slider_hockey_stick()
    rho, scv = (np.asarray(control["values"]) for control in told["controls"])
    waits = np.asarray(told["panels"][0]["curves"][0]["values"])
    assert waits == pytest.approx(np.outer(rho / (1 - rho), (1 + scv) / 2), rel=1e-12)
    assert waits[rho == 0.8, scv == 1.0].item() == pytest.approx(example().wait_at_80)
    assert waits[rho == 0.95, scv == 1.0].item() == pytest.approx(19.0)
    more = np.asarray(told["readouts"][0]["values"])
    assert more[:-1] == pytest.approx(np.diff(waits, axis=0), rel=1e-9)
    assert more[-1] == pytest.approx((0.98 / 0.02 - 0.97 / 0.03) * (1 + scv) / 2)
