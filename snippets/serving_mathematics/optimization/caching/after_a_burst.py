"""Whether a cache that lost its sessions in a burst finds them again when the burst is over.

Sessions come at a load that the engine bears for hours. For half an hour more of them begin. Those
that wait come back late, find nothing, and their prompts make others wait: that may go on when the
load is what it was.

`python -m serving_mathematics.optimization.caching.after_a_burst` runs the book's agents, in some
seconds, and writes records/after_a_burst.json.gz.

Assumes: what `core.fleet` assumes; sessions that go on as their answers come; nobody gives up, and
who is turned away comes back, unless it says otherwise.

Source: own simulation of the book's machine.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.policies import few_sessions
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_reuse, reused_tokens, session_of
from serving_mathematics.core.fleet.simulator import simulate_fleet
from serving_mathematics.core.fleet.tiers import Tier
from serving_mathematics.core.machines.machines import AGENTS, CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.sessions import sessions_under_way
from serving_mathematics.core.machines.traffic import draw_lengths
from serving_mathematics.optimization.caching.kept_sessions import (
    HOST_BYTES,
    LINK_BYTES_PER_S,
    TOKEN_BYTES,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import recorded

REQUESTS, SEEDS = 6000, 6
FEWER = 8  # requests that may wait, where more are turned away
AGAIN_S = 30.0  # after which whoever was turned away comes back, half as long to half as long again
IDLE_S = 600.0  # after its last request a session is open no more
LOAD, MORE = 0.3, 0.5  # of the ceiling: what comes all the time, and what comes beside it
BURST_S, AFTER_S = 1800.0, 1800.0  # how long it comes, and from when on after it is counted
SHARE = 0.3  # of the run, after which the burst begins


class _Seen(NamedTuple):
    """Share of the prompt tokens found, from half an hour after the burst until the last sessions
    begin, and how long that is [s]; the share found in the last ten minutes of the burst; and how
    many waited on average from its sixth to fifteenth minute."""

    found: float
    watched: float
    in_burst: float
    line: float


def _together(calm: Requests, burst: Requests, later_s: float) -> Requests:
    """The sessions of both, in order of their beginnings, those of the burst so much later."""
    both = (calm, burst)
    first = np.concatenate([one.after < 0 for one in both])
    begins = np.r_[calm.arrival_s, burst.arrival_s + later_s]
    rank = np.argsort(np.argsort(begins[first], kind="stable"))
    session = np.r_[session_of(calm), session_of(burst) + int(np.sum(calm.after < 0))]
    order = np.argsort(rank[session], kind="stable")
    first = first[order]
    after = np.where(first, -1, np.arange(order.size) - 1)
    prompts, outputs, pauses, reused = (
        np.concatenate(parts)[order]
        for parts in (
            [one.prompt_tokens for one in both],
            [one.output_tokens for one in both],
            [one.pause_s for one in both],
            [reused_tokens(one) for one in both],
        )
    )
    return Requests(
        np.where(first, begins[order], 0.0),
        prompts,
        outputs,
        after=after,
        pause_s=pauses,
        prefixes=prefixes_of_reuse(after, reused, prompts),
    )


def _fleet(most_waiting: float, most_open: float, again_s: float, tiers: Sequence[Tier]) -> Fleet:
    """The agents' engine, which turns away whoever would wait behind so many, and sessions beyond
    so many open ones. Who is turned away comes back after about so long."""
    return Fleet(
        [AGENTS.engine],
        admit=partial(few_sessions, most=most_open, idle_s=IDLE_S),
        caching=True,
        most_waiting=most_waiting,
        retry=lambda _request, _attempt, view: again_s * (0.5 + view.chance()),
        tiers=tiers,
    )


@recorded(_Seen, "after_a_burst")
def _seen(
    host_bytes: float,
    more: float,
    seed: int,
    most_waiting: float = math.inf,
    most_open: float = math.inf,
    again_s: float = math.inf,
) -> _Seen:
    """The agents at their load, with so much more of the ceiling for a while, a tier, and limits:
    requests that may wait, sessions that may be open. Who is turned away comes back after a
    while."""
    context, ceiling = AGENTS.deployment.architecture.context_tokens, AGENTS.ceiling_per_s
    calm = sessions_under_way(np.random.default_rng([35, seed]), LOAD * ceiling, REQUESTS, context)
    end = REQUESTS / (LOAD * ceiling)
    if more:
        count, rng = round(more * ceiling * BURST_S), np.random.default_rng([36, seed])
        calm = _together(calm, sessions_under_way(rng, more * ceiling, count, context), SHARE * end)
    block = float(AGENTS.engine.block_tokens * TOKEN_BYTES)
    tiers = [Tier(int(host_bytes / block), block, LINK_BYTES_PER_S)] if host_bytes else []
    fleet = _fleet(most_waiting, most_open, again_s, tiers)
    seen = simulate_fleet(calm, fleet, np.random.default_rng([37, seed]))
    burst, start = SHARE * end, SHARE * end + BURST_S + AFTER_S
    served = np.isfinite(seen.completion_s)

    def found(since: float, until: float) -> float:
        part = served & (seen.sent_s > since) & (seen.sent_s < until)
        return float(seen.found_tokens[part].sum() / calm.prompt_tokens[part].sum())

    stood = np.clip(np.array([seen.sent_s, seen.admitted_s])[:, served] - burst, 300.0, 900.0)
    line = float(np.diff(stood, axis=0).sum()) / 600.0
    in_burst = found(burst + BURST_S - 600.0, burst + BURST_S)
    return _Seen(found(start, end), end - start, in_burst, line)


def _all(*limits: float, more: float = MORE) -> list[_Seen]:
    """The runs of all seeds on the device alone."""
    return [_seen(0.0, more, seed, *limits) for seed in range(SEEDS)]


def _found(host_bytes: float, more: float = MORE) -> list[float]:
    return [_seen(host_bytes, more, seed).found for seed in range(SEEDS)]


def _contexts() -> float:
    """Of the mean prompt, that the device's cache holds."""
    return float(AGENTS.cache_tokens / AGENTS.sample.prompt_tokens.mean())


def _sessions(more: float = MORE) -> list[_Seen]:
    """Where no more sessions may be open than the cache holds contexts."""
    return _all(math.inf, float(int(_contexts())), AGAIN_S, more=more)


def _asked_of_time(machine: Machine, rate_per_s: float, answers: int = 1) -> tuple[float, float]:
    """Shares of an engine's time that whole prompts take at a rate, read alone, and that answers so
    many times as long do, over the most tokens a second that it writes."""
    asked, most = machine.sample, machine.sequences_at_most
    whole_s = float(machine.prompt_s(asked.prompt_tokens).mean())
    tokens = answers * float(asked.output_tokens.mean()) - 1
    return rate_per_s * whole_s, rate_per_s * tokens * float(machine.step_s(most)) / most


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    return SimpleNamespace(
        burst_runs=SEEDS,
        burst_load_percent=100 * (LOAD + MORE),
        after_host_percent=100 * min(_found(HOST_BYTES)),
        contexts_fit=_contexts(),
        fewer_waiting=FEWER,
        fewer_percent=100 * max(one.found for one in _all(FEWER, math.inf, AGAIN_S)),
        again_s=AGAIN_S,
        anew_agents=sum(_asked_of_time(AGENTS, LOAD * AGENTS.ceiling_per_s)),
        idle_minutes=IDLE_S / 60,
        sessions_percent=100 * min(one.found for one in _sessions()),
        after_hours=_seen(0.0, MORE, 0).watched / 3600,
    )


def check_a_burst_is_enough_to_lose_a_cache_for_good() -> None:
    """At a load that the agents bear for hours, half an hour at 80% of the ceiling leaves less than
    a twentieth of the prompt tokens found, counted from half an hour after its end, in each of six
    runs; with two terabytes of host memory, more than nine tenths.

    Source: `core.fleet`; the same sessions without a burst, whose cache was empty at first too.
    """
    for seed, (calm, alone, host) in enumerate(
        zip(_found(0.0, 0.0), _found(0.0), _found(HOST_BYTES), strict=True)
    ):
        checks.inside(f"run {seed}, no burst: found", calm, 0.9, 1.0)
        checks.inside(f"run {seed}, device alone: found", alone, 0.0, 0.05)
        checks.inside(f"run {seed}, host memory: found", host, 0.9, 1.0)


def check_a_short_line_does_not_keep_the_cache() -> None:
    """If the queue is limited to a fifth of the contexts that the cache holds, and refused requests
    come back after half a minute, less than half is found, in each of six runs.

    Source: the same sessions; a refused request comes back until it is served.
    """
    checks.inside("contexts, over the line", _contexts() / FEWER, 4.5, 5.5)
    for seed, back in enumerate(_all(FEWER, math.inf, AGAIN_S)):
        checks.inside(f"run {seed}: found", back.found, 0.0, 0.5)


def check_few_sessions_keep_the_cache() -> None:
    """If no session begins while as many are open as the contexts that the cache holds, and refused
    ones come back after half a minute, the device alone finds more than nine tenths after the burst
    and four fifths during it, in each of six runs. Without a burst it finds as much as without a
    limit.

    Source: the same sessions; a session is open until ten minutes after its last request.
    """
    for seed, one in enumerate(_sessions()):
        checks.inside(f"run {seed}, after: found", one.found, 0.9, 1.0)
        checks.inside(f"run {seed}, in the burst: found", one.in_burst, 0.8, 1.0)
    for seed, (one, calm) in enumerate(zip(_sessions(more=0.0), _all(more=0.0), strict=True)):
        checks.close(
            f"run {seed}, no burst: found", one.found, calm.found, atol=0.02, kind="simulation"
        )


def check_who_can_read_all_anew_needs_no_limit() -> None:
    """Where no prefix is found, the agents' engine completes fewer requests than arrive at their
    load before the burst; the chat machine completes all that its ceiling says.

    Source: the closed form of the ceiling, 1/E[p + (N − 1) D(b)/b], of whole prompts p.
    """
    for machine, load, bears in ((AGENTS, LOAD, False), (CHAT, 1.0, True)):
        ratio = 1 / sum(_asked_of_time(machine, load * machine.ceiling_per_s))
        checks.inside(f"{machine.name}: ends over comes", ratio, *((0.9, 1.1), (0, 0.7))[not bears])


def check_prompts_and_answers_together_decide() -> None:
    """Where no prefix is found, first tokens wait ever longer if whole prompts and answers together
    take five quarters of the time, and not if they take four fifths. In the first case, whole
    prompts alone take from a quarter of the time to nearly all of it.

    Source: 2,500 requests, simulated: the wait of the last tenth over the time in which all come,
    a fifth of it for a fluid.
    """
    card = replace(CHAT, device="L40S", places=32)
    for machine, answers in ((CHAT, 1), (CHAT, 2), (card, 1), (MIXTURE, 1)):
        drawn = draw_lengths(np.random.default_rng(38), machine.traffic, 2500)
        beside = sum(_asked_of_time(machine, 1.0, answers))
        for told, low, high in ((0.8, 0.0, 0.03), (1.25, 0.1, 0.4)):
            rate = told / beside
            times = np.cumsum(np.random.default_rng(39).exponential(1 / rate, 2500))
            asked = Workload(times, drawn.prompt_tokens, answers * drawn.output_tokens)
            waits = simulate(asked, machine.engine).first_token_s - times
            label = f"{machine.name} on {machine.device}, answers times {answers}, {told}"
            late = float(waits[-250:].mean() / times[-1])
            checks.inside(f"{label}: waits", late, low, high, kind="simulation")
            if told > 1:
                alone = _asked_of_time(machine, rate, answers)[0]
                checks.inside(f"{label}: prompts alone", alone, 0.25, 0.95)


def check_the_line_tells_before_the_cache_does() -> None:
    """From five minutes into the burst, at least about as many requests wait as the contexts that
    the cache holds, and without a burst hardly any: long before half an hour of misses.

    Source: the same sessions, with and without a burst, of which the line's mean is taken.
    """
    for seed in range(SEEDS):
        calm, burst = (_seen(0.0, more, seed).line / _contexts() for more in (0.0, MORE))
        checks.inside(f"run {seed}, no burst: line over contexts", calm, 0.0, 0.1)
        checks.inside(f"run {seed}, line over contexts", burst, 1.0, 3.0)


def check_a_run_is_made_again() -> None:
    """Recorded runs, simulated again, find the same share.

    Source: the record, and its command.
    """
    for run in ((HOST_BYTES, MORE, 0), (0.0, MORE, 0, math.inf, float(int(_contexts())), AGAIN_S)):
        checks.close(
            f"{run}", _seen.again(*run), _seen(*run), rtol=1e-6, atol=1e-9, kind="simulation"
        )


if __name__ == "__main__":
    _seen.make()
