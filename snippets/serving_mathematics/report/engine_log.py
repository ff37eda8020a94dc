"""An engine's own log, in which vLLM, SGLang and LMDeploy say every few seconds how many requests
run and wait and how much of the cache they take, as levels over time.

A line is of one engine; a line of each makes a moment, in which what runs and waits is added up and
the fullest cache counts. An engine that has nothing to do prints nothing and counts as empty.

In LMDeploy requests beyond its places wait before the engine, for a handle.

Assumes: a log of one process, in its order. vLLM prints no year, so times are of one. Few clients
left while they waited for a handle of LMDeploy, which goes on counting them.

Source: vLLM, vllm/v1/metrics/loggers.py, and before 2025 vllm/engine/metrics.py; SGLang, the lines
of its scheduler about decode batches (2024 to 2026); LMDeploy 0.18, lmdeploy/metrics/loggers.py and
stats.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime

import numpy as np

from serving_mathematics.report.evidence import Run, Series
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

SAID = {  # by an engine: its number, what runs, what waits and the cache in use, in any order
    "vLLM": re.compile(
        r"(?:Engine (?P<engine>\d{1,6}): )?Avg prompt throughput: .*"
        r"Running: (?P<running>\d{1,9}) reqs, (?:Swapped: \d+ reqs, )?"
        r"(?:Waiting|Pending): (?P<waiting>\d{1,9}) reqs"
        r"(?:.*?KV cache usage: (?P<percent>\d{1,3}(?:\.\d+)?)%)?"
    ),
    "SGLang": re.compile(
        r"(?:(?=\b[DP]P\d)(?:DP(?P<engine>\d{1,6}) ?)?(?:PP(?P<stage>\d{1,6}))?[^\]\n]{0,80}\] )?"
        r"Decode batch(?: \[\d+\])?[.,] "
        r"#running-req: (?P<running>\d{1,9}), (?:.*?token usage: (?P<share>\d(?:\.\d+)?))?"
        r".*#queue-req: (?P<waiting>\d{1,9})"
    ),
    "LMDeploy": re.compile(
        r"(?:DP(?P<engine>\d{1,6})\] )?Avg thr \(in/out\): [^,\n]*, Server \([a-z/]+\): "
        r"\d+ / \d+ / -?\d+ / (?P<before>-?\d{1,9}), "  # below 0 while the last token is sent
        r"Engine \(running/waiting\): (?P<running>\d{1,9}) / (?P<waiting>\d{1,9})"
        r"(?:.*?KV cache: (?P<percent>\d{1,3}(?:\.\d+)?)%)?"
    ),
}
AT = re.compile(r"(?:(\d{4})-)?(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)")
WRITER = re.compile(r"(\S+) \| |\((\w+:[^()]*)\)")  # that wrote a line, or a replica of Ray's
SAYS_NOTHING = {"running": 0.0, "waiting": 0.0, "cache": math.nan}  # an engine that says nothing
LEAP_YEAR = 2000  # which has every day, where none is told
LOOKED_AT = 2_000_000  # characters, in which the first such line must come


def _logging_engine(text: str) -> str:
    """The engine whose log a text is; "" where it is of none."""
    begin = text[:LOOKED_AT]
    return next((engine for engine, line in SAID.items() if line.search(begin)), "")


def log_lines_run(text: str, where: str) -> Run:
    """An engine's own log as a run with levels over time.

    text: of the log; other lines are passed over. where: its file. Raises ValueError where no line
    says what runs and waits.

    >>> line = "INFO 07-07 23:01:{} metrics.py:341] Avg prompt throughput: 9.0 tokens/s, Avg \\
    ... generation throughput: 4.0 tokens/s, Running: {} reqs, Waiting: 2 reqs, GPU KV cache \\
    ... usage: 94.8%"
    >>> run = log_lines_run("\\n".join(line.format(10 * k, k) for k in (1, 2)), "a.log")
    >>> run.series.level("running").tolist(), run.series.level("cache").tolist()
    ([1.0, 2.0], [0.948, 0.948])
    """
    engine = _logging_engine(text)
    rule = "an engine's log with lines that say Running: 3 reqs, #running-req: 3 or Engine "
    rule += "(running/waiting): 3 / 0"
    require(engine, where, rule, text[:40].split("\n")[0])
    lines = [(line, said) for line in text.splitlines() if (said := SAID[engine].search(line))]
    places = [
        [*map("".join, WRITER.findall(line[: said.start()])), str(int(said["engine"] or 0))]
        for line, said in lines
    ]
    common = set(places[0]).intersection(*places)
    moments: list[dict[str, dict[str, float]]] = []
    times: list[float] = []
    parts = set[tuple[str, str | None]]()  # of the last moment
    for (line, said), place in zip(lines, places, strict=True):
        told = said.groupdict()
        of = " ".join(x for x in place if x not in common)
        part = (of, told.get("stage"))
        if not moments or part in parts:
            moments.append({})
            times.append(_moment_s(line))
            parts.clear()
        parts.add(part)
        moments[-1][of] = _line_levels(told, moments[-1].get(of, SAYS_NOTHING))
    names = sorted({of for moment in moments for of in moment}, key=lambda of: (len(of), of))
    each = {
        of: {
            name: np.array([moment.get(of, SAYS_NOTHING)[name] for moment in moments])
            for name in SAYS_NOTHING
        }
        for of in names
    }
    values = {
        "running": np.sum([one["running"] for one in each.values()], axis=0),
        "waiting": np.sum([one["waiting"] for one in each.values()], axis=0),
        "cache": np.fmax.reduce([one["cache"] for one in each.values()]),
    }
    at = np.array(times)
    if not (np.diff(at) >= 0).all():  # a new year, or none is told
        at = np.full(at.size, math.nan)
    series = Series(at, values, each if len(each) > 1 else {})
    return Run(where, engine, series=series, notes=(f"{at.size:,} moments of the engine's log",))


def _line_levels(said: Mapping[str, str | None], others: Mapping[str, float]) -> dict[str, float]:
    """Of a line: what runs and waits, and the share of the cache where it is told; with other
    stages of its engine, which run their own and count the same as waiting."""
    percent, share = said.get("percent"), said.get("share")
    cache = float(percent) / 100 if percent else float(share) if share else math.nan
    running, waiting = (float(said[name] or 0) for name in ("running", "waiting"))
    waiting += max(0.0, float(said.get("before") or 0))
    levels = (running + others["running"], max(waiting, others["waiting"]))
    return dict(zip(SAYS_NOTHING, (*levels, float(np.fmax(cache, others["cache"]))), strict=True))


def _moment_s(line: str) -> float:
    """The time of a line, in seconds of any beginning; NaN where it tells none."""
    found = AT.search(line)
    if not found:
        return math.nan
    told = [int(part or LEAP_YEAR) for part in found.groups()]
    year, month, day, hour, minute, second = told
    try:
        at = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return math.nan
    return (at - datetime(LEAP_YEAR, 1, 1)).total_seconds()


def check_engines_say_the_same() -> None:
    """Two engines of which one is full, as each log has them, are the same levels.

    Source: the numbers that were written.
    """
    vllm = "INFO 03-01 10:00:{:02} [loggers.py:123] Engine 00{}: Avg prompt throughput: 0.0 "
    vllm += "tokens/s, Avg generation throughput: 9.1 tokens/s, Running: {} reqs, Waiting: {} "
    vllm += "reqs, Deferred: 1 reqs, GPU KV cache usage: {:.1f}%, Prefix cache hit rate: 1.0%"
    sglang = "[2026-03-01 10:00:{:02} DP{} TP0] Decode batch. #running-req: {}, #token: 9, token "
    sglang += "usage: {:.2f}, cuda graph: True, gen throughput (token/s): 9.1, #queue-req: {}, "
    lmdeploy = "[2026-03-01 10:00:{0:02} DP{1}] Avg thr (in/out): 1.0 / 9.1 tokens/s, Server "
    lmdeploy += "(succeeded/failed/routed/waiting): 7 / 0 / 8 / {3}, Engine (running/waiting): {2} "
    lmdeploy += "/ 0, KV cache: {4:.1f}%, "
    for engine, form in (("vLLM", vllm), ("SGLang", sglang), ("LMDeploy", lmdeploy)):
        lines = []
        for second in (0, 10, 20):
            for of, running, waiting, share in ((0, 8, 30 + second, 0.95), (1, 3, 0, 0.2)):
                last = (share, waiting) if engine == "SGLang" else (waiting, 100 * share)
                lines.append(form.format(second, of, running, *last))
        series = log_lines_run("\n".join(lines), "a.log").series
        assert series is not None
        checks.equal(f"{engine} time", np.diff(series.time_s).tolist(), [10.0, 10.0])
        checks.equal(f"{engine} running", series.level("running").tolist(), [11.0] * 3)
        checks.equal(f"{engine} waiting", series.level("waiting").tolist(), [30.0, 40.0, 50.0])
        checks.equal(f"{engine} cache", series.level("cache").tolist(), [0.95] * 3)
        checks.equal(f"{engine} engines", sorted(series.engines), ["0", "1"])


def check_bad_input_is_refused() -> None:
    """A text without such lines says which would do."""
    checks.raises("other", log_lines_run, "GET / 200", "a", match="Running: 3 reqs")
