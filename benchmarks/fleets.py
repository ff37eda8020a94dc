"""Time the simulator of fleets: `python benchmarks/fleets.py`, or `make bench-fleets`.

Processor time, in rounds in which everything takes its turn; what is written is the median with its
range. A chat trace on more and more replicas, at the same load each; sessions of an agent with
caches, under several routers; beside them the same engines apart, each with its own share of the
requests, by the event-skipping simulator, which knows no router; and a thousand requests through
other simulators of fleets, on engines whose steps take the same time. Then once: a day of ten
million requests, and each real trace under every policy, with the largest memory that the process
took.

The traces are files that you put into .cache/traces, as published; of those that are missing
nothing is timed, and no record is written.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Python put only our folder there

import numpy as np
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    StepTable,
    Workload,
    chat_workload,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.policies import (
    back_off,
    by_priority,
    shortest_answer,
    shortest_prompt,
    token_budgets,
)
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import ROUTERS, round_robin
from serving_mathematics.core.fleet.scaling import Scaling, keda
from serving_mathematics.core.fleet.scaling_rules import hpa, knative
from serving_mathematics.core.fleet.sessions import AGENT, draw_sessions
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.tiers import Tier
from serving_mathematics.core.fleet.traces import read_trace
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.traffic import draw_lengths, draw_minutes
from serving_mathematics.support.files import read_text
from serving_mathematics.support.measuring import write_record

from benchmarks import environment, fleet_peers, timing
from benchmarks.processes import BenchmarkError

COMMAND = "python benchmarks/fleets.py"
RECORD = "fleet_speed"
TRACES = {  # as published, in the folder of traces
    "chat": "AzureLLMInferenceTrace_conv.csv",
    "long chat": "mooncake_conversation_trace.jsonl.gz",
    "retrieval": "ragpulse_trace.jsonl.gz",
    "agents": "agent_sessions.csv.gz",
}
REPLICAS = (8, 64, 1000)
PER_REPLICA = 0.7  # requests a second of each; of the drawn ones a replica serves six at most
ROUTED = ("least requests", "cache aware", "endpoint picker")
DAY, DAY_S = 10_000_000, 86_400.0
EIGHT = 8
LOAD = 0.5  # of the engines, where a trace meets every policy
TENANTS, LEVELS = 4, 3
PEER_REQUESTS, PEER_PER_S = 1000, 20.0
FIRST_S = 1e-9  # of every step, which may not take nothing
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
        fleet = Fleet([CODER] * EIGHT, ROUTERS[name], caching=True)
        size = agents.arrival_s.size
        found[f"agents, {name}"] = size, partial(simulate_fleet, agents, fleet)
    return found


def timed(
    all_cases: dict[str, tuple[int, Callable[[], object]]], rounds: int
) -> dict[str, dict[str, Any]]:
    """Requests of each, and how many it does in a second."""
    seen: dict[str, list[float]] = {name: [] for name in all_cases}
    for number in range(rounds):
        for name in timing.in_turn(list(all_cases), number):
            size, run = all_cases[name]
            start = time.process_time()
            run()
            seen[name].append(size / (time.process_time() - start))
    return {
        name: {"requests": all_cases[name][0], "per_s": timing.spread(rates)}
        for name, rates in seen.items()
    }


def most_memory_gb() -> float:
    """The largest memory that this process took so far [10⁹ bytes]."""
    told = Path("/proc/self/status")
    if told.is_file():  # what getrusage says there was at least that of who started it
        most = 1024 * int(told.read_text("ascii").partition("VmHWM:")[2].split()[0])
    else:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        most *= 1 if sys.platform == "darwin" else 1024
    return round(most / 1e9, 3)


def day(requests: int) -> dict[str, Any]:
    """A day of the chat machines: minutes of a real hour over and over, lengths of the whole."""
    rng = np.random.default_rng(1)
    arrivals, _ = draw_minutes(rng, requests / DAY_S, requests, CHAT.traffic)
    lengths = draw_lengths(rng, CHAT.traffic, requests)
    asked = Requests(arrivals, lengths.prompt_tokens, lengths.output_tokens)
    del arrivals, lengths
    start = time.process_time()
    seen = simulate_fleet(asked, Fleet([CHAT.engine] * EIGHT))
    spent_s = time.process_time() - start
    first_s = seen.first_token_s - asked.arrival_s
    kept = float(np.mean(first_s <= CHAT.promise.ttft_s))
    return {
        "requests": requests,
        "cpu_s": round(spent_s, 1),
        "memory_gb": most_memory_gb(),
        "first_token_kept": kept,
    }


def _with_load(asked: Requests, path: Path) -> Requests:
    """A trace at the load that is wanted, of tenants and levels in turn."""
    prompts, answers = float(asked.prompt_tokens.mean()), float(asked.output_tokens.mean())
    token_s = CODER.step_s / 64 + CODER.decode_token_s
    token_s += CODER.context_token_s * (prompts + answers / 2)
    each_s = prompts * CODER.prefill_token_s + answers * token_s
    size = asked.arrival_s.size
    last_s = size * each_s / (LOAD * EIGHT)
    if (asked.after >= 0).any():
        starts = np.linspace(0.0, last_s, int((asked.after < 0).sum()))
        asked = _read(path, starts)
        arrivals = asked.arrival_s
    else:
        arrivals = asked.arrival_s * last_s / asked.arrival_s[-1]
    return Requests(
        arrivals,
        asked.prompt_tokens,
        asked.output_tokens,
        tenant=np.arange(size) % TENANTS,
        priority=np.arange(size) % LEVELS,
        after=asked.after,
        pause_s=asked.pause_s,
        prefixes=asked.prefixes,
    )


def _read(path: Path, starts_s: Any = 0.0) -> Requests:
    return read_trace(read_text(str(path)), sort=True, session_starts_s=starts_s)


def policies(asked: Requests) -> dict[str, Fleet]:
    """A fleet for each policy: routers, orders, limits, what is apart, and who comes and goes."""
    usual = partial(Fleet, [CODER] * EIGHT, caching=asked.prefixes is not None)
    tokens = asked.prompt_tokens + asked.output_tokens
    last_s = max(float(asked.arrival_s.max()), 1.0)
    rates = [2.0 * float(tokens.sum()) / TENANTS / last_s] * TENANTS
    bursts = [10.0 * float(tokens.max())] * TENANTS
    places = CODER.max_sequences

    def scaled(rule: Callable[[], Any], sync_s: float) -> Fleet:
        return usual(scaling=Scaling(rule, CODER, sync_s, 180.0, 1, 2 * EIGHT))

    found = {f"router: {name}": usual(route) for name, route in ROUTERS.items()}
    found |= {
        "shortest prompt first": usual(schedule=shortest_prompt),
        "shortest answer first": usual(schedule=shortest_answer),
        "priorities": usual(schedule=by_priority, preempt=by_priority),
        "fair between tenants": usual(weights=[1.0] * TENANTS),
        "budgets of tenants": usual(
            admit=partial(token_budgets, tokens_per_s=rates, burst_tokens=bursts)
        ),
        "a limit on the line, and retries": usual(most_waiting=4, retry=back_off),
        "prompts and answers apart": usual(
            prompt_engines=EIGHT // 2, token_bytes=1e5, link_bytes_per_s=5e10
        ),
        "HPA": scaled(lambda: hpa(0.2 * places, signal="concurrency"), 15.0),
        "KEDA": scaled(lambda: keda(5.0, places), 30.0),
        "Knative": scaled(lambda: knative(0.2 * places), 2.0),
    }
    if asked.prefixes is not None:
        tiers = [Tier(4 * CODER.kv_blocks, 64e5, 5e10)]
        found["a cache on the host"] = usual(tiers=tiers)
    return found


def every_policy(path: str) -> dict[str, Any]:
    """Seconds of a trace under each, and the memory of all of it."""
    start = time.process_time()
    asked = _with_load(_read(Path(path)), Path(path))
    read_s, seconds = time.process_time() - start, {}
    for name, fleet in policies(asked).items():
        start = time.process_time()
        simulate_fleet(asked, fleet)
        seconds[name] = round(time.process_time() - start, 3)
    return {
        "requests": asked.arrival_s.size,
        "read_s": round(read_s, 2),
        "seconds": seconds,
        "memory_gb": most_memory_gb(),
    }


def _ours(asked: Requests, engine: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """The same as a peer's answer."""
    own = dict(engine)
    table = [0.0, *[own.pop("step_s")] * engine["max_sequences"]]
    longest = int((asked.prompt_tokens + asked.output_tokens).max())
    step_s, steps = own.pop("first_s"), StepTable(table, [0.0] * (longest + 1))
    one = Engine(step_s=step_s, table=steps, **own)
    fleet = Fleet([one] * replicas, round_robin)
    start = time.process_time()
    seen = simulate_fleet(asked, fleet)
    spent_s = time.process_time() - start
    return {"cpu_s": spent_s, "first_s": seen.first_token_s, "last_s": seen.completion_s}


def _latencies(asked: Requests, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Time to the first token and per further token of each request [s]."""
    first_s, last_s = np.array(answer["first_s"]), np.array(answer["last_s"])
    later = asked.output_tokens - 1
    tpot_s = (last_s - first_s)[later > 0] / later[later > 0]
    return {"ttft_s": first_s - asked.arrival_s, "tpot_s": tpot_s}


def peers(trace: Requests, rounds: int) -> dict[str, Any]:
    """A thousand requests through other simulators, beside ours: times, and how far they are apart.

    One that cannot be had, or fails, has what it said in their place.
    """
    size = slice(0, PEER_REQUESTS)
    own = trace.arrival_s[size] * (PEER_REQUESTS / PEER_PER_S / trace.arrival_s[PEER_REQUESTS - 1])
    asked = Requests(own, trace.prompt_tokens[size], trace.output_tokens[size])
    names = ("arrival_s", "prompt_tokens", "output_tokens")
    given: dict[str, Any] = {
        "asked": {name: getattr(asked, name).tolist() for name in names},
        "engine": {"first_s": FIRST_S}
        | {name: value for name, value in vars(EIGHT_BILLION).items() if name != "table"},
        "replicas": EIGHT,
    }
    ours = _latencies(asked, _ours(asked, given["engine"], EIGHT))
    found: dict[str, Any] = {}
    for peer, packages in fleet_peers.PACKAGES.items():
        spent: dict[str, list[float]] = {"ours": [], "theirs": []}
        try:
            python = environment.peers_python(name=peer.lower(), packages=packages)
            for _ in range(rounds):
                spent["ours"].append(_ours(asked, given["engine"], EIGHT)["cpu_s"])
                with environment.workers([python]) as (worker,):  # Vidur runs once in a process
                    answer = worker.ask("fleet_peers", peer.lower(), **given)
                spent["theirs"].append(answer["cpu_s"])
        except BenchmarkError as problem:
            found[peer] = {"packages": packages, "said": str(problem).rpartition("): ")[2][-300:]}
            continue
        row: dict[str, Any] = {"packages": packages, "requests": PEER_REQUESTS}
        row["ratio"] = timing.spread(timing.ratios(spent["theirs"], spent["ours"]))
        row |= {f"{whose}_cpu_s": timing.spread(times) for whose, times in spent.items()}
        for kind, values in _latencies(asked, answer).items():
            both = {
                share: [float(np.quantile(one, float(share))) for one in (ours[kind], values)]
                for share in ("0.5", "0.9", "0.99")
            }
            furthest = float(np.abs(ours[kind] - values).max())
            row[kind] = {"quantiles, ours and theirs": both, "furthest": furthest}
        found[peer] = row
    return found


def apart_in_a_process(function: str, **given: Any) -> dict[str, Any]:
    """What a function of this module finds in a process of its own, whose memory is its own."""
    with environment.workers([Path(sys.executable)]) as (worker,):
        answer: dict[str, Any] = worker.ask("fleets", function, **given)
    return answer


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when all was measured, 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--traces", type=Path, default=environment.ROOT / ".cache" / "traces")
    parser.add_argument("--requests", type=int, default=20_000, help="where no trace is there")
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--day", type=int, default=DAY, help="requests; 0 for none")
    parser.add_argument("--output", type=Path, help="folder of the record")
    asked = parser.parse_args(arguments)
    files = {name: asked.traces / file for name, file in TRACES.items()}
    there = {name: path.resolve() for name, path in files.items() if path.is_file()}
    trace = _read(there["chat"]) if "chat" in there else None
    record: dict[str, Any] = timing.about(COMMAND, ["numpy"], {})
    record["what"] = "the simulator of fleets, and others on the same requests"
    try:
        record["speed"] = timed(cases(trace, asked.requests, asked.sessions), asked.rounds)
        for name, row in record["speed"].items():
            print(f"{name:26s} {timing.text(row['per_s'])} requests/s", flush=True)
        if asked.day:
            record["day"] = apart_in_a_process("day", requests=asked.day)
            print(f"a day: {record['day']}", flush=True)
        record["traces"] = {}
        for name, path in there.items():
            record["traces"][name] = apart_in_a_process("every_policy", path=str(path))
            print(f"{name}: {record['traces'][name]}", flush=True)
        if trace is not None:
            record["peers"] = peers(trace, asked.rounds)
            print(f"peers: {record['peers']}", flush=True)
    except BenchmarkError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    missing = [file for name, file in TRACES.items() if name not in there]
    if missing:
        print(f"no record without {', '.join(missing)} in {asked.traces}", file=sys.stderr)
    elif asked.day:
        print(f"wrote {write_record(RECORD, record, asked.output)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
