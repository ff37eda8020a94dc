"""What fewer bits bought in published runs: pairs that differ in nothing but the format.

Of two runs of one model on the same devices, with one engine, split, mix of lengths and number of
requests, the time per token in more bits is divided by that in fewer. FP4 is NVFP4, for weights and
products.

Assumes: that runs which say the same about themselves are alike; engines' versions may differ.

Source: the runs that aiconfigurator-core publishes, aggregated, each once.
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.hardware.published_runs import _engine_runs
from serving_mathematics.support import checks

FEW = 16  # requests; up to so many a mixture touches few of its experts
MIXTURE = "Qwen3.5-397B-A17B"
DENSE = "Meta-Llama-3.1-70B"


@cache
def _pairs() -> list[tuple[str, str, str, float, int, float]]:
    """Model, wider and narrower format, requests, devices, and how many times as fast it became."""
    alike: dict[tuple[Any, ...], dict[str, list[float]]] = defaultdict(dict)
    for run in _engine_runs():
        a = run.answers
        if not run.repeated:
            split = a.tensor, a.pipeline, a.attention_data, a.expert, a.draft_tokens
            asked = run.family, a.devices, run.concurrency, a.input_tokens, a.output_tokens
            key = (*asked, *split, a.system.name, a.backend, run.release, run.source)
            alike[key].setdefault(a.precision, []).append(run.per_token_s)
    return [
        (model, wide, narrow, requests, devices, float(np.median(by[wide]) / np.median(by[narrow])))
        for (model, devices, requests, *_), by in alike.items()
        for wide, narrow in (("bf16", "fp8"), ("fp8", "fp4"))
        if wide in by and narrow in by
    ]


def _gains(
    wide: str,
    narrow: str,
    model: str = "",
    most: float = np.inf,
    least: float = 0.0,
    devices: int = 0,
) -> npt.NDArray[np.float64]:
    """Times as fast, of the pairs of a model, or of all but the dense one; on so many devices, or
    on any."""
    return np.array(
        [
            gain
            for name, one, other, requests, on, gain in _pairs()
            if (one, other) == (wide, narrow) and least < requests <= most
            if devices in (0, on)
            if (name == model if model else name != DENSE)
        ]
    )


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    few = _gains("bf16", "fp8", MIXTURE, FEW)
    alone, eight = (_gains("fp8", "fp4", DENSE, devices=devices) for devices in (1, 8))
    sparse = _gains("fp8", "fp4")
    return SimpleNamespace(
        few_requests=FEW,
        few_pairs=few.size,
        few_gain=float(np.median(few)),
        alone_pairs=alone.size,
        alone_gain=float(np.median(alone)),
        eight_pairs=eight.size,
        eight_gain=float(np.median(eight)),
        sparse_models=len({x[0] for x in _pairs() if x[1] == "fp8"} - {DENSE}),
        sparse_pairs=sparse.size,
        sparse_gain=float(np.median(sparse)),
    )


def check_a_mixture_gains_nothing_by_eight_bits_for_few() -> None:
    """With few requests, a mixture of 397 billion parameters is as fast in eight bits as in
    sixteen, to within a twentieth; with more requests, eight bits are faster.

    Source: pairs of published runs, on B200 and B300.
    """
    few, more = _gains("bf16", "fp8", MIXTURE, FEW), _gains("bf16", "fp8", MIXTURE, least=FEW)
    checks.close("few requests: gain", float(np.median(few)), 1.0, atol=0.05, kind="stated")
    checks.inside("more requests: gain", float(np.median(more)), 1.05, 1.3)


def check_four_bits_with_products_gain_where_weights_lead() -> None:
    """From FP8 to FP4, the dense 70B gains a quarter in the median on one device, less with each
    doubling of the devices, and nothing on eight; mixtures gain a quarter or more in the median,
    and at least nine in ten of their pairs gain.

    Source: pairs of published runs, on B200 and B300.
    """
    for devices, expected in ((1, 1.24), (2, 1.1), (4, 1.05), (8, 0.98)):
        gain = float(np.median(_gains("fp8", "fp4", DENSE, devices=devices)))
        checks.close(f"dense, {devices} devices: gain", gain, expected, atol=0.02, kind="stated")
    sparse = _gains("fp8", "fp4")
    checks.inside("mixtures: gain", float(np.median(sparse)), 1.25, 1.45)
    checks.inside("mixtures that gain", float(np.mean(sparse > 1)), 0.9, 1.0)
