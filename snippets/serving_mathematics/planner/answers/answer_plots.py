"""Two plots of an answer: latency against replicas, and price against speed.

They are drawn as text, SVG with classes that a style sheet colours, because in a browser a plotting
package takes longer to load than a plan to compute. Beside each stand the numbers as a table.

Assumes: an answer from `configurations`; a style for the classes, which `plots_file` brings along
and the page has.

Source: SVG 2 for the elements; WAI-ARIA Graphics Module for what a screen reader is told.
"""

from __future__ import annotations

import functools
import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace

from serving_mathematics.planner.answers.answer_tables import comparison_rows
from serving_mathematics.planner.answers.lines import overloaded
from serving_mathematics.planner.answers.plot_axes import (
    ABOVE,
    BELOW,
    LEFT,
    PANEL,
    RIGHT,
    WIDTH,
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
from serving_mathematics.planner.answers.routing_lines import routed_rows
from serving_mathematics.planner.capacity_planner.deployment_ranking import Ranked
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets, Performance
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.configurations import Answer, Answered, _devices_and_split, answer
from serving_mathematics.planner.questions.question import Question, _split_name
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support import checks
from serving_mathematics.support.digits import priced, sized
from serving_mathematics.support.require import require

STYLE = """
svg { background: #fff; font: 12px sans-serif }
.title, .chosen-label { fill: #1f2328 } text { fill: #596270 } path { fill: none }
.label { paint-order: stroke; stroke: #fff; stroke-width: 4px; stroke-linejoin: round }
.grid { stroke: #dfdbd2 } .axis { stroke: #6f7680 } .curve, .interval { stroke: #1f6f8b }
.limit { stroke: #b3261e; stroke-dasharray: 2 4; stroke-width: 1.5 } .of-limit { fill: #b3261e }
.point { fill: #fff; stroke: #1f6f8b; stroke-width: 1.5 } .point.front { fill: #1f6f8b }
.point.chosen { fill: #c9701a; stroke: #fff } .chosen-label { font-weight: 600 }
@media (prefers-color-scheme: dark) {
svg { background: #14181d } .title, .chosen-label { fill: #e6e9ed } .label { stroke: #14181d }
text { fill: #a9b1ba } .grid { stroke: #333a42 } .axis { stroke: #9aa3ae }
.curve, .interval { stroke: #5bb0cc } .limit { stroke: #ff7a6e } .of-limit { fill: #ff7a6e }
.point { fill: #14181d; stroke: #5bb0cc } .point.front { fill: #5bb0cc }
.point.chosen { fill: #eba35a; stroke: #14181d }
}
"""


def fleets_around(told: Answer) -> list[Performance]:
    """The planned fleet between smaller and larger ones of the same replicas, each with the limits
    that suit it: one fewer, one more, a quarter and half as many again, and twice as many and one.

    told: the answer. One that is overloaded is left out: no latency of it is steady.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> [run.replicas for run in fleets_around(_small_answer())]
    [1, 2, 3]
    """
    found, count = told.plan, told.plan.best.replicas
    fleet = Fleets(told.question)
    others = sorted({math.ceil(1.25 * count), math.ceil(1.5 * count), 2 * count + 1})
    larger = [fleet.best(n) for n in others if n > count + 1]
    runs = [found.one_fewer, found.best, found.one_more, *larger]
    return [run for run in runs if run]


def latency_plot(told: Answer) -> Plot:
    """TTFT and TPOT against replicas, with 95% intervals and the line of each objective.

    told: the answer. One replica fewer that is overloaded has a row and no point.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> [row[0] for row in latency_plot(_small_answer()).rows]
    ['replicas', '1', '2', '3']
    """
    found = told.plan
    plot = _latency_plot(told.question, found.best.replicas, fleets_around(told))
    if found.one_fewer or not found.fewer_load:
        return plot
    heads, *rows = plot.rows
    row = [f"{found.best.replicas - 1}", overloaded(found.fewer_load, found.rate_per_s)]
    row += [""] * (len(heads) - len(row))
    return replace(plot, rows=[heads, row, *rows])


# In one piece: one drawing, from top to bottom.
def _latency_plot(question: Question, planned: int, runs: Sequence[Performance]) -> Plot:
    counts = [run.replicas for run in runs]
    decides = runs[counts.index(planned)].nearest.name
    which = question.class_names.index(decides)
    ofs = [run.classes[which] for run in runs]
    whose = f" of {decides}" if len(question.goals) > 1 else ""
    room = max(0.6, 0.05 * (max(counts) - min(counts)))
    across = Axis(max(0.0, min(counts) - room), max(counts) + room)
    whole = [n for n in axis_ticks(across) if n == int(n) and n >= 1] or [float(planned)]
    parts, columns, heads = "", [], []
    for place, goal in enumerate(question.goals[which]):
        metric, limit = goal.measure, goal.limit
        label, scale, got = (
            f"{metric.shown} [{metric.unit}]",
            metric.scale,
            [one.of(goal.metric) for one in ofs],
        )
        if metric.of_all:
            label, scale, limit, got = "goodput [%]", 100.0, goal.share, [one.both for one in ofs]
        name = label if metric.of_all else f"{goal.at} of {label}"
        drawn = [
            (n, scale * q.value, scale * q.half_width)
            for n, q in zip(counts, got, strict=True)
            if q.value > 0
        ]
        beyond = [value + half for _, value, half in drawn]
        up = axis_over([scale * limit, *beyond, *(value for _, value, _ in drawn)])
        if up.log:
            ends = [max(value - half, value / 2) / 1.1 for _, value, half in drawn]
            up = replace(up, low=min(up.low, *ends))
        top = place * (PANEL + ABOVE + BELOW) + ABOVE
        parts += _frame(across, whole, up, top, f"{name}{whose}", "replicas")
        line = _y(up, top, scale * limit)
        parts += f'<path class="limit" d="M{LEFT:.1f} {line:.1f}H{RIGHT:.1f}"/>'
        parts += _text(RIGHT, line - 5, f"objective {scale * limit:g}", "of-limit", "end")
        for n, value, half in sorted(drawn, key=lambda point: point[0] == planned):
            x, least = _x(across, n), max(up.low, value - half) or 0.0
            low, high = _y(up, top, least), _y(up, top, min(up.high, value + half))
            parts += f'<path class="interval" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'
            parts += _point(x, _y(up, top, value), "chosen" if n == planned else "front")
        heads.append(name)
        columns.append([f"{sized(value)} ± {sized(half, 2)}" for _, value, half in drawn])
    rows = [["replicas", *heads, "limits", "$/10⁶ tokens"]]
    for i, run in enumerate(runs):
        each = [column[i] if i < len(column) else "" for column in columns]
        limits = f"{run.places:,} and {run.budget:,}"
        rows.append([f"{run.replicas}", *each, limits, priced(run.usd_per_million, 3)])
    alone = [goal.measure for goal in question.goals[which]]
    told = "; ".join(
        f"replicas {row[0]}: "
        + ", ".join(
            f"{metric.shown} {value} {'%' if metric.of_all else metric.unit}"
            for metric, value in zip(alone, row[1:], strict=False)
        )
        for row in rows[1:]
    )
    *first, last = [metric.shown for metric in alone]
    at = question.goals[which][0].at
    title = f"{at} of {', '.join(first)} and {last} against replicas"
    svg = _svg("latency", title, told, parts, len(alone) * (PANEL + ABOVE + BELOW))
    what = "both latencies" if len(alone) == 2 else "what is promised"
    caption = (
        f"{at} of {what} against replicas, with 95% intervals; the plan is the larger "
        "point, dotted lines are the objectives. Every fleet has the limits that suit it."
    )
    return Plot("Fleets of other sizes", svg, caption, rows)


def front_plot(told: Answer) -> Plot | None:
    """Price of a token against speed for a user, of the deployments that were simulated; None where
    fewer than two were.

    told: the answer. Points on the line are the front: no other is both cheaper and faster.

    >>> from serving_mathematics.planner.configurations import answer
    >>> from serving_mathematics.planner.questions.questions import read_choices
    >>> found = front_plot(answer(read_choices({"rate_per_s": 9, "requests": 100})))
    >>> found.title if found else ""
    'The deployments that were compared'
    """
    runs = [one for one in told.ranked if one.run and one.run.tpot[0].value > 0]
    if len(runs) < 2:
        return None
    spots = {
        id(one): (1 / one.run.tpot[0].value, one.run.usd_per_million) for one in runs if one.run
    }
    across, up = (axis_over(values) for values in zip(*spots.values(), strict=True))
    parts = _frame(
        across, axis_ticks(across), up, ABOVE, "price [$/10⁶ tokens]", "speed for a user [tokens/s]"
    )
    line = [spots[id(one)] for one in told.front]
    places = [(_x(across, speed), _y(up, ABOVE, price)) for speed, price in line]
    if places:
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        parts += f'<path class="curve" d="M{path}"/>'
    points = [(_x(across, speed), _y(up, ABOVE, price)) for speed, price in spots.values()]
    words = ""  # upon all points
    kinds = {id(one): "front" for one in told.front}
    kinds |= {id(one): "chosen" for one in runs if one.question is told.question}
    for one in sorted(runs, key=lambda one: ["", "front", "chosen"].index(kinds.get(id(one), ""))):
        speed, price = spots[id(one)]
        kind = kinds.get(id(one), "")
        chosen = kind == "chosen"
        x, y = _x(across, speed), _y(up, ABOVE, price)
        if chosen or one is told.front[-1]:  # the cheapest below, where there is room, or above
            at, foot, anchor = _least_covering(_short(one), x, y, -1 if chosen else 1, points)
            marked = "label chosen-label" if chosen else "label"
            words += _text(at, foot, _short(one), marked, anchor)
        parts += _point(x, y, kind)
    parts += words
    said = "; ".join(
        f"{_short(one)}: {sized(spots[id(one)][0])} tokens/s, ${priced(spots[id(one)][1], 3)}"
        for one in runs
    )
    svg = _svg(
        "front", "Price of a token against speed for a user", said, parts, PANEL + ABOVE + BELOW
    )
    front = "On the line no" if len(places) > 1 else "No"
    caption = (
        f"Price of 10⁶ tokens against tokens a second for the median user. {front} other "
        "deployment is both cheaper and faster; the plan is the larger point."
    )
    return Plot("The deployments that were compared", svg, caption, comparison_rows(told))


def routers_plot(told: Routed) -> Plot:
    """What each router keeps against what its caches find.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_routed
    >>> routers_plot(_small_routed()).title
    'The routers that were compared'
    """
    across = up = Axis(0.0, 105.0)
    parts = _frame(
        across, axis_ticks(across), up, ABOVE, "requests that keep all limits [%]", "found [%]"
    )
    goal = 100 * max(one.promise[0].share for one in told.best.classes)
    parts += f'<path class="limit" d="M{LEFT:.1f} {_y(up, ABOVE, goal):.1f}H{RIGHT:.1f}"/>'
    for way in sorted(told.ways, key=lambda way: way is told.best):
        x, value = _x(across, 100 * way.found.value), 100 * way.kept.value
        ends = [value - 100 * way.kept.half_width, value + 100 * way.kept.half_width]
        low, high = (_y(up, ABOVE, min(max(end, 0.0), 100.0)) for end in ends)
        parts += f'<path class="interval" d="M{x:.1f} {low:.1f}V{high:.1f}"/>'
        parts += _point(x, _y(up, ABOVE, value), "chosen" if way is told.best else "front")
    best = told.best
    x, y = _x(across, 100 * best.found.value), _y(up, ABOVE, 100 * best.kept.value)
    anchor = "end" if x > (LEFT + RIGHT) / 2 else "start"
    parts += _text(x, y + 24, best.router.name, "label chosen-label", anchor)
    rows = routed_rows(told)
    said = "; ".join(f"{row[0]}, {row[1]} GiB: {row[2]}%, found {row[-3]}%" for row in rows[1:])
    svg = _svg("routers", "Promise kept against prefixes found", said, parts, PANEL + ABOVE + BELOW)
    caption = (
        "Requests that keep all limits, with 95% intervals, against prompt tokens that caches "
        "find, of each router and amount of host memory; the larger point is taken."
    )
    return Plot("The routers that were compared", svg, caption, rows)


def answer_plots(told: Answered) -> list[Plot]:
    """The plots of an answer.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> len(answer_plots(_small_answer()))
    2
    """
    if isinstance(told, Routed):
        return [routers_plot(told)]
    front = front_plot(told)
    return [latency_plot(told), *([front] if front else [])]


def plots_file(plots: Sequence[Plot]) -> str:
    """Plots one below the other as one SVG file with its style, for light and dark.

    plots: of one answer, one or more. Raises ValueError without any.

    >>> drawn = '<svg viewBox="0 0 9 100"> </svg>'
    >>> plots_file([Plot("", drawn, "", [])]).count("<svg")
    2
    """
    require(len(plots) > 0, "plots", "one or more", "none")
    heights = [float(plot.svg.partition('viewBox="')[2].split()[3].rstrip('">')) for plot in plots]
    parts, top = "", 0.0
    for plot, height in zip(plots, heights, strict=True):
        parts += plot.svg.replace("<svg ", f'<svg y="{top:.0f}" height="{height:.0f}" ', 1)
        top += height
    size = f'width="{2 * WIDTH:.0f}" height="{2 * top:.0f}" viewBox="0 0 {WIDTH:.0f} {top:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{parts}</svg>\n'


def _meter(share: float | None) -> str:
    """How far a latency goes towards its limit, as a bar; beyond it, the whole bar in red."""
    if share is None:
        return ""
    kind = "reached over" if share > 1 else "reached"
    return (
        '<svg class="planner-meter" viewBox="0 0 100 6" preserveAspectRatio="none" '
        f'aria-hidden="true"><path class="room" d="M0 3H100"/>'
        f'<path class="{kind}" d="M0 3H{min(100, 100 * share):.1f}"/></svg>'
    )


def _short(one: Ranked) -> str:
    question = one.question
    if question.prompts:
        devices, _ = _devices_and_split(question)
        return f"apart on {devices}, {question.deployment.precision}"
    deployment = question.deployment
    apart = " apart" if question.separate else ""
    return f"{_split_name(question)}{apart} on {deployment.system.shown}, {deployment.precision}"


def _least_covering(
    text: str, x: float, y: float, first: int, points: Sequence[tuple[float, float]]
) -> tuple[float, float, str]:
    """Where a label stands, and which end of it: inside the picture, and where it covers the fewest
    points; of such places above its own point first, or below it for -1.
    """
    wide = 8.3 * len(text)  # in the widest of usual fonts
    found: dict[tuple[float, float, str], int] = {}
    for foot in (y - 9, y + 18)[::first]:
        for anchor in ("end", "start") if x > (LEFT + RIGHT) / 2 else ("start", "end"):
            ends = anchor == "end"
            at = min(WIDTH, max(x, LEFT + wide + 4)) if ends else max(0.0, min(x, WIDTH - wide))
            left, outside = at - wide * ends, foot + 6 > ABOVE + PANEL
            found[at, foot, anchor] = len(points) * outside + sum(
                left - 4 < px < left + wide + 4 and foot - 15 < py < foot + 7 for px, py in points
            )
    return min(found, key=lambda place: found[place])


def _point(x: float, y: float, kind: str) -> str:
    size = 6.5 if kind == "chosen" else 4.0
    return f'<circle class="{f"point {kind}".strip()}" cx="{x:.1f}" cy="{y:.1f}" r="{size}"/>'


@functools.cache
def _compared() -> Answer:
    """An answer with a comparison."""
    return answer(read_choices({"rate_per_s": 30, "requests": 200, "precision": "bf16"}))


def check_points_are_where_the_numbers_are() -> None:
    """Read back from the drawing, every fleet's TPOT is the one that was simulated.

    Source: the line of the objective, of which place and value are known, and zero at the foot.
    """
    told = _compared()
    plot = latency_plot(told)
    root = ET.fromstring(plot.svg)
    circles = [one for one in root.iter() if one.tag.endswith("circle")]
    runs = fleets_around(told)
    checks.equal("points", len(circles), 2 * len(runs))
    tpot = [1e3 * run.nearest.of("tpot").value for run in runs]
    foot = 2 * (PANEL + ABOVE + BELOW) - BELOW
    lines = [one.get("d", "") for one in root.iter() if one.get("class") == "limit"]
    limit = foot - float(lines[1].split()[1].partition("H")[0])
    below = sorted(circles[len(runs) :], key=lambda one: float(one.get("cx", "0")))
    heights = [foot - float(one.get("cy", "0")) for one in below]
    got = [1e3 * told.question.promise[1].limit * height / limit for height in heights]
    checks.close("TPOT [ms]", got, tpot, atol=0.1)
