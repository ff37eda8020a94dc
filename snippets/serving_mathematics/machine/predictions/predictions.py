"""How far a predicted latency can be trusted: errors on thousands of runs that were left out.

A prediction is scored by the ratio of predicted to measured. Its size says how far off a plan may
be, and its quantiles by how much a plan should be padded.

Assumes: runs of the future err as those of the record do.

Source: `records/machine_scores.json` and `records/machine_runs.json.gz`, made from
aiconfigurator-core 0.12.0; Hyndman and Fan (1996) for quantiles.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.calibration import (
    GIVEN,
    KERNELS,
    Table,
    groupings,
    predict_runs,
    tabulate,
)
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.run_reading import read_lines, read_runs
from serving_mathematics.core.hardware.step_time import CONSTANT_NAMES, FITTED, touched_experts
from serving_mathematics.machine.predictions.own_runs import FACTORS, SPREADS
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import as_floats, require, require_all_positive, require_in

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


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


@cache
def _record() -> tuple[Table, Array]:
    """All aggregated runs, and times per token that kernels alone predict, [s]."""
    table = tabulate(read_runs(line for line in read_lines() if line["mode"] == "agg"))
    return table, predict_runs(table, KERNELS).per_token_s


def example() -> SimpleNamespace:
    """Numbers of the page; errors in percent."""
    scores = read_record("machine_scores")
    told, separate = scores["aggregated"], scores["separate fleets, fitted to none"]
    held = told["one model left out"]
    off = scores["off by more than 2"]
    peer = read_record("machine_peer")
    return SimpleNamespace(
        runs=held["per token"]["all"]["runs"],
        fleets=separate["rate"]["all"]["runs"],
        constants=len(CONSTANT_NAMES) - len(GIVEN),
        held_median=100 * held["per token"]["all"]["median"],
        unique=held["per token"]["repeated"]["no"]["runs"],
        repeats=held["per token"]["repeated"]["yes"]["runs"],
        unique_median=100 * held["per token"]["repeated"]["no"]["median"],
        unique_mean=100 * held["per token"]["repeated"]["no"]["mean"],
        guessing_short=-100 * held["per token"]["guessing"]["yes"]["signed"],
        rack_runs=held["per token"]["system"]["gb200"]["runs"],
        rack_median=100 * held["per token"]["system"]["gb200"]["median"],
        first_median=100 * held["first token"]["all"]["median"],
        rate_median=100 * separate["rate"]["all"]["median"],
        rate_stated=100 * separate["rate"]["workers"]["stated"]["median"],
        fleet_median=100 * held["per token"]["devices"]["fleet"]["median"],
        off_count=len(off),
        off_percent=100 * len(off) / held["per token"]["all"]["runs"],
        peer_asked=peer["asked"],
        peer_answered=peer["answered by the peer"],
        peer_median=100 * peer["per token"]["peer, where it answered"]["median"],
        peer_mean=100 * peer["per token"]["peer, where it answered"]["mean"],
        here_median=100 * peer["per token"]["model left out, the same runs"]["median"],
        here_mean=100 * peer["per token"]["model left out, the same runs"]["mean"],
        peer_first=100 * peer["first token"]["peer, where it answered"]["median"],
        here_first=100 * peer["first token"]["model left out, the same runs"]["median"],
        peer_s=peer["seconds a row"]["peer"],
        here_ms=1e3 * peer["seconds a row"]["here"],
        factor_trtllm=FITTED.factor_trtllm,
        factor_vllm=FITTED.factor_vllm,
        steps_vllm=FITTED.first_steps_vllm,
        steps_sglang=FITTED.first_steps_sglang,
        table_rows="\n".join(_score_rows(told)),
        cell_table="\n    ".join(_cell_lines(held)),
        constant_table="\n    ".join(_constant_lines()),
        padding_rows="\n".join(_padding_rows(scores["padding"])),
        resisting_rows="\n".join(_resisting_rows(off)),
    )


def _score_rows(told: dict[str, Any]) -> list[str]:
    """Lines of the page's table: what was held out, errors of both times."""
    names = {
        "fitted to all": "nothing",
        "one model left out": "all models of its shape",
        "one system left out": "its system",
        "one backend left out": "its backend",
        "constants from kernels alone": "every run",
    }
    rows = []
    for name, meaning in names.items():
        each, first = told[name]["per token"]["all"], told[name]["first token"]["all"]
        cells = [meaning, *(each[key] for key in ("median", "mean", "p90", "signed"))]
        cells += [first["median"], first["mean"]]
        rows.append(
            f"| {cells[0]} | "
            + " | ".join(f"{100 * float(cell):.1f}%" for cell in cells[1:])
            + " |"
        )
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
        "| Constant | Fitted | From kernels alone | Moved by own runs, with | Spread before them |",
        "|---|---|---|---|---|",
    ]
    for name in CONSTANT_NAMES:
        group = groups.get(name, "")
        moved = f"{group} | × e^±{spreads[group]:.1f}" if group else "– | –"
        fitted = f"{getattr(FITTED, name):.3g}" + (", given" if name in GIVEN else "")
        lines.append(f"| `{name}` | {fitted} | {getattr(KERNELS, name):.3g} | {moved} |")
    return lines


def _padding_rows(kinds: list[dict[str, Any]]) -> list[str]:
    """Lines of the page's table: factors by kind, and what they cover."""
    return [
        f"| {one['kind']} | {one['runs']:,} | {one['factor']:.2f} | {one['covered']:.0%} |"
        f" {one['covered by one factor']:.0%} |"
        for one in kinds
    ]


def _resisting_rows(off: list[dict[str, Any]]) -> list[str]:
    """Lines of the page's table: groups of runs that are off by more than 2, the largest first."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for row in off:
        key = (row["model"], row["system"], row["backend"])
        groups.setdefault(key, []).append(row["predicted over measured"])
    largest = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))[:8]
    return [
        f"| {model} | {system} | {backend} | {len(ratios)} | {float(np.median(ratios)):.2f} |"
        for (model, system, backend), ratios in largest
    ]


def figure_kernels_alone(figure: Figure) -> None:
    """Times per token of all aggregated runs, predicted from kernel measurements alone.

    No constant was fitted to any of these runs. Dotted lines are off by a factor of two.

    Alt: Scatter plot with logarithmic axes of predicted against measured time per token, from two
    to five hundred milliseconds. Points of Hopper and Blackwell devices lie along the diagonal,
    nearly all between dotted lines at half and twice the measured time; a few strays lie beyond.
    """
    table, predicted = _record()
    figure.set_dpi(64)  # of the points, each a pixel: thousands of them stay a small picture
    axes = figure.subplots()
    generation = np.array([run.answers.system.generation for run in table.runs])
    for name, colour, place in (("hopper", "C0", (0.05, 0.92)), ("blackwell", "C1", (0.05, 0.85))):
        index = generation == name
        axes.plot(
            1e3 * table.per_token_s[index],
            1e3 * predicted[index],
            ",",
            color=colour,
            rasterized=True,
        )
        label = f"{name.capitalize()}, {int(index.sum()):,} runs"
        axes.annotate(label, place, xycoords="axes fraction", color=colour)
    ends = np.array([2.0, 600.0])
    axes.plot(ends, ends, color="C4", linewidth=1)
    for factor in (0.5, 2.0):
        axes.plot(ends, factor * ends, color="C4", linewidth=1, linestyle=":")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1.5, 600),
        ylim=(1.5, 600),
        xlabel="measured time per token [ms]",
        ylabel="predicted time per token [ms]",
    )
    axes.minorticks_off()


def figure_left_out(figure: Figure) -> None:
    """Errors of the time per token by model, left out or fitted.

    Each dot is the median error of one model's runs: with constants fitted without any model of its
    shape, with constants from kernels alone, and fitted to all.

    Alt: Dot plot of the median error in percent for ten models. For most the three dots lie between
    seven and eighteen percent and close together; leaving the model out costs a few points at most.
    """
    told = read_record("machine_scores")["aggregated"]
    axes = figure.subplots()
    models = list(told["fitted to all"]["per token"]["model"])
    order = sorted(
        models, key=lambda name: told["one model left out"]["per token"]["model"][name]["median"]
    )
    for name, colour, marker in (
        ("fitted to all", "C4", "|"),
        ("one model left out", "C0", "o"),
        ("constants from kernels alone", "C3", "x"),
    ):
        errors = [100 * told[name]["per token"]["model"][model]["median"] for model in order]
        axes.plot(errors, range(len(order)), marker, color=colour, label=name, linestyle="none")
    axes.set_yticks(range(len(order)), order)
    axes.legend(loc="lower right")
    axes.set(xlim=(0, 36), xlabel="median error of the time per token [%]", ylabel="model")


def check_touched_experts() -> None:
    """A few tokens touch most of the experts: 163 of 256 with 32 tokens, at 8 each.

    Source: 256 (1 - (248/256)^B), in fractions.
    """
    for tokens, expected in ((8, 57.42), (32, 163.31), (128, 251.60)):
        found = touched_experts(np.array([256.0]), np.array([8.0]), np.array([float(tokens)]))
        checks.close(f"{tokens} tokens", float(found[0]), expected, atol=0.005, kind="published")


def check_bytes_a_token() -> None:
    """What a token leaves behind, as published: 327,680 bytes for Llama-3.1-70B, 70,272 for R1.

    Source: the models' reports, two bytes a value; DeepSeek-AI (2024), section 2.1, for 576 values
    a layer.
    """
    for name, expected in (("Llama-3.1-70B", 327_680), ("Qwen3-32B", 262_144), ("R1", 70_272)):
        model = find_model("DeepSeek-R1" if name == "R1" else name)[0]
        found = 2 * (model.cached_values(1001) - model.cached_values(1000))
        checks.close(f"{name} [bytes]", found, expected, rtol=0, kind="published")


def check_scores_meet_their_aims() -> None:
    """Models that were left out: 15% in the median and 22% in the mean; 10% signed by devices.

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


def check_scores_are_those_of_the_shown_code() -> None:
    """The functions on this page, run again on every run, give the errors of the record.

    Source: the record of scores, constants from kernels alone.
    """
    table, predicted = _record()
    told = read_record("machine_scores")["aggregated"]["constants from kernels alone"]
    error = np.abs(predicted / table.per_token_s - 1)
    expected = told["per token"]["all"]
    for label, got in (("median", np.median(error)), ("mean", np.mean(error))):
        checks.close(label, float(got), expected[label], atol=2e-4, kind="measured")
    by_model = np.array(groupings(table)["model"])
    for model in ("GLM-5", "gpt-oss-120b"):
        got = float(np.median(error[by_model == model]))
        checks.close(
            model, got, told["per token"]["model"][model]["median"], atol=2e-4, kind="measured"
        )


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
    """Errors without runs, times that are none and shares of nothing name the argument."""
    checks.raises("no runs", padding, [], [], 0.5, match="predicted_s must be")
    checks.raises("share of 1", padding, [1.0], [1.0], 1.0, match="share must be")
    checks.raises("a time of 0", padding, [1.0], [0.0], 0.5, match="measured_s must be")
