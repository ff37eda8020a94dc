from __future__ import annotations

import json
import re

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from serving_mathematics.report.engine_metrics import (
    _looks_scraped,
    _looks_tabled,
    counters,
    range_query_run,
    scrape_run,
    table_run,
)
from serving_mathematics.report.findings.finding import Asked
from serving_mathematics.report.findings.of_the_engine import binding, queue_or_prefill
from serving_mathematics.report.joining import joined
from serving_mathematics.report.reading import read_file
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
    assert found.seen.startswith("20% of the time to first token (100 ms on average)")


def test_levels_of_each_engine_are_those_that_count() -> None:
    """What was passed over, and what a router tells again, was added to each engine's own."""
    rows = [f'trtllm_num_requests_running{{instance="{i}"}} 64' for i in "ab"]
    rows += [f'trtllm_num_scheduled_requests{{instance="{i}"}} 40' for i in "ab"]
    told = {"running": 40.0}
    assert scrape_run("\n".join(rows), "a").series.engines == {"a": told, "b": told}
    rows = [f'vllm:num_requests_running{{{of}="a"}} 3' for of in ("instance", "server")]
    assert scrape_run("\n".join(rows), "a").series.engines == {"a": {"running": 3.0}}


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
        assert all("all refused at the queue's limit" in one.seen for one in seen)
        assert all(one.change.startswith("add capacity") for one in seen)


def test_a_table_by_the_second() -> None:
    text = "t,prompt_throughput,running,waiting,kv_cache_pct\n1,9,4,0,50\n2,9,5,1,95\n"
    assert _looks_tabled(text)
    run = table_run(text, "a")
    assert run.series.level("cache").tolist() == [0.5, 0.95]
    with pytest.raises(ValueError, match="row 3, column t must be"):
        table_run("t,running,waiting\n2026-01-05T10:00:00Z,1,2\nsoon,1,2\n", "a")
    with pytest.raises(ValueError, match="row 3 must be 3 long, got 2"):
        table_run("t,running,waiting\n1,1,2\n2,1\n", "a")


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


@pytest.mark.parametrize("unit", [1, 100])
def test_a_share_of_the_cache_is_one_of_each_engine_and_in_percent_too(unit: int) -> None:
    """Ranks of an engine had added up, and of a range query 5 of 100 was more than full."""
    listed, rows = [], ["vllm:prompt_tokens_total 9"]
    for of, rank, share in (("a", 0, 0.6), ("a", 1, 0.5), ("b", 0, 0.05)):
        value, name = f"{unit * share:g}", "vllm:kv_cache_usage_perc"
        rows.append(f'{name}{{instance="{of}",rank="{rank}"}} {value}')
        metric = {"__name__": name, "instance": of, "rank": str(rank)}
        listed.append({"metric": metric, "values": [[0, value]]})
    query = range_query_run({"data": {"resultType": "matrix", "result": listed}}, "q")
    for series in (query.series, scrape_run("\n".join(rows), "a").series):
        assert series.level("cache") == pytest.approx([0.6])
        told = {of: own["cache"][0] for of, own in series.engines.items()}
        assert told == pytest.approx({"a": 0.6, "b": 0.05})
