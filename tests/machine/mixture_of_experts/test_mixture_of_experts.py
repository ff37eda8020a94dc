"""The price of a mixture by load: a loop by hand, records, and the numbers of the page."""

from __future__ import annotations

import statistics

import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.calibration import KERNELS
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.published_runs import read_lines
from serving_mathematics.core.hardware.step_time import FITTED, count_work
from serving_mathematics.machine.mixture_of_experts.mixture_of_experts import (
    SMALL,
    SPARSE,
    _beside_dense,
    _family,
    _race,
    device_hours,
)


@pytest.mark.parametrize("constants", [KERNELS, FITTED])
def test_device_hours_by_hand(constants: object) -> None:
    work = count_work([WORKED])
    found = loop_latencies(work, constants)  # type: ignore[arg-type]
    stay = float(found.first_token_s[0]) + 199 * float(found.per_token_s[0])
    rate = 8 * 200 / stay
    assert device_hours(WORKED, constants) == pytest.approx(1e6 / rate / 3600)  # type: ignore[arg-type]
    assert device_hours(WORKED) == device_hours(WORKED, KERNELS)


def test_the_race_is_of_four_devices() -> None:
    for name, runs in _race().items():
        assert len(runs) >= 5, name
        assert {run.answers.devices for run in runs} == {4}
        assert {run.answers.system.name for run in runs} == {"h100_sxm"}
        assert max(run.concurrency for run in runs) <= 128
    for name in ("MiniMax-M2.5", "Meta-Llama-3.1-70B"):  # neither has an advantage of precision
        assert {run.answers.precision for run in _race()[name]} == {"fp8"}


def test_at_either_end_it_is_less_than_half_of_the_worst() -> None:
    hours = _family()
    over = hours[SPARSE] / hours[SMALL]
    assert max(over[0], over[-1]) < over.max() / 2
    assert min(over[0], over[-1]) > 1.2  # and never as cheap as the small model


@pytest.mark.parametrize(("system", "precision"), [("h100_sxm", "fp8"), ("b200_sxm", "fp4")])
def test_a_mixture_beside_the_dense_model_by_hand(system: str, precision: str) -> None:
    """One deployment of the comparison, from the record's rows as text: of one engine, though on
    B200 the dense model was measured on another too."""
    medians: dict[tuple[str, str], dict[tuple[str, str], list[float]]] = {}
    for row in read_lines():
        place = row["mode"], row["backend"], row["system"], row["tp"], row["precision"]
        name = row["model"].rsplit("/", 1)[-1]
        wanted = name in ("MiniMax-M2.5", "Llama-3.1-70B")
        if wanted and place == ("agg", "vllm", system, "4", precision):
            times = medians.setdefault((name, row["concurrency"]), {})
            times.setdefault((row["isl"], row["osl"]), []).append(float(row["tpot_ms"]))
    expected = []
    for clients in ("4", "64"):
        sparse, dense = (medians[name, clients] for name in ("MiniMax-M2.5", "Llama-3.1-70B"))
        both = sparse.keys() & dense.keys()
        ratios = [statistics.median(sparse[at]) / statistics.median(dense[at]) for at in both]
        expected.append(statistics.median(ratios))
    assert any(found == pytest.approx(tuple(expected)) for found in _beside_dense())
