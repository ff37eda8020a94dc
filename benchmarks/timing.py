"""Samples in rounds, their medians and ratios, and what a record says of its making."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving_mathematics.support.measuring import provenance

from benchmarks import report


def cpu_s_of(call: Callable[[], object], at_least_s: float) -> float:
    """Processor seconds of a call, averaged over as many as take that long together."""
    calls, started = 0, time.process_time()
    while True:
        call()
        calls += 1
        elapsed = time.process_time() - started
        if elapsed >= at_least_s:
            return elapsed / calls


def ratios(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """One over the other, round by round: what slows the machine in a round slows both."""
    return [a / b for a, b in zip(one, other, strict=True)]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most, rounded to four digits, for a record."""
    found = report.summarise(values)
    return {key: float(f"{value:.4g}") for key, value in vars(found).items()}


def overlap(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether two spreads have a value in common."""
    return max(one["least"], other["least"]) <= min(one["most"], other["most"])


def in_turn(names: Sequence[str], number: int) -> list[str]:
    """The names in another order each round, so that none always follows the same one."""
    start = number % len(names)
    turned = [*names[start:], *names[:start]]
    return turned[::-1] if number % 2 else turned


def text(values: Mapping[str, float], unit: float = 1.0) -> str:
    """A spread as `median [least–most]`, in a unit."""
    return str(report.Summary(*(values[key] / unit for key in ("median", "least", "most"))))


def pooled(answers: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Mean and standard error of independent runs of one length."""
    mean = statistics.fmean(answer["mean"] for answer in answers)
    squares = sum(answer["standard_error"] ** 2 for answer in answers)
    return mean, squares**0.5 / len(answers)


def about(command: str, packages: Sequence[str], foreign: Mapping[str, str]) -> dict[str, Any]:
    """What a record says of its making."""
    found = provenance(command, packages)
    found["machine"] = report.machine()
    found["versions"] |= foreign
    found["load_before"] = round(os.getloadavg()[0], 2)
    return found
