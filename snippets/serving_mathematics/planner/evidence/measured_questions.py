"""Measured runs as questions: does the planner answer with the devices that were measured?

A published run held so many requests at one engine and measured its mean times. The question that
it answers: which devices keep these times at the median, for as many requests a second as that
run served? Times are those measured, or a quarter more, as the planner has to be right at a margin
that its steps' error crosses half of the time. The answer is the smallest fleet over all splits
that `auto` tries.

    python -m serving_mathematics.planner.evidence.measured_questions

asks 1,000 runs, drawn at random, and writes records/measured_questions.json.gz in four minutes of
one processor.

Assumes: by Little's law a run that held C requests served C / (TTFT + (O - 1) TPOT) a second; here
they come at random instead of one as another ends, which needs more, most where an engine was full.

Source: records/machine_runs.json.gz for the runs; Little (1961).
"""

from __future__ import annotations

import collections
import math
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.published_runs import Run, read_lines, read_runs
from serving_mathematics.planner.capacity_planner.deployment_ranking import rank
from serving_mathematics.planner.questions.objectives import METRICS, promised
from serving_mathematics.planner.questions.question import Question, _split_name
from serving_mathematics.planner.questions.splits import _possible_splits
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    as_numbers,
    require,
    require_in,
    require_non_negative_integer,
)

RECORD = "measured_questions"
COMMAND = "python -m serving_mathematics.planner.evidence.measured_questions"
ASKED, SEED = 1_000, 17
MARGINS = (1.0, 1.25)  # times the measured latencies
LEAST, MOST = 400, 4000  # requests that are simulated, eight for each that the run held
AGAIN = (1070, 3335)  # lines of the record that a check asks again
WHOLE_FLEET = "a whole fleet, whose split is not published"
CLASSES = ((1, "1"), (2, "2"), (4, "3, 4"), (8, "5 to 8"), (16, "9 to 16"), (10**9, "more"))


def question_of(run: Run, margin: float = 1.0) -> list[Question]:
    """The question that a measured run answers, one for each split of its devices.

    run: of the record. margin: times the measured latencies that are to be kept, in [1, 10]. Raises
    ValueError when no split is possible.

    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> from serving_mathematics.planner.questions.question import _split_name
    >>> run = read_runs(read_lines()[:1])[0]
    >>> [_split_name(one) for one in question_of(run)][:3]
    ['tp1', 'tp2', 'tp4']
    """
    margin = require_in("[1, 10]", margin=margin)
    one = run.answers
    each = run.first_token_s + (one.mean_output_tokens - 1) * run.per_token_s
    count = int(np.clip(8 * run.concurrency, LEAST, MOST))
    rng = np.random.default_rng(run.line)
    arrivals = np.cumsum(rng.exponential(each / run.concurrency, count))
    lengths = [
        rng.integers(round(one.shortest_share * nominal), round(nominal) + 1, count)
        for nominal in (one.input_tokens, one.output_tokens)
    ]
    asked = Workload(arrivals - arrivals[0], *lengths)
    goal = promised(margin * run.first_token_s, margin * run.per_token_s, 0.5)
    return [Question(tried, asked, goal, 1.0, requests=count) for tried in _possible_splits(one)]


def _reason(problem: str) -> str:
    """Why no fleet was found, in short."""
    if problem == WHOLE_FLEET:
        return problem
    for metric in METRICS.values():
        if problem.startswith(metric.none_keeps):
            return f"{metric.shown}: an idle replica takes longer"
    return "no fleet keeps it" if problem.startswith("no fleet") else "cannot be deployed"


def answer_run(run: Run, margin: float) -> dict[str, Any]:
    """What the planner answers for one run: devices and split of the smallest fleet, or why none.

    run: of the record. margin: as for question_of.

    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> told = answer_run(read_runs(read_lines()[:1])[0], 1.25)
    >>> sorted(told)
    ['devices', 'problem', 'split']
    """
    margin = require_in("[1, 10]", margin=margin)
    try:
        if run.kind != "engine":
            raise ValueError(WHOLE_FLEET)
        ranked = rank(question_of(run, margin))
    except ValueError as problem:
        return {"devices": 0, "split": "", "problem": _reason(str(problem))}
    best = ranked[0]
    if best.run is None:
        kinds = [_reason(one.problem) for one in ranked]
        return {"devices": 0, "split": "", "problem": kinds[-1]}
    name = f"{best.run.replicas} x {_split_name(best.question)}"
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
    1000
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
    print(f"wrote {write_record(RECORD, record, packed=True)}, {len(rows)} runs")


def _pairs(margin: float) -> list[tuple[int, int]]:
    """Of every run of the record: devices that were measured, and those that are answered at a
    margin, 0 where none are."""
    rows = read_record(RECORD)["rows"]
    measured, answered = map(COLUMNS.index, ("measured", f"answered at {margin:g}"))
    return [(row[measured], row[answered]) for row in rows]


def _device_class(devices: int) -> str:
    """The column of the page's table that a number of devices belongs to."""
    return next(name for most, name in CLASSES if devices <= most)


def within_a_step(measured: int, answered: int) -> bool:
    """Whether two numbers of devices are at most a doubling apart.

    >>> within_a_step(4, 8), within_a_step(4, 9), within_a_step(4, 0)
    (True, False, False)
    """
    measured, answered = require_non_negative_integer(measured=measured, answered=answered)
    return 2 * measured >= answered >= measured / 2


def _table(margin: float) -> list[str]:
    """Rows of the confusion table: measured devices, then how many answers fall into each class."""
    rows = []
    pairs = _pairs(margin)
    for measured in sorted({one for one, _ in pairs}):
        mine = [answered for one, answered in pairs if one == measured]
        counts = collections.Counter(_device_class(answered) for answered in mine if answered)
        cells = [f"{counts[name] or ''}" for _, name in CLASSES]
        refused = mine.count(0)
        close = sum(within_a_step(measured, answered) for answered in mine)
        cells = [f"{measured}", *cells, f"{refused or ''}", f"{close} of {len(mine) - refused}"]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def tendency(pairs: Iterable[tuple[int, int]]) -> float:
    """The geometric mean of answered over measured devices; refused ones are left out.

    pairs: measured and answered devices. Raises ValueError where nothing was answered.

    >>> tendency([(4, 8), (8, 4), (2, 4), (1, 0)]) ** 3
    2.0
    """
    logs = [
        math.log2(answered / measured)
        for measured, answered in as_numbers(pairs=[*pairs])
        if answered
    ]
    require(len(logs) > 0, "pairs", "answered once or more", "none")
    return float(2 ** np.mean(logs))


def _of_one_number(measured: list[int]) -> tuple[float, float]:
    """Of runs with so many devices, the largest share that one number for all would meet, and that
    which it would meet within a doubling."""
    same, close = (
        [np.mean([fits(one, told) for one in measured]) for told in {*measured}]
        for fits in (int.__eq__, within_a_step)
    )
    return float(max(same)), float(max(close))


def example() -> SimpleNamespace:
    """Tables of the page and what its text quotes."""
    numbers: dict[str, Any] = {}
    exact, eased = ([pair for pair in _pairs(margin) if pair[1]] for margin in MARGINS)
    for pairs, word in ((exact, "exact"), (eased, "eased")):
        numbers |= {
            f"rows_{word}_answered": len(pairs),
            f"rows_{word}_same": sum(one == two for one, two in pairs),
            f"rows_{word}_smaller": sum(two < one for one, two in pairs),
            f"rows_{word}_larger": sum(two > one for one, two in pairs),
        }
    numbers |= {
        "rows_eased_close": sum(within_a_step(*pair) for pair in eased),
        "rows_eased_tendency": tendency(eased),
    }
    one = _of_one_number([measured for measured, _ in eased])
    numbers |= zip(("rows_one_same", "rows_one_close"), one, strict=True)
    return SimpleNamespace(
        rows_asked=len(_pairs(1.0)),
        rows_margin=100 * (MARGINS[1] - 1),
        rows_confusion="\n".join(_table(MARGINS[1])),
        **numbers,
    )


def check_most_answers_are_within_a_step() -> None:
    """With a quarter of margin 19 of 20 answers are within a doubling of the devices that were
    measured, and the geometric mean is within a tenth of them; without it nine of ten are, and the
    mean is a fifth to a half too large. The measured number is answered nearly twice as often as
    any one number would be right.

    Source: the record.
    """
    for margin, least in zip(MARGINS, (0.9, 0.95), strict=True):
        pairs = [pair for pair in _pairs(margin) if pair[1]]
        close = sum(within_a_step(*pair) for pair in pairs) / len(pairs)
        checks.inside(f"share at {margin:g}", close, least, 1.0)
    same = sum(one == two for one, two in pairs) / len(pairs)
    one_number, _ = _of_one_number([one for one, _ in pairs])
    checks.inside("the same, over one number for all", same / one_number, 1.75, 2.5)
    exact, eased = (tendency(_pairs(margin)) for margin in MARGINS)
    checks.inside("answered over measured, with margin", eased, 0.9, 1.1, kind="measured")
    checks.inside("without", exact, 1.2, 1.5)


def check_more_time_needs_no_more_devices() -> None:
    """A question with a quarter more time is answered with no more devices, and none that was
    answered is refused.

    Source: theory; a fleet that keeps an objective keeps a looser one.
    """
    pairs = zip(*([two for _, two in _pairs(margin)] for margin in MARGINS), strict=True)
    worse = [pair for pair in pairs if pair[0] and not 0 < pair[1] <= pair[0]]
    checks.equal("questions that need more", worse, [], kind="stated")


def check_record_can_be_made_again() -> None:
    """Runs of the record, asked again, are answered as it says: one that is refused without a
    margin, and one whose answer takes a smaller batch limit.

    Source: the record, and its command.
    """
    for run, row in zip(drawn_runs(), read_record(RECORD)["rows"], strict=True):
        if run.line in AGAIN:
            checks.equal(f"line {run.line}", _row(run), row, kind="simulation")


if __name__ == "__main__":
    main()
