"""Small random fleets in which everything is scarce now and then."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
from serving_mathematics.core.batching.continuous_batching import Engine, StepTable
from serving_mathematics.core.fleet.design import Fleet, never
from serving_mathematics.core.fleet.policies import by_priority, token_budgets
from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import least_requests
from serving_mathematics.core.fleet.tiers import Tier


def by_turns(_request: int, view: Any) -> int:
    view.memory["turn"] = view.memory.get("turn", -1) + 1
    return int(view.serving[view.memory["turn"] % len(view.serving)])


def fewest(_request: int, view: Any) -> int:
    return min(view.serving, key=lambda place: (view.requests[place], place))


def least_waiting(_request: int, view: Any) -> int:
    return min(view.serving, key=lambda e: (view.waiting[e], view.stored[e], view.running[e], e))


def most_found(request: int, view: Any) -> int:
    return min(view.serving, key=lambda e: (view.requests[e] - view.found_blocks(request, e), e))


def patient(_request: int, view: Any) -> int:
    """Holds what no engine would begin at once."""
    place = min(view.serving, key=lambda e: (view.requests[e], e))
    return place if view.requests[place] < 3 else -1


def thrice(_request: int, attempt: int, _view: Any) -> float:
    return 0.5 * attempt if attempt <= 3 else math.inf


@dataclass(frozen=True)
class Case:
    requests: Requests
    fleet: Fleet
    kind: str
    weights: tuple[float, ...]


def random_prefixes(
    rng: np.random.Generator, prompts: np.ndarray, outputs: np.ndarray, after: np.ndarray
) -> Prefixes:
    """Prompts that begin like earlier ones, or with an earlier answer; the rest is their own."""
    parent: list[int] = []
    tokens: list[int] = []
    ends: list[int] = []
    node: list[int] = []
    answer: list[int] = []

    def add(above: int, end: int) -> int:
        start = ends[above] if above >= 0 else 0
        if end <= start:
            return above
        parent.append(above)
        tokens.append(end - start)
        ends.append(end)
        return len(parent) - 1

    for i, (prompt, output) in enumerate(zip(prompts.tolist(), outputs.tolist(), strict=True)):
        above = -1
        if i and rng.random() < 0.8:
            j = int(after[i]) if after[i] >= 0 else int(rng.integers(0, i))
            above = answer[j] if rng.random() < 0.7 else node[j]
            while above >= 0 and ends[above] > prompt:
                above = parent[above]
        node.append(add(above, prompt))
        answer.append(add(node[i], prompt + output - 1))
    return Prefixes(np.array(parent), np.array(tokens), np.array(node), np.array(answer))


def random_case(rng: np.random.Generator) -> Case:
    size, block = int(rng.integers(1, 30)), int(rng.choice([1, 2, 4, 16]))
    places, count = int(rng.integers(1, 9)), int(rng.choice([1, 2, 3]))
    times = np.sort(rng.integers(0, 40, size) * rng.choice([0.5, 0.013]))
    prompts, outputs = rng.integers(1, 60, size), rng.integers(1, 40, size)
    after = np.full(size, -1)
    if rng.random() < 0.5:
        later = rng.random(size) < 0.4
        after = np.where(later & (np.arange(size) > 0), (rng.random(size) * np.arange(size)), -1.0)
        after = after.astype(int)
        times = np.where(after >= 0, 0.0, times)
    tenant = rng.integers(0, 3, size)
    ranks = rng.integers(0, 3, size)
    caching = bool(rng.random() < 0.6)
    prefixes = random_prefixes(rng, prompts, outputs, after) if caching else None
    requests = Requests(
        times, prompts, outputs, tenant=tenant, priority=ranks, after=after,
        pause_s=rng.choice([0.0, 0.5, 3.0], size), prefixes=prefixes,
    )  # fmt: skip
    least = int((-(-(prompts + outputs - 1) // block)).max())
    engines = []
    for _ in range(count):
        table = None
        if rng.random() < 0.3:
            prompt = np.r_[0.0, np.cumsum(rng.choice([0.0, 0.25], 100))]
            table = StepTable(rng.choice([0.0, 0.5], 40), prompt, 0.25, float(rng.choice([0, 0.5])))
        engines.append(
            Engine(
                step_s=float(rng.choice([0.5, 0.01])),
                prefill_token_s=float(rng.choice([0, 0.5])),
                decode_token_s=float(rng.choice([0, 0.25])),
                context_token_s=float(rng.choice([0, 0.001])),
                kv_blocks=least + int(rng.choice([0, 5, 20, 1000])),
                block_tokens=block,
                token_budget=places + int(rng.choice([0, 5, 50])),
                max_sequences=places,
                table=table,
            )
        )
    kind = str(rng.choice(["first", "priority", "fair"]))
    weights = (1.0, 2.0, 0.5)
    limited = rng.random() < 0.3
    fleet = Fleet(
        engines,
        route=(by_turns, fewest, least_requests_plain(rng), least_waiting, most_found, patient)[
            int(rng.integers(0, 6))
        ],
        schedule=by_priority if kind == "priority" else None,
        weights=weights if kind == "fair" else None,
        preempt=by_priority if kind == "priority" else None,
        caching=caching,
        watermark_blocks=int(rng.choice([0, 0, 2])),
        most_waiting=float(rng.choice([0, 2, math.inf])) if limited else math.inf,
        most_waiting_tokens=float(rng.choice([70, 200, math.inf])) if limited else math.inf,
        retry=thrice if rng.random() < 0.5 else never,
        most_in_flight=float(rng.choice([1, 5, math.inf])),
        refresh_s=float(rng.choice([0.0, 1.0])),
        **parts(rng, count, caching, float(times.max())),
    )
    return hasty(rng, Case(requests, fleet, kind, weights), float(times.max()))


def hasty(rng: np.random.Generator, case: Case, end: float) -> Case:
    """Clients that leave, engines that hear of it or not, and engines that stand still."""
    requests, fleet = case.requests, case.fleet
    if rng.random() < 0.4:
        size = requests.arrival_s.size
        columns = {one.name: getattr(requests, one.name) for one in fields(requests)}
        columns["patience_s"] = rng.choice([0.7, 3.0, 12.0, math.inf], size)
        requests = Requests(**columns)
        late_s = 0.0 if fleet.prompt_engines or fleet.failures else float(rng.choice([0.0, 0.9]))
        fleet = replace(fleet, cancels=bool(rng.random() < 0.6), hears_s=late_s)
    if rng.random() < 0.3:
        starts = (rng.integers(0, 8, 2) * end / 6).tolist()
        places = rng.integers(0, len(fleet.engines), 2).tolist()
        long = rng.choice([0.0, 1.3, 9.0], 2).tolist()
        stalls = [(a, a + b, e) for a, b, e in zip(starts, long, places, strict=True)]
        fleet = replace(fleet, stalls=stalls)
    return replace(case, requests=requests, fleet=fleet)


def parts(rng: np.random.Generator, count: int, caching: bool, end: float) -> dict[str, Any]:
    """Separate engines for prompts, tiers, failures."""
    found: dict[str, Any] = {}
    if rng.random() < 0.2:
        rates, bursts = rng.choice([8.0, 64.0], 3).tolist(), rng.choice([20.0, 90.0], 3).tolist()
        found["admit"] = partial(token_budgets, tokens_per_s=rates, burst_tokens=bursts)
    if count > 1 and rng.random() < 0.4:
        found |= {
            "prompt_engines": int(rng.integers(1, count)),
            "route_answer": (by_turns, fewest)[int(rng.integers(0, 2))],
            "token_bytes": float(rng.choice([0.0, 1.0])),
            "link_bytes_per_s": float(rng.choice([16.0, math.inf])),
            "link_s": float(rng.choice([0.0, 0.25])),
        }
    if caching and rng.random() < 0.5:
        found["tiers"] = [
            Tier(int(rng.integers(1, 40)), 1.0, float(rng.choice([8.0, 64.0])), bool(shared))
            for shared in rng.integers(0, 2, int(rng.integers(1, 3)))
        ]
    if rng.random() < 0.3:
        found["failures"] = [
            (float(rng.integers(0, 8) * end / 4), int(rng.integers(0, count)))
            for _ in range(int(rng.integers(1, 3)))
        ]
    return found


def least_requests_plain(rng: np.random.Generator) -> Any:
    """The simulator's own rule where the view has it."""
    del rng

    def route(request: int, view: Any) -> int:
        return least_requests(request, view) if hasattr(view, "least") else fewest(request, view)

    return route
