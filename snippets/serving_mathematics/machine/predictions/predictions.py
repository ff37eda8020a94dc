"""How far a predicted latency can be trusted: errors on thousands of runs that were left out.

A prediction is scored by the ratio of predicted to measured. Its size says how far off a plan may
be, and its quantiles by how much a plan should be padded.

Assumes: runs of the future err as those of the record do.

Source: `records/machine_scores.json` and `records/machine_runs.json.gz`, made from
aiconfigurator-core 0.12.0; Hyndman and Fan (1996) for quantiles.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from serving_mathematics.core.hardware.calibration import GIVEN, KERNELS
from serving_mathematics.core.hardware.catalogue import systems
from serving_mathematics.core.hardware.step_time import CONSTANT_NAMES, FITTED
from serving_mathematics.machine.predictions.own_runs import FACTORS, SPREADS
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import as_floats, require, require_all_positive, require_in


def padding(predicted_s: ArrayLike, measured_s: ArrayLike, share: float) -> float:
    """By how much to multiply predictions so that a share of the runs is no slower.

    predicted_s, measured_s: times of the same runs [s], shape (n,), n >= 1. share: in (0, 1).
    Raises ValueError outside these ranges.

    >>> padding([1.0, 1.0, 1.0, 1.0], [0.5, 1.0, 1.5, 2.0], share=0.75)
    1.625
    """
    predicted, measured = as_floats(predicted_s=predicted_s), as_floats(measured_s=measured_s)
    share = require_in("(0, 1)", share=share)
    require(predicted.ndim == 1 and predicted.size > 0, "predicted_s", "of shape (n,)", predicted)
    require(
        measured.shape == predicted.shape, "measured_s", f"of shape {predicted.shape}", measured
    )
    require_all_positive(predicted_s=predicted, measured_s=measured)
    return float(np.quantile(measured / predicted, share))


def example() -> SimpleNamespace:
    """Numbers of the page; errors in percent."""
    scores, peer = read_record("machine_scores"), read_record("machine_peer")
    told = scores["aggregated"]
    each = told["one model left out"]["per token"]
    separate = scores["separate fleets, fitted to none"]["rate"]
    return SimpleNamespace(
        runs=each["all"]["runs"],
        measured_devices=", ".join(systems()[name].shown for name in sorted(each["system"])),
        held_median=100 * each["all"]["median"],
        held_p90=100 * each["all"]["p90"],
        guessing_short=-100 * each["guessing"]["yes"]["signed"],
        rack_median=100 * each["system"]["gb200"]["median"],
        fleet_median=100 * each["devices"]["fleet"]["median"],
        rate_stated=100 * separate["workers"]["stated"]["median"],
        off_count=len(scores["off by more than 2"]),
        peer_mean=100 * peer["per token"]["peer, where it answered"]["mean"],
        here_mean=100 * peer["per token"]["model left out, the same runs"]["mean"],
        table_rows="\n".join(_score_rows(told)),
        cell_table="\n    ".join(_cell_lines(told["one model left out"])),
        constant_table="\n    ".join(_constant_lines()),
    )


def _score_rows(told: dict[str, Any]) -> list[str]:
    """Lines of the page's table: what was held out, errors of both times."""
    names = {
        "fitted to all": "nothing",
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
        f'??? tip "Errors of {len(cells)} pairs of a model and a device, the model left out"\n',
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
        '??? tip "All constants, and how far a deployment may differ"\n',
        "| Constant | Fitted | From kernels alone | Factor that own runs fit | Its prior spread |",
        "|---|---|---|---|---|",
    ]
    for name in CONSTANT_NAMES:
        group = groups.get(name, "")
        moved = f"{group} | × e^±{spreads[group]:.1f}" if group else "– | –"
        fitted = f"{getattr(FITTED, name):.3g}" + (", given" if name in GIVEN else "")
        lines.append(f"| `{name}` | {fitted} | {getattr(KERNELS, name):.3g} | {moved} |")
    return lines


def check_scores_meet_their_aims() -> None:
    """Errors of models that were left out are at most 15% in the median, 22% in the mean, and 10%
    signed for each number of devices.

    Source: the record of scores; the aims were set before.
    """
    told = read_record("machine_scores")["aggregated"]["one model left out"]
    each = told["per token"]
    for label, got, aim in (
        ("median error per token", each["all"]["median"], 0.15),
        ("mean error per token", each["all"]["mean"], 0.22),
        ("median error of the first token", told["first token"]["all"]["median"], 0.30),
        *((f"signed, {n} devices", abs(each["devices"][n]["signed"]), 0.1) for n in "1248"),
    ):
        checks.holds(f"{label}, at most {aim}", got <= aim, got=got, kind="measured")


def check_padding_covers_its_share() -> None:
    """Predictions times the padding are too short for one run in ten, of runs it has not seen.

    Source: 4,000 ratios from a lognormal distribution, in two halves; three binomial standard
    errors.
    """
    ratios = np.random.default_rng(11).lognormal(0.1, 0.3, 4000)
    factor = padding(np.ones(2000), ratios[:2000], 0.9)
    late = float(np.mean(ratios[2000:] > factor))
    checks.close("late", late, 0.1, atol=3 * (2 * 0.09 / 2000) ** 0.5, kind="simulation")


def check_bad_input_is_refused() -> None:
    """Errors without runs, invalid times and invalid shares are errors that name the argument."""
    checks.raises("no runs", padding, [], [], 0.5, match="predicted_s must be")
    checks.raises("share of 1", padding, [1.0], [1.0], 1.0, match="share must be")
    checks.raises("a time of 0", padding, [1.0], [0.0], 0.5, match="measured_s must be")
