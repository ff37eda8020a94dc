"""Numbers as lines say them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.planner.answers.lines import (
    Line,
    _fleet_lines,
    _left_out,
    _needs_heads,
    _price_said,
    listed,
    overloaded,
    unmeasured,
    with_interval,
)
from serving_mathematics.planner.capacity_planner.judged_requests import Quantile
from serving_mathematics.planner.questions.questions import read_question


@given(st.floats(1e-3, 1e3), st.floats(1e-4, 1e3), st.sampled_from([1.0, 100.0, 1e3]))
def test_an_interval_reads_back(value: float, half: float, scale: float) -> None:
    text = with_interval(Quantile(value, half), scale)
    got, width = map(float, text.split(" ± "))
    assert got == pytest.approx(scale * value, abs=0.51 * scale * half)
    assert width == pytest.approx(scale * half, rel=0.06, abs=0.51)


def test_several_are_one_sentence() -> None:
    assert listed(["a"]) == "a"
    assert listed(["a", "b"]) == "a and b"
    assert Line("what", "how", "where").estimate == ""


def test_a_price_says_what_spot_has_saved_of_it() -> None:
    asked = {"rate_per_s": 1, "price_per_hour": 2, "spot_share": 0.5}
    assert _price_said(read_question(asked)) == "$1.40 a GPU (30% less by spot)"


@pytest.mark.parametrize(
    ("drafter", "needs"), [("mtp", True), ("ngram", False), ("Qwen3-0.6B", False)]
)
def test_heads_that_guess_are_asked_for(drafter: str, needs: bool) -> None:
    asked = {"rate_per_s": 1, "model": "Qwen3-8B"}
    guessed = {"draft_tokens": 2, "accepted_tokens": 2, "drafter": drafter}
    said = _needs_heads(read_question(asked | guessed))
    assert said.startswith("Guesses need MTP or EAGLE heads") is needs
    assert not _needs_heads(read_question(asked))


@given(st.floats(0.5, 3.0), st.floats(0.01, 1e5))
def test_load_and_rate_of_an_overloaded_fleet_agree(load: float, rate_per_s: float) -> None:
    """What is said to be served, times the load, is the traffic; the word follows the load."""
    how, percent, most = re.fullmatch(
        r"(\w+), at (\d+)% of the ([\d.,e+-]+) requests?/s that it could serve",
        overloaded(load, rate_per_s),
    ).groups()  # type: ignore[union-attr]
    assert how == ("overloaded" if load >= 1 else "full")
    assert abs(float(percent) - 100 * load) <= 0.5 + 1e-9
    assert float(most.replace(",", "")) * load == pytest.approx(rate_per_s, rel=6e-3)


@pytest.mark.parametrize(
    ("held", "load"), [(0.2, "2"), (2.0, "2"), (63.01, "64"), (1500.0, "1500")]
)
def test_the_planned_load_is_to_be_tested_and_never_the_lone_request_twice(
    held: float, load: str
) -> None:
    asked = {"rate_per_s": 1, "model": "DeepSeek-R1", "device": "MI300X", "precision": "fp8"}
    said = unmeasured(read_question(asked | {"parallelism": "tp8 ep8"}), held)
    assert said.endswith(f'--parallelism tp8ep8 --load-test "1:TTFT:TPOT,{load}:TTFT:TPOT". ')


@pytest.mark.parametrize(
    ("asked", "share"),
    [
        ({"cached_share": 0.6, "mean_prompt_tokens": 900, "mean_output_tokens": 9}, 60),
        ({"classes": "a:0.25:prompt=900,answer=9,cached=0.4;b:0.75:prompt=100,answer=9"}, 30),
        ({"mean_prompt_tokens": 900, "mean_output_tokens": 9}, 0),
    ],
)
def test_what_caches_hold_is_told_of_all_prompt_tokens(
    asked: dict[str, object], share: int
) -> None:
    """Of classes by their tokens: 0.4 of 225 in 300."""
    question = read_question({"rate_per_s": 1, **asked})
    *_, asks = _fleet_lines(question, 1, question.mean_lengths)
    assert asks.value.endswith(f", {share}% of those in cached") == bool(share)
    told = [note for note in _left_out(question) if "taken as given" in note]
    assert [re.findall(r"hold (\d+)%", note) for note in told] == [[str(share)]] * bool(share)
