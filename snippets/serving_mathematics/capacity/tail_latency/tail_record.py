"""The tail of the first token, in a record: loads, long prompts, second copies.

Four engines of the book's chat machine, and of the mixture where it says so. Of each case the
record has quantiles of the first token over all requests, over the short prompts and over the long
ones, the p90 of the time per token, the share that keeps both limits of the machine's promise, and
how many second copies left and won.

`python -m serving_mathematics.capacity.tail_latency.tail_record` simulates two million requests, in
about two minutes, and writes records/first_tokens.json.

Assumes: what `second_copies` assumes; Poisson arrivals; load in what the engines carry of that mix.

Source: own simulation of the book's machines with `second_copies`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.capacity.tail_latency.mixes import (
    ENGINES,
    MIXES,
    REQUESTS,
    _ask,
    _Asked,
    _engine_for,
)
from serving_mathematics.capacity.tail_latency.second_copies import Copies, serve_copies
from serving_mathematics.support.measuring import provenance, read_record, write_record

FloatArray = npt.NDArray[np.float64]
RECORD = "first_tokens"
COMMAND = "python -m serving_mathematics.capacity.tail_latency.tail_record"
WARM, SEEDS = 600, 12  # requests that are not counted; runs of each case
LOADS = (0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.8, 0.9)  # of the chat machine as it is
COPIES: Mapping[str, dict[str, Any]] = {  # after: quantile of the first token without copies
    "none": {},
    "cancelled": {"after": 0.95},
    "runs on": {"after": 0.95, "runs_on": True},
    "budget": {"after": 0.95, "runs_on": True, "budget": 0.05},
}
REMEDIES: Mapping[str, dict[str, Any]] = {
    "none": {},
    "copy at the p90": {"after": 0.9},
    "copy at the p95": {"after": 0.95},
    "copy at the p98": {"after": 0.98},
    "limit in the old budget": {"most_tokens": 512},
    "limit": {"token_budget": 8192, "most_tokens": 2048},
    "shortest": {"order": "shortest"},
    "unread tokens": {"counted": "tokens"},
    "copy behind unread tokens": {"counted": "tokens", "after": 0.95},
}
CASES = ("still, fewest", "still, unread tokens", "still, scattered")
PAUSES = {"still_s": 2.0, "every_s": 20.0}  # how long one engine stands still, and how often one
TOGETHER = (1, 4, 8, 16, 32)  # calls of a page


def _serve(mix: str, asked: _Asked, policy: Mapping[str, Any], **more: Any) -> Copies:
    """What becomes of the requests under a policy; more: other arguments of `serve_copies`."""
    given = dict(policy) | more
    engine = _engine_for(mix, given.pop("token_budget", 0))
    if "after" in given:  # of the same requests, served without
        router = {"counted": given.get("counted", "requests")}
        alone = serve_copies(asked.workload, engine, ENGINES, **(more | router))
        own = (alone.first_token_s - asked.workload.arrival_s)[WARM:]
        given["after_s"] = float(np.quantile(own, given.pop("after")))
    return serve_copies(asked.workload, engine, ENGINES, **given)


def _tail(asked: _Asked, got: Copies) -> dict[str, float]:
    """Quantiles of the first token and of the time per token [s], and shares of requests."""
    first = (got.first_token_s - asked.workload.arrival_s)[WARM:]
    long, sent = asked.long[WARM:], got.sent[WARM:]
    delay, other = np.quantile(first, 0.95), np.random.default_rng(0).permutation(first)
    mixed = np.where(first > delay, np.minimum(first, delay + other), first)
    told = {f"p{100 * q:.0f}": float(np.quantile(first, q)) for q in (0.5, 0.95, 0.99)}
    later = np.maximum(asked.workload.output_tokens - 1, 1)
    each = ((got.completion_s - got.first_token_s) / later)[WARM:]
    promise = asked.machine.promise
    kept = (first <= promise.ttft_s) & (each <= promise.tpot_s)
    return (
        told
        | {
            "short_p99": float(np.quantile(first[~long], 0.99)),
            "long_p50": float(np.quantile(first[long], 0.5)),
            "long_p99": float(np.quantile(first[long], 0.99)),
            "independent": float(np.quantile(mixed, 0.99)),  # copies with prompts of their own
            "token_p90": float(np.quantile(each, 0.9)),
            "kept": float(kept.mean()),
            "sent": float(sent.mean()),
            "won": float(got.won[WARM:].sum() / max(sent.sum(), 1)),
        }
    )


def _cell(mix: str, load: float, policy: Mapping[str, Any], case: str = "") -> dict[str, float]:
    """Means over the seeds, and the standard error of the p99."""
    rows = []
    for seed in range(SEEDS):
        asked = _ask(mix, load, seed)
        more: dict[str, Any] = {"counted": "tokens"} if case == "still, unread tokens" else {}
        if case == "still, scattered":  # not the engine with the fewest
            homes = np.random.default_rng(seed).integers(0, ENGINES, REQUESTS)
            more = {"homes": homes.tolist()}
        if case.startswith("still"):
            more["pauses"] = _pauses(float(asked.workload.arrival_s[-1]))
        rows.append(_tail(asked, _serve(mix, asked, policy, **more)))
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    error = float(np.std([row["p99"] for row in rows], ddof=1)) / SEEDS**0.5
    return means | {"p99_error": error}


def _pauses(span_s: float) -> list[tuple[int, float, float]]:
    """One engine after the other stands still."""
    still, every = PAUSES["still_s"], PAUSES["every_s"]
    starts = np.arange(every / 2, span_s, every).tolist()
    return [(turn % ENGINES, start, start + still) for turn, start in enumerate(starts)]


def _slowest_calls(together: int) -> FloatArray:
    """First token of the slowest call of each page [s]; all are sent at once, at half load."""
    values = []
    for seed in range(SEEDS):
        asked = _ask("chat", 0.5, seed, together)
        first = _serve("chat", asked, {}).first_token_s - asked.workload.arrival_s
        values.append(first.reshape(-1, together).max(axis=1)[WARM // together :])
    return np.concatenate(values)


def _slowest(together: int) -> dict[str, float]:
    """Its median, and what one page in a hundred exceeds [s]."""
    p50, p99 = np.quantile(_slowest_calls(together), [0.5, 0.99]).tolist()
    return {"p50": p50, "p99": p99}


def _lone_calls() -> list[float]:
    """Quantiles of one call that comes alone [s], at a thousand levels."""
    levels = (np.arange(1000) + 0.5) / 1000
    return [float(one) for one in np.quantile(_slowest_calls(1), levels).round(5)]


def main() -> None:
    """Simulate and write the record."""
    loads = {
        f"{load}, {name}": _cell("chat", load, how)
        for load in LOADS
        for name, how in COPIES.items()
    }
    remedies = {
        f"{mix}, {load}, {name}": _cell(mix, load, how)
        for mix in MIXES
        for load in (0.5, 0.7)
        for name, how in REMEDIES.items()
    }
    cases = {
        f"{case}, {load}, {name}": _cell("chat", load, COPIES[name], case)
        for case in CASES
        for load in (0.5, 0.7)
        for name in ("none", "cancelled")
    }
    record = provenance(COMMAND, ["numpy"]) | {
        "what": f"first tokens of {ENGINES} engines, {REQUESTS:,} requests, {SEEDS} times each",
        "loads": loads,
        "remedies": remedies,
        "cases": cases,
        "slowest": {str(calls): _slowest(calls) for calls in TOGETHER},
        "lone": _lone_calls(),
    }
    print(f"wrote {write_record(RECORD, record)}")


@functools.cache
def _recorded() -> dict[str, Any]:
    """The record, read once."""
    told: dict[str, Any] = read_record(RECORD)
    return told


if __name__ == "__main__":
    main()
