"""Each rule of reading on rows that need it, and counts over all of them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.hardware.calibration import predict_runs, tabulate
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.deployments import WORKED, require_deployment
from serving_mathematics.core.hardware.published_runs import (
    Run,
    family_name,
    fleet_split,
    guessing,
    read_lines,
    read_runs,
    widths,
)
from serving_mathematics.core.hardware.step_time import FITTED

LINES = read_lines()
RUNS = read_runs(LINES)


def run(line: int) -> Run:
    return next(run for run in RUNS if run.line == line)


def test_every_row_is_read_once_and_in_order_but_for_those_that_tell_no_places() -> None:
    assert [run.line for run in RUNS] == [*range(1, 4211), *range(4220, 5222)]
    kinds = Counter(run.kind for run in RUNS)
    assert kinds == {"engine": 3555, "separate": 1602, "fleet": 55}
    workers = Counter(run.workers for run in RUNS if run.kind == "separate")
    assert workers == {"stated": 274, "twin": 336, "assumed": 992}
    guessed = Counter(run.kind for run in RUNS if run.answers.draft_tokens)
    assert guessed["engine"] == 279
    assert 1300 < sum(run.repeated for run in RUNS) < 1500


def test_what_is_read_can_be_deployed() -> None:
    """But for widths that only redundant experts allow, and 16 devices that one line calls four."""
    refused = Counter()
    for one in RUNS:
        if one.kind == "engine":
            require_deployment(one.answers)
        else:
            try:
                require_deployment(one.answers)
            except ValueError as problem:
                refused[str(problem).split(",")[0]] += 1
    assert sum(refused.values()) <= 40


@pytest.mark.parametrize(
    ("cells", "own", "expected"),
    [
        ((8, 1, 8, 1), False, (8, 1, 1)),
        ((8, 1, 1, 8), False, (8, 1, 8)),
        ((64, 1, 8, 8), False, (8, 1, 8)),  # tp * ep
        ((1, 64, 8, 8), False, (1, 8, 8)),
        ((64, 64, 8, 8), False, (8, 8, 8)),
        ((4, 4, 1, 16), False, (4, 1, 4)),  # counted twice
        ((1, 0, 4, 1), True, (1, 4, 1)),  # dp is blank
        ((4, 0, 2, 2), True, (4, 1, 2)),  # their own runs mean what they say
        ((4, 1, 2, 2), False, (2, 1, 2)),
    ],
)
def test_widths_are_counted_once(
    cells: tuple[int, int, int, int], own: bool, expected: tuple[int, int, int]
) -> None:
    found = widths(*cells, mixture=True, own=own)
    assert found == (expected if expected != (8, 8, 8) else (1, 8, 8))


def test_a_dense_model_has_no_groups() -> None:
    assert widths(4, 0, 1, 1, mixture=False, own=True) == (4, 1, 1)


def test_precision_and_concurrency_are_read_from_what_is_there() -> None:
    blank = [line for line in LINES if not line["precision"]]
    assert Counter(run(int(line["line"])).answers.precision for line in blank) == {"bf16": 366}
    apart = next(one for one in RUNS if one.kind == "engine" and one.answers.attention_data == 8)
    line = LINES[apart.line - 1]
    assert apart.concurrency == float(line["concurrency"]) == float(line["batch"]) * int(line["dp"])


@pytest.mark.parametrize(
    ("line", "held", "load"),
    [
        (889, (1, 8, 8), 448),  # 56 in each of eight groups
        (886, (1, 8, 4), 96),
        (1488, (1, 4, 1), None),
        (891, (2, 1, 1), 13),  # one of 32 engines of a dense model
        (896, (2, 1, 1), 144),
    ],
)
def test_batches_of_the_makers_own_runs_are_groups_or_engines(
    line: int, held: tuple[int, int, int], load: float | None
) -> None:
    one = run(line)
    engine = one.answers
    assert (engine.tensor, engine.attention_data, engine.expert) == held
    asked = load or float(LINES[line - 1]["concurrency"])
    assert one.concurrency == engine.concurrency == asked


def test_batches_are_told_nowhere_else() -> None:
    told = Counter(
        line["source"]
        for line in LINES
        if line["mode"] == "agg" and line["batch"] and line["concurrency"]
        if float(line["concurrency"]) > float(line["batch"]) * max(1, int(line["dp"] or 1))
    )
    assert told == {"kernel makers": 29}


@pytest.mark.parametrize(
    ("line", "cache", "memory"),
    [
        (23, 1.0, 0.9),  # B300, 8-bit weights
        (179, 1.0, 0.9),  # B200
        (128, 1.0, 0.9),  # 4-bit weights
        (2269, 0.0, 0.95),  # B200, March 2026
        (1935, 0.0, 0.95),  # H100
    ],
)
def test_scripts_of_april_cache_in_eight_bits(line: int, cache: float, memory: float) -> None:
    engine = run(line).answers
    assert (engine.cache_bytes, engine.memory_share) == (cache, memory)


def test_lengths_are_uniform_but_for_the_makers_own() -> None:
    shares = {(one.source == "kernel makers", one.answers.shortest_share) for one in RUNS}
    assert shares == {(True, 1.0), (False, 0.8)}


@pytest.mark.parametrize(
    ("devices", "split"), [(12, (8, 1)), (20, (16, 1)), (36, (32, 1)), (72, (32, 2))]
)
def test_fleets_are_split_into_powers_of_two(devices: int, split: tuple[int, int]) -> None:
    width, answering = fleet_split(devices)
    assert (width, answering) == split
    assert width * answering + 4 <= devices


def test_guessing_is_as_the_scripts_set_it() -> None:
    assert guessing(WORKED).draft_tokens == 3
    apart = guessing(replace(WORKED, attention_data=8))
    assert (apart.draft_tokens, apart.accepted_tokens) == (1, 1.8)


def test_models_of_one_shape_are_one_family() -> None:
    names = {one.model for one in RUNS}
    families = {one.family for one in RUNS}
    assert (len(names), len(families)) == (15, 10)
    assert family_name(find_model("DeepSeek-V3.1-NVFP4")[0]) == "DeepSeek-V3, R1"
    assert family_name(find_model("GLM-5")[0]) == "GLM-5"


def test_latencies_are_in_seconds() -> None:
    first = RUNS[0]
    assert (first.first_token_s, first.per_token_s) == pytest.approx((0.972311, 0.0334429))


@pytest.mark.parametrize("bad", [math.nan, -1, 1.5, math.inf, []])
@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_blank_width_is_zero_and_nothing_else(place: int, bad: Any) -> None:
    given: list[Any] = [8, 1, 8, 8]
    given[place] = bad
    with pytest.raises(ValueError, match="must be a non-negative integer, got"):
        widths(*given, True, False)
    given[place] = 0
    assert min(widths(*given, True, False)) >= 1


def test_fleets_without_counts_are_split_as_twelve_devices() -> None:
    """SGLang with one device a side and no counts: twelve, of which eight answer in one engine."""
    line = next(
        line
        for line in LINES
        if line["mode"] == "disagg" and line["backend"] == "sglang" and line["decode_tp"] == "1"
        and run(int(line["line"])).workers == "assumed"
    )  # fmt: skip
    one = run(int(line["line"]))
    assert (one.answers.tensor, one.answers.attention_data, one.answers.expert) == (1, 8, 8)
    assert (one.answer_engines, one.prompt_engines) == (1.0, 0.0)  # as many as it takes
    assert one.prompts is not None
    assert (one.prompts.tensor, one.prompts.expert) == (4, 4)
    assert one.answers.concurrency == one.concurrency == float(line["concurrency"])


def test_an_engine_that_answers_has_its_part_of_the_load() -> None:
    shared = [one for one in RUNS if one.kind != "engine" and one.answer_engines > 1]
    assert {one.kind for one in shared} == {"fleet", "separate"}
    for one in shared:
        each = max(1.0, one.concurrency / one.answer_engines)
        assert one.answers.concurrency == pytest.approx(each)
        assert one.prompts is not None
        assert one.prompts.concurrency == max(1.0, one.concurrency)
    assert max(one.concurrency / one.answers.concurrency for one in shared) > 2


def test_a_whole_fleet_under_one_name_is_split() -> None:
    """The same width on both sides and no experts: a fleet. Two nodes of H100 are one engine."""
    row = dict(LINES[run_of_fleet() - 1])
    changed = [
        {**row, "prefill_tp": "20", "decode_tp": "20", "prefill_ep": "1", "decode_ep": "1"},
        {**row, "prefill_tp": "20", "decode_tp": "20", "prefill_ep": "1", "decode_ep": "1",
         "system": "h100_sxm"},
        {**row, "prefill_tp": "4", "decode_tp": "20", "prefill_ep": "1", "decode_ep": "1"},
    ]  # fmt: skip
    whole, nodes, wide = read_runs(changed)
    assert (whole.answers.tensor, whole.answers.attention_data, whole.answer_engines) == (1, 16, 1)
    assert (nodes.answers.tensor, nodes.answers.attention_data) == (20, 1)
    assert (wide.answers.tensor, wide.answers.attention_data, wide.answers.expert) == (1, 20, 20)


def run_of_fleet() -> int:
    return next(
        one.line
        for one in RUNS
        if one.workers == "assumed" and one.kind == "separate" and one.answers.backend == "trtllm"
    )


def test_sixteen_bits_of_cache_would_hardly_lengthen_the_steps_of_gpt_oss() -> None:
    runs = [run for run in read_runs(read_lines()) if run.kind == "engine"]
    runs = [run for run in runs if run.family == "gpt-oss-120b" and not run.repeated]
    runs = [run for run in runs if run.answers.system.generation == "hopper"]
    wide = [replace(run, answers=replace(run.answers, cache_bytes=2.0)) for run in runs]
    ratio = np.divide(*(predict_runs(tabulate(x), FITTED).per_token_s for x in (wide, runs)))
    assert len(runs) > 150
    assert ratio.mean() == pytest.approx(1.02, abs=0.005)


def test_what_is_published_under_two_labels_is_read_as_one_deployment() -> None:
    """A quarter of the runs whose label counts devices twice are there under a plain one, too."""
    splits: dict[tuple[str, ...], set[tuple[int, int, int]]] = {}
    labels: dict[tuple[str, ...], set[bool]] = {}
    counted = 0
    for one in RUNS:
        row = LINES[one.line - 1]
        if row["mode"] != "agg" or one.answers.devices == 1:
            continue
        asked = (row["model"], row["concurrency"], row["isl"], row["osl"])
        key = (*asked, f"{float(row['ttft_ms']):.4g}", f"{float(row['tpot_ms']):.4g}")
        twice = row["dp"] == row["tp"] and row["ep"] == str(int(row["tp"] or 1) ** 2)
        counted += twice
        deployed = one.answers
        split = (deployed.tensor, deployed.attention_data, deployed.expert)
        splits.setdefault(key, set()).add(split)
        labels.setdefault(key, set()).add(twice)
    both = [splits[key] for key, seen in labels.items() if len(seen) == 2]
    assert 12 <= len(both) <= counted / 4
    assert all(one == {(4, 1, 4)} for one in both)
