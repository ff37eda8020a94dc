"""What an engine makes of rows that are all there: how fast it ends them, and in which order.

n rows that are sent at once take o + n/μ: at the beginning prompts are read and hardly anybody
writes, at the end the engine runs with fewer and fewer of them, and both together cost as much as o
seconds of its best. So a client that waits for all of its rows before it sends more gets n/(n + oμ)
of what the engine can do.

A record has how long two of the book's machines take for up to 16,384 rows, mixed and sorted by the
length of their answers, and one of them for rows of customers whose prompts begin alike, mixed and
customer by customer.

`python -m serving_mathematics.architecture.batch_serving.offline_engine` simulates it, in a few
seconds, and writes records/offline_engine.json.

Assumes: what `event_skipping` and `core.fleet` assume; all rows waiting at the start.

Source: own simulation of the book's machines.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.customers import _customers, _long_chat
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import require_non_negative, require_positive

IntArray = npt.NDArray[np.int64]
RECORD = "offline_engine"
COMMAND = "python -m serving_mathematics.architecture.batch_serving.offline_engine"
MACHINES = {machine.name: machine for machine in (CHAT, MIXTURE)}
SIZES = (16, 64, 256, 1024, 4096, 16_384)
SEEDS, THINKING_SEEDS = 6, 32
ORDERS = ("mixed", "longest first", "shortest first", "guessed longest first")
GUESS = 0.5  # σ of the logarithm of guessed over true lengths
ROWS = 4000  # of customers
BATCH_ROWS = 256  # of a client that waits for all of them
LONG_ANSWER = 16_000  # tokens of an answer that thinks
THINKING = 500, 2000, 6000  # of rows that think: tokens of a prompt, of an answer, of the longest
CUSTOMERS = {
    "200, 4,096 tokens": (200, 4096),
    "1,000, 4,096 tokens": (1000, 4096),
    "200, 1,024 tokens": (200, 1024),
}


def fed_share(rows: float, ceiling_per_s: float, overhead_s: float) -> float:
    """Share of an engine's ceiling that a client gets if it sends so many rows and waits for all of
    them, n/(n + oμ).

    rows: n, positive. ceiling_per_s: μ, positive [1/s]. overhead_s: o, not negative [s]. Raises
    ValueError outside these ranges.

    >>> fed_share(300, ceiling_per_s=20.0, overhead_s=5.0)
    0.75
    """
    rows, ceiling_per_s = require_positive(rows=rows, ceiling_per_s=ceiling_per_s)
    overhead_s = require_non_negative(overhead_s=overhead_s)
    return rows / (rows + overhead_s * ceiling_per_s)


def _ordered(outputs: IntArray, order: str, rng: np.random.Generator) -> IntArray:
    """In which order rows are sent."""
    if order == "mixed":
        return np.arange(outputs.size)
    guess = outputs * rng.lognormal(
        0.0, GUESS if order.startswith("guessed") else 0.0, outputs.size
    )
    return np.argsort(guess if order == "shortest first" else -guess, kind="stable")


def _thinking_s(order: str, seed: int = 0) -> float:
    """How long the mixture takes for four rows a place whose answers think [s]: log-normal, σ = 1,
    cut."""
    rng, (prompt, answer, longest) = np.random.default_rng([83, seed]), THINKING
    rows = 4 * MIXTURE.places
    drawn = answer * rng.lognormal(-0.5, 1.0, rows)
    outputs = np.clip(drawn, 1, longest).astype(np.int64)
    at = _ordered(outputs, order, rng)
    asked = Workload(np.zeros(at.size), np.full(at.size, prompt), outputs[at])
    return float(simulate(asked, MIXTURE.engine).completion_s.max())


def _takes_s(machine: Machine, rows: int, order: str = "mixed", seed: int = 0) -> float:
    """How long rows that are all sent at once take [s]."""
    rng = np.random.default_rng([81, seed])
    drawn = draw_lengths(rng, machine.traffic, rows)
    at = _ordered(drawn.output_tokens, order, rng)
    parts = (drawn.prompt_tokens[at], drawn.output_tokens[at], drawn.cached_tokens[at])
    return float(simulate(Workload(np.zeros(rows), *parts), machine.engine).completion_s.max())


def _rows_alike(customers: int, preamble: int, grouped: bool, rows: int = ROWS) -> Requests:
    """Rows that are all there and begin alike, mixed or customer by customer."""
    drawn = _customers(np.random.default_rng(82), 1.0, rows, customers, preamble)
    tree = drawn.prefixes
    assert tree is not None
    who = tree.parent[tree.node]
    at = np.argsort(who, kind="stable") if grouped else np.arange(rows)
    return Requests(
        np.zeros(rows),
        drawn.prompt_tokens[at],
        drawn.output_tokens[at],
        prefixes=Prefixes(tree.parent, tree.tokens, tree.node[at], tree.answer_node[at]),
    )


def _alike(customers: int, preamble: int, grouped: bool) -> dict[str, float]:
    """Rows a second, and the share of prompt tokens that is found, of rows that begin alike."""
    asked = _rows_alike(customers, preamble, grouped)
    outcome = simulate_fleet(asked, Fleet([_long_chat()], caching=True), np.random.default_rng(3))
    found = outcome.found_tokens.sum() / asked.prompt_tokens.sum()
    return {"per_s": ROWS / float(np.max(outcome.completion_s)), "found": float(found)}


def main() -> None:
    """Simulate and write the record."""
    record = provenance(COMMAND, ["numpy"]) | {
        "what": "seconds of rows that are all there, and rows a second",
        "mixed": {
            name: [[_takes_s(machine, n, seed=seed) for seed in range(SEEDS)] for n in SIZES]
            for name, machine in MACHINES.items()
        },
        "sorted": {
            name: {
                order: [
                    [_takes_s(machine, n, order, seed) for seed in range(SEEDS)] for n in SIZES[3:]
                ]
                for order in ORDERS[1:]
            }
            for name, machine in MACHINES.items()
        },
        "thinking": {
            order: [_thinking_s(order, seed) for seed in range(THINKING_SEEDS)]
            for order in ORDERS[:2]
        },
        "alike": {
            name: [_alike(*numbers, grouped=grouped) for grouped in (False, True)]
            for name, numbers in CUSTOMERS.items()
        },
    }
    print(f"wrote {write_record(RECORD, record)}")


@functools.cache
def _of(part: str) -> dict[str, Any]:
    """A part of the record, by machine or by customers."""
    found: dict[str, Any] = read_record(RECORD)[part]
    return found


@functools.cache
def _line(name: str) -> tuple[float, float]:
    """Overhead o [s] and rate μ [1/s] of a machine: the line through 1,024 and 16,384 rows."""
    takes = np.mean(_of("mixed")[name], axis=1)
    rate = (SIZES[-1] - SIZES[3]) / float(takes[-1] - takes[3])
    return float(takes[3]) - SIZES[3] / rate, rate


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    overhead_s, rate = _line("chat")
    at_256 = float(np.mean(_of("mixed")["chat"][SIZES.index(BATCH_ROWS)]))
    return SimpleNamespace(
        chat_overhead_s=overhead_s,
        fewer_places_percent=100 * (1 - CHAT.limited(128).ceiling_per_s / CHAT.ceiling_per_s),
        mixture_overhead_s=_line("mixture")[0],
        batch_rows=BATCH_ROWS,
        fed_256=100 * BATCH_ROWS / at_256 / rate,
        rate=rate,
        long_answer_s=LONG_ANSWER * float(CHAT.step_s(1)),
    )


def figure_fed(figure: Figure) -> None:
    """A client that sends a few rows and waits for all of them gets a small part of what the engine
    can do.

    Share of the ceiling against the rows that are sent at once. Points: means of simulated runs;
    lines: n/(n + oμ), with o and μ from 1,024 and 16,384 rows.

    Alt: Line chart of the share of the ceiling against the rows sent at once, on a logarithmic
    axis. The points of the chat machine and of the mixture lie close to their lines, which rise
    from a small share to nearly all.
    """
    figure.set_size_inches(5.8, 3.2)
    axes = figure.subplots()
    sizes = np.geomspace(SIZES[0], SIZES[-1], 60)
    for name, colour, x, y in (("chat", "C0", 300, 50), ("mixture", "C1", 80, 72)):
        overhead_s, rate = _line(name)
        axes.semilogx(sizes, [100 * fed_share(n, rate, overhead_s) for n in sizes], color=colour)
        share = 100 * np.array(SIZES) / np.mean(_of("mixed")[name], axis=1) / rate
        axes.plot(SIZES, share, "o", color=colour)
        axes.annotate(name, (x, y), color=colour)
    axes.set_xticks(
        [16, 64, 256, 1024, 4096, 16_384], ["16", "64", "256", "1,024", "4,096", "16,384"]
    )
    axes.minorticks_off()
    axes.set(xlabel="rows sent at once", ylabel="share of the ceiling [%]", ylim=(0, 104))


def check_a_shard_costs_its_overhead() -> None:
    """From 64 rows on, n/(n + oμ) is within a tenth of the share of μ that each of the two machines
    reaches, and μ is within a twentieth of the closed form of the ceiling.

    Source: own simulation; o and μ from the line through the largest and a middle number of rows.
    """
    for name, machine in MACHINES.items():
        overhead_s, rate = _line(name)
        checks.close(
            f"{name}: ceiling [1/s]", rate, machine.ceiling_per_s, rtol=0.05, kind="simulation"
        )
        for place, rows in enumerate(SIZES):
            if rows < 64 or rows in (SIZES[3], SIZES[-1]):  # the last two give the line
                continue
            share = rows / float(np.mean(_of("mixed")[name][place])) / rate
            told = fed_share(rows, rate, overhead_s)
            label = f"{name}, {rows:,} rows: share of the rate"
            checks.close(label, told, share, rtol=0.1, kind="simulation")


def check_rows_are_served_again() -> None:
    """One of the record's times, simulated again, is the same.

    Source: the record, and its command.
    """
    again, row = _takes_s(CHAT, 1024, seed=2), _of("mixed")["chat"][3][2]
    checks.close("1,024 rows [s]", again, row, rtol=1e-6, kind="simulation")


if __name__ == "__main__":
    main()
