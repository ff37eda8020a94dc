"""Fields, files and traces: what is accepted, what is refused, and where the refusal points."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.continuous_batching import Workload
from serving_mathematics.planner.questions import (
    FIELDS,
    Field,
    read_grid,
    read_question,
    read_trace,
    read_value,
)
from serving_mathematics.planner.traffic import Traffic

HOSTILE = [
    "",
    " ",
    "nan",
    "-inf",
    "1e999",
    "0x10",
    "1,5",
    "--help",
    "'; rm -rf /",
    "<script>",
    "\x00",
    "9" * 5000,
    "½",
    "١٢",
    "１２",
    "1_2",
    None,
    True,
    False,
    [],
    {},
    [1],
    -1,
    0,
    10**400,
    float("nan"),
    float("inf"),
    b"5",
]


@pytest.mark.parametrize("name", list(FIELDS))
def test_no_field_takes_what_is_hostile(name: str) -> None:
    field = FIELDS[name]
    taken = []
    for hostile in HOSTILE:
        try:
            taken.append(read_value(name, hostile))
        except ValueError as error:
            text = str(error)
            refusal = text.startswith(f"{name} must be ") and ", got " in text and len(text) < 200
            assert refusal, text
    if field.high:
        assert all(field.low <= float(value) <= field.high for value in taken)
    else:
        assert all(isinstance(value, str) for value in taken)


def test_a_number_too_long_for_python_is_refused_by_its_field() -> None:
    with pytest.raises(ValueError, match=r"^rate_per_s must be a number .*, got '9{50}"):
        read_grid('{"rate_per_s": ' + "9" * 5000 + "}", "json")
    with pytest.raises(ValueError, match=r"^seed must be a whole number .*, got 9{50}"):
        read_grid('{"seed": ' + "9" * 999 + "}", "json")


@pytest.mark.parametrize("name", [field.name for field in FIELDS.values() if field.high])
def test_numbers_are_written_in_ascii(name: str) -> None:
    for text in ("١٦", "１６", "1_6", "0x10", "16 GB"):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            read_value(name, text)


@given(st.sampled_from([f for f in FIELDS.values() if f.high and not f.allowed]), st.data())
def test_numbers_and_their_text_read_alike(field: Field, data: st.DataObject) -> None:
    numbers = (
        st.integers(int(field.low), int(field.high))
        if field.whole
        else st.floats(field.low, field.high)
    )
    value = data.draw(numbers)
    assert read_value(field.name, value) == read_value(field.name, str(value)) == value


@given(
    st.dictionaries(
        st.sampled_from([*FIELDS, "nonsense", ""]),
        st.one_of(st.text(max_size=8), st.floats(), st.integers(), st.none(), st.booleans()),
        max_size=5,
    )
)
def test_any_values_give_a_question_or_a_message(values: dict[str, object]) -> None:
    trace = Workload(np.arange(200.0), [1] * 200, [1] * 200)
    with contextlib.suppress(ValueError):
        assert read_question(values, lambda _: trace).requests >= 100


@given(st.text(max_size=60), st.sampled_from(["json", "csv"]))
def test_any_text_gives_a_grid_or_a_message(text: str, kind: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(set(row) <= set(FIELDS) for row in read_grid(text, kind))


def test_fields_end_where_they_should() -> None:
    asked = read_question(
        {
            "parameters_billion": "1.5",
            "layers": "10",
            "kv_heads": 2,
            "head_dim": 64,
            "weight_bits": 4,
            "cache_bits": 8,
            "peak_tflops": 100,
            "bandwidth_gb_per_s": 900,
            "memory_gib": 24,
            "devices": 2,
            "efficiency": 0.5,
            "memory_share": 0.8,
            "rate_per_s": 3,
            "arrival_scv": 4,
            "mean_prompt_tokens": 70,
            "mean_output_tokens": 80,
            "ttft_s": 2,
            "tpot_s": 0.1,
            "quantile": 0.95,
            "price_per_hour": 1.5,
            "token_budget": 300,
            "batch_limit": 20,
            "requests": 500,
            "seed": 9,
        }
    )
    model, device, goal = asked.model, asked.device, asked.objective
    assert (model.parameters, model.layers, model.kv_heads, model.head_dim) == (1.5e9, 10, 2, 64)
    assert (model.weight_bits, model.cache_bits) == (4, 8)
    assert (device.peak_flops, device.bandwidth, device.memory_bytes) == (1e14, 9e11, 24 * 2**30)
    assert asked.traffic == Traffic(3, 4, 70, 80)
    assert (goal.ttft_s, goal.tpot_s, goal.quantile) == (2, 0.1, 0.95)
    assert (asked.price_per_hour, asked.devices, asked.efficiency) == (1.5, 2, 0.5)
    assert (asked.memory_share, asked.token_budget, asked.batch_limit) == (0.8, 300, 20)
    assert (asked.requests, asked.seed) == (500, 9)


def test_a_small_budget_lowers_the_default_limit() -> None:
    assert read_question({"rate_per_s": 1, "token_budget": 40}).batch_limit == 40


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate_per_s": 1, "trace": "x.csv"}, "rate_per_s must be left out where trace is given"),
        ({"trace": "x.csv", "arrival_scv": 1}, "arrival_scv must be left out where trace is"),
        ({"device": "A100-80GB", "memory_gib": 9, "rate_per_s": 1}, "memory_gib must be left out"),
        ({"memory_gib": 9, "rate_per_s": 1}, "peak_tflops must be given too: device is"),
        ({"kv_heads": 8, "rate_per_s": 1}, "parameters_billion must be given too: model is"),
        ({"model": "Llama-3-8b", "rate_per_s": 1}, r"did you mean Llama-3-8B\?"),
        ({"model": "DeepSeek-V3", "rate_per_s": 1}, "model must be one of OPT-13B"),
        ({"model": 3}, "model must be a name of 1 to 1000 characters, got 3"),
        ({"weight_bits": 5}, "weight_bits must be 16 or 8 or 4, got 5"),
        ({"zzz": 1}, "there is no field 'zzz'; fields are model, "),
    ],
)
def test_contradictions_and_gaps(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_question(values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"line 1, column 1 must be JSON"),
        ('{"rate_per_s": 1\n "seed": 2}', "line 2, column 2 must be JSON, got: Expecting ','"),
        ("3", "the file must be one JSON object of fields, got int"),
        ('{"rate_per_s": NaN}', "rate_per_s must be a number"),
        ('{"rate_per_s": {"a": 1}}', "rate_per_s must be a number"),
        ('{"rate_per_s": [1, [2]]}', "entry 2 of rate_per_s: rate_per_s must be"),
        ('{"rate_per_s": 1, "rate_per_s": 1}', "'rate_per_s' must be given once"),
        ("[" * 100_000, "nested without end"),
        (
            json.dumps({n: list(range(200)) for n in ("seed",)})[:-1]
            + ","
            + json.dumps({"requests": list(range(100, 900)), "layers": [1]})[1:],
            "the grid must be smaller",
        ),
    ],
)
def test_json_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_grid(text, "json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate_per_s\n", "a header and at least one row, got 1 rows"),
        ('rate_per_s\n"1\n', "the file must be comma-separated values"),
        ("rate_per_s,rate_per_s\n1,2\n", "row 1 must be a header with one column rate_per_s"),
        ("rate_per\n1\n", r"row 1: there is no field 'rate_per'; did you mean rate_per_s\?"),
        ("rate_per_s\n1\n\n2\n", "row 3 must be 1 fields long"),
        ("rate_per_s,seed\n1,2\n3,4.5\n", "row 3, column seed must be a whole number"),
        ("rate_per_s;seed\n1;2\n", "row 1: there is no field 'rate_per_s;seed'"),
    ],
)
def test_csv_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_grid(text, "csv")


def test_files_of_other_systems() -> None:
    expected = [{"rate_per_s": "1", "seed": "2"}]
    assert read_grid("\ufeffrate_per_s,seed\r\n1,2\r\n\r\n", "csv") == expected
    assert read_grid('\ufeff{"seed": 2}', "json") == [{"seed": 2}]
    with pytest.raises(ValueError, match="kind must be json or csv"):
        read_grid("", "xml")


HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


def write_trace(folder: Path, rows: list[str]) -> str:
    file = folder / "log.csv"
    file.write_text("\n".join([HEADER, *rows]) + "\n", encoding="utf-8")
    return str(file)


GOOD = [f"2023-11-16 18:{i // 60:02}:{i % 60:02}.5,{100 + i},{5 + i}" for i in range(120)]


def test_a_trace_file_is_read(tmp_path: Path) -> None:
    path = write_trace(tmp_path, GOOD)
    assert read_trace(path).prompt_tokens.tolist() == [100 + i for i in range(120)]
    traffic = read_question({"trace": path}).traffic
    assert isinstance(traffic, Workload)
    assert traffic.arrival_s[-1] == 119


@pytest.mark.parametrize(
    ("place", "row", "words"),
    [
        (0, "2023-11-16 18:00:00.5,100,0", "row 2, column GeneratedTokens must be at least 1"),
        (7, "2023-11-16 18:00:07.5,0,5", "row 9, column ContextTokens must be at least 1"),
        (7, "2023-11-16 18:00:07.5,-3,5", "row 9, column ContextTokens must be a non-negative"),
        (7, "2023-11-16 18:00:07.5,1e3,5", "row 9, column ContextTokens must be"),
        (7, "yesterday,100,5", "row 9, column TIMESTAMP must be a timestamp"),
        (7, "2023-11-16 17:00:07.5,100,5", "row 9, column TIMESTAMP must be no earlier"),
        (7, "2023-13-16 18:00:07.5,100,5", "row 9, column TIMESTAMP must be a timestamp"),
        (7, "2023-11-16 18:00:07.5,100", "row 9 must be 3 fields long"),
    ],
)
def test_a_broken_trace_names_row_and_column(
    tmp_path: Path, place: int, row: str, words: str
) -> None:
    path = write_trace(tmp_path, [*GOOD[:place], row, *GOOD[place + 1 :]])
    with pytest.raises(ValueError, match=f"log.csv: {words}"):
        read_question({"trace": path})


def test_other_broken_traces(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log\.csv: the trace must be at least 100 requests"):
        read_trace(write_trace(tmp_path, GOOD[:50]))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="must be UTF-8"):
        read_trace(str(tmp_path / "bytes.csv"))
    with pytest.raises(FileNotFoundError):
        read_question({"trace": str(tmp_path / "none.csv")})
    with pytest.raises(IsADirectoryError):
        read_question({"trace": str(tmp_path)})
