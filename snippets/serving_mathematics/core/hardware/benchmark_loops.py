"""Time to first token and per token of a closed loop, from the time of a step.

A benchmark holds C requests at an engine: as one ends, the next begins. R = min(C, room) of them
are in the engine, the others wait for memory.

    time per token  = step(R) / accepted + (R - 1)/O * (prompt + host)
    first token     = (1 + h) step(R) + k step(1) + prompt + queue
    queue           = share of (R - 1) prompts, with those that h brings together, at most all of
                      them, and (C/R - 1) whole stays where memory is short

Some engines look for new requests only every so many steps, or wait until more of them have come
(`kept_back`): h is how long that keeps one back, on average.

The second term of the first line is what others' prompts take from a request while it decodes:
each of R - 1 others begins once in O tokens. The first token is one of these and takes no less.
The last is Little's law: C = rate * (first + (O - 1) * per token), with the rate that R allow.

With separate fleets, prompts do not interrupt; the slower of the two fleets sets the rate.

Assumes: a loop in its steady state; prompts first come, first served.

Source: Little (1961), Operations Research 9(3); Agrawal et al. (2024), "Sarathi-Serve", OSDI,
section 3 (prompts that interrupt); Zhong et al. (2024), "DistServe", OSDI, section 3.
"""

from dataclasses import dataclass

import numpy as np

from serving_mathematics.core.hardware.step_time import (
    Array,
    Constants,
    Work,
    by_backend,
    decode_step_s,
    prompt_s,
)
from serving_mathematics.support.require import require_all_non_negative, require_all_positive

BUSIEST = 0.8  # share of the time that a fleet sized here takes prompts


@dataclass(frozen=True, eq=False)
class Latencies:
    """What a loop's requests see, shape (rows,) each."""

    first_token_s: Array
    per_token_s: Array
    running: Array  # sequences in the engine


def waiting_steps_s(work: Work, constants: Constants, step_s: Array) -> Array:
    """Time before a request's own prompt is worked on, and around it, shape (rows,), in seconds.

    step_s: of the batch that is running, shape (rows,): a new request waits for its end, and as
    many more as it is kept back for. The rest is a number of steps of one sequence: prompts run
    outside of CUDA graphs, launch by launch, and beside them lie HTTP, words to numbers and back,
    and scheduling, by backend. Raises ValueError unless step_s is finite and not negative.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work, decode_step_s
    >>> work = count_work([WORKED])
    >>> alone = decode_step_s(work, FITTED, np.ones(1), work.prompt)
    >>> waited = waiting_steps_s(work, FITTED, alone)
    >>> bool(np.isclose(waited, (1 + FITTED.first_steps_vllm) * alone)[0])
    True
    """
    step_s = require_all_non_negative(step_s=step_s)
    steps = by_backend(
        work, constants.first_steps_trtllm, constants.first_steps_sglang, constants.first_steps_vllm
    )
    lone = decode_step_s(work, constants, np.ones_like(step_s), work.prompt)
    return (1 + work.held) * step_s + steps * lone


def interruptions_s(work: Work, constants: Constants, running: Array) -> Array:
    """What others' prompts take from a request, a token, shape (rows,), in seconds.

    running: sequences in the engine, shape (rows,). Each of the others begins once in an answer.
    Raises ValueError unless it is finite and not negative.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> float(interruptions_s(count_work([WORKED]), FITTED, np.ones(1))[0])  # alone
    0.0
    """
    running = require_all_non_negative(running=running)
    taken = prompt_s(work, constants) / work.stages + constants.prompt_s / work.groups
    return np.asarray(np.maximum(running - 1, 0) / work.answer * taken, dtype=float)


def _later_tokens(answer_tokens: Array) -> Array:
    """Tokens of an answer after its first, shape (rows,)."""
    return np.asarray(np.maximum(answer_tokens - 1, 0), dtype=float)


def loop_latencies(work: Work, constants: Constants) -> Latencies:
    """Times of a closed loop on one engine, shape (rows,), in seconds.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> found = loop_latencies(count_work([WORKED]), FITTED)
    >>> bool(0.004 < found.per_token_s[0] < 0.012)
    True
    """
    running = work.running
    step = decode_step_s(work, constants, running, work.context)
    prompt = prompt_s(work, constants)
    others = np.maximum(running - 1, 0)
    taken = interruptions_s(work, constants, running)
    per_token = step / work.accepted + taken
    before = waiting_steps_s(work, constants, step)
    locked = by_backend(
        work, constants.lockstep_trtllm, constants.lockstep_sglang, constants.lockstep_vllm
    )
    share = np.where(work.locked > 0, locked, constants.burst_share)
    first = before + prompt
    stay = first + _later_tokens(work.answer) * per_token
    waiting = np.maximum(work.concurrency / running - 1, 0)
    together = 2 * work.held * work.accepted / work.answer
    queue = np.maximum(
        np.minimum(share + together, 1) * others * prompt / work.stages, taken - before
    )
    return Latencies(first + queue + waiting * stay, per_token, running)


def fleet_latencies(
    prompts: Work,
    answers: Work,
    prompt_engines: Array,
    answer_engines: Array,
    concurrency: Array,
    constants: Constants,
) -> Latencies:
    """Times of a closed loop on separate fleets, shape (rows,), in seconds.

    prompts and answers: one engine of each fleet; the engines: how many of each, shape (rows,),
    where 0 for prompts stands for as many as keep them below 80% busy;
    concurrency: requests in both fleets together, shape (rows,). Raises ValueError unless
    answer_engines and concurrency are positive, and prompt_engines is not negative.

    >>> from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> work, one = count_work([WORKED]), np.ones(1)
    >>> apart = fleet_latencies(work, work, one, one, 8 * one, FITTED)
    >>> bool(apart.per_token_s[0] < loop_latencies(work, FITTED).per_token_s[0])  # no interruptions
    True
    """
    prompt_engines = require_all_non_negative(prompt_engines=prompt_engines)
    answer_engines, concurrency = require_all_positive(
        answer_engines=answer_engines, concurrency=concurrency
    )
    prompt = prompt_s(prompts, constants)
    context = answers.prompt + answers.answer / 2
    each = np.maximum(concurrency / answer_engines, 1.0)
    running = np.minimum(each, answers.room)
    steady = decode_step_s(answers, constants, running, context) / answers.accepted
    later = _later_tokens(answers.answer)
    wanted = concurrency / (later * steady + prompt)  # prompts a second
    busy = prompt + constants.prompt_s
    enough = np.maximum(1.0, np.ceil(wanted * busy / BUSIEST))
    prompt_engines = np.where(prompt_engines > 0, prompt_engines, enough)
    fastest = prompt_engines / busy  # prompts a second
    for _ in range(20):  # a fixed point: what decodes is what the prompts' fleet can feed
        step = decode_step_s(answers, constants, running, context)
        per_token = step / answers.accepted
        fed = fastest * later * per_token / answer_engines
        limit = np.minimum(np.minimum(each, answers.room), np.maximum(fed, 1.0))
        running = 0.5 * running + 0.5 * limit
    step = decode_step_s(answers, constants, running, context)
    per_token = step / answers.accepted
    alone = waiting_steps_s(answers, constants, step) + prompt
    stay = later * per_token
    gap = np.maximum(1 / fastest, stay / (running * answer_engines))  # between requests
    share = np.where(answers.locked > 0, 0.3, constants.burst_share)
    burst = share * np.maximum(concurrency - 1, 0) / prompt_engines * prompt
    first = np.maximum(concurrency * gap - stay, alone + burst)
    return Latencies(first, per_token, running * answer_engines)


def tokens_per_s_per_device(
    latencies: Latencies, answer_tokens: Array, concurrency: Array, devices: Array
) -> Array:
    """Output tokens a second and device that a closed loop yields, shape (rows,).

    answer_tokens: of an answer, on average, whose first comes with the prompt. Source: Little
    (1961). Raises ValueError unless the three arrays are positive and finite.

    >>> one = Latencies(np.array([1.0]), np.array([0.01]), np.array([8.0]))
    >>> tokens_per_s_per_device(one, np.array([901.0]), np.array([8.0]), np.array([4.0]))
    array([180.2])
    """
    answer_tokens, concurrency, devices = require_all_positive(
        answer_tokens=answer_tokens, concurrency=concurrency, devices=devices
    )
    stay = latencies.first_token_s + _later_tokens(answer_tokens) * latencies.per_token_s
    return np.asarray(concurrency * answer_tokens / stay / devices)
