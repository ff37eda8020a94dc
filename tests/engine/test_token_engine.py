"""The engine with its model: what it counts, refuses, gives back, and answers."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.engine.token_engine import (
    MODEL_CONTEXT_TOKENS,
    VOCABULARY,
    Answer,
    Ask,
    EngineMissing,
    Settings,
    Step,
    TokenEngine,
    model_path,
    plan_step,
    require_ask,
)

from ..profiles import THOROUGH
from ..small_model import WORDS

NUMBERS = itertools.count(1)


def prompt(size: int, seed: int = 0) -> tuple[int, ...]:
    return tuple(np.random.default_rng(seed).integers(100, WORDS, size).tolist())


def finish(engine: TokenEngine) -> list[Step]:
    steps = []
    while not engine.idle:
        steps.append(engine.step())
    return steps


def answers(engine: TokenEngine, *asks: Ask) -> list[Answer]:
    """Whole answers of requests that run together."""
    numbers = [next(NUMBERS) for _ in asks]
    for number, ask in zip(numbers, asks, strict=True):
        engine.add(number, ask)
    finish(engine)
    return [engine.tokens(number) for number in numbers]


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)), min_size=1, max_size=8),
    st.integers(0, 8),
    st.integers(8, 600),
)
def test_plan_fills_the_budget_in_order(
    drawn: list[tuple[int, int]], decoding: int, budget: int
) -> None:
    """Against a loop that hands out one token after the other."""
    prompts = [(whole, min(whole, todo)) for whole, todo in drawn]
    chunks, pairs = plan_step(prompts, decoding, budget)
    want, read = [0] * len(prompts), 0
    for _ in range(budget - decoding):
        for i, (whole, todo) in enumerate(prompts):
            if want[i] < todo:
                want[i] += 1
                read += whole - todo + want[i]
                break
    assert (chunks, pairs) == (want, read)


def test_tokens_in_a_step_are_those_that_the_rule_foresees(engine: TokenEngine) -> None:
    """Seven prompts of 300 tokens, four at a time, a budget of 512: every step is accounted for."""
    before = engine.metrics()
    numbers = [next(NUMBERS) for _ in range(7)]
    for seed, number in enumerate(numbers):
        engine.add(number, Ask(prompt(300, seed), 6, ignore_end=True))
    steps = finish(engine)
    assert all(step.exact for step in steps)
    assert [step.prompt_tokens for step in steps[:3]] == [512, 511, 177]
    assert [step.decoding for step in steps[:3]] == [0, 1, 3]
    assert steps[1].context_tokens == 301
    assert max(step.running for step in steps) == 4
    assert steps[0].waiting == 3
    assert sum(step.prompt_tokens for step in steps) == 2100
    assert sum(step.prompt_pairs for step in steps) == 7 * 300 * 301 // 2
    assert sum(step.decoding for step in steps) == 7 * 5
    later = engine.metrics()
    totals = {"steps": len(steps), "inexact_steps": 0, "prompt_tokens": 2100, "tokens": 42}
    assert {name: later[name] - before[name] for name in totals} == totals
    assert later["running"] == later["waiting"] == later["cache_share"] == 0
    assert all(step.wall_s > 0 and step.cpu_s > 0 for step in steps)
    for number in numbers:
        answer = engine.tokens(number)
        assert (len(answer.tokens), answer.finish) == (6, "length")


def test_a_conversation_is_asked_in_the_models_own_template(engine: TokenEngine) -> None:
    asked = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}]
    text = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\nI.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    found = engine.encode_chat(asked)
    assert found == engine.encode(text)
    assert [found.count(mark) for mark in (1, 2)] == [4, 3]  # tokens of their own


def test_an_answer_ends_where_the_model_ends_it(engine: TokenEngine) -> None:
    """After the mark of the end, unless that is to be ignored."""
    ask = Ask(prompt(30), 900, temperature=1.0, seed=7)
    (ended,) = answers(engine, ask)
    further = len(ended.tokens) + 20
    (whole,) = answers(engine, replace(ask, max_tokens=further, ignore_end=True))
    assert (ended.finish, whole.finish) == ("stop", "length")
    assert ended.tokens == whole.tokens[: whole.tokens.index(2) + 1]
    assert len(whole.tokens) == further


def test_seeds_are_a_requests_own(engine: TokenEngine) -> None:
    ask = Ask(prompt(30), 12, temperature=1.0, seed=7, ignore_end=True)
    other = Ask(prompt(20, 1), 12, temperature=1.0, seed=9, ignore_end=True)
    (alone,) = answers(engine, ask)
    _, beside = answers(engine, other, ask)
    (reseeded,) = answers(engine, Ask(ask.prompt, 12, 1.0, seed=8, ignore_end=True))
    assert alone.tokens == beside.tokens
    assert alone.tokens != reseeded.tokens


ENDED = """
import os, pathlib, signal, sys
from serving_mathematics.engine.token_engine import Settings, TokenEngine

signal.signal(signal.SIGTERM, lambda *_: print("heard"))
small = Settings(max_sequences=1, token_budget=16, kv_blocks=8, context_tokens=64)
first, second = (TokenEngine(small, pathlib.Path(sys.argv[1])) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_after_two_engines_ended_is_heard(small_model: Path) -> None:
    """In the order in which they were made: the library leaves the signals a stack of the first.
    `-X faulthandler` gives them one, as pytest does."""
    command = [sys.executable, "-X", "faulthandler", "-c", ENDED, str(small_model)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_memory_that_is_short_loses_no_token_and_is_told(small_model: Path) -> None:
    """Twelve requests need 60 blocks at their end, of which there are 30: some are preempted."""
    settings = Settings(max_sequences=16, kv_blocks=30, context_tokens=900)
    engine = TokenEngine(settings, small_model)
    for number in range(1, 13):
        engine.add(number, Ask(prompt(100, number), 60, ignore_end=True))
    steps = finish(engine)
    assert [len(engine.tokens(number).tokens) for number in range(1, 13)] == [60] * 12
    assert max(step.cache_share for step in steps) == 1.0
    assert any(not step.exact for step in steps)
    assert engine.metrics()["inexact_steps"] == sum(not step.exact for step in steps)


def test_cancelling_gives_place_and_memory_back(engine: TokenEngine) -> None:
    running, waiting = next(NUMBERS), next(NUMBERS)
    engine.add(running, Ask(prompt(200), 500, ignore_end=True))
    engine.step()
    assert engine.step().cache_share > 0
    engine.add(waiting, Ask(prompt(200, 1), 500, ignore_end=True))
    engine.cancel(waiting)
    engine.cancel(running)
    engine.cancel(running)  # which has ended, and may
    (after,) = finish(engine)  # in which nothing of it is left
    assert after.decoding == 0
    assert engine.metrics()["running"] == 0
    with pytest.raises(ValueError, match="number must be of a request"):
        engine.tokens(running)
    (answer,) = answers(engine, Ask(prompt(900), 2, ignore_end=True))  # what the memory holds
    assert len(answer.tokens) == 2


def test_text_survives_the_tokenizer(engine: TokenEngine) -> None:
    text = "naïve 世界 😀🦜\n\0 <b>"
    assert b"".join(map(engine.piece, engine.encode(text))).decode() == text
    assert engine.piece(0) == engine.piece(2) == b""  # the ends of a text and of an answer
    assert engine.piece(VOCABULARY) == b""


@pytest.mark.parametrize("words", [1024, 8192, 100_000])
def test_texts_beyond_the_context_are_refused_and_not_cut(engine: TokenEngine, words: int) -> None:
    """The tokenizer by itself returns 8192 tokens of any longer text."""
    with pytest.raises(ValueError, match="prompt must be of fewer than 1024 tokens"):
        engine.encode("word " * words)


def test_what_cannot_be_served_is_refused_before_the_engine_sees_it(engine: TokenEngine) -> None:
    for wrong in (Ask((), 1), Ask((-1,), 1), Ask((10**9,), 1), Ask((1,), 1024)):
        with pytest.raises(ValueError, match=r"prompt|max_tokens"):
            engine.add(next(NUMBERS), wrong)
    with pytest.raises(ValueError, match="number must be a non-negative integer"):
        engine.add(-1, Ask((1,), 1))
    number = next(NUMBERS)
    engine.add(number, Ask((1,), 1))
    with pytest.raises(ValueError, match="number must be new"):
        engine.add(number, Ask((1,), 1))
    finish(engine)
    for least, most in ((0, 1), (VOCABULARY - 1, 1023)):
        require_ask(Ask((least,), most), most + 1)


@pytest.mark.parametrize("content", [None, b"", b"x" * 1000])
def test_a_model_that_is_not_there_or_damaged_is_named(
    tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "model.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EngineMissing, match=r"model\.gguf"):
        TokenEngine(model=file)


def test_without_the_packages_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino_genai", None)
    with pytest.raises(EngineMissing, match="pip install openvino-genai"):
        TokenEngine()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(EngineMissing, match="no model is installed"):
        model_path()


def test_a_processor_on_which_the_engine_does_not_compute_is_named(
    small_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without AVX2 it loads, and its first step says something about a tensor."""

    def step(_: TokenEngine) -> None:
        raise RuntimeError("Check 'm_ptr != nullptr' failed\nmore")

    monkeypatch.setattr(TokenEngine, "step", step)
    expected = "does not compute on this processor, an x86 one takes AVX2: Check 'm_ptr != nullptr'"
    with pytest.raises(EngineMissing, match=expected):
        TokenEngine(model=small_model)


def test_a_context_ends_at_the_memory_or_the_model() -> None:
    """At the one that holds less; of the model's, one token stays free."""
    for blocks, most in ((4, 128), (600, MODEL_CONTEXT_TOKENS - 1)):
        assert Settings(kv_blocks=blocks, context_tokens=most).context_tokens == most
        with pytest.raises(ValueError, match=rf"context_tokens must be in \[2, {most}\],"):
            Settings(kv_blocks=blocks, context_tokens=most + 1)


def test_places_are_given_before_a_step_as_in_it(engine: TokenEngine) -> None:
    for number in range(1, 7):
        engine.add(number, Ask((1, 2, number), 2, ignore_end=True))
    assert engine.batch == ()
    assert engine.admit()
    assert engine.batch == (1, 2, 3, 4)
    assert not engine.admit()
    engine.cancel(2)  # which the pipeline has not seen
    engine.step()
    assert engine.batch == (1, 3, 4, 5)
    finish(engine)
    assert [engine.tokens(number).finish for number in (1, 3, 4, 5, 6)] == ["length"] * 5


def test_a_request_that_the_engine_refuses_ends_alone(
    engine: TokenEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When it is handed over, and when its tokens are read; alone in the batch, and with others."""
    hand_over, read = TokenEngine._hand_over, TokenEngine._read

    def handing(engine: TokenEngine, request: Any) -> Any:
        if request.ask.seed == 1:
            raise RuntimeError("it cannot be\nat line 7 of a file")
        return hand_over(engine, request)

    def reading(engine: TokenEngine, request: Any) -> bool:
        if request.ask.seed == 2 and request.generated:
            raise RuntimeError("no more")
        return read(engine, request)

    monkeypatch.setattr(TokenEngine, "_hand_over", handing)
    monkeypatch.setattr(TokenEngine, "_read", reading)
    engine.add(1, Ask((1, 2), 2, seed=1))
    engine.step()
    assert engine.tokens(1) == Answer([], "failed", "it cannot be")
    for number, seed in ((2, 1), (3, 2), (4, 0), (5, 0)):
        engine.add(number, Ask((1, 2, number), 6, seed=seed, ignore_end=True))
    finish(engine)
    ends = [engine.tokens(number) for number in (2, 3, 4, 5)]
    assert [(len(end.tokens), end.finish) for end in ends] == [
        (0, "failed"), (1, "failed"), (6, "length"), (6, "length")
    ]  # fmt: skip
    assert ends[1].reason == "no more"
    assert engine.metrics()["running"] == 0


@pytest.mark.parametrize("more", [{"temperature": 9e-6}, {"temperature": 2.0, "top_p": 2e-5}])
def test_where_no_other_token_would_be_drawn_the_likeliest_is_taken(
    engine: TokenEngine, more: dict[str, float]
) -> None:
    ask = Ask((1, 2, 3), 20)
    (likeliest,) = answers(engine, ask)
    (drawn,) = answers(engine, replace(ask, **more))  # type: ignore[arg-type]
    assert drawn.tokens == likeliest.tokens


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory under /proc")
def test_memory_grows_with_blocks_and_sizes_that_were_not_met_before(small_model: Path) -> None:
    """When every block of the cache has been used, and a step has had each number of tokens once,
    the same again, five times, or twenty at night, adds nothing."""
    engine = TokenEngine(Settings(max_sequences=4, kv_blocks=60, context_tokens=1024), small_model)
    numbers = itertools.count(1)

    def answered(sizes: Sequence[int]) -> float:
        """Resident memory [MB] after a prompt of each size, one after another."""
        for size in sizes:
            number = next(numbers)
            engine.add(number, Ask(tuple(range(2, 2 + size)), 1))
            finish(engine)
            engine.tokens(number)
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6

    answered([900] * 3)
    sizes = range(1, 60, 4)
    before = answered([*sizes] * 2)
    assert answered([*sizes] * (20 if THOROUGH else 5)) < before + 10
