"""What four engines are asked: prompts as they are, documents among them, long conversations.

Assumes: what the book's machines assume; Poisson arrivals; load in what the engines carry of a mix.

Source: lengths of the book's machines; lengths and shares of documents by choice.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import draw_lengths

ENGINES, REQUESTS = 4, 6000
MIXES: Mapping[str, tuple[Machine, float, int]] = {  # share of long prompts, and their tokens
    "chat": (CHAT, 0.0, 0),
    "documents": (CHAT, 0.02, 16_000),
    "many documents": (CHAT, 0.1, 16_000),
    "longer documents": (CHAT, 0.02, 32_000),
    "long conversations": (MIXTURE, 0.0, 0),
}


@dataclass(frozen=True, eq=False)
class _Asked:
    """Requests, what they are asked of, and which of them have long prompts."""

    machine: Machine
    workload: Workload
    long: npt.NDArray[np.bool_]


@functools.cache
def _engine(machine: Machine, longest: int, token_budget: int) -> Engine:
    """A machine's engine for prompts of up to so many tokens."""
    asked = Workload(np.zeros(1), np.array([longest - 1000]), np.array([1000]))
    constants = front_constants(find_front(machine.front))
    budget = token_budget or machine.token_budget
    made = engine_of(
        machine.deployment, asked, budget, machine.places, constants=constants, longest=longest
    )
    return made.engine


def _engine_for(mix: str, token_budget: int = 0) -> Engine:
    """The engine that a mix is asked of; its own budget where there is none."""
    machine = MIXES[mix][0]
    longest = 36_000 if machine is CHAT else int(machine.sample.prompt_tokens.max()) + 40_000
    return _engine(machine, longest, token_budget)


def _drawn(mix: str, requests: int, rng: np.random.Generator) -> tuple[Any, ...]:
    """Prompts, answers, found tokens and which are long."""
    machine, share, tokens = MIXES[mix]
    drawn = draw_lengths(rng, machine.traffic, requests)
    prompts, cached = drawn.prompt_tokens, drawn.cached_tokens
    if share:
        long = rng.random(requests) < share
        prompts = np.where(long, tokens, prompts)
    else:  # a tenth has the longest to read
        fresh = prompts - cached
        long = fresh > np.quantile(fresh, 0.9)
    return prompts, drawn.output_tokens, cached, long


@functools.cache
def _ceiling_per_s(mix: str) -> float:
    """Requests a second that one engine carries at most."""
    engine, machine = _engine_for(mix), MIXES[mix][0]
    prompts, outputs, cached, _ = _drawn(mix, 20_000, np.random.default_rng(0))
    held = np.average(prompts + outputs, weights=outputs)
    most = max(1, min(machine.places, int(machine.cache_tokens / held)))
    return saturated_rate(prompts, outputs, replace(engine, max_sequences=most), cached)


def _ask(mix: str, load: float, seed: int, together: int = 1) -> _Asked:
    """Requests of a mix at a load; so many at a time."""
    rng = np.random.default_rng([17, seed])
    prompts, outputs, cached, long = _drawn(mix, REQUESTS, rng)
    most = _ceiling_per_s(mix)
    gaps = rng.exponential(together / (load * ENGINES * most), REQUESTS // together)
    arrivals = np.repeat(np.cumsum(gaps), together)
    count = arrivals.size
    columns = (prompts[:count], outputs[:count], cached[:count])
    return _Asked(MIXES[mix][0], Workload(arrivals, *columns), long[:count])
