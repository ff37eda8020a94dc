"""What was measured of one model behind two protocols and five encodings, beside the sum of its
parts.

The time of a call is a fixed cost of the two programs, which does not depend on the payload, plus
the time to encode and decode, plus the model. The parts were timed by themselves; the fixed cost is
what the smallest request leaves over; the larger requests are then predictions.

Assumes: the record of `wire_measurement`; nothing of the machine.

Source: records/rest_grpc.json; sizes from `wire_format`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from serving_mathematics.core.classifiers.digits_classifier import load_digits
from serving_mathematics.core.servers.wire_format import (
    grpc_bytes,
    request_json,
    request_protobuf,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import require, require_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "rest_grpc"
COLOURS = {"json": "C3", "compiled": "C1", "protobuf": "C0", "raw": "C4", "binary": "C2"}
LABELS = {
    "json": "HTTP, JSON",
    "compiled": "HTTP, compiled JSON",
    "protobuf": "gRPC, fields",
    "raw": "gRPC, bytes",
    "binary": "HTTP, bytes",
}


def _predicted_ms(
    smallest_ms: float, smallest: Mapping[str, float], parts: Mapping[str, float]
) -> float:
    """Time of a call from that of the smallest one and the parts of both [ms].

    smallest_ms: measured time of the smallest call. smallest, parts: times of its parts and of
    those of the call in question, by the same names. The fixed cost is smallest_ms − Σ smallest.
    Raises ValueError on times that are not positive, on different names, or when the parts of the
    smallest call take longer than the call.
    """
    smallest_ms = require_positive(smallest_ms=smallest_ms)
    require(smallest.keys() == parts.keys(), "parts", f"named {[*smallest]}", [*parts])
    for name, taken in (("smallest", smallest), ("parts", parts)):
        require(all(0 < ms < math.inf for ms in taken.values()), name, "positive", dict(taken))
    fixed = smallest_ms - sum(smallest.values())
    require(fixed >= 0, "smallest", f"at most {smallest_ms} together", dict(smallest))
    return fixed + sum(parts.values())


def _row(record: dict[str, Any], table: str, encoding: str, rows: int) -> dict[str, Any]:
    """The one entry of a table for an encoding and a number of images."""
    (found,) = [row for row in record[table] if row["encoding"] == encoding and row["rows"] == rows]
    return dict(found)


def _p50(record: dict[str, Any], encoding: str, rows: int) -> float:
    return float(_row(record, "latency", encoding, rows)["ms"][50])


def _model(record: dict[str, Any], encoding: str, rows: int) -> float:
    """What the median should be, from the smallest request and the parts [ms]."""
    first = _row(record, "steps", encoding, 1)["ms"]
    parts = _row(record, "steps", encoding, rows)["ms"]
    return _predicted_ms(_p50(record, encoding, 1), first, parts)


def _per_s(record: dict[str, Any], encoding: str, rows: int) -> float:
    """Answers a second under load, the median of its rounds."""
    return float(np.median(_row(record, "throughput", encoding, rows)["per_s"]))


def _codec(record: dict[str, Any], encoding: str, rows: int) -> float:
    """Time to encode and decode request and answer [ms]."""
    steps = _row(record, "steps", encoding, rows)["ms"]
    return float(sum(ms for name, ms in steps.items() if name != "model"))


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)
    return SimpleNamespace(
        recorded_on=record["date"],
        recorded_python=record["versions"]["python"],
        recorded_processors=record["machine"]["processors"],
        calls_each=record["asked"]["rounds"] * record["asked"]["calls"],
        large_json_ms=_p50(record, "json", 256),
        large_binary_ms=_p50(record, "binary", 256),
        large_raw_ms=_p50(record, "raw", 256),
        grpc_more_percent=100 * (_per_s(record, "raw", 256) / _per_s(record, "binary", 256) - 1),
    )


def figure_parts_of_a_call(figure: Figure) -> None:
    """The parts add up to most of the time of large requests and show what they wait for: in JSON,
    numbers become text twice, and text becomes numbers twice. As bytes they cost neither protocol
    anything.

    Bars are the parts timed by themselves, on the fixed cost that the smallest request leaves over;
    diamonds are the measured medians with the range from the 10th to the 90th percentile.

    Alt: Horizontal stacked bars for requests with 256 images in five encodings. The bar of JSON is
    the longest, mostly encoding and decoding, that of compiled JSON half as long; the bars of bytes
    are nearly all fixed cost. Diamonds of measured medians lie near the ends, that of JSON
    beyond its bar's.
    """
    record = read_record(RECORD)
    axes = figure.subplots()
    for y, encoding in enumerate(reversed(COLOURS)):
        steps = _row(record, "steps", encoding, 256)["ms"]
        whole = _model(record, encoding, 256)
        left = 0.0
        for name, ms, colour in (
            ("fixed", whole - sum(steps.values()), "C4"),
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
        xlabel="time of a call with 256 images [ms]", ylabel="protocol, numbers", xlim=(0, None)
    )
    axes.legend(loc="lower right")


def check_answers_are_equal() -> None:
    """All five ways give the same 256 answers as the model itself, bit by bit.

    Source: the model's scores, computed by the client and rounded to float32.
    """
    for encoding, equal in read_record(RECORD)["equal_answers_of_256"].items():
        checks.equal(f"{encoding}: equal answers of 256", equal, 256, kind="measured")


def check_sizes_on_the_wire() -> None:
    """The bytes that a proxy counted are those of the formats, plus heads that do not grow.

    Source: this chapter's encoders for the same images; HTTP/1.1's head as the client writes it;
    for gRPC prefix and frame headers, and at most 100 B of compressed heads and acknowledgements.
    """
    record = read_record(RECORD)
    images = load_digits().test.pixels
    for rows in (1, 256):
        table = images[:rows]
        shape = f'"shape":[{rows},64],"parameters":{{"binary_data_size":{256 * rows}}}'
        form = '{"parameters":{"binary_data_output":true},"inputs":[{"name":"pixels",'
        size_of_object = len(form + f'"datatype":"FP32",{shape}' + "}]}")
        sizes = {
            "json": len(request_json(table)),
            "compiled": len(request_json(table)),
            "binary": size_of_object + 4 * table.size,
            "protobuf": len(request_protobuf(table)),
            "raw": len(request_protobuf(table, raw=True)),
        }
        for encoding, size in sizes.items():
            row = _row(record, "wire", encoding, rows)
            checks.equal(f"{encoding}, {rows}: body [B]", row["request_bytes"], size)
            if encoding in ("protobuf", "raw"):
                heads = row["sent_per_call"] - grpc_bytes(size)
                checks.inside(f"{encoding}, {rows}: heads [B]", heads, 0, 100, kind="measured")
                continue
            object_bytes = size_of_object if encoding == "binary" else size
            kind = f"octet-stream\r\nInference-Header-Content-Length: {object_bytes}"
            head = (
                "POST /v2/models/digits/infer HTTP/1.1\r\nHost: 127.0.0.1:12345\r\n"
                f"Accept-Encoding: identity\r\nContent-Length: {size}\r\n"
                f"Content-Type: application/{'json' if encoding == 'json' else kind}\r\n\r\n"
            )
            label = f"{encoding}, {rows}: sent [B]"
            checks.equal(label, row["sent_per_call"], len(head) + size)


def check_clients_are_conserved() -> None:
    """Answers a second times the time of an answer is the number of clients: nothing is counted
    twice or left out.

    Source: Little's law for a closed loop of 4 clients, who also do a little between two calls and
    finish one after the other.
    """
    record = read_record(RECORD)
    clients = record["asked"]["clients"]
    inside = [
        float(np.mean(np.array(row["per_s"]) * row["mean_ms"])) / 1000
        for row in record["throughput"]
    ]
    for label, value in (("fewest", min(inside)), ("most", max(inside))):
        text = f"{label} clients inside, of {len(inside)} loads"
        checks.inside(text, value, 0.7 * clients, clients, kind="measured")


def check_the_encoding_decides_when_large() -> None:
    """With 256 images the order is JSON, compiled JSON, protobuf's fields, bytes, in the median of
    a call and in its parts; a compiled parser halves the call, and bytes over HTTP and over gRPC
    are within a factor of two.

    Source: medians of interleaved calls and of their parts in the record.
    """
    record = read_record(RECORD)
    for label, value in (("call", _p50), ("codec", _codec)):
        slow, middle, fields, *as_bytes = (value(record, e, 256) for e in COLOURS)
        order = f"{slow:.2f} > {middle:.2f} > {fields:.2f} > {max(as_bytes):.2f} ms"
        right = slow > middle > fields > max(as_bytes)
        checks.holds(f"{label}: order", right, got=order, kind="measured")
    halved = _p50(record, "compiled", 256) / _p50(record, "json", 256)
    checks.inside("JSON, compiled over plain", halved, 0.4, 0.6, kind="measured")
    ratio = _p50(record, "binary", 256) / _p50(record, "raw", 256)
    checks.inside("bytes, HTTP over gRPC", ratio, 0.5, 2.0, kind="measured")
    share = _p50(record, "binary", 256) / _p50(record, "json", 256)
    checks.inside("HTTP, bytes over JSON", share, 0.0, 0.3, kind="measured")


def check_under_load_the_protocol_counts_too() -> None:
    """Four clients get more answers a second the less is written in digits, within each protocol;
    and from the gRPC server more than from the other, also where both send bytes.

    Source: medians of the rounds of load with 256 images in the record.
    """
    record = read_record(RECORD)
    rates = {e: _per_s(record, e, 256) for e in COLOURS}
    for slow, fast in (
        ("json", "compiled"),
        ("compiled", "binary"),
        ("protobuf", "raw"),
        ("binary", "raw"),
    ):
        order = f"{rates[slow]:,.0f} < {rates[fast]:,.0f}/s"
        label = f"{LABELS[slow]}, below {LABELS[fast]}"
        checks.holds(label, rates[slow] < rates[fast], got=order, kind="measured")


def check_small_requests_do_not_differ() -> None:
    """With one image all five take between a third of a millisecond and two, within a factor of two
    of each other.

    Source: medians in the record; two Python programs and their libraries, whatever the encoding.
    """
    record = read_record(RECORD)
    times = [_p50(record, encoding, 1) for encoding in COLOURS]
    checks.inside("slowest over fastest", max(times) / min(times), 1.0, 2.0, kind="measured")


def check_bad_input_is_refused() -> None:
    """Parts that are missing, negative or larger than the whole are errors."""
    part = {"encode": 1.0}
    checks.raises("no time", _predicted_ms, 0.0, part, part, match="smallest_ms must be positive")
    checks.raises("other names", _predicted_ms, 2.0, part, {}, match="parts must be named")
    checks.raises("NaN", _predicted_ms, 2.0, part, {"encode": math.nan}, match="parts must be pos")
    checks.raises("too large", _predicted_ms, 0.5, part, part, match="smallest must be at most 0.5")
