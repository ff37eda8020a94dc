"""An engine's own log: lines of releases old and new, several engines, and what is no log."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.report.engine_log import log_lines_run
from serving_mathematics.report.evidence import Series
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.reading import read_file
from serving_mathematics.report.registry import report

V0 = (  # as issues of 2024 quote it
    "INFO 07-07 23:{:02}:{:02} metrics.py:341] Avg prompt throughput: 9601.7 tokens/s, Avg "
    "generation throughput: 412.5 tokens/s, Running: {} reqs, Swapped: 0 reqs, Pending: {} reqs, "
    "GPU KV cache usage: {}%, CPU KV cache usage: 0.0%."
)
V1 = (  # behind what Kubernetes writes before each line
    "2026-10-15T00:{:02}:{:02}.756689123Z (APIServer pid=1) INFO 10-14 17:02:38 [loggers.py:9] "
    "Engine 000: Avg prompt throughput: 0.0 tokens/s, Avg generation throughput: 843.6 tokens/s, "
    "Running: {} reqs, Waiting: {} reqs, Deferred: 1 reqs, Preemptions: 2, "
    "GPU KV cache usage: {}%, Prefix cache hit rate: 42.4%"
)
SGLANG = (
    "[2026-06-12 11:{:02}:{:02} TP0] Decode batch. #running-req: {}, #token: 123456, "
    "token usage: {}, cuda graph: True, gen throughput (token/s): 84.39, #queue-req: {}, "
)
OTHERS = "INFO 07-07 23:00:00 x.py:1] Started\n[2026-06-12 11:00:00] Prefill batch. #new-seq: 1"


def levels(text: str) -> Series:
    (run,) = read_file(text, "a.log")
    assert run.series is not None
    return run.series


@pytest.mark.parametrize("form", [V0, V1])
def test_lines_of_vllm_old_and_new_are_levels(form: str) -> None:
    lines = [form.format(59, 50 + 5 * k, 140 + k, 2563 - k, 94.8) for k in (0, 1)]
    series = levels("\n".join([OTHERS, *lines, OTHERS]))
    assert series.level("running").tolist() == [140, 141]
    assert series.level("waiting").tolist() == [2563, 2562]
    assert series.level("cache") == pytest.approx(0.948)
    assert np.diff(series.time_s).tolist() == [5.0]
    assert series.engines == {}


def test_without_a_share_of_the_cache_nothing_is_known_of_it() -> None:
    line = V1.format(0, 1, 3, 4, 0).partition(", Deferred")[0]
    assert levels(line).level("cache").size == 0
    assert levels(line).level("waiting").tolist() == [4]


def test_stages_of_a_pipeline_run_their_own_and_wait_for_the_same() -> None:
    """SGLang 0.5.23 has both lines; they were two moments with half of what runs."""
    lines = [
        f"[2026-06-12 11:00:{k:02} DP{d} PP{p} MOE_DP1 TP0] Decode batch, #running-req: {4 + p}, "
        f"#full token: 9, full token usage: 0.{6 - p}, cuda graph: True, #queue-req: 3"
        for k in (0, 10)
        for d in (0, 1)
        for p in (0, 1)
    ]
    series = levels("\n".join(lines))
    assert series.level("running").tolist() == [18.0] * 2
    assert series.level("waiting").tolist() == [6.0] * 2
    assert series.level("cache").tolist() == [0.6] * 2
    assert series.engines["1"]["running"].tolist() == [9.0] * 2
    alone = levels("\n".join(lines).replace("DP0 ", "").replace("DP1 ", ""))
    assert alone.level("running").tolist() == [9.0] * 4
    assert alone.engines == {}
    first = [f"[2026-06-12 11:00:09 MOE_DP{k} TP0] Decode batch [7], " for k in (0, 1)]
    said = lines[0].partition("batch, ")[2]
    assert levels("\n".join(x + said for x in first)).level("running").tolist() == [4.0] * 2


def test_an_engine_that_says_nothing_is_empty() -> None:
    busy = [V1.format(0, k, 5, 30, 95.0) for k in range(3)]
    other = V1.format(0, 1, 2, 0, 10.0).replace("Engine 000", "Engine 013")
    series = levels("\n".join([*busy[:2], other, busy[2]]))
    assert series.level("running").tolist() == [5, 7, 5]
    assert series.engines["13"]["running"].tolist() == [0, 2, 0]
    assert series.level("cache") == pytest.approx(0.95)


@pytest.mark.parametrize("stamps", [("12-31 23:59:59", "01-01 00:00:09"), ("99-99 0", "x")])
def test_times_that_go_back_or_are_none_are_not_told(stamps: tuple[str, str]) -> None:
    lines = [V0.format(0, 0, 1, 2, 3.0).replace("07-07 23:00:00", stamp) for stamp in stamps]
    series = levels("\n".join(lines))
    assert np.isnan(series.time_s).all()
    assert series.level("running").tolist() == [1, 1]


def test_a_full_cache_in_the_log_binds() -> None:
    text = "\n".join(V0.format(k, 0, 147, 2563, 95.0) for k in range(12))
    (finding,) = report(read_file(text, "a.log"), Asked()).findings
    assert finding.name == "binding"
    assert finding.seen.startswith("memory binds")
    assert "--gpu-memory-utilization" in finding.change


def test_sglang_that_keeps_room_for_answers_is_told_to_keep_less() -> None:
    lines = [SGLANG.format(k, 0, 399 if k % 5 == 0 else 370, 0.29, 646) for k in range(15)]
    run = read_file("\n".join(lines), "a.log")
    (found,) = report(run, Asked()).findings
    assert found.seen.startswith("room for answers, the token budget or the host binds")
    assert found.change.startswith("lower --schedule-conservativeness")
    steady = "\n".join(SGLANG.format(k, 0, 399, 0.29, 646) for k in range(15))
    (found,) = report(read_file(steady, "a.log"), Asked()).findings
    assert found.change.endswith("room is kept for answers to come")
    for asked, text in ((Asked(places=399), steady), (Asked(), steady.replace("0.29", "0.97"))):
        (found,) = report(read_file(text, "a.log"), asked).findings
        assert "conservativeness" not in found.change


def test_another_text_is_refused() -> None:
    with pytest.raises(ValueError, match=r"a must be an engine's log with lines that say Running"):
        log_lines_run(OTHERS, "a")


@given(st.lists(st.sampled_from([V0, V1, SGLANG, OTHERS]) | st.text(max_size=40), max_size=6))
def test_any_lines_are_read_or_refused(lines: list[str]) -> None:
    text = "\n".join(line.replace("{:02}", "09").replace("{}", "1") for line in lines)
    if not any(form in lines for form in (V0, V1, SGLANG)):
        with pytest.raises(ValueError, match=r"^a must be an engine's log"):
            log_lines_run(text, "a")
        return
    series = log_lines_run(text, "a").series
    assert series is not None
    assert series.time_s.size == series.level("running").size > 0
