"""What a row says, what it leaves out, and devices that are written twice."""

from __future__ import annotations

import math

import pytest
from serving_mathematics.core.hardware.fronts import crossing, untuned
from serving_mathematics.machine.predictions.predict import Answer, answer_rows
from serving_mathematics.machine.predictions.table_rows import (
    Row,
    devices_of,
    number,
    parallel_widths,
    read_row,
    rename_columns,
)

from tests.machine.predictions.deployed_rows import CELLS


@pytest.mark.parametrize(
    ("concurrency", "osl", "dp", "told"),
    [(27, 30, 1, 0), (28, 30, 1, 1), (64, 30, 4, 0), (64, 1, 1, 0)],
)
def test_prompts_that_outgrow_a_step_are_told(
    concurrency: int, osl: int, dp: int, told: int
) -> None:
    """As measured in github.com/ai-dynamo/aiconfigurator/issues/1146: with 64 requests of 9,000
    and 30 tokens a token takes 0.31 s, where 0.49 is predicted."""
    cells = {"model": "Qwen3-8B", "system": "H200", "isl": "9000", "osl": str(osl)}
    row = read_row(cells | {"concurrency": str(concurrency), "dp": str(dp)})
    assert sum("a usual budget of a step" in note for note in row.notes) == told


def test_a_mixture_in_other_bits_than_published_is_noted() -> None:
    row = read_row(CELLS | {"model": "Qwen3-235B-A22B"})
    assert untuned(row.answers) in row.notes


def test_an_engine_on_two_nodes_is_noted() -> None:
    row = read_row(CELLS | {"model": "DeepSeek-R1", "system": "H100", "tp": "16"})
    assert crossing(row.answers) in row.notes


@pytest.mark.parametrize(
    ("given_widths", "read"),
    [
        ((8, 1, 1), (8, 1, 1)), ((8, 8, 8), (1, 8, 8)), ((64, 64, 8), (1, 8, 8)),
        ((64, 1, 8), (8, 1, 8)), ((1, 64, 8), (1, 8, 8)), ((16, 1, 4), (4, 1, 4)),
        ((1, 8, 8), (1, 8, 8)), ((2, 1, 2), (2, 1, 2)), ((1, 1, 8), (1, 8, 8)),
        ((2, 2, 2), (1, 2, 2)), ((1, 1, 1), (1, 1, 1)),
    ],
)  # fmt: skip
def test_devices_are_counted_once(
    given_widths: tuple[int, int, int], read: tuple[int, int, int]
) -> None:
    *found, notes = parallel_widths(*given_widths)
    assert tuple(found) == read
    assert bool(notes) == (given_widths != read)


def test_a_rack_that_no_engine_divides_is_a_fleet() -> None:
    row = read_row(CELLS | {"system": "gb200", "tp": "36"})
    assert isinstance(row, Row)
    assert row.answers.attention_data == 32
    assert row.prompts is not None
    assert row.prompts.devices == 4
    assert "read as a fleet of 36 devices" in row.notes[0]
    with pytest.raises(ValueError, match="column tp: must be a divisor"):
        read_row(CELLS | {"tp": "36"})  # eight of these are joined


def test_separate_fleets_have_columns_of_their_own() -> None:
    apart = CELLS | {
        "mode": "disagg", "prefill_tp": "4", "prefill_workers": "2", "decode_tp": "8",
        "decode_workers": "3",
    }  # fmt: skip
    row = read_row(apart)
    assert devices_of(row) == 2 * 4 + 3 * 8
    assert devices_of(read_row(apart | {"prefill_workers": "1"})) == 4 + 3 * 8
    unstated = {"prefill_workers": "", "decode_workers": ""}
    assert devices_of(read_row(apart | unstated)) == 4 + 8
    assert row.answers.concurrency == pytest.approx(64 / 3)
    (answer,) = answer_rows([row])
    (one,) = answer_rows([read_row(CELLS | {"concurrency": "21"})])
    assert isinstance(answer, Answer)
    assert answer.per_token_s < one.per_token_s  # not interrupted
    with pytest.raises(ValueError, match="column decode_tp: must be a divisor"):
        read_row(apart | {"decode_tp": "5"})
    with pytest.raises(ValueError, match="column prefill_tp: must be a divisor"):
        read_row(apart | {"prefill_tp": "5"})


def test_lengths_of_the_benchmark_are_uniform_unless_said() -> None:
    assert read_row(CELLS).answers.shortest_share == 0.8
    assert read_row(CELLS | {"isl": "2000"}).answers.shortest_share == 1
    assert read_row(CELLS | {"shortest_share": "1"}).answers.shortest_share == 1


def test_the_benchmark_alone_keeps_prompts_back() -> None:
    cells = CELLS | {"backend": "sglang", "system": "b200", "concurrency": "64"}
    assert read_row(cells).answers.held_steps == 14.5
    assert read_row(cells | {"front": "unknown"}).answers.held_steps == 0
    assert read_row(cells | {"backend": "vllm"}).answers.held_steps == 0


def test_columns_go_by_other_names() -> None:
    header = ["model_path", "HW", "isl", "osl", "conc", "tp_size", "attention_dp_size", "x"]
    names = rename_columns(header)
    assert list(names.values()) == ["model", "system", "isl", "osl", "concurrency", "tp", "dp"]
    with pytest.raises(
        ValueError, match=r"column concurrency must be there, got .*; nearest: load"
    ):
        rename_columns(["model", "system", "isl", "osl", "load"])
    with pytest.raises(ValueError, match="no column 'konkurrency'; did you mean concurrency"):
        rename_columns(["model", "system", "isl", "osl", "konkurrency"])


def test_a_row_of_a_program_is_as_one_of_a_table() -> None:
    """With numbers, and what pandas reads of blank cells; a misspelt precision was that of the
    checkpoint, without a word."""
    numbers = {name: float(cell) for name, cell in CELLS.items() if cell[0].isdigit()}
    blank = {"prefill_tp": None, "accepted_tokens": math.nan, "id": 7, 7: "x"}
    assert read_row(CELLS | numbers | blank) == read_row(CELLS)  # type: ignore[operator]
    with pytest.raises(ValueError, match="no column 'precison'; did you mean precision"):
        read_row({name: cell for name, cell in CELLS.items() if name != "precision"} | {
            "precison": "fp4"})  # fmt: skip
    assert read_row(CELLS | {"precison": "fp4"}) == read_row(CELLS)  # beside the one that is meant


def test_numbers_name_their_rule() -> None:
    assert number({"x": " 3 "}, "x", None, 1, 5) == 3
    assert number({}, "x", 2, 1, 5) == 2
    with pytest.raises(ValueError, match="column x: must be a whole number from 1 to 5, got inf"):
        number({"x": "inf"}, "x", None, 1, 5)


@pytest.mark.parametrize(("dp", "drafts"), [("1", 3), ("2", 1), ("8", 1)])
def test_drafts_that_are_not_stated_are_fewer_beside_attention_in_parallel(
    dp: str, drafts: int
) -> None:
    cells = {"model": "deepseek-ai/DeepSeek-R1", "system": "b300", "isl": "1000", "osl": "100"}
    cells |= {"concurrency": "64", "tp": str(8 // int(dp)), "dp": dp, "ep": "1"}
    cells |= {"speculation": "mtp", "precision": "fp4"}
    assert read_row(cells).answers.draft_tokens == drafts


def test_a_rack_has_engines_that_share_its_load() -> None:
    """72 devices: two engines of 32 answer, each with half of the requests."""
    row = read_row(CELLS | {"system": "gb200", "tp": "72", "concurrency": "640", "ep": "1"})
    assert (row.answer_engines, row.answers.attention_data, row.prompt_engines) == (2, 32, 0)
    assert row.answers.concurrency == 320
    assert row.concurrency == 640
    assert row.prompts is not None
    assert row.prompts.concurrency == 640
    few = read_row(CELLS | {"system": "gb200", "tp": "72", "concurrency": "1", "ep": "1"})
    assert few.answers.concurrency == 1
