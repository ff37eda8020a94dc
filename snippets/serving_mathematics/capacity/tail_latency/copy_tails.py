"""What second copies do to engines: little for the tail, and much to the load.

Copies leave at the p95 that the same requests had without. With the loser cancelled at the first
token they change the tail little, because both copies read the same prompt. With losers that run
on, they are load: from some load on the fleet never comes back. A cap of a few percent ends that.
What copies are good for is an engine that stands still, if the router sends it requests
nevertheless.

Assumes: what `tail_record` assumes.

Source: records/first_tokens.json, made by `tail_record`.
"""

from __future__ import annotations

from types import SimpleNamespace

from serving_mathematics.capacity.tail_latency.mixes import MIXES
from serving_mathematics.capacity.tail_latency.tail_record import (
    LOADS,
    PAUSES,
    _recorded,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

SHOWN = {
    "none": ("none", "C4"),
    "cancelled": ("cancelled", "C0"),
    "budget": ("capped", "C2"),
    "runs on": ("loser runs on", "C3"),
}
NAMES = ("none", "copy at the p95")
LOST_S = 3.0  # a p99 of the first token beyond which a fleet of these engines is lost


def _p99(load: float, name: str) -> float:
    """Of the chat machine with the engine of the fewest requests [s]."""
    return float(_recorded()["loads"][f"{load}, {name}"]["p99"])


def _case(case: str, load: float, name: str) -> dict[str, float]:
    return dict(_recorded()["cases"][f"{case}, {load}, {name}"])


def _cut(mix: str, load: float, part: str) -> float:
    """By how much copies at the p95 shorten the p99: those of the fleet, or independent ones."""
    none, copies = (_recorded()["remedies"][f"{mix}, {load}, {name}"] for name in NAMES)
    return float(1 - (none if part == "independent" else copies)[part] / none["p99"])


def _collapse() -> float:
    """The first load at which losers that run on bring the fleet down in every run."""
    rows = {load: _recorded()["loads"][f"{load}, runs on"] for load in LOADS}
    return min(load for load, row in rows.items() if row["p99"] - 2 * row["p99_error"] > LOST_S)


def example() -> SimpleNamespace:
    """Numbers of the page: percentages and milliseconds."""
    still = [_case("still, scattered", 0.5, name) for name in ("none", "cancelled")]
    unread = _case("still, unread tokens", 0.5, "none")
    return SimpleNamespace(
        textbook_cut=100 * _cut("documents", 0.7, "independent"),
        engine_rise=-100 * _cut("documents", 0.7, "p99"),
        collapse_percent=100 * _collapse(),
        still_s=PAUSES["still_s"],
        still_every_s=PAUSES["every_s"],
        still_ms=1000 * still[0]["p99"],
        still_copy_ms=1000 * still[1]["p99"],
        still_unread_ms=1000 * unread["p99"],
    )


def figure_copies_and_load(figure: Figure) -> None:
    """Where losers run on, second copies bring the engines down at a load that they carry easily.
    Where losers are cancelled, copies hardly matter up to 70% of the ceiling; from 80% they hurt.

    Four chat machines; each request goes to the one with the fewest requests, and second copies are
    sent at the p95 of the same requests without copies.

    Alt: Line chart of the first token of the slowest hundredth against load, on a logarithmic axis.
    Three curves, without copies, with cancelled losers and with a cap on copies, rise slowly side
    by side up to 70%; from 80% the one with cancelled losers is highest. The fourth leaves them and
    jumps by two orders of magnitude past the middle of the axis.
    """
    axes = figure.subplots()
    for name, (_, colour) in SHOWN.items():
        axes.semilogy(
            [100 * load for load in LOADS], [_p99(load, name) for load in LOADS], color=colour
        )
    axes.annotate(SHOWN["runs on"][0], (67.5, 9), color="C3")
    for name in ("none", "cancelled", "budget"):
        label, colour = SHOWN[name]
        axes.annotate(label, (90.6, _p99(0.9, name)), color=colour, va="center")
    axes.set(xlim=(30, 103), xticks=range(30, 100, 10), xlabel="load [% of the ceiling]")
    axes.set(ylabel="first token, slowest hundredth [s]", yticks=[0.2, 0.5, 1, 2, 5, 10, 20, 50])
    axes.minorticks_off()


def check_copies_do_little_for_prompts() -> None:
    """Cancelled copies at the p95 cut the p99 by no more than a tenth, at any load of the chat
    machine and in every mix; where a tenth or fewer are documents, independent copies would cut it
    by a sixth or more. Cancelled copies make it a tenth longer at most up to 70% of the ceiling,
    more than half as long again at 80%, and more than twice as long at 90%.

    Source: the record; independent copies have the first tokens of other requests.
    """
    for load, low, high in ((0.9, 2.0, 4.0), (0.8, 1.5, 2.0)):
        longer = _p99(load, "cancelled") / _p99(load, "none")
        checks.inside(f"times as long at {load:g}", longer, low, high)
    for load in LOADS:
        cut = 1 - _p99(load, "cancelled") / _p99(load, "none")
        checks.inside(f"cut at {load:g}", cut, -0.1 if load <= 0.7 else -2.0, 0.1)
    for mix in MIXES:
        for load in (0.5, 0.7):
            cut, told = (_cut(mix, load, part) for part in ("p99", "independent"))
            checks.inside(f"{mix} at {load:g}: cut", cut, -2.0, 0.1)
            if "documents" in mix:
                checks.inside(f"{mix} at {load:g}: independent", told, 0.16, 0.6)


def check_losers_that_run_on_bring_a_fleet_down() -> None:
    """From 65% of the ceiling, copies at the p95 whose losers run on bring down a fleet that
    carries 90% without copies; up to half of the ceiling they do not. Cancelled, or capped at 5%,
    they do not at any load.

    Source: the record.
    """
    checks.inside("first load that is lost", _collapse(), 0.6, 0.7)
    for load in LOADS:
        lost = _p99(load, "runs on") > LOST_S
        if load <= 0.5 or load >= 0.65:
            checks.equal(f"{load:g}: lost where losers run on", lost, load >= 0.65, kind="stated")
        for name in ("none", "cancelled", "budget"):
            checks.holds(f"{load:g}, {name}: not lost", _p99(load, name) < LOST_S)


def check_copies_help_where_an_engine_stands_still() -> None:
    """Where one engine in turn stands still and requests are sent anywhere, cancelled copies cut
    the p99 by half or more. Sending requests to the engine with the fewest does nearly as much
    without a copy, and copies on top cut no more than a quarter. Sending them to the one with the
    fewest unread tokens nearly halves the p99 again, and copies on top cut nothing.

    Source: the record, at half load.
    """
    none = _case("still, scattered", 0.5, "none")["p99"]
    checks.inside(
        "scattered: cut", 1 - _case("still, scattered", 0.5, "cancelled")["p99"] / none, 0.5, 1
    )
    few = _case("still, fewest", 0.5, "none")["p99"]
    checks.inside("the fewest, no copy: cut", 1 - few / none, 0.5, 1.0)
    more = 1 - _case("still, fewest", 0.5, "cancelled")["p99"] / few
    checks.inside("copies behind it: cut", more, -0.5, 0.25)
    for load in (0.5, 0.7):
        few = _case("still, fewest", load, "none")["p99"]
        unread, copied = (
            _case("still, unread tokens", load, name)["p99"] for name in ("none", "cancelled")
        )
        checks.inside(f"unread tokens at {load:g}", unread / few, 0.1, 0.55)
        checks.inside(f"copies behind it at {load:g}: over none", copied / unread, 1.0, 1.5)
