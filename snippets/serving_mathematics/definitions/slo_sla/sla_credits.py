"""What a month below the promise costs: credit tiers, and the expected credit at a mean attainment.

An agreement has floors s_1 > s_2 > … and credits c_1 < c_2 < …: a month with attainment A in
[s_{i+1}, s_i) pays back the share c_i of its bill. With P(A < s) from the month's distribution,
E[credit] = Σ c_i·(P(A < s_i) − P(A < s_{i+1})).

Assumes: the customer claims what is due; the credit is a share of the month's bill and its cap.

Source: Amazon Web Services (2022, 2023) and Google Cloud (retail) for the tiers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate
from serving_mathematics.definitions.slo_sla.monthly_attainment import (
    MINUTE,
    MONTH,
    OUTAGE,
    downtime_exceeds,
    simulated_downtime,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Agreement:
    """Floors of monthly attainment, falling, and the share of the bill due below each."""

    floors: tuple[float, ...]
    credits: tuple[float, ...]


BEDROCK = Agreement((0.999, 0.99, 0.95), (0.10, 0.25, 1.00))  # Amazon Bedrock, 4 October 2023
RETAIL = Agreement((0.999, 0.99, 0.95), (0.10, 0.25, 0.50))  # Vertex AI Search for retail
COMPUTE = Agreement((0.9999, 0.99, 0.95), (0.10, 0.30, 1.00))  # Amazon Compute, region, May 2022


def credit_due(
    attainment: npt.ArrayLike, floors: npt.ArrayLike, credits: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Share of each month's bill that is due back, 0 at or above the first floor.

    attainment: A in [0, 1], any shape. floors: s_1 > s_2 > … in (0, 1], shape (n,). credits: c_i in
    [0, 1], shape (n,), non-decreasing. Raises ValueError outside these rules.

    >>> credit_due([0.9995, 0.999, 0.9, 0.5], floors=[0.999, 0.9], credits=[0.1, 1.0]).tolist()
    [0.0, 0.0, 0.1, 1.0]
    """
    months, edges = as_floats(attainment=attainment), as_floats(floors=floors)
    paid = as_floats(credits=credits)
    require(np.all((months >= 0) & (months <= 1)), "attainment", "in [0, 1]", attainment)
    require(
        edges.ndim == 1 and np.all((edges > 0) & (edges <= 1)) and np.all(np.diff(edges) < 0),
        "floors",
        "falling, in (0, 1]",
        floors,
    )
    require(paid.shape == edges.shape, "credits", f"of shape {edges.shape}", credits)
    require(
        np.all((paid >= 0) & (paid <= 1)) and np.all(np.diff(paid) >= 0),
        "credits",
        "non-decreasing shares of the bill",
        credits,
    )
    missed = (months[..., None] < edges).sum(axis=-1)
    return np.asarray(np.append(0.0, paid)[missed])


def expected_credit(below: npt.ArrayLike, credits: npt.ArrayLike) -> float:
    """Expected share of the bill paid back, Σ c_i·(P(A < s_i) − P(A < s_{i+1})).

    below: P(A < s_i) for falling floors s_1 > s_2 > …, shape (n,), non-increasing.
    credits: c_i in [0, 1], shape (n,), non-decreasing. Raises ValueError outside these rules.

    >>> round(expected_credit(below=[0.1, 0.02], credits=[0.1, 0.5]), 12)  # .08·.1 + .02·.5
    0.018
    """
    under, paid = as_floats(below=below), as_floats(credits=credits)
    require(under.ndim == 1 and under.size > 0, "below", "a non-empty list", below)
    require(paid.shape == under.shape, "credits", f"of shape {under.shape}", credits)
    require(
        np.all((under >= 0) & (under <= 1)) and np.all(np.diff(under) <= 0),
        "below",
        "non-increasing probabilities",
        below,
    )
    require(
        np.all((paid >= 0) & (paid <= 1)) and np.all(np.diff(paid) >= 0),
        "credits",
        "non-decreasing shares of the bill",
        credits,
    )
    return float((-np.diff(np.append(under, 0.0)) * paid).sum())


def _credit_of(agreement: Agreement, mean_attainment: float, mean_outage_s: float) -> float:
    """Expected credit of a 30-day month at a mean attainment."""
    mean = (1 - mean_attainment) * MONTH / mean_outage_s
    below = [downtime_exceeds((1 - s) * MONTH, mean, mean_outage_s) for s in agreement.floors]
    return expected_credit(below, agreement.credits)


def example() -> SimpleNamespace:
    """The numbers quoted in the text: outages of 10 min, “long” ones of four hours."""
    return SimpleNamespace(
        credit_percent=100 * _credit_of(BEDROCK, 0.999, OUTAGE),
        half_credit_percent=100 * _credit_of(BEDROCK, 0.9995, OUTAGE),
        long_credit_percent=100 * _credit_of(BEDROCK, 0.999, 24 * OUTAGE),
    )


def figure_tiers(figure: Figure) -> None:
    """Credits are steps, and at a mean downtime of 43.2 minutes chance decides whether a month
    keeps clear of the first.

    Above: what three published agreements pay back, by the downtime of a month of 30 days. Below:
    the probability of more downtime than that, at a mean of 43.2 minutes from outages of ten; the
    points are 20,000 simulated months with 95% intervals.

    Alt: Two panels over downtime from 1 to 5,000 minutes on a logarithmic axis. Above, three step
    functions: Amazon Bedrock and Google retail search rise to 10 percent at 43 minutes and to 25 at
    432, Amazon Compute to 10 at 4.3 minutes and to 30 at 432; beyond 2,160 minutes two are at 100
    percent, Google's at 50. Below, a falling curve from 0.98 to zero at 150 minutes, with simulated
    points on it.
    """
    figure.set_size_inches(5.8, 4.6)
    axes, chance = figure.subplots(2, 1, sharex=True)
    for agreement, colour, style in (
        (COMPUTE, "C2", "-"),
        (BEDROCK, "C0", "-"),
        (RETAIL, "C1", ":"),
    ):
        edges = (1 - np.array(agreement.floors)) * MONTH / MINUTE
        axes.step(
            np.concatenate(([1.0], edges, [6000.0])),
            100 * np.concatenate(([0.0, 0.0], agreement.credits)),
            color=colour,
            linestyle=style,
        )
    for text, x, y, colour in (
        ("Amazon Compute", 4.8, 15, "C2"),
        ("Amazon Bedrock", 1950, 88, "C0"),
        ("Google retail search", 1950, 48, "C1"),
    ):
        axes.annotate(text, (x, y), color=colour, ha="left" if colour == "C2" else "right")
    minutes = np.geomspace(1, 5000, 80)
    mean = 0.001 * MONTH / OUTAGE
    chance.plot(minutes, [downtime_exceeds(x * MINUTE, mean, OUTAGE) for x in minutes.tolist()])
    months = simulated_downtime(np.random.default_rng(3), 20_000, mean, OUTAGE) / MINUTE
    points = np.geomspace(1.5, 150, 9)
    share = np.array([np.mean(months > x) for x in points.tolist()])
    half = 1.96 * np.sqrt(share * (1 - share) / months.size)
    chance.errorbar(points, share, half, fmt="o", color="C4", ms=4)
    axes.set_xscale("log")
    axes.set_xticks([1, 4.32, 43.2, 432, 2160], ["1", "4.3", "43", "432", "2,160"])
    axes.tick_params(labelbottom=True)
    axes.set(ylim=(0, 108), xlabel="downtime in the month [min]", ylabel="credit [%]")
    axes.minorticks_off()
    chance.set(
        xlim=(1, 5000),
        ylim=(0, 1.03),
        xlabel="downtime in the month [min]",
        ylabel="probability of more",
    )


def figure_margin(figure: Figure) -> None:
    """A service that is on average as good as promised breaks the promise in many months.

    Probability of missing 99.9% in 30 days, and the expected credit under the agreement for Amazon
    Bedrock, against mean attainment. The points are 7,000 simulated months with 95% intervals,
    where at least 20 of them miss.

    Alt: Two panels over mean attainment from 99.88 to 100 percent, logarithmic in the probability
    of missing above and the expected credit below. Curves for outages of 2, 10 and 40 minutes fall
    towards full attainment, the longer the outages the more slowly; at 99.9 percent they lie
    between 0.3 and 0.5 above and between 3 and 5 percent below. Points lie on the curves.
    """
    figure.set_size_inches(5.8, 5.2)
    risk_axes, credit_axes = figure.subplots(2, 1, sharex=True)
    rng = np.random.default_rng(12)
    for minutes, colour, x, y in (
        (40, "C3", 99.957, 0.36),
        (10, "C0", 99.9665, 0.022),
        (2, "C2", 99.945, 0.0035),
    ):
        length = minutes * MINUTE
        mean = np.linspace(0.9988, 0.99995, 40)
        down = ((1 - mean) * MONTH / length).tolist()
        risk_axes.semilogy(
            100 * mean, [downtime_exceeds(0.001 * MONTH, n, length) for n in down], color=colour
        )
        credit_axes.semilogy(
            100 * mean, [100 * _credit_of(BEDROCK, a, length) for a in mean.tolist()], color=colour
        )
        shown, points = [], []
        for a in np.linspace(0.9989, 0.9999, 6).tolist():
            months = simulated_downtime(rng, 7_000, (1 - a) * MONTH / length, length)
            late = months > 0.001 * MONTH
            if late.sum() >= 20:
                paid = credit_due(1 - months / MONTH, BEDROCK.floors, BEDROCK.credits)
                both = np.array([late, 100 * paid])
                shown.append(100 * a)
                half = 1.96 * both.std(axis=1, ddof=1) / math.sqrt(both.shape[1])
                points.append((both.mean(axis=1), half))
        drawn = np.array(points).T  # by panel, then mean and half-width
        for panel, (means, halves) in zip((risk_axes, credit_axes), drawn, strict=True):
            panel.errorbar(shown, means, halves, fmt="o", color=colour, ms=4)
        text = f"{minutes} min" + " outages" * (minutes == 2)
        risk_axes.annotate(text, (x, y), color=colour, ha="right" if minutes == 2 else "left")
    for axes in (risk_axes, credit_axes):
        axes.axvline(99.9, color="C4", linestyle=":")
        axes.set(xlim=(99.88, 100), xlabel="mean attainment [%]")
        axes.tick_params(labelbottom=True)
        axes.minorticks_off()
    risk_axes.set(ylim=(5e-4, 1), ylabel="P(month below 99.9%)")
    credit_axes.set(ylim=(5e-3, 12), ylabel="expected credit [%]")
    credit_axes.set_yticks([0.01, 0.1, 1, 10], ["0.01", "0.1", "1", "10"])


def check_credit_against_paying_out() -> None:
    """The tiers' expectation is the mean of what a month-by-month ledger pays.

    Source: 1,000 equally likely attainments, each paid by looking up its own tier.
    """
    attainment = (np.arange(1000) + 0.5) / 1000
    floors, credits = (0.9, 0.5, 0.2), (0.1, 0.25, 1.0)
    paid = [
        max([c for s, c in zip(floors, credits, strict=True) if a < s] or [0.0])
        for a in attainment.tolist()
    ]
    got = expected_credit([float(np.mean(attainment < s)) for s in floors], credits)
    checks.close("mean credit", got, float(np.mean(paid)), rtol=1e-12)
    checks.close("each month", credit_due(attainment, floors, credits), paid, rtol=1e-12)


def check_expected_credit_against_simulated_months() -> None:
    """The expected credit is the mean over 70,000 simulated months, for each agreement.

    Source: Monte Carlo, outage by outage, each month paid by its own tier; the standard error is
    that of the payments.
    """
    rng = np.random.default_rng(11)
    for name, agreement, mean, length in (
        ("Bedrock, 99.9%, 10 min", BEDROCK, 0.999, OUTAGE),
        ("Bedrock, 99.5%, 2 h", BEDROCK, 0.995, 12 * OUTAGE),
        ("retail, 98%, 8 h", RETAIL, 0.98, 48 * OUTAGE),
        ("Compute, 99.99%, 1 min", COMPUTE, 0.9999, MINUTE),
    ):
        months = simulated_downtime(rng, 70_000, (1 - mean) * MONTH / length, length)
        paid = credit_due(np.maximum(1 - months / MONTH, 0), agreement.floors, agreement.credits)
        error = float(paid.std(ddof=1)) / math.sqrt(paid.size)
        checks.covers(
            name,
            MeanEstimate(float(paid.mean()), error, 1.96 * error),
            _credit_of(agreement, mean, length),
        )


def check_bad_input_is_refused() -> None:
    """Tiers out of order and attainments above one are errors."""
    checks.raises("rising", expected_credit, [0.1, 0.2], [0.1, 0.2], match="below must be")
    checks.raises("A = 1.1", credit_due, [1.1], [0.9], [0.1], match="attainment must be")
    checks.raises("floors", credit_due, [1.0], [0.9, 0.99], [0.1, 0.2], match="floors must be")
