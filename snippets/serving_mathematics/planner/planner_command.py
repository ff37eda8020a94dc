"""The capacity planner as a command: options or files in, a table, JSON or CSV out.

serving-mathematics plan --rate-per-s 60 --model Llama-3.1-8B --device H100
serving-mathematics plan --rate-per-s 9 --model gpt-oss-120b --device H200,B200 --price-per-hour 3,5
serving-mathematics plan --gpus 8 --ttft-s 1 --tpot-s 0.05
serving-mathematics plan --trace requests.csv --ttft-s 2 --out plan.json
serving-mathematics plan --grid grid.json --workers 4 --out plans.csv

It exits with 0 when it answered, 1 when no fleet keeps the objective, 2 when the input is wrong,
with one line on standard error that says where, and 3 when some questions of a grid have no answer.
Progress goes to standard error too. Where nobody reads on, and after Ctrl-C, it ends without a
word, with 141 and 130 as shells have it.

Assumes: with --dask, workers that can import this package.

Source: Python documentation, argparse and concurrent.futures; RFC 4180 for the CSV.
"""

# In one piece: one command, whose ways out and whose workers' ends are told apart in one place.

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import io
import json
import multiprocessing
import os
import re
import shlex
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO, TypeVar

from serving_mathematics.core.hardware.catalogue import model_names, preset_model, systems
from serving_mathematics.core.hardware.deployments import BACKENDS, Impossible
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answer_plots import answer_plots, plots_file
from serving_mathematics.planner.answers.answer_tables import WIDTH, answer_tables, table_text
from serving_mathematics.planner.answers.answers import answer_record, answer_summary, summary_text
from serving_mathematics.planner.answers.launch import ELSEWHERE, starts
from serving_mathematics.planner.answers.launch_commands import (
    _launch_notes,
    launch_files,
    launch_words,
    planned_limits,
)
from serving_mathematics.planner.capacity_planner.fleet_search import Told
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.capacity_planner.routing import Routed, simulations
from serving_mathematics.planner.configurations import Answered, whole_answer
from serving_mathematics.planner.questions.fields import CALLED, FIELDS, _users_as_rate
from serving_mathematics.planner.questions.grids import read_grid
from serving_mathematics.planner.sweeps import Record, read_questions, sweep
from serving_mathematics.support import checks
from serving_mathematics.support.commands import OneLineParser
from serving_mathematics.support.digits import priced
from serving_mathematics.support.files import inputs_noted, read_text, require_output, write_text
from serving_mathematics.support.measuring import processors

MOST_OF_QUESTIONS = 32 * 2**20  # bytes of a question or a grid
Result = TypeVar("Result")
WORTH_A_PROCESS = 8  # questions, or deployments that are compared
WORKERS = (
    "processes, for a grid or a comparison, one for each core and question at most [default: as "
    "many as cores, but no more than one for every 8 of them]"
)
EXAMPLE = """\
example:
  serving-mathematics plan --rate-per-s 20 --ttft-s 1 --tpot-s 0.05
  a grid in a file: {"rate_per_s": [5, 10, 20], "precision": ["bf16", "fp8"]}, then
  serving-mathematics plan --grid grid.json --workers 4 --out plans.csv
"""


class _Parser(OneLineParser):
    def meant(self, option: str, *value: str) -> str:
        """The same, what others call a field, and how users become a rate."""
        field = CALLED.get(option.removeprefix("--").replace("-", "_"))
        if option != "--users":
            return f"did you mean {FIELDS[field].option}?" if field else super().meant(option)
        return _users_as_rate(*value[:1]).replace("rate_per_s", FIELDS["rate_per_s"].option)


def command_parser() -> argparse.ArgumentParser:
    """The options of the command: one for each field, and those for files and workers.

    >>> command_parser().parse_args(["--rate-per-s", "5"]).rate_per_s
    '5'
    """
    parser = _Parser(
        prog="serving-mathematics plan",
        description="How many replicas of a language model keep a latency objective, or how much "
        "the GPUs that are there carry within it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--question", metavar="FILE.json", help="fields by name; options win")
    parser.add_argument("--grid", metavar="FILE", help="many questions, .json or .csv; options win")
    parser.add_argument("--out", metavar="FILE", help="write .json or .csv instead of a table")
    parser.add_argument("--figure", metavar="FILE.svg", help="draw latencies and the front as well")
    parser.add_argument("--workers", metavar="N", help=WORKERS)
    parser.add_argument("--dask", metavar="ADDRESS", help="a Dask scheduler for the same")
    parser.add_argument("--flags", action="store_true", help="print what starts the cheapest fleet")
    parser.add_argument("--kubernetes", action="store_true", help="print it for Kubernetes")
    parser.add_argument(
        "--summary", action="store_true", help="print about fifteen lines [in a terminal]"
    )
    parser.add_argument("--whole", action="store_true", help="print everything, there too")
    parser.add_argument("--presets", action="store_true", help="list models and devices")
    fields = parser.add_argument_group(
        "fields", "text or a number; ranges and defaults in brackets"
    )
    for field in FIELDS.values():
        span = field.span if field.high else ""
        default = "" if field.default is None else f"default {field.default}"
        brackets = "; ".join(part for part in (span, default) if part)
        choices = f": {', '.join(field.choices)}" if field.choices else ""
        told = f"{field.label}{choices} [{brackets}]" if brackets else f"{field.label}{choices}"
        fields.add_argument(
            field.option, dest=field.name, metavar="X", help=told.replace("%", "%%")
        )
    return parser


def records_text(records: Sequence[Record], kind: str) -> str:
    """Records as JSON or CSV, with the columns of all of them in the order of first appearance.

    records: flat. kind: "json" or "csv". Raises ValueError on another kind.

    >>> records_text([{"replicas": 2, "binding": "TTFT, TPOT"}], "csv").splitlines()
    ['replicas,binding', '2,"TTFT, TPOT"']
    """
    if kind == "json":
        return json.dumps(list(records), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if kind != "csv":
        raise ValueError(f"kind must be json or csv, got {kind}")
    names = dict.fromkeys(name for record in records for name in record)
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return file.getvalue()


class _Wrong(Exception):
    """Input that cannot be used; the message is what the user reads."""


def _kind(name: str, option: str, kinds: tuple[str, ...] = (".json", ".csv")) -> str:
    suffix = Path(name).suffix.lower()
    if suffix not in kinds:
        raise _Wrong(f"{option} must end in {' or '.join(kinds)}, got {name!r}")
    return suffix.removeprefix(".")


def _read(name: str, option: str, kind: str) -> list[dict[str, object]]:
    if not name:
        raise _Wrong(f"{option} must name a file, got ''")
    text = read_text(name, MOST_OF_QUESTIONS)
    try:
        return read_grid(text, kind)
    except ValueError as error:
        raise _Wrong(f"{name}: {error}") from error


def _follow_parent() -> None:
    """Starts in each worker: it leaves Ctrl-C to the planner, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def wait() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[futures.Executor]:
    """Processes that end with this one, and at once when it fails."""
    context, others = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    pool = futures.ProcessPoolExecutor(workers, context, _follow_parent)
    try:
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # is inherited
            for _ in range(workers):
                pool.submit(int)  # starts one
            signal.signal(signal.SIGINT, before)
        yield pool
    except BaseException:
        results: Any = pool._result_queue  # half of one may be written, and no other half comes
        results._writer.close()  # so that its reader does not wait for one: workers' ends close too
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _aside(executor: futures.Executor | None, work: Callable[[], Result]) -> Result:
    """What it returns; of a pool's work from a thread: Ctrl-C falls into this one, and not between
    the taking of a lock that the pool's own thread needs and the block that gives it back."""
    if not isinstance(executor, futures.ProcessPoolExecutor):
        return work()
    ended: futures.Future[Result] = futures.Future()

    def run() -> None:
        try:
            ended.set_result(work())
        except BaseException as error:
            ended.set_exception(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join()
    return ended.result()


@contextlib.contextmanager
def _executor(
    workers: str | None, address: str | None, questions: int
) -> Iterator[futures.Executor | None]:
    if workers is not None and address is not None:
        raise _Wrong("--workers must be left out where --dask is given, got both")
    if address is not None:
        try:
            module = importlib.import_module(
                "serving_mathematics.architecture.batch_serving.executors"
            )
        except ImportError as error:
            raise _Wrong("--dask needs a package: pip install distributed") from error
        try:
            cluster = contextlib.ExitStack()
            executor = cluster.enter_context(module.cluster_executor(address))
        except (OSError, ValueError, TypeError) as error:
            raise _Wrong(f"--dask {address} cannot be reached: {error}") from error
        with cluster:
            yield executor
        return
    if workers is None:
        most = questions // WORTH_A_PROCESS
    elif workers.isascii() and workers.isdigit() and 1 <= int(workers[:6]) <= 1024:
        most = min(int(workers), questions)
    else:
        raise _Wrong(f"--workers must be a whole number from 1 to 1024, got {workers!r}")
    count = min(most, processors())
    if count < 2:
        yield None
        return
    with _pool(count) as pool:
        yield pool


def _told(to: TextIO, what: str = "questions") -> Callable[[int, int], None]:
    """Prints how far a sweep is, once a second at most."""
    started = last = time.monotonic()

    def progress(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= 1 or (done == total and last > started):
            last = now
            print(f"{done} of {total} {what}, {now - started:.0f} s", file=to, flush=True)

    return progress


def _watched(to: TextIO) -> Told:
    """Prints which fleet is being simulated, every five seconds."""
    last, fleets = time.monotonic(), 0

    def told(replicas: int, places: int) -> None:
        nonlocal last, fleets
        fleets, now = fleets + 1, time.monotonic()
        if now - last >= 5:
            last = now
            print(
                f"fleet {fleets} tried: replicas {replicas}, batch limit {places}",
                file=to,
                flush=True,
            )

    return told


def _presets() -> str:
    rows = [["model", "parameters [10⁹]", "active [10⁹]", "context"]]
    for name in model_names():
        model = preset_model(name)
        sizes = (model.parameters / 1e9, model.active_parameters / 1e9)
        rows.append([name, *(f"{size:.2f}" for size in sizes), f"{model.context_tokens:,}"])
    sheet = [["device", "peak [TFLOP/s]", "bandwidth [GB/s]", "memory [GB]"]]
    for device in systems().values():
        parts = (device.bf16_flops_per_s / 1e12, device.bandwidth_bytes_per_s / 1e9)
        numbers = (*parts, device.memory_bytes / 1e9)
        sheet.append([device.name, *(f"{number:,.1f}" for number in numbers)])
    return f"{table_text(rows)}\n\n{table_text(sheet)}"


def main(arguments: list[str]) -> int:
    """The command; the process's exit status."""
    options = command_parser().parse_args(arguments)
    try:
        with inputs_noted() as inputs:
            return _answer(options, inputs)
    except BrokenPipeError:
        raise
    except Infeasible as problem:
        print(_as_typed(str(problem), options), file=sys.stderr)
        return 1
    except _Wrong as problem:
        print(problem, file=sys.stderr)
    except ValueError as problem:
        print(_as_typed(str(problem), options), file=sys.stderr)
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        print(f"{where}{problem.strerror or problem}", file=sys.stderr)
    except (futures.BrokenExecutor, futures.CancelledError) as problem:
        print(f"a worker ended before its work did: {problem}", file=sys.stderr)
    except MemoryError:
        print(
            "the question must fit in the memory of this machine, got one too large",
            file=sys.stderr,
        )
    return 2


def _as_typed(text: str, options: argparse.Namespace) -> str:
    """A refusal with its fields as the options that a reader typed, or would; those of a file, and
    what it was that came, are called as they are there."""
    rule, got, came = text.partition(", got ")
    for name in FIELDS:
        if (options.question or options.grid) and getattr(options, name) is None:
            continue
        flag = FIELDS[name].option
        if "_" in name:
            rule = re.sub(rf"(?<![\w'-]){name}(?![\w'])", flag, rule)
        else:  # a word that a sentence may hold
            rule = re.sub(rf"\A(question \d+: )?{name}(?= |:)", rf"\g<1>{flag}", rule)
        if name == "trace_columns":  # how it may be said
            came = came.replace(f": {name} ", f": {flag} ")
    return rule + got + came


def _answer(options: argparse.Namespace, inputs: set[tuple[int, int]]) -> int:
    if options.presets:
        print(_presets())
        return 0
    if options.question is not None and options.grid is not None:
        raise _Wrong("--question must be left out where --grid is given, got both")
    if options.grid is not None and (options.flags or options.kubernetes or options.figure):
        raise _Wrong("--flags, --kubernetes and --figure are for one question, got a grid")
    kind = _kind(options.out, "--out") if options.out is not None else ""
    if options.figure is not None:
        _kind(options.figure, "--figure", (".svg",))
    outputs = {"--out": options.out, "--figure": options.figure}
    written = {option: name for option, name in outputs.items() if name is not None}
    for option, name in written.items():
        require_output(name, option)
    rows: list[dict[str, object]] = [{}]
    status = 0
    if options.grid is not None:
        rows = _read(options.grid, "--grid", _kind(options.grid, "--grid"))
    elif options.question is not None:
        rows = _read(options.question, "--question", "json")
        if len(rows) > 1:
            raise _Wrong(f"{options.question}: lists are for --grid, got {len(rows)} questions")
    typed = {name: getattr(options, name) for name in FIELDS if getattr(options, name) is not None}
    questions = read_questions([row | typed for row in rows])
    rows = [{name: typed.get(name, row[name]) for name in row} for row in rows]  # as answered
    for option, name in written.items():
        require_output(name, option, inputs)
    if options.grid is None:
        (asked,) = questions
        assert not isinstance(asked, Impossible)  # which one alone is raised
        with _executor(options.workers, options.dask, simulations(asked)) as executor:
            progress = _told(sys.stderr, "deployments")
            heard = _watched(sys.stderr), executor, progress
            told = _aside(executor, lambda: whole_answer(asked, rows[0] | typed, None, *heard))
        records: list[Record] = [answer_record(told)]
        if options.figure is not None:
            write_text(options.figure, "--figure", plots_file(answer_plots(told)), inputs)
        first, *_ = starts(told)
        if options.flags or options.kubernetes:
            parts = [first.flags] * options.flags + [first.kubernetes] * options.kubernetes
            text = "\n\n".join(parts)
        elif options.summary or (sys.stdout.isatty() and not options.whole):
            text = summary_text(told)
        else:
            text = _whole(told)
    else:
        with _executor(options.workers, options.dask, len(questions)) as executor:
            progress = _told(sys.stderr)
            records = _aside(executor, lambda: sweep(questions, executor, progress=progress))
        given: list[Record] = [{name: str(row[name]) for name in row} for row in rows]
        records = [row | record for row, record in zip(given, records, strict=True)]
        text = _overview(rows, records)
        status = 3 if any(record["problem"] for record in records) else 0
    if kind:
        write_text(options.out, "--out", records_text(records, kind), inputs)
    if not kind or options.flags or options.kubernetes:
        print(text)
    return status


def _whole(told: Answered) -> str:
    """Everything that there is to say of one question."""
    question, best = told.question, planned_limits(told)
    first, *more = starts(told)
    lines = answer_lines(told)
    columns = 3 if any(line.estimate for line in lines) else 2
    head = ["", "simulated", "closed form"][:columns]
    body = [[line.what, line.value, line.estimate][:columns] for line in lines]
    parts = [textwrap.fill(answer_summary(told), WIDTH), table_text([head, *body])]
    for table in answer_tables(told):
        note = textwrap.fill(table.note, WIDTH) if isinstance(told, Routed) else table.note
        parts += [note] * bool(note) + [table_text(table.rows)]
    one = question.deployment
    of_each = {name: replace(question, deployment=replace(one, backend=name)) for name in BACKENDS}
    engines = [
        "\n".join([f"# {name}", shlex.join(launch_words(asked, best)), *_launch_notes(asked)])
        for name, asked in of_each.items()
        if name != "trtllm" or one.system.generation not in ELSEWHERE
    ]
    apart = [start.flags for start in (first, *more) if start.of != "one fleet"]
    files = [
        f"{name}:\n{text.rstrip()}"
        for asked in of_each.values()
        for name, text in launch_files(asked).items()
    ]
    return "\n\n".join([*parts, "\n".join(engines), *files, *apart])


def _overview(rows: Sequence[dict[str, object]], records: Sequence[Record]) -> str:
    """What changes over a grid, and the main answers."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    varied = [name for name in names if len({str(row.get(name)) for row in rows}) > 1]
    if "gpus" in names:
        varied.append("requests/s")
        found = [f"{record.get('rate_per_s', '-')}" for record in records]
        rows = [row | {"requests/s": rate} for row, rate in zip(rows, found, strict=True)]
    table = [
        [*varied, "replicas", "of", "limit", "p99 TTFT [s]", "p99 TPOT [ms]", "$/10⁶", "binding"]
    ]
    for row, record in zip(rows, records, strict=True):
        cells = [str(row.get(name, "")) for name in varied]
        if record["problem"]:
            cells += ["-"] * 6 + [str(record["problem"])]
        else:
            cells += [
                str(record["replicas"]),
                f"{record['devices']} × {record['device']}, {record['parallelism']}",
                str(record["batch_limit"]),
                f"{record['ttft_p99_s']:.3g}",
                f"{1e3 * float(record['tpot_p99_s']):.3g}",
                priced(float(record["usd_per_million_tokens"]), 3),
                str(record["binding"]),
            ]
        table.append(cells)
    return table_text(table)


def check_csv_reads_back() -> None:
    """What is written as CSV or JSON reads back as the same records.

    Source: the readers of the standard library.
    """
    records: list[Record] = [{"a": 1, "b": 'say "x", or y'}, {"a": 2.5, "c": "line\nbreak"}]
    rows = list(csv.DictReader(io.StringIO(records_text(records, "csv"), newline="")))
    expected = [{name: str(record.get(name, "")) for name in "abc"} for record in records]
    checks.equal("CSV", rows == expected, True)
    checks.equal("JSON", json.loads(records_text(records, "json")) == records, True)
