"""A file of weights in the GGUF format: read, decoded, and written again in other blocks.

A row of a matrix is cut into blocks of 32 weights. Q8_0 has a scale and 32 codes of eight bits,
Q4_0 a scale and 32 codes of four bits around 8, Q4_1 a scale, a smallest value and 32 codes above
it; scales are half floats. F16 and F32 are the numbers themselves. What stands in the file beside
the weights, the tokenizer among it, is copied as it is.

Assumes: version 3 of the format, little-endian; matrices in rows of whole blocks.

Source: ggml, docs/gguf.md for the file and ggml-quants.c, `quantize_row_q4_0_ref` and its
neighbours, for the blocks.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import as_floats, require

FloatArray = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

BLOCK = 32  # weights that share a scale, ggml
ALIGNMENT = 32  # bytes, at which a tensor begins; gguf.md, where the file names no other
KINDS = {0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 8: "Q8_0"}  # of those in ggml.h
BLOCK_BYTES = {"F32": 128, "F16": 64, "Q4_0": 18, "Q4_1": 20, "Q8_0": 34}  # of 32 weights
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}  # gguf.md, values
_LETTERS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))


def decoded(blocks: Bytes, kind: str) -> FloatArray:
    """The weights that bytes stand for, in order, shape (n,).

    blocks: whole blocks of 32 weights. kind: F32, F16, Q8_0, Q4_0 or Q4_1. Raises ValueError on
    another kind and on parts of blocks.

    >>> block = np.frombuffer(np.float16(0.5).tobytes() + bytes([0x9A] * 16), np.uint8)
    >>> decoded(block, "Q4_0")[[0, 16]].tolist()  # codes 10 and 9, less 8, times a half
    [1.0, 0.5]
    """
    raw, size = np.asarray(blocks), _block_bytes(kind)
    whole = raw.dtype == np.uint8 and raw.size > 0 and raw.size % size == 0
    whole = whole and not np.ma.is_masked(blocks)
    require(whole, "blocks", f"whole ones of {size} bytes", f"{raw.dtype} of {raw.size}")
    raw = raw.ravel()
    if kind in ("F32", "F16"):
        return raw.view(np.float32 if kind == "F32" else np.float16).astype(np.float32)
    rows = raw.reshape(-1, size)
    scale = np.ascontiguousarray(rows[:, :2]).view(np.float16).astype(np.float32)
    if kind == "Q8_0":
        return (np.ascontiguousarray(rows[:, 2:]).view(np.int8) * scale).ravel()
    packed = rows[:, -BLOCK // 2 :]
    codes = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
    if kind == "Q4_0":
        return ((codes - 8) * scale).ravel()
    least = np.ascontiguousarray(rows[:, 2:4]).view(np.float16).astype(np.float32)
    return (codes * scale + least).ravel()


def encoded(values: npt.ArrayLike, kind: str) -> Bytes:
    """The bytes of weights in a kind of blocks, as ggml rounds them.

    values: finite, a whole number of blocks of 32 in order. kind: F32, F16, Q8_0, Q4_0 or Q4_1.
    Raises ValueError on other input, and where a scale or number is beyond a half float.

    >>> encoded([1.0] + [0.5] * 31, "Q4_0")[:3].tolist()  # the scale −1/8, codes 0 and 4
    [0, 176, 64]
    """
    _block_bytes(kind)
    given = as_floats(values=values).ravel()
    whole = given.size > 0 and given.size % BLOCK == 0
    fits = whole and bool((np.abs(given) <= np.finfo(np.float32).max).all())
    require(fits, "values", f"finite floats, in whole blocks of {BLOCK}", given)
    x = given.astype(np.float32)
    if kind == "F32":
        return x.view(np.uint8)
    if kind == "F16":
        return _half(x).view(np.uint8)
    rows = x.reshape(-1, BLOCK)
    if kind == "Q8_0":
        scale = np.abs(rows).max(axis=1, keepdims=True) / np.float32(127)
        codes = rows * _inverse(scale)
        whole_codes = np.trunc(codes + np.copysign(np.float32(0.5), codes))  # roundf, away from 0
        return _joined(_half(scale), whole_codes.astype(np.int8).view(np.uint8))
    if kind == "Q4_0":
        most = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
        scale = most / np.float32(-8)
        codes = np.clip(np.trunc(rows * _inverse(scale) + np.float32(8.5)), 0, 15)
        return _joined(_half(scale), _nibbles(codes))
    least = rows.min(axis=1, keepdims=True)
    scale = (rows.max(axis=1, keepdims=True) - least) / np.float32(15)
    codes = np.clip(np.trunc((rows - least) * _inverse(scale) + np.float32(0.5)), 0, 15)
    return _joined(_half(scale), _half(least), _nibbles(codes))


def _block_bytes(kind: str) -> int:
    require(kind in BLOCK_BYTES, "kind", f"one of {', '.join(BLOCK_BYTES)}", kind)
    return BLOCK_BYTES[kind]


def _inverse(scale: FloatArray) -> FloatArray:
    """Inverse steps, 0 where a block holds nothing."""
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale != 0)


def _half(values: FloatArray) -> npt.NDArray[np.float16]:
    fits = bool((np.abs(values) < 65_520).all())
    require(fits, "values", "within a half float, with their scales", float(np.abs(values).max()))
    return values.astype(np.float16)


def _nibbles(codes: FloatArray) -> Bytes:
    """The first 16 codes of a block in the low halves, the others in the high ones."""
    whole = codes.astype(np.uint8)
    return np.asarray(whole[:, :16] | (whole[:, 16:] << 4))


def _joined(*parts: npt.NDArray[Any]) -> Bytes:
    rows = [np.ascontiguousarray(part).view(np.uint8).reshape(len(part), -1) for part in parts]
    return np.concatenate(rows, axis=1).ravel()


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file: its shape with the rows first, its kind, and its bytes."""

    shape: tuple[int, ...]
    kind: str
    raw: Bytes

    def values(self) -> FloatArray:
        """The numbers, in the shape."""
        return decoded(self.raw, self.kind).reshape(self.shape)


@dataclass(frozen=True)
class GgufFile:
    """What a file holds: its numbers and words by name, its tensors, and its head: how many
    numbers and words there are, and these, as bytes.

    Arrays, such as the tokens, are in the head alone.
    """

    facts: dict[str, int | float | bool | str]
    tensors: dict[str, Tensor]
    head: bytes


def read_gguf(path: Path) -> GgufFile:
    """The file at a path. Raises ValueError when it is none, or has blocks that are not read here.

    path: of the file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     size = Path(folder, "none").write_bytes(b"GGUF" + bytes([3, 0, 0, 0]) + bytes(16))
    ...     read_gguf(Path(folder, "none")).tensors  # neither facts nor tensors
    {}
    """
    raw = np.fromfile(path, dtype=np.uint8)
    whole = raw[: 1 << 23].tobytes()  # numbers, words and places stand before the weights
    require(whole[:8] == b"GGUF" + struct.pack("<I", 3), "path", "a GGUF file, version 3", path)
    count, pairs = struct.unpack_from("<QQ", whole, 8)
    facts: dict[str, int | float | bool | str] = {}
    at = 24
    for _ in range(pairs):
        name, at = _text(whole, at)
        (kind,) = struct.unpack_from("<I", whole, at)
        value, at = _value(whole, at + 4, kind)
        if value is not None:
            facts[name] = value
    head, places = whole[16:at], []
    for _ in range(count):
        name, at = _text(whole, at)
        (dimensions,) = struct.unpack_from("<I", whole, at)
        *shape, kind, offset = struct.unpack_from(f"<{dimensions}QIQ", whole, at + 4)
        at += 4 + 8 * dimensions + 12
        require(kind in KINDS, "path", f"a file of {', '.join(KINDS.values())}", f"kind {kind}")
        places.append((name, tuple(reversed(shape)), KINDS[kind], offset))
    begin, tensors = -(-at // ALIGNMENT) * ALIGNMENT, {}
    for name, rows_first, named, offset in places:
        size = math.prod(rows_first) * BLOCK_BYTES[named] // BLOCK
        data = raw[begin + offset : begin + offset + size]
        require(data.size == size, "path", "a whole file", path)
        tensors[name] = Tensor(rows_first, named, data)
    return GgufFile(facts, tensors, head)


def write_gguf(path: Path, source: GgufFile, tensors: dict[str, Tensor]) -> None:
    """Write a file with the numbers, words and tokenizer of another, and tensors of one's own.

    path: of the file, which is replaced. source: whose head it gets. tensors: by name; they need
    not be those of the source.

    >>> import tempfile
    >>> tensors = {"a": Tensor((1, 32), "F16", np.zeros(64, np.uint8))}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_gguf(Path(folder, "tiny"), GgufFile({}, {}, bytes(8)), tensors)
    ...     Path(folder, "tiny").stat().st_size  # 24 + 41 bytes of head, filled up to 96, and 64
    160
    """
    numbers = {name: number for number, name in KINDS.items()}
    places, offset = [], 0
    for name, tensor in tensors.items():
        word, shape = name.encode(), tuple(reversed(tensor.shape))
        places.append(
            struct.pack("<Q", len(word))
            + word
            + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, numbers[tensor.kind], offset)
        )
        offset += -(-tensor.raw.size // ALIGNMENT) * ALIGNMENT
    begin = struct.pack("<4sIQ", b"GGUF", 3, len(tensors)) + source.head + b"".join(places)
    with path.open("wb") as file:
        file.write(begin + bytes(-len(begin) % ALIGNMENT))
        for tensor in tensors.values():
            file.write(tensor.raw.tobytes() + bytes(-tensor.raw.size % ALIGNMENT))


def _text(raw: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from("<Q", raw, at)
    return raw[at + 8 : at + 8 + size].decode(), at + 8 + size


def _value(raw: bytes, at: int, kind: int) -> tuple[int | float | bool | str | None, int]:
    """A number or a word, or None for an array, and where the next begins."""
    if kind == 8:
        return _text(raw, at)
    if kind == 9:
        element, size = struct.unpack_from("<IQ", raw, at)
        at += 12
        if element in _SIZES:
            return None, at + size * _SIZES[element]
        for _ in range(size):
            (length,) = struct.unpack_from("<Q", raw, at)
            at += 8 + length
        return None, at
    (number,) = struct.unpack_from("<" + _LETTERS[kind], raw, at)
    return number, at + _SIZES[kind]


def check_blocks_by_hand() -> None:
    """A block holds its scale first, its codes in order, and four-bit codes 16 apart in a byte.

    Source: the structures of ggml-common.h, filled by hand.
    """
    half = np.array([0.5, -1.0], np.float16).tobytes()
    codes = bytes([0x10 * (15 - i) + i for i in range(16)])  # low 0 to 15, high 15 to 0
    for kind, block, ends in (
        ("Q4_0", half[:2] + codes, [-4.0, 3.5, 3.5, -4.0]),
        ("Q4_1", half + codes, [-1.0, 6.5, 6.5, -1.0]),
        (
            "Q8_0",
            half[:2] + bytes([0x80] + 14 * [0] + [1, 127] + 14 * [0] + [255]),
            [-64, 0.5, 63.5, -0.5],
        ),
    ):
        got = decoded(np.frombuffer(block, np.uint8), kind)[[0, 15, 16, 31]]
        checks.equal(f"{kind}: weights 1, 16, 17 and 32", got.tolist(), [float(x) for x in ends])


def check_rounding_of_blocks() -> None:
    """No weight is further from where it was than its block's step allows, and decoded blocks are
    encoded as they were.

    Source: half a step, with the error of scales in half precision; a whole step at the end of
    Q4_0, which has no code for the negative of its largest weight.
    """
    x = np.random.default_rng(1).standard_t(4, size=(200, 32)).astype(np.float32)
    largest = np.abs(x).max(axis=1, keepdims=True)
    ranges = x.max(axis=1, keepdims=True) - x.min(axis=1, keepdims=True)
    for kind, step, most in (
        ("Q8_0", largest / 127, 0.5),
        ("Q4_0", largest / 8, 1.0),
        ("Q4_1", ranges / 15, 0.5),
    ):
        raw = encoded(x, kind)
        back = decoded(raw, kind).reshape(x.shape)
        worst = float((np.abs(back - x) / step).max())
        checks.inside(f"{kind}: largest error [steps]", worst, 0.45, most + 0.07, kind="identity")
        checks.equal(f"{kind}: bytes", raw.size, 200 * BLOCK_BYTES[kind])
        again = decoded(encoded(back, kind), kind).reshape(x.shape)
        checks.close(f"{kind}: encoded again", again, back, atol=float(step.max()) / 100)


def check_bad_input_is_refused() -> None:
    """Parts of blocks, NaN, unknown kinds and scales beyond half precision are errors that name the
    argument.
    """
    checks.raises("a part", encoded, [1.0] * 31, "Q8_0", match="values must be finite floats, in")
    checks.raises("NaN", encoded, [np.nan] * 32, "Q8_0", match="values must be finite floats")
    checks.raises("unknown", encoded, [1.0] * 32, "Q2_K", match="kind must be one of F32, F16")
    checks.raises("huge", encoded, [1e9] * 32, "F16", match="values must be within a half float")
    part = np.zeros(17, np.uint8)
    checks.raises("half a block", decoded, part, "Q4_0", match="blocks must be whole ones of 18")
