from __future__ import annotations

import json
import re

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_mathematics.report.engine_metrics import (
    WITHIN,
    _looks_scraped,
    _looks_tabled,
    counters,
    range_query_run,
    scrape_run,
    table_run,
)
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.findings.of_the_engine import binding, queue_or_prefill
from serving_mathematics.report.reading import joined, read_file
from serving_mathematics.report.registry import report

SCRAPE = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 12.0
vllm:num_requests_running{engine="1",model_name="m"} 30.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.25
vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.75
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="m"} 0.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="m"} 100.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="m"} 30.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="m"} 100.0
# TYPE vllm:num_preemptions_total counter
vllm:num_preemptions_total{engine="0",model_name="m"} 7.0
"""


def test_samples_are_those_of_the_official_parser() -> None:
    engine, found = counters(SCRAPE)
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(SCRAPE):
        for sample in family.samples:
            sums[sample.name] = sums.get(sample.name, 0.0) + sample.value
    assert engine == "vLLM"
    assert found["running"] == sums["vllm:num_requests_running"] == 42.0
    assert found["ttft_s"] == sums["vllm:time_to_first_token_seconds_sum"]
    assert found["cache"] == 0.75
    assert _looks_scraped(SCRAPE)
    assert not _looks_scraped("INFO 12-01 08:00:00 [logger.py:43] Received request x: params")


def test_one_scrape_counts_from_the_start_and_two_from_the_first() -> None:
    one = scrape_run(SCRAPE, "a").series
    assert one.grown("preemptions") == 7.0
    two = joined([scrape_run(x, "a") for x in (SCRAPE, SCRAPE.replace("} 7.0", "} 9.0"))])[0].series
    assert two.grown("preemptions") == 2.0


@pytest.mark.parametrize(
    ("of", "timed", "token_s"),
    [("vllm:", "inter_token_latency", 0.01), ("trtllm_", "time_per_output_token", 0.03)],
)
def test_a_gap_of_guessed_tokens_is_of_as_many(of: str, timed: str, token_s: float) -> None:
    """Nine gaps of 30 ms, in which 18 guesses were accepted, are 27 tokens; TensorRT-LLM observes
    the mean of a token of each answer."""
    counted = {f"{timed}_seconds_sum": 0.27, f"{timed}_seconds_count": 9.0}
    counted["spec_decode_num_accepted_tokens_total"] = 18.0
    text = "\n".join(f"{of}{name} {value}" for name, value in counted.items())
    assert scrape_run(text, "a").told["tpot_s"] == pytest.approx(token_s)


def test_means_are_differences_of_sums() -> None:
    run = scrape_run(SCRAPE, "a")
    assert run.told["ttft_s"] == pytest.approx(0.3)
    assert run.told["completed"] == 100.0
    later = "# time 1700000060\n" + SCRAPE.replace("} 30.0\n", "} 40.0\n").replace(
        "} 100.0", "} 150.0"
    )
    (run,) = joined([scrape_run(x, "a") for x in ("# time 1700000000\n" + SCRAPE, later)])
    assert run.told["ttft_s"] == pytest.approx(10 / 50)
    assert run.told["duration_s"] == 60.0


def test_first_tokens_of_sglang_are_those_of_streamed_answers() -> None:
    name, late = "sglang:time_to_first_token_seconds", 'is_streaming="false"'
    lines = [f'{name}_sum{{is_streaming="true"}} 6', f'{name}_count{{is_streaming="true"}} 60']
    lines += [f"{name}_sum{{{late}}} 48", f"{name}_count{{{late}}} 40"]
    lines += ["sglang:prompt_tokens_total 5000"]
    told = scrape_run("\n".join(lines), "a").told
    assert told == pytest.approx({"ttft_s": 0.1, "prompt_tokens": 50.0, "completed": 100.0})
    told = scrape_run("\n".join(lines[2:]), "a").told
    assert "ttft_s" not in told
    listed = []
    for line in (*lines[:4], "sglang:queue_time_seconds_sum 2"):
        family, *streamed, grown = re.split(r'\{is_streaming="|"\} | ', line)
        metric = {"__name__": family} | dict(zip(["is_streaming"], streamed, strict=False))
        listed.append({"metric": metric, "values": [[0, "0"], [60, grown]]})
    run = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "a")
    assert run.series.grown("ttft_s") == 6
    found = queue_or_prefill(run, Asked())
    assert found.seen.startswith("20% of the time to first token of 100 ms in the mean")


@pytest.mark.parametrize(
    ("of", "per_answer"),
    [
        ("vllm:", "request_time_per_output_token"),
        ("sglang:", "request_time_per_output_token"),
        ("trtllm_", "time_per_output_token"),
        ("serving_", "time_per_output_token"),
    ],
)
def test_histograms_of_requests_tell_who_was_in_time(of: str, per_answer: str) -> None:
    first, gap = (f"{of}{name}_seconds" for name in ("time_to_first_token", "inter_token_latency"))
    rows = [f'{first}_bucket{{le="1.0"}} 9', f'{of}{per_answer}_seconds_bucket{{le="0.05"}} 7']
    rows += [f'{gap}_bucket{{le="0.05"}} 900', f"{of}prompt_tokens_total 5"]
    found = scrape_run("\n".join(rows), "a").series.values
    within = {name: x[-1] for name, x in found.items() if WITHIN in name}
    assert within == {"ttft within 1": 9.0, "tpot within 0.05": 7.0}


def test_triton_tells_by_labels() -> None:
    lines = [
        'nv_trt_llm_request_metrics{model="m",request_type="waiting",version="1"} 4',
        'nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} 64',  # of both
        'nv_trt_llm_request_metrics{model="m",request_type="scheduled",version="1"} 60',
        'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="m"} 0.4',
    ]
    engine, found = counters("\n".join(lines))
    assert engine == "TensorRT-LLM"
    assert found == {"waiting": 4.0, "running": 60.0, "cache": 0.4}
    assert both_ways(lines, "waiting") == [4.0] * 2


def test_what_vllm_loads_from_a_tier_is_found() -> None:
    """It is counted apart, before or behind what the device holds."""
    names = ("prefix_cache_hits_total", "external_prefix_cache_hits_total")
    rows = [f"vllm:{name} {value}" for name, value in zip(names, (300.0, 400.0), strict=True)]
    for text, due in (
        (rows[0], 300.0),
        ("\n".join(rows), 700.0),
        ("\n".join(rows[::-1]), 700.0),
        (rows[1], 400.0),
    ):
        assert counters(text + "\n") == ("vLLM", {"prefix_found": due})
    listed = [
        {"metric": {"__name__": f"vllm:{name}"}, "values": [[0, value]]}
        for name, value in zip(names, ("300", "400"), strict=True)
    ]
    told = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q.json").series
    assert told.values["prefix_found"].tolist() == [700.0]


def both_ways(rows: list[str], counter: str) -> list[float]:
    """What a scrape and a range query of the same samples tell of a counter."""
    listed = []
    for row in rows:
        name, labels, value = re.fullmatch(r"([\w:]+)(?:{(.*)})? (\S+)", row).groups()  # type: ignore[union-attr]
        metric = {"__name__": name, **dict(re.findall(r'(\w+)="([^"]*)"', labels or ""))}
        listed.append({"metric": metric, "values": [[0, value]]})
    run = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q.json")
    return [counters("\n".join(rows))[1].get(counter, 0.0), *run.series.values[counter]]


OTEL = 'otel_scope_name="ray._private.telemetry.open_telemetry_metric_recorder"'


def of_ray(row: str, of: str) -> str:
    """A sample of an engine's page as Ray 2.60 has it of a replica: tried with Ray itself."""
    name, labels, value = re.fullmatch(r"([\w:]+)(?:{(.*)})? (\S+)", row).groups()  # type: ignore[union-attr]
    told = ",".join(filter(None, (labels, 'engine="0"', f'ReplicaId="{of}"', OTEL)))
    return f"ray_{name.replace(':', '_')}{{{told}}} {value}"


def test_rays_page_is_its_engines_but_for_sums_of_times() -> None:
    """200 answers that waited 0.1 ms are 30 s there, by the middle of a bucket of 300 ms; counts
    and what is told by labels are as they were, and each replica has its levels."""
    first = "vllm:time_to_first_token_seconds"
    rows = ["vllm:num_requests_running 7", "vllm:num_requests_waiting 2", f"{first}_count 200"]
    rows += ["vllm:prompt_tokens_total 9000", "vllm:prompt_tokens_cached_total 600"]
    rows += ["vllm:prefix_cache_hits_total 8000", f'{first}_bucket{{le="0.25"}} 190']
    rows += [f'{first}_bucket{{le="+Inf"}} 200']
    rows += ['vllm:request_success_total{finished_reason="abort"} 3']
    sums = ["vllm:request_queue_time_seconds_sum 30", f"{first}_sum 35"]
    own = scrape_run("\n".join(rows), "a")
    both = "\n".join(of_ray(row, of) for row in (*rows, *sums) for of in ("r0", "r1"))
    run = scrape_run(both, "a")
    assert run.tool == "vLLM"
    twice = {name: 2 * x for name, x in own.series.values.items()}
    assert {name: x.tolist() for name, x in run.series.values.items()} == {
        name: x.tolist() for name, x in twice.items()
    }
    assert run.series.engines["r1 0"] == {"running": 7.0, "waiting": 2.0}
    assert "by the middles of their buckets" in run.notes[1]
    assert "middles" in joined([run, run])[0].notes[1]
    found = report([run], Asked(ttft_s=0.25, quantile=0.9)).findings
    assert "TTFT was within 250 ms for 95%" in [one.seen for one in found]
    listed = []
    for row in (*rows[:5], *rows[-1:], *sums):
        name, labels, value = re.fullmatch(r"([\w:]+)({.*}) (\S+)", of_ray(row, "r0")).groups()  # type: ignore[union-attr]
        metric = {"__name__": name, **dict(re.findall(r'(\w+)="([^"]*)"', labels))}
        listed.append({"metric": metric, "values": [[0, value]]})
    query = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q.json")
    assert query.tool == "vLLM"
    assert set(query.series.values) == {x for x in own.series.values if WITHIN not in x}
    assert "middles" in query.notes[1]


PAGES = {  # of today's releases, or of their sources, cut to what is read
    "sglang": (
        "SGLang",
        ["sglang_num_running_reqs 5", 'sglang_num_running_reqs{priority="1"} 2'],
        {"running": 5.0},
    ),
    "vllm": (
        "vLLM",
        [
            "vllm_prefix_cache_hits_total 9",
            "vllm_prompt_tokens_cached_total 4",
            "vllm_prompt_tokens_total 8",
        ],
        {"prefix_found": 4.0, "prompt_tokens": 8.0},
    ),
    "trtllm": (
        "TensorRT-LLM",
        [
            "trtllm_prompt_cached_tokens_total 70",
            "trtllm_prompt_tokens_total 100",
            "trtllm_kv_cache_reused_blocks_total 1",
            "trtllm_kv_cache_missed_blocks_total 9",
            'trtllm_prompt_cache_hit_tokens_total{cache_level="0"} 60',
            "trtllm_num_requests_running 64",  # active: of these, 24 wait for memory
            "trtllm_num_scheduled_requests 40",
            "trtllm_num_requests_waiting 9",
        ],
        {"prefix_found": 70.0, "prompt_tokens": 100.0, "running": 40.0, "waiting": 9.0},
    ),
    "trtllm-blocks": (
        "TensorRT-LLM",
        ["trtllm_kv_cache_reused_blocks_total 1", "trtllm_kv_cache_missed_blocks_total 3"],
        {"prefix_found": 1.0, "prefix_asked": 4.0},
    ),
    "dynamo-0.7": ("TensorRT-LLM", ["trtllm:request_queue_time_seconds_sum 3"], {"queue_s": 3.0}),
    "lmdeploy": (
        "LMDeploy",
        [
            "lmdeploy:num_requests_running 3",
            'lmdeploy:num_api_requests_waiting{engine="0"} 4',  # for one of its handles
            'lmdeploy:num_api_requests_waiting{engine="1"} -1',  # while a last token is sent
            "lmdeploy:num_requests_waiting 1",
            "lmdeploy:gpu_cache_usage_perc 0.5",
            "lmdeploy:cached_tokens_total 5",
            "lmdeploy:time_per_output_token_seconds_sum 2",
        ],
        {"running": 3.0, "waiting": 5.0, "cache": 0.5, "prefix_found": 5.0, "tpot_s": 2.0},
    ),
    "llama.cpp": (
        "llama.cpp",
        [
            "llamacpp:requests_processing 4",
            "llamacpp:requests_deferred 46",
            "llamacpp:prompt_tokens_total 30",
            "llamacpp:prompt_tokens_cached_total 70",
            "llamacpp:tokens_predicted_total 9",
            "llamacpp:tokens_predicted_seconds_total 1",
        ],
        {"running": 4.0, "waiting": 46.0, "output_tokens": 9.0}
        | {"prompt_tokens": 30.0, "prefix_found": 70.0, "prefix_asked": 100.0},
    ),
    "aibrix": (
        "vLLM",
        ["aibrix:queue_size 6", "aibrix:kv_cache_usage_perc 0.5", "vllm:num_requests_running 8"],
        {"running": 8.0, "waiting": 6.0, "cache": 0.5},
    ),
    "dynamo": (
        "Dynamo",
        [
            "dynamo_frontend_queued_requests 6",
            "dynamo_frontend_input_sequence_tokens_sum 90",
            "dynamo_frontend_cached_tokens_sum 30",
            "dynamo_frontend_request_duration_seconds_sum 5",
            "dynamo_frontend_time_to_first_token_seconds_count 2",
        ],
        {"prompt_tokens": 90.0, "prefix_found": 30.0, "latency_s": 5.0, "ttft_count": 2.0},
    ),
    "nim": (
        "NIM or TensorRT-LLM",
        [
            "num_requests_running 5",
            "num_request_max 8",
            "gpu_cache_usage_perc 0.99",
            'time_to_first_token_seconds_count{engine_type="undefined"} 2',
            "queue_size 7",
        ],
        {"running": 5.0, "cache": 0.99, "ttft_count": 2.0},
    ),
    "beside": (
        "vLLM",
        ["prompt_tokens_total 5", "vllm:prompt_tokens_total 8", "num_requests_running 3"],
        {"prompt_tokens": 8.0},
    ),
    "tgi": (  # whose time per token is of the prompt too, and which counts what failed
        "TGI",
        [
            "tgi_request_count 50",
            'tgi_request_success{kind="stream"} 48',
            "tgi_request_duration_sum 96",
            "tgi_request_mean_time_per_token_duration_sum 1.2",
            "tgi_request_mean_time_per_token_duration_count 48",
        ],
        {"ttft_count": 48.0, "latency_s": 96.0},
    ),
    "triton": (
        "vLLM",
        ["nv_gpu_power_usage 300", 'vllm:prompt_tokens_total{model="m",version="1"} 8'],
        {"power_w": 300.0, "prompt_tokens": 8.0},
    ),
}


def test_levels_of_each_engine_are_those_that_count() -> None:
    """What was passed over, and what a router tells again, was added to each engine's own."""
    rows = [f'trtllm_num_requests_running{{instance="{i}"}} 64' for i in "ab"]
    rows += [f'trtllm_num_scheduled_requests{{instance="{i}"}} 40' for i in "ab"]
    told = {"running": 40.0}
    assert scrape_run("\n".join(rows), "a").series.engines == {"a": told, "b": told}
    rows = [f'vllm:num_requests_running{{{of}="a"}} 3' for of in ("instance", "server")]
    assert scrape_run("\n".join(rows), "a").series.engines == {"a": {"running": 3.0}}


@pytest.mark.parametrize("page", PAGES)
def test_other_front_ends_and_engines_are_read_by_their_names(page: str) -> None:
    engine, rows, due = PAGES[page]
    assert counters("\n".join(rows)) == (engine, due)
    assert {name: both_ways(rows, name) for name in due} == {x: [n] * 2 for x, n in due.items()}


def test_what_a_router_tells_again_of_its_engines_counts_once() -> None:
    """vLLM's router has their gauges under the same names; alone it is read as they are."""
    name = "vllm:num_requests_running"
    router = [f'{name}{{server="http://{of}"}} {n}' for of, n in (("a", 3), ("b", 4))]
    engines = [f'{name}{{instance="{of}"}} {n}' for of, n in (("a", 3), ("b", 4))]
    for rows in (router, engines, router + engines, engines + router):
        assert both_ways(rows, "running") == [7.0] * 2
    assert set(scrape_run("\n".join(router), "a").series.engines) == {"http://a", "http://b"}


def test_a_page_that_tells_nothing_of_an_engine_is_refused() -> None:
    """vLLM's router begins its names as its engine does; nothing was found of it."""
    with pytest.raises(
        ValueError, match=r"a must be a scrape of vLLM.* got none of vLLM's counters"
    ):
        scrape_run("vllm_router_requests_total 50\nprocess_start_time_seconds 5\n", "a")


@pytest.mark.parametrize(
    "name",
    [
        "request_predict_seconds_sum",  # of KServe 0.21
        "inference_pool_average_queue_size",  # of llm-d's picker, and as it is called now
        "llm_d_router_epp_running_requests",
        "nv_inference_pending_request_count",  # of Triton
    ],
)
def test_pages_of_what_stands_before_engines_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"behind a proxy, the engine's own\), got {name}$"):
        scrape_run(f"{name} 3\n", "a")
    metric = {"metric": {"__name__": name}, "values": [[0, "3"]]}
    with pytest.raises(ValueError, match=rf"such as vllm:num_requests_waiting, got {name}$"):
        range_query_run({"data": {"resultType": "matrix", "result": [metric]}}, "q")


def test_a_page_of_a_proxy_is_refused_by_its_own_names() -> None:
    page = "python_info 1\nprocess_start_time_seconds 5\nlitellm_requests_metric_total 3\n"
    with pytest.raises(ValueError, match=r"the engine's own\), got litellm_requests_metric_total$"):
        counters(page)


@pytest.mark.parametrize("turned", [1, -1])
def test_requests_that_wait_look_up_again_and_are_counted_once(turned: int) -> None:
    """A prompt of 8,000 tokens that looks a hundred times whether its 7,000 are there, and one of
    2,000 without any: 70% is found and not 88%. Of old releases there is nothing better."""
    lookups = ["vllm:prefix_cache_queries_total 802000", "vllm:prefix_cache_hits_total 700000"]
    once = ["vllm:prompt_tokens_total 10000", "vllm:prompt_tokens_cached_total 7000"]
    rows = (lookups + once)[::turned]
    assert both_ways(rows, "prefix_found") == [7000.0] * 2
    assert "prefix_asked" not in counters("\n".join(rows))[1]
    old = "vllm:gpu_prefix_cache_hits_total 700000"  # another name of the same
    assert both_ways([*lookups, old], "prefix_found") == [700000.0] * 2


@pytest.mark.parametrize("turned", [1, -1])
def test_aborted_requests_have_found_what_their_steps_did(turned: int) -> None:
    """SGLang ends them with all of their prompt and nothing found: one in ten hides a tenth."""
    steps = [
        f'sglang:realtime_tokens_total{{mode="{m}"}} 9000' for m in ("prefill_cache", "decode")
    ]
    steps += ['sglang:realtime_tokens_total{mode="prefill_compute"} 1000']
    ended = ["sglang:cached_tokens_total 8100", "sglang:prompt_tokens_total 10000"]
    rows = (steps + ended)[::turned]
    assert both_ways(rows, "prefix_found") == [9000.0] * 2
    assert both_ways(rows, "prefix_asked") == [10000.0] * 2
    assert both_ways([steps[1], *ended], "prefix_found") == [8100.0] * 2


@pytest.mark.parametrize("engine", ["vllm", "lmdeploy"])
def test_guesses_of_a_place_are_those_of_all_engines(engine: str) -> None:
    name = f"{engine}:spec_decode_num_accepted_tokens_per_pos_total"
    rows = [f'{name}{{engine="{e}",position="{p}"}} {10 * e + p}' for e in (0, 1) for p in (0, 1)]
    assert both_ways(rows, "accepted_at_2") == [12.0] * 2


def test_requests_of_each_priority_are_part_of_all() -> None:
    rows = [f'sglang:num_running_reqs{{priority="{p}"}} {n}' for p, n in (("", 5), (0, 3), (1, 2))]
    assert both_ways(rows, "running") == [5.0] * 2


def test_stages_of_a_pipeline_count_the_same_and_run_their_own() -> None:
    told = {"num_running_reqs": 5, "num_queue_reqs": 3, "num_retracted_requests_total": 2}
    rows = [f'sglang:{name}{{pp_rank="{k}"}} {n}' for name, n in told.items() for k in (0, 1)]
    due = {"running": [10.0] * 2, "waiting": [3.0] * 2, "preemptions": [2.0] * 2}
    assert {name: both_ways(rows, name) for name in due} == due


def test_a_range_query_adds_engines_and_takes_the_fullest_cache() -> None:
    def told(name: str, values: list[list[object]]) -> dict[str, object]:
        return {"metric": {"__name__": name}, "values": values}

    result = [
        told("vllm:num_requests_waiting", [[0, "1"], [15, "2"]]),
        told("vllm:num_requests_waiting", [[0, "3"], [15, "4"]]),
        told("vllm:kv_cache_usage_perc", [[0, "0.2"]]),
        told("vllm:kv_cache_usage_perc", [[0, "0.9"]]),
    ]
    run = range_query_run({"status": "success", "data": {"result": result}}, "q")
    assert run.series.values["waiting"].tolist() == [4.0, 6.0]
    assert run.series.level("cache").tolist() == [0.9]
    broken = json.loads(
        json.dumps({"data": {"result": [told("vllm:num_requests_waiting", [[0]])]}})
    )
    with pytest.raises(ValueError, match="q: result 1 must be pairs"):
        range_query_run(broken, "q")


def test_counters_of_a_range_query_grow_by_series() -> None:
    """One begins anew, one is gone after a while, and one comes later with what it had before."""
    series = ([[0, "9"], [15, "2"], [30, "5"]], [[0, "4"], [15, "6"]], [[15, "100"], [30, "101"]])
    listed = [
        {"metric": {"__name__": "vllm:num_preemptions_total", "instance": str(i)}, "values": one}
        for i, one in enumerate(series)
    ]
    run = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q")
    assert run.series.grown("preemptions") == 5 + 2 + 1


@pytest.mark.parametrize("scraped", [False, True])
@pytest.mark.parametrize(
    ("others", "told"), [("0", "h1 of several"), ("30", "of h1, before which")]
)
def test_levels_are_those_of_the_engine_before_which_most_wait(
    others: str, told: str, scraped: bool
) -> None:
    rows = [
        (f"vllm:num_requests_{name}", f"h{i}", x)
        for name, levels in (("running", "20 64 25"), ("waiting", f"{others} 40 {others}"))
        for i, x in enumerate(levels.split())
    ]
    if scraped:
        text = "\n".join(f'{name}{{engine="{of}"}} {x}' for name, of, x in rows)
        (run,) = joined([scrape_run(text, f"{i}.txt") for i in range(12)])
    else:
        listed = [
            {
                "metric": {"__name__": name, "instance": of},
                "values": [[15 * j, x] for j in range(12)],
            }
            for name, of, x in rows
        ]
        run = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q")
    found = binding(run, Asked())
    assert found.seen.startswith(told)
    assert ("router" in found.change) == (others == "0")
    assert ("above 64" in found.change) == (others == "30")


def test_scrapes_of_two_processes_are_counted_apart() -> None:
    """The second began after the first, or is another engine's."""
    texts = [f"process_start_time_seconds {1.7e9 + k}\n{SCRAPE}" for k in (0, 0, 5)]
    later = texts[1].replace("} 7.0", "} 9.0"), texts[2].replace("} 7.0", "} 9.0")
    for second, grown in zip(later, (2.0, np.nan), strict=True):
        (run,) = joined([scrape_run(text, "a") for text in (texts[0], second)])
        assert run.series.grown("preemptions") == pytest.approx(grown, nan_ok=True)
        assert any("different times" in note for note in run.notes) == np.isnan(grown)


@pytest.mark.parametrize(
    "name",
    ['vllm:request_success_total{finished_reason="abort"}', "sglang:num_aborted_requests_total"],
)
def test_requests_that_clients_gave_up_are_failures(name: str) -> None:
    """vLLM counts some of them as never: a count of 0 says nothing."""
    count = f"{name.partition(':')[0]}:time_to_first_token_seconds_count 600"
    for aborted, told in ((400, True), (0, False)):
        run = scrape_run(f"{name} {aborted}\n{count}", "a")
        found = report([run], Asked())
        seen = [one.seen for one in found.findings if one.name == "failures"]
        assert bool(seen) == told
        assert all("400 of 1,000" in one and "clients gave up" in one for one in seen)
        assert "failures" not in found.quiet


def test_requests_that_a_limit_turned_away_are_failures() -> None:
    """As vLLM 0.34 counts them: by the limit that it was, 0 of those that were not met."""
    name, lines = "vllm:admission_rejections_total", ["vllm:time_to_first_token_seconds_count 600"]
    limits = ("max_num_queued_reqs", "max_num_queued_tokens")
    for counts, told in (((300, 100), "400 of 1,000 requests failed"), ((0, 0), "")):
        pairs = zip(limits, counts, strict=True)
        scrape = [*lines, *(f'{name}{{model_name="m",reason="{x}"}} {y}' for x, y in pairs)]
        found = report([scrape_run("\n".join(scrape), "a")], Asked())
        seen = [one for one in found.findings if one.name == "failures"]
        assert [one.seen.partition(":")[0] for one in seen] == [told] * bool(told)
        assert all("all at the queue's limit" in one.seen for one in seen)
        assert all(one.change.startswith("add capacity") for one in seen)


def test_a_table_by_the_second() -> None:
    text = "t,prompt_throughput,running,waiting,kv_cache_pct\n1,9,4,0,50\n2,9,5,1,95\n"
    assert _looks_tabled(text)
    run = table_run(text, "a")
    assert run.series.level("cache").tolist() == [0.5, 0.95]
    with pytest.raises(ValueError, match="row 3, column t must be"):
        table_run("t,running,waiting\n2026-01-05T10:00:00Z,1,2\nsoon,1,2\n", "a")


def test_moments_and_traces_behind_a_value_are_no_value() -> None:
    stamped = re.sub(r"(?m)^([^#].*)$", r"\1 1767607200000 # {id=\"a\"} 0.1", SCRAPE)
    assert counters(stamped) == counters(SCRAPE)


def test_a_label_may_hold_any_text() -> None:
    assert counters(SCRAPE.replace('"m"', r'"a \"b\" {c} 5"')) == counters(SCRAPE)


def test_a_value_that_is_none_is_told_with_its_line() -> None:
    text = SCRAPE.replace(" 12.0", " many")
    assert _looks_scraped(text)
    with pytest.raises(ValueError, match="line 3: must end in a number, got 'many'"):
        counters(text)


def test_a_series_without_values_is_refused() -> None:
    row = {"metric": {"__name__": "vllm:num_requests_waiting"}, "values": []}
    with pytest.raises(ValueError, match="result 1 must be with values, got none"):
        range_query_run({"data": {"result": [row]}}, "q.json")


@pytest.mark.parametrize("name", ["num_requests_running", "generation_tokens_total"])
def test_what_counts_is_not_negative(name: str) -> None:
    """Of an engine with −5 requests a report found nothing."""
    with pytest.raises(ValueError, match=f"vllm:{name} must be not negative, as counters are, got"):
        counters(f"vllm:{name} -5\n")


def test_scrapes_that_a_loop_appends_are_in_a_row() -> None:
    """Twelve in one file, each with the moment before it, are as twelve files."""
    pages = [
        f"# time {1_700_000_000 + 15 * k}\n" + SCRAPE.replace("} 7.0", f"}} {7 + k}.0")
        for k in range(12)
    ]
    (one,) = joined(read_file("".join(pages), "a.txt"))
    (several,) = joined([run for page in pages for run in read_file(page, "a.txt")])
    assert one.where == "a.txt"
    assert one.series.grown("preemptions") == several.series.grown("preemptions") == 11.0
    assert one.told["duration_s"] == several.told["duration_s"] == 165.0
    assert one.series.level("running").tolist() == [42.0] * 12


def test_buckets_of_a_range_query_tell_who_was_in_time() -> None:
    name = "vllm:time_to_first_token_seconds_bucket"
    counted = {"0.5": (5, 15), "1.0": (9, 40), "+Inf": (9, 49)}
    listed = [
        {
            "metric": {"__name__": name, "le": le, "instance": of},
            "values": [[0, str(a)], [60, str(b)]],
        }
        for le, (a, b) in counted.items()
        for of in ("h0", "h1")
    ]
    run = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q")
    assert run.series.grown("ttft within 0.5") == 20.0
    (found,) = report([run], Asked(ttft_s=0.5, quantile=0.9)).findings
    assert found.seen == "TTFT was within 500 ms for 25%"


@pytest.mark.parametrize("seed", range(3))
def test_counters_that_begin_anew_lose_nothing(seed: int) -> None:
    """Three engines that start again at any moment, and what each preempted, written down."""
    rng, listed, happened = np.random.default_rng(seed), [], 0
    for of in range(3):
        total, values = 0, []
        for moment in range(20):
            anew = moment > 0 and total > 0 and rng.random() < 0.2
            more = int(rng.integers(0, total if anew else 50))
            total = more + total * (not anew)
            happened += more * (moment > 0)
            values.append([15 * moment, str(total)])
        metric = {"__name__": "vllm:num_preemptions_total", "instance": str(of)}
        listed.append({"metric": metric, "values": values})
    run = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q")
    assert run.series.grown("preemptions") == happened
