"""Measured runs as questions: does the planner answer with the devices that were measured?

A published run held so many requests at one engine and measured its mean times. The question that
it answers: which devices keep these times at the median, for as many requests a second as that
run served? Times are those measured, or a quarter more, as the planner has to be right at a margin
that its steps' error crosses half of the time. The answer is the smallest fleet over all splits
that `auto` tries.

    python -m serving_mathematics.planner.measured_questions

asks 200 runs, drawn at random, and writes records/measured_questions.json in about ten minutes.

Assumes: by Little's law a run that held C requests served C / (TTFT + (O - 1) TPOT) a second; here
they come at random instead of one as another ends, which needs more, most where an engine was full.

Source: records/machine_runs.json.gz for the runs; Little (1961).
"""

from __future__ import annotations

import collections
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics import checks
from serving_mathematics.machine.deployments import require_deployment
from serving_mathematics.machine.run_reading import Run, read_lines, read_runs
from serving_mathematics.measuring import provenance, read_record, write_record
from serving_mathematics.optimization.continuous_batching import Workload
from serving_mathematics.planner.capacity_planner import Objective, Question
from serving_mathematics.planner.configurations import rank, split_name
from serving_mathematics.planner.questions import _split, _splits
from serving_mathematics.require import require_in

RECORD = "measured_questions"
COMMAND = "python -m serving_mathematics.planner.measured_questions"
ASKED, SEED = 200, 17
MARGINS = (1.0, 1.25)  # times the measured latencies
LEAST, MOST = 400, 4000  # requests that are simulated, eight for each that the run held
CLASSES = ((1, "1"), (2, "2"), (4, "3, 4"), (8, "5 to 8"), (16, "9 to 16"), (10**9, "more"))


def question_of(run: Run, margin: float = 1.0) -> list[Question]:
    """The question that a measured run answers, one for each split of its devices.

    run: of the record. margin: times the measured latencies that are to be kept, in [1, 10]. Raises
    ValueError when no split is possible.

    >>> run = read_runs(read_lines()[:1])[0]
    >>> [split_name(one) for one in question_of(run)][:3]
    ['tp2', 'tp4', 'tp8']
    """
    require_in("[1, 10]", margin=margin)
    one, refused = run.answers, ""
    each = run.first_token_s + (one.mean_output_tokens - 1) * run.per_token_s
    count = int(np.clip(8 * run.concurrency, LEAST, MOST))
    rng = np.random.default_rng(run.line)
    arrivals = np.cumsum(rng.exponential(each / run.concurrency, count))
    lengths = [
        rng.integers(round(one.shortest_share * nominal), round(nominal) + 1, count)
        for nominal in (one.input_tokens, one.output_tokens)
    ]
    asked = Workload(arrivals - arrivals[0], *lengths)
    goal = Objective(margin * run.first_token_s, margin * run.per_token_s, 0.5)
    choices = []
    for split in _splits(one.architecture, one.system):
        tried = _split(one, split)
        try:
            require_deployment(tried)
        except ValueError as problem:
            refused = refused or str(problem)
            continue
        choices.append(Question(tried, asked, goal, 1.0, requests=count))
    if not choices:
        raise ValueError(refused)
    return choices


def reason(problem: str) -> str:
    """Why no fleet was found, in short.

    problem: as the planner says it.

    >>> reason("no fleet keeps a TTFT of 0.1 s at p50: a replica without other requests takes 0.2")
    'TTFT: an idle replica takes longer'
    """
    for name in ("TTFT", "TPOT"):
        if problem.startswith(f"no fleet keeps a {name}"):
            return f"{name}: an idle replica takes longer"
    return "no fleet keeps it" if problem.startswith("no fleet") else "cannot be deployed"


def answer_run(run: Run, margin: float) -> dict[str, Any]:
    """What the planner answers for one run: devices and split of the smallest fleet, or why none.

    run: of the record. margin: as for question_of.

    >>> told = answer_run(read_runs(read_lines()[:1])[0], 1.25)
    >>> sorted(told)
    ['devices', 'problem', 'split']
    """
    try:
        if run.kind != "engine":
            raise ValueError("a whole fleet")
        ranked = rank(question_of(run, margin))
    except ValueError as problem:
        return {"devices": 0, "split": "", "problem": reason(str(problem))}
    best = ranked[0]
    if best.run is None:
        kinds = [reason(one.problem) for one in ranked]
        return {"devices": 0, "split": "", "problem": kinds[-1]}
    name = f"{best.run.replicas} x {split_name(best.question)}"
    devices = best.run.replicas * best.question.deployment.devices
    return {"devices": devices, "split": name, "problem": ""}


def _row(run: Run) -> list[Any]:
    """Of one run: what was measured, and the answers."""
    one = run.answers
    sparse = int(one.architecture.routed_parameters > 0)
    row: list[Any] = [run.line, one.devices, sparse, one.backend, run.concurrency]
    for margin in MARGINS:
        row += answer_run(run, margin).values()
    return row


COLUMNS = (
    *("line", "measured", "sparse", "backend", "concurrency"),
    *(f"{name} at {margin:g}" for margin in MARGINS for name in ("answered", "split", "problem")),
)


def drawn_runs() -> list[Run]:
    """The runs that are asked: aggregated ones, at random.

    >>> len(drawn_runs())
    200
    """
    runs = [run for run in read_runs(read_lines()) if run.kind != "separate"]
    order = np.random.default_rng(SEED).permutation(len(runs))[:ASKED]
    return [runs[i] for i in order.tolist()]


def main() -> None:
    """Ask and write the record."""
    with ProcessPoolExecutor(2) as pool:
        rows = list(pool.map(_row, drawn_runs()))
    what = "devices that were measured, and those that the planner answers for the same latencies"
    record = provenance(COMMAND, ["numpy"]) | {"what": what, "columns": COLUMNS, "rows": rows}
    print(f"wrote {write_record(RECORD, record)}, {len(rows)} runs")


def _told(margin: float) -> list[dict[str, Any]]:
    """The record's rows with the answers at a margin."""
    record = read_record(RECORD)
    told = []
    for row in record["rows"]:
        cells = dict(zip(record["columns"], row, strict=True))
        for name in ("answered", "split", "problem"):
            cells[name] = cells[f"{name} at {margin:g}"]
        told.append(cells)
    return told


def device_class(devices: int) -> str:
    """The column of the page's table that a number of devices belongs to.

    >>> device_class(3), device_class(8)
    ('3, 4', '5 to 8')
    """
    return next(name for most, name in CLASSES if devices <= most)


def within_a_step(measured: int, answered: int) -> bool:
    """Whether two numbers of devices are at most a doubling apart.

    >>> within_a_step(4, 8), within_a_step(4, 9), within_a_step(4, 0)
    (True, False, False)
    """
    return 2 * measured >= answered >= measured / 2


def _table(margin: float) -> list[str]:
    """Rows of the confusion table: measured devices, then how many answers fall into each class."""
    rows = []
    told = _told(margin)
    for measured in sorted({row["measured"] for row in told}):
        mine = [row for row in told if row["measured"] == measured]
        counts = collections.Counter(
            device_class(row["answered"]) for row in mine if row["answered"]
        )
        cells = [f"{counts[name] or ''}" for _, name in CLASSES]
        refused = sum(not row["answered"] for row in mine)
        close = sum(within_a_step(measured, row["answered"]) for row in mine)
        cells = [f"{measured}", *cells, f"{refused or ''}", f"{close} of {len(mine) - refused}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


if __name__ == "__main__":
    main()
