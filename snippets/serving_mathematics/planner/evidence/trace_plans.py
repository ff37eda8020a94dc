"""Three real traces, planned once each: the answer, the time that it took and the memory.

    python -m serving_mathematics.planner.evidence.trace_plans AZURE.csv MOONCAKE.gz AGENTS.gz

reads three files that readers fetch themselves, plans each with the command in a process of its own
and writes records/trace_plans.json in a minute of one processor. The first two are the files as
published. The third is sessions of a coding agent as a table with one row a request: session,
seconds since it began, tokens in, tokens out, and leading tokens that the session had sent before
(`session, t_s, prompt_tokens, output_tokens, reusable_tokens`). Its sessions begin at random in a
day, and what lasts longer goes on at the day's beginning, so that the day is like any other; an
answer without a token counts as one.

Assumes: replicas chosen at random, and a prefix that is found wherever its request goes.

Source: Azure Public Dataset (Patel et al. 2024), CC-BY-4.0; Mooncake (Qin et al. 2025), Apache-2.0;
kv-cache-tester, Apache-2.0.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.planner import planner_command
from serving_mathematics.planner.questions.questions import read_workload
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_text
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import require

RECORD = "trace_plans"
COMMAND = "python -m serving_mathematics.planner.evidence.trace_plans AZURE MOONCAKE AGENTS"
DAY_S = 86_400.0
KEPT = (  # of the planner's record
    *("replicas", "devices", "device", "parallelism", "decided", "binding", "rate_per_s"),
    *("replicas_if_faster", "replicas_if_slower", "batch_limit", "token_budget"),
    *("ttft_p90_s", "tpot_p90_s", "ttft_p99_s", "tpot_p99_s"),
)
ASKED = {  # what is planned for each, beside the trace
    "Azure, conversations": (
        *("--model", "Llama-3.1-8B", "--device", "H100", "--parallelism", "tp1"),
        *("--ttft-s", "1", "--tpot-s", "0.05"),
    ),
    "Mooncake, conversations": (
        *("--model", "Llama-3.1-70B", "--device", "H200", "--parallelism", "tp4"),
        *("--ttft-s", "10", "--tpot-s", "0.05", "--quantile", "0.9"),
    ),
    "a coding agent": (
        *("--model", "DeepSeek-V4-Flash", "--device", "B200", "--parallelism", "dp8ep8"),
        *("--ttft-s", "10", "--tpot-s", "0.05", "--quantile", "0.9"),
    ),
}


def day_of_sessions(text: str, rng: np.random.Generator) -> str:
    """One day in which all sessions begin at random, as a CSV that the planner reads.

    text: the table of sessions. Raises ValueError where a column is missing.

    >>> rows = "session,t_s,prompt_tokens,output_tokens,reusable_tokens\\na,0,9,0,0\\na,5,12,3,8\\n"
    >>> day_of_sessions(rows, np.random.default_rng(0)).splitlines()[0]
    'time,prompt_tokens,output_tokens,cached_tokens'
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    names = ("session", "t_s", "prompt_tokens", "output_tokens", "reusable_tokens")
    found = list(rows[0]) if rows else []
    there = set(names) <= set(found)
    require(there, "the table of sessions", f"one with {', '.join(names)}", found)
    starts = {name: rng.uniform(0, DAY_S) for name in dict.fromkeys(row["session"] for row in rows)}
    moments = [(starts[row["session"]] + float(row["t_s"])) % DAY_S for row in rows]
    lines = ["time,prompt_tokens,output_tokens,cached_tokens"]
    for place in np.argsort(moments, kind="stable").tolist():
        row = rows[place]
        cells = row["prompt_tokens"], f"{max(1, int(row['output_tokens']))}", row["reusable_tokens"]
        lines.append(f"{moments[place]:.3f},{','.join(cells)}")
    return "\n".join(lines) + "\n"


def _planned(words: Sequence[str]) -> tuple[dict[str, Any], float, int]:
    """In a process of its own: the command's record, processor time [s] and peak memory [KiB]."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.json"
        status = planner_command.main([*words, "--out", str(out)])
        require(status == 0, "the trace", "one that can be planned", f"status {status}")
        told = json.loads(out.read_text())[0]
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return told, time.process_time(), int(peak.group(1)) if peak else 0


def _plan_trace(trace: Path, options: Sequence[str]) -> dict[str, Any]:
    """What the command answers for a trace, and what it used of processor and memory; its peak is
    known on Linux."""
    asked = read_workload(str(trace))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn) as alone:
        told, processor_s, peak = alone.submit(_planned, ["--trace", str(trace), *options]).result()
    return {
        "requests": int(asked.arrival_s.size),
        "hours": round(float(asked.arrival_s[-1]) / 3600, 2),
        "prompt_tokens": round(float(asked.prompt_tokens.mean())),
        "output_tokens": round(float(asked.output_tokens.mean())),
        "cached_percent": round(100 * float(asked.cached_tokens.sum() / asked.prompt_tokens.sum())),
        "processor_s": round(processor_s, 1),
        "peak_mib": round(peak / 1024),
        "answer": {name: told[name] for name in KEPT},
    }


def main(paths: Sequence[str]) -> int:
    """Plan the three traces and write the record."""
    require(len(paths) == 3, "paths", "three: AZURE, MOONCAKE and AGENTS", len(paths))
    azure, mooncake, agents = (Path(path) for path in paths)
    text = read_text(str(agents))
    plans = []
    with tempfile.TemporaryDirectory() as folder:
        day = Path(folder) / "agents.csv"
        day.write_text(day_of_sessions(text, np.random.default_rng(5)))
        for (name, options), trace in zip(ASKED.items(), (azure, mooncake, day), strict=True):
            plans.append({"trace": name, "options": options} | _plan_trace(trace, options))
            print(plans[-1], file=sys.stderr, flush=True)
    what = "plans of three published traces; processor time and peak memory of the command"
    record = provenance(COMMAND, ["numpy"]) | {"what": what, "plans": plans}
    print(f"wrote {write_record(RECORD, record)}")
    return 0


def _row(plan: dict[str, Any]) -> str:
    answer = plan["answer"]
    words = dict(zip(plan["options"][::2], plan["options"][1::2], strict=True))
    share = words.get("--quantile", "0.99")
    cells = (
        plan["trace"],
        f"{plan['requests']:,} in {plan['hours']:g} h",
        f"{plan['prompt_tokens']:,} / {plan['output_tokens']:,}",
        f"{plan['cached_percent']}%",
        f"{words['--model']}, TTFT {words['--ttft-s']} s at p{100 * float(share):g}",
        f"{answer['replicas']} × {answer['devices']} {answer['device']}, {answer['parallelism']}",
        f"{answer['replicas_if_faster']} to {answer['replicas_if_slower'] or 'none'}",
        f"{plan['processor_s']:g}",
        f"{plan['peak_mib']}",
    )
    return f"| {' | '.join(cells)} |"


def example() -> SimpleNamespace:
    """The table of the page."""
    record = read_record(RECORD)
    return SimpleNamespace(
        trace_rows="\n".join(_row(plan) for plan in record["plans"]), traces_on=record["date"]
    )


def check_a_session_keeps_its_steps() -> None:
    """In the day each session has the gaps that it had, and no request is lost.

    Source: three sessions by hand, one of which lasts beyond the day's end.
    """
    sessions = {"1": (0.0, 5.0, 90_000.0), "2": (0.0, 1.5), "3": (0.0,)}
    lines = [
        f"{name},{at},{name}{place},{place},0"
        for name, times in sessions.items()
        for place, at in enumerate(times)
    ]
    head = "session,t_s,prompt_tokens,output_tokens,reusable_tokens"
    text = day_of_sessions("\n".join([head, *lines]), np.random.default_rng(1))
    rows = list(csv.DictReader(io.StringIO(text)))
    moments = {row["prompt_tokens"]: float(row["time"]) for row in rows}
    checks.equal("requests", len(moments), 6)
    checks.holds("in order", list(moments.values()) == sorted(moments.values()))
    for name, at in (("11", 5.0), ("12", 3600.0)):
        later = (moments[name] - moments["10"]) % DAY_S
        checks.close(f"request {name}, after the first [s]", later, at, atol=0.002)
    least = min(int(row["output_tokens"]) for row in rows)
    checks.equal("tokens of the shortest answer", least, 1)


def check_the_record_is_of_the_published_traces() -> None:
    """Numbers of requests and hours are those of the publications.

    Source: Azure Public Dataset, 19,366 requests of the conversation service; Mooncake, 12,031
    requests of an hour.
    """
    azure, mooncake, _ = read_record(RECORD)["plans"]
    checks.equal("Azure", azure["requests"], 19_366, kind="published")
    checks.equal("Mooncake", mooncake["requests"], 12_031, kind="published")
    checks.close("hours of Mooncake", mooncake["hours"], 1.0, atol=0.05, kind="published")
    reaches = "the interval of TTFT reaches beyond its objective"
    checks.equal("Mooncake's is undecided", reaches in mooncake["answer"]["decided"], True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
