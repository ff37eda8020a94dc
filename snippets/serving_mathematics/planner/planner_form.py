"""The form of the page, made from the table of fields, and what it is answered.

The reader's browser runs the same functions as the command: it hands over named values as JSON and
gets the answer as a piece of the page, or a problem with the field to which it belongs. What the
form asks as it stands is answered when the page is built.

Assumes: a browser that runs Python, after a click; without one the page shows the answer to the
form as it stands.

Source: HTML standard, forms and their labels.
"""

from __future__ import annotations

import base64
import functools
import html
import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

from serving_mathematics.core.hardware.catalogue import model_names, systems
from serving_mathematics.core.hardware.deployments import DRAFTERS
from serving_mathematics.planner.answers.answer_lines import SAID, answer_lines, main_lines
from serving_mathematics.planner.answers.answer_plots import _meter, answer_plots
from serving_mathematics.planner.answers.answer_sentence import answer_parts
from serving_mathematics.planner.answers.answer_tables import answer_tables
from serving_mathematics.planner.answers.answers import answer_head, asked_text
from serving_mathematics.planner.answers.launch import Start, starts
from serving_mathematics.planner.answers.lines import Line
from serving_mathematics.planner.configurations import Answered, answer, whole_answer
from serving_mathematics.planner.questions.fields import (
    DRAWN,
    FIELDS,
    FIRST,
    OTHER,
    SHEET,
    TRAFFIC,
    Field,
    _rule_attributes,
    _unit_names,
    read_value,
)
from serving_mathematics.planner.questions.objectives import METRICS
from serving_mathematics.planner.questions.questions import read_choices, read_workload
from serving_mathematics.support import checks
from serving_mathematics.support.files import inputs_noted, read_json

FROM_WHERE = (  # which is no field, and shows those that are
    '<p><label for="planner-traffic">Where it comes from</label><select id="planner-traffic">'
    '<option value="rate">a rate and mean lengths</option>'
    '<option value="">a trace file, read in this page and sent nowhere</option></select>'
    "</p>"
)
FROM_FILE = (  # which is no field either: what it takes stands in the field by its name
    '<label class="field-file"><input type="file" accept=".json,application/json">'
    "or its config.json</label>"
)
LIMITS = (  # what a refusal begins with when it is not a field's name, and the field to change
    *((metric.none_keeps, metric.field) for metric in METRICS.values()),
    ("no fleet of up to", "fleets"),
    ("no rate from", "gpus"),
    ("no fleet holds the longest request", "memory_share"),
    ("prompts", "mean_prompt_tokens"),
    ("load_test,", "load_test"),
)

SAID_HERE = {*SAID, "if steps err", "tokens of a request, mean"}  # in the notes, in the question


def form_html() -> str:
    """The form on one line of HTML: a labelled control for each field, with a place for what is
    wrong with it. Those of a group are folded; some are asked for only when another control has the
    value in `data-when`.

    >>> form_html().count("<legend>")
    6
    """
    groups: dict[str, str] = {}
    for field in FIELDS.values():
        groups[field.group] = groups.get(field.group, "") + _control(field)
    first = groups.pop(FIRST)
    folded = "".join(
        f"<details><summary>{(shown := html.escape(title[0].upper() + title[1:]))}</summary>"
        f"<fieldset><legend>{shown}</legend>{FROM_WHERE if title == TRAFFIC else ''}{fields}"
        "</fieldset></details>"
        for title, fields in groups.items()
    )
    return (
        '<form class="planner" novalidate aria-label="Capacity planner" data-search-exclude '
        f'data-units="{_unit_names()}">'
        f"<fieldset><legend>The question</legend>{first}</fieldset>"
        '<p class="live-tools"><button type="submit">Plan</button> '
        '<button type="button" disabled>Stop</button> '
        '<button type="button">Copy link</button></p>'
        '<p class="live-status" role="status"></p>'
        f'<div class="planner-groups">{folded}</div>'
        "</form>"
    )


def _control(field: Field) -> str:
    offered = {
        "model": model_names(),
        "device": (*systems(), OTHER),
        "drafter": DRAFTERS,
    }.get(field.name, ())
    name = f"planner-{field.name}"
    (label, more), helped = field.heading, bool(field.group)  # the first are known
    attributes = f'id="{name}" name="{field.name}"{_rule_attributes(field)}'
    attributes += f' aria-describedby="{f"{name}-help " * helped}{name}-problem"'
    default = field.start or str("" if field.default is None else field.default)
    if field.choices:
        options = "".join(
            f"<option{' selected' if one == default else ''}>{html.escape(one)}</option>"
            for one in field.choices
        )
        control = f"<select {attributes}>{options}</select>"
    elif field.name == "trace":
        control = f'<input type="file" accept=".csv,.jsonl,.json,text/csv" {attributes}>'
    else:
        mode = ' inputmode="decimal"' if field.high and not (field.auto or field.several) else ""
        listed = f' list="{name}-names"' if offered else ""
        names = "".join(f'<option value="{html.escape(one)}"></option>' for one in offered)
        control = (
            f'<input type="text"{mode} autocomplete="off" spellcheck="false" '
            f'{attributes}{listed} value="{html.escape(default)}">'
        )
        if field.unit:
            control = f'<span class="field-unit">{control}<span>{field.unit}</span></span>'
        if offered:
            control += f'<datalist id="{name}-names">{names}</datalist>'
        if field.name == "model":
            control += FROM_FILE
    when = f' data-when="{html.escape(field.when)}"' if field.when else ""
    when += "" if not field.when or field.name in DRAWN else " hidden"  # a known device, and a rate
    said = f"{html.escape(more)} <code>{field.name}</code>".lstrip()
    said = f'<small id="{name}-help">{said}</small>' * helped
    return (
        f'<p{when}><label for="{name}">{html.escape(label)}</label>{control}'
        f'{said}<span class="field-problem" id="{name}-problem"></span></p>'
    )


def form_answer(text: str, tell: Callable[[str, str], object] | None = None) -> str:
    """What the form on the page gets for its fields, JSON for JSON.

    text: an object of fields; `trace_text` and `model_text` may hold the files of a trace and of a
    model, or `trace_base64` and `model_base64` their bytes, where these are no text. tell: called
    with "status" and which fleet is being simulated. The answer is `html`, or a `problem` and the
    `field` that it names. Bad input is a problem, not an error.

    >>> json.loads(form_answer('{"rate_per_s": "x"}'))["field"]
    'rate_per_s'
    """
    try:
        values = read_json(text)
    except ValueError as error:
        return json.dumps({"problem": f"the form must be JSON, got {error}", "field": ""})
    if not isinstance(values, dict):
        return json.dumps({"problem": "the form must be one object of fields", "field": ""})
    if values.get("trace") == "":
        return json.dumps({"problem": "trace must be a file, got none", "field": "trace"})
    name, model = str(values.get("trace", "")), str(Path(str(values.get("model", ""))))
    if name == model:  # two files, of two folders
        name = values["trace"] = f"trace/{name}"
    if values.get("load_test") and values.get("front") == FIELDS["front"].default:
        del values["front"]  # as the form stands: nobody named what was tested
    fleets = 0

    def compared(done: int, total: int) -> None:
        if tell:
            tell("status", f"{done} of {total} deployments compared…")

    def told(replicas: int, places: int) -> None:
        nonlocal fleets
        fleets += 1
        if tell:
            tell("status", f"Simulating fleet {fleets}: replicas {replicas}, batch limit {places}…")

    try:
        given = {name: b""} | _files(values, {"trace": name, "model": model})
        with inputs_noted(given):
            piece = answer_html(_answered(values, told, compared), _command(values))
    except ValueError as error:
        said = str(error)
        named = [field for field in FIELDS if said.startswith((f"{field} ", f"{field}: "))]
        if name and said.startswith(f"{name}: "):
            named, said = ["trace"], name[:60] + said.removeprefix(name)
        named += [field for begins, field in LIMITS if said.startswith(begins)]
        if named[:1] == ["trace"] and ": trace_columns " in said:  # which mends it
            named = ["trace_columns"]
        if named[:1] == ["model"]:
            said = said.replace("give the path of its config.json", "choose its config.json")
            if " cannot be read: " in said:
                said += "; a page has none of your files until you choose, drop or paste one"
        return json.dumps({"problem": said, "field": named[0] if named else ""})
    return json.dumps({"html": piece})


def _files(values: dict[str, object], names: Mapping[str, str]) -> dict[str, bytes]:
    """What a page was given for these fields, by the names of the files; out of the form's own."""
    found = {}
    for field, name in names.items():
        text, packed = (values.pop(f"{field}_{kind}", None) for kind in ("text", "base64"))
        if packed is not None:
            found[name] = base64.b64decode(str(packed))
        elif text is not None:
            found[name] = str(text).encode("utf-8", "replace")
    return found


def _answered(
    values: dict[str, object],
    told: Callable[[int, int], None] | None = None,
    compared: Callable[[int, int], None] | None = None,
) -> Answered:
    """The answer to the fields of a form."""
    asked = _asked(values)
    if str(asked.get("price_per_hour", "")) == str(FIELDS["price_per_hour"].default):
        del asked["price_per_hour"]  # which stood there: the answer says that nobody gave it
    load = functools.cache(read_workload)  # once for all devices
    choices = read_choices(asked, load)
    return whole_answer(choices, asked, load, told, progress=compared)


def answer_html(told: Answered, command: str = "") -> str:
    """An answer as a piece of the page, on one line of HTML: what it answers, GPUs and dollars, the
    sentence, what is reached of what is promised, notes, plots, and the lines that decide and are
    not yet said; folded, all others, the rows behind the plots, and what starts the fleet.

    told: the answer. command: that says the same, or "".

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> answer_html(_small_answer()).count("<figure>")
    2
    """
    question, plots = told.question, answer_plots(told)
    drawn = "".join(
        f"<figure>{plot.svg}<figcaption>{html.escape(plot.caption)}</figcaption></figure>"
        for plot in plots
    )
    promised, main, others = _lines_in_order(told)
    folded = [("More lines, with the closed form", _lines_html(others, True))]
    folded += [(plot.title, _rows_html(plot.rows)) for plot in plots]
    drawn_ones = {plot.title for plot in plots}
    for table in answer_tables(told):
        if table.title not in drawn_ones:
            note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
            folded.append((table.title, note + _rows_html(table.rows)))
    texts = [part for one in starts(told) for part in _copied(one)]
    where = ", in the folder of the model’s file" * question.checkpoint.startswith(".")
    texts += [(f"The same plan from the command line{where}:", command)] if command else []
    folded.append(("What starts it", "".join(_copy_html(*one) for one in texts)))
    details = "".join(
        f"<details><summary>{html.escape(title)}</summary>{body}</details>"
        for title, body in folded
    )
    fleet, dollars = map(html.escape, answer_head(told))
    sentence, notes = answer_parts(told)
    listed = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
    return (
        f'<p class="planner-of">Answer to: {html.escape(asked_text(question))}</p>'
        f'<p class="planner-head"><strong>{fleet}</strong> {dollars}</p>'
        f'<p class="planner-summary">{html.escape(sentence)}</p>{_lines_html(promised, False)}'
        f'<div class="planner-plots"><ul>{listed}</ul>{drawn}</div>'
        f"{_lines_html(main, False)}{details}"
    )


def _lines_in_order(told: Answered) -> tuple[list[Line], list[Line], list[Line]]:
    """The lines as the page has them: what is promised, what decides and nothing else has said, and
    all others."""
    lines, main = answer_lines(told), main_lines(told)
    promised = [line for line in main if line.what.endswith(", promised")]
    left = [line for line in main if line not in promised and line.what not in SAID_HERE]
    return promised, left, [line for line in lines if line not in promised and line not in left]


def _lines_html(lines: Sequence[Line], closed: bool) -> str:
    """Lines as a table, each linked to its chapter; what the closed form says as a column."""
    heads = ("Line", "Simulated", *(["Closed form"] * closed))
    rows = "".join(
        f'<tr><th scope="row"><a href="../{line.chapter}/">{html.escape(line.what)}</a></th>'
        f"<td>{html.escape(line.value)}{_meter(line.of_limit)}</td>"
        f"{f'<td>{html.escape(line.estimate)}</td>' if closed else ''}</tr>"
        for line in lines
    )
    return _table_html(heads, rows)


def _rows_html(rows: Sequence[Sequence[str]]) -> str:
    """Rows with a header as a table."""
    head, *others = rows
    cells = (f"<td>{'</td><td>'.join(html.escape(cell) for cell in row)}</td>" for row in others)
    return _table_html(head, "".join(f"<tr>{row}</tr>" for row in cells))


def _table_html(heads: Sequence[str], rows: str) -> str:
    titles = "".join(f'<th scope="col">{html.escape(title)}</th>' for title in heads)
    return (
        f'<div class="planner-rows"><table class="plain"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _copy_html(told: str, text: str) -> str:
    return (
        f'<div class="planner-copy"><p>{html.escape(told)}</p>'
        f'<pre><code tabindex="0">{html.escape(text)}</code></pre></div>'.replace("\n", "&#10;")
    )


def _copied(one: Start) -> list[tuple[str, str]]:
    """Texts to copy, each with what it is."""
    if one.of == "one fleet":
        flags, objects = "One replica is started by", "The fleet as a Kubernetes Deployment:"
    else:
        flags, objects = "Separate fleets are started by", "Separate fleets for Kubernetes:"
    return [(flags, one.flags), (objects, one.kubernetes)]


def _asked(values: dict[str, object]) -> dict[str, object]:
    """The fields that say something: an empty one is found, or has its default."""
    needed = {*DRAWN, *SHEET} - {"classes"}
    needed -= {"rate_per_s"} if values.get("gpus") else set()  # which are given in its place
    optional = {name for name, field in FIELDS.items() if field.default is None} - needed
    unsaid = [*((name, "") for name in optional - {"trace"}), ("device", OTHER)]
    return {name: value for name, value in values.items() if (name, value) not in unsaid}


def _command(values: dict[str, object]) -> str:
    """The command with the options that differ from their defaults."""
    words = ["serving-mathematics", "plan"]
    for name, value in _asked(values).items():
        field = FIELDS[name]
        if field.default is None or read_value(name, value) != field.default:
            words += [field.option, str(value)]
    return shlex.join(words)


def example() -> SimpleNamespace:
    """The form, and the answer to it as it stands."""
    values: dict[str, object] = {
        name: field.start or field.default or ""
        for name, field in FIELDS.items()
        if field.group == FIRST
    }
    piece = (
        '<div class="planner-answer" role="region" aria-label="Plan" tabindex="-1" '
        f"data-search-exclude>{answer_html(_answered(values), _command(values))}</div>"
    )
    return SimpleNamespace(form=form_html(), answer=piece)


def check_form_answers() -> None:
    """The form gets the lines of the plan, or a problem with its field.

    Source: the plan itself; a trace with a broken row.
    """
    asked = {"rate_per_s": 2, "requests": 100}
    lines = answer_lines(answer(read_choices(asked)))
    got = json.loads(form_answer(json.dumps(asked)))["html"]
    missing = [line.what for line in lines if f"<td>{html.escape(line.value)}<" not in got]
    checks.equal("lines that are missing", missing, [])
    command = "serving-mathematics plan --rate-per-s 2 --requests 100"
    checks.holds("the same as a command", f">{command}</code>" in got)
    log = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,3,x\n"
    told = json.loads(form_answer(json.dumps({"trace": "my.csv", "trace_text": log})))
    checks.equal("field of a broken trace", told["field"], "trace")
    where = "my.csv: row 2, column GeneratedTokens must be"
    checks.holds("row and column", told["problem"].startswith(where), got=told["problem"])
