"""What simulations draw when nothing is random: requests come as a server becomes free."""

from __future__ import annotations

from typing import Any

import numpy as np


class Clockwork:
    """Stands in for a generator: every time is its mean, requests come at even distances, and of a
    choice it is always the first."""

    def exponential(self, mean: float, size: int | None = None) -> Any:
        return mean if size is None else np.full(size, mean)

    def poisson(self, mean: float) -> int:
        return round(mean)

    def uniform(self, low: float, high: float, size: int) -> Any:
        return np.linspace(low, high, size, endpoint=False)

    def choice(self, of: int, size: int, p: Any) -> Any:
        assert of == len(p)
        return np.zeros(size, dtype=int)

    def random(self, size: Any) -> Any:
        return np.zeros(size)


CLOCKWORK: Any = Clockwork()
