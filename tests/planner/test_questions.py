"""Fields, files and traces: what is accepted, what is refused, and where the refusal points."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    Deployment,
    Impossible,
    weight_bytes,
)
from serving_mathematics.core.hardware.fronts import steps_alone
from serving_mathematics.core.hardware.step_time import FITTED, count_work
from serving_mathematics.planner.answers import comparison_rows
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.fields import FIELDS, meant_number, read_value
from serving_mathematics.planner.judged_requests import _require_enough
from serving_mathematics.planner.objectives import promised
from serving_mathematics.planner.questions import (
    _require_possible,
    other_choices,
    read_choices,
    read_classes,
    read_grid,
    read_parallelism,
    read_promise,
    read_question,
    read_workload,
)
from serving_mathematics.planner.traffic import Traffic, TrafficClass

from ..profiles import THOROUGH


def test_a_number_too_long_for_python_is_refused_by_its_field() -> None:
    with pytest.raises(ValueError, match=r"^rate_per_s must be a number .*, got '9{50}"):
        read_grid('{"rate_per_s": ' + "9" * 5000 + "}", "json")
    for digits, told in ((1000, "9{50}"), (1001, "'9{50}")):  # text from where it is not converted
        with pytest.raises(ValueError, match=rf"^seed must be a whole number .*, got {told}"):
            read_grid('{"seed": ' + "9" * digits + "}", "json")


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
        assert read_question(values, lambda *_: trace).requests >= 100


@given(st.text(max_size=60), st.sampled_from(["json", "csv"]))
def test_any_text_gives_a_grid_or_a_message(text: str, kind: str) -> None:
    with contextlib.suppress(ValueError):
        assert all(set(row) <= set(FIELDS) for row in read_grid(text, kind))


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


def test_experts_that_stay_in_four_bits_are_not_planned_under_another_name() -> None:
    asked = {"rate_per_s": 1, "model": "gpt-oss-120b", "precision": "bf16"}
    with pytest.raises(ValueError, match="must be auto, as the experts of openai/gpt-oss"):
        read_choices(asked)
    for bits in ("BF16", "FP8"):  # by the name as well
        with pytest.raises(Impossible, match="must be auto, as the experts of openai/gpt-oss"):
            read_choices(asked | {"model": f"gpt-oss-120b-{bits}", "precision": "any"})
        guessed = {"draft_tokens": 2, "accepted_tokens": 2, "drafter": f"gpt-oss-20b-{bits}"}
        with pytest.raises(Impossible, match="precision must be left out of a drafter's name"):
            read_choices({"rate_per_s": 1, "model": "gpt-oss-120b"} | guessed)
    beside = read_choices(asked | {"model": "DeepSeek-V4-Flash", "precision": "fp8"})
    assert {one.deployment.precision for one in beside} == {"fp8"}  # what is beside its experts


def test_weights_must_be_below_what_is_left_of_the_memory() -> None:
    """Of 80 GiB four fifths may be used, and 54 are taken."""
    asked = {"rate_per_s": 1, "model": "Llama-3.1-8B", "device": "H100", "parallelism": "tp1"}
    asked |= {"memory_share": 0.8, "reserved_gib": 54, "precision": "bf16"}
    left = f"{(0.8 * 80 - 54) * 2**30 / 1e9:.1f} GB that memory_share and reserved_gib leave of"
    told = rf"weights must be below the {left} the H100 SXM \(tp2 would do\), got 16.1 GB a device"
    with pytest.raises(ValueError, match=told):
        read_question(asked)
    assert read_question(asked | {"parallelism": "tp2"}).deployment.tensor == 2


R1 = replace(
    WORKED,
    architecture=find_model("DeepSeek-R1")[0],
    system=find_system("B200"),
    precision="fp8",
    attention_data=8,
    expert=8,
)


@pytest.mark.parametrize(
    ("one", "tensor", "share", "told"),
    [
        (WORKED, 2, 1.0, "tp4"),  # as much as is left is too much
        (WORKED, 1024, 1.01, "tp1024"),
        (WORKED, 1024, 1.0, "no split"),
        (replace(WORKED, pipeline=2), 8, 1.05, "tp8"),  # of one stage
        (R1, 16, 1.05, "tp16"),  # of one group
    ],
)
def test_a_refusal_proposes_the_narrowest_split_that_fits(
    one: Deployment, tensor: int, share: float, told: str
) -> None:
    least = weight_bytes(replace(one, tensor=tensor, pipeline=1, attention_data=1))
    with pytest.raises(ValueError, match=rf"\({told} would do\)"):
        _require_possible(one, 1.0, one.system.memory_bytes - share * least)


@pytest.mark.parametrize("model", ["DeepSeek-R1", "Llama-3.1-405B", "Llama-3.1-70B"])
@pytest.mark.parametrize("device", ["L40S", "H100", "H200"])
def test_a_proposed_split_is_not_refused_in_turn(model: str, device: str) -> None:
    """DeepSeek-R1 on an L40S had tp16 proposed, which the reserved memory then refused."""
    asked = {"model": model, "device": device, "rate_per_s": 1, "precision": "auto"}
    with pytest.raises(ValueError, match="would do") as refused:
        read_question(asked | {"parallelism": "tp1"})
    proposed = re.search(r"\((tp\d+) would do", str(refused.value))
    assert proposed
    assert read_question(asked | {"parallelism": proposed[1]}).deployment.devices > 1


def test_experts_are_proposed_with_attention_apart_too() -> None:
    """On 16 H100 a refusal named tp16 alone, which carries less than a third as much."""
    asked = {"model": "DeepSeek-R1", "device": "H100", "rate_per_s": 1}
    both = "tp16,dp16ep16"
    for less in ({}, {"device": "H200", "reserved_gib": 60, "parallelism": "tp8"}):
        with pytest.raises(ValueError, match=f"a device; parallelism: {both} compares both ways$"):
            read_question(asked | less)
    assert len(read_choices(asked | {"parallelism": both})) == 2
    for other in ({"device": "L40S"}, {"model": "Llama-3.1-405B", "parallelism": "tp1"}):
        with pytest.raises(ValueError, match=r"GB a device$"):
            read_question(asked | other)


def test_precision_is_what_the_name_or_the_checkpoint_says() -> None:
    for name, precision in (
        ("Llama-3.1-8B", "bf16"),
        ("Qwen3-32B-FP8", "fp8"),
        ("DeepSeek-R1", "fp8"),
        ("gpt-oss-120b", "fp4"),
    ):
        asked = read_question({"rate_per_s": 1, "model": name, "device": "B200"})
        assert asked.deployment.precision == precision


def test_a_config_json_is_a_model(tmp_path: Path) -> None:
    config = {
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 8192,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    asked = read_question({"rate_per_s": 1, "model": str(file)})
    assert asked.deployment.architecture.layer_count == 16
    del config["num_hidden_layers"]
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"model: .*num_hidden_layers"):
        read_question({"rate_per_s": 1, "model": str(file)})


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        ("tp4", (4, 1, 1, 1)),
        ("TP8 EP8", (8, 1, 1, 8)),
        ("dp8+ep8", (1, 1, 8, 8)),
        ("tp=2 pp=2", (2, 2, 1, 1)),
    ],
)
def test_splits(text: str, widths: tuple[int, ...]) -> None:
    assert tuple(read_parallelism(text).values()) == widths


@pytest.mark.parametrize(
    "text", ["", "4", "tp", "tp0", "tp4tp2", "tp4x2", "xtp4", "tp-1", "tp99999"]
)
def test_splits_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="parallelism must be auto, or such as tp4"):
        read_parallelism(text)


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


def test_what_guesses_is_a_word_or_a_model() -> None:
    assert read_question({"rate_per_s": 1}).deployment.drafter == "mtp"
    for word in ("mtp", "ngram", " NGram "):
        found = read_question(GUESSING | {"drafter": word}).deployment.drafter
        assert found == word.strip().lower()
    for name, published in (("Qwen3-0.6B", "bf16"), ("Qwen/Qwen3-0.6B-FP8", "fp8")):
        found = read_question(GUESSING | {"drafter": name}).deployment.drafter
        assert not isinstance(found, str)
        assert (found.name.removesuffix("-FP8"), found.published) == ("Qwen/Qwen3-0.6B", published)
    tried = read_choices(GUESSING | {"drafter": "Qwen/Qwen3-0.6B-FP8", "parallelism": "auto"})
    tried = [one for one in tried if one.deployment.precision == "bf16"]
    assert [one.deployment.tensor for one in tried] == [1, 2, 4, 8]
    assert all(one.deployment.drafter == found for one in tried)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"rate_per_s": 1, "trace": "x.csv"}, "rate_per_s must be left out where trace is given"),
        ({"trace": "x.csv", "arrival_scv": 1}, "arrival_scv must be left out where trace is"),
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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "JSON must be one value, got 0"),
        ('{"rate_per_s": 1\n "seed": 2}', "line 2, column 2 must be JSON, got: Expecting ','"),
        ("3", "the file must be one JSON object of fields, got int"),
        ('{"rate_per_s": NaN}', "rate_per_s must be a number"),
        ('{"rate_per_s": {"a": 1}}', "rate_per_s must be a number"),
        ('{"rate_per_s": [1, [2]]}', "entry 2 of rate_per_s: rate_per_s must be"),
        ('{"rate_per_s": 1, "rate_per_s": 1}', "'rate_per_s' must be given once"),
        ("[" * 100_000, "JSON must be at most 100 deep, got more"),
        (
            json.dumps({n: list(range(200)) for n in ("seed",)})[:-1]
            + ","
            + json.dumps({"requests": list(range(100, 900)), "batch_limit": [1]})[1:],
            "the grid must be of at most 100,000 questions",
        ),
    ],
)
def test_json_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_grid(text, "json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate_per_s\n", "a header and at least one row, got fewer rows"),
        ('rate_per_s\n"1\n', "the file must be comma-separated values"),
        (
            "rate_per_s,rate_per_s\n1,2\n",
            "the file must have one column 'rate_per_s', got it twice",
        ),
        ("rate_per\n1\n", r"row 1: there is no field 'rate_per'; did you mean rate_per_s\?"),
        ("rate_per_s\n1\n\n2\n", "row 3 must be 1 fields long"),
        ("rate_per_s,seed\n1,2\n3,4.5\n", "row 3, column seed must be a whole number"),
        (
            "rate_per_s;seed\n1;2\n",
            "the file must be separated by commas, got a header with semicolons",
        ),
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
    assert read_workload(path).prompt_tokens.tolist() == [100 + i for i in range(120)]
    traffic = read_question({"trace": path}).traffic
    assert isinstance(traffic, Workload)
    assert traffic.arrival_s[-1] == 119


@pytest.mark.parametrize(
    ("place", "row", "words"),
    [
        (
            0,
            "2023-11-16 18:00:00.5,100,-1",
            "row 2, column GeneratedTokens must be a whole number, at least 1",
        ),
        (
            7,
            "2023-11-16 18:00:07.5,0,5",
            "row 9, column ContextTokens must be a whole number, at least 1",
        ),
        (
            7,
            "2023-11-16 18:00:07.5,-3,5",
            "row 9, column ContextTokens must be a whole number, at least 1",
        ),
        (7, "2023-11-16 18:00:07.5,1e3,5", "row 9, column ContextTokens must be"),
        (7, "yesterday,100,5", "row 9, column TIMESTAMP must be a time: ISO 8601"),
        (7, "2023-11-16 17:00:07.5,100,5", "row 9, column TIMESTAMP must be no earlier"),
        (7, "2023-13-16 18:00:07.5,100,5", "row 9, column TIMESTAMP must be a time: ISO 8601"),
        (7, "2023-11-16 18:00:07.5,100", "row 9 must be 3 fields long"),
    ],
)
def test_a_broken_trace_names_row_and_column(
    tmp_path: Path, place: int, row: str, words: str
) -> None:
    path = write_trace(tmp_path, [*GOOD[:place], row, *GOOD[place + 1 :]])
    with pytest.raises(ValueError, match=f"log.csv: {words}"):
        read_question({"trace": path})


def test_a_packed_trace_is_whole(tmp_path: Path) -> None:
    """Not a beginning of it, nor with one bit in another state, nor with something behind it."""
    path = tmp_path / "trace.csv.gz"
    packed = gzip.compress("\n".join([HEADER, *GOOD, ""]).encode(), mtime=0)
    path.write_bytes(packed)
    assert read_workload(str(path)).arrival_s.size == 120
    assert read_workload(path).arrival_s.size == 120
    broken = [packed[:size] for size in range(2, len(packed))]
    broken += [packed + b"junk"]
    for place in {*range(3), *range(10, len(packed))}:
        for bit in range(8) if THOROUGH else (place % 8,):
            other = bytes([packed[place] ^ 1 << bit])
            broken.append(packed[:place] + other + packed[place + 1 :])
    told = []
    for content in broken:
        path.write_bytes(content)
        try:
            same = read_workload(str(path)).prompt_tokens.tolist() == [100 + i for i in range(120)]
            told.append("the same" if same else "another")
        except ValueError as problem:
            told.append(str(problem).partition("trace.csv.gz: ")[2][:27])
    assert set(told) <= {"must be a whole gzip file, ", "must be UTF-8 text, got inv", "the same"}
    assert told.count("the same") <= 7  # bits that fill the last byte


def test_other_broken_traces(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log\.csv: the trace must be at least 100 requests"):
        read_workload(write_trace(tmp_path, GOOD[:50]))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="must be UTF-8"):
        read_workload(str(tmp_path / "bytes.csv"))
    with pytest.raises(FileNotFoundError):
        read_question({"trace": str(tmp_path / "none.csv")})
    with pytest.raises(IsADirectoryError):
        read_question({"trace": str(tmp_path)})


@pytest.mark.parametrize(
    ("name", "text", "meant"),
    [
        ("ttft_s", "500", 0.5),
        ("ttft_s", "500ms", 0.5),
        ("ttft_s", "2 s", 2.0),
        ("tpot_s", "50", 0.05),
        ("tpot_s", "1,5", 1.5),
        ("quantile", "99", 0.99),
        ("quantile", "p99.9", 0.999),
        ("memory_share", "90%", 0.9),
        ("cached_share", "80", 0.8),
        ("rate_per_s", "10/s", 10.0),
        ("rate_per_s", "4k/s", 4000.0),
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


def test_experts_are_spread_as_far_as_links_reach() -> None:
    """Over 64 of a GB200's 72 devices, over eight of an H100's, and two where two are linked; a
    dense model over eight, whatever the links."""
    for device, model, widest in (
        ("GB200", "DeepSeek-R1", 64),
        ("H200", "DeepSeek-R1", 8),
        ("H100 NVL", "gpt-oss-120b", 8),
        ("GB200", "Llama-3.1-8B", 8),
    ):
        asked = {"rate_per_s": 1, "device": device, "model": model, "precision": "auto"}
        found = [one.deployment for one in read_choices(asked)]
        assert max(one.devices for one in found) == widest
        assert max(one.tensor for one in found) <= 8
        wide = [one for one in found if one.devices > 8]
        assert all(one.attention_data == one.expert == one.devices for one in wide)


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


def test_a_trace_has_no_classes() -> None:
    with pytest.raises(ValueError, match="classes must be left out where trace is given"):
        read_choices({"trace": "x.csv", "classes": "a:1"})


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


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Llama-3.3-70B", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama 3.3 70b instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("unsloth/Llama-3.3-70B-Instruct", "unsloth/Llama-3.3-70B-Instruct"),
        ("Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B"),
        ("Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B"),
        ("DeepSeek-R1-0528", "deepseek-ai/DeepSeek-R1-0528"),
        ("DeepSeek-R1-0528-FP4", "DeepSeek-R1-0528-FP4"),
        ("deepseek v3.1", "deepseek-ai/DeepSeek-V3.1"),
        ("gpt-oss", "openai/gpt-oss-120b"),
        ("Qwen3-Coder-30B-A3B", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
    ],
)
def test_the_asked_model_is_the_one_that_is_served(asked: str, name: str) -> None:
    """And not another of its shape."""
    values = {"rate_per_s": 1, "model": asked, "device": "B200", "drafter": asked}
    values |= {"draft_tokens": 2, "accepted_tokens": 2}
    found = read_question({**values, "drafter": "mtp"})
    assert found.served == name


def test_a_file_is_served_from_its_folder(tmp_path: Path) -> None:
    config = tmp_path / "mine" / "config.json"
    config.parent.mkdir()
    config.write_text(
        json.dumps(
            {
                "architectures": ["LlamaForCausalLM"],
                "hidden_size": 1024,
                "intermediate_size": 2048,
                "num_attention_heads": 8,
                "num_hidden_layers": 4,
                "vocab_size": 1000,
                "max_position_embeddings": 16384,
            }
        )
    )
    for path in (str(config), str(config.parent)):
        assert read_question({"rate_per_s": 1, "model": path}).served == str(config.parent)


def test_formats_that_are_compared_where_nothing_is_said() -> None:
    def formats(**asked: object) -> list[str]:
        values = {"rate_per_s": 1, "device": "B200", "parallelism": "tp8"} | asked
        return [one.deployment.precision for one in read_choices(values)]

    assert formats() == ["bf16", "fp8"]
    assert formats(precision="auto") == ["bf16"]
    assert formats(model="Qwen/Qwen3-32B-FP8") == ["fp8"]
    assert formats(model="DeepSeek-R1", parallelism="tp8ep8") == ["fp8"]
    assert len(formats(model="gpt-oss-120b")) == 1
    assert formats(precision="any, fp4") == ["bf16", "fp8", "fp4"]
    assert formats(load_test="16:0.25:0.011") == ["bf16"]


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


def test_a_device_given_by_the_numbers_of_an_h100_is_one_in_every_format() -> None:
    like = find_system("H100")
    sheet = {"peak_tflops": 1e-12 * like.bf16_flops_per_s, "memory_gib": like.memory_bytes / 2**30}
    sheet["bandwidth_gb_per_s"] = 1e-9 * like.bandwidth_bytes_per_s
    given = read_question({"rate_per_s": 1, **sheet}).deployment.system
    assert given.generation == like.generation
    numbers = [{k: x for k, x in asdict(one).items() if k[0] not in "ng"} for one in (given, like)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-12)


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


def test_a_grid_that_is_too_large_says_how_large_it_may_be() -> None:
    grid = json.dumps({"rate_per_s": [*range(1, 2000)], "seed": [*range(2000)]})
    rule = "the grid must be of at most 100,000 questions, got 3,998,000 or more"
    with pytest.raises(ValueError, match=rule):
        read_grid(grid, "json")


def test_shares_that_are_nearly_1_are_shown_so() -> None:
    classes = "a:0.5:ttft=1;b:0.499999:ttft=2"
    with pytest.raises(ValueError, match=r"would do.*, got 0\.999999"):
        read_question({"rate_per_s": 5, "classes": classes})


def test_a_class_that_no_run_can_judge_is_told_so() -> None:
    asked = {"rate_per_s": 5, "classes": "a:1e-9:ttft=1;b:0.999999999:ttft=2"}
    with pytest.raises(ValueError, match="200,000 are the most"):
        _require_enough(read_question(asked))


def test_a_width_is_of_plain_digits() -> None:
    with pytest.raises(ValueError, match="parallelism must be auto, or such as"):
        read_question({"rate_per_s": 5, "parallelism": "tp\uff12"})
