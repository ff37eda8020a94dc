"""Public formats, each from rows as their documents show them, and what is refused by line."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.fleet.moments import moments_s, whole_number
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.trace_rows import BLOCKS, MOONCAKE_BLOCK, _block_tokens
from serving_mathematics.core.fleet.traces import Trace, has_known_form, load_trace, read_trace

from tests.bad_json import BAD_JSON, changed, places

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens\r
2023-11-16 18:15:46.6805900,374,44\r
2023-11-16 18:15:50.9951690,396,109\r
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:00.017335+00:00,2399,6
"""
BURST_GPT = """Timestamp,Session ID,Model,Request tokens,Response tokens,Total tokens,Log Type
5,a,ChatGPT,472,18,490,Conversation log
45,a,GPT-4,1087,230,1317,Conversation log
"""
SERVE_GEN = "request_id,timestamp,input_tokens,output_tokens\n0,0.25,100,20\n1,0.75,200,30\n"
MOONCAKE = [
    {"timestamp": 0, "input_length": 1200, "output_length": 52, "hash_ids": [0, 1, 2]},
    {"timestamp": 105, "input_length": 1800, "output_length": 26, "hash_ids": [0, 3, 4, 5]},
]
AI_PERF = [
    {
        "metadata": {"request_start_ns": 1_789_700_000_000_000_001 + 500_000_000 * i},
        "metrics": {
            "input_sequence_length": {"value": 550 + i, "unit": "tokens"},
            "output_sequence_length": {"value": 60, "unit": "tokens"},
        },
    }
    for i in range(2)
]
INFERENCE_PERF = [
    {"start_time": 100.0, "end_time": 101.5, "info": {"input_tokens": 591, "output_tokens": 140}},
    {
        "start_time": 100.25,
        "end_time": 102.0,
        "info": {
            "request_metrics": {"text": {"input_tokens": 320}},
            "response_metrics": {"output_tokens": 80},
        },
    },
]
AGENTS = {
    "id": "f64a8d4c-12d",
    "block_size": 64,
    "requests": [
        {"t": 0.0, "type": "s", "in": 150, "out": 86, "hash_ids": [1, 2, 3]},
        {"t": 9.0, "type": "s", "in": 200, "out": 10, "hash_ids": [1, 2, 4, 5], "think_time": 2.5},
        {"type": "subagent", "requests": [{"t": 9.5, "in": 64, "out": 9, "hash_ids": [1]}]},
    ],
}
SESSIONS = """session,t_s,prompt_tokens,output_tokens,reusable_tokens,think_s,ttft_s,api_s,stop
0001,0.0,100,16,0,0.0,,7.34,tool_use
0001,19.0,150,29,64,12.0,,9.19,tool_use
0002,0.0,90,20,0,,,8.23,end_turn
"""


def lines(rows: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(row) for row in rows)


@pytest.mark.parametrize(
    ("text", "arrivals", "prompts", "outputs"),
    [
        (AZURE_2023, [0.0, 4.314579], [374, 396], [44, 109]),
        (AZURE_2024, [0.0, 0.007405], [2162, 2399], [5, 6]),
        (BURST_GPT, [0.0, 40.0], [472, 1087], [18, 230]),
        (SERVE_GEN, [0.0, 0.5], [100, 200], [20, 30]),
        (lines(MOONCAKE), [0.0, 0.105], [1200, 1800], [52, 26]),
        (lines(AI_PERF), [0.0, 0.5], [550, 551], [60, 60]),
        (json.dumps(INFERENCE_PERF), [0.0, 0.25], [591, 320], [140, 80]),
    ],
)
def test_every_form(
    text: str, arrivals: list[float], prompts: list[int], outputs: list[int]
) -> None:
    asked = read_trace(text)
    assert asked.arrival_s == pytest.approx(arrivals, abs=1e-6)
    assert asked.prompt_tokens.tolist() == prompts
    assert asked.output_tokens.tolist() == outputs


def test_a_file_is_arrivals_and_tokens(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_bytes(("\ufeff" + AZURE_2023).encode())
    found = load_trace(file)
    assert isinstance(found, Trace)
    assert found.arrival_s == pytest.approx([0.0, 4.314579], abs=1e-6)
    assert (found.context_tokens.tolist(), found.generated_tokens.tolist()) == (
        [374, 396],
        [44, 109],
    )
    file.write_text(AZURE_2024 + "2024-05-10 00:00:01+00:00,0,1\n")
    with pytest.raises(ValueError, match=r"mine\.csv: line 4: the prompt must be of at least 1 to"):
        load_trace(file)


def test_forms_with_names_of_their_own_are_known() -> None:
    documents = (lines(MOONCAKE), lines(AI_PERF), json.dumps(INFERENCE_PERF), json.dumps(AGENTS))
    for text in (*documents, SESSIONS, f"\ufeff\n{SESSIONS}"):
        assert has_known_form(text)
    for text in (AZURE_2023, AZURE_2024, BURST_GPT, SERVE_GEN, f"{SERVE_GEN}reusable_tokens", ""):
        assert not has_known_form(text)


def test_blocks_of_mooncake_are_shared() -> None:
    tree = read_trace(lines(MOONCAKE)).prefixes
    assert tree is not None
    assert tree.tokens.tolist() == [512, 512 + 176, 512 + 512 + 264]
    assert tree.parent.tolist() == [-1, 0, 0]


def test_blocks_are_as_long_as_lengths_say() -> None:
    """Bailian's have 16 tokens, its times are seconds, and names are hashes too."""
    for name in (int, str):
        first, second = ([name(x) for x in (*range(32), more)] for more in (50, 60))
        row = {"chat_id": 159, "parent_chat_id": 55, "timestamp": 61.114, "input_length": 521}
        row |= {"output_length": 132, "type": "text", "turn": 2, "hash_ids": first}
        asked = read_trace(lines([row, row | {"timestamp": 62.5, "hash_ids": second}]))
        assert asked.arrival_s.tolist() == pytest.approx([0.0, 1.386])
        assert asked.prefixes is not None
        assert asked.prefixes.tokens.tolist() == [512, 9, 9]
    for size in BLOCKS:
        prompts = np.array([5000, 700, 3])
        assert _block_tokens(prompts, prompts // size) == size
        assert _block_tokens(prompts, -(-prompts // size)) == size
    assert _block_tokens([], []) == MOONCAKE_BLOCK


def test_times_by_the_calendar_have_no_unit() -> None:
    rows = [MOONCAKE[i] | {"timestamp": f"2026-01-05T10:00:0{i}Z"} for i in range(2)]
    assert read_trace(lines(rows)).arrival_s.tolist() == [0.0, 1.0]


def test_a_session_of_mooncakes_form_waits_for_its_answer() -> None:
    rows = [MOONCAKE[0] | {"session_id": "s"}, MOONCAKE[1] | {"session_id": "s", "delay": 1500}]
    asked = read_trace(lines(rows))
    assert asked.after.tolist() == [-1, 0]
    assert asked.pause_s.tolist() == [0.0, 1.5]


def test_sessions_of_an_agent() -> None:
    """The second prompt repeats two blocks of the first; the helper's blocks are its own."""
    asked = read_trace(json.dumps(AGENTS))
    assert asked.after.tolist() == [-1, 0, -1]
    assert asked.pause_s.tolist() == [0.0, 2.5, 0.0]
    tree = asked.prefixes
    assert tree is not None
    assert tree.tokens.tolist() == [128, 22, 72, 64]
    assert tree.node.tolist() == [1, 2, 3]
    everywhere = read_trace(json.dumps(AGENTS | {"hash_id_scope": "global"})).prefixes
    assert everywhere is not None
    assert everywhere.node.tolist() == [2, 3, 0]


def test_condensed_sessions() -> None:
    asked = read_trace(SESSIONS, session_starts_s=[0.0, 7.0])
    assert asked.after.tolist() == [-1, 0, -1]
    assert asked.arrival_s.tolist() == [0.0, 0.0, 7.0]
    assert asked.pause_s.tolist() == [0.0, 12.0, 0.0]
    assert asked.prefixes is not None
    assert asked.prefixes.tokens.tolist() == [64, 36, 86, 90]
    with pytest.raises(ValueError, match=r"session_starts_s must be of shape \(2,\), one start"):
        read_trace(SESSIONS, session_starts_s=[0.0])


def test_rows_without_an_answer_count_one_token() -> None:
    text = AZURE_2024 + "2024-05-10 00:00:01+00:00,7,1\n2024-05-10 00:00:01+00:00,7,0\n"
    assert read_trace(text).output_tokens.tolist() == [5, 6, 1, 1]


def test_rows_out_of_order() -> None:
    rows = [MOONCAKE[0], MOONCAKE[1] | {"timestamp": -5}]
    with pytest.raises(ValueError, match="line 2: the time must be no earlier than line 1; sort"):
        read_trace(lines(rows))
    asked = read_trace(lines(rows), sort=True)
    assert asked.prompt_tokens.tolist() == [1800, 1200]
    swapped = "\n".join(SESSIONS.splitlines()[place] for place in (0, 2, 1, 3))
    with pytest.raises(ValueError, match="line 3: the time must be no earlier than line 2"):
        read_trace(swapped)
    assert read_trace(swapped, sort=True).prompt_tokens.tolist() == [100, 150, 90]
    pulses = [RAG_PULSE | {"timestamp": time} for time in (83, 82)]  # which stand in no order
    assert read_trace(lines(pulses)).arrival_s.tolist() == [0.0, 1.0]


HEAD = "timestamp,input_tokens,output_tokens\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "the trace must be a header and at least one request, got fewer lines"),
        (HEAD, "the trace must be a header and at least one request, got fewer lines"),
        ("a,b\n1,2\n", "line 1: time must be named among the columns, as timestamp, got a, b"),
        ("time,words\n1,2\n", "line 1: prompt must be named among the columns, as contexttokens"),
        (HEAD + "1,5\n", "line 2 must be of 3 fields; is the file whole?, got 2"),
        (HEAD + '1,5,"5\n', "the trace must be comma-separated values, got unexpected end"),
        (HEAD + "1,many,5\n", "line 2: prompt tokens must be a whole number, not negative, got"),
        (HEAD + "1,5,-5\n", "line 2: output tokens must be a whole number, not negative, got"),
        (HEAD + "soon,5,5\n", "line 2: the time must be ISO 8601, or a number of seconds, got"),
        (HEAD + "1,5,5\nsoon,5,5\n", "line 3: the time must be ISO 8601, or a number of seconds,"),
        (HEAD + "1,0,5\n", "line 2: the prompt must be of at least 1 token, got 0"),
        (lines(MOONCAKE)[:-20], "line 2 must be one JSON object; is the file whole?, got"),
        ("[1]", "entry 1 must be a JSON object, got 1"),
        ('{"timestamp": 1}', "line 1 must be an object with 'input_length', got timestamp"),
        ('{"input_length": 1}', "line 1 must be an object with 'timestamp', got input_length"),
        (lines([MOONCAKE[0] | {"hash_ids": [0]}]), "line 1: hash_ids must be 3 or 2 blocks of 512"),
        (lines([MOONCAKE[0] | {"hash_ids": "0"}]), "line 1: hash_ids must be a list of whole nu"),
        (
            lines([MOONCAKE[0], MOONCAKE[1] | {"hash_ids": [0, 2, 4, 5]}]),
            "line 2: block 2 must be 176 tokens, as in line 1, got 512 tokens",
        ),
        (
            lines([MOONCAKE[0], MOONCAKE[1] | {"hash_ids": [1, 0, 4, 5]}]),
            "line 2: block 1 must be another beginning, as in line 1, got 512 tokens",
        ),
        (lines([AI_PERF[0] | {"metrics": {}}]), "line 1 must be an object with 'input_sequence_l"),
        (lines([AI_PERF[0] | {"metadata": 3}]), "line 1: metadata must be an object, got 3"),
        (
            SESSIONS.replace("64,12.0", "101,12.0"),
            "line 3: reusable_tokens must be at most what a prompt of its session had before, got",
        ),
        (SESSIONS.replace("64,12.0", "64,-1"), "line 3: think_s must be a number of seconds, not"),
        (json.dumps(AGENTS | {"block_size": 0}), "line 1: block_size must be positive, got 0"),
        (
            json.dumps(AGENTS | {"requests": [{"t": 0, "in": "x", "out": 1}]}),
            "line 1: request 1: in must be a whole number, not negative, got 'x'",
        ),
        (json.dumps(AGENTS | {"requests": [3]}), "line 1: request 1 must be an object, got 3"),
    ],
)
def test_refused_by_line_and_rule(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        read_trace(text)


@given(st.integers(0, 2**32))
def test_damaged_files_are_refused_or_read(seed: int) -> None:
    """Cut anywhere, lines left out or doubled: requests, or a ValueError."""
    rng = random.Random(seed)
    text = rng.choice([AZURE_2023, BURST_GPT, lines(MOONCAKE), SESSIONS, json.dumps(AGENTS)])
    for _ in range(rng.randint(1, 3)):
        cut = rng.randint(0, len(text))
        text = rng.choice([text[:cut], text[:cut] + text[cut + rng.randint(1, 9) :], text * 2])
    with contextlib.suppress(ValueError):
        assert (read_trace(text).output_tokens >= 1).all()


RAG_PULSE = {
    "timestamp": 1,
    "input_length": 100,
    "output_length": 3,
    "hash_ids": {"sys_prompt": [1], "user_input": [2]},
}


@pytest.mark.parametrize("data", [*MOONCAKE, *AI_PERF, *INFERENCE_PERF, AGENTS, RAG_PULSE])
def test_whatever_stands_in_a_file_is_read_or_refused(data: dict[str, Any]) -> None:
    """Anything at any place of a row, and lists in lists: requests, or a ValueError."""
    rows = [changed(data, path, value) for path in places(data) for value in BAD_JSON]
    for text in (*map(json.dumps, rows), "[" * 100_000, '{"a":' * 100_000):
        with contextlib.suppress(ValueError):
            assert (read_trace(text).output_tokens >= 1).all()


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(1, 999), st.integers(1, 99)), min_size=1))
def test_what_was_written_is_read(rows: list[tuple[float, int, int]]) -> None:
    rows.sort()
    file = io.StringIO()
    csv.writer(file).writerows([("arrival_time", "prompt_tokens", "output_tokens"), *rows])
    asked = read_trace(file.getvalue())
    times, prompts, outputs = (np.array(column) for column in zip(*rows, strict=True))
    assert np.array_equal(asked.arrival_s, times - times[0])
    assert asked.prompt_tokens.tolist() == prompts.tolist()
    assert asked.output_tokens.tolist() == outputs.tolist()


@pytest.mark.parametrize(("name", "many"), [("ts_ms", 10**3), ("time_us", 10**6), ("tNs", 10**9)])
def test_a_name_says_the_unit(name: str, many: int) -> None:
    rows = [f"{name},input_length,output_length", "0,100,50", f"{3 * many},100,50"]
    assert read_trace("\n".join(rows)).arrival_s.tolist() == [0.0, 3.0]


def test_moments() -> None:
    """All digits count, and a zone."""
    found = moments_s(["2026-01-05T10:00:00.1234567Z", "2026-01-05T11:00:00+01:00"], [1, 2])
    assert found[0] - found[1] == pytest.approx(0.1234567, abs=1e-6)
    for many in (1, 10**3, 10**6, 10**9):
        assert moments_s([1_789_700_000 * many], [1]).tolist() == [1_789_700_000.0]
    assert moments_s(["1500"], [1], 1000).tolist() == [1.5]
    with pytest.raises(ValueError, match="line 4: the time must be ISO 8601"):
        moments_s(["1.0", "nan"], [3, 4])
    assert whole_number(3.0, "x") == 3
    with pytest.raises(ValueError, match="x must be a whole number, not negative, got '1e3'"):
        whole_number("1e3", "x")


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (
            {"arrival_s": [1.0, 0.5]},
            r"arrival_s\[1\] must be no earlier than the one before it",
        ),
        ({"arrival_s": [-1.0, 0.5]}, "arrival_s must be non-negative"),
        ({"arrival_s": []}, "arrival_s must be of shape"),
        (
            {"prompt_tokens": [5, 0]},
            r"prompt_tokens\[1\] must be a whole number, at least 1 and below 2,147,483,648, got 0",
        ),
        ({"prompt_tokens": [5]}, r"prompt_tokens must be of shape \(2,\), got \(1,\)"),
        (
            {"output_tokens": [1.5, 2]},
            r"output_tokens\[0\] must be a whole number, at least 1",
        ),
        ({"cached_tokens": [5, 0]}, r"cached_tokens\[0\] must be below its prompt_tokens, got 5"),
        (
            {"tenant": -1},
            r"tenant\[0\] must be a whole number, at least 0 and below 2,147,483,648, got -1",
        ),
        ({"after": [-1, 1]}, r"after\[1\] must be the number of an earlier request, got 1"),
        ({"after": [0, 0]}, "after must be −1 for at least one request"),
        ({"pause_s": [0.0, -1.0]}, "pause_s must be non-negative"),
    ],
)
def test_columns_that_are_none(columns: dict[str, Any], told: str) -> None:
    given_columns = {"arrival_s": [0.0, 1.0], "prompt_tokens": [5, 5], "output_tokens": [2, 2]}
    with pytest.raises(ValueError, match=told):
        Requests(**(given_columns | columns))
