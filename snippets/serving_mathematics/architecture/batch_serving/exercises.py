"""Solutions: how many rows to send at once, what holds a night up, and which rows an output lacks.

Source: derived here; `fed_share` of the chapter.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.batch_serving.offline_engine import fed_share
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_numbers,
    require,
    require_in,
    require_positive,
    require_positive_integer,
    require_work,
)

HINTS = {
    "rows_at_once": ("The share is n/(n + oμ). Solve for n, and round up to whole rows."),
    "what_holds_it_up": (
        "Work from the client inwards. If places are free and the queue is often empty, the engine "
        "gets too few rows. Otherwise ask whether the cache finds what rows share. If it does, the "
        "engine is simply full."
    ),
    "missing_and_repeated": (
        "Count how often each row number occurs. Neighbouring counts of zero make one range, so "
        "find where each such run begins and ends; ranges exclude their end."
    ),
}


def rows_at_once(share: float, ceiling_per_s: float, overhead_s: float) -> int:
    """Rows that a client must send at once, if it waits for all of them, to get a share of the
    engine's ceiling, rounded up.

    share: f in (0, 1). ceiling_per_s: μ, positive [1/s]. overhead_s: o, positive [s]. Raises
    ValueError outside these ranges, and if the answer is more than a billion.

    >>> rows_at_once(0.7, ceiling_per_s=20.0, overhead_s=5.0)  # 233 and a third, rounded up
    234
    """
    share = require_in("(0, 1)", share=share)
    ceiling_per_s, overhead_s = require_positive(ceiling_per_s=ceiling_per_s, overhead_s=overhead_s)
    rows = overhead_s * ceiling_per_s * share / (1 - share)
    require(rows <= 1e9, "share", "one that a billion rows reach", share)
    return math.ceil(rows * (1 - 1e-12))


def what_holds_it_up(running: float, waiting: float, found: float, shared: float) -> str:
    """What holds a night up, read from a dashboard: "client", "order" or "nothing".

    running: mean share of the engine's places that are taken, in [0, 1]. waiting: share of the time
    in which requests wait, in [0, 1]. found: share of the prompt tokens that the cache finds, in
    [0, 1]. shared: share that it could find, in [0, 1]. Returns "client" if less than nine tenths
    of the places are taken and requests wait for less than nine tenths of the time, else "order" if
    the cache finds less than two thirds of what it could. Raises ValueError outside these ranges.

    >>> what_holds_it_up(running=0.4, waiting=0.3, found=0.0, shared=0.0)
    'client'
    """
    running, waiting = require_in("[0, 1]", running=running, waiting=waiting)
    found, shared = require_in("[0, 1]", found=found, shared=shared)
    if waiting < 0.9 and running < 0.9:
        return "client"
    return "order" if found < 2 / 3 * shared else "nothing"


def missing_and_repeated(
    row_numbers: npt.ArrayLike, rows: int
) -> tuple[list[tuple[int, int]], list[int]]:
    """Ranges of rows that an output lacks, ends excluded, and the rows that it has more than once.

    row_numbers: integers of shape (k,) in any order. rows: number of rows of the input, n ≥ 1.
    Raises ValueError if a number is not one of 0 … n−1.

    >>> missing_and_repeated([4, 0, 1, 4], rows=6)
    ([(2, 4), (5, 6)], [4])
    """
    rows = require_positive_integer(rows=rows)
    require_work(rows, rows=rows)
    numbers = np.asarray(as_numbers(row_numbers=row_numbers))
    require(numbers.ndim == 1, "row_numbers", "of shape (k,)", numbers.shape)
    known = numbers.size == 0 or np.all((numbers >= 0) & (numbers < rows) & (numbers % 1 == 0))
    require(known, "row_numbers", f"integers from 0 to {rows - 1}", numbers)
    counts = np.bincount(numbers.astype(np.int64), minlength=rows)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], counts == 0, [False]])))
    ranges = [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
    return ranges, np.flatnonzero(counts > 1).tolist()


def example() -> SimpleNamespace:
    """The numbers quoted with the exercises."""
    return SimpleNamespace(
        pencil_rows=rows_at_once(0.95, 23.0, 3.6),
        board_first=what_holds_it_up(0.45, 0.4, 0.7, 0.78),
        board_second=what_holds_it_up(1.0, 1.0, 0.4, 0.78),
        board_third=what_holds_it_up(1.0, 1.0, 0.74, 0.78),
    )


def check_rows_at_once() -> None:
    """With the computed number of rows a client gets the share, and with one row fewer it does not.

    Source: `fed_share` of both numbers.
    """
    for share, ceiling, overhead in ((0.95, 23.0, 3.6), (0.5, 1.6, 7.0), (0.999, 100.0, 1.0)):
        rows = rows_at_once(share, ceiling, overhead)
        told = fed_share(rows, ceiling, overhead)
        checks.inside(f"{rows} rows: share, less the one asked for", told - share, -1e-9, 0.05)
        fewer = fed_share(rows - 1, ceiling, overhead)
        checks.inside("one row fewer: share, less the one asked for", fewer - share, -0.1, -1e-12)


def check_boards() -> None:
    """A client that waits leaves places free; in the wrong order, rows do not find the beginnings
    that they share; otherwise nothing holds the engine up.

    Source: each rule by hand, on both sides of its limit.
    """
    for told, board in (
        ("client", (0.89, 0.89, 0.9, 0.9)),
        ("client", (0.5, 0.5, 0.1, 0.9)),
        ("nothing", (0.9, 0.5, 0.5, 0.75)),
        ("order", (0.95, 1.0, 0.59, 0.9)),
        ("order", (0.5, 0.9, 0.1, 0.9)),
        ("nothing", (1.0, 1.0, 0.0, 0.0)),
    ):
        checks.equal(f"{board}", what_holds_it_up(*board), told)


def check_missing_and_repeated() -> None:
    """Rows that were taken out and rows that were written more than once are found, and no others.

    Source: Python's sets, on 300 rows with known damage.
    """
    rng = np.random.default_rng(5)
    kept = [row for row in range(300) if not 40 <= row < 60 and row not in (0, 299)]
    written = rng.permutation([*kept, 7, 7, 250]).tolist()
    missing, repeated = missing_and_repeated(written, 300)
    lacking = sorted(set(range(300)) - set(written))
    checks.equal("missing", [r for a, b in missing for r in range(a, b)], lacking)
    checks.equal("ranges", [(*one,) for one in missing], [(0, 1), (40, 60), (299, 300)])
    checks.equal("repeated", [*repeated], [7, 250])
    checks.equal("whole", [len(one) for one in missing_and_repeated(range(300), 300)], [0, 0])


def check_bad_input_is_refused() -> None:
    """The whole ceiling, more places than there are, and rows of another input are errors."""
    checks.raises("all of it", rows_at_once, 1.0, 20.0, 5.0, match="share must be in (0, 1)")
    checks.raises("places", what_holds_it_up, 1.1, 0.0, 0.0, 0.0, match="running must be in [0, 1]")
    checks.raises("no such row", missing_and_repeated, [3], 3, match="row_numbers must be integers")
