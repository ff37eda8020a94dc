"""A fleet behind routers: what is taken, by how much, and what must hold whatever is asked."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
import shlex
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from serving_mathematics.core.fleet.traces import read_trace
from serving_mathematics.core.hardware.guessed_steps import guessed_prompt_s
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answers import answer_record, answer_summary, summary_text
from serving_mathematics.planner.answers.routing_lines import routed_main, routed_record
from serving_mathematics.planner.capacity_planner import routing
from serving_mathematics.planner.capacity_planner.fleet_search import STEADY
from serving_mathematics.planner.capacity_planner.judged_requests import Quantile, reaches
from serving_mathematics.planner.capacity_planner.model_errors import UNKNOWN, ModelError
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.capacity_planner.routed_runs import (
    Way,
    _limits,
    _of_parts,
    _sample,
    _serve,
)
from serving_mathematics.planner.capacity_planner.routing import (
    Routed,
    TierWorth,
    _settled_behind,
    _taken,
    routed_answer,
    simulations,
)
from serving_mathematics.planner.configurations import whole_answer
from serving_mathematics.planner.planner_command import command_parser, main
from serving_mathematics.planner.planner_form import form_answer
from serving_mathematics.planner.questions.fields import FIELDS
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.planner.questions.routed_requests import Router
from serving_mathematics.planner.sweeps import read_questions, sweep

from builder import ROOT

SMALL: dict[str, object] = {
    "rate_per_s": 16,
    "replicas": 2,
    "requests": 100,
    "parallelism": "tp1",
    "precision": "fp8",
    "token_budget": 2048,
    "quantile": 0.9,
}


@functools.cache
def told(**more: object) -> Routed:
    """The answer to a small question, not served again with faster and with slower steps."""
    return routed_answer(read_choices(SMALL | more), lambda _: UNKNOWN)


@functools.cache
def recipe() -> Routed:
    """The answer to the recipe of the planner's page, of half the fleet, of which none is lost, and
    the routers that are compared below."""
    page = (ROOT / "docs" / "planner-command.md").read_text(encoding="utf-8").replace("\\\n", " ")
    (line,) = [
        one for one in page.splitlines() if one.startswith("serving") and "--replicas 8" in one
    ]
    options = vars(command_parser().parse_args(shlex.split(line)[2:]))
    values = {name: options[name] for name in FIELDS if options[name] is not None}
    del values["lost_for_s"]
    asked = values | {"replicas": 4, "rate_per_s": 4, "requests": 500, "token_budget": 2048}
    asked |= {"routers": "random, least-requests, session, cache-aware"}
    return routed_answer(read_choices(asked), lambda _: UNKNOWN)


def test_the_recipe_ranks_routers_beyond_noise() -> None:
    """Who looks for prefixes and at loads keeps most, then who keeps sessions together; loads alone
    and chance forget."""
    found = recipe()
    assert found.best.router.name == "cache-aware"
    ways = {(way.router.name, way.host_gib): way for way in found.ways}
    for worse, least in (("session", 0.02), ("random", 0.3), ("least-requests", 0.3)):
        margin = found.behind(ways[worse, 1000.0])
        assert margin.value - margin.half_width > 0, worse
        assert margin.value > least, worse
    assert ways["cache-aware", 0.0].found.value > 2 * ways["random", 0.0].found.value


def test_more_host_memory_never_finds_less_beyond_noise() -> None:
    found = recipe()
    by_name: dict[str, list[tuple[float, float, float]]] = {}
    for way in found.ways:
        row = (way.host_gib, way.found.value, way.found.half_width)
        by_name.setdefault(way.router.name, []).append(row)
    for rows in by_name.values():
        rows.sort()
        for (_, less, half), (_, more, other) in itertools.pairwise(rows):
            assert more >= less - min(0.02, half + other)
    assert all(way.loaded == 0 for way in found.ways if not way.host_gib)
    assert any(way.loaded > 0 for way in found.ways)


def test_the_same_question_has_the_same_answer_on_any_executor() -> None:
    asked = SMALL | {"like": "customers", "routers": "random, cache-aware"}
    choices = read_choices(asked)
    alone = whole_answer(choices, asked)
    with ThreadPoolExecutor(2) as pool:
        other = whole_answer(choices, asked, executor=pool)
    assert answer_record(alone) == answer_record(other)
    again = whole_answer(read_choices(asked | {"seed": 1}), asked)
    assert answer_record(alone) != answer_record(again)


def test_weights_keep_a_flood_of_one_kind_from_another() -> None:
    """Where documents flood a fleet, fair shares keep the chat's promise, and the order in which
    they came does not."""
    classes = "chat:0.7:like=chat,ttft=0.5; documents:0.3:prompt=9000,answer=40,ttft=100"
    more = {"classes": classes, "rate_per_s": 22, "routers": "least-requests", "requests": 400}
    alike, fair = told(**more), told(**more, weights="4,1")
    chat = [found.best.classes[0].both.value for found in (alike, fair)]
    assert chat[1] > chat[0] + 0.05
    assert read_choices(SMALL | more | {"weights": "4,1"})[0].routing.weights == (4.0, 1.0)  # type: ignore[union-attr]


def test_a_lost_replica_costs_and_comes_back() -> None:
    found = told(rate_per_s=70, requests=2000, lost_for_s=8, routers="least-requests")
    assert found.lost is not None
    without, with_it = found.lost
    assert without < with_it
    assert with_it > 0.9
    lines = {line.what: line.value for line in answer_lines(found)}
    assert "in 8 s after it" in lines["while a replica is lost"]
    with pytest.raises(ValueError, match=r"lost_for_s must be at most .* ask for more requests"):
        told(lost_for_s=1000)


def test_a_fleet_that_is_full_may_keep_what_its_run_kept() -> None:
    found = told(rate_per_s=8)
    assert found.sure
    assert "overloaded" not in answer_summary(found)
    loaded = replace(found, load=0.99)
    assert not loaded.sure
    assert " may keep a TTFT" in answer_summary(loaded)
    assert " The fleet is full, at 99% of the 8.08 requests/s" in answer_summary(loaded)
    near = replace(found, load=0.95)
    assert not near.sure
    assert " At 95% of what the fleet could serve, intervals are" in answer_summary(near)


@pytest.mark.parametrize("like", ["chat", "customers"])
def test_the_fewest_replicas_are_not_those_that_a_short_run_does_not_fill(like: str) -> None:
    """A hundred requests in half a second keep every promise in a fleet at twice its load: a
    thousand a second were said to need 16 replicas, which serve half of them."""
    asked = {"rate_per_s": 200, "like": like, "ttft_s": 2}
    found = told(**asked, replicas="auto")
    assert found.load < STEADY
    assert found.keeps
    full = math.ceil(found.load * found.replicas) - 1
    short = told(**asked, replicas=full)
    assert short.load > 1
    assert reaches(short.best.classes, short.question.goals)
    assert not short.keeps
    assert re.search(
        "replicas? .* do(es)? not keep .*% of the first requests", answer_summary(short)
    )


def test_a_replica_is_lost_of_a_fleet_that_is_rarely_asked() -> None:
    """Nothing is done between requests that are hours apart: a second of it a step was minutes."""
    found = told(rate_per_s=1e-4, replicas=2, requests=200, lost_for_s=60, ttft_s=10)
    assert found.lost == (1.0, 1.0)


def test_what_is_said_is_what_was_found() -> None:
    found = told(like="customers", host_memory_gib="0, 20", routers="random, cache-aware")
    record, summary = answer_record(found), answer_summary(found)
    assert record["router"] == found.best.router.name
    assert f" Behind {record['router']} 2 replicas of Llama-3.1-8B in FP8" in summary
    assert f"${record['usd_per_hour']:.2f} an hour, $2.00 a GPU (you gave no price)." in summary
    assert f"Caches find {100 * float(record['found_share']):.3g}% of the prompt tokens" in summary
    assert max(map(len, summary_text(found).splitlines())) <= 100
    for way in found.ways:
        assert record[f"{way.router.name}_{way.host_gib:g}_both_kept"] == way.kept.value
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_who_keeps_as_many_with_less_memory_is_taken() -> None:
    def way(name: str, host: float, *parts: float) -> Way:
        best = told(like="customers", routers="random, cache-aware").best
        router = Router(name, best.router.route)
        return replace(best, router=router, host_gib=host, kept=_of_parts(parts), parts=parts)

    less, more = way("a", 0.0, 0.952, 0.95), way("a", 9.0, 0.953, 0.955)
    assert _taken([less, more, way("b", 0.0, 0.9, 0.91)]) is less
    kept = way("b", 0.0, 0.953, 0.954)
    assert _taken([less, more, kept]) is kept
    much = way("a", 9.0, 0.99, 0.985)
    assert _taken([less, much]) is much


def test_steps_that_err_and_the_deployment_are_those_of_the_planner() -> None:
    asked = SMALL | {"like": "customers", "routers": "cache-aware"}
    error = ModelError(0.5, 3.0, 10, 1)
    found = routed_answer(read_choices(asked), lambda _: error)
    assert found.if_slower < found.best.kept.value <= found.if_faster
    untold = routed_answer(read_choices(asked), lambda _: UNKNOWN)
    assert (untold.if_slower, untold.if_faster) == (0.0, 0.0)
    assert "not known" in {line.what: line.value for line in routed_main(untold)}["if steps err"]
    assert answer_summary(untold).startswith("No run on this device was measured")
    assert "steps err" not in answer_summary(untold)
    assert routed_record(untold)["both_kept_if_slower"] == ""
    wide = {
        name: value for name, value in asked.items() if name not in ("precision", "parallelism")
    }
    many = whole_answer(read_choices(wide), wide)
    assert isinstance(many, Routed)
    assert (many.tried, many.question.deployment.devices) == (8, 1)


def mooncake(tmp_path: Path, hashes: bool = True) -> str:
    """A trace of ten conversations that take turns."""
    rows = []
    for place in range(900):
        who, turn = place % 10, place // 10
        row = {"timestamp": 200 * place, "input_length": 512 * (1 + turn % 8), "output_length": 20}
        first = 1000 * who + 10 * (turn // 8)
        ids = {"hash_ids": [first + block for block in range(1 + turn % 8)]} if hashes else {}
        rows.append(json.dumps(row | ids))
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(rows), encoding="utf-8")
    return str(path)


def test_a_trace_says_what_its_prompts_share(tmp_path: Path) -> None:
    asked = {name: value for name, value in SMALL.items() if name != "rate_per_s"}
    asked |= {"trace": mooncake(tmp_path), "routers": "random, cache-aware"}
    found = whole_answer(read_choices(asked), asked)
    assert isinstance(found, Routed)
    assert {len(way.parts) for way in found.ways} == {10}
    ways = {way.router.name: way.found.value for way in found.ways}
    assert ways["cache-aware"] > ways["random"] > 0.3
    lines = {line.what: line.value for line in answer_lines(found)}
    assert lines["what was read"].startswith("900 requests; the command takes another rate")
    faster = read_choices(asked | {"rate_per_s": 50})[0]
    assert faster.routing is not None
    assert faster.routing.rate_per_s == 50
    assert simulations([faster]) == 2


def test_a_trace_in_the_form_is_the_same_trace(tmp_path: Path) -> None:
    text = Path(mooncake(tmp_path)).read_text(encoding="utf-8")
    asked = {name: value for name, value in SMALL.items() if name != "rate_per_s"}
    asked |= {"trace": "my.jsonl", "routers": "cache-aware", "host_memory_gib": "0"}
    piece = json.loads(form_answer(json.dumps(asked | {"trace_text": text})))["html"]
    assert "900 requests; the command takes another rate beside the trace, rate_per_s" in piece
    broken = text.replace('"hash_ids": [0]', '"hash_ids": [0, 1, 2]', 1)
    told = json.loads(form_answer(json.dumps(asked | {"trace_text": broken})))
    assert told["field"] == "trace"
    assert told["problem"].startswith("my.jsonl: line 1: hash_ids must be 1 or 1 blocks of 512")


def test_a_trace_that_shares_nothing_is_refused_where_that_is_asked(tmp_path: Path) -> None:
    asked = {"trace": mooncake(tmp_path, hashes=False), "replicas": 2, "parallelism": "tp1"}
    rule = "the trace must be one with hash_ids or sessions where"
    for more in ({"routers": "random, session"}, {"host_memory_gib": "0, 64"}):
        with pytest.raises(ValueError, match=rule) as refused:
            read_choices(asked | more)
        head = str(refused.value).partition("columns ")[2].replace(" ", "")
        sessions = read_trace(f"{head}\na,0,9,3,0,0\na,5,20,3,8,2\n")
        assert sessions.after.tolist() == [-1, 0]
        assert sessions.prefixes is not None
    routing = read_choices(asked)[0].routing
    assert routing is not None
    assert [one.name for one in routing.routers] == ["random", "two-choices", "least-requests"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"replicas": 0}, "replicas must be a whole number from 1 to 256, or auto, got 0"),
        ({"routers": "cash-aware"}, "routers: 'cash-aware' is not known; nearest: cache-aware"),
        ({"routers": "cache-aware"}, "like must be agents or customers where cache-aware looks"),
        ({"host_memory_gib": "64"}, "like must be agents or customers where host memory looks"),
        ({"host_memory_gib": "1 TiB"}, r"host_memory_gib must be .* \(did you mean 1024\?\)"),
        ({"host_memory_gib": "64 GB"}, "host_memory_gib must be a number from 0 to 100000, got"),
        ({"host_memory_gib": "1, 1"}, "host_memory_gib must be of different names, got '1.0'"),
        ({"disk_gib": 64}, "like must be agents or customers where disk looks"),
        ({"store_gib": 64}, "like must be agents or customers where store looks"),
        ({"disk_gb_per_s": 0}, "disk_gb_per_s must be a number from 0.01 to 10000, got 0"),
        ({"like": "mail"}, "like must be one of means, agents, chat, customers, got 'mail'"),
        ({"cached_share": 0.5}, "cached_share must be left out behind routers: caches say"),
        ({"fleets": "two"}, "fleets must be left out behind routers: one fleet is"),
        ({"weights": "2,1"}, "weights must be left out where all requests are of one kind"),
        (
            {"like": "chat", "mean_prompt_tokens": 5},
            "mean_prompt_tokens must be left out where like is chat: its requests are as long as",
        ),
        (
            {"classes": "a:0.5:like=chat,answer=9; b:0.5"},
            "classes: a: mean_output_tokens must be left out where like is chat",
        ),
        ({"like": "agents", "arrival_scv": 4}, "arrival_scv must be left out where sessions come"),
        ({"classes": "a:1:cached=0.5"}, "classes: a: cached must be left out behind routers"),
        ({"classes": "a:1:like=mail"}, "classes: a: like must be one of means, agents, chat"),
    ],
)
def test_what_cannot_be_is_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_choices(SMALL | more)


@pytest.mark.parametrize(
    "more",
    [
        {"replicas": " Auto "},
        {"routers": "random"},
        {"like": "agents"},
        {"host_memory_gib": 64, "like": "agents"},
        {"host_link_gb_per_s": 25},
        {"weights": "1,2", "classes": "a:0.5;b:0.5"},
        {"lost_for_s": 60},
        {"like": "agents", "disk_gib": 100},
    ],
)
def test_who_asks_for_routers_without_replicas_gets_the_fewest(more: dict[str, object]) -> None:
    routing = read_choices({"rate_per_s": 5} | more)[0].routing
    assert routing is not None
    assert routing.replicas == 0
    with pytest.raises(ValueError, match=r"like must be left out unless replicas is given \(auto"):
        read_choices({"rate_per_s": 5, "classes": "a:1:like=chat"})


@pytest.mark.parametrize(
    "more",
    [
        {"rate_per_s": 140, "routers": "random, least-requests", "ttft_s": 0.2},
        {"rate_per_s": 16, "like": "customers", "routers": "cache-aware", "ttft_s": 0.2},
    ],
)
def test_the_fewest_replicas_behind_a_router_by_brute_force(more: dict[str, object]) -> None:
    """One after the other, each number is asked as a fleet that is given."""
    found = told(**more | {"replicas": "auto"})
    alone = [told(**more | {"replicas": count}) for count in range(1, found.replicas + 1)]
    assert [one.keeps for one in alone] == [False] * (found.replicas - 1) + [True]
    same = answer_record(alone[-1])
    record = answer_record(found)
    assert {name: record[name] for name in same} == same
    assert found.replicas > 1
    assert found.fewer is not None
    ways = {way.router.name: way.kept for way in alone[-2].ways}
    assert record["both_kept_by_one_fewer"] == found.fewer.kept.value
    assert found.fewer.kept == ways[found.best.router.name]
    assert f"With {found.replicas - 1}, " in answer_summary(found)
    assert ("may keep" in answer_summary(found)) == (not found.sure)


@pytest.mark.parametrize(
    ("model", "device", "seed", "more"),
    [
        ("gpt-oss-120b", "H200", 8, {"rate_per_s": 30, "tpot_s": 0.02757, "requests": 1000}),
        ("Llama-3.1-8B", "H200", 1, {"rate_per_s": 30, "tpot_s": 0.008601, "quantile": 0.95}),
        (
            "Qwen3-30B-A3B",
            "H100",
            38,
            {"tpot_s": 0.03565, "mean_output_tokens": 500, "routers": "random"},
        ),
    ],
)
def test_one_draw_does_not_choose_the_limits(
    model: str, device: str, seed: int, more: dict[str, object]
) -> None:
    """Limits that keep the promise in one draw, and not in all, ended the search: a fleet that was
    given did not keep it, where one that was sought did with others; or one that was sought took a
    replica more, because its first draw missed by less than its interval."""
    asked = {"model": model, "device": device, "seed": seed, "rate_per_s": 10, "requests": 400}
    asked |= {"parallelism": "tp1", "mean_prompt_tokens": 500} | more
    found, *given = (
        routed_answer(read_choices(asked | {"replicas": count}), lambda _: UNKNOWN)
        for count in ("auto", 1, 2)
    )
    keeping = [one.replicas for one in given if one.keeps]
    assert found.replicas == keeping[0]
    assert found.usd_per_hour == given[found.replicas - 1].usd_per_hour


def test_the_fewest_behind_a_router_are_of_the_cheapest_deployment() -> None:
    asked = SMALL | {"replicas": "auto", "rate_per_s": 140, "ttft_s": 0.2, "parallelism": "tp1,tp2"}
    found = whole_answer(read_choices(asked), asked)
    assert isinstance(found, Routed)
    alone = [told(**asked | {"parallelism": split}) for split in ("tp1", "tp2")]
    assert found.usd_per_hour == min(one.usd_per_hour for one in alone)
    assert alone[0].usd_per_hour != alone[1].usd_per_hour
    piece = json.loads(form_answer(json.dumps(asked)))["html"]
    assert f"--max-num-seqs {found.places}" in piece
    assert f"  replicas: {found.replicas}" in piece


def test_what_no_number_of_replicas_keeps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Infeasible, match=r"no fleet keeps a TPOT of 0\.001 s at p90: a replica w"):
        told(replicas="auto", tpot_s=0.001)
    monkeypatch.setattr(routing, "MOST_BEHIND", 1)
    with pytest.raises(Infeasible, match="no fleet of up to 1 replicas keeps the objective behind"):
        told(replicas="auto", rate_per_s=150, ttft_s=0.2)


def test_the_nearest_refusal_is_told_whatever_comes_first() -> None:
    """Agents were told of 9 s on one device in 16 bits, where eight in 8 bits take 1.6."""
    said = []
    for splits in ("tp1,tp8", "tp8,tp1"):
        with pytest.raises(Infeasible) as refused:
            told(replicas="auto", tpot_s=0.001, ttft_s=0.01, parallelism=splits)
        said.append(str(refused.value))
    assert said[0] == said[1]
    assert said[0].startswith("no fleet keeps a TTFT of 0.01 s at p90: a replica without other")
    assert said[0].endswith(" s, on 8 × H100 SXM (tp8) in FP8, the nearest")


def test_too_few_requests_and_too_long_ones_are_refused(tmp_path: Path) -> None:
    classes = {"classes": "a:0.9;b:0.1", "requests": 400}
    with pytest.raises(ValueError, match="requests must be at least 1,000, so that 100 of each"):
        told(**classes)
    row = {"timestamp": 0, "input_length": 120_000, "output_length": 20}
    path = tmp_path / "long.jsonl"
    rows = (json.dumps(row | {"timestamp": 1000 * place}) for place in range(200))
    path.write_text("\n".join(rows), encoding="utf-8")
    asked = {name: value for name, value in SMALL.items() if name != "rate_per_s"}
    tight = asked | {"trace": str(path), "memory_share": 0.3}
    with pytest.raises(Infeasible, match="no fleet holds the longest request: 120,020 tokens"):
        whole_answer(read_choices(tight), tight)


def test_agents_are_answered_at_any_rate_that_a_run_can_show() -> None:
    """The sessions that are under way at 16 requests/s were too many to draw, and said so of
    "sessions", which nobody had given."""
    agents = {"like": "agents", "replicas": 16, "parallelism": "tp8", "requests": 1600}
    (question,) = read_choices(SMALL | agents | {"routers": "session"})
    assert question.routing
    routers = tuple((one, 0.0) for one in question.routing.routers)
    (seen,) = _serve(_limits(question, 2048), 0, routers)
    assert seen.found.sum() > 0.4 * seen.prompts.sum()
    with pytest.raises(ValueError, match="requests must be at least 1,600, a run of 100 s of"):
        told(**agents | {"requests": 1599})
    with pytest.raises(ValueError, match="rate_per_s must be at most 2,000, a run of 100 s of"):
        told(**agents | {"rate_per_s": 2001, "requests": 200_000})


@pytest.mark.parametrize("like", ["agents", "customers"])
def test_a_split_whose_cache_is_too_small_is_passed_over(like: str) -> None:
    """One H100 holds the weights of 70B parameters and 1,088 tokens beside them: two hold more."""
    asked = {"model": "Llama-3.1-70B", "rate_per_s": 1, "parallelism": "tp1, tp2", "like": like}
    asked["requests"] = 200
    found = told(**asked, routers="random")
    assert found.question.deployment.devices == 2
    with pytest.raises(ValueError, match=f"^like must be other than {like} where context and cac"):
        told(**asked | {"parallelism": "tp1"}, routers="random")
    small = {"model": "Falcon-7B", "like": "agents", "rate_per_s": 1}
    with pytest.raises(ValueError, match="like must be other than agents where context and cache"):
        told(**small)


def test_a_run_that_is_too_short_for_its_sessions_says_so() -> None:
    """Of sessions that were under way, the first request in the run finds nothing: what was found
    and these add up to what a long run finds."""
    agents = {"like": "agents", "routers": "session", "replicas": 8, "parallelism": "tp4"}
    short = told(**agents | {"rate_per_s": 4, "requests": 400, "replicas": 4})
    whole = told(**agents | {"rate_per_s": 0.5, "requests": 400, "replicas": 2})
    assert short.unseen > 0.05
    assert whole.unseen < 0.02
    sure = short.best.found.half_width + whole.best.found.half_width
    assert short.best.found.value + short.unseen == pytest.approx(
        whole.best.found.value, abs=sure + 0.02
    )
    assert "from before the run" in str(answer_lines(short))
    assert "ask for more requests" not in str(answer_lines(whole))
    assert told(like="customers", requests=200).unseen == 0


class Stub:
    """A fleet whose own way keeps a promise from so many replicas on, and another's from others."""

    def __init__(self, replicas: int, own: int, others: int) -> None:
        self.limits, self.question = SimpleNamespace(replicas=replicas), SimpleNamespace(goals=())
        self.own, self.others = own, others
        self.best = SimpleNamespace(classes=replicas >= own, router=None, host_gib=0.0)
        self.keeps = replicas >= own

    def of(self, replicas: int) -> Stub:
        return Stub(replicas, self.own, self.others)

    def alone(self, *_: object) -> Any:
        return SimpleNamespace(classes=self.limits.replicas >= self.others)


@pytest.mark.parametrize(
    ("begin", "own", "others", "found"),
    [(1, 4, 4, 4), (4, 4, 4, 4), (7, 4, 4, 4), (7, 4, 6, 6), (7, 6, 4, 6), (3, 1, 1, 1)],
)
def test_the_fewest_replicas_are_found_from_above_and_below(
    begin: int, own: int, others: int, found: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None fewer keep the promise, behind the router that is taken or that it would be."""
    monkeypatch.setattr(routing, "reaches", lambda classes, _: classes)
    monkeypatch.setattr(routing, "_sought_by", lambda _: (None, 0.0))
    monkeypatch.setattr(routing, "_may_keep", lambda _: True)
    monkeypatch.setattr(routing, "_of_interest", lambda _, cheaper: 256 if cheaper is None else 5)
    stub: Any = Stub(begin, own, others)
    settled = _settled_behind(stub, None)
    assert settled
    fleet, fewer = settled
    assert fleet.limits.replicas == found
    assert (fewer is None) is (found == 1)
    with pytest.raises(Infeasible, match="no fleet of up to 256 replicas"):
        _settled_behind(Stub(begin, 257, 257), None)  # type: ignore[arg-type]
    assert _settled_behind(Stub(1, 6, 6), 9.0) is None  # type: ignore[arg-type]


def test_replicas_that_are_cheaper_leave_room_for_the_spare_ones() -> None:
    """Four devices of $2 a replica, two replicas spare: $32 are four, of which two serve."""
    asked = {"rate_per_s": 1, "parallelism": "tp4", "price_per_hour": 2, "spare_replicas": 2}
    question = read_choices(asked)[0]
    for usd, most in ((33, 2), (32, 1), (32.1, 2), (24, 0), (9, -1)):
        assert question.replicas_below(usd) == most
        assert question.usd_per_hour(max(0, most)) < usd or most < 0
        assert question.usd_per_hour(max(0, most + 1)) >= usd


def test_form_and_sweep_answer_alike(tmp_path: Path) -> None:
    asked = SMALL | {"like": "customers", "routers": "random, cache-aware", "requests": 200}
    piece = json.loads(form_answer(json.dumps(asked)))["html"]
    assert "The routers that were compared" in piece
    assert "--replicas 2 " in piece
    (record,) = sweep(read_questions([asked]))
    assert record["problem"] == ""
    name = str(record["router"])
    assert re.search(rf"<strong>Answer|Behind {name} 2 replicas", piece)
    problem = json.loads(form_answer(json.dumps(asked | {"routers": "x"})))
    assert problem["field"] == "routers"
    out = tmp_path / "fleet.json"
    words = [f"{FIELDS[name].option}={value}" for name, value in asked.items()]
    assert main([*words, "--out", str(out), "--figure", str(tmp_path / "fleet.svg")]) == 0
    assert json.loads(out.read_text(encoding="utf-8"))[0]["router"] == name
    assert "<svg" in (tmp_path / "fleet.svg").read_text(encoding="utf-8")


def test_a_tier_pays_where_loading_is_faster_than_computing() -> None:
    for load_s, pays in ((0.02, True), (0.03, False), (0.04, False)):
        assert TierWorth("disk", 9.0, 0.1, load_s, 0.03, Quantile(0.0, 0.0)).pays is pays


def test_tiers_say_what_they_find_and_whether_they_pay() -> None:
    """128 KiB a token, by hand; what is computed is the planned engine's prompt. Sessions outgrow
    the device and its host memory: more is found below, and a store that is slower than the
    arithmetic does harm."""
    asked = {"rate_per_s": 1, "like": "agents", "routers": "session", "ttft_s": 5, "requests": 150}
    asked |= {"precision": "bf16", "replicas": 1, "disk_gb_per_s": 10, "store_gb_per_s": 0.5}
    both = told(**asked | {"host_memory_gib": 20, "disk_gib": 400})
    assert [one.name for one in both.tiers] == ["host memory", "disk"]
    host, disk = both.tiers
    assert host.load_s == pytest.approx(1000 * 131_072 / 50e9)
    assert disk.load_s == pytest.approx(1000 * 131_072 / 10e9)
    assert disk.compute_s == host.compute_s > disk.load_s
    asking = both.question
    longest = _limits(asking, 2048).longest
    mean = float(_sample(asking, 0, longest).asked.prompt_tokens.mean())
    ends = guessed_prompt_s(asking.deployment, asking.constants, np.array([mean - 1000, mean]))
    assert disk.compute_s == pytest.approx(float(ends[1] - ends[0]), rel=0.02)
    assert disk.found > 0.01
    assert (both.best.loaded, both.best.below) == (host.found, (disk.found,))
    only = told(**asked | {"host_memory_gib": 20})
    assert both.best.found.value > only.best.found.value + 0.01
    assert both.best.kept.value - only.best.kept.value == pytest.approx(disk.gain.value)
    slow = told(**asked | {"store_gib": 400})
    (store,) = slow.tiers
    assert not store.pays
    assert store.load_s == pytest.approx(1000 * 131_072 / 0.5e9)
    assert "Computing is faster than loading from store." in answer_summary(slow)
    lines = {line.what: line.value for line in answer_lines(slow)}
    assert "it does not pay" in lines["from store"]
    record = answer_record(both)
    assert (record["host_share"], record["disk_share"]) == (host.found, disk.found)
    assert record["disk_load_s"] == disk.load_s
