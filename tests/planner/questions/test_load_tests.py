"""Load tests: files as every tool writes them, refusals, and the plan that they change."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.catalogue import deployed, find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.planner.answers.lines import _misfit
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets
from serving_mathematics.planner.configurations import _error
from serving_mathematics.planner.planner_command import main
from serving_mathematics.planner.questions.load_tests import (
    TOOLS,
    LoadRun,
    read_load_runs,
    read_load_test,
    read_typed,
    runs_of,
)
from serving_mathematics.planner.questions.questions import read_choices, read_question

from ...bad_json import BAD_JSON, changed, places
from ...profiles import THOROUGH, TODAY

FOLDER = Path(__file__).parents[1] / "load_tests"
LLAMA = deployed("Llama-3.1-8B", "H100")


def read(name: str) -> list[LoadRun]:
    return read_load_test((FOLDER / name).read_text(), name)


@pytest.mark.parametrize(
    ("name", "loads", "steady"),
    [
        ("vllm.json", [1], [True]),
        ("vllm_appended.json", [1, 16, 64], [True] * 3),
        ("vllm_detailed.json", [4], [True]),
        ("profile_export_aiperf.json", [16], [True]),
        ("profile_export_aiperf.csv", [16], [False]),
        ("benchmarks.json", [1, 15.84, 15.147], [True, True, False]),
    ],
)
def test_files_of_every_tool(name: str, loads: list[float], steady: list[bool]) -> None:
    runs = read(name)
    assert [run.load for run in runs] == pytest.approx(loads, rel=0.01)
    assert [run.steady for run in runs] == steady
    for run in runs:
        assert (run.prompt_tokens, run.output_tokens) == pytest.approx((1024, 256))
        assert 0.007 < run.tpot_s < 0.03
        assert 0.04 < run.ttft_s < 0.5


def test_the_same_load_is_the_same_whoever_wrote_it() -> None:
    runs = [read("vllm_appended.json")[1], *read("profile_export_aiperf.json")]
    runs += [*read("profile_export_aiperf.csv"), read("benchmarks.json")[1]]
    for run in runs:
        assert run.tpot_s == pytest.approx(0.00942)
        assert run.ttft_s == pytest.approx(0.118)
        assert run.completed == 320


def test_lengths_that_are_known_to_be_equal_are_told() -> None:
    assert [read(name)[0].equal_lengths for name in ("vllm.json", "vllm_detailed.json")] == [
        *(False, True)
    ]
    one = runs_of(read("vllm.json"), LLAMA)[0].deployment
    assert (one.mean_input_tokens, one.mean_output_tokens) == pytest.approx((1024, 256))
    equal = runs_of(read("vllm_detailed.json"), LLAMA)[0].deployment
    assert (equal.shortest_share, equal.input_tokens) == (1.0, 1024)


def test_a_test_without_limit_is_at_its_mean_load() -> None:
    row = json.loads((FOLDER / "vllm.json").read_text()) | {"max_concurrency": None}
    (run,) = read_load_test(json.dumps(row), "a")
    assert run.load == pytest.approx(20 / 38.2 * (0.0413 + 255 * 0.00732))
    assert not run.steady
    (never_full,) = read_load_test(json.dumps(row | {"max_concurrency": 64}), "a")
    assert never_full == run


def refusal(call: Callable[[], object]) -> str:
    """Why it is refused; "" where it is not."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


def _changed(name: str, path: str, value: object) -> str:
    data = json.loads((FOLDER / name).read_text())
    here = data
    *parts, last = path.split(".")
    for part in parts:
        here = here[int(part)] if part.isdigit() else here[part]
    here[last] = value
    return json.dumps(data)


PRINTED = """\
Traffic request rate: {rate}
Burstiness factor: 1.0 (Poisson process)
Maximum request concurrency: {limit}
============ Serving Benchmark Result ============
Successful requests:                     320
Benchmark duration (s):                  50.40
Total input tokens:                      327680
Total generated tokens:                  81920
Request throughput (req/s):              6.35
Output token throughput (tok/s):         1625.40
Peak output token throughput (tok/s):    1950.00
---------------Time to First Token----------------
Mean TTFT (ms):                          118.00
Median TTFT (ms):                        106.20
P99 TTFT (ms):                           283.20
-----Time per Output Token (excl. 1st token)------
Mean TPOT (ms):                          9.42
P99 TPOT (ms):                           11.30
==================================================
"""  # as vLLM 0.6 to 0.10 print it; of the record in vllm_appended.json with 16 at a time


def test_what_is_printed_is_read_as_the_file_is() -> None:
    (said,) = read_load_test(PRINTED.format(rate="inf", limit=16), "a")
    written = read("vllm_appended.json")[1]
    assert replace(said, where="", model="") == replace(written, where="", model="")
    quoted = "".join(f"> **{x}**\n" for x in PRINTED.format(rate="inf", limit=16).splitlines())
    assert read_load_test(quoted, "a") == [said]
    (free,) = read_load_test(PRINTED.format(rate="inf", limit=None), "a")
    assert not free.steady
    assert free.load == pytest.approx(16, rel=0.05)


def test_limits_are_those_before_a_printed_result_or_in_it() -> None:
    both = PRINTED.format(rate="inf", limit=16) + PRINTED.format(rate="6.4", limit=16)
    assert [run.steady for run in read_load_test(both, "a")] == [True, False]
    assert [run.where for run in read_load_test(both, "a")] == ["a, run 1", "a, run 2"]
    block, at = PRINTED[PRINTED.index("=") :], "Benchmark duration"
    inside = "Failed requests: 0\nMaximum request concurrency: 16\n"  # as 0.11 and later print
    (run,) = read_load_test(block.replace(at, inside + at), "a")
    assert (run.load, run.steady) == (16, True)
    inside += "Request rate configured (RPS): 6.40\n"
    assert not read_load_test(block.replace(at, inside + at), "a")[0].steady


@pytest.mark.parametrize("label", ["Successful requests", "Benchmark duration (s)"])
def test_a_printed_result_that_is_cut_says_which_line_it_lacks(label: str) -> None:
    text = PRINTED.format(rate="inf", limit=16).replace(label, "X")
    with pytest.raises(ValueError, match=r"^a must be a printed result with its line") as refused:
        read_load_test(text, "a")
    assert repr(label) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a must be a result of vLLM"),
        ("[]", "a: must be a result of vLLM"),
        ('{"p99": 1}', TOOLS.replace("(", r"\(").replace(")", r"\)")),
        ("{", "a: must be JSON or CSV"),
        ("Metric,Value\nRequest Count,0\n", "a must be a test with completed requests"),
        (_changed("vllm.json", "completed", 0), "a must be a test with completed requests"),
        (_changed("vllm.json", "mean_tpot_ms", 5e4), r"did you mean 0.05 s, for 50 ms\?"),
        (_changed("vllm.json", "mean_tpot_ms", 0.0073), "TPOT must be from 0.0002 to 2 s"),
        (_changed("vllm.json", "mean_ttft_ms", "fast"), "mean_ttft_ms must be a number"),
        (_changed("vllm.json", "duration", None), "duration must be a number"),
        (
            _changed("profile_export_aiperf.json", "time_to_first_token", None),
            r"time_to_first_token.avg must be a number \(was the test streamed\?\)",
        ),
        (
            _changed("profile_export_aiperf.json", "inter_token_latency.unit", "hours"),
            "inter_token_latency must be in us, ms or s, got 'hours'",
        ),
        (
            _changed("benchmarks.json", "benchmarks.0.metrics.request_totals.successful", 0),
            "a, run 1 must be a test with completed requests",
        ),
        ('{"benchmarks": [{}]}', "a, run 1 must be a test with completed requests"),
        (_changed("vllm.json", "mean_ttft_ms", "x" * 99), rf"\(.*\), got '{'x' * 39}$"),
        (
            _changed("profile_export_aiperf.json", "inter_token_latency.unit", "x" * 99),
            f"in us, ms or s, got '{'x' * 39}$",
        ),
        (f'{{"{"x" * 99}": 1}}', f"got {'x' * 60}$"),
    ],
)
def test_refusals_name_the_file_and_the_rule(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        read_load_test(text, "a")
    assert "\n" not in str(refused.value)


def test_seconds_of_aiperf_are_seconds() -> None:
    text = _changed("profile_export_aiperf.json", "inter_token_latency", {"unit": "s", "avg": 0.02})
    assert read_load_test(text, "a")[0].tpot_s == 0.02


def test_another_model_or_device_is_refused() -> None:
    runs = read("profile_export_aiperf.json")
    assert len(runs_of(runs, LLAMA)) == 1
    with pytest.raises(ValueError, match=r"the model must be Qwen/Qwen3-32B, as asked, got meta"):
        runs_of(runs, replace(LLAMA, architecture=find_model("Qwen3-32B")[0]))
    with pytest.raises(ValueError, match=r"the device must be h200_sxm, as asked, got NVIDIA H100"):
        runs_of(runs, replace(LLAMA, system=find_system("H200")))
    far = [replace(run, model=f"{'x' * 99}/Qwen3-32B") for run in runs]
    with pytest.raises(ValueError, match=f"as asked, got {'x' * 60}$"):
        runs_of(far, LLAMA)
    other = [replace(run, device="x" * 99) for run in runs]
    with pytest.raises(ValueError, match=f"h100_sxm, as asked, got {'x' * 60}$"):
        runs_of(other, LLAMA)


def test_guidellm_names_its_model_here_or_there() -> None:
    """With each run, or once for all of them; the run's is the nearer."""
    data = json.loads((FOLDER / "benchmarks.json").read_text())
    near = data["benchmarks"][0]["config"]["backend"].pop("model")
    for one in data["benchmarks"][1:]:
        one["config"]["backend"]["model"] = "of the run"
    for where in ({"model": "of all"}, {"backend": {"model": "of all"}}):
        runs = read_load_test(json.dumps(data | {"args": where}), "a")
        assert [run.model for run in runs] == ["of all", "of the run", "of the run"]
    assert read_load_test(json.dumps(data), "a")[0].model == ""
    assert near == "meta-llama/Llama-3.1-8B-Instruct"


def test_a_model_of_a_path_is_taken_for_the_one_that_is_asked() -> None:
    text = _changed("vllm.json", "model_id", "/models/ours/")
    assert len(runs_of(read_load_test(text, "a"), LLAMA)) == 1


@given(st.text(max_size=30))
def test_any_text_is_typed_or_refused(text: str) -> None:
    said = refusal(lambda: read_typed(text, 1000, 250))
    assert not said or said.startswith("load_test, entry ")


def test_a_list_that_is_shorter_than_its_path_leads_nowhere() -> None:
    data = json.loads((FOLDER / "profile_export_aiperf.json").read_text())
    named = read_load_test(json.dumps(data), "a")
    endpoint = data["input_config"].pop("endpoint")
    for items, model in (([], ""), ([{"name": "b"}], "b")):
        data["input_config"]["models"] = {"items": items}
        (run,) = read_load_test(json.dumps(data), "a")
        assert run.model == model
    data["input_config"]["endpoint"] = endpoint
    assert read_load_test(json.dumps(data), "a") == named


@pytest.mark.parametrize(
    "name", ["vllm.json", "vllm_detailed.json", "profile_export_aiperf.json", "benchmarks.json"]
)
def test_any_value_at_any_place_is_read_or_refused(name: str) -> None:
    data = json.loads((FOLDER / name).read_text())
    for number, path in enumerate(places(data)):
        for value in BAD_JSON if THOROUGH else BAD_JSON[(number + TODAY) % 6 :: 6]:
            text = json.dumps(changed(data, path, value))
            said = refusal(functools.partial(read_load_test, text, "a"))
            assert not said or re.fullmatch(r"a[ :,].{9,300}", said), (path, said)


@pytest.mark.parametrize(
    "cell", ["", "x", "nan", "inf", "\0", '"', "\r", "9" * 200_000, "1,2", "-1"]
)
def test_any_cell_of_a_table_is_read_or_refused(cell: str) -> None:
    rows = (FOLDER / "profile_export_aiperf.csv").read_text().split("\n")
    for number, row in enumerate(rows):
        cells = row.split(",")
        for place in range(len(cells)):
            changed = ",".join([*cells[:place], cell, *cells[place + 1 :]])
            text = "\n".join([*rows[:number], changed, *rows[number + 1 :]])
            said = refusal(functools.partial(read_load_test, text, "a"))
            assert not said or re.fullmatch(r"a[ :,].{9,300}", said), (number, place, said)


@pytest.mark.parametrize(
    ("name", "path", "factor", "words"),
    [
        (
            "vllm.json",
            "duration",
            1000,
            "request_throughput must be what its other numbers say, 0.0",
        ),
        ("vllm.json", "duration", 0.01, "request_throughput must be what its other numbers say"),
        ("vllm.json", "request_throughput", 100, "request_throughput must be what its other"),
        (
            "vllm.json",
            "output_throughput",
            0.01,
            "output_throughput must be what its other numbers",
        ),
        (
            "profile_export_aiperf.json",
            "benchmark_duration.avg",
            1000,
            "request_throughput must be",
        ),
        ("profile_export_aiperf.json", "request_throughput.avg", 100, "request_throughput must be"),
    ],
)
def test_numbers_that_contradict_one_another_are_refused(
    name: str, path: str, factor: float, words: str
) -> None:
    """A duration in milliseconds, a throughput of minutes: a hundredfold is no noise."""
    value: Any = json.loads((FOLDER / name).read_text())
    here = value
    for part in path.split(".")[:-1]:
        here = here[part]
    here[path.split(".")[-1]] *= factor
    with pytest.raises(ValueError, match=f"^a: {words}"):
        read_load_test(json.dumps(value), "a")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"completed": 20.5}, "a must be a test with completed requests"),
        (
            {"failed": 21},
            "a must be a test that completed more than failed, got 20 completed and 21",
        ),
    ],
)
def test_a_test_that_is_no_whole_one_is_refused(change: dict[str, float], words: str) -> None:
    row = json.loads((FOLDER / "vllm.json").read_text())
    with pytest.raises(ValueError, match=words):
        read_load_test(json.dumps(row | change), "a")
    long = json.dumps(row | {"total_input_tokens": 20 * 200_000})
    with pytest.raises(ValueError, match=r"a: tokens of a request must be within the context"):
        runs_of(read_load_test(long, "a"), WORKED)


@pytest.mark.parametrize("name", ["vllm.json", "profile_export_aiperf.json", "benchmarks.json"])
def test_times_that_its_throughput_cannot_have_are_refused(name: str) -> None:
    """By Little's law: with the duration and all throughputs, where only these say it."""
    value: Any = json.loads((FOLDER / name).read_text())
    if name == "vllm.json":
        value["duration"] *= 1000
        for key in ("request_throughput", "output_throughput"):
            value[key] = None
    elif name == "benchmarks.json":
        value["benchmarks"][0]["metrics"]["requests_per_second"]["successful"]["mean"] *= 100
    else:
        value["request_throughput"]["avg"] *= 1000
        del value["benchmark_duration"]
    with pytest.raises(ValueError, match=r"^a.*: requests at a time must be from .* where it held"):
        read_load_test(json.dumps(value), "a")


def test_a_limit_is_a_number_of_requests() -> None:
    """As many as were completed may have been inside; a truth value and a half are no limit."""
    for limit, steady in ((40, True), (41, False), (8.0, True), (7.5, False), (True, False)):
        row = json.loads((FOLDER / "vllm.json").read_text()) | {"completed": 40, "duration": 4.0}
        row |= {"request_throughput": None, "output_throughput": None}
        (run,) = read_load_test(json.dumps(row | {"max_concurrency": limit}), "a")
        assert run.steady is steady
        text = _changed("profile_export_aiperf.json", "input_config.loadgen.concurrency", limit)
        (run,) = read_load_test(text, "a")
        assert run.steady is (limit not in (7.5, True))


def test_no_time_and_no_duration_are_refused() -> None:
    for key in ("duration", "mean_ttft_ms", "total_input_tokens"):
        with pytest.raises(ValueError, match=r"^a: "):
            read_load_test(_changed("vllm.json", key, 0), "a")


def test_files_and_typed_text_are_told_apart(tmp_path: Path) -> None:
    assert read_load_runs("16:0.2:0.01, 8/s:0.2:0.01", 1000, 250)[1].steady is False
    names = ",".join(str(FOLDER / name) for name in ("vllm.json", "benchmarks.json"))
    assert len(read_load_runs(names, 1000, 250)) == 4
    (tmp_path / "b").write_bytes(b"\xff\xfe\xff")
    for text, message in (
        ("nowhere.json", "load_test must be files that can be read, or typed, got 'nowhere.json'"),
        ("\0", "load_test a file must have a name"),
        ("a.json,,b.json", "load_test must be files of different names with commas between, or"),
        ("a.json, a.json", "load_test must be files of different names with commas between, or"),
        ("16:0.2:0.01,16:0.2:0.01", "load_test, entry 2 must be once, got 16:0.2:0.01"),
        ("x" * 99, f"or typed, got '{'x' * 60}'$"),
        (f"1:1:{'x' * 99}", f"in seconds, got '1:1:{'x' * 36}'$"),
        (f"1:1:{'1.' * 99}", rf"in seconds, got '1:1:{'1.' * 18}'$"),
        (str(tmp_path), "load_test must be files that can be read"),
        (str(tmp_path / "b"), "must be UTF-8 text"),
    ):
        with pytest.raises(ValueError, match=message):
            read_load_runs(text, 1000, 250)


ASKED = {"rate_per_s": 60, "requests": 100, "parallelism": "tp1"}


def test_a_slow_machine_needs_a_larger_fleet() -> None:
    slow = "1:0.05:0.012,16:0.2:0.016,64:0.8:0.045"
    asked = read_question(ASKED | {"load_test": slow})
    assert asked.calibration is not None
    assert asked.calibration.factors[1] > 1.2
    assert Fleets(asked).fewest().replicas > Fleets(read_question(ASKED)).fewest().replicas


def test_the_command_says_what_was_fitted(capsys: pytest.CaptureFixture[str]) -> None:
    test = ["--load-test", str(FOLDER / "vllm_appended.json")]
    question = ["--rate-per-s", "6", "--requests=100", "--parallelism=tp1", "--other-devices=none"]
    assert main([*question, *test]) == 0
    out = capsys.readouterr().out
    assert "Calibrated with 3 runs: " in out
    assert "that 3 others calibrated, and the load test" in " ".join(out.split())
    rows = re.findall(r"^\d+ at a time, 1,024 in,(?: 256)? +(\S+)", out, re.MULTILINE)
    assert len(rows) == 3
    assert rows[1] == "9.42"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parallelism": "auto"}, "parallelism must be given where load_test is"),
        (
            {"device": "H100,H200", "price_per_hour": "2,3"},
            "device must be one, where load_test says how fast it is",
        ),
        ({"precision": "bf16,fp8"}, "precision must be one, where load_test says"),
        ({"load_test": "16:0.2:50"}, "did you mean 0.05 s, for 50 ms"),
    ],
)
def test_questions_that_the_test_does_not_answer(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_choices(ASKED | {"load_test": "16:0.2:0.01"} | change)


def test_the_first_split_is_the_one_that_was_tested() -> None:
    both = read_choices(ASKED | {"parallelism": "tp2,tp1", "load_test": "16:0.2:0.01"})
    calibration = both[0].calibration
    assert calibration is not None
    assert calibration.runs[0].deployment.tensor == 2
    assert both[1].calibration is calibration
    assert [_error(one).calibrated_by for one in both] == [1, 0]


def test_a_device_that_nobody_measured_may_be_far_from_predicted() -> None:
    asked = ASKED | {"load_test": "1:0.5:0.03"}
    told = [read_question(asked | {"device": name}).calibration for name in ("MI300X", "H100")]
    far, near = (one.after.per_token_s[0] for one in told if one)
    assert far == pytest.approx(0.03, rel=0.1)
    assert near < 0.02


def test_phases_of_aiperf_are_a_list_since_its_schema_1_4() -> None:
    data = json.loads((FOLDER / "profile_export_aiperf.json").read_text())
    (plain,) = read_load_test(json.dumps(data), "a file")
    assert plain.steady
    warm = {"name": "warmup", "type": "concurrency", "concurrency": 3}
    main = {"name": "profiling", "type": "concurrency", "concurrency": int(plain.load)}
    settings = {"models": {"items": [{"name": plain.model}]}, "phases": [warm, main]}
    (run,) = read_load_test(json.dumps(data | {"input_config": settings}), "a file")
    assert run == plain
    timed = settings | {"phases": [warm, {"name": "profiling", "rate": 5.0, "concurrency": 9}]}
    (run,) = read_load_test(json.dumps(data | {"input_config": timed}), "a file")
    assert not run.steady


def test_thousands_of_a_table_are_numbers() -> None:
    text = (FOLDER / "profile_export_aiperf.csv").read_text().replace(",118.00,", ',"1,118.00",')
    assert read_load_test(text, "a")[0].ttft_s == 1.118  # as genai-perf prints them


def test_what_is_typed_may_have_blanks_and_powers() -> None:
    (run,) = read_load_runs("1.6e1 : 0.25 : 0.011", 1000, 200)
    assert (run.load, run.ttft_s, run.tpot_s) == (16.0, 0.25, 0.011)


def test_a_front_that_runs_contradict_is_refused_and_the_nearest_named() -> None:
    """On a device that was measured; on another it may be the device."""
    asked: dict[str, object] = {"rate_per_s": 1, "precision": "bf16", "parallelism": "tp1"}
    asked |= {"front": "benchmark", "load_test": "16:0.5:0.03"}
    told = r"front must be one behind .* \(nearest: [\w-]+; or none\), got benchmark, behind which"
    with pytest.raises(ValueError, match=told):
        read_choices(asked)
    assert read_choices(asked | {"device": "L4"})[0].calibration
    assert read_choices({name: asked[name] for name in asked if name != "front"})[0].calibration


def test_runs_that_contradict_each_other_are_told() -> None:
    """The last takes twice as long as one engine would that has the others."""
    runs = "1:0.3:0.015,16:0.5:0.022,64:1.2:0.06"
    asked = {"rate_per_s": 1, "model": "Qwen3-32B", "device": "H100", "parallelism": "tp2"}
    asked |= {"precision": "fp8"}
    (one,) = read_choices(asked | {"load_test": runs})
    assert _misfit(one).startswith(" Of the load test, the run of 64 at a time, 1,000 in, 250 out ")
