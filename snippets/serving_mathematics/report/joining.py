"""Runs of several files put together, where they say more of the same requests.

Scrapes of one engine stand in a row, a log goes with the table of its engine, and a tool's
summaries with its records of the same requests.

Assumes: files in the order in which they were written.

Source: inference-perf, reportgen, and AIPerf, which write both (2026).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from serving_mathematics.report.engine_metrics import _means
from serving_mathematics.report.evidence import GROWING, FloatArray, Run


def joined(runs: Sequence[Run]) -> list[Run]:
    """Runs of several files: scrapes of one engine in a row, a log and the table of its engine, and
    a tool's summaries and its records of the same requests are put together.

    runs: in the order of their files.

    >>> from serving_mathematics.report.engine_metrics import scrape_run
    >>> parts = [scrape_run(f"vllm:num_preemptions_total {k}", f"{k}.txt") for k in (2, 5)]
    >>> joined(parts)[0].series.grown("preemptions")
    3.0
    """
    found: list[Run] = []
    for run in runs:
        if found and found[-1].tool == run.tool and _scraped(found[-1]) and _scraped(run):
            found[-1] = _after(found[-1], run)
        else:
            found.append(run)
    found = _once(found)
    for tool in dict.fromkeys(run.tool for run in found if _is_records(run)):
        found = _with_summaries(found, tool)
    logs = [run for run in found if run.has("latency_s") and run.series is None]
    levels = [run for run in found if run.series is not None and not run.size]
    if len(logs) == 1 and len(levels) == 1:
        both = replace(
            logs[0], series=levels[0].series, where=f"{logs[0].where}, {levels[0].where}"
        )
        found = [both if one is logs[0] else one for one in found if one is not levels[0]]
    return found


def _once(runs: Sequence[Run]) -> list[Run]:
    """Runs without those that say in another form what one before them says."""
    found: list[Run] = []
    for run in runs:
        same = [one for one in found if one.size == run.size and _same(one, run)]
        if same:
            place = found.index(same[0])
            notes = tuple(dict.fromkeys((*same[0].notes, *run.notes)))
            found[place] = replace(same[0], told={**run.told, **same[0].told}, notes=notes)
        else:
            found.append(run)
    return found


def _same(one: Run, other: Run) -> bool:
    """Whether two summaries of a tool count the same requests and their times, or two results
    hold the same ones."""
    names = ("ttft_s", "tpot_s", "prompt_tokens", "output_tokens")
    pairs = [(one.said(name), other.said(name)) for name in names]
    known = [(a, b) for a, b in pairs if math.isfinite(a + b)]
    alike = all(abs(a - b) <= 1e-3 * abs(a) for a, b in known)  # the places that a table prints
    alike &= np.array_equal(one.column("ttft_s"), other.column("ttft_s"), equal_nan=True)
    return one.tool == other.tool and 0 < _count(one) == _count(other) and len(known) > 2 and alike


def _is_records(run: Run) -> bool:
    """Whether a run is requests of which another file of its tool has the summary."""
    return run.size > 0 and "completed" not in run.told


def _with_summaries(runs: Sequence[Run], tool: str) -> list[Run]:
    """Runs with the records of a tool in the place of the summaries that count as many requests, or
    cut into the stages that do so together; the rest as it is."""
    records = [run for run in runs if run.tool == tool and _is_records(run)]
    told = [run for run in runs if run.tool == tool and not run.size and _count(run) > 0]
    if len(records) != 1 or not told:
        return list(runs)
    record = records[0]
    whole = [run for run in told if _count(run) == record.size]
    stages = [run for run in told if run not in whole]
    stages.sort(key=lambda run: [int(part) for part in re.findall(r"\d+", run.where)])
    if sum(map(_count, stages)) == record.size and record.has("sent_s"):
        parts = _cut(record, stages)
    elif whole:
        said = dict(record.told)
        for one in whole:
            said = {**one.told, **said}
        notes = (*whole[0].notes, *record.notes)
        parts = [replace(record, told=said, model=record.model or whole[0].model, notes=notes)]
        stages = []
    else:
        return list(runs)
    gone = {id(run) for run in (*whole, *stages)}
    kept = [[*parts] if run is record else [run] for run in runs if id(run) not in gone]
    return [run for group in kept for run in group]


def _count(run: Run) -> int:
    """Requests of a summary, answered or not; 0 where it does not tell."""
    total = run.told.get("completed", 0.0) + run.told.get("failed", 0.0)
    return int(total) if math.isfinite(total) else 0


def _cut(record: Run, stages: Sequence[Run]) -> list[Run]:
    """Requests in the order in which they were sent, as many for each stage as it counts."""
    record = record.in_order()
    ends = np.cumsum([_count(stage) for stage in stages]).tolist()
    sent = record.column("sent_s")
    parts = []
    for stage, low, high in zip(stages, [0, *ends], ends, strict=False):
        columns = {name: column[low:high] for name, column in record.columns.items()}
        until = float(sent[high]) if high < record.size else math.inf
        own = (record.gap_end_s >= sent[low]) & (record.gap_end_s < until)
        parts.append(
            replace(
                stage,
                where=f"{record.where}, {stage.where}",
                columns=columns,
                gaps_s=record.gaps_s[own],
                gap_end_s=record.gap_end_s[own],
                notes=(*stage.notes, *record.notes),
            )
        )
    return parts


def _scraped(run: Run) -> bool:
    return run.series is not None and any("scrape" in note for note in run.notes)


def _in_a_row(
    parts: Sequence[Mapping[str, FloatArray]], sizes: Sequence[int]
) -> dict[str, FloatArray]:
    """The last so many numbers of each name in each part; NaN where a part does not tell them."""
    pairs = list(zip(parts, sizes, strict=True))
    return {
        name: np.concatenate([x.get(name, np.full(size, math.nan))[-size:] for x, size in pairs])
        for name in dict.fromkeys(name for part in parts for name in part)
    }


def _after(before: Run, run: Run) -> Run:
    """Two runs of scrapes as one, counters from the first of them on."""
    assert before.series is not None
    assert run.series is not None
    both = (before.series, run.series)
    sizes = [one.time_s.size for one in both]
    values = _in_a_row([one.values for one in both], sizes)
    engines = {
        of: _in_a_row([one.engines.get(of, {}) for one in both], sizes)
        for of in dict.fromkeys(of for one in both for of in one.engines)
    }
    times = np.concatenate([one.time_s for one in both])
    where = before.where
    where += f", {run.where}" * (not where.endswith(run.where))  # a file may hold several
    series = type(run.series)(times, values, engines)
    known = {name: series.level(name) for name in GROWING}
    fell = [name.replace("_", " ") for name, x in known.items() if (np.diff(x) < 0).any()]
    notes = ["several scrapes", *run.notes[1:]]
    if (np.diff(series.level("started_s")) != 0).any():
        told = "what each counted is added where counters fell; else report the later alone"
        notes.append(f"their processes started at different times: {told}")
    elif fell:
        told = f"{', '.join(fell[:2])} fell between them"
        notes.append(f"{told}: the engine began anew, or the files are in the other order")
    return replace(before, where=where, notes=tuple(notes), series=series, told=_means(series))
