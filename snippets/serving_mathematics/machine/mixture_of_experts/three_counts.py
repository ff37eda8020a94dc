"""Which experts does a step read: those of one token, all, or those that its tokens touch?

A published run has a time per token, and the step model has one for each of the three counts. Only
the experts' reading differs; everything else is as kernels alone say.

Assumes: as `step_time` and `benchmark_loops`; runs that are read as fleets are left out.

Source: `records/machine_runs.json.gz`, from aiconfigurator-core 0.12.0; Huang et al. (2025), arXiv
2505.19645, for the third count.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.step_terms import engine_runs
from serving_mathematics.core.hardware.step_time import Array, step_parts, touched_experts
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

COUNTS = ("of one token", "all", "touched")
BOUNDS = (0.02, 0.1, 0.3, 1.0, 3.0, 10.0)  # of tokens in a step, in E/k


@cache
def _ratios(error: float = 1.0) -> tuple[Array, dict[str, Array]]:
    """Of each run of a mixture: tokens in a step over E/k, and predicted over measured time per
    token by each count. error: of the time that reading experts takes, times."""
    table, added, sparse = engine_runs()
    work = table.engines.rows(sparse)
    running = work.running
    parts = step_parts(work, KERNELS, running, work.context)
    stage = np.maximum(running / work.stages, work.groups)
    tokens = (stage * (1 + work.drafts))[:, None]
    read = {
        "of one token": work.chosen + 0 * tokens,
        "all": work.experts + 0 * tokens,
        "touched": touched_experts(work.experts, work.chosen, tokens),
    }
    weighed = {n: (work.count * work.expert_parameters * m).sum(axis=1) for n, m in read.items()}
    whole = added["prompts of others"][sparse]
    experts = parts.experts / work.accepted
    sparsity = np.max(work.experts / np.maximum(work.chosen, 1), axis=1)
    told = {n: whole + experts * (error * m / weighed["touched"] - 1) for n, m in weighed.items()}
    measured = table.per_token_s[sparse]
    return tokens[:, 0] / sparsity, {name: one / measured for name, one in told.items()}


def _medians(name: str, error: float = 1.0) -> Array:
    """Median of predicted over measured, between each two of the bounds."""
    crowd, ratios = _ratios(error)
    return np.array(
        [np.median(ratios[name][(crowd >= a) & (crowd < b)]) for a, b in pairwise(BOUNDS)]
    )


def _error(name: str, error: float = 1.0) -> float:
    """Median error of predicted times."""
    return float(np.median(np.abs(_ratios(error)[1][name] - 1)))


def example() -> SimpleNamespace:
    """Numbers of the page."""
    crowd, _ = _ratios()
    return SimpleNamespace(sparse_runs=crowd.size, touched_error=_error("touched"))


def figure_three_counts(figure: Figure) -> None:
    """Counting active parameters predicts too little time with many tokens, counting all parameters
    too much with few.

    Published runs of mixtures, by tokens in a step: medians, with bars over the middle half of the
    runs.

    Alt: Chart of predicted over measured time per token against tokens in a step over E/k, both
    logarithmic. If the experts of one token are counted, the points begin near one and fall to
    about half; if all are counted, they begin above two and fall to one; if those touched are
    counted, they lie just below one throughout.
    """
    axes = figure.subplots()
    crowd, ratios = _ratios()
    middle = np.sqrt(np.array(BOUNDS[:-1]) * np.array(BOUNDS[1:]))
    looks = {"all": ("C3", 1.07), "touched": ("C0", 1.0), "of one token": ("C1", 0.93)}
    for name, (colour, aside) in looks.items():
        groups = [ratios[name][(crowd >= low) & (crowd < high)] for low, high in pairwise(BOUNDS)]
        low, median, high = np.array([np.quantile(g, [0.25, 0.5, 0.75]) for g in groups]).T
        axes.errorbar(
            aside * middle,
            median,
            [median - low, high - median],
            fmt="o-",
            color=colour,
            label="all experts" if name == "all" else f"experts {name}",
        )
    axes.axhline(1, color="C4", linewidth=0.8, linestyle=":")
    axes.legend(loc="upper right")
    axes.set(
        xscale="log",
        yscale="log",
        ylim=(0.4, 4),
        xlabel="tokens in a step, in E/k",
        ylabel="predicted over measured time",
    )
    axes.set_xticks([0.1, 1, 10], ["0.1", "1", "10"])
    axes.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    axes.minorticks_off()


def check_touched_experts_meet_what_was_measured() -> None:
    """Counting the experts touched has a median error at least a quarter smaller than counting
    those of one token or all, also if reading experts takes a fifth less or more.

    Source: published runs of mixtures on three engines; constants of kernels alone.
    """
    for error in (0.8, 1.0, 1.2):
        touched = _error("touched", error)
        best = min(_error(name, error) for name in COUNTS[:2])
        label = f"touched over the better of the others, reading times {error}"
        checks.inside(label, touched / best, 0.0, 0.75)


def check_each_simple_count_is_right_at_one_end() -> None:
    """If the experts of one token are counted, predicted times are about a fifth too short with the
    fewest tokens and a half with the most. If all are counted, they are two to three times too long
    with the fewest, and right within a tenth with the most.

    Source: the same runs, below a tenth and above three times E/k.
    """
    for name, few, many in (("of one token", (0.75, 0.9), (0.4, 0.6)), ("all", (2, 3), (0.9, 1.1))):
        found = _medians(name)
        checks.inside(f"{name}: few tokens", float(found[0]), *few)
        checks.inside(f"{name}: many tokens", float(found[-1]), *many)
