"""What lifts the throughput of a loop depends on how many clients it has.

With n inside, a request costs the engine p + m·(s + d·n)/n: its prompt, its share of what a step
costs whatever it holds, and what it adds. Each of these is most at another number of clients: the
fixed part with few, its own tokens and its prompt with many.

`python -m serving_mathematics.definitions.throughput.lifted_ceiling` simulates loops, in a few
seconds, and writes records/lifted_ceiling.json.gz.

Assumes: what `closed_loop_engine` assumes; formats as the step model has them, other changes that
touch one term and nothing else.

Source: own derivation; simulated loops for the ranking.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    TICK_S,
    Engine,
    StepTable,
)
from serving_mathematics.core.machines.machines import CHAT, L40S, LARGE, SHORT_MIXTURE, Machine
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.machines.token_sharing import step_line
from serving_mathematics.definitions.throughput.closed_loop_engine import _simulated, loop_rate
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_positive_integer,
    require_work,
)

FloatArray = npt.NDArray[np.float64]
CLIENTS = (4, 32, 256, 512)
FORMATS = {  # of the weights, and of products where they have eight bits
    "weights in four bits": "int4",
    "weights and products in eight bits": "fp8",
}
SMALL = L40S.limited(32)
FILLED = replace(CHAT, model="Qwen3-32B")  # whose weights take nearly all of the memory
CHANGES = {
    "half of each prompt found in a cache": {"prompt": 0.5},
    "what a sequence adds halved (shorter contexts, fewer bits in the cache)": {"own": 0.5},
}


def engine_rates_of(
    prompt_s: float, later_tokens: float, fixed_s: float, sequence_s: float, places: int
) -> FloatArray:
    """Requests a second that an engine finishes with 1, 2, … inside, 1/(p + m·(s + d·n)/n).

    prompt_s: p. later_tokens: m. fixed_s: s. sequence_s: d. places: c. All non-negative, and a
    request costs something. Returns shape (places,). Raises ValueError otherwise.

    >>> engine_rates_of(0.0, 10, 0.08, 0.02, places=4).round(3).tolist()
    [1.0, 1.667, 2.143, 2.5]
    """
    places = int(require_positive_integer(places=places))
    prompt_s, later_tokens, fixed_s, sequence_s = require_non_negative(
        prompt_s=prompt_s, later_tokens=later_tokens, fixed_s=fixed_s, sequence_s=sequence_s
    )
    require_work(places, places=places)
    cost = prompt_s + later_tokens * (fixed_s + sequence_s)
    require(cost > 0, "prompt_s", "positive where later tokens cost nothing", prompt_s)
    n = np.arange(1.0, places + 1)
    return np.asarray(1 / (prompt_s + later_tokens * (fixed_s + sequence_s * n) / n))


def _rate(clients: int, machine: Machine, changed: dict[str, float]) -> float:
    """Answers a second by the closed form, asking again at once, with parts so many times as
    long."""
    line, now = step_line(machine), {"prompt": 1.0, "own": 1.0} | changed
    rates = engine_rates_of(
        now["prompt"] * line.prompt_s,
        line.later_tokens,
        line.fixed_s,
        now["own"] * line.sequence_s,
        machine.places,
    )
    return loop_rate(clients, 0.0, rates)[0]


def _gains(clients: int) -> dict[str, float]:
    """More tokens a second for each change [%]."""
    plain = _rate(clients, CHAT, {})
    rates = {
        name: _rate(clients, replace(CHAT, precision=form), {}) for name, form in FORMATS.items()
    }
    rates |= {name: _rate(clients, CHAT, change) for name, change in CHANGES.items()}
    return {name: 100 * (rate / plain - 1) for name, rate in rates.items()}


def _times(machine: Machine, form: str) -> float:
    """Ceiling with weights in a format over its own, each with what memory holds."""
    return replace(machine, precision=form).ceiling_per_s / machine.ceiling_per_s


def _own(machine: Machine) -> float:
    """Share of a full step that its sequences add."""
    line = step_line(machine)
    return 1 - line.fixed_s / (line.fixed_s + machine.places * line.sequence_s)


def _doubled(machine: Machine) -> float:
    """More requests a second with twice as many places, of which as many as memory holds."""
    return machine.limited(2 * machine.places).ceiling_per_s / machine.ceiling_per_s - 1


def _unlimited(machine: Machine) -> float:
    """The same with memory for all of them."""
    places = 2 * machine.places
    line = step_line(machine)
    parts = line.prompt_s, line.later_tokens, line.fixed_s, line.sequence_s
    rates = engine_rates_of(*parts, places)
    return float(rates[-1] / rates[machine.places - 1]) - 1


def example() -> SimpleNamespace:
    """The table of the page, and a machine whose memory ends first."""
    columns = [_gains(clients) for clients in CLIENTS]
    rows = [
        f"| {name} | " + " | ".join(f"{column[name]:.0f}%" for column in columns) + " |"
        for name in columns[0]
    ]
    return SimpleNamespace(
        lift_rows="\n".join(rows),
        own_percent=100 * _own(CHAT),
        own_few=100 * _own(SMALL),
        more_few=100 * _doubled(SMALL),
        more_sparse=100 * _doubled(SHORT_MIXTURE),
        filled_places=FILLED.sequences_at_most,
        filled_times=_times(FILLED, "fp8"),
    )


def _changed(change: str) -> Engine:
    """The chat machine's engine with weights in a format, or with one term halved."""
    if change in FORMATS.values():
        return replace(CHAT, precision=change).engine
    engine = CHAT.engine
    assert engine.table is not None
    batch, prompt, end = (
        TICK_S * np.asarray(ticks, dtype=float)
        for ticks in (engine.table.batch, engine.table.prompt, engine.table.prompt_end)
    )
    if change == "prompt":
        return replace(engine, table=StepTable(batch, prompt / 2, float(end) / 2))
    table = StepTable(batch / 2, prompt, float(end))
    return replace(engine, table=table, context_token_s=0.5 * engine.context_token_s)


class _Tokens(NamedTuple):
    """Answer tokens a second."""

    per_s: float


@recorded(_Tokens, "lifted_ceiling")
def _looped(change: str, clients: int) -> _Tokens:
    """The chat machine, so changed, in a closed loop whose clients do not pause."""
    engine = _changed(change) if change else CHAT.engine
    return _Tokens(_simulated(engine, clients, 0.0)["tokens"])


def check_the_ranking_turns_with_the_clients() -> None:
    """With four clients, four bits in the weights add most; with 512, eight bits in the products
    add most, and four bits add nothing. The simulated loop has the same gains to within two points,
    and the same winner at both.

    Source: loops simulated by `core.fleet`.
    """
    shown = [*FORMATS.values(), "prompt", "own"]
    for clients, winner in ((4, "int4"), (512, "fp8")):
        plain = _looped("", clients).per_s
        told = dict(zip(shown, _gains(clients).values(), strict=True))
        found = {change: 100 * (_looped(change, clients).per_s / plain - 1) for change in told}
        for change, gain in told.items():
            label = f"{clients} clients, {change} [%]"
            checks.close(label, found[change], gain, atol=2.0, kind="simulation")
        checks.equal(
            f"{clients} clients: brings most",
            max(found, key=lambda c: found[c]),
            winner,
            kind="stated",
        )
        checks.equal("by the closed form", max(told, key=lambda c: told[c]), winner, kind="stated")
    checks.inside("512 clients: four bits [%]", found["int4"], -5.0, 5.0)


def check_four_bits_end_where_products_take_as_long() -> None:
    """Weights in four bits save a quarter or more of a step with 64 sequences, and at most a
    fiftieth of one with 256, where products in sixteen bits take as long as reading the weights,
    also on a dense model nine times as large. In a mixture, few sequences share an expert: with
    256, four bits still save a twentieth or more over eight bits in weights and products.

    Source: the step model; operations for a byte at which an H100's two roofs meet, by its data
    sheet: one for each sequence, as a weight has two bytes and takes two operations.
    """
    for machine, other, sequences, low, high in (
        (CHAT, "bf16", 64, 0.25, 0.5),
        (CHAT, "bf16", 256, 0.0, 0.02),
        (LARGE, "bf16", 256, 0.0, 0.02),
        (SHORT_MIXTURE, "fp8", 256, 0.05, 0.25),
    ):
        four, more = (
            float(replace(machine, precision=form).step_s(sequences)) for form in ("int4", other)
        )
        label = f"{machine.model}, {sequences} sequences: saved next to {other}"
        checks.inside(label, 1 - four / more, low, high)
    device = CHAT.deployment.system
    ridge = device.bf16_flops_per_s / device.bandwidth_bytes_per_s
    checks.inside("256 over the ridge", CHAT.places / ridge, 0.8, 1.2)


def check_more_places_bring_what_a_step_shares() -> None:
    """Twice the places add a fiftieth or so to the ceiling of the chat machine, whose memory holds
    a quarter more at most, and would add less than a tenth if it held all; a third or more to that
    of an L40S with 32, as in the simulator, and a sixth or more to that of a mixture with short
    prompts. On a dense model, where the sequences' own share of a full step is a, they add at
    most (1 − a)/(1 + a).

    Source: by hand, twice the tokens in 1 − a + 2a of the time, prompts aside; simulation of 6,000
    requests at once, of those that end between the first and the last quarter.
    """
    for label, machine, low, high in (
        ("chat", CHAT, 0.0, 0.05),
        ("L40S with 32", SMALL, 0.33, 0.5),
        ("mixture, short prompts", SHORT_MIXTURE, 0.16, 0.3),
    ):
        checks.inside(f"{label}: twice the places", _doubled(machine), low, high)
    held = CHAT.limited(2 * CHAT.places).sequences_at_most / CHAT.places
    checks.inside("chat: requests that memory holds, over its places", held, 1.0, 1.25)
    checks.inside("chat: twice the places, with memory for all", _unlimited(CHAT), 0.05, 0.1)
    for machine in (CHAT, SMALL):
        most = (1 - _own(machine)) / (1 + _own(machine))
        checks.inside(
            f"{machine.name}: of the most without prompts", _doubled(machine) / most, 0, 1
        )
    ended = []
    for places in (SMALL.places, 2 * SMALL.places):
        run = run_engine(SMALL.limited(places), 100.0, 6000, np.random.default_rng(3))
        first, last = np.quantile(run.completion_s, [0.25, 0.75]).tolist()
        ended.append(3000 / (last - first))
    gain = ended[1] / ended[0] - 1
    checks.close("L40S with 32, simulated", _doubled(SMALL), gain, atol=0.04, kind="simulation")


def check_where_memory_ends_first_places_lack() -> None:
    """Where weights take most of the memory, four or eight bits more than double the ceiling, and
    more than half of the gain comes from the room that they make; where memory holds all places,
    none does. Finding half of the prompt in a cache adds next to nothing to a full engine's ceiling
    if answers are longer than prompts.

    Source: ceilings by the closed form, of models of 8, 32 and 70 billion parameters on devices of
    24 and 80 GB; prompts of 400 and answers of 1,500 tokens.
    """
    for name, machine, filled in (
        ("32B", FILLED, True),
        ("8B on an L4", replace(CHAT, device="L4"), True),
        ("70B on two", replace(LARGE, devices=2), True),
        ("70B on four", LARGE, False),
        ("8B", CHAT, False),
    ):
        few = machine.limited(machine.sequences_at_most)
        for form in ("int4", "fp8"):
            whole, same = _times(machine, form), _times(few, form)
            label = f"{name}, {form}"
            checks.inside(f"{label}: of its ceiling", whole, *((2, 8) if filled else (1, 1.5)))
            room = (whole - same) / max(whole - 1, 1e-9)
            checks.inside(f"{label}: by more places", room, *((0.4, 0.9) if filled else (0, 0)))
    steps_s, prompt_s = float(CHAT.step_s(CHAT.places, 1150)), float(CHAT.prompt_s([400])[0])
    rest_s = 1499 * steps_s / CHAT.places
    gain = (prompt_s + rest_s) / (prompt_s / 2 + rest_s) - 1
    checks.inside("half of short prompts found", gain, 0, 0.03)


def check_a_run_is_made_again() -> None:
    """A loop of the record, simulated again, writes as many tokens.

    Source: the record, and its command.
    """
    checks.close(
        "four bits", _looped.again("int4", 4), _looped("int4", 4), rtol=1e-6, kind="simulation"
    )


if __name__ == "__main__":
    _looped.make()
