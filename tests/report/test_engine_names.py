from __future__ import annotations

import re

import pytest
from serving_mathematics.report.engine_metrics import counters, range_query_run, scrape_run
from serving_mathematics.report.engine_names import WITHIN
from serving_mathematics.report.evidence import Run
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.joining import joined
from serving_mathematics.report.registry import report


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
    for some, due in ((rows[:1], 300.0), (rows, 700.0), (rows[::-1], 700.0), (rows[1:], 400.0)):
        assert both_ways(some, "prefix_found") == [due] * 2


def range_of(rows: list[str]) -> Run:
    """The range query of a scrape's samples."""
    listed = []
    for row in rows:
        name, labels, value = re.fullmatch(r"([\w:]+)(?:{(.*)})? (\S+)", row).groups()  # type: ignore[union-attr]
        metric = {"__name__": name, **dict(re.findall(r'(\w+)="([^"]*)"', labels or ""))}
        listed.append({"metric": metric, "values": [[0, value]]})
    return range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q.json")


def both_ways(rows: list[str], counter: str) -> list[float]:
    """What a scrape and a range query of the same samples tell of a counter."""
    values = range_of(rows).series.values
    return [counters("\n".join(rows))[1].get(counter, 0.0), *values[counter]]


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
    query = range_of([of_ray(row, "r0") for row in (*rows[:5], *rows[-1:], *sums)])
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


def test_of_two_engines_on_one_page_one_is_read() -> None:
    """Whichever stands first: of LMDeploy's guesses and vLLM's accepted ones nothing was put
    together, nor of the buckets of both."""
    counted = {"drafts": 100.0, "draft_tokens": 300.0, "accepted_tokens": 200.0}
    mine = [f"vllm:spec_decode_num_{name}_total {x}" for name, x in counted.items()]
    mine.append('vllm:time_to_first_token_seconds_bucket{le="1.0"} 7')
    others = [f"lmdeploy:spec_decode_num_{name}_total {9 * x}" for name, x in counted.items()]
    others.append('lmdeploy:time_to_first_token_seconds_bucket{le="1.0"} 50')
    for rows in (mine + others, others + mine):
        for run in (scrape_run("\n".join(rows), "a"), range_of(rows)):
            assert {name: run.series.values[name][-1] for name in counted} == counted
            assert run.series.values["ttft within 1"][-1] == 7.0
            assert (
                f"{3 if 'one scrape' in run.notes[0] else 4} series are LMDeploy's" in run.notes[1]
            )
    alone = scrape_run("\n".join([*others, "DCGM_FI_DEV_POWER_USAGE 300"]), "a")
    assert alone.series.values["drafts"][-1] == 900.0
    assert len(alone.notes) == 1


def test_engines_that_guess_differently_are_named() -> None:
    rows = [
        f'vllm:spec_decode_num_{name}_total{{engine="{engine}"}} {x}'
        for engine, length in ((0, 1), (1, 5))
        for name, x in (("drafts", 400), ("draft_tokens", 400 * length))
    ]
    said = "from 1 to 5 tokens are guessed at a time by 2 engines, taken as one (one file for each)"
    for some, told in ((rows, True), (rows[:2], False), (rows[2:], False)):
        for run in (scrape_run("\n".join(some), "a"), range_of(some)):
            assert (said in run.notes) == told
