"""What own runs are worth: errors of a deployment's other runs, before and after some calibrated.

Assumes: deployments of the future gain as those of the record do; five factors pulled towards 1, as
`own_runs` fits them.

Source: records/calibration_scores.json, made from aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

from types import SimpleNamespace

from serving_mathematics.machine.predictions.calibration_scores import (
    FEW,
    SCORES,
    kept_error,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record


def example() -> SimpleNamespace:
    """Numbers of the page, errors in percent."""
    rows = []
    for few in FEW:
        cells = [
            f"{100 * kept_error(few, method=method)['median']:.1f}%"
            for method in ("before", "after")
        ]
        rows.append(f"| {few} | {' | '.join(cells)} |")
    scored = [row for row in read_record(SCORES)["deployments"] if row["half"] == "scored on"]
    key = "median error per token"
    return SimpleNamespace(
        own_rows="\n".join(rows),
        own_deployments=len(scored),
        own_before=100 * kept_error(3, method="before")["median"],
        own_after=100 * kept_error(3)["median"],
        own_low=100 * kept_error(3, method="low loads")["median"],
        own_worse=sum(row[key]["after"] > row[key]["before"] for row in scored),
    )


def check_loads_apart_are_worth_more_than_low_ones() -> None:
    """Three runs at the fewest, the middle and the most requests leave a lower error than the three
    at the lowest loads, in the median and in the mean; on both halves of the deployments.

    Source: the record.
    """
    rows = {
        (row["half"], row["method"]): row
        for row in read_record(SCORES)["all"]
        if row["few"] == 3 and row["time"] == "per_token_s"
    }
    for half in ("scored on", "chosen on"):
        apart, low = rows[half, "spread loads"], rows[half, "low loads"]
        for key in ("median", "mean"):
            label = f"{half}, {key}: apart over low"
            checks.inside(label, apart[key] / low[key], 0.0, 0.9, kind="measured")
