"""A float takes 4 bytes in a packed protobuf field, and as many as its digits plus a comma in JSON.

A protobuf message is a sequence of fields, each a tag, the varint of 8·number + wire type, and a
value: a varint (type 0), 4 bytes (5), or a length and that many bytes (2), into which go strings,
nested messages and packed arrays. JSON spells a float in as many digits as tell it from its
neighbours, up to 9 for a float32 and 17 for a double. gRPC's libraries refuse to receive more than
4 MiB unless told otherwise. Base64 spells 3 bytes in 4 characters.

Assumes: float32 values, no compression.

Source: Protocol Buffers documentation, Encoding; Open Inference Protocol,
open_inference_grpc.proto, for the field numbers; grpc_types.h for the limit; RFC 4648, section 4,
for base64.
"""

from __future__ import annotations

import base64
import json
import struct

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative_integer,
    require_positive_integer,
)

VARINT, LENGTH_DELIMITED, FIXED32 = 0, 2, 5  # wire types; Protocol Buffers, Encoding
GRPC_RECEIVE_BYTES = 4 * 1024 * 1024  # largest message by default; gRPC, grpc_types.h


def varint(value: int) -> bytes:
    """The base-128 varint of an integer: 7 bits a byte, lowest first, the top bit says “more”.

    value: integer in [−2⁶³, 2⁶⁴); a negative one is sent as its 64-bit two's complement and takes
    ten bytes. Raises ValueError otherwise.

    >>> varint(150).hex(" "), varint(300).hex(" "), len(varint(-1))
    ('96 01', 'ac 02', 10)
    """
    value = as_number(value=value)
    whole = -(2**63) <= value < 2**64 and value == int(value)
    require(whole, "value", "an integer in [−2⁶³, 2⁶⁴)", value)
    rest, groups = int(value) % 2**64, []
    while rest >= 128:
        groups.append(rest % 128 + 128)
        rest //= 128
    return bytes([*groups, rest])


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a message: an integer as a varint, bytes and text with their length before them.

    number: of the field, in [1, 2²⁹). value: as for `varint`, or bytes (a nested message is bytes
    too), or text. Raises ValueError otherwise.

    >>> field(1, 150).hex(" "), field(2, "testing").hex(" ")
    ('08 96 01', '12 07 74 65 73 74 69 6e 67')
    """
    number = as_number(number=number)
    require(1 <= number < 2**29 and number == int(number), "number", "in [1, 2²⁹)", number)
    if isinstance(value, str | bytes):
        content = value.encode() if isinstance(value, str) else value
        return varint(8 * number + LENGTH_DELIMITED) + varint(len(content)) + content
    return varint(8 * number + VARINT) + varint(value)


def raw_floats(values: npt.ArrayLike) -> bytes:
    """Float32 values in row-major order, 4 bytes each, lowest byte first.

    values: finite numbers that float32 can hold. Raises ValueError otherwise.

    >>> raw_floats([1.0, -2.0]).hex(" ")
    '00 00 80 3f 00 00 00 c0'
    """
    wide = as_floats(values=values)
    require(np.abs(wide) <= np.finfo(np.float32).max, "values", "finite float32", values)
    return wide.astype("<f4").tobytes()


def request_protobuf(images: npt.ArrayLike, *, raw: bool = False) -> bytes:
    """A ModelInferRequest of the Open Inference Protocol as protobuf bytes.

    images: finite numbers, shape (n, columns), n ≥ 1. raw: the numbers as bytes in
    raw_input_contents (field 7), instead of a packed repeated float (field 6 of the contents).
    Raises ValueError otherwise.

    >>> len(request_protobuf([[0.5, 1.0]])) - len(request_protobuf([[0.5, 1.0]], raw=True))
    2
    """
    table = as_floats(images=images)
    require(table.ndim == 2 and table.size > 0, "images", "of shape (n, columns)", table.shape)
    content = raw_floats(table)
    shape = b"".join(varint(size) for size in table.shape)
    tensor = field(1, "pixels") + field(2, "FP32") + field(3, shape)
    if not raw:
        tensor += field(5, field(6, content))
    return field(1, "digits") + field(5, tensor) + (field(7, content) if raw else b"")


def _written(number: float) -> int:
    """Characters of a number in JSON."""
    return len(repr(number))


def request_json(images: npt.ArrayLike, *, shortest: bool = True) -> bytes:
    """The same request as compact JSON.

    images: as for `request_protobuf`. shortest: as few digits as tell one float32 from the next,
    instead of those of the double that holds it, which json.dumps(array.tolist()) writes.
    Raises ValueError otherwise.

    >>> request_json([[0.1, 1.0]])[-18:], request_json([[0.1, 1.0]], shortest=False)[-34:]
    (b'data":[0.1,1.0]}]}', b'data":[0.10000000149011612,1.0]}]}')
    """
    table = as_floats(images=images)
    require(table.ndim == 2 and table.size > 0, "images", "of shape (n, columns)", table.shape)
    require(np.abs(table) <= np.finfo(np.float32).max, "images", "finite float32", images)
    floats = table.astype(np.float32).ravel()
    data = floats.tolist()
    if shortest:  # for some, such as 2⁹³, a double needs fewer characters than a float32
        data = [
            min(float(str(x)), exact, key=_written) for x, exact in zip(floats, data, strict=True)
        ]
    tensor = {"name": "pixels", "shape": list(table.shape), "datatype": "FP32", "data": data}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def base64_bytes(size_bytes: int) -> int:
    """Characters of base64 for some bytes, padding included, 4⌈n/3⌉.

    size_bytes: n, 0 or more. Raises ValueError otherwise. Source: RFC 4648, section 4.

    >>> base64_bytes(3), base64_bytes(4), base64_bytes(4000)
    (4, 8, 5336)
    """
    size_bytes = require_non_negative_integer(size_bytes=size_bytes)
    return 4 * -(-int(size_bytes) // 3)


def most_rows(columns: int, limit_bytes: int = GRPC_RECEIVE_BYTES) -> int:
    """The most rows of float32 whose request with raw bytes a gRPC server accepts.

    columns: numbers of a row, a positive integer. limit_bytes: of the message, without the prefix
    of gRPC, a positive integer. Returns 0 when not even one row fits. Raises ValueError otherwise.

    >>> most_rows(columns=224 * 224 * 3)  # images of 588 KiB
    6
    """
    columns, limit_bytes = require_positive_integer(columns=columns, limit_bytes=limit_bytes)
    low, high = 0, int(limit_bytes) // (4 * int(columns)) + 1
    while high - low > 1:
        rows = (low + high) // 2
        tensor = field(1, "pixels") + field(2, "FP32") + field(3, varint(rows) + varint(columns))
        content = 4 * rows * int(columns)
        head = len(field(1, "digits") + field(5, tensor)) + 1  # a byte that names field 7
        fits = head + len(varint(content)) + content <= limit_bytes
        low, high = (rows, high) if fits else (low, rows)
    return low


def _normal_floats(count: int) -> npt.NDArray[np.float32]:
    """The sample of the worked numbers."""
    return np.random.default_rng(0).standard_normal(count).astype(np.float32)


def _list_bytes(values: npt.NDArray[np.float32], *, shortest: bool) -> int:
    """Size of a compact JSON list of float32 [B]."""
    numbers = [float(str(x)) for x in values] if shortest else values.tolist()
    return len(json.dumps(numbers, separators=(",", ":")))


def check_published_examples() -> None:
    """Field 1 with 150 is 08 96 01, and 300 is ac 02.

    Source: Protocol Buffers documentation, Encoding, “A Simple Message” and “Base 128 Varints”.
    """
    checks.equal("int32 a = 1; a: 150", field(1, 150).hex(" "), "08 96 01", kind="published")
    checks.equal("varint of 300", varint(300).hex(" "), "ac 02", kind="published")
    checks.equal("−2 takes ten bytes", len(varint(-2)), 10, kind="published")


def check_thousand_floats() -> None:
    """A thousand float32 are 4003 bytes as a packed field and 10.9 kB as JSON in shortest digits.

    Source: 1 byte of tag, 2 of length and 4 for each number; the fewest digits from 1 to 9 that
    read back, found by trying.
    """
    sample = _normal_floats(1000)
    checks.equal("packed [B]", len(field(1, raw_floats(sample))), 1 + 2 + 4 * 1000)

    def digits(x: np.float32) -> str:
        tried = (f"{float(x):.{count}g}" for count in range(1, 10))
        return repr(float(next(text for text in tried if np.float32(text) == x)))

    by_hand = "[" + ",".join(digits(x) for x in sample) + "]"
    checks.equal("JSON [B]", _list_bytes(sample, shortest=True), len(by_hand))
    checks.close("JSON [kB]", len(by_hand) / 1000, 10.9, atol=0.05)


def check_shortest_digits_lose_nothing() -> None:
    """The shortest digits read back as the same float32, bit by bit.

    Source: struct.pack, the other way to 4 bytes.
    """
    sample = _normal_floats(2000).reshape(2, 1000)
    sent = json.loads(request_json(sample))["inputs"][0]["data"]
    checks.equal("as bytes", struct.pack("<2000f", *sent), sample.tobytes())


def check_base64() -> None:
    """A thousand float32 take 5,336 bytes in base64, a third more than as bytes and half of their
    shortest digits; JSON carries the text as it is.

    Source: Python's base64 and json modules, at every length up to 50 and for the sample.
    """
    sizes = [len(base64.b64encode(bytes(size))) for size in range(51)]
    checks.equal("lengths up to 50", [base64_bytes(size) for size in range(51)], sizes)
    sample = _normal_floats(1000)
    text = base64.b64encode(raw_floats(sample)).decode()
    checks.equal("a thousand float32 [B]", base64_bytes(4000), len(text))
    checks.equal("as a JSON string [B]", len(json.dumps(text)), len(text) + 2)
    share = len(text) / _list_bytes(sample, shortest=True)
    checks.inside("over the shortest digits", share, 0.45, 0.55)


def check_largest_message() -> None:
    """A request with the most rows is within 4 MiB, and one row more is not.

    Source: the encoder's own bytes, for rows of 1, 64 and 150,528 numbers and smaller limits.
    """
    for columns, limit in ((1, 1000), (64, 70_000), (64, GRPC_RECEIVE_BYTES), (150_528, 2**22)):
        rows = most_rows(columns, limit)
        sizes = [
            len(request_protobuf(np.zeros((count, columns)), raw=True))
            for count in (rows, rows + 1)
        ]
        got = f"{sizes[0]} and {sizes[1]} B"
        fits = sizes[0] <= limit < sizes[1]
        checks.holds(f"{columns} numbers a row, {limit} B", fits, got=got, kind="identity")
    checks.equal("a row that does not fit", most_rows(1000, 4000), 0)
