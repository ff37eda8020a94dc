"""Solutions: the round trips of a body, what a slow call waits for, and when compression pays.

Assumes: what each function says.

Source: RFC 9113, section 6.9, for windows; the rest is derived at each function.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

from serving_mathematics.architecture.rest_grpc.rest_grpc import (
    INITIAL_WINDOW_BYTES,
    call_parts,
    flights,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_positive,
)

HINTS = {
    "photo_round_trips": (
        "On a busy connection, each round trip carries one window, which does not grow. Slow start"
        " sends W, then 2W, then 4W, which is W(2ⁿ − 1) in n flights."
    ),
    "what_it_waits_for": (
        "The engine reports its own time to the first token; the rest of the call is the way. "
        "Name the largest of connection, engine and way."
    ),
    "compression_pays_below": (
        "Take one byte of the original: both ends work on it, and a part of it is not sent. Set "
        "the time of the work equal to the time saved, and solve for the bandwidth."
    ),
}


def photo_round_trips(
    size_bytes: float, window_bytes: float, first_bytes: float
) -> tuple[int, int]:
    """Round trips of a body: on a busy connection whose window nobody raises, and on one that was
    idle, with a window that never limits it.

    size_bytes: of the body. window_bytes: of its stream. first_bytes: of the first flight after a
    pause; each later one is twice as large as the one before. All positive. Raises ValueError
    otherwise.

    >>> photo_round_trips(100_000, window_bytes=30_000, first_bytes=20_000)
    (4, 3)
    """
    size_bytes, window_bytes, first_bytes = require_positive(
        size_bytes=size_bytes, window_bytes=window_bytes, first_bytes=first_bytes
    )
    doubled = math.ceil(math.log2(size_bytes / first_bytes + 1))
    return math.ceil(size_bytes / window_bytes), max(1, doubled)


def what_it_waits_for(connected_s: float, first_token_s: float, engine_first_s: float) -> str:
    """What takes most of the time to the first token: "connection", "engine" or "way".

    connected_s: time until the connection was open [s], 0 if it was open already. first_token_s:
    from then on, until the client has the first token [s], which comes after the head of the
    answer. engine_first_s: time to the first token by the engine's own report [s]. The way is the
    rest of first_token_s. Raises ValueError on negative times, and if the engine takes longer than
    the client waits.

    >>> what_it_waits_for(connected_s=0.10, first_token_s=0.14, engine_first_s=0.08)
    'connection'
    """
    connected_s, first_token_s, engine_first_s = require_non_negative(
        connected_s=connected_s, first_token_s=first_token_s, engine_first_s=engine_first_s
    )
    way = first_token_s - engine_first_s
    rule = f"at least the {engine_first_s:g} s of the engine"
    require(way >= -1e-9, "first_token_s", rule, first_token_s)
    parts = {"connection": connected_s, "engine": engine_first_s, "way": way}
    return max(parts, key=lambda name: parts[name])


def compression_pays_below(
    ratio: float, compress_bytes_per_s: float, decompress_bytes_per_s: float
) -> float:
    """Bandwidth below which compressing a body shortens the call [B/s].

    ratio: compressed size over original size, in (0, 1]. compress_bytes_per_s,
    decompress_bytes_per_s: bytes of the original a second. Raises ValueError outside these ranges.

    >>> compression_pays_below(ratio=0.4, compress_bytes_per_s=50e6, decompress_bytes_per_s=150e6)
    22500000.0
    """
    ratio = require_in("(0, 1]", ratio=ratio)
    compress_bytes_per_s, decompress_bytes_per_s = require_positive(
        compress_bytes_per_s=compress_bytes_per_s, decompress_bytes_per_s=decompress_bytes_per_s
    )
    both = compress_bytes_per_s + decompress_bytes_per_s
    return (1 - ratio) * compress_bytes_per_s / both * decompress_bytes_per_s


def example() -> SimpleNamespace:
    """Answers that the page gives."""
    busy, idle = photo_round_trips(2**20, 65_535, INITIAL_WINDOW_BYTES)
    return SimpleNamespace(
        pencil_busy=busy,
        pencil_idle=idle,
        board_first=what_it_waits_for(0.10, 0.14, 0.08),
        board_second=what_it_waits_for(0.0, 0.95, 0.09),
        pays_mbit=8e-6 * compression_pays_below(0.4, 50e6, 150e6),
    )


def check_the_pencil() -> None:
    """A body takes as many round trips as it has flights, also where the last of them is just full
    and where one byte more follows.

    Source: `flights`, from a first window as large as the stream's, and without a stream's window.
    """
    for size, window, first in (
        (1, 65_535, 14_600),
        (65_536, 65_535, 14_600),
        (43_800, 14_600, 14_600),
        (43_801, 14_599, 14_600),
        (2**22, 65_535, 4096),
    ):
        due = flights(size, window, window), flights(size, first)
        checks.equal(f"{size} B", (*photo_round_trips(size, window, first),), due)


def check_the_boards() -> None:
    """The largest part of a call is named, whichever it is.

    Source: parts of `call_parts`, put together as a client sees them.
    """
    for told, trip, handshakes, size, engine in (
        ("connection", 0.05, 2, 4000, 0.08),
        ("way", 0.05, 0, 2**20, 0.09),
        ("engine", 0.001, 2, 4000, 0.08),
    ):
        parts = call_parts(size, 250, trip, 125e6, handshakes, engine, 65_535, 65_535)
        called_s = parts.total_s - parts.connect_s
        told_of = what_it_waits_for(parts.connect_s, called_s, engine)
        checks.equal(f"{trip:g} s, {size} B", told_of, told)
    for engine, told in ((0.12, "way"), (0.17, "engine")):
        checks.equal(f"{engine:g} s of 0.3", what_it_waits_for(0.1, 0.3, engine), told)


def check_compression() -> None:
    """At the computed bandwidth, a compressed call takes as long as the original; above it longer,
    below it less.

    Source: both times of a body of 1 MB, added up.
    """
    ratio, packs, unpacks, size = 0.3, 80e6, 200e6, 1e6
    limit = compression_pays_below(ratio, packs, unpacks)
    for factor in (0.5, 1.0, 2.0):
        plain = size / (factor * limit)
        packed = ratio * plain + size / packs + size / unpacks
        checks.close(
            f"{factor:g} of it: saved [ms]",
            1000 * (plain - packed),
            1000 * (1 - ratio) * size / limit * (1 / factor - 1),
            atol=1e-9,
        )


def check_bad_input_is_refused() -> None:
    """A window of no bytes, a compressed body of no bytes, and an engine that takes longer than the
    call are errors."""
    told = "window_bytes must be positive"
    checks.raises("no window", photo_round_trips, 1, 0, 1, match=told)
    told = "ratio must be in (0, 1]"
    checks.raises("nothing left", compression_pays_below, 0.0, 1.0, 1.0, match=told)
    told = "first_token_s must be at least the 0.4 s"
    checks.raises("too short", what_it_waits_for, 0.1, 0.2, 0.4, match=told)
