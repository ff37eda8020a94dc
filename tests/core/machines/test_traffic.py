"""Lengths and arrivals of traces: what the tables keep, and the command that makes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_ids
from serving_mathematics.core.machines import traffic
from serving_mathematics.core.machines.traffic import (
    CLASSES,
    TRACES,
    VALUES,
    draw_arrivals,
    draw_lengths,
    draw_minutes,
    draw_requests,
    found_tokens,
    tabulate,
    trace_record,
)


@pytest.mark.parametrize("name", TRACES)
def test_drawn_lengths_are_possible(name: str) -> None:
    drawn = draw_lengths(np.random.default_rng(1), name, 5000)
    assert drawn.prompt_tokens.min() >= 1
    assert drawn.output_tokens.min() >= 1
    assert np.all((drawn.cached_tokens >= 0) & (drawn.cached_tokens < drawn.prompt_tokens))
    again = draw_lengths(np.random.default_rng(1), name, 5000)
    assert again.prompt_tokens.tolist() == drawn.prompt_tokens.tolist()


def test_the_record_is_of_the_published_traces() -> None:
    """Azure Public Dataset: 19,366 requests; Mooncake: 12,031 of an hour."""
    found = [trace_record(name)["requests"] for name in TRACES]
    assert found == [19_366, 12_031]
    for name in TRACES:
        record = trace_record(name)
        for part in ("prompt", "output", "cached_share"):
            assert np.shape(record[part]) == (CLASSES, VALUES)
        assert sum(record["requests_per_minute"]) <= record["requests"]


def test_long_prompts_have_their_own_answers() -> None:
    """In the conversations prompts of some 4,000 tokens have shorter answers than the others."""
    drawn = draw_lengths(np.random.default_rng(2), "conversations", 40_000)
    correlation = np.corrcoef(drawn.prompt_tokens, drawn.output_tokens)[0, 1]
    assert correlation == pytest.approx(-0.11, abs=0.03)  # of the trace itself: -0.112


def test_lengths_are_those_of_their_minutes() -> None:
    """In its busy half the hour of conversations has longer prompts and shorter answers, which
    requests that are drawn apart from their minutes do not have."""
    counts = np.array(trace_record("conversations")["requests_per_minute"])
    busy = np.array([counts > np.median(counts), counts <= np.median(counts)])
    rng = np.random.default_rng(8)
    times, drawn = draw_requests(rng, "conversations", 100.0, 348_000, real_minutes=True)
    place = busy[:, (times // 60).astype(int) % 58]
    prompts, answers = (
        [lengths[one].mean() for one in place]
        for lengths in (drawn.prompt_tokens, drawn.output_tokens)
    )
    assert prompts[0] / prompts[1] == pytest.approx(1.119, abs=0.03)  # of the file
    assert answers[0] / answers[1] == pytest.approx(0.686, abs=0.07)  # where a class has them, too


def test_a_cache_finds_what_it_still_holds() -> None:
    """Three prompts of two blocks, of which the first and the last are the same."""
    tree = prefixes_of_ids([[1, 2], [3, 4], [1, 2]], [[10, 10]] * 3, "row", [0, 1, 2])
    asked = Requests([0.0, 1.0, 2.0], [20] * 3, [1] * 3, prefixes=tree)
    assert found_tokens(asked, 40, block_tokens=10).tolist() == [0, 0, 19]  # never the whole
    assert found_tokens(asked, 20, block_tokens=10).tolist() == [0, 0, 0]
    assert found_tokens(Requests([0.0], [9], [1]), 10).tolist() == [0]


@pytest.mark.parametrize("wrong", [-1, 58, 0.5, math.nan])
def test_minutes_are_those_of_the_trace(wrong: float) -> None:
    with pytest.raises(ValueError, match="minutes must be integers from 0 to below 58, got"):
        draw_lengths(np.random.default_rng(0), "conversations", 2, np.array([57, wrong]))


def test_minutes_count_the_same_in_every_type() -> None:
    minutes = np.arange(58)
    for dtype in (np.int8, np.uint8, float):
        drawn, told = (
            draw_lengths(np.random.default_rng(0), "conversations", 58, given).prompt_tokens
            for given in (minutes, minutes.astype(dtype))
        )
        assert drawn.tolist() == told.tolist()


def test_tables_keep_means() -> None:
    rng = np.random.default_rng(3)
    size = 16 * 20 * 10
    asked = Requests(np.arange(size) * 0.5, rng.integers(1, 500, size), rng.integers(1, 90, size))
    kept = tabulate(asked)
    assert kept["requests_per_minute"] == [120] * 26
    rank = np.argsort(np.argsort(asked.prompt_tokens, kind="stable"), kind="stable")
    first = np.bincount(rank[:120] // (size // 16), minlength=16)
    assert kept["classes_per_minute"][0] == first.tolist()
    mean = np.mean([np.mean(one) for one in kept["output"]])
    assert mean == pytest.approx(asked.output_tokens.mean(), rel=1e-3)


def test_the_command_writes_what_is_read(tmp_path: Path) -> None:
    azure, mooncake = tmp_path / "azure.csv", tmp_path / "mooncake.jsonl"
    lines = [f"{place},{place % 50 + 1},{place % 7 + 1}" for place in range(400)]
    azure.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(lines) + "\n")
    rows = [
        {"timestamp": 10 * n, "input_length": 600, "output_length": 3, "hash_ids": [n % 5, n + 5]}
        for n in range(400)
    ]
    mooncake.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with mock.patch.object(traffic, "write_record", return_value="there") as write:
        assert traffic.main([str(azure), str(mooncake)]) == 0
    _, record = write.call_args.args
    assert list(record["traces"]) == list(TRACES)
    assert record["traces"]["long conversations"]["mean_cached_tokens"] > 400


def test_arrivals_follow_the_rate() -> None:
    times = draw_arrivals(np.random.default_rng(4), 25.0, 50_000)
    assert times[-1] == pytest.approx(2000.0, rel=0.02)
    real, _ = draw_minutes(np.random.default_rng(4), 100.0, 360_000, "conversations")
    assert np.all(np.diff(real) >= 0)
    assert real[-1] == pytest.approx(3600.0, rel=0.02)
    for size in (1000, 20_000, 90_000, 600_000):  # of less than an hour, of one and of several
        real, _ = draw_minutes(np.random.default_rng(4), 20.0, size, "conversations")
        assert size / real[-1] == pytest.approx(20.0, rel=4 / math.sqrt(size))
    with pytest.raises(ValueError, match="name must be one of"):
        draw_minutes(np.random.default_rng(0), 1.0, 5, "mail")
    with pytest.raises(ValueError, match=r"minutes must be of shape \(3,\)"):
        draw_lengths(np.random.default_rng(0), "conversations", 3, np.zeros(2, dtype=np.int64))
    with pytest.raises(ValueError, match="requests must be a trace of 320 requests"):
        tabulate(Requests([0.0], [9], [1]))
    with pytest.raises(ValueError, match="paths must be two"):
        traffic.main(["a"])
