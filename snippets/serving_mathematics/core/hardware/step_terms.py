"""A step taken apart: what each term of it is worth, on thousands of published runs.

The terms are added one by one: the roofline, attained shares, floors of kernels, messages, and the
prompts of others that interrupt. Each is computed from kernels and data sheets alone. Which term
is the largest is the regime of a run; a regime says what would make it faster.

Assumes: as `step_time` and `benchmark_loops`; runs that are read as fleets are left out.

Source: `records/machine_runs.json.gz`, from aiconfigurator-core 0.12.0; Williams, Waterman and
Patterson (2009).
"""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.benchmark_loops import interruptions_s
from serving_mathematics.core.hardware.calibration import KERNELS, Table, tabulate
from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.published_runs import _engine_runs
from serving_mathematics.core.hardware.step_time import (
    CONSTANT_NAMES,
    Array,
    Constants,
    Parts,
    Work,
    count_work,
    decode_step_s,
    step_parts,
)
from serving_mathematics.support import checks

DATA_SHEET = Constants(
    **{name: 1.0 if name.endswith("_share") else 0.0 for name in CONSTANT_NAMES}
)  # everything is attained, and nothing else takes time


def roofline_parts(parts: Parts) -> Array:
    """What a roofline counts of a step: weights, experts, cache and vocabulary, in seconds.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work, step_parts
    >>> parts = step_parts(count_work([WORKED]), FITTED, np.ones(1), np.ones(1))
    >>> rest = parts.total() - parts.kernels - parts.host  # one device sends nothing
    >>> bool(np.allclose(roofline_parts(parts), rest, rtol=1e-12))
    True
    """
    return np.asarray(parts.weights + parts.experts + parts.cache + parts.vocabulary, dtype=float)


def terms_added(work: Work, constants: Constants) -> dict[str, Array]:
    """Times per token of a closed loop, with one more term each, shape (rows,), in seconds.

    >>> from serving_mathematics.core.hardware.calibration import KERNELS
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import count_work
    >>> found = terms_added(count_work([WORKED]), KERNELS)
    >>> times = [float(seconds[0]) for seconds in found.values()]
    >>> times == sorted(times), list(found)[0]
    (True, 'roofline')
    """
    ideal, parts = (
        step_parts(work, one, work.running, work.context) for one in (DATA_SHEET, constants)
    )
    attained = roofline_parts(parts)
    kernels = attained + parts.kernels
    messages = kernels + parts.messages + parts.exchange + parts.host
    taken = interruptions_s(work, constants, work.running)
    return {
        "roofline": roofline_parts(ideal) / work.accepted,
        "attained shares": attained / work.accepted,
        "floors of kernels": kernels / work.accepted,
        "messages": messages / work.accepted,
        "prompts of others": messages / work.accepted + taken,
    }


REGIMES = ("kernels", "weights", "cache", "messages", "prompts of others")


def regimes(work: Work, constants: Constants) -> NDArray[np.int64]:
    """The largest term of each row's time per token, shape (rows,): an index into `REGIMES`.

    Weights are those of experts too.

    >>> from serving_mathematics.core.hardware.calibration import KERNELS
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import count_work
    >>> regimes(count_work([WORKED]), KERNELS)  # weights
    array([1])
    """
    parts = step_parts(work, constants, work.running, work.context)
    weights = parts.weights + parts.experts + parts.vocabulary
    sent = parts.messages + parts.exchange
    terms = np.stack([parts.kernels, weights, parts.cache, sent]) / work.accepted
    taken = interruptions_s(work, constants, work.running)
    return np.asarray(np.argmax(np.vstack([terms, taken]), axis=0), dtype=np.int64)


@cache
def engine_runs() -> tuple[Table, dict[str, Array], NDArray[np.bool_]]:
    """Runs that are of one engine, their times per token term by term, and which have experts.

    >>> table, added, sparse = engine_runs()
    >>> len(table.runs) == sparse.size == added["roofline"].size, bool(sparse.any())
    (True, True)
    """
    table = tabulate(_engine_runs())
    sparse = np.array([run.answers.architecture.routed_parameters > 0 for run in table.runs])
    return table, terms_added(table.engines, KERNELS), sparse


def _below_the_roof(table: Table, added: dict[str, Array]) -> tuple[int, int]:
    """Runs faster than their roofline: with one token a step, and with those that guesses yield."""
    roof = added["roofline"]
    guesses_ignored = table.per_token_s < roof * table.engines.accepted
    return int(guesses_ignored.sum()), int((table.per_token_s < roof).sum())


def _term_rows(table: Table, added: dict[str, Array], sparse: NDArray[np.bool_]) -> list[str]:
    rows = []
    for name, seconds in added.items():
        ratio = seconds / table.per_token_s
        cells = [np.median(ratio[~sparse]), np.median(ratio[sparse])]
        error = np.median(np.abs(ratio - 1))
        rows.append(f"| {name} | {cells[0]:.2f} | {cells[1]:.2f} | {error:.0%} |")
    return rows


@cache
def _regimes() -> NDArray[np.int64]:
    """The largest term of each of these runs, by kernels alone."""
    return regimes(engine_runs()[0].engines, KERNELS)


def example() -> SimpleNamespace:
    """Numbers of the page."""
    table, added, sparse = engine_runs()
    led = (added["prompts of others"] / table.per_token_s)[_regimes() == REGIMES.index("kernels")]
    slow = 1 / (added["roofline"] / table.per_token_s)
    return SimpleNamespace(
        engine_runs=len(table.runs),
        times_roof=float(np.median(slow)),
        term_rows="\n".join(_term_rows(table, added, sparse)),
        floors_lead_short=1 - float(np.median(led)),
    )


def check_no_run_is_above_its_roof() -> None:
    """Of 3,555 runs, 75 are faster than one token a step allows; guesses explain all but two.

    Source: published runs; bytes over bandwidth and operations over peak of the data sheets. The
    two are runs of Qwen3-32B of which the record cannot say what they were.
    """
    table, added, _ = engine_runs()
    ignored, below = _below_the_roof(table, added)
    checks.close("faster runs, guesses ignored", ignored, 75, rtol=0, kind="stated")
    checks.close("faster runs, guesses counted", below, 2, rtol=0, kind="stated")
    fast = table.per_token_s < added["roofline"]
    families = {run.family for run, one in zip(table.runs, fast, strict=True) if one}
    checks.holds("both of one model", families == {"Qwen3-32B"}, got=len(families))


def check_parts_add_up() -> None:
    """Alone, DeepSeek-R1 on eight H200 reads all weights except experts, and 8 of 256 experts.

    Source: counts of its report: 61 layers, 58 with 256 experts of 3 × 7,168 × 2,048 parameters,
    8 a token; a byte each over eight times 4.8 TB/s.
    """
    one = deployed("DeepSeek-R1", "h200", precision="fp8", tensor=8)
    parts = step_parts(count_work([one]), DATA_SHEET, np.ones(1), np.zeros(1))
    read = 58 * 8 * 3 * 7168 * 2048 / (8 * 4.8e12)
    checks.close("experts [s]", float(parts.experts[0]), read, rtol=1e-9)
    rest = (671.0e9 - 58 * 256 * 3 * 7168 * 2048 - 2 * 129_280 * 7_168) / (8 * 4.8e12)
    checks.close("other weights [s]", float(parts.weights[0]), rest, rtol=0.01, kind="published")
    whole = float(sum(getattr(parts, field.name)[0] for field in fields(parts)))
    step = decode_step_s(count_work([one]), DATA_SHEET, np.ones(1), np.zeros(1))
    checks.close("sum [s]", whole, float(step[0]), rtol=1e-12)


def check_every_term_is_needed() -> None:
    """Each term brings the median of predicted over measured nearer to one, for dense and sparse.

    Source: the published runs that are of one engine, by constants from kernels alone.
    """
    table, added, sparse = engine_runs()
    for name, index in (("dense", ~sparse), ("with experts", sparse)):
        ratios = [float(np.median((s / table.per_token_s)[index])) for s in added.values()]
        steps = np.diff([abs(ratio - 1) for ratio in ratios])
        checks.holds(f"{name}: nearer each time", bool(np.all(steps < 0)), got=ratios[-1])
