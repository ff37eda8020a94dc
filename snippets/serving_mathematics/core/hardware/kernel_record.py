"""Makes a small record of measured kernels: matrices by shape, attention, messages by size.

    python -m serving_mathematics.core.hardware.kernel_record

It reads the wheel that `record_making` fetches (pyarrow must be there) and writes
`machine_shapes.json.gz`. Of each shape of a matrix the fastest backend counts: what a device can
do, not what one library does. All of them are counted by their time at the roof; a random sample
is kept as it was measured.

A message's size stands in the package as a number of elements of two bytes, not of bytes
(`collect_nccl.py` divides it by the bytes of an element); here it is in bytes.

Source: aiconfigurator-core 0.12.0, Copyright (c) 2025-2026 NVIDIA CORPORATION & AFFILIATES,
Apache-2.0; its collectors `collect_nccl.py` and `collect_all_reduce.py`.
"""

from __future__ import annotations

import itertools
import json
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.kernel_series import _columns
from serving_mathematics.core.hardware.record_making import LICENCE, SOURCE, _fetch_wheel
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_all_positive,
)

COMMAND = "python -m serving_mathematics.core.hardware.kernel_record"
Array = NDArray[np.float64]

MATRICES = (  # system, type in the package, precision and bytes of a weight
    ("a100_sxm", "bfloat16", "bf16", 2.0),
    ("h100_sxm", "bfloat16", "bf16", 2.0),
    ("h100_sxm", "fp8_block", "fp8", 1.0),
    ("b200_sxm", "bfloat16", "bf16", 2.0),
    ("b200_sxm", "fp8_block", "fp8", 1.0),
    ("b200_sxm", "nvfp4", "fp4", 0.5625),
)
MATRIX_FILES = {
    "a100_sxm": ("sglang/0.5.10", "trtllm/1.0.0", "vllm/0.14.0"),
    "h100_sxm": ("sglang/0.5.14", "trtllm/1.3.0rc20", "vllm/0.24.0"),
    "b200_sxm": ("sglang/0.5.14", "trtllm/1.3.0rc20", "vllm/0.24.0"),
}
MESSAGE_FILES = {
    "h100_sxm": ("nccl/2.29.2", "sglang/0.5.14", "trtllm/1.3.0rc20", "vllm/0.24.0"),
    "b200_sxm": ("nccl/2.29.2", "sglang/0.5.14", "trtllm/1.3.0rc20", "vllm/0.24.0"),
    "gb300": ("nccl/2.29.2", "sglang/0.5.14", "trtllm/1.3.0rc20", "vllm/0.27.0"),
}
KERNELS = {  # as the package names them
    "vLLM_custom_graph": "custom, in a graph",
    "SGLang_CustomAllReduce_graph": "custom, in a graph",
    "TRTLLM": "custom, in a graph",
    "TRTLLM_MNNVL_oneshot": "over nodes, one shot",
    "TRTLLM_MNNVL_twoshot": "over nodes, two shots",
    "vLLM_custom_eager": "custom, launched one by one",
    "SGLang_CustomAllReduce_eager": "custom, launched one by one",
    "NCCL": "NCCL",
}
SAMPLED = 350
TIMES_S = np.geomspace(1e-7, 1e-2, 21)  # edges of the classes of times at the roof


def fastest(keys: Array, seconds: Array) -> tuple[Array, Array]:
    """Each shape once, with the shortest of its times.

    keys: shapes, shape (n, d). seconds: shape (n,). Returns them in the order of the shapes.
    Raises ValueError on other shapes, shapes that are not finite, or times that are none.

    >>> found = fastest(np.array([[8.0, 2.0], [4.0, 2.0], [8.0, 2.0]]), np.array([3.0, 1.0, 2.0]))
    >>> found[0].tolist(), found[1].tolist()
    ([[4.0, 2.0], [8.0, 2.0]], [1.0, 2.0])
    """
    require(np.ndim(keys) == 2 and len(keys) == len(seconds), "keys", "one row a time", keys)
    seconds = require_all_positive(seconds=seconds)
    keys = require_all_finite(keys=keys)
    shapes, place = np.unique(keys, axis=0, return_inverse=True)
    best = np.full(len(shapes), np.inf)
    np.minimum.at(best, place.ravel(), seconds)
    return shapes, best


def matrix_roof(
    shapes: Array, bytes_a_value: float, bandwidth: float, peak: float
) -> tuple[Array, Array, Array]:
    """Bytes, operations and the least time [s] of matrix products, shape (n,) each.

    shapes: tokens, columns, rows, shape (n, 3): the matrix is rows by columns, of so many bytes a
    value; what goes in and comes out has two. bandwidth [bytes/s], peak [1/s]. Raises ValueError
    unless all are positive.

    >>> size, operations, least = matrix_roof(np.array([[1.0, 1000.0, 500.0]]), 2.0, 1e12, 1e15)
    >>> size.tolist(), operations.tolist(), (1e6 * least).round(3).tolist()
    ([1003000.0], [1000000.0], [1.003])
    """
    bytes_a_value, bandwidth, peak = as_number(
        bytes_a_value=bytes_a_value, bandwidth=bandwidth, peak=peak
    )
    require_all_positive(
        shapes=shapes, bytes_a_value=[bytes_a_value], bandwidth=[bandwidth], peak=[peak]
    )
    tokens, columns, rows = as_floats(shapes=shapes).T
    size = rows * columns * bytes_a_value + 2 * tokens * (rows + columns)
    operations = 2 * tokens * rows * columns
    return size, operations, np.maximum(size / bandwidth, operations / peak)


def by_time(least_s: Array, seconds: Array, edges: Array) -> list[list[float]]:
    """Shares of the roof by the time at it: rows of time, 10th, 50th, 90th percentile, count.

    least_s: time at the roof, shape (n,). seconds: measured, shape (n,). edges: of the classes.
    Classes of fewer than 20 are left out; a time is its class's geometric middle. Raises ValueError
    unless all are positive.

    >>> row = by_time(np.full(20, 2e-6), np.full(20, 4e-6), np.array([1e-6, 4e-6]))[0]
    >>> round(row[0] * 1e6, 6), row[1:]
    (2.0, [0.5, 0.5, 0.5, 20])
    """
    least_s, seconds, edges = require_all_positive(least_s=least_s, seconds=seconds, edges=edges)
    share, rows = least_s / seconds, []
    for low, high in itertools.pairwise(edges):
        inside = share[(least_s >= low) & (least_s < high)]
        if inside.size >= 20:
            quantiles = [float(f"{q:.3g}") for q in np.quantile(inside, (0.1, 0.5, 0.9))]
            rows.append([float(f"{(low * high) ** 0.5:.3g}"), *quantiles, int(inside.size)])
    return rows


def _table(package: zipfile.ZipFile, name: str) -> dict[str, Any]:
    full = next(one for one in package.namelist() if one.endswith(f"/data/{name}.parquet"))
    return {column: np.array(values) for column, values in _columns(package, full).items()}


def _sample(
    shapes: Array, seconds: Array, rng: np.random.Generator, count: int
) -> list[list[float]]:
    drawn = np.sort(rng.choice(len(shapes), count, replace=False))
    return [
        [*map(int, shapes[i]), float(f"{seconds[i] * 1e6:.4g}")] for i in drawn
    ]  # in microseconds


def _matrices(package: zipfile.ZipFile, sheets: Mapping[str, Any]) -> list[dict[str, Any]]:
    rng, found = np.random.default_rng(26), []
    for system, kind, precision, size in MATRICES:
        keys, times, calls = [], [], 0
        for file in MATRIX_FILES[system]:
            table = _table(package, f"{system}/gemm/{file}/gemm_perf")
            index = (table["gemm_dtype"] == kind) & (table["latency"] > 0)
            keys.append(np.stack([table[c][index] for c in ("m", "n", "k")], axis=1).astype(float))
            times.append(table["latency"][index] * 1e-3)
            calls += int(index.sum())
        shapes, seconds = fastest(np.concatenate(keys), np.concatenate(times))
        sheet = sheets[system]
        peak = sheet[f"{precision}_flops_per_s"]
        byte, _, least = matrix_roof(shapes, size, sheet["bandwidth_bytes_per_s"], peak)
        found.append(
            {
                "system": system,
                "precision": precision,
                "bytes_a_value": size,
                "calls": calls,
                "shapes": len(shapes),
                "by_time": by_time(least, seconds, TIMES_S),
                "above": _above(byte, least, seconds),
                "sample": _sample(shapes, seconds, rng, SAMPLED),
            }
        )
    return found


def _above(size: Array, least: Array, seconds: Array) -> dict[str, float]:
    """Shapes that are faster than the roof, and the bytes of the largest of them."""
    fast = seconds < least
    largest = float(f"{size[fast].max():.3g}") if fast.any() else 0.0
    return {"shapes": int(fast.sum()), "largest_bytes": largest}


def _attention(package: zipfile.ZipFile, sheets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Decoding with grouped-query attention, no window, a cache of two bytes a value."""
    rng, found = np.random.default_rng(27), []
    columns = ("batch_size", "step", "num_heads", "num_key_value_heads", "head_dim")
    for system in ("h100_sxm", "b200_sxm"):
        keys, times = [], []
        for file in MATRIX_FILES[system]:
            table = _table(package, f"{system}/attention/{file}/generation_attention_perf")
            index = (table["kv_cache_dtype"] == "bfloat16") & (table["window_size"] == 0)
            index &= table["latency"] > 0
            table["step"] = table["step"] + table["isl"]
            keys.append(np.stack([table[c][index] for c in columns], axis=1).astype(float))
            times.append(table["latency"][index] * 1e-3)
        shapes, seconds = fastest(np.concatenate(keys), np.concatenate(times))
        size = 2 * 2 * shapes[:, 0] * shapes[:, 1] * shapes[:, 3] * shapes[:, 4]
        least = size / sheets[system]["bandwidth_bytes_per_s"]
        found.append(
            {
                "system": system,
                "shapes": len(shapes),
                "by_time": by_time(least, seconds, TIMES_S),
                "sample": _sample(shapes, seconds, rng, 150),
            }
        )
    return found


def _messages(package: zipfile.ZipFile) -> list[dict[str, Any]]:
    """All-reduce by size, and what two devices send each other at once (all-to-all)."""
    found: dict[str, list[tuple[int, float]]] = {}
    for system, files in MESSAGE_FILES.items():
        for file in files:
            backend = file.split("/")[0]
            name = "nccl_perf" if backend == "nccl" else "custom_allreduce_perf"
            table = _table(package, f"{system}/comm/{file}/{name}")
            for i, elements in enumerate(table["message_size"].tolist()):
                operation = str(table["op_name"][i])
                devices = int(table["num_gpus"][i])
                if backend == "nccl" and table["nccl_dtype"][i] != "half":
                    continue
                if operation != "all_reduce" and (operation, devices) != ("alltoall", 2):
                    continue
                key = {
                    "system": system,
                    "backend": backend,
                    "kernel": KERNELS[str(table["kernel_source"][i])],
                    "operation": operation,
                    "devices": devices,
                }
                point = (2 * elements, float(f"{table['latency'][i] * 1e3:.3g}"))
                found.setdefault(json.dumps(key), []).append(point)
    lines = []
    for told, points in found.items():
        best: dict[int, float] = {}
        for size, micros in sorted(points):
            best[size] = min(micros, best.get(size, micros))
        lines.append(json.loads(told) | {"bytes": list(best), "us": list(best.values())})
    return lines


def main() -> int:
    """Fetch, read, write."""
    sheets = read_record("machine_systems")["systems"]
    made = {"title": "Measured kernels by shape and size", "source": SOURCE, "licence": LICENCE}
    with zipfile.ZipFile(_fetch_wheel()) as package:
        content = {
            "matrices": _matrices(package, sheets),
            "attention": _attention(package, sheets),
            "messages": _messages(package),
        }
    made |= provenance(COMMAND, ("numpy",))
    write_record("machine_shapes", made | content, packed=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
