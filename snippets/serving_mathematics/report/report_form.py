"""The form of the page: files are dropped on it and read in the reader's browser.

The browser runs the same functions as the command, in a worker that reaches no network, and gets
the report as HTML. Nothing of a file is sent, kept in the address or stored.

Assumes: a browser that runs Python, after a click.

Source: HTML standard, file inputs and drag and drop.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from serving_mathematics.planner.questions.fields import _unit_names
from serving_mathematics.report.comparison import CHANCE, FOR_P99, WORTH_ONE, Difference
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.findings.finding import LARGEST_BATCH
from serving_mathematics.report.findings.of_the_ceiling import WORST
from serving_mathematics.report.joining import joined
from serving_mathematics.report.reading import _require_new, read_file
from serving_mathematics.report.registry import FINDINGS, report
from serving_mathematics.report.rendering import _report_body, report_html, summary_lines
from serving_mathematics.report.report_command import NUMBERS, _compared_runs, read_asked
from serving_mathematics.support import checks
from serving_mathematics.support.files import MOST_ROWS, base64_text

LARGEST_SENT = 64 * 2**20  # bytes of a file, unpacked; as docs/assets/ask.js has it
MOST_TOLD = 5  # files that could not be read, when none could
POSITIVE = ("a positive number", 1e-300, 1e300)
TYPED: dict[str, tuple[str, str, tuple[str, float, float] | None]] = {  # label, unit, rule
    "ttft_s": ("Promised time to first token", "s", POSITIVE),
    "tpot_s": ("Promised time per token", "s", POSITIVE),
    "quantile": ("Share of requests that keep it", "", ("in (0, 1)", 1e-300, 1 - 2**-53)),
    "places": (
        "Places of the batch, --max-num-seqs",
        "",
        (f"a whole number from 1 to {LARGEST_BATCH}", 1, LARGEST_BATCH),
    ),
    "price_per_hour": ("Price of all GPUs", "$ an hour", POSITIVE),
    "columns": ("Columns of a log, where they are not known", "", None),
}


def ask_form() -> str:
    """The form on one line of HTML: files, files to compare with, and what is promised.

    >>> ask_form().count("<label") == len(TYPED) + 2
    True
    """
    controls = ""
    for name, (label, unit, rule) in TYPED.items():
        value = ' value="0.99"' if name == "quantile" else ""
        if rule:
            said, low, high = rule
            value += f' inputmode="decimal" data-rule="{said}" data-low="{low}" data-high="{high}"'
            value += f' data-empty data-unit="{unit}"' + " data-whole" * (name == "places")
        told = f"<span>{unit}</span>" if unit else ""
        controls += (
            f'<p><label for="ask-{name}">{html.escape(label)}</label><span class="field-unit">'
            f'<input type="text" autocomplete="off" spellcheck="false"{value} {_named(name)}>'
            f"{told}</span>{_place(name)}</p>"
        )
    return (
        '<form class="ask" novalidate aria-label="Ask your own log" data-search-exclude '
        f'data-units="{_unit_names()}">'
        '<p class="ask-drop"><label for="ask-files">Drop a load test, a log or a scrape here, or '
        f'choose it</label><input type="file" multiple {_named("files")}>{_place("files")}</p>'
        "<details><summary>Promises, price, and a run to compare with</summary>"
        f'<div class="ask-fields">{controls}<p><label for="ask-against">A run before</label>'
        f'<input type="file" multiple {_named("against")}>{_place("against")}</p></div></details>'
        '<p class="live-tools"><button type="submit">Ask</button> '
        '<button type="button" disabled>Stop</button></p>'
        '<p class="live-status" role="status"></p>'
        '<section class="ask-answer" tabindex="-1" aria-label="What the log says" hidden></section>'
        "</form>"
    )


def _named(name: str) -> str:
    return f'id="ask-{name}" name="{name}" aria-describedby="ask-{name}-problem"'


def _place(name: str) -> str:
    return f'<span class="field-problem" id="ask-{name}-problem"></span>'


def form_report(text: str, tell: Callable[[str, str], object] | None = None) -> str:
    """What the form on the page gets for its files, JSON for JSON.

    text: an object with `files` and `against`, each of objects with a name and a text, or `base64`
    of bytes that are none or packed, and with the other fields; `site` is where the chapters are.
    tell: called with "status" and what is being read. The answer has the report's `body`, the whole
    page as `html` and the `summary`, or a `problem` and the `field` that it names. Bad input is a
    problem, not an error.

    >>> json.loads(form_report('{"files": []}'))["field"]
    'files'
    """
    try:
        values = json.loads(text)
    except ValueError as error:
        return json.dumps({"problem": f"the form must be JSON, got {error}", "field": ""})
    if not isinstance(values, dict):
        return json.dumps({"problem": "the form must be one object of fields", "field": ""})
    problems: list[str] = []
    given = {name: values.get(name) for name in NUMBERS if values.get(name) not in (None, "")}
    try:
        asked = read_asked(given)
    except ValueError as error:
        field = next((name for name in NUMBERS if str(error).startswith(f"{name} ")), "")
        return json.dumps({"problem": str(error), "field": field})
    columns = str(values.get("columns") or "")
    runs = _runs(values.get("files"), columns, problems, tell)
    before = _runs(values.get("against"), columns, problems, tell)
    if not runs:
        told = "; ".join(problems[:MOST_TOLD]) or "files must be at least one file, got none"
        if len(problems) > MOST_TOLD:
            told += f"; and {len(problems) - MOST_TOLD} more"
        field = "columns" if "columns" in told else "files"
        return json.dumps({"problem": told, "field": field})
    changed: list[Difference] = []
    if before:
        try:
            changed = _compared_runs(runs, before)
        except ValueError as error:
            problems.append(str(error))
    if tell:
        tell("status", "Asking…")
    found = report(runs, asked, problems)
    return json.dumps(
        {
            "body": _report_body(found, asked, changed, str(values.get("site") or "")),
            "html": report_html(found, asked, changed),
            "summary": summary_lines(found, changed),
        }
    )


def _runs(
    files: Any, columns: str, problems: list[str], tell: Callable[[str, str], object] | None
) -> list[Run]:
    runs: list[Run] = []
    before: dict[bytes, str] = {}
    for one in files if isinstance(files, list) else []:
        if not isinstance(one, dict):
            problems.append("a file must be an object with a name and a text")
            continue
        name = str(one.get("name") or "a file")
        if tell:
            tell("status", f"Reading {name}…")
        try:
            content = str(one.get("text") or "")
            if isinstance(sent := one.get("base64"), str):
                content = base64_text(sent, name, LARGEST_SENT)
            found = read_file(content, name, columns)
            _require_new(found, content, name, before)
            runs += found
        except ValueError as error:
            large = str(error).endswith("unpacked, got more")
            problems.append(f"{error}{'; the command takes larger ones' * large}")
        except MemoryError:
            problems.append(f"{name} must fit into the browser's memory; the command takes more")
    try:
        return joined(runs)
    except ValueError as error:
        problems.append(str(error))
        return runs


def _finding_rows() -> str:
    """Every finding with its chapter, for the page."""
    return "\n".join(
        f"| {rule.title} | `{rule.name}`{{ #{rule.name} }} | {_said(rule)} |" for rule in FINDINGS
    )


def _said(rule: Any) -> str:
    text = (rule.find.__doc__ or "").strip().split("\n\n")[0]
    return " ".join(text.split())


def example() -> SimpleNamespace:
    """The form, and the table of what it asks."""
    return SimpleNamespace(
        ask_form=ask_form(),
        finding_rows=_finding_rows(),
        worst_error_percent=100 * WORST,
        most_rows=MOST_ROWS,
        counted_percent=100 * CHANCE * math.sqrt(WORTH_ONE * 2 / 1000),
        tail_requests=FOR_P99,
    )


def check_form_answers_as_the_command() -> None:
    """A file in the form gives the body that the command's page has.

    Source: the command's own functions.
    """
    row = '{"completed": 90, "failed": 10, "duration": 9.0, "mean_ttft_ms": 60.0}'
    got = json.loads(form_report(json.dumps({"files": [{"name": "a.json", "text": row}]})))
    asked = read_asked({})
    expected = report(read_file(row, "a.json"), asked)
    checks.equal("body", got["body"] == _report_body(expected, asked), True)
    checks.equal("summary", got["summary"] == summary_lines(expected), True)


def check_bad_input_is_told() -> None:
    """A cut file, a wrong number and no file are problems with their fields.

    Source: the refusals of the readers.
    """
    for label, values, field in (
        ("cut", {"files": [{"name": "a.json", "text": '{"completed": 1, "duration": '}]}, "files"),
        ("number", {"ttft_s": "soon"}, "ttft_s"),
        ("none", {}, "files"),
    ):
        checks.equal(label, json.loads(form_report(json.dumps(values)))["field"], field)
