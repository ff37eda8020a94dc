"""A stream's end: means and shares against closed forms, limits, errors."""

from __future__ import annotations

import numpy as np
from serving_mathematics.definitions.service.service import Service
from serving_mathematics.definitions.service.streamed_answer import streamed


def constant(cells: int, place: int, ok: float = 1.0, cost: float = 0.0) -> Service:
    masses = np.zeros(cells)
    masses[place] = 1.0
    return Service(ok * masses, (1 - ok) * masses, 1.0, cost)


def test_who_gets_no_first_token_has_no_stream() -> None:
    end = streamed(constant(4, 0, ok=0.5), 1.0, [0.0, 1.0], cut=0.5)
    assert end.ok.tolist() == [0, 0.25, 0, 0]
    assert end.failed.tolist() == [0.5, 0.25, 0, 0]


def test_what_ends_after_the_grid_is_lost() -> None:
    end = streamed(constant(4, 1), 1.0, [0.5, 0.0, 0.0, 0.0, 0.0, 0.5])
    assert end.ok.tolist() == [0, 0.5, 0, 0]
