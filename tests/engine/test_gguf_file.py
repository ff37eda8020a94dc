"""Blocks against an encoder of another's making, and a file that comes back byte for byte."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.engine.gguf_file import (
    BLOCK_BYTES,
    GgufFile,
    Tensor,
    decoded,
    encoded,
    read_gguf,
    write_gguf,
)
from serving_mathematics.engine.token_engine import model_path

# Of the package gguf 0.19.0, quants.quantize of `blocks()`.
DIGESTS = {
    "Q8_0": "56977f51a87a177b9d6071e1f97deb12394539e7abd4973e50d6cc33ef7b38bc",
    "Q4_0": "0a228bcb1be39e95b01e517bd2874d33bfb41cbbc3df3bac649633b2d0169f65",
    "Q4_1": "8f471682541fd841ce684d2e4ff5fcdc31efe4a30ca9de8056efb2469b78d7d5",
}


def blocks() -> np.ndarray:
    """Sixty-four rows of heavy tails and all sizes, with a block of zeros."""
    rng = np.random.default_rng(0)
    x = rng.standard_t(4, size=(64, 320)) * np.exp(rng.normal(size=(64, 1)))
    x[3, :32] = 0
    return x.astype(np.float32)


@pytest.mark.parametrize("kind", DIGESTS)
def test_bytes_are_those_of_ggmls_own_package(kind: str) -> None:
    assert hashlib.sha256(encoded(blocks(), kind).tobytes()).hexdigest() == DIGESTS[kind]


@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=32, max_size=32),
    st.sampled_from(list(BLOCK_BYTES)),
)
def test_one_number_at_a_time(values: list[float], kind: str) -> None:
    got = decoded(encoded(values, kind), kind)
    scale = {
        "F32": 0.0,
        "F16": max(map(abs, values)) / 2048,
        "Q8_0": max(map(abs, values)) / 127,
        "Q4_0": max(map(abs, values)) / 8,
        "Q4_1": (max(values) - min(values)) / 15 + max(map(abs, values)) / 512,
    }[kind]
    for value, back in zip(values, got.tolist(), strict=True):
        assert abs(back - value) <= 1.07 * scale + 1e-5


def test_rounding_by_hand() -> None:
    values = [-8.0, 7.9, 0.49, 0.51] + [0.0] * 28
    assert decoded(encoded(values, "Q4_0"), "Q4_0")[:4].tolist() == [-8.0, 7.0, 0.0, 1.0]
    values = [-2.0, 13.0, 0.49, 0.51] + [0.0] * 28
    assert decoded(encoded(values, "Q4_1"), "Q4_1")[:4].tolist() == [-2.0, 13.0, 0.0, 1.0]
    values = [-127.0, 0.5, -0.5, 1.49] + [0.0] * 28
    assert decoded(encoded(values, "Q8_0"), "Q8_0")[:4].tolist() == [-127.0, 1.0, -1.0, 1.0]


def test_the_shipped_file_comes_back_byte_for_byte(tmp_path: Path) -> None:
    path = model_path()
    file = read_gguf(path)
    assert file.facts["general.license"] == "apache-2.0"
    tensors = {}
    for name, tensor in file.tensors.items():
        first = name.startswith("blk.0.")
        again = encoded(tensor.values(), tensor.kind) if first else tensor.raw
        tensors[name] = Tensor(tensor.shape, tensor.kind, again)
    write_gguf(tmp_path / "again", file, tensors)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 2, 0, 0))
    with pytest.raises(ValueError, match="path must be a GGUF file, version 3"):
        read_gguf(path)
    whole = GgufFile({}, {}, bytes(8))
    write_gguf(path, whole, {"a": Tensor((2, 32), "Q8_0", encoded(np.ones(64), "Q8_0"))})
    assert read_gguf(path).tensors["a"].values().shape == (2, 32)
    raw = path.read_bytes()
    path.write_bytes(raw[:-40])
    with pytest.raises(ValueError, match="path must be a whole file"):
        read_gguf(path)
    unknown = struct.pack("<IQ", 8, 0)
    path.write_bytes(raw.replace(unknown, struct.pack("<IQ", 12, 0)))
    with pytest.raises(ValueError, match="path must be a file of F32"):
        read_gguf(path)


def test_words_and_lists_of_them_are_read(tmp_path: Path) -> None:
    def text(word: bytes) -> bytes:
        return struct.pack("<Q", len(word)) + word

    pairs = [
        (b"d", struct.pack("<I", 8) + text(b"word")),
        (b"e", struct.pack("<IIQ", 9, 8, 2) + text(b"x") + text(b"yz")),
        (b"g", struct.pack("<Iq", 11, -3)),
    ]
    head = struct.pack("<Q", len(pairs)) + b"".join(text(name) + value for name, value in pairs)
    write_gguf(tmp_path / "file", GgufFile({}, {}, head), {})
    found = read_gguf(tmp_path / "file")
    assert found.facts == {"d": "word", "g": -3}
    assert found.head == head


@pytest.mark.parametrize(
    ("kind", "letter", "number"),
    [
        *((0, "B", 200), (1, "b", -100), (2, "H", 60_000), (3, "h", -30_000), (4, "I", 1 << 31)),
        *((5, "i", -(1 << 30)), (6, "f", 0.5), (7, "?", True), (10, "Q", 1 << 63)),
        *((11, "q", -(1 << 62)), (12, "d", 0.1)),
    ],
)
def test_a_number_of_each_kind_and_an_array_of_them(
    kind: int, letter: str, number: float, tmp_path: Path
) -> None:
    """As docs/gguf.md numbers them, each of its own size."""
    name = struct.pack("<Q", 1)
    value = struct.pack(f"<I{letter}", kind, number)
    array = struct.pack(f"<IIQ3{letter}", 9, kind, 3, number, number, number)
    head = struct.pack("<Q", 3) + name + b"a" + array + name + b"b" + value + name + b"c" + value
    write_gguf(tmp_path / "file", GgufFile({}, {}, head), {})
    assert read_gguf(tmp_path / "file").facts == {"b": number, "c": number}


def test_bytes_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match="blocks must be whole ones of 34 bytes, got int64 of 34"):
        decoded(np.zeros(34, np.int64), "Q8_0")  # type: ignore[arg-type]
