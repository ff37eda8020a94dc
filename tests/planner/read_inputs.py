"""What fields and files come to that the planner reads, as they are and with one value of each
another.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.machine.predictions.own_runs import OwnRun
from serving_mathematics.planner.questions import grids as grid_files
from serving_mathematics.planner.questions import questions
from serving_mathematics.planner.questions.load_tests import read_load_runs, read_load_test, runs_of
from serving_mathematics.planner.questions.question import _split_name
from serving_mathematics.planner.questions.trace_formats import read_requests

from ..variants import differing, near_cells, near_json
from .asked import ASKED, COLUMNS, GOOD, NAMES, TYPED

LOAD_TESTS = Path(__file__).with_name("load_tests")


def load_test(name: str) -> dict[str, Any]:
    """What a file of a load test comes to."""
    text = (LOAD_TESTS / name).read_text(encoding="utf-8")
    if name.endswith(".csv"):
        rows = range(len(text.splitlines()))
        return differing(read_load_test, ((how, (x, "a")) for how, x in near_cells(text, rows)))
    if "appended" in name:
        return differing(read_load_test, [("as it is", (text, "a"))])
    value = json.loads(text)
    if "benchmarks" in value:
        value["benchmarks"] = value["benchmarks"][-1:]
    changed = ((how, (json.dumps(other), "a")) for how, other in near_json(value))
    return differing(read_load_test, changed)


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


def of_anothers() -> dict[str, Any]:
    """Whose runs they may be."""
    return differing(of_another, ((name, (name,)) for name in NAMES))


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
        changed = near_cells("\n".join([head, *rows]), (0, 1))
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
        for how, other in near_json(asked[place])
    )
    told_of = differing(read_requests, ((how, (text, "")) for how, text in changed_rows))
    found |= {f"JSON lines: {how}": x for how, x in told_of.items()}
    head = ",".join(["when", "in", "out", "hits", *(f"another_{place}" for place in range(30))])
    table = "\n".join([head, *(f"{i},{100 + i},{5 + i},{i}{30 * ',0'}" for i in range(100))])
    named = ((f"columns {columns}", (table, columns)) for columns in COLUMNS)
    return found | differing(read_requests, named)


def grids() -> dict[str, Any]:
    """What grids come to."""
    value = {"rate_per_s": [1, 2.5], "precision": ["bf16", "fp8"], "seed": 7, "device": "H100"}
    text = "rate_per_s,model,seed\n1,Llama-3.1-8B,0\n2.5,,3\n"
    changed = ((how, (json.dumps(other), "json")) for how, other in near_json(value))
    found = {f"JSON {how}": x for how, x in differing(grid_files.read_grid, changed).items()}
    changed = ((how, (other, "csv")) for how, other in near_cells(text, range(3)))
    return found | {f"CSV {how}": x for how, x in differing(grid_files.read_grid, changed).items()}


def asked_for(values: dict[str, object]) -> Any:
    """What is asked by these fields: of each deployment its split, price and format, and of the
    first everything."""
    found = questions.read_choices(values)
    each = [
        [
            *(one.deployment.system.name, one.deployment.precision, _split_name(one)),
            *(one.price_per_hour, one.separate),
        ]
        for one in found
    ]
    return [each, found[0]]


def fields() -> dict[str, Any]:
    """What fields come to; the last of what is counted, and one more."""
    every = ((json.dumps(values), (values,)) for values in (ASKED, *GOOD))
    found: dict[str, Any] = differing(asked_for, every)
    rows = {size: "".join(f"{place}\n" for place in range(1, size + 1)) for size in (3, 4)}
    grid = {size: json.dumps({"seed": list(range(size))}) for size in (4, 5)}
    with (
        mock.patch.object(grid_files, "MOST_QUESTIONS", 4),
        mock.patch.object(questions, "MOST_CHOICES", 4),
        mock.patch.object(questions, "MOST_CLASSES", 2),
    ):
        few = ((f"{n} rows", (f"rate_per_s\n{text}", "csv")) for n, text in rows.items())
        found |= differing(grid_files.read_grid, few)
        few = ((f"{n} questions", (text, "json")) for n, text in grid.items())
        found |= differing(grid_files.read_grid, few)
        splits = (f"tp1,tp2,tp4,{more}" for more in ("tp8", "tp8,tp1"))
        some = ((text, (ASKED | {"parallelism": text},)) for text in splits)
        found |= differing(asked_for, some)
        kinds = (";".join(f"{name}:{1 / n}" for name in "abc"[:n]) for n in (2, 3))
        found |= differing(questions.read_classes, ((text, (text,)) for text in kinds))
    return found
