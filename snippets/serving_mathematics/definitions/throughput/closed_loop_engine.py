"""More clients bring more tokens until the step is full, and their number is no load.

N clients ask the book's chat machine, read or work for Z seconds, and ask again. With n inside, the
engine finishes μ(n) = 1/(p + m·D(n)/n) requests a second: p for a prompt, m tokens after the first,
a step of D(n). Inside and away are all clients, n + Z·μ(n) = N, and the throughput is μ(n).

`python -m serving_mathematics.definitions.throughput.closed_loop_engine` simulates the loop for
eleven numbers of clients and three times away, in half a minute, and writes
records/closed_loop_engine.json.gz.

Assumes: what `core.machines.running` assumes; times away with an exponential law.

Source: Denning and Buzen (1978) for the loop; own simulation of the book's machine by `core.fleet`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.definitions.throughput.measured_loop import ceiling_of
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_positive,
    require_non_negative,
)

FloatArray = npt.NDArray[np.float64]

RECORD = "closed_loop_engine"
COMMAND = "python -m serving_mathematics.definitions.throughput.closed_loop_engine"
CLIENTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
AWAY_S = (0, 10, 60)
LEAST_REQUESTS, LEAST_ROUNDS = 12_000, 40


def loop_rate(clients: float, away_s: float, rates_per_s: npt.ArrayLike) -> tuple[float, float]:
    """Throughput of a closed loop [1/s], and how many of its clients are inside.

    clients: N, at least 1. away_s: Z ≥ 0 [s], between an answer and the next request. rates_per_s:
    of the engine with 1, 2, …, c inside, not falling, shape (c,); with more it is the last. The
    root of n + Z·μ(n) = N, straight between whole numbers. Raises ValueError on other input.

    >>> loop_rate(6, 2.0, [1.0, 1.5, 2.0])  # two inside and three away are 5, three and four 7
    (1.75, 2.5)
    """
    away_s = require_non_negative(away_s=away_s)
    rates = np.asarray(require_all_positive(rates_per_s=as_floats(rates_per_s=rates_per_s)))
    sound = rates.ndim == 1 and rates.size > 0 and bool(np.all(np.diff(rates) >= 0))
    require(sound, "rates_per_s", "not falling, of shape (c,)", rates)
    clients = as_number(clients=clients)
    require(1 <= clients < 1e9, "clients", "at least 1", clients)
    inside = np.arange(rates.size + 1.0)
    whole = np.append(0.0, rates)
    needed = inside + away_s * whole  # clients with so many inside
    if clients >= needed[-1]:
        return float(rates[-1]), float(clients - away_s * rates[-1])
    held = float(np.interp(clients, needed, inside))
    return float(np.interp(held, inside, whole)), held


def rates_of(machine: Machine) -> FloatArray:
    """Requests a second that an engine finishes with 1, 2, … of its places taken, shape (places,).

    >>> from serving_mathematics.core.machines.machines import CHAT
    >>> rates = rates_of(CHAT)
    >>> rates.size, bool(rates[-1] > 20 * rates[0])
    (256, True)
    """
    lengths = machine.sample
    prompt = float(machine.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).mean())
    later = float(lengths.output_tokens.mean()) - 1
    counts = np.arange(1.0, machine.places + 1)
    return np.asarray(1 / (prompt + later * machine.step_s(counts) / counts))


def _simulated(engine: Engine, clients: int, away_s: float) -> dict[str, Any]:
    """A loop after its first rounds: tokens a second, time per token [s], first token [s], and mean
    numbers inside: of all, of those that wait and of those whose prompt is read.
    """
    rounds = max(LEAST_ROUNDS, -(-LEAST_REQUESTS // clients))
    size, rng = clients * rounds, np.random.default_rng(41)
    lengths = draw_lengths(rng, "conversations", size)
    answers = lengths.output_tokens
    starts = np.sort(rng.uniform(0, max(away_s, 1.0), clients))
    later = np.arange(size) % rounds > 0
    asked = Requests(
        np.repeat(starts, rounds),
        lengths.prompt_tokens,
        answers,
        after=np.where(later, np.arange(size) - 1, -1),
        pause_s=np.where(later, rng.exponential(max(away_s, 1e-6), size), 0.0),
    )
    found = simulate_fleet(asked, Fleet([engine]))
    ends = found.completion_s.reshape(clients, rounds)
    begin, end = float(np.quantile(ends, 0.2)), float(ends[:, -2].min())
    if end <= begin:  # nobody is in the last round before the others are in theirs
        end = float(np.quantile(ends, 0.8))
    counted = (found.completion_s > begin) & (found.completion_s <= end)
    spent = (found.completion_s - found.first_token_s)[counted].sum()
    moments = np.linspace(begin, end, 400)

    sent, let_in, first, over = (
        np.searchsorted(np.sort(times), moments, side="right")
        for times in (found.sent_s, found.admitted_s, found.first_token_s, found.completion_s)
    )
    return {
        "tokens": float(answers[counted].sum() / (end - begin)),
        "requests": float(counted.sum() / (end - begin)),
        "token": float(spent / (answers[counted] - 1).sum()),
        "first": float((found.first_token_s - found.sent_s)[counted].mean()),
        "inside": float((sent - over).mean()),
        "waiting": float((sent - let_in).mean()),
        "prompts": float((let_in - first).mean()),
    }


def main() -> None:
    """Simulate and write the record."""
    cells = [
        {"clients": clients, "away": away} | _simulated(CHAT.engine, clients, away)
        for clients in CLIENTS
        for away in AWAY_S
    ]
    what = "the chat machine in a closed loop, by clients and time away"
    record = provenance(COMMAND, ["numpy"]) | {"what": what, "cells": cells}
    print(f"wrote {write_record(RECORD, record, packed=True)}")


@functools.cache
def _cells() -> dict[tuple[int, int], dict[str, Any]]:
    """The record by clients and time away."""
    return {(cell["clients"], cell["away"]): cell for cell in read_record(RECORD)["cells"]}


def _tokens(away: int) -> FloatArray:
    return np.array([_cells()[clients, away]["tokens"] for clients in CLIENTS])


def _told(clients: int, away: float) -> float:
    """Tokens a second by the closed form."""
    rate = loop_rate(clients, away, rates_of(CHAT))[0]
    return rate * float(CHAT.sample.output_tokens.mean())


def knee(away_s: float, rates_per_s: npt.ArrayLike) -> float:
    """Number of clients beyond which further ones only wait: all places and those away, c + Z·μ(c).

    Arguments and errors as for `loop_rate`.

    >>> knee(2.0, [1.0, 1.5, 2.0])
    7.0
    """
    rates = as_floats(rates_per_s=rates_per_s)
    loop_rate(1, away_s, rates)  # refuses bad input
    return float(rates.size + away_s * rates[-1])


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    ceiling = float(rates_of(CHAT)[-1]) * float(CHAT.sample.output_tokens.mean())
    worst = max(
        abs(_told(clients, away) / _cells()[clients, away]["tokens"] - 1)
        for clients in CLIENTS
        for away in AWAY_S
    )
    return SimpleNamespace(
        half_clients=next(n for n in range(1, 300) if _told(n, 0) >= ceiling / 2),
        knee_minute=knee(60.0, rates_of(CHAT)),
        closed_error_percent=100 * worst,
        percent_of_128=100 * _cells()[128, 60]["tokens"] / _cells()[128, 0]["tokens"],
    )


_COLOURS = {0: "C0", 10: "C1", 60: "C3"}


def figure_closed_loop(figure: Figure) -> None:
    """The same number of clients fills an engine or leaves it idle: it depends on how long they
    stay away.

    The simulated chat machine; in print, lines are the closed form. A request that waits although a
    place is free waits for the step in progress to end.

    Alt: Line chart with two logarithmic axes of tokens a second against clients. Three curves rise
    along lines and level off at the same ceiling, the one without a pause first, the one with the
    longest pause not before a thousand clients. Points lie on all three.
    """
    axes = figure.subplots()
    for away, colour in _COLOURS.items():
        axes.loglog(CLIENTS, [_told(clients, away) for clients in CLIENTS], color=colour)
        axes.loglog(CLIENTS, _tokens(away), "o", color=colour)
    for text, x, y, colour in (
        ("ask again at once", 7, 1500, "C0"),
        ("10 s away", 14, 165, "C1"),
        ("60 s away", 150, 260, "C3"),
    ):
        axes.annotate(text, (x, y), color=colour, ha="right" if colour == "C0" else "left")
    axes.set(xlabel="clients", ylabel="answer tokens a second")


def slider_closed_loop() -> dict[str, Any]:
    """Add clients, then send them away between answers: when are all places taken?"""

    def counted(told: Callable[[dict[str, float]], float]) -> list[list[int]]:
        return [[round(told(_cells()[n, away])) for away in AWAY_S] for n in CLIENTS]

    def curves(kind: str, scale: float = 1.0) -> list[list[float]]:
        return [[scale * float(_cells()[n, away][kind]) for away in AWAY_S] for n in CLIENTS]

    x = {"label": "clients", "unit": "", "log": True}
    return {
        "controls": [
            {"label": "clients", "values": list(CLIENTS), "text": "{:,}", "start": 128},
            {"label": "time away", "values": list(AWAY_S), "text": "{} s", "start": 0},
        ],
        "panels": [
            {
                "kind": "engine",
                "places": CHAT.places,
                "running": counted(lambda cell: cell["inside"] - cell["waiting"]),
                "prompts": counted(lambda cell: cell["prompts"]),
                "waiting": counted(lambda cell: cell["waiting"]),
            },
            {
                "kind": "load",
                "x": x,
                "y": {"label": "answer tokens a second", "unit": "", "range": (0, 6000)},
                "curves": [
                    {
                        "label": "tokens a second",
                        "unit": "",
                        "decimals": 0,
                        "values": curves("tokens"),
                        "state": "answer",
                    }
                ],
            },
            {
                "kind": "load",
                "x": x,
                "y": {"label": "time per token", "unit": "ms", "range": (0, 60)},
                "curves": [
                    {
                        "label": "time per token",
                        "unit": "ms",
                        "values": curves("token", 1000.0),
                        "state": "answer",
                    }
                ],
            },
        ],
        "readouts": [
            {"label": "inside", "unit": "", "decimals": 0, "values": curves("inside")},
            {"label": "first token", "unit": "s", "decimals": 2, "values": curves("first")},
        ],
        "reading": "The engine writes {tokens a second} tokens a second for {clients} clients, with"
        " {time away} between answers, and has {inside} requests on average, waiting ones included."
        " A token takes {time per token}, and the first one takes {first token}.",
    }


def check_the_closed_form_against_the_simulated_loop() -> None:
    """Counting clients inside and away gives the tokens a second to within a tenth, for one client
    to a thousand and for every time away.

    Source: the record.
    """
    for away in AWAY_S:
        told = np.array([_told(clients, away) for clients in CLIENTS])
        worst = float(np.abs(told / _tokens(away) - 1).max())
        checks.inside(f"{away} s away: largest error", worst, 0, 0.1, kind="simulation")


def check_two_tests_tell_the_ceiling() -> None:
    """The line through 32 and 64 clients, taken at all places, is within 3% of the most that any
    simulated loop gives. Its limit for endlessly many clients, 1/b, is a tenth above that.

    Source: the record; the slope by hand.
    """
    most = float(_tokens(0).max())
    few, many = (_cells()[n, 0]["tokens"] for n in (32, 64))
    told = ceiling_of([32, 64], [few, many], CHAT.places)
    checks.close("ceiling [1/s]", told, most, rtol=0.03, kind="simulation")
    limit = 32 / (64 / many - 32 / few)
    checks.inside("1/b over it", limit / most, 1.05, 1.2)


def check_a_cell_is_made_again() -> None:
    """A loop of the record, simulated again, writes the same tokens a second.

    Source: the record, and its command.
    """
    again = _simulated(CHAT.engine, 64, 10)
    checks.close(
        "tokens a second", again["tokens"], _cells()[64, 10]["tokens"], rtol=1e-6, kind="simulation"
    )
    checks.close(
        "Little's law, inside",
        again["inside"],
        64 - 10 * again["requests"],
        rtol=0.1,
        kind="simulation",
    )


def check_clients_are_no_load() -> None:
    """With 128 clients, the engine is at more than half of its ceiling if they ask again at once,
    and at less than a quarter of that if they stay away for a minute. With as many clients as
    places, a token takes longer than promised.

    Source: the record, and the closed form for the ceiling.
    """
    ceiling = float(rates_of(CHAT)[-1]) * float(CHAT.sample.output_tokens.mean())
    busy, calm = (_cells()[128, away]["tokens"] for away in (0, 60))
    checks.inside("at once, over the ceiling", busy / ceiling, 0.5, 1.0)
    checks.inside("a minute away, over that", calm / busy, 0.0, 0.25)
    full = _cells()[CHAT.places, 0]["token"] / CHAT.promise.tpot_s
    checks.inside("all places, time per token over promise", full, 1.0, 1.1)


if __name__ == "__main__":
    main()
