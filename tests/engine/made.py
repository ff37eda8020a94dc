"""What is measured of an engine and a clock that a test made."""

from __future__ import annotations

import contextlib
import gc
import io
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from serving_mathematics.engine import (
    engine_measurement,
    language_measurement,
    llama_model,
    token_engine,
)
from serving_mathematics.engine.gguf_file import GgufFile, Tensor, encoded, read_gguf, write_gguf
from serving_mathematics.engine.measured_loads import NotQuiet
from serving_mathematics.engine.token_engine import TokenEngine

from ..clockwork import Clock
from .stand_in import FIRST, installed


@contextlib.contextmanager
def _quiet() -> Any:
    """What is said meanwhile; and collecting as it was before."""
    collecting = gc.isenabled()
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
    ):
        try:
            yield said
        finally:
            if collecting:
                gc.enable()


def _measured(folder: Path) -> dict[str, Any]:
    """The whole record of an engine, with short runs."""
    model = folder / "model.gguf"
    model.write_bytes(bytes(30))
    clock = Clock(busy=0.03125)
    with (
        installed(clock, token_engine, engine_measurement),
        mock.patch.object(token_engine, "model_path", return_value=model),
        mock.patch.object(engine_measurement, "provenance", lambda *given: {"made": given}),
        _quiet() as said,
    ):
        record = engine_measurement._measure(1, 1.0)
    return {**record, "said": said.getvalue()}


FORMATS = ("int4, per output", "int4, zero point, blocks of 32", "MXFP4 products", "bfloat16")


def _tiny(path: Path) -> None:
    """A model of two layers with random weights, in the blocks of the shipped file."""
    model = llama_model._random_llama(np.random.default_rng(3))
    tensors = {}
    for name, weights in model.weights.items():
        kind = "F32" if weights.ndim == 1 else "Q8_0" if name.startswith("token") else "Q4_1"
        tensors[name] = Tensor(weights.shape, kind, encoded(weights, kind))
    facts: dict[str, Any] = {
        "general.architecture": b"llama",
        "llama.block_count": 2,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 1e4,
    }
    head = struct.pack("<Q", len(facts))
    for key, value in facts.items():
        head += struct.pack("<Q", len(key)) + key.encode()
        if isinstance(value, bytes):
            head += struct.pack("<IQ", 8, len(value)) + value
        else:
            whole = isinstance(value, int)
            head += struct.pack("<II" if whole else "<If", 4 if whole else 6, value)
    write_gguf(path, GgufFile({}, {}, head), tensors)


def _text(model: Path) -> bytes:
    """Passages of which a model expects two tokens of three."""
    llama = llama_model.llama_of(read_gguf(model))
    tokens = np.random.default_rng(4).integers(0, 50, (3, 40))
    for place in range(1, 36):
        if place % 3:
            tokens[:, place] = llama_model.expectations(llama, tokens[:, : place + 1])[1][:, -1]
    return b"\n\n".join(row.tobytes() for row in (tokens + FIRST).astype(np.uint8))


def _language(folder: Path) -> dict[str, Any]:
    """What a tiny model loses in a few formats, and how long an engine takes for it, on machines
    that are busy, hardly, and not at all."""
    model, text = folder / "model.gguf", folder / "text.txt"
    _tiny(model)
    text.write_bytes(_text(model))
    clock = Clock(busy=0.25)
    told: dict[str, Any] = {}
    given = {"model_path": lambda: model, "TEXT": text, "PLACES": 33, "BLOCK": 16, "STEPS": 3}
    given["provenance"] = lambda *made: {"made": made}
    with (
        contextlib.ExitStack() as stack,
        installed(clock, token_engine, engine_measurement),
        _quiet() as said,
    ):
        for name, value in given.items():
            stack.enter_context(mock.patch.object(language_measurement, name, value))
        told["quality"] = language_measurement._measure_quality(2, FORMATS)

        told["passages"] = language_measurement._texts_of(TokenEngine(model=model), 5).tolist()
        for busy in (0.25, 0.05, 0.0):
            clock.busy = busy
            try:
                told[f"speed {busy}"] = language_measurement._measure_speed(2, 3)
            except NotQuiet as problem:
                told[f"speed {busy}"] = str(problem)
    return {**told, "said": said.getvalue()}


CASES: Mapping[str, Any] = {
    "engine.engine_measurement": _measured,
    "engine.language_measurement": _language,
}
