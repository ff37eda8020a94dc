"""What the planner's command answers to questions that are small, and between them reach what can
be asked: all that it prints and writes, as it was when somebody last looked at it; and what fields
and files come to, as they are and with one value of each another.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import tempfile
from collections.abc import Callable
from concurrent import futures
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.machine.predictions.own_runs import Calibration, calibrate
from serving_mathematics.planner import configurations, planner_command, planner_form, sweeps
from serving_mathematics.planner.capacity_planner import fleet_search, separate_fleets
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets, settled
from serving_mathematics.planner.capacity_planner.separate_fleets import (
    SeparateFleets,
    settled_apart,
)
from serving_mathematics.planner.configurations import Answer
from serving_mathematics.planner.evidence import measured_questions, planner_coverage, trace_plans
from serving_mathematics.planner.questions import questions
from serving_mathematics.planner.questions.objectives import Promise
from serving_mathematics.planner.questions.question import Question

from ..answers import reduced
from ..cases import in_no_folder
from ..variants import outcome
from .asked import COMMANDS, FLEETS, FORMS, GRID, PLANS, REFUSED
from .read_inputs import LOAD_TESTS, fields, grids, load_test, of_anothers, traces, typed

OF_MACHINE = ("machine", "date", "versions")  # what a record says of where it was made
REQUESTS = 120  # of a question that says nothing else


class Clock:
    """Time that goes on when somebody looks."""

    def __init__(self, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def monotonic(self) -> float:
        """Later each time."""
        self.now_s += self.step_s
        return self.now_s

    perf_counter = process_time = monotonic


class Here(futures.Executor):
    """Does at once, in this process, what it is asked to."""

    def __init__(self, *_: object) -> None:
        pass

    def submit(self, call: Callable[..., Any], /, *args: Any, **named: Any) -> futures.Future[Any]:
        """Done before it returns."""
        done: futures.Future[Any] = futures.Future()
        done.set_result(call(*args, **named))
        return done


def trace_text() -> str:
    """A trace that is not even: requests in bunches, some of them long."""
    rows, at = [], 0.0
    for place in range(300):
        at += (0.01, 0.05, 0.02, 0.2, 0.03, 0.11)[place % 6]
        rows.append(f"{at:.2f},{100 + 37 * (place % 23) ** 2 // 10},{5 + 11 * (place % 17)}")
    return "\n".join(["time,prompt_tokens,output_tokens", *rows, ""])


def told(*options: str) -> tuple[int, str, str]:
    """The command's exit status, what it prints, and its errors."""
    printed, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            status = planner_command.main(list(options))
        except SystemExit as end:
            status = int(end.code or 0)
    return status, printed.getvalue(), errors.getvalue()


def options(values: dict[str, object]) -> list[str]:
    """Fields as options."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in values.items()]


MAIN = (
    "both_kept",
    "goodput_per_s",
    "usd_per_hour",
    "usd_per_million_tokens",
    "concurrency",
    "load",
)
TIMES = re.compile(r"t[tp][fo]t_p\d\d_s")


def data(record: dict[str, Any], question: dict[str, object]) -> dict[str, Any]:
    """A plan in numbers: what was decided, how it will do, and the rest of it."""
    numbers = {name: x for name, x in record.items() if isinstance(x, float)}
    main = {name: x for name, x in numbers.items() if name in MAIN or TIMES.fullmatch(name)}
    rest = [f"{x:.5g}" for name, x in numbers.items() if name not in main]
    return {
        "decision": {
            name: x
            for name, x in record.items()
            if name not in numbers.keys() | question.keys() and x != ""
        },
        "does": {name: float(f"{x:.5g}") for name, x in main.items()},
        "other numbers": reduced([float(x) for x in rest]),
    }


ANSWERED: dict[str, Answer] = {}


def answered(name: str) -> Answer:
    """The answer to one of the questions, once."""
    if name not in ANSWERED:
        plan(PLANS[name])
    return ANSWERED[name]


def plan(values: dict[str, object]) -> dict[str, Any]:
    """What the command decides, prints and writes for a question, which is answered once, and whose
    load test calibrates once."""
    answers: list[Answer] = []
    calibrations: list[Calibration] = []

    def once(*arguments: Any) -> Answer:
        answers.extend([] if answers else [configurations.whole_answer(*arguments)])
        return answers[0]

    def calibrated_once(*arguments: Any) -> Calibration:
        calibrations.extend([] if calibrations else [calibrate(*arguments)])
        return calibrations[0]

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.object(planner_command, "whole_answer", once),
        mock.patch.object(questions, "calibrate", calibrated_once),
        mock.patch.object(planner_command, "time", Clock(0.3)),
        mock.patch.object(planner_command, "processors", return_value=1),
    ):
        Path("trace.csv").write_text(trace_text(), encoding="utf-8")
        asked = options({"requests": REQUESTS} | values)
        status, text, errors = told(*asked, "--figure", "plan.svg")
        texts = [status, text, errors]
        if status:
            return {"status": status, "says": errors}
        texts += told(*asked, "--flags", "--kubernetes", "--out", "plan.json")
        texts += told(*asked, "--flags", "--kubernetes")
        record = json.loads(Path("plan.json").read_text(encoding="utf-8"))[0]
        drawn = Path("plan.svg").read_text(encoding="utf-8")
    ANSWERED.update({name: answers[0] for name, one in PLANS.items() if one is values})
    if "load_test" in values:  # whose fit ends elsewhere where another processor rounds otherwise
        record = {k: float(f"{x:.5g}") if isinstance(x, float) else x for k, x in record.items()}
    words = [line for text in map(str, texts) for line in text.splitlines()]
    return data(record, values) | {"texts": reduced([*words, drawn])}


def form(text: str, found: Answer | None = None) -> dict[str, Any]:
    """What the form of the page is told, with an answer that is there."""
    heard: list[Any] = []

    def known(*arguments: Any, progress: Callable[[int, int], object]) -> Answer | None:
        for replicas in (1, 2):
            arguments[3](replicas, 8)
        progress(2, 3)
        return found

    replaced = mock.patch.object(planner_form, "whole_answer", known)
    with replaced if found else contextlib.nullcontext():
        told_back: dict[str, Any] = json.loads(
            planner_form.form_answer(text, lambda *said: heard.append(said))
        )
    return told_back | {"heard": heard}


def forms() -> dict[str, Any]:
    """Problems, and an answer of each kind."""
    found = {f"{name}: {key}": x for name, text in FORMS.items() for key, x in form(text).items()}
    empty = {"classes": "", "load_test": "", "token_budget": "", "batch_limit": ""}
    for name, more in (
        ("a comparison", {}),
        ("two fleets", {"seed": "0"}),
        ("a device of its own", {"device": planner_form.OTHER}),
        ("a trace", {"trace_text": trace_text()}),
    ):
        asked = json.dumps(PLANS[name] | {"requests": REQUESTS} | empty | more)
        found |= {f"{name}: {key}": x for key, x in form(asked, answered(name)).items()}
    return found


def commands() -> dict[str, Any]:
    """What the command lists, and refuses before it computes anything."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("two.json").write_text('{"rate_per_s": [1, 2]}', encoding="utf-8")
        Path("text.json").write_text('{"rate_per_s": "x"}', encoding="utf-8")
        Path("grid.csv").write_text(GRID, encoding="utf-8")
        for command in COMMANDS:
            status, text, errors = told(*command)
            found[" ".join(command)] = status or reduced((text + errors).splitlines())
        found["files"] = sorted(path.name for path in Path().iterdir())
    return found


def in_less_time(promise: Promise) -> Promise:
    """A promise of steadier tokens."""
    return tuple(
        replace(goal, limit=0.87 * goal.limit) if goal.metric == "tpot" else goal
        for goal in promise
    )


def fleets(values: dict[str, object]) -> dict[str, Any]:
    """The smallest fleets by short runs and by long ones, and those that were tried, together and
    apart; and where only so many are allowed, or one fewer."""
    asked = {"parallelism": "tp1", "quantile": 0.9, "requests": 100}
    question = questions.read_choices(asked | values)[0]
    heard: list[tuple[int, int]] = []

    def tell(*fleet: int) -> None:
        heard.append((fleet[0], fleet[1]))

    fleet = Fleets(question, told=tell)
    best, pair = settled(fleet)[0], settled_apart(question, tell)
    one, two = best.replicas, pair.replicas
    found: dict[str, Any] = {
        "together": outcome(fleet.fewest),
        "near": outcome(lambda: [fleet.near(count) for count in (one - 1, one)]),
        "settled": outcome(lambda: best),
        "apart": outcome(lambda: SeparateFleets(question, tell).fewest()),
        "settled apart": outcome(lambda: pair),
        "heard": outcome(lambda: heard),
    }
    for most in (one - 1, one):
        with mock.patch.object(fleet_search, "MOST_REPLICAS", most):
            found[f"of {most}"] = outcome(lambda: settled(fleet)[0].replicas)
    for most in (two - 1, two):
        with mock.patch.object(separate_fleets, "MOST_REPLICAS", most):
            found[f"of {most} apart"] = outcome(lambda: settled_apart(question).replicas)
    tight = replace(
        question,
        promise=in_less_time(question.promise),
        class_promises=tuple(map(in_less_time, question.class_promises)),
    )
    with mock.patch.object(separate_fleets, "IDLE", 1):
        found["as few as may be"] = outcome(lambda: SeparateFleets(tight).fewest())
    return found


def grid_command() -> dict[str, Any]:
    """What the command prints and writes for a grid, in this process and handed to others."""
    found: dict[str, Any] = {}
    answers: dict[Any, Answer] = {}

    def once(choices: list[Question]) -> Answer:
        one = choices[0]
        key = (one.deployment.precision, one.promise, str(one.traffic), one.requests)
        if key not in answers:
            answers[key] = configurations.answer(choices)
        return answers[key]

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.object(sweeps, "answer", once),
        mock.patch.object(planner_command, "time", Clock(0.4)),
        mock.patch.object(sweeps, "time", Clock(0.02)),
        mock.patch.object(planner_command, "processors", return_value=2),
        mock.patch.object(planner_command, "_pool", return_value=contextlib.nullcontext(Here())),
    ):
        Path("grid.csv").write_text(GRID, encoding="utf-8")
        asked = ["--grid=grid.csv", "--parallelism=tp1", "--quantile=0.9"]
        for name, more in (
            ("alone", []),
            ("others", ["--workers=2"]),
            ("CSV", ["--out=plans.csv"]),
            ("JSON", ["--out=plans.json"]),
        ):
            status, text, errors = told(*asked, *more)
            found[name] = reduced([status, *text.splitlines(), *errors.splitlines()])
        for name in ("plans.csv", "plans.json"):
            found[name] = reduced([Path(name).read_text(encoding="utf-8")])
    return found


def records() -> dict[str, Any]:
    """Records that commands make, of little."""
    written: dict[str, Any] = {}

    def write(name: str, record: dict[str, Any], **_: bool) -> Path:
        for row in record.get("plans", []):
            del row["peak_mib"]
        written.update({f"{name} {key}": x for key, x in record.items() if key not in OF_MACHINE})
        return Path(name)

    seeds: dict[str, dict[str, object]] = {
        planner_coverage.WORKED_NAME: {"rate_per_s": 60, "parallelism": "tp1", "requests": 100},
    }
    sessions = "\n".join(
        ["session,t_s,prompt_tokens,output_tokens,reusable_tokens"]
        + [f"{i // 4},{30 * (i % 4)},{200 + i},{i % 4},{50 * (i % 4)}" for i in range(320)]
    )
    split = ("--parallelism", "tp1", "--quantile", "0.9", "--requests", "100", "--ttft-s", "2")
    few = [
        run for run in read_runs(read_lines()) if run.concurrency <= 4 and run.kind != "separate"
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        mock.patch.object(planner_coverage, "ASKED", seeds),
        mock.patch.object(planner_coverage, "SEEDS", 20),
        mock.patch.object(planner_coverage, "TRUE_REQUESTS", 3000),
        mock.patch.object(trace_plans, "ASKED", dict.fromkeys("abc", split)),
        mock.patch.object(trace_plans, "time", Clock(3.25)),
        mock.patch.object(measured_questions, "drawn_runs", return_value=few[:: len(few) // 2]),
        mock.patch.object(measured_questions, "LEAST", 100),
        contextlib.ExitStack() as stack,
    ):
        for module in (planner_coverage, trace_plans, measured_questions):
            stack.enter_context(mock.patch.object(module, "ProcessPoolExecutor", Here))
            stack.enter_context(mock.patch.object(module, "write_record", write))
        Path("trace.csv").write_text(trace_text(), encoding="utf-8")
        Path("agents.csv").write_text(sessions, encoding="utf-8")
        planner_coverage._truth.cache_clear()
        planner_coverage.main()
        planner_coverage._truth.cache_clear()
        trace_plans.main(["trace.csv", "trace.csv", "agents.csv"])
        measured_questions.main()
    return written


WHOLE: dict[str, Callable[[], dict[str, Any]]] = {
    **{
        f"files.{path.name}": functools.partial(load_test, path.name)
        for path in sorted(LOAD_TESTS.glob("*.*"))
        if path.suffix != ".md"
    },
    "files.typed": typed,
    "files.of another": of_anothers,
    "files.traces": traces,
    "files.grids": grids,
    "files.fields": fields,
    **{f"refused.{name}": functools.partial(plan, values) for name, values in REFUSED.items()},
    **{f"plans.{name}": functools.partial(plan, values) for name, values in PLANS.items()},
    **{f"fleets.{name}": functools.partial(fleets, values) for name, values in FLEETS.items()},
    "commands": commands,
    "forms": forms,
    "grids.command": grid_command,
    "records": records,
}
CASES = {f"planner.{name}": in_no_folder(make) for name, make in WHOLE.items()}
