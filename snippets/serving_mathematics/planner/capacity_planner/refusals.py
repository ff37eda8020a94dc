"""Why no fleet keeps a promise, and which of several refusals is told.

Of deployments that are all refused the one is told that comes nearest: whose lone request misses
the limit that it misses most by least.

Assumes: nothing.

Source: the words are those of the planner's answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from serving_mathematics.planner.questions.objectives import Objective
from serving_mathematics.planner.questions.question import Question, _nearest_is


class Infeasible(ValueError):
    """No number of replicas keeps the objective; the message says why. over: of a lone request,
    times the limit that it misses most, where that is why.

    >>> Infeasible("no fleet keeps a TTFT of 1 s at p99", 1.5).over
    1.5
    """

    def __init__(self, message: str, over: float = math.inf) -> None:
        """Say why, and by how much."""
        super().__init__(message)
        self.over = over


def _require_in_time(alone: Sequence[tuple[str, Objective, float]]) -> None:
    """Refuse what requests miss that meet no others, by the first limit that is missed. alone: the
    name of a kind of requests, "" for all, an objective of it, and what it gets."""
    for name, goal, value in alone:
        if value > goal.limit:
            whose = f" of {name}" if name else ""
            raise Infeasible(
                f"no fleet keeps {goal.kept}{whose}: a replica without other requests takes "
                f"{goal.measure.plain(value, goal.limit)}",
                max(value / goal.limit for _, goal, value in alone),
            )


def _require_held(longest: int, room: int) -> None:
    """Refuse a request of more tokens than a replica's cache has room for."""
    if longest > room:
        raise Infeasible(
            f"no fleet holds the longest request: {longest:,} tokens, where the KV memory of a "
            f"replica holds {room:,}"
        )


def _nearest_refusal(refused: Sequence[tuple[Question, ValueError]]) -> ValueError:
    """Of deployments that are all refused, what is told: first of those that hold the requests the
    one with which a lone request comes nearest, named where there are others."""

    def far(refusal: tuple[Question, ValueError]) -> tuple[bool, float]:
        return not isinstance(refusal[1], Infeasible), _over(refusal[1])

    question, problem = min(refused, key=far)
    if math.isinf(_over(problem)) or all(one is question for one, _ in refused):
        return problem
    return Infeasible(f"{problem}{_nearest_is(question)}", _over(problem))


def _over(problem: ValueError) -> float:
    """By how much a lone request misses its limit, times that limit; infinite where that is not
    why."""
    return problem.over if isinstance(problem, Infeasible) else math.inf
