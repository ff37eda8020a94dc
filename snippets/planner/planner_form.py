"""The form of the page, made from the table of fields, and what it is answered.

The reader's browser runs the same functions as the command: it hands over named values as JSON and
gets lines, or a problem with the field to which it belongs.

Assumes: a browser that runs Python, after a click; without one the page shows the worked example.

Source: HTML standard, forms and their labels.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass
from html.parser import HTMLParser

from snippets import checks
from snippets.capacity.arrival_trace import parse_trace
from snippets.planner.answers import answer_lines
from snippets.planner.capacity_planner import plan
from snippets.planner.presets import devices, models
from snippets.planner.questions import DRAWN, FIELDS, SHAPE, SHEET, Field, read_question
from snippets.planner.traffic import traced_requests

GROUPS = {
    "Model: a preset, or its size and shape": ("model", *SHAPE, "weight_bits", "cache_bits"),
    "Device: a preset, or its data sheet": ("device", *SHEET, "devices", "efficiency"),
    "Traffic: a rate and mean lengths, or a trace of your own": (*DRAWN, "trace"),
    "Objective and price": ("ttft_s", "tpot_s", "quantile", "price_per_hour"),
    "Engine and simulation": ("memory_share", "token_budget", "batch_limit", "requests", "seed"),
}
START = {"rate_per_s": "20"}  # what a field holds at first; others show their default


def form_html() -> str:
    """The form on one line of HTML: a labelled control for each field, with a place for what is
    wrong with it.

    >>> form_html().count("<fieldset>") == len(GROUPS)
    True
    """
    groups = "".join(
        f"<fieldset><legend>{html.escape(title)}</legend>"
        + "".join(_control(FIELDS[name]) for name in names)
        + "</fieldset>"
        for title, names in GROUPS.items()
    )
    return (
        '<form class="planner" hidden novalidate aria-label="Capacity planner">'
        f'{groups}<p class="live-tools"><button type="submit">Plan</button> '
        '<button type="button" disabled>Stop</button></p>'
        '<p class="live-status" role="status"></p>'
        '<div class="planner-answer" role="region" aria-label="Plan" tabindex="-1"></div></form>'
    )


def _control(field: Field) -> str:
    known = {"model": list(models()), "device": list(devices())}.get(field.name, [])
    attributes = f'id="planner-{field.name}" name="{field.name}"'
    attributes += f' aria-describedby="planner-{field.name}-problem"'
    default = "" if field.default is None else f"{field.default}"
    if known:
        options = "".join(
            f"<option{' selected' if name == default else ''}>{html.escape(name)}</option>"
            for name in known
        )
        control = f'<select {attributes}>{options}<option value="">none of these</option></select>'
    elif field.name == "trace":
        control = f'<input type="file" accept=".csv,text/csv" {attributes}>'
    else:
        start = f' value="{START[field.name]}"' if field.name in START else ""
        control = (
            f'<input type="text" inputmode="decimal" autocomplete="off" {attributes}{start}'
            f' placeholder="{default}">'
        )
    return (
        f'<p><label for="planner-{field.name}"><b>{field.name}</b> {html.escape(field.meaning)}'
        f'</label>{control}<span class="planner-problem" id="planner-{field.name}-problem"></span>'
        "</p>"
    )


def form_answer(text: str) -> str:
    """What the form on the page gets for its fields, JSON for JSON.

    text: an object of fields; `trace_text` may hold a trace file. The answer has `lines`, or
    `problem` and the `field` that it names. Bad input is a problem, not an error.

    >>> json.loads(form_answer('{"rate_per_s": "x"}'))["field"]
    'rate_per_s'
    """

    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        return json.dumps({"problem": f"the form must be JSON, got {error}", "field": ""})
    if not isinstance(values, dict):
        return json.dumps({"problem": "the form must be one object of fields", "field": ""})
    log, name = str(values.pop("trace_text", "")), str(values.get("trace", ""))
    try:
        question = read_question(values, lambda _: traced_requests(parse_trace(log)))
        lines = answer_lines(question, plan(question))
    except ValueError as error:
        said = str(error)
        named = [field for field in FIELDS if said.startswith(f"{field} ")]
        if not named and said.startswith(("row ", "the trace ", "the log ")):
            named, said = ["trace"], f"{name}: {said}"
        return json.dumps({"problem": said, "field": named[0] if named else ""})
    return json.dumps({"lines": [vars(line) for line in lines]})


@dataclass(frozen=True)
class Example:
    """What the page takes from this module."""

    form: str


def example() -> Example:
    """The form."""
    return Example(form_html())


class _Labels(HTMLParser):
    """Names of controls, and what labels and descriptions point to."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.ids: set[str] = set()
        self.labelled: list[str] = []
        self.described: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the element is called."""
        found = {name: value or "" for name, value in attrs}
        self.ids |= {found["id"]} if "id" in found else set()
        if tag == "label":
            self.labelled.append(found["for"])
        if tag in ("input", "select"):
            self.names.append(found["name"])
            self.described.append(found["aria-describedby"])


def check_form_has_every_field() -> None:
    """Every field has one control, with a label and a place for its problem.

    Source: the table of fields, and the standard library's HTML parser.
    """
    page = _Labels()
    page.feed(form_html())
    checks.equal("controls", sorted(page.names), sorted(FIELDS))
    labels = [f"planner-{name}" for name in page.names]
    checks.equal("labels", page.labelled, labels)
    checks.holds("places exist", {*page.described, *page.labelled} <= page.ids)


def check_form_answers() -> None:
    """The form gets the lines of the plan, or a problem with its field.

    Source: the plan itself; a trace with a broken row.
    """
    asked = {"rate_per_s": 2, "requests": 200}
    question = read_question(asked)
    expected = [vars(line) for line in answer_lines(question, plan(question))]
    got = json.loads(form_answer(json.dumps(asked)))["lines"]
    checks.equal("the same lines", got == expected, True)
    log = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,3,x\n"
    told = json.loads(form_answer(json.dumps({"trace": "my.csv", "trace_text": log})))
    checks.equal("field of a broken trace", told["field"], "trace")
    where = "my.csv: row 2, column GeneratedTokens must be"
    checks.holds("row and column", told["problem"].startswith(where), got=told["problem"])
