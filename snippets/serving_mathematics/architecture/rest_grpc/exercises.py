"""Solutions of the exercises on wire formats, each checked against a second way to the same number.

Assumes: what each function says.

Source: derived here; Protocol Buffers documentation, Encoding, for the ZigZag table.
"""

from __future__ import annotations

import json
import math
import struct

import numpy as np
import numpy.typing as npt

from serving_mathematics.architecture.rest_grpc.rest_grpc import call_latency_s
from serving_mathematics.architecture.rest_grpc.wire_format import varint
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_in,
    require_non_negative,
    require_positive,
)

HINTS = {
    "zigzag": (
        "Non-negative numbers take the even places and negative ones the odd places: 0, −1, 1, "
        "−2, 2 become 0, 1, 2, 3, 4."
    ),
    "compression_pays_below": (
        "Take one byte of the original: both ends work on it, and the wire is spared a part of "
        "it. Set the work equal to the time saved and solve for the bandwidth."
    ),
    "many_calls_s": (
        "Each wave of calls waits for one round trip, and the last wave may not be full, so "
        "round up. All bytes cross the shared link once in any case: waves do not multiply "
        "them."
    ),
    "survives": (
        "Print with one digit before the point and the others behind it, in exponent form, and "
        "read back as float32, not as a float64. Compare floats, not texts."
    ),
}


def zigzag(value: int) -> int:
    """The unsigned integer that stands for a signed one in a sint64 field.

    value: integer in [−2⁶³, 2⁶³). Raises ValueError otherwise.

    >>> [zigzag(value) for value in (0, -1, 1, -2, 2)]
    [0, 1, 2, 3, 4]
    """
    value = as_number(value=value)
    whole = -(2**63) <= value < 2**63 and value == int(value)
    require(whole, "value", "an integer in [−2⁶³, 2⁶³)", value)
    return 2 * int(value) if value >= 0 else -2 * int(value) - 1


def compression_pays_below(
    ratio: float, compress_bytes_per_s: float, decompress_bytes_per_s: float
) -> float:
    """Bandwidth below which compressing a body shortens the call [B/s], sizes and speeds given.

    ratio: compressed size over size, in (0, 1]. compress_bytes_per_s, decompress_bytes_per_s:
    bytes of the original a second. A byte costs 1/c + 1/d of work and saves (1 − ratio)/β of
    transfer. Raises ValueError outside these ranges.

    >>> compression_pays_below(ratio=0.4, compress_bytes_per_s=50e6, decompress_bytes_per_s=150e6)
    22500000.0
    """
    ratio = require_in("(0, 1]", ratio=ratio)
    for name, speed in (
        ("compress_bytes_per_s", compress_bytes_per_s),
        ("decompress_bytes_per_s", decompress_bytes_per_s),
    ):
        require(0 < speed < math.inf, name, "positive and finite", speed)
    both = compress_bytes_per_s + decompress_bytes_per_s
    return (1 - ratio) * compress_bytes_per_s / both * decompress_bytes_per_s


def many_calls_s(
    calls: int, connections: int, round_trip_s: float, size_bytes: float, bytes_per_s: float
) -> float:
    """Time until the last of many equal calls that start together is answered [s].

    calls: n ≥ 1. connections: c ≥ 1 of HTTP/1.1, each with one call at a time; with HTTP/2 one
    connection carries all, which is c = n. size_bytes: B of one call, request and answer.
    bytes_per_s: bandwidth β shared by all. Waves of c calls follow each other, each taking a round
    trip and the transfer of its bytes. Raises ValueError outside these ranges.

    >>> many_calls_s(60, 6, round_trip_s=0.05, size_bytes=12_500, bytes_per_s=12.5e6)
    0.56
    """
    for name, count in (("calls", calls), ("connections", connections)):
        require(1 <= count < math.inf and count == int(count), name, "a positive integer", count)
    round_trip_s = require_non_negative(round_trip_s=round_trip_s)
    size_bytes = require_non_negative(size_bytes=size_bytes)
    bytes_per_s = require_positive(bytes_per_s=bytes_per_s)
    waves = -(-calls // connections)
    return waves * round_trip_s + calls * size_bytes / bytes_per_s


def survives(values: npt.ArrayLike, digits: int) -> npt.NDArray[np.bool_]:
    """Which float32 values are read back unchanged from so many significant decimal digits.

    values: finite numbers that float32 can hold. digits: 1 to 17. Raises ValueError otherwise.

    >>> survives([0.1, 1 / 3], 7), survives([0.1, 1 / 3], 8)
    (array([ True, False]), array([ True,  True]))
    """
    digits = as_number(digits=digits)
    wide = as_floats(values=values)
    require(np.all(np.abs(wide) <= np.finfo(np.float32).max), "values", "finite float32", values)
    require(1 <= digits <= 17 and digits == int(digits), "digits", "in [1, 17]", digits)
    floats = wide.astype(np.float32)
    read = [np.float32(f"{x:.{int(digits) - 1}e}") for x in floats.ravel().tolist()]
    same: npt.NDArray[np.bool_] = np.array(read, dtype=np.float32).reshape(floats.shape) == floats
    return same


def check_zigzag_table() -> None:
    """ZigZag sends small numbers of either sign in few bytes: −1 takes one instead of ten.

    Source: the table of the Protocol Buffers documentation, Encoding, “Signed Integers”, for the
    numbers; shifts and exclusive or on 64-bit words, as the library has them.
    """
    for value, code in ((0, 0), (-1, 1), (1, 2), (-2, 3), (0x7FFFFFFF, 0xFFFFFFFE)):
        checks.equal(f"{value}", zigzag(value), code, kind="published")
    for value in (-(2**63), -12_345, 77, 2**63 - 1):
        word = (value << 1 ^ value >> 63) % 2**64
        checks.equal(f"{value} by shifts", zigzag(value), word)
    sizes = (len(varint(-1)), len(varint(zigzag(-1))))
    checks.equal("bytes of −1, plain and ZigZag", sizes, (10, 1))


def check_compression() -> None:
    """At the bandwidth where compression stops paying, the call takes as long with it as without.

    Source: the latency of both calls, added up, there and a tenth above and below.
    """
    size, ratio, packs, unpacks = 80_000.0, 0.35, 40e6, 200e6
    edge = compression_pays_below(ratio, packs, unpacks)
    work = size / packs + size / unpacks

    def gain(bandwidth: float) -> float:
        plain = call_latency_s(1, 0.01, size, bandwidth)
        return plain - call_latency_s(1, 0.01, ratio * size, bandwidth, work)

    checks.close("gain at the edge [s]", gain(edge), 0.0, atol=1e-15)
    checks.holds("pays below, costs above", gain(0.9 * edge) > 0 > gain(1.1 * edge))


def check_many_calls() -> None:
    """Multiplexing saves the waves, never the bytes.

    Source: calls handed to the connection that is free first, one after the other.
    """
    for calls, connections in ((60, 6), (61, 6), (5, 8), (7, 1)):
        free, one = [0.0] * connections, 0.05
        for _ in range(calls):
            first = min(range(connections), key=free.__getitem__)
            free[first] += one
        expected = max(free) + calls * 1000 / 1e6
        got = many_calls_s(calls, connections, one, 1000, 1e6)
        checks.close(f"{calls} calls, {connections} connections [s]", got, expected, rtol=1e-12)


def check_nine_digits_are_enough() -> None:
    """Nine significant digits keep every float32, eight do not.

    Source: a decimal grid of d digits is finer than 24 bits everywhere when 10^(d−1) > 2^24; the
    neighbours of 2²³ + ½ steps from 8.5 on, read back by struct.
    """
    checks.equal(
        "least d with 10^(d−1) > 2²⁴", next(d for d in range(20) if 10 ** (d - 1) > 2**24), 9
    )
    rng = np.random.default_rng(6)
    bits = rng.integers(0, 2**32, 3000, dtype=np.uint64).astype(np.uint32)
    floats = bits.view(np.float32)
    floats = floats[np.isfinite(floats)]
    checks.equal("lost with 9 digits", int((~survives(floats, 9)).sum()), 0)
    lost = int((~survives(floats, 8)).sum())
    checks.holds("lost with 8 digits", lost > 0, got=lost)
    victim = float(floats[~survives(floats, 8)][0])
    packed = struct.pack("<f", float(json.loads(f"{victim:.7e}")))
    checks.holds("one of them by struct", packed != struct.pack("<f", victim))


def check_bad_input_is_refused() -> None:
    """Fractions, growing bodies, no connections and NaN are errors."""
    checks.raises("half", zigzag, 0.5, match="value must be an integer")
    checks.raises("2⁶³", zigzag, 2**63, match="value must be an integer in [−2⁶³, 2⁶³)")
    checks.raises("grows", compression_pays_below, 1.5, 1, 1, match="ratio must be in (0, 1]")
    checks.raises("speed", compression_pays_below, 0.5, 1, 0, match="decompress_bytes_per_s must")
    checks.raises("none", many_calls_s, 1, 0, 1, 1, 1, match="connections must be a positive")
    checks.raises("NaN", survives, [math.nan], 9, match="values must be finite float32")
    checks.raises("digits", survives, [1.0], 0, match="digits must be in [1, 17]")
