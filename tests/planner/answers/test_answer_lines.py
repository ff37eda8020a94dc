"""Lines of an answer: every one has a chapter, and says what was found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from serving_mathematics.core.hardware.benchmark_loops import Latencies
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.step_time import FITTED
from serving_mathematics.machine.predictions.own_runs import Calibration, OwnRun
from serving_mathematics.machine.step_time.speculative_decoding import break_even_tokens
from serving_mathematics.planner.answers.answer_lines import _read_lines, answer_lines, main_lines
from serving_mathematics.planner.answers.answer_plots import latency_plot
from serving_mathematics.planner.answers.answers import answer_record, answer_summary
from serving_mathematics.planner.answers.lines import Line
from serving_mathematics.planner.capacity_planner.capacity_planner import Loosened
from serving_mathematics.planner.capacity_planner.fleet_search import STEADY
from serving_mathematics.planner.capacity_planner.judged_requests import Quantile
from serving_mathematics.planner.capacity_planner.model_errors import RUN_COLUMNS
from serving_mathematics.planner.configurations import answer
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.support import measuring

from builder import ROOT

from ..told import PLAIN, PLAN, QUESTION, SURE, TOLD, changed, with_class, with_plan

NONE = Latencies(np.ones(1), np.ones(1), np.ones(1))


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
    names = {line.what for line in lines}
    assert {line.what for line in main_lines(TOLD)} <= names
    assert len(names) == len(lines)
    whole = {"one replica more", "binding constraint", "if steps err", "nearest measured run"}
    assert whole <= names


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
    wordy = replace(one, output_tokens=20_000)  # whose answers are half written, on average
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
