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
    "rows_at_once": (
        "The share is n/(n + oμ). Solve for n, and round up: half a row more is a row more."
    ),
    "what_holds_it_up": (
        "Work from the client inwards. If places are free and the queue is often empty, the engine "
        "does not get enough. Otherwise ask whether beginnings are found. What is left is a full "
        "engine."
    ),
    "missing_and_repeated": (
        "Count how often each row number occurs. Zeros that stand next to each other make one "
        "range, so look for the places at which zero begins and ends; ranges exclude their end."
    ),
}


def rows_at_once(share: float, ceiling_per_s: float, overhead_s: float) -> int:
    """Rows that a client has to send at once, if it waits for all of them, to get such a share of
    the engine, rounded up.

    share: f in (0, 1), of the ceiling. ceiling_per_s: μ, positive [1/s]. overhead_s: o, positive
    [s]. Raises ValueError outside these ranges, and where it is more than a billion.

    >>> rows_at_once(0.7, ceiling_per_s=20.0, overhead_s=5.0)  # of 233 and a third
    234
    """
    share = require_in("(0, 1)", share=share)
    ceiling_per_s, overhead_s = require_positive(ceiling_per_s=ceiling_per_s, overhead_s=overhead_s)
    rows = overhead_s * ceiling_per_s * share / (1 - share)
    require(rows <= 1e9, "share", "one that a billion rows reach", share)
    return math.ceil(rows * (1 - 1e-12))


def what_holds_it_up(running: float, waiting: float, found: float, shared: float) -> str:
    """What a dashboard says of a night: "client", "order" or "nothing".

    running: mean share of the engine's places that are taken, in [0, 1]. waiting: share of the time
    in which requests wait, in [0, 1]. found: share of the prompt tokens that the cache finds, in
    [0, 1]. shared: share that could be found, in [0, 1]. Less than nine tenths of the places taken,
    and requests waiting for less than nine tenths of the time: "client". Else "order" where
    caches find less than two thirds of what they could. Raises ValueError outside these ranges.

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
    Raises ValueError when a number is not one of 0 … n−1.

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
    """So many rows get the share, and one less does not.

    Source: `fed_share`, on both sides.
    """
    for share, ceiling, overhead in ((0.95, 23.0, 3.6), (0.5, 1.6, 7.0), (0.999, 100.0, 1.0)):
        rows = rows_at_once(share, ceiling, overhead)
        told = fed_share(rows, ceiling, overhead)
        checks.inside(f"{rows} rows, less the share", told - share, -1e-9, 0.05)
        fewer = fed_share(rows - 1, ceiling, overhead)
        checks.inside("one less, less the share", fewer - share, -0.1, -1e-12)


def check_boards() -> None:
    """A client that waits leaves places free, rows in the wrong order leave beginnings unread, and
    an engine with a queue that finds them is full.

    Source: the rule of each, by hand, on either side of its border.
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
    """Rows that were taken out and rows that were written twice are found, and nothing else.

    Source: sets of Python on 300 rows with known damage.
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
    """All of the ceiling, more places than there are and rows of another input are errors."""
    checks.raises("all of it", rows_at_once, 1.0, 20.0, 5.0, match="share must be in (0, 1)")
    checks.raises("places", what_holds_it_up, 1.1, 0.0, 0.0, 0.0, match="running must be in [0, 1]")
    checks.raises("no such row", missing_and_repeated, [3], 3, match="row_numbers must be integers")
