"""A context that is cut over devices, where one head's cache would be on all of them.

Latent attention has one head, so devices that share its layer each hold all of the cache. Cutting
the context over c of them divides what each reads and holds by c, for one exchange of partial
answers a layer:

    t_c = b / (c * bandwidth) + floor + (c - 1)/c * r / link     (c > 1)

Assumes: the exchange is not hidden; no published run of the record says that it cut a context.

Source: Bhatia et al. (2025), arXiv 2507.07120.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from serving_mathematics.core.hardware.step_time import SEND_S
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    require_all_non_negative,
    require_positive,
    require_positive_integer,
)

Array = NDArray[np.float64]


def context_split_s(
    cache_bytes: ArrayLike, result_bytes: ArrayLike, split: int, bandwidth: float, link: float
) -> Array:
    """Time of one layer to read a cache whose context is cut over devices, in seconds.

    cache_bytes: that a device would read uncut, shape (n,), >= 0. result_bytes: of a device's part
    of the answer, in 32 bits, shape (n,) or (); it is exchanged once, with the sums that weigh the
    parts. split: over how many devices, 1 for none. bandwidth and link: as attained [bytes/s].
    Raises ValueError outside.
    Source: Bhatia et al. (2025), arXiv 2507.07120.

    >>> context_split_s([8e6, 8e8], 1e4, 1, 4e12, 4e11).tolist()
    [2e-06, 0.0002]
    >>> (1e6 * context_split_s([8e6, 8e8], 1e4, 8, 4e12, 4e11)).round(1).tolist()
    [7.3, 32.0]
    """
    split = require_positive_integer(split=split)
    bandwidth, link = require_positive(bandwidth=bandwidth, link=link)
    cache_bytes, result_bytes = require_all_non_negative(
        cache_bytes=cache_bytes, result_bytes=result_bytes
    )
    cache, result = as_floats(cache_bytes=cache_bytes), as_floats(result_bytes=result_bytes)
    sent = (split > 1) * SEND_S + (split - 1) / split * result / link
    return np.asarray(cache / split / bandwidth + sent, dtype=float)


def check_a_cut_context_by_hand() -> None:
    """100,000 tokens of latent attention: eight devices read an eighth each, and exchange once.

    Source: 576 values of two bytes a token at 6 TB/s; 16 heads of 513 values of four bytes at 100
    GB/s, seven eighths of which leave; 7 µs.
    """
    read, result = 1e5 * 576 * 2, 16 * 513 * 4
    whole, cut = (float(context_split_s([read], result, c, 6e12, 1e11)[0]) for c in (1, 8))
    checks.close("whole [µs]", 1e6 * whole, 19.2, atol=1e-9)
    checks.close("cut [µs]", 1e6 * cut, 19.2 / 8 + 7 + 7 / 8 * 0.32832, atol=1e-9)


def check_bad_input_is_refused() -> None:
    """A bandwidth of zero is an error that names the argument."""
    checks.raises("no link", context_split_s, [1.0], 1.0, 2, 1.0, 0.0, match="link must be")
