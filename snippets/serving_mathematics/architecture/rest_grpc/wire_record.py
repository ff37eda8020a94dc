"""What was measured of one model behind two protocols and five encodings, beside the sum of its
parts.

The time of a call is a fixed cost of the two programs, which does not depend on the payload, plus
the time to encode and decode, plus the model. The parts were timed by themselves; the fixed cost is
what the smallest request leaves over; the larger requests are then predictions.

Assumes: the records of `wire_measurement` and `calls_in_flight`; nothing of the machine.

Source: records/rest_grpc.json and records/calls_in_flight.json; sizes from `wire_format`.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record

RECORD, IN_FLIGHT = "rest_grpc", "calls_in_flight"
FLIGHT = 8  # calls at a time, of the page
COLOURS = {"json": "C3", "compiled": "C1", "protobuf": "C0", "raw": "C4", "binary": "C2"}
LABELS = {
    "json": "HTTP, JSON",
    "compiled": "HTTP, compiled JSON",
    "protobuf": "gRPC, fields",
    "raw": "gRPC, bytes",
    "binary": "HTTP, bytes",
}


def _row(record: dict[str, Any], table: str, encoding: str, rows: int) -> dict[str, Any]:
    """The one entry of a table for an encoding and a number of images."""
    (found,) = [row for row in record[table] if row["encoding"] == encoding and row["rows"] == rows]
    return dict(found)


def _p50(record: dict[str, Any], encoding: str, rows: int) -> float:
    return float(_row(record, "latency", encoding, rows)["ms"][50])


def _server_ms(encoding: str, rows: int, flight: int = FLIGHT) -> float:
    """Processor time of the server for a call, in the median of rounds [ms]."""
    asked = {"encoding": encoding, "rows": rows, "flight": flight}
    told = read_record(IN_FLIGHT)["server_ms"]
    (found,) = [row for row in told if asked.items() <= row.items()]
    return float(found["ms"][1])


def _grpc_over_http() -> list[float]:
    """Processor time of gRPC over that of HTTP, with many calls in flight: for the bytes of one
    image and of 256."""
    return [_server_ms("raw", rows) / _server_ms("binary", rows) for rows in (1, 256)]


def _codec(record: dict[str, Any], encoding: str, rows: int) -> float:
    """Time to encode and decode request and answer [ms]."""
    steps = _row(record, "steps", encoding, rows)["ms"]
    return float(sum(ms for name, ms in steps.items() if name != "model"))


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)
    return SimpleNamespace(
        recorded_on=record["date"],
        large_json_ms=_p50(record, "json", 256),
        large_binary_ms=_p50(record, "binary", 256),
        large_raw_ms=_p50(record, "raw", 256),
        flight=FLIGHT,
        flight_json_times=_server_ms("json", 256) / _server_ms("binary", 256),
        flight_least_percent=100 * (1 - max(_grpc_over_http())),
        flight_most_percent=100 * (1 - min(_grpc_over_http())),
    )


def figure_parts_of_a_call(figure: Figure) -> None:
    """In JSON, numbers become text twice, and text becomes numbers twice. As bytes, they cost next
    to nothing over either protocol.

    Bars: parts timed by themselves, on top of the fixed cost, which is what the smallest request
    takes beyond its own parts. Diamonds: measured medians, with the range from the 10th to the 90th
    percentile.

    Alt: Horizontal stacked bars for requests with 256 images in five encodings. The bar of JSON is
    the longest, mostly encoding and decoding, that of compiled JSON half as long; the bars of bytes
    are nearly all fixed cost. Diamonds of measured medians lie near the ends of the bars, that of
    JSON well beyond.
    """
    record = read_record(RECORD)
    axes = figure.subplots()
    for y, encoding in enumerate(reversed(COLOURS)):
        least, steps = (_row(record, "steps", encoding, rows)["ms"] for rows in (1, 256))
        left = 0.0
        for name, ms, colour in (
            ("fixed cost", _p50(record, encoding, 1) - sum(least.values()), "C4"),
            ("client encodes, decodes", steps["client_encodes"] + steps["client_decodes"], "C0"),
            ("server decodes, encodes", steps["server_decodes"] + steps["server_encodes"], "C1"),
            ("model", steps["model"], "C2"),
        ):
            axes.barh(y, ms, left=left, color=colour, label=name if y == 0 else None, height=0.6)
            left += ms
        times = _row(record, "latency", encoding, 256)["ms"]
        axes.plot(times[10:91:80], [y, y], color="C5", linewidth=1.2)
        axes.plot(times[50], y, "D", color="C5", label="measured" if y == 0 else None)
    axes.set_yticks(range(len(COLOURS)), [LABELS[e] for e in reversed(COLOURS)])
    axes.set(
        xlabel="time of a call with 256 images [ms]", ylabel="protocol, encoding", xlim=(0, None)
    )
    axes.legend(loc="lower right")


def check_answers_are_equal() -> None:
    """All five ways give the same 256 answers as the model itself, bit for bit.

    Source: the model's scores, computed by the client and rounded to float32.
    """
    for encoding, equal in read_record(RECORD)["equal_answers_of_256"].items():
        checks.equal(f"{encoding}: equal answers of 256", equal, 256, kind="measured")


def check_the_encoding_decides_when_large() -> None:
    """With 256 images, JSON takes longest, then compiled JSON, protobuf's fields and bytes, both in
    the median of a call and in its encoding and decoding. A compiled parser takes 40 to 60% off the
    call, bytes over HTTP 70% or more, and bytes over HTTP and over gRPC are within a factor of two.

    Source: medians of interleaved calls and of their parts in the record.
    """
    record = read_record(RECORD)
    for label, value in (("call", _p50), ("codec", _codec)):
        slow, middle, fields, *as_bytes = (value(record, e, 256) for e in COLOURS)
        order = f"{slow:.2f} > {middle:.2f} > {fields:.2f} > {max(as_bytes):.2f} ms"
        right = slow > middle > fields > max(as_bytes)
        checks.holds(f"{label}: order", right, got=order)
    halved = _p50(record, "compiled", 256) / _p50(record, "json", 256)
    checks.inside("JSON, compiled over plain", halved, 0.4, 0.6)
    ratio = _p50(record, "binary", 256) / _p50(record, "raw", 256)
    checks.inside("bytes, HTTP over gRPC", ratio, 0.5, 2.0)
    share = _p50(record, "binary", 256) / _p50(record, "json", 256)
    checks.inside("HTTP, bytes over JSON", share, 0.0, 0.3)


def check_small_requests_do_not_differ() -> None:
    """With one image, all five take as long as each other, to a factor of two.

    Source: medians in the record; client and server are Python programs in all five.
    """
    record = read_record(RECORD)
    times = [_p50(record, encoding, 1) for encoding in COLOURS]
    checks.inside("slowest over fastest", max(times) / min(times), 1.0, 2.0)


def check_many_calls_at_once_do_not_change_the_order() -> None:
    """With eight calls in flight, a call costs the server as much CPU time as alone, to two fifths.
    With 256 images, it costs most as JSON, less as compiled JSON, less again as bytes over HTTP,
    and least as bytes over gRPC. Over gRPC, bytes cost a quarter to two fifths less than over HTTP,
    with one image too.

    Source: medians of interleaved rounds in the record of calls in flight.
    """
    for encoding in COLOURS:
        for rows in (1, 256):
            ratio = _server_ms(encoding, rows) / _server_ms(encoding, rows, 1)
            label = f"{encoding}, {rows} images: eight over one"
            checks.inside(label, ratio, 0.6, 1.4)
    order = [_server_ms(e, 256) for e in ("json", "compiled", "binary", "raw")]
    falls = order == sorted(order, reverse=True)
    checks.holds("256 images: order [ms]", falls, got=order)
    for ratio in _grpc_over_http():
        checks.inside("gRPC over HTTP", ratio, 0.6, 0.75)
