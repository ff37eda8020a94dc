"""The sentence of an answer: it counts, is as certain as the run, and says what is left out."""

from __future__ import annotations

import math
import re
from dataclasses import replace

from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.machine.predictions.own_runs import OwnRun, calibrate
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answer_sentence import (
    LONG_ALONE,
    LONG_PROMPT,
    answer_parts,
)
from serving_mathematics.planner.answers.answers import answer_record, answer_summary
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets
from serving_mathematics.planner.capacity_planner.judged_requests import Quantile
from serving_mathematics.planner.configurations import Elsewhere, answer
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.questions import read_choices, read_question
from serving_mathematics.planner.questions.routed_requests import TO_CUT
from serving_mathematics.support.digits import sized

from ..told import PLAIN, QUESTION, SURE, TOLD, with_class, with_plan

TUNED = (
    ", with a tuned engine. For an engine as installed, ask with front: unknown too and take "
    "the largest number of both answers."
)


def test_an_answer_says_for_which_engine_it_is() -> None:
    """Where nobody named what stands before the devices, and there only."""
    assert f" a GPU (you gave no price){TUNED}" in answer_summary(PLAIN)
    few = {"rate_per_s": 1, "requests": 100, "parallelism": "tp1", "front": "unknown"}
    behind = answer(read_choices(few))
    assert "tuned engine" not in answer_summary(behind)


def test_the_summary_is_the_sentence_and_its_notes() -> None:
    sentence, notes = answer_parts(TOLD)
    assert answer_summary(TOLD) == " ".join([sentence, *notes])
    assert all(note[0].isupper() and note[-1] == "." for note in notes)


def test_the_summary_counts() -> None:
    n = SURE.replicas
    usd = f"{SURE.usd_per_hour:.2f}"
    devices = QUESTION.deployment.devices
    split = {1: "1 × H100 SXM", 2: "2 × H100 SXM (tp2)"}[devices]
    gpus = "" if devices == 1 else f" for {n * devices} GPUs"
    assert answer_summary(PLAIN) == (
        f"{n} replicas of Llama-3.1-8B in BF16 on {split} keep a TTFT of 1.5 s and a TPOT of 50 ms "
        f"at p99 for 60 requests/s, at ${usd} an hour{gpus}, $2.00 a GPU (you gave no price){TUNED}"
    )
    spare = replace(PLAIN, question=replace(QUESTION, spare_replicas=2))
    assert "for 60 requests/s, and 2 more that may fail, at" in answer_summary(spare)
    assert devices == 1 or f" for {(n + 2) * devices} GPUs, $2.00" in answer_summary(spare)
    one = with_plan(PLAIN, best=replace(SURE, replicas=1))
    assert "GPUs, $" not in answer_summary(one)
    mine = replace(QUESTION.deployment.architecture, name="Mine")
    deployment = replace(QUESTION.deployment, architecture=mine)
    own = replace(QUESTION, deployment=deployment, checkpoint="./mine")
    assert f"{n} replicas of Mine in" in answer_summary(replace(PLAIN, question=own))
    for rate, told in ((999.4, "999"), (999.6, "1,000"), (1000.4, "1,000"), (1.234, "1.23")):
        assert f"for {told} requests/s, at" in answer_summary(with_plan(PLAIN, rate_per_s=rate))
    assert answer_lines(spare)[0].value == f"{n} and 2 that may fail"


def test_the_summary_is_as_certain_as_the_table() -> None:
    """Keep where every interval is inside, may keep where one is not, and never silent about one
    replica fewer, other limits or the error of the steps."""
    n = SURE.replicas
    wide = Quantile(QUESTION.promise[0].limit - 0.2, 0.3)
    unsure = with_class(SURE, ttft=wide)
    doubtful = answer_summary(with_plan(PLAIN, best=unsure))
    assert " may keep a TTFT of 1.5 s " in doubtful
    assert doubtful.endswith(f"{TUNED} {n + 1} keep both.")
    both = answer_summary(with_plan(PLAIN, best=unsure, one_more=unsure))
    assert both.endswith(f" a GPU (you gave no price){TUNED}")
    edge = with_plan(PLAIN, load=0.95)
    narrow = f"{math.ceil(n * 0.95 / 0.9)} stay below 90% of what they could serve, beyond which"
    few = math.ceil(n * 0.95 / 0.9) == n + 1
    said = answer_summary(edge)
    assert " may keep a TTFT of 1.5 s " in said
    assert said.endswith(f"{n + 1} keep both." if few else f"{narrow} intervals are too narrow.")
    many = with_plan(PLAIN, load=0.95, best=replace(SURE, replicas=190))
    assert "201 stay below 90% of what they could serve" in answer_summary(many)
    lines = {line.what: line.value for line in answer_lines(edge)}
    at = "at 95% of what it could serve its intervals are too narrow"
    assert lines["decided by this run"] == f"not quite: {at}"
    other = replace(SURE, replicas=3, budget=8192, places=77)
    fewer = answer_summary(with_plan(PLAIN, one_fewer_may_do=True, found=other))
    assert fewer.endswith(
        f" {n - 1} may do. 3 replicas would do with a token budget of 8,192 and a batch limit of"
        " 77."
    )
    for low, high, words in ((2, 9, "2 to 9"), (2, None, "2 or more"), (9, 9, "9")):
        said = answer_summary(replace(PLAIN, if_faster=low, if_slower=high))
        assert said.endswith(f" If steps are as far off as in measured runs, it takes {words}.")


def test_long_lengths_are_told_and_what_the_context_cuts() -> None:
    """Its mean is far below what was asked for: that of what is simulated, within three standard
    errors. Else that prompts spread is said where attention is much of the work, or where one
    that the promise counts takes two fifths of it alone."""
    asked = {"rate_per_s": 1, "ttft_s": 99, "mean_prompt_tokens": 100_000, "requests": 2000}
    question = read_question(asked)
    sample = Fleets(replace(question, promise=promised(1e4, 1e4))).sample
    said = answer_summary(replace(PLAIN, question=question))
    for mean, drawn in zip(
        question.mean_lengths, (sample.prompt_tokens, sample.output_tokens), strict=True
    ):
        assert abs(mean - drawn.mean()) < 3 * drawn.std() * math.sqrt(1 / 2000 + 1 / TO_CUT)
    prompt, output = question.mean_lengths
    means = f"{prompt:,.0f} in and {output:,.0f} out"
    cut = f"cut at the context of 131,072 tokens: this is for {means} on average. For 100,000 and"
    assert f"{cut} 250 give a trace." in said
    assert 60_000 < sample.prompt_tokens.mean() < 80_000
    spread = "Lengths are drawn geometric, and equal prompts take less time: a trace has its own."
    assert spread not in said
    long = answer_summary(
        replace(PLAIN, question=read_question(asked | {"mean_prompt_tokens": LONG_PROMPT}))
    )
    assert spread in long
    assert not any(words in answer_summary(PLAIN) for words in (" cut at ", "Lengths are drawn"))
    assert " cut at " not in long
    limit = QUESTION.promise[0].limit
    for alone, told in ((LONG_ALONE * limit, True), (0.99 * LONG_ALONE * limit, False)):
        said = answer_summary(with_plan(PLAIN, alone_s=alone))
        few = "1% of the prompts have 4,605 tokens or more, which take "
        assert (f"Lengths are drawn geometric, and {few}{sized(alone)} s alone: " in said) == told
    one = replace(QUESTION, deployment=replace(QUESTION.deployment, tensor=1))
    for replicas in (1, 2):  # of one GPU there is no fewer
        told_of = with_plan(PLAIN, alone_s=limit, best=replace(SURE, replicas=replicas))
        said = answer_summary(replace(told_of, question=one))
        assert ("equal ones take fewer GPUs" in said) == (replicas > 1)


def test_what_a_reader_may_take_for_counted_is_said() -> None:
    """Caches that are taken as given, images, and spot GPUs; nothing of it where nothing is."""
    cached = "That caches hold 60% of the prompt tokens, whichever replica they come to, is taken"
    encodes = "Images and sound are tokens of the prompt here: the time and the memory of what"
    taken = "That spot GPUs are taken away is not counted: buy as many spare_replicas as may go"
    asked = {"rate_per_s": 5, "cached_share": 0.6, "spot_share": 0.5}
    said = answer_summary(replace(PLAIN, question=read_question(asked)))
    assert cached in said
    assert "replicas: auto and like: agents simulates caches." in said
    assert taken in said
    assert encodes not in said
    seeing = read_question({"rate_per_s": 5, "model": "Qwen3-VL-8B-Instruct"})
    assert encodes in answer_summary(replace(PLAIN, question=seeing))
    one = seeing.deployment
    table = replace(one.architecture, beside=("a table of 51.2·10⁹ values in the host's memory",))
    looking_up = replace(seeing, deployment=replace(one, architecture=table))
    assert encodes not in answer_summary(replace(PLAIN, question=looking_up))
    assert not any(words in answer_summary(PLAIN) for words in (cached, encodes, taken))
    kinds = "chat:0.5:prompt=1000,cached=0.5; agents:0.5:prompt=3000"
    mixed = read_question({"rate_per_s": 5, "classes": kinds})
    said = answer_summary(replace(PLAIN, question=mixed))
    assert cached.replace("60", "12") in said  # 500 of 4,000


def test_of_a_device_that_was_never_measured_no_range_is_told_but_what_settles_it() -> None:
    """The option that the answer begins with is read as it stands, once the times are in it."""
    asked = {"rate_per_s": 1, "device": "L40S", "requests": 100, "ttft_s": 3}
    found = answer(read_choices(asked))
    first, typed = "No run on this device was measured: how far this is off is not known.", {}
    said = answer_summary(found)
    assert said.startswith(first)
    assert "steps err" not in said
    lines = {line.what: line.value for line in answer_lines(found)}
    assert lines["if steps err"].startswith("not known")
    assert lines["measured runs like it"] == "none on this device"
    record = answer_record(found)
    assert record["replicas_if_faster"] == record["replicas_if_slower"] == ""
    for name, value in re.findall(r"--(\S+) \"?([^ \"]+)", said):
        typed[name.replace("-", "_")] = value
    assert set(typed) == {"precision", "parallelism", "load_test"}
    typed["load_test"] = typed["load_test"].replace("TTFT:TPOT", "0.2:0.03")
    tested = answer(read_choices(asked | typed))
    assert tested.error.calibrated_by == 2
    assert first not in answer_summary(tested)
    assert first not in answer_summary(TOLD)
    untested = replace(TOLD.ranked[0], question=found.question)
    beside = answer_summary(replace(TOLD, ranked=(*TOLD.ranked, untested)))
    assert beside.endswith(" No run on L40S was measured.")


def test_what_a_mixture_in_eight_bits_assumes_is_told_where_nothing_was_tested() -> None:
    mixture = replace(
        QUESTION.deployment, architecture=find_model("Qwen3-235B-A22B")[0], precision="fp8"
    )
    question = replace(QUESTION, deployment=mixture)
    said = " A mixture in FP8 is taken to have kernels that are tuned for this device: "
    assert said in answer_summary(replace(PLAIN, question=question))
    found = calibrate([OwnRun(mixture, 0.1, 0.02)])
    tested = replace(PLAIN, question=replace(question, calibration=found))
    assert said not in answer_summary(tested)


def test_what_a_split_over_two_nodes_assumes_is_told_where_nothing_was_tested() -> None:
    wide = replace(QUESTION.deployment, system=find_system("H100"), tensor=16)
    question = replace(QUESTION, deployment=wide)
    said = " Fast links of H100 SXM join no more than 8 of the 16 GPUs: "
    assert said in answer_summary(replace(PLAIN, question=question))
    one = replace(question, deployment=replace(wide, tensor=8))
    assert said not in answer_summary(replace(PLAIN, question=one))
    found = calibrate([OwnRun(wide, 0.1, 0.02)])
    tested = replace(PLAIN, question=replace(question, calibration=found))
    assert said not in answer_summary(tested)


def test_formats_are_searched_and_said() -> None:
    """Eight bits where nothing is said, with what sixteen cost; none where one was asked for."""
    asked = {"rate_per_s": 8, "model": "Llama-3.3-70B", "requests": 100}
    told = answer(read_choices(asked))
    said = answer_summary(told)
    assert "of Llama-3.3-70B-Instruct in FP8 on" in said
    usd = min(
        one.run.usd_per_hour
        for one in told.ranked
        if one.run and one.question.deployment.precision == "bf16"
    )
    assert usd > told.plan.best.usd_per_hour
    assert f" In BF16 it costs ~${usd:,.2f}." in said
    assert " it costs " not in answer_summary(TOLD)
    assert answer_record(told)["model"] == "meta-llama/Llama-3.3-70B-Instruct"


def test_other_devices_are_said_with_the_price_that_decides() -> None:
    others = [Elsewhere(QUESTION, n, 6.0 / n) for n in (2, 1200)]
    said = answer_summary(replace(PLAIN, others=tuple(others)))
    assert said.endswith(
        " Cheaper would be ~2 × H100 SXM below $3.00 a GPU, ~1,200 × H100 SXM below $0.005 a GPU."
    )
    assert "Cheaper" not in answer_summary(PLAIN)
