"""Traces: every form that is read, prefixes, silent minutes, and refusals by row and column."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.questions.trace_formats import ReadRequests, read_requests

TIMES = np.arange(0.0, 240.0, 2.0)
HEAD = "time,input_tokens,output_tokens"


def written(stamps: list[str], header: str = HEAD) -> str:
    return "\n".join([header, *(f"{stamp},{100 + i},{5 + i}" for i, stamp in enumerate(stamps))])


@pytest.mark.parametrize(
    "form",
    [
        lambda t: f"2026-03-01T10:{int(t) // 60:02}:{int(t) % 60:02}Z",
        lambda t: f"2026-03-01T12:{int(t) // 60:02}:{int(t) % 60:02}+02:00",
        lambda t: f"2026-03-01 10:{int(t) // 60:02}:{int(t) % 60:02}.1234567",
        lambda t: f"{1.77e9 + t:.3f}",
        lambda t: f"{1000 * (1.77e9 + t):.0f}",
        lambda t: f"{t}",
        lambda t: f"{1000 * t:.0f}",
    ],
)
def test_times(form: object) -> None:
    asked = read_requests(written([form(t) for t in TIMES]))  # type: ignore[operator]
    assert asked.arrival_s == pytest.approx(TIMES, abs=1e-5)
    assert asked.prompt_tokens.tolist() == list(range(100, 220))
    assert not asked.cached_tokens.any()


def test_times_of_several_zones_are_of_one_clock() -> None:
    """One without a zone beside them may be of any."""
    stamps = [
        f"2026-03-01T{10 + hours}:{int(t) // 60:02}:{int(t) % 60:02}{zone}"
        for t, (hours, zone) in zip(TIMES, 60 * [(0, "Z"), (2, "+02:00")], strict=True)
    ]
    assert read_requests(written(stamps)).arrival_s.tolist() == TIMES.tolist()
    with pytest.raises(ValueError, match="zone"):
        read_requests(written([*stamps[:-1], stamps[-1].removesuffix("+02:00")]))


def test_azure_is_read_with_all_its_digits() -> None:
    stamps = [f"2023-11-16 18:{int(t) // 60:02}:{int(t) % 60:02}.0000001" for t in TIMES]
    asked = read_requests(written(stamps, "TIMESTAMP,ContextTokens,GeneratedTokens"))
    assert asked.arrival_s.tolist() == TIMES.tolist()
    zoned = read_requests(
        written([stamp + "Z" for stamp in stamps], "TIMESTAMP,ContextTokens,GeneratedTokens")
    )
    assert zoned.arrival_s == pytest.approx(TIMES, abs=1e-5)


def test_silent_minutes_and_requests_at_once_are_data() -> None:
    for early in (1, 60, 119):
        stamps = [*([0] * early), *([600] * (120 - early))]
        asked = read_requests(written([f"{t}.0" for t in stamps]))
        assert asked.arrival_s.tolist() == [float(t) for t in stamps]
    with pytest.raises(ValueError, match="the trace must be longer than an instant"):
        read_requests(written(["5.0"] * 120))


def test_a_mapping_wins_over_names_that_are_known() -> None:
    header = "time,arrived,input_tokens,in,output_tokens"
    rows = [f"{9},{t},7,{100 + i},{5 + i}" for i, t in enumerate(TIMES)]
    asked = read_requests("\n".join([header, *rows]), "time=arrived, prompt=in")
    assert asked.arrival_s.tolist() == TIMES.tolist()
    assert asked.prompt_tokens[0] == 100


@pytest.mark.parametrize(
    "header",
    [
        "time,prompt,output",
        "arrival,input,completion",
        "arrived_at,num_prefill_tokens,num_decode_tokens",  # of Vidur
        "arrival_timestamp,prompt_size,token_size",  # of Splitwise
        "t,in_tok,out_tok",
        "Time,Input Token Num,numOutputTokens",
        "time,prompt_len,gen_len",
        "time,query_length,response_count",
    ],
)
def test_plain_names_are_read_where_they_say_one_thing(header: str) -> None:
    rows = [f"{t},{100 + i},{5 + i}" for i, t in enumerate(TIMES)]
    asked = read_requests("\n".join([header, *rows]))
    assert asked.prompt_tokens.tolist() == list(range(100, 220))
    assert asked.output_tokens.tolist() == list(range(5, 125))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("time,in,output", "prompt=in$"),
        ("time,request,output", "prompt=request$"),
        ("time,prompt,input,output", "prompt=prompt or prompt=input$"),
        ("time,in_len,n_input,osl", "prompt=in_len or prompt=n_input$"),
        ("time,prompt,response", "output=response$"),
        ("time,prompt,max_output_tokens", "output=max_output_tokens$"),
        ("time,a,b", "prompt=NAME$"),
    ],
)
def test_plain_names_that_may_be_either_are_proposed(header: str, words: str) -> None:
    row = ",".join(["1"] * (header.count(",") + 1))
    with pytest.raises(ValueError, match=rf"row 1 must name .*; or say which: .*{words}"):
        read_requests(f"{header}\n{row}\n")


@pytest.mark.parametrize("ids", [[[1]], [{}], [None], [True], [1.5], "x", 3, {"a": [1]}])
def test_blocks_that_are_none_are_refused(ids: object) -> None:
    rows = [
        {"timestamp": 1000 * i, "input_length": 900, "output_length": 3, "hash_ids": [i]}
        for i in range(100)
    ]
    rows[3]["hash_ids"] = ids
    with pytest.raises(ValueError, match="row 4, hash_ids must be a list of whole numbers or name"):
        read_requests("\n".join(map(json.dumps, rows)))


def test_more_cached_tokens_than_a_prompt_has_are_refused() -> None:
    rows = [f"{t},100,5,{101 if i == 7 else 100}" for i, t in enumerate(TIMES)]
    with pytest.raises(
        ValueError, match="row 9, column cached_tokens must be at most the 100 tokens of its prompt"
    ):
        read_requests("\n".join([f"{HEAD},cached_tokens", *rows]))


def test_names_that_differ_by_case_alone_are_refused() -> None:
    rows = [f"{t},{3 * t},100,5" for t in TIMES]
    text = "\n".join(["Time,time,isl,osl", *rows])
    with pytest.raises(
        ValueError, match=r"row 1 must be one column of a name, .*'Time' and 'time'"
    ):
        read_requests(text)
    assert read_requests(text, "time=time").arrival_s[-1] == 3 * TIMES[-1]


def test_requests_of_one_time_are_told() -> None:
    asked = read_requests(written([f"{t // 40 * 40:.1f}" for t in TIMES]))
    assert isinstance(asked, ReadRequests)
    assert asked.told.startswith("120 requests in 3.33 min; time from time: seconds from a start")
    assert asked.told.endswith("; at no more than 6 different times")


def test_a_few_requests_without_an_answer_count_one_token() -> None:
    """Their prompts were worked on; where there are many, the column is none of answers."""
    rows = [f"{t},100,{(5, '', '0', 'null')[i] if i < 4 else 5}" for i, t in enumerate(TIMES)]
    asked = read_requests("\n".join([HEAD, *rows]))
    assert asked.output_tokens[:5].tolist() == [5, 1, 1, 1, 5]
    assert asked.told.endswith("; 3 without an answer count one token")
    rows = [f"{t},100,{0 if i < 13 else 5}" for i, t in enumerate(TIMES)]
    with pytest.raises(ValueError, match=r"row 2, column output_tokens .* failed requests, empty"):
        read_requests("\n".join([HEAD, *rows]))


def test_cached_tokens_of_a_column() -> None:
    rows = [f"{t},100,5,{100 if i % 2 else 60}" for i, t in enumerate(TIMES)]
    asked = read_requests("\n".join([f"{HEAD},cached_tokens", *rows]))
    assert asked.cached_tokens[:2].tolist() == [60, 99]  # one token at least is computed


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=6), min_size=100, max_size=120))
def test_prefixes_by_brute_force(blocks: list[list[int]]) -> None:
    rows = [
        {"timestamp": 1000 * i, "input_length": 512 * len(ids), "output_length": 3, "hash_ids": ids}
        for i, ids in enumerate(blocks)
    ]
    asked = read_requests("\n".join(json.dumps(row) for row in rows))
    for place, ids in enumerate(blocks):
        before = {block for other in blocks[:place] for block in other}
        shared = 0
        while shared < len(ids) and ids[shared] in before:
            shared += 1
        assert asked.cached_tokens[place] == min(512 * shared, 512 * len(ids) - 1)


def test_blocks_are_as_long_as_lengths_say() -> None:
    """Of Bailian's 16 tokens each was counted as 512, so that next to nothing was computed."""
    row = {"timestamp": 0, "input_length": 521, "output_length": 3, "hash_ids": [*range(33)]}
    rows = [row | {"timestamp": i, "hash_ids": [*range(5), *[99 + i] * 28]} for i in range(100)]
    asked = read_requests("\n".join(map(json.dumps, rows)))
    assert asked.cached_tokens.tolist() == [0, *[80] * 99]
    assert asked.told.endswith("repeated hash_ids of 16 tokens are cached")


@pytest.mark.parametrize(
    ("text", "columns", "words"),
    [
        ("", "", "the log must be a header and at least one request"),
        (HEAD, "", "the log must be a header and at least one request, got fewer rows"),
        ("a,b,c\n1,2,3\n", "", "row 1 must name a column for time, such as timestamp, got a, b, c"),
        (HEAD + "\n1,2\n", "", "row 2 must be 3 fields long"),
        (HEAD + "\nsoon,1,1\n", "", "row 2, column time must be a time"),
        (HEAD + "\n1,1,1\nsoon,1,1\n", "", "row 3, column time must be a time"),
        (HEAD + "\n2,1,1\n1,1,1\n", "", "row 3, column time must be no earlier .*; sort the file"),
        (HEAD + "\n1,0,1\n", "", "row 2, column input_tokens must be a whole number, at least 1"),
        (HEAD + "\n1,1.5,1\n", "", "row 2, column input_tokens must be a whole number"),
        (HEAD + "\n1,1,1e3\n", "", "row 2, column output_tokens must be a whole number"),
        (HEAD + "\n1,1,1\n2,1,1\n", "", "the trace must be at least 100 requests long, got 2"),
        (HEAD + "\n1,1,1\n", "when", "trace_columns must be such as"),
        (HEAD + "\n1,1,1\n", "prompt=x", "trace_columns prompt must be one of time"),
        ('{"timestamp": 1}\n[2]\n', "", "row 2 must be one JSON object, got list"),
        ('{"timestamp": 1}\n{"a"\n', "", "row 2 must be one JSON object"),
        ('{"timestamp": 1, "isl": 1}\n', "", "row 1 must name a column for output"),
        (
            '{"ts": 1, "isl": 1, "osl": 1}\n{"ts": 2, "isl": 1}\n',
            "",
            "row 2 must be an object with",
        ),
        (
            '{"ts": 1, "isl": 1, "osl": 1}\n{"ts": 2, "isl": 0, "osl": 1}\n',
            "",
            r"row 2, column isl must be a whole number, at least 1 \(leave out rows without one",
        ),
        (HEAD + f"\n1,{'x' * 99},1\n", "", f"at least 1, got '{'x' * 40}'"),
        (HEAD + f"\n{'x' * 99},1,1\n", "", f"or ns, got '{'x' * 40}'$"),
        (
            HEAD + f"\n2,1,1\n1.{'0' * 30},1,1\n",
            "",
            rf"got 1\.{'0' * 30}; sort the file by time, or",
        ),
        (HEAD + f"\n2,1,1\n1.{'0' * 99},1,1\n", "", rf"row 3, .*got '1\.{'0' * 38}'$"),
        (f"{HEAD},time\n1,1,1,1\n", "", "the log must have one column 'time', got it twice"),
        (f"{HEAD}\n1,1,1\n".replace(",", ";"), "", "separated by commas, got a header with semi"),
        (HEAD + "\n1,1,1\n", "time=time,prompt=time", "must be of different columns, got 'time'"),
        (
            HEAD + "\n1,1,1\n",
            "unit=min",
            "unit must be one of s, ms, us, ns, iso, got 'min'",
        ),
        (HEAD + "\n1,1,1\n", "unit=s,unit=s", "trace_columns must be such as"),
        ('[{"ts": 1}]', "", "the trace must be CSV or JSON lines, got a JSON list; write one obj"),
        ("\x1f\x8b\x08", "", "the trace must be text, unpacked, got a gzip file"),
        ('{"ts": 1, "ts": 2, "isl": 1, "osl": 1}', "", "'ts' must be given once, got it twice"),
        ('{"ts": ' + "[" * 100_000, "", "row 1 must be one JSON .* at most 100 deep, got more"),
        (HEAD + "\n1,1,1\n", "x" * 99, f"got '{'x' * 60}'$"),
        (HEAD + "\n1,1,1\n", f"prompt={'x' * 99}", f"got {'x' * 60}$"),
        (f"time,{'a' * 300}\n1,1\n", "prompt=x", f"one of time, {'a' * 194}, got x$"),
        (f"{'a' * 300}\n1\n", "", f"got {'a' * 200}; or say which"),
        (HEAD + '\n"1,1,1\n', "", "the log must be comma-separated values"),
    ],
)
def test_refusals(text: str, columns: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_requests(text, columns)


@given(st.text(max_size=80), st.text(max_size=20))
def test_any_text_is_a_trace_or_a_message(text: str, columns: str) -> None:
    with contextlib.suppress(ValueError):
        read_requests(text, columns)
