from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.speculative_decoding import (
    best_draft_length,
    expected_tokens,
)
from serving_mathematics.core.queues.queue_simulator import fifo_waits
from serving_mathematics.report.engine_metrics import scrape_run
from serving_mathematics.report.evidence import Run, Series
from serving_mathematics.report.faults import _made_slower, served
from serving_mathematics.report.findings.finding import Asked, percent
from serving_mathematics.report.findings.of_the_ceiling import (
    breaking_load,
    ceiling,
)
from serving_mathematics.report.findings.of_the_engine import (
    BY_BATCH,
    _acceptance,
    _half_of_ratio,
    _own_prefill,
    binding,
    engine_changed,
    guesses,
    preemption,
    prefix_hits,
    queue_or_prefill,
    stalls,
)
from serving_mathematics.report.findings.of_the_objective import (
    goodput,
    load_kept,
)
from serving_mathematics.support.intervals import half_width

from ..example_runs import functions_of

FUNCTIONS = functions_of("of_the_engine")
VLLM_FLAGS = ["--max-num-seqs", "--watermark", "--gpu-memory-utilization", "--kv-cache-dtype"]
SGLANG_FLAGS = [
    *("--max-running-requests", "--schedule-conservativeness", "--mem-fraction-static"),
    "--kv-cache-dtype",
]


def counted(**counters: float) -> Run:
    values = {name: np.array([0.0, value]) for name, value in counters.items()}
    return Run("", "", series=Series(np.arange(2.0), values))


def test_nothing_is_said_of_nothing() -> None:
    assert all(f(Run("", ""), Asked()) is None for f in FUNCTIONS)


def test_queue_share_is_estimated_as_it_is_counted() -> None:
    run = served(np.random.default_rng(7), 3000, load=1.02, places=16)
    told = queue_or_prefill(run, Asked())
    columns = {name: x for name, x in run.columns.items() if name != "queue_s"}
    guess = queue_or_prefill(replace(run, columns=columns, series=None), Asked())
    both = [float(one.seen.split("%")[0]) for one in (told, guess)]
    assert both[1] == pytest.approx(both[0], abs=15)
    assert "estimated" in guess.sure


def test_an_interval_of_the_share_that_waits_holds_the_true_one() -> None:
    """Waits at one server that is 80% busy, four fifths of what passes there: of the intervals of
    300 fewer than one of ten leaves that out, where those by tenths do in one of five."""
    rng = np.random.default_rng(8)
    held, by_tenths = [], []
    for _ in range(300):
        services = rng.exponential(1.0, 4000)
        waits = fifo_waits(np.cumsum(rng.exponential(1.25, 4000)), services)[3700:]
        whole = waits + services[3700:]
        off = abs(waits.sum() / whole.sum() - 0.8)
        held.append(off <= _half_of_ratio(waits, whole))
        by_tenths.append(off <= half_width(lambda a, b: a.sum() / b.sum(), waits, whole))
    assert np.mean(held) > 0.9
    assert np.mean(by_tenths) < 0.85


def test_places_bind_where_the_log_says_how_long_each_waited() -> None:
    found = binding(served(np.random.default_rng(2), 1500, load=1.2, places=16), Asked())
    assert found.seen.startswith("places bind")
    assert "--max-num-seqs above 16" in found.change
    assert found.sure == "1,500 requests"
    assert binding(served(np.random.default_rng(2), 99, load=9, places=4), Asked()) is None
    assert binding(served(np.random.default_rng(2), 100, load=9, places=4), Asked()) is not None
    sglang = binding(
        served(np.random.default_rng(2), 1500, load=1.2, places=16), Asked(engine="sglang")
    )
    assert "--max-running-requests" in sglang.change


def test_counters_by_hand() -> None:
    few = preemption(counted(preemptions=3.0, ttft_count=1000.0), Asked())
    assert (few.level, "--" in few.change) == ("note", False)
    alone = preemption(counted(preemptions=1.0), Asked())  # of nobody knows how many requests
    assert (alone.level, alone.seen) == ("note", "1 preemption")
    run = counted(preemptions=30.0, ttft_count=1000.0)
    found, sglang = preemption(run, Asked()), preemption(run, Asked(engine="sglang"))
    assert found.level == "problem"
    assert re.findall(r"--[a-z-]+", found.change) == VLLM_FLAGS
    assert re.findall(r"--[a-z-]+", sglang.change) == SGLANG_FLAGS
    found = queue_or_prefill(counted(queue_s=90.0, ttft_s=100.0, ttft_count=50.0), Asked())
    assert found.seen.startswith("90% of the time to first token (2 s on average)")
    found = prefix_hits(counted(prefix_asked=1000.0, prefix_found=250.0), Asked())
    assert found.level == "note"
    some = {"prompt_tokens": np.full(4, 90.0), "cached_tokens": np.array([45.0, np.nan] * 2)}
    found = prefix_hits(Run("", "", some), Asked())
    assert found.seen.startswith("50% of the prompt tokens")  # of those that tell it


@pytest.mark.parametrize("alpha", [0.2, 0.5, 0.9])
def test_acceptance_is_the_inverse_of_the_yield(alpha: float) -> None:
    assert _acceptance(expected_tokens(alpha, 4), 4) == pytest.approx(alpha, abs=1e-6)


def test_where_nothing_is_found_the_cache_may_be_off_or_say_nothing() -> None:
    """By an engine's counters it is off; a log may not be told of it either."""
    off = prefix_hits(counted(prompt_tokens=1000.0, prefix_found=0.0), Asked())
    assert off.seen.startswith("0% of the prompt tokens")
    assert re.findall(r"--[a-z-]+", off.change) == [
        "--no-enable-prefix-caching",
        "--disable-radix-cache",
    ]
    silent = {"prompt_tokens": np.full(4, 90.0), "cached_tokens": np.zeros(4)}
    said = prefix_hits(Run("", "", silent, shares_prefix=0.5), Asked())
    assert said.level == "warning"
    assert "--enable-prompt-tokens-details, in SGLang --enable-cache-report" in said.change
    none = prefix_hits(Run("", "", silent, shares_prefix=0.0), Asked())
    assert none.change.startswith("plan with this share")


@pytest.mark.parametrize(("tool", "told"), [("SGLang", True), ("vLLM", False)])
def test_places_of_ranks_are_those_of_each(tool: str, told: bool) -> None:
    """SGLang's flag counts the places of all ranks of DP attention, vLLM's those of each."""
    one = {"running": np.full(60, 16.0), "waiting": np.full(60, 5.0), "cache": np.full(60, 0.6)}
    run = Run("", tool, series=Series(np.arange(60.0), dict(one), {"0": one, "1": dict(one)}))
    asked = Asked(places=16.0, engine="sglang" if told else "vllm")
    assert ("above 16 in each (of ranks of DP attention" in binding(run, asked).change) == told


def test_guesses_that_pay_are_a_note() -> None:
    found = guesses(counted(draft_tokens=4e4, accepted_tokens=3e4, drafts=1e4), Asked())
    assert found.level == "note"
    assert "a step that guesses yields 4.00 tokens" in found.seen


@pytest.mark.parametrize(
    ("chances", "level", "change"),
    [
        (
            (0.9, 0.05, 0.02),
            "warning",
            f"guess 1 at a time{BY_BATCH}",
        ),  # 1.90/1.05 over 1.95/1.10, 1.97/1.15
        ((0.6, 0.2, 0.1), "note", "keep guessing 3 at a time"),  # 1.60/1.05, 1.80/1.10, 1.90/1.15
        ((0.8, 0.64), "note", f"guess {best_draft_length(0.8, 0.05)} at a time{BY_BATCH}"),
        ((0.04, 0.0), "warning", "switch guesses off"),
    ],
)
def test_the_engine_counts_guesses_by_their_place(
    chances: tuple[float, ...], level: str, change: str
) -> None:
    lines = [
        "vllm:spec_decode_num_drafts_total 1e5",
        f"vllm:spec_decode_num_draft_tokens_total {1e5 * len(chances)}",
        f"vllm:spec_decode_num_accepted_tokens_total {1e5 * sum(chances)}",
    ]
    by_place = "vllm:spec_decode_num_accepted_tokens_per_pos_total"
    lines += [f'{by_place}{{position="{at}"}} {1e5 * x}' for at, x in enumerate(chances)]
    found = guesses(scrape_run("\n".join(lines), "a"), Asked())
    assert (found.level, found.change) == (level, change)


def test_stalls_name_the_prompts_that_are_read_in_them() -> None:
    prompts = np.full(800, 9000.0)
    run = served(np.random.default_rng(5), 800, load=0.4, prompts=prompts, prompt_s=4e-5)
    found = stalls(run, Asked())
    assert found.level == "warning"
    assert "a prompt was read" in found.seen
    assert "--max-num-batched-tokens" in found.change


@pytest.mark.parametrize(("waiting", "level"), [(400.0, "warning"), (9.0, None)])
def test_who_waits_at_the_last_scrape_is_in_no_mean_yet(waiting: float, level: str | None) -> None:
    sums = {"ttft_s": 900.0, "queue_s": 9.0, "ttft_count": 1e4}
    values = {name: np.array([0.0, x]) for name, x in sums.items()}
    values |= {"running": np.full(2, 256.0), "waiting": np.array([0.0, waiting])}
    found = queue_or_prefill(Run("", "", series=Series(np.arange(2.0), values)), Asked())
    assert (found.level if found else None) == level
    assert found is None or "at the last scrape 400 waited and 256 ran" in found.seen


def test_every_chunk_of_a_prompt_is_a_cause_of_stalls() -> None:
    """One prompt of five chunks of 90 ms every 3 s, beside an answer with a token each 15 ms."""
    steps = np.tile(np.r_[np.full(5, 0.09), np.full(170, 0.015)], 20)
    ends = np.cumsum(steps)
    sent = ends[0::175] - 0.095
    columns = {"sent_s": sent, "ttft_s": np.full(20, 0.455)}
    found = stalls(Run("", "", columns, gaps_s=steps, gap_end_s=ends), Asked())
    assert "a prompt was read in 100% of them" in found.seen


def test_few_short_pauses_are_a_note() -> None:
    gaps = np.r_[np.full(990, 0.015), np.full(10, 0.07)]
    found = stalls(Run("", "", {"ttft_s": np.ones(9)}, gaps_s=gaps), Asked())
    assert found.level == "note"


def test_an_engine_that_changed_is_told_and_its_costs_are_not() -> None:
    run = _made_slower(np.random.default_rng(3), 1000)
    found = engine_changed(run, Asked())
    assert "about 1.5 times as long" in found.seen
    objective = Asked(ttft_s=2.0, tpot_s=0.2)
    assert [f(run, objective) for f in (ceiling, breaking_load, load_kept)] == [None] * 3
    kept = goodput(run, Asked(tpot_s=float(np.quantile(run.tpot_s()[:500], 0.999))))
    assert kept.change.startswith("look for what made the engine slower from")
    later = replace(run, columns=run.columns | {"sent_s": run.columns["sent_s"] + 5000.0})
    assert engine_changed(later, Asked()) == found  # counted from the first request


@pytest.mark.parametrize(("seed", "last"), [(0, 1.5), (1, 1.3), (2, 1 / 1.5)])
def test_an_engine_that_becomes_slower_little_by_little_is_told(seed: int, last: float) -> None:
    """A run whose clock goes faster and faster."""
    run = served(np.random.default_rng(seed), 1000, load=0.5)
    sent, ttft, lasted = (run.columns[x] for x in ("sent_s", "ttft_s", "latency_s"))
    moments = [x + (last - 1) * x**2 / (2 * sent[-1]) for x in (sent, sent + ttft, sent + lasted)]
    times = {"ttft_s": moments[1] - moments[0], "latency_s": moments[2] - moments[0]}
    found = engine_changed(Run("", "", {**run.columns, "sent_s": moments[0], **times}), Asked())
    told = float(found.seen.removeprefix("a token gradually came to take about ").split()[0])
    assert told == pytest.approx(last, rel=0.1)


def test_what_binds_is_told_by_when_most_wait() -> None:
    """One who waits for a step now and then waits for no place, while 90 at a time do."""
    waiting = np.r_[np.tile([1.0, 0.0], 40), np.full(20, 90.0)]
    values = {"waiting": waiting, "running": np.where(waiting > 1, 128.0, 30.0)}
    found = binding(Run("", "", series=Series(np.arange(100.0), values)), Asked())
    assert found.seen.startswith("places bind: somebody waited 60% of the time, 18.4 on")
    assert "128 requests ran in 100% of the time in which most waited" in found.seen


@pytest.mark.parametrize(("digits", "told"), [(6, "places bind"), (1, "places bind"), (0, "")])
def test_whole_seconds_do_not_tell_that_places_were_free(digits: int, told: str) -> None:
    run = served(np.random.default_rng(2), 2000, load=0.97, places=8)
    shown = {x: run.columns[x] for x in ("queue_s", "ttft_s", "latency_s")}
    longer = 2000 / 4 / float(run.columns["sent_s"][-1])  # so that 4 a second come
    columns = {name: longer * x for name, x in shown.items()}
    columns |= {"sent_s": np.round(longer * run.columns["sent_s"], digits)}
    found = binding(Run("", "", columns), Asked())
    assert (found.seen.partition(":")[0] if found else "") == told


def test_requests_that_were_given_up_make_no_engine_slower() -> None:
    """Of three times as many from the middle on two of three leave, in whose steps they were."""
    rng, later = np.random.default_rng(6), np.arange(3000) >= 1000
    gaps = rng.exponential(1.0, 3000) / np.where(later, 2.0, 1.0)
    run = served(np.random.default_rng(7), 3000, load=0.3, arrivals=gaps, places=128)
    gone = (later & (rng.random(3000) < 0.6)) * 1.0
    run = replace(run, columns={**run.columns, "failed": gone, "gave_up": gone})
    assert engine_changed(run, Asked()) is None


def test_a_ramp_is_no_engine_that_changed() -> None:
    gaps = np.random.default_rng(3).exponential(1.0, 2000) / np.linspace(0.5, 3.0, 2000)
    run = served(np.random.default_rng(5), 2000, load=0.4, arrivals=gaps)
    assert engine_changed(run, Asked()) is None


@pytest.mark.parametrize(("seed", "load", "engine"), [(2, 0.2, 11), (0, 0.5, 11), (3, 0.5, 14)])
def test_another_load_is_no_engine_that_changed(seed: int, load: float, engine: int) -> None:
    """From the middle on four times as many come, with prompts five times as long, which a slower
    engine would explain too."""
    rng, later = np.random.default_rng(seed), np.arange(2000) >= 1000
    gaps = rng.exponential(1.0, 2000) / np.where(later, 4.0, 1.0)
    prompts = np.round(rng.lognormal(7, 0.8, 2000) * np.where(later, 5, 1)).clip(16, 60_000)
    made = np.random.default_rng(engine)
    run = served(made, 2000, load=load, arrivals=gaps, places=64, prompts=prompts)
    assert engine_changed(run, Asked()) is None


@pytest.mark.parametrize(("waiting", "level"), [(3.0, "warning"), (1.5, "note")])
def test_less_than_one_that_waits_in_the_mean_is_a_note(waiting: float, level: str) -> None:
    values = {"running": np.full(60, 64.0), "waiting": np.tile([waiting, 0.0], 30)}
    found = binding(Run("", "", series=Series(np.arange(60.0), values)), Asked())
    assert found.level == level


def test_a_prompts_own_time_is_a_floor_and_so_much_a_token() -> None:
    """Of requests that come to an empty engine; in the crowd behind them the rest is waiting."""
    rng = np.random.default_rng(4)
    prompt = rng.integers(100, 2000, 400).astype(float)
    own, wait = 0.05 + 1e-4 * prompt, np.repeat([0.0, 0.3], [220, 180])
    sent = np.r_[np.arange(200) * 10.0, 3000 + np.arange(200) * 0.05]
    columns = {"sent_s": sent, "ttft_s": own + wait, "latency_s": np.repeat([1.0, 4.0], 200)}
    run = Run("", "", columns | {"prompt_tokens": prompt})
    assert _own_prefill(run) == pytest.approx(own)
    found = queue_or_prefill(run, Asked())
    assert found.seen.startswith(f"{percent(54 / (54 + own.sum()))} (")


def test_the_engine_that_a_log_was_cut_before_was_not_empty() -> None:
    """Who ended behind a cut is in no log, so those before it seem to come to an empty engine."""
    rng = np.random.default_rng(6)
    sent, lasted = np.arange(90_000) / 3000.0, 0.2 + rng.exponential(2.0, 90_000)
    kept = sent + lasted < 25.0
    columns = {"sent_s": sent, "ttft_s": np.full(90_000, 0.1), "latency_s": lasted}
    assert _own_prefill(Run("", "", {name: x[kept] for name, x in columns.items()})) is None


def test_first_tokens_that_are_timed_elsewhere_are_in_no_share_of_the_queue() -> None:
    """Half of a hundred requests are timed, 1 s each, and all together waited for 40 s."""
    run = counted(queue_s=40.0, ttft_s=50.0, ttft_count=100.0, ttft_apart=50.0)
    told = queue_or_prefill(run, Asked())
    assert told is not None
    assert told.seen.startswith("40% of the time to first token (1 s on average)")


def test_gaps_within_one_chunk_are_no_stalls() -> None:
    assert stalls(Run("", "", {"ttft_s": np.ones(9)}, gaps_s=np.full(900, 1e-6)), Asked()) is None


def test_tokens_found_are_of_all_prompts_where_no_engine_counts_what_it_looked_up() -> None:
    run = counted(prefix_asked=0.0, prompt_tokens=1000.0, prefix_found=200.0)
    told = prefix_hits(run, Asked())
    assert told is not None
    assert told.seen.startswith("20% of the prompt tokens were found")
