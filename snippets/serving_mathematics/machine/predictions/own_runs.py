"""Calibrates the step model with a few measured runs of one deployment.

Five things may differ from what the data sheet and the record of runs say: kernels (every step's
floor), the host's work for a sequence, the attained share of the memory's bandwidth, that of the
arithmetic, and what lies around a prompt. Each is a time, multiplied by e^x, where x is normal with
mean 0 before any measurement; the x that are most likely after them minimize

    sum over runs of r(ln(predicted / measured) / its spread) + sum over x of (x / its spread)^2 / 2

with r(z) = sqrt(1 + z^2) - 1, so that a run that is far off counts in proportion. A run that
depends on two of them moves both a little, and what no run depends on stays where it was: by how
much a spread shrinks says what the data know.

Assumes: one deployment's runs share these five; shares of a data sheet are at most 1; the spreads
below, which were chosen on one half of the record's deployments and are scored on the other.

Source: Bishop (2006), section 3.3 (normal priors) and 4.4 (spreads from the curvature);
`calibration` for the search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import Latencies, loop_latencies
from serving_mathematics.core.hardware.calibration import SHARES, _in_their_order, descend
from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.core.hardware.step_time import (
    CONSTANT_NAMES,
    FITTED,
    Array,
    Constants,
    Work,
    constants_of,
    count_work,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require, require_all_positive

FACTORS = {  # constants that are multiplied by e^x, or divided by it: the shares
    "kernels": ("factor_trtllm", "factor_sglang", "factor_vllm"),
    "reading memory": ("weight_share", "expert_share", "cache_share"),
    "arithmetic": ("attention_share", "prompt_share", "prompt_expert_share"),
    "around a prompt": (
        *("first_steps_trtllm", "first_steps_sglang", "first_steps_vllm"),
        "prompt_s",
    ),
    "host": ("sequence_s",),
}
SPREADS = np.array([0.3, 0.3, 0.3, 0.8, 1.0])  # of x before any measurement, by group
UNMEASURED_SPREAD = 1.0  # of x on a kind of device of which the record has no run
PER_TOKEN_SPREAD, FIRST_TOKEN_SPREAD = 0.08, 0.25  # of ln(predicted / measured)
ROBUST = 1.0  # spreads beyond which a run counts in proportion
SILENT = 0.1  # a spread that shrinks by less says that the data know nothing of it
_MOVES = np.array(
    [
        [(-1.0 if name.endswith("_share") else 1.0) * (name in group) for name in CONSTANT_NAMES]
        for group in FACTORS.values()
    ]
)


@dataclass(frozen=True)
class OwnRun:
    """A measured run of one deployment; its load is that of the deployment, its times are means."""

    deployment: Deployment
    first_token_s: float
    per_token_s: float
    steady: bool = True  # a fixed number of requests at a time; else first tokens are not fitted
    label: str = ""


@dataclass(frozen=True, eq=False)
class Calibration:
    """The step model after calibration, and what the runs said."""

    constants: Constants
    factors: tuple[float, ...]  # e^x by group
    shrunk: tuple[float, ...]  # by how much the spread of each x shrank, 0 to 1
    runs: tuple[OwnRun, ...]
    before: Latencies
    after: Latencies
    held_out: Latencies | None  # each run by the others, from three runs on
    front: str = ""  # what the runs were measured behind; "" where nobody says

    @property
    def known(self) -> tuple[str, ...]:
        """Groups of which the runs say something."""
        return tuple(
            name for name, share in zip(FACTORS, self.shrunk, strict=True) if share >= SILENT
        )


def scaled_constants(constants: Constants, moved: Array) -> Constants:
    """Constants with the times of each group e^x times as long.

    moved: x by group, shape (5,), each from -600 to 600. Shares are at most 1. Raises ValueError
    otherwise.

    >>> from serving_mathematics.core.hardware.step_time import FITTED
    >>> scaled_constants(FITTED, np.log([2.0, 1.0, 1.0, 1.0, 1.0])).factor_vllm / FITTED.factor_vllm
    2.0
    >>> scaled_constants(FITTED, np.log([1.0, 0.5, 1.0, 1.0, 1.0])).weight_share
    1.0
    """
    shape = (len(FACTORS),)
    require(np.shape(moved) == shape, "moved", f"of shape {shape}", np.shape(moved))
    before, shares = constants.as_array(), list(SHARES)
    moved = as_floats(moved=moved)
    require(np.abs(moved) <= 600, "moved", "from -600 to 600 each", moved)
    values = before * np.exp(moved @ _MOVES)
    values[shares] = np.minimum(values[shares], np.maximum(1.0, before[shares]))
    return constants_of(values)


def _residuals(found: Latencies, first: Array, each: Array, spreads: Array, moved: Array) -> Array:
    """Of the runs, then of the x, each in its spread; r of the latter is half their square."""
    told = np.isfinite(first)
    first_part = np.log(found.first_token_s[told] / first[told]) / FIRST_TOKEN_SPREAD
    each_part = np.log(found.per_token_s / each) / PER_TOKEN_SPREAD
    square = (moved / spreads) ** 2 / 2
    penalty = np.sign(moved) * np.sqrt(square**2 + 2 * square)  # of which r makes the square again
    return np.concatenate([each_part, first_part, penalty])


def fit_moves(
    work: Work,
    first_token_s: Array,
    per_token_s: Array,
    base: Constants,
    spreads: Array = SPREADS,
    latencies: Callable[[Work, Constants], Latencies] = loop_latencies,
) -> tuple[Array, Array]:
    """The most likely x by group, and by how much their spreads shrink, shape (5,) each.

    work: of the runs, one row each. first_token_s, per_token_s: measured [s], shape (runs,); first
    tokens that are NaN are not fitted. base: constants before. spreads: of x before, shape (5,).
    latencies: what predicts the runs. Raises ValueError on times or spreads that are not positive.

    >>> from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> work = count_work([WORKED])
    >>> told = loop_latencies(work, FITTED)
    >>> moved, _ = fit_moves(work, told.first_token_s, 1.2 * told.per_token_s, FITTED)
    >>> bool(0 < moved[1] < np.log(1.2 / 0.8))
    True
    """
    first, each = as_floats(first_token_s=first_token_s), as_floats(per_token_s=per_token_s)
    require_all_positive(per_token_s=each, first_token_s=first[~np.isnan(first)])
    spreads = require_all_positive(spreads=as_floats(spreads=spreads))
    require(spreads <= 1e3, "spreads", "at most 1,000 each", spreads)

    def residuals(moved: Array) -> Array:
        found = latencies(work, scaled_constants(base, moved))
        return _residuals(found, first, each, spreads, moved)

    start = np.zeros(len(FACTORS))
    moved = descend(residuals, start, np.full(len(FACTORS), np.inf), ROBUST)
    slopes = np.empty((residuals(moved).size, len(FACTORS)))
    for place in range(len(FACTORS)):
        step = 1e-4 * (np.arange(len(FACTORS)) == place)
        slopes[:, place] = (residuals(moved + step) - residuals(moved - step)) / 2e-4
    after = np.sqrt(np.diag(np.linalg.inv(slopes.T @ slopes)))
    return moved, np.clip(1 - after / spreads, 0.0, 1.0)


def calibrate(
    runs: Sequence[OwnRun], measured: bool = True, base: Constants = FITTED
) -> Calibration:
    """The step model fitted to runs of one deployment, and each run by the others where there are
    three.

    runs: one or more, of one model, device and engine. measured: whether the record has runs of
    this kind of device; if not, the times may differ by more. base: constants before. Raises
    ValueError where there is no run, and on times that are not positive.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.machine.predictions.own_runs import OwnRun
    >>> from dataclasses import replace
    >>> runs = [OwnRun(replace(WORKED, concurrency=load), 0.5, 0.02) for load in (1, 8, 64)]
    >>> found = calibrate(runs)
    >>> found.held_out.per_token_s.shape, found.factors[0] > 1
    ((3,), True)
    """
    require(len(runs) > 0, "runs", "one or more", "none")
    work = count_work([run.deployment for run in runs])
    first = np.array([run.first_token_s if run.steady else np.nan for run in runs])
    each = np.array([run.per_token_s for run in runs])
    spreads = SPREADS if measured else np.maximum(SPREADS, UNMEASURED_SPREAD)
    moved, shrunk = fit_moves(work, first, each, base, spreads)
    held_out = None
    if len(runs) >= 3:
        parts = []
        for place in range(len(runs)):
            rest = np.arange(len(runs)) != place
            one, _ = fit_moves(work.rows(rest), first[rest], each[rest], base, spreads)
            parts.append((~rest, loop_latencies(work.rows(~rest), scaled_constants(base, one))))
        held_out = _in_their_order(parts)
    constants = scaled_constants(base, moved)
    return Calibration(
        constants,
        tuple(float(factor) for factor in np.exp(moved)),
        tuple(float(share) for share in shrunk),
        tuple(runs),
        loop_latencies(work, base),
        loop_latencies(work, constants),
        held_out,
    )


def calibration_rows(found: Calibration) -> list[list[str]]:
    """Predicted against measured, before and after, as rows with a header.

    found: the calibration.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.machine.predictions.own_runs import OwnRun, calibrate
    >>> rows = calibration_rows(calibrate([OwnRun(WORKED, 0.05, 0.01, label="a run")]))
    >>> rows[1][:2]
    ['a run', '10']
    """
    head = ["run", "TPOT [ms]", "before", "after", "by others", "TTFT [ms]", "before", "after"]
    rows = [[*head, "by others"]]
    for place, run in enumerate(found.runs):
        told = [found.before, found.after] + ([found.held_out] if found.held_out else [])
        cells = [run.label]
        for name, value in (("per_token_s", run.per_token_s), ("first_token_s", run.first_token_s)):
            parts = [f"{1e3 * value:,.4g}"]
            for one in told:
                parts.append(f"{100 * (getattr(one, name)[place] / value - 1):+z.0f}%")
            cells += [*parts, ""][:4]
        rows.append(cells)
    return rows


def calibration_text(found: Calibration) -> str:
    """What was fitted, in a sentence or two; and of what the runs say nothing.

    found: the calibration.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.machine.predictions.own_runs import OwnRun, calibrate
    >>> calibration_text(calibrate([OwnRun(WORKED, 0.1, 0.01, steady=False)])).split(":")[0]
    'Calibrated with 1 run'
    """
    count = len(found.runs)
    words = [
        f"{name} {factor:.2f} times as long"
        for name, factor in zip(FACTORS, found.factors, strict=True)
        if name in found.known
    ]
    silent = [name for name in FACTORS if name not in found.known]
    text = (
        f"Calibrated with {count} run{'s' if count > 1 else ''}: {', '.join(words) or 'nothing'}."
    )
    if silent:
        text += f" The runs say nothing of {' or '.join(silent)}, left as predicted."
    if any(not run.steady for run in found.runs):
        text += " First tokens of runs at a rate are compared, not fitted: they queue."
    return text


def check_planted_factors_are_found() -> None:
    """Kernels that take 1.5 times as long as predicted are found within 8% on eight devices, where
    they are most of a step; so is reading that takes 1.25 times as long, on one device, where that
    is. Loads between those measured are then predicted within 2%.

    Source: times made by the step model itself with these factors.
    """
    loads = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0]
    for name, place, devices, factor in (
        ("kernels", 0, 8, 1.5),
        ("reading memory", 1, 1, 1.25),
    ):
        truth = scaled_constants(FITTED, np.log(factor) * (np.arange(5) == place))
        asked = [replace(WORKED, tensor=devices, concurrency=load) for load in loads]
        told = loop_latencies(count_work(asked), truth)
        times = zip(asked, told.first_token_s.tolist(), told.per_token_s.tolist(), strict=True)
        found = calibrate([OwnRun(*run) for run in times][::2])
        checks.close(name, found.factors[place], factor, rtol=0.08)
        between = loop_latencies(count_work(asked[1::2]), found.constants).per_token_s
        checks.close("the loads between", between / told.per_token_s[1::2], np.ones(4), atol=0.02)


def check_one_run_does_not_turn_everything() -> None:
    """A single run that took ten times as long as predicted makes no part more than 3.5 times as
    long, and a part on which it does not depend stays as it was.

    Source: the priors' penalty; a run of one request at a time has next to no arithmetic to time,
    and its first token is not fitted.
    """
    alone = replace(WORKED, concurrency=1.0, input_tokens=10.0)
    told = loop_latencies(count_work([alone]), FITTED)
    found = calibrate([OwnRun(alone, 1.0, 10 * float(told.per_token_s[0]), steady=False)])
    for name, factor in zip(FACTORS, found.factors, strict=True):
        checks.inside(f"{name}: factor", factor, 0.99, 3.5)
    checks.close("arithmetic", found.factors[2], 1.0, atol=0.01)
    checks.equal("arithmetic is known", "arithmetic" in found.known, False)
