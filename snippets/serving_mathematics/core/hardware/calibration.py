"""Fits the constants to measured runs, and scores them on runs that they were not fitted to.

    python -m serving_mathematics.core.hardware.calibration

Two fits: eleven constants to times per token, then seven to first tokens. Each minimizes the
sum of a robust function of log(predicted / measured), so that twice too long weighs as much as
twice too short and a misread run weighs little. Left-out scores fit again without the runs of one
group (all models of one shape, one system, one backend) and predict those; tokens that guesses
yield are estimated without them too, from the rates that a model's makers publish where no other
run guesses as many.

Assumes: host time a sequence is given, because these runs do not tell it from messages and cache
(any from 7 to 30 us fits as well); the form of the model was chosen with these scores in sight.

Source: Huber (1964), "Robust Estimation of a Location Parameter"; Marquardt (1963), "An Algorithm
for Least-Squares Estimation of Nonlinear Parameters"; DeepSeek-AI (2024),
arXiv 2412.19437, section 5.4.3 (rates at which guesses are accepted).
"""

# In one piece: one fit, and its scores by what was left out of it, which fit again.

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.benchmark_loops import (
    Latencies,
    fleet_latencies,
    interruptions_s,
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.deployments import BACKENDS
from serving_mathematics.core.hardware.published_runs import Run, read_lines, read_runs
from serving_mathematics.core.hardware.step_time import (
    CONSTANT_NAMES,
    FITTED,
    SEQUENCE_S,
    Array,
    Constants,
    Work,
    constants_of,
    count_work,
)
from serving_mathematics.support.measuring import provenance, write_record
from serving_mathematics.support.require import (
    as_numbers,
    require,
    require_all_finite,
    require_all_positive,
    require_positive,
    require_positive_integer,
)

STEP_CONSTANTS = 13  # the first of `Constants`, fitted to times per token; the rest to first tokens
SHARES = tuple(i for i, name in enumerate(CONSTANT_NAMES) if name.endswith("_share"))

GIVEN = ("sequence_s", "prompt_s")  # not fitted: runs do not tell it from messages and cache
START = Constants(
    factor_trtllm=1.1,
    factor_sglang=1.4,
    factor_vllm=1.4,
    weight_share=0.86,
    expert_share=0.9,
    cache_share=0.7,
    attention_share=0.4,
    link_share=0.16,
    sequence_s=SEQUENCE_S,
    prompt_share=0.89,
    prompt_expert_share=0.3,
    prompt_link_share=0.53,
    prompt_s=SEQUENCE_S,
    first_steps_trtllm=12.0,
    first_steps_sglang=30.0,
    first_steps_vllm=8.0,
    burst_share=0.09,
    lockstep_trtllm=0.13,
    lockstep_sglang=0.4,
    lockstep_vllm=0.07,
)
KERNELS = Constants(
    factor_trtllm=1.0,  # nothing but the kernels' floors
    factor_sglang=1.0,
    factor_vllm=1.0,
    weight_share=0.8,  # matrices above 100 MB: 0.62-0.87 of the bandwidth
    expert_share=0.8,  # the same, beside their floor
    cache_share=0.7,  # long contexts: 0.55-0.81
    attention_share=0.5,
    link_share=0.2,  # all-reduces of up to 1 MiB over eight devices: 18-27% of the link
    sequence_s=0.0,
    prompt_share=0.6,
    prompt_expert_share=0.25,  # large batches: 0.17-0.41 of the 16-bit peak
    prompt_link_share=0.7,  # all-reduces of 1 GiB: 63% of it and more
    prompt_s=0.0,
    first_steps_trtllm=1.0,
    first_steps_sglang=1.0,
    first_steps_vllm=1.0,
    burst_share=0.05,  # one in ten requests is of the first burst, and waits for half of it
    lockstep_trtllm=0.05,
    lockstep_sglang=0.05,
    lockstep_vllm=0.05,
)


@dataclass(frozen=True, eq=False)
class Table:
    """Runs as arrays: engines, and fleets with their two kinds of engines."""

    runs: tuple[Run, ...]
    engines: Work  # of all runs: the engine, or one that answers
    prompts: Work  # one engine that takes prompts; meaningless where there is one engine
    single: NDArray[np.bool_]  # one engine does both
    answer_engines: Array
    prompt_engines: Array
    concurrency: Array
    first_token_s: Array  # measured
    per_token_s: Array

    def rows(self, index: NDArray[np.bool_]) -> Self:
        """Some of the runs."""
        kept = np.flatnonzero(index)
        return type(self)(
            tuple(self.runs[i] for i in kept),
            self.engines.rows(kept),
            self.prompts.rows(kept),
            self.single[kept],
            self.answer_engines[kept],
            self.prompt_engines[kept],
            self.concurrency[kept],
            self.first_token_s[kept],
            self.per_token_s[kept],
        )


def tabulate(runs: Sequence[Run]) -> Table:
    """Runs as arrays. Raises ValueError where there is none.

    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> tabulate(read_runs(read_lines()[:3])).engines.layers
    array([62., 62., 62.])
    """
    size = len(runs)
    apart = [row for row, run in enumerate(runs) if run.prompts]  # the others are counted once
    prompts = [run.prompts for run in runs if run.prompts]
    work = count_work([run.answers for run in runs] + prompts)
    taking = np.arange(size)
    taking[apart] = np.arange(size, size + len(prompts))
    return Table(
        tuple(runs),
        work.rows(np.arange(size)),
        work.rows(taking),
        np.array([run.kind == "engine" for run in runs]),
        np.array([run.answer_engines for run in runs]),
        np.array([run.prompt_engines for run in runs]),
        np.array([run.concurrency for run in runs]),
        np.array([run.first_token_s for run in runs]),
        np.array([run.per_token_s for run in runs]),
    )


def predict_runs(table: Table, constants: Constants) -> Latencies:
    """Predicted times of all runs, shape (runs,), in seconds.

    >>> from serving_mathematics.core.hardware.calibration import KERNELS, tabulate
    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> table = tabulate(read_runs(read_lines()[:3]))
    >>> found = predict_runs(table, KERNELS)
    >>> bool(np.all(np.abs(found.per_token_s / table.per_token_s - 1) < 0.5))
    True
    """
    parts = []
    for index in (table.single, ~table.single):
        if not index.any():
            continue
        part = table.rows(index)
        if part.single[0]:
            found = loop_latencies(part.engines, constants)
        else:
            found = fleet_latencies(
                part.prompts,
                part.engines,
                part.prompt_engines,
                part.answer_engines,
                part.concurrency,
                constants,
            )
        parts.append((index, found))
    return _in_their_order(parts)


def _in_their_order(parts: Sequence[tuple[NDArray[np.bool_], Latencies]]) -> Latencies:
    """Latencies of all runs from those of some, each beside which runs they are of."""
    whole = np.empty((3, parts[0][0].size))
    for index, found in parts:
        whole[:, index] = found.first_token_s, found.per_token_s, found.running
    return Latencies(*whole)


def descend(
    residuals: Callable[[Array], Array], start: Array, upper: Array, scale: float, steps: int = 40
) -> Array:
    """The parameters that minimize the sum of sqrt(1 + (r/scale)^2) - 1, from a start.

    residuals: parameters of shape (p,) to residuals of shape (n,). upper: largest parameters, shape
    (p,). scale: residuals above it count in proportion, below it by their square. Raises ValueError
    unless start is finite, upper has no NaN, scale is positive and steps is a positive integer.

    >>> x = np.array([1.0, 2.0, 4.0])
    >>> found = descend(lambda p: p[0] * x - 3 * x, np.array([1.0]), np.array([9.0]), 0.1)
    >>> float(found[0].round(6))
    3.0
    """
    upper = as_numbers(upper=upper)
    start = require_all_finite(start=start)
    require(np.isrealobj(upper) and np.all(upper > -np.inf), "upper", "numbers or infinite", upper)
    scale = require_positive(scale=scale)
    steps = require_positive_integer(steps=steps)
    here = np.minimum(start, upper)
    found = residuals(here)
    cost = float(np.sum(np.sqrt(1 + (found / scale) ** 2) - 1))
    damping = 1e-3
    for _ in range(steps):
        slopes = np.empty((found.size, here.size))
        for i in range(here.size):
            moved = here.copy()
            moved[i] -= 1e-5
            slopes[:, i] = (found - residuals(moved)) / 1e-5
        weight = 1 / np.sqrt(1 + (found / scale) ** 2)
        gradient = slopes.T @ (weight * found)
        free = ~((here >= upper) & (gradient < 0))
        curvature = (slopes * weight[:, None]).T @ slopes
        improved = False
        for _ in range(8):
            square = curvature + damping * np.diag(np.diag(curvature) + 1e-12)
            step = np.zeros_like(here)
            step[free] = np.linalg.solve(square[np.ix_(free, free)], -gradient[free])
            tried = np.minimum(here + np.clip(step, -1, 1), upper)
            new = residuals(tried)
            new_cost = float(np.sum(np.sqrt(1 + (new / scale) ** 2) - 1))
            if new_cost < cost:
                improved = cost - new_cost > 1e-7 * cost
                here, found, cost, damping = tried, new, new_cost, damping / 4
                break
            damping *= 4
        if not improved:
            break
    return here


def fit(table: Table, start: Constants = START) -> Constants:
    """Constants fitted to the engines of a table: to times per token, then to first tokens.

    start: where the search begins, and what those of `GIVEN` are. Runs that guess are passed over:
    what guessing takes is in no constant. Raises ValueError where no other run is there.

    >>> from serving_mathematics.core.hardware.calibration import tabulate
    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> from serving_mathematics.core.hardware.calibration import predict_runs
    >>> table = tabulate(read_runs(read_lines()[:40]))
    >>> fitted = predict_runs(table, fit(table)).per_token_s
    >>> bool(np.median(np.abs(fitted / table.per_token_s - 1)) < 0.1)
    True
    """
    part = table.rows(table.single & (table.engines.drafts == 0))
    require(len(part.runs) > 0, "table", "with a run of one engine that does not guess", "none")
    logs = np.log(start.as_array())
    upper = np.full(logs.size, np.inf)
    upper[list(SHARES)] = 0.0  # no share is above one
    free = [place for place, one in enumerate(CONSTANT_NAMES) if one not in GIVEN]
    early = [place for place in free if place < STEP_CONSTANTS]
    late = [place for place in free if place >= STEP_CONSTANTS]
    for index, scale, measured, name in (
        (early, 0.15, part.per_token_s, "per_token_s"),
        (late, 0.3, part.first_token_s, "first_token_s"),
    ):

        def residuals(
            values: Array, index: list[int] = index, measured: Array = measured, name: str = name
        ) -> Array:
            whole = logs.copy()
            whole[index] = values
            predicted = getattr(loop_latencies(part.engines, constants_of(np.exp(whole))), name)
            return np.asarray(np.log(predicted / measured))

        logs[index] = descend(residuals, logs[index], upper[index], scale)
    return constants_of(np.exp(logs))


def errors(predicted: Array, measured: Array) -> dict[str, float | int]:
    """Relative errors: how many, median, mean and ninth decile of their size, the signed median.

    Raises ValueError unless what was predicted is finite and what was measured is positive.

    >>> errors(np.array([1.1, 0.8, 1.0]), np.ones(3))
    {'runs': 3, 'median': 0.1, 'mean': 0.1, 'p90': 0.18, 'signed': 0.0}
    """
    predicted = require_all_finite(predicted=predicted)
    measured = require_all_positive(measured=measured)
    error = predicted / measured - 1
    size = np.abs(error)
    return {
        "runs": int(size.size),
        "median": round(float(np.median(size)), 4),
        "mean": round(float(np.mean(size)), 4),
        "p90": round(float(np.quantile(size, 0.9)), 4),
        "signed": round(float(np.median(error)), 4),
    }


def without_evidence(constants: Constants, table: Table) -> Constants:
    """The constants, where those of a backend without runs are the geometric mean of the others'.

    table: the runs that the constants were fitted to.

    >>> from serving_mathematics.core.hardware.calibration import KERNELS, tabulate
    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> table = tabulate(read_runs(read_lines()[:3]))  # all of vLLM
    >>> found = without_evidence(KERNELS, table)
    >>> found.factor_trtllm == found.factor_vllm == KERNELS.factor_vllm
    True
    """
    present = [bool(np.any(table.engines.backend == i)) for i in range(len(BACKENDS))]
    values = dict(zip(CONSTANT_NAMES, constants.as_array(), strict=True))
    for kind in ("factor_{}", "first_steps_{}", "lockstep_{}"):
        names = [kind.format(backend) for backend in BACKENDS]
        known = [values[name] for name, there in zip(names, present, strict=True) if there]
        for name, there in zip(names, present, strict=True):
            if known and not there:
                values[name] = np.exp(np.mean(np.log(known)))
    return constants_of(np.array(list(values.values())))


PUBLISHED_RATE = 0.875  # at which DeepSeek-V3's second token is accepted: "between 85% and 90%"


def accepted_without(table: Table, constants: Constants, drafts: int) -> float:
    """Tokens that a step with so many guesses yields, from the runs of a table that guess as many.

    It is the median of what would make each run's prediction true, between 1 and all of them;
    where no run guesses as many, each guess is accepted at the published rate. Raises ValueError
    unless drafts is a positive integer.

    >>> from serving_mathematics.core.hardware.calibration import KERNELS, tabulate
    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> table = tabulate(read_runs(read_lines()[:3]))  # of which none guesses
    >>> accepted_without(table, KERNELS, drafts=1)
    1.875
    """
    drafts = require_positive_integer(drafts=drafts)
    alike = table.single & (table.engines.drafts == drafts)
    if not alike.any():
        return (1 - PUBLISHED_RATE ** (drafts + 1)) / (1 - PUBLISHED_RATE)
    part = table.rows(alike)
    work = part.engines
    taken = interruptions_s(work, constants, work.running)
    step = (loop_latencies(work, constants).per_token_s - taken) * work.accepted
    needed = step / np.maximum(part.per_token_s - taken, step / (1 + drafts))
    return float(np.clip(np.median(needed), 1, 1 + drafts))


def _accepted_anew(part: Table, rest: Table, constants: Constants) -> Table:
    """The runs of a part, with tokens a step as the rest says."""
    engines = []
    for work in (part.engines, part.prompts):
        accepted = work.accepted.copy()
        for drafts in sorted({int(number) for number in work.drafts if number > 0}):
            accepted[work.drafts == drafts] = accepted_without(rest, constants, drafts)
        engines.append(replace(work, accepted=accepted))
    return replace(part, engines=engines[0], prompts=engines[1])


def left_out(table: Table, groups: Sequence[str], start: Constants) -> Latencies:
    """Predictions of every run by constants fitted, and guesses counted, without its group's runs.

    groups: a label for every run. start: where each search begins.

    >>> from serving_mathematics.core.hardware.calibration import START, tabulate
    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> table = tabulate(read_runs(read_lines()[:6]))
    >>> bool(np.all(left_out(table, ["a", "b"] * 3, START).per_token_s > 0))
    True
    """
    names, parts = np.array(groups), []
    for name in dict.fromkeys(groups):
        index = names == name
        rest = table.rows(~index)
        constants = without_evidence(fit(rest, start), rest)
        part = _accepted_anew(table.rows(index), rest, constants)
        parts.append((index, predict_runs(part, constants)))
    return _in_their_order(parts)


def groupings(table: Table) -> dict[str, list[str]]:
    """Labels of every run, by what scores are told by.

    >>> from serving_mathematics.core.hardware.calibration import tabulate
    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> groupings(tabulate(read_runs(read_lines()[:1])))["devices"]
    ['4']
    """
    runs = table.runs
    return {
        "model": [run.family for run in runs],
        "system": [run.answers.system.name for run in runs],
        "backend": [run.answers.backend for run in runs],
        "devices": [str(run.answers.devices) if run.kind == "engine" else "fleet" for run in runs],
        "guessing": ["yes" if run.answers.draft_tokens else "no" for run in runs],
        "model and system": [f"{run.family} | {run.answers.system.name}" for run in runs],
    }


def _rate_errors(table: Table, found: Latencies) -> dict[str, float | int]:
    """Errors of output tokens a second; the devices cancel in a ratio."""
    told = Latencies(table.first_token_s, table.per_token_s, found.running)
    answer, one = table.engines.answer, np.ones(len(table.runs))
    rates = [tokens_per_s_per_device(x, answer, table.concurrency, one) for x in (found, told)]
    return errors(*rates)


def _scores(table: Table, found: Latencies, by: Iterable[str] = ()) -> dict[str, Any]:
    labels = groupings(table)
    scores: dict[str, Any] = {}
    for name, predicted, measured in (
        ("first token", found.first_token_s, table.first_token_s),
        ("per token", found.per_token_s, table.per_token_s),
    ):
        scores[name] = {"all": errors(predicted, measured)}
        for key in by:
            names = np.array(labels[key])
            scores[name][key] = {
                label: errors(predicted[names == label], measured[names == label])
                for label in sorted(set(labels[key]), key=lambda text: (len(text), text))
            }
    return scores


def score(runs: Sequence[Run]) -> dict[str, Any]:
    """All scores of a list of runs: of the constants in use, and of fits to some of them.

    runs: some of one engine, some with separate fleets. `refit` are the constants of a fit to all
    of them as they are read today.

    >>> from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
    >>> lines = read_lines()
    >>> found = score(read_runs([*lines[:6], *lines[437:443], *lines[255:258]]))  # two models
    >>> found["separate fleets, fitted to none"]["rate"]["all"]["runs"]
    3
    """
    together = np.array([run.kind != "separate" for run in runs])
    table = tabulate(runs)
    aggregated, separate = table.rows(together), table.rows(~together)
    refit, labels = fit(aggregated), groupings(aggregated)
    told_by = {"model": tuple(labels)}  # of what is left out: by what its errors are told
    held = {
        f"one {key} left out": _scores(
            aggregated, left_out(aggregated, labels[key], refit), told_by.get(key, ())
        )
        for key in ("model", "system", "backend")
    }
    whole = predict_runs(aggregated, FITTED)
    ratio = whole.per_token_s / aggregated.per_token_s
    alone = _scores(aggregated, predict_runs(aggregated, KERNELS), ("model",))
    apart = predict_runs(separate, FITTED)
    return {
        "constants": vars(FITTED),
        "refit": {name: float(f"{value:.4g}") for name, value in vars(refit).items()},
        "aggregated": {"fitted to all": _scores(aggregated, whole)}
        | held
        | {"constants from kernels alone": alone},
        "separate fleets, fitted to none": _scores(separate, apart, ("system",))
        | {"rate": {"all": _rate_errors(separate, apart)}},
        "off by more than 2": int(((ratio > 2) | (ratio < 0.5)).sum()),
    }


def main() -> int:
    """Score the record's runs and write `records/machine_scores.json`."""
    content = score(read_runs(read_lines()))
    title = {
        "title": "Errors of predicted times on published runs, left out and fitted",
        "unit": "errors are |predicted / measured - 1|, signed: predicted / measured - 1, medians",
    }
    made = provenance("python -m serving_mathematics.core.hardware.calibration", ("numpy",))
    write_record("machine_scores", title | made | content)
    held = content["aggregated"]
    for name, scores in held.items():
        print(name, {key: value["all"] for key, value in scores.items()}, file=sys.stderr)
    print(content["separate fleets, fitted to none"]["rate"]["all"], file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
