"""What the page says of vLLM's record, computed again from the record alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_mathematics.engine import vllm_record
from serving_mathematics.engine.engine_record import relative_errors
from serving_mathematics.engine.measured_loads import conditions
from serving_mathematics.engine.vllm_record import RECORD, example
from serving_mathematics.support.measuring import read_record

from benchmarks import vllm_engine
from benchmarks.vllm_environment import flags

RECORDED = read_record(RECORD)


def test_record_was_made_by_the_rules_and_options_of_today() -> None:
    assert RECORD == vllm_engine.RECORD
    assert RECORDED["command"] == vllm_engine.COMMAND
    today = conditions(vllm_engine.SETTINGS, vllm_engine.REPEATS, vllm_engine.RUN_S)
    assert RECORDED["rules"] == today["rules"]
    assert RECORDED["asked"] == today["asked"] | {"quantiles": [0.5, 0.95]}
    assert RECORDED["flags"] == flags(vllm_engine.SETTINGS)


def test_example_tells_the_record() -> None:
    shown, loads = example(), RECORDED["loads"]
    assert shown.vllm_runs == len(loads["runs"])
    assert shown.vllm_refused == len(loads["refused"]) + len(RECORDED["calibration"]["refused"])
    assert shown.vllm_error_rows.count("\n") + 1 == len(loads["rates"])
    errors = [e for name in ("ttft_s", "tpot_s") for e in relative_errors(loads["runs"], name, 0)]
    assert shown.vllm_median_error == pytest.approx(100 * np.median(np.abs(errors)))
    busiest = [r["measured"]["tpot_s"][0] for r in loads["runs"] if r["rate"] == loads["rates"][-1]]
    assert shown.vllm_busiest_ms == pytest.approx(1000 * np.median(busiest))


def test_what_a_client_adds_is_measured_less_predicted() -> None:
    def run(measured_s: float, predicted_s: float) -> dict[str, Any]:
        predicted = {"changes": {"ttft_s": [predicted_s, 9.0]}}
        return {"measured": {"ttft_s": [measured_s, 5.0]}, "predicted": predicted}

    record = {"loads": {"runs": [run(0.2, 0.19), run(0.3, 0.27), run(0.4, 0.5)]}}
    assert vllm_record._client_ms(record) == pytest.approx(10.0)
