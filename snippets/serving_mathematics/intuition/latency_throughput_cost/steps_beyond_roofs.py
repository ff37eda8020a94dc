"""What published runs say of two short cuts: steps at the data sheet's roofs, and prompts for free.

The roofline of a step is the longer of bytes over bandwidth and operations over peak, kernel by
kernel, with the data sheet's numbers; kernels' floors, messages and host are in no roof. The model
of `core.hardware.step_time` adds them. Prompts interrupt: their time is added to that of the steps.
If they hid behind the reading of weights and caches, only the longer of the two would count.

Assumes: a closed loop whose prompts interrupt, at their peak as well.

Source: Williams, Waterman and Patterson (2009), CACM 52(4); runs of aiconfigurator-core 0.12.0, in
`records/machine_runs.json.gz`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.benchmark_loops import interruptions_s, loop_latencies
from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.published_runs import read_lines, read_runs
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.core.hardware.step_time import Work, count_work, decode_step_s
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import require

Array = NDArray[np.float64]
PARTS = ((0.0, 0.1), (0.1, 0.25), (0.25, 0.4), (0.4, 0.6))  # of the time per token, by prompts


def roofline_per_token_s(work: Work) -> Array:
    """Time per token of a closed loop by its roofs alone, without messages, shape (rows,), [s].

    Raises ValueError where there is no deployment.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import count_work
    >>> bool(15.0e9 / 3.35e12 < roofline_per_token_s(count_work([WORKED]))[0] < 0.01)
    True
    """
    require(work.hops.size > 0, "work", "one deployment or more", "none")
    none = np.zeros_like(work.hops)
    return loop_latencies(replace(work, hops=none, near_hops=none), DATA_SHEET).per_token_s


@dataclass(frozen=True, eq=False)
class _Runs:
    """Every run on one engine, shape (runs,): measured time per token over what is said of it."""

    over_roofs: Array
    over_sum: Array  # of steps and prompts, by the model
    over_longer: Array  # of steps or prompts, whichever is longer
    prompts: Array  # their share of the sum
    devices: Array
    dense: NDArray[np.bool_]


@cache
def _runs() -> _Runs:
    runs = [run for run in read_runs(read_lines()) if run.kind == "engine"]
    work = count_work([run.answers for run in runs])
    measured = np.array([run.per_token_s for run in runs])
    found = loop_latencies(work, KERNELS)
    prompts = interruptions_s(work, KERNELS, found.running)
    return _Runs(
        measured / roofline_per_token_s(work),
        measured / found.per_token_s,
        measured / np.maximum(prompts, found.per_token_s - prompts),
        prompts / found.per_token_s,
        np.array([run.answers.devices for run in runs], dtype=float),
        np.array([run.answers.architecture.routed_parameters == 0 for run in runs]),
    )


def example() -> SimpleNamespace:
    """Numbers of the page."""
    runs = _runs()
    one, eight = (float(np.median(runs.over_roofs[runs.devices == n])) for n in (1, 8))
    return SimpleNamespace(
        today_runs=runs.devices.size,
        today_beaten=int((runs.over_roofs < 1).sum()),
        roofs_one=one,
        roofs_eight=eight,
    )


def figure_prompts_add(figure: Figure) -> None:
    """Measured times per token follow the sum of steps and prompts; prompts do not hide behind
    steps.

    Published runs of dense models, by the share of the time per token that others' prompts take.
    Lines are medians, and bands the middle half of the runs. At one, the computed time is right.

    Alt: Line chart of measured over computed time against four shares of prompts. The line of steps
    and prompts added stays near one. The line of the longer of the two rises from near one to
    nearly two, and in the last two shares its band lies above the other.
    """
    runs = _runs()
    axes = figure.subplots()
    places = np.arange(len(PARTS))
    for values, colour, label in (
        (runs.over_longer, "C1", "if prompts hid"),
        (runs.over_sum, "C0", "steps and prompts added"),
    ):
        quartiles = np.array(
            [
                np.quantile(
                    values[runs.dense & (runs.prompts >= low) & (runs.prompts < high)],
                    [0.25, 0.5, 0.75],
                )
                for low, high in PARTS
            ]
        )
        axes.fill_between(places, quartiles[:, 0], quartiles[:, 2], color=colour, alpha=0.2)
        axes.plot(places, quartiles[:, 1], "o-", color=colour, label=label)
    axes.axhline(1, color="C4", linestyle=":", linewidth=1.2)
    axes.legend(loc="upper left")
    axes.set_xticks(places, [f"{100 * low:.0f} to {100 * high:.0f}" for low, high in PARTS])
    axes.set(
        ylim=(0, 2.4), xlabel="share of prompts [%]", ylabel="measured time over computed time"
    )


def check_roofline_by_hand() -> None:
    """One sequence of Llama-3.1-8B on an H100 reads its weights, its vocabulary and its cache.

    Source: 32 layers of 218,103,808 parameters, 128,256 by 4,096 words, two bytes each; 131,072
    bytes of cache a token; 3.35 TB/s.
    """
    one = replace(WORKED, concurrency=1)
    work = count_work([one])
    step = decode_step_s(work, DATA_SHEET, np.ones(1), np.array([1000.0]))
    read = 2 * (32 * 218_103_808 + 128_256 * 4096) + 1000 * 131_072
    checks.close("step [s]", float(step[0]), read / 3.35e12, rtol=1e-12)
    context = 1000 + 100
    expected = (read + 100 * 131_072) / 3.35e12
    found = float(roofline_per_token_s(work)[0])
    checks.close(f"per token, {context} tokens [s]", found, expected, rtol=1e-12)


def check_few_runs_beat_the_roofline() -> None:
    """Of the published runs, fewer than two in a hundred are faster than their roofs.

    Source: the record of runs; those few are runs whose columns do not mention drafted tokens,
    cached prefixes or several replicas (Predictions, Where it breaks).
    """
    share = float((_runs().over_roofs < 1).mean())
    checks.inside("runs faster than their roofs", share, 0.0, 0.02)


def check_the_model_explains_the_rest() -> None:
    """In the median, measured times are within a sixth of the model's on one, two, four and eight
    devices; as multiples of the roofline's, they are about twice as high on eight as on one.

    Source: the record of runs, with constants from kernels alone.
    """
    runs = _runs()
    for count in (1, 2, 4, 8):
        middle = float(np.median(runs.over_sum[runs.devices == count]))
        checks.inside(
            f"{count} devices: measured over the model", middle, 5 / 6, 7 / 6, kind="measured"
        )
    alone, eight = (float(np.median(runs.over_roofs[runs.devices == n])) for n in (1, 8))
    checks.inside("roofline, eight over one", eight / alone, 1.5, 3.0)


def check_prompts_add() -> None:
    """Whatever share of the time prompts take, up to six tenths, measured times per token of dense
    models are within a sixth of the sum of steps and prompts, in the median; where prompts take
    four tenths or more, they are more than one and a half times as long as if prompts hid.

    Source: the record of runs, with constants from kernels alone.
    """
    runs = _runs()
    for low, high in PARTS:
        these = runs.dense & (runs.prompts >= low) & (runs.prompts < high)
        told, hidden = (float(np.median(one[these])) for one in (runs.over_sum, runs.over_longer))
        label = f"{100 * low:.0f} to {100 * high:.0f}%"
        what = f"{label}: {int(these.sum())} runs, added"
        checks.inside(what, told, 5 / 6, 7 / 6, kind="measured")
    checks.inside(f"{label}, if prompts hid", hidden, 1.5, 3.0)
