"""The time of a layer's experts: a floor, and the longer of reading and multiplying.

    t = floor + max(m x / (share * bandwidth), 2 B k p / peak)

with m experts touched, of p parameters and x bytes each, by B tokens that take k.

Assumes: reading and multiplying overlap; the share of the bandwidth is that of whole runs.

Source: Williams, Waterman and Patterson (2009); `step_time` for the share.
"""

from __future__ import annotations

from serving_mathematics.core.hardware.step_time import FITTED
from serving_mathematics.support import checks
from serving_mathematics.support.require import require_non_negative, require_positive


def experts_s(
    touched: float,
    choices: float,
    expert_parameters: float,
    bytes_a_value: float,
    bandwidth_bytes_per_s: float,
    peak_flops_per_s: float,
    floor_s: float,
) -> float:
    """Time of a layer's expert kernels on one device, in seconds.

    touched: experts read there. choices: pairs of token and expert worked on there, B k on one
    device. expert_parameters: of one expert. floor_s: time with next to nothing to do. The share of
    the bandwidth is that of `FITTED`. Raises ValueError on what is negative or no rate.

    >>> one = experts_s(8, 8, 4.7e6, 2, 3.35e12, 989e12, floor_s=32e-6)
    >>> round(one * 1e6, 1)  # eight experts of 9.4 MB, and the floor
    55.8
    """
    touched, choices, floor_s = require_non_negative(
        touched=touched, choices=choices, floor_s=floor_s
    )
    expert_parameters, bytes_a_value, bandwidth_bytes_per_s, peak_flops_per_s = require_positive(
        expert_parameters=expert_parameters,
        bytes_a_value=bytes_a_value,
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        peak_flops_per_s=peak_flops_per_s,
    )
    attained = FITTED.expert_share * bandwidth_bytes_per_s
    read_s = touched * expert_parameters * bytes_a_value / attained
    return floor_s + max(read_s, 2 * choices * expert_parameters / peak_flops_per_s)


def check_experts_by_hand() -> None:
    """Eight experts of a megabyte are read in as many megabytes over the attained bandwidth, and a
    crowd is bound by arithmetic.

    Source: 8e6 bytes over 0.9443 of 1e12 bytes a second; 2 operations a parameter and choice.
    """
    few = experts_s(8, 8, 5e5, 2, 1e12, 1e15, floor_s=1e-5)
    checks.close("few [s]", few, 1e-5 + 8e6 / 0.9443e12, rtol=1e-9)
    many = experts_s(8, 1e6, 5e5, 2, 1e12, 1e15, floor_s=1e-5)
    checks.close("many [s]", many, 1e-5 + 2 * 1e6 * 5e5 / 1e15, rtol=1e-9)
