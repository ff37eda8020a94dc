"""Who shares the engine: who brings its work, who waits, and whose work others wait for.

The tail of the others is held against one tenant's tokens in windows of time: in those where it
sends most, and in those where it sends least. A test by ranks says whether that is chance, with as
many windows as are worth one where neighbours are alike. Where the tail follows the tokens of all
others more than the tenant's, they come together, and none of them is the cause.

Assumes: one engine behind the log, and a wait of the window in which a request was sent.

Source: Sheng et al. (2024), *Fairness in Serving Large Language Models*, for what is counted:
tokens of prompts and answers; Bartlett (1935), for the correlation of series that are correlated in
themselves.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from serving_mathematics.report.evidence import FloatArray, Run, _known_quantile
from serving_mathematics.report.findings.finding import FEW, Asked, Finding, duration, percent
from serving_mathematics.report.waiting import FEWEST_LATE
from serving_mathematics.support import checks

OWN_REQUESTS = 50  # requests of a tenant of whom something is said
MOST_LOOKED_AT = 5  # tenants, by their tokens
WINDOW_REQUESTS, MOST_WINDOWS, FEWEST_WINDOWS = 12, 60, 16
RAISES, BEYOND_CHANCE = 2.0, 3.0  # times the others' tail, and standard errors of the correlation
WAITS_MORE = 2.0  # times the tail of the rest
MOST_OF_ALL = 0.5  # of the tokens, by one


def tenants(run: Run, _asked: Asked) -> Finding | None:
    """One tenant's work makes the others wait, or one waits longer than the rest.

    run: with whose each request is.

    >>> of = np.r_[np.zeros(900), np.ones(100)]
    >>> run = Run("", "", {"tenant": of, "prompt_tokens": np.ones(1000)}, tenants=("a", "b"))
    >>> tenants(run, Asked()).seen
    '2 tenants; a brings 90% of the prompt tokens'
    """
    if not run.has("tenant") or run.size < FEW:
        return None
    known = np.isfinite(run.column("tenant"))
    of = np.where(known, run.column("tenant"), -1).astype(int)
    counts = np.bincount(of[known])
    work, word = _work(run)
    tokens = np.bincount(of[known], weights=work[known], minlength=counts.size)
    if (counts > 0).sum() < 2 or not tokens.sum() > 0:
        return None
    order = np.argsort(-tokens, kind="stable")
    looked = [int(x) for x in order[:MOST_LOOKED_AT] if counts[x] >= OWN_REQUESTS]
    share = float(tokens[order[0]] / tokens.sum())
    seen = [f"{int((counts > 0).sum()):,} tenants"]
    seen[0] += f"; {_called(run, int(order[0]))} brings {percent(share)} of the {word}"
    pushed = [one for x in looked if (one := _raised(run, of, work, x)) is not None]
    slow = [late for x in looked if (late := _waits(run, of, x)) is not None]
    if not pushed and not slow and share < MOST_OF_ALL:
        return None
    if pushed:
        who, calm, busy, r, error = max(pushed, key=lambda one: one[2] / max(one[1], 1e-9))
        seen.append(
            f"when {_called(run, who)} sends most, p90 of the others' TTFT is {duration(busy)}, "
            f"when it sends least {duration(calm)} (rank correlation {r:.2f} ± {1.96 * error:.2f})"
        )
    if slow:
        who, own, rest = max(slow, key=lambda one: one[1] / max(one[2], 1e-9))
        seen.append(
            f"p95 of {_called(run, who)} is {duration(own)}, of the others {duration(rest)}"
        )
    return Finding(
        "warning" if pushed else "note",
        "; ".join(seen),
        "they share one queue and one step: a limit on requests does not hold back long prompts, "
        "and one tenant's load breaks everybody's promise",
        "bound each tenant's tokens at the gateway, or serve the largest separately"
        if pushed
        else "bound each tenant's tokens at the gateway before the largest doubles",
        f"{run.size:,} requests, whole windows as observations",
        "optimization/hardware-scheduling",
    )


def _mostly_of(run: Run, which: npt.NDArray[np.bool_]) -> tuple[str, str, str]:
    """The tenant that has nine of ten of some requests and half of all at most, its share of these
    and of all, in words; empty elsewhere."""
    if not run.has("tenant") or which.sum() < FEWEST_LATE:
        return "", "", ""
    of = np.nan_to_num(run.column("tenant"), nan=-1).astype(int) + 1
    counts, all_of = np.bincount(of[which], minlength=of.max() + 1), np.bincount(of)
    who = int(np.argmax(counts[1:])) + 1 if counts.size > 1 else 0
    if not who or counts[who] < 0.9 * which.sum() or all_of[who] > 0.5 * of.size:
        return "", "", ""
    shares = percent(counts[who] / which.sum()), percent(all_of[who] / of.size)
    return _called(run, who - 1), *shares


def _called(run: Run, who: int) -> str:
    return run.tenants[who] if who < len(run.tenants) else f"tenant {who + 1}"


def _work(run: Run) -> tuple[FloatArray, str]:
    """Tokens of each request, prompt and answer; 1 where none are told, and what that is."""
    words = {"prompt_tokens": "prompt tokens", "output_tokens": "answer tokens"}
    told = [name for name in words if run.has(name)]
    word = "tokens" if len(told) > 1 else words[told[0]] if told else "requests"
    each = [np.nan_to_num(run.column(name)) for name in told]
    return (np.sum(each, axis=0) if told else np.ones(run.size)), word


def _first_times(run: Run) -> FloatArray:
    """Times to first token of those that have one, whole latencies where none has."""
    name = "ttft_s" if run.has("ttft_s") else "latency_s"
    return np.where(run.good(), run.column(name), math.nan)


def _waits(run: Run, of: npt.NDArray[np.int_], who: int) -> tuple[int, float, float] | None:
    """A tenant whose tail is twice that of the rest in most of the blocks of the run."""
    times = _first_times(run)
    mine = (of == who) & np.isfinite(times)
    rest = (of != who) & np.isfinite(times)
    if mine.sum() < OWN_REQUESTS or rest.sum() < OWN_REQUESTS:
        return None
    own, other = _known_quantile(times[mine], 0.95), _known_quantile(times[rest], 0.95)
    if not own > WAITS_MORE * other:
        return None
    blocks = np.array_split(np.arange(of.size), 10)
    pairs = [(times[x][mine[x]], times[x][rest[x]]) for x in blocks]
    above = [np.median(a) > np.median(b) for a, b in pairs if a.size and b.size]
    return (who, own, other) if len(above) >= 6 and np.mean(above) >= 0.8 else None


def _raised(
    run: Run, of: npt.NDArray[np.int_], work: FloatArray, who: int
) -> tuple[int, float, float, float, float] | None:
    """The tail of the others in the windows where a tenant sends half of its tokens, and in as many
    where it sends least; the rank correlation and its error; None where it does not rise."""
    times = _first_times(run)
    if not run.has("sent_s"):
        return None
    sent = run.column("sent_s")
    rest = (of != who) & np.isfinite(times + sent)
    mine = (of == who) & np.isfinite(sent)
    count = min(MOST_WINDOWS, int(rest.sum()) // WINDOW_REQUESTS)
    if count < FEWEST_WINDOWS or mine.sum() < OWN_REQUESTS:
        return None
    low, high = float(sent[rest].min()), float(sent[rest].max())
    if not high > low:
        return None
    place = np.clip(((sent - low) / (high - low) * count), 0, count - 1)
    place = np.nan_to_num(place).astype(int)
    load, beside = (
        np.bincount(place[x], weights=work[x], minlength=count)
        for x in (mine, ~mine & np.isfinite(sent))
    )
    load, beside = (
        x + np.r_[x[0], x[:-1]] for x in (load, beside)
    )  # a queue outlasts the window that made it
    inside = [times[rest & (place == i)] for i in range(count)]
    there = np.array([x.size > 0 for x in inside])
    tail = np.array([float(np.quantile(x, 0.9)) for x in inside if x.size])
    r, error = _rank_correlation(load[there], tail)
    others, _ = _rank_correlation(beside[there], tail)
    by_load = np.argsort(-load, kind="stable")
    until = int(np.searchsorted(np.cumsum(load[by_load]), load.sum() / 2)) + 1  # half its tokens
    tails = np.full(count, math.nan)
    tails[there] = tail
    calm, busy = (_known_quantile(tails[x]) for x in (by_load[-until:], by_load[:until]))
    if r < max(BEYOND_CHANCE * error, others + error) or not busy > RAISES * calm:
        return None  # by chance, or all come together and this one is not the cause
    return who, calm, busy, r, error


def _rank_correlation(one: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Rank correlation of two series, and its standard error where there is none: neighbours that
    are alike in both count as fewer."""
    if one.size < FEWEST_WINDOWS or min(float(np.std(x)) for x in (one, other)) <= 0:
        return 0.0, 1.0
    ranks = [_ranks(x) for x in (one, other)]
    r = _correlation(ranks[0], ranks[1])
    alike = [_correlation(x[1:], x[:-1]) for x in ranks]
    both = min(max(alike[0] * alike[1], 0.0), 0.9)
    return r, math.sqrt((1 + both) / (1 - both) / (one.size - 1))


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Of two series; 0 where one of them is constant."""
    flat = np.ptp(one) == 0 or np.ptp(other) == 0
    return 0.0 if flat else float(np.corrcoef(one, other)[0, 1])


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks from 0 on, equal numbers at the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts + 1) / 2)[place])


def check_a_neighbour_is_told() -> None:
    """Others whose first token takes a second while one tenant sends, and a tenth of it otherwise.

    Source: the rule by which the times were made.
    """
    rng = np.random.default_rng(4)
    sent = np.sort(rng.uniform(0, 1000, 3000))
    of = np.where((sent % 200 < 50) & (rng.random(3000) < 0.8), 0.0, 1.0)
    ttft = np.where(sent % 200 < 50, 1.0, 0.1) * rng.uniform(0.8, 1.2, 3000)
    run = Run("", "", {"sent_s": sent, "tenant": of, "ttft_s": ttft}, tenants=("a", "b"))
    found = tenants(run, Asked())
    checks.equal("level", found.level if found else "", "warning", kind="simulation")
    alone = Run("", "", {**run.columns, "ttft_s": rng.permutation(ttft)}, tenants=("a", "b"))
    found = tenants(alone, Asked())
    checks.holds("by chance", found is None or found.level == "note", got=found and found.seen)
