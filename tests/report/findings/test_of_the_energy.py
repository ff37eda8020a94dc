from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.energy import board_power_w, served_power_w
from serving_mathematics.report.evidence import Run, Series
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.findings.of_the_energy import _modelled, _power_told_w, joules
from serving_mathematics.report.joining import joined
from serving_mathematics.report.reading import read_file
from serving_mathematics.report.request_log import read_log

TOLD = {"duration_s": 100.0, "completed": 500.0, "output_tokens": 200.0}


def test_nothing_is_said_without_power_or_tokens() -> None:
    assert joules(Run("", ""), Asked()) is None
    assert joules(Run("", "", told=TOLD), Asked()) is None
    assert joules(Run("", "", told={"power_w": 500.0}), Asked()) is None


def test_shares_of_power_are_a_whole_and_waiting_leads_when_idle() -> None:
    whole, parts = _modelled(WORKED, 1.0, 1.0, 0.01)
    assert sum(parts.values()) == pytest.approx(1.0)
    assert max(parts, key=lambda name: parts[name]) == "waiting for the next step"
    assert whole == pytest.approx(0.42 * 700, rel=0.02)


def test_a_device_without_published_power_gives_joules_alone() -> None:
    unknown = replace(WORKED, system=replace(find_system("h100"), name="none"))
    found = joules(Run("", "", told=TOLD | {"power_w": 900.0}), Asked(deployment=unknown))
    assert found.level == "note"
    assert "model" not in found.seen


def test_nvidia_smi_beside_a_log_is_power_of_all_devices() -> None:
    smi = ["timestamp, index, power.draw [W]"]
    for i in range(60):
        smi += [f"2026/11/29 08:40:{i:02}.250, {k}, {300 + 100 * k}.00 W" for k in range(2)]
    log = ["start_s,latency_ms,output_tokens"]
    log += [f"{1795941600 + i}.0,900,100" for i in range(60)]
    run = joined([*read_file("\n".join(smi), "a.csv"), *read_file("\n".join(log), "b.csv")])[0]
    assert _power_told_w(run)[0] == 700.0
    found = joules(run, Asked())
    assert "700 W for 100.2 answer tokens a second: 7 J each" in found.seen


def test_dcgm_counts_millijoules() -> None:
    metric = {"__name__": "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"}
    result = [
        {"metric": metric | {"gpu": str(k)}, "values": [[0, "1000"], [100, "30001000"]]}
        for k in range(2)
    ]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    run = read_file(json.dumps(answer), "q.json")[0]
    assert _power_told_w(run) == (600.0, "counted energy")


@pytest.mark.parametrize(("column", "watts"), [("energy_j", 50.0), ("power_w", 50.0)])
def test_a_column_of_a_log(column: str, watts: float) -> None:
    rows = [f"{i}.0,1000,10,50" for i in range(100)]
    run = read_log("\n".join([f"t_s,latency_ms,output_tokens,{column}", *rows]), "a.csv")
    assert _power_told_w(run)[0] == pytest.approx(watts)
    assert joules(run, Asked()) is not None
    with pytest.raises(ValueError, match=f"row 2, column {column} must be a"):
        read_log(f"t_s,latency_ms,{column}\n1.0,5,-3\n", "a.csv")


def test_twice_the_load_is_twice_the_requests_inside() -> None:
    told = TOLD | {"prompt_tokens": 1000.0, "in_flight": 16.0, "power_w": 500.0}
    found = joules(Run("", "", told=told), Asked(deployment=WORKED))
    here = replace(
        WORKED, input_tokens=1000.0, output_tokens=200.0, shortest_share=1.0, concurrency=16.0
    )
    watts = served_power_w(here, board_power_w(WORKED.system.name), 32.0, 2000.0, 10.0)
    assert f"at twice the load a token takes {watts / 2000:.2g} J" in found.change


@pytest.mark.parametrize(("counted", "watts"), [([0.0, 900.0], 300.0), ([9.0, 9.0], 1.5)])
def test_a_counter_of_energy_that_stands_still_tells_no_power(
    counted: list[float], watts: float
) -> None:
    values = {"joules": np.array(counted), "power_w": np.array([1.0, 2.0])}
    assert _power_told_w(Run("", "", series=Series(np.array([0.0, 3.0]), values)))[0] == watts
