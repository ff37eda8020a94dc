"""How long batches of a real ONNX model take on a CPU, and what a dynamic batcher makes of it.

A perceptron with three layers and seeded weights is built with the ONNX helpers and run by ONNX
Runtime on one thread, in rounds over all batch sizes in a new random order each, so that a slow
moment of the machine hits all sizes. Then callers who send their next request when they have an
answer drive the dynamic batcher with batches of one and with larger ones. `python -m
serving_mathematics.core.classifiers.onnx_latency_measurement` takes less than 20 s and writes the
record that the page shows, records/onnx_batch_latency.json.

Assumes: nothing of the machine; the milliseconds hold for the machine that the record names.

Source: measurement; ONNX IR and operators Gemm and Relu; ONNX Runtime's Python API.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving_mathematics.core.batching.dynamic_batcher import DynamicBatcher, in_thread
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, write_record
from serving_mathematics.support.require import as_number, require, require_in
from serving_mathematics.support.telemetry import switch_off_telemetry

RECORD = "onnx_batch_latency"
COMMAND = "python -m serving_mathematics.core.classifiers.onnx_latency_measurement"
WIDTHS = (256, 4096, 2048, 10)  # inputs, two hidden layers, outputs
BATCHES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)
ROUNDS = 60  # each runs every batch size once
CALLERS = 128  # of the batcher, each with one request inside
LIMITS = (1, 2, 4, 8, 16, 32, 64)  # largest batches that the batcher is driven with
SERVED_S = 1.5  # with each of them [s]

FloatArray = npt.NDArray[np.float32]


def perceptron(widths: tuple[int, ...], rng: np.random.Generator) -> onnx.ModelProto:
    """An ONNX model of fully connected layers with rectifiers between them and random weights.

    widths: sizes of the input, the hidden layers and the output, at least two positive integers.
    Takes a float32 tensor `x` of shape (batch, inputs), for any batch, and returns `y` of shape
    (batch, outputs). Raises ValueError on other widths.

    >>> model = perceptron((4, 3, 2), np.random.default_rng(0))
    >>> [node.op_type for node in model.graph.node]
    ['Gemm', 'Relu', 'Gemm']
    """
    sizes = len(widths) >= 2 and all(isinstance(width, int) and width >= 1 for width in widths)
    require(sizes, "widths", "two or more positive integers", widths)
    nodes, weights, name = [], [], "x"
    last = len(widths) - 2
    for layer, (rows, columns) in enumerate(itertools.pairwise(widths)):
        matrix = rng.normal(0, (2 / rows) ** 0.5, (rows, columns)).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        weights.append(numpy_helper.from_array(np.zeros(columns, np.float32), f"b{layer}"))
        output = "y" if layer == last else f"h{layer}"
        nodes.append(helper.make_node("Gemm", [name, f"w{layer}", f"b{layer}"], [output]))
        if layer < last:
            nodes.append(helper.make_node("Relu", [output], [f"r{layer}"]))
            name = f"r{layer}"
    graph = helper.make_graph(
        nodes,
        "perceptron",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", widths[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", widths[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8  # old enough for every runtime that knows the operators
    onnx.checker.check_model(model)
    return model


def runner(model: onnx.ModelProto) -> Callable[[FloatArray], FloatArray]:
    """A function that runs a model with input `x` and output `y` on one CPU thread.

    model: as `perceptron` makes it.

    >>> x, y = (onnx.helper.make_tensor_value_info(name, 1, ["batch", 3]) for name in "xy")
    >>> node = onnx.helper.make_node("Relu", ["x"], ["y"])
    >>> graph, opset = onnx.helper.make_graph([node], "relu", [x], [y]), onnx.OperatorSetIdProto
    >>> model = onnx.helper.make_model(graph, opset_imports=[opset(version=17)], ir_version=8)
    >>> runner(model)(np.array([[-1, 0, 2]], np.float32)).tolist()
    [[0.0, 0.0, 2.0]]
    """
    switch_off_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(x: FloatArray) -> FloatArray:
        return np.asarray(session.run(["y"], {"x": x})[0], dtype=np.float32)

    return run


def batch_times_ms(
    run: Callable[[FloatArray], FloatArray],
    width: int,
    batches: tuple[int, ...],
    rounds: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Wall time [ms] of every batch size in every round, shape (rounds, sizes).

    run: function of an array (batch, width). batches: sizes. rounds: repetitions, each in a new
    random order, after one that is not counted. Raises ValueError on sizes or rounds below 1.
    """
    rounds = as_number(rounds=rounds)
    require(len(batches) > 0 and min(batches) >= 1, "batches", "positive integers", batches)
    require(rounds >= 1, "rounds", "a positive integer", rounds)
    inputs = [rng.normal(size=(batch, width)).astype(np.float32) for batch in batches]
    times = np.zeros((rounds + 1, len(batches)))
    for row in times:
        for place in rng.permutation(len(batches)):
            started = time.perf_counter()
            run(inputs[place])
            row[place] = 1000 * (time.perf_counter() - started)
    return times[1:]


async def drive_callers(
    submit: Callable[[FloatArray], Awaitable[FloatArray]], items: FloatArray, seconds: float
) -> list[float]:
    """Latencies [s] of a closed loop: as many callers as items, each of which submits its item
    again when it has an answer.

    submit: coroutine function from an item to its answer. items: one for each caller, shape
    (callers, …). seconds: for how long they begin anew, in (0, 60). Raises ValueError outside these
    ranges.
    """
    require(len(items) >= 1, "items", "one or more", items)
    seconds = require_in("(0, 60)", seconds=seconds)
    loop = asyncio.get_running_loop()
    stop = loop.time() + seconds
    latencies: list[float] = []

    async def call(item: FloatArray) -> None:
        while (started := loop.time()) < stop:
            await submit(item)
            latencies.append(loop.time() - started)

    await asyncio.gather(*(call(item) for item in items))
    return latencies


async def _serve(
    run: Callable[[FloatArray], FloatArray], items: FloatArray, largest: int, seconds: float
) -> dict[str, Any]:
    """Drive a dynamic batcher in front of a model, and count."""

    def rows(batch: list[FloatArray]) -> list[FloatArray]:
        return list(run(np.stack(batch)))

    started = time.perf_counter()
    async with DynamicBatcher(in_thread(rows), largest) as batcher:
        latencies = await drive_callers(batcher.submit, items, seconds)
    return {
        "largest": largest,
        "requests": len(latencies),
        "batches": batcher.counts["batches"],
        "accepted": batcher.counts["accepted"],
        "answered": batcher.counts["answered"],
        "per_s": round(len(latencies) / (time.perf_counter() - started), 1),
        "p50_p99_ms": np.quantile(1000 * np.array(latencies), [0.5, 0.99]).round(3).tolist(),
    }


def _measure() -> dict[str, Any]:
    """Time the model, drive the batcher, and return the record."""
    rng = np.random.default_rng(16)
    run = runner(perceptron(WIDTHS, rng))
    times = batch_times_ms(run, WIDTHS[0], BATCHES, ROUNDS, rng)
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75], axis=0).round(4)
    items = rng.normal(size=(CALLERS, WIDTHS[0])).astype(np.float32)
    served = [asyncio.run(_serve(run, items, limit, SERVED_S)) for limit in LIMITS]
    return {
        **provenance(COMMAND, ("numpy", "onnx", "onnxruntime")),
        "asked": {"widths": WIDTHS, "threads": 1, "rounds": ROUNDS, "callers": CALLERS},
        "batches": [
            {"batch": size, "median_ms": middle, "quartiles_ms": [first, third]}
            for size, middle, first, third in zip(
                BATCHES, median.tolist(), low.tolist(), high.tolist(), strict=True
            )
        ],
        "batcher": served,
    }


def check_model_computes_what_it_says() -> None:
    """ONNX Runtime computes matrix products and rectifiers, and the same for a row in any batch.

    Source: the same layers in numpy, in double precision.
    """
    model = perceptron((6, 5, 3), np.random.default_rng(1))
    weights = [numpy_helper.to_array(tensor) for tensor in model.graph.initializer]
    x = np.random.default_rng(2).normal(size=(7, 6)).astype(np.float32)
    hidden = np.maximum(x.astype(float) @ weights[0] + weights[1], 0)
    run = runner(model)
    checks.close("outputs", run(x), hidden @ weights[2] + weights[3], atol=1e-5)
    checks.close("third row alone", run(x[2:3])[0], run(x)[2], atol=1e-6)


def check_bad_input_is_refused() -> None:
    """Layers without neurons and measurements without rounds name the argument."""
    rng = np.random.default_rng(0)
    checks.raises("one layer", perceptron, (3,), rng, match="widths must be two or more")
    run = runner(perceptron((2, 1), rng))
    checks.raises("no rounds", batch_times_ms, run, 2, (1,), 0, rng, match="rounds must be")


if __name__ == "__main__":
    print(f"wrote {write_record(RECORD, _measure()).name}")
