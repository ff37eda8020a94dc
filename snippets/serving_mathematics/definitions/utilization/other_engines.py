"""Which engines pay for load in this way, and what moves the limit on the same engine.

The same question for other machines of the book, for long answers, and for a step a fifth slower.

`python -m serving_mathematics.definitions.utilization.other_engines` runs these engines, in half a
minute, and writes records/other_engines.json.gz.

Assumes: what `core.machines.running` assumes.

Source: own simulation of the book's machines; the laws are by choice, with the trace's means.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import TICK_S, Workload
from serving_mathematics.core.batching.event_skipping import saturated_rate, simulate
from serving_mathematics.core.machines.customers import LONGEST as LONGEST_CHAT
from serving_mathematics.core.machines.customers import _long_chat
from serving_mathematics.core.machines.machines import AGENTS, CHAT, L40S, LARGE, MIXTURE, Machine
from serving_mathematics.core.machines.reader import READER, Reader
from serving_mathematics.core.machines.running import run_engine
from serving_mathematics.core.machines.traffic import draw_arrivals, draw_lengths
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded

FloatArray = npt.NDArray[np.float64]
OTHERS = (
    replace(CHAT, name="A100", device="A100"),
    L40S,
    replace(LARGE, name="large on eight", devices=8),
    LARGE,
)
LARGE_LOADS = 50, 60, 70, 85  # in percent of its ceiling
SEEDS = range(32)  # of a slower engine, whose runs differ by half of what they keep
DRAWS = tuple(range(3, 19))  # of the other engines: when a cache begins to forget is chance
LONGEST = (5000, 1800)  # tokens of a drawn prompt and answer, at most
DOCUMENT, DOCUMENTS = 12_000, 0.03  # tokens, and share of the prompts beside chat's
TOGETHER = 8  # requests at a time, as an agent sends them
ENOUGH = 20  # prompts of E[p²]/E[p] in the promised first token
SHORT_ANSWER, LONG_ANSWER = 25, 800  # tokens of a mean answer
LONG_ANSWERS = (400, 1500)  # tokens of a prompt and of a mean answer, as of a model that reasons


class _Seen(NamedTuple):
    """Shares of the requests that keep the promise, of the prompt tokens that are found while
    sessions begin, of the places that are taken, and of the time in which all are; the first token
    that 99% have, the mean time per token and the mean wait [s]. The last five without the first
    tenth."""

    kept: float
    found: float
    running: float
    full: float
    late_s: float
    slow_s: float
    wait_s: float


@recorded(_Seen, "other_engines")
def _run(
    machine: Machine | Reader,
    load: float,
    requests: int,
    slowness: float = 1.0,
    seed: int = 3,
) -> _Seen:
    """A machine at a load in percent of its ceiling."""
    rate, rng = load / 100 * machine.ceiling_per_s, np.random.default_rng(seed)
    run = run_engine(machine, rate, requests, rng, slowness=slowness)
    warm = run.arrival_s.size // 10
    first, last = run.arrival_s[[warm, -1]].tolist()
    running = run.series(np.linspace(first, last, 2000)).running
    asked = run.arrival_s <= requests / rate  # those who come later come to an engine that empties
    return _Seen(
        run.kept(machine),
        float(run.cached_tokens[asked].sum() / run.prompt_tokens[asked].sum()),
        float(running.mean()) / machine.places,
        float((running >= machine.places).mean()),
        float(np.quantile(run.ttft_s[warm:], 0.99)),
        run.token_s(warm),
        float((run.admitted_s - run.arrival_s)[warm:].mean()),
    )


def _median(machine: Machine, load: float, requests: int) -> _Seen:
    """The same in the median of draws."""
    runs = [_run(machine, load, requests, seed=seed) for seed in DRAWS]
    return _Seen(*np.median(runs, axis=0).tolist())


@functools.cache
def _long_answers(law: str) -> tuple[float, float]:
    """Mean time per token with 256 places at 60% of the rate that answers of constant length have
    at most [s], simulated and by the closed form at the mean context of a step."""
    (prompt, answer), requests = LONG_ANSWERS, 16_000
    rng, engine = np.random.default_rng(5), _long_chat()
    answers = rng.geometric(1 / answer, requests) if law == "exponential" else [answer] * requests
    answers = np.minimum(answers, LONGEST_CHAT - prompt).astype(np.int64)
    prompts = np.full(requests, prompt)
    rate = 0.6 * saturated_rate(prompts[:1], np.array([answer]), engine, np.zeros(1, np.int64))
    gaps = np.random.default_rng(6).exponential(1 / rate, requests)
    served = simulate(Workload(np.cumsum(gaps), prompts, answers), engine)
    later, kept = answers - 1.0, slice(requests // 10, None)
    spent = (served.completion_s - served.first_token_s)[kept].sum()
    context = prompt + float((later**2).mean() / (2 * later.mean()))
    low, high = CHAT.step_s([1, CHAT.places], context).tolist()
    slope = (high - low) / (CHAT.places - 1)
    own = float(CHAT.prompt_s([prompt])[0]) + float(later.mean()) * slope
    return float(spent / later[kept].sum()), low / (1 - rate * own)


@functools.cache
def _tail(answer: int, shortest: int = 1) -> tuple[float, float, float]:
    """Time per token of the slowest hundredth over the mean, with the prompts of the trace, none
    below the shortest, and exponential answers on the chat machine at half of what many places
    carry; that mean [s], and the closed form's."""
    requests, load = 6000, 0.5
    rng, lengths = np.random.default_rng(5), CHAT.sample
    prompts = np.clip(rng.choice(lengths.prompt_tokens, requests), shortest, LONGEST[0])
    answers = np.minimum(rng.geometric(1 / answer, requests), LONGEST[1]).astype(np.int64)
    later = answers - 1.0
    context = float(prompts.mean()) + float((later**2).mean() / (2 * later.mean()))
    low, high = CHAT.step_s([1, CHAT.places], context).tolist()
    own = float(CHAT.prompt_s(prompts).mean()) + float(later.mean()) * (high - low) / (
        CHAT.places - 1
    )
    gaps = np.random.default_rng(6).exponential(own / load, requests)
    served = simulate(Workload(np.cumsum(gaps), prompts, answers), CHAT.engine)
    spent, kept = served.completion_s - served.first_token_s, slice(requests // 10, None)
    mean_s = float(spent[kept].sum() / later[kept].sum())
    slow_s = float(np.quantile((spent / np.maximum(later, 1.0))[kept], 0.99))
    return slow_s / mean_s, mean_s, low / (1 - load)


def _fit(prompt_s: FloatArray) -> float:
    """Prompts of E[p²]/E[p] that fit into the chat machine's promised first token."""
    return CHAT.promise.ttft_s * float(prompt_s.mean() / (prompt_s**2).mean())


def _own_fit(machine: Machine) -> float:
    """The same of a machine's own prompts."""
    return _fit(machine.prompt_s(machine.sample.prompt_tokens))


class _Behind(NamedTuple):
    """The first token that 99% have [s], and how many prompts fit into the promised one: of the
    mean, and of E[p²]/E[p]."""

    late_s: float
    mean_fit: float
    fit: float


@functools.cache
def _behind(documents: float = 0.0, together: int = 1) -> _Behind:
    """The chat machine at 85% of its ceiling, with a share of documents among its prompts, and so
    many requests at a time."""
    requests, rng, engine = 16_000, np.random.default_rng(5), _long_chat()
    asked, promise = draw_lengths(rng, CHAT.traffic, requests), CHAT.promise.ttft_s
    prompts = np.where(rng.random(requests) < documents, DOCUMENT, asked.prompt_tokens)
    read = Workload(np.zeros(requests), prompts, np.ones(requests))
    prompt_s = engine.prefill_token_s * prompts + TICK_S * engine.prompt_ticks(read)
    most = saturated_rate(prompts, asked.output_tokens, engine, np.zeros(requests, np.int64))
    times = draw_arrivals(rng, 0.85 * most / together, requests // together)
    arrivals = np.repeat(times, together)
    served = simulate(Workload(arrivals, prompts, asked.output_tokens), engine)
    first_s = served.first_token_s - arrivals + CHAT.made.around_s
    late_s = float(np.quantile(first_s[requests // 10 :], 0.99))
    return _Behind(late_s, promise / float(prompt_s.mean()), _fit(prompt_s))


def _late_from() -> float:
    """Load from which the large model's first tokens are late for one in a hundred [%]."""
    late = [_median(LARGE, load, 40_000).late_s for load in LARGE_LOADS]
    return float(np.interp(CHAT.promise.ttft_s, late, LARGE_LOADS))


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    slow = [_run(CHAT, 80, 16_000, slowness=1.2, seed=seed).kept for seed in SEEDS]
    light, late = (_median(AGENTS, load, 3000) for load in (30, 70))
    long = _median(MIXTURE, 50, 8000)
    return SimpleNamespace(
        slow_kept=100 * float(np.mean(slow)),
        mixture_first_s=long.late_s,
        mixture_running=100 * long.running,
        large_fit=_own_fit(LARGE),
        mean_fit=ENOUGH * _behind().mean_fit / _behind().fit,
        enough=ENOUGH,
        apart_s=_behind().late_s,
        together=TOGETHER,
        together_s=_behind(together=TOGETHER).late_s,
        large_late_from=_late_from(),
        agents_found_light=100 * light.found,
        agents_draws=len(DRAWS),
        agents_found_late=100 * late.found,
        agents_found_most=100 * max(_run(AGENTS, 70, 3000, seed=seed).found for seed in DRAWS),
        wrong_low=CHAT.how_wrong.low,
        wrong_high=CHAT.how_wrong.high,
        long_answer_tokens=LONG_ANSWERS[1],
        spread_slower=_long_answers("exponential")[0] / _long_answers("constant")[0],
    )


def check_the_tail_follows_from_the_answers() -> None:
    """At half of what many places carry, the slowest hundredth of answers of 25 tokens takes more
    than twice the mean time per token, and of answers of 800 tokens less than 1.4 times the mean,
    or 1.4 to 1.8 times where prompts have 5,000 tokens; the closed form gives the mean to a sixth.

    Source: simulation of 6,000 requests each.
    """
    for answer, shortest, low, high in (
        (SHORT_ANSWER, 1, 2.0, 4.0),
        (LONG_ANSWER, 1, 1.0, 1.4),
        (LONG_ANSWER, LONGEST[0], 1.4, 1.8),
    ):
        ratio, mean_s, told_s = _tail(answer, shortest)
        label = f"answers of {answer}, prompts of {shortest} or more"
        checks.inside(f"{label}: slow over mean", ratio, low, high)
        checks.close(
            f"{label}: mean [ms]", 1e3 * told_s, 1e3 * mean_s, rtol=0.17, kind="simulation"
        )


def check_the_spread_of_long_answers_enters_by_the_context() -> None:
    """With prompts of 400 and answers of 1,500 tokens, exponential lengths of answers make a
    token take half as long again as constant lengths do, at the same rate; with the mean context of
    a step, the closed form gives both to within 8%.

    Source: simulation of 16,000 requests each; the context is the prompt and E[m²]/2E[m].
    """
    for law in ("constant", "exponential"):
        seen, told = _long_answers(law)
        checks.close(
            f"{law}: closed form [ms]", 1e3 * told, 1e3 * seen, rtol=0.08, kind="simulation"
        )
    ratio = _long_answers("exponential")[0] / _long_answers("constant")[0]
    checks.inside("exponential over constant", ratio, 1.5, 1.8)


def check_a_step_a_fifth_slower_breaks_a_percentage() -> None:
    """At 80% of what was predicted, nearly all keep the promise; with steps a fifth slower than
    predicted, not even two thirds.

    Source: the same requests on the same machine with a slower clock.
    """
    calm, slow = (_run(CHAT, 80, 16_000, slowness=times).kept for times in (1.0, 1.2))
    checks.inside("as predicted: kept", calm, 0.99, 1)
    checks.inside("a fifth slower: kept", slow, 0, 0.67)


def check_first_tokens_wait_for_prompts() -> None:
    """At 85% of their ceilings, the slowest hundredth of the first tokens of engines with many
    places takes no longer than fifteen prompts of E[p²]/E[p], and longer than a second if fewer
    than twelve of these fit into one. With documents among chat's prompts it takes longer than a
    second although thirty mean prompts fit, and with eight requests at a time although twenty of
    E[p²]/E[p] do. Where seven fit, it takes longer before three quarters of the ceiling.

    Source: simulation of 16,000 or 40,000 requests, on five engines.
    """
    for machine in OTHERS:
        run, fit = _run(machine, 85, 40_000), _own_fit(machine)
        checks.inside(f"{machine.name}: first token, in prompts", run.late_s * fit, 7, 15)
        checks.holds(f"{machine.name}: late", fit < 12 and run.late_s > 1, got=[fit, run.late_s])
        checks.inside(f"{machine.name}: all places taken", run.full, 0, 0.02)
    plain, beside, many = _behind(), _behind(DOCUMENTS), _behind(together=TOGETHER)
    checks.inside("chat: first token [s]", plain.late_s, 0, 0.7)
    checks.inside("beside documents: first token, in prompts", beside.late_s * beside.fit, 7, 15)
    checks.holds("thirty mean prompts fit", beside.mean_fit > 30 > ENOUGH > beside.fit)
    checks.inside("beside documents: first token [s]", beside.late_s, 1.1, 2.5)
    checks.holds("eight at a time: enough fit", many.fit > ENOUGH, got=many.fit)
    checks.inside("eight at a time: first token [s]", many.late_s, 1.2, 3)
    checks.inside("seven fit: late from [%]", _late_from(), 55, 75)


def check_what_other_machines_pay_first() -> None:
    """At half of its ceiling, the mixture has tokens more than twice as slow as for a lone request,
    and late first tokens with places to spare; requests of the reader, one core that takes one at a
    time, wait as in a queue of constant service. With its batches of eight they wait less than
    two thirds as long.

    Source: the median of sixteen simulations of 8,000 requests, and one of 40,000;
    Pollaczek–Khinchine for constant service.
    """
    long = _median(MIXTURE, 50, 8000)
    checks.inside("mixture: times alone", long.slow_s / float(MIXTURE.step_s(1)), 1.8, 4)
    checks.inside("mixture: first token [s]", long.late_s, 8, 20)
    checks.inside("mixture: all places taken", long.full, 0, 0.01)
    alone = READER.limited(1)
    wait = _run(alone, 70, 40_000).wait_s / float(alone.batch_s(1))
    checks.close("reader: mean wait at 70%", wait, 0.7 / 0.3 / 2, rtol=0.1, kind="simulation")
    run = run_engine(READER, 0.7 * READER.ceiling_per_s, 40_000, np.random.default_rng(3))
    less_s = float((run.admitted_s - run.arrival_s)[4000:].mean())
    less = less_s / float(alone.batch_s(1)) / wait
    checks.inside("reader with batches: wait, of that", less, 0.0, 0.67, kind="simulation")


def check_a_cache_that_forgets_comes_before_both() -> None:
    """From 30% to 70% of the ceiling, while sessions begin, the share of prompt tokens that the
    agents' cache finds falls from nine tenths to less than a twentieth. The share of requests that
    keep the promise falls from nine tenths to less than a third, while most places are free.

    Source: `core.fleet`, medians of sixteen draws of 3,000 requests at each load.
    """
    for load, low, high, most in ((30, 0.9, 1.0, 1.0), (70, 0.0, 1 / 3, 0.05)):
        run = _median(AGENTS, load, 3000)
        checks.inside(f"at {load}%: kept", run.kept, low, high)
        checks.inside(f"at {load}%: found", run.found, low - 0.05, most)
        checks.inside(f"at {load}%: places in use", run.running, 0, 0.5)


def check_a_run_is_made_again() -> None:
    """An engine of the record, simulated again, shows the same.

    Source: the record, and its command.
    """
    run = MIXTURE, 50, 8000
    checks.close("mixture at 50%", _run.again(*run), _run(*run), rtol=1e-6, kind="simulation")


if __name__ == "__main__":
    _run.make()
