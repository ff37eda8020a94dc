"""The command: files in, what they say out.

serving-mathematics report results.json
serving-mathematics report log.csv --ttft-s 1 --tpot-s 0.05 --out report
serving-mathematics report new.json --against old.json --fail-on problem
serving-mathematics report before.txt after.txt --against before.txt

It exits with 0, with 2 when nothing could be read, and with 3 when --fail-on names a level that was
found, or worse, or a file could not be read.

Source: Python documentation, argparse and tomllib; POSIX.1-2017, exit status.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving_mathematics.planner.questions.fields import FIELDS, meant_number
from serving_mathematics.report.comparison import Difference, differences
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.joining import joined
from serving_mathematics.report.reading import OtherFileError, _require_new, read_file
from serving_mathematics.report.registry import Report, report
from serving_mathematics.report.rendering import (
    SCHEMA,
    _report_record,
    _worst,
    report_html,
    report_markdown,
    summary_lines,
)
from serving_mathematics.support import checks
from serving_mathematics.support.commands import OneLineParser
from serving_mathematics.support.files import inputs_noted, read_text, require_output, write_text
from serving_mathematics.support.require import require

MOST_FILES = 200
NUMBERS = ("ttft_s", "tpot_s", "quantile", "price_per_hour", "places")
DEPLOYED = ("model", "device", "precision", "parallelism")  # as the planner's fields
EXAMPLE = """\
reads: vLLM bench serve, SGLang bench_serving, AIPerf, GuideLLM, inference-perf, genai-perf; a log
of requests as CSV or JSON lines; /metrics of an engine, once or several times; a range query of
Prometheus as JSON. Files are recognised by what they hold.
"""


def command_parser() -> argparse.ArgumentParser:
    """The options of the command.

    >>> command_parser().parse_args(["a.json", "--ttft-s", "1"]).ttft_s
    '1'
    """
    parser = OneLineParser(
        prog="serving-mathematics report",
        description="What a load test, a log or a scrape says, and what to change.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="files of one test or log, or folders of them")
    add("--out", metavar="FOLDER", help="write report.html, .md, .json and files to use")
    add(
        "--against",
        metavar="FILE",
        action="append",
        default=[],
        help="a run before; says what differs",
    )
    add(
        "--columns",
        metavar="MAP",
        default="",
        help="of a log, such as sent=when,ttft=first_ms,unit=s",
    )
    add(
        "--deployment",
        metavar="FILE.toml",
        help="fields below, and model, device, precision, parallelism",
    )
    add("--ttft-s", metavar="S", help="objective: time to first token")
    add("--tpot-s", metavar="S", help="objective: time per later token")
    add("--quantile", metavar="Q", help="share of requests that keep it [default: 0.99]")
    add("--price-per-hour", metavar="X", help="of all devices of the test")
    add(
        "--places",
        metavar="N",
        help="of the engine's batch: --max-num-seqs, --max-running-requests",
    )
    add("--engine", choices=("vllm", "sglang"), help="whose flags are proposed [default: vllm]")
    add(
        "--fail-on",
        choices=("problem", "warning", "note"),
        help="exit with 3 from this level on, or where nothing tells whether the objective is kept",
    )
    return parser


def read_asked(fields: dict[str, Any]) -> Asked:
    """What is asked beside the files, from options or a table of TOML.

    fields: by name, text or numbers; those that are None say nothing. Raises ValueError that names
    the field.

    >>> read_asked({"ttft_s": "0.5", "model": "Llama-3.1-8B", "device": "H100"}).ttft_s
    0.5
    """
    known = (*NUMBERS, "engine", *DEPLOYED)
    for name in fields:
        require(name in known, "a field of the deployment", f"one of {', '.join(known)}", name[:40])
    found: dict[str, Any] = {}
    for name in NUMBERS:
        value = fields.get(name)
        if value is None:
            continue
        try:
            number = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        fine = 0 < number < 1 if name == "quantile" else math.isfinite(number)
        meant = math.nan if fine or name not in FIELDS else meant_number(FIELDS[name], str(value))
        rule = "in (0, 1)" if name == "quantile" and math.isfinite(number) else "a number"
        rule += f" (did you mean {meant:.10g}?)" if math.isfinite(meant) else ""
        require(fine, name, rule, repr(value)[:40])
        found[name] = number
    if fields.get("engine") is not None:
        found["engine"] = str(fields["engine"])
    if fields.get("model") is not None:
        from serving_mathematics.planner.questions.questions import read_question

        asked = {name: fields[name] for name in DEPLOYED if fields.get(name) is not None}
        asked |= {"rate_per_s": 1, "backend": found.get("engine", "vllm")}
        found["deployment"] = read_question(asked).deployment
    return Asked(**found)


def _read_files(names: Sequence[str], columns: str = "") -> tuple[list[Run], list[str]]:
    """The runs of files and folders, and a sentence for each file that could not be read."""
    runs: list[Run] = []
    problems: list[str] = []
    beside: list[str] = []  # in folders of results, and none themselves
    before: dict[bytes, str] = {}
    for name in _within(names, problems):
        try:
            text = read_text(name)
            found = read_file(text, name, columns)
            _require_new(found, text, name, before)
            runs += found
        except OtherFileError as error:
            (problems if name in names else beside).append(str(error))
        except ValueError as error:
            told = str(error)
            problems.append(told if told.startswith(name) else f"{name}: {told}")
        except OSError as error:
            problems.append(f"{name}: {error.strerror or error}")
        except MemoryError:
            problems.append(f"{name}: must fit into the memory of this machine")
    if beside and not runs:
        problems += beside
    elif beside:
        told = ", ".join(Path(one.partition(" must be ")[0]).name for one in beside)[:200]
        runs[0] = replace(runs[0], notes=(*runs[0].notes, f"no results, not read: {told}"))
    try:
        return joined(runs), problems
    except ValueError as error:
        return runs, [*problems, str(error)]


def _within(names: Sequence[str], problems: list[str]) -> list[str]:
    """The files of folders in the place of these; hidden ones are left out."""
    found: list[str] = []
    for name in names:
        path = Path(name) if "\0" not in name else None
        if path is None or name == "-" or not path.is_dir():
            found.append(name)
            continue
        own = sorted(str(one) for one in path.iterdir() if one.is_file() and one.name[0] != ".")
        if not own:
            problems.append(f"{name}: must be a folder with files, got none in it")
        if len(own) > MOST_FILES:
            problems.append(f"{name}: must hold at most {MOST_FILES} files, got {len(own)}")
        found += own[:MOST_FILES]
    seen: set[Path] = set()
    for name in list(found):
        place = Path(name).resolve() if "\0" not in name else Path()
        if place in seen:
            found.remove(name)
            problems.append(f"{name}: must be given once, got it twice")
        elif place.is_file():
            seen.add(place)
    return found


def _compared_runs(runs: Sequence[Run], before: Sequence[Run]) -> list[Difference]:
    """What differs between runs and those before: in pairs where there are as many, else between
    the largest of either."""
    require(len(runs) > 0 and len(before) > 0, "--against", "runs that can be read", "none")
    if len(runs) != len(before):
        runs, before = ([max(x, key=lambda run: run.size)] for x in (runs, before))
    found = []
    for new, old in zip(runs, before, strict=True):
        each = differences(old, new)
        place = f" [{new.where}]" if len(runs) > 1 else ""
        found += [replace(one, name=f"{one.name}{place}") for one in each]
    return found


def _report_files(found: Report, asked: Asked, changed: Sequence[Difference]) -> dict[str, str]:
    """The files of a report by name: its three forms, their schema, and those of its findings."""
    record = json.dumps(
        _report_record(found, changed), indent=1, ensure_ascii=False, allow_nan=False
    )
    files = {
        "report.html": report_html(found, asked, changed),
        "report.md": report_markdown(found, changed),
        "report.json": record + "\n",
        "report.schema.json": json.dumps(SCHEMA, indent=1) + "\n",
    }
    for one in found.findings:
        for name, text in one.files.items():
            files.setdefault(name, text)
    return files


def main(arguments: list[str]) -> int:
    """The command; the process's exit status."""
    options = command_parser().parse_args(arguments)
    try:
        with inputs_noted() as inputs:
            return _answer(options, inputs)
    except BrokenPipeError:
        raise
    except ValueError as problem:
        print(_as_typed(str(problem)), file=sys.stderr)
    except OSError as problem:
        where = f"{problem.filename}: " if problem.filename else ""
        print(f"{where}{problem.strerror or problem}", file=sys.stderr)
    except MemoryError:
        print("the files must fit into the memory of this machine", file=sys.stderr)
    return 2


def _as_typed(text: str) -> str:
    """A refusal with its fields as the options that a reader typed."""
    names = "|".join((*NUMBERS, "engine"))
    return re.sub(rf"\A({names})(?= )", lambda found: f"--{found[1].replace('_', '-')}", text)


def _answer(options: argparse.Namespace, inputs: set[tuple[int, int]]) -> int:
    fields: dict[str, Any] = {}
    if options.deployment is not None:
        try:
            fields = tomllib.loads(read_text(options.deployment, 1 << 20))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ValueError(f"{options.deployment}: must be TOML, got {error}") from None
        try:
            read_asked(fields)
        except ValueError as error:
            raise ValueError(f"{options.deployment}: {error}") from None
    said = {name: getattr(options, name) for name in (*NUMBERS, "engine")}
    asked = read_asked(fields | {name: value for name, value in said.items() if value is not None})
    if options.out is not None:
        _folder(options.out)
    runs, problems = _read_files(options.files, options.columns)
    changed: list[Difference] = []
    if options.against:
        before, others = _read_files(options.against, options.columns)
        problems += others
        if runs and before:
            try:
                changed = _compared_runs(runs, before)
            except ValueError as error:
                problems.append(f"--against: {error}")
    found = report(runs, asked, problems)
    for problem in problems:
        print(problem, file=sys.stderr)
    if not runs:
        return 2
    if options.out is not None:
        _write(options.out, _report_files(found, asked, changed), inputs)
    print("\n".join(summary_lines(found, changed)))
    levels = ("problem", "warning", "note")
    if options.fail_on:
        worst = _worst(found, changed)
        bad = worst and levels.index(worst) <= levels.index(options.fail_on)
        if found.unjudged and asked.promised:
            print(f"the objective was not judged: it takes {found.unjudged}", file=sys.stderr)
            return 3
        return 3 if bad or problems else 0
    return 0


def _folder(name: str) -> Path:
    """The place of a report: a folder that is there, or whose own folder is."""
    require(bool(name) and "\0" not in name, "--out", "the name of a folder", repr(name[:60]))
    path = Path(name)
    there = path.is_symlink() or path.exists()
    fine = path.is_dir() and not path.is_symlink() if there else path.parent.is_dir()
    require(fine, "--out", "a folder, or a new one in a folder that exists", repr(name[:60]))
    return path


def _write(name: str, files: dict[str, str], inputs: set[tuple[int, int]]) -> None:
    """All files, after a try of each, so that none is written where one cannot be."""
    path = _folder(name)
    path.mkdir(exist_ok=True)
    for one in files:
        require_output(str(path / one), "--out", inputs)
    for one, text in files.items():
        write_text(str(path / one), "--out", text, inputs)


def check_a_folder_is_reported() -> None:
    """Of a folder with a good file, a cut one and one of another service, the good one is reported
    and the others get a sentence each.

    Source: the files that were written.
    """
    import tempfile

    row = (
        '{"completed": 90, "failed": 10, "duration": 9.0, "mean_ttft_ms": 60.0, "request_rate": 9}'
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("a.json", row), ("b.json", row[:50]), ("c.log", "GET /\nPOST /")):
            (Path(folder) / name).write_text(text)
        runs, problems = _read_files([folder])
    checks.equal("runs", [Path(run.where).name for run in runs], ["a.json"])
    checks.equal("sentences", len(problems), 2)
    checks.holds("cut", "is the file whole?" in problems[0], got=problems[0].rpartition("/")[2])


def check_bad_input_is_refused() -> None:
    """Fields that are none, and nothing to compare with, are errors."""
    checks.raises("number", read_asked, {"ttft_s": "soon"}, match="ttft_s must be a number")
    checks.raises("field", read_asked, {"ttft": 1}, match="must be one of ttft_s")
    checks.raises("model", read_asked, {"model": "none"}, match="model")
    checks.raises("nothing", _compared_runs, [], [], match="--against must be runs")
