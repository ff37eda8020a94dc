"""The rules of step times: read by a parser of their language, and run."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.step_time import FITTED, count_work, decode_step_s
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.machine.step_time.speculative_decoding import (
    CONTEXT_TOKENS,
    _compared,
    break_even_tokens,
)

from builder import ROOT

from .promql import Series, Vector
from .rule_files import RUNNING, at_the_end, rule_text, vectors


def line(context: float) -> tuple[float, float]:
    """Empty step and time a sequence [s] of the chapter's model on one H100."""
    work = count_work([replace(WORKED, input_tokens=context, output_tokens=1.0)] * 2)
    few, more = decode_step_s(work, FITTED, np.array([8.0, 16.0]), np.full(2, context))
    each = float(more - few) / 8
    return float(few) - 8 * each, each


def run(
    engine: str,
    running: float,
    gap_s: float,
    yields: float,
    drafted: float = 1.0,
    prompts: float = 0.0,
) -> dict[str, float]:
    """The last minute of an hour, with a hundred gaps and five first tokens a second; drafted:
    share of the steps that guess, and whose drafts vLLM counts; prompts: tokens of them a second
    that are read, and as many again that a cache has."""
    steady = np.ones(60)
    series: dict[str, Series] = {
        RUNNING[engine]: running * steady,
        f"{engine}:inter_token_latency_seconds_sum": 6000 * gap_s * steady,
        f"{engine}:inter_token_latency_seconds_count": 6000 * steady,
        "vllm:generation_tokens_total": (6000 * yields + 300) * steady,
        "vllm:time_to_first_token_seconds_count": 300 * steady,
        "vllm:spec_decode_num_drafts_total": 6000 * drafted * steady,
        "sglang:spec_accept_length": yields * steady,
        "vllm:prompt_tokens_total": 60 * 2 * prompts * steady,
        "vllm:prompt_tokens_cached_total": 60 * prompts * steady,
        "sglang:prompt_tokens_total": 60 * 2 * prompts * steady,
        "sglang:cached_tokens_total": 60 * prompts * steady,
    }
    return at_the_end(f"step-time-{engine}", series)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_alerts_fire_beyond_their_lines(engine: str) -> None:
    empty_s, each_s = line(2000.0)
    assert "2,000 tokens each" in rule_text(f"step-time-{engine}")
    due_s = empty_s + 32 * each_s
    told = run(engine, 32.0, 1.3 * due_s, 2.0)
    assert told["step:due:5m"] == pytest.approx(due_s, rel=0.01)
    assert told["guesses:yield:15m"] == pytest.approx(2)
    assert np.isnan(told["StepsAreLong"])
    assert np.isnan(told["GuessesDoNotPay"])
    late = run(engine, 128.0, 1.7 * (empty_s + 128 * each_s), 1.2)
    assert late["StepsAreLong"] == pytest.approx(1.7 * (empty_s + 128 * each_s))
    assert late["GuessesDoNotPay"] == pytest.approx(1.2)
    assert np.isnan(run(engine, 0.1, 1.0, 2.0)["StepsAreLong"])  # nearly nobody
    assert np.isnan(run(engine, 2.0, due_s, 1.05)["GuessesDoNotPay"])  # a few need fewer
    assert run(engine, 256.0, due_s, 1.6)["GuessesDoNotPay"] == pytest.approx(1.6)


@pytest.mark.parametrize("engine", list(RUNNING))
@pytest.mark.parametrize("load", [0.6, 0.76, 0.88])
def test_prompts_of_a_healthy_engine_are_no_long_step(engine: str, load: float) -> None:
    """The chat machine, on whose own contexts the file is put: within its promise, a gap is up to
    nearly twice a step. A step that takes two thirds longer is told."""
    token_s = float(
        CHAT.prompt_s(CHAT.sample.prompt_tokens).mean() / CHAT.sample.prompt_tokens.mean()
    )
    assert token_s == pytest.approx(0.0000185, rel=0.01)
    each_s = line(2000.0)[1]
    rate = load * CHAT.ceiling_per_s
    run_of = run_engine(CHAT, rate, 4000, np.random.default_rng(1))
    later = run_of.output_tokens - 1
    gap_s = float((run_of.completion_s - run_of.first_token_s).sum() / later.sum())
    tokens = float(rate * run_of.prompt_tokens.mean())
    own = line(CHAT.mean_context_tokens)  # running, as many of the file's as take a step as long
    stays = run_of.completion_s - run_of.admitted_s
    running = float(rate * stays.mean()) * own[1] / each_s
    told = run(engine, running, gap_s, 1.0, prompts=tokens)
    assert told["step:decode:5m"] == pytest.approx(told["step:due:5m"], rel=0.03)
    assert np.isnan(told["StepsAreLong"])
    assert told["step:gap:5m"] > 1.4 * told["step:due:5m"]  # what prompts take
    late = run(engine, running, 1.67 * gap_s, 1.0, prompts=tokens / 1.67)
    assert np.isfinite(late["StepsAreLong"])


def test_steps_that_guess_nothing_count() -> None:
    """In one step of seven the text says something, and then 2.5 tokens come: 1.2 a step."""
    told = run("vllm", 128.0, 0.01, 1 + 1.5 / 7, drafted=1 / 7)
    assert told["GuessesDoNotPay"] == pytest.approx(1 + 1.5 / 7)
    assert run("vllm", 128.0, 0.01, 1.0, drafted=0.0)["GuessesDoNotPay"] == pytest.approx(1)
    assert np.isnan(run("vllm", 128.0, 0.01, 1.0, drafted=np.nan)["GuessesDoNotPay"])


@pytest.mark.parametrize("engine", list(RUNNING))
def test_what_must_be_yielded_lies_near_the_curve(engine: str) -> None:
    """The line of the file against a dense model that guesses from the text."""
    _, _, dense = _compared()[0]
    for running in (1, 8, 64, 128, 256):
        needed = float(break_even_tokens(dense, FITTED, running, CONTEXT_TOKENS)[0])
        line = run(engine, float(running), 0.01, 2.0)["guesses:needed:15m"]
        assert line == pytest.approx(needed, abs=0.04)


@pytest.mark.parametrize("engine", list(RUNNING))
def test_one_slow_engine_of_a_fleet_is_found(engine: str) -> None:
    """Its own sequences say what is due, and not those of eight."""
    empty_s, each_s = line(2000.0)
    steady, fleet = np.ones(60), [f"engine {i}" for i in range(8)]
    gaps = {name: (2 if name == fleet[3] else 1) * (empty_s + 32 * each_s) for name in fleet}
    series: dict[str, Series | Vector] = {
        RUNNING[engine]: dict.fromkeys(fleet, 32 * steady),
        f"{engine}:inter_token_latency_seconds_sum": {n: 6000 * gaps[n] * steady for n in fleet},
        f"{engine}:inter_token_latency_seconds_count": dict.fromkeys(fleet, 6000 * steady),
    }
    alarms = vectors(f"step-time-{engine}", series)["StepsAreLong"]
    assert [name for name, value in alarms.items() if not np.isnan(value[-1])] == [fleet[3]]


@pytest.mark.parametrize("engine", list(RUNNING))
def test_ranks_of_a_server_are_no_larger_steps(engine: str) -> None:
    """A step of one of eight ranks has its own sequences, and not those of all eight."""
    empty_s, each_s = line(2000.0)
    steady, ranks = np.ones(60), [f"server/{i}" for i in range(8)]
    gap_s = 1.7 * (empty_s + 16 * each_s)
    series: dict[str, Series | Vector] = {
        RUNNING[engine]: dict.fromkeys(ranks, 16 * steady),
        f"{engine}:inter_token_latency_seconds_sum": dict.fromkeys(ranks, 6000 * gap_s * steady),
        f"{engine}:inter_token_latency_seconds_count": dict.fromkeys(ranks, 6000 * steady),
    }
    told = vectors(f"step-time-{engine}", series)
    assert told["StepsAreLong"]["server"][-1] == pytest.approx(gap_s)
    assert told["guesses:needed:15m"]["server"][-1] == pytest.approx(1 + 0.0025 * 16)


def test_the_command_of_the_page_gives_the_line_of_the_rules(tmp_path: Path) -> None:
    """Two predicted times say the empty step and what a sequence adds, without prompts."""
    page = (ROOT / "docs/machine/step-time.md").read_text(encoding="utf-8")
    told = re.search(r"printf '(.*?)' \| serving-mathematics predict -", page)
    assert told
    table = tmp_path / "asked.csv"
    table.write_text(told[1].replace("\\n", "\n"), encoding="utf-8")
    command = [sys.executable, "-m", "serving_mathematics", "predict", str(table)]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    (few, few_s), (many, many_s) = (
        (float(row["concurrency"]), float(row["predicted_tpot_s"]))
        for row in csv.DictReader(found.stdout.splitlines())
    )
    each_s = (many_s - few_s) / (many - few)
    assert each_s == pytest.approx(line(2000.0)[1], rel=0.01)
    assert few_s - few * each_s == pytest.approx(line(2000.0)[0], rel=0.01)


def test_an_engine_that_does_not_guess_gets_no_ticket() -> None:
    """SGLang logs a length of 0 where nobody guesses."""
    assert np.isnan(run("sglang", 64.0, 0.01, 0.0)["GuessesDoNotPay"])
