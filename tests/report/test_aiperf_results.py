from __future__ import annotations

import json

import pytest
from serving_mathematics.report.joining import joined
from serving_mathematics.report.reading import read_file

from .example_runs import REAL, written


def test_aiperf_in_three_forms_is_one_run() -> None:
    runs = joined([*written("aiperf.json"), *written("aiperf.csv"), *written("aiperf.jsonl")])
    assert [run.size for run in runs] == [24]
    run = runs[0]
    assert run.columns["ttft_s"].mean() == pytest.approx(run.told["ttft_s"], rel=1e-6)
    late = run.columns["sent_s"] - run.columns["due_s"]
    assert late.mean() == pytest.approx(run.told["delay_mean_s"], rel=0.01)
    assert run.told["in_flight"] == pytest.approx(12.49, abs=0.01)
    assert run.told["rate_asked"] == 2
    assert run.gaps_s.sum() == pytest.approx(
        (run.columns["latency_s"] - run.columns["ttft_s"]).sum(), rel=0.01
    )


@pytest.mark.parametrize("cut", [{"was_cancelled": True}, {"is_complete": False}, {}])
def test_a_run_that_aiperf_calls_incomplete_says_so(cut: dict[str, bool]) -> None:
    data = json.loads((REAL / "aiperf.json").read_text()) | cut
    data |= {"incomplete_reason": "the records stalled"} if "is_complete" in cut else {}
    summary = read_file(json.dumps(data), "a")
    (run,) = joined([*written("aiperf.csv"), *summary, *written("aiperf.jsonl")])
    told = [note for note in run.notes if "did not come to its end" in note]
    assert len(told) == bool(cut)
    assert all(("(the records stalled)" in one) == ("is_complete" in cut) for one in told)


def test_power_that_aiperf_saw_is_of_all_devices() -> None:
    data = json.loads((REAL / "aiperf.json").read_text())
    gpus = {str(i): {"metrics": {"nvidia_power_usage": {"avg": 300.0 + i}}} for i in range(2)}
    data["telemetry_data"]["endpoints"] = {"localhost:9400": {"gpus": gpus}}
    assert read_file(json.dumps(data), "a")[0].told["power_w"] == 601.0


def test_genai_perf_in_three_forms_is_one_run() -> None:
    summary, table = written("genai_perf.json")[0], written("genai_perf.csv")[0]
    assert table.tool == summary.tool == "genai-perf"
    for name in ("ttft_s", "tpot_s", "prompt_tokens", "output_tokens"):
        assert table.told[name] == pytest.approx(summary.told[name], rel=1e-3), name
    assert len(joined([summary, table])) == 1
    raw = written("genai_perf_raw.json")[0]
    assert raw.told["concurrency"] == 4
    assert raw.columns["output_tokens"].tolist() == [26, 10, 21, 31, 19, 25]
    assert (raw.columns["ttft_s"] < raw.columns["latency_s"]).all()
