"""Time of our simulators against their size, and the memory that they take."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    chat_workload,
    simulate_steps,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.queues.long_runs import fast_waits, long_run_means
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.definitions.latency_distribution.latency_sketch import merge, sketch
from serving_mathematics.optimization.caching.cache_replacement import (
    hit_ratio,
    simulate_hits,
    zipf,
)

from benchmarks import timing

Call = Callable[[], object]
BLOCK = {"shape": (256, 256)}  # of the long runs here, so that few customers make several blocks


@dataclass(frozen=True)
class Method:
    """What is made larger, and a call for each size; the input is made before the clock starts."""

    unit: str
    sizes: tuple[int, ...]
    call: Callable[[np.random.Generator, int], Call]


def _log(servers: int, waits: Callable[..., object]) -> Callable[[np.random.Generator, int], Call]:
    def call(rng: np.random.Generator, size: int) -> Call:
        arrivals = np.cumsum(rng.exponential(1 / (0.8 * servers), size))
        services = rng.exponential(1.0, size)
        return lambda: waits(arrivals, services, servers)

    return call


def _long(servers: int) -> Callable[[np.random.Generator, int], Call]:
    def call(rng: np.random.Generator, size: int) -> Call:
        blocks = max(1, size // 65_536)
        return lambda: long_run_means(rng, 0.8, blocks, servers=servers, shape=BLOCK["shape"])

    return call


def _batching(simulator: Callable[..., object]) -> Callable[[np.random.Generator, int], Call]:
    def call(rng: np.random.Generator, size: int) -> Call:
        asked = chat_workload(rng, 12.0, size)
        return lambda: simulator(asked, EIGHT_BILLION)

    return call


def _sketch(rng: np.random.Generator, size: int) -> Call:
    values = rng.lognormal(0.0, 1.0, size)
    return lambda: sketch(values)


def _merging(rng: np.random.Generator, size: int) -> Call:
    parts = [sketch(rng.lognormal(0.0, 1.0, 10_000)) for _ in range(size)]

    def merged() -> object:
        whole = parts[0]
        for part in parts[1:]:
            whole = merge(whole, part)
        return whole

    return merged


def _cache(rng: np.random.Generator, size: int) -> Call:
    requests = rng.choice(10_000, size, p=zipf(10_000, 1.0))
    return lambda: simulate_hits(requests, 1000)


def _che(_: np.random.Generator, size: int) -> Call:
    popularity = zipf(size, 1.0)
    return lambda: hit_ratio(popularity, size / 10)


def _times(first: int, count: int = 5, factor: int = 4) -> tuple[int, ...]:
    return tuple(first * factor**k for k in range(count))


METHODS = {
    "M/M/1 log, running maximum": Method("customers", _times(10_000), _log(1, fifo_waits)),
    "M/M/8 log, heap": Method("customers", _times(2_000), _log(8, fifo_waits)),
    "M/M/8 log, lanes": Method("customers", _times(80_000, 6, 2), _log(8, fast_waits)),
    "M/M/1 long run": Method("customers", _times(65_536, 4), _long(1)),
    "M/M/8 long run": Method("customers", _times(65_536, 4), _long(8)),
    "batching, steps": Method("requests", _times(50, 4), _batching(simulate_steps)),
    "batching, events": Method("requests", _times(400, 4), _batching(simulate)),
    "log histogram": Method("values", _times(10_000), _sketch),
    "merging log histograms": Method("sketches", _times(10, 4), _merging),
    "LRU cache": Method("requests", _times(4_000), _cache),
    "Che's approximation": Method("items", _times(1_000), _che),
}
MEASURED_MEMORY = (
    "M/M/1 log, running maximum",
    "M/M/1 long run",
    "M/M/8 long run",
    "log histogram",
)


def sizes_of(name: str, quick: bool) -> tuple[int, ...]:
    """The sizes of a method; when in a hurry the three smallest."""
    return METHODS[name].sizes[:3] if quick else METHODS[name].sizes


def sample(name: str, size: int, seed: int, at_least_s: float) -> float:
    """Processor seconds of a method at a size."""
    call = METHODS[name].call(np.random.default_rng(seed), size)
    return timing.cpu_s_of(call, at_least_s)


def peak_mib(name: str, size: int, seed: int) -> float:
    """Most memory that a method takes at once, its input left out."""
    call = METHODS[name].call(np.random.default_rng(seed), size)
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def describe() -> dict[str, Any]:
    """Unit of each method."""
    return {name: method.unit for name, method in METHODS.items()}
