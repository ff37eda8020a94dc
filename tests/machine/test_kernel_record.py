"""What is kept of kernels: the fastest, their roof, cells and classes; and the record itself."""

from __future__ import annotations

import math

import numpy as np
import pytest
from serving_mathematics.machine import kernel_record
from serving_mathematics.machine.catalogue import find_system
from serving_mathematics.machine.kernel_record import by_time, cells, fastest, matrix_roof
from serving_mathematics.measuring import FOLDER, read_record

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
    with pytest.raises(ValueError, match="keys must be one row a time"):
        fastest(keys, seconds[:3])
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


def test_cells_hold_every_point_once() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.lognormal(0, 2, (2, 500))
    found = cells(x, y, 0.5)
    assert sum(count for _, _, count in found) == 500
    for i, j, count in found:
        inside = (x >= 2 ** (0.5 * i)) & (x < 2 ** (0.5 * (i + 1)))
        inside &= (y >= 2 ** (0.5 * j)) & (y < 2 ** (0.5 * (j + 1)))
        assert int(inside.sum()) == count
    with pytest.raises(ValueError, match="y must be"):
        cells(x, -y, 0.5)


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
    """Cells hold all shapes, classes nearly all, and a sample lies in the cells that it is of."""
    for line in RECORD["matrices"]:
        held = {(i, j): count for i, j, count in line["cells"]}
        assert sum(held.values()) == line["shapes"] <= line["calls"]
        in_classes = sum(row[4] for row in line["by_time"])  # those below 0.1 us are in none
        assert 0.85 * line["shapes"] < in_classes <= line["shapes"]
        rows = np.array(line["sample"])
        system = find_system(line["system"])
        peak = getattr(system, f"{line['precision']}_flops_per_s")
        size, operations, least = matrix_roof(
            rows[:, :3], line["bytes_a_value"], system.bandwidth_bytes_per_s, peak
        )
        rate = operations / (rows[:, 3] * 1e-6) * 1e-9
        where = np.floor(np.log2(np.stack([operations / size, rate], axis=1)) / RECORD["cell"])
        inside = [tuple(map(int, cell)) in held for cell in where]
        assert np.mean(inside) > 0.98  # rounded times may move one over an edge
        above = np.mean(least > rows[:, 3] * 1e-6)
        assert above == pytest.approx(line["above"]["shapes"] / line["shapes"], abs=0.01)


def test_messages_grow_with_their_bytes() -> None:
    for line in RECORD["messages"]:
        assert line["bytes"] == sorted(line["bytes"])
        large = [us for size, us in zip(line["bytes"], line["us"], strict=True) if size >= 2**24]
        assert large == sorted(large), line
