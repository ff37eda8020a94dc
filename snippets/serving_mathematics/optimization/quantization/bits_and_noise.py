"""What a bit buys and what it costs: 6 dB of signal to noise, and its share of a scale.

Rounding to steps of size s errs by at most s/2 and, where many steps are in use, like a uniform
variable with mean square s²/12. A signal that fills a range of n steps then has a ratio of
3·n²/crest², crest = peak/rms, and each bit doubles n. A scale that several weights share is part of
what a weight takes.

Assumes: errors spread evenly over a step; nothing clipped.

Source: Kester (2009), MT-001, for rounding noise and the sine; Dettmers et al. (2023) for scales
that are quantized again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.optimization.quantization.quantization import quantize
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    as_numbers,
    require,
    require_all_finite,
    require_positive,
    require_shape,
)

SINE_CREST = math.sqrt(2)  # peak over rms of a sine
UNIFORM_CREST = math.sqrt(3)  # of a uniform distribution around 0


def sqnr_db(values: npt.ArrayLike, approximations: npt.ArrayLike) -> float:
    """Signal-to-quantization-noise ratio 10·log₁₀(Σx²/Σ(x − x̂)²) [dB], infinite without error.

    values: x, finite, not all 0. approximations: x̂, finite, same shape. Raises ValueError on other
    input.

    >>> round(sqnr_db([3.0, 4.0], [3.0, 4.5]), 9)  # 25 over 0.25
    20.0
    """
    x, rounded = as_floats(values=values), as_floats(approximations=approximations)
    require(np.isfinite(x).all() and np.any(x != 0), "values", "finite and not all 0", x)
    require_shape(x.shape, approximations=rounded)
    require_all_finite(approximations=rounded)
    noise = float(np.square(x - rounded).sum())
    return 10 * math.log10(float(np.square(x).sum()) / noise) if noise > 0 else math.inf


def full_scale_sqnr_db(steps: float, crest: float) -> float:
    """SQNR of a signal whose peaks reach both ends of the range, 10·log₁₀(3·steps²/crest²) [dB].

    steps: width of the range over the step, 2^b in textbooks, at least 1. crest: peak over rms of
    the signal, at least 1. Raises ValueError outside these ranges.

    >>> round(full_scale_sqnr_db(2**8, crest=2**0.5), 2)  # a sine in 8 bits
    49.93
    """
    steps, crest = as_number(steps=steps, crest=crest)
    require(1 <= steps < math.inf, "steps", "at least 1 and finite", steps)
    require(1 <= crest < math.inf, "crest", "at least 1 and finite", crest)
    return 10 * math.log10(3) + 20 * (math.log10(steps) - math.log10(crest))


def bits_per_weight(bits: float, shared: Sequence[tuple[float, float]]) -> float:
    """Bits that a weight takes, with its share of everything that several weights have in common.

    bits: of its code, positive. shared: pairs of the size of a scale or zero point [bits] and the
    number of weights that share it (at least 1). Raises ValueError on other input.

    >>> bits_per_weight(4, shared=[(16, 128)])  # a 16-bit scale for 128 weights
    4.125
    """
    shared = as_numbers(shared=shared)
    bits = require_positive(bits=bits)
    for size, weights in shared:
        fine = 0 < size < math.inf and 1 <= weights < math.inf
        require(fine, "shared", "pairs of positive bits and weights ≥ 1", (size, weights))
    return bits + sum(size / weights for size, weights in shared)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        decibels_per_bit=full_scale_sqnr_db(2**8, 2.0) - full_scale_sqnr_db(2**7, 2.0),
        int4_128_bits=bits_per_weight(4, [(16, 128)]),
        nvfp4_bits=bits_per_weight(4, [(8, 16)]),
    )


def check_six_decibels_per_bit() -> None:
    """A full-scale sine has an SQNR of 6.02·b + 1.76 dB, 49.93 dB in 8 bits; a uniform signal
    6.02·b.

    Source: Kester (2009), MT-001, printed to two decimals; a sine and a ramp that are quantized,
    against the steps that they really have (2^b − 1).
    """
    for bits in (4, 8, 12):
        got = full_scale_sqnr_db(2**bits, SINE_CREST)
        checks.close(
            f"sine, {bits} bits [dB]", got, 6.02 * bits + 1.76, atol=0.01, kind="published"
        )
    checks.close("sine, 8 bits [dB]", full_scale_sqnr_db(256, SINE_CREST), 49.93, atol=0.005)
    checks.close("uniform, 8 bits [dB]", full_scale_sqnr_db(256, UNIFORM_CREST), 48.165, atol=5e-4)
    phase = 2 * math.pi * (np.arange(40_000) + 0.5) / 40_000
    for name, signal, crest in (
        ("sine", np.sin(phase), SINE_CREST),
        ("ramp", np.linspace(-1, 1, 40_000), UNIFORM_CREST),
    ):
        for bits in (8, 12):
            got = sqnr_db(signal, quantize(signal, bits, symmetric=False).values())
            expected = full_scale_sqnr_db(2**bits - 1, crest)
            checks.close(f"{name} in {bits} bits, quantized [dB]", got, expected, atol=0.15)


def check_bits_with_scales() -> None:
    """The sizes that formats are known by include their scales.

    Source: Dettmers et al. (2023), section 3, for 0.5 and 0.127 bits; OCP MX specification for
    MXFP4, 136 bits in a block of 32; NVIDIA for NVFP4; ggml's Q4_0, 18 bytes for 32 weights.
    """
    cases = (
        ("int4, 128 weights per 16-bit scale", bits_per_weight(4, [(16, 128)]), 4.125),
        ("MXFP4", bits_per_weight(4, [(8, 32)]), 136 / 32),
        ("NVFP4, without the scale of the tensor", bits_per_weight(4, [(8, 16)]), 4.5),
        ("Q4_0", bits_per_weight(4, [(16, 32)]), 18 * 8 / 32),
        ("32-bit scales of 64", bits_per_weight(4, [(32, 64)]) - 4, 0.5),
        ("quantized again", bits_per_weight(4, [(8, 64), (32, 64 * 256)]) - 4, 0.126953125),
    )
    for name, got, expected in cases:
        checks.close(f"{name} [bits]", got, expected, atol=1e-12, kind="published")
