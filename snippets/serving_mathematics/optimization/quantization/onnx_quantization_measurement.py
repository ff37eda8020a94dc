"""What ONNX Runtime makes of a model in eight and in four bits: bytes, answers and time.

The digit reader and a perceptron of 6.3 million random weights are built as ONNX models, quantized
by ONNX Runtime's own tools to eight bits (ranges of activations found in each call, or calibrated
before), and written with weights of four bits for the operator MatMulNBits. All run on one thread,
in alternating rounds. `python -m
serving_mathematics.optimization.quantization.onnx_quantization_measurement` takes about 10 s and
writes the record that the page shows, records/onnx_quantization.json.

Assumes: nothing of the machine; the milliseconds hold for the machine that the record names.

Source: measurement; onnxruntime.quantization; operator MatMulNBits of ONNX Runtime's contributed
operators.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from serving_mathematics.core.classifiers.digits_classifier import (
    Images,
    cross_entropy_gradient,
    load_digits,
    train_classifier,
)
from serving_mathematics.core.classifiers.onnx_latency_measurement import (
    batch_times_ms,
    perceptron,
    runner,
)
from serving_mathematics.optimization.quantization.bits_and_noise import packed_nibbles, sqnr_db
from serving_mathematics.optimization.quantization.quantization import (
    Quantized,
    integer_product,
    quantize,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, write_record
from serving_mathematics.support.require import require
from serving_mathematics.support.telemetry import switch_off_telemetry

NAME = "onnx_quantization"  # of the record
COMMAND = "python -m serving_mathematics.optimization.quantization.onnx_quantization_measurement"
HIDDEN = 64  # units of the digit reader
WIDTHS = (512, 2048, 2048, 512)  # of the large perceptron
GROUP = 32  # inputs that share a scale in four bits
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
REPEATS, ROUNDS = 8, 5  # alternations between models, and rounds in each
INT8_COMPUTE = 4  # MatMulNBits: activations rounded to eight bits for the product

FloatArray = npt.NDArray[np.float32]


class _Calibration:
    """Hands one batch of inputs to the calibration."""

    def __init__(self, x: FloatArray) -> None:
        self._batches = iter([{"x": x}])

    def get_next(self) -> dict[str, FloatArray] | None:
        """The next batch, or None at the end."""
        return next(self._batches, None)


def with_weights(
    model: onnx.ModelProto,
    layers: tuple[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]], ...],
) -> onnx.ModelProto:
    """A copy of a perceptron with the weights and biases of a trained one, in single precision.

    model: whose initializers are weights (inputs, outputs) and bias (outputs,) of each layer in
    turn. layers: new ones, of the same shapes. Raises ValueError on other shapes.

    >>> graph = "g (float[n, 1] x) => (float[n, 1] y) <float[1, 1] w0 = {1}, float[1] b0 = {0}>"
    >>> text = f'<ir_version: 8, opset_import: ["": 17]> {graph} {{ y = Gemm(x, w0, b0) }}'
    >>> model = with_weights(onnx.parser.parse_model(text), ((np.array([[2.0]]), np.array([3.0])),))
    >>> [float(numpy_helper.to_array(tensor).item()) for tensor in model.graph.initializer]
    [2.0, 3.0]
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    values = [value for layer in layers for value in layer]
    wanted = [tuple(tensor.dims) for tensor in copy.graph.initializer]
    require([value.shape for value in values] == wanted, "layers", f"of shapes {wanted}", layers)
    for tensor, value in zip(copy.graph.initializer, values, strict=True):
        tensor.CopyFrom(numpy_helper.from_array(value.astype(np.float32), tensor.name))
    return copy


def int8_model(model: onnx.ModelProto, calibration: FloatArray | None = None) -> onnx.ModelProto:
    """The model in eight bits, quantized by ONNX Runtime.

    model: with input `x`, not changed. calibration: inputs, shape (n, width), from which the range
    of every activation is taken once, with a scale per unit for the weights; None: ranges are found
    in every call, and a layer's weights share a scale. Raises ValueError on an empty calibration.

    >>> graph = "g (float[n, 1] x) => (float[n, 1] y) <float[1, 1] w0 = {1}, float[1] b0 = {0}>"
    >>> text = f'<ir_version: 8, opset_import: ["": 17]> {graph} {{ y = Gemm(x, w0, b0) }}'
    >>> int8_model(onnx.parser.parse_model(text)).graph.node[0].op_type
    'DynamicQuantizeLinear'
    """
    require(calibration is None or len(calibration) > 0, "calibration", "rows", calibration)
    switch_off_telemetry()
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)  # it asks for a step that changes nothing here
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "int8.onnx"
            if calibration is None:
                quantize_dynamic(copy, path, weight_type=QuantType.QInt8)
            else:
                quantize_static(copy, path, _Calibration(calibration), per_channel=True)
            return onnx.load(path)
    finally:
        logging.getLogger().setLevel(level)


def int4_model(model: onnx.ModelProto, group: int = GROUP) -> onnx.ModelProto:
    """The model with weights of four bits and a scale for each group of inputs of a unit.

    model: as `perceptron` makes it, not changed. group: inputs that share a scale, a power of two
    from 16 that divides the inputs of every layer. Activations are rounded to eight bits in the
    product. Raises ValueError on other groups.

    >>> ones = ", ".join(["1"] * 16)
    >>> held = f"<float[16, 1] w0 = {{{ones}}}, float[1] b0 = {{0}}>"
    >>> graph = f"g (float[n, 16] x) => (float[n, 1] y) {held} {{ y = Gemm(x, w0, b0) }}"
    >>> text = f'<ir_version: 8, opset_import: ["": 17]> {graph}'
    >>> model = int4_model(onnx.parser.parse_model(text), group=16)
    >>> numpy_helper.to_array(model.graph.initializer[0]).tolist()  # 15 twice in a byte: 7 + 8
    [[[255, 255, 255, 255, 255, 255, 255, 255]]]
    """
    require(group in (16, 32, 64, 128, 256), "group", "a power of two, 16 to 256", group)
    group = int(group)
    given = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes, kept = [], []
    for node in model.graph.node:
        if node.op_type != "Gemm":
            nodes.append(node)
            continue
        source, name, bias = node.input
        weights = numpy_helper.to_array(given[name]).astype(float)
        inputs, outputs = weights.shape
        require(inputs % group == 0, "group", f"a divisor of {inputs}", group)
        blocks = weights.T.reshape(outputs, inputs // group, group)
        scale = np.abs(blocks).max(axis=2, keepdims=True) / 7
        codes = np.rint(blocks / np.where(scale > 0, scale, 1.0)).astype(int) + 8  # 8 is 0
        packed = (codes[..., 0::2] | (codes[..., 1::2] << 4)).astype(np.uint8)
        kept += [
            numpy_helper.from_array(packed, name),
            numpy_helper.from_array(scale.astype(np.float32).ravel(), f"{name}_scales"),
            given[bias],
        ]
        product = helper.make_node(
            "MatMulNBits",
            [source, name, f"{name}_scales"],
            [f"{name}_product"],
            domain="com.microsoft",
            K=inputs,
            N=outputs,
            bits=4,
            block_size=group,
            accuracy_level=INT8_COMPUTE,
        )
        nodes += [product, helper.make_node("Add", [f"{name}_product", bias], list(node.output))]
    graph = helper.make_graph(nodes, "int4", model.graph.input, model.graph.output, kept)
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=sets, ir_version=model.ir_version)


def _bytes(model: onnx.ModelProto) -> int:
    """Bytes of the model's file."""
    return len(model.SerializeToString())


def _versions_of(model: onnx.ModelProto, calibration: FloatArray) -> dict[str, onnx.ModelProto]:
    """The model and its three quantized versions."""
    return {
        "float32": model,
        "int8, ranges found": int8_model(model),
        "int8, calibrated": int8_model(model, calibration),
        "int4 weights": int4_model(model),
    }


def _times(models: dict[str, onnx.ModelProto], batches: tuple[int, ...]) -> dict[str, Any]:
    """Quartiles of the wall time of every model and batch, models taking turns."""
    rng = np.random.default_rng(18)
    runs = {name: runner(model) for name, model in models.items()}
    width = models["float32"].graph.input[0].type.tensor_type.shape.dim[1].dim_value
    seen: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in models}
    for _ in range(REPEATS):
        for name, run in runs.items():
            seen[name].append(batch_times_ms(run, width, batches, ROUNDS, rng))
    found = {}
    for name, parts in seen.items():
        low, middle, high = np.quantile(np.vstack(parts), [0.25, 0.5, 0.75], axis=0).round(5)
        found[name] = [
            {"batch": batch, "median_ms": m, "quartiles_ms": [a, b]}
            for batch, m, a, b in zip(
                batches, middle.tolist(), low.tolist(), high.tolist(), strict=True
            )
        ]
    return found


def _digits() -> list[dict[str, Any]]:
    """Answers, bytes and times of the digit reader."""
    digits = load_digits()
    gradient = cross_entropy_gradient(digits.train.labels)
    reader = train_classifier(digits.train.pixels, gradient, HIDDEN, np.random.default_rng(1))
    parts: tuple[Images, ...] = (digits.validation, digits.test)
    pixels = np.vstack([part.pixels for part in parts]).astype(np.float32)
    labels = np.concatenate([part.labels for part in parts])
    model = with_weights(perceptron((64, HIDDEN, 10), np.random.default_rng(0)), reader.layers)
    models = _versions_of(model, digits.train.pixels.astype(np.float32))
    times, rows = _times(models, (1,)), []
    original = runner(models["float32"])(pixels).argmax(axis=1)
    for name, model in models.items():
        answers = runner(model)(pixels).argmax(axis=1)
        rows.append(
            {
                "model": name,
                "bytes": _bytes(model),
                "images": len(labels),
                "right": int((answers == labels).sum()),
                "lost": int(((original == labels) & (answers != labels)).sum()),
                "gained": int(((original != labels) & (answers == labels)).sum()),
                "different": int((answers != original).sum()),
                "times": times[name],
            }
        )
    return rows


def _perceptron() -> list[dict[str, Any]]:
    """Error, bytes and times of the large perceptron."""
    rng = np.random.default_rng(19)
    x = rng.normal(size=(256, WIDTHS[0])).astype(np.float32)
    models = _versions_of(perceptron(WIDTHS, rng), x[:128])
    times = _times(models, BATCHES)
    outputs = {name: runner(model)(x[128:]) for name, model in models.items()}
    return [
        {
            "model": name,
            "bytes": _bytes(model),
            "sqnr_db": None
            if name == "float32"
            else round(sqnr_db(outputs["float32"], outputs[name]), 3),
            "times": times[name],
        }
        for name, model in models.items()
    ]


def _int8_instructions() -> list[str]:
    """Names of the processor's instructions for products of eight-bit numbers, where it tells."""
    path = Path("/proc/cpuinfo")
    flags = path.read_text(encoding="utf-8").split() if path.exists() else []
    return sorted({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"} & set(flags))


def _measure() -> dict[str, Any]:
    """Build, quantize and time the models, and return the record."""
    record = provenance(COMMAND, ("numpy", "onnx", "onnxruntime"))
    record["machine"]["int8_instructions"] = _int8_instructions()
    record["asked"] = {
        "widths": WIDTHS,
        "threads": 1,
        "rounds": REPEATS * ROUNDS,
        "group": GROUP,
    }
    return record | {"digits": _digits(), "perceptron": _perceptron()}


def check_int8_is_the_arithmetic_of_the_chapter() -> None:
    """ONNX Runtime's eight-bit product is the sum of codes with zero points, scaled once.

    Source: the codes and scales in its own model, multiplied by `integer_product`, with activations
    quantized by `quantize`; one layer of 24 inputs and 16 units.
    """
    rng = np.random.default_rng(7)
    model = perceptron((24, 16), rng)
    tensors = {t.name: numpy_helper.to_array(t) for t in int8_model(model).graph.initializer}
    codes = tensors["w0_quantized"].astype(np.int64)
    scale, zero = (np.reshape(tensors[f"w0_{name}"], (1, 1)) for name in ("scale", "zero_point"))
    x = rng.normal(1, 1, (5, 24)).astype(np.float32)
    right = Quantized(codes, scale.astype(float), zero.astype(np.int64))
    expected = integer_product(quantize(x, 8, symmetric=False), right)
    checks.close("outputs", runner(int8_model(model))(x), expected, atol=1e-5)
    ours = quantize(numpy_helper.to_array(model.graph.initializer[0]), 8)
    checks.inside("codes that differ from ours", float(np.mean(ours.codes != codes)), 0, 0.5)


def check_a_batch_shares_its_range() -> None:
    """With ranges found in every call, an answer depends on the other rows of its batch.

    Source: the model in single precision; a row alone, and beside one that is 50 times larger.
    """
    model = perceptron((256, 32), np.random.default_rng(3))
    rows = np.random.default_rng(9).normal(size=(2, 256)).astype(np.float32)
    rows[1] *= 50
    exact, run = runner(model)(rows)[0], runner(int8_model(model))
    checks.inside("alone [dB]", sqnr_db(exact, run(rows[:1])[0]), 30.0, 60.0)
    checks.inside("beside a large row [dB]", sqnr_db(exact, run(rows)[0]), 0.0, 15.0)


def check_int4_is_read_as_written() -> None:
    """MatMulNBits reads packed codes and scales as they were written.

    Source: the same weights rounded in numpy, multiplied in floating point; activations are rounded
    to eight bits in between.
    """
    rng = np.random.default_rng(8)
    model = perceptron((64, 32), rng)
    weights = numpy_helper.to_array(model.graph.initializer[0]).astype(float)
    blocks = quantize(weights.T.reshape(32, 4, 16), 4, axis=2)
    rounded = blocks.values().reshape(32, 64).T
    written = numpy_helper.to_array(int4_model(model, group=16).graph.initializer[0])
    checks.equal("packed codes", int((written != packed_nibbles(blocks.codes + 8)).sum()), 0)
    x = rng.normal(size=(6, 64)).astype(np.float32)
    got = runner(int4_model(model, group=16))(x)
    ratio = sqnr_db(x.astype(float) @ rounded, got)
    checks.inside("outputs against the rounded weights [dB]", ratio, 36.0, 60.0)
    checks.inside("against the weights [dB]", sqnr_db(x.astype(float) @ weights, got), 18.0, 26.0)


def check_bad_input_is_refused() -> None:
    """Groups that ONNX Runtime does not know and empty calibrations name the argument."""
    model = perceptron((24, 16), np.random.default_rng(0))
    checks.raises("group of 10", int4_model, model, 10, match="group must be a power of two")
    checks.raises("24 inputs", int4_model, model, 16, match="group must be a divisor of 24")
    checks.raises("no layers", with_weights, model, (), match="layers must be of shapes")
    empty = np.zeros((0, 24), np.float32)
    checks.raises("no rows", int8_model, model, empty, match="calibration must be rows")


if __name__ == "__main__":
    print(f"wrote {write_record(NAME, _measure()).name}")
