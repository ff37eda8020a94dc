"""What is measured of servers and a clock that a test made."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
from serving_mathematics.architecture.rest_grpc import wire_measurement

from ..clockwork import Clock


def _made(*given: Any) -> dict[str, Any]:
    return {"made": given}


def _wire(_: Path) -> dict[str, Any]:
    """The whole record of encodings, of a server that answers in its own process."""
    clock = Clock(tick=1e-4)
    weights = np.random.default_rng(1).integers(-8, 4, (64, 10)) / 8

    def logits(pixels: Any) -> Any:
        return np.asarray(pixels) @ weights

    def taking(call: Callable[..., Any], seconds: float) -> Callable[..., Any]:
        def called(*given: Any, **options: Any) -> Any:
            clock.work(seconds)
            return call(*given, **options)

        return called

    @contextlib.contextmanager
    def caller(port: int, encoding: str) -> Iterator[Callable[[bytes], bytes]]:
        parts = wire_measurement._parts(images[:1], encoding, logits)
        read, write = (parts[f"server_{name}"].func for name in ("decodes", "encodes"))

        @functools.cache
        def answered(body: bytes) -> bytes:
            found = read(body)
            scores = logits(found if isinstance(found, np.ndarray) else found[0])
            scores[::7] += 1  # some are wrong
            return bytes(write(scores.astype(np.float32)))

        def call(body: bytes) -> bytes:
            clock.now += 0.01 + 1e-7 * len(body) + 1e-4 * port
            return answered(body)

        yield call

    @contextlib.contextmanager
    def running() -> Iterator[dict[str, wire_measurement._Server]]:
        yield {name: wire_measurement._Server(n, 0) for n, name in enumerate(("rest", "grpc"), 1)}

    images = wire_measurement.load_digits().test.pixels.astype(np.float32)
    with mock.patch.multiple(
        wire_measurement,
        time=clock,
        provenance=_made,
        _servers=running,
        _caller=caller,
        trained_classifier=lambda: SimpleNamespace(logits=logits),
        json=SimpleNamespace(loads=taking(json.loads, 1e-3), dumps=taking(json.dumps, 2e-3)),
        from_json=taking(wire_measurement.from_json, 3e-3),
        to_json=taking(wire_measurement.to_json, 4e-3),
        ROUNDS=1,
        CALLS=2,
    ):
        return wire_measurement._measure()


CASES: Mapping[str, Any] = {
    "architecture.rest_grpc.wire_measurement": _wire,
}
