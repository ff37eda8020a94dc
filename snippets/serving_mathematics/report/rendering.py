"""A report for a terminal, as Markdown, as JSON with a schema, and as one page of HTML.

The terminal gets fifteen lines at most, the worst first. The page opens without a network: its
figures and style are in it, in light, dark and on paper.

Source: JSON Schema, draft 2020-12; HTML standard.
"""

# In one piece: four forms of one report, which a check holds to the same words.

from __future__ import annotations

import html
import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from serving_mathematics.planner.answers.plot_axes import Plot
from serving_mathematics.report.comparison import Difference
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.findings.finding import LEVELS, Asked, Finding, duration, percent
from serving_mathematics.report.registry import FINDINGS, Report
from serving_mathematics.report.report_plots import run_plots
from serving_mathematics.support import checks
from serving_mathematics.support.digits import one_of_many, sized

LINES, TERMINAL_WIDTH = 15, 110  # of a terminal
SIGNS = {"problem": "✗", "warning": "!", "note": "·"}
TITLES = {rule.name: rule.title for rule in FINDINGS} | {
    "ladder": "Which loads were served?",
    "step_model": "Is a step as long as it should be?",
}
PAGE_TITLES = {  # by address
    "architecture/model-routers": "Model routers",
    "architecture/shadow-canary": "Shadow and canary",
    "architecture/streaming": "Streaming",
    "capacity/arrival-rates": "Arrival rates",
    "capacity/autoscaling": "Autoscaling",
    "capacity/littles-law": "Little's law",
    "capacity/overload-control": "Overload control",
    "conventions": "Conventions that conflict",
    "definitions/latency-distribution": "Latency distribution",
    "definitions/slo-sla": "SLO and SLA",
    "definitions/throughput": "Throughput",
    "definitions/utilization": "Utilization",
    "intuition/latency-throughput-cost": "Latency, throughput, cost",
    "machine/predictions": "Predictions",
    "machine/step-time": "Step time",
    "optimization/batching": "Batching",
    "optimization/caching": "Caching",
    "optimization/hardware-scheduling": "Hardware scheduling",
    "simulations": "How far to trust a simulation",
}
PAGE_STYLE = """
:root { --ink: #1f2328; --quiet: #596270; --paper: #fff; --line: #dfe3e8; --blue: #0072b2; --red:
#b3261e; --orange: #a85b00; color-scheme: light dark } @media (prefers-color-scheme: dark) { :root
{ --ink: #e6e9ed; --quiet: #a9b1ba; --paper: #14181d; --line: #3a414b; --blue: #56b4f5; --red:
#ff8a75; --orange: #ffb066 } } body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color:
var(--ink); background: var(--paper); font: 1rem/1.55 system-ui, sans-serif; font-variant-numeric:
tabular-nums } h1 { font-size: 1.6rem; line-height: 1.2 } h2 { font-size: 1.15rem; margin: 2.2rem
0 0.6rem } article { border-top: 1px solid var(--line); padding: 0.7rem 0 } article p { margin:
0.3rem 0 } .seen { font-weight: 600 } .quiet, figcaption { color: var(--quiet); font-size: 0.88rem
} .problem .level { color: var(--red) } .warning .level { color: var(--orange) } .level {
font-weight: 700 } pre { overflow-x: auto; padding: 0.7rem; border: 1px solid var(--line);
font-size: 0.82rem } table { border-collapse: collapse; font-size: 0.85rem } td, th { padding:
0.2rem 1rem 0.2rem 0; text-align: left; border-top: 1px solid var(--line) } a { color: var(--blue)
} figure { margin: 1rem 0; max-width: 30rem } svg { width: 100%; font: 12px system-ui, sans-serif
} text { fill: var(--quiet) } .title { fill: var(--ink) } path { fill: none } .grid { stroke:
var(--line) } .axis { stroke: var(--quiet) } .curve { stroke: var(--blue); stroke-width: 1.6 }
.tail { stroke-dasharray: 5 3 } .limit { stroke: var(--red); stroke-dasharray: 2 4 } .of-limit {
fill: var(--red) } .point { fill: var(--blue) } @media print { body { max-width: none; margin: 0;
font-size: 10pt } details { display: none } article, figure { break-inside: avoid } a { color:
inherit } }
"""
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "serving-mathematics report",
    "type": "object",
    "required": ["worst", "runs", "findings", "untold", "problems", "differences"],
    "properties": {
        "worst": {"enum": ["", *LEVELS]},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["where", "tool", "requests", "told", "notes"],
                "properties": {
                    "where": {"type": "string"},
                    "tool": {"type": "string"},
                    "requests": {"type": "integer", "minimum": 0},
                    "told": {"type": "object", "additionalProperties": {"type": "number"}},
                    "counted": {"type": "object", "additionalProperties": {"type": "number"}},
                    "notes": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "level", "seen", "why", "change", "sure", "chapter", "where"],
                "properties": {
                    "level": {"enum": list(LEVELS)},
                    "files": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            },
        },
        "untold": {"type": "array", "items": {"type": "object"}},
        "problems": {"type": "array", "items": {"type": "string"}},
        "differences": {"type": "array", "items": {"type": "object"}},
    },
}


def _report_record(found: Report, changed: Sequence[Difference] = ()) -> dict[str, Any]:
    """A report as plain data, as the schema says; numbers that are not finite are left out."""
    return {
        "worst": _worst(found, changed),
        "runs": [
            {
                "where": run.where,
                "tool": run.tool,
                "requests": run.size,
                "told": {name: x for name, x in run.told.items() if math.isfinite(x)},
                "counted": run.counted(),
                "notes": list(run.notes),
            }
            for run in found.runs
        ],
        "findings": [
            {"name": one.name} | vars(one) | {"files": dict(one.files)} for one in found.findings
        ],
        "quiet": list(found.quiet),
        "untold": [{"question": title, "needs": needs} for title, needs in found.untold],
        "problems": list(found.problems),
        "differences": [vars(one) | {"real": one.real, "level": one.level} for one in changed],
    }


def _worst(found: Report, changed: Sequence[Difference]) -> str:
    """The worst level of findings and differences; "" where there is none.

    >>> slower = Difference("TTFT, mean", 0.1, 0.2, 1.0, 0.8, 1.2)
    >>> _worst(Report((), (), (), (), ()), [slower])
    'problem'
    """
    levels = {found.worst, *(one.level for one in changed)}
    return next((level for level in LEVELS if level in levels), "")


def summary_lines(found: Report, changed: Sequence[Difference] = ()) -> list[str]:
    """A report in fifteen lines at most, the worst first.

    found: the report. changed: between two files.

    >>> summary_lines(Report((), (), (), (), ()))
    ['nothing was read']
    """
    lines = [f"✗ not read: {problem}" for problem in found.problems[:3]]
    if not found.runs:
        return lines or ["nothing was read"]
    lines.insert(0, _headline(found, changed))
    if len(found.runs) == 1 and found.runs[0].notes:
        told = one_of_many(f"read: {'; '.join(found.runs[0].notes)}")
        lines += textwrap.wrap(told, TERMINAL_WIDTH, subsequent_indent="  ", max_lines=4)
    shown = [one for one in changed if one.real or one.unlike]
    said = (
        textwrap.wrap(_difference_text(x), TERMINAL_WIDTH, subsequent_indent="  ") for x in shown
    )
    lines += [row for rows in said for row in rows][:6]
    if changed and not shown:
        lines += textwrap.wrap(_no_difference(changed), TERMINAL_WIDTH, subsequent_indent="  ")
    left = LINES - len(lines) - 1
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in found.findings:
        groups.setdefault((one.name, one.level), []).append(one)
    several = len(found.runs) > 1
    for place, same in enumerate(groups.values()):
        one = same[0]
        where = f" [{_seen_at(same)}]" if several and one.where else ""
        text = f"{SIGNS[one.level]} {one.seen}{where}"
        if one.level != "note":
            text += f" → {one.change}"
        rows = textwrap.wrap(text, TERMINAL_WIDTH, subsequent_indent="  ")
        if len(rows) > left:
            rest = sum(len(x) for x in list(groups.values())[place:])
            lines.append(one_of_many(f"… and {rest} more findings (--out FOLDER has all)"))
            return lines
        lines += rows
        left -= len(rows)
    if found.untold:
        count = len(found.untold)
        lines.append(
            one_of_many(f"{count} questions could not be asked of this (--out FOLDER says why)")
        )
    return lines


def _seen_at(same: Sequence[Finding]) -> str:
    """Where findings of one kind were seen, in a few words."""
    short = [one.where.rpartition("/")[2] for one in same]
    more = f" and {len(short) - 1} more" if len(short) > 1 else ""
    return f"{short[0]}{more}"


def _headline(found: Report, changed: Sequence[Difference] = ()) -> str:
    tools = ", ".join(dict.fromkeys(run.tool for run in found.runs))
    count = sum(run.size or run.told.get("completed", 0.0) for run in found.runs)
    runs = f"{len(found.runs)} runs, " if len(found.runs) > 1 else ""
    requests = f"{count:,.0f} requests" if count else "counters"
    levels = [one.level for one in found.findings] + [one.level for one in changed]
    told = [f"{levels.count(x)} {x}s" for x in LEVELS if x in levels]
    return one_of_many(f"{tools}: {runs}{requests}; {', '.join(told) or 'nothing found'}")


def _no_difference(changed: Sequence[Difference]) -> str:
    """That nothing is told from chance, of which numbers, and what was not looked at.

    >>> _no_difference([Difference("TTFT, mean", 0.1, 0.1, 0.0, -0.1, 0.1)])
    '· no difference is told from chance in TTFT; prompt tokens that a cache had are not told'
    """
    names = list(dict.fromkeys(one.name.partition(",")[0] for one in changed))
    hits = any(one.unit == "tokens" for one in changed)
    left = "" if hits else "; prompt tokens that a cache had are not told"
    return f"· no difference is told from chance in {', '.join(names)}{left}"


def _difference_text(one: Difference) -> str:
    """A difference between two runs in a sentence.

    >>> _difference_text(Difference("TTFT, mean", 0.1, 0.2, 1.0, 0.8, 1.2))
    '✗ TTFT, mean: 100 ms → 200 ms, +100% (+80% to +120%)'
    >>> _difference_text(Difference("TTFT, mean", 0.2, 0.1, -0.5, -0.612, -0.388))
    '· TTFT, mean: 200 ms → 100 ms, −50% (−61% to −39%)'
    """
    sign = SIGNS[one.level or "note"]
    shares = (one.change, one.low, one.high)
    change, low, high = (f"{'+' if share > 0 else ''}{percent(share)}" for share in shares)
    change = f"{change} ({low} to {high})"
    noise = "within what the costs tell" if one.unlike else "not told from chance"
    noise = "" if one.real else f", {noise}"
    told = duration if one.unit == "s" else sized
    return f"{sign} {one.name}: {told(one.first)} → {told(one.second)}, {change}{noise}"


def report_markdown(found: Report, changed: Sequence[Difference] = ()) -> str:
    """A report as Markdown.

    found, changed: as for `summary_lines`.

    >>> report_markdown(Report((), (), (), (), ())).splitlines()[0]
    '# What the log says'
    """
    lines = [
        "# What the log says",
        "",
        _headline(found, changed) if found.runs else "Nothing was read.",
        "",
    ]
    lines += [f"- not read: {problem}" for problem in found.problems]
    if changed:
        lines += ["", "## Two files", "", *(f"- {_difference_text(one)}" for one in changed)]
    for level in LEVELS:
        ours = [one for one in found.findings if one.level == level]
        if ours:
            lines += ["", f"## {level.capitalize()}s", ""]
        for one in ours:
            where = f" ({one.where})" if one.where and len(found.runs) > 1 else ""
            lines += [
                f"### {TITLES.get(one.name, one.name)}{where}",
                "",
                f"**{_sentence(one.seen)}**",
                "",
                f"- Why: {one.why}.",
                f"- Change: {one.change}.",
                f"- How sure: {one.sure}.",
                f"- Chapter: {PAGE_TITLES.get(one.chapter, one.chapter)}",
                "",
            ]
            for name, text in one.files.items():
                lines += [f"`{name}`:", "", "```", text.rstrip(), "```", ""]
    for title, rows in _lists(found):
        lines += ["", f"## {title}", "", *(f"- {row}" for row in rows)]
    return "\n".join(lines).rstrip() + "\n"


def _lists(found: Report) -> list[tuple[str, list[str]]]:
    """What stands below the findings: headings and sentences."""
    untold = [f"{title} It would take {needs}." for title, needs in found.untold]
    read = []
    for run in found.runs:
        notes = "; ".join(run.notes)
        told = one_of_many(f"{run.tool}, {run.size:,} requests one by one. {notes}")
        read.append(f"{run.where}: {told}")
    lists = [("Looked for and not found", [TITLES[name] for name in found.quiet])]
    lists += [("What this cannot tell", untold)]
    return [one for one in lists if one[1]] + [("What was read", read)]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def report_html(found: Report, asked: Asked, changed: Sequence[Difference] = ()) -> str:
    """A report as one page that needs nothing beside it.

    found, changed: as for `summary_lines`. asked: whose objective is drawn.

    >>> page = report_html(Report((), (), (), (), ()), Asked())
    >>> page.startswith("<!doctype html>"), "http-equiv" in page
    (True, True)
    """
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>What the log says</title><style>{PAGE_STYLE}</style></head><body>"
    )
    return (
        f"{head}<main><h1>What the log "
        f"says</h1>{_report_body(found, asked, changed)}</main></body></html>\n"
    )


def _report_body(
    found: Report, asked: Asked, changed: Sequence[Difference] = (), site: str = ""
) -> str:
    """What stands in that page, for a page that has a style of its own.

    site: where the chapters are; without it they are named and not linked.
    """
    if not found.runs:
        told = "".join(f"<p>Not read: {html.escape(one)}.</p>" for one in found.problems)
        return told or "<p>Nothing was read.</p>"
    parts = [f"<p>{html.escape(_headline(found, changed))}.</p>"]
    parts += [
        f'<p class="problem"><span class="level">Not read:</span> {html.escape(x)}.</p>'
        for x in found.problems
    ]
    if changed:
        parts.append(_listed_html("Two files", map(_difference_text, changed)))
    seen: set[str] = set()
    for one in found.findings:
        where = one.where if len(found.runs) > 1 else ""
        shown = vars(one) | {"where": where}
        parts.append(_article(shown, site, "" if one.name in seen else one.name))
        seen.add(one.name)
    plots = run_plots(found.runs, asked)
    if plots:
        parts.append("<h2>Drawn</h2>")
        parts += [_figure(plot) for plot in plots]
    parts += [_listed_html(title, rows) for title, rows in _lists(found)]
    return "".join(parts)


def _listed_html(title: str, rows: Iterable[str]) -> str:
    items = "".join(f"<li>{html.escape(row)}</li>" for row in rows)
    return f"<h2>{title}</h2><ul>{items}</ul>"


def _article(one: Mapping[str, Any], site: str, name: str) -> str:
    title = html.escape(TITLES.get(one["name"], one["name"]))
    where = f' <span class="quiet">{html.escape(one["where"])}</span>' if one["where"] else ""
    files = "".join(
        f"<details><summary>{html.escape(file)}</summary>"
        f'<pre><code tabindex="0">{html.escape(text)}</code></pre></details>'
        for file, text in one["files"].items()
    )
    mark = f' id="found-{name}"' if name else ""
    return (
        f'<article class="{one["level"]}"{mark}><p><span class="level">{one["level"]}</span> '
        f'{title}{where}</p><p class="seen">{html.escape(_sentence(one["seen"]))}</p>'
        f"<p>{html.escape(_sentence(one['why']))}</p>"
        f"<p><b>Change:</b> {html.escape(one['change'])}.</p>"
        f'<p class="quiet">{html.escape(_sentence(one["sure"]))} '
        f"{_chapter(one['chapter'], site)}</p>{files}</article>"
    )


def _chapter(name: str, site: str) -> str:
    told = html.escape(PAGE_TITLES.get(name, name))
    return f'<a href="{site}{name}/">{told}</a>' if site else f"Chapter: {told}."


def _figure(plot: Plot) -> str:
    header, *rows = plot.rows
    head = "".join(f"<th scope='col'>{html.escape(cell)}</th>" for cell in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f"<figure>{plot.svg}<figcaption>{html.escape(plot.caption)}</figcaption></figure>"
        f"<details><summary>{html.escape(plot.title)}: the numbers</summary>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></details>"
    )


def check_every_form_says_the_same() -> None:
    """Each finding stands in the terminal, in Markdown, in the page and in the record.

    Source: the findings themselves.
    """
    from serving_mathematics.report.registry import report

    told = {"completed": 90.0, "failed": 10.0, "ttft_s": 0.1, "duration_s": 9.0}
    found = report([Run("a.json", "a tool", told=told)], Asked())
    texts = {
        "terminal": "\n".join(summary_lines(found)).replace("\n  ", " "),
        "Markdown": report_markdown(found),
        "page": html.unescape(report_html(found, Asked())),
        "record": json.dumps(_report_record(found), ensure_ascii=False),
    }
    for name, text in texts.items():
        missing = [one.name for one in found.findings if one.seen[1:] not in text]
        checks.equal(f"missing in {name}", missing, [])


def check_terminal_is_short() -> None:
    """A report of many runs has fifteen lines at most.

    Source: its lines, counted.
    """
    from serving_mathematics.report.registry import report

    told = {"completed": 9.0, "failed": 1.0}
    found = report([Run(f"{k}.json", "a tool", told=told) for k in range(30)], Asked())
    checks.inside("lines", len(summary_lines(found)), 2, LINES)
