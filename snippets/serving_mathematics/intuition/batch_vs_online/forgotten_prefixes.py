"""What batch work takes from the cache that sessions share with it.

A cache remembers a token for its size over what is fresh. Batch prompts are fresh and are never
asked again, so they push out prefixes of sessions, which then are fresh too.

`python -m serving_mathematics.intuition.batch_vs_online.forgotten_prefixes` simulates the book's
agents alone and beside documents, in half a minute, and writes records/forgotten_prefixes.json.

Assumes: what `core.fleet` assumes; documents as long as the mixture's conversations, last in
priority, some of them always in flight.

Source: `core.fleet` with its cache of blocks; the book's agents.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.policies import by_priority
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse, reused_tokens
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import AGENTS, MIXTURE
from serving_mathematics.core.machines.sessions import sessions_under_way
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record

RECORD = "forgotten_prefixes"
COMMAND = "python -m serving_mathematics.intuition.batch_vs_online.forgotten_prefixes"
LOAD, REQUESTS, SEEDS = 0.3, 3000, 16
IN_FLIGHT = (0, 2, 4, 8)
FASTEST_S = 5.0  # that a document takes, at least: as many are drawn


def _run(in_flight: int, seed: int, requests: int = REQUESTS) -> dict[str, float]:
    """Sessions beside documents: shares of their prefixes found and of promises kept, their first
    tokens [s], and how long the cache keeps a token [s]."""
    rng, rate = np.random.default_rng([5, seed]), LOAD * AGENTS.ceiling_per_s
    end = requests / rate
    asked = sessions_under_way(rng, rate, requests, AGENTS.deployment.architecture.context_tokens)
    reused, size = reused_tokens(asked), in_flight * int(1 + end / FASTEST_S)
    documents = draw_lengths(rng, MIXTURE.traffic, max(size, 1))
    place = np.arange(size)
    after = np.append(
        np.where(place >= in_flight, place - in_flight, -1),
        np.where(asked.after >= 0, asked.after + size, -1),
    )
    prompts = np.append(documents.prompt_tokens[:size], asked.prompt_tokens)
    outputs = np.append(documents.output_tokens[:size], asked.output_tokens)
    every = Requests(
        np.append(np.zeros(size), asked.arrival_s),
        prompts,
        outputs,
        after=after,
        pause_s=np.append(np.zeros(size), asked.pause_s),
        priority=np.append(np.ones(size, dtype=int), np.zeros(asked.after.size, dtype=int)),
        prefixes=prefixes_of_reuse(after, np.append(np.zeros(size, dtype=int), reused), prompts),
    )
    fleet = Fleet([AGENTS.engine], caching=True, schedule=by_priority, preempt=by_priority)
    seen = simulate_fleet(every, fleet)
    middle = (seen.completion_s > 0.3 * end) & (seen.completion_s < 0.9 * end)
    fresh = (prompts - seen.found_tokens + outputs)[middle].sum() / (0.6 * end)
    own = middle & (np.arange(prompts.size) >= size)
    first = (seen.first_token_s - seen.due_s)[own]
    gap = ((seen.completion_s - seen.first_token_s) / np.maximum(outputs - 1, 1))[own]
    promise = AGENTS.promise
    return {
        "found": float(seen.found_tokens[own].sum() / reused[own[size:]].sum()),
        "kept": float(np.mean((first <= promise.ttft_s) & (gap <= promise.tpot_s))),
        "first_s": float(np.quantile(first, 0.9)),
        "lifetime_s": float(AGENTS.cache_tokens / fresh),
    }


def main() -> None:
    """Simulate and write the record."""
    cells = []
    for count in IN_FLIGHT:
        runs = [_run(count, seed) for seed in range(SEEDS)]
        mean = {kind: float(np.mean([run[kind] for run in runs])) for kind in runs[0]}
        cells.append({"in_flight": count, "mean": mean, "runs": runs})
    what = f"sessions of an agent at {LOAD:.0%} load beside documents, {SEEDS} runs each"
    record = provenance(COMMAND, ["numpy"]) | {"what": what, "cells": cells}
    print(f"wrote {write_record(RECORD, record)}")


@functools.cache
def _cells() -> dict[int, dict[str, Any]]:
    """The record by documents in flight."""
    return {cell["in_flight"]: cell for cell in read_record(RECORD)["cells"]}


def example() -> SimpleNamespace:
    """Numbers of the page."""
    alone, beside = _cells()[0]["mean"], _cells()[4]["mean"]
    return SimpleNamespace(
        alone_first_s=alone["first_s"],
        beside_first_s=beside["first_s"],
    )


def check_documents_shorten_the_memory() -> None:
    """With more documents in flight, the cache keeps a token for less time, sessions find less of
    what they sent before, and their first tokens come later; still they find more than four fifths.

    Source: the record.
    """
    for fewer, more in ((0, 2), (2, 4), (4, 8)):
        less, much = _cells()[fewer]["mean"], _cells()[more]["mean"]
        for kind, sign in (("lifetime_s", 1), ("found", 1), ("first_s", -1)):
            label = f"{kind}, {fewer} and {more} in flight"
            apart = sign * (less[kind] - much[kind])
            checks.holds(label, apart > 0, got=apart)
    checks.inside("found beside eight", _cells()[8]["mean"]["found"], 0.8, 1.0)


if __name__ == "__main__":
    main()
