"""The continuous batching simulators against each other: event to event, and step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    Served,
    Workload,
    chat_workload,
    simulate_steps,
)
from serving_mathematics.core.batching.event_skipping import simulate

MANY = replace(EIGHT_BILLION, kv_blocks=36_000, token_budget=2048, max_sequences=2048)
CASES = {  # arrivals a second, mean tokens of an answer, and the engine that serves them
    "light load": (4.0, 120.0, EIGHT_BILLION),
    "heavy load": (12.0, 120.0, EIGHT_BILLION),
    "scarce memory": (14.0, 120.0, replace(EIGHT_BILLION, kv_blocks=400)),
    "scarce, a thousand inside": (100.0, 400.0, MANY),
}
SIMULATORS: dict[str, Callable[[Workload, Engine], Served]] = {
    "events": simulate,
    "steps": simulate_steps,
}


def _asked(case: str, requests: int, seed: int) -> tuple[Workload, Engine]:
    rate, tokens, engine = CASES[case]
    rng = np.random.default_rng(seed)
    return chat_workload(rng, rate, requests, mean_output_tokens=tokens), engine


def sample(case: str, simulator: str, requests: int, seed: int) -> dict[str, Any]:
    """Processor time of one simulation, and what happened in it."""
    asked, engine = _asked(case, requests, seed)
    started = time.process_time()
    served = SIMULATORS[simulator](asked, engine)
    cpu_s = time.process_time() - started
    return {
        "requests": requests,
        "cpu_s": cpu_s,
        "steps": int(served.steps),
        "inside": float((served.completion_s - served.admitted_s).sum() / served.busy_s),
        "preempted_share": float((served.preemptions > 0).mean()),
        "busy_share": float(served.busy_s / np.nanmax(served.completion_s)),
    }


def times_that_differ(case: str, requests: int, seed: int) -> int:
    """How many first and last tokens come at other times, in any bit, in the two simulators."""
    asked, engine = _asked(case, requests, seed)
    events, steps = simulate(asked, engine), simulate_steps(asked, engine)
    first = events.first_token_s != steps.first_token_s
    return int(first.sum() + (events.completion_s != steps.completion_s).sum())
