"""One step of the book's machines, kernel after kernel: what it waits for, and for how long.

Assumes: what `step_time` assumes, with the constants of the scored model; as many tokens of context
for every sequence.

Source: `step_time`, for every number.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from functools import cache
from itertools import accumulate
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.step_time import FITTED, Parts, count_work, step_parts
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

_MACHINES = {"chat": CHAT, "mixture": MIXTURE}
SEQUENCES = (1, 2, 4, 8, 16, 32, 64)
CONTEXTS = (500, 1000, 2000, 4000, 6000)
CONTEXT = 2000  # of the figure and the text
LANES = (  # name, members of `Parts`, state of a bar, colour of an area
    ("floors", ("kernels",), "starts", "C4"),
    ("weights", ("weights", "vocabulary"), "answer", "C0"),
    ("experts", ("experts",), "answer", "C2"),
    ("cache", ("cache",), "cached", "C5"),
    ("messages", ("messages", "exchange"), "prompt", "C1"),
    ("host", ("host",), "idle", "C3"),
)


@cache
def _parts(machine: Machine, sequences: int, context: int) -> Parts:
    work = count_work([machine.deployment])
    return step_parts(work, FITTED, np.array([float(sequences)]), np.array([float(context)]))


@cache
def _lanes_ms(machine: Machine, sequences: int, context: int) -> tuple[float, ...]:
    """Time of each lane [ms]."""
    parts = _parts(machine, sequences, context)
    return tuple(
        1e3 * float(sum(getattr(parts, member)[0] for member in members))
        for _, members, _, _ in LANES
    )


def _bars(name: str, sequences: int, context: int) -> list[tuple[Any, ...]]:
    """The parts one after the other, as (machine, start, end, state), the whole beside the last."""
    times = _lanes_ms(_MACHINES[name], sequences, context)
    ends = list(accumulate(times))
    bars: list[tuple[Any, ...]] = [
        (name, end - time, end, state)
        for (_, _, state, _), time, end in zip(LANES, times, ends, strict=True)
        if time > 1e-3
    ]
    return [*bars[:-1], (*bars[-1], f"{ends[-1]:.1f} ms")]


def figure_step_in_parts(figure: Figure) -> None:
    """A small batch is mostly weights or floors, a large one cache, experts and messages.

    The book's chat and mixture machines, with the same context for every sequence.

    Alt: Two stacked area charts of the time of a step against the sequences in it, on a logarithmic
    axis. The chat machine's step is mostly weights, and the cache grows on top of them. The mixture
    begins with mostly floors, and the experts grow until they take as long.
    """
    counts = np.unique(np.geomspace(1, SEQUENCES[-1], 24).round())
    for axes, (name, machine) in zip(figure.subplots(1, 2), _MACHINES.items(), strict=True):
        times = [_lanes_ms(machine, int(count), CONTEXT) for count in counts]
        looks = {"colors": [x[3] for x in LANES], "labels": [x[0] for x in LANES]}
        axes.stackplot(counts, np.array(times).T, **looks)
        axes.set(xscale="log", xlim=(1, SEQUENCES[-1]), ylim=(0, 35))
        axes.set(xlabel="sequences in a step", ylabel="time of a step [ms]", title=name)
        axes.minorticks_off()
        axes.set_xticks(SEQUENCES, [str(x) for x in SEQUENCES])
    figure.axes[0].legend(loc="upper left", reverse=True)


def slider_step_in_parts() -> dict[str, Any]:
    """Add sequences, then context: what grows on each machine, and what never shrinks?"""

    def each(told: Callable[[int, int], Any]) -> list[list[Any]]:
        return [[told(count, context) for context in CONTEXTS] for count in SEQUENCES]

    def bars(count: int, context: int) -> list[tuple[Any, ...]]:
        return [bar for name in _MACHINES for bar in _bars(name, count, context)]

    def whole(name: str, count: int, context: int) -> float:
        return sum(_lanes_ms(_MACHINES[name], count, context))

    said = {
        "step": ("ms", 1, whole),
        "floors": (
            "%",
            0,
            lambda name, *run: 100 * _lanes_ms(_MACHINES[name], *run)[0] / whole(name, *run),
        ),
        "a token": ("ms", 2, lambda name, count, context: whole(name, count, context) / count),
    }
    readouts = [
        {
            "label": f"{name} {what}",
            "unit": unit,
            "decimals": decimals,
            "values": each(functools.partial(told, name)),
        }
        for what, (unit, decimals, told) in said.items()
        for name in _MACHINES
    ]
    return {
        "controls": [
            {"label": "sequences", "values": list(SEQUENCES), "text": "{} in a step", "start": 16},
            {"label": "context", "values": list(CONTEXTS), "text": "{:,} tokens", "start": 2000},
        ],
        "panels": [
            {
                "kind": "bars",
                "label": "one step",
                "lanes": list(_MACHINES),
                "x": {"label": "time", "unit": "ms", "range": (0, 35)},
                "bars": each(bars),
            }
        ],
        "readouts": readouts,
        "legend": {
            "starts": "floors of kernels",
            "answer": "reads weights, then experts",
            "cached": "reads the cache",
            "prompt": "messages between devices",
            "idle": "the host's work",
        },
        "reading": "With {sequences} and {context} of context, chat takes {chat step}"
        " ({chat floors} of it floors), and the mixture {mixture step} ({mixture floors})."
        " For each sequence that is {chat a token}, and {mixture a token}.",
    }


def example() -> SimpleNamespace:
    """Numbers of the page."""
    alone = {name: _lanes_ms(machine, 1, CONTEXT) for name, machine in _MACHINES.items()}
    many = {name: _lanes_ms(machine, 64, CONTEXT) for name, machine in _MACHINES.items()}
    return SimpleNamespace(
        chat_weights=alone["chat"][1] / sum(alone["chat"]),
        chat_cache_many=many["chat"][3] / sum(many["chat"]),
        mixture_floors=alone["mixture"][0] / sum(alone["mixture"]),
        parts_context=CONTEXT,
        parts_low=CHAT.how_wrong.low,
        parts_high=CHAT.how_wrong.high,
        mixture_low=MIXTURE.how_wrong.low,
        mixture_high=MIXTURE.how_wrong.high,
    )


def check_parts_are_the_machine() -> None:
    """The parts add up to the step time that all chapters take from these machines.

    Source: `Machine.step_s`, which the simulators run.
    """
    for name, machine in _MACHINES.items():
        for count in SEQUENCES:
            got = 1e-3 * sum(_lanes_ms(machine, count, 2000))
            expected = float(machine.step_s(count, 2000.0))
            checks.close(f"{name}, {count} [s]", got, expected, rtol=1e-3)


def check_what_leads_stays_what_leads() -> None:
    """With one sequence, weights lead on chat and floors on the mixture, even if floors take a
    fifth less or more; with 64 sequences the mixture's experts lead, unless floors take a fifth
    more.

    Source: the parts of the step; floors by an error of a fifth.
    """

    def leader(name: str, count: int, error: float) -> str:
        floors, *others = _lanes_ms(_MACHINES[name], count, CONTEXT)
        return LANES[int(np.argmax([error * floors, *others]))][0]

    for error in (0.8, 1.0, 1.2):
        checks.equal(f"chat alone, floors times {error}", leader("chat", 1, error), "weights")
        checks.equal(f"mixture alone, times {error}", leader("mixture", 1, error), "floors")
    told = [leader("mixture", 64, error) for error in (0.8, 1.0, 1.2)]
    checks.equal("mixture, 64", told, ["experts", "experts", "floors"])
