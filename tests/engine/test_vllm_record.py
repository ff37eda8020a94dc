"""What the page says of vLLM's record, computed again from the record alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.batching.step_costs import fit_costs
from serving_mathematics.engine import vllm_record
from serving_mathematics.engine.engine_record import relative_errors
from serving_mathematics.engine.measured_loads import change_s, conditions
from serving_mathematics.engine.vllm_record import RECORD, cached_tokens, example
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


def test_costs_and_changes_are_those_of_the_recorded_steps() -> None:
    calibration = RECORDED["calibration"]
    names = ("prompt_tokens", "decoding", "context_tokens", "prompt_pairs")
    tokens = [[row[name] for name in names] for row in calibration["rows"]]
    costs = fit_costs(tokens, [row["step_s"] for row in calibration["rows"]])
    assert vars(costs) == pytest.approx(calibration["costs_with_pairs"], rel=1e-9)
    assert calibration["change_s"] == pytest.approx(change_s(calibration["changes"]))


@pytest.mark.parametrize(("size", "held"), [(1, 0), (32, 0), (33, 32), (64, 32), (129, 128)])
def test_a_cache_holds_whole_blocks_and_leaves_a_token(size: int, held: int) -> None:
    assert cached_tokens(size, 32) == held
    assert held == max(n for n in range(0, size, 32))
    with pytest.raises(ValueError, match="block_tokens must be a positive integer, got 0"):
        cached_tokens(size, 0)


def test_example_tells_the_record() -> None:
    shown, loads = example(), RECORDED["loads"]
    assert shown.vllm_runs == len(loads["runs"])
    assert shown.vllm_refused == len(loads["refused"]) + len(RECORDED["calibration"]["refused"])
    assert shown.vllm_error_rows.count("\n") + 1 == len(loads["rates"])
    errors = [e for name in ("ttft_s", "tpot_s") for e in relative_errors(loads["runs"], name, 0)]
    assert shown.vllm_median_error == pytest.approx(100 * np.median(np.abs(errors)))
    told = shown.vllm_error_rows.split("\n")
    assert (
        f"| {shown.vllm_slowest_rate:g}, {shown.vllm_slowest_came:.1f} |" in shown.vllm_error_rows
    )
    assert told[-1].startswith(f"| {shown.vllm_busiest_rate:g}, {shown.vllm_busiest_came:.1f} |")
    assert shown.vllm_prefix_rows.count("\n") + 1 == len(vllm_engine.PREFIX_TOKENS)


def test_what_a_client_adds_is_measured_less_predicted() -> None:
    def run(measured_s: float, predicted_s: float) -> dict[str, Any]:
        predicted = {"changes": {"ttft_s": [predicted_s, 9.0]}}
        return {"measured": {"ttft_s": [measured_s, 5.0]}, "predicted": predicted}

    record = {"loads": {"runs": [run(0.2, 0.19), run(0.3, 0.27), run(0.4, 0.5)]}}
    assert vllm_record._client_ms(record) == pytest.approx(10.0)


def test_a_row_of_prefixes_by_hand() -> None:
    row = {"prompt_tokens": 1000, "cold_s": 0.51234, "warm_s": 0.0501, "same": 4, "of": 5}
    record = {"prefixes": [row | {"computed_tokens": [8, 40, 8, 8, 8]}]}
    told = vllm_record._prefix_rows(record)
    assert told == "| 1,000 | 512 ms | 50.1 ms | 8, 40 | 4 of 5 |"
