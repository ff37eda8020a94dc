"""The ONNX model computes what numpy does, alone and behind the batcher; no time is asserted."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.dynamic_batcher import BatchFailed, DynamicBatcher, in_thread
from serving_mathematics.core.classifiers import onnx_latency_measurement as measurement
from serving_mathematics.core.classifiers.onnx_latency_measurement import (
    batch_times_ms,
    drive_callers,
    perceptron,
    runner,
)


def test_perceptron_is_seeded_and_takes_any_batch() -> None:
    models = [perceptron((5, 7, 6, 2), np.random.default_rng(4)) for _ in range(2)]
    assert models[0].SerializeToString() == models[1].SerializeToString()
    graph = models[0].graph
    for tensor, width in ((graph.input[0], 5), (graph.output[0], 2)):
        shape = tensor.type.tensor_type.shape.dim
        assert [dim.dim_param or dim.dim_value for dim in shape] == ["batch", width]
    run = runner(models[0])
    for batch in (1, 3, 64):
        assert run(np.ones((batch, 5), np.float32)).shape == (batch, 2)


def test_batch_times_have_a_row_for_every_round() -> None:
    seen: list[int] = []

    def run(x: Any) -> Any:
        seen.append(len(x))
        return x

    began = time.perf_counter()
    times = batch_times_ms(run, 3, (1, 4, 2), 5, np.random.default_rng(0))
    assert times.sum() < 1000 * (time.perf_counter() - began)
    assert times.shape == (5, 3)
    assert np.all(times > 0)
    assert len(seen) == 18  # a round more than is counted
    assert all(sorted(seen[i : i + 3]) == [1, 2, 4] for i in range(0, 18, 3))
    assert len({tuple(seen[i : i + 3]) for i in range(0, 18, 3)}) > 1


def test_many_callers_get_their_own_rows_back() -> None:
    model = perceptron((6, 9, 3), np.random.default_rng(2))
    run = runner(model)
    x = np.random.default_rng(3).normal(size=(50, 6)).astype(np.float32)

    async def main() -> list[Any]:
        served = in_thread(lambda batch: list(run(np.stack(batch))))
        async with DynamicBatcher(served, largest=7, places=50) as batcher:
            return await asyncio.gather(*(batcher.submit(row) for row in x))

    assert np.allclose(np.stack(asyncio.run(main())), run(x), atol=1e-6)


def test_one_malformed_row_fails_its_batch_and_nothing_else() -> None:
    run = runner(perceptron((4, 2), np.random.default_rng(2)))
    rows = [np.ones(4, np.float32)] * 3 + [np.ones(5, np.float32)] + [np.ones(4, np.float32)] * 4

    async def main() -> list[Any]:
        served = in_thread(lambda batch: list(run(np.stack(batch))))
        async with DynamicBatcher(served, largest=4) as batcher:
            return await asyncio.gather(
                *(batcher.submit(row) for row in rows), return_exceptions=True
            )

    ends = asyncio.run(main())
    assert all(isinstance(end, BatchFailed) for end in ends[:4])
    assert all(isinstance(end, np.ndarray) for end in ends[4:])


def test_callers_submit_again_when_they_have_an_answer() -> None:
    open_items: list[float] = []

    async def submit(item: Any) -> Any:
        assert float(item[0]) not in open_items  # one request of a caller at a time
        open_items.append(float(item[0]))
        await asyncio.sleep(0)
        open_items.remove(float(item[0]))
        submitted.append(float(item[0]))
        return item

    submitted: list[float] = []
    items = np.arange(5, dtype=np.float32).reshape(5, 1)
    began = time.perf_counter()
    latencies = asyncio.run(drive_callers(submit, items, 0.05))
    assert max(latencies) < time.perf_counter() - began
    assert len(latencies) == len(submitted)
    assert set(submitted) == {0, 1, 2, 3, 4}
    assert min(latencies) >= 0


def test_the_measurement_fills_every_field(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"WIDTHS": (4, 8, 2), "BATCHES": (1, 2), "ROUNDS": 2, "CALLERS": 3, "LIMITS": (1, 2)}
    for name, value in {**small, "SERVED_S": 0.02}.items():
        monkeypatch.setattr(measurement, name, value)
    began = time.perf_counter()
    record = measurement._measure()
    whole_s = time.perf_counter() - began
    assert [row["batch"] for row in record["batches"]] == [1, 2]
    assert [run["largest"] for run in record["batcher"]] == [1, 2]
    for run in record["batcher"]:
        assert run["accepted"] == run["answered"] == run["requests"] >= 3
        assert run["requests"] / run["largest"] <= run["batches"] <= run["requests"]
        assert run["requests"] / (run["per_s"] + 0.05) < whole_s
        assert 0 < run["p50_p99_ms"][0] <= run["p50_p99_ms"][1] < 1000 * whole_s
    assert record["versions"]["onnxruntime"]
    assert record["command"].endswith("onnx_latency_measurement")


@pytest.mark.parametrize("widths", [(), (3,), (3, 0), (3, 1.5)])
def test_bad_widths_are_refused(widths: Any) -> None:
    with pytest.raises(ValueError, match="widths must be two or more positive integers"):
        perceptron(widths, np.random.default_rng(0))


def test_bad_measurements_are_refused() -> None:
    rng = np.random.default_rng(0)
    for batches, rounds, message in (((), 1, "batches"), ((0,), 1, "batches"), ((1,), 0, "rounds")):
        with pytest.raises(ValueError, match=f"{message} must be"):
            batch_times_ms(lambda x: x, 2, batches, rounds, rng)
    items = np.zeros((1, 2), np.float32)
    for given, seconds, message in ((items[:0], 1.0, "items"), (items, 0.0, "seconds")):
        with pytest.raises(ValueError, match=f"{message} must be"):
            asyncio.run(drive_callers(None, given, seconds))  # type: ignore[arg-type]
