"""Answers: every line has a chapter, and records are flat and finite."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.benchmark_loops import Latencies
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.step_time import FITTED
from serving_mathematics.machine.predictions.own_runs import Calibration, OwnRun, calibrate
from serving_mathematics.machine.step_time.speculative_decoding import break_even_tokens
from serving_mathematics.planner.answer_plots import latency_plot
from serving_mathematics.planner.answers import (
    LONG_ALONE,
    LONG_PROMPT,
    Table,
    _read_lines,
    answer_head,
    answer_lines,
    answer_parts,
    answer_record,
    answer_summary,
    answer_tables,
    asked_text,
    comparison_rows,
    main_lines,
    summary_text,
    table_text,
)
from serving_mathematics.planner.capacity_planner import Loosened
from serving_mathematics.planner.configurations import Answer, Elsewhere, answer
from serving_mathematics.planner.fleet_search import STEADY, Fleets, Performance
from serving_mathematics.planner.judged_requests import ClassRun, Quantile
from serving_mathematics.planner.lines import Line
from serving_mathematics.planner.model_errors import RUN_COLUMNS
from serving_mathematics.planner.objectives import promised
from serving_mathematics.planner.questions import read_choices, read_question
from serving_mathematics.planner.routed_requests import TO_CUT
from serving_mathematics.planner.trace_formats import ReadRequests
from serving_mathematics.support import measuring
from serving_mathematics.support.digits import sized

from builder import ROOT

TOLD = answer(
    read_choices(
        {
            "rate_per_s": 60,
            "requests": 100,
            "ttft_s": 1.5,
            "parallelism": "tp1, tp2",
            "precision": "bf16",
        }
    )
)
PLAN, QUESTION = TOLD.plan, TOLD.question


NONE = Latencies(np.ones(1), np.ones(1), np.ones(1))


def changed(one: ClassRun, **changes: Quantile) -> ClassRun:
    """A class that gets something else of some metrics."""
    pairs = zip(one.promise, one.got, strict=True)
    return replace(one, got=tuple(changes.get(goal.metric, run) for goal, run in pairs))


def with_class(run: Performance, **changes: Quantile) -> Performance:
    """With other latencies of the one class that there is."""
    return replace(run, classes=(changed(run.classes[0], **changes),))


SURE = with_class(
    PLAN.best,
    ttft=Quantile(QUESTION.promise[0].limit - 0.2, 0.1),
    tpot=Quantile(QUESTION.promise[1].limit - 0.02, 0.01),
)
PLAIN = replace(
    TOLD,
    plan=replace(PLAN, best=SURE, one_more=SURE, one_fewer_may_do=False, found=None),
    if_faster=SURE.replicas,
    if_slower=SURE.replicas,
)


def with_plan(told: Answer, **changes: object) -> Answer:
    return replace(told, plan=replace(told.plan, **changes))  # type: ignore[arg-type]


def test_the_bounds_of_steps_say_whose_runs_they_are() -> None:
    """Of one kind of model and generation of devices, and how few of the device that is planned."""
    rows = measuring.read_record("planner_errors")["rows"]
    columns = dict(zip(RUN_COLUMNS, zip(*rows, strict=True), strict=True))
    hopper = [
        system
        for system, devices, sparse in zip(
            columns["system"], columns["devices"], columns["sparse"], strict=True
        )
        if devices == TOLD.error.devices and not sparse and system in ("h100_sxm", "h200_sxm")
    ]
    line = next(line for line in answer_lines(TOLD) if line.what == "measured runs like it")
    own = hopper.count(QUESTION.deployment.system.name)
    assert line.value.startswith(f"eight in ten of {len(hopper)} took ")
    assert line.value.endswith(f": dense, hopper, on 2 devices, {own} of them on this device")
    assert TOLD.error.devices == 2
    assert 0 < own < len(hopper)


def test_every_line_links_to_a_chapter() -> None:
    lines = answer_lines(TOLD)
    assert all(isinstance(line, Line) for line in lines)
    for line in lines:
        assert (ROOT / "docs" / f"{line.chapter}.md").is_file(), line.chapter
        assert line.value or line.estimate
    assert len({line.what for line in lines}) == len(lines)
    assert {"one replica more", "binding constraint", "if steps err", "nearest measured run"} <= {
        line.what for line in lines
    }


def test_the_closed_form_stands_beside_the_quantiles_that_it_knows() -> None:
    """All of the TTFT, and the median alone of the TPOT."""
    lines = {line.what: line.estimate for line in answer_lines(TOLD)}
    closed = PLAN.estimate
    for place, name in enumerate(("p50", "p90", "p99")):
        assert lines[f"TTFT at {name}"] == f"{closed.ttft_s[place]:.3g} s"
        median = f"{1e3 * closed.tpot_s:.3g} ms" if name == "p50" else ""
        assert lines[f"TPOT at {name}"] == median


def test_guesses_have_a_line_that_says_what_they_must_yield() -> None:
    asked = {"rate_per_s": 4, "model": "Qwen3-32B", "parallelism": "tp2", "requests": 100}
    asked |= {"draft_tokens": 3, "accepted_tokens": 2.5, "drafter": "Qwen3-0.6B", "ttft_s": 3}
    told = answer(read_choices(asked))
    assert "Guesses need" not in answer_summary(told)
    heads = replace(told.question, deployment=replace(told.question.deployment, drafter="mtp"))
    assert " Guesses need MTP or " in answer_summary(replace(told, question=heads))
    (line,) = (line for line in answer_lines(told) if line.what == "guesses")
    one, held = told.question.deployment, told.plan.best.concurrency
    least = break_even_tokens(one, FITTED, held, 1125)[0]  # of 1,000 tokens and half of 250
    assert held > 1
    assert line.value == (
        f"Qwen3-0.6B guesses 3; a step yields 2.5 tokens, and must yield {least:.2f} to be worth "
        "it with so many requests"
    )
    idle = replace(told.plan, best=replace(told.plan.best, concurrency=0.2))  # of the time, one
    (line,) = (line for line in answer_lines(replace(told, plan=idle)) if line.what == "guesses")
    assert f"must yield {break_even_tokens(one, FITTED, 1, 1125)[0]:.2f} to" in line.value
    wordy = replace(one, output_tokens=20_000)  # whose answers are half written, in the mean
    asks = replace(told, question=replace(told.question, deployment=wordy))
    (line,) = (line for line in answer_lines(asks) if line.what == "guesses")
    assert f"must yield {break_even_tokens(one, FITTED, held, 11_000)[0]:.2f} to" in line.value
    record = answer_record(told)
    assert (record["drafter"], record["accepted_tokens"]) == ("Qwen3-0.6B guesses 3", 2.5)
    assert answer_record(TOLD)["drafter"] == ""
    assert "guesses" not in {line.what for line in answer_lines(TOLD)}
    runs = [OwnRun(one, 0.3, 0.02)]
    slow = replace(FITTED, sequence_s=0.01)  # as a load test might say
    found = Calibration(slow, (1.0,) * 4, (0.0,) * 4, tuple(runs), NONE, NONE, None)
    other = replace(told, question=replace(told.question, calibration=found))
    (line,) = (line for line in answer_lines(other) if line.what == "guesses")
    assert f"must yield {break_even_tokens(one, slow, held, 1125)[0]:.2f}" in line.value


def test_a_record_is_flat_and_finite() -> None:
    record = answer_record(TOLD)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["replicas"] == PLAN.best.replicas
    assert record["kv_bytes"] == record["kv_tokens"] * PLAN.token_bytes
    assert record["usd_per_hour"] == 2.0 * PLAN.best.replicas * QUESTION.deployment.devices
    assert all(math.isfinite(v) for v in record.values() if not isinstance(v, str))
    assert answer_record(replace(TOLD, if_slower=None))["replicas_if_slower"] == ""
    assert record["compared"] == 2


def test_a_record_has_the_last_quantile_of_separate_fleets() -> None:
    asked = {"rate_per_s": 20, "requests": 100, "ttft_s": 2, "parallelism": "tp1", "fleets": "two"}
    told = answer(read_choices(asked))
    assert told.apart is not None
    run = told.apart.run
    assert run is not None
    record = answer_record(told)
    assert record["apart_ttft_p99_s"] == run.ttft[-1].value
    assert record["apart_tpot_p99_s"] == run.tpot[-1].value
    assert run.tpot[-1].value > run.tpot[1].value > run.tpot[0].value


def test_a_wide_interval_is_not_a_decision() -> None:
    """Of this fleet, whose values must not reach beyond, and of a smaller one, that must not do."""
    first, each = (goal.limit for goal in QUESTION.promise)
    late = with_class(SURE, ttft=Quantile(first - 0.2, 0.3))
    slow = with_class(SURE, tpot=Quantile(each - 0.02, 0.03))
    for best, may, words in (
        (SURE, False, "yes"),
        (late, False, "not quite: the interval of TTFT reaches beyond its objective"),
        (slow, False, "not quite: the interval of TPOT reaches beyond its objective"),
        (SURE, True, "not quite: by its intervals one replica fewer may do"),
    ):
        found = with_plan(TOLD, best=best, one_fewer_may_do=may)
        lines = {line.what: line.value for line in answer_lines(found)}
        assert lines["decided by this run"] == answer_record(found)["decided"] == words


def test_the_last_format_has_no_next() -> None:
    asked = {"rate_per_s": 1, "requests": 100, "ttft_s": 9, "tpot_s": 2, "precision": "int4"}
    found = answer(read_choices(asked | {"parallelism": "tp1"}))
    assert found.plan.quantized is None
    assert answer_record(found)["quantized_replicas"] == ""
    assert not [x for x in answer_lines(found) if x.what.startswith("weights in")]


TUNED = (
    ", with a tuned engine. For an engine as installed, ask with front: unknown and take the "
    "larger number."
)


def test_an_answer_says_for_which_engine_it_is() -> None:
    """Where nobody named what stands before the devices, and there only."""
    assert f" a GPU (you gave no price){TUNED}" in answer_summary(PLAIN)
    few = {"rate_per_s": 1, "requests": 100, "parallelism": "tp1", "front": "unknown"}
    behind = answer(read_choices(few))
    assert "tuned engine" not in answer_summary(behind)


def test_a_fleet_beyond_what_it_serves_has_no_latency_and_no_price() -> None:
    """One replica fewer was told the TTFT of a run that ended before its queue had grown; that it
    grows with the run is shown by a check of the worked example."""
    asked = {"rate_per_s": 62, "ttft_s": 60, "tpot_s": 0.2, "precision": "fp8"}
    told = answer(read_choices(asked | {"parallelism": "tp1", "requests": 1000}))
    found, lines = told.plan, {line.what: line.value for line in answer_lines(told)}
    below = found.best.replicas - 1
    assert found.load < STEADY < 1 < found.fewer_load
    over = (
        f"overloaded, at {100 * found.fewer_load:.0f}% of the 58.4 requests/s that it could serve"
    )
    assert lines["one replica fewer"] == over
    assert lines["what would save one"] == f"no limit: one replica fewer is {over}"
    (row,) = (row for row in latency_plot(told).rows if row[0] == f"{below}")
    assert row[1:] == [over, *[""] * (len(row) - 2)]
    record = answer_record(told)
    assert record["one_fewer_load"] == found.fewer_load
    assert not [name for name in record if name.startswith("one_fewer_") and "load" not in name]


def test_the_head_is_what_is_bought_or_what_is_carried() -> None:
    """GPUs of all replicas, spare ones too, at the price that the sentence says."""
    devices = SURE.replicas * QUESTION.deployment.devices
    head, dollars = answer_head(PLAIN)
    assert head == f"{devices} × H100 SXM"
    sentence, notes = answer_parts(PLAIN)
    assert dollars in sentence
    assert answer_summary(PLAIN) == " ".join([sentence, *notes])
    assert all(note[0].isupper() and note[-1] == "." for note in answer_parts(TOLD)[1])
    spare = replace(PLAIN, question=replace(QUESTION, spare_replicas=2))
    head, _ = answer_head(spare)
    assert head == f"{devices + 2 * QUESTION.deployment.devices} × H100 SXM"
    given = replace(PLAIN, question=replace(QUESTION, gpus=8))
    assert answer_head(given) == ("60 requests/s", f"8 × H100 SXM, {dollars}")


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
    cut = f"cut at the context of 131,072 tokens: this is for {means} in the mean. For 100,000 and"
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


def test_what_the_context_cut_is_not_paid_for() -> None:
    """Tokens of a price are those that were planned: the price of an hour over them, by hand."""
    asked = {"rate_per_s": 0.2, "model": "Qwen3-8B", "mean_prompt_tokens": 30_000, "ttft_s": 90}
    asked |= {"parallelism": "tp1", "precision": "fp8", "requests": 400, "tpot_s": 1}
    found = answer(read_choices(asked | {"api_input_price": 1, "api_output_price": 1}))
    question, best = found.question, found.plan.best
    prompt, output = question.mean_lengths
    assert prompt < 23_000
    assert output < 240
    hour = 3600 * 0.2 / 1e6
    assert best.usd_per_million == pytest.approx(best.usd_per_hour / (hour * output))
    assert answer_record(found)["api_usd_per_hour"] == pytest.approx(hour * (prompt + output))
    lines = {line.what: line.value for line in answer_lines(found)}
    assert lines["tokens of a request, mean"] == f"{prompt:,.0f} in, {output:,.0f} out"


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


def test_what_is_not_counted_of_a_model_is_told_beside_its_size() -> None:
    one = PLAIN.question.deployment
    for engines, beside, end in (
        ((), (), " for a token"),
        ((one.backend,), (), " for a token; states in 16 bits"),
        ((), ("vision_config", "audio_config"), "; not counted: vision_config, audio_config"),
    ):
        model = replace(one.architecture, half_states=engines, beside=beside)
        asked = replace(PLAIN.question, deployment=replace(one, architecture=model))
        told = {line.what: line.value for line in _read_lines(asked)}
        assert told["model"].endswith(end)
    own = replace(asked, deployment=replace(one, architecture=find_model("DeepSeek-V4-Pro")[0]))
    told = {line.what: line.value for line in _read_lines(own)}
    assert told["model"].endswith("; a cache in eight bits, as engines keep it whatever is asked")


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


def test_the_comparison_has_a_row_for_each_and_one_for_the_rest() -> None:
    head, *rows = comparison_rows(TOLD)
    assert len(rows) == 2
    assert {len(row) for row in rows} == {len(head)} == {6}
    left = replace(TOLD.ranked[1], run=None, least_usd_per_hour=12.0)
    cannot = replace(left, problem="no fleet")
    rows = comparison_rows(replace(TOLD, ranked=(TOLD.ranked[0], left, left, cannot)))[1:]
    assert rows[1][0].startswith("none of ")
    assert rows[1][-1] == "no fleet"
    assert rows[2][0] == "2 others"
    assert rows[2][2] == "at least 12.00"


def test_tables_are_those_of_command_and_form() -> None:
    """A load test's runs and the comparison, each where there is one."""
    (one,) = answer_tables(TOLD)
    assert one == Table("The deployments that were compared", comparison_rows(TOLD))
    assert answer_tables(replace(TOLD, ranked=TOLD.ranked[:1])) == []
    asked = {"rate_per_s": 2, "load_test": "1:0.06:0.0075,16:0.2:0.011", "parallelism": "tp1"}
    tested = answer(read_choices(asked | {"requests": 100, "ttft_s": 3}))
    (table,) = answer_tables(tested)
    assert table.title == "The load test"
    assert table.note.startswith("Calibrated with 2 runs: ")
    assert len(table.rows) == 3


def test_prices_of_short_runs_are_marked() -> None:
    """The plan's own rests on the longer runs, so that no row contradicts the sentence."""
    _, *rows = comparison_rows(TOLD)
    short = [one.run.simulated < PLAN.best.simulated for one in TOLD.ranked if one.run]
    assert [row[2].startswith("~") for row in rows] == short
    assert any(short)
    assert not all(short)


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


def test_the_short_text_fits_a_screen() -> None:
    for told in (TOLD, PLAIN):
        lines = summary_text(told).splitlines()
        assert len(lines) <= 15
        assert max(map(len, lines)) <= 100
    first = " ".join(summary_text(PLAIN).splitlines()[:3])
    assert first.startswith(answer_summary(PLAIN)[:150])
    assert {line.what for line in main_lines(TOLD)} <= {line.what for line in answer_lines(TOLD)}


def test_tables_are_broken_where_they_are_too_wide() -> None:
    rows = [["what", "how"], ["one", "a word " * 30], ["two", "x" * 200]]
    lines = table_text(rows).splitlines()
    assert max(map(len, lines)) <= 100
    assert " ".join(line[6:] for line in lines).count("a word") == 30
    assert sum(line.count("x") for line in lines) == 200
    assert table_text([["", ""]]) == ""
    with pytest.raises(ValueError, match="rows must be of one length"):
        table_text([["a"], []])


def test_an_answer_says_what_it_belongs_to() -> None:
    words = "60 requests/s of 1,000 tokens in and 250 out; a TTFT of 1.5 s and a TPOT of 50 ms"
    assert words in asked_text(QUESTION)
    trace = replace(QUESTION, traffic=Workload(np.arange(9.0), [1] * 9, [1] * 9))
    assert "; a trace of 9 requests; " in asked_text(trace)
    read = ReadRequests(trace.traffic, "9 requests in 8 s; time: milliseconds from a start")
    shown = summary_text(replace(TOLD, question=replace(QUESTION, traffic=read)))
    assert "time: milliseconds from a start" in shown  # a guess may be off by a thousand


def test_intervals_keep_two_digits() -> None:
    best = replace(PLAN.best, ttft=(Quantile(0.1298, 0.0096), Quantile(2, 0), Quantile(12.3, 15)))
    values = {line.what: line.value for line in answer_lines(with_plan(TOLD, best=best))}
    assert values["TTFT at p50"] == "0.1298 ± 0.0096 s"
    assert values["TTFT at p90"] == "2 s"
    assert values["TTFT at p99"] == "12 ± 15 s"


def test_every_class_has_its_line() -> None:
    asked = {
        "rate_per_s": 30,
        "requests": 150,
        "parallelism": "tp1",
        "quantile": 0.9,
        "classes": "chat:0.7:ttft=0.2;agents:0.3:prompt=6000,ttft=5",
    }
    told = answer(read_choices(asked))
    lines, record = {x.what: x.value for x in answer_lines(told)}, answer_record(told)
    worst = told.plan.best.nearest
    assert f"TTFT at p90 of {worst.name}, promised" in lines
    for one in told.plan.best.classes:
        assert f"{one.goodput_per_s:.3g} a second" in lines[f"of {one.name}"]
        assert record[f"{one.name}_goodput_per_s"] == one.goodput_per_s
        assert f" for {one.name}" in answer_summary(told)
    assert record["goodput_per_s"] == sum(one.goodput_per_s for one in told.plan.best.classes)
    if told.plan.deciding:
        assert lines["class that decides"] == " or ".join(told.plan.deciding)
    else:
        nearest = told.plan.best.nearest
        assert lines["class that decides"].startswith(f"none alone; {nearest.name} comes nearest")
    sure = with_plan(told, deciding=("chat",))
    assert " What decides is chat." in answer_summary(sure)
    assert "class that decides" not in {line.what for line in answer_lines(TOLD)}
    worse = changed(told.plan.best.classes[0], ttft=Quantile(0.1, 0.2))
    best = replace(told.plan.best, classes=(worse, *told.plan.best.classes[1:]))
    doubt = answer_record(with_plan(told, best=best))["decided"]
    assert "the interval of TTFT of chat reaches beyond" in str(doubt)


def test_what_binds_is_said_with_what_more_of_it_would_bring() -> None:
    one = Loosened("TTFT objective", with_class(SURE, ttft=Quantile(2.345, 0.1)))
    roomy = Loosened("KV memory", SURE, PLAN.engine.kv_blocks + 2**30 // (16 * 131_072))
    both = with_plan(
        PLAIN,
        loosened=(
            one,
            roomy,
            Loosened("batch limit", replace(SURE, places=1024)),
            Loosened("token budget", replace(SURE, budget=8192)),
        ),
        token_bytes=131_072,
    )
    lines = {line.what: line.value for line in answer_lines(both)}
    assert lines["what would save one"] == (
        "one replica fewer needs a TTFT of 2.35 s or at most 1.0 GiB more of KV memory or a batch "
        "limit of 1,024 or a token budget of 8,192"
    )
    assert lines["binding constraint"] == (
        "TTFT objective or KV memory or batch limit or token budget"
    )
    none = with_plan(PLAIN, loosened=(Loosened("one replica is the least"),))
    assert "what would save one" not in {line.what for line in answer_lines(none)}
    full = with_plan(PLAIN, loosened=(Loosened("memory bandwidth", most_per_s=58.87),))
    lines = {line.what: line.value for line in answer_lines(full)}
    assert lines["what would save one"] == (
        "no limit: one replica fewer is overloaded, at 102% of the 58.9 requests/s that it could "
        "serve"
    )
    joint = answer(
        read_choices(
            {"rate_per_s": 40, "requests": 100, "parallelism": "tp1", "goodput": 0.99}
            | {"ttft_s": 0.4, "tpot_s": 0.02, "precision": "bf16"}
        )
    )
    run = joint.plan.best
    told = with_plan(joint, loosened=(Loosened("goodput objective", run),))
    said = {line.what: line.value for line in answer_lines(told)}["what would save one"]
    assert said == f"one replica fewer needs a goodput of {100 * run.both.value:.3g}%"
