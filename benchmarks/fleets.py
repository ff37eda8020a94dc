"""Time the simulator of fleets: `python benchmarks/fleets.py`, or with `--trace FILE` on a trace.

Requests a second of processor time, the median over rounds with its range, in which everything
takes its turn: a chat trace on more and more replicas, at the same load each; sessions of an agent
with caches, under several routers; and beside them the same engines apart, each with its own share
of the requests, by the event-skipping simulator, which knows no router. With `--day N` once so many
requests, with the largest memory that the process took.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Python put only our folder there

import numpy as np
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    Workload,
    chat_workload,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import ROUTERS
from serving_mathematics.core.fleet.sessions import AGENT, draw_sessions
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.traces import read_trace

from benchmarks import timing

REPLICAS = (8, 64, 512)
PER_REPLICA = 0.7  # requests a second of each; of the drawn ones a replica serves six at most
ROUTED = ("least requests", "cache aware", "endpoint picker")
CODER = Engine(  # of the order of a model for agents on eight devices; 3 million tokens of memory
    step_s=0.008,
    prefill_token_s=1e-5,
    decode_token_s=8e-5,
    context_token_s=6.5e-8,
    kv_blocks=46_875,
    block_tokens=64,
    token_budget=8192,
    max_sequences=256,
)


def chat(trace: Requests | None, requests: int, rate: float) -> Requests:
    """A trace, or drawn requests of its mean lengths, at a rate of all [1/s]."""
    if trace is None:
        drawn = chat_workload(np.random.default_rng(1), rate, requests, 1155.0, 211.0)
        return Requests(drawn.arrival_s, drawn.prompt_tokens, drawn.output_tokens)
    own = trace.arrival_s.size / trace.arrival_s[-1]
    return Requests(trace.arrival_s * own / rate, trace.prompt_tokens, trace.output_tokens)


def apart(asked: Requests, replicas: int) -> None:
    """The same requests, every so many of them to one engine that knows of no other."""
    for place in range(replicas):
        own = slice(place, None, replicas)
        columns = asked.arrival_s[own], asked.prompt_tokens[own], asked.output_tokens[own]
        simulate(Workload(*columns), EIGHT_BILLION)


def cases(
    trace: Requests | None, requests: int, sessions: int
) -> dict[str, tuple[int, Callable[[], object]]]:
    """What is timed: a name, how many requests, and a run."""
    found: dict[str, tuple[int, Callable[[], object]]] = {}
    for replicas in REPLICAS:
        asked = chat(trace, requests, PER_REPLICA * replicas)
        fleet = Fleet([EIGHT_BILLION] * replicas)
        size = asked.arrival_s.size
        found[f"chat, {replicas} replicas"] = size, partial(simulate_fleet, asked, fleet)
    first = chat(trace, requests, PER_REPLICA * REPLICAS[0])
    found[f"chat, {REPLICAS[0]} apart"] = first.arrival_s.size, partial(apart, first, REPLICAS[0])
    starts = 20.0 * np.arange(sessions)
    agents = draw_sessions(np.random.default_rng(2), AGENT, sessions, starts)
    for name in ROUTED:
        fleet = Fleet([CODER] * 8, ROUTERS[name], caching=True)
        size = agents.arrival_s.size
        found[f"agents, {name}"] = size, partial(simulate_fleet, agents, fleet)
    return found


def timed(all_cases: dict[str, tuple[int, Callable[[], object]]], rounds: int) -> dict[str, str]:
    """Requests a second of each, the median and the range over rounds."""
    seen: dict[str, list[float]] = {name: [] for name in all_cases}
    for number in range(rounds):
        for name in timing.in_turn(list(all_cases), number):
            size, run = all_cases[name]
            start = time.process_time()
            run()
            seen[name].append(size / (time.process_time() - start))
    return {
        name: f"{np.median(rates):9,.0f} requests/s ({min(rates):,.0f} to {max(rates):,.0f})"
        for name, rates in seen.items()
    }


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--trace", type=Path, help="a chat trace that `read_trace` reads")
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--day", type=int, default=0, help="so many requests once, and memory")
    asked = parser.parse_args()
    if asked.day:
        start = time.process_time()
        simulate_fleet(chat(None, asked.day, 40.0), Fleet([EIGHT_BILLION] * 8))
        spent_s = time.process_time() - start
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{asked.day:,} requests: {spent_s:.1f} s of processor time, {most:.2f} GiB")
        return
    trace = None if asked.trace is None else read_trace(asked.trace.read_text(encoding="utf-8"))
    for name, line in timed(cases(trace, asked.requests, asked.sessions), asked.rounds).items():
        print(f"{name:26s} {line}")


if __name__ == "__main__":
    main()
