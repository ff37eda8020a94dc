"""The traffic: how much it bursts in requests and in tokens, whether long prompts come with many,
and who brings most of the work.

Counts in windows are held against a Poisson process with independent lengths, of which dispersion
is 1 in requests and, after division by E[X²]/E[X], in tokens too.

Source: Cox and Lewis (1966), chapter 6, for the index of dispersion; Fendick and Whitt (1989);
Student (1908) for the correlation.
"""

from __future__ import annotations

import math

import numpy as np

from serving_mathematics.capacity.arrival_rates.arrival_rates import (
    dispersion_index,
    dispersion_p_value,
    window_counts,
)
from serving_mathematics.capacity.arrival_rates.arrival_trace import token_dispersion
from serving_mathematics.report.evidence import FloatArray, Run, _pause, _tick_s
from serving_mathematics.report.findings.finding import (
    FEW,
    FEWEST_CLUMPS,
    Asked,
    Finding,
    _alike_times,
    _minus,
    _t_of,
    duration,
    percent,
)
from serving_mathematics.report.findings.of_the_tenants import _rank_correlation
from serving_mathematics.report.findings.of_the_test import closed_loop
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized

WINDOWS_S = (1.0, 10.0, 60.0, 600.0)
LEAST_WINDOWS, LEAST_COUNT = 20, 5.0
BURSTY, RARE = 1.5, 1e-3  # dispersion, and its chance under Poisson
PACED = 0.5
CORRELATED = 3.0  # standard errors
ROUNDED = 0.05  # of dispersion that a step of the moments adds; of a step that a window lacks
FOLLOW = 0.2  # of the requests, from which sessions matter
CARRY = 0.15  # of all prompt tokens, by the largest hundredth


def bursts(run: Run, asked: Asked) -> Finding | None:
    """Requests and tokens come in bursts, which a steady rate does not have.

    run: with when requests were sent.

    >>> crowds = np.repeat(np.arange(60) * 10.0, np.where(np.arange(60) % 6, 2, 40))
    >>> bursts(Run("", "", {"sent_s": crowds + 0.0001 * np.arange(crowds.size)}), Asked()).level
    'warning'
    """
    sent = _sent(run)
    if sent.size < FEW or closed_loop(run, asked) is not None:
        return None
    tried = []
    for window in _windows(sent):
        counts = _in_windows(sent, window)
        tried.append((dispersion_index(counts), dispersion_p_value(counts), window, counts))
    found = [x for x in tried if x[0] > BURSTY and x[1] < RARE / len(tried)]
    if not found:
        return None
    index, _, window, counts = max(found, key=lambda x: x[0])
    shown = [f"{sized(index)} in requests"]
    for name, word in (("prompt_tokens", "prompt tokens"), ("output_tokens", "answer tokens")):
        if run.has(name):
            tokens = _of_sent(run, name)
            if tokens.sum() > 0:
                own = token_dispersion(_early(sent), np.r_[0.0, tokens], window)
                shown.append(f"{sized(own)} in {word}")
    peak = float(counts.max() / counts.mean())
    worth = counts.size / _alike_times(counts)
    told = worth >= FEWEST_CLUMPS
    spread = f"; ± {sized(_half_of_dispersion(worth) * index, 2)}" if told else ""
    return Finding(
        "warning" if run.tool == "a trace" or index > 3 else "note",
        f"dispersion over {duration(window)} is {', '.join(shown)} (1 is Poisson"
        f"{spread}); the busiest {duration(window)} brings {sized(peak, 2)} times the mean",
        "a fleet sized for the mean rate is too small in every burst, and bursts of requests need "
        "not be bursts of work",
        "plan with the trace itself (serving-mathematics plan --trace), or with the rate of its "
        "busiest minutes",
        f"{counts.size} windows, chance under Poisson below {RARE:g}, of {len(tried)} "
        "lengths tried",
        "capacity/arrival-rates",
    )


def _half_of_dispersion(worth: float) -> float:
    """Half of a 95% interval of a dispersion, over it, by as many windows as they are worth.

    >>> round(_half_of_dispersion(51.0), 2)
    0.4
    """
    return _t_of(worth) * math.sqrt(2 / (worth - 1))


def paced(run: Run, _asked: Asked) -> Finding | None:
    """Requests come evenly spaced, unlike those of real users.

    run: with when requests were sent.

    >>> paced(Run("", "", {"sent_s": np.arange(500) * 0.1}), Asked()).level
    'note'
    """
    sent = _sent(run)
    windows = _windows(sent) if sent.size >= FEW else []
    if not windows:
        return None
    window = windows[-1]
    counts = _in_windows(sent, window)
    index = dispersion_index(counts)
    if index > PACED or dispersion_p_value(counts) < 1 - RARE:
        return None
    return Finding(
        "note",
        f"dispersion over {duration(window)} is {sized(index, 2)}: requests come evenly spaced (or "
        "the log keeps one in every few)",
        "users come at random, and their queue is longer at the same rate",
        "test with Poisson arrivals (--burstiness 1.0) or your own trace",
        f"{counts.size} windows",
        "capacity/arrival-rates",
    )


def _sent(run: Run) -> FloatArray:
    """When requests were sent, sorted, a pause that stands alone left out; none where that is one
    moment."""
    sent = run.column("sent_s") if run.has("sent_s") else np.zeros(0)
    known = np.sort(sent[np.isfinite(sent)])
    paused = _pause(known)
    if paused is not None:  # is told in the notes, and no burst
        known[paused[0] + 1 :] -= paused[1] - paused[2]
    return known if known.size and known[-1] > known[0] else np.zeros(0)


def _of_sent(run: Run, name: str) -> FloatArray:
    """Another column in that order."""
    known = np.isfinite(run.column("sent_s"))
    order = np.argsort(run.column("sent_s")[known], kind="stable")
    return np.asarray(np.nan_to_num(run.column(name)[known][order]))


def _early(sent: FloatArray) -> FloatArray:
    """The moments with one half a step before them, so that no window ends at a step."""
    return np.asarray(np.r_[sent[0] - _tick_s(sent) / 2, sent], dtype=float)


def _in_windows(sent: FloatArray, window: float) -> FloatArray:
    """Requests in windows, the first of which begins half a step of the moments early."""
    counts = window_counts(_early(sent), window).astype(float)
    counts[0] -= 1
    return np.asarray(counts)


def _windows(sent: FloatArray) -> list[float]:
    """The usual windows that fit often enough and hold enough. Of moments that are written in steps
    a window has one step more or less than another, unless it is a whole number of them."""
    span = float(sent[-1] - sent[0])
    tick = _tick_s(sent)
    rate = sent.size / span
    return [
        w
        for w in WINDOWS_S
        if span / w >= LEAST_WINDOWS
        and rate * w >= LEAST_COUNT
        and span / w < 1e5
        and (
            0.25 * rate * tick**2 / w <= ROUNDED
            or (w > 0.9 * tick and abs(w - tick * round(w / tick)) <= ROUNDED * tick)
        )
    ]


def lengths_follow_load(run: Run, _asked: Asked) -> Finding | None:
    """Prompts are longer, or shorter, when many come.

    run: with when requests were sent and their tokens.

    >>> rng = np.random.default_rng(0)
    >>> sent = np.repeat(np.arange(80) * 10.0, np.where(np.arange(80) % 2, 5, 20))
    >>> tokens = np.where(sent % 20 > 0, 100, 900) + rng.integers(0, 50, sent.size)
    >>> sent = sent + rng.uniform(0, 9, sent.size)
    >>> lengths_follow_load(Run("", "", {"sent_s": sent, "prompt_tokens": tokens}), Asked()).level
    'note'
    """
    if not run.has("sent_s", "prompt_tokens"):
        return None
    sent = _sent(run)
    if sent.size < FEW:
        return None
    found = [_followed(sent, _of_sent(run, "prompt_tokens"), w) for w in _windows(sent)]
    told = [one for one in found if one is not None and abs(one[0]) > CORRELATED * one[1]]
    if not told:
        return None
    r, error, window, count = max(told, key=lambda one: abs(one[0]) / one[1])
    word = "longer" if r > 0 else "shorter"
    return Finding(
        "note",
        f"prompts are {word} when many come: rank correlation {_minus(f'{r:.2f}')} ± "
        f"{1.96 * error:.2f} over {duration(window)}",
        "a plan that draws lengths independently of times is too "
        f"{'optimistic' if r > 0 else 'pessimistic'}",
        "plan with the trace, or take prompts and answers from the busiest windows",
        f"{count} windows; two unrelated slow drifts look the same",
        "capacity/arrival-rates",
    )


def _followed(
    sent: FloatArray, tokens: FloatArray, window: float
) -> tuple[float, float, float, int] | None:
    """Rank correlation of the number in a window and the mean logarithm of their tokens, its error
    without any, the window, and how many; None where there are too few."""
    place = ((sent - sent[0] + _tick_s(sent) / 2) / window).astype(int)
    counts = np.bincount(place)
    sums = np.bincount(place, weights=np.log(np.maximum(tokens, 1.0)))
    kept = counts >= 2
    if kept.sum() < LEAST_WINDOWS:
        return None
    r, error = _rank_correlation(counts[kept].astype(float), sums[kept] / counts[kept])
    return r, error, window, int(kept.sum())


def few_carry_most(run: Run, _asked: Asked) -> Finding | None:
    """One in a hundred requests brings much of the prompt tokens.

    run: with tokens of each prompt.

    >>> tokens = np.r_[np.full(990, 100.0), np.full(10, 50_000.0)]
    >>> few_carry_most(Run("", "", {"prompt_tokens": tokens}), Asked()).level
    'note'
    """
    if not run.has("prompt_tokens"):
        return None
    tokens = run.column("prompt_tokens")
    tokens = np.sort(tokens[np.isfinite(tokens)])
    largest = max(1, tokens.size // 100)
    if tokens.size < 5 * FEW or not tokens.sum() > 0:
        return None
    share = float(tokens[-largest:].sum() / tokens.sum())
    if share < CARRY:
        return None
    return Finding(
        "note",
        f"1% of the requests bring {percent(share)} of the prompt tokens, the longest "
        f"{tokens[-1]:,.0f}",
        "a limit on requests lets them all in, and each of them stalls the others",
        "bound tokens at the gateway, the incoming prompt's included, and cut prompts into chunks",
        f"{tokens.size:,} requests",
        "capacity/overload-control",
    )


def sessions(run: Run, _asked: Asked) -> Finding | None:
    """How many requests follow another of their session, so that a cache may hold their beginning.

    run: with the session of each request.

    >>> sessions(Run("", "", {"session": np.repeat(np.arange(50.0), 4)}), Asked()).level
    'note'
    """
    if not run.has("session"):
        return None
    known = run.column("session")[np.isfinite(run.column("session"))].astype(int)
    counts = np.bincount(known)
    counts = counts[counts > 0]
    follow = 1 - counts.size / known.size
    if known.size < FEW or follow < FOLLOW:
        return None
    return Finding(
        "note",
        f"{counts.size:,} sessions of {sized(known.size / counts.size)} requests on average, the "
        f"longest of {counts.max():,}: {percent(follow)} of the requests follow another",
        "a follow-up begins with what an engine has already read, if it is sent to the same one",
        "route by session or prefix, and give the cache room for the pause between two turns",
        "counted",
        "architecture/model-routers",
    )


def retries(run: Run, _asked: Asked) -> Finding | None:
    """Requests that were sent again.

    run: with the attempt of each request.

    >>> retries(Run("", "", {"attempt": np.r_[np.ones(90), np.full(10, 2.0)]}), Asked()).level
    'warning'
    """
    if not run.has("attempt"):
        return None
    attempts = np.nan_to_num(run.column("attempt"), nan=1.0)
    again = int((attempts > 1).sum())
    if not again:
        return None
    share = again / attempts.size
    return Finding(
        "problem" if share > 0.1 else "warning",
        f"{percent(share)} of the requests repeat an earlier one, up to try {attempts.max():g}",
        "retries are load that grows when the engine is slow, and each answer's time leaves out "
        "the tries before it",
        "give retries a budget of a tenth of the requests, and measure from the first try",
        "counted",
        "capacity/overload-control",
    )


def check_poisson_says_nothing() -> None:
    """Poisson arrivals with independent lengths have no burst and no correlation.

    Source: the process that was drawn.
    """
    rng = np.random.default_rng(9)
    sent = np.cumsum(rng.exponential(0.1, 4000))
    run = Run("", "", {"sent_s": sent, "prompt_tokens": rng.geometric(0.002, 4000).astype(float)})
    found = [f(run, Asked()) for f in (bursts, paced, lengths_follow_load, few_carry_most, retries)]
    checks.equal("found", [one.seen for one in found if one], [], kind="simulation")


def check_bursts_by_hand() -> None:
    """Batches of ten at Poisson moments have dispersion ten, to three of its standard errors.

    Source: a compound Poisson count has variance over mean E[X²]/E[X].
    """
    rng, batches = np.random.default_rng(8), 30_000
    moments = np.repeat(np.cumsum(rng.exponential(1.0, batches)), 10)
    found = bursts(Run("", "a trace", {"sent_s": moments}), Asked())
    index = float(found.seen.split(" is ")[1].split()[0]) if found else math.nan
    error = 10 * math.sqrt(2 / batches)  # in windows of a second
    checks.close("dispersion", index, 10.0, atol=3 * error, kind="simulation")
