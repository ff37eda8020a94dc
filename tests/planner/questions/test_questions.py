"""Fields, files and traces: what is accepted, what is refused, and where the refusal points."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.fronts import steps_alone
from serving_mathematics.core.hardware.step_time import FITTED, count_work
from serving_mathematics.planner.answers.answer_tables import comparison_rows
from serving_mathematics.planner.capacity_planner.judged_requests import _require_enough
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions.fields import FIELDS, read_value
from serving_mathematics.planner.questions.grids import read_grid
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.questions import (
    other_choices,
    read_choices,
    read_classes,
    read_promise,
    read_question,
    read_workload,
)
from serving_mathematics.planner.questions.splits import read_parallelism
from serving_mathematics.planner.questions.traffic import Traffic, TrafficClass


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
        assert read_choices(values, lambda *_: trace)[0].requests >= 100


def test_fields_end_where_they_should() -> None:
    asked = read_question(
        {
            "model": "Qwen3-32B",
            "precision": "fp8",
            "cache_precision": "fp8",
            "peak_tflops": 100,
            "bandwidth_gb_per_s": 900,
            "memory_gib": 64,
            "backend": "sglang",
            "parallelism": "tp4",
            "draft_tokens": 3,
            "accepted_tokens": 2.5,
            "memory_share": 0.8,
            "reserved_gib": 2,
            "rate_per_s": 3,
            "arrival_scv": 4,
            "mean_prompt_tokens": 70,
            "mean_output_tokens": 80,
            "cached_share": 0.5,
            "ttft_s": 2,
            "tpot_s": 0.1,
            "quantile": 0.95,
            "price_per_hour": 1.5,
            "spot_share": 0.5,
            "spot_discount": 0.6,
            "spare_replicas": 2,
            "token_budget": 300,
            "batch_limit": 20,
            "requests": 500,
            "seed": 9,
        }
    )
    one, (first, each) = asked.deployment, asked.promise
    assert one.architecture.name == "Qwen/Qwen3-32B"
    assert (one.precision, one.cache_bytes, one.backend, one.tensor) == ("fp8", 1.0, "sglang", 4)
    assert (one.draft_tokens, one.accepted_tokens) == (3, 2.5)
    system = one.system
    assert (system.bf16_flops_per_s, system.bandwidth_bytes_per_s) == (1e14, 9e11)
    assert (system.memory_bytes, system.fp8_flops_per_s) == (64 * 2**30, 2e14)
    assert asked.traffic == Traffic(3, 4, 70, 80, 0.5)
    assert (first.limit, each.limit, first.share, each.share) == (2, 0.1, 0.95, 0.95)
    assert asked.price_per_hour == pytest.approx(1.5 * 0.7)
    assert (asked.memory_share, asked.token_budget, asked.batch_limit) == (0.8, 300, 20)
    assert one.memory_share == 0.8  # which says how many requests of a load test ran at a time
    assert (asked.requests, asked.seed, asked.spare_replicas) == (500, 9, 2)
    assert asked.reserved_bytes == 2 * 2**30


def test_choices_are_a_product_in_a_fixed_order() -> None:
    asked = {"rate_per_s": 1, "device": "H100,H200", "price_per_hour": "2, 3"}
    choices = read_choices(asked | {"precision": "bf16,fp8", "parallelism": "tp1, tp2"})
    got = [(c.deployment.system.name, c.deployment.precision, c.deployment.tensor) for c in choices]
    systems, formats = ("h100_sxm", "h200_sxm"), ("bf16", "fp8")
    assert got == [(x, y, z) for x in systems for y in formats for z in (1, 2)]
    assert [c.price_per_hour for c in choices] == [2.0] * 4 + [3.0] * 4
    assert all(c.traffic is choices[0].traffic for c in choices)
    told = "price_per_hour must be one for each of 2 devices, or 1,1 to compare their numbers alone"
    for prices, count in (("1, 2, 3", 3), ("2", 1)):
        with pytest.raises(ValueError, match=f"{told}, got {count} of them"):
            read_choices(asked | {"price_per_hour": prices})
    with pytest.raises(ValueError, match=f"{told}, got 1 of them"):
        read_choices({name: value for name, value in asked.items() if name != "price_per_hour"})
    with pytest.raises(ValueError, match="price_per_hour must be one for the device, got 2 of"):
        read_choices({"rate_per_s": 1, "price_per_hour": "2,3"})
    one = {"parallelism": "tp1", "precision": "auto"}
    even = read_choices(asked | one | {"price_per_hour": "1,1"})
    assert [c.price_per_hour for c in even] == [1.0, 1.0]


def test_what_is_tried_by_itself_is_what_can_be() -> None:
    dense = read_choices({"rate_per_s": 1, "model": "Llama-3.1-70B"})
    assert [(c.deployment.precision, c.deployment.tensor) for c in dense] == [
        *(("bf16", tensor) for tensor in (2, 4, 8)),
        *(("fp8", tensor) for tensor in (1, 2, 4, 8)),
    ]
    sparse = read_choices({"rate_per_s": 1, "model": "DeepSeek-R1", "device": "B200"})
    splits = {
        (c.deployment.tensor, c.deployment.attention_data, c.deployment.expert) for c in sparse
    }
    assert splits == {(8, 1, 1), (8, 1, 8), (4, 1, 1), (4, 1, 4), (1, 8, 8), (1, 4, 4)} & splits
    assert {(8, 1, 8), (1, 8, 8)} <= splits
    with pytest.raises(ValueError, match=r"parallelism: weights must be below .* would do"):
        read_choices({"rate_per_s": 1, "model": "Llama-3.1-405B", "device": "L4"})


def test_a_split_that_fits_in_one_format_is_no_refusal_where_formats_are_searched() -> None:
    asked: dict[str, object] = {"rate_per_s": 1, "model": "Llama-3.1-70B", "device": "H200"}
    found = read_choices(asked | {"parallelism": "tp1"})
    assert [one.deployment.precision for one in found] == ["fp8"]
    found = read_choices(asked | {"parallelism": "tp1,tp2"})
    assert sorted(one.deployment.precision for one in found) == ["bf16", "fp8", "fp8"]
    with pytest.raises(ValueError, match="parallelism: weights must be below"):
        read_choices(asked | {"parallelism": "tp1", "device": "L4"})
    found = read_choices(asked | {"parallelism": "tp1,tp2", "precision": "bf16", "requests": 100})
    assert [one.deployment.tensor for one in found] == [2, 1]  # the one that cannot be is last
    rows = {row[1]: row[0] for row in comparison_rows(answer(found))}
    assert rows["bf16, tp1"].startswith("none of")


LONG = "x" * 99
ASKED: dict[str, object] = {"rate_per_s": 1}


@pytest.mark.parametrize(
    ("call", "end"),
    [
        (lambda: read_value("rate_per_s", "x" * 58), f"got '{'x' * 58}'"),
        (lambda: read_value("rate_per_s", "x" * 59), f"got '{'x' * 59}…"),
        (lambda: read_value(LONG, 1), f"no field '{'x' * 60}'; fields are {', '.join(FIELDS)}"),
        (lambda: read_parallelism(LONG), f"got '{'x' * 60}'"),
        (lambda: read_classes(LONG), f"got '{'x' * 60}'"),
        (lambda: read_classes(f"{LONG}:0.5:z=1"), "got 'z=1'"),
        (lambda: read_classes(f"a:0.5:{LONG}"), f"got '{'x' * 60}'"),
        (lambda: read_classes(f"a:{LONG}"), f"got '{'x' * 60}'"),
        (lambda: read_classes(f"{LONG}:2"), f"the share of {'x' * 40} must be in (0, 1], got '2'"),
        (lambda: read_question(ASKED | {"cache_precision": LONG}), f"got '{'x' * 60}'"),
        (lambda: read_question(ASKED | {"fleets": LONG}), f"got '{'x' * 60}'"),
        (lambda: read_grid(f'{{"{LONG}": 1, "{LONG}": 2}}', "json"), "once, got it twice"),
    ],
)
def test_of_a_long_text_a_refusal_quotes_the_beginning(
    call: Callable[[], object], end: str
) -> None:
    with pytest.raises(ValueError, match=f"{re.escape(end)}$"):
        call()


def test_long_names_are_quoted_to_the_same_length_everywhere() -> None:
    name = "x" * 61
    for values, begin in (
        ({"model": name}, f"model '{'x' * 60}…' is not known; "),
        ({"model": name[:60]}, f"model '{'x' * 60}' is not known; "),
        ({"device": name}, f"device: system '{'x' * 60}…' is not known; "),
    ):
        with pytest.raises(ValueError, match=f"^{re.escape(begin)}"):
            read_question(ASKED | values)
    with pytest.raises(ValueError, match=f"; {'x' * 40} may say "):
        read_classes(f"{LONG}:0.5:z=1")
    with pytest.raises(ValueError, match=f"^classes: {'x' * 40}: ttft_s must be a number"):
        read_classes(f"{LONG}:0.5:ttft=x")
    with pytest.raises(ValueError, match=f"^'{'x' * 60}' must be given once"):
        read_grid(f'{{"{LONG}": 1, "{LONG}": 2}}', "json")
    many = {"precision": ",".join(["bf16", "fp8"] * 9), "parallelism": "tp1"}
    with pytest.raises(
        ValueError, match=f"precision must be one, .*, got '{many['precision'][:60]}'$"
    ):
        read_question(ASKED | many | {"load_test": "16:0.2:0.01"})


GUESSING: dict[str, object] = {
    "rate_per_s": 1,
    "model": "Qwen3-32B",
    "draft_tokens": 3,
    "accepted_tokens": 2,
}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate_per_s": 1, "trace": "x.csv"}, "rate_per_s must be left out where trace is given"),
        ({"trace": "x.csv", "arrival_scv": 1}, "arrival_scv must be left out where trace is"),
        ({"trace": "x.csv", "classes": "a:1"}, "classes must be left out where trace is given"),
        ({"device": "H100", "memory_gib": 9, "rate_per_s": 1}, "memory_gib must be left out"),
        ({"memory_gib": 9, "rate_per_s": 1}, "peak_tflops must be given too: device is"),
        ({"model": "Lama-9", "rate_per_s": 1}, r"model 'Lama-9' is not known; nearest: "),
        ({"device": "H1", "rate_per_s": 1}, "device: system 'H1' is not known; nearest: "),
        ({"backend": "tgi", "rate_per_s": 1}, "backend 'tgi' is not known; nearest: "),
        ({"precision": "fp5", "rate_per_s": 1}, "precision 'fp5' is not known; known: bf16"),
        ({"cache_precision": "fp4", "rate_per_s": 1}, "cache_precision must be one of auto, bf16"),
        ({"model": 3}, "model must be a name of 1 to 1000 characters, got 3"),
        ({"tpot_s": 50}, r"\(did you mean 0.05\?\), got 50"),
        ({"rate_per_s": 1, "accepted_tokens": 2}, "accepted_tokens must be from 1 to draft_tokens"),
        ({"rate_per_s": 1, "draft_tokens": 3}, "accepted_tokens must be given with draft_tokens, "),
        (
            {"rate_per_s": 1, "device": "H100 94GB"},
            "is known with 80 GiB only; or leave it out",
        ),
        (
            {"gpus": 8, "rate_per_s": 1},
            r"left out where rate_per_s is 1 \(which is what",
        ),
        ({"gpus": 8, "replicas": 4}, r"gpus must be left out where replicas is 4 \(give a rate"),
        (
            {"gpus": 8, "host_memory_gib": "0,9"},
            "gpus must be left out where host_memory_gib is",
        ),
        ({"gpus": 8, "trace": "x", "fleets": "two"}, "left out where fleets is two"),
        (
            {"gpus": 3, "parallelism": "tp4"},
            "gpus must be at least 4: .* takes 4, got 3",
        ),
        ({"rate_per_s": 1, "price_per_hour": "1,x"}, "price_per_hour must be a number .* got 'x'"),
        ({"gpus": 1, "spare_replicas": 1}, "takes 1, and so does the one that may fail, got 1"),
        ({"gpus": 1, "spare_replicas": 2}, "and so does each of the 2 that may fail, got 1"),
        ({"rate_per_s": 1, "device": "V100"}, "device: system 'V100' is too old .* T4 has it$"),
        ({"rate_per_s": 1, "device": "5080"}, "or leave it out and give peak_tflops.*memory_gib$"),
        *(
            ({"rate_per_s": 1, "device": name}, "memory_gib of the slice, and parallelism: tp1")
            for name in ("H100 MIG", "A100-3g.20gb", "mig-1g.10gb")
        ),
        (
            {"rate_per_s": 1, "model": "Llama-2-7B", "mean_prompt_tokens": 30_000},
            "mean_prompt_tokens and mean_output_tokens together must be at most 4096, the context",
        ),
        (
            {"rate_per_s": 1, "model": "Llama-3.1-70B", "parallelism": "tp1", "precision": "bf16"},
            r"parallelism: weights must be below .* \(tp2 would do at bf16\), got 141 GB",
        ),
        (
            {"rate_per_s": 1, "parallelism": "ep2tp2"},
            "parallelism: expert must be 1 for .*, without experts, got 2",
        ),
        (GUESSING | {"drafter": "Kwen-1B"}, "drafter: model 'Kwen-1B' is not known; nearest"),
        (GUESSING | {"drafter": "eagle"}, "give the path of its config.json; or mtp or ngram"),
        (GUESSING | {"drafter": "Llama-3.1-8B"}, "drafter must be a model of the 151,936 tokens"),
        (
            {"rate_per_s": 1, "model": "Qwen3-32B", "drafter": "Qwen3-0.6B"},
            "draft_tokens must be given where drafter is, got none",
        ),
        (
            GUESSING | {"drafter": "Qwen3-0.6B", "parallelism": "tp2pp2"},
            "parallelism: pipeline must be 1 where Qwen/Qwen3-0.6B guesses, got 2",
        ),
        (
            GUESSING | {"drafter": "Qwen3-0.6B", "parallelism": "tp2", "load_test": "9:0.2:0.01"},
            "drafter must be mtp or ngram where load_test says how fast it is, got Qwen3-0.6B",
        ),
        ({"zzz": 1}, "there is no field 'zzz'; fields are model, "),
    ],
)
def test_contradictions_and_gaps(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_question(values)


def test_a_trace_is_read_from_its_file_and_refused_by_its_name(tmp_path: Path) -> None:
    file, rows = tmp_path / "log.csv", [f"{i},{100 + i},{5 + i}" for i in range(120)]
    file.write_text("\n".join(["time,isl,osl", *rows]))
    for path in (file, str(file)):
        assert read_workload(path).prompt_tokens.tolist() == [100 + i for i in range(120)]
        traffic = read_question({"trace": path}).traffic
        assert isinstance(traffic, Workload)
        assert traffic.arrival_s[-1] == 119
    file.write_text("time,isl,osl\n1,2,-1\n")
    with pytest.raises(ValueError, match=r"log\.csv: row 2, column osl must be a whole number"):
        read_question({"trace": str(file)})
    with pytest.raises(FileNotFoundError):
        read_question({"trace": str(tmp_path / "none.csv")})


def test_a_share_is_asked_for_once() -> None:
    assert read_promise({"goodput": 0.9}) == promised(1.0, 0.05, goodput=0.9)
    rule = "quantile must be left out where goodput says the share that keeps all limits, got 0.9"
    with pytest.raises(ValueError, match=rule):
        read_choices({"rate_per_s": 1} | {"goodput": 0.95, "quantile": 0.9})
    with pytest.raises(ValueError, match=f"classes: a: {rule}"):
        read_choices({"rate_per_s": 1} | {"classes": "a:1:quantile=0.9,goodput=0.95"})
    for name, value, words in (
        ("goodput", "1", "goodput must be a number from 0.01 to 0.9999, got '1'"),
        ("goodput", "90%", "did you mean 0.9"),
        ("e2e_s", "8000 ms", "did you mean 8"),
        ("e2e_s", "0", "e2e_s must be a number from 0.001 to 10000, got '0'"),
    ):
        with pytest.raises(ValueError, match=words):
            read_choices({"rate_per_s": 1} | {name: value})


def test_classes_say_what_differs() -> None:
    kinds, goals = read_classes(
        "chat:0.7:prompt=800,ttft=0.5; agents:.3:cached=0.9,tpot=0.1,quantile=0.9,answer=40",
        {"mean_prompt_tokens": 500, "ttft_s": 2},
    )
    assert kinds == (
        TrafficClass("chat", 0.7, 800.0, 250.0),
        TrafficClass("agents", 0.3, 500.0, 40.0, 0.9),
    )
    assert goals == (promised(0.5, 0.05, 0.99), promised(2.0, 0.1, 0.9))
    asked = read_question({"rate_per_s": 3, "classes": "a:0.5:prompt=100;b:0.5:prompt=300"})
    assert isinstance(asked.traffic, Traffic)
    assert asked.traffic.mean_prompt_tokens == asked.deployment.input_tokens == 200
    assert asked.class_names == ("a", "b")
    assert read_question({"rate_per_s": 3}).class_names == ("all requests",)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("chat", "classes must be name:share:what differs, such as chat:0.7"),
        ("chat:0.7;", "classes must be name:share"),
        ("chat:x", r"classes: the share of chat must be in \(0, 1\], got 'x'"),
        ("chat:0.7;b:0.2", r"\(chat:0.778, b:0.222 would do\), got 0.9"),
        ("a:0.5:ttft=1;b:0.499999:ttft=2", r"would do.*, got 0\.999999"),
        ("chat:0.5;chat:0.5", "classes must be of different names, got 'chat'"),
        (
            "chat:1:prompts=3",
            "may say prompt, answer, cached, like, ttft, tpot, e2e, goodput, quantile, got",
        ),
        ("chat:1:tpot=50", r"classes: chat: tpot_s must be .* \(did you mean 0.05\?\)"),
        (";".join(f"c{n}:0.04" for n in range(25)), "classes must be at most 20, got 25"),
    ],
)
def test_classes_that_cannot_be_read(text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_classes(text)
    with pytest.raises(ValueError, match=match):
        read_choices({"rate_per_s": 1, "classes": text})


def test_two_fleets_are_the_same_deployments_again() -> None:
    values = {"rate_per_s": 1, "precision": "bf16", "parallelism": "tp1,tp2", "fleets": "two"}
    asked = read_choices(values)
    assert [one.separate for one in asked] == [False, False, True, True]
    assert [one.deployment.tensor for one in asked] == [1, 2, 1, 2]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"trace_columns": "time=t"}, "trace must be given where trace_columns is, got none"),
        ({"drafter": "ngram"}, "draft_tokens must be given where drafter is, got none"),
        ({"spot_discount": 0.3}, "spot_share must be given where spot_discount is, got none"),
        ({"device": "H100,h100_sxm", "price_per_hour": "1,2"}, "device must be of different names"),
        ({"parallelism": "tp1, TP1"}, "parallelism must be of different names, got 'tp1'"),
        ({"precision": "fp8,fp8"}, "precision must be of different names, got 'fp8'"),
        ({"classes": "a:1:ttft=1,ttft=2"}, "classes must be of different names, got 'ttft'"),
        ({"classes": "one_more:1"}, "classes must be of other names than a record has"),
    ],
)
def test_what_would_be_passed_over_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_choices({"rate_per_s": 1} | values)


def test_what_a_form_sends_beside_is_not() -> None:
    """Every field with its default, of which some say nothing alone."""
    asked = {"rate_per_s": 1, "drafter": "ngram", "draft_tokens": 0}
    assert read_choices(asked | {"spot_share": 0, "spot_discount": 0.3})


def test_other_devices_are_those_that_are_not_asked() -> None:
    def names(**asked: object) -> list[str]:
        found = other_choices({"rate_per_s": 1, "parallelism": "tp1"} | asked)
        return [one[0].deployment.system.name for one in found]

    assert names() == ["h200_sxm", "b200_sxm"]
    assert names(device="B200") == ["h100_sxm", "h200_sxm"]
    assert names(other_devices="none") == []
    assert names(other_devices="L4, h100, L4") == ["l4"]
    assert names(load_test="16:0.25:0.011") == []
    assert names(model="Llama-3.1-70B", other_devices="L4, B200") == ["b200_sxm"]
    sheet = dict.fromkeys(("peak_tflops", "bandwidth_gb_per_s", "memory_gib"), 100)
    assert names(**sheet, other_devices="H100") == ["h100_sxm"]
    prices = {one[0].price_per_hour for one in other_choices({"rate_per_s": 1})}
    assert prices == {1.0}
    with pytest.raises(ValueError, match=r"^other_devices: system 'H10' is not known"):
        read_choices({"rate_per_s": 1, "other_devices": "H10"})


def test_a_slower_front_takes_longer_and_a_load_test_begins_there() -> None:
    """Each front's steps are slower than the benchmark's, and so is a step of its question; one
    that is named is where the fit to a load test begins."""
    asked: dict[str, object] = {"rate_per_s": 60, "precision": "bf16", "parallelism": "tp1"}
    plain = read_question(asked)
    assert plain.constants == FITTED
    for name in ("unknown", "ml-energy"):
        behind = read_question(asked | {"front": name})
        work = count_work([replace(plain.deployment, concurrency=64.0)])
        slow, fast = (steps_alone(work, one.constants).per_token_s[0] for one in (behind, plain))
        assert slow > fast
    with pytest.raises(ValueError, match="front 'nope' is not known; nearest: unknown"):
        read_question(asked | {"front": "nope"})
    tested = asked | {"load_test": "16:0.25:0.011"}
    alone, named = (read_question(tested | front) for front in ({}, {"front": "ML.ENERGY"}))
    assert alone.constants != FITTED
    assert alone.constants != named.constants
    assert (alone.calibration.front, named.calibration.front) == ("", "ml-energy")
    same = read_question(tested | {"front": "benchmark"})
    assert (same.constants, same.calibration.front) == (alone.constants, "benchmark")


def test_a_class_that_no_run_can_judge_is_told_so() -> None:
    asked = {"rate_per_s": 5, "classes": "a:1e-9:ttft=1;b:0.999999999:ttft=2"}
    with pytest.raises(ValueError, match="200,000 are the most"):
        _require_enough(read_question(asked))
