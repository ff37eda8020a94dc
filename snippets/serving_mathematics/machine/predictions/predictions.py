"""How far a predicted latency can be trusted: errors on thousands of runs that were left out.

A prediction is scored by the ratio of predicted to measured: its size says how far off a plan may
be.

Assumes: runs of the future err as those of the record do.

Source: `records/machine_scores.json`, `records/calibration_scores.json` and
`records/machine_runs.json.gz`, made from aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from serving_mathematics.core.hardware.calibration import GIVEN, KERNELS, tabulate
from serving_mathematics.core.hardware.catalogue import systems
from serving_mathematics.core.hardware.published_runs import _engine_runs
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.core.hardware.step_time import CONSTANT_NAMES, FITTED, prompt_s
from serving_mathematics.machine.predictions.calibration_scores import FEW, SCORES, kept_error
from serving_mathematics.machine.predictions.own_runs import FACTORS, SPREADS
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record


def example() -> SimpleNamespace:
    """Numbers of the page; errors in percent."""
    scores = read_record("machine_scores")
    told = scores["aggregated"]
    scored = [row for row in read_record(SCORES)["deployments"] if row["half"] == "scored on"]
    key = "median error per token"
    each = told["one model left out"]["per token"]
    return SimpleNamespace(
        runs=each["all"]["runs"],
        scored_models=len(each["model"]),
        scored_engines=len(each["backend"]),
        measured_devices=", ".join(systems()[name].shown for name in sorted(each["system"])),
        guessing_median=100 * each["guessing"]["yes"]["median"],
        rack_median=100 * each["system"]["gb200"]["median"],
        fleet_median=100 * each["devices"]["fleet"]["median"],
        off_count=scores["off by more than 2"],
        table_rows="\n".join(_score_rows(told)),
        cell_table="\n    ".join(_cell_lines(told["one model left out"])),
        constant_table="\n    ".join(_constant_lines()),
        own_rows="\n".join(_own_rows()),
        own_deployments=len(scored),
        own_before=100 * kept_error(3, method="before")["median"],
        own_after=100 * kept_error(3)["median"],
        own_low=100 * kept_error(3, method="low loads")["median"],
        own_worse=sum(row[key]["after"] > row[key]["before"] for row in scored),
    )


def _own_rows() -> list[str]:
    """Lines of the page's table: errors of the other runs, without and after some calibrated."""
    errors = [kept_error(FEW[-1], method="before"), *map(kept_error, FEW)]
    return [
        f"| {few} | {100 * error['median']:.1f}% |"
        for few, error in zip((0, *FEW), errors, strict=True)
    ]


def _score_rows(told: dict[str, Any]) -> list[str]:
    """Lines of the page's table: what was held out, errors of both times."""
    names = {
        "one model left out": "all models of its shape",
        "one system left out": "its device, one of these",
        "one backend left out": "its engine",
        "constants from kernels alone": "every run",
    }
    rows = []
    for name, meaning in names.items():
        each, first = told[name]["per token"]["all"], told[name]["first token"]["all"]
        cells = [each["median"], each["p90"], first["median"]]
        rows.append(f"| {meaning} | {' | '.join(f'{100 * cell:.0f}%' for cell in cells)} |")
    return rows


def _cell_lines(held: dict[str, Any]) -> list[str]:
    """The page's folded table: errors of each model on each device, its shape left out."""
    cells, first = (held[name]["model and system"] for name in ("per token", "first token"))
    lines = [
        f'??? note "Errors of {len(cells)} pairs of a model and a device, the model left out"\n',
        "| Model | Device | Runs | Median | Mean | p90 | Signed | First token, median |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for label in sorted(cells):
        one = cells[label]
        numbers = [one["median"], one["mean"], one["p90"], one["signed"], first[label]["median"]]
        told = " | ".join(f"{100 * number:.0f}%" for number in numbers)
        lines.append(f"| {label} | {one['runs']} | {told} |")
    return lines


def _constant_lines() -> list[str]:
    """The page's folded table: every constant, fitted and from kernels, and its prior."""
    groups = {name: group for group, names in FACTORS.items() for name in names}
    spreads = dict(zip(FACTORS, SPREADS.tolist(), strict=True))
    lines = [
        '??? note "All constants, and how far a deployment may differ"\n',
        "| Constant | Fitted | From kernels alone | Factor that own runs fit | Its prior spread |",
        "|---|---|---|---|---|",
    ]
    for name in CONSTANT_NAMES:
        group = groups.get(name, "")
        moved = f"{group} | × e^±{spreads[group]:.1f}" if group else "– | –"
        fitted = f"{getattr(FITTED, name):.3g}" + (", given" if name in GIVEN else "")
        lines.append(f"| `{name}` | {fitted} | {getattr(KERNELS, name):.3g} | {moved} |")
    return lines


def check_the_peer_errs_more() -> None:
    """On runs drawn at random that both can answer, the publishers' own predictor has a larger mean
    error than this one, from whose fit the run's model is left out.

    Source: the record of `make bench-predict`.
    """
    told = read_record("machine_peer")["per token"]
    ours, theirs = (
        told[name]["mean"] for name in ("model left out, the same runs", "peer, where it answered")
    )
    checks.holds("ours, then the peer's", ours < theirs, got=[ours, theirs])


def check_no_run_exceeds_its_devices() -> None:
    """As the record is read, no run needs more for its prompts than the peak of its engine's
    devices, and none holds over a tenth more sequences than their memory is predicted to hold.

    Source: Little's law on the measured times; data sheets. Read as one engine, three runs of 64
    devices needed six times their peak, and a cache of 16 bits held 1.6 times its room.
    """
    table = tabulate(_engine_runs())
    work, later = table.engines, table.engines.answer - 1
    rate = table.concurrency / (table.first_token_s + later * table.per_token_s)
    busy = rate * prompt_s(work, replace(DATA_SHEET, prompt_link_share=math.inf))  # messages hide
    checks.inside("largest share of the peak", float(busy.max()), 0.0, 1.0, kind="measured")
    held = rate * later * table.per_token_s / work.room
    checks.inside("most sequences over room", float(held.max()), 0.0, 1.1, kind="measured")


def check_scores_meet_their_aims() -> None:
    """For models that were left out, errors of the time per token are at most 15% in the median and
    22% in the mean, and the signed median is at most 10% for each of 1, 2, 4 and 8 devices. Errors
    of the time to the first token are at most 30% in the median and 50% in the mean.

    Source: the record of scores; the aims were set beforehand.
    """
    told = read_record("machine_scores")["aggregated"]["one model left out"]
    each = told["per token"]
    for label, got, aim in (
        ("median error per token", each["all"]["median"], 0.15),
        ("mean error per token", each["all"]["mean"], 0.22),
        ("median error of the first token", told["first token"]["all"]["median"], 0.30),
        ("mean error of the first token", told["first token"]["all"]["mean"], 0.5),
        *((f"signed, {n} devices", abs(each["devices"][n]["signed"]), 0.1) for n in "1248"),
    ):
        checks.holds(f"{label}, at most {aim}", got <= aim, got=got, kind="measured")


def check_loads_apart_are_worth_more_than_low_ones() -> None:
    """Three runs, at the fewest, the middle and the most requests, leave at most nine tenths of the
    error that three at the lowest loads leave, both in the median and in the mean, on either half
    of the deployments.

    Source: the record.
    """
    rows = {
        (row["half"], row["method"]): row
        for row in read_record(SCORES)["all"]
        if row["few"] == 3 and row["time"] == "per_token_s"
    }
    for half in ("scored on", "chosen on"):
        apart, low = rows[half, "spread loads"], rows[half, "low loads"]
        for key in ("median", "mean"):
            label = f"{half}, {key}: apart over low"
            checks.inside(label, apart[key] / low[key], 0.0, 0.9)
