"""A call costs its round trips, its bytes over the bandwidth, and the work at both ends; an
encoding changes the last two, and the first only where fewer bytes save a flight.

T = k·RTT + B/β + w. A new connection takes one round trip for TCP and one more for TLS 1.3. TCP
then sends at most 10 segments before it waits for acknowledgements, and doubles that with every
flight, so that B bytes need ⌈log₂(B/W + 1)⌉ flights; the window of HTTP/2, 65,535 bytes until the
receiver raises it, caps every flight of a stream.

Assumes: no loss, acknowledgements for every segment, and a receiver that reads at once; the
transfer time of the last flight is counted in full, the idle time of the earlier ones in the round
trips, so T is an upper estimate where a flight takes longer than a round trip.

Source: RFC 6928, equation 1, for W; RFC 5681 for slow start; RFC 9113, section 6.9.2, for HTTP/2's
window; RFC 8446 for the handshake; google.rpc.Code for the status codes.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from serving_mathematics.architecture.rest_grpc.wire_format import (
    FRAME_HEADER_BYTES,
    GRPC_PREFIX_BYTES,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_non_negative_integer,
    require_positive,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INITIAL_WINDOW_BYTES = 14_600  # W: 10 segments of 1460 B; RFC 6928, equation 1
STREAM_WINDOW_BYTES = 65_535  # of an HTTP/2 stream, and of its connection; RFC 9113, section 6.9.2
IMAGE_BYTES, MESSAGE_BYTES = 224 * 224 * 3 * 4, 2**22  # of float32; gRPC's limit of a message
HANDSHAKES = {"kept": 0, "TCP": 1, "TCP and TLS 1.3": 2}  # round trips; RFC 8446
JSON_BYTES, PROTOBUF_BYTES = 10.9, 4.0  # of one random float32; see wire_format [B]
CONTINENT = (0.05, 12.5e6)  # round trip [s] and bandwidth [B/s] of a client far away: 100 Mbit/s
ZONE = (0.0005, 1.25e9)  # of two machines in one data centre: 10 Gbit/s
_OUTCOMES = {  # what happened: HTTP status and gRPC code that the two servers answer with
    "malformed, NaN or wrong shape": (400, "INVALID_ARGUMENT"),
    "unknown model": (404, "NOT_FOUND"),
    "too large": (413, "RESOURCE_EXHAUSTED"),
    "the model failed": (500, "INTERNAL"),
    "full": (503, "UNAVAILABLE"),
    "deadline passed in the queue": (504, "DEADLINE_EXCEEDED"),
}


def flights(
    size_bytes: float,
    window_bytes: float = INITIAL_WINDOW_BYTES,
    stream_window_bytes: float = math.inf,
) -> int:
    """Number of flights in which TCP's slow start sends so many bytes.

    size_bytes: B, above 0. window_bytes: W, of the first flight; each later one is twice as large.
    stream_window_bytes: most that one flight may hold, HTTP/2's 65,535 unless the receiver raises
    it; infinite without such a window. Raises ValueError unless the first two are positive and
    finite and the third is positive.

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


def round_trips(request_bytes: float, answer_bytes: float, handshakes: int = 0) -> int:
    """Round trips k of one call: handshakes, one for the call, one for each further flight.

    request_bytes, answer_bytes: on the wire, above 0. handshakes: before it, see HANDSHAKES.
    Raises ValueError on sizes that are not positive or handshakes that are no count.

    >>> round_trips(1000, 1000), round_trips(40_000, 1000, handshakes=2)
    (1, 4)
    """
    request_bytes, answer_bytes = as_number(request_bytes=request_bytes, answer_bytes=answer_bytes)
    for name, size in (("request_bytes", request_bytes), ("answer_bytes", answer_bytes)):
        require(0 < size < math.inf, name, "positive and finite", size)
    handshakes = require_non_negative_integer(handshakes=handshakes)
    return int(handshakes) + flights(request_bytes) + flights(answer_bytes) - 1


def call_latency_s(
    trips: int, round_trip_s: float, size_bytes: float, bytes_per_s: float, work_s: float = 0.0
) -> float:
    """Time of a call T = k·RTT + B/β + w [s].

    trips: k. round_trip_s: RTT [s]. size_bytes: B, request and answer. bytes_per_s: bandwidth β.
    work_s: w, encoding, decoding and the model [s]. Raises ValueError on negative or non-finite
    values, no round trip and no bandwidth.

    >>> round(call_latency_s(1, 0.05, 12_500, 12.5e6, work_s=0.002), 6)
    0.053
    """
    trips, round_trip_s, size_bytes, work_s = as_number(
        trips=trips, round_trip_s=round_trip_s, size_bytes=size_bytes, work_s=work_s
    )
    require(1 <= trips < math.inf, "trips", "at least 1", trips)
    bytes_per_s = require_positive(bytes_per_s=bytes_per_s)
    for name, value in (
        ("round_trip_s", round_trip_s),
        ("size_bytes", size_bytes),
        ("work_s", work_s),
    ):
        require(0 <= value < math.inf, name, "non-negative and finite", value)
    return trips * round_trip_s + size_bytes / bytes_per_s + work_s


def worthwhile_work_s(
    before_bytes: float, after_bytes: float, round_trip_s: float, bytes_per_s: float
) -> float:
    """Longest extra work at both ends that a smaller request may cost before it makes the call
    slower [s].

    before_bytes, after_bytes: size of the request in the two encodings. round_trip_s, bytes_per_s:
    of the network. The saving is the flights' round trips and the bytes' transfer time. Raises
    ValueError unless 0 < after ≤ before, and on a bad network.

    >>> round(worthwhile_work_s(40_000, 14_000, 0.05, 12.5e6), 5)
    0.05208
    """
    before_bytes, after_bytes, round_trip_s = as_number(
        before_bytes=before_bytes, after_bytes=after_bytes, round_trip_s=round_trip_s
    )
    require(before_bytes < math.inf, "before_bytes", "finite", before_bytes)
    require(0 < after_bytes <= before_bytes, "after_bytes", "in (0, before]", after_bytes)
    before, after = (
        call_latency_s(flights(size), round_trip_s, size, bytes_per_s)
        for size in (before_bytes, after_bytes)
    )
    return before - after


def _request_ms(numbers: float, per_number: float, network: tuple[float, float], new: int) -> float:
    """Time of a call with so many numbers and an answer of one segment [ms], without work."""
    size = numbers * per_number
    trips = round_trips(size, 1000, new)
    return 1000 * call_latency_s(trips, network[0], size + 1000, network[1])


def example() -> SimpleNamespace:
    """Numbers quoted in the text: random float32 as JSON and as packed protobuf."""
    thousand, many = 1000 * JSON_BYTES, 10_000 * JSON_BYTES
    return SimpleNamespace(
        far_json_ms=_request_ms(1000, JSON_BYTES, CONTINENT, 0),
        far_protobuf_ms=_request_ms(1000, PROTOBUF_BYTES, CONTINENT, 0),
        far_large_json_ms=_request_ms(10_000, JSON_BYTES, CONTINENT, 0),
        far_large_protobuf_ms=_request_ms(10_000, PROTOBUF_BYTES, CONTINENT, 0),
        far_large_json_trips=round_trips(many, 1000),
        far_large_protobuf_trips=round_trips(10_000 * PROTOBUF_BYTES, 1000),
        far_new_json_ms=_request_ms(1000, JSON_BYTES, CONTINENT, HANDSHAKES["TCP and TLS 1.3"]),
        near_json_ms=_request_ms(1000, JSON_BYTES, ZONE, 0),
        near_protobuf_ms=_request_ms(1000, PROTOBUF_BYTES, ZONE, 0),
        image_kib=IMAGE_BYTES / 2**10,
        image_flights=flights(IMAGE_BYTES),
        image_stream_flights=flights(IMAGE_BYTES, stream_window_bytes=STREAM_WINDOW_BYTES),
        message_flights=flights(MESSAGE_BYTES),
        message_stream_flights=flights(MESSAGE_BYTES, stream_window_bytes=STREAM_WINDOW_BYTES),
        one_flight_json=INITIAL_WINDOW_BYTES / JSON_BYTES,
        one_flight_protobuf=INITIAL_WINDOW_BYTES / PROTOBUF_BYTES,
        worthwhile_far_ms=1000 * worthwhile_work_s(many, 10_000 * PROTOBUF_BYTES, *CONTINENT),
        worthwhile_near_us=1e6 * worthwhile_work_s(thousand, 1000 * PROTOBUF_BYTES, *ZONE),
    )


def figure_flights(figure: Figure) -> None:
    """Far away a smaller encoding saves time in steps of a round trip, and between the steps hardly
    any.

    One call over a kept connection after a pause, with random float32 in the request; encoding and
    decoding are left out here. Far is 50 ms and 100 Mbit/s, near 0.5 ms and 10 Gbit/s.

    Alt: Time of a call against numbers in the request from 100 to 100,000, both axes logarithmic.
    The far pair climbs in stairs from 50 to 400 ms, JSON's steps coming at fewer than half as many
    numbers as protobuf's. The near pair does the same a hundred times lower.
    """
    axes = figure.subplots()
    numbers = np.geomspace(100, 100_000, 400)
    for network, y in ((CONTINENT, 31), (ZONE, 0.33)):
        for per_number, colour in ((JSON_BYTES, "C3"), (PROTOBUF_BYTES, "C0")):
            times = [_request_ms(n, per_number, network, 0) for n in numbers]
            axes.plot(numbers, times, color=colour)
        where = "far" if network == CONTINENT else "near"
        axes.annotate(where, (110, y), color="C4")
    axes.annotate("JSON", (5000, 205), color="C3", ha="right")
    axes.annotate("protobuf", (16_000, 66), color="C0")
    axes.set(xscale="log", yscale="log", ylim=(0.2, 700))
    axes.set_xticks([100, 1000, 10_000, 100_000], ["100", "1,000", "10⁴", "10⁵"])
    axes.set_yticks([1, 10, 100], ["1", "10", "100"])
    axes.minorticks_off()
    axes.set(xlabel="numbers in the request", ylabel="time of a call [ms]")


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
    """With HTTP/2's window of 65,535 bytes, never raised, an image of 588 KiB takes 11 flights
    instead of 6 and 4 MiB take 66 instead of 9; on a warm connection 10 and 65.

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
        checks.equal(f"{size} B, warm", flights(size, 2.0 * most, most), warm)


def check_latency_by_hand() -> None:
    """A new TLS connection, 40 kB out and 1 kB back at 50 ms and 100 Mbit/s take 203.28 ms and the
    work.

    Source: by hand: 2 for the handshakes, 2 flights, 1 of which is the call's own round trip:
    4 × 50 ms; 41,000 B × 8 / 10⁸ bit/s = 3.28 ms; work 7 ms.
    """
    trips = round_trips(40_000, 1000, HANDSHAKES["TCP and TLS 1.3"])
    latency = call_latency_s(trips, 0.05, 41_000, 12.5e6, work_s=0.007)
    checks.close("latency [ms]", 1000 * latency, 200 + 3.28 + 7, rtol=1e-12)


def check_worthwhile_work() -> None:
    """A smaller encoding that costs just the worthwhile work leaves the time of the call as it was.

    Source: T before and after, each added up.
    """
    for before, after in ((109_000.0, 40_000.0), (10_900.0, 4000.0), (500.0, 500.0)):
        work = worthwhile_work_s(before, after, *CONTINENT)
        rate = CONTINENT[1]
        was = call_latency_s(flights(before), CONTINENT[0], before, rate)
        now = call_latency_s(flights(after), CONTINENT[0], after, rate, work)
        checks.close(f"{before:g} → {after:g} B [s]", now, was, rtol=1e-12)


def check_status_codes() -> None:
    """The two servers' errors agree with the published mapping of gRPC codes to HTTP, but for a
    message that is too large, for which HTTP has a status of its own.

    Source: google.rpc.Code, “HTTP Mapping” of each code; RFC 9110 for 413.
    """
    published = {
        "INVALID_ARGUMENT": 400,
        "NOT_FOUND": 404,
        "RESOURCE_EXHAUSTED": 429,
        "INTERNAL": 500,
        "UNAVAILABLE": 503,
        "DEADLINE_EXCEEDED": 504,
    }
    finer = {"too large": 413}
    for outcome, (status, code) in _OUTCOMES.items():
        expected = finer.get(outcome, published[code])
        checks.equal(f"{outcome}: {code}", status, expected, kind="published")


def check_prefix_and_frame_header() -> None:
    """gRPC adds 14 bytes to a small message: 5 of prefix and 9 of frame header.

    Source: RFC 9113, section 4.1: 24 + 8 + 8 + 1 + 31 bits; gRPC over HTTP2: 1 + 4 bytes.
    """
    checks.equal("frame header [B]", FRAME_HEADER_BYTES * 8, 24 + 8 + 8 + 1 + 31, kind="published")
    checks.equal("prefix [B]", GRPC_PREFIX_BYTES, 1 + 4, kind="published")


def check_bad_input_is_refused() -> None:
    """Empty messages, negative times, half handshakes and growing encodings are errors."""
    checks.raises("no bytes", flights, 0, match="size_bytes must be positive")
    checks.raises("NaN", flights, math.nan, match="size_bytes must be positive")
    checks.raises("no window", flights, 1, 0, match="window_bytes must be positive")
    checks.raises("shut", flights, 1, 1, 0, match="stream_window_bytes must be positive")
    checks.raises("half", round_trips, 1, 1, 0.5, match="handshakes must be a non-negative integer")
    checks.raises("no trip", call_latency_s, 0, 1.0, 1, 1.0, match="trips must be at least 1")
    checks.raises("no network", call_latency_s, 1, 1.0, 1, 0.0, match="bytes_per_s must be pos")
    checks.raises("past", call_latency_s, 1, -1.0, 1, 1.0, match="round_trip_s must be non-neg")
    checks.raises("grows", worthwhile_work_s, 1, 2, 1.0, 1.0, match="after_bytes must be in")
