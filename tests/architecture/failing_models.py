"""Models that break their promise of ten finite scores a row, for the tests of both servers."""

from __future__ import annotations

from typing import Any

import numpy as np


def raises(pixels: Any) -> Any:
    """Fails, with a message that no client may see."""
    raise TimeoutError("secret" * bool(pixels.size))


def overflows(pixels: Any) -> Any:
    """Scores that no float32 holds."""
    return np.full((len(pixels), 10), 1e39)


def says_nan(pixels: Any) -> Any:
    """One score in ten is none."""
    return np.where(np.arange(10) == 7, np.nan, pixels[:, :10])


def says_too_little(pixels: Any) -> Any:
    """A score is missing."""
    return pixels[:, :9]


FAILING = (raises, overflows, says_nan, says_too_little)
