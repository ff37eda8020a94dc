"""Stalls: conservation for every chunk size, the slider beside its own stream, refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.architecture.streaming.stalls import (
    BEFORE_S,
    CHUNKS,
    CLIP_S,
    PROMPTS,
    STALL_S,
    STREAMS,
    example,
    gaps_beside_prompt_s,
    slider_stall,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.running import ask_machine

from tests.promql import Parser, Series, Vector
from tests.rule_files import GAP_BUCKETS, rule_text, rules, vectors


@given(st.integers(1, 6_000), st.integers(1, 7_000), st.integers(0, 256))
def test_chunks_add_up_to_the_prompt(prompt: int, chunk: int, streams: int) -> None:
    gaps = gaps_beside_prompt_s(CHAT, streams, prompt, chunk)
    step_s = float(CHAT.step_s(streams))
    assert gaps.size == math.ceil(prompt / chunk)
    assert (gaps - step_s).sum() == pytest.approx(float(CHAT.prompt_s([prompt])[0]), abs=1e-9)
    assert gaps.min() >= step_s


def test_a_whole_prompt_is_one_gap_and_later_chunks_are_dearer() -> None:
    whole = gaps_beside_prompt_s(MIXTURE, 16, 32_000, 10**6)
    alone = float(MIXTURE.step_s(16)) + float(MIXTURE.prompt_s([32_000])[0])
    assert whole == pytest.approx([alone])
    parts = gaps_beside_prompt_s(MIXTURE, 16, 32_000, 8_000)
    assert np.all(np.diff(parts) > 0)  # attention to what came before


def test_the_slider_says_what_the_page_says() -> None:
    told, page = slider_stall(), example()
    longest, first, mean = (np.asarray(r["values"]) for r in told["readouts"])
    row = PROMPTS.index(32_000)
    assert longest[row, -1] == pytest.approx(page.whole_stall_ms)
    added = 100 * (first[row, CHUNKS.index(1_024)] / first[row, -1] - 1)
    assert added == pytest.approx(page.added_percent)
    assert np.all(mean < 60)
    deeper = float(MIXTURE.step_s(MIXTURE.places) - MIXTURE.step_s(STREAMS))
    assert page.crowd_gap_ms == pytest.approx(page.kept_gap_ms + 1000 * deeper)
    assert page.kept_gap_ms < 1000 * MIXTURE.promise.tpot_s < page.crowd_gap_ms
    for i, prompt in enumerate(PROMPTS):
        for j, chunk in enumerate(CHUNKS):
            gaps = gaps_beside_prompt_s(MIXTURE, STREAMS, prompt, chunk)
            assert longest[i, j] == pytest.approx(1000 * gaps.max())
            assert first[i, j] == pytest.approx(gaps.sum())


def test_bars_are_the_stream_and_the_newcomer() -> None:
    told = slider_stall()
    clock = np.asarray(told["clock"]["values"])
    curves, lanes = told["panels"]
    for i, prompt in enumerate(PROMPTS):
        for j, chunk in enumerate(CHUNKS):
            bars = lanes["bars"][i][j]
            stream = [bar for bar in bars if bar[0] == "a stream"]
            for (_, _, end, _), (_, start, _, _) in itertools.pairwise(stream):
                assert start == pytest.approx(end)
            assert stream[0][1] == 0.0
            assert stream[-1][2] == pytest.approx(CLIP_S, abs=0.2)
            long = gaps_beside_prompt_s(MIXTURE, STREAMS, prompt, chunk) > STALL_S
            shown = sum(bar[3] == "broken" for bar in stream)
            assert shown <= long.sum()
            assert shown == long.sum() or prompt == 32_000
            tokens = np.asarray(curves["curves"][0]["values"][i][j])
            assert np.all(np.diff(tokens) >= 0)
            before = tokens[clock < BEFORE_S - 0.05]
            pace = float(MIXTURE.step_s(STREAMS))
            assert before[-1] == pytest.approx((BEFORE_S - 0.05) / pace, abs=3)


def told_of_streams(engine: str, stalled: float, preempted: float = 0.0) -> dict[str, Vector]:
    """The rules on an engine where so many of a hundred answers of 200 tokens pause once, some of
    them because they are preempted, beside a quiet one that answers as much."""
    gap, first = (f"{engine}:{n}_seconds" for n in ("inter_token_latency", "time_to_first_token"))

    def series(pauses: float) -> dict[str, float]:
        late = {f'{gap}_bucket{{le="{le}"}}': 19_900 - pauses for le in GAP_BUCKETS[engine].split()}
        return {f"{gap}_count": 19_900.0, f"{first}_count": 100.0} | late

    mine, quiet = series(stalled), series(0.0)
    found: dict[str, Series | Vector] = {
        name: {"a": np.full(60, mine[name]), "b": np.full(60, quiet[name])} for name in mine
    }
    if preempted:
        name = {"vllm": "num_preemptions_total", "sglang": "num_retracted_requests_total"}[engine]
        found[f"{engine}:{name}"] = {"a": np.full(60, preempted)}
    late = 1 - mine[f'{gap}_bucket{{le="0.1"}}'] / mine[f"{gap}_count"]
    assert late < 0.01  # what a p99 of the gaps does not see
    return vectors(f"streams-{engine}", found)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize(("stalled", "fires"), [(0.0, False), (5.0, False), (100.0, True)])
def test_the_alert_sees_one_pause_an_answer(engine: str, stalled: float, fires: bool) -> None:
    told = told_of_streams(engine, stalled)
    share = told["streams:stalls_per_answer:5m"]
    assert share["a"][-1] == pytest.approx(stalled / 100)
    silent = np.full(60, np.nan)
    assert np.isnan(told["StreamsStop"].get("a", silent)[-1]) != fires
    assert np.isnan(told["StreamsStop"].get("b", silent)[-1])


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_no_chunk_is_blamed_for_preemptions(engine: str) -> None:
    """They stop answers too; but where other stalls come beside them, it fires."""
    for stalled, preempted, fires in ((30.0, 25.0, False), (30.0, 15.0, True)):
        told = told_of_streams(engine, stalled, preempted)["StreamsStop"]
        assert np.isnan(told.get("a", np.full(60, np.nan))[-1]) != fires


def test_sglang_counts_a_pause_before_four_tokens_as_four_shorter_gaps() -> None:
    """So its file sees none of 0.5 s as it is, and fourfold with a quarter of the bucket."""
    assert "divide 0.4 s by that number, and multiply 0.1 by it" in rule_text("streams-sglang")
    rule = rules("streams-sglang")[0]["expr"]
    gap, first = (f"sglang:{n}_seconds" for n in ("inter_token_latency", "time_to_first_token"))
    series: dict[str, Series | Vector] = {f"{gap}_count": {"a": np.full(60, 19_900.0)}}
    series[f"{first}_count"] = {"a": np.full(60, 100.0)}
    for le in GAP_BUCKETS["sglang"].split():
        within = 19_900.0 - (4 * 25 if float(le) < 0.5 / 4 else 0)
        series[f'{gap}_bucket{{le="{le}"}}'] = {"a": np.full(60, within)}
    for bucket, told in (("0.4", 0.0), ("0.1", 4 * 0.25)):
        share = Parser(rule.replace('le="0.4"', f'le="{bucket}"'), series).vector()["a"]
        assert share[-1] == pytest.approx(told)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_pause_while_nobody_asks_is_no_share_of_answers(engine: str) -> None:
    gap, first = (f"{engine}:{n}_seconds" for n in ("inter_token_latency", "time_to_first_token"))
    series = {f'{gap}_bucket{{le="{le}"}}': np.zeros(9) for le in GAP_BUCKETS[engine].split()}
    series |= {f"{gap}_count": np.ones(9), f"{first}_count": np.zeros(9)}
    assert np.isnan(vectors(f"streams-{engine}", series)["StreamsStop"][""]).all()


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_alert_is_silent_without_series(engine: str) -> None:
    assert not vectors(f"streams-{engine}", {"up": np.zeros(60)})["StreamsStop"]


def test_chunks_keep_the_alert_silent_and_whole_prompts_do_not() -> None:
    """The mixture as it is, near its ceiling, and with whole prompts at a calm load."""

    def pauses(machine: Machine, load: float) -> float:
        gaps: list[tuple[float, int]] = []
        simulate(ask_machine(machine, load, 400, seed=4), machine.engine, gaps=gaps)
        return sum(tokens for gap_s, tokens in gaps if gap_s > 0.5) / 400

    assert pauses(MIXTURE, 0.95) == 0
    assert pauses(MIXTURE.limited(token_budget=1_000_000), 0.6) > 0.1
