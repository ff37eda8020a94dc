"""Faults on purpose: each finding on simulated runs with its fault and without.

`python -m serving_mathematics.report.faults` serves runs of three sizes with the engine simulator,
each with an engine, lengths and a load of its own, puts one fault after the other into them, and
writes records/report_faults.json in about four minutes on one processor: how often a finding was
missed, and how often it was told of a run without any fault.

Assumes: faults as large as people have them, not the smallest that could be found; one of a kind of
engine, continuous batching under a token budget; up to 85% of what it carries where there is no
fault, 60% where a queue is what is looked for.

Source: the simulator of `core.batching.event_skipping`; Wilson (1927) for the intervals.
"""

# In one piece: some forty faults of two to fifteen lines, one beside the other, and the run that
# they are put into.

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.queues.shares import wilson_interval
from serving_mathematics.planner.capacity_planner.fleet_energy import power_error
from serving_mathematics.report.evidence import FloatArray, Run, Series, _inside_at, _rates_told
from serving_mathematics.report.findings.finding import LEVELS, Asked
from serving_mathematics.report.findings.of_the_energy import _at_load, _modelled
from serving_mathematics.report.registry import FINDINGS
from serving_mathematics.report.rendering import TITLES
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
    require_work,
)

RECORD = "report_faults"
COMMAND = "python -m serving_mathematics.report.faults"
SIZES = (300, 1000, 3000)  # requests of a run
REPEATS = 40  # of each size, with each fault and without
SLOW_RUNS = 20  # at a load just beyond what the engine carries
ASKED = Asked(ttft_s=2.0, tpot_s=0.2, price_per_hour=2.0, deployment=WORKED)
POWER_SIGMA = 0.15  # of the logarithm, so that nine of ten are as near as the model's scores say


# In one piece: draws of one generator, whose order makes the run.
def served(
    rng: np.random.Generator,
    count: int,
    load: float | None = None,
    arrivals: FloatArray | None = None,
    prompts: FloatArray | None = None,
    places: int = 0,
    blocks: int = 2**40,
    prompt_s: float = 0.0,
    step_times: float = 1.0,
) -> Run:
    """A run of a simulated engine, with all that a log, a tool and its counters tell.

    count: requests. load: of what the engine can serve; drawn from a quarter to 0.85. arrivals,
    prompts: instead of Poisson and log-normal ones, the first of mean gap 1. places: of the batch;
    drawn where 0. blocks: of memory. prompt_s: of a prompt token, whole
    prompts in a step; drawn where 0. step_times: as long is each step, at the rate that the load is
    without. Raises ValueError as the simulator does.
    """
    count = require_positive_integer(count=count)
    step_times = require_positive(step_times=step_times)
    places, blocks = require_non_negative_integer(places=places, blocks=blocks)
    prompt_s = require_non_negative(prompt_s=prompt_s)
    require_work(count, count=count)
    load = float(rng.uniform(0.25, 0.85)) if load is None else require_positive(load=load)
    places = places or int(rng.choice([32, 64, 128]))
    if prompts is None:
        mean = float(rng.choice([200, 600, 1500]))
        prompts = np.ceil(mean * rng.lognormal(-0.32, 0.8, count))
    outputs = rng.geometric(1 / float(rng.choice([60, 150, 300])), count) + 1
    engine = Engine(
        float(rng.uniform(0.006, 0.02)),
        prompt_s or float(rng.uniform(1e-5, 4e-5)),
        float(rng.uniform(3e-5, 2e-4)),
        kv_blocks=blocks,
        token_budget=2**16 if prompt_s else int(rng.choice([2048, 8192])),
        max_sequences=places,
    )
    rate = load * saturated_rate(prompts, outputs, engine)
    gaps = rng.exponential(1.0, count) if arrivals is None else arrivals
    sent = np.cumsum(gaps) / rate
    asked = Workload(sent, prompts, outputs)
    costs = ("step_s", "prefill_token_s", "decode_token_s")
    slower = {name: step_times * getattr(engine, name) for name in costs}
    done = simulate(asked, replace(engine, **slower))
    ttft, whole = done.first_token_s - sent, done.completion_s - sent
    columns = {
        "due_s": sent - rng.exponential(0.0005, count),
        "sent_s": sent,
        "queue_s": done.admitted_s - sent,
        "ttft_s": ttft,
        "latency_s": whole,
        "prompt_tokens": np.asarray(prompts, dtype=float),
        "output_tokens": outputs.astype(float),
        "failed": np.zeros(count),
        "attempt": np.ones(count),
    }
    tpot = (whole - ttft) / (outputs - 1)
    found = float(rng.uniform(0.3, 0.6))
    drafted = 4.0 * outputs.sum() / 3
    counters = {
        "preemptions": float(done.preemptions.sum()),
        "ttft_count": float(count),
        "prefix_asked": float(np.sum(prompts)),
        "prefix_found": found * float(np.sum(prompts)),
        "draft_tokens": drafted,
        "accepted_tokens": float(rng.binomial(int(drafted), rng.uniform(0.5, 0.8))),
        "drafts": drafted / 4,
    }
    told = {
        "rate_asked": rate,
        "completed": float(count),
        "failed": 0.0,
        "duration_s": float(done.completion_s.max() - sent[0]),
        "tpot_s": float(np.mean(tpot)),
        "ttft_s": float(ttft.mean()),
        "latency_s": float(whole.mean()),
        "output_tokens": float(outputs.mean()),
    }
    gaps_s, ends = _gaps(rng, done.first_token_s, done.completion_s, outputs, engine, prompts)
    series = Series(np.arange(2.0), {name: np.array([0.0, x]) for name, x in counters.items()})
    shares = min(1.0, found + 0.02)
    return Run(
        "simulated", "a simulator", columns, told, gaps_s, ends, series, shares_prefix=shares
    )


def _gaps(
    rng: np.random.Generator,
    first: FloatArray,
    end: FloatArray,
    outputs: Any,
    engine: Engine,
    prompts: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Gaps between tokens of the first requests: steps of about one length, and those in which
    another's prompt ended longer by what it takes within the budget."""
    order = np.argsort(first)
    times = first[order]
    extra = engine.prefill_token_s * np.minimum(np.asarray(prompts)[order], engine.token_budget)
    gaps, ends = [], []
    for i in range(min(first.size, 150)):
        count = int(outputs[i]) - 1
        if count < 1:
            continue
        at = np.sort(rng.uniform(first[i], end[i], count))
        at[-1] = end[i]
        steps = np.full(count, (end[i] - first[i]) / count) * rng.normal(1.0, 0.05, count)
        inside = slice(*np.searchsorted(times, [first[i] + 1e-9, end[i]]))
        for moment, longer in zip(times[inside].tolist(), extra[inside].tolist(), strict=True):
            place = int(np.argmin(np.abs(at - moment)))
            at[place], steps[place] = moment, steps[place] + longer
        gaps.append(np.maximum(steps, 1e-6))
        ends.append(at)
    return np.concatenate(gaps), np.concatenate(ends)


def _with(run: Run, told: dict[str, float] | None = None, **columns: FloatArray) -> Run:
    return replace(run, columns={**run.columns, **columns}, told={**run.told, **(told or {})})


def _with_counters(run: Run, **counters: float) -> Run:
    assert run.series is not None
    values = dict(run.series.values) | {n: np.array([0.0, x]) for n, x in counters.items()}
    return replace(run, series=Series(run.series.time_s, values))


def _made_late(rng: np.random.Generator, count: int) -> Run:
    """A client whose processor is too slow, or stops for two seconds now and then."""
    run = served(rng, count)
    due = run.columns["due_s"]
    if rng.random() < 0.5:
        each = 1.15 * float(due[-1] - due[0]) / count
        sent = np.maximum.accumulate(due - each * np.arange(count)) + each * np.arange(count)
    else:
        stops = np.sort(rng.uniform(due[0], due[-1], 1 + count // 50))
        before = np.searchsorted(stops, due) - 1
        since = due - np.where(before >= 0, stops[np.maximum(before, 0)], -math.inf)
        sent = np.maximum.accumulate(due + np.where(since < 2, 2 - since, 0.0))
    return _with(run, sent_s=sent)


def _made_closed(rng: np.random.Generator, count: int) -> Run:
    """Clients that each wait for their answer."""
    clients = int(rng.choice([4, 8, 16]))
    times = rng.gamma(6.0, 0.3, (-(-count // clients) + 1, clients))
    ends = np.cumsum(times, axis=0) + rng.uniform(0, 0.5, clients)
    sent = np.vstack([np.zeros(clients), ends[:-1] + 1e-4])
    columns = {"sent_s": sent.ravel()[:count], "latency_s": times.ravel()[:count]}
    return Run("simulated", "a simulator", columns | {"ttft_s": 0.1 * times.ravel()[:count]})


def _made_warm(rng: np.random.Generator, count: int) -> Run:
    """The first requests take 3 to 6 times as long, at a load up to 70%."""
    run = served(rng, count, load=float(rng.uniform(0.25, 0.7)))
    cold = np.arange(count) < rng.integers(20, 20 + count // 20)
    times = np.where(cold, rng.uniform(3, 6), 1.0)
    ttft = run.columns["ttft_s"] * times
    later = run.columns["latency_s"] - run.columns["ttft_s"]
    return _with(run, ttft_s=ttft, latency_s=ttft + later)


def _made_fails(rng: np.random.Generator, count: int) -> Run:
    """Five in a hundred fail at once."""
    run = served(rng, count)
    failed = rng.random(count) < 0.05
    failed[0] = True
    fast = np.where(failed, 0.01, run.columns["latency_s"])
    ttft = np.where(failed, np.nan, run.columns["ttft_s"])
    return _with(run, failed=failed.astype(float), latency_s=fast, ttft_s=ttft)


def _made_empty(rng: np.random.Generator, count: int) -> Run:
    """Four in a hundred answers have no token."""
    run = served(rng, count)
    none = rng.random(count) < 0.04
    return _with(run, output_tokens=np.where(none, 0.0, run.columns["output_tokens"]))


def _made_tpot(rng: np.random.Generator, count: int) -> Run:
    """A time per token with the first token in it, or of chunks of two."""
    run = served(rng, count)
    whole = run.columns["latency_s"] / run.columns["output_tokens"]
    other = float(rng.choice([0.5, float(whole.mean()) / run.told["tpot_s"]]))
    return _with(run, {"tpot_s": run.told["tpot_s"] * (other if abs(other - 1) > 0.07 else 0.5)})


def _made_open_law(rng: np.random.Generator, count: int) -> Run:
    """A tool that leaves 40% of each latency out."""
    run = _made_closed(rng, count)
    ends = run.columns["sent_s"] + run.columns["latency_s"]
    whole = float(run.columns["latency_s"].mean())
    seconds = float(ends.max())
    held = count / seconds * whole
    told = {"concurrency": round(held), "rate_asked": math.inf, "duration_s": seconds}
    return Run("", "", told=told | {"completed": float(count), "latency_s": 0.6 * whole})


def _made_closed_law(rng: np.random.Generator, count: int) -> Run:
    """The same without it."""
    run = _made_open_law(rng, count)
    return replace(run, told={**run.told, "latency_s": run.told["latency_s"] / 0.6})


def _made_preempts(rng: np.random.Generator, count: int) -> Run:
    """Memory for the longest request and a fifth of what would come."""
    prompts = np.ceil(600 * rng.lognormal(-0.32, 0.8, count))
    blocks = int((prompts.max() + 4000) / 16) + 100
    return served(rng, count, load=0.9, prompts=prompts, places=128, blocks=blocks)


def _made_misses(rng: np.random.Generator, count: int) -> Run:
    """A cache that finds a third of what repeats."""
    run = served(rng, count)
    assert run.series is not None
    return replace(
        run,
        shares_prefix=min(
            0.95, 3 * run.series.grown("prefix_found") / run.series.grown("prefix_asked")
        ),
    )


def _made_refused(rng: np.random.Generator, count: int) -> Run:
    """Guesses of which a quarter is accepted."""
    run = served(rng, count)
    assert run.series is not None
    return _with_counters(run, accepted_tokens=0.25 * run.series.grown("draft_tokens"))


def _made_stalls(rng: np.random.Generator, count: int) -> Run:
    """Prompts that are long beside a step, read whole."""
    prompts = np.ceil(6000 * rng.lognormal(-0.32, 0.8, count))
    return served(rng, count, prompts=prompts, load=0.4, prompt_s=4e-5)


def _made_bursts(rng: np.random.Generator, count: int) -> Run:
    """Arrivals that are five times as dense in every fifth hundred."""
    dense = (np.arange(count) // 25) % 2 == 0
    return served(rng, count, arrivals=rng.exponential(1.0, count) * np.where(dense, 0.25, 1.75))


def _made_follows(rng: np.random.Generator, count: int) -> Run:
    """Prompts twice as long in the dense half."""
    dense = (np.arange(count) // max(count // 10, 1)) % 2 == 0
    gaps = rng.exponential(1.0, count) * np.where(dense, 0.4, 1.6)
    prompts = np.ceil(600 * rng.lognormal(-0.32, 0.5, count) * np.where(dense, 1.6, 0.6))
    return served(rng, count, arrivals=gaps, prompts=prompts)


def _made_few_carry(rng: np.random.Generator, count: int) -> Run:
    prompts = np.ceil(300 * rng.lognormal(-0.32, 0.8, count))
    prompts[rng.permutation(count)[: max(3, count // 80)]] = 20_000
    return served(rng, count, prompts=prompts)


def _made_late_answers(rng: np.random.Generator, count: int) -> Run:
    """Five in a hundred first tokens are late, in stretches."""
    run = served(rng, count)
    size = max(10, count // 40)
    bad = np.isin(
        np.arange(count) // size, rng.permutation(count // size)[: max(2, count // size // 20)]
    )
    return _with(run, ttft_s=run.columns["ttft_s"] + 3.0 * bad)


def _made_ladder(rng: np.random.Generator, count: int) -> Run:
    """A load that rises from a third to 1.7 of what the engine carries."""
    pace = np.linspace(0.33, 1.7, count)
    return served(rng, count, load=1.0, arrivals=rng.exponential(1.0, count) / pace, places=16)


def _made_turns(rng: np.random.Generator, count: int) -> Run:
    """Sessions of three requests on average."""
    of = rng.integers(0, max(count // 3, 1), count).astype(float)
    return _with(served(rng, count), session=of)


def _made_apart(rng: np.random.Generator, count: int) -> Run:
    """Three in a hundred first tokens are late, each by itself."""
    run = served(rng, count, load=float(rng.uniform(0.25, 0.7)))
    late = rng.random(count) < 0.03
    return _with(run, ttft_s=run.columns["ttft_s"] + 3.0 * late)


def _made_hours(rng: np.random.Generator, count: int) -> Run:
    """Traffic that comes in a third of the time and is not there in the rest."""
    run = served(rng, count)
    sent = run.columns["sent_s"]
    night = 2 * float(sent[-1] - sent[0]) + 3 * float(run.columns["latency_s"].max())
    later = np.where(np.arange(count) >= count // 2, night, 0.0)
    moved = {name: run.columns[name] + later for name in ("sent_s", "due_s")}
    return _with(run, {"duration_s": run.told["duration_s"] + night}, **moved)


def _shared(rng: np.random.Generator, count: int, load: float, crowd: bool) -> Run:
    """A run of four tenants, of whom the first has the longest prompts."""
    of = rng.choice(4, count, p=[0.3, 0.3, 0.2, 0.2])
    gaps = rng.exponential(1.0, count)
    if crowd:
        stretch = count / 8
        busy = np.arange(count) % stretch < 0.4 * stretch
        of = np.where(busy & (rng.random(count) < 0.75), 0, rng.choice([1, 2, 3], count))
        gaps = gaps * np.where(busy, 0.3, 1.4)
    prompts = np.ceil(np.where(of == 0, 1500, 500) * rng.lognormal(-0.1, 0.4, count))
    run = served(rng, count, load=load, arrivals=gaps, prompts=prompts, places=32)
    names = ("acme", "birch", "cedar", "dune")
    return replace(_with(run, tenant=of.astype(float)), tenants=names)


def _drawing(rng: np.random.Generator, count: int, times: float) -> Run:
    """A run whose devices draw so many times what the model has, which is off as its scores say."""
    run = served(rng, count)
    inside = float(rng.uniform(2.0, 64.0))
    tokens = float(rng.uniform(20.0, 60.0)) * inside
    output = run.told["output_tokens"]
    told = {"in_flight": inside, "duration_s": count * output / tokens, "completed": float(count)}
    told |= {"prompt_tokens": float(run.columns["prompt_tokens"].mean()), "output_tokens": output}
    bare = Run("simulated", "a simulator", told=told)
    one = _at_load(WORKED, _rates_told(bare), inside)
    model = _modelled(one, inside, tokens, tokens / output)[0]
    off = float(rng.lognormal(0.0, POWER_SIGMA))
    return replace(bare, told={**told, "power_w": times * off * model})


def _made_slower(rng: np.random.Generator, count: int) -> Run:
    """Steps that take half as long again from the middle on, at less than half of the load."""
    seed, load = int(rng.integers(2**31)), float(rng.uniform(0.25, 0.5))
    parts = [served(np.random.default_rng(seed), count, load, step_times=x) for x in (1.0, 1.5)]
    later = parts[0].columns["sent_s"] >= float(np.median(parts[0].columns["sent_s"]))
    columns = {
        name: np.where(later, parts[1].columns[name], parts[0].columns[name])
        for name in ("sent_s", "queue_s", "ttft_s", "latency_s")
    }
    return replace(parts[0], columns={**parts[0].columns, **columns})


Made = Callable[[np.random.Generator, int], Run]


def _loaded(low: float, high: float, places: int = 0) -> Made:
    """Makes runs at loads between these, of what the engine can serve."""
    return lambda rng, count: served(rng, count, float(rng.uniform(low, high)), places=places)


@dataclass(frozen=True)
class _Fault:
    """How a run with a fault is made, the level from which its finding counts, how a run without is
    made where one of the usual kind could have it, and whether both are of a thousand requests.

    >>> _Fault(served).least
    'warning'
    """

    made: Made
    least: str = "warning"
    without: Made = served
    many: bool = False


_FULL = _loaded(1.05, 1.4, 16)  # places, at the load that they carry
_CALM = _loaded(0.2, 0.6)  # nobody waits for a place
_BUSY, _EASY = _loaded(0.97, 1.15, 32), _loaded(0.33, 0.7, 32)
FAULTS = {  # by finding
    "late_client": _Fault(_made_late),
    "closed_loop": _Fault(_made_closed, "note"),
    "all_at_once": _Fault(lambda rng, count: served(rng, count, arrivals=np.full(count, 1e-6))),
    "warm_up": _Fault(_made_warm, "note"),
    "growing_queue": _Fault(_loaded(1.3, 1.6, 16), "problem"),  # until its places are long full
    "too_few": _Fault(lambda rng, count: served(rng, min(count, 120)), many=True),
    "failures": _Fault(_made_fails),
    "empty_answers": _Fault(_made_empty),
    "tpot_definition": _Fault(_made_tpot),
    "little_open": _Fault(_made_open_law, without=_made_closed_law),
    "equal_lengths": _Fault(
        lambda rng, count: served(rng, count, prompts=np.full(count, 512.0)), "note"
    ),
    "binding": _Fault(_FULL, without=_CALM),
    "queue_or_prefill": _Fault(_FULL, without=_CALM),
    "preemption": _Fault(_made_preempts),
    "prefix_hits": _Fault(_made_misses),
    "guesses": _Fault(_made_refused),
    "stalls": _Fault(
        _made_stalls,
        without=lambda rng, count: served(  # prompts that are short beside a step
            rng, count, prompts=np.ceil(120 * rng.lognormal(-0.1, 0.4, count))
        ),
    ),
    "bursts": _Fault(_made_bursts, "note", many=True),
    "paced": _Fault(
        lambda rng, count: served(rng, count, arrivals=np.ones(count)), "note", many=True
    ),
    "lengths_follow_load": _Fault(_made_follows, "note", many=True),
    "few_carry_most": _Fault(_made_few_carry, "note", many=True),
    "retries": _Fault(
        lambda rng, count: _with(
            served(rng, count), attempt=(1 + (rng.random(count) < 0.05)).astype(float)
        )
    ),
    "goodput": _Fault(_made_late_answers, many=True),
    "load_kept": _Fault(_made_ladder, without=_CALM, many=True),
    "breaking_load": _Fault(_BUSY, without=_EASY, many=True),
    "ceiling": _Fault(_BUSY, without=_EASY, many=True),
    "canary": _Fault(_made_late_answers, without=_made_apart, many=True),
    "cost": _Fault(_made_hours),
    "sessions": _Fault(  # of three requests on average, and of one
        _made_turns,
        "note",
        lambda rng, count: _with(served(rng, count), session=np.arange(count, dtype=float)),
    ),
    "tenants": _Fault(  # one sends more than the engine carries, and each at its own steady rate
        lambda rng, count: _shared(rng, count, float(rng.uniform(0.55, 0.75)), crowd=True),
        without=lambda rng, count: _shared(rng, count, float(rng.uniform(0.25, 0.7)), crowd=False),
        many=True,
    ),
    "joules": _Fault(  # twice as many devices work as the deployment has
        lambda rng, count: _drawing(rng, count, 2.0),
        without=lambda rng, count: _drawing(rng, count, 1.0),
    ),
    "engine_changed": _Fault(_made_slower),
}


def _told_of(name: str, run: Run, least: str) -> bool:
    """Whether a finding is told of a run, at a level or worse."""
    rule = next(rule for rule in FINDINGS if rule.name == name)
    if rule.lacks(run, ASKED):
        return False
    found = rule.find(run, ASKED)
    return found is not None and LEVELS.index(found.level) <= LEVELS.index(least)


def score_fault(name: str, repeats: int, sizes: tuple[int, ...] = SIZES) -> dict[str, Any]:
    """How often a finding was missed of runs with its fault, and told of runs without.

    name: of the finding. repeats: of each size, 1 or more. sizes: requests of a run.

    >>> score_fault("failures", 1, (300,))["missed"]
    0
    """
    repeats = require_positive_integer(repeats=repeats)
    sizes = tuple(require_positive_integer(sizes=size) for size in sizes)
    require(name in FAULTS, "name", f"one of {', '.join(FAULTS)}", name)
    require_work(100 * repeats * sum(sizes), repeats=repeats, sizes=sizes)
    fault, number = FAULTS[name], list(FAULTS).index(name)
    fewest = 1000 if fault.many else 0
    missed = alarms = runs = 0
    for place, size in enumerate(sizes):
        if size < fewest and name != "too_few":
            continue
        for repeat in range(repeats):
            seed = [number, place, repeat]
            broken = fault.made(np.random.default_rng([*seed, 1]), size)
            missed += not _told_of(name, broken, fault.least)
            clean = fault.without(np.random.default_rng([*seed, 2]), max(size, fewest))
            alarms += _told_of(name, clean, fault.least)
            runs += 1
    return {"finding": name, "runs": runs, "missed": missed, "alarms": alarms}


def main() -> None:
    """Score every finding and write the record."""
    rows = [score_fault(name, REPEATS) for name in FAULTS]
    print(f"wrote {write_record(RECORD, provenance(COMMAND, ['numpy']) | {'rows': rows})}")


def _percent(part: int, of: int) -> str:
    share = wilson_interval(part, of)
    return f"{100 * share.share:.1f}% (up to {100 * share.high:.1f}%)"


def example() -> SimpleNamespace:
    """The table of the page."""
    rows = read_record(RECORD)["rows"]
    lines = [
        f"| {TITLES[row['finding']]} | `{row['finding']}` | {row['runs']} | "
        f"{_percent(row['missed'], row['runs'])} | {_percent(row['alarms'], row['runs'])} |"
        for row in rows
    ]
    return SimpleNamespace(
        fault_rows="\n".join(lines),
        fault_runs=sum(2 * row["runs"] for row in rows),
        worst_missed_percent=max(100 * row["missed"] / row["runs"] for row in rows),
        worst_missed_high_percent=max(
            100 * wilson_interval(row["missed"], row["runs"]).high for row in rows
        ),
        slow_runs=SLOW_RUNS,
        slow_missed=_slow_missed("warning"),
        slow_doubted=_slow_missed("problem") - _slow_missed("warning"),
        worst_alarms_percent=max(100 * row["alarms"] / row["runs"] for row in rows),
    )


@functools.cache
def _slow_missed(least: str) -> int:
    """Of runs of 1,000 requests at a load of 105%, those whose growing queue is not told of, at a
    level or worse: fifty requests' work is left over, and as much comes or goes by chance. A
    warning says that it may be a burst."""
    runs = (
        served(np.random.default_rng(seed), 1000, load=1.05, places=16) for seed in range(SLOW_RUNS)
    )
    return sum(not _told_of("growing_queue", run, least) for run in runs)


def check_a_slow_fault_is_missed_more_often() -> None:
    """A queue that grows at a load of 105% is missed in one run of seven or more, where none is at
    130% and more.

    Source: the engine simulator, and the record.
    """
    rows = {row["finding"]: row for row in read_record(RECORD)["rows"]}
    checks.equal("130% and more: missed", rows["growing_queue"]["missed"], 0, kind="stated")
    checks.inside("105%: missed", _slow_missed("warning") / SLOW_RUNS, 0.15, 0.6)


def check_findings_are_right() -> None:
    """Of runs with a fault at most one in twenty is missed, of those without one in thirty is told.

    Source: the record.
    """
    for row in read_record(RECORD)["rows"]:
        checks.inside(f"{row['finding']}: missed", row["missed"] / row["runs"], 0.0, 1 / 20)
        checks.inside(f"{row['finding']}: alarms", row["alarms"] / row["runs"], 0.0, 1 / 30)


def check_power_is_off_as_its_scores_say() -> None:
    """Nine of ten made powers are as near as nine of ten measured ones.

    Source: the scores of the model of power on an H100.
    """
    nine_of_ten = math.exp(1.645 * POWER_SIGMA) - 1
    checks.close(
        "error", nine_of_ten, power_error(WORKED.system.name)[0], rtol=0.1, kind="measured"
    )


def check_load_of_a_clean_run() -> None:
    """A run without faults has what its engine would tell: requests inside as Little's law has it.

    Source: Little (1961).
    """
    run = served(np.random.default_rng(3), 3000)
    inside = _inside_at(run, np.linspace(0.2, 0.8, 400) * float(run.columns["sent_s"][-1]))
    law = run.told["rate_asked"] * run.told["latency_s"]
    checks.close("requests inside", float(inside.mean()), law, rtol=0.03, kind="simulation")


if __name__ == "__main__":
    main()
