"""Amdahl's law for devices that share a model: floors stay, the rest is divided, nothing is sent.

With f for what one device's step keeps and d for what n devices divide, a step is (f + d)/(f + d/n)
times as fast. Messages are not in it, nor that narrow slices attain less, so it is too kind.

Source: Amdahl (1967), AFIPS; the parts of a step, from `step_time`.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from serving_mathematics.machine.parallelism.parallelism import _speedups, _spread
from serving_mathematics.support import checks
from serving_mathematics.support.require import require_positive, require_positive_integer


def amdahl_gain(fixed_s: float, divided_s: float, devices: int) -> float:
    """Times as fast a step is on n devices that divide only a part of it, (f + d)/(f + d/n).

    fixed_s: f that stays, > 0 [s]. divided_s: d that n devices divide, > 0 [s]. devices: n, a
    positive integer. Raises ValueError outside. Source: Amdahl (1967).

    >>> amdahl_gain(fixed_s=1.0, divided_s=9.0, devices=9)
    5.0
    """
    fixed_s, divided_s = require_positive(fixed_s=fixed_s, divided_s=divided_s)
    devices = require_positive_integer(devices=devices)
    return (fixed_s + divided_s) / (fixed_s + divided_s / devices)


def _amdahl(devices: int) -> float:
    """Amdahl's gain of that model, from its parts on one device, where nothing is sent."""
    parts = _spread(1)
    fixed = parts["kernels"] + parts["host"]
    return amdahl_gain(fixed, sum(parts.values()) - fixed, devices)


def example() -> SimpleNamespace:
    """Numbers of the page: gains from one device to eight."""
    one, many = (sum(_spread(devices).values()) for devices in (1, 8))
    return SimpleNamespace(amdahl_eight=_amdahl(8), own_eight=one / many)


def check_amdahl_is_too_kind() -> None:
    """Amdahl's law, with floors as measured on one device, promises that model more from eight
    devices than its own step does, and more than the median of the measured pairs.

    Source: the step's parts; published pairs.
    """
    one, many = (sum(_spread(devices).values()) for devices in (1, 8))
    measured = float(np.median(_speedups(1, 8)[0]))
    told = _amdahl(8)
    checks.holds("more than its step", told > 1.2 * one / many, got=[told, one / many])
    checks.holds("more than measured", told > 1.2 * measured, got=[told, measured])
    checks.close("by hand", amdahl_gain(0.004, 0.018, 8), 0.022 / 0.00625, rtol=1e-12)
