"""What each rule does with batch work in the valleys of one engine, at its best setting.

Priority says who is next, so it protects the first token. Places say how many share a step, so they
protect the time per token. It takes both, and answers that end often (`freed_places`).

Assumes: what `engine_backfill` assumes, which made the record.

Source: records/engine_backfill.json.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.machines.book import promised_load
from serving_mathematics.core.machines.machines import CHAT, MIXTURE
from serving_mathematics.intuition.batch_vs_online.deadline_scheduling import daily_profile
from serving_mathematics.intuition.batch_vs_online.engine_backfill import (
    LONGER,
    PEAK,
    PLENTY,
    TOP,
)
from serving_mathematics.intuition.batch_vs_online.freed_places import (
    _ended_per_s,
    _own_s,
    late_behind_batch,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record


@functools.cache
def _cells(machine: str, real: bool = False, batch_is: str = "") -> list[dict[str, Any]]:
    every, own = read_record("engine_backfill")["cells"], (machine, real, batch_is)
    return [cell for cell in every if (cell["machine"], cell["real"], cell.get("batch", "")) == own]


def _best(machine: str, rule: str, real: bool = False, batch_is: str = "") -> dict[str, Any]:
    """The setting of a rule that does most and keeps the promise in every run; where none does, the
    one that keeps it to most."""
    share = {"chat": CHAT, "mixture": MIXTURE}[machine].promise.share
    cells = [cell for cell in _cells(machine, real, batch_is) if cell["rule"] == rule]
    kept = [cell for cell in cells if min(cell["kept"]) >= share]
    if kept:
        return max(kept, key=lambda cell: float(cell["mean"]["work"]))
    return max(cells, key=lambda cell: float(cell["mean"]["kept"]))


ROWS = (  # the rules of the page's table, in words, and what of them is set
    ("no batch work", "none: no batch work", ""),
    ("all at once", "first come, first served", ""),
    ("places", "the same, fewer places", "places"),
    ("priority", "low priority", ""),
    ("a number in flight", "low priority, a fixed number in flight", "in_flight"),
    ("places and priority", "low priority, fewer places", "places"),
)


def _table_row(rule: str, words: str, setting: str) -> str:
    """A rule at its best setting as a row of the page's table; a broken promise to ten percent,
    because runs differ by as much."""
    best = _best("chat", rule)
    told = f"{words} ({best[setting]})" if setting else words
    mean = best["mean"]
    kept = round(100 * mean["kept"], 1 if mean["kept"] > 0.9 else -1)
    return f"| {told} | {kept:g}% | {100 * mean['work']:.0f}% |"


def _late_in_the_wave(places: int) -> tuple[float, float]:
    """Share of the wave's online chats that the formula says are late, and at its top (X − λ)t."""
    wave, ended = daily_profile(PEAK, 96), _ended_per_s("as they are", places)
    asked = TOP * promised_load(CHAT.name) * CHAT.ceiling_per_s * wave / wave.max()
    limit = CHAT.promise.ttft_s - _own_s()
    late = [late_behind_batch(ended, rate, limit) for rate in asked]
    return float(np.average(late, weights=asked)), (ended - float(asked.max())) * limit


def example() -> SimpleNamespace:
    """Numbers of the page."""
    documents = _best("chat", "places and priority", batch_is="documents")
    alone, both = (_best("chat", rule) for rule in ("no batch work", "places and priority"))
    told, top = _late_in_the_wave(both["places"])
    return SimpleNamespace(
        wave_late=100 * told,
        wave_top=top,
        document_tokens=LONGER["documents"][0],
        document_kept=round(100 * documents["mean"]["kept"], -1),  # by run 64 to 78
        rule_rows="\n".join(_table_row(*row) for row in ROWS),
        alone_token_ms=1000 * alone["mean"]["token_s"],
        filled_token_ms=1000 * both["mean"]["token_s"],
    )


def figure_engine_backfill(figure: Figure) -> None:
    """Where places are freed often, only fewer places and priority together fill an engine and keep
    its promise.

    One engine through a wave of online work, with as much batch work as it takes. Each point is a
    setting; further right more work is done, and above the dotted line the promise is kept.

    Alt: Two charts, for the chat and the mixture machine, of the share of requests that keep the
    promise against the work done as a share of the ceiling. Points for a fixed number in flight
    begin high at the left and fall below the dotted line at about seven tenths. Points for places
    and priority stay high until far right, except the one for the fewest places on the mixture.
    Priority alone lies at the right and far below.
    """
    looks = {
        "no batch work": ("C4", "no batch work"),
        "a number in flight": ("C3", "a fixed number"),
        "priority": ("C1", "priority alone"),
        "places and priority": ("C0", "places and priority"),
    }
    for axes, machine in zip(figure.subplots(1, 2), (CHAT, MIXTURE), strict=True):
        for rule, (colour, label) in looks.items():
            cells = [cell["mean"] for cell in _cells(machine.name) if cell["rule"] == rule]
            done, kept = ([100 * cell[kind] for cell in cells] for kind in ("work", "kept"))
            axes.plot(done, kept, "o-", color=colour, label=label, markersize=4)
        axes.axhline(100 * machine.promise.share, color="C4", linestyle=":", linewidth=1)
        axes.set(xlim=(15, 105), ylim=(0, 103), title=machine.name)
        axes.set(xlabel="work done [% of the ceiling]", ylabel="promise kept [%]")
    figure.axes[0].legend(loc="lower left")


def check_both_together_fill_most() -> None:
    """Of all rules that keep the promise, places and priority together carry the most batch work:
    at least 1.3 times as much as the best fixed number in flight, on both machines and on the
    minutes of a real trace.

    Source: the record; each rule at its best setting.
    """
    for machine, real in (("chat", False), ("mixture", False), ("chat", True)):
        alone = _best(machine, "no batch work", real)["mean"]["work"]
        both, number = (
            _best(machine, rule, real)["mean"]["work"] - alone
            for rule in ("places and priority", "a number in flight")
        )
        label = f"{machine}, {'real minutes' if real else 'wave'}"
        checks.inside(f"{label}: over a fixed number", both / number, 1.3, 5)


def check_late_in_the_wave() -> None:
    """Whatever the number of places, no more first tokens are late in the wave than the formula
    says, summed over its minutes. With the best number of places, the formula says that the promise
    holds over the whole wave, but not at the top of the wave alone.

    Source: the record.
    """
    tried = [cell for cell in _cells("chat") if cell["rule"] == "places and priority"]
    factors = [(1 - cell["mean"]["first"]) / _late_in_the_wave(cell["places"])[0] for cell in tried]
    checks.inside("most late over told", max(factors), 0.0, 1.0, kind="simulation")
    allowed = 1 - CHAT.promise.share
    told, top = _late_in_the_wave(_best("chat", "places and priority")["places"])
    checks.inside("told of the best", told, 0.0, allowed)
    checks.inside("told of its top", np.exp(-top), allowed, 1.0)


def check_neither_alone_keeps_the_promise() -> None:
    """Priority alone keeps the limit on first tokens and breaks that on time per token; fewer
    places alone do the reverse.

    Source: the record, on both machines.
    """
    for machine, first, gap in (("chat", 0.98, 0.99), ("mixture", 0.9, 0.9)):
        priority, places = (_best(machine, rule)["mean"] for rule in ("priority", "places"))
        checks.inside(f"{machine}, priority: first tokens", priority["first"], first, 1.0)
        checks.inside(f"{machine}, priority: promise", priority["kept"], 0.0, 0.6)
        checks.inside(f"{machine}, places: time per token", places["gap"], gap, 1.0)
        checks.inside(f"{machine}, places: first tokens", places["first"], 0.0, 0.1)


def check_longer_batch_requests_must_be_few() -> None:
    """Where batch requests are documents or have long answers, no number of places keeps the chat
    machine's promise for more than three requests in four. With only a few batch requests in flight
    it is kept; of documents, four may be in flight.

    Source: the record; prompts of 6,000 tokens with answers of 200, and 1,000 with 1,500.
    """
    for batch_is in LONGER:
        both, number = (
            _best("chat", rule, batch_is=batch_is)
            for rule in ("places and priority", "a number in flight")
        )
        checks.inside(f"{batch_is}: kept with places", max(both["kept"]), 0.3, 0.75)
        checks.inside(f"{batch_is}: kept with a number in flight", min(number["kept"]), 0.99, 1.0)
    number = _best("chat", "a number in flight", batch_is="documents")
    checks.equal("documents in flight", number["in_flight"], 4, kind="stated")
    some = [c for c in _cells("chat") if c["rule"] == "places and priority"]
    checks.equal("in flight, with places", {c["in_flight"] for c in some}, {PLENTY["chat"]})


def check_too_few_places_are_the_smaller_mistake() -> None:
    """A fifth fewer places than the best number keep the promise, also in the minutes of a real
    hour, and lose a twentieth of the work; a fifth more break it for three requests in a hundred.

    Source: the record, of the chat machine.
    """
    cells = {c["places"]: c for c in _cells("chat") if c["rule"] == "places and priority"}
    best = cells[_best("chat", "places and priority")["places"]]
    few, many = (min(cells, key=lambda n: abs(n - x * best["places"])) for x in (0.8, 1.2))
    checks.inside("a fifth fewer: kept", min(cells[few]["kept"]), 0.99, 1.0)
    real = _best("chat", "places and priority", real=True)["places"]
    checks.equal("places in a real hour, with a fifth fewer", real, few, kind="simulation")
    lost = 1 - cells[few]["mean"]["work"] / best["mean"]["work"]
    checks.inside("work lost", lost, 0.04, 0.06)
    broken = 1 - cells[many]["mean"]["kept"]
    checks.inside("a fifth more: broken", broken, 0.025, 0.035)


def check_a_filled_engine_looks_full_all_day() -> None:
    """With batch work in its valleys, an engine's mean time per token is that of an engine whose
    places are always taken, within a tenth, and at least one and a half times that without batch
    work: an autoscaler that reads it orders replicas for batch work.

    Source: the record; b places always taken wait D(b) + (b − 1)p/m for a token.
    """
    for machine in (CHAT, MIXTURE):
        both, lengths = _best(machine.name, "places and priority"), machine.sample
        prompt_s = machine.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).mean()
        later = float(lengths.output_tokens.mean()) - 1
        full = machine.step_s(both["places"]) + (both["places"] - 1) * prompt_s / later
        token = both["mean"]["token_s"]
        told = f"{machine.name}, {both['places']} places [ms]"
        checks.close(told, 1e3 * token, 1e3 * float(full), rtol=0.1, kind="simulation")
        alone = _best(machine.name, "no batch work")["mean"]["token_s"]
        checks.inside(f"{machine.name}, over no batch work", token / alone, 1.5, 3.0)
