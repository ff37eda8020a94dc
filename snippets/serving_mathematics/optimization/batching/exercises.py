"""Solutions: whether a budget carries a load, what to change first, a token budget for a rhythm.

Source: the formulas of the chapter; Agrawal et al. (2024) for choosing the token budget by the time
between tokens.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.batching.continuous_batching import (
    Engine,
    Workload,
    simulate_steps,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "passed_share": (
        "A full step takes in as many tokens as the budget has. Divide them by its time for the "
        "tokens a second; what comes is requests a second times prompt and answer together."
    ),
    "what_to_change": (
        "Preemptions first, then gaps, the queue, the cache, the places. Full steps and a queue "
        "beside free places and free memory mean that prompts do not get in: the budget is too "
        "small, unless gaps are late already."
    ),
    "token_budget_for": (
        "Subtract the time of the decodes from the target, see how many prompt tokens the rest "
        "pays for, and remember that the budget counts decoding tokens too."
    ),
}


def passed_share(
    token_budget: int,
    step_s: float,
    arrival_rate: float,
    prompt_tokens: float,
    output_tokens: float,
) -> float:
    """Tokens that full steps pass over the tokens that come; below 1 the queue grows without end.

    token_budget: B. step_s: of a full step [s]. arrival_rate: [1/s]. prompt_tokens, output_tokens:
    mean of a request, without those that a cache finds. Raises ValueError unless all are positive.

    >>> passed_share(100, step_s=0.01, arrival_rate=10.0, prompt_tokens=150, output_tokens=50)
    5.0
    """
    token_budget = require_positive_integer(token_budget=token_budget)
    step_s, arrival_rate = require_positive(step_s=step_s, arrival_rate=arrival_rate)
    prompt_tokens, output_tokens = require_positive(
        prompt_tokens=prompt_tokens, output_tokens=output_tokens
    )
    return token_budget / step_s / (arrival_rate * (prompt_tokens + output_tokens))


def what_to_change(
    preempted_share: float, gap_over_promise: float, waiting: int, free_places: int, cache: float
) -> str:
    """What to change first: "leave blocks free", "another replica", "smaller budget", "larger
    budget", "more places", "more memory" or "nothing".

    preempted_share: preemptions per request; from 1% up they are too many. gap_over_promise: p99 of
    the gaps between tokens over the promised one. waiting, free_places: mean numbers. cache: share
    of it that is held; from 90% up it is full, whatever the places. The checks are made in this
    order; but where gaps are late while requests wait, places are free and the cache is not full,
    steps are full, and no budget helps. Raises ValueError outside these ranges.

    >>> what_to_change(0.0, 0.5, waiting=0, free_places=9, cache=0.5)
    'nothing'
    """
    preempted_share, gap = require_non_negative(
        preempted_share=preempted_share, gap_over_promise=gap_over_promise
    )
    waiting, free_places = require_non_negative_integer(waiting=waiting, free_places=free_places)
    cache = require_in("[0, 1]", cache=cache)
    if preempted_share >= 0.01:
        return "leave blocks free"
    full_steps = waiting > 0 and free_places > 0 and cache < 0.9
    if gap > 1:
        return "another replica" if full_steps else "smaller budget"
    if not waiting:
        return "nothing"
    if cache >= 0.9:
        return "more memory"
    return "larger budget" if free_places else "more places"


def token_budget_for(
    step_target_s: float, sequences: int, decode_s: float, prompt_token_s: float
) -> int:
    """The largest token budget with which a step keeps a target while this many sequences decode.

    step_target_s: longest step [s], the time between two tokens. sequences: decoding, at least 0.
    decode_s: a step of theirs without prompts [s]. prompt_token_s: what a prompt's token adds [s],
    positive. Raises ValueError when not one token is left for prompts.

    >>> token_budget_for(0.05, sequences=10, decode_s=0.03, prompt_token_s=0.001)
    30
    """
    step_target_s, prompt_token_s = require_positive(
        step_target_s=step_target_s, prompt_token_s=prompt_token_s
    )
    sequences = require_non_negative_integer(sequences=sequences)
    decode_s = require_non_negative(decode_s=decode_s)
    left = math.floor((step_target_s - decode_s) / prompt_token_s * (1 + 1e-12))
    least = decode_s + prompt_token_s
    require(left >= 1, "step_target_s", f"at least {least:g} s", step_target_s)
    return sequences + left


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        pencil_passes=passed_share(512, 0.02, 20.0, 1150.0, 210.0),
        board_says=what_to_change(0.0, 0.6, 40, 120, 0.35),
        board_at_night=what_to_change(0.0, 1.2, 40, 120, 0.35),
        board_at_noon=what_to_change(0.2, 1.4, 40, 120, 0.99),
        budget_of_50_ms=token_budget_for(0.05, 60, 0.0115, 1.8e-5),
    )


def check_passed_share() -> None:
    """The queue grows under a budget that passes less than what comes, and not under one that
    passes more.

    Source: `simulate_steps` on 400 equal requests at regular times: how much later the last gets
    its first token than it came.
    """
    engine = Engine(0.01, 1e-4, 1e-4, token_budget=128, max_sequences=100)
    step_s = engine.elapsed_s(1, 128, 0, 0)
    for rate in (12.0, 24.0):
        asked = Workload(np.arange(400) / rate, np.full(400, 250), np.full(400, 50))
        late_s = float(simulate_steps(asked, engine).first_token_s[-1] - asked.arrival_s[-1])
        share = passed_share(128, step_s, rate, 250, 50)
        label = f"{rate:g} a second, which passes {share:.2f}: waits"
        checks.equal(label, late_s > 2, share < 1)
    by_hand = passed_share(512, 0.02, 20.0, 1150.0, 210.0)
    checks.close("by hand", by_hand, 25_600 / 27_200, rtol=1e-12)


def check_what_to_change() -> None:
    """The advice changes where one number crosses its limit, and what hurts most is named first.

    Source: each rule by hand, at its limit.
    """
    for case, said in (
        ((0.01, 9.0, 9, 9, 1.0), "leave blocks free"),
        ((0.009, 1.01, 9, 9, 0.9), "smaller budget"),
        ((0.009, 1.01, 9, 0, 0.5), "smaller budget"),
        ((0.009, 1.01, 1, 1, 0.89), "another replica"),
        ((0.01, 1.01, 1, 1, 0.89), "leave blocks free"),
        ((0.0, 1.01, 0, 9, 0.5), "smaller budget"),
        ((0.009, 1.0, 9, 9, 0.9), "more memory"),
        ((0.0, 1.0, 9, 0, 0.9), "more memory"),
        ((0.0, 1.0, 9, 9, 0.89), "larger budget"),
        ((0.0, 1.0, 1, 0, 0.89), "more places"),
        ((0.0, 1.0, 0, 0, 1.0), "nothing"),
    ):
        checks.equal(f"{case}", what_to_change(*case), said)


def check_token_budget() -> None:
    """A simulated step with this budget keeps the target; with one token more it does not.

    Source: `simulate_steps` with five decoding sequences and one long prompt: the longest gap
    between two steps, from the time of a prompt that fills them.
    """
    costs = Engine(0.008, 8e-5, 3e-4, max_sequences=6)
    for target_s in (0.02, 0.033):
        budget = token_budget_for(target_s, 5, costs.elapsed_s(1, 0, 5, 0), 8e-5)
        for tokens, kept in ((budget, True), (budget + 1, False)):
            engine = replace(costs, token_budget=tokens)
            prompt = 20 * (tokens - 5)  # twenty full steps beside five decoding sequences
            asked = Workload([0.0] * 5 + [0.001], [1] * 5 + [prompt], [40] * 5 + [1])
            served = simulate_steps(asked, engine)
            step_s = (served.first_token_s[5] - served.first_token_s[0]) / 20
            label = f"target {target_s} s, {tokens} tokens"
            checks.equal(label, bool(step_s <= target_s + 1e-12), kept)


def check_bad_input_is_refused() -> None:
    """A target shorter than a step and a cache share above 1 are errors that name the argument."""
    checks.raises("no step", passed_share, 9, 0.0, 1.0, 1, 1, match="step_s must be positive")
    checks.raises("90%", what_to_change, 0, 0, 0, 0, 90, match="cache must be in [0, 1]")
    late = "step_target_s must be at least"
    checks.raises("short", token_budget_for, 0.5, 0, 1.0, 0.1, match=late)
