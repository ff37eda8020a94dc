"""What a month below the promise costs: credit tiers, and the expected credit at a mean attainment.

An agreement has floors s_1 > s_2 > … and credits c_1 < c_2 < …: a month with attainment A in
[s_{i+1}, s_i) pays back the share c_i of its bill. With P(A < s) from the month's distribution,
E[credit] = Σ c_i·(P(A < s_i) − P(A < s_{i+1})).

Assumes: the customer claims what is due; the credit is a share of the month's bill and its cap.

Source: Amazon Web Services (2023) for the tiers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.definitions.slo_sla.monthly_attainment import (
    MONTH,
    OUTAGE,
    _simulated_downtime,
    downtime_exceeds,
    internal_target,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require

FloatArray = npt.NDArray[np.float64]


def _require_credits(paid: FloatArray, shape: tuple[int, ...]) -> None:
    require(paid.shape == shape, "credits", f"of shape {shape}", paid)
    rising = np.all((paid >= 0) & (paid <= 1)) and np.all(np.diff(paid) >= 0)
    require(rising, "credits", "non-decreasing shares of the bill", paid)


@dataclass(frozen=True)
class Agreement:
    """Floors of monthly attainment, falling in (0, 1], and the share of the bill due below each,
    not falling. Raises ValueError on anything else."""

    floors: tuple[float, ...]
    credits: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse what is in percent, or in another order."""
        floors, credits = as_floats(floors=self.floors), as_floats(credits=self.credits)
        falling = np.all((floors > 0) & (floors <= 1)) and np.all(np.diff(floors) < 0)
        require(falling and floors.size, "floors", "falling shares in (0, 1]", self.floors)
        _require_credits(credits, floors.shape)


BEDROCK = Agreement((0.999, 0.99, 0.95), (0.10, 0.25, 1.00))  # Amazon Bedrock, 4 October 2023


def _credit_due(
    attainment: npt.NDArray[np.float64], agreement: Agreement
) -> npt.NDArray[np.float64]:
    """Share of each month's bill that is due back, 0 at or above the first floor."""
    missed = (attainment[..., None] < np.array(agreement.floors)).sum(axis=-1)
    return np.asarray(np.append(0.0, agreement.credits)[missed])


def expected_credit(below: npt.ArrayLike, credits: npt.ArrayLike) -> float:
    """Expected share of the bill paid back, Σ c_i·(P(A < s_i) − P(A < s_{i+1})).

    below: P(A < s_i) for falling floors s_1 > s_2 > …, shape (n,), non-increasing.
    credits: c_i in [0, 1], shape (n,), non-decreasing. Raises ValueError outside these rules.

    >>> round(expected_credit(below=[0.1, 0.02], credits=[0.1, 0.5]), 12)  # .08·.1 + .02·.5
    0.018
    """
    under, paid = as_floats(below=below), as_floats(credits=credits)
    require(under.ndim == 1 and under.size > 0, "below", "a non-empty list", below)
    require(
        np.all((under >= 0) & (under <= 1)) and np.all(np.diff(under) <= 0),
        "below",
        "non-increasing probabilities",
        below,
    )
    _require_credits(paid, under.shape)
    return float((-np.diff(np.append(under, 0.0)) * paid).sum())


def _credit_of(agreement: Agreement, mean_attainment: float, mean_outage_s: float) -> float:
    """Expected credit of a 30-day month at a mean attainment."""
    mean = (1 - mean_attainment) * MONTH / mean_outage_s
    below = [downtime_exceeds((1 - s) * MONTH, mean, mean_outage_s) for s in agreement.floors]
    return expected_credit(below, agreement.credits)


def example() -> SimpleNamespace:
    """The numbers quoted in the text: a mean of 99.9%, and the internal target."""
    return SimpleNamespace(
        credit_percent=100 * _credit_of(BEDROCK, 0.999, OUTAGE),
        target_credit_percent=100
        * _credit_of(BEDROCK, internal_target(0.999, 0.05, OUTAGE, MONTH), OUTAGE),
    )


def check_expected_credit_against_simulated_months() -> None:
    """The expected credit is the mean over 70,000 simulated months.

    Source: Monte Carlo, outage by outage, each month paid by its own tier; the standard error is
    that of the payments.
    """
    rng = np.random.default_rng(11)
    for name, agreement, mean, length in (
        ("Bedrock, 99.9%, 10 min", BEDROCK, 0.999, OUTAGE),
        ("Bedrock, 99.5%, 2 h", BEDROCK, 0.995, 12 * OUTAGE),
        ("Bedrock, 98%, 8 h", BEDROCK, 0.98, 48 * OUTAGE),
    ):
        months = _simulated_downtime(rng, 70_000, (1 - mean) * MONTH / length, length)
        paid = _credit_due(np.maximum(1 - months / MONTH, 0), agreement)
        error = float(paid.std(ddof=1)) / math.sqrt(paid.size)
        checks.covers(
            name,
            MeanEstimate(float(paid.mean()), error, 1.96 * error),
            _credit_of(agreement, mean, length),
        )
