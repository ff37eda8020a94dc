"""The command `serving-mathematics predict`: latencies and throughput of deployments in a table.

    serving-mathematics predict ROWS.csv --out PREDICTED.csv

A row is a deployment under a closed loop; the columns are listed by `--help`. Three are added:
`predicted_ttft_s`, `predicted_tpot_s` and `predicted_tokens_per_s_per_gpu` (output tokens). Rows
keep their order and number; where `ttft_s` or `tpot_s` are there, the errors are printed.

It exits with 0 when every row was answered, with 3 when some were left blank and named, because
what they deploy cannot be, and with 2 when the input is wrong, with one line on standard error that
names row, column and rule. The output is written whole or not at all.

Source: Python documentation, argparse and csv; RFC 4180.
"""

from __future__ import annotations

import argparse
import csv
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import (
    Latencies,
    fleet_latencies,
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.catalogue import model_names, systems
from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.core.hardware.fronts import FRONTS, front_constants
from serving_mathematics.core.hardware.step_time import FITTED, Constants, count_work
from serving_mathematics.machine.predictions.table_rows import (
    COLUMNS,
    NEEDED,
    Row,
    _cell,
    devices_of,
    number,
    read_row,
    rename_columns,
)
from serving_mathematics.support.commands import OneLineParser
from serving_mathematics.support.files import (
    inputs_noted,
    read_table,
    read_text,
    require_output,
    write_text,
)

ADDED = ("predicted_ttft_s", "predicted_tpot_s", "predicted_tokens_per_s_per_gpu")
MEASURED_S = {"ttft_s": (5e-4, 1000.0), "tpot_s": (1e-5, 2.0)}  # beyond, the unit is another
CHUNK = 2000  # rows that are predicted at once


class _Wrong(Exception):
    """Input that cannot be used; the message is what the user reads."""


@dataclass(frozen=True)
class Answer:
    """What is predicted for a row, or read of it as measured."""

    first_token_s: float
    per_token_s: float  # NaN where an answer is one token
    tokens_per_s_per_device: float


def answer_rows(rows: Sequence[Row], constants: Constants = FITTED) -> list[Answer]:
    """Predictions of rows, in their order, each behind its front.

    constants: those of the tuned benchmark.

    >>> from serving_mathematics.machine.predictions.table_rows import read_row
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
