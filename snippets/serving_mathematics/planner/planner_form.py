"""The form of the page, made from the table of fields, and what it is answered.

The reader's browser runs the same functions as the command: it hands over named values as JSON and
gets lines, or a problem with the field to which it belongs.

Assumes: a browser that runs Python, after a click; without one the page shows the worked example.

Source: HTML standard, forms and their labels.
"""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Callable
from html.parser import HTMLParser
from types import SimpleNamespace

from serving_mathematics.core.hardware.catalogue import model_names, systems
from serving_mathematics.core.hardware.deployments import DRAFTERS
from serving_mathematics.planner.answer_plots import answer_plots
from serving_mathematics.planner.answers import (
    CHAPTERS,
    Line,
    answer_lines,
    answer_summary,
    comparison_rows,
)
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.launch import Start, starts
from serving_mathematics.planner.questions import (
    DRAWN,
    FIELDS,
    SHEET,
    Field,
    read_choices,
    read_value,
)
from serving_mathematics.planner.trace_formats import read_requests
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_json

GROUPS = {
    "Model": ("model", "precision", "cache_precision"),
    "Device": ("device", *SHEET, "parallelism", "price_per_hour"),
    "Traffic": (*DRAWN, "trace", "trace_columns"),
    "Objective": ("ttft_s", "tpot_s", "quantile"),
    "Engine, money and simulation": (
        *("backend", "draft_tokens", "accepted_tokens", "drafter", "memory_share", "reserved_gib"),
        *("fleets", "token_budget", "batch_limit", "spare_replicas", "spot_share", "spot_discount"),
        *("load_test", "requests", "seed"),
    ),
}
FOLDED = "Engine, money and simulation"
LABELS = {  # of the fields on the page, which has the names of the command below them
    "model": "Model, a name or an alias",
    "precision": "Format of the weights, or several: bf16, fp8",
    "cache_precision": "Format of the KV cache",
    "device": "GPU, or several: H100, B200",
    "peak_tflops": "Peak in 16 bits, dense (TFLOP/s)",
    "bandwidth_gb_per_s": "Memory bandwidth (GB/s)",
    "memory_gib": "Memory (GiB)",
    "backend": "Engine",
    "parallelism": "GPUs of a replica: auto, tp4, tp8ep8, …",
    "fleets": "Fleets; two compares separate GPUs for prompts and answers",
    "draft_tokens": "Tokens guessed in a step (speculative decoding)",
    "accepted_tokens": "Tokens that a step yields with guesses",
    "drafter": "What guesses: mtp (own heads), ngram (the text), or a draft model's name",
    "memory_share": "Share of the memory that the engine may use",
    "reserved_gib": "Memory for activations and libraries, each GPU (GiB)",
    "rate_per_s": "Requests a second, all replicas together",
    "arrival_scv": "Burstiness, 1 is Poisson (squared CV of the gaps)",
    "mean_prompt_tokens": "Tokens of a prompt, mean",
    "mean_output_tokens": "Tokens of an answer, mean",
    "cached_share": "Share of each prompt in the prefix cache",
    "classes": "Kinds of requests: chat:0.7:prompt=800,ttft=1; agents:0.3:prompt=8000,ttft=5",
    "trace": "Trace (CSV or JSON lines)",
    "trace_columns": "Its columns, where they are not known",
    "load_test": "Load test, load:TTFT:TPOT in seconds, such as 16:0.25:0.011, 64:0.6:0.02",
    "ttft_s": "Time to first token, TTFT (s)",
    "tpot_s": "Time per later token, TPOT (s)",
    "quantile": "Share of requests that keep them",
    "price_per_hour": "Price of a GPU ($ an hour), or one for each",
    "spot_share": "Share of the GPUs that are interruptible",
    "spot_discount": "By which those are cheaper",
    "spare_replicas": "Replicas that may fail, bought besides",
    "token_budget": "Tokens in a step, at most (max_num_batched_tokens); found if empty",
    "batch_limit": "Sequences in a step, at most (max_num_seqs); found if empty",
    "requests": "Requests to simulate in each fleet",
    "seed": "Seed of the simulation",
}
TRAFFIC = (  # which is no field, and shows those that are
    '<p><label for="planner-traffic">Where it comes from</label><select id="planner-traffic">'
    '<option value="rate">a rate and mean lengths</option>'
    '<option value="">a trace file, read in this page and sent nowhere</option></select>'
    '<span class="planner-problem"></span></p>'
)
START = {"rate_per_s": "60"}  # what a field without a default holds at first
CHOICES = {
    "cache_precision": ("auto", "bf16", "fp8"),
    "backend": ("vllm", "sglang", "trtllm"),
    "fleets": ("one", "two"),
}
OTHER = "given below by its numbers"  # the device that is none
WHEN = {  # a field is asked for when another control has this value
    **dict.fromkeys(SHEET, f"device={OTHER}"),
    **dict.fromkeys(DRAWN, "traffic=rate"),
    "trace": "traffic=",
    "trace_columns": "traffic=",
}
LIMITS = (  # what a refusal begins with when it is not a field's name, and the field to change
    ("no fleet keeps a TTFT", "ttft_s"),
    ("no fleet keeps a TPOT", "tpot_s"),
    ("no fleet of up to", "fleets"),
    ("no fleet holds the longest request", "memory_share"),
    ("parallelism", "parallelism"),
    ("classes:", "classes"),
    ("precision", "precision"),
    ("drafter", "drafter"),
    ("model", "model"),
    ("system", "device"),
    ("backend", "backend"),
    ("device", "device"),
    ("load_test", "load_test"),
    ("row ", "trace"),
    ("column ", "trace"),
    ("the trace ", "trace"),
    ("the log ", "trace"),
)


def form_html() -> str:
    """The form on one line of HTML: a labelled control for each field, with a place for what is
    wrong with it. Some are asked for only when another control has the value in `data-when`.

    >>> form_html().count("<fieldset>") == len(GROUPS)
    True
    """
    groups = ""
    for title, names in GROUPS.items():
        fields = "".join(_control(FIELDS[name]) for name in names)
        if title == "Traffic":
            fields = TRAFFIC + fields
        group = f"<fieldset><legend>{html.escape(title)}</legend>{fields}</fieldset>"
        if title == FOLDED:
            group = f"<details><summary>{html.escape(title)}</summary>{group}</details>"
        groups += group
    return (
        '<form class="planner" novalidate aria-label="Capacity planner" data-search-exclude>'
        f'{groups}<p class="live-tools"><button type="submit">Plan</button> '
        '<button type="button" disabled>Stop</button></p>'
        '<p class="live-status" role="status"></p>'
        '<div class="planner-answer" role="region" aria-label="Plan" tabindex="-1" hidden></div>'
        "</form>"
    )


def _control(field: Field) -> str:
    known = CHOICES.get(field.name, ())
    offered = {
        "model": model_names(),
        "device": (*systems(), OTHER),
        "drafter": DRAFTERS,
    }.get(field.name, ())
    attributes = f'id="planner-{field.name}" name="{field.name}"'
    attributes += f' aria-describedby="planner-{field.name}-problem"'
    default = str(START.get(field.name, "" if field.default is None else field.default))
    if known:
        options = "".join(
            f"<option{' selected' if name == default else ''}>{html.escape(name)}</option>"
            for name in known
        )
        control = f"<select {attributes}>{options}</select>"
    elif field.name == "trace":
        control = f'<input type="file" accept=".csv,.jsonl,.json,text/csv" {attributes}>'
    else:
        mode = ' inputmode="decimal"' if field.high else ""
        listed = f' list="planner-{field.name}-names"' if offered else ""
        names = "".join(f'<option value="{html.escape(name)}">' for name in offered)
        control = (
            f'<input type="text"{mode} autocomplete="off" spellcheck="false" '
            f'{attributes}{listed} value="{default}">'
        )
        if offered:
            control += f'<datalist id="planner-{field.name}-names">{names}</datalist>'
    when = f' data-when="{WHEN[field.name]}"' if field.name in WHEN else ""
    when += " hidden" if field.name not in DRAWN and when else ""  # a known device, and a rate
    return (
        f'<p{when}><label for="planner-{field.name}">{html.escape(LABELS[field.name])} '
        f"<code>{field.name}</code></label>{control}"
        f'<span class="planner-problem" id="planner-{field.name}-problem"></span></p>'
    )


def form_answer(text: str, tell: Callable[[str, str], object] | None = None) -> str:
    """What the form on the page gets for its fields, JSON for JSON.

    text: an object of fields; `trace_text` may hold a trace file. tell: called with "status" and
    which fleet is being simulated. The answer has a `summary`, `lines` with the titles of their
    chapters, `plots` as SVG with a caption and rows, the deployments that were `compared` where no
    plot has them, the `command` that says the same and what `starts` it, or `problem` and the
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
    log, name = str(values.pop("trace_text", "")), str(values.get("trace", ""))
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
        choices = read_choices(_asked(values), lambda _, columns: read_requests(log, columns))
        found = answer(choices, told, progress=compared)
        lines, plots = answer_lines(found), answer_plots(found)
    except ValueError as error:
        said = str(error)
        named = [field for field in FIELDS if said.startswith(f"{field} ")]
        named += [field for begins, field in LIMITS if said.startswith(begins)]
        if named[:1] == ["trace"] and ": trace_columns " in said:  # which mends it
            named = ["trace_columns"]
        if named[:1] == ["trace"] and name:
            said = f"{name[:60]}: {said}"
        return json.dumps({"problem": said, "field": named[0] if named else ""})
    told_back = {
        "summary": answer_summary(found),
        "lines": [vars(line) | {"title": CHAPTERS[line.chapter]} for line in lines],
        "plots": [vars(plot) for plot in plots],
        "compared": comparison_rows(found) if len(choices) > 1 == len(plots) else [],
        "command": _command(values),
        "starts": [part for one in starts(found) for part in _copied(one)],
    }
    return json.dumps(told_back)


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
    optional = {name for name, field in FIELDS.items() if field.default is None} - needed
    given = {
        name: value
        for name, value in values.items()
        if not (name in optional and name != "trace" and value == "")
    }
    return {
        name: value for name, value in given.items() if not (name == "device" and value == OTHER)
    }


def _command(values: dict[str, object]) -> str:
    """The command with the options that differ from their defaults."""
    words = ["serving-mathematics", "plan"]
    for name, value in _asked(values).items():
        field = FIELDS[name]
        if field.default is None or read_value(name, value) != field.default:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join(words)


def example() -> SimpleNamespace:
    """The form."""
    return SimpleNamespace(form=form_html())


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
        if "name" in found:
            self.names.append(found["name"])
            self.described.append(found["aria-describedby"])


def check_form_has_every_field() -> None:
    """Every field has one control, with a label and a place for its problem.

    Source: the table of fields, and the standard library's HTML parser.
    """
    page = _Labels()
    page.feed(form_html())
    checks.equal("controls", sorted(page.names), sorted(FIELDS))
    labels = {f"planner-{name}" for name in (*page.names, "traffic")}
    checks.equal("labels", sorted(page.labelled), sorted(labels))
    checks.holds("places exist", {*page.described, *page.labelled} <= page.ids)


def check_form_answers() -> None:
    """The form gets the lines of the plan, or a problem with its field.

    Source: the plan itself; a trace with a broken row.
    """
    asked = {"rate_per_s": 2, "requests": 100}
    expected = [vars(line) for line in answer_lines(answer(read_choices(asked)))]
    got = json.loads(form_answer(json.dumps(asked)))
    lines = [{name: line[name] for name in vars(Line("", "", "", ""))} for line in got["lines"]]
    checks.equal("the same lines", lines == expected, True)
    command = "serving-mathematics plan --rate-per-s 2 --requests 100"
    checks.equal("the same as a command", got["command"], command)
    log = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46,3,x\n"
    told = json.loads(form_answer(json.dumps({"trace": "my.csv", "trace_text": log})))
    checks.equal("field of a broken trace", told["field"], "trace")
    where = "my.csv: row 2, column GeneratedTokens must be"
    checks.holds("row and column", told["problem"].startswith(where), got=told["problem"])
