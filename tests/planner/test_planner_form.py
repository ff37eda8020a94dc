"""The form: one control a field, whatever is typed, and a trace of the reader's own."""

from __future__ import annotations

import base64
import contextlib
import html
import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.catalogue import MOST_OF_CONFIG, model_names, systems
from serving_mathematics.planner import planner_form
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.configurations import answer, whole_answer
from serving_mathematics.planner.planner_command import command_parser
from serving_mathematics.planner.planner_form import answer_html, form_answer, form_html
from serving_mathematics.planner.questions.fields import FIELDS, FIRST, LENGTHS, OTHER, SHEET
from serving_mathematics.planner.questions.questions import (
    other_choices,
    read_choices,
    read_question,
)
from serving_mathematics.planner.questions.traffic import KINDS

from tests.planner.cases import trace_text
from tests.profiles import costly
from tests.recorded import HERE

QUICK_GPUS = {"requests": "100", "parallelism": "tp1", "precision": "fp8", "other_devices": "none"}


def test_the_question_is_asked_first_and_the_rest_is_folded() -> None:
    """Model, GPU, rate, prompt, answer, and both parts of the promise, before anything else."""
    open_ones, folded = form_html().split("<details>", 1)
    named = re.compile(r' name="(\w+)"')
    first = ["model", "device", "rate_per_s", "gpus", *LENGTHS]
    assert named.findall(open_ones) == [*first, "ttft_s", "tpot_s"]
    assert sorted(named.findall(folded)) == sorted(
        FIELDS.keys() - set(first) - {"ttft_s", "tpot_s"}
    )
    assert 'type="submit"' in open_ones


def test_names_are_offered_and_others_may_be_typed() -> None:
    text = form_html()
    for name in (*model_names(), *systems(), OTHER):
        assert f'<option value="{name}">' in text
    assert text.count("<datalist ") == 3
    assert text.count(" selected>") == sum(bool(field.choices) for field in FIELDS.values())
    assert "\n" not in text


def test_every_control_has_a_label_and_a_place_for_its_problem() -> None:
    text = form_html()
    labels = re.findall(r'<label for="([^"]+)"', text)
    assert sorted(labels) == sorted(f"planner-{name}" for name in (*FIELDS, "traffic"))
    described = re.findall(r'aria-describedby="([^"]+)"', text)
    assert len(described) == len(FIELDS)
    assert {*labels, *" ".join(described).split()} <= {*re.findall(r' id="([^"]+)"', text)}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"rate_per_s": "x"}, "rate_per_s"),
        ({"rate_per_s": 1, "device": "nothing"}, "device"),
        ({"rate_per_s": 1, "memory_gib": 3}, "peak_tflops"),
        ({"rate_per_s": 1} | dict.fromkeys(SHEET, ""), "peak_tflops"),  # no plan of another device
        ({"rate_per_s": 1, "model": "nothing"}, "model"),
        ({"rate_per_s": 1, "precision": "fp5"}, "precision"),
        ({"rate_per_s": 1, "backend": "tgi"}, "backend"),
        ({"rate_per_s": 1, "tpot_s": 50}, "tpot_s"),
        ({"rate_per_s": 1, "parallelism": "tp3"}, "parallelism"),
        ({}, "rate_per_s"),
        ({"trace": "a.csv", "trace_text": "a,b"}, "trace"),
        ({"trace": "a.csv"}, "trace"),
        ({"trace": ""}, "trace"),
        ({"rate_per_s": 1, "ttft_s": 0.001}, "ttft_s"),
        ({"rate_per_s": 1, "tpot_s": 0.001}, "tpot_s"),
        (
            {"rate_per_s": 1, "parallelism": "tp1", "memory_share": 0.24, "precision": "bf16"},
            "memory_share",
        ),
        ({"rate_per_s": 1, "model": "Llama-3.1-405B", "parallelism": "tp1"}, "parallelism"),
        ({"rate_per_s": 1, "draft_tokens": 2, "accepted_tokens": 2, "drafter": "x"}, "drafter"),
        ({"rate_per_s": 1, "parallelism": "tp1", "load_test": "1:2:3:4"}, "load_test"),
        (
            {"rate_per_s": 1e-3, "mean_prompt_tokens": 20_000, "requests": 100, "quantile": 0.5}
            | {"peak_tflops": 0.1, "bandwidth_gb_per_s": 9, "memory_gib": 200},
            "mean_prompt_tokens",  # "prompts must be read in 4,096 s"
        ),
        ({"rate_per_s": 1, "nothing": 1}, ""),
    ],
)
def test_a_problem_names_its_field(values: dict[str, object], field: str) -> None:
    told = json.loads(form_answer(json.dumps(values)))
    assert set(told) == {"problem", "field"}
    assert told["problem"]
    assert told["field"] == field


def test_a_page_takes_no_path_of_a_model_whose_file_it_was_not_given() -> None:
    """It was said to be missing, of files that a reader of the page does not see."""
    told = json.loads(form_answer(json.dumps({"rate_per_s": 1, "model": "./no.json"})))
    words = "; a page has none of your files until you choose, drop or paste one"
    assert told["problem"].startswith("model './no.json' cannot be read: ")
    assert told["problem"].endswith(words)
    assert told["field"] == "model"


CONFIG = {
    "model_type": "llama",
    "hidden_size": 2048,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 8192,
    "vocab_size": 128_256,
    "max_position_embeddings": 8192,
}


@pytest.mark.parametrize("name", ["config.json", "my model's.json"])
def test_a_config_that_the_page_was_given_is_the_commands_model(name: str, tmp_path: Path) -> None:
    """The same answer, and a command that gives it where the file lies."""
    asked = {"rate_per_s": "3", "model": f"./{name}", "requests": "100", "parallelism": "tp1"}
    asked |= {"other_devices": "none"}
    content = json.dumps(CONFIG).encode()
    given = asked | {"model_base64": base64.b64encode(content).decode()}
    piece = json.loads(form_answer(json.dumps(given)))["html"]
    (tmp_path / name).write_bytes(content)
    with contextlib.chdir(tmp_path):
        words = shlex.split(command_of(piece))
        options = vars(command_parser().parse_args(words[2:]))
        values = {field: options[field] for field in FIELDS if options[field] is not None}
        there = whole_answer(read_choices(values), values)
        assert answer_html(there, shlex.join(words)) == piece
    assert f"Answer to: {'llama' if name == 'config.json' else Path(name).stem}" in html.unescape(
        piece
    )
    assert "The same plan from the command line, in the folder of the model’s file:" in piece


@pytest.mark.parametrize(
    "content",
    [
        b"",
        json.dumps(CONFIG).encode("utf-16"),
        json.dumps({**CONFIG, "vocab_size": 0}).encode(),
        json.dumps({**CONFIG, "model_type": "bert"}).encode(),
        b"\x1f\x8b" + bytes(9),
        b" " * (MOST_OF_CONFIG + 1),
    ],
)
def test_a_config_is_refused_on_the_page_as_by_the_command(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(content)
    asked = {"rate_per_s": "3", "model": "./config.json"}
    with contextlib.chdir(tmp_path), pytest.raises(ValueError, match=r"^model") as refused:
        read_choices(asked)
    given = asked | {"model_base64": base64.b64encode(content).decode()}
    told = json.loads(form_answer(json.dumps(given)))
    assert told["problem"] == str(refused.value)


def test_a_long_name_of_a_file_is_cut() -> None:
    told = json.loads(form_answer(json.dumps({"trace": "x" * 99, "trace_text": "a,b"})))
    assert told["problem"].startswith(f"{'x' * 60}: the log must be")


def test_a_trace_from_the_form() -> None:
    rows = [f"2023-11-16 18:{i // 60:02}:{i % 60:02},{100 + i},{5 + i}" for i in range(300)]
    text = "\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows])
    asked = {"trace": "mine.csv", "trace_text": text, "requests": 100, "parallelism": "tp1"}
    told = json.loads(form_answer(json.dumps(asked)))
    assert '<a href="../capacity/autoscaling/">replicas</a></th><td>1</td>' in told["html"]
    assert told["html"].count("mine.csv") == 1  # in the command


def test_a_trace_and_a_model_of_one_name_are_two_files() -> None:
    """The model's was read for both, and the trace refused."""
    asked = {"trace": "config.json", "trace_text": trace_text(), "requests": 100}
    asked |= {"model": "./config.json", "model_text": json.dumps(CONFIG), "parallelism": "tp1"}
    piece = json.loads(form_answer(json.dumps(asked)))["html"]
    words = shlex.split(command_of(piece))
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert (options["--trace"], options["--model"]) == ("trace/config.json", "./config.json")
    told = json.loads(form_answer(json.dumps(asked | {"trace_text": "a,b"})))
    assert (told["field"], told["problem"][:18]) == ("trace", "trace/config.json:")


@pytest.mark.parametrize("text", ["", "3", "[]", "{", "null"])
def test_a_form_that_is_no_object(text: str) -> None:
    assert "the form must be" in json.loads(form_answer(text))["problem"]


@given(
    st.dictionaries(
        st.sampled_from([*(name for name in FIELDS if name != "rate_per_s"), "trace_text", "x"]),
        st.one_of(st.text(max_size=5), st.floats(), st.integers(), st.none()),
        max_size=4,
    )
)
def test_no_form_raises(values: dict[str, object]) -> None:
    told = json.loads(form_answer(json.dumps(values)))
    assert told["problem"]


def command_of(piece: str) -> str:
    """The command that stands last in an answer."""
    (found,) = re.findall(r">(serving-mathematics plan [^<]*)</code>", piece)
    return html.unescape(found)


def test_the_command_says_the_same_as_the_form() -> None:
    asked = {"rate_per_s": "3.0", "model": "Llama-3.1-8B", "requests": "100", "tpot_s": "0.10"}
    asked |= {"token_budget": "", "batch_limit": "", "device": "H100"}
    words = shlex.split(command_of(json.loads(form_answer(json.dumps(asked)))["html"]))
    assert words[:2] == ["serving-mathematics", "plan"]
    options = vars(command_parser().parse_args(words[2:]))
    given = {name: options[name] for name in FIELDS if options[name] is not None}
    assert given == {"rate_per_s": "3.0", "requests": "100", "tpot_s": "0.10"}
    assert read_question(given).traffic == read_question({"rate_per_s": 3}).traffic


def test_a_load_test_in_the_form_as_it_stands_names_no_front() -> None:
    """The form always sends its front; left as it stands it names nothing, and is no conflict."""
    asked = {"rate_per_s": "20", "parallelism": "tp1", "precision": "fp8", "requests": "100"}
    asked |= {"load_test": "1:0.1:0.0075", "other_devices": "none"}
    for front, said in (("benchmark", "front is not named"), ("ml-energy", "behind ml-energy")):
        told = json.loads(form_answer(json.dumps(asked | {"front": front})))
        assert said in told["html"]


def test_progress_is_told() -> None:
    heard: list[tuple[str, str]] = []
    asked = '{"rate_per_s": 3, "requests": 100, "parallelism": "tp1", "precision": "bf16"}'
    form_answer(asked, lambda *told: heard.append(told))
    assert {kind for kind, _ in heard} == {"status"}
    assert heard[0][1] == "Simulating fleet 1: replicas 1, batch limit 1024…"


def test_conditions_name_controls_and_their_values() -> None:
    text = form_html()
    for condition in {field.when for field in FIELDS.values()} - {""}:
        control, _, value = condition.partition("=")
        select = rf'<select id="planner-{control}".*?</select>'
        names = rf'<datalist id="planner-{control}-names".*?</datalist>'
        (body,) = re.findall(f"{select}|{names}", text)
        assert f'<option value="{value}">' in body


def test_labels_are_a_readers_words() -> None:
    """Every field has one of a few words, begins like a sentence, and has its unit beside it."""
    labels = [field.label for field in FIELDS.values()]
    for label in labels:
        assert label[0].isupper()
        assert "preset" not in label
        assert "[" not in label
    assert len(set(labels)) == len(labels)
    page = form_html()
    for field in FIELDS.values():
        short, more = field.heading
        assert len(short) <= 40
        assert f">{short}</label>" in page
        assert not field.group or f">{f'{html.escape(more)} '.lstrip()}<code>{field.name}<" in page
        assert not field.unit or f"<span>{field.unit}</span>" in page


def test_the_answer_that_the_page_comes_with_is_that_of_the_form_as_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both ask one question, and name one command."""
    asked: list[Any] = []

    def noted(choices: object, values: dict[str, object], *_: object, **__: object) -> None:
        asked.append((choices, other_choices(values)))
        raise Infeasible("noted")

    monkeypatch.setattr(planner_form, "whole_answer", noted)
    with pytest.raises(Infeasible):
        planner_form.example()
    values = {name: field.start or field.default for name, field in FIELDS.items()}
    known = {name: str(x) for name, x in values.items() if x is not None and not FIELDS[name].when}
    known |= {name: str(values[name]) for name in values if FIELDS[name].when == "traffic=rate"}
    known |= {"classes": "", "gpus": ""}
    assert "noted" in form_answer(json.dumps(known))
    assert asked[0] == asked[1]
    monkeypatch.undo()
    command = planner_form._command(dict(known))
    assert command_of(HERE.example_of("planner.planner_form").answer) == command
    first = {name for name, field in FIELDS.items() if field.group == FIRST}
    assert {name for name in first if not values[name]} == {"gpus"}  # instead of the rate


def test_what_a_reader_typed_is_text() -> None:
    """Names of classes and files are told back, and are no part of the page's structure."""
    asked = {"rate_per_s": "9", "requests": "100", "parallelism": "tp1", "quantile": "0.9"}
    asked |= {"other_devices": "none", "classes": "<img src=x onerror=alert(1)>:1:ttft=3"}
    piece = json.loads(form_answer(json.dumps(asked)))["html"]
    assert "&lt;img src=x onerror" in piece
    assert "<img" not in piece


def test_an_answer_has_an_order_and_its_tables_are_narrow() -> None:
    piece = HERE.example_of("planner.planner_form").answer
    parts = ("planner-of", "planner-head", "planner-summary", "planner-meter", "<ul>", "<figure>")
    places = [piece.index(part) for part in (*parts, ">binding constraint<", "<details>")]
    assert places == sorted(places)
    for head in re.findall(r"<thead>.*?</thead>", piece):
        assert head.count("<th ") <= 6
    assert "\n" not in piece


def test_a_caption_cites_a_line_only_where_one_is_drawn() -> None:
    asked = {"rate_per_s": 9, "requests": 100, "precision": "bf16", "ttft_s": 3}
    told = answer(read_choices(asked | {"parallelism": "tp1,tp2"}))
    for front, line in ((told.front, True), (told.front[:1], False)):
        piece = answer_html(replace(told, front=front))
        drawn = re.findall(r'class="curve" d="M[^"]*L', piece)
        assert bool(drawn) is line is ("On the line no other" in piece)


def test_gpus_take_the_place_of_an_empty_rate() -> None:
    """And of no other; what neither says is asked at the rate, as before."""
    asked = QUICK_GPUS | {"rate_per_s": "", "gpus": "2"}
    piece = json.loads(form_answer(json.dumps(asked)))["html"]
    assert "2 × H100 SXM carry " in piece
    assert command_of(piece).endswith(" --gpus 2")
    assert "--rate-per-s" not in command_of(piece)
    log = {"trace": "my.csv", "trace_text": trace_text()}
    piece = json.loads(form_answer(json.dumps(QUICK_GPUS | {"gpus": "2"} | log)))["html"]
    assert " times the load of the trace: 2 replicas " in piece
    assert command_of(piece).endswith(" --gpus 2 --trace my.csv")
    for more, field in (
        ({"rate_per_s": "60", "gpus": "2"}, "gpus"),
        ({"rate_per_s": "", "gpus": ""}, "rate_per_s"),
        ({"rate_per_s": "", "gpus": "2.5"}, "gpus"),
        ({"rate_per_s": "", "gpus": "2", "prompt_device": "H100"}, "gpus"),
        ({"gpus": "2", "fleets": "two"} | log, "gpus"),
        ({"rate_per_s": "", "gpus": "2", "parallelism": "tp4"}, "gpus"),
        ({"rate_per_s": "", "gpus": "90000"}, "gpus"),
        ({"rate_per_s": "", "gpus": "2", "ttft_s": "0.001"}, "ttft_s"),
    ):
        told = json.loads(form_answer(json.dumps(QUICK_GPUS | more)))
        assert told["field"] == field, told


def test_classes_may_be_empty_and_name_their_problem() -> None:
    asked = {"rate_per_s": "9", "requests": "100", "parallelism": "tp1", "fleets": "one"}
    told = json.loads(form_answer(json.dumps(asked | {"classes": ""})))
    assert command_of(told["html"]).endswith("--parallelism tp1")
    for classes in ("chat", "chat:1:tpot=50", "chat:2"):
        told = json.loads(form_answer(json.dumps(asked | {"classes": classes})))
        assert told["field"] == "classes", told


@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ("t,isl,osl\n0,1,1\n50,1,1\n", "trace_columns", "say which: trace_columns unit=s or"),
        ("w,isl,osl\n0,1,1\n50,1,1\n", "trace_columns", "trace_columns time=NAME"),
        ('{"a":' * 10**5, "trace", "at most 100 deep, got more"),
        ({"load_test": "/dev/zero", "parallelism": "tp1"}, "load_test", "got a device"),
        ({"model": "/dev/urandom"}, "model", "must be a file or a pipe, got a device"),
    ],
)  # fmt: skip
def test_the_page_reads_within_limits(asked: str | dict[str, str], field: str, words: str) -> None:
    if isinstance(asked, str):
        asked = {"trace": "a.csv", "trace_text": asked}
    else:
        asked = {"rate_per_s": "1", **asked}
    told = json.loads(form_answer(json.dumps(asked)))
    assert told["field"] == field
    assert words in told["problem"]


@pytest.mark.parametrize("text", ["[" * 10**6, '{"a":' * 10**6, '{"seed": 1, "seed": 2}'])
def test_what_no_page_sends_is_a_problem(text: str) -> None:
    """Deep enough to end Python in a browser."""
    assert json.loads(form_answer(text))["problem"].startswith("the form must be JSON, got ")


class _LongEnoughError(Exception):
    """A question of which some fleets have been simulated."""


def _drawn_value(name: str) -> st.SearchStrategy[float | str]:
    """A legal value of a field, its ends often."""
    field = FIELDS[name]
    if field.choices:
        return st.sampled_from(field.choices)
    low, high = field.low, field.high
    if field.whole:
        return st.sampled_from([low, high]) | st.integers(int(low), int(high))
    spread = st.floats(math.log(max(low, 1e-6 * high)), math.log(high)).map(math.exp)
    return st.sampled_from([low, high]) | spread


@costly
@given(st.data())
def test_a_refusal_of_legal_values_is_of_a_field_that_was_given_or_could_be(
    data: st.DataObject,
) -> None:
    """Whatever cannot be answered is told in the reader's words: "sessions", "context_tokens" and
    "held" were names from inside."""
    numbers = [name for name, field in FIELDS.items() if field.high or field.choices]
    behind = {"replicas", "like", "host_memory_gib", "host_link_gb_per_s", "lost_for_s"}
    left = behind | {"gpus", "weights", "requests", "seed"}
    simple = [name for name in numbers if name not in left]
    names = data.draw(st.lists(st.sampled_from(simple), max_size=4, unique=True))
    asked = {name: data.draw(_drawn_value(name), label=name) for name in names}
    asked |= {"rate_per_s": data.draw(_drawn_value("rate_per_s")), "requests": 100}
    asked.setdefault("quantile", 0.5)
    asked["model"] = data.draw(st.sampled_from(["Llama-3.1-8B", "Llama-3.1-70B", "Falcon-7B"]))
    if data.draw(st.booleans()):
        asked["replicas"] = data.draw(_drawn_value("replicas"))
        asked["like"] = data.draw(st.sampled_from(KINDS))
    elif data.draw(st.booleans()):
        asked |= {"rate_per_s": "", "gpus": data.draw(_drawn_value("gpus"))}
    told = []

    def tell(_what: str, text: str) -> None:
        told.append(text)
        if len(told) > 3:
            raise _LongEnoughError

    with contextlib.suppress(_LongEnoughError):
        found = json.loads(form_answer(json.dumps(asked), tell))
        assert found.get("field", "none") != "", found
