"""Four engines and a night of shards, to look at: the nights of `night_of_shards`.

Assumes: what `night_of_shards` assumes.

Source: `night_of_shards`; Graham (1966) for the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from serving_mathematics.architecture.batch_serving.batch_serving import latest_finish_s
from serving_mathematics.architecture.batch_serving.night_of_shards import (
    ENGINES,
    MISHAPS,
    PAYS,
    SHARDS,
    Bar,
    _end_s,
    _night,
    _overhead_s,
    _rows_s,
    _shards_s,
)
from serving_mathematics.support.drawing import Figure


def figure_night(figure: Figure) -> None:
    """With few shards a mishap costs much time, and with many the starts do; a wide range in
    between does well.

    Four engine-hours on four engines; each shard starts an engine. The bound is for shards in any
    order on equal engines.

    Alt: Line chart of the end of the night against the number of shards, on a logarithmic axis. At
    the left, an undisturbed night ends long before one in which an engine is killed. These two
    lines and that of a slower engine zigzag through a wide valley and rise together at the right.
    The dashed bound lies above the lines of equal engines; the line of a slower engine crosses it.
    """
    axes = figure.subplots()
    counts = np.unique(np.rint(np.geomspace(ENGINES, 256, 40)).astype(int)).tolist()
    pays = "an engine's start too"
    for mishap, colour, text, x, y in (
        (MISHAPS[0], "C0", "undisturbed", 4.2, 57),
        (MISHAPS[1], "C3", "an engine is killed", 5.2, 104),
        (MISHAPS[2], "C1", "a slower engine", 42, 141),
    ):
        axes.semilogx(counts, [_end_s(n, pays, mishap) / 60 for n in counts], color=colour)
        axes.annotate(text, (x, y), color=colour)
    bound = [
        latest_finish_s(
            float(_rows_s().sum()), ENGINES, _overhead_s(pays), n, float(_shards_s(n).max())
        )
        for n in counts
    ]
    axes.semilogx(counts, np.array(bound) / 60, color="C4", linestyle="--")
    axes.annotate("bound, any order", (9, 92), color="C4")
    axes.set_xticks([4, 8, 16, 32, 64, 128, 256], ["4", "8", "16", "32", "64", "128", "256"])
    axes.minorticks_off()
    axes.set(xlabel="shards", ylabel="night ends after [min]", ylim=(50, 200))


def slider_night() -> dict[str, Any]:
    """Four engines and a night of rows; one engine is killed. Cut the rows into more shards; then
    let every shard start an engine of its own."""
    runs = [
        [[_night(_shards_s(n), _overhead_s(pays), mishap) for mishap in MISHAPS] for pays in PAYS]
        for n in SHARDS
    ]

    def each(told: Callable[[list[Bar]], Any]) -> list[list[list[Any]]]:
        return [[[told(bars) for bars in row] for row in rows] for rows in runs]

    end = np.array(each(lambda bars: max(stop for *_, stop, _ in bars))) / 60
    clock = np.linspace(0, end.max(), 45)

    def shown(bars: list[Bar]) -> list[tuple[str, float, float, str]]:
        return [
            (str(engine + 1), round(start / 60, 2), round(stop / 60, 2), state)
            for engine, start, stop, state in bars
            if stop - start > 1.0 or state == "answer"
        ]

    def lost(bars: list[Bar]) -> float:
        return sum(b - a for _, a, b, state in bars if state == "broken") / 60

    def done(bars: list[Bar]) -> list[float]:
        """Percent of the rows at each moment."""
        spans = np.array([(start, stop) for _, start, stop, state in bars if state == "answer"])
        passed = np.clip(60 * clock[:, None] - spans[:, 0], 0, spans[:, 1] - spans[:, 0])
        whole: list[float] = np.rint(100 * passed.sum(axis=1) / np.diff(spans).sum()).tolist()
        return whole

    return {
        "controls": [
            {"label": "shards", "values": list(SHARDS), "start": 4, "text": "{}"},
            {"label": "each shard pays for", "values": list(PAYS), "start": next(iter(PAYS))},
            {"label": "what happens", "values": list(MISHAPS), "start": MISHAPS[1]},
        ],
        "clock": {
            "label": "time",
            "unit": "min",
            "values": clock.tolist(),
            "start": clock[-1],
            "decimals": 0,
        },
        "panels": [
            {
                "kind": "lanes",
                "label": "four engines",
                "lanes": [str(engine + 1) for engine in range(ENGINES)],
                "bars": each(shown),
            }
        ],
        "legend": {"answer": "rows", "starts": "overhead", "broken": "lost", "idle": "waits"},
        "readouts": [
            {"label": "ends after", "unit": "min", "decimals": 0, "values": end.tolist()},
            {"label": "done", "unit": "%", "decimals": 0, "values": each(done)},
            {"label": "lost work", "unit": "min", "decimals": 0, "values": each(lost)},
        ],
        "reading": "After {time}, {done} of the rows are done. With {shards} shards that each pay"
        " for {each shard pays for}, the night ends after {ends after} if {what happens};"
        " {lost work} of work is done twice.",
    }
