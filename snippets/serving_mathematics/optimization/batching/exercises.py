"""Solutions: servers for a rate and a target, batches of neighbours, a token budget for a rhythm,
and the sequences that a memory holds.

Source: the formulas of the chapter; Agrawal et al. (2024) for choosing the token budget by the time
between tokens.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import (
    EIGHT_BILLION,
    Engine,
    Workload,
    chat_workload,
    latencies_s,
    simulate_steps,
)
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.optimization.batching.batching import (
    batch_rate,
    largest_batch,
    static_efficiency,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
)

HINTS = {
    "servers_for_target": (
        "The target allows a largest batch, because a request may just miss one batch and wait "
        "for the next: use `largest_batch`. Round servers up both with it and with batches of "
        "one before you compare."
    ),
    "sorted_efficiency": (
        "In a batch every place stays taken until its longest request is done. After sorting, "
        "the longest of each batch is every b-th length; divide the tokens by the places times "
        "the steps."
    ),
    "token_budget_for": (
        "A step costs its fixed part, the decoding and the prompt tokens. Take the first two "
        "from the target, see how many prompt tokens the rest pays, and do not forget that the "
        "budget counts decoding tokens too."
    ),
    "sequences_that_fit": (
        "Long outputs are met in more steps, so average over steps, not over requests. Tokens "
        "are held in whole blocks; mean and variance add up over b sequences, which gives a "
        "quadratic equation in the root of b."
    ),
}


def servers_for_target(
    arrival_rate: float, slo_s: float, per_item_s: float, fixed_s: float
) -> tuple[int, float]:
    """Servers that carry a rate with the largest batches that keep a target, and the share of the
    servers that batching saves.

    arrival_rate: λ [1/s], positive. slo_s: target of the latency [s], which a request must keep
    that has just missed a batch. per_item_s: α > 0 [s]. fixed_s: β ≥ 0 [s]. Raises ValueError
    outside these ranges, and when not even a batch of one keeps the target.

    >>> servers_for_target(2000.0, slo_s=0.05, per_item_s=0.001, fixed_s=0.005)
    (3, 0.75)
    """
    arrival_rate = require_positive(arrival_rate=arrival_rate)
    batch = largest_batch(slo_s, per_item_s, fixed_s)
    with_batches, without = (
        math.ceil(arrival_rate / batch_rate(b, per_item_s, fixed_s) * (1 - 1e-12))
        for b in (batch, 1)
    )
    return with_batches, 1 - with_batches / without


def sorted_efficiency(lengths: npt.ArrayLike, batch: int) -> float:
    """Share of the places that work when requests of known lengths are sorted and batched with
    their neighbours.

    lengths: tokens that requests generate, positive, shape (n,), n a multiple of the batch. batch:
    b. Raises ValueError on anything else.

    >>> sorted_efficiency([1, 9, 1, 9], batch=2)
    1.0
    """
    batch = as_number(batch=batch)
    sizes = np.sort(as_floats(lengths=lengths), axis=None)
    positive = np.all((sizes > 0) & (sizes < math.inf))
    require(sizes.size > 0 and positive, "lengths", "positive and finite and not empty", lengths)
    whole = batch % 1 == 0 and batch >= 1 and sizes.size % batch == 0
    require(whole, "batch", f"a divisor of {sizes.size}", batch)
    return float(sizes.sum() / (batch * sizes[batch - 1 :: batch].sum()))


def token_budget_for(step_target_s: float, sequences: int, context: int, engine: Engine) -> int:
    """The largest token budget with which a step keeps a target while so many sequences decode.

    step_target_s: longest step [s], the time between two tokens. sequences: decoding, at least 0.
    context: tokens that they hold together. engine: its costs; its own budget is not used. Raises
    ValueError when not one token is left for prompts.

    >>> engine = Engine(step_s=0.01, prefill_token_s=0.001, decode_token_s=0.002)
    >>> token_budget_for(0.05, sequences=10, context=0, engine=engine)
    30
    """
    step_target_s = require_positive(step_target_s=step_target_s)
    sequences = require_non_negative_integer(sequences=sequences)
    context = require_non_negative(context=context)
    require(engine.prefill_token_s > 0, "engine", "one whose prompts take time", engine)
    decoding_s = engine.elapsed_s(1, 0, sequences, context)
    left = math.floor((step_target_s - decoding_s) / engine.prefill_token_s * (1 + 1e-12))
    least = decoding_s + engine.prefill_token_s
    require(left >= 1, "step_target_s", f"at least {least:g} s", step_target_s)
    return sequences + left


def sequences_that_fit(
    prompt_tokens: npt.ArrayLike, output_tokens: npt.ArrayLike, engine: Engine, margin: float = 3.0
) -> int:
    """Places that an engine can offer so that its memory hardly ever runs out.

    prompt_tokens, output_tokens: a sample of requests, positive integers, shape (n,). engine: its
    blocks.
    margin: standard deviations kept free. A sequence is met in each of its N steps equally often,
    holding P + j tokens in the j-th; so many independent ones have a mean and a variance that add
    up. Raises ValueError on other shapes or numbers, and when not even one sequence fits.

    >>> sequences_that_fit([16], [1], Engine(1.0, kv_blocks=7))
    7
    """
    prompts, outputs = (
        as_floats(prompt_tokens=prompt_tokens),
        as_floats(output_tokens=output_tokens),
    )
    require(prompts.ndim == 1 and prompts.size > 0, "prompt_tokens", "of shape (n,)", prompts)
    require(outputs.shape == prompts.shape, "output_tokens", f"of shape {prompts.shape}", outputs)
    for name, tokens in (("prompt_tokens", prompts), ("output_tokens", outputs)):
        whole = np.all((tokens >= 1) & (tokens < 2**31)) and np.all(tokens % 1 == 0)
        require(whole, name, "positive integers", tokens)
    margin = require_non_negative(margin=margin)
    owner = np.repeat(np.arange(outputs.size), outputs.astype(np.intp))
    step = np.arange(owner.size) - (np.cumsum(outputs) - outputs)[owner]
    held = -(-(prompts[owner] + step) // engine.block_tokens)
    mean, deviation = float(held.mean()), float(held.std())
    # mean·b + margin·deviation·√b = blocks, solved for √b
    half = margin * deviation / (2 * mean)
    root = math.sqrt(half**2 + engine.kv_blocks / mean) - half
    places = math.floor(root**2 * (1 + 1e-12))
    require(places >= 1, "engine", "one whose memory holds a sequence", engine.kv_blocks)
    return places


def _sample(size: int) -> Workload:
    """A burst of chat requests."""
    return chat_workload(np.random.default_rng(5), math.inf, size)


def _preempted(engine: Engine, places: int) -> float:
    """Share of the requests of a burst that are preempted."""
    served = simulate(_sample(1500), replace(engine, max_sequences=places))
    return float((served.preemptions > 0).mean())


def example() -> SimpleNamespace:
    """The numbers quoted in the text: 14 requests a second in 400 blocks."""
    asked = chat_workload(np.random.default_rng(16), 14.0, 1400)
    tight = replace(EIGHT_BILLION, kv_blocks=400)
    places = sequences_that_fit(asked.prompt_tokens, asked.output_tokens, tight)

    def outcome(places: int) -> tuple[float, float, float]:
        """Tokens a second, p99 of TPOT [ms] and share of the requests preempted [%]."""
        served = simulate(asked, replace(tight, max_sequences=places))
        _, tpot = latencies_s(asked, served)
        return (
            float(asked.output_tokens.sum() / served.completion_s.max()),
            1000 * float(np.nanquantile(tpot, 0.99)),
            100 * float((served.preemptions > 0).mean()),
        )

    fitting, twice = outcome(places), outcome(2 * places)
    return SimpleNamespace(
        places_that_fit=places,
        fitting_tokens_per_s=fitting[0],
        fitting_tpot_ms=fitting[1],
        twice_as_many_places=2 * places,
        twice_tokens_per_s=twice[0],
        twice_preempted_percent=twice[2],
        overcommitted_tpot_ms=outcome(64)[1],
    )


def check_servers_for_target() -> None:
    """So many servers carry the rate and one fewer would not; the saving is against batches of one.

    Source: brute force over the number of servers; 500/s at α = 2 ms, β = 8 ms and 60 ms by hand:
    batches of 11 give 366.7/s, one by one 100/s.
    """
    checks.close("by hand", servers_for_target(500.0, 0.06, 0.002, 0.008), (2, 0.6), rtol=1e-12)
    for rate in (10.0, 733.0, 4321.0):
        batch = max(b for b in range(1, 400) if 2 * (0.003 * b + 0.007) <= 0.2)
        each = batch / (0.003 * batch + 0.007)
        needed = next(c for c in range(1, 1000) if c * each >= rate)
        got, _ = servers_for_target(rate, 0.2, 0.003, 0.007)
        checks.equal(f"λ = {rate:g}/s", got, needed)


def check_sorted_efficiency() -> None:
    """Sorting makes batches of neighbours nearly perfect, and never worse than chance.

    Source: batches counted one by one; `static_efficiency` for members drawn at random.
    """
    lengths = np.random.default_rng(3).geometric(1 / 120, 4096)
    ordered = sorted(lengths.tolist())
    padded = sum(8 * max(ordered[i : i + 8]) for i in range(0, 4096, 8))
    got = sorted_efficiency(lengths, 8)
    checks.close("one by one", got, sum(ordered) / padded, rtol=1e-12)
    checks.inside("against chance", got, static_efficiency(lengths, 8), 1.0)
    checks.inside("loss that is left", 1 - got, 0.0, 0.02)


def check_token_budget() -> None:
    """A simulated step with this budget keeps the target, and with one token more it does not.

    Source: `simulate_steps` with five decoding sequences and one long prompt: the longest gap
    between two steps, from the time of a prompt that fills them.
    """
    costs = Engine(0.008, 8e-5, 3e-4, max_sequences=6)
    for target_s in (0.02, 0.033):
        budget = token_budget_for(target_s, 5, 0, costs)
        for tokens, kept in ((budget, True), (budget + 1, False)):
            engine = replace(costs, token_budget=tokens)
            prompt = 20 * (tokens - 5)  # twenty full steps beside five decoding sequences
            asked = Workload([0.0] * 5 + [0.001], [1] * 5 + [prompt], [40] * 5 + [1])
            served = simulate_steps(asked, engine)
            step_s = (served.first_token_s[5] - served.first_token_s[0]) / 20
            label = f"target {target_s} s, {tokens} tokens"
            checks.equal(label, bool(step_s <= target_s + 1e-12), kept)


def check_sequences_that_fit() -> None:
    """With so many places almost nobody is preempted, with half as many more many are.

    Source: simulated bursts; memory of equal sequences counted by hand, and that of 40 different
    ones for every number of places.
    """
    equal = sequences_that_fit([20], [4], Engine(1.0, kv_blocks=13, block_tokens=4), margin=0)
    # 20, 21, 22 and 23 tokens hold 5, 6, 6 and 6 blocks of four, 5.75 on average: two sequences
    checks.equal("by hand", equal, 2)
    few = _sample(40)
    lengths = zip(few.prompt_tokens.tolist(), few.output_tokens.tolist(), strict=True)
    held = [math.ceil((p + j) / 16) for p, n in lengths for j in range(n)]
    mean, deviation = float(np.mean(held)), float(np.std(held))
    for blocks, margin in ((300, 3.0), (4000, 1.5)):
        places = sequences_that_fit(
            few.prompt_tokens, few.output_tokens, Engine(1.0, kv_blocks=blocks), margin
        )
        taken = [b * mean + margin * deviation * math.sqrt(b) for b in range(1, 1000)]
        most = int(np.less_equal(taken, blocks).sum())
        checks.equal(f"every number of places, {blocks} blocks", places, most)
    asked = _sample(1500)
    for blocks in (500, 1500):
        engine = replace(EIGHT_BILLION, kv_blocks=blocks, max_sequences=1)
        places = sequences_that_fit(asked.prompt_tokens, asked.output_tokens, engine)
        checks.inside(f"{blocks} blocks: preempted", _preempted(engine, places), 0.0, 0.03)
        over = _preempted(engine, places * 3 // 2)
        checks.inside(f"{blocks} blocks, half more: preempted", over, 0.03, 1.0)


def check_bad_input_is_refused() -> None:
    """Targets shorter than a step, odd batches and memories without room name the argument."""
    checks.raises("rate", servers_for_target, 0.0, 1.0, 0.1, 0.1, match="arrival_rate must be")
    checks.raises("odd", sorted_efficiency, [1, 2, 3], 2, match="batch must be a divisor of 3")
    slow = Engine(1.0, prefill_token_s=0.1)
    checks.raises(
        "short", token_budget_for, 0.5, 0, 0, slow, match="step_target_s must be at least"
    )
    small = Engine(1.0, kv_blocks=1, block_tokens=1)
    checks.raises("no room", sequences_that_fit, [9], [9], small, match="engine must be one whose")
