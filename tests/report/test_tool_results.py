from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from serving_mathematics.planner.questions.load_tests import PRINTED_AS
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.reading import read_file
from serving_mathematics.report.registry import report

from ..bad_json import BAD_JSON
from .example_runs import REAL, clean, detailed, written

TOLD = ("ttft", "tpot", "itl", "e2el")


def test_details_are_every_request() -> None:
    run = clean(count=300)
    read = read_file(detailed(run), "a.json")[0]
    for name in ("sent_s", "ttft_s", "latency_s", "output_tokens"):
        expected = run.columns[name] - (run.columns["sent_s"][0] if name == "sent_s" else 0)
        assert read.columns[name] == pytest.approx(expected, abs=1e-9), name
    assert read.gaps_s.size == int(run.columns["output_tokens"].sum()) - run.size


@pytest.mark.parametrize("name", ["vllm.json", "sglang.jsonl"])
def test_what_a_client_prints_is_what_it_writes(name: str) -> None:
    data = json.loads((REAL / name).read_text(encoding="utf-8"))
    said = {
        f"{of.title()} {x.upper()} (ms)": f"{of}_{x}_ms" for of in ("mean", "p99") for x in TOLD
    }
    lines = [f"{label}: {data[key]}" for label, key in (PRINTED_AS | said).items() if key in data]
    printed = "\n".join(["== Serving Benchmark Result ==", *lines, "=" * 50])
    (run,) = read_file(printed, name)
    (whole,) = written(name)
    assert (run.tool, run.where) == (whole.tool, name)
    for what in whole.told.keys() - {"delay_mean_s", "delay_p99_s"}:  # which are of its lists
        assert run.told[what] == pytest.approx(whole.told[what]), what
    assert report([run], Asked()).findings


def test_a_failed_request_of_vllm_is_known_by_its_error() -> None:
    data = json.loads(detailed(clean(count=120)))
    data["errors"][3], data["ttfts"][3], data["itls"][3] = "timeout", 0.0, []
    run = read_file(json.dumps(data), "a.json")[0]
    assert np.flatnonzero(run.columns["failed"]).tolist() == [3]


def test_inference_perf_counts_tokens_under_other_names_than_it_did() -> None:
    stage = written("inference_perf/stage_1_lifecycle_metrics.json")[0]
    assert stage.told["prompt_tokens"] == pytest.approx(57.79, abs=0.01)
    assert stage.told["output_tokens"] == pytest.approx(22.54, abs=0.01)
    assert stage.told["duration_s"] == pytest.approx(7.36, abs=0.01)
    requests = written("inference_perf/per_request_lifecycle_metrics.json")[0]
    assert requests.size == 36
    assert requests.gaps_s.size == 752  # 787 tokens, of which one came with another
    one = requests.columns["latency_s"] - requests.columns["ttft_s"]
    assert (one > 0).all()


def test_requests_of_guidellm_that_were_cut_off_left_the_client() -> None:
    data = json.loads((REAL / "guidellm_concurrent.json").read_text(encoding="utf-8"))
    groups = data["benchmarks"][0]["requests"]
    whole = len(groups["successful"])
    for one in groups["successful"][4:]:
        one["output_tokens"] = one["output_metrics"]["text_tokens"] = 0
    groups["incomplete"] = groups["successful"][4:]
    groups["successful"] = groups["successful"][:4]
    run = read_file(json.dumps(data), "a.json")[0]
    assert run.notes[0].startswith(f"{whole - 4} of {whole} requests were cut off at the end")
    assert np.isfinite(run.columns["sent_s"]).sum() == whole
    assert np.isfinite(run.columns["latency_s"]).sum() == 4
    assert np.isfinite(run.columns["output_tokens"]).sum() == 4
    assert run.columns["failed"].sum() == 0


def test_guidellm_draws_times_before_its_clock_is_set() -> None:
    run = written("guidellm_poisson.json")[0]
    assert not run.has("due_s")
    assert "another clock" in run.notes[0]
    assert run.told["completed"] == 24
    held = written("guidellm_concurrent.json")[0]
    late = held.columns["sent_s"] - held.columns["due_s"]
    assert held.told["concurrency"] == 3
    assert (late >= 0).all()
    assert late.max() < 0.1


def test_vllm_tells_latencies_without_details_and_what_waited_in_the_client() -> None:
    short = written("vllm.json")[0]
    assert short.columns["latency_s"].mean() == pytest.approx(short.told["latency_s"], rel=1e-6)
    assert 0 < short.told["delay_p99_s"] < 0.001
    details = written("vllm_details.json")[0]
    assert details.told["concurrency"] == 4
    assert not details.has("due_s")  # its clients wait for places by design
    assert details.columns["ttft_s"].mean() == pytest.approx(details.told["ttft_s"], rel=1e-6)
    assert np.ptp(details.columns["sent_s"]) > 0
    data = json.loads((REAL / "vllm_details.json").read_text())
    at_a_rate = read_file(json.dumps(data | {"request_rate": 2.0}), "a")[0]
    late = at_a_rate.columns["sent_s"] - at_a_rate.columns["due_s"]
    assert sorted(late) == pytest.approx(sorted(data["queue_times"]))
    found = report([at_a_rate], Asked()).findings
    assert "late_client" in [one.name for one in found if one.level == "problem"]


def test_sglang_in_short_and_with_details() -> None:
    short = written("sglang.jsonl")[0]
    assert short.tool == "SGLang bench_serving"
    details = written("sglang_details.jsonl")[0]
    assert details.columns["ttft_s"].mean() == pytest.approx(details.told["ttft_s"], rel=1e-6)
    assert details.columns["latency_s"].mean() == pytest.approx(details.told["latency_s"], rel=1e-3)


@pytest.mark.parametrize(
    ("tokens", "told"), [(-1, "not negative, got -1"), (1.5, "a count, whole"), (10**18, "at most")]
)
def test_tokens_that_no_request_has_are_refused_in_every_file(tokens: float, told: str) -> None:
    row = {"completed": 2, "duration": 4.0, "request_rate": "inf", "mean_ttft_ms": 60.0}
    row |= {"ttfts": [0.1, 0.1], "output_lens": [9, tokens]}
    with pytest.raises(ValueError, match=f"a.json: request 2, output tokens must be .*{told}"):
        read_file(json.dumps(row), "a.json")
    log = f"start,ttft_ms,latency_ms,output_tokens\n1.5,100,900,9\n2.5,100,900,{tokens}"
    with pytest.raises(ValueError, match=f"row 3, column output_tokens must be .*{told}"):
        read_file(log, "a.csv", "unit=s")


GUESSED = {"drafts": 800.0, "draft_tokens": 2400.0, "accepted_tokens": 1200.0}


@pytest.mark.parametrize("bad", [None, *BAD_JSON])
def test_what_vllms_benchmark_counts_of_guesses_is_told(bad: object) -> None:
    """Fields and lines as `serve.py` of 0.33 writes them; each place by the share of rounds."""
    row = {"completed": 2, "duration": 4.0, "request_rate": "inf", "mean_ttft_ms": 60.0}
    row |= {"spec_decode_num_drafts": 800, "spec_decode_draft_tokens": 2400}
    row |= {"spec_decode_accepted_tokens": 1200}
    places = "spec_decode_per_position_acceptance_rates"
    (run,) = read_file(json.dumps(row | {places: [0.8, 0.5, 0.2]}), "a.json")
    each = {"accepted_at_1": 640.0, "accepted_at_2": 400.0, "accepted_at_3": 160.0}
    assert {x: y for x, y in run.told.items() if x in GUESSED | each} == GUESSED | each
    (found,) = (one for one in report([run], Asked()).findings if one.name == "guesses")
    assert "of 3 guessed tokens 50%" in found.seen
    assert "accepted at each place in turn: 80%, 50%, 20%" in found.sure
    for name in (*row, places, [places]):
        hostile = {**row, places: [0.8, bad]} if isinstance(name, list) else row | {name: bad}
        with contextlib.suppress(ValueError):
            report(read_file(json.dumps(hostile), "a.json"), Asked(ttft_s=1.0))
    lines = ["== Serving Benchmark Result ==", "Successful requests:   2", "Failed requests:   0"]
    lines += ["Benchmark duration (s):  4.00", "--Speculative Decoding--", "Drafts:  800"]
    lines += ["Draft tokens:   2400", "Accepted tokens:   1200", "=" * 50]
    (run,) = read_file("\n".join(lines), "a.txt")
    assert {x: y for x, y in run.told.items() if x in GUESSED} == GUESSED
