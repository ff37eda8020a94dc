"""Which requests a canary gets decides what its engine looks like, before its version does.

Ten engines of the chat machine serve customers whose prompts begin alike. Eight are the fleet,
whose router weighs prefix, queue and memory. After five minutes two fresh ones get a part of all
requests each: a control and a canary, all three of one version. The part is drawn request by
request, or customer by customer. A record has what each of the three had, minute by minute.

`python -m serving_mathematics.architecture.shadow_canary.split_traffic` simulates it, in half a
minute, and writes records/split_traffic.json.

Assumes: what `core.fleet` and `core.machines.customers` assume.

Source: own simulation of the book's machine.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.routers import endpoint_picker
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.view import View
from serving_mathematics.core.machines.customers import CUSTOMERS, PREAMBLE, _customers, _long_chat
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import provenance, read_record, write_record

IntArray = npt.NDArray[np.int64]
RECORD = "split_traffic"
COMMAND = "python -m serving_mathematics.architecture.shadow_canary.split_traffic"
ENGINES, RATE, MINUTES, START_S = 10, 7.0, 20, 300.0  # rate of each of the fleet [1/s]
ARMS = ("fleet", "control", "canary")
DRAWN = (2, 3, 4, 5, 6)  # seeds of other draws of customers
FEW = 20  # customers, all of whose preambles one engine's cache holds
SPLITS = {  # how requests are drawn, which share each of the two gets, and the customers' preambles
    "by request": ("request", 0.1, PREAMBLE),
    "by customer": ("customer", 0.1, PREAMBLE),
    "a hundredth": ("request", 0.01, PREAMBLE),
    "a hundredth, by customer": ("customer", 0.01, PREAMBLE),
    "short preambles": ("request", 0.1, 1024),
    "short preambles, by customer": ("customer", 0.1, 1024),
    "few customers": ("request", 0.1, PREAMBLE),
}


def _arms(asked: Requests, how: str, share: float, rng: np.random.Generator) -> IntArray:
    """Of each request the arm: 0 for the fleet, 1 for control, 2 for canary."""
    tree = asked.prefixes
    assert tree is not None
    who = np.asarray(tree.parent[tree.node])
    if how == "request":
        drawn = rng.random(who.size)
        arm = np.where(drawn < share, 2, np.where(drawn < 2 * share, 1, 0))
    else:  # customers in random order, until an arm has its share
        parts = np.bincount(who, minlength=CUSTOMERS) / who.size
        of, left = np.zeros(CUSTOMERS, dtype=np.int64), [0.0, share, share]
        for customer in rng.permutation(CUSTOMERS):
            for arm_number in (2, 1):
                if not of[customer] and parts[customer] <= left[arm_number]:
                    of[customer] = arm_number
                    left[arm_number] -= parts[customer]
        arm = of[who]
    return np.where(asked.arrival_s < START_S, 0, arm)


def _split(name: str, rate: float = RATE, minutes: int = MINUTES, seed: int = 1) -> dict[str, Any]:
    """What each arm has, minute by minute since the canary began, and of all together."""
    how, share, preamble = SPLITS[name]
    rng, all_per_s = np.random.default_rng([73, seed]), (ENGINES - 2) * rate / (1 - 2 * share)
    count = FEW if name.startswith("few") else CUSTOMERS
    asked = _customers(rng, all_per_s, int(all_per_s * 60 * minutes), count, preamble)
    arm = _arms(asked, how, share, rng)

    def route(request: int, view: View) -> int:
        if arm[request]:
            return ENGINES - 3 + int(arm[request])
        all_of_them, view.serving = view.serving, view.serving[: ENGINES - 2]
        try:
            return endpoint_picker(request, view)
        finally:
            view.serving = all_of_them

    fleet = Fleet([_long_chat()] * ENGINES, route, caching=True)
    outcome = simulate_fleet(asked, fleet, np.random.default_rng(3))
    first_s = outcome.first_token_s - outcome.sent_s + CHAT.made.around_s
    later = asked.output_tokens - 1.0
    spent_s = outcome.completion_s - outcome.first_token_s
    minute = ((outcome.sent_s - START_S) // 60).astype(np.int64)
    found: dict[str, Any] = {}
    for number, label in enumerate(ARMS):
        own = arm == number
        shown = [own & (minute == one) for one in range(minutes - 6)]
        rows = {
            "found": [
                outcome.found_tokens[some].sum() / asked.prompt_tokens[some].sum() for some in shown
            ],
            "first": [first_s[some].mean() for some in shown],
            "token": [spent_s[some].sum() / later[some].sum() for some in shown],
            "answers": [some.sum() for some in shown],
        }
        found[label] = {
            what: np.round(np.array(row, float), 5).tolist() for what, row in rows.items()
        }
    return found


def _mean(arm: dict[str, Any], what: str) -> float:
    """Of what an arm has, after the first two minutes, weighted by its answers."""
    return float(np.average(arm[what][2:], weights=arm["answers"][2:]))


def _apart(arms: dict[str, Any], what: str = "token") -> dict[str, float]:
    """What a canary has over fleet and over control."""
    own = _mean(arms["canary"], what)
    return {arm: own / _mean(arms[arm], what) for arm in ARMS[:2]}


def _draws() -> list[dict[str, float]]:
    """Times per token of canaries of the same version, for each draw of its customers."""
    return [
        {arm: round(ratio, 4) for arm, ratio in _apart(_split("by customer", seed=seed)).items()}
        for seed in DRAWN
    ]


def main() -> None:
    """Simulate and write the record."""
    record = provenance(COMMAND, ["numpy"]) | {
        "what": "minutes of a canary and a control beside a fleet, all of one version",
        "splits": {name: _split(name) for name in SPLITS},
        "draws": _draws(),
        "again": _split("by request", rate=1.0, minutes=7),
    }
    print(f"wrote {write_record(RECORD, record)}")


@functools.cache
def _splits() -> dict[str, Any]:
    """Of each split, what each arm had."""
    found: dict[str, Any] = read_record(RECORD)["splits"]
    return found


def _over(split: str, what: str, arm: str = "fleet") -> float:
    """What the canary has over what an arm has."""
    return _apart(_splits()[split], what)[arm]


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    mixed = _splits()["by request"]
    return SimpleNamespace(
        split_fleet_found=100 * _mean(mixed["fleet"], "found"),
        split_canary_found=100 * _mean(mixed["canary"], "found"),
        split_first_percent=round(100 * (_over("by request", "first") - 1), -1),  # of one draw
        split_preamble=PREAMBLE,
        split_short_percent=100 * (_over("short preambles", "first") - 1),
        small_token_times=1 / _over("a hundredth", "token"),
        draws=len(DRAWN),
        draws_most=100 * (max(max(one.values()) for one in read_record(RECORD)["draws"]) - 1),
    )


def figure_split(figure: Figure) -> None:
    """With traffic split by request, a canary of the same version looks much slower than its fleet;
    by customer, as fast.

    Mean time per token of each minute: ten chat machines of one version, at seven requests a second
    each, serving Model routers' customers.

    Alt: Two line charts of the time per token against the minutes since the start. On the left,
    split by request, the lines of control and canary lie well above that of the fleet from the
    first minute to the last. On the right, split by customer, the three lines lie close together.
    """
    figure.set_size_inches(5.8, 3.0)
    for axes, split in zip(
        figure.subplots(1, 2, sharey=True), ("by request", "by customer"), strict=True
    ):
        for arm, colour in (("fleet", "C4"), ("control", "C1"), ("canary", "C0")):
            axes.plot(1000 * np.array(_splits()[split][arm]["token"]), color=colour)
        axes.set_xticks([0, 5, 10])
        axes.set(title=split, xlabel="minute", ylabel="time per token [ms]", ylim=(0, 50))
    left = figure.axes[0]
    for text, y, colour in (("canary", 46, "C0"), ("control", 41, "C1"), ("fleet", 13, "C4")):
        left.annotate(text, (13, y), color=colour, ha="right")


def check_a_split_by_request_never_warms_up() -> None:
    """Split by request behind a router that follows prefixes, a canary finds a share of its prompt
    tokens that stays at least a fifth below the fleet's, and its first tokens and time per token
    take at least half as long again. Times are within a tenth of the fleet's if traffic is split by
    customer or if one cache holds all beginnings, and within a tenth of those of a control that is
    split in the same way.

    Source: the record, after the first two minutes; with beginnings a quarter as long, the order is
    the same and the difference smaller.
    """
    found = {arm: _mean(_splits()["by request"][arm], "found") for arm in ARMS}
    checks.inside("found, canary over fleet", found["canary"] / found["fleet"], 0.5, 0.8)
    late = _splits()["by request"]["canary"]["found"][-3:]
    checks.inside("found in the last minutes", float(np.mean(late)), 0.5, 0.65)
    for what in ("first", "token"):
        checks.inside(f"{what}, over the fleet", _over("by request", what), 1.5, 2.5)
        for split, arm in (("by customer", "fleet"), ("by request", "control")):
            ratio = _over(split, what, arm)
            checks.inside(f"{what}, {split}, over the {arm}", ratio, 0.9, 1.1)
    few = {arm: _mean(_splits()["few customers"][arm], "found") for arm in ARMS}
    checks.inside("few customers: found", few["canary"] / few["fleet"], 0.97, 1.03)
    for what in ("first", "token"):
        ratio = _over("few customers", what)
        checks.inside(f"few customers: {what}", ratio, 0.9, 1.1)
        mixed, apart = (_over(f"short preambles{how}", what) for how in ("", ", by customer"))
        checks.inside(f"short beginnings, by request: {what}", mixed, 1.03, 1.15)
        checks.inside(f"short beginnings, by customer: {what}", apart, 0.97, 1.03)


def check_a_draw_of_customers_may_still_differ() -> None:
    """In most of five other draws of customers, tokens of the same version take as long as the
    fleet's and the control's, to a twentieth; in at least one they do not, because of the customers
    drawn, not of the version.

    Source: the record.
    """
    draws = read_record(RECORD)["draws"]
    for arm in ARMS[:2]:
        ratios = [one[arm] for one in draws]
        near = sum(abs(ratio - 1) < 0.05 for ratio in ratios)
        checks.inside(f"draws near the {arm}", near, len(draws) - 2, len(draws) - 1)
        checks.inside(f"largest ratio to the {arm}", max(ratios), 1.05, 1.2)


def check_a_small_canary_is_fast() -> None:
    """With a hundredth of the traffic on an engine of its own, tokens come more than twice as fast
    as in the fleet, however the traffic is split; compared with an equally small control, they are
    as fast, to a twentieth.

    Source: the record.
    """
    for split in ("a hundredth", "a hundredth, by customer"):
        checks.inside(f"{split}: fleet over canary", 1 / _over(split, "token"), 2.0, 3.5)
        beside = _over(split, "token", "control")
        checks.inside(f"{split}: canary over control", beside, 0.95, 1.05)


def check_a_split_is_simulated_again() -> None:
    """The first minute of a split at low load, simulated again, is the same as in the record.

    Source: the record, and its command.
    """
    again, row = _split("by request", rate=1.0, minutes=7), read_record(RECORD)["again"]
    for arm in ARMS:
        for what in ("found", "token"):
            checks.close(
                f"{arm}: {what}", again[arm][what], row[arm][what], rtol=1e-4, kind="simulation"
            )


if __name__ == "__main__":
    main()
