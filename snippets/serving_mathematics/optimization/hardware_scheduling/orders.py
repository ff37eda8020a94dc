"""Which key to sort by: what is known of a request helps, and what is guessed is paid by the rest.

An order only decides who gets the next place, block or step. Where prompts are long, requests wait
for prompts in front of them; the tokens of a prompt that no cache holds are known on arrival, and
going by them shortens nearly everybody's first token. A key of

    arrival + k · (time of the prompt)

does so with a bound: whoever comes more than k times a prompt's time later does not overtake it. k
= 0 is the order of arrival, and a large k is shortest prompt first; how large it may be the longest
prompt says. Tokens come a little later, because whoever gets in sooner decodes beside more prompts.
The length of an answer is not known; going by a guess of it shortens the mean a little and
lengthens the tail.

`python -m serving_mathematics.optimization.hardware_scheduling.orders` lets an engine serve in each
order, in some seconds, and writes records/queue_orders.json.gz.

Assumes: what `core.fleet` assumes; Poisson arrivals, or the minutes of a trace.

Source: Fu et al. (2024) for shortest predicted answer first; TensorRT-LLM's
`shortest_uncached_first` for the other key.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.outcomes import Outcome
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.traffic import draw_requests
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import recorded
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_all_non_negative,
    require_non_negative,
)

FloatArray = npt.NDArray[np.float64]

REQUESTS = {"chat": 4000, "mixture": 1000}  # the first tenth is left out
SLACKS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
SLACK, MORE = 30.0, 300.0
FEW = CHAT.limited(64)
CALM = 0.67  # below three quarters
DRAWS = (1, 2, 3, 4, 5)  # of requests: near the ceiling chance decides how long the line is
LONGER = 4  # times as many requests, in which it goes on growing
MANY_DRAWS = tuple(range(1, 16))  # the longest wait of each is chance: the page says their median


def slack_key(arrival_s: npt.ArrayLike, prompt_s: npt.ArrayLike, slack: float) -> FloatArray:
    """The key of each request: the smallest goes first [s], shape (n,).

    arrival_s: times [s], shape (n,). prompt_s: of the part of each prompt that no cache holds [s],
    non-negative, shape (n,). slack: k, non-negative; 0 keeps the order of arrival. Raises
    ValueError on anything else.

    >>> slack_key([0.0, 1.0, 2.0], [4.0, 0.1, 0.1], slack=10.0).tolist()
    [40.0, 2.0, 3.0]
    """
    arrivals, prompts = as_floats(arrival_s=arrival_s), as_floats(prompt_s=prompt_s)
    require_all_finite(arrival_s=arrivals)
    require_all_non_negative(prompt_s=prompts)
    require(
        arrivals.shape == prompts.shape, "prompt_s", f"of shape {arrivals.shape}", prompts.shape
    )
    slack = require_non_negative(slack=slack)
    return np.asarray(arrivals + slack * prompts)


@functools.cache
def _asked(
    machine: Machine,
    load: float,
    minutes: bool = False,
    draw: int = 1,
    count: int | None = None,
    times: int = 1,
) -> Requests:
    rng, size = np.random.default_rng(draw), times * REQUESTS[machine.name]
    rate_per_s = load * machine.ceiling_per_s
    arrivals, lengths = draw_requests(rng, machine.traffic, rate_per_s, size, minutes)
    part = slice(count)
    columns = lengths.prompt_tokens[part], lengths.output_tokens[part], lengths.cached_tokens[part]
    return Requests(arrivals[part], *columns)


def _in_order(asked: Requests, engine: Engine, key: npt.ArrayLike) -> Outcome:
    """An engine that lets in the smallest key of those that wait."""
    keys = np.asarray(key, dtype=float).tolist()
    return simulate_fleet(asked, Fleet([engine], schedule=lambda request, _ledger: keys[request]))


def _noise(size: int, error: float) -> FloatArray:
    return np.asarray(np.exp(error * np.random.default_rng(3).standard_normal(size)))


class _Waits(NamedTuple):
    """Of first tokens the share within the machine's promise, and the p90, the p99 and the longest
    [s]; the share of requests of which the time per token keeps its promise too, and the p90 of
    that time [s]."""

    in_time: float
    p90_s: float
    p99_s: float
    longest_s: float
    kept: float
    token_p90_s: float


def _served(
    machine: Machine,
    load: float,
    by: str,
    slack: float,
    error: float,
    minutes: bool,
    draw: int,
    times: int = 1,
) -> tuple[FloatArray, FloatArray]:
    """Time to the first token and per token [s], without the first tenth."""
    asked = _asked(machine, load, minutes, draw, times=times)
    size = asked.arrival_s.size
    if by == "answer":
        key = asked.output_tokens * _noise(size, error)
    else:
        prompts = machine.prompt_s(asked.prompt_tokens, asked.cached_tokens)
        prompts = prompts * _noise(size, error)
        key = slack_key(asked.arrival_s, prompts, slack if by == "prompt" else 0.0)
    served = _in_order(asked, machine.engine, key)
    late = slice(size // 10, None)
    first, whole = served.first_token_s - asked.arrival_s, served.completion_s - asked.arrival_s
    each = (whole - first) / np.maximum(asked.output_tokens - 1, 1)
    return first[late] + machine.made.around_s, each[late]


@recorded(_Waits, "queue_orders")
def _waits(
    machine: Machine,
    load: float,
    by: str,
    slack: float = SLACK,
    error: float = 0.0,
    minutes: bool = False,
    draw: int = 1,
) -> _Waits:
    """What requests wait when an engine lets them in by arrival, by prompt or by answer; error: the
    standard deviation of ln(told/true) of the key."""
    first, each = _served(machine, load, by, slack, error, minutes, draw)
    p90, p99, longest = np.quantile(first, [0.9, 0.99, 1.0]).tolist()
    in_time, fast = first <= machine.promise.ttft_s, each <= machine.promise.tpot_s
    kept, slow = float((in_time & fast).mean()), float(np.quantile(each, 0.9))
    return _Waits(float(in_time.mean()), p90, p99, longest, kept, slow)


def _pairs(
    machine: Machine = MIXTURE,
    load: float = 0.95,
    draws: tuple[int, ...] = DRAWS,
    **given: Any,
) -> list[tuple[_Waits, _Waits]]:
    """In every draw on a machine, near its ceiling where no load is given: in order of arrival, and
    by another key."""
    given = {"by": "prompt"} | given
    plain = {"by": "arrival", "minutes": given.get("minutes", False)}
    return [
        (_waits(machine, load, draw=draw, **plain), _waits(machine, load, draw=draw, **given))
        for draw in draws
    ]


@functools.cache
def _longer() -> list[float]:
    """Share of first tokens in time with slack, in each draw of more requests."""
    runs = (_served(MIXTURE, 0.95, "prompt", SLACK, 0.0, False, draw, LONGER) for draw in DRAWS)
    return [float((first <= MIXTURE.promise.ttft_s).mean()) for first, _ in runs]


def _span(values: list[float]) -> str:
    return f"{min(values):.0f} to {max(values):.0f}"


def example() -> SimpleNamespace:
    """The numbers quoted in the text, spans over the draws."""
    known, few = _pairs(draws=MANY_DRAWS), _pairs(FEW, slack=MORE)
    guessed = _pairs(draws=MANY_DRAWS, by="answer", error=1.0)
    late = [after.longest_s / before.longest_s for before, after in known]
    return SimpleNamespace(
        draws=len(MANY_DRAWS),
        kept_before=_span([100 * before.in_time for before, _ in known]),
        kept_after=_span([100 * after.in_time for _, after in known]),
        longer_after=_span([100 * share for share in _longer()]),
        both_after=_span([100 * after.kept for _, after in known]),
        chat_before=_span([100 * before.in_time for before, _ in few]),
        chat_after=_span([100 * after.in_time for _, after in few]),
        mixture_slack=60 / _longest_prompt_s(MIXTURE),
        chat_slack=60 / _longest_prompt_s(CHAT),
        calm_slower_percent=100 * _slower(_pairs(load=CALM)),
        longest_times=float(np.median(late)),
        guess_tail=float(np.median([after.p99_s / before.p99_s for before, after in guessed])),
        prompt_share_percent=100 * MIXTURE.ceiling_per_s * _mean_prompt_s(MIXTURE),
    )


def _slower(pairs: list[tuple[_Waits, _Waits]]) -> float:
    """By how much the p90 of the time per token is longer, averaged over the draws."""
    return float(np.mean([after.token_p90_s / before.token_p90_s for before, after in pairs])) - 1


def _longest_prompt_s(machine: Machine) -> float:
    lengths = machine.sample
    return float(machine.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).max())


def _mean_prompt_s(machine: Machine) -> float:
    lengths = machine.sample
    return float(machine.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).mean())


def figure_slack(figure: Figure) -> None:
    """A long prompt makes all requests behind it wait: with much slack in favour of short prompts,
    most first tokens come in time; a little slack helps less.

    First tokens within ten seconds on the mixture: means of five draws, shaded from the lowest to
    the highest; slack 0 is the order of arrival. Dashed: within a second on the chat machine with
    64 places at 95% load, whose short prompts need more slack.

    Alt: Share of first tokens in time against the slack, on a logarithmic axis that begins with no
    slack. Two curves rise to above eight tenths where slack is thirty, that of the higher load from
    far below, that of the lower load from not far below. The shaded areas around them are wide at
    no slack and narrow with much. A dashed line is level to the middle and rises towards the right
    end.
    """
    axes = figure.subplots()
    places = np.arange(len(SLACKS))
    for load, colour, at in ((0.8, "C0", (0.25, 69)), (0.95, "C1", (2.2, 42))):
        kept = 100 * np.array(
            [[_waits(MIXTURE, load, "prompt", k, draw=d).in_time for d in DRAWS] for k in SLACKS]
        )
        axes.plot(places, kept.mean(axis=1), "o-", color=colour)
        axes.fill_between(places, kept.min(axis=1), kept.max(axis=1), color=colour, alpha=0.15)
        axes.annotate(f"{100 * load:.0f}% load", at, color=colour)
    chat = [
        np.mean([_waits(FEW, 0.95, "prompt", k, draw=d).in_time for d in DRAWS]) for k in SLACKS
    ]
    axes.plot(places, 100 * np.array(chat), "--", color="C4")
    axes.annotate("chat", (2.6, 72), color="C4")
    axes.set_xticks(places, [f"{slack:.0f}" for slack in SLACKS])
    axes.set(ylim=(0, 110), xlabel="slack k", ylabel="first tokens in time [%]")


def check_known_prompts_beat_guessed_answers() -> None:
    """On the mixture at 95% load, ordering by the uncached prompt with a slack of 30 gets more
    first tokens in time in each of fifteen draws and takes a third or more off their p90; it also
    does so in five draws with prompt times known to within a fifth, and in the trace's minutes. The
    very last first token comes three times as late in the median. Ordering by answers guessed with
    an error of 1 makes the p99 at least half longer than in order of arrival.

    Source: `core.fleet` on the same thousand requests.
    """
    tried: tuple[tuple[str, dict[str, Any]], ...] = (
        ("as known", {"draws": MANY_DRAWS}),
        ("to a fifth", {"error": 0.2}),
        ("real minutes", {"minutes": True}),
    )
    for label, given in tried:
        pairs = _pairs(**given)
        more = [after.in_time - before.in_time for before, after in pairs]
        checks.holds(f"{label}: more in time", min(more) > 0.02, got=np.round(more, 2).tolist())
        worst = max(after.p90_s / before.p90_s for before, after in pairs)
        checks.inside(f"{label}: p90, prompt over arrival", worst, 0, 0.667)
    late = example().longest_times
    checks.inside("the last, prompt over arrival, median", late, 2.5, 3.5)
    guessed = _pairs(draws=MANY_DRAWS, by="answer", error=1.0)
    for draw, (before, after) in zip(MANY_DRAWS, guessed, strict=True):
        tail = after.p99_s / before.p99_s
        checks.inside(f"guessed answers, draw {draw}: p99", tail, 1.5, 30)


def check_longer_runs_lose_more() -> None:
    """Near the ceiling the queue grows as long as the run lasts: even with the slack, a smaller
    share of four thousand requests than of a thousand gets its first token in time.

    Source: `core.fleet`, five draws of each.
    """
    longer = float(np.mean(_longer()))
    shorter = float(np.mean([after.in_time for _, after in _pairs()]))
    checks.inside("fewer in time", shorter - longer, 0.1, 0.35)


def check_an_order_does_not_make_tokens_faster() -> None:
    """Near the ceiling at most four fifths of the requests keep both promises, short prompts first
    or not. At two-thirds load, short prompts first make the p90 time per token 2 to 10% longer in
    the mean, and as many requests keep both promises, to within two in a hundred.

    Source: the same runs.
    """
    for place, label in enumerate(("arrival", "prompt")):
        most = max(pair[place].kept for pair in _pairs(draws=MANY_DRAWS))
        checks.inside(f"by {label}: both promises, most", most, 0.2, 0.82)
    calm = _pairs(load=CALM)
    checks.inside("at two thirds: slower", _slower(calm), 0.02, 0.1)
    more = float(np.mean([after.kept - before.kept for before, after in calm]))
    checks.close("at two thirds: kept", more, 0.0, atol=0.02, kind="simulation")


def check_short_prompts_want_more_slack() -> None:
    """On the chat machine with 64 places near its ceiling, whose longest prompt takes a tenth of a
    second, a slack of 300 brings more first tokens within the promised second than one of 30, in
    each of five draws; on average, 30 gains less than half as much. With 30, k times the mean
    prompt is less than the p90 wait in order of arrival; with 300, it is at least twice that wait,
    and the last request waits longer by no more than k times the longest prompt.

    Source: `core.fleet` on the same four thousand requests.
    """
    longest_s = _longest_prompt_s(CHAT)
    checks.inside("the longest prompt [s]", longest_s, 0.1, 0.2)
    little, much = _pairs(FEW), _pairs(FEW, slack=MORE)
    few, more = (
        np.array([after.in_time - before.in_time for before, after in pairs])
        for pairs in (little, much)
    )
    checks.holds("300 over 30", bool((more > few).all()), got=more.round(3).tolist())
    checks.inside("gain of 30 over 300", few.mean() / more.mean(), -0.1, 0.5)
    lengths = FEW.sample
    mean_s = float(FEW.prompt_s(lengths.prompt_tokens, lengths.cached_tokens).mean())
    over = np.array([mean_s / before.p90_s for before, _ in little])
    checks.inside("30 mean prompts over the wait, at most", SLACK * float(over.max()), 0.0, 1.0)
    checks.inside("300, at least", MORE * float(over.min()), 2.0, 4.0)
    later = max(after.longest_s - before.longest_s for before, after in much)
    checks.inside("the last, later [s]", later, 0, MORE * longest_s)


def check_a_run_is_made_again() -> None:
    """A recorded engine, run again, lets its requests wait as long.

    Source: the record, and its command.
    """
    run = MIXTURE, 0.95, "prompt"
    checks.close(
        "mixture, slack of 30", _waits.again(*run), _waits(*run), rtol=1e-6, kind="simulation"
    )


def check_slack_bounds_overtaking() -> None:
    """No request is overtaken by one that came later than the slack allows: k times the difference
    of their prompts.

    Source: each pair of one run, in the order in which they were let in.
    """
    asked = _asked(MIXTURE, 1.05, count=200)
    prompts = MIXTURE.prompt_s(asked.prompt_tokens, asked.cached_tokens)
    for slack in (3.0, 30.0):
        key = slack_key(asked.arrival_s, prompts, slack)
        began = _in_order(asked, MIXTURE.engine, key).admitted_s
        later = asked.arrival_s[None, :] - asked.arrival_s[:, None]
        allowed = slack * (prompts[:, None] - prompts[None, :])
        before = began[None, :] < began[:, None]
        waits = asked.arrival_s[:, None] <= began[None, :]  # only who is there can be overtaken
        wrong = int((before & waits & (later > np.maximum(allowed, 0)) & (later > 0)).sum())
        checks.equal(f"slack {slack:g}: overtaken beyond it", wrong, 0)


if __name__ == "__main__":
    _waits.make()
