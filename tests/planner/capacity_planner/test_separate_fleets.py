"""Two fleets: the step simulator as oracle, every request once, bounds, links, and refusals."""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from serving_mathematics.core.batching.continuous_batching import Workload, simulate_steps
from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.core.hardware.deployments import WORKED as LLAMA
from serving_mathematics.core.hardware.deployments import sequence_bytes
from serving_mathematics.planner.answers.answer_lines import answer_lines
from serving_mathematics.planner.answers.answer_tables import comparison_rows
from serving_mathematics.planner.answers.answers import answer_record, answer_summary
from serving_mathematics.planner.answers.launch import kubernetes_separate, starts
from serving_mathematics.planner.answers.launch_apart import role_words
from serving_mathematics.planner.capacity_planner import separate_fleets
from serving_mathematics.planner.capacity_planner.deployment_ranking import (
    least_cost,
    try_deployment,
)
from serving_mathematics.planner.capacity_planner.judged_requests import (
    Quantile,
    reaches,
    worst_shares,
)
from serving_mathematics.planner.capacity_planner.refusals import Infeasible
from serving_mathematics.planner.capacity_planner.separate_fleets import (
    Apart,
    SeparateFleets,
    cache_transfer_s,
    settled_apart,
)
from serving_mathematics.planner.configurations import Answer, answer
from serving_mathematics.planner.questions.objectives import promised
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_choices
from serving_mathematics.planner.questions.traffic import Traffic, TrafficClass, mixed_traffic

BASE = Question(LLAMA, Traffic(60.0), promised(1.0, 0.015, 0.9), requests=120)
ASKED = {"rate_per_s": 60, "tpot_s": 0.015, "requests": 120, "parallelism": "tp1", "fleets": "two"}
ASKED |= {"precision": "bf16", "quantile": 0.9}


@pytest.fixture(scope="module")
def told() -> Answer:
    return answer(read_choices(ASKED))


def trace(size: int = 200, rate: float = 15.0) -> Workload:
    rng = np.random.default_rng(7)
    times = np.cumsum(rng.exponential(1 / rate, size))
    return Workload(times, rng.geometric(1 / 800, size), rng.geometric(1 / 40, size))


def test_one_pair_is_two_engines_and_a_link() -> None:
    """Prompts step by step, then their caches one after the other, then answers step by step."""
    asked = trace()
    goal = promised(9.0, 1.0, 0.5)
    pair = SeparateFleets(Question(LLAMA, asked, goal, requests=200))
    run = pair.performance(1, 1, 2048)
    assert isinstance(run, Apart)
    ones = np.ones_like(asked.output_tokens)
    prefill = replace(pair.fleet.engine, token_budget=2048, max_sequences=1024)
    alone = Workload(asked.arrival_s, asked.prompt_tokens, ones)
    first = simulate_steps(alone, prefill).first_token_s
    free, there = 0.0, []
    for place in range(first.size):
        sent = sequence_bytes(LLAMA, float(asked.prompt_tokens[place])) / 4.5e11
        free = max(free, first[place]) + (sent if asked.output_tokens[place] > 1 else 0.0)
        there.append(free)
    later = asked.output_tokens > 1
    answers = Workload(
        np.array(there)[later],
        asked.prompt_tokens[later] + 1,
        asked.output_tokens[later] - 1,
        asked.prompt_tokens[later],
    )
    last = simulate_steps(answers, pair.answering).completion_s
    tpot = (last - first[later]) / (asked.output_tokens[later] - 1)
    ttft = first - asked.arrival_s + pair.fleet.beside(asked)
    for quantile, got, early in zip((0.5, 0.9, 0.99), run.tpot, run.ttft, strict=True):
        assert got.value == pytest.approx(float(np.quantile(tpot, quantile)), abs=1e-9)
        assert early.value == pytest.approx(float(np.quantile(ttft, quantile)), abs=1e-9)
    assert run.simulated == 200
    assert run.transfer_s == pytest.approx(float(np.mean((np.array(there) - first)[later])))


def test_every_request_of_a_trace_goes_through_both_fleets() -> None:
    pair = SeparateFleets(Question(LLAMA, trace(), promised(9.0, 1.0, 0.5), requests=200))
    run = pair.performance(3, 2, 2048)
    assert run is not None
    assert run.simulated == 200
    assert (run.replicas, run.prompts, run.answers) == (5, 3, 2)
    links = []
    for share, *_ in pair._shares(3, 2):
        first = pair._first_tokens(share, 2048)
        ((_, link),) = pair.links(2, 3)
        sent = cache_transfer_s(LLAMA, share.prompt_tokens, link)
        span_s = first[-1] - share.arrival_s[0]
        links.append(sent[share.output_tokens > 1].sum() / span_s)
    assert len(links) == 3
    assert run.link_busy == pytest.approx(np.mean(links))


@pytest.mark.parametrize(("prompts", "answers"), [(2, 6), (20, 3), (30, 30)])
def test_an_answer_replica_gets_its_share(prompts: int, answers: int) -> None:
    question = replace(BASE, requests=2000)
    shares = SeparateFleets(question)._shares(prompts, answers)
    chosen = sum(int((goes >= 0).sum()) for _, _, goes in shares)
    span = min(float(share.arrival_s[-1]) for share, *_ in shares)
    assert chosen / span == pytest.approx(60 / answers, rel=0.12)
    each = [share.arrival_s.size / share.arrival_s[-1] for share, *_ in shares]
    assert float(np.mean(each)) == pytest.approx(60 / prompts, rel=0.05)


def test_many_senders_leave_requests_for_every_interval() -> None:
    """Each had two, and nine that came before the first sender's end counted, of which no interval
    can be made."""
    asked = Traffic(60.0, mean_prompt_tokens=3000.0, mean_output_tokens=2.0)
    pair = SeparateFleets(replace(BASE, traffic=asked, requests=100))
    run = pair.performance(72, 1, 8192)
    assert run is not None
    assert run.simulated >= 20


def test_the_journey_of_a_cache() -> None:
    """Bytes by hand, also behind a window, and the link beyond the domain for many replicas."""
    assert cache_transfer_s(LLAMA, [1, 500], 131_072.0).tolist() == [1.0, 500.0]
    windowed = replace(LLAMA, architecture=find_model("gpt-oss-120b")[0])
    lengths = [1.0, 100.0, 128.0, 129.0, 5000.0]
    expected = [sequence_bytes(windowed, length) for length in lengths]
    assert cache_transfer_s(windowed, lengths, 1.0) == pytest.approx(expected)
    pair = SeparateFleets(BASE)
    system = LLAMA.system
    assert pair.links(5, 3) == ((pair.question.deployment, system.link_bytes_per_s),)
    assert pair.links(5, 4) == ((pair.question.deployment, system.outside_bytes_per_s),)


def test_one_fewer_in_either_fleet_misses() -> None:
    found = settled_apart(BASE)
    long = SeparateFleets(replace(BASE, requests=4 * BASE.requests))
    goals = long.fleet.goals
    assert reaches(found.classes, goals)
    assert max(worst_shares(found.classes, goals).values()) <= 1
    for prompts, answers in (
        (found.prompts, found.answers - 1),
        (found.prompts - 1, found.answers),
    ):
        run = long.performance(prompts, answers, found.budget) if min(prompts, answers) else None
        assert run is None or not reaches(run.classes, goals) or found.fewer_may_do
    assert long.performance(long.least[0] - 1, 50, 2048) is None


@pytest.mark.parametrize(
    ("first", "later", "expected"),
    [
        ((2, 1), (1, 1), (3, 1)),  # less than the least: a replica for prompts
        ((3, 1), (5, 1), (5, 1)),  # the longer run misses TTFT: more of them
        ((3, 1), (3, 4), (3, 4)),  # it misses TPOT: more for answers
        ((3, 6), (3, 4), (3, 4)),  # it keeps TPOT with fewer
        ((6, 1), (3, 1), (4, 1)),  # TTFT kept by fewer, as far as prompts alone say so
        ((3, 1), (3, 1), (6, 1)),  # prompts alone want more
    ],
)
def test_a_longer_run_corrects_the_search(
    first: tuple[int, int],
    later: tuple[int, int],
    expected: tuple[int, int],
    told: Answer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Made-up fleets: the search finds `first`, and the longer run needs `later`, and never fewer
    than three for prompts."""
    run = told.apart.run if told.apart else None
    assert run is not None

    tried: list[int] = []
    alone = 6 if expected == (6, 1) else first[0]

    class Made:
        fleet, least = SeparateFleets(BASE).fleet, (3, 1)

        def __init__(self, question: Question, _told: object = None) -> None:
            self.long = question.requests > BASE.requests

        def fewest(self) -> Apart:
            assert not self.long
            assert run is not None
            return replace(run, prompts=first[0], answers=first[1])

        def first_in_time(self, prompts: int, _budget: int) -> bool:
            assert self.long
            tried.append(prompts)
            return prompts != 3 if expected == (4, 1) else prompts >= alone

        def performance(self, prompts: int, answers: int, _budget: int) -> Apart | None:
            assert self.long
            assert run is not None
            if prompts < 3:
                return None
            (one,), (early, each) = run.classes, BASE.promise
            ttft = Quantile(early.limit * (1.0 if prompts >= later[0] else 1.1), 0.0)
            tpot = Quantile(each.limit * (1.0 if answers >= later[1] else 1.1), 0.0)
            classes = (replace(one, got=(ttft, tpot)),)
            return replace(run, prompts=prompts, answers=answers, classes=classes)

    monkeypatch.setattr(separate_fleets, "SeparateFleets", Made)
    found = settled_apart(BASE)
    assert (found.prompts, found.answers) == expected
    assert all(abs(one - other) == 1 for one, other in itertools.pairwise(tried))


def test_both_kinds_are_ranked_and_told(told: Answer) -> None:
    assert told.apart is not None
    run = told.apart.run
    assert run is not None
    record = answer_record(told)
    assert record["apart_prompt_replicas"] == run.prompts
    assert record["apart_usd_per_hour"] == 2.0 * run.replicas
    cells = [row[:2] for row in comparison_rows(told)]
    one = told.apart.question.deployment
    fleet = f"{run.prompts} + {run.answers} of 1 × H100 SXM"
    assert [fleet, f"{one.precision}, tp1 apart"] in cells
    assert f"{run.prompts} for prompts and {run.answers} for answers" in answer_summary(told)
    cheaper = 100 * (1 - run.usd_per_hour / told.plan.best.usd_per_hour)
    assert f"{cheaper:.0f}% less" in answer_summary(told)
    plain = answer_record(answer(read_choices(ASKED | {"fleets": "one"})))
    assert not [name for name in plain if name.startswith("apart")]
    assert {name: record[name] for name in plain if name != "compared"} == {
        name: plain[name] for name in plain if name != "compared"
    }


def test_the_bound_holds() -> None:
    choices = read_choices(ASKED | {"parallelism": "tp1,tp2"})
    for question in choices:
        run, why = try_deployment(question)
        assert not why
        assert run is not None
        assert run.usd_per_hour >= least_cost(question)[0]
    assert {question.separate for question in choices} == {False, True}


def test_classes_keep_their_own_objectives_apart() -> None:
    kinds = TrafficClass("chat", 0.6, 500.0, 100.0), TrafficClass("agents", 0.4, 3000.0, 200.0)
    goals = promised(0.5, 0.03, 0.9), promised(4.0, 0.03, 0.9)
    question = replace(BASE, traffic=mixed_traffic(20.0, kinds), class_promises=goals)
    found = settled_apart(question)
    assert [one.name for one in found.classes] == ["chat", "agents"]
    assert reaches(found.classes, goals)
    whole = sum(one.goodput_per_s for one in found.classes)
    assert whole == pytest.approx(20.0 * found.both.value, rel=1e-9)
    strict = replace(question, class_promises=(promised(0.1, 0.03, 0.9), goals[1]))
    assert settled_apart(strict).prompts > found.prompts


@pytest.mark.parametrize(("domain", "fits"), [(1, False), (2, True), (3, True)])
def test_a_pair_is_refused_for_the_link_between_two_replicas(domain: int, fits: bool) -> None:
    """Inside a domain that holds both, the slow links beyond it are none of theirs."""
    near = replace(LLAMA.system, domain_devices=domain, outside_bytes_per_s=2e9)
    question = replace(BASE, deployment=replace(LLAMA, system=near), promise=promised(1.0, 0.015))
    with contextlib.nullcontext() if fits else pytest.raises(Infeasible, match="2 GB/s"):
        assert SeparateFleets(question).least == SeparateFleets(BASE).least


def test_what_forbids_two_fleets_is_a_sentence() -> None:
    slow = replace(LLAMA.system, link_bytes_per_s=2e9, outside_bytes_per_s=2e9)
    question = replace(BASE, deployment=replace(LLAMA, system=slow), traffic=Traffic(20.0))
    with pytest.raises(Infeasible, match=r"separate fleets keep no TPOT of 0.015 s .* 2 GB/s"):
        settled_apart(question)
    told = answer([question, replace(question, separate=True)])
    assert told.apart is not None
    assert told.apart.run is None
    assert answer_record(told)["apart_problem"] == told.apart.problem
    assert "Two fleets cannot: separate fleets keep no TPOT" in answer_summary(told)
    with pytest.raises(Infeasible, match="no answer has a second token"):
        SeparateFleets(replace(BASE, traffic=Traffic(1.0, 1.0, 100.0, 1.0)))
    with pytest.raises(ValueError, match="fleets must be one or two, got 'three'"):
        read_choices(ASKED | {"fleets": "three"})


def test_prompts_that_too_few_replicas_would_compute_are_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    busy = replace(BASE, traffic=Traffic(200.0))
    needed = SeparateFleets(busy).fewest().prompts
    assert needed > 1
    monkeypatch.setattr(separate_fleets, "MOST_REPLICAS", needed - 1)
    with pytest.raises(Infeasible, match=f"no {needed - 1} replicas for prompts alone keep TTFT"):
        SeparateFleets(busy).fewest()


TWO_KINDS = {
    "rate_per_s": 60,
    "tpot_s": 0.015,
    "requests": 120,
    "quantile": 0.9,
    "precision": "bf16",
    "device": "H100, H200",
    "price_per_hour": "2, 2.6",
}


def test_alike_fleets_are_the_same_whoever_names_their_device() -> None:
    named = read_choices(
        {name: value for name, value in ASKED.items() if name != "fleets"}
        | {"prompt_device": "H100", "answer_device": "h100_sxm"}
    )
    assert named == read_choices(ASKED)


def test_unlike_fleets_by_hand() -> None:
    """Each engine is its own device's, a cache travels over the slower link, in the parts of who
    has fewer devices, and each device has its price, also of the replicas that may fail."""
    more = {"prompt_device": "H100", "answer_device": "H200", "parallelism": "tp1,tp2"}
    asked = read_choices(TWO_KINDS | more | {"spare_replicas": 1})
    pairs = [one for one in asked if one.separate]
    assert len(asked) == 4 + 4
    question = next(
        one
        for one in pairs
        if (one.of_prompts().deployment.tensor, one.deployment.tensor) == (1, 2)
    )
    sends, receives = question.of_prompts().deployment, question.deployment
    assert (sends.system.name, receives.system.name) == ("h100_sxm", "h200_sxm")
    assert question.usd_apart(3, 2) == pytest.approx(2 * 1 * (3 + 1) + 2.6 * 2 * (2 + 1))
    far = Workload(np.arange(100) * 1000.0, np.full(100, 2000), np.full(100, 3))
    pair = SeparateFleets(replace(question, traffic=far, promise=promised(1.0, 0.5, 0.5)))
    run = pair.performance(1, 1, 2048)
    assert run is not None
    sent = 2000 * 131_072 / sends.system.outside_bytes_per_s
    assert run.transfer_s == pytest.approx(sent)  # the two who receive take half of it each
    alone = [
        SeparateFleets(
            replace(pair.question, deployment=one, prompts=None, price_per_hour=2.0)
        ).performance(1, 1, 2048)
        for one in (sends, receives)
    ]
    assert alone[0] is not None
    assert alone[1] is not None
    assert run.ttft == alone[0].ttft
    steps = [2 * each.tpot[0].value - each.transfer_s for each in (run, alone[1])]
    assert steps[0] == pytest.approx(steps[1], rel=0.02)


def test_who_answers_need_not_be_fit_for_prompts() -> None:
    """A device that alone keeps no TTFT may write the answers of another that does."""
    slow = {"device": "H100, L4", "price_per_hour": "2, 0.5", "ttft_s": 0.2, "tpot_s": 0.2}
    asked = TWO_KINDS | slow | {"parallelism": "tp1", "rate_per_s": 3}
    found = answer(read_choices(asked | {"prompt_device": "H100", "answer_device": "L4"}))
    assert any("L4" in row[0] and "TTFT" in row[-1] for row in comparison_rows(found))
    assert found.apart is not None
    assert found.apart.run is not None
    record = answer_record(found)
    assert (record["apart_prompt_device"], record["apart_device"]) == ("h100_sxm", "l4")
    run = found.apart.run
    assert run.usd_per_hour == pytest.approx(2 * run.prompts + 0.5 * run.answers)
    text = next(one.flags for one in starts(found) if one.of == "separate fleets")
    assert f"each of {run.prompts} replicas for prompts" in text
    line = next(line.value for line in answer_lines(found) if line.what == "separate fleets")
    assert line.startswith(
        f"{run.prompts} for prompts of 1 × H100 SXM, tp1, and {run.answers} for answers of 1 × L4"
    )


def test_the_flags_of_either_fleet_are_of_its_split() -> None:
    asked = TWO_KINDS | {"prompt_device": "H200", "answer_device": "H100", "parallelism": "tp1,tp2"}
    for question in read_choices(asked):
        if question.separate:
            run = SeparateFleets(question).performance(4, 4, 2048)
            assert run is not None
            for role, one in (("prompts", question.of_prompts()), ("answers", question)):
                words = role_words(question, run, role)
                width = one.deployment.tensor
                assert ("--tensor-parallel-size" in words) == (width > 1)
            objects = kubernetes_separate(question, run)
            widths = [one.deployment.tensor for one in (question.of_prompts(), question)]
            found = re.findall(r"nvidia.com/gpu: (\d)", objects)
            assert [int(width) for width in found] == widths


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"prompt_device": "B200"}, "prompt_device must be one of those that device lists"),
        ({"answer_device": "H10"}, "answer_device: .*nearest: h100_sxm"),
        ({"prompt_device": "H100", "replicas": 2}, "prompt_device must be left out behind routers"),
    ],
)
def test_devices_of_separate_fleets_are_refused(more: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_choices(TWO_KINDS | more)
