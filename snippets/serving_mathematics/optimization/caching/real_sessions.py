"""Real sessions of a coding agent in a burst, under limits on requests and on sessions.

    python -m serving_mathematics.optimization.caching.real_sessions AGENTS.csv.gz

reads a table with one row a request (`session, prompt_tokens, output_tokens, reusable_tokens,
think_s`), which readers fetch themselves, and writes records/real_sessions.json in some seconds.
Sessions of the table begin at random, for two and a half hours; for half an hour four times as
many.

Assumes: what `core.fleet` assumes; of a session its first 25 requests, prompts of 190,000 tokens at
most, pauses of ten minutes at most, and a prefix that is of the request before.

Source: kv-cache-tester (Apache-2.0), 710 sessions; own simulation of the book's machine.
"""

from __future__ import annotations

import csv
import io
import math
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import AGENTS
from serving_mathematics.optimization.caching.after_a_burst import AGAIN_S, FEWER, _fleet
from serving_mathematics.support import checks
from serving_mathematics.support.files import read_text
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import require

RECORD = "real_sessions"
COMMAND = "python -m serving_mathematics.optimization.caching.real_sessions AGENTS"
BEFORE_S, BURST_S, AFTER_S = 2400.0, 1800.0, 4800.0
RATES, TIMES = (0.018, 0.022), 4  # sessions a second, and how many times as many in the burst
SEEDS = 3
TURNS, LONGEST, PAUSE_S = 25, 190_000, 600.0
COLUMNS = ("session", "prompt_tokens", "output_tokens", "reusable_tokens", "think_s")
LIMITS = {  # requests that may wait, sessions open over contexts that fit, come back after [s]
    "none": (math.inf, math.inf, math.inf),
    "few wait": (FEWER, math.inf, AGAIN_S),
    "few wait, and who is refused stays away": (FEWER, math.inf, math.inf),
    "few are open": (math.inf, 1.0, AGAIN_S),
    "fewer are open": (math.inf, 0.6, AGAIN_S),
}


def _sessions_of_table(text: str) -> list[list[tuple[int, int, int, float]]]:
    """The requests of each session: tokens in and out, of those in the leading ones that the
    session sent before, and the pause before [s].

    text: a CSV. Raises ValueError where a column is missing.
    """
    rows = list(csv.DictReader(io.StringIO(text)))
    found = list(rows[0]) if rows else []
    there = set(COLUMNS) <= set(found)
    require(there, "the table of sessions", f"one with {', '.join(COLUMNS)}", found)
    sessions: dict[str, list[tuple[int, int, int, float]]] = {}
    for row in rows:
        turns = sessions.setdefault(row["session"], [])
        if len(turns) < TURNS:
            prompt = min(max(int(row["prompt_tokens"]), 2), LONGEST)
            output = min(max(int(row["output_tokens"]), 1), 2000)
            known = turns[-1][0] + turns[-1][1] - 1 if turns else 0
            reused = min(int(row["reusable_tokens"]), prompt - 1, known)
            turns.append((prompt, output, reused, min(float(row["think_s"] or 0), PAUSE_S)))
    return list(sessions.values())


def _asked(
    sessions: list[list[tuple[int, int, int, float]]], rate_per_s: float, seed: int
) -> Requests:
    """Sessions of the table in the order of a draw, over again if there are too few."""
    rng = np.random.default_rng([38, seed])
    whole_s = BEFORE_S + BURST_S + AFTER_S
    calm = rng.uniform(0, whole_s, int(rate_per_s * whole_s))
    burst = BEFORE_S + rng.uniform(0, BURST_S, int((TIMES - 1) * rate_per_s * BURST_S))
    begins = np.sort(np.concatenate([calm, burst]))
    drawn = [sessions[i % len(sessions)] for i in rng.permutation(begins.size)]
    turns = np.array([turn for session in drawn for turn in session])
    first = np.cumsum([0, *map(len, drawn[:-1])])
    after = np.arange(len(turns)) - 1
    after[first] = -1
    arrival_s = np.zeros(len(turns))
    arrival_s[first] = begins
    prompts, outputs, reused = turns[:, :3].astype(np.int64).T
    pauses = np.where(after < 0, 0.0, turns[:, 3])
    tree = prefixes_of_reuse(after, reused, prompts, outputs)
    return Requests(arrival_s, prompts, outputs, after=after, pause_s=pauses, prefixes=tree)


def _served(asked: Requests, limit: str) -> dict[str, float]:
    """Percentages: of the requests those that are served, with a first token as promised; of the
    prompt tokens those found from 40 minutes after the burst on."""
    waiting, share, again_s = LIMITS[limit]
    most = max(1.0, share * AGENTS.cache_tokens / float(asked.prompt_tokens.mean()))
    seen = simulate_fleet(asked, _fleet(waiting, most, again_s), np.random.default_rng(1))
    served = np.isfinite(seen.completion_s)
    in_time = served & (seen.first_token_s - seen.due_s <= AGENTS.promise.ttft_s)
    start = BEFORE_S + BURST_S + 2400.0
    late = served & (seen.sent_s > start) & (seen.sent_s < BEFORE_S + BURST_S + AFTER_S)
    found = seen.found_tokens[late].sum() / max(1, asked.prompt_tokens[late].sum())
    shares = {"served": served.mean(), "in_time": in_time.mean(), "found": found}
    return {name: round(100 * float(share), 1) for name, share in shares.items()}


def main(paths: Sequence[str]) -> int:
    """Simulate and write the record."""
    require(len(paths) == 1, "paths", "one: AGENTS", len(paths))
    sessions = _sessions_of_table(read_text(paths[0]))
    runs: list[dict[str, Any]] = []
    for rate in RATES:
        for seed in range(SEEDS):
            asked = _asked(sessions, rate, seed)
            runs += [
                {"sessions_per_s": rate, "seed": seed, "limit": limit} | _served(asked, limit)
                for limit in LIMITS
            ]
    what = "a burst of real sessions of a coding agent on the book's agents machine [%]"
    told = {"what": what, "source": "kv-cache-tester, Apache-2.0", "sessions": len(sessions)}
    print(f"wrote {write_record(RECORD, provenance(COMMAND, ['numpy']) | told | {'runs': runs})}")
    return 0


def _all(limit: str, what: str) -> list[float]:
    return [float(run[what]) for run in read_record(RECORD)["runs"] if run["limit"] == limit]


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    return SimpleNamespace(
        real_sessions=read_record(RECORD)["sessions"],
        real_open_percent=min(_all("few are open", "in_time")),
        real_wait_percent=max(_all("few wait", "in_time")),
    )


def check_real_sessions_are_kept_by_opening_few() -> None:
    """With real sessions in a burst of four times the load, at least nine tenths of all requests
    get their first token as promised, and all are served, if no more sessions are open than the
    cache holds contexts, or six tenths of that. Without a limit, or if few may wait and others come
    back, it is less than a quarter; if the others stay away, a tenth to a half of all requests are
    not served. Each at two rates and three draws.

    Source: sessions of kv-cache-tester on the book's machine, by the record's command.
    """
    for limit, what, low, high in (
        ("few are open", "in_time", 90, 100),
        ("fewer are open", "in_time", 90, 100),
        ("few are open", "served", 100, 100),
        ("few are open", "found", 80, 100),
        ("none", "in_time", 0, 25),
        ("few wait", "in_time", 0, 25),
        ("few wait, and who is refused stays away", "served", 50, 90),
    ):
        for number, got in enumerate(_all(limit, what)):
            checks.inside(f"{limit}, run {number}: {what}", got, low, high, kind="simulation")


def check_bad_input_is_refused() -> None:
    """A table without its columns and a wrong number of files are errors."""
    checks.raises("columns", _sessions_of_table, "a,b\n1,2\n", match="the table of sessions must")
    checks.raises("files", main, [], match="paths must be one")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
