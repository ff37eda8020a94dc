"""Clients who wait for their answers keep an engine's queue empty, and their p99 says so.

A load test with a fixed number of clients is a closed loop: a new request comes when an answer is
done. With fewer clients than places nobody ever waits for a place, however near the ceiling the
engine runs. The same requests at the same mean rate, sent when they are due, do wait. But clients
who start together and get answers of one length go on asking together, as nobody does who comes at
random.

`python -m serving_mathematics.definitions.latency_distribution.closed_clients` runs both, in
a minute or two, and writes records/closed_clients.json.gz.

Assumes: clients without a pause between answer and request; the book's chat machine.

Source: own simulation of the book's machines; Schroeder, Wierman and Harchol-Balter (2006) for
closed against open systems.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests, closed_loop
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded

CLIENTS = (32, 64, 128, 160, 192, 224)  # of the machine with 256 places
REQUESTS = 20_000
EQUAL = 200  # tokens of every prompt and every answer, where all are alike
TOGETHER = 64  # clients who get such answers
MORE = 8  # times as many open ones: near the ceiling a p99 needs them
DRAWS = tuple(range(1, 9))  # of each, whose mean is told


class _Both(NamedTuple):
    """Requests a second that clients get answered, the p99 of first tokens [s] that they see, that
    of those who send as many when due, and the mean time of a request in the loop [s]."""

    rate: float
    closed: float
    opened: float
    inside_s: float


def _looped(machine: Machine, clients: int, requests: int, seed: int) -> tuple[float, float, float]:
    """A draw of the loop: answers a second, p99 of first tokens, mean time of a request [s]."""
    lengths = draw_lengths(np.random.default_rng(seed), machine.traffic, requests)
    after = np.maximum(np.arange(requests) - clients, -1)
    after[:clients] = -1
    asked = Requests(
        np.zeros(requests),
        lengths.prompt_tokens,
        lengths.output_tokens,
        after=after,
        pause_s=np.zeros(requests),
    )
    found = simulate_fleet(asked, Fleet([machine.engine]))
    middle = slice(requests // 5, 4 * requests // 5)  # neither the start nor the end
    done = np.sort(found.completion_s)[middle]
    first_s = (found.first_token_s - found.sent_s)[middle] + machine.made.around_s
    inside_s = float((found.completion_s - found.sent_s)[middle].mean())
    rate = (done.size - 1) / float(done[-1] - done[0])
    return rate, float(np.quantile(first_s, 0.99)), inside_s


@recorded(_Both, "closed_clients")
def _both(machine: Machine, clients: int, requests: int = REQUESTS) -> _Both:
    """So many clients in a closed loop, and requests at the same rate that do not wait for each
    other, averaged over draws: near the ceiling an open p99 is as much chance as load."""
    loops = [_looped(machine, clients, requests, draw) for draw in DRAWS]
    rate, closed, inside_s = np.mean(loops, axis=0).tolist()
    many = MORE * requests
    runs = (run_engine(machine, rate, many, np.random.default_rng(draw)) for draw in DRAWS)
    opened = [float(np.quantile(run.ttft_s[many // 5 :], 0.99)) for run in runs]
    return _Both(rate, closed, float(np.mean(opened)), inside_s)


@cache
def _alike(
    least: int, most: int, clients: int = TOGETHER, spread_s: float = 0.0
) -> tuple[float, float]:
    """The p99 of first tokens that so many clients of the chat machine see, who start within so
    many seconds, and that of requests at the same rate that come at random, with so many tokens to
    each prompt and answer [s]."""
    rng, size = np.random.default_rng(2), 4000
    tokens = rng.integers(least, most + 1, (2, size))
    starts = np.append(np.linspace(0.0, spread_s, clients), np.zeros(size - clients))
    asked = replace(closed_loop(tokens[0], tokens[1], clients), arrival_s=starts)
    looped = simulate_fleet(asked, Fleet([CHAT.engine]))
    middle = slice(size // 5, 4 * size // 5)
    done = np.sort(looped.completion_s)[middle]
    gaps = rng.exponential((done[-1] - done[0]) / (done.size - 1), size)
    opened = simulate_fleet(Requests(np.cumsum(gaps), tokens[0], tokens[1]), Fleet([CHAT.engine]))
    first, other = (
        float(np.quantile((run.first_token_s - run.sent_s)[middle], 0.99)) + CHAT.made.around_s
        for run in (looped, opened)
    )
    return first, other


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    rate, closed, opened, _ = _both(CHAT, 192)
    together, apart = _alike(EQUAL, EQUAL)
    return SimpleNamespace(
        clients=192,
        draws=len(DRAWS),
        closed_load=100 * rate / CHAT.ceiling_per_s,
        closed_p99_s=closed,
        open_p99_s=opened,
        equal_tokens=EQUAL,
        together=TOGETHER,
        together_p99_ms=1e3 * together,
        apart_p99_ms=1e3 * apart,
    )


def figure_closed_clients(figure: Figure) -> None:
    """At the same rate, clients who wait see a lower p99 than users will.

    First tokens of the book's chat machine. Closed: as many clients as bring that load, each of
    which sends when its last answer is done. Open: as many requests a second, sent when they are
    due. Means of eight draws.

    Alt: Chart of the p99 of first tokens, logarithmic, against load. Both curves begin close
    together at half of the ceiling. The closed one rises slowly; the open one rises steeply near
    the ceiling.
    """
    figure.set_size_inches(5.8, 2.7)
    axes = figure.subplots()
    found = np.array([_both(CHAT, clients) for clients in CLIENTS])
    loads = 100 * found[:, 0] / CHAT.ceiling_per_s
    axes.semilogy(loads, found[:, 2], "o-", color="C3")
    axes.semilogy(loads, found[:, 1], "o-", color="C0")
    axes.annotate(
        "open", (loads[-2], found[-2, 2]), (-34, 4), textcoords="offset points", color="C3"
    )
    axes.annotate(
        "closed", (loads[-2], found[-2, 1]), (-8, -16), textcoords="offset points", color="C0"
    )
    axes.set(xlabel="load [%]", ylabel="p99 of first tokens [s]")
    axes.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
    axes.minorticks_off()


def check_clients_hide_the_queue() -> None:
    """With 256 places and with 64, clients who all have a place see a shorter p99 than open
    requests at the same rate, and less than a third of it when they fill the engine.

    Source: the simulated machine, means of eight draws of 20,000 requests at each number of
    clients, and of 160,000 open ones at the same rate.
    """
    few = CHAT.limited(64)
    for machine, clients in ((CHAT, 32), (CHAT, 128), (CHAT, 192), (few, 32), (few, 60)):
        rate, closed, opened, _ = _both(machine, clients)
        most = 0.34 if rate > 0.95 * machine.ceiling_per_s else 0.95
        label = f"{machine.places} places, {clients} clients: closed over open"
        checks.inside(label, closed / opened, 0.02, most)


def check_clients_with_equal_answers_come_together() -> None:
    """With prompts and answers of 200 tokens each, 32 to 128 clients who start together see a
    longer p99 than requests that come at random at the same rate; with lengths of 100 to 300, or if
    their starts are spread over three seconds, their p99 is no longer.

    Source: the simulated machine, 4,000 requests each way, without the time around it.
    """
    for clients in (32, 64, 128):
        for least, most, spread_s, low, high in (
            (200, 200, 0.0, 1.5, 6.0),
            (100, 300, 0.0, 0.5, 1.1),
            (200, 200, 3.0, 0.5, 1.1),
        ):
            times = [one - CHAT.made.around_s for one in _alike(least, most, clients, spread_s)]
            label = f"{clients} clients, {least} to {most} tokens, within {spread_s:g} s"
            checks.inside(f"{label}: closed over open", times[0] / times[1], low, high)


def check_littles_law_of_the_clients() -> None:
    """The number of clients is the rate times the time that a request is inside, as in any closed
    loop.

    Source: Little (1961); the middle three fifths of each run, eight draws.
    """
    for clients in (32, 128, 224):
        rate, _, _, inside_s = _both(CHAT, clients)
        checks.close(f"{clients} clients", rate * inside_s, clients, rtol=0.05, kind="simulation")


def check_a_run_is_made_again() -> None:
    """Clients of the record who ask again get the same.

    Source: the record, and its command.
    """
    run = CHAT, 32, 1000
    checks.close("32 clients", _both.again(*run), _both(*run), rtol=1e-6, kind="simulation")


if __name__ == "__main__":
    _both.make()
