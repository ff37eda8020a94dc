"""What the planner's command answers to questions that are small, and between them reach what can
be asked: all that it prints and writes, as it was when somebody last looked at it; and what fields
and files come to, as they are and with one value of each another. `python -m
tests.planner.outcomes` says what has changed and keeps it as it is now.

Whether an answer is right is asked elsewhere. Here a reviewer sees which answers a change moves.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any
from unittest import mock

from serving_mathematics.machine.deployments import WORKED
from serving_mathematics.machine.own_runs import OwnRun
from serving_mathematics.machine.run_reading import read_lines, read_runs
from serving_mathematics.planner import (
    configurations,
    measured_questions,
    planner_command,
    planner_coverage,
    planner_form,
    questions,
    sweeps,
    trace_plans,
)
from serving_mathematics.planner.capacity_planner import Question
from serving_mathematics.planner.configurations import Answer, split_name
from serving_mathematics.planner.load_tests import read_load_runs, read_load_test, runs_of
from serving_mathematics.planner.trace_formats import read_requests

from .. import hostile, shown
from ..nudged import answer, nudged, reduced, unchanged

FOLDER = Path(__file__).with_name("outcomes")
LOAD_TESTS = Path(__file__).with_name("load_tests")
PLANS: dict[str, dict[str, object]] = {
    "one replica": {"rate_per_s": 1, "ttft_s": 3, "tpot_s": 1, "parallelism": "tp1"},
    "limits that are given": {
        "rate_per_s": 40,
        "ttft_s": 0.8,
        "parallelism": "tp1",
        "quantile": 0.9,
        "batch_limit": 24,
        "token_budget": 512,
        "spare_replicas": 1,
        "seed": 3,
    },
    "a comparison": {
        "rate_per_s": 60,
        "ttft_s": 1.5,
        "tpot_s": 0.03,
        "quantile": 0.9,
        "device": "H100,B200",
        "price_per_hour": "2,4.5",
        "precision": "bf16,fp8",
        "parallelism": "tp1,tp2",
        "spot_share": 0.5,
    },
    "classes": {
        "rate_per_s": 30,
        "parallelism": "tp1",
        "requests": 200,
        "tpot_s": 0.04,
        "classes": (
            "chat:0.7:prompt=400,answer=60,ttft=0.3,quantile=0.9;"
            "agents:0.3:prompt=3000,cached=0.5,ttft=3,quantile=0.8"
        ),
    },
    "two fleets": {
        "rate_per_s": 40,
        "tpot_s": 0.015,
        "fleets": "two",
        "parallelism": "tp1",
        "quantile": 0.9,
        "backend": "sglang",
        "spare_replicas": 1,
    },
    "two fleets that cannot be": {
        "rate_per_s": 5,
        "mean_output_tokens": 1,
        "fleets": "two",
        "parallelism": "tp1",
    },
    "guesses of a model": {
        "rate_per_s": 3,
        "model": "Qwen3-32B",
        "drafter": "Qwen3-0.6B",
        "draft_tokens": 3,
        "accepted_tokens": 2.2,
        "parallelism": "tp2",
        "quantile": 0.9,
        "ttft_s": 2,
    },
    "a mixture of experts": {
        "rate_per_s": 20,
        "model": "gpt-oss-120b",
        "parallelism": "tp2,dp2ep2",
        "quantile": 0.9,
        "cache_precision": "fp8",
        "backend": "trtllm",
        "ttft_s": 2,
    },
    "a device of its own": {
        "rate_per_s": 20,
        "peak_tflops": 400,
        "bandwidth_gb_per_s": 1500,
        "memory_gib": 30,
        "memory_share": 0.95,
        "reserved_gib": 2,
        "arrival_scv": 4,
        "quantile": 0.9,
        "parallelism": "tp1",
        "ttft_s": 1.2,
    },
    "a load test": {
        "rate_per_s": 20,
        "load_test": "1:0.06:0.0075,16:0.2:0.011,8/s:0.3:0.014",
        "parallelism": "tp1",
        "quantile": 0.9,
        "draft_tokens": 2,
        "accepted_tokens": 1.8,
        "drafter": "ngram",
    },
    "a trace": {"trace": "trace.csv", "quantile": 0.9, "parallelism": "tp1", "ttft_s": 0.6},
    "two fleets of classes": {
        "rate_per_s": 30,
        "parallelism": "tp1",
        "requests": 150,
        "tpot_s": 0.02,
        "fleets": "two",
        "classes": (
            "chat:0.7:prompt=400,answer=60,ttft=0.3,quantile=0.9;"
            "agents:0.3:prompt=3000,cached=0.5,ttft=3,quantile=0.8"
        ),
    },
    "two fleets of a trace": {
        "trace": "trace.csv",
        "fleets": "two",
        "parallelism": "tp1,tp2",
        "quantile": 0.9,
        "backend": "trtllm",
        "tpot_s": 0.012,
        "ttft_s": 0.11,
    },
    "many": {
        "rate_per_s": 20000,
        "parallelism": "tp1",
        "quantile": 0.9,
        "arrival_scv": 0,
        "mean_prompt_tokens": 2000,
    },
    "many of both": {
        "rate_per_s": 600,
        "parallelism": "tp1",
        "quantile": 0.9,
        "fleets": "two",
        "requests": 100,
        "tpot_s": 0.02,
    },
    "what is tried by itself": {
        "rate_per_s": 30,
        "model": "gpt-oss-120b",
        "device": "H100,H200,B200",
        "price_per_hour": "2,2.6,4",
        "quantile": 0.9,
        "ttft_s": 2,
        "tpot_s": 0.02,
        "requests": 100,
    },
    "the context": {
        "rate_per_s": 2,
        "model": "Llama-2-7B",
        "mean_prompt_tokens": 3000,
        "ttft_s": 4,
        "mean_output_tokens": 900,
        "cached_share": 0.5,
        "quantile": 0.9,
        "parallelism": "tp1",
    },
    "little memory": {
        "rate_per_s": 1,
        "model": "Qwen3-32B",
        "parallelism": "tp1",
        "quantile": 0.9,
        "mean_prompt_tokens": 4000,
        "mean_output_tokens": 600,
        "reserved_gib": 1,
        "ttft_s": 6,
        "tpot_s": 0.1,
    },
    "reading of the cache": {
        "rate_per_s": 30,
        "parallelism": "tp1",
        "quantile": 0.9,
        "mean_prompt_tokens": 2000,
        "mean_output_tokens": 2000,
        "cached_share": 0.95,
        "ttft_s": 6,
        "tpot_s": 0.1,
    },
    "a pipeline": {
        "rate_per_s": 8,
        "model": "Llama-3.1-70B",
        "parallelism": "tp2pp2,tp4",
        "ttft_s": 3,
        "quantile": 0.9,
        "spot_share": 0.3,
        "spot_discount": 0.5,
    },
    "guesses of its own": {
        "rate_per_s": 5,
        "model": "DeepSeek-R1",
        "device": "H200",
        "quantile": 0.9,
        "parallelism": "dp8ep8,tp8ep8",
        "draft_tokens": 1,
        "accepted_tokens": 1.8,
        "ttft_s": 3,
    },
    "another generation": {
        "rate_per_s": 5,
        "model": "Qwen/Qwen3-32B-FP8",
        "device": "B200",
        "quantile": 0.9,
        "parallelism": "tp1",
        "cache_precision": "bf16",
    },
    "a device that nobody measured": {
        "rate_per_s": 5,
        "model": "Llama-3.1-70B",
        "device": "A100",
        "parallelism": "tp4",
        "quantile": 0.9,
        "ttft_s": 5,
    },
    "answers of one token": {
        "rate_per_s": 50,
        "mean_output_tokens": 1,
        "parallelism": "tp1",
        "quantile": 0.9,
    },
    "little time": {
        "rate_per_s": 60,
        "parallelism": "tp1",
        "requests": 100,
        "quantile": 0.9,
        "ttft_s": 0.12,
        "seed": 2,
    },
}
REFUSED: dict[str, dict[str, object]] = {
    "TTFT": {"rate_per_s": 1, "ttft_s": 0.01, "parallelism": "tp1"},
    "TPOT": {"rate_per_s": 1, "tpot_s": 0.001, "parallelism": "tp1"},
    "the longest": {"rate_per_s": 1, "parallelism": "tp1", "memory_share": 0.24},
    "too many": {
        "rate_per_s": 100_000,
        "parallelism": "tp1",
        "quantile": 0.9,
        "ttft_s": 50,
        "mean_prompt_tokens": 8000,
        "mean_output_tokens": 4000,
    },
    "a comparison": {"rate_per_s": 1, "ttft_s": 0.01, "precision": "bf16,fp8", "requests": 100},
}
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


def lines(what: str, text: str) -> dict[str, Any]:
    """A text line by line."""
    return {f"{what} {place:02}": line for place, line in enumerate(text.splitlines(), start=1)}


ANSWERED: dict[str, Answer] = {}


def answered(name: str) -> Answer:
    """The answer to one of the questions, once."""
    if name not in ANSWERED:
        plan(PLANS[name])
    return ANSWERED[name]


def plan(values: dict[str, object]) -> dict[str, Any]:
    """Everything that the command prints and writes for a question, which is answered once."""
    answers: list[Answer] = []

    def once(*arguments: Any) -> Answer:
        answers.extend([] if answers else [configurations.answer(*arguments)])
        return answers[0]

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.object(planner_command, "answer", once),
        mock.patch.object(planner_command, "time", Clock(0.3)),
        mock.patch.object(os, "sched_getaffinity", return_value={0}, create=True),
    ):
        Path("trace.csv").write_text(trace_text(), encoding="utf-8")
        asked = options({"requests": REQUESTS} | values)
        status, text, errors = told(*asked, "--figure", "plan.svg")
        found = {"status": status} | lines("told", text) | lines("errors", errors)
        if status:
            return found
        started = told(*asked, "--flags", "--kubernetes", "--out", "plan.json")
        found["with a file"] = list(started)
        _, text, _ = told(*asked, "--flags", "--kubernetes")
        record = json.loads(Path("plan.json").read_text(encoding="utf-8"))[0]
        drawn = Path("plan.svg").read_text(encoding="utf-8")
    ANSWERED.update({name: answers[0] for name, one in PLANS.items() if one is values})
    found |= {f"record {name}": value for name, value in record.items()}
    return found | lines("starts", text) | {"figure": reduced([drawn])}


FORMS: dict[str, str] = {
    "a bad field": '{"rate_per_s": 1, "tpot_s": 50}',
    "a bad trace": '{"trace": "my.csv", "trace_text": "time,isl,osl\\n1,2,x\\n"}',
    "no objective": '{"rate_per_s": 1, "ttft_s": 0.001, "requests": 100, "batch_limit": ""}',
    "no JSON": "x",
    "no object": "[]",
    "no file": '{"trace": ""}',
    "neither": "{}",
}


def form(text: str, found: Answer | None = None) -> dict[str, Any]:
    """What the form of the page is told, with an answer that is there."""
    heard: list[Any] = []

    def known(*arguments: Any, progress: Callable[[int, int], object]) -> Answer | None:
        for replicas in (1, 2):
            arguments[1](replicas, 8)
        progress(2, 3)
        return found

    replaced = mock.patch.object(planner_form, "answer", known)
    with replaced if found else contextlib.nullcontext():
        told_back: dict[str, Any] = json.loads(
            planner_form.form_answer(text, lambda *said: heard.append(said))
        )
    plots = told_back.pop("plots", [])
    return told_back | {"heard": heard, "plots": reduced([json.dumps(plots)])}


def forms() -> dict[str, Any]:
    """Problems, and an answer of each kind."""
    found = {f"{name}: {key}": x for name, text in FORMS.items() for key, x in form(text).items()}
    for name in ("a comparison", "two fleets"):
        asked = json.dumps(PLANS[name] | {"requests": REQUESTS, "classes": "", "load_test": ""})
        found |= {f"{name}: {key}": x for key, x in form(asked, answered(name)).items()}
    return found


def outcome(read: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """What is read, in a few numbers or words, or all words of a refusal."""
    try:
        read(*given)
    except ValueError as problem:
        return f"{type(problem).__name__}: {problem}"
    return answer(read, inspect.signature(read).bind(*given))


def differing(
    read: Callable[..., Any], texts: Iterable[tuple[str, tuple[Any, ...]]]
) -> dict[str, Any]:
    """What a reader makes of the first, and of the others where that is something else."""
    found: dict[str, Any] = {}
    for name, given in texts:
        made = outcome(read, given)
        found |= {} if found and made == next(iter(found.values())) else {name: made}
    return found


def nudged_json(value: Any) -> Iterator[tuple[str, Any]]:
    """A value of JSON, and the same with one that it holds another, or none."""
    yield "as it is", value
    for path in hostile.places(value):
        here = functools.reduce(lambda inner, key: inner[key], path, value)
        plain = not isinstance(here, dict | list)
        others = [("=null", None), *(nudged(here, 0) if plain and here is not None else ())]
        for how, other in [*others, *([] if plain else [("={}", {}), ("=[]", [])])]:
            yield f"{'.'.join(map(str, path))}{how}", hostile.changed(value, path, other)


def nudged_cells(text: str, rows: Iterable[int]) -> Iterator[tuple[str, str]]:
    """A table, and the same with one of its cells another, or with a row or a column less."""
    lines = text.splitlines()
    yield "as it is", text
    for row in rows:
        cells = lines[row].split(",")
        for place, cell in enumerate(cells):
            for how, other in [*nudged(cell), ("=-1", "-1"), ("=''", "")]:
                changed = ",".join([*cells[:place], other, *cells[place + 1 :]])
                whole = "\n".join([*lines[:row], changed, *lines[row + 1 :]])
                yield f"row {row + 1}, cell {place + 1}{how}", whole
        for how, some in (("less", []), ("short", [",".join(cells[:-1])]), ("empty", [""])):
            yield f"row {row + 1} {how}", "\n".join([*lines[:row], *some, *lines[row + 1 :]])


def load_test(name: str) -> dict[str, Any]:
    """What a file of a load test comes to."""
    text = (LOAD_TESTS / name).read_text(encoding="utf-8")
    if name.endswith(".csv"):
        rows = range(len(text.splitlines()))
        return differing(read_load_test, ((how, (x, "a")) for how, x in nudged_cells(text, rows)))
    value, _ = json.JSONDecoder().raw_decode(text)
    if "benchmarks" in value:
        value["benchmarks"] = value["benchmarks"][-1:]
    changed = ((how, (json.dumps(other), "a")) for how, other in nudged_json(value))
    return differing(read_load_test, changed)


TYPED = (
    *("8/s:0.4:0.1", "1e3:0.4:0.1", "1..2:0.4:0.1", "1:2:3:4"),
    *("16:0.25:0.011", " 8/s:0.4:0.015 , 2:0.1:0.01", "1:1000:2", "1:0.0005:0.0002", "1:0.1:2.1"),
    *("1:0.1:200", "1:0.1:2000", "1:0.1:2001", "1:0.1:0.0001", "1:1001:0.01", "1:0.0001:0.01"),
    *("1:1000000:0.01", "1:1000001:0.01", "0:0.1:0.01", "1000000:0.1:0.01", "1000001:0.1:0.01"),
    *("0.5:0.1:0.01", "1:0.1", "1:0.1:0.01,", "1:0.1:1e", "1:0.1:0.01;2:0.1:0.01", "5/s:1:2"),
)


def own_runs(text: str) -> list[OwnRun]:
    """Runs that are typed, or in files, as those of a deployment."""
    return runs_of(read_load_runs(text, 1000, 200), WORKED)


def typed() -> dict[str, Any]:
    """What typed runs come to, also where answers are of one token."""
    found = differing(own_runs, ((text, (text,)) for text in TYPED))
    short = ((f"{text}, short", (text, 1000, 1.5)) for text in ("8/s:0.4:0.1", "8:0.4:0.1"))
    return found | differing(read_load_runs, short)


def of_another(name: str) -> list[OwnRun]:
    """Runs of a device or a model that is called so."""
    text = (LOAD_TESTS / "vllm.json").read_text(encoding="utf-8")
    names = {"gpu": name} if name.isupper() else {"model_id": name}
    return runs_of(read_load_test(json.dumps(json.loads(text) | names), "a"), WORKED)


NAMES = (
    *("H100", "NVIDIA H100 80GB HBM3".upper(), "H200", "CARD H100", "CARD", "Llama-3.1-8B"),
    *("meta-llama/Llama-3.1-8B-Instruct/", "Qwen3-32B", "Llama-3.1-70B", "unknown-model"),
)
STAMPS: dict[str, Callable[[int], str]] = {
    "time": lambda i: f"{1.5 * i}",
    "ts": lambda i: f"{1_770_000_000 + 2 * i}",
    "created_at": lambda i: f"{1_770_000_000_000 + 2 * i}",
    "date": lambda i: f"2026-03-01T10:{i // 60:02}:{i % 60:02}.12345678Z",
    "t": lambda i: f"{20 * i}",
    "start_time": lambda i: f"{21 * i}",
    "t_ms": lambda i: f"{3 * i}",
    "TIMESTAMP": lambda i: f"2026-03-01 10:{i // 60:02}:{i % 60:02}.1234567",
}


def traces() -> dict[str, Any]:
    """What traces come to, in each form of a time."""
    found: dict[str, Any] = {}
    for name, stamp in STAMPS.items():
        columns = "time=t_ms" if name == "t_ms" else ""
        head = f"{name},isl,osl,cached_tokens"
        head = f"{name},ContextTokens,GeneratedTokens" if name == "TIMESTAMP" else head
        rows = [f"{stamp(i)},{100 + i},{5 + i}" for i in range(100)]
        rows = (
            rows if name == "TIMESTAMP" else [f"{row},{3 * (i % 40)}" for i, row in enumerate(rows)]
        )
        changed = nudged_cells("\n".join([head, *rows]), (0, 1))
        told_of = differing(read_requests, ((how, (text, columns)) for how, text in changed))
        found |= {f"{name}: {how}": x for how, x in told_of.items()}
    asked = [
        {"timestamp": 3000 * i, "input_length": 600 + i, "output_length": 4, "hash_ids": [i % 7, i]}
        for i in range(100)
    ]
    texts = [json.dumps(row) for row in asked]
    changed_rows = (
        (
            f"row {place + 1} {how}",
            "\n".join([*texts[:place], json.dumps(other), *texts[place + 1 :]]),
        )
        for place in (0, 99)
        for how, other in nudged_json(asked[place])
    )
    told_of = differing(read_requests, ((how, (text, "")) for how, text in changed_rows))
    return found | {f"JSON lines: {how}": x for how, x in told_of.items()}


def grids() -> dict[str, Any]:
    """What grids come to."""
    value = {"rate_per_s": [1, 2.5], "precision": ["bf16", "fp8"], "seed": 7, "device": "H100"}
    text = "rate_per_s,model,seed\n1,Llama-3.1-8B,0\n2.5,,3\n"
    changed = ((how, (json.dumps(other), "json")) for how, other in nudged_json(value))
    found = {f"JSON {how}": x for how, x in differing(questions.read_grid, changed).items()}
    changed = ((how, (other, "csv")) for how, other in nudged_cells(text, range(3)))
    return found | {f"CSV {how}": x for how, x in differing(questions.read_grid, changed).items()}


ASKED: dict[str, object] = {"rate_per_s": 1}
LONG = "x" * 61
WRONG: tuple[Mapping[str, object], ...] = (  # beside what is asked
    *({"model": LONG}, {"model": "x" * 1001}, {"model": ""}, {"model": 3}),
    *({"device": LONG}, {"device": "4090"}, {"device": "A100 40GB"}, {"device": "H10"}),
    *({"precision": "fp5"}, {"precision": "bf16,fp5"}, {"backend": "tgi"}),
    *({"cache_precision": LONG}, {"fleets": LONG}, {"fleets": " Two "}),
    *({"peak_tflops": 9}, {"device": "H100", "memory_gib": 9}, {"memory_gib": 9}),
    *({"trace": "x.csv"}, {"price_per_hour": "1,2"}, {"price_per_hour": "1,x"}),
    *({"device": "H100,H200"}, {"accepted_tokens": 2}, {"draft_tokens": 3}),
    *({"draft_tokens": 1.5}, {"seed": True}, {"seed": "1_0"}, {"seed": "9" * 99}),
    *({"ttft_s": "50 ms"}, {"ttft_s": "101"}, {"tpot_s": "3"}, {"quantile": "p99"}),
    *({"quantile": "100%"}, {"cached_share": "1"}, {"rate_per_s": "2k"}, {"seed": "1.5k"}),
    *({"rate_per_s": "1,000.5"}, {"rate_per_s": "$ 5"}, {"rate_per_s": "5 GB"}),
    *({"parallelism": text} for text in ("tp3", "tp", "tp2tp2", "tp0", "dp2", "ep2", "x")),
    *({"parallelism": "tp2,tp16"}, {"parallelism": LONG}, {"parallelism": "pp3"}),
    {"model": "Llama-3.1-70B", "parallelism": "tp1"},
    {"model": "Llama-3.1-405B", "parallelism": "tp1"},
    {"model": "Llama-3.1-405B", "device": "A100"},
    {"model": "DeepSeek-R1", "memory_share": 0.01},
    {"model": "DeepSeek-R1", "memory_share": 0.01, "parallelism": "tp8"},
    {"model": "Llama-2-7B", "mean_prompt_tokens": 30_000},
    {"model": "Qwen3-32B", "drafter": "Qwen3-0.6B"},
    {"classes": "chat"},
    {"classes": f"{LONG}:0.5:{LONG}=1"},
    {"classes": f"{LONG}:0.5:ttft={LONG}"},
    {"classes": f"{LONG}:x"},
    {"classes": "a:0.5;b:0.25"},
    {"classes": "a:0.5;a:0.5"},
    {"classes": "a:0"},
    {"classes": "a:1:prompt"},
    {"classes": ";".join(f"c{place}:0.04" for place in range(25))},
    {"load_test": "16:0.25:0.011"},
    {"load_test": "16:0.25:0.011", "parallelism": "tp1", "precision": "bf16,fp8"},
    {"load_test": "16:0.25:0.011", "parallelism": "tp1", "precision": "bf16," * 20 + "fp8"},
    {"load_test": "16:0.25:0.011", "parallelism": "auto"},
    {"load_test": LONG, "parallelism": "tp1"},
)
BAD: tuple[dict[str, object], ...] = ({}, {"zzz": 1}, {LONG: 1}, {"rate_per_second": 1})
BAD = (*BAD, *({**ASKED, **wrong} for wrong in WRONG))
GOOD: tuple[dict[str, object], ...] = (
    *(ASKED | {"fleets": " Two ", "precision": "auto, FP8"} | more for more in ({}, {"seed": "7"})),
    ASKED | {"device": "B200, H100", "price_per_hour": " 3, 2", "parallelism": "tp2,tp4+pp2"},
    ASKED | {"model": "Qwen3-30B-A3B", "parallelism": "auto", "cache_precision": "FP8"},
    ASKED | {"classes": "a:1:prompt=9,answer=3,cached=0.5,ttft=2,tpot=0.1,quantile=0.5"},
    ASKED | {"peak_tflops": 100, "bandwidth_gb_per_s": 900, "memory_gib": 40},
)


def asked_for(values: dict[str, object]) -> Any:
    """What is asked by these fields: of each deployment its split, price and format, and of the
    first everything."""
    found = questions.read_choices(values)
    each = [
        [
            *(one.deployment.system.name, one.deployment.precision, split_name(one)),
            *(one.price_per_hour, one.separate),
        ]
        for one in found
    ]
    return [each, found[0]]


def fields() -> dict[str, Any]:
    """What fields come to, refused in all their words or not; the last of what is counted, and one
    more."""
    every = ((json.dumps(values), (values,)) for values in (ASKED, *GOOD, *BAD))
    found: dict[str, Any] = differing(asked_for, every)
    rows = {size: "".join(f"{place}\n" for place in range(1, size + 1)) for size in (3, 4)}
    grid = {size: json.dumps({"seed": list(range(size))}) for size in (4, 5)}
    with (
        mock.patch.object(questions, "MOST_QUESTIONS", 4),
        mock.patch.object(questions, "MOST_CHOICES", 4),
        mock.patch.object(questions, "MOST_CLASSES", 2),
    ):
        few = ((f"{n} rows", (f"rate_per_s\n{text}", "csv")) for n, text in rows.items())
        found |= differing(questions.read_grid, few)
        few = ((f"{n} questions", (text, "json")) for n, text in grid.items())
        found |= differing(questions.read_grid, few)
        splits = (f"tp1,tp2,tp4,{more}" for more in ("tp8", "tp8,tp1"))
        some = ((text, (ASKED | {"parallelism": text},)) for text in splits)
        found |= differing(asked_for, some)
        kinds = (";".join(f"{name}:{1 / n}" for name in "abc"[:n]) for n in (2, 3))
        found |= differing(questions.read_classes, ((text, (text,)) for text in kinds))
    return found


GRID = """rate_per_s,ttft_s,precision,requests
2,2,bf16,100
9,2,,100
2,0.01,bf16,120
4,1,fp8,100
"""


def grid_command() -> dict[str, Any]:
    """What the command prints and writes for a grid, in this process and handed to others."""
    found: dict[str, Any] = {}
    answers: dict[Any, Answer] = {}

    def once(choices: list[Question]) -> Answer:
        one = choices[0]
        key = (one.deployment.precision, one.objective, str(one.traffic), one.requests)
        if key not in answers:
            answers[key] = configurations.answer(choices)
        return answers[key]

    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
        mock.patch.object(sweeps, "answer", once),
        mock.patch.object(planner_command, "time", Clock(0.4)),
        mock.patch.object(sweeps, "time", Clock(0.02)),
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
            found |= {f"{name} status": status} | lines(name, text) | lines(f"{name} tells", errors)
        for name in ("plans.csv", "plans.json"):
            found[name] = reduced([Path(name).read_text(encoding="utf-8")])
    return found


def records() -> dict[str, Any]:
    """Records that commands make, of little."""
    written: dict[str, Any] = {}

    def write(name: str, record: dict[str, Any]) -> Path:
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
        mock.patch.object(measured_questions, "drawn_runs", return_value=few[:: len(few) // 4]),
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


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    **{
        f"files.{path.name}": functools.partial(load_test, path.name)
        for path in sorted(LOAD_TESTS.glob("*.*"))
        if path.suffix != ".md"
    },
    "files.typed": typed,
    "files.of another": lambda: differing(of_another, ((name, (name,)) for name in NAMES)),
    "files.traces": traces,
    "files.grids": grids,
    "files.fields": fields,
    **{f"refused.{name}": functools.partial(plan, values) for name, values in REFUSED.items()},
    **{f"plans.{name}": functools.partial(plan, values) for name, values in PLANS.items()},
    "forms.forms": forms,
    "grids.command": grid_command,
    "records.records": records,
}


def made(name: str) -> dict[str, Any]:
    """An outcome, as JSON holds it."""
    found: dict[str, Any] = json.loads(json.dumps(CASES[name]()))
    return found


def changes(name: str) -> Iterator[str]:
    """A line for each part of an outcome that is another, new or gone."""
    return shown.changes(shown.kept(name, FOLDER), made(name), unchanged)


def main() -> None:
    """Say what has changed, and keep it, and nothing else."""
    found = {}
    for name in CASES:
        was, now = shown.kept(name, FOLDER), made(name)
        for line in shown.changes(was, now, unchanged):
            print(f"{name}: {line}")
        found[name] = shown.renewed(was, now, unchanged)
    shown.write(found, FOLDER)


if __name__ == "__main__":
    main()
