"""The command `serving-mathematics predict`: latencies and throughput of deployments in a table.

    serving-mathematics predict ROWS.csv --out PREDICTED.csv

A row is a deployment under a closed loop; the columns are listed by `--help`. Three are added:
`predicted_ttft_s`, `predicted_tpot_s` and `predicted_tokens_per_s_per_gpu` (output tokens). Rows
keep their order and number; where `ttft_s` or `tpot_s` are there, the errors are printed.

It exits with 0 when every row was answered, with 3 when some were left blank and named, because
what they deploy cannot be, and with 2 when the input is wrong, with one line on standard error that
names row, column and rule. The output is written whole or not at all.

Assumes: `model` and the others as their names say; what is left blank is read by stated defaults.

Source: Python documentation, argparse and csv; RFC 4180.
"""

# In one piece: one command on one table: what a row may hold, what is answered and what is told of
# it, column by column.

from __future__ import annotations

import argparse
import csv
import difflib
import io
import math
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TextIO

import numpy as np

from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.benchmark_loops import (
    Latencies,
    fleet_latencies,
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.catalogue import (
    Unserved,
    _is_path,
    compared,
    find_backend,
    find_model,
    find_precision,
    find_system,
    model_names,
    nearest,
    systems,
    was_measured,
)
from serving_mathematics.core.hardware.deployments import (
    Deployment,
    Impossible,
    _require_kept_experts,
    own_precision,
    require_deployment,
    room_sequences,
)
from serving_mathematics.core.hardware.fronts import (
    FRONTS,
    Front,
    find_front,
    front_constants,
    untuned,
)
from serving_mathematics.core.hardware.published_runs import ACCEPTED, fleet_split
from serving_mathematics.core.hardware.step_time import FITTED, Constants, count_work
from serving_mathematics.support.commands import OneLineParser
from serving_mathematics.support.files import (
    inputs_noted,
    read_table,
    read_text,
    require_output,
    write_text,
)
from serving_mathematics.support.require import as_number, require_positive_integer

ADDED = ("predicted_ttft_s", "predicted_tpot_s", "predicted_tokens_per_s_per_gpu")
NEEDED = ("model", "system", "isl", "osl", "concurrency")
COLUMNS = {
    "model": "a preset, an alias, a Hugging Face name, or the path of a config.json",
    "system": "h100_sxm, h200_sxm, b200_sxm, gb200, mi300x, ... or an alias such as H100",
    "backend": "vllm, sglang or trtllm; blank: vllm",
    "precision": "bf16, fp8, fp4 or int4; blank: what the name says, else as published",
    "isl": "tokens of a prompt",
    "osl": "tokens of an answer; 1 has no time per token",
    "concurrency": "requests held at the whole replica",
    "tp": "devices that share one layer's attention; blank: 1",
    "pp": "stages of a pipeline; blank: 1",
    "dp": "groups with attention in parallel over data; blank: 1",
    "ep": "devices with different experts; blank: 1",
    "mode": "agg, or disagg with the prefill_ and decode_ columns; blank: agg",
    "shortest_share": "lengths lie between this share of nominal and nominal; blank: 0.8 where "
    "isl and osl are 1024 or 8192, as in InferenceX, else 1",
    "speculation": "none or mtp; blank: mtp where draft_tokens says how many, else none",
    "draft_tokens": "guessed each step; blank: 3 with mtp, 1 with dp > 1",
    "accepted_tokens": "tokens a step and sequence; blank: 2.5 for 3 guesses, 1.8 for 1",
    "prefill_tp, prefill_dp, prefill_ep, prefill_workers": "disagg: an engine that takes prompts, "
    "and how many; blank workers: as many as keep them below 80% busy",
    "decode_tp, decode_dp, decode_ep, decode_workers": "disagg: an engine that answers, how many",
    "front": "what stands before the devices: benchmark, whose first tokens have its harness in "
    "them, unknown, which is for the TTFT of one user too, ml-energy, inference-perf or engine; "
    "blank: benchmark",
    "ttft_s, tpot_s": "measured; errors are then printed",
}
_NAMES = tuple(name for key in COLUMNS for name in key.split(", "))
OTHER_NAMES = {  # as other tables call them, in compared form
    "modelpath": "model",
    "hardware": "system",
    "hw": "system",
    "gpu": "system",
    "framework": "backend",
    "tpsize": "tp",
    "ppsize": "pp",
    "attentiondpsize": "dp",
    "dpsize": "dp",
    "moeepsize": "ep",
    "epsize": "ep",
    "conc": "concurrency",
    "maxconcurrency": "concurrency",
    "prefilltpsize": "prefill_tp",
    "prefillattentiondpsize": "prefill_dp",
    "prefillmoeepsize": "prefill_ep",
    "prefillnumworkers": "prefill_workers",
    "decodetpsize": "decode_tp",
    "decodeattentiondpsize": "decode_dp",
    "decodemoeepsize": "decode_ep",
    "decodenumworkers": "decode_workers",
    "specmethod": "speculation",
    **dict.fromkeys(("tensorparallel", "tensorparallelsize", "tensorparallelism"), "tp"),
    **dict.fromkeys(("pipelineparallel", "pipelineparallelsize", "pipelineparallelism"), "pp"),
    **dict.fromkeys(("dataparallel", "dataparallelsize", "dataparallelism"), "dp"),
    **dict.fromkeys(("expertparallel", "expertparallelsize", "expertparallelism"), "ep"),
    **dict.fromkeys(("inputlen", "inputlength", "inputtokens", "prompttokens"), "isl"),
    **dict.fromkeys(("outputlen", "outputlength", "outputtokens"), "osl"),
}
MEASURED_S = {"ttft_s": (5e-4, 1000.0), "tpot_s": (1e-5, 2.0)}  # beyond, the unit is another
USUAL_BUDGET = 8192  # tokens of a step, by default of vLLM's server on large devices
LIKE = 0.8  # how like a name must be to one that is not there to have been meant for it
BENCHMARK_LENGTHS = (1024.0, 8192.0)
CHUNK = 2000  # rows that are predicted at once


class _Wrong(Exception):
    """Input that cannot be used; the message is what the user reads."""


@dataclass(frozen=True)
class Row:
    """A row, read: one engine, or an engine of each fleet."""

    answers: Deployment
    prompts: Deployment | None
    answer_engines: float
    prompt_engines: float  # 0: as many as keep them below 80% busy
    concurrency: float
    notes: tuple[str, ...]
    front: Front = FRONTS["benchmark"]


@dataclass(frozen=True)
class Answer:
    """What is predicted for a row, or read of it as measured."""

    first_token_s: float
    per_token_s: float  # NaN where an answer is one token
    tokens_per_s_per_device: float


def _cell(cells: Mapping[str, object], column: str) -> str:
    value = cells.get(column)
    blank = value is None or (isinstance(value, float) and math.isnan(value))
    return "" if blank else str(value).strip()


def number(
    cells: Mapping[str, object],
    column: str,
    blank: float | None,
    low: float,
    high: float,
    whole: bool = True,
) -> float:
    """A number of a row. Raises ValueError naming column, rule and value.

    cells: the row's text or numbers by column. blank: what an empty cell stands for, or None if it
    may not be.

    >>> number({"isl": "1024"}, "isl", None, 1, 1e8)
    1024.0
    """
    high = as_number(high=high)
    text = _cell(cells, column)
    if not text:
        if blank is None:
            raise ValueError(f"column {column}: must be given, got nothing")
        return blank
    try:
        value = float(text if text.isascii() and "_" not in text else "no number")
    except ValueError:
        raise ValueError(f"column {column}: must be a number, got {text!r}") from None
    kind = "a whole number" if whole else "a number"
    if not math.isfinite(value) or not low <= value <= high or (whole and value != int(value)):
        raise ValueError(f"column {column}: must be {kind} from {low:g} to {high:g}, got {text}")
    return value


def _named(column: str, found: str) -> ValueError:
    return ValueError(f"column {column}: {found}")


def parallel_widths(tensor: int, data: int, expert: int) -> tuple[int, int, int, tuple[str, ...]]:
    """Widths with devices that were counted twice counted once, and notes that say so.

    Attention in parallel over data is often written with `tp` and `dp` both as the number of
    devices, experts with a `tp` that is the square of `ep`, and shared attention beside different
    experts with both. Raises ValueError unless all are positive integers.

    >>> parallel_widths(8, 8, 8)[:3], parallel_widths(64, 1, 8)[:3], parallel_widths(1, 1, 8)[:3]
    ((1, 8, 8), (8, 1, 8), (1, 8, 8))
    """
    tensor, data, expert = require_positive_integer(tensor=tensor, data=data, expert=expert)
    notes = []
    if expert > 1 and tensor == expert * expert and tensor > 8:
        notes.append(f"tp={tensor} with ep={expert} is read as {expert} devices")
        tensor = expert
    if expert > 1 and data == expert * expert:
        notes.append(f"dp={data} with ep={expert} is read as {expert} groups")
        data = expert
    if data == tensor > 1 and expert == tensor * tensor:
        notes.append(f"ep={expert} with tp={tensor} and dp={data} is read as tp={tensor} alone")
        data, expert = 1, tensor
    if data == tensor > 1:
        notes.append(f"tp={tensor} and dp={data} are read as the same {data} devices")
        tensor = 1
        expert = min(expert, data)
    if expert > tensor * data and data == 1 and expert % tensor == 0:
        data = expert // tensor
        notes.append(f"ep={expert} over tp={tensor} is read with dp={data}")
    return tensor, data, expert, tuple(notes)


def _widths(cells: Mapping[str, object], start: str) -> tuple[int, int, int, tuple[str, ...]]:
    values = []
    for name in ("tp", "dp", "ep"):
        column = f"{start}{name}"
        if start and not _cell(cells, column):
            column = name
        values.append(int(number(cells, column, 1, 0, 4096)) or 1)
    tensor, data, expert = values
    return parallel_widths(tensor, data, expert)


def _require_one_engine(cells: Mapping[str, object]) -> None:
    """Refuse widths of fleets that say another thing than those of the one engine."""
    for start in ("prefill_", "decode_"):
        for name in ("tp", "dp", "ep", "workers"):
            said = number(cells, f"{start}{name}", 0, 0, 4096) or 1
            own = 1 if name == "workers" else number(cells, name, 0, 0, 4096) or 1
            if _cell(cells, f"{start}{name}") and said != own:
                rule = "blank where mode is agg, or what the engine has"
                raise ValueError(f"column {start}{name}: must be {rule}, got {said:g}")


def _guesses(cells: Mapping[str, object], data: int) -> tuple[int, float]:
    """Tokens guessed each step, and tokens that a step yields a sequence."""
    method = compared(_cell(cells, "speculation"))
    if method not in ("", "none", "no", "false", "0", "mtp", "eagle", "eagle3", "yes", "true"):
        raise ValueError(
            f"column speculation: must be none or mtp, got {_cell(cells, 'speculation')!r}"
        )
    guessing = method in ("mtp", "eagle", "eagle3", "yes", "true")
    default = (1 if data > 1 else 3) if guessing else 0
    drafts = int(number(cells, "draft_tokens", default, 0, 16))
    if method and guessing != (drafts > 0):
        rule = "1 or more" if guessing else "0 or blank"
        told = f"where speculation is {_cell(cells, 'speculation')}, got {drafts}"
        raise ValueError(f"column draft_tokens: must be {rule} {told}")
    usual = ACCEPTED.get(drafts, 1 + 1.7 * (1 - 0.53**drafts))
    accepted = number(cells, "accepted_tokens", usual, 1, 17, whole=False)
    if accepted > drafts + 1:
        rule = f"a number from 1 to {drafts + 1}, draft_tokens + 1"
        raise ValueError(f"column accepted_tokens: must be {rule}, got {accepted:g}")
    return drafts, accepted


# In one piece: a row's cells in their order, each read or refused.
def read_row(cells: Mapping[str, object]) -> Row:
    """A deployment from a row's columns.

    cells: text or numbers by the names of COLUMNS; None and NaN are blank, other columns are not
    read. Raises ValueError naming column and rule: unknown names with the nearest, a column spelt
    nearly as one that is not there, widths that do not divide, weights that do not fit, lengths
    beyond the model's context.

    >>> row = read_row({"model": "Llama-3.1-8B", "system": "H100", "isl": 1000, "osl": 100,
    ...                 "concurrency": 8})
    >>> row.answers.devices, row.answers.precision
    (1, 'bf16')
    """
    _refuse_misspelt([str(column) for column in cells if column not in _NAMES], cells)
    try:
        architecture, told = find_model(_cell(cells, "model"))
    except ValueError as problem:
        raise _named("model", str(problem)) from None
    found: dict[str, str] = {}
    for column, finder in (("backend", find_backend), ("precision", find_precision)):
        said = _cell(cells, column)
        try:
            if not said:
                said = "vllm" if column == "backend" else told or own_precision(architecture)
            found[column] = finder(said)
        except ValueError as problem:
            raise _named(column, str(problem)) from None
    if told or _cell(cells, "precision"):
        try:
            _require_kept_experts(architecture, found["precision"], "blank")
        except Impossible as problem:
            raise Impossible(_in_columns(str(problem), "")) from None
    try:
        system = find_system(_cell(cells, "system"))
    except ValueError as problem:
        own = "; or give plan its --peak-tflops, --bandwidth-gb-per-s and --memory-gib"
        own = "" if isinstance(problem, Unserved) or not _cell(cells, "system") else own
        raise _named("system", f"{problem}{own}") from None
    try:
        front = find_front(_cell(cells, "front") or "benchmark")
    except ValueError as problem:
        raise _named("front", str(problem)) from None
    lengths = [number(cells, column, None, 1, 1e8) for column in ("isl", "osl")]
    concurrency = number(cells, "concurrency", None, 1, 1e6)
    mode = compared(_cell(cells, "mode")) or "agg"
    if mode not in ("agg", "aggregated", "ifb", "disagg", "disaggregated"):
        raise ValueError(f"column mode: must be agg or disagg, got {_cell(cells, 'mode')!r}")
    usual = 0.8 if all(length in BENCHMARK_LENGTHS for length in lengths) else 1.0
    shortest = number(cells, "shortest_share", usual, 1e-3, 1, whole=False)
    pipeline = int(number(cells, "pp", 1, 0, 4096)) or 1
    separate = mode.startswith("disagg")
    if not separate:
        _require_one_engine(cells)
    tensor, data, expert, notes = _widths(cells, "decode_" if separate else "")
    if _is_path(_cell(cells, "model")):
        size = f"{architecture.parameters / 1e9:.4g}·10⁹ parameters"
        left_out = f", without {', '.join(architecture.beside)}" if architecture.beside else ""
        size += f"{left_out}, published in {found['precision']}"
        notes += (f"{_cell(cells, 'model')} is read as {size}",)
    if not was_measured(system.name):
        notes += (
            f"no run on {system.shown} was measured, and how far its times are off is not known: "
            "give two runs of yours to plan --load-test",
        )
    drafts, accepted = _guesses(cells, data)
    base = Deployment(
        architecture,
        system,
        found["backend"],
        found["precision"],
        lengths[0],
        lengths[1],
        concurrency,
        tensor,
        pipeline,
        data,
        expert,
        shortest,
        drafts,
        accepted,
    )
    answering, taking = 1.0, 0.0
    prompts: Deployment | None = None
    if separate:
        answering = number(cells, "decode_workers", 1, 1, 4096)
        taking = number(cells, "prefill_workers", 0, 0, 4096)
        tensor, data, expert, more = _widths(cells, "prefill_")
        notes += more
        prompts = replace(
            base,
            tensor=tensor,
            attention_data=data,
            expert=expert,
            draft_tokens=0,
            accepted_tokens=1.0,
        )
        base = replace(base, concurrency=max(1.0, concurrency / answering))
    elif tensor > 8 and expert == 1 and system.domain_devices > 8 and architecture.heads % tensor:
        width, count = fleet_split(tensor)
        notes += (
            f"tp={tensor} does not divide {architecture.heads} heads: read as a fleet of "
            f"{tensor} devices, of which {width * count} answer",
        )
        answering = float(count)
        prompts = replace(
            base, tensor=4, expert=_dividing(architecture, 4), draft_tokens=0, accepted_tokens=1.0
        )
        base = replace(
            base,
            tensor=1,
            attention_data=width,
            expert=_dividing(architecture, width),
            concurrency=max(1.0, concurrency / answering),
        )
    for engine, start in ((base, "decode_" if separate else ""), (prompts, "prefill_")):
        if engine is not None:
            try:
                require_deployment(engine)
            except ValueError as problem:
                raise Impossible(_in_columns(str(problem), start)) from None
    if assumed := untuned(base):
        notes += (assumed,)
    if room_sequences(base) < base.concurrency:
        notes += ("memory holds fewer sequences at once than the concurrency: the others wait",)
    asked = base.concurrency / base.attention_data * base.input_tokens / base.output_tokens
    if prompts is None and base.output_tokens > 1 and asked > USUAL_BUDGET:
        told = f"prompts bring more than {USUAL_BUDGET:,} tokens for each of an answer, a usual "
        told += "budget of a step: first tokens come later than this says, others as much sooner"
        notes += (told,)
    return Row(base, prompts, answering, taking, concurrency, notes, front)


def _dividing(architecture: Architecture, width: int) -> int:
    """The width for experts, where there are some and they divide by it."""
    counts = architecture.expert_counts
    return width if counts and all(count % width == 0 for count in counts) else 1


def _in_columns(text: str, start: str) -> str:
    """A rule about a deployment in the words of the table's columns."""
    words = {
        "input_tokens + output_tokens": "columns isl and osl: the sum",
        "input_tokens": "column isl:",
        "output_tokens": "column osl:",
        "concurrency": "column concurrency:",
        "tensor": f"column {start}tp:",
        "pipeline": "column pp:",
        "attention_data": f"column {start}dp:",
        "expert": f"column {start}ep:",
        "draft_tokens": "column draft_tokens:",
        "accepted_tokens": "column accepted_tokens:",
        "shortest_share": "column shortest_share:",
        "weights": f"column {start}tp: weights",
        "precision": "column precision:",
    }
    for name, told in words.items():
        if text.startswith(f"{name} "):
            return told + text[len(name) :]
    return text


def devices_of(row: Row) -> float:
    """Devices of a row's replica: of the engine, or of both fleets as far as they are stated.

    >>> from serving_mathematics.machine.predictions.predict import read_row
    >>> cells = {"model": "Qwen3-32B", "system": "H100", "isl": "1000", "osl": "100", "tp": "2",
    ...          "concurrency": "8"}
    >>> devices_of(read_row(cells))
    2.0
    """
    total = row.answers.devices * row.answer_engines
    if row.prompts is not None:
        total += row.prompts.devices * max(1.0, row.prompt_engines)
    return total


def answer_rows(rows: Sequence[Row], constants: Constants = FITTED) -> list[Answer]:
    """Predictions of rows, in their order, each behind its front.

    constants: those of the tuned benchmark.

    >>> from serving_mathematics.machine.predictions.predict import read_row
    >>> cells = {"model": "Llama-3.1-8B", "system": "H100", "isl": "1000", "osl": "100",
    ...          "concurrency": "1"}
    >>> (answer,) = answer_rows([read_row(cells)])
    >>> 15e9 / 3.35e12 < answer.per_token_s < 0.012  # its weights once, and more
    True
    """
    answers: list[Answer | None] = [None] * len(rows)
    kinds = dict.fromkeys((row.prompts is not None, row.front) for row in rows)
    for separate, front in kinds:
        places = [
            i
            for i, row in enumerate(rows)
            if (row.prompts is not None, row.front) == (separate, front)
        ]
        chosen = [rows[i] for i in places]
        behind = front_constants(front, constants)
        work = count_work([row.answers for row in chosen])
        load = np.array([row.concurrency for row in chosen])
        found: Latencies
        if separate:
            found = fleet_latencies(
                count_work([row.prompts or row.answers for row in chosen]),
                work,
                np.array([row.prompt_engines for row in chosen]),
                np.array([row.answer_engines for row in chosen]),
                load,
                behind,
            )
        else:
            found = loop_latencies(work, behind)
        devices = np.array([devices_of(row) for row in chosen])
        rates = tokens_per_s_per_device(found, work.answer, load, devices)
        for place, first, each, rate in zip(
            places, found.first_token_s, found.per_token_s, rates, strict=True
        ):
            later = rows[place].answers.output_tokens > 1
            answers[place] = Answer(float(first), float(each) if later else math.nan, float(rate))
    return [answer for answer in answers if answer is not None]


def rename_columns(header: Sequence[str]) -> dict[str, str]:
    """The command's columns by those of a table's header, where other tables' names are known.

    Raises ValueError where a needed one is missing, one stands twice, or one is spelt nearly as one
    that is not there.

    >>> rename_columns(["model", "gpu", "isl", "osl", "conc"])["gpu"]
    'system'
    """
    known = {compared(name): name for name in _NAMES}
    names: dict[str, str] = {}
    for column in header:
        form = compared(column)
        name = known.get(form) or OTHER_NAMES.get(form)
        if name is not None:
            if name in names.values():
                raise ValueError(f"column {name} must stand once, got it twice")
            names[column] = name
    _refuse_misspelt([column for column in header if column not in names], names.values())
    for name in NEEDED:
        if name not in names.values():
            like = [c for c in header if c not in names]
            hint = f"; nearest: {nearest(name, like)}" if like else ""
            raise ValueError(
                f"column {name} must be there, got {', '.join(header) or 'none'}{hint}"
            )
    return names


def _refuse_misspelt(columns: Sequence[str], there: Collection[str]) -> None:
    """Refuse unknown columns that are spelt nearly as a known one that is not there."""
    known = {compared(name): name for name in _NAMES} | OTHER_NAMES
    forms = {form: name for form, name in known.items() if len(form) > 4}
    for column in columns:
        near = difflib.get_close_matches(compared(column), forms, 1, LIKE)
        meant = forms[near[0]] if near else ""
        if meant and meant not in (*there, "ttft_s", "tpot_s"):
            raise ValueError(f"there is no column {column[:60]!r}; did you mean {meant}?")


def _measured(cells: Mapping[str, object], column: str) -> float | None:
    if not _cell(cells, column):
        return None
    if column == "tpot_s" and number(cells, "osl", None, 1, 1e8) == 1:
        raise ValueError("column tpot_s: must be blank where osl is 1: no token is later")
    return number(cells, column, None, *MEASURED_S[column], whole=False)


def _counted_rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def error_lines(pairs: Mapping[str, Sequence[tuple[float, float]]]) -> list[str]:
    """Errors by quantity as text: rows, median and mean of their size, signed median.

    pairs: (predicted, measured) by quantity.

    >>> error_lines({"tpot_s": [(1.1, 1.0), (0.9, 1.0)]})
    ['tpot_s: 2 rows, error 10.0% in the median, 10.0% in the mean, signed median +0.0%']
    """
    lines = []
    for name, values in pairs.items():
        if values:
            error = np.array([predicted / measured - 1 for predicted, measured in values])
            size = np.abs(error)
            lines.append(
                f"{name}: {_counted_rows(len(values))}, "
                f"error {100 * np.median(size):.1f}% in the median, "
                f"{100 * np.mean(size):.1f}% in the mean, "
                f"signed median {100 * np.median(error) + 0.0:+.1f}%"
            )
    return lines


def command_parser() -> argparse.ArgumentParser:
    """The command's options.

    >>> command_parser().parse_args(["rows.csv"]).rows
    'rows.csv'
    """
    lines = "\n".join(f"  {name}: {meaning}" for name, meaning in COLUMNS.items())
    parser = OneLineParser(
        prog="serving-mathematics predict",
        description="Predict latencies and throughput of deployments, one a row.",
        epilog="rows are counted from 1, below the header\n"
        f"columns ({', '.join(NEEDED)} must be there):\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "rows", metavar="ROWS.csv", nargs="?", help="deployments; - reads them from input"
    )
    parser.add_argument("--out", metavar="PREDICTED.csv", help="write here instead of to output")
    parser.add_argument(
        "--leave-blank",
        action="store_true",
        help="leave rows that cannot be predicted blank, name them, and end with 3",
    )
    parser.add_argument("--presets", action="store_true", help="list models, systems and fronts")
    return parser


def _read(name: str) -> tuple[list[str], list[list[str]]]:
    try:
        text = read_text(name)
    except OSError as problem:
        raise _Wrong(f"{name}: cannot be read: {problem.strerror}") from problem
    except ValueError as problem:
        raise _Wrong(str(problem)) from problem
    while text.startswith(("#", "\n", "\r")):  # what stands above the header is no row
        text = text.partition("\n")[2]
    try:
        lines = read_table(text, "the table")
    except ValueError as problem:
        raise _Wrong(f"{name}: {problem}") from problem
    lines = [line for line in lines if line]
    if not lines:
        raise _Wrong(f"{name}: must have a header, got nothing")
    return [cell.strip() for cell in lines[0]], lines[1:]


def _told(done: int, total: int, started: float, last: float, to: TextIO) -> float:
    now = time.monotonic()
    if now - last >= 1 and done < total:
        print(f"{done} of {total} rows, {now - started:.0f} s", file=to, flush=True)
        return now
    return last


# In one piece: one pass over the rows, which fills five lists.
def predict_table(
    name: str, header: Sequence[str], lines: Sequence[Sequence[str]], leave_blank: bool, to: TextIO
) -> tuple[str, list[str], int]:
    """The table with predictions, as text, the lines that tell its errors, and how many rows were
    left blank: those whose deployment cannot be.

    name: what messages call the table. leave_blank: whether rows that are wrong are left blank too.
    to: where progress, notes and left-out rows are told. Raises ValueError naming row and column,
    unless rows are left blank.

    >>> import sys
    >>> header = ["model", "system", "isl", "osl", "concurrency"]
    >>> text, errors, blank = predict_table(
    ...     "rows", header, [["Qwen3-8B", "H100", "1000", "100", "4"]], False, sys.stderr)
    >>> text.splitlines()[0].split(",")[-1]
    'predicted_tokens_per_s_per_gpu'
    """
    names = rename_columns(header)
    kept = [i for i, column in enumerate(header) if column not in ADDED]
    rows: list[Row | None] = []
    measured: list[tuple[float | None, float | None]] = []
    noted: dict[str, int] = {}
    blank: list[str] = []
    started = last = time.monotonic()
    for place, line in enumerate(lines, 1):
        last = _told(place, len(lines), started, last, to)
        try:
            if len(line) != len(header):
                raise ValueError(f"must have {len(header)} cells, got {len(line)}")
            if line[0].startswith("#"):
                raise ValueError(
                    f"must begin with no #, as lines above the header may, got {line[0]!r}"
                )
            cells = {names[c]: cell for c, cell in zip(header, line, strict=True) if c in names}
            row: Row | None = read_row(cells)
            measured.append((_measured(cells, "ttft_s"), _measured(cells, "tpot_s")))
        except ValueError as problem:
            if not (leave_blank or isinstance(problem, Impossible)):
                raise ValueError(f"{name}: row {place}, {problem}") from None
            blank.append(f"{name}: row {place} left blank, {problem}")
            row = None
            measured.append((None, None))
        rows.append(row)
        if row is not None:
            for note in row.notes:
                noted.setdefault(note, place)
    for line_of_blank in blank:
        print(line_of_blank, file=to)
    unread = [column for column in header if column and column not in (*names, *ADDED)]
    if unread:
        print(f"{name}: columns that are kept and not read: {', '.join(unread)[:200]}", file=to)
    for note, place in noted.items():
        print(f"{name}: row {place} and like it: {note}", file=to)
    answers: list[Answer] = []
    answered = [row for row in rows if row is not None]
    for begin in range(0, len(answered), CHUNK):
        answers += answer_rows(answered[begin : begin + CHUNK])
        last = _told(min(begin + CHUNK, len(answered)), len(answered), started, last, to)
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([header[i] for i in kept] + list(ADDED))
    pairs: dict[str, list[tuple[float, float]]] = {"ttft_s": [], "tpot_s": []}
    following = iter(answers)
    for row, line, (first, each) in zip(rows, lines, measured, strict=True):
        cells_out = [line[i] if i < len(line) else "" for i in kept]
        if row is None:
            writer.writerow([*cells_out, "", "", ""])
            continue
        answer = next(following)
        writer.writerow(
            [
                *cells_out,
                f"{answer.first_token_s:.6g}",
                "" if math.isnan(answer.per_token_s) else f"{answer.per_token_s:.6g}",
                f"{answer.tokens_per_s_per_device:.6g}",
            ]
        )
        if first is not None:
            pairs["ttft_s"].append((answer.first_token_s, first))
        if each is not None:
            pairs["tpot_s"].append((answer.per_token_s, each))
    return file.getvalue(), error_lines(pairs), len(blank)


def main(arguments: list[str] | None = None) -> int:
    """Predict a file of rows: 0 when it answered, 3 when it left some blank, 2 when the input is
    wrong."""
    options = command_parser().parse_args(arguments)
    try:
        with inputs_noted() as inputs:
            return _predict(options, inputs)
    except BrokenPipeError:
        raise
    except (_Wrong, ValueError) as problem:
        told = str(problem)
    except OSError as problem:
        told = f"{problem.filename or options.rows}: {problem.strerror or problem}"
    except MemoryError:
        told = f"{options.rows}: must fit in the memory of this machine, got more"
    print(f"serving-mathematics predict: {told}", file=sys.stderr)
    return 2


def _predict(options: argparse.Namespace, inputs: set[tuple[int, int]]) -> int:
    if options.presets:
        named = {"models": model_names(), "systems": sorted(systems()), "fronts": FRONTS}
        print("\n\n".join("\n".join([f"{kind}:", *names]) for kind, names in named.items()))
        return 0
    if options.rows is None:
        raise _Wrong("name a file of rows, or - for input")
    if options.out is not None:
        require_output(options.out, "--out")
    header, lines = _read(options.rows)
    if options.out is not None:
        require_output(options.out, "--out", inputs)
    text, errors, blank = predict_table(
        options.rows, header, lines, options.leave_blank, sys.stderr
    )
    if options.out is not None:
        write_text(options.out, "--out", text, inputs)  # also no file that a row named
    else:
        sys.stdout.write(text)
    for line in errors:
        print(line, file=sys.stdout if options.out is not None else sys.stderr)
    if blank:
        print(f"{options.rows}: {blank} of {_counted_rows(len(lines))} left blank", file=sys.stderr)
    return 3 if blank else 0
