"""Late first tokens come together, because a queue makes everyone behind it late.

How far the failures of a service come together is told by its own counts: their variance over their
mean in windows of equal length is D, and causes with a geometric number of failures, c on average,
have D = 2c − 1. With c the expected pages of a steady service follow (`false_pages`).

Assumes: Poisson arrivals and constant load, which is the least that a real day has; late is what
comes after the limit that a thousandth of the requests miss.

Source: own simulation of continuous batching; Panjer (1981) for the moments of compound counts.
"""

from __future__ import annotations

import dataclasses
import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    chat_workload,
    latencies_s,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import alert_firing
from serving_mathematics.intuition.failure_budgets.false_pages import false_pages
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_all_non_negative

if TYPE_CHECKING:
    from matplotlib.figure import Figure
