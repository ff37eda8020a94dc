"""What was measured of one model behind two protocols, beside the sum of its parts.

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

from serving_mathematics import checks
from serving_mathematics.architecture.digits_classifier import load_digits
from serving_mathematics.architecture.wire_format import grpc_bytes, request_json, request_protobuf
from serving_mathematics.measuring import read_record
from serving_mathematics.require import require, require_positive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RECORD = "rest_grpc"
COLOURS = {"json": "C3", "protobuf": "C0", "raw": "C2"}
LABELS = {"json": "JSON", "protobuf": "protobuf", "raw": "protobuf, raw bytes"}


def predicted_ms(
    smallest_ms: float, smallest: Mapping[str, float], parts: Mapping[str, float]
) -> float:
    """Time of a call from that of the smallest one and the parts of both [ms].

    smallest_ms: measured time of the smallest call. smallest, parts: times of its parts and of
    those of the call in question, by the same names. The fixed cost is smallest_ms − Σ smallest.
    Raises ValueError on times that are not positive, on different names, or when the parts of the
    smallest call take longer than the call.

    >>> predicted_ms(1.0, {"encode": 0.1, "model": 0.1}, {"encode": 2.0, "model": 0.5})
    3.3
    """
    require_positive(smallest_ms=smallest_ms)
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
    return predicted_ms(_p50(record, encoding, 1), first, parts)


def _raw_over_http_ms(record: dict[str, Any]) -> float:
    """What 256 images as raw bytes over HTTP should take [ms]: the fixed cost of HTTP, which the
    smallest JSON request leaves over, and the parts of raw bytes. It was not measured."""
    small_ms, first = _p50(record, "json", 1), _row(record, "steps", "json", 1)["ms"]
    return predicted_ms(small_ms, first, _row(record, "steps", "raw", 256)["ms"])


def _codec(record: dict[str, Any], encoding: str, rows: int) -> float:
    """Time to encode and decode request and answer [ms]."""
    steps = _row(record, "steps", encoding, rows)["ms"]
    return float(sum(ms for name, ms in steps.items() if name != "model"))


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record."""
    record = read_record(RECORD)

    def rate(encoding: str, rows: int) -> float:
        return float(np.median(_row(record, "throughput", encoding, rows)["per_s"]))

    machine, versions = record["machine"], record["versions"]
    small = _row(record, "wire", "protobuf", 1)
    return SimpleNamespace(
        recorded_on=record["date"],
        recorded_python=versions["python"],
        recorded_system=f"{machine['system']} {machine['architecture']}",
        recorded_processors=machine["processors"],
        recorded_fastapi=versions["fastapi"],
        recorded_grpc=versions["grpcio"],
        calls_each=record["asked"]["rounds"] * record["asked"]["calls"],
        small_json_ms=_p50(record, "json", 1),
        small_protobuf_ms=_p50(record, "protobuf", 1),
        small_raw_ms=_p50(record, "raw", 1),
        large_json_ms=_p50(record, "json", 256),
        large_protobuf_ms=_p50(record, "protobuf", 256),
        large_raw_ms=_p50(record, "raw", 256),
        large_json_model_ms=_model(record, "json", 256),
        large_protobuf_model_ms=_model(record, "protobuf", 256),
        large_raw_model_ms=_model(record, "raw", 256),
        raw_http_ms=_raw_over_http_ms(record),
        json_codec_ms=_codec(record, "json", 256),
        protobuf_codec_ms=_codec(record, "protobuf", 256),
        raw_codec_ms=_codec(record, "raw", 256),
        model_ms=_row(record, "steps", "raw", 256)["ms"]["model"],
        small_json_per_s=rate("json", 1),
        small_protobuf_per_s=rate("protobuf", 1),
        large_json_per_s=rate("json", 256),
        large_raw_per_s=rate("raw", 256),
        json_sent=_row(record, "wire", "json", 1)["sent_per_call"],
        grpc_sent=small["sent_per_call"],
        grpc_first_sent=small["sent_first"],
        grpc_heads=small["sent_per_call"] - grpc_bytes(small["request_bytes"]),
    )


def figure_latency_distributions(figure: Figure) -> None:
    """With one image the protocol makes hardly any difference, with 256 images the encoding does.

    Share of the calls that took at most so long, one call at a time over a kept connection on
    loopback, from array to array.

    Alt: Two panels of distribution functions against milliseconds on the same logarithmic axis.
    For one image the three curves rise close together below 1 ms. For 256 images raw bytes stay
    there, packed floats come second and JSON rises far to the right.
    """
    record = read_record(RECORD)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, rows in zip(panels, (1, 256), strict=True):
        for encoding, colour in COLOURS.items():
            times = _row(record, "latency", encoding, rows)["ms"]
            axes.plot(times[:100], range(100), color=colour, label=LABELS[encoding])
        axes.set_xscale("log")
        axes.set_title("1 image" if rows == 1 else f"{rows} images")
        axes.set(xlabel="time of a call [ms]", ylabel="calls [%]", ylim=(0, 100))
    ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50) if tick > axes.get_xlim()[0]]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.set_xlim(right=1.2 * max(_row(record, "latency", e, 256)["ms"][99] for e in COLOURS))
    panels[0].legend(loc="lower right")


def figure_parts_of_a_call(figure: Figure) -> None:
    """The sum of the parts predicts the larger requests, and shows what they wait for: in JSON
    numbers become text and text numbers, four times.

    Bars are the parts timed by themselves, on the fixed cost that the smallest request leaves over;
    diamonds are the measured medians with the range from the 10th to the 90th percentile.

    Alt: Horizontal stacked bars for requests with 16 and 256 images in three encodings. For 256
    images the JSON bar is several times longer than the others, mostly encoding and decoding; the
    bars of raw bytes are nearly all fixed cost. Diamonds of measured medians lie near the ends.
    """
    record = read_record(RECORD)
    figure.set_size_inches(5.8, 3.6)
    axes = figure.subplots()
    labels = []
    for y, (rows, encoding) in enumerate((n, e) for n in (256, 16) for e in reversed(COLOURS)):
        steps = _row(record, "steps", encoding, rows)["ms"]
        whole = _model(record, encoding, rows)
        left = 0.0
        for name, ms, colour in (
            ("fixed", whole - sum(steps.values()), "C4"),
            ("client encodes, decodes", steps["client_encodes"] + steps["client_decodes"], "C0"),
            ("server decodes, encodes", steps["server_decodes"] + steps["server_encodes"], "C1"),
            ("model", steps["model"], "C2"),
        ):
            axes.barh(y, ms, left=left, color=colour, label=name if y == 0 else None, height=0.6)
            left += ms
        times = _row(record, "latency", encoding, rows)["ms"]
        axes.plot(times[10:91:80], [y, y], color="C5", linewidth=1.2)
        axes.plot(times[50], y, "D", color="C5", label="measured" if y == 0 else None)
        labels.append(f"{LABELS[encoding].removeprefix('protobuf, ')}, {rows}")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="time of a call [ms]", ylabel="encoding, images", xlim=(0, None))
    axes.legend(loc="upper right")


def check_answers_are_equal() -> None:
    """All three ways give the same 256 answers as the model itself, bit by bit.

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
    for rows in (1, 16, 256):
        sizes = {
            "json": len(request_json(images[:rows])),
            "protobuf": len(request_protobuf(images[:rows])),
            "raw": len(request_protobuf(images[:rows], raw=True)),
        }
        for encoding, size in sizes.items():
            row = _row(record, "wire", encoding, rows)
            checks.equal(f"{encoding}, {rows}: body [B]", row["request_bytes"], size)
            if encoding == "json":
                head = (
                    "POST /v2/models/digits/infer HTTP/1.1\r\nHost: 127.0.0.1:12345\r\n"
                    f"Accept-Encoding: identity\r\nContent-Length: {size}\r\n"
                    "Content-Type: application/json\r\n\r\n"
                )
                checks.equal(f"json, {rows}: sent [B]", row["sent_per_call"], len(head) + size)
            else:
                heads = row["sent_per_call"] - grpc_bytes(size)
                checks.inside(f"{encoding}, {rows}: heads [B]", heads, 0, 100, kind="measured")


def check_clients_are_conserved() -> None:
    """Answers a second times the time of an answer is the number of clients: nothing is counted
    twice or left out.

    Source: Little's law for a closed loop of 4 clients, who also do a little between two calls and
    finish one after the other.
    """
    record = read_record(RECORD)
    for row in record["throughput"]:
        inside = np.array(row["per_s"]) * np.array(row["mean_ms"]) / 1000
        label = f"{row['encoding']}, {row['rows']}: clients inside"
        clients = record["asked"]["clients"]
        checks.inside(label, float(inside.mean()), 0.7 * clients, clients, kind="measured")


def check_raw_bytes_are_fastest_when_large() -> None:
    """With 256 images packed floats beat JSON and raw bytes beat both, in the median, and so do
    their parts.

    Source: medians of interleaved calls and of the parts in the record.
    """
    record = read_record(RECORD)
    for label, value in (("call", _p50), ("codec", _codec)):
        slow, middle, fast = (value(record, e, 256) for e in COLOURS)
        order = f"{slow:.2f} > {middle:.2f} > {fast:.2f} ms"
        checks.holds(f"median of the {label}", slow > middle > fast, got=order, kind="measured")


def check_the_encoding_and_not_the_protocol() -> None:
    """By its parts, raw bytes over HTTP would take within a millisecond of raw bytes over gRPC, and
    a fifth of JSON over HTTP or less: the difference is the encoding's.

    Source: fixed costs and parts of the record; the same sum for raw bytes over gRPC, which was
    measured, is within a third of its median.
    """
    record = read_record(RECORD)
    raw_ms, predicted = _p50(record, "raw", 256), _raw_over_http_ms(record)
    got = _model(record, "raw", 256) / raw_ms
    checks.inside("raw over gRPC: sum over median", got, 0.67, 1.5, kind="measured")
    checks.close("raw over HTTP [ms]", predicted, raw_ms, atol=1.0, kind="measured")
    share = predicted / _p50(record, "json", 256)
    checks.inside("raw over HTTP, over JSON", share, 0.0, 0.2, kind="measured")


def check_bad_input_is_refused() -> None:
    """Parts that are missing, negative or larger than the whole are errors."""
    part = {"encode": 1.0}
    checks.raises("no time", predicted_ms, 0.0, part, part, match="smallest_ms must be positive")
    checks.raises("other names", predicted_ms, 2.0, part, {}, match="parts must be named")
    checks.raises("NaN", predicted_ms, 2.0, part, {"encode": math.nan}, match="parts must be pos")
    checks.raises("too large", predicted_ms, 0.5, part, part, match="smallest must be at most 0.5")
