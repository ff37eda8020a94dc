"""Answers that tests change: a comparison of two splits, and the same where nothing is in doubt."""

from __future__ import annotations

from dataclasses import replace

from serving_mathematics.planner.capacity_planner.fleet_search import Performance
from serving_mathematics.planner.capacity_planner.judged_requests import ClassRun, Quantile
from serving_mathematics.planner.configurations import Answer, answer
from serving_mathematics.planner.questions.questions import read_choices

ASKED = {"rate_per_s": 60, "requests": 100, "ttft_s": 1.5, "parallelism": "tp1, tp2"}
TOLD = answer(read_choices(ASKED | {"precision": "bf16"}))
PLAN, QUESTION = TOLD.plan, TOLD.question


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
