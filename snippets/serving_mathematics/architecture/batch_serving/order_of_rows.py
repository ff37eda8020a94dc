"""In which order rows should be sent to an engine that gets them all.

Sorted by length, the rows with short answers meet: they leave their places faster than the budget
of a step lets others in. Sorted by what they begin with, the cache has read it already.

Assumes: what `offline_engine` assumes; a cache that keeps what was used last.

Source: records/offline_engine.json.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np

from serving_mathematics.architecture.batch_serving.offline_engine import (
    CUSTOMERS,
    MACHINES,
    ORDERS,
    ROWS,
    SIZES,
    _alike,
    _of,
    _rows_alike,
    _thinking_s,
)
from serving_mathematics.core.fleet.design import Fleet, Route
from serving_mathematics.core.fleet.routers import least_requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.machines.customers import _customers, _long_chat
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

ENGINES, MANY = 8, 5  # that take rows from one list; times as many rows with the same beginnings


def _sorted_over_mixed(name: str, order: str, rows: int) -> float:
    """Time of sorted rows over that of the same rows mixed."""
    place = SIZES.index(rows)
    own = np.mean(_of("sorted")[name][order][place - 3])
    return float(own / np.mean(_of("mixed")[name][place]))


def _few_over_mixed() -> float:
    """The same, longest first, of four rows a place that think, averaged over draws."""
    mixed, longest = (np.array(_of("thinking")[order]) for order in ORDERS[:2])
    return float(np.mean(longest / mixed))


def _grouped_times(name: str) -> float:
    """Rows a second of a customer after the other, over those of rows that are mixed."""
    mixed, grouped = _of("alike")[name]
    return float(grouped["per_s"] / mixed["per_s"])


def _in_parts(row: int, _view: View) -> int:
    """The engine whose part of the sorted rows this one is in."""
    return row * ENGINES // ROWS


@functools.cache
def _found_on_many(route: Route, times: int = 1) -> float:
    """Share of the prompt tokens that several engines find of rows that are sorted by customer, so
    many times the rows of one engine."""
    asked = _rows_alike(*next(iter(CUSTOMERS.values())), grouped=True, rows=times * ROWS)
    fleet = Fleet([_long_chat()] * ENGINES, route, caching=True)
    outcome = simulate_fleet(asked, fleet, np.random.default_rng(3))
    return float(outcome.found_tokens.sum() / asked.prompt_tokens.sum())


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    first = next(iter(CUSTOMERS))
    mixed, grouped = _of("alike")[first]
    return SimpleNamespace(
        few_thinking_percent=100 * (1 - _few_over_mixed()),
        alike_rows=ROWS,
        grouped_percent=100 * (_grouped_times(first) - 1),
        mixed_found=100 * mixed["found"],
        grouped_found=100 * grouped["found"],
        engines=ENGINES,
        spread_found=100 * _found_on_many(least_requests),
        spread_more=MANY,
        spread_more_found=100 * _found_on_many(least_requests, MANY),
    )


def figure_orders(figure: Figure) -> None:
    """Rows that begin alike should follow each other; rows of similar length need not.

    How many more rows a second engines finish than of the same rows mixed: 16,384 conversations on
    two machines, sorted by the length of their answers, known or guessed; 4,000 rows of customers
    whose prompts begin alike, sorted by customer.

    Alt: Bar chart of what each order gains over mixed rows. Longest first, shortest first and
    guessed longest first lose a little on either machine. Rows sorted by customer gain much if they
    begin with many tokens, and a little if they begin with few.
    """
    figure.set_size_inches(5.8, 3.0)
    axes = figure.subplots()
    names, gains, colours = [], [], []
    for order in ORDERS[1:]:
        for machine, colour in (("chat", "C0"), ("mixture", "C1")):
            names.append(f"{order}, {machine}")
            gains.append(100 / _sorted_over_mixed(machine, order, 16_384) - 100)
            colours.append(colour)
    for name in CUSTOMERS:
        names.append(f"by customer: {name}")
        gains.append(100 * _grouped_times(name) - 100)
        colours.append("C2")
    bars = axes.barh(names, gains, color=colours)
    axes.bar_label(bars, fmt=lambda x: f"{x:+z.0f}".replace("-", "\N{MINUS SIGN}"), padding=3)
    axes.axvline(0, color="C4", linewidth=1)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set(xlabel="more rows a second than mixed [%]", ylabel="order", xlim=(-10, 34))


def check_sorting_by_length_does_not_pay() -> None:
    """On both machines, 16,384 rows sorted by length take longer than mixed ones: longest first,
    shortest first, and longest first by guessed lengths. With 1,024 rows, longest first saves at
    most a tenth; with four rows to a place and long answers on the mixture, 10 to 25%.

    Source: own simulation; one of its runs again.
    """
    for name in MACHINES:
        for order in ORDERS[1:]:
            ratio = _sorted_over_mixed(name, order, SIZES[-1])
            checks.inside(f"{name}, {order}: over mixed", ratio, 1.002, 1.1)
        few = _sorted_over_mixed(name, "longest first", 1024)
        checks.inside(f"{name}, 1,024 rows longest first: over mixed", few, 0.9, 1.05)
    few = _few_over_mixed()
    checks.inside("thinking, four rows a place: over mixed", few, 0.75, 0.9)
    again, kept = _thinking_s(ORDERS[1]), _of("thinking")[ORDERS[1]][0]
    checks.close("thinking, again [s]", again, kept, rtol=1e-6, kind="simulation")


def check_rows_that_begin_alike_belong_together() -> None:
    """Rows sorted by customer are finished at least 15% faster than mixed ones if 200 or 1,000
    customers each begin with 4,096 tokens, and at least 1% faster if 200 begin with 1,024.

    Source: own simulation; one of its runs again.
    """
    for name, low, high in zip(CUSTOMERS, (1.15, 1.15, 1.01), (1.5, 1.5, 1.15), strict=True):
        checks.inside(f"{name}: over mixed", _grouped_times(name), low, high)
    name, numbers = next(iter(CUSTOMERS.items()))
    again = _alike(*numbers, grouped=True)
    checks.close(
        "again [1/s]", again["per_s"], _of("alike")[name][1]["per_s"], rtol=1e-6, kind="simulation"
    )


def check_rows_that_begin_alike_want_one_engine() -> None:
    """Eight engines that each get one part of the rows sorted by customer find as large a share of
    the prompt tokens as one engine. If each row goes to the engine with the fewest requests, they
    find as small a share as one engine finds of mixed rows; with five times the rows of each
    beginning, nearly as large a share as in parts.

    Source: own simulation; the record for one engine.
    """
    mixed, grouped = (row["found"] for row in _of("alike")[next(iter(CUSTOMERS))])
    cut, spread = (_found_on_many(route) for route in (_in_parts, least_requests))
    checks.close("in parts: tokens found", cut, grouped, atol=0.02, kind="simulation")
    checks.close(
        "by the fewest requests: tokens found", spread, mixed, atol=0.05, kind="simulation"
    )
    more = _found_on_many(least_requests, MANY)
    checks.inside("five times the rows: tokens found, over in parts", more / cut, 0.95, 1.0)


def check_a_cut_reads_one_beginning_more() -> None:
    """If rows are sorted by customer and then cut, each cut adds at most one beginning to be read;
    if mixed rows are cut, at least twice as many are read.

    Source: the customers of each shard, counted.
    """
    drawn = _customers(np.random.default_rng(82), 1.0, ROWS, *next(iter(CUSTOMERS.values())))
    assert drawn.prefixes is not None
    who = drawn.prefixes.parent[drawn.prefixes.node]
    asking = np.unique(who).size
    for shards in (4, 19, 105):
        mixed, cut = (
            sum(np.unique(shard).size for shard in np.array_split(rows, shards))
            for rows in (who, np.sort(who))
        )
        checks.inside(f"{shards} shards: beginnings read", cut, asking, asking + shards - 1)
        checks.inside(f"{shards} shards: mixed over sorted", mixed / cut, 2, shards)
