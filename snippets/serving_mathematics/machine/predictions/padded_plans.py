"""Padded plans: what to multiply a prediction by, before and after runs of one's own.

A prediction times a factor is a promise, and the share of runs that were no slower says how often
it would have been kept. Runs of one's own deployment narrow the factor, because most of an error is
shared by all its runs.

Assumes: deployments of the future err as those of the record do, whose model was left out.

Source: records/calibration_scores.json and records/planner_errors.json.gz, made from
aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.catalogue import systems
from serving_mathematics.machine.predictions.calibration_scores import (
    ALL,
    LEAST_RUNS,
    PADDINGS,
    SCORES,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record

Array = NDArray[np.float64]
OWN = {"none": "0", "one": "1", "three": "3"}  # runs that calibrate, as the record calls them
SHARE = 0.9  # of runs that a padded plan is to cover


@cache
def _covered() -> dict[str, Any]:
    """By model: runs, and what is covered after none, one and three own runs."""
    told: dict[str, Any] = read_record(SCORES)["covered"]
    return told


def _factor(model: str, own: str) -> float:
    """The least factor of those tried at which nine in ten runs are no slower."""
    covered = np.array(_covered()[model][OWN[own]]["covered"])
    return float(PADDINGS[np.argmax(covered >= SHARE)])


@cache
def _left_out(time: str = "tpot") -> tuple[NDArray[np.str_], Array]:
    """Models of the record's runs, and measured over predicted times, the model left out: per
    token, or with "ttft" to the first one."""
    record = read_record("planner_errors")
    model, ratio = (record["columns"].index(name) for name in ("model", f"{time}_ratio"))
    rows = record["rows"]
    return np.array([row[model] for row in rows]), np.array([row[ratio] for row in rows])


def _one_factor() -> tuple[float, float]:
    """A factor for all models that covers nine in ten of their runs, and what it covers of a model
    whose runs did not set it."""
    models, slower = _left_out()
    within = [
        slower[models == name] <= np.quantile(slower[models != name], SHARE)
        for name in dict.fromkeys(models.tolist())
    ]
    return float(np.quantile(slower, SHARE)), float(np.mean(np.concatenate(within)))


def _needed(time: str) -> dict[str, float]:
    """By model: the factor at which nine in ten of its runs are no slower."""
    models, slower = _left_out(time)
    names = dict.fromkeys(models.tolist())
    return {name: float(np.quantile(slower[models == name], SHARE)) for name in names}


def _worst() -> float:
    """The factor of the model that needs most."""
    return max(_needed("tpot").values())


@cache
def _deployments() -> list[tuple[str, bool, float]]:
    """Of each deployment with enough runs: its model, whether that is a mixture, and the factor at
    which nine in ten of the runs are no slower."""
    record = read_record("planner_errors")
    place = {name: number for number, name in enumerate(record["columns"])}
    alike: dict[tuple[Any, ...], list[float]] = {}
    for row in record["rows"]:
        key = (*row[: place["devices"] + 1], bool(row[place["sparse"]]))
        alike.setdefault(key, []).append(row[place["tpot_ratio"]])
    return [
        (key[0], key[-1], float(np.quantile(slower, SHARE)))
        for key, slower in alike.items()
        if len(slower) >= LEAST_RUNS
    ]


def _kept(dense: float, mixed: float, kind: bool | None = None) -> float:
    """Share of deployments, or of those of a kind, of which a factor for dense models and one for
    mixtures keep nine in ten runs."""
    some = [(mix, need) for _, mix, need in _deployments() if kind in (None, mix)]
    return float(np.mean([need <= (mixed if mix else dense) for mix, need in some]))


@cache
def _by_device() -> dict[str, tuple[int, float]]:
    """Of each device: its runs, and which share of them one factor for dense models and the worst
    one for mixtures cover."""
    record, (dense, _), mixed = read_record("planner_errors"), _one_factor(), _worst()
    device, sparse, ratio = map(record["columns"].index, ("system", "sparse", "tpot_ratio"))
    kept: dict[str, list[bool]] = {}
    for row in record["rows"]:
        kept.setdefault(row[device], []).append(row[ratio] <= (mixed if row[sparse] else dense))
    return {name: (len(runs), float(np.mean(runs))) for name, runs in sorted(kept.items())}


def _device_lines() -> list[str]:
    """The page's folded table: what the two factors cover, device by device."""
    return [
        '??? note "What the two factors cover, by device"\n',
        "| Device | Runs | No slower |",
        "|---|---:|---:|",
        *(
            f"| {systems()[name].shown} | {runs:,} | {share:.0%} |"
            for name, (runs, share) in _by_device().items()
        ),
    ]


def example() -> SimpleNamespace:
    """Numbers of the page, errors in percent."""
    factor, covered = _one_factor()
    return SimpleNamespace(
        one_factor=factor,
        worst_factor=_worst(),
        device_table="\n    ".join(_device_lines()),
        first_factor=float(np.quantile(_left_out("ttft")[1], SHARE)),
        one_covered=100 * covered,
    )


def figure_padded_plan(figure: Figure) -> None:
    """Three runs of your own narrow the error of nearly every model, and so what must be added to a
    plan.

    A factor of one is the prediction itself. Dots at 0.8 stand for runs at 0.8 or less.

    Alt: Line chart of the share of runs that are no slower than predicted times a factor, from 0.8
    to 2. Three thick lines rise from nearly none to nearly all runs, steepest with three own runs,
    then with one, then without. Faint lines of single models spread widely around the last.
    """
    axes = figure.subplots()
    single = [told["0"]["covered"] for name, told in _covered().items() if name != ALL]
    lines = axes.plot(PADDINGS, 100 * np.array(single).T, color="C4", linewidth=0.5)
    lines[0].set_label("single models, no runs of your own")
    for own, colour, runs in (
        ("none", "C3", "no runs"),
        ("one", "C2", "one run"),
        ("three", "C0", "three runs"),
    ):
        covered = 100 * np.array(_covered()[ALL][OWN[own]]["covered"])
        axes.plot(PADDINGS, covered, color=colour, label=f"all models, {runs} of your own")
    axes.legend(loc="lower right", reverse=True)
    axes.set(
        xlim=(0.8, 2),
        ylim=(0, 100),
        xlabel="factor on the predicted time per token",
        ylabel="runs no slower than the plan [%]",
    )


def slider_padded_plan() -> dict[str, Any]:
    """Raise the factor until nine in ten runs are no slower. Then take three runs of your own."""
    models, hundred = list(_covered()), (np.arange(100) + 0.5) / 100

    def each(key: str, scale: float) -> list[list[list[float]]]:
        """By factor, model and own runs."""
        told = [[_covered()[m][few][key] for few in OWN.values()] for m in models]
        values = scale * np.array(told, dtype=float)
        if values.ndim == 3:
            return np.moveaxis(values, 2, 0).tolist()  # type: ignore[no-any-return]
        return np.broadcast_to(values, (PADDINGS.size, *values.shape)).tolist()  # type: ignore[no-any-return]

    runs = [[[_covered()[m]["runs"]] * len(OWN) for m in models]] * PADDINGS.size
    return {
        "controls": [
            {"label": "factor", "values": PADDINGS.tolist(), "text": "×\u00a0{:.2f}", "start": 1.0},
            {"label": "model", "values": models, "start": ALL},
            {"label": "your runs", "values": list(OWN), "start": "none"},
        ],
        "panels": [
            {
                "kind": "dots",
                "label": "the runs: each dot is one in a hundred",
                "x": {
                    "label": "measured over predicted time per token",
                    "unit": "",
                    "range": (0.78, 2),
                },
                "dots": [
                    [
                        np.interp(
                            hundred,
                            _covered()[m][few]["covered"],
                            PADDINGS,
                            right=1.02 * PADDINGS[-1],  # slower than any factor tried
                        ).tolist()
                        for few in OWN.values()
                    ]
                    for m in models
                ],
            }
        ],
        "readouts": [
            {"label": "no slower", "unit": "%", "values": each("covered", 100), "decimals": 0},
            {"label": "error", "unit": "%", "values": each("median error", 100), "decimals": 1},
            {"label": "runs", "unit": "", "values": runs, "decimals": 0},
        ],
        "legend": {"answer": "no slower than the plan", "broken": "slower"},
        "reading": "Of {runs} runs of {model}, {no slower} took no longer per token than the"
        " prediction {factor}, with {your runs} of their deployment measured before. The median"
        " error is {error}.",
    }


def check_three_runs_narrow_the_factor() -> None:
    """Three own runs lower the median error of at least nine of ten models, and that of all
    together to six tenths or less. The factor that covers nine in ten runs gets no higher for any
    of the five models that need the highest.

    Source: the record, for the half of the deployments on which nothing was chosen; each model is
    left out of the fit of the constants that are calibrated.
    """
    errors = {
        name: [told[few]["median error"] for few in ("0", "3")] for name, told in _covered().items()
    }
    before, after = errors.pop(ALL)
    checks.inside("all: after over before", after / before, 0.0, 0.6)
    better = sum(now < was for was, now in errors.values())
    checks.inside("models with a lower error", better, 9, 10)
    worst = sorted(errors, key=lambda name: -_factor(name, "none"))[:5]
    for name in worst:
        was, now = _factor(name, "none"), _factor(name, "three")
        checks.inside(f"{name}: factor, {was:.2f} before", now, 1.0, was)


def check_one_factor_covers_new_models() -> None:
    """One factor for all models covers at least 85% of the runs of models that were not used to set
    it.

    Source: the records, each model left out of the fit and of the factor.
    """
    _, covered = _one_factor()
    checks.inside("covered by one factor", covered, 0.85, 1.0)


def check_two_factors_cover_each_device() -> None:
    """One factor for dense models and the worst model's for mixtures cover at least nine in ten
    runs on each device except GB200, where they cover fewer than half.

    Source: the record, each model left out of the fit of the constants.
    """
    for name, (_, share) in _by_device().items():
        low, high = (0.0, 0.5) if name == "gb200" else (SHARE, 1.0)
        checks.inside(f"{name}: no slower", share, low, high)
    runs = sum(runs for runs, _ in _by_device().values())
    checks.equal("runs of all devices", runs, _left_out()[1].size)


def check_two_factors_keep_whole_deployments() -> None:
    """The runs of one deployment err alike. One factor covers nine in ten runs in at least 90% of
    the deployments of dense models, but only in 50% to 85% of those of mixtures. With the worst
    model's factor for mixtures, it is at least 90% of all deployments, or 87% if neither factor was
    set by the deployment's own model.

    Source: the record, deployments of five runs or more, each model left out of the fit of the
    constants.
    """
    (factor, _), worst = _one_factor(), _worst()
    dense = _kept(factor, factor, kind=False)
    checks.inside("one factor, dense", dense, 0.9, 1.0)
    mixed = _kept(factor, factor, kind=True)
    checks.inside("one factor, mixtures", mixed, 0.5, 0.85)
    checks.inside("two factors, all", _kept(factor, worst), 0.9, 1.0)
    models, slower = _left_out()
    told = []
    for name, mix, need in _deployments():
        others = max(each for model, each in _needed("tpot").items() if model != name)
        set_by_others = others if mix else np.quantile(slower[models != name], SHARE)
        told.append(need <= set_by_others)
    checks.inside("set by other models", float(np.mean(told)), 0.87, 1.0)
