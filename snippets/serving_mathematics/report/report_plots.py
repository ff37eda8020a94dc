"""Drawings of a run: its times over time, its latency against load, its arrivals.

They are text, as the planner's are, and are coloured by the same classes.

Source: the drawing is that of `planner.answers.plot_axes`; SVG 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from serving_mathematics.planner.answers.plot_axes import (
    ABOVE,
    BELOW,
    LEFT,
    PANEL,
    RIGHT,
    Axis,
    Plot,
    _frame,
    _svg,
    _text,
    _x,
    _y,
    axis_over,
    axis_ticks,
)
from serving_mathematics.report.comparison import _steps_of
from serving_mathematics.report.evidence import (
    FloatArray,
    Run,
    _inside_at,
    _known_quantile,
)
from serving_mathematics.report.findings.finding import FEW, Asked
from serving_mathematics.report.waiting import levels
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized

PARTS = 40
HEIGHT = PANEL + ABOVE + BELOW


def run_plots(runs: Sequence[Run], asked: Asked) -> list[Plot]:
    """The drawings that some runs can bear: of the ladder, and of the run with most requests.

    runs: of one report. asked: whose objective is drawn.

    >>> run = Run("", "", {"sent_s": np.arange(200.0), "ttft_s": np.full(200, 0.1)})
    >>> [plot.title for plot in run_plots([run], Asked())]
    ['Time to first token over the run', 'Arrivals']
    """
    plots = [_ladder(runs)]
    largest = max(runs, key=lambda run: run.size, default=None)
    if largest and largest.size >= FEW:
        run = largest.in_order()
        plots += [_over_time(run, asked), _by_load(run, asked), _arrivals(run)]
    series = [run for run in runs if run.series is not None] or list(runs)
    plots.append(_levels(series[0]) if series else None)
    return [plot for plot in plots if plot]


def _plot(
    name: str, title: str, caption: str, drawn: str, rows: list[list[str]], panels: int = 1
) -> Plot:
    return Plot(title, _svg(name, title, caption, drawn, panels * HEIGHT), caption, rows)


def _cell(value: float, digits: int = 3) -> str:
    """A number of the table beside a plot, empty where nothing was measured."""
    return sized(value, digits) if math.isfinite(value) else ""


def _line(axis: Axis, up: Axis, top: float, xs: FloatArray, ys: FloatArray, kind: str) -> str:
    points = [
        f"{_x(axis, x):.1f} {_y(up, top, min(max(y, up.low), up.high)):.1f}"
        for x, y in zip(xs.tolist(), ys.tolist(), strict=True)
        if math.isfinite(y)
    ]
    return f'<path class="{kind}" d="M{"L".join(points)}"/>' if len(points) > 1 else ""


def _limit(up: Axis, top: float, value: float, scale: float) -> str:
    if not up.low < value * scale < up.high:
        return ""
    line = _y(up, top, value * scale)
    drawn = f'<path class="limit" d="M{LEFT:.1f} {line:.1f}H{RIGHT:.1f}"/>'
    return drawn + _text(RIGHT, line - 5, f"objective {value * scale:g}", "of-limit", "end")


def _clock(seconds: float) -> tuple[float, str]:
    """A scale for a span of time, and its unit."""
    return (3600.0, "h") if seconds > 10_800 else (60.0, "min") if seconds > 300 else (1.0, "s")


def _over_time(run: Run, asked: Asked) -> Plot | None:
    name = "ttft_s" if run.has("ttft_s") else "latency_s"
    if not run.has(name):
        return None
    told = run.has("sent_s")
    good = run.good() & np.isfinite(run.column(name))
    good &= np.isfinite(run.column("sent_s")) | (not told)
    values = run.column(name)[good]
    at = run.column("sent_s")[good] if told else np.arange(values.size, dtype=float)
    if values.size < FEW or not at[-1] > at[0] or not values.max() > 0:
        return None
    scale, unit = _clock(float(at[-1] - at[0])) if told else (1.0, "request")
    parts = np.array_split(np.arange(values.size), min(PARTS, values.size // 20))
    middle = np.array([float(np.mean(at[x])) for x in parts]) / scale
    halves, tails = (
        np.array([float(np.quantile(values[x], q)) for x in parts]) for q in (0.5, 0.95)
    )
    positive = [x for x in (*halves, *tails) if x > 0]
    limit = [asked.ttft_s] if name == "ttft_s" and asked.ttft_s > 0 else []
    up = axis_over([*positive, *limit])
    across = Axis(float(at[0]) / scale, float(at[-1]) / scale)
    short = "TTFT [s]: median and 95th percentile"
    title = short if name == "ttft_s" else "latency [s]: median and p95"
    drawn = _frame(across, axis_ticks(across), up, ABOVE, title, f"sent at [{unit}]")
    drawn += _line(across, up, ABOVE, middle, halves, "curve")
    drawn += _line(across, up, ABOVE, middle, tails, "curve tail")
    drawn += _limit(up, ABOVE, limit[0], 1.0) if limit else ""
    rows = [[f"sent at [{unit}]", "median [s]", "p95 [s]"]]
    rows += [
        [_cell(a, 4), _cell(b), _cell(c)] for a, b, c in zip(middle, halves, tails, strict=True)
    ]
    what = "Time to first token" if name == "ttft_s" else "Latency"
    caption = f"{what} in {len(parts)} parts of the run, in order: the lower line is the median."
    return _plot("over", f"{what} over the run", caption, drawn, rows)


def _by_load(run: Run, asked: Asked) -> Plot | None:
    if not run.has("sent_s", "ttft_s", "latency_s") or run.size < 3 * FEW:
        return None
    good = run.good() & np.isfinite(run.column("ttft_s") + run.column("sent_s"))
    if good.sum() < 3 * FEW:
        return None
    inside = _inside_at(run, run.column("sent_s"))[good]
    ttft, tpot = run.column("ttft_s")[good], run.tpot_s()[good]
    parts = np.array_split(np.argsort(inside, kind="stable"), 12)
    load = np.array([float(inside[x].mean()) for x in parts])
    if not load[-1] > load[0]:
        return None
    curves = [("TTFT p95 [s]", 1.0, ttft, asked.ttft_s), ("TPOT p95 [ms]", 1e3, tpot, asked.tpot_s)]
    across = Axis(0.0, 1.05 * float(load[-1]))
    drawn, rows, place = "", [["requests inside", *[c[0] for c in curves]]], 0
    columns = []
    for title, scale, values, limit in curves:
        tails = np.array([scale * _known_quantile(values[x], 0.95) for x in parts])
        columns.append(tails)
        known = tails[tails > 0]
        if not known.size:
            continue
        up = axis_over([*known.tolist(), *([limit * scale] if limit > 0 else [])])
        top = place * HEIGHT + ABOVE
        drawn += _frame(across, axis_ticks(across), up, top, title, "requests inside when it came")
        drawn += _line(across, up, top, load, tails, "curve")
        drawn += _limit(up, top, limit, scale) if limit > 0 else ""
        place += 1
    rows += [[_cell(a), *(_cell(column[i]) for column in columns)] for i, a in enumerate(load)]
    caption = (
        "95th percentiles against how many requests were inside when each came, in twelve parts."
    )
    return _plot("load", "Latency against load", caption, drawn, rows, max(place, 1))


def _arrivals(run: Run) -> Plot | None:
    sent = run.column("sent_s")
    sent = sent[np.isfinite(sent)] if run.has("sent_s") else np.zeros(0)
    if sent.size < FEW or not sent.max() > sent.min():
        return None
    sent = np.sort(sent) - sent.min()
    span = float(sent[-1])
    bins = 60
    place = np.minimum((sent / span * bins).astype(int), bins - 1)
    counts = np.bincount(place, minlength=bins) / (span / bins)
    scale, unit = _clock(span)
    at = (np.arange(bins) + 0.5) * span / bins / scale
    up = Axis(0.0, 1.15 * float(counts.max()))
    across = Axis(0.0, span / scale)
    drawn = _frame(across, axis_ticks(across), up, ABOVE, "requests a second", f"time [{unit}]")
    drawn += _line(across, up, ABOVE, at, counts, "curve")
    rows = [[f"time [{unit}]", "requests a second"]]
    rows += [[_cell(a, 4), _cell(b, 4)] for a, b in zip(at.tolist(), counts.tolist(), strict=True)]
    caption = f"Requests a second in {bins} equal parts of the time."
    return _plot("arrivals", "Arrivals", caption, drawn, rows)


def _levels(run: Run) -> Plot | None:
    told = levels(run)
    if told is None or told.time_s.size < 10 or not np.isfinite(told.time_s).all():
        return None
    begin = float(told.time_s.min())
    scale, unit = _clock(float(told.time_s.max()) - begin)
    at = (told.time_s - begin) / scale
    running, waiting = told.values["running"], told.values["waiting"]
    most = max(1.0, _known_quantile(running, 1.0), _known_quantile(waiting, 1.0))
    if not at.max() > 0:
        return None
    up, across = Axis(0.0, 1.15 * most), Axis(0.0, float(at.max()))
    step = max(1, at.size // 300)
    drawn = _frame(
        across, axis_ticks(across), up, ABOVE, "requests that run, and that wait", f"time [{unit}]"
    )
    drawn += _line(across, up, ABOVE, at[::step], running[::step], "curve")
    drawn += _line(across, up, ABOVE, at[::step], waiting[::step], "curve tail")
    rows = [[f"time [{unit}]", "running", "waiting"]]
    picked = range(0, at.size, max(1, at.size // 60))
    rows += [[_cell(at[i], 4), _cell(running[i], 4), _cell(waiting[i], 4)] for i in picked]
    caption = "Requests in the batch (the full line) and requests that wait (the dashed one)."
    return _plot("levels", "The engine over time", caption, drawn, rows)


def _ladder(runs: Sequence[Run]) -> Plot | None:
    steps = _steps_of(runs)
    if len(steps) < 3:
        return None
    asked, served, first, _ = (np.array(x) for x in zip(*steps, strict=True))
    across = Axis(0.0, 1.05 * float(asked.max()))
    drawn = ""
    for place, (title, values) in enumerate(
        (("served [requests/s]", served), ("TTFT, mean [s]", first))
    ):
        up, top = axis_over(values.tolist()), place * HEIGHT + ABOVE
        drawn += _frame(across, axis_ticks(across), up, top, title, "asked [requests/s]")
        drawn += _line(across, up, top, asked, values, "curve")
        for x, y in zip(asked.tolist(), values.tolist(), strict=True):
            drawn += (
                f'<circle class="point front" cx="{_x(across, x):.1f}" '
                f'cy="{_y(up, top, y):.1f}" r="4"/>'
            )
    rows = [["asked [1/s]", "served [1/s]", "TTFT, mean [s]"]]
    rows += [[_cell(a, 4), _cell(b, 4), _cell(c)] for a, b, c, _ in steps]
    caption = "What was served of what was asked for, and the mean time to first token, by load."
    return _plot("ladder", "The ladder of loads", caption, drawn, rows, 2)


def check_drawings_are_whole() -> None:
    """Each drawing is well-formed, and its table has the numbers of the requests.

    Source: the XML parser of the standard library; the requests that were made.
    """
    import xml.etree.ElementTree as ET

    rng = np.random.default_rng(1)
    sent = np.cumsum(rng.exponential(0.1, 2000))
    ttft = rng.gamma(4.0, 0.05, 2000)
    columns = {"sent_s": sent, "ttft_s": ttft, "latency_s": ttft + 2.0, "queue_s": ttft / 2}
    columns["output_tokens"] = np.full(2000, 51.0)
    plots = run_plots([Run("", "", columns)], Asked(ttft_s=0.3, tpot_s=0.05))
    checks.equal("drawings", len(plots), 4)
    for plot in plots:
        checks.equal(plot.title, ET.fromstring(plot.svg).tag.partition("}")[2], "svg")
    medians = [float(row[1]) for row in plots[0].rows[1:]]
    checks.close(
        "median of medians [s]", float(np.median(medians)), float(np.median(ttft)), rtol=0.05
    )
