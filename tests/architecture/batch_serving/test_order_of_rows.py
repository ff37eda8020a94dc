"""In which order rows should be sent: what the page quotes, and that the runs are comparable."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.architecture.batch_serving.offline_engine import (
    CUSTOMERS,
    MACHINES,
    ORDERS,
    SIZES,
    _of,
)
from serving_mathematics.architecture.batch_serving.order_of_rows import (
    _grouped_times,
    _sorted_over_mixed,
)


def test_each_order_loses_on_most_seeds() -> None:
    """What is said of means holds for nearly every draw of rows."""
    for name in MACHINES:
        mixed = np.array(_of("mixed")[name][-1])
        for order in ORDERS[1:]:
            rows = np.array(_of("sorted")[name][order][-1])
            assert (rows > mixed).mean() > 0.6
            assert rows.mean() / mixed.mean() == pytest.approx(
                _sorted_over_mixed(name, order, SIZES[-1])
            )
    assert all(_grouped_times(name) > 1 for name in CUSTOMERS)
