"""Two scrapes: labels, missing counters, restarts; and a front that they settle."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.fronts import FRONTS, front_constants
from serving_mathematics.core.hardware.step_time import count_work
from serving_mathematics.machine.predictions.own_runs import calibrate
from serving_mathematics.machine.predictions.scrapes import read_scrape, scraped_run

NAMES = (
    *("prompt_tokens_total", "generation_tokens_total", "time_to_first_token_seconds_sum"),
    *("time_to_first_token_seconds_count", "inter_token_latency_seconds_sum"),
    *("inter_token_latency_seconds_count", "e2e_request_latency_seconds_sum"),
)


def texts(*grown: float) -> tuple[str, str]:
    """Two scrapes between which the counters grew by so much, in two halves by label."""
    first = "\n".join(f'vllm:{name}{{engine="0"}} 11' for name in NAMES)
    second = "\n".join(
        f'vllm:{name}{{engine="{part}"}} {11 * (part == 0) + value / 2!r}'
        for name, value in zip(NAMES, grown, strict=True)
        for part in (0, 1)
    )
    return first, second


def test_labels_are_summed_and_buckets_left_out() -> None:
    told = 'a{x="1"} 1\na{x="2"} 2e1\na_bucket{le="0.1"} 5\n\n# TYPE a counter\na:b_total 3 1700000'
    assert read_scrape(told) == {"a": 21.0, "a:b_total": 3.0}


def test_rays_sums_of_times_are_no_times() -> None:
    """They are of the middles of buckets, so a run is not made of them."""
    told = '{otel_scope_name="ray._private.telemetry.open_telemetry_metric_recorder"}'
    before, after = ("\n".join(f"ray_vllm_{name}{told} {k}" for name in NAMES) for k in (1, 2))
    assert read_scrape(after)["vllm:prompt_tokens_total"] == 2.0
    with pytest.raises(ValueError, match=r"_seconds_sum, got a scrape without it, as Ray's are"):
        scraped_run(before, after, 60.0, WORKED)


def test_of_guessed_tokens_vllm_counts_the_steps() -> None:
    """A hundred answers of 200 tokens, three a step after the first, in steps of 30 ms."""
    steps = 100 * 199 / 3
    grown = (1e5, 2e4, 5.0, 100.0, 0.03 * steps, steps, 5.0 + 0.03 * steps)
    before, after = texts(*grown)
    name = "vllm:spec_decode_num_accepted_tokens_total"
    guessed = f"{after}\n{name} {7 + 2 * steps!r}"
    run = scraped_run(f"{before}\n{name} 7", guessed, 60.0, WORKED)
    assert run.per_token_s == pytest.approx(0.01)
    with pytest.raises(ValueError, match="which does not fall"):
        scraped_run(guessed, after + f"\n{name} 7", 60.0, WORKED)


def test_first_tokens_of_sglang_are_those_of_streamed_answers() -> None:
    """Of a hundred answers, forty tell their first token a second late, with their fiftieth."""
    before, after = (text.replace("vllm:", "sglang:") for text in texts(*[100.0] * len(NAMES)))
    name, late = "sglang:time_to_first_token_seconds", 'is_streaming="false"'
    streamed = after.replace("token_seconds_count{", 'token_seconds_count{is_streaming="true",')
    more = f"{name}_sum{{{late}}} 40\n{name}_count{{{late}}} 40"
    run = scraped_run(before, f"{streamed}\n{more}", 60.0, WORKED)
    assert run.first_token_s == pytest.approx(1.0)
    assert run.deployment.input_tokens == 1.0  # of all
    alone = "\n".join(
        line.replace("{", f"{{{late},") if "first_token" in line else line
        for line in after.splitlines()
    )
    with pytest.raises(ValueError, match=r"first_token_seconds_count must be a counter that grew"):
        scraped_run("", alone, 60.0, WORKED)


def test_scrapes_of_a_loop_settle_its_front() -> None:
    """Four loads behind a slow front, as its engine would count them, bring the others near."""
    truth = front_constants(FRONTS["ml-energy"])
    runs = []
    for load in (1.0, 16.0, 64.0, 192.0):
        one = replace(WORKED, concurrency=load)
        found = loop_latencies(count_work([one]), truth)
        first, each = float(found.first_token_s[0]), float(found.per_token_s[0])
        stay, seconds = first + each * 199, 600.0
        count = load * seconds / stay
        grown = (1000 * count, 200 * count, first * count, count, 199 * each * count, 199 * count)
        run = scraped_run(*texts(*grown, stay * count), seconds, WORKED, steady=True)
        assert run.deployment.concurrency == pytest.approx(load, rel=1e-6)
        assert run.per_token_s == pytest.approx(each, rel=1e-6)
        runs.append(run)
    found = calibrate(runs)
    before, after = (
        np.abs(one.per_token_s / [run.per_token_s for run in runs] - 1)
        for one in (found.before, found.after)
    )
    assert after.max() < 0.05 < before.max()
    assert found.factors[4] > 1.5  # the host's work


def test_what_is_missing_or_fell_is_named() -> None:
    good = texts(*(100.0 for _ in NAMES))
    for name in NAMES:
        without = "\n".join(line for line in good[1].splitlines() if name not in line)
        with pytest.raises(ValueError, match=r"after must have vllm:|a counter that grew"):
            scraped_run(good[0], without, 1.0, WORKED)
    with pytest.raises(ValueError, match="must be a counter that grew between them, got -100"):
        scraped_run(good[1], good[0], 1.0, WORKED)
    with pytest.raises(ValueError, match=r"after must be of vllm or sglang, with its metrics, got"):
        scraped_run("", "tgi_requests 3", 1.0, WORKED)
    with pytest.raises(ValueError, match="line 2: must end in a number, got 'x'"):
        scraped_run("vllm:a 1\nvllm:b x", good[1], 1.0, WORKED)
