"""What is measured of an engine and a clock that a test made."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import struct
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import httpx
import numpy as np
from serving_mathematics.engine import (
    engine_measurement,
    engine_server,
    language_measurement,
    llama_model,
    token_engine,
)
from serving_mathematics.engine.engine_process import EngineError, Part, Question
from serving_mathematics.engine.gguf_file import GgufFile, Tensor, encoded, read_gguf, write_gguf
from serving_mathematics.engine.measured_loads import NotQuiet
from serving_mathematics.engine.token_engine import TokenEngine

from ..clockwork import Clock, loops_of
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
        mock.patch.object(engine_measurement, "_memory", lambda *given: {"of": given}),
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
    given["DECIMALS"] = 9  # a last digit of five is of the size of what sums in another order make
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


class Engine:
    """Stands in for `EngineProcess`: answers a word in each part, or says why it does not."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.state, self.silent_s = clock, "ready", 0.0
        self.metrics: dict[str, float] = {"running": 2, "steps": 7}
        self.closed, self.restarts = "", 1

    def require_place(self) -> None:
        if self.closed:
            raise EngineError(self.closed, f"it is {self.closed}")  # type: ignore[arg-type]

    async def ask(self, question: Question) -> AsyncIterator[Part | int]:
        prompt = question.prompt
        words = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
        first, *rest = words.split()
        await asyncio.sleep(0.25)
        if first in ("invalid", "full", "late", "failed", "closing"):
            raise EngineError(first, f"it is {first}")  # type: ignore[arg-type]
        yield len(words)
        for place, word in enumerate(rest):
            await asyncio.sleep(0.5)
            if word == "breaks":
                raise EngineError("late", "too late")
            text = "" if word == "nothing" else f"{word} "
            last = place == len(rest) - 1
            yield Part(text, (place,) * (1 + place % 2), "length" if last else "")


ASKED: list[tuple[str, Any]] = [
    ("completions", {"prompt": "say one nothing two"}),
    ("completions", {"prompt": "say one nothing two", "stream": True}),
    (
        "completions",
        {
            "prompt": "say one two nothing three",
            "stream": True,
            "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        },
    ),
    (
        "completions",
        {"prompt": "say one", "stream": True, "stream_options": {"include_usage": True}},
    ),
    ("completions", {"prompt": "say one breaks", "stream": True}),
    ("completions", {"prompt": "say one breaks"}),
    ("chat/completions", {"messages": [{"role": "user", "content": "one"}]}),
    ("chat/completions", {"messages": [{"role": "user", "content": "one"}], "stream": True}),
    *(("completions", {"prompt": f"{why} x"}) for why in ("invalid", "full", "late", "failed")),
    *(("completions", {"prompt": f"{why} x", "stream": True}) for why in ("closing", "full")),
    ("completions", {"prompt": ""}),
    ("chat/completions", {"messages": []}),
    ("nothing", {}),
]


def _served(_: Path) -> dict[str, Any]:
    """What a server answers to requests of every kind, and what it counts."""
    clock = Clock()
    engine: Any = Engine(clock)
    told: dict[str, Any] = {}

    async def ask(http: httpx.AsyncClient) -> None:
        for number, (path, body) in enumerate(ASKED):
            answer = await http.post(f"/v1/{path}", json=body)
            kept = ("content-type", "retry-after", "cache-control")
            heads = {name: answer.headers[name] for name in kept if name in answer.headers}
            said = answer.text if body.get("stream") else answer.json()
            told[f"{number} {path}"] = [answer.status_code, heads, said]
        for engine.closed in ("full", "closing", "failed"):
            answer = await http.post("/v1/completions", json={})
            told[f"{engine.closed} before"] = [answer.status_code, answer.json()]
        for engine.state, engine.silent_s in (("ready", 2.0), ("ready", 2.5), ("failed", 0.0)):
            answer = await http.get("/health")
            name = f"health {engine.state} {engine.silent_s}"
            told[name] = [answer.status_code, answer.json()]
        told["models"] = (await http.get("/v1/models")).json()
        lines = (await http.get("/metrics")).text.split("\n")
        told["metrics"] = "\n".join(line for line in lines if "_created" not in line)

    async def main() -> None:
        app = engine_server.create_app(engine, engine_server.ServerLimits(silent_s=2.0))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as http:
            await ask(http)

    with (
        loops_of(clock),
        mock.patch.object(engine_server, "time", clock),
        mock.patch.object(engine_server.secrets, "token_hex", return_value="7"),
        mock.patch.object(engine_server.secrets, "randbelow", side_effect=lambda most: most),
    ):
        asyncio.run(main())
    return told


CASES: Mapping[str, Any] = {
    "engine.engine_measurement": _measured,
    "engine.language_measurement": _language,
    "engine.engine_server": _served,
}
