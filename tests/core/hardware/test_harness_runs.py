"""Runs of other harnesses: what is read of made-up files, and every refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.harness_runs import (
    HarnessRun,
    read_files,
    read_ml_energy,
    read_request_log,
    read_stages,
)

HEAD = (
    "task,model,gpu,num_gpus,data_parallel,expert_parallel,weight_precision,avg_batch_size,"
    "avg_output_len,median_itl_ms,output_throughput_tokens_per_sec,avg_power_watts,"
    "energy_per_token_joules"
)
ROW = "lm-arena-chat,Qwen/Qwen3-235B-A22B-Instruct-2507-FP8,H100,8,2,8,fp8,64,600,20,3000,4000,1.3"


def stage(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "load_summary": {"achieved_rate": 10.0, "requested_rate": 10.0},
        "successes": {
            "output_len": {"mean": 101.0},
            "latency": {"request_latency": {"mean": 1.05}, "time_to_first_token": {"mean": 0.05}},
        },
    }
    made["load_summary"].update(changes)
    return made


def request(at: float, first: float, last: float, tokens: int) -> str:
    return json.dumps(
        {
            "queued_ts": at,
            "first_token_ts": first,
            "last_token_ts": last,
            "input_toks": 50,
            "output_toks": tokens,
        }
    )


SERIES = [
    "t,prompt_throughput,gen_throughput,running",
    "1.0,500.0,20.0,2",  # prompts are read
    "2.0,0.0,80.0,2",
    "3.0,0.0,10.0,1",  # alone
    "40.0,0.0,100.0,2",  # nobody is there
]


def test_a_row_of_the_leaderboard_is_a_deployment() -> None:
    (run,) = read_ml_energy([HEAD, ROW])
    one = run.deployment
    assert (one.tensor, one.attention_data, one.expert, one.devices) == (4, 2, 8, 8)
    assert (one.precision, one.system.name, one.input_tokens) == ("fp8", "h100_sxm", 100.0)
    assert (one.concurrency, one.output_tokens, run.per_token_s) == (64, 600, 0.02)
    assert (run.rate, run.power_w, run.joules, run.whole) == (3000, 4000, 1.3, False)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (ROW.replace("lm-arena-chat", "images"), "row 1: task must be one of lm-arena-chat"),
        (ROW.replace(",20,", ",none,"), "row 1: median_itl_ms must be a number, got 'none'"),
        (ROW.replace(",20,", ",-1,"), "row 1: median_itl_ms must be positive, got -1"),
        (ROW.replace(",4000,", ",nan,"), "row 1: avg_power_watts must be positive"),
        (ROW.replace("Qwen3-235B-A22B", "Qwen9"), "is not known; nearest"),
    ],
)
def test_a_wrong_cell_is_named(row: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_ml_energy([HEAD, row])


def test_a_table_of_something_else_is_named() -> None:
    with pytest.raises(ValueError, match="file must be a table with num_gpus"):
        read_ml_energy(["task,model,gpu", "lm-arena-chat,Qwen3-8B,H100"])


def test_stages_that_were_kept_up_with_are_runs() -> None:
    late = stage(requested_rate=20.0)  # half of what was asked for left the client
    runs = read_stages(
        {"stages": [stage(), late, stage(achieved_rate=0.1, requested_rate=0.1)]}, WORKED
    )
    assert [run.deployment.concurrency for run in runs] == [pytest.approx(10.0), 1.0]
    assert runs[0].per_token_s == pytest.approx(0.01)
    assert (runs[0].first_token_s, runs[0].whole) == (0.05, True)
    with pytest.raises(ValueError, match="report must be one with a stage or more that kept up"):
        read_stages({"stages": [late]}, WORKED)
    with pytest.raises(ValueError, match="stage 1 must have 'successes'"):
        read_stages({"stages": [{"load_summary": {}}]}, WORKED)
    short = stage()
    short["successes"]["output_len"]["mean"] = 1.0  # no token after the first
    with pytest.raises(ValueError, match=r"stage 1: output_len must be above 1, got 1\.0"):
        read_stages({"stages": [short]}, WORKED)


def test_seconds_without_prompts_are_steps() -> None:
    told = [request(0.0, 0.5, 10.5, 401), request(0.1, 0.5, 10.5, 401)]
    (run,) = read_request_log(told, SERIES, WORKED)
    assert run.per_token_s == pytest.approx(2 / 80)
    assert run.deployment.concurrency == 2
    assert run.deployment.input_tokens == pytest.approx(50 + 401 * 1.5 / 10)
    with pytest.raises(ValueError, match="line 1 must be a request with queued_ts"):
        read_request_log(["{}"], SERIES, WORKED)
    with pytest.raises(ValueError, match="file must be a table with prompt_throughput"):
        read_request_log(told, ["t,gen_throughput", "2.0,80.0"], WORKED)


def test_a_folder_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"folder must be one with ml_energy\.csv"):
        read_files(tmp_path)
    (tmp_path / "ml_energy.csv").write_text(f"{HEAD}\n{ROW}\n")
    (tmp_path / "requests.jsonl").write_text(request(0.0, 0.5, 10.5, 401) + "\n")
    assert [run.harness for run in read_files(tmp_path)] == ["ml-energy"]  # no series beside it
    (tmp_path / "timeseries.csv").write_text("\n".join(SERIES))
    (tmp_path / "load_test.json").write_text(json.dumps({"stages": [stage()]}))
    runs = read_files(tmp_path)
    assert [run.harness for run in runs] == ["ml-energy", "inference-perf", "engine"]
    assert all(isinstance(run, HarnessRun) for run in runs)
    assert runs[2].deployment.system.name == "rtx_pro_6000_workstation"
