"""How much longer than its roofline a step takes on today's devices, from published runs.

The roofline of a step is the longer of bytes over bandwidth and operations over peak, kernel by
kernel, with the data sheet's numbers; kernels' floors, messages and host are in no roof. The model
of `core.hardware.step_time` adds them.

Assumes: a closed loop whose prompts interrupt, at their peak as well.

Source: Williams, Waterman and Patterson (2009), CACM 52(4); runs of aiconfigurator-core 0.12.0, in
`records/machine_runs.json.gz`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.run_reading import read_lines, read_runs
from serving_mathematics.core.hardware.step_terms import DATA_SHEET
from serving_mathematics.core.hardware.step_time import Work, count_work, decode_step_s
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]


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


@cache
def _runs() -> tuple[Array, Array, Array, Array, NDArray[np.bool_]]:
    """Of every run on one engine: measured over roofline, over the model, devices, load, kind."""
    runs = [run for run in read_runs(read_lines()) if run.kind == "engine"]
    work = count_work([run.answers for run in runs])
    measured = np.array([run.per_token_s for run in runs])
    return (
        measured / roofline_per_token_s(work),
        measured / loop_latencies(work, KERNELS).per_token_s,
        np.array([run.answers.devices for run in runs], dtype=float),
        np.array([run.concurrency for run in runs], dtype=float),
        np.array([run.answers.architecture.routed_parameters > 0 for run in runs]),
    )


LOADS = ((1, 4), (5, 16), (17, 64), (65, 256))


def _device_rows() -> list[str]:
    """Lines of the page's table: devices of a replica, runs, both ratios in the median."""
    roofs, model, devices, _, _ = _runs()
    rows = []
    for count in (1, 2, 4, 8):
        these = devices == count
        ratios = float(np.median(roofs[these])), float(np.median(model[these]))
        rows.append(f"| {count} | {int(these.sum()):,} | {ratios[0]:.1f} | {ratios[1]:.2f} |")
    return rows


def example() -> SimpleNamespace:
    """Numbers of the page."""
    roofs, _, devices, load, sparse = _runs()
    return SimpleNamespace(
        today_runs=roofs.size,
        today_median=float(np.median(roofs)),
        today_one=float(np.median(roofs[devices == 1])),
        today_eight=float(np.median(roofs[devices == 8])),
        today_beaten=int((roofs < 1).sum()),
        few_sparse=float(np.median(roofs[(load <= 4) & sparse])),
        many_sparse=float(np.median(roofs[(load > 64) & sparse])),
        device_rows="\n".join(_device_rows()),
    )


def figure_beyond_roofs(figure: Figure) -> None:
    """The fewer requests share a step, the further it is from its roofs; sparse models most.

    Median of measured time per token over the roofline's, by requests held at the replica; dotted
    the first and the third quartile. Published runs on one engine, one to eight devices.

    Alt: Line chart of measured time over roofline against requests held, in four groups from 1 to 4
    up to 65 to 256. Sparse models fall from about five to two, dense ones from about 2.5 to 1.7;
    dotted quartiles lie about as far apart as the values.
    """
    roofs, _, _, load, sparse = _runs()
    axes = figure.subplots()
    for chosen, colour, name in ((sparse, "C3", "mixtures of experts"), (~sparse, "C0", "dense")):
        quartiles = np.array(
            [
                np.quantile(roofs[chosen & (load >= low) & (load <= high)], [0.25, 0.5, 0.75])
                for low, high in LOADS
            ]
        )
        for bound in (quartiles[:, 0], quartiles[:, 2]):
            axes.plot(range(4), bound, color=colour, linewidth=0.8, linestyle=":")
        axes.plot(range(4), quartiles[:, 1], "o-", color=colour, label=name)
    axes.legend(loc="upper right")
    axes.set_xticks(range(4), [f"{low} to {high}" for low, high in LOADS])
    axes.set(
        ylim=(0, 8), xlabel="requests held at the replica", ylabel="measured time over roofline"
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
    """Of the published runs fewer than two in a hundred are faster than their roofs.

    Source: the record of runs; those are runs whose columns do not tell of guesses, of prefixes
    that are cached, or of several replicas (Predictions, Where it breaks).
    """
    roofs = _runs()[0]
    checks.inside("share", float((roofs < 1).mean()), 0.0, 0.02, kind="measured")


def check_the_model_explains_the_rest() -> None:
    """Where the roofline is a factor of two off by device count, the model is within a sixth.

    Source: the record of runs, with constants from kernels alone.
    """
    roofs, model, devices, _, _ = _runs()
    for count in (1, 2, 4, 8):
        chosen = devices == count
        checks.inside(
            f"{count} devices, model",
            float(np.median(model[chosen])),
            5 / 6,
            7 / 6,
            kind="measured",
        )
    spread = float(np.median(roofs[devices == 8]) / np.median(roofs[devices == 1]))
    checks.inside("roofline, eight over one", spread, 1.5, 3.0, kind="measured")
