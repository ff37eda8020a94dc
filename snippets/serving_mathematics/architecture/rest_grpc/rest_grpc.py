"""The time of a call, from the bytes, the round trips and the work.

T = k·RTT + Σ(RTT − F/β)⁺ + B/β + w. A new connection takes one round trip for TCP and one more for
TLS 1.3. TCP then sends at most 10 segments before it waits for acknowledgements, and doubles that
with every flight, so that B bytes need ⌈log₂(B/W + 1)⌉ flights; the window of HTTP/2, 65,535 bytes
until the receiver raises it, caps every flight of a stream. Between two flights a sender waits for
what is left of a round trip when the F bytes of the first are sent, and never if they are RTT·β.

Assumes: no loss, acknowledgements for every segment, and a receiver that reads at once.

Source: RFC 6928, equation 1, for W; RFC 5681 for slow start; RFC 9113, section 6.9.2, for HTTP/2's
window; RFC 9846 for the handshake.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_number,
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
)

INITIAL_WINDOW_BYTES = 14_600  # W: 10 segments of 1460 B; RFC 6928, equation 1
STREAM_WINDOW_BYTES = 65_535  # of an HTTP/2 stream, and of its connection; RFC 9113, section 6.9.2
IMAGE_BYTES, MESSAGE_BYTES = 224 * 224 * 3 * 4, 2**22  # of float32; gRPC's limit of a message
CONTINENT = (0.05, 12.5e6)  # round trip [s] and bandwidth [B/s] of a client far away: 100 Mbit/s


def flights(
    size_bytes: float,
    window_bytes: float = INITIAL_WINDOW_BYTES,
    stream_window_bytes: float = math.inf,
) -> int:
    """Number of flights in which TCP's slow start sends a body.

    size_bytes: B, above 0. window_bytes: W, of the first flight; each later one is twice as large
    as the one before. stream_window_bytes: most that one flight may hold, HTTP/2's 65,535 unless
    the receiver raises it; infinite without such a window. Raises ValueError unless the first two
    are positive and finite and the third is positive.

    >>> flights(14_600), flights(14_601), flights(43_800), flights(43_801)
    (1, 2, 2, 3)
    >>> flights(7000, window_bytes=1000), flights(7000, 1000, stream_window_bytes=2000)
    (3, 4)
    """
    size_bytes, window_bytes = require_positive(size_bytes=size_bytes, window_bytes=window_bytes)
    most = as_number(stream_window_bytes=stream_window_bytes)
    require(most > 0, "stream_window_bytes", "positive", most)
    count, sent, window = 0, 0.0, float(window_bytes)
    while sent < size_bytes and window < most:
        count, sent, window = count + 1, sent + window, 2 * window
    return count + max(0, math.ceil((size_bytes - sent) / most)) if sent < size_bytes else count


def _idle_s(
    size_bytes: float, round_trip_s: float, bytes_per_s: float, window_bytes: float, most: float
) -> float:
    """What a sender waits between its flights: for the rest of a round trip when one is sent."""
    count, idle_s = flights(size_bytes, window_bytes, most), 0.0
    while count > 1 and window_bytes < most:
        idle_s += max(0.0, round_trip_s - window_bytes / bytes_per_s)
        count, window_bytes = count - 1, 2 * window_bytes
    return idle_s + (count - 1) * max(0.0, round_trip_s - most / bytes_per_s)


@dataclass(frozen=True)
class CallParts:
    """Where the time of a call goes [s]."""

    connect_s: float  # handshakes
    waits_s: float  # the call's own round trip, and idle between flights
    transfer_s: float  # bytes over the narrowest link
    work_s: float  # at both ends

    @property
    def total_s(self) -> float:
        """All of it."""
        return self.connect_s + self.waits_s + self.transfer_s + self.work_s


def call_parts(
    request_bytes: float,
    answer_bytes: float,
    round_trip_s: float,
    bytes_per_s: float,
    handshakes: int = 0,
    work_s: float = 0.0,
    window_bytes: float = INITIAL_WINDOW_BYTES,
    stream_window_bytes: float = math.inf,
) -> CallParts:
    """The parts of the time of a call, T = k·RTT + Σ(RTT − F/β)⁺ + B/β + w.

    request_bytes, answer_bytes: on the wire, positive. round_trip_s: RTT, not negative [s].
    bytes_per_s: β, positive. handshakes: round trips before the call, 1 for TCP and 2 with TLS 1.3.
    work_s: w, encoding, decoding and the model, not negative [s]. window_bytes,
    stream_window_bytes: as for flights, in both directions; F are the bytes of each flight but the
    last. Raises ValueError outside these ranges.

    >>> parts = call_parts(40_000, 1000, 0.05, 12.5e6, handshakes=2, work_s=0.007)
    >>> round(1000 * parts.total_s, 2)  # 4 round trips, 26.4 kB at 100 Mbit/s, and the work
    209.11
    """
    round_trip_s, work_s = require_non_negative(round_trip_s=round_trip_s, work_s=work_s)
    bytes_per_s = require_positive(bytes_per_s=bytes_per_s)
    request_bytes, answer_bytes = require_positive(
        request_bytes=request_bytes, answer_bytes=answer_bytes
    )
    handshakes = require_non_negative_integer(handshakes=handshakes)
    window_bytes = require_positive(window_bytes=window_bytes)
    most = as_number(stream_window_bytes=stream_window_bytes)
    idle = [
        _idle_s(size, round_trip_s, bytes_per_s, window_bytes, most)
        for size in (request_bytes, answer_bytes)
    ]
    return CallParts(
        handshakes * round_trip_s,
        round_trip_s + sum(idle),
        (request_bytes + answer_bytes) / bytes_per_s,
        work_s,
    )


def window_to_fill(round_trip_s: float, bytes_per_s: float) -> float:
    """The smallest window with which a link never idles, RTT·β [B].

    round_trip_s: not negative [s]. bytes_per_s: β, positive. Raises ValueError otherwise.

    >>> window_to_fill(0.05, 12.5e6)
    625000.0
    """
    round_trip_s = require_non_negative(round_trip_s=round_trip_s)
    return float(round_trip_s * require_positive(bytes_per_s=bytes_per_s))


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    return SimpleNamespace(
        far_window_kb=window_to_fill(*CONTINENT) / 1000,
    )


def figure_flights(figure: Figure) -> None:
    """A window that nobody raises turns a large body into dozens of round trips.

    Flights of one body: slow start on a connection that was idle, the same under HTTP/2's window of
    65,535 bytes, and a busy connection under that window. Dotted: the size of the first flight of
    slow start.

    Alt: Line chart with logarithmic axes of flights against the size of a body. The line of slow
    start climbs in small stairs and stays below ten. The two lines under the window follow it for
    small bodies and then rise steeply, together, to a hundred and more.
    """
    axes = figure.subplots()
    sizes = np.geomspace(1e3, 1e7, 400)
    most = float(STREAM_WINDOW_BYTES)
    for label, window, stream, colour, x, y in (
        ("slow start", float(INITIAL_WINDOW_BYTES), math.inf, "C0", 1500, 4.2),
        ("window never raised", float(INITIAL_WINDOW_BYTES), most, "C3", 600, 22),
        ("the same, busy", most, most, "C1", 230, 2.4),
    ):
        axes.plot(sizes / 1000, [flights(size, window, stream) for size in sizes], color=colour)
        axes.annotate(label, (x, y), color=colour, ha="right" if y > 5 else "left")
    axes.axvline(INITIAL_WINDOW_BYTES / 1000, color="C4", linestyle=":", linewidth=1.2)
    axes.set(xscale="log", yscale="log", xlabel="size of a body [kB]", ylabel="flights")
    axes.set_yticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axes.minorticks_off()


def check_flights() -> None:
    """Slow start sends B bytes in ⌈log₂(B/W + 1)⌉ flights, the first of 14,600 bytes.

    Source: RFC 6928, equation 1, min(10·MSS, max(2·MSS, 14600)) at 1460-byte segments; segments
    sent one by one, each acknowledgement making room for two.
    """
    segment = 1460
    window = min(10 * segment, max(2 * segment, 14_600))
    checks.equal("first window [B]", INITIAL_WINDOW_BYTES, window, kind="published")
    for size in (1, 14_600, 14_601, 102_200, 109_000, 5_000_000):
        left, room, rounds = math.ceil(size / segment), 10, 0
        while left > 0:
            acknowledged = min(left, room)
            left, room, rounds = left - acknowledged, room + acknowledged, rounds + 1
        checks.equal(f"{size} B in flights", flights(size), rounds)
        checks.equal(f"{size} B, closed form", rounds, math.ceil(math.log2(size / window + 1)))


def check_flow_control() -> None:
    """If HTTP/2's window of 65,535 bytes is never raised, an image of 588 KiB takes 11 flights
    instead of 6, and 4 MiB take 66 instead of 9; on a busy connection they take 10 and 65.

    Source: flights counted one by one; RFC 9113, section 6.9.2, for the window.
    """
    most = STREAM_WINDOW_BYTES
    for size, slow, capped, warm in ((IMAGE_BYTES, 6, 11, 10), (MESSAGE_BYTES, 9, 66, 65)):
        left, window, rounds = size, INITIAL_WINDOW_BYTES, 0
        while left > 0:
            left, window, rounds = left - min(window, most), 2 * window, rounds + 1
        checks.equal(f"{size} B, one by one", flights(size, stream_window_bytes=most), rounds)
        checks.equal(f"{size} B, capped", rounds, capped)
        checks.equal(f"{size} B, slow start alone", flights(size), slow)
        checks.equal(f"{size} B, busy", flights(size, 2.0 * most, most), warm)


def check_latency_by_hand() -> None:
    """A call over a new TLS connection, with 40 kB out and 1 kB back at 50 ms and 100 Mbit/s, takes
    202.11 ms plus the work.

    Source: by hand: 2 round trips for the handshakes, 1 for the first flight, 1 for the rest and
    its answer: 4 × 50 ms; (41,000 − 14,600) B × 8 / 10⁸ bit/s = 2.112 ms, because the first
    flight's bytes travel during a round trip; work 7 ms.
    """
    parts = call_parts(40_000, 1000, 0.05, 12.5e6, 2, work_s=0.007)
    checks.close("latency [ms]", 1000 * parts.total_s, 200 + 2.112 + 7, rtol=1e-12)
    checks.close("handshakes [ms]", 1000 * parts.connect_s, 100.0, rtol=1e-12)


def _sent_by_segments_s(size_bytes: float, round_trip_s: float, bytes_per_s: float) -> float:
    """When the last byte of slow start arrives, every acknowledgement making room for two."""
    segment, room, left, free, acknowledged = 1460, 10, size_bytes, 0.0, [0.0]
    for at in acknowledged:
        for _ in range(room if at == 0 else 2):
            if left > 0:
                free = max(free, at) + min(segment, left) / bytes_per_s
                left -= segment
                acknowledged.append(free + round_trip_s)
    return free + round_trip_s / 2


def check_what_travels_is_not_waited_for_twice() -> None:
    """A body and its answer take as long as their segments one by one, to 1%: 32 embeddings over
    links that their flights soon fill, and over links that they never fill.

    Source: slow start segment by segment, with room for two more after each acknowledgement.
    """
    for trip, rate in ((0.001, 125e6), (0.01, 125e6), (0.05, 12.5e6), (0.2, 125e6)):
        for size in (524_288, 1_430_000):
            due = sum(_sent_by_segments_s(one, trip, rate) for one in (8000, size))
            took = call_parts(8000, size, trip, rate).total_s
            checks.close(
                f"{size:,} B, {1000 * trip:g} ms: [ms]", 1000 * took, 1000 * due, rtol=0.01
            )


def check_a_filled_link_never_waits() -> None:
    """Through a window of RTT·β, bytes leave without a pause; through half of it, the link idles
    half of the time.

    Source: bytes of one link, sent and acknowledged one millisecond at a time.
    """
    step_s, (round_trip_s, rate) = 0.001, CONTINENT
    for share, due in ((1.0, 1.0), (0.5, 0.5), (2.0, 1.0)):
        window = share * window_to_fill(round_trip_s, rate)
        way = round(round_trip_s / step_s)
        sent = np.zeros(4000)
        for now in range(sent.size):
            flying = sent[max(0, now - way) : now].sum()
            sent[now] = min(rate * step_s, max(0.0, window - flying))
        used = float(sent[1000:].mean() / (rate * step_s))
        checks.close(f"{share:g} RTT·β: share of the link", used, due, rtol=0.03)
