"""What is measured of models that a test computes, by a clock that it moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from onnx import numpy_helper
from serving_mathematics.core.classifiers import onnx_latency_measurement as latency

from ..clockwork import Clock, loops_of


def _made(*given: Any) -> dict[str, Any]:
    return {"made": given, "machine": {}}


def _graph(model: Any) -> dict[str, Any]:
    """What a model is made of."""
    nodes = [
        f"{node.op_type} {list(node.input)} {list(node.output)}"
        f" {sorted((a.name, a.i) for a in node.attribute)}"
        for node in model.graph.node
    ]
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    return {
        "nodes": nodes,
        "tensors": {name: [*array.shape, array.ravel()] for name, array in tensors.items()},
        "ends": [str(end.type) for end in (*model.graph.input, *model.graph.output)],
        "versions": [model.ir_version, *((s.domain, s.version) for s in model.opset_import)],
    }


def _computing(clock: Clock) -> Callable[[Any], Callable[[Any], Any]]:
    """A function in the place of `runner`: answers that differ from model to model, in the time
    that a formula gives."""

    def runner(model: Any) -> Callable[[Any], Any]:
        size = len(model.SerializeToString())
        held = [np.abs(numpy_helper.to_array(one)).sum() for one in model.graph.initializer]
        width = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value

        def run(x: Any) -> Any:
            clock.work(1e-4 + 1e-8 * size + 1e-5 * len(x) + 1e-6 * (clock.looks % 5))
            clock.looks += 1
            places = np.arange(width) * (1 + sum(map(float, held)) % 13)
            return np.cos(x.sum(axis=1, keepdims=True) * 9 + places).astype(np.float32)

        return run

    return runner


def _latency(_: Path) -> dict[str, Any]:
    """The whole record of a small model, and the model."""
    clock = Clock()

    def in_turn(rows: Callable[[list[Any]], list[Any]]) -> Callable[[list[Any]], Any]:
        async def served(batch: list[Any]) -> list[Any]:
            before = clock.now
            found = rows(batch)
            took, clock.now = clock.now - before, before
            await asyncio.sleep(took)
            return found

        return served

    with (
        loops_of(clock),
        mock.patch.multiple(
            latency,
            time=clock,
            provenance=_made,
            runner=_computing(clock),
            in_thread=in_turn,
            WIDTHS=(6, 5, 4, 3),
            BATCHES=(1, 2, 4),
            ROUNDS=3,
            CALLERS=5,
            LIMITS=(1, 3),
            SERVED_S=0.01,
        ),
    ):
        record = latency._measure()
    return record | {"model": _graph(latency.perceptron((6, 5, 4, 3), np.random.default_rng(2)))}


CASES: Mapping[str, Any] = {
    "core.classifiers.onnx_latency_measurement": _latency,
}
