"""Fields: what each takes and refuses, and what a refusal proposes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.questions.fields import (
    CALLED,
    FIELDS,
    Field,
    find_field,
    meant_number,
    read_value,
)

HOSTILE: list[object] = [
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
        assert all(field.low <= float(value) <= field.high for value in taken if value != "1,5")
    else:
        assert all(isinstance(value, str) for value in taken)


@pytest.mark.parametrize("name", [field.name for field in FIELDS.values() if field.high])
def test_numbers_are_written_in_ascii(name: str) -> None:
    for text in ("١٦", "１６", "1_6", "0x10", "16 GB"):
        with pytest.raises(ValueError, match=f"^{name} must be "):
            read_value(name, text)


def test_a_path_is_that_of_a_file_whatever_it_is_called() -> None:
    for name in ("model", "trace", "load_test"):
        assert read_value(name, Path("qwen3-8b")) == str(Path("qwen3-8b").absolute())
    with pytest.raises(ValueError, match=r"^rate_per_s must be a number from .*got .*Path\('60'\)"):
        read_value("rate_per_s", Path("60"))


@given(st.sampled_from([f for f in FIELDS.values() if f.high]), st.data())
def test_numbers_and_their_text_read_alike(field: Field, data: st.DataObject) -> None:
    numbers = (
        st.integers(int(field.low), int(field.high))
        if field.whole
        else st.floats(field.low, field.high)
    )
    value = data.draw(numbers)
    assert read_value(field.name, value) == read_value(field.name, str(value)) == value


def test_a_name_that_is_none_is_refused_with_the_one_that_was_meant() -> None:
    assert find_field("seed") is FIELDS["seed"]
    assert set(CALLED.values()) < set(FIELDS)
    assert not set(CALLED) & set(FIELDS)
    for name, words in (
        ("sede", "did you mean seed"),
        ("xyz", "fields are model, "),
        ("region", "fields are model, "),
        *((name, rf"did you mean {field}\?$") for name, field in CALLED.items()),
        ("users", "give rate_per_s, .* included: 60 who each ask once a minute are 1 a second"),
    ):
        with pytest.raises(ValueError, match=f"there is no field '{name}'; {words}"):
            find_field(name)


def test_a_field_has_an_option_and_a_label_with_its_unit() -> None:
    field = FIELDS["tpot_s"]
    assert (field.option, field.label) == ("--tpot-s", "Time per token, TPOT (s)")


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("ttft_s", "500", 0.5),
        ("ttft_s", "500ms", 0.5),
        ("ttft_s", "2 s", 2.0),
        ("tpot_s", "50", 0.05),
        ("tpot_s", "50 ms", 0.05),
        ("tpot_s", "0,05", 0.05),
        ("tpot_s", "5%", 0.05),
        ("tpot_s", "1,5", 1.5),
        ("quantile", "99", 0.99),
        ("quantile", "p99.9", 0.999),
        ("memory_share", "90%", 0.9),
        ("cached_share", "80", 0.8),
        ("rate_per_s", "10/s", 10.0),
        ("rate_per_s", "4k/s", 4000.0),
        ("rate_per_s", "2k", 2000.0),
        ("rate_per_s", "$ 5", 5.0),
        ("seed", "1.5k", 1500.0),
        ("rate_per_s", "100k/s", 100_000.0),  # the most
        ("tpot_s", "0.01 ms", 1e-5),  # the least
        ("mean_prompt_tokens", "4,000", 4000.0),
        ("requests", "1_001", 1001.0),
        ("price_per_hour", "$2.50", 2.5),
    ],
)
def test_what_looks_like_another_unit_is_asked_back(name: str, text: str, meant: float) -> None:
    assert meant_number(FIELDS[name], text) == meant
    with pytest.raises(
        ValueError, match=rf"^{name} must be a .* \(did you mean {meant:g}\?\), got"
    ):
        read_value(name, text)
    assert read_value(name, meant) == meant


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rate_per_s", "200000"),  # not milliseconds
        ("quantile", "1"),  # 0.01 is not meant
        ("quantile", "100%"),
        ("rate_per_s", "5 GB"),
        ("memory_gib", "80GB"),  # of 1000 or of 1024?
        ("rate_per_s", "-3"),
        ("rate_per_s", "12 foo"),
        ("batch_limit", "256.5"),
        ("seed", "9" * 5000),
        ("ttft_s", "500000"),
    ],
)
def test_what_is_unclear_is_refused_without_a_guess(name: str, text: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} must be a ") as refused:
        read_value(name, text)
    assert "did you mean" not in str(refused.value)
