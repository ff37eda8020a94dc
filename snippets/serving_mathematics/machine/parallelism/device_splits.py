"""Every way to lay a model over devices, and those that no other beats in latency and cost.

Tensor, pipeline and attention-data widths multiply to the number of devices.

Assumes: widths that are powers of two, or what is left; experts over all devices of a stage.

Source: Pope et al. (2023), MLSys, section 3; DeepSeek-AI (2024), arXiv 2412.19437, section 3.4.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    Deployment,
    Impossible,
    require_deployment,
    weight_bytes,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_positive_integer,
    require_work,
)

Array = NDArray[np.float64]


def every_split(one: Deployment, devices: int) -> list[Deployment]:
    """The deployment over so many devices, in every way that can be: tensor, stages, groups.

    one: what is served, on what, under what load; its own widths do not matter. devices: a positive
    integer. All widths are powers of two or what is left; experts lie over all devices of a stage,
    where their number allows. Raises ValueError unless devices is a positive integer.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> [(x.tensor, x.pipeline, x.attention_data) for x in every_split(WORKED, 2)]
    [(2, 1, 1), (1, 2, 1)]
    """
    devices = require_positive_integer(devices=devices)
    require_work(devices * 20, devices=devices)
    divisors = [n for n in range(devices, 0, -1) if devices % n == 0]
    mixture = bool(one.architecture.expert_counts)
    found = []
    for tensor in divisors:
        for groups in (n for n in divisors if (devices // tensor) % n == 0):
            if groups > 1 and not mixture:
                continue
            width = tensor * groups
            tried = replace(
                one,
                tensor=tensor,
                attention_data=groups,
                pipeline=devices // width,
                expert=width if mixture else 1,
            )
            try:
                require_deployment(tried)
            except Impossible:
                continue
            found.append(tried)
    return found


def pareto_front(first: ArrayLike, second: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other beats in both numbers, shape (n,); less is better in both.

    first, second: shape (n,), n >= 1. Of equal points the first stays. Raises ValueError on other
    shapes or numbers that are not finite.

    >>> pareto_front([1.0, 2.0, 3.0], [3.0, 1.0, 2.0]).tolist()
    [True, True, False]
    """
    x, y = as_floats(first=first), as_floats(second=second)
    require(x.ndim == 1 and x.size > 0, "first", "of shape (n,), n >= 1", x)
    require(y.shape == x.shape, "second", f"of shape {x.shape}", y)
    require_all_finite(first=x, second=y)
    order, kept = np.lexsort((y, x)), np.empty(x.size, dtype=bool)
    least = np.minimum.accumulate(np.append(np.inf, y[order]))  # of those before each
    kept[order] = y[order] < least[:-1]
    return kept


def check_front_is_not_beaten() -> None:
    """Nothing on the front is beaten in both numbers, and everything else is.

    Source: all pairs, compared one by one.
    """
    rng = np.random.default_rng(27)
    x, y = rng.uniform(0, 1, (2, 60))
    beaten = [
        bool(np.any((x <= a) & (y <= b) & ((x < a) | (y < b)))) for a, b in zip(x, y, strict=True)
    ]
    checks.close("on the front", pareto_front(x, y), ~np.array(beaten), rtol=0)


def check_weights_say_how_many_devices() -> None:
    """DeepSeek-R1 in 8 bits takes 84 GB of each of eight devices, and does not fit four H200.

    Source: 671 billion parameters, one byte each, and a byte more for the vocabulary's tables.
    """
    one = replace(
        WORKED,
        architecture=find_model("DeepSeek-R1")[0],
        system=find_system("h200"),
        precision="fp8",
        tensor=8,
    )
    tables = 2 * 129_280 * 7_168
    expected = (671.0e9 + tables) / 8
    checks.close("bytes a device", weight_bytes(one), expected, rtol=1e-3, kind="published")
    checks.holds("four are too few", 2 * expected > one.system.memory_bytes, got=2 * expected)


def check_bad_input_is_refused() -> None:
    """An empty front and half a device are errors that name the argument."""
    checks.raises("no points", pareto_front, [], [], match="first must be")
    checks.raises("half", every_split, WORKED, 0.5, match="devices must be a positive integer")
