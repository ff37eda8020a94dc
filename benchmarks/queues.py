"""One queue, many simulators: processor time and mean wait of each, as the parts of a round.

Every function takes a workload, a number of customers and a seed, and answers with the processor
time of the simulation alone: not of imports, compiling, or averaging. The mean wait comes with its
standard error, from batch means or independent replications, and is held against the formula. Each
runs in a process of its own, the foreign ones in an environment of their own, so their packages
are imported only here and only when used.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from serving_mathematics.core.queues.queue_simulator import batch_means, fifo_waits, gamma_times

BLOCKS = 65  # of a long run, the first for warming up: 32 batches of two
REPLICATIONS = 32
WARM_UP = 0.1  # share of a run that does not count


@dataclass(frozen=True)
class Workload:
    """Poisson arrivals and gamma services of mean 1, first come first served."""

    servers: int
    utilization: float
    service_scv: float

    @property
    def arrival_rate(self) -> float:
        """Customers in a mean service time."""
        return self.utilization * self.servers

    @property
    def mean_wait(self) -> float:
        """Erlang C for exponential services, Pollaczek–Khinchine for one server."""
        load, servers = self.arrival_rate, self.servers
        if servers == 1:
            return load * (1 + self.service_scv) / (2 * (1 - load))
        if self.service_scv != 1:
            raise ValueError(f"service_scv must be 1 with several servers, got {self.service_scv}")
        term = load**servers / math.factorial(servers) / (1 - self.utilization)
        others = sum(load**k / math.factorial(k) for k in range(servers))
        return term / (others + term) / (servers - load)


WORKLOADS = {
    "M/M/1": Workload(1, 0.8, 1.0),
    "M/G/1": Workload(1, 0.8, 4.0),
    "M/M/8": Workload(8, 0.8, 1.0),
}
Answer = dict[str, Any]


def _answer(customers: int, cpu_s: float, mean: float, error: float) -> Answer:
    return {"customers": customers, "cpu_s": cpu_s, "mean": mean, "standard_error": error}


def _of_waits(waits: Any, cpu_s: float) -> Answer:
    """The answer of a simulator that returns every wait."""
    series = np.asarray(waits, dtype=float)
    found = batch_means(series[int(WARM_UP * series.size) :])
    return _answer(series.size, cpu_s, found.mean, found.standard_error)


def _times(workload: Workload, customers: int, seed: int) -> tuple[Any, Any]:
    """Gaps and services."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / workload.arrival_rate, customers)
    return gaps, gamma_times(rng, 1.0, workload.service_scv, customers)


def _block_shape(workload: Workload, customers: int) -> tuple[int, int]:
    """That of a long run; smaller when the run is too short for BLOCKS of them."""
    from serving_mathematics.core.queues.long_runs import SHAPE_MANY, SHAPE_ONE

    rows, lanes = SHAPE_ONE if workload.servers == 1 else SHAPE_MANY
    size = customers // BLOCKS
    while lanes > 8 and size // lanes < lanes // 4:
        lanes //= 2
    return max(1, min(rows, size // lanes)), lanes


def long_run(workload: str, customers: int, seed: int) -> Answer:
    """Ours, block by block in lanes."""
    from serving_mathematics.core.queues.long_runs import long_run_means

    given = WORKLOADS[workload]
    shape = _block_shape(given, customers)
    rng = np.random.default_rng(seed)
    started = time.process_time()
    means = long_run_means(
        rng,
        given.utilization,
        BLOCKS,
        servers=given.servers,
        service_scv=given.service_scv,
        shape=shape,
    )
    cpu_s = time.process_time() - started
    found = batch_means(means[1:])
    return _answer(BLOCKS * math.prod(shape), cpu_s, found.mean, found.standard_error)


def drawing(workload: str, customers: int, seed: int) -> Answer:
    """Only the random numbers of `long_run`: two a customer, into the same arrays."""
    given = WORKLOADS[workload]
    shape = _block_shape(given, customers)
    rng, block = np.random.default_rng(seed), np.empty(shape)
    started = time.process_time()
    for _ in range(BLOCKS):
        rng.standard_exponential(out=block)
        if given.service_scv == 1:
            rng.standard_exponential(out=block)
        else:
            rng.standard_gamma(1 / given.service_scv, out=block)
    return {"customers": BLOCKS * block.size, "cpu_s": time.process_time() - started}


def one_log(workload: str, customers: int, seed: int) -> Answer:
    """Ours, with every wait of one log in memory."""
    from serving_mathematics.core.queues.long_runs import fast_waits

    given = WORKLOADS[workload]
    started = time.process_time()
    gaps, services = _times(given, customers, seed)
    waits = fast_waits(np.cumsum(gaps), services, given.servers)
    return _of_waits(waits, time.process_time() - started)


def plain_loop(workload: str, customers: int, seed: int) -> Answer:
    """Ours, one customer after the other in plain Python: Lindley's loop, or a heap of servers."""
    from serving_mathematics.core.queues.long_runs import lindley_loop

    given = WORKLOADS[workload]
    started = time.process_time()
    gaps, services = _times(given, customers, seed)
    if given.servers == 1:
        waits = lindley_loop(np.append(0.0, services[:-1] - gaps[1:]))
    else:
        waits = fifo_waits(np.cumsum(gaps), services, given.servers)
    return _of_waits(waits, time.process_time() - started)


def waits_that_differ(workload: str, customers: int, seed: int) -> int:
    """How many waits of a log differ, in any bit, between the lanes and the loop over a heap."""
    from serving_mathematics.core.queues.long_runs import fast_waits

    given = WORKLOADS[workload]
    gaps, services = _times(given, customers, seed)
    arrivals = np.cumsum(gaps)
    lanes = fast_waits(arrivals, services, given.servers)
    return int((lanes != fifo_waits(arrivals, services, given.servers)).sum())


def simpy(workload: str, customers: int, seed: int) -> Answer:
    """SimPy: a process for each customer and a resource, its numbers drawn before by numpy."""
    import simpy

    given = WORKLOADS[workload]
    started = time.process_time()
    gaps, services = _times(given, customers, seed)
    environment = simpy.Environment()
    servers = simpy.Resource(environment, given.servers)
    waits: list[float] = []

    def customer(service: float) -> Any:
        arrived = environment.now
        request = servers.request()
        yield request
        waits.append(environment.now - arrived)
        yield environment.timeout(service)
        servers.release(request)

    def arrivals() -> Any:
        for gap, service in zip(gaps.tolist(), services.tolist(), strict=True):
            yield environment.timeout(gap)
            environment.process(customer(service))

    environment.process(arrivals())
    environment.run()
    return _of_waits(waits, time.process_time() - started)


def ciw(workload: str, customers: int, seed: int) -> Answer:
    """Ciw: a network of one node."""
    import ciw

    given = WORKLOADS[workload]
    ciw.seed(seed)
    service: Any = ciw.dists.Exponential(1.0)
    if given.service_scv != 1:
        service = ciw.dists.Gamma(1 / given.service_scv, given.service_scv)
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(given.arrival_rate)],
        service_distributions=[service],
        number_of_servers=[given.servers],
    )
    started = time.process_time()
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(customers, method="Finish")
    cpu_s = time.process_time() - started
    records = sorted(simulation.get_all_records(), key=lambda record: record.arrival_date)
    return _of_waits([record.waiting_time for record in records], cpu_s)


def cimba(workload: str, customers: int, seed: int) -> Answer:
    """Cimba, an engine in C and assembly; the model is compiled before the clock starts. The mean
    wait is the mean number of waiting customers over the arrival rate, by Little's law."""
    import cimba as engine

    from benchmarks import cimba_queue

    given = WORKLOADS[workload]
    model = cimba_queue.model(given.arrival_rate, given.service_scv, given.servers)

    def run(total: float) -> tuple[Any, float]:
        length = total / given.arrival_rate / REPLICATIONS
        window = engine.Window(warmup=WARM_UP * length, duration=(1 - WARM_UP) * length)
        experiment = engine.Experiment(model, replications=REPLICATIONS, window=window, seed=seed)
        started = time.process_time()
        results = experiment.run(workers=1)
        return results, time.process_time() - started

    run(1000.0)
    results, cpu_s = run(customers)
    waits = np.ravel(np.asarray(results[model].mean_waiting, dtype=float)) / given.arrival_rate
    error = float(waits.std(ddof=1)) / math.sqrt(waits.size)
    return _answer(customers, cpu_s, float(waits.mean()), error)
