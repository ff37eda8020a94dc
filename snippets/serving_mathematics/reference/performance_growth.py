"""How the time of a simulation grows with its size: the exponent of a power law, with its interval.

If a computation of size n takes t = a·n^b, then log t = log a + b·log n, and least squares on the
logarithms find b. Twice the size takes 2^b times as long: b = 1 is the growth of a loop.

Assumes: at least three sizes, and one law over all of them; constant overheads make b smaller than
what large sizes show.

Source: the record of `make bench`; least squares with Student's t, as for any straight line.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.measuring import digits, read_record, runs_of, spread_text
from serving_mathematics.support.require import as_floats, require, require_shape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "simulation_growth"
LABELS = {  # offsets [points] of labels that would lie on one another
    "batching, steps": (6, 7),
    "LRU cache": (-26, 10),
    "M/M/8 log, heap": (-70, -1),
    "log histogram": (6, 4),
    "M/M/1 long run": (6, -4),
    "M/M/1 log, running maximum": (6, -10),
    "Che's approximation": (12, -10),
}

STUDENT_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def growth_exponent(sizes: npt.ArrayLike, costs: npt.ArrayLike) -> tuple[float, float]:
    """Exponent b of cost ∝ size^b and the half-width of its 95% interval.

    sizes: positive, at least two of them different, shape (n,), 3 ≤ n ≤ 12. costs: positive, shape
    (n,), in any unit. Raises ValueError outside these ranges.

    >>> growth_exponent([1, 10, 100], [3.0, 30.0, 300.0])[0].__round__(9)
    1.0
    """
    n, t = as_floats(sizes=sizes), as_floats(costs=costs)
    several = n.ndim == 1 and 3 <= n.size <= 2 + len(STUDENT_T_975)
    require(several, "sizes", f"of shape (n,), 3 ≤ n ≤ {2 + len(STUDENT_T_975)}", n.shape)
    require_shape(n.shape, costs=t)
    for name, values in (("sizes", n), ("costs", t)):
        require(np.all((values > 0) & (values < math.inf)), name, "positive and finite", values)
    require(n.min() < n.max(), "sizes", "not all the same", n)
    x, y = np.log(n) - np.log(n).mean(), np.log(t) - np.log(t).mean()
    exponent = float(x @ y / (x @ x))
    rest = y - exponent * x
    error = math.sqrt(float(rest @ rest) / (n.size - 2) / float(x @ x))
    return exponent, STUDENT_T_975[n.size - 3] * error


def _rows() -> str:
    """A row of the table for each method; first run."""
    lines = []
    for name, row in runs_of(read_record(RECORD))[0].items():
        span = f"{row['sizes'][0]:,} to {row['sizes'][-1]:,} {row['unit']}"
        exponent = f"{row['exponent']:.2f} ± {row['half_width']:.2f}"
        spread = spread_text(row["exponents"])
        lines.append(f"| {name} | {span} | {exponent} | {spread} |")
    return "\n".join(lines)


def _memory_rows() -> str:
    """A row of the table for each method whose memory was measured; first run."""
    lines = []
    for name, row in runs_of(read_record(RECORD))[0].items():
        if "peak_mib" in row:
            few, many = (f"{row['sizes'][at]:,} {row['unit']}" for at in (0, -1))
            least, most = (digits(row["peak_mib"][at]) for at in (0, -1))
            lines.append(f"| {name} | {least} MiB for {few} | {most} MiB for {many} |")
    return "\n".join(lines)


def _beyond_linear() -> str:
    """The methods whose whole interval lies above 1, in both runs, in words."""
    runs = runs_of(read_record(RECORD))
    names = [n for n in runs[0] if all(r[n]["exponent"] - r[n]["half_width"] > 1 for r in runs)]
    return "; ".join(names) if names else "none"


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        rows_growth=_rows(),
        rows_memory=_memory_rows(),
        beyond_linear=_beyond_linear(),
        steepest=max(
            row["exponent"] for run in runs_of(read_record(RECORD)) for row in run.values()
        ),
    )


def figure_growth(figure: Figure) -> None:
    """Twice the size takes about twice the time, over factors of thirty and more: lines of slope
    one on logarithmic axes.

    Processor time against size, medians of the first recorded run, with the fitted power laws.

    Alt: Eleven lines of points on logarithmic axes, size from ten to millions, time from
    less than a tenth of a millisecond to a third of a second. All rise with nearly the same slope,
    that of the dashed line for twice the time at twice the size; they differ in height by a factor
    of ten thousand.
    """
    figure.set_size_inches(5.8, 5.6)
    axes = figure.subplots()
    for number, (name, row) in enumerate(runs_of(read_record(RECORD))[0].items()):
        n, t = np.array(row["sizes"], float), np.array(row["seconds"])
        colour = f"C{number % 6}"
        axes.plot(n, t, "os^vDP"[number // 2 % 6], color=colour, markersize=3)
        middle = np.exp(np.log(t).mean()), np.exp(np.log(n).mean())
        axes.plot(n, middle[0] * (n / middle[1]) ** row["exponent"], color=colour, linewidth=1.0)
        axes.annotate(
            name,
            (n[-1], t[-1]),
            LABELS.get(name, (6, 0)),
            textcoords="offset points",
            color=colour,
            va="center",
            fontsize=8,
        )
    axes.plot([2e3, 2e6], [2e-5, 2e-2], color="C4", linestyle="--", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlim=(5, 8e8))
    axes.minorticks_off()
    axes.set(xlabel="size [customers, requests, values, servers or items]", ylabel="time [s]")


def check_growth_exponent() -> None:
    """Exact power laws have their exponent and no interval; a noisy one is covered.

    Source: laws of slope 1 and ½ by hand; numpy's polynomial fit of degree one.
    """
    sizes = np.array([10.0, 40.0, 160.0, 640.0])
    for slope in (0.5, 1.0):
        found = growth_exponent(sizes, 3 * sizes**slope)
        checks.close(f"slope {slope:g}", found, (slope, 0.0), atol=1e-12)
    noisy = sizes * np.exp([0.1, -0.1, 0.05, 0.0])
    exponent, half_width = growth_exponent(sizes, noisy)
    fitted, covariance = np.polyfit(np.log(sizes), np.log(noisy), 1, cov=True)
    checks.close("exponent", exponent, fitted[0], rtol=1e-12)
    checks.close("half-width", half_width, 4.303 * math.sqrt(covariance[0, 0]), rtol=1e-10)


def check_recorded_exponents() -> None:
    """The recorded exponents are those of the recorded times, and none is above 1.35.

    Source: the fit again; a quarter of the exponent is room for caches and page faults.
    """
    for number, run in enumerate(runs_of(read_record(RECORD)), 1):
        for name, row in run.items():
            again = growth_exponent(row["sizes"], row["seconds"])[0]
            label = f"run {number}, {name}"
            checks.close(label, again, row["exponent"], atol=2e-3, kind="measured")
            checks.inside(f"{label}, at most", row["exponent"], 0.4, 1.35, kind="measured")


def check_memory() -> None:
    """Long runs take the same memory whatever their length; a log in memory takes it in proportion.

    Source: peaks that Python's tracemalloc saw, in both recorded runs.
    """
    for number, run in enumerate(runs_of(read_record(RECORD)), 1):
        for name, row in run.items():
            if "peak_mib" not in row:
                continue
            grown = row["peak_mib"][-1] / row["peak_mib"][0]
            longer = row["sizes"][-1] / row["sizes"][0]
            label = f"run {number}, {name}"
            if "long run" in name:
                checks.inside(label, grown, 0.9, 1.1, kind="measured")
            else:
                checks.inside(label, grown / longer, 0.5, 1.1, kind="measured")


def check_bad_input_is_refused() -> None:
    """Two sizes, sizes without spread, and negative times name the argument."""
    checks.raises("two", growth_exponent, [1, 2], [1, 2], match="sizes must be of shape (n,)")
    checks.raises("same", growth_exponent, [2, 2, 2], [1, 2, 3], match="sizes must be not all the")
    checks.raises(
        "negative", growth_exponent, [1, 2, 3], [1, -2, 3], match="costs must be positive"
    )
    checks.raises("short", growth_exponent, [1, 2, 3], [1, 2], match="costs must be of shape (3,)")
