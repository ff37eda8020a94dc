"""What is kept of kernels: the fastest, their roof and classes; and the record itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from serving_mathematics.core.hardware import kernel_record
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.kernel_record import by_time, fastest, matrix_roof
from serving_mathematics.support.measuring import FOLDER, read_record

RECORD = read_record("machine_shapes")


def test_the_fastest_of_each_shape_is_kept() -> None:
    rng = np.random.default_rng(4)
    keys = rng.integers(1, 5, (200, 3)).astype(float)
    seconds = rng.uniform(1, 2, 200)
    shapes, best = fastest(keys, seconds)
    expected: dict[tuple[float, ...], float] = {}
    for key, time in zip(keys.tolist(), seconds.tolist(), strict=True):
        expected[tuple(key)] = min(time, expected.get(tuple(key), math.inf))
    assert [tuple(shape) for shape in shapes.tolist()] == sorted(expected)
    assert best.tolist() == [expected[key] for key in sorted(expected)]
    with pytest.raises(ValueError, match="seconds must be"):
        fastest(keys, 0 * seconds)


def test_a_roof_by_hand() -> None:
    shapes = np.array([[8.0, 100.0, 50.0], [4096.0, 8192.0, 8192.0]])
    size, operations, least = matrix_roof(shapes, 0.5, 1e12, 1e15)
    assert size.tolist() == [2500 + 2 * 8 * 150, 0.5 * 8192**2 + 2 * 4096 * 16384]
    assert operations.tolist() == [80_000.0, 2 * 4096 * 8192**2]
    assert least == pytest.approx([4.9e-9, 2 * 4096 * 8192**2 / 1e15])
    with pytest.raises(ValueError, match="shapes must be"):
        matrix_roof(0 * shapes, 0.5, 1e12, 1e15)
    with pytest.raises(ValueError, match="peak must be"):
        matrix_roof(shapes, 0.5, 1e12, 0.0)


def test_classes_of_time_have_their_quantiles() -> None:
    rng = np.random.default_rng(6)
    least = np.repeat([2e-6, 2e-5, 2e-4], [100, 19, 50])
    seconds = least / rng.uniform(0.2, 0.9, 169)
    rows = by_time(least, seconds, np.array([1e-6, 1e-5, 1e-4, 1e-3]))
    assert [row[4] for row in rows] == [100, 50]  # fewer than twenty are left out
    assert rows[0][0] == pytest.approx(10**-5.5, rel=1e-2)
    share = (least / seconds)[:100]
    assert rows[0][1:4] == pytest.approx(np.quantile(share, (0.1, 0.5, 0.9)), rel=0.01)
    edge = by_time(np.full(40, 1e-5), np.full(40, 2e-5), np.array([1e-6, 1e-5, 1e-4]))
    assert [(row[0], row[4]) for row in edge] == [(pytest.approx(10**-4.5, rel=1e-2), 40)]


def test_the_record_says_where_it_is_from_and_is_small() -> None:
    assert "Apache-2.0" in RECORD["licence"]
    assert "0.12.0" in RECORD["source"]
    assert RECORD["command"] == kernel_record.COMMAND
    assert (FOLDER / "machine_shapes.json.gz").stat().st_size < 60_000


def test_the_record_adds_up() -> None:
    """Classes hold nearly all shapes, and the sample as many above the roof as all."""
    for line in RECORD["matrices"]:
        assert line["shapes"] <= line["calls"]
        in_classes = sum(row[4] for row in line["by_time"])  # those below 0.1 us are in none
        assert 0.85 * line["shapes"] < in_classes <= line["shapes"]
        rows = np.array(line["sample"])
        system = find_system(line["system"])
        peak = getattr(system, f"{line['precision']}_flops_per_s")
        _, _, least = matrix_roof(
            rows[:, :3], line["bytes_a_value"], system.bandwidth_bytes_per_s, peak
        )
        above = np.mean(least > rows[:, 3] * 1e-6)
        assert above == pytest.approx(line["above"]["shapes"] / line["shapes"], abs=0.01)


def test_messages_grow_with_their_bytes() -> None:
    for line in RECORD["messages"]:
        assert line["bytes"] == sorted(line["bytes"])
        large = [us for size, us in zip(line["bytes"], line["us"], strict=True) if size >= 2**24]
        assert large == sorted(large), line


def table_of(rng: np.random.Generator, package: str, name: str) -> dict[str, np.ndarray]:
    """As a package would hold it: of each type, with times of which every third is none."""
    rows = 1800
    some = 10 ** rng.uniform(-3, 1, rows)  # [ms], of which a part is faster than any roof
    time = np.where(np.arange(rows) % 3 == 0, 0.0, some)
    sizes = ("m", "n", "k", "step", "isl", "batch_size")
    shapes = {c: rng.permutation(2**12)[:rows] + 1 for c in sizes}
    kinds = np.array(["bfloat16", "fp8_block", "nvfp4"])
    heads = {c: np.full(rows, 8) for c in ("num_heads", "num_key_value_heads", "head_dim")}
    windows = {"window_size": np.arange(rows) % 2, "latency": time}
    assert package == "wheel"
    assert name.endswith("_perf")
    types = {"gemm_dtype": kinds[np.arange(rows) // 3 % 3], "kv_cache_dtype": kinds[[0] * rows]}
    return {**shapes, **heads, **windows, **types}


def test_kernels_are_read_from_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times of nothing are left out, and milliseconds are seconds."""
    found: dict[str, dict[str, np.ndarray]] = {}

    def read(package: str, name: str) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(len(found))
        return {
            k: v.copy() for k, v in found.setdefault(name, table_of(rng, package, name)).items()
        }

    monkeypatch.setattr(kernel_record, "_table", read)
    monkeypatch.setattr(kernel_record, "SAMPLED", 20)
    sheets = {
        system: {f"{kind}_flops_per_s": 1e15 for kind in ("bf16", "fp8", "fp4")}
        | {"bandwidth_bytes_per_s": 2e12}
        for system in kernel_record.MATRIX_FILES
    }
    for line, (system, kind, precision, size) in zip(
        kernel_record._matrices("wheel", sheets),  # type: ignore[arg-type]  # is handed on
        kernel_record.MATRICES,
        strict=True,
    ):
        assert (line["system"], line["precision"]) == (system, precision)
        tables = [t for name, t in found.items() if name.startswith(f"{system}/gemm/")]
        kept = [(t["gemm_dtype"] == kind) & (t["latency"] > 0) for t in tables]
        assert (line["calls"], len(tables)) == (sum(int(k.sum()) for k in kept), 3)
        shapes = np.concatenate(
            [np.stack([t[c][k] for c in "mnk"], 1) for t, k in zip(tables, kept, strict=True)]
        )
        times = np.concatenate([t["latency"][k] for t, k in zip(tables, kept, strict=True)])
        assert line["shapes"] == len(np.unique(shapes, axis=0)) == len(shapes)  # no two alike
        operand, _, least = matrix_roof(shapes.astype(float), size, 2e12, 1e15)
        above = 1e-3 * times < least
        largest = float(f"{max(operand[above], default=0):.3g}")
        assert line["above"] == {"shapes": int(above.sum()), "largest_bytes": largest}
        assert len(line["by_time"]) > 3
        assert line["by_time"] == by_time(least, 1e-3 * times, kernel_record.TIMES_S)
        told = {
            tuple(shape): 1e3 * time for shape, time in zip(shapes.tolist(), times, strict=True)
        }
        assert len(line["sample"]) == 20
        for *shape, micros in line["sample"]:
            assert micros == pytest.approx(told[tuple(shape)], rel=1e-3)


def test_attention_is_read_from_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A context is what was read before and what is generated; with a window it is another."""
    found: dict[str, dict[str, np.ndarray]] = {}

    def read(package: str, name: str) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(len(found))
        return {
            k: v.copy() for k, v in found.setdefault(name, table_of(rng, package, name)).items()
        }

    monkeypatch.setattr(kernel_record, "_table", read)
    sheets = {system: {"bandwidth_bytes_per_s": 2e12} for system in kernel_record.MATRIX_FILES}
    for line in kernel_record._attention("wheel", sheets):  # type: ignore[arg-type]  # is handed on
        tables = [t for name, t in found.items() if name.startswith(f"{line['system']}/attention")]
        kept = [(t["window_size"] == 0) & (t["latency"] > 0) for t in tables]
        pairs = list(zip(tables, kept, strict=True))
        assert line["shapes"] == sum(int(k.sum()) for k in kept)
        batch, context, times = (
            np.concatenate([column[k] for column, k in columns])
            for columns in (
                [(t["batch_size"], k) for t, k in pairs],
                [(t["step"] + t["isl"], k) for t, k in pairs],
                [(t["latency"] * 1e-3, k) for t, k in pairs],
            )
        )
        least = 4.0 * batch * context * 64 / 2e12  # keys and values of 8 × 8 numbers of two bytes
        assert len(line["by_time"]) > 3
        assert line["by_time"] == by_time(least, times, kernel_record.TIMES_S)
        told = dict(zip(zip(batch.tolist(), context.tolist(), strict=True), times, strict=True))
        assert len(line["sample"]) == 150
        for size, length, *_, micros in line["sample"]:
            assert micros == pytest.approx(1e6 * told[size, length], rel=1e-3)


def test_messages_are_read_from_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest of each size; of NCCL half precision alone; all-to-all of two devices alone."""
    kernel = next(iter(kernel_record.KERNELS))
    rows = [  # elements, operation, devices, type, time [ms]
        (512, "all_reduce", 4, "half", 0.03),
        (512, "all_reduce", 4, "half", 0.0201),
        (256, "all_reduce", 4, "half", 0.01),
        (256, "all_reduce", 4, "float", 0.005),
        (64, "alltoall", 2, "half", 0.004),
        (64, "alltoall", 4, "half", 0.003),
        (64, "all_gather", 2, "half", 0.002),
    ]
    names = ("message_size", "op_name", "num_gpus", "nccl_dtype", "latency")
    table = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    table["kernel_source"] = np.array([kernel] * len(rows))
    monkeypatch.setattr(kernel_record, "_table", lambda *_: table)
    lines = kernel_record._messages("wheel")  # type: ignore[arg-type]  # is handed on
    for system, files in kernel_record.MESSAGE_FILES.items():
        for file in files:
            backend = file.split("/")[0]
            mine = [x for x in lines if (x["system"], x["backend"]) == (system, backend)]
            assert {x["kernel"] for x in mine} == {kernel_record.KERNELS[kernel]}
            assert [(x["operation"], x["devices"], x["bytes"], x["us"]) for x in mine] == [
                ("all_reduce", 4, [512, 1024], [10.0 if backend == "nccl" else 5.0, 20.1]),
                ("alltoall", 2, [128], [4.0]),
            ]
