"""The four machines of the book side by side, and the load at which each keeps its promise.

A promise is kept at a rate where so large a share of requests as it says get first token and time
per token in time, averaged over some runs, of more where a few runs lose their caches and nearly
all is late. The highest such rate is found by halving: more load only makes it worse.

Assumes: what `running` assumes; Poisson arrivals.

Source: `running`, for every number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.machines.machines import AGENTS, CHAT, INSTALLED, MIXTURE, Machine
from serving_mathematics.core.machines.reader import READER, Reader
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import require, require_positive_integer

MACHINES: tuple[Machine | Reader, ...] = (CHAT, MIXTURE, AGENTS, READER)
HALVINGS = 6  # of the load: to a hundredth and a half of the ceiling
REQUESTS = 8000
SEEDS = (1, 2, 3, 4, 5, 6, 7, 8)
MANY_SEEDS = tuple(range(1, 41))  # of agents
PROMISES = "machine_promises"
PROMISES_COMMAND = "python -m serving_mathematics.core.machines.book"


def highest_load(machine: Machine | Reader, requests: int, seeds: Sequence[int]) -> float:
    """The highest share of its ceiling at which a machine keeps its promise, to 1/64; 0 for none.

    requests: that are simulated at each load. seeds: of runs, in whose mean it is kept. Raises
    ValueError unless requests is a positive integer, and without a seed or with one that is not a
    whole number from 0.

    >>> from serving_mathematics.core.machines.reader import READER
    >>> 0.5 < highest_load(READER, 2000, [1]) < 0.9
    True
    """
    requests = require_positive_integer(requests=requests)
    require(len(seeds) > 0, "seeds", "one or more", "none")
    whole = all(seed >= 0 and seed == seed // 1 for seed in seeds)
    require(whole, "seeds", "whole numbers from 0", seeds)

    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        load = (low + high) / 2
        keeps = _kept(machine, load, int(requests), seeds) >= machine.promise.share
        low, high = (load, high) if keeps else (low, load)
    return low


def _kept(machine: Machine | Reader, load: float, requests: int, seeds: Sequence[int]) -> float:
    """Share of the requests that get what is promised, averaged over runs."""
    rate = load * machine.ceiling_per_s
    runs = (run_engine(machine, rate, requests, np.random.default_rng(seed)) for seed in seeds)
    return float(np.mean([run.kept(machine) for run in runs]))


def promised_load(name: str) -> float:
    """The recorded share of its ceiling up to which one of the book's machines keeps its promise.

    name: of the machine, which has its own places. Raises ValueError on another.

    >>> 0.8 < promised_load("chat") < 0.95
    True
    """
    loads = read_record(PROMISES)["loads"]
    require(name in loads, "name", f"one of {', '.join(loads)}", name)
    return float(loads[name])


def main() -> None:
    """Find the loads and write the record, in a minute or two."""
    seeds = {one: MANY_SEEDS if one is AGENTS else SEEDS for one in MACHINES}
    loads = {one.name: highest_load(one, REQUESTS, seeds[one]) for one in MACHINES}
    what = (
        f"shares of the ceiling at which promises hold in {len(SEEDS)} runs of {REQUESTS:,}, of "
        f"agents in {len(MANY_SEEDS)}"
    )
    record = provenance(PROMISES_COMMAND, ["numpy"]) | {"what": what, "loads": loads}
    print(f"wrote {write_record(PROMISES, record)}")


def _row(machine: Machine | Reader) -> str:
    """A machine as a row of the page's table."""
    promise, wrong = machine.promise, machine.how_wrong
    told = f"{100 * promise.share:g}% within {promise.ttft_s:g} s"
    if math.isfinite(promise.tpot_s):
        told += f", {1000 * promise.tpot_s:g} ms a token"
    cells = (
        f"*{machine.name}*",
        machine.what,
        f"{machine.places}",
        f"{machine.ceiling_per_s:.3g}",
        told,
        f"{100 * promised_load(machine.name):.0f}%",
        f"{wrong.low:.2f} to {wrong.high:.2f}, {wrong.runs} runs",
    )
    return f"| {' | '.join(cells)} |"


def example() -> SimpleNamespace:
    """The table of the page, and what an engine as installed would be."""
    return SimpleNamespace(
        machine_rows="\n".join(map(_row, MACHINES)),
        machine_prompt_tokens=CHAT.sample.prompt_tokens.mean(),
        machine_output_tokens=CHAT.sample.output_tokens.mean(),
        installed_step=float(INSTALLED.step_s(CHAT.places) / CHAT.step_s(CHAT.places)),
        installed_ceiling_percent=100 * INSTALLED.ceiling_per_s / CHAT.ceiling_per_s,
    )


def check_the_promise_ends_where_it_is_said() -> None:
    """Two and a half hundredths below the load up to which a machine keeps its promise, other
    requests get it too; ten hundredths above that load they do not.

    Source: runs with another seed, for the machines whose requests come by themselves; the record
    for all.
    """
    for machine in (CHAT, MIXTURE, READER):
        load, share = promised_load(machine.name), machine.promise.share
        for other, low, high in ((load - 0.025, share - 0.01, 1.0), (load + 0.1, 0.0, share)):
            rng = np.random.default_rng(5)
            run = run_engine(machine, other * machine.ceiling_per_s, REQUESTS, rng)
            label = f"{machine.name} at {100 * other:.0f}%: kept"
            checks.inside(label, run.kept(machine), low, high, kind="simulation")


def check_the_record_can_be_made_again() -> None:
    """At the recorded load of the reader, and not a 64th above it, its promise is kept.

    Source: the record, and its command.
    """
    load, share = promised_load("reader"), READER.promise.share
    for other, keeps in ((load, True), (load + 2.0**-HALVINGS, False)):
        kept = _kept(READER, other, REQUESTS, SEEDS)
        checks.equal(
            f"reader at {100 * other:.1f}%: {100 * kept:.2f}%",
            kept >= share,
            keeps,
            kind="simulation",
        )


if __name__ == "__main__":
    main()
