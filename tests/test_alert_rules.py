"""The alert rules that a chapter hands out: read by a parser of their language, and run.

What `promql` parses is evaluated minute by minute on counters of a made-up week, and the alerts
fire when those of the chapter do.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.intuition.failure_budgets import burn_rate_alerts, windows
from serving_mathematics.intuition.failure_budgets.burn_rate_alerts import RULES, alert_firing
from serving_mathematics.intuition.failure_budgets.windows import GUARDS
from serving_mathematics.optimization.batching.token_budget import FULL
from serving_mathematics.report.artefacts import BUCKETS

from .promql import Parser, Series, Vector
from .rule_files import (
    FOLDER,
    FOUND,
    GAP_BUCKETS,
    evaluated,
    handed_out,
    rule_text,
    rules,
    vectors,
    without_streaming,
)

ENGINES = ("vllm", "sglang")


def test_every_bucket_that_a_file_asks_for_is_one_of_the_engines() -> None:
    """Of another there is no series, and the alert is silent for ever."""
    asked = {
        tuple(found)
        for file in FOLDER.glob("*.yaml")
        for found in re.findall(
            r'(vllm|sglang):(\w+)_seconds_bucket{[^}]*le="([^"]+)"', file.read_text()
        )
    }
    assert len(asked) >= 6
    for engine, measured, bucket in asked:
        of_first = [f"{at}" for at in BUCKETS[engine]]
        known = of_first if measured == "time_to_first_token" else GAP_BUCKETS[engine].split()
        assert bucket in known, (engine, measured, bucket)


GAPS = "vllm:inter_token_latency_seconds"


def test_who_reads_gaps_of_vllm_says_what_they_are_with_guesses() -> None:
    """Of steps, which yield several tokens: as a time per token it is too long by as much."""
    docs = FOLDER.parent
    files = [file for end in ("yaml", "md") for file in docs.rglob(f"*.{end}")]
    texts = {file.relative_to(docs): file.read_text(encoding="utf-8") for file in files}
    found = {name: text for name, text in texts.items() if GAPS in text}
    assert len(found) >= 12
    said = re.compile(r"guess|specul|counts no answers, but steps")
    assert [str(name) for name, text in found.items() if not said.search(text)] == []


def test_nobody_reads_lookups_of_the_cache() -> None:
    """Until July 2026 a request of vLLM that waits for memory looked up again in each step, and was
    counted again: no rule reads that, and a page that names it says so."""
    docs = FOLDER.parent
    looked = r"vllm:(?:external_)?prefix_cache_(?:hits|queries)"
    rules_with = [f for f in FOLDER.iterdir() if re.search(looked, f.read_text(encoding="utf-8"))]
    assert rules_with == []
    texts = [file.read_text(encoding="utf-8") for file in docs.rglob("*.md")]
    lines = [line for text in texts for line in text.split("\n") if re.search(looked, line)]
    assert len(lines) == 1
    assert "while requests wait for memory" in lines[0]


REFUSED = 'envoy_cluster_upstream_rq{envoy_cluster_name="engines",envoy_response_code=~"5.."}'
TIMED_OUT = [
    f'envoy_cluster_upstream_rq_{name}{{envoy_cluster_name="engines"}}'
    for name in ("timeout", "per_try_timeout", "per_try_idle_timeout")
]
BROKEN = "envoy_cluster_upstream_cx_destroy_remote_with_active_rq"
RESET = f'{BROKEN}{{envoy_cluster_name="engines"}}'


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yaml")), ids=lambda file: file.stem)
def test_of_a_gateway_only_the_engines_cluster_counts(file: Path) -> None:
    """It serves others too, whose requests and errors are none of the engines'."""
    counted = re.findall(r"envoy_cluster_upstream_\w*(\S{21})", file.read_text("utf-8"))
    assert set(counted) <= {'{envoy_cluster_name="'}


def run(
    engine: str, asked: Series, failed: Series, gateway: dict[str, Series] | None = None
) -> dict[str, npt.NDArray[np.bool_]]:
    """When each alert fires, with all failures of the engine late first tokens."""
    count = f"{engine}:time_to_first_token_seconds"
    series = {f"{count}_count": asked, f'{count}_bucket{{le="1.0"}}': asked - failed}
    return alerts(f"burn-rate-alerts-{engine}", series | (gateway or {}))


def alerts(name: str, series: dict[str, Series]) -> dict[str, npt.NDArray[np.bool_]]:
    """When each alert of a file fires."""
    told = evaluated(name, series)
    return {
        rule["alert"]: ~np.isnan(told[rule["alert"]]) for rule in rules(name) if "alert" in rule
    }


@pytest.mark.parametrize("engine", ENGINES)
def test_alerts_fire_when_those_of_the_chapter_do(engine: str) -> None:
    rng = np.random.default_rng(3)
    rates = np.full(8 * 1440, 0.0002)
    rates[5000:5030], rates[7000:8200] = 0.2, 0.008  # a fast burn, and a slow one of a day
    asked = rng.poisson(600, rates.size).astype(float)
    failed = rng.binomial(asked.astype(int), rates).astype(float)
    fired = run(engine, asked, failed)
    for name, (_, long, short, burn) in zip(
        ("BudgetBurnsFast", "BudgetBurns", "BudgetLeaks"), RULES, strict=True
    ):
        due = alert_firing(asked, failed, long, short, 0.999, burn)
        first, told = np.flatnonzero(due), np.flatnonzero(fired[name])
        assert first.size > 0
        assert abs(int(told[0]) - int(first[0])) <= 5  # the five minutes that a record averages
        assert np.mean(due[5000:] != fired[name][5000:]) < 0.01
    assert not fired["NobodyAsks"][5:].any()


def test_a_leak_of_three_days_is_told_when_there_are_three() -> None:
    """An outage an hour after the start is a page, and no ticket about the month."""
    asked = np.full(3 * 1440 + 60, 600.0)
    fires = np.flatnonzero(run("vllm", asked, 0.01 * asked)["BudgetLeaks"])
    assert fires[0] == 3 * 1440


@pytest.mark.parametrize("engine", ENGINES)
def test_an_outage_of_all_engines_pages_and_goes_on_paging(engine: str) -> None:
    """The series of the engines end, and the gateway answers 503: within four minutes, and for
    longer than any short window."""
    minute, down = np.arange(800), 500
    asked = np.where(minute < down, 600.0, np.nan)
    refused = np.where(minute < down, 0.0, 600.0)
    alerts = run(engine, asked, 0 * asked, {REFUSED: refused})
    fires = np.flatnonzero(alerts["BudgetBurnsFast"])
    assert fires[0] == down + 2  # at the end of the third minute
    assert fires[0] - down + 2 <= burn_rate_alerts.example().files_page_min
    assert alerts["BudgetBurnsFast"][fires[0] :].all()
    assert alerts["BudgetBurns"][down + 30 :].all()
    assert not alerts["NobodyAsks"].any()


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_that_hang_are_silence_or_a_time_out(engine: str) -> None:
    minute, down = np.arange(800), 500
    asked = np.where(minute < down, 600.0, 0.0)
    silent = run(engine, asked, 0 * asked)
    assert not silent["BudgetBurnsFast"].any()
    assert np.flatnonzero(silent["NobodyAsks"])[0] == down + 4
    for timed_out in TIMED_OUT:
        told = run(engine, asked, 0 * asked, {timed_out: 600 - asked})
        assert told["BudgetBurnsFast"][down + 3 :].all()


@pytest.mark.parametrize("engine", ENGINES)
def test_one_of_eight_that_hangs_after_its_status_pages(engine: str) -> None:
    """vLLM has sent 200 by then, so that its time-outs are no 504, and nobody is silent."""
    minute, down = np.arange(300), 200
    asked = np.where(minute < down, 600.0, 525.0)
    told = run(engine, asked, 0 * asked, {TIMED_OUT[2]: 600 - asked})
    assert told["BudgetBurnsFast"][down + 10 :].all()


@pytest.mark.parametrize("start_min", [0, 3, 12])
def test_streams_of_an_engine_that_dies_are_counted_once_and_a_new_one_is_none(
    start_min: int,
) -> None:
    """They end with the status 200 and an event of an error, and no connection breaks."""
    minute, down = np.arange(300), 200
    gone = (minute >= down) & (minute < down + start_min)
    asked = np.full(300, 600.0)
    running = np.where(minute < down, 180.0, 20.0)
    count = "vllm:time_to_first_token_seconds"
    engines: dict[str, Series | Vector] = {
        f"{count}_count": asked,
        f'{count}_bucket{{le="1.0"}}': asked,
        "vllm:num_requests_running": {
            "a": np.where(gone, np.nan, running),
            "b": np.full(300, 180.0),
            "new": running,
        },
        "process_start_time_seconds": {
            "a": np.where(gone, np.nan, np.where(minute < down, 1.0, 2.0)),
            "b": np.ones(300),
            "new": np.where(minute < down, np.nan, 2.0),
        },
    }
    told = evaluated("burn-rate-alerts-vllm", engines)
    failed = 60 * told["stream:failed:rate5m"]
    assert failed[:down].max() == 0
    assert failed.sum() == pytest.approx(180)
    assert told["stream:failures:1h"][down + 20] > 5.5


def test_no_more_fail_than_were_asked() -> None:
    """Streams that are late and reset are counted twice, and not as a burn rate above 1,000."""
    asked = np.full(100, 60.0)
    series = {"vllm:time_to_first_token_seconds_count": asked}
    series |= {'vllm:time_to_first_token_seconds_bucket{le="1.0"}': 0 * asked, RESET: asked}
    series = evaluated("burn-rate-alerts-vllm", series)
    np.testing.assert_allclose(series["stream:burn:5m"], 1000)
    assert series["stream:broken:rate5m"][-1] == pytest.approx(2)


def test_how_often_nobody_asks_for_nothing() -> None:
    """Requests that come independently leave a gap of twenty minutes as often as the page says."""
    rng, told = np.random.default_rng(4), windows.example()
    gateway, _, first, *_, rule = rules("burn-rate-alerts-vllm")
    assert (first["record"], rule["alert"]) == ("stream:asked:rate5m", "NobodyAsks")
    held = int(rule["for"].removesuffix("m"))
    for per_h, months in ((24, 12), (told.asked_from, 24)):
        asked = rng.poisson(per_h / 60, months * 43_200).astype(float)
        series = {"vllm:time_to_first_token_seconds_count": asked}
        series[gateway["record"]] = 0 * asked
        series["stream:asked:rate5m"] = Parser(first["expr"], series).whole()
        silent = ~np.isnan(Parser(rule["expr"], series).whole())
        edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]])))
        pages = int((edges[1::2] - edges[::2] > held).sum())
        due = months * (windows._silences(24) if per_h == 24 else 1 / 12)
        assert pages <= due + 3 * math.sqrt(due)
        assert per_h != 24 or pages >= 0.7 * due  # whole minutes: a little more than twenty
    text = rule_text("burn-rate-alerts-vllm")
    assert f"from {told.asked_from} requests an hour on" in text


@pytest.mark.parametrize("engine", ENGINES)
def test_silence_and_single_errors(engine: str) -> None:
    asked, failed = np.ones(600), np.zeros(600)
    failed[300:305] = 1.0  # five errors among sixty requests an hour: one too few
    asked[400:500] = 0.0
    fired = run(engine, asked, failed)
    assert not fired["BudgetBurnsFast"].any()
    assert fired["NobodyAsks"][410:499].all()
    failed[305] = 1.0
    fires = np.flatnonzero(run(engine, asked, failed)["BudgetBurnsFast"])
    assert 305 <= fires[0] <= 309


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("errors", "fires"), [(1, False), (5, False), (6, True)])
def test_errors_are_counted_in_the_first_hour_too(engine: str, errors: int, fires: bool) -> None:
    """Of the rules: where they are new, the mean of an hour is that of a few minutes, and one error
    among four requests is no sixty."""
    asked, failed = np.ones(120), np.zeros(120)
    failed[3 : 3 + errors] = 1.0
    assert run(engine, asked, failed)["BudgetBurnsFast"].any() == fires


def test_thresholds_are_those_of_the_chapter() -> None:
    fast, slow, leak, _ = (
        rule["expr"] for rule in rules("burn-rate-alerts-vllm") if "alert" in rule
    )
    for text, (_, long, short, burn), guard in zip(
        (fast, slow), RULES[:2], [least for *_, least in GUARDS], strict=True
    ):
        short_name = f"{short}m"
        long_name = f"{long // 60}h"
        assert text == (
            f"stream:burn:{long_name} > {burn:g} and stream:burn:{short_name} > {burn:g}"
            f" and stream:failures:{long_name} > {guard - 0.5}"
        )
    assert leak == "stream:burn:3d > 1 and stream:burn:6h > 1 and stream:asked:rate5m offset 3d"


def test_files_differ_in_the_engine_alone() -> None:
    """And in the label of first tokens, which vLLM writes alike whether streamed or not. SGLang
    ends with its scheduler, and connections break."""
    mine, other = (rule_text(f"burn-rate-alerts-{engine}").split("groups:") for engine in ENGINES)
    of_vllm = re.compile(
        r" +# what ran in an engine that started.*?vector\(0\)\n| +\+ stream:died\S+\n", re.DOTALL
    )
    same = of_vllm.sub("", mine[1])
    assert same.replace("vllm:", "sglang:") == without_streaming(other[1])


def test_first_tokens_of_sglang_are_those_of_streamed_answers() -> None:
    """It tells those of others with the fiftieth, at once only where an environment variable says
    so, and has no series of the label before 0.5.17: `!=` reads those too."""
    docs = FOLDER.parent
    texts = {
        file: file.read_text("utf-8") for end in ("yaml", "md") for file in docs.rglob(f"*.{end}")
    }
    name, label = "sglang:time_to_first_token_seconds", 'is_streaming!="false"'
    found = {file: text for file, text in texts.items() if name in text}
    assert len(found) >= 15
    for file, text in found.items():
        bare = re.findall(rf"{name}(?:_sum|_bucket)?(?!\w|{{{label})", text)
        assert not bare or "SGLANG_FORCE_STREAM_INTERVAL=1" in text, file


def test_requests_of_sglang_are_counted_once() -> None:
    """With priorities it shows the requests of each value beside all of them, whose label is empty;
    without, and in older releases, there is no label, which the same selector reads."""
    files = [*FOLDER.glob("*-sglang.yaml"), *FOLDER.parent.rglob("*.md")]
    asked = {
        file.name: re.findall(r"sglang:num_(?:running|queue)_reqs(\S*)", file.read_text("utf-8"))
        for file in files
    }
    assert sum(map(len, asked.values())) >= 50
    assert not {
        file for file, found in asked.items() if not all('priority=""}' in one for one in found)
    }


def test_steps_and_lines_of_sglang_are_counted_once() -> None:
    """Each stage of a pipeline counts all tokens, all that wait and all that is retracted, and of
    what runs its own part; what is only asked whether it is nothing may be counted twice."""
    counted = r"sglang:(?:realtime_tokens|num_queue_reqs|num_retracted_requests)\w*(\S*)"
    found = [
        labels
        for file in FOLDER.glob("*-sglang.yaml")
        if "\ngroups:" in file.read_text("utf-8")
        for rule in rules(file.stem)
        for labels in re.findall(counted, rule["expr"])
        if "== 0" not in rule["expr"]
    ]
    assert len(found) >= 30
    assert [labels for labels in found if 'pp_rank="0"' not in labels] == []


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*-sglang.yaml")), ids=lambda file: file.stem)
def test_what_sglang_counts_when_a_request_ends_is_no_rate_of_minutes(file: Path) -> None:
    """A prompt and its answer come in one lump there, minutes after the work."""
    ended = r"sglang:(?:prompt|cached|generation)_tokens_total\S*\[(\d+)m\]"
    assert all(int(minutes) >= 15 for minutes in re.findall(ended, file.read_text("utf-8")))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*-sglang.yaml")), ids=lambda file: file.stem)
def test_files_for_sglang_say_that_its_metrics_are_off(file: Path) -> None:
    """Without the flag there is no series, and the rules are silent for ever."""
    assert "--enable-metrics" in file.read_text("utf-8")


def test_answers_of_sglang_are_counted_in_steps_with_prompts_too() -> None:
    """A step of --enable-mixed-chunk, which pages advise, counts as one of prompts alone: what
    answers get in it is in no `mode="decode"`, but in the histogram of gaps."""
    pages = [file.read_text("utf-8") for file in FOLDER.parent.rglob("*.md")]
    asked = [rule["expr"] for name in handed_out() for rule in rules(name)]
    assert not [one for one in pages + asked if 'mode="decode"' in one]


@pytest.mark.parametrize("file", ["burn-rate-alerts", "release"])
@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_that_breaks_is_an_error(file: str, engine: str) -> None:
    """Of HTTP/1.1 an end after the status is no 5xx, and no reset that Envoy counts as one."""
    text = rule_text(f"{file}-{engine}")
    failed = re.findall(r'rate\(envoy_cluster_upstream_rq{[^}]*envoy_response_code=~"5..', text)
    assert text.count(BROKEN) == len(failed) > 0
    assert "rx_reset" not in text


NAMES = {  # of what the rules read: running, waiting, cache, preemptions
    "vllm": (
        *("num_requests_running", "num_requests_waiting"),
        *("kv_cache_usage_perc", "num_preemptions_total"),
    ),
    "sglang": ("num_running_reqs", "num_queue_reqs", "token_usage", "num_retracted_requests_total"),
}
BATCHING = ["BudgetTooSmall", "StreamsStall", "NoBudgetFits", "Preempting"]


def batching_alerts(engine: str, **shown: float) -> list[str]:
    """Which alerts on batches fire on an engine that shows this for an hour, beside a quiet one.

    tokens: a second. step: the mean gap [s]. found: share of those of prompts, in the device or a
    tier.
    guessed: tokens that vLLM guessed beside, a second, a third of them right. late: share of the
    gaps. preempted: of the requests.
    """
    quiet = {
        "tokens": 1e4,
        "step": 0.02,
        "running": 40.0,
        "waiting": 0.2,
        "cache": 0.3,
        "late": 0.0,
    }
    seen = quiet | {"preempted": 0.0} | shown
    running, waiting, cache, preempted = (f"{engine}:{name}" for name in NAMES[engine])
    gap, first = (f"{engine}:{n}_seconds" for n in ("inter_token_latency", "time_to_first_token"))

    def series(of: dict[str, float]) -> dict[str, float]:
        written = 60 * 0.15 * of["tokens"]
        return {
            running: of["running"],
            waiting: of["waiting"],
            cache: of["cache"],
            f"{engine}:prompt_tokens_total": 60 * 0.85 * of["tokens"],
            f"{engine}:generation_tokens_total": written,
            FOUND[engine]: 60 * 0.85 * of["tokens"] * of.get("found", 0.0),
            f"{gap}_count": written,
            f"{gap}_sum": written * of["step"],
            f'{gap}_bucket{{le="0.1"}}': written * (1 - of["late"]),
            f"{first}_count": 600.0,
            preempted: 600 * of.get("preempted", 0.0),
        } | {
            f"vllm:spec_decode_num_{name}_tokens_total": 60 * share * of["guessed"]
            for name, share in (("draft", 1), ("accepted", 1 / 3))
            if of.get("guessed")
        }

    mine, other = series(seen), series(quiet)
    found: dict[str, Series | Vector] = {
        name: {"a": np.full(60, mine[name])}
        | ({"b": np.full(60, other[name])} if name in other else {})
        for name in mine
    }
    told = vectors(f"batching-alerts-{engine}", found)
    fired = {name: told[name] for name in told if name in BATCHING}
    assert list(fired) == BATCHING
    silent = np.full(60, np.nan)
    assert np.all(np.isnan([value.get("b", silent) for value in fired.values()]))
    return [name for name, value in fired.items() if np.any(~np.isnan(value.get("a", silent)))]


# of a full step [s]; the tokens a second with which steps have the share of the budget that FULL is
FULL_STEP = {"step": 0.05, "tokens": 1.02 * FULL * CHAT.token_budget / 0.05}
BELOW = FULL_STEP | {"tokens": 0.98 * FULL * CHAT.token_budget / 0.05}


@pytest.mark.parametrize("engine", ENGINES)
def test_steps_of_the_batches_are_those_of_the_machine(engine: str) -> None:
    """Its places and its budget."""
    text = rule_text(f"batching-alerts-{engine}")
    assert f" / {CHAT.token_budget}\n" in text
    assert f"0.8 * {CHAT.places} > " in text


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("shown", "due"),
    [
        ({}, []),
        ({"waiting": 30.0}, []),  # slots for adapters, or one long prompt: no larger budget helps
        (BELOW | {"waiting": 3.6, "running": 120.0}, []),
        (FULL_STEP | {"waiting": 160.0, "running": 78.0}, BATCHING[:1]),
        (FULL_STEP | {"waiting": 450.0, "running": 253.0}, []),  # places bind
        (FULL_STEP | {"waiting": 30.0, "found": 0.5}, []),  # steps are half empty
        (FULL_STEP | {"waiting": 30.0, "cache": 0.95}, []),  # memory does
        ({"late": 0.02}, BATCHING[1:2]),
        (FULL_STEP | {"late": 0.02, "waiting": 160.0}, BATCHING[2:3]),
        # streams' own steps are nearly as long as the promise: 0.71 of the budget, and no smaller
        # one passes what comes
        ({"step": 0.067, "tokens": 21_744.0, "late": 0.6, "running": 137.0}, BATCHING[2:3]),
        ({"step": 0.2, "tokens": 1_000.0, "late": 0.9}, BATCHING[2:3]),  # hardly any prompts
        ({"preempted": 0.05}, BATCHING[3:]),
    ],
)
def test_alerts_on_batches_fire_for_what_the_chapter_says(
    engine: str, shown: dict[str, float], due: list[str]
) -> None:
    """Never two that order opposite things."""
    assert batching_alerts(engine, **shown) == due


def test_wrong_guesses_fill_steps_too() -> None:
    few = BELOW | {"waiting": 160.0, "running": 78.0}
    guessed = 0.1 * few["tokens"]  # two thirds of them wrong
    assert batching_alerts("vllm", **few) == []
    assert batching_alerts("vllm", **few, guessed=guessed) == BATCHING[:1]
    assert batching_alerts("vllm", **few, guessed=guessed, late=0.02) == BATCHING[2:3]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_preemption_while_nobody_asks_is_no_share_of_requests(engine: str) -> None:
    series: dict[str, Series] = {f"{engine}:{NAMES[engine][3]}": np.ones(9)}
    series[f"{engine}:time_to_first_token_seconds_count"] = np.zeros(9)
    assert np.isnan(vectors(f"batching-alerts-{engine}", series)["Preempting"][""]).all()


@pytest.mark.parametrize("engine", ENGINES)
def test_alerts_on_batches_are_silent_without_series(engine: str) -> None:
    told = vectors(f"batching-alerts-{engine}", {"up": np.zeros(60)})
    assert not any(told[name] for name in BATCHING)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a / b or c", math.nan),  # 0 / 0 is a value, which `or` keeps
        ("60 * (a / b) + 1 or c", math.nan),
        ("a / (b > 0) or c", 7.0),
        ("a / b > 1 or c", 7.0),
        ("c unless a / b", math.nan),
        ("c and a / b", 7.0),
        ("absent(a / b)", math.nan),
        ("min_over_time(d[5m]) or c", 7.0),
    ],
)
def test_what_is_no_number_is_a_value(text: str, value: float) -> None:
    series = {name: np.full(9, number) for name, number in {"a": 0.0, "b": 0.0, "c": 7.0}.items()}
    found = Parser(text, series | {"d": np.full(9, np.nan)}).whole()
    assert np.array_equal(found, np.full(9, value), equal_nan=True)


@pytest.mark.parametrize("wrong", ["a >", "a > 1 b", "rate(a[5x])", "sum(a", "a ! b", "avg(a)b"])
def test_the_parser_refuses(wrong: str) -> None:
    with pytest.raises((AssertionError, AttributeError)):
        Parser(wrong, {"a": np.ones(3)}).whole()
