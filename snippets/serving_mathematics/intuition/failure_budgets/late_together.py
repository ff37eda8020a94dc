"""Late first tokens come together, because a queue makes everyone behind it late.

How far the failures of a service come together is told by its own counts: their variance over their
mean in windows of equal length is D, and causes with a geometric number of failures, c on average,
have D = 2c − 1. With c the expected pages of a steady service follow (`false_pages`).

`python -m serving_mathematics.intuition.failure_budgets.late_together` runs the book's mixture at
five loads, in six minutes, and writes records/late_together.json; a part of one is run again here.

Assumes: Poisson arrivals at a constant rate, which is the least that a real day has; late is what
comes after the limit that a thousandth of the requests miss, so that the service keeps 99.9%.

Source: own simulation of the book's machines; Panjer (1981) for compound counts.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import alert_firing
from serving_mathematics.intuition.failure_budgets.false_pages import (
    PAGE,
    SLO,
    _monthly,
    false_pages,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import require, require_all_non_negative

RECORD = "late_together"
COMMAND = "python -m serving_mathematics.intuition.failure_budgets.late_together"
LOADS = (0.3, 0.4, 0.5, 0.6, 0.7)  # of the mixture's ceiling
SEEDS, REQUESTS = 12, 300_000  # runs of each load, and requests of each, about four days
AGAIN = 20_000  # requests of a run that is made again here
FAILED_PER_H = 0.6  # of a service that spends its budget at 600 requests an hour
CHAT_LOAD, CHAT_RUNS, CHAT_REQUESTS = 0.8, 48, 100_000
SPELLS = 2.0, 5.0, 2000  # a day, minutes of each on average, and months of them


def clump_size(failures: npt.ArrayLike) -> float:
    """Mean number of failures that come together, (1 + D)/2 with D variance over mean.

    failures: counts in windows of equal length while nothing is wrong, shape (n,), n ≥ 2. At least
    1, which is also what counts say that vary less than independent ones. Raises ValueError on
    other input, and where nothing fails.

    >>> clump_size([0, 0, 0, 4])  # a mean of 1 and a variance of 3
    2.0
    """
    failures = require_all_non_negative(failures=failures)
    counts = np.asarray(failures, dtype=np.float64)
    require(counts.ndim == 1 and counts.size >= 2, "failures", "of shape (n,), n ≥ 2", counts.shape)
    mean = float(counts.mean())
    require(mean > 0, "failures", "of a window or more in which something fails", mean)
    return max((1 + float(np.mean((counts - mean) ** 2)) / mean) / 2, 1.0)


def _run(
    machine: Machine, load: float, seed: int, requests: int, fives: int = 6
) -> dict[str, float]:
    """What a month's alert would see of a run: pages, and the clump of counts in so many times
    five minutes, which must be longer than a queue."""
    run = run_engine(
        machine, load * machine.ceiling_per_s, requests, np.random.default_rng([7, seed])
    )
    late = run.ttft_s > np.quantile(run.ttft_s, SLO)
    edges = np.arange(0, run.arrival_s[-1], 300.0)
    asked = np.histogram(run.arrival_s, edges)[0]
    failed = np.histogram(run.arrival_s[late], edges)[0]
    firing = alert_firing(asked, failed, 12, 1, SLO, PAGE)
    return {
        "per_h": requests / float(run.arrival_s[-1]) * 3600,
        "hours": float(edges[-1]) / 3600,
        "clump": clump_size(np.histogram(run.arrival_s[late], edges[::fives])[0]),
        "pages": int((firing[1:] & ~firing[:-1]).sum()),
    }


def _measure() -> dict[str, Any]:
    """The whole record."""
    loads = [
        {"load": load, "runs": [_run(MIXTURE, load, seed, REQUESTS) for seed in range(SEEDS)]}
        for load in LOADS
    ]
    again = _run(MIXTURE, LOADS[-1], 0, AGAIN)
    chat = (  # whose queues last seconds
        _run(CHAT, CHAT_LOAD, seed, CHAT_REQUESTS, fives=1)["clump"] for seed in range(CHAT_RUNS)
    )
    other = {"chat_clump": float(np.mean(list(chat))), "spells": vars(_with_spells())}
    what = "simulated runs of the mixture at constant load, a thousandth of first tokens late"
    return provenance(COMMAND, ["numpy"]) | {"what": what, "loads": loads, "again": again} | other


def main() -> None:
    """Simulate and write the record."""
    print(f"wrote {write_record(RECORD, _measure())}, {SEEDS} runs of {len(LOADS)} loads")


def _recorded() -> list[SimpleNamespace]:
    """For each load: requests an hour, clump, and pages a month as simulated and as computed."""
    found = []
    for row in read_record(RECORD)["loads"]:
        hours = sum(run["hours"] for run in row["runs"])
        pages = sum(run["pages"] for run in row["runs"])
        clump = float(np.mean([run["clump"] for run in row["runs"]]))
        short = round(float(np.mean([run["per_h"] for run in row["runs"]])) / 12)
        found.append(
            SimpleNamespace(
                load=row["load"],
                per_h=12 * short,
                clump=clump,
                counted=pages,
                months=hours / 720,
                computed=_monthly(12 * short, clump),
                alone=_monthly(12 * short, 1.0),
            )
        )
    return found


def _interval(count: int) -> tuple[float, float]:
    """Means of a Poisson count that leave it possible, 95%, as Wilson's interval does."""
    middle, half = count + 1.96**2 / 2, 1.96 * math.sqrt(count + 1.96**2 / 4)
    return middle - half, middle + half


def _told(days: int, window_min: float = 30.0, spread_min: float = 0.0, clump: float = 3.0) -> Any:
    """Clumps that counts of so many days tell, of 400 services in which failures come so many
    together, spread over some minutes."""
    rng, end, found = np.random.default_rng(11), 1440.0 * days, []
    for _ in range(400):
        sizes = rng.geometric(1 / clump, rng.poisson(FAILED_PER_H * 24 * days / clump))
        begins = np.repeat(rng.uniform(0, end, sizes.size), sizes.astype(np.intp))
        at = begins + rng.uniform(0, spread_min, begins.size)
        counts = np.histogram(at, np.arange(0, end + 1, window_min))[0]
        found.append(clump_size(counts) if counts.any() else 1.0)
    return np.array(found)


def _with_spells() -> SimpleNamespace:
    """A service of 600 requests an hour that spends its budget, half of it on failures that come
    alone and half in rare spells: the errors that its clump says to ask for, and pages a year then.
    """
    a_day, minutes, months = SPELLS
    rng, fives, asked = np.random.default_rng(17), 8640 * months, 50
    begin = rng.uniform(0, 5 * fives, rng.poisson(a_day * 30 * months)).astype(np.intp)
    lengths = rng.geometric(1 / minutes, begin.size).astype(np.intp)
    bad = np.repeat(begin, lengths) + (
        np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    )
    share = np.bincount(bad // 5, minlength=fives)[:fives] / 5
    failed = rng.binomial(asked, (1 - SLO) / 2 * (1 + share / share.mean()))
    clump = clump_size(failed.reshape(-1, 6).sum(axis=1))
    least = next(
        k
        for k in range(1, 200)
        if 8640 * false_pages(asked, 1 - SLO, SLO, PAGE, least=k, clump=clump) < 1 / 12
    )
    firing = alert_firing(np.full(fives, asked), failed, 12, 1, SLO, PAGE)
    firing[11:] &= np.convolve(failed, np.ones(12), "valid") >= least
    pages = np.count_nonzero(firing[1:] & ~firing[:-1])
    return SimpleNamespace(clump=clump, least=least, pages=pages / months * 12)


def example() -> SimpleNamespace:
    """Numbers quoted in the text: of the mixture at its highest load, and of the chat machine."""
    high, record = _recorded()[-1], read_record(RECORD)
    per_h = 12 * round(CHAT_LOAD * CHAT.ceiling_per_s * 300)
    return SimpleNamespace(
        mixture_load_percent=100 * high.load,
        mixture_per_h=high.per_h,
        mixture_days=30 * high.months,
        mixture_pages=high.counted / high.months,
        mixture_least=_interval(high.counted)[0] / high.months,
        mixture_most=_interval(high.counted)[1] / high.months,
        mixture_computed=high.computed,
        chat_clump=record["chat_clump"],
        chat_per_h=per_h,
        chat_load_percent=100 * CHAT_LOAD,
        spell_pages=record["spells"]["pages"],
    )


def figure_late_together(figure: Figure) -> None:
    """Late first tokens cause pages where a service spends exactly its budget, and more of them the
    higher its load.

    The book's mixture at constant load, with the limit that one in a thousand misses at that load.
    Points are simulated days with 95% intervals; the line is the exact formula with the clump from
    the counts of the same days. There are so few pages that an error of the formula by half would
    not show.

    Alt: Chart of pages in 30 days against load from 30 to 70 percent. A line rises from near zero
    to sixteen, through simulated points with wide bars. A dotted line for independent
    failures lies on zero.
    """
    figure.set_size_inches(5.8, 2.8)
    axes = figure.subplots()
    rows = _recorded()
    loads = [100 * row.load for row in rows]
    counted = np.array([row.counted for row in rows])
    months = np.array([row.months for row in rows])
    axes.plot(loads, [row.computed for row in rows], color="C3")
    ends = [[one / row.months for one in _interval(row.counted)] for row in rows]
    bars = np.abs(np.transpose(ends) - counted / months)
    axes.errorbar(loads, counted / months, bars, fmt="o", color="C3")
    axes.plot(loads, [row.alone for row in rows], color="C0", linestyle=":")
    axes.annotate("simulated, and computed\nfrom the clump", (32, 12), color="C3")
    axes.annotate("if each failed alone", (69, 0.6), color="C0", ha="right")
    axes.set(xlim=(27, 73), ylim=(-0.8, None))
    axes.set_yticks([0, 5, 10, 15])
    axes.set(xlabel="load [% of the ceiling]", ylabel="false pages in 30 days")


def check_clump_is_found_again() -> None:
    """From counts of failures in clumps of a known size, the formula finds that size.

    Source: 20,000 windows of a binomial number of causes with geometric sizes; 6%.
    """
    rng = np.random.default_rng(8)
    for clump in (1.0, 3.0, 10.0):
        causes = rng.binomial(1000, 0.002, 20_000)
        more = rng.negative_binomial(np.maximum(causes, 1), 1 / clump) * (causes > 0)
        got = clump_size(causes + more)
        checks.close(f"of {clump:g}", got, clump, rtol=0.06, kind="simulation")


def check_windows_are_longer_than_a_queue() -> None:
    """Where a queue spreads clumps of three over a quarter of an hour, windows of two hours find
    their size, and windows of five minutes find less than half of what it is above one.

    Source: 400 simulated fortnights.
    """
    hours, short = (float(np.mean(_told(14, at, 15.0))) for at in (120.0, 5.0))
    checks.close("two hours: clump", hours, 3.0, rtol=0.1, kind="simulation")
    checks.inside("five minutes: of what clumps are above one", (short - 1) / 2, 0.1, 0.5)


def check_pages_of_late_tokens() -> None:
    """The number of pages computed from the clump is within three standard errors of the simulated
    one at every load, and at the highest load within the interval that the page quotes; independent
    failures would give less than a page in a hundred years.

    Source: the recorded runs, 37 days or more at each load; the square root of the expected pages.
    """
    for row in _recorded():
        error = 3 * math.sqrt(row.computed * row.months + 1)
        label = f"pages at {row.load:.0%}"
        expected = row.computed * row.months
        checks.close(label, row.counted, expected, atol=error, kind="simulation")
        checks.inside(f"alone, at {row.load:.0%}", row.alone, 0, 1 / 1200)
    least, most = _interval(row.counted)
    checks.inside("in the interval", expected, least, most, kind="simulation")


def check_spells_page_in_spite_of_the_guard() -> None:
    """Where half of the failures come alone and half in two spells a day, one clump size is not
    enough: with as many errors required as it suggests, the rule still pages several times a year
    instead of once.

    Source: the record: 2,000 simulated months, more than a thousand pages.
    """
    told = read_record(RECORD)["spells"]["pages"]
    checks.inside("pages a year", told, 3, 12)


def check_record_is_made_again() -> None:
    """A part of the record, run again, has the same clump and the same pages.

    Source: records/late_together.json.
    """
    again, recorded = _run(MIXTURE, LOADS[-1], 0, AGAIN), read_record(RECORD)["again"]
    checks.close("an hour", again["per_h"], recorded["per_h"], rtol=0.01, kind="simulation")
    checks.close("clump", again["clump"], recorded["clump"], rtol=0.05, kind="simulation")
    checks.close("pages", again["pages"], recorded["pages"], atol=1, kind="simulation")


if __name__ == "__main__":
    main()
