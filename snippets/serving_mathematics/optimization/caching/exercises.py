"""Solutions: context under a budget, what a dashboard says of a cache, and loading against
recomputing.

Source: the chapter's formulas.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.machines.machines import AGENTS, CHAT
from serving_mathematics.optimization.caching.caching import sequence_bytes
from serving_mathematics.optimization.caching.kept_sessions import _runs
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "longest_context": (
        "A layer with a window stops growing at W tokens; the others go on. First ask whether "
        "the windows are full at all; if so, subtract what they hold for good and divide the "
        "rest among the other layers."
    ),
    "what_the_cache_says": (
        "First ask whether running requests were preempted: then they lack memory. If not, compare "
        "what is found with what could be: if a fifth is missing, the cache forgets. If not, and "
        "less than half is repeated, there is little to find; otherwise all is well."
    ),
    "break_even_bandwidth": (
        "Write both times for one token: its operations at the rate of prefill, or its cache "
        "bytes over the bandwidth. The 2N of the weights are the same for every token; those of "
        "attention grow with its place, so take their mean over the prefix."
    ),
}


MATRICES = 6.98e9  # parameters of Llama-3-8B that every token of a prompt is multiplied with


def longest_context(
    memory_bytes: float,
    sequences: int,
    bytes_per_token: float,
    windowed_share: float = 0.0,
    window: int = 0,
) -> float:
    """Tokens that each of several equal sequences may reach in the memory left for the cache.

    memory_bytes: [B], non-negative. sequences: positive integer. bytes_per_token: of all layers
    [B]. windowed_share: layers with a window over all layers, in [0, 1]. window: W tokens. Returns
    a whole number, or infinity when every layer has a window and all windows fit. Raises ValueError
    outside these ranges.

    >>> longest_context(1000.0, sequences=2, bytes_per_token=2.0, windowed_share=0.5, window=100)
    400.0
    """
    memory_bytes = require_non_negative(memory_bytes=memory_bytes)
    sequences = require_positive_integer(sequences=sequences)
    bytes_per_token = require_positive(bytes_per_token=bytes_per_token)
    windowed_share = require_in("[0, 1]", windowed_share=windowed_share)
    window = require_non_negative_integer(window=window)
    tokens = memory_bytes / sequences / bytes_per_token  # as if no window were full
    tokens *= 1 + 1e-12  # a whole number that is a digit short is one
    if windowed_share == 0 or tokens <= window:
        return float(math.floor(tokens))
    if windowed_share == 1:
        return math.inf
    return float(math.floor((tokens - windowed_share * window) / (1 - windowed_share)))


def what_the_cache_says(preempted_share: float, found: float, repeated: float) -> str:
    """What a dashboard says of a cache: "memory", "forgets", "nothing shared" or "fine".

    preempted_share: preemptions per request. found: share of the prompt tokens that the cache
    finds, in [0, 1]. repeated: share that some earlier request had, from a log of prompts, in
    [found, 1]. From one preemption in a hundred requests up, running requests lack memory.
    Otherwise a cache that finds less than four fifths of what is repeated forgets; otherwise, if
    less than half is repeated, there is little to find. Raises ValueError outside these ranges.

    >>> what_the_cache_says(0.0, found=0.3, repeated=0.9)
    'forgets'
    """
    preempted_share = require_non_negative(preempted_share=preempted_share)
    found, repeated = require_in("[0, 1]", found=found, repeated=repeated)
    require(found <= repeated, "found", f"at most the {repeated:g} that is repeated", found)
    if preempted_share >= 0.01:
        return "memory"
    if found < 0.8 * repeated:
        return "forgets"
    return "nothing shared" if repeated < 0.5 else "fine"


def break_even_bandwidth(
    parameters: float,
    kv_bytes_per_token: float,
    flops_per_s: float,
    prefix_tokens: float = 1.0,
    attention_width: float = 0.0,
) -> float:
    """Bandwidth above which loading a cached prefix beats recomputing it [B/s].

    parameters: N of the dense model. kv_bytes_per_token: κ [B]. flops_per_s: π that prefill
    reaches. prefix_tokens: n ≥ 1. attention_width: w ≥ 0, layers times the numbers of all query
    heads; 0 leaves attention out. Token i costs 2N operations and 4wi in attention, or κ bytes.
    Raises ValueError on other numbers.

    >>> break_even_bandwidth(parameters=5.0, kv_bytes_per_token=10.0, flops_per_s=4.0)
    4.0
    >>> break_even_bandwidth(5.0, 10.0, 4.0, prefix_tokens=9.0, attention_width=0.5)
    2.0
    """
    prefix_tokens = as_number(prefix_tokens=prefix_tokens)
    parameters, kv_bytes_per_token, flops_per_s = require_positive(
        parameters=parameters, kv_bytes_per_token=kv_bytes_per_token, flops_per_s=flops_per_s
    )
    require(1 <= prefix_tokens < math.inf, "prefix_tokens", "at least 1 and finite", prefix_tokens)
    attention_width = require_non_negative(attention_width=attention_width)
    # token i takes 2N for the weights and 4wi in attention, which is 2w(n + 1) on average
    operations = 2 * parameters + 2 * attention_width * (prefix_tokens + 1)
    return kv_bytes_per_token * flops_per_s / operations


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    tokens, width = 4096, 32 * 4096.0
    operations = 2 * MATRICES * tokens + 2 * width * tokens * (tokens + 1)
    flops_per_s = operations / float(CHAT.prompt_s([tokens])[0])  # of the chat machine
    gqa = MATRICES, 131_072.0, flops_per_s
    return SimpleNamespace(
        pencil_tokens=longest_context(20e9, 40, 507_904.0, 52 / 62, 1024),
        board_first=what_the_cache_says(0.0, 0.35, 0.94),
        board_second=what_the_cache_says(0.1, 0.90, 0.92),
        board_third=what_the_cache_says(0.0, 0.05, 0.06),
        matrices_billion=MATRICES / 1e9,
        chat_tflops=flops_per_s / 1e12,
        gqa_bandwidth_gb=break_even_bandwidth(*gqa) / 1e9,
        gqa_128k_bandwidth_gb=break_even_bandwidth(*gqa, 131_072, width) / 1e9,
    )


def check_longest_context() -> None:
    """One token more than the longest context does not fit, with and without windows.

    Source: the bytes of the sequences at that length and at the next; a shape where every layer has
    a window has no limit.
    """
    for share, window in ((0.0, 0), (52 / 62, 1024), (0.5, 4096)):
        for sequences in (3, 40):
            tokens = longest_context(20e9, sequences, 507_904.0, share, window)
            sizes = sequences * sequence_bytes([tokens, tokens + 1], 507_904.0, share, window)
            fits = bool(sizes[0] <= 20e9 < sizes[1])
            checks.holds(f"{sequences} sequences, share {share:.2f}", fits, got=tokens)
    checks.equal("all layers", longest_context(1e6, 1, 100.0, 1.0, 4096), math.inf)
    checks.equal("no window fits", longest_context(1e3, 2, 2.0, 1.0, 4096), 250.0)


def check_what_the_cache_says_of_the_agents() -> None:
    """For the book's agents, the rule says "fine" at 30% of their ceiling and "forgets" at 80%,
    where an engine whose sessions repeat 95% finds a fifth.

    Source: the record of the chapter's runs; preemptions left out.
    """
    for load, verdict in ((30, "fine"), (80, "forgets")):
        for run in _runs(load):
            got = what_the_cache_says(0.0, run.found, 0.95)
            checks.equal(f"{AGENTS.name} at {load}%", got, verdict, kind="simulation")


def check_what_the_cache_says_by_hand() -> None:
    """Preemptions come first, and a cache of little use is not always forgetful.

    Source: the cases by hand, at both sides of the borders.
    """
    cases = {
        (0.01, 0.1, 0.9): "memory",
        (0.0099, 0.1, 0.9): "forgets",
        (0.0, 0.1, 0.4): "forgets",
        (0.0, 0.4, 0.5): "fine",
        (0.0, 0.719, 0.9): "forgets",
        (0.0, 0.721, 0.9): "fine",
        (0.0, 0.48, 0.49): "nothing shared",
        (0.0, 0.48, 0.5): "fine",
    }
    for shown, verdict in cases.items():
        checks.equal(str(shown), what_the_cache_says(*shown), verdict)


def check_break_even_bandwidth() -> None:
    """At the break-even bandwidth, 3,000 tokens take as long to load as to compute.

    Source: both times, for the shapes of Llama-2-7B and Llama-3-8B; grouped heads lower the
    bandwidth that is needed almost fivefold.
    """
    needed = []
    for parameters, per_token in ((6.738e9, 524_288.0), (8.030e9, 131_072.0)):
        bandwidth = break_even_bandwidth(parameters, per_token, 400e12)
        load, compute = 3000 * per_token / bandwidth, 3000 * 2 * parameters / 400e12
        checks.close(f"{parameters / 1e9:g} billion parameters", load, compute, rtol=1e-12)
        needed.append(bandwidth)
    checks.close("ratio", needed[0] / needed[1], 4 * 8.030 / 6.738, rtol=1e-12)


def check_attention_lowers_the_bandwidth() -> None:
    """The longer the prefix, the less bandwidth loading it needs: for Llama-3-8B 3.3 GB/s without
    attention, 2.1 at 32,768 tokens and 1.0 at 131,072.

    Source: operations added up token by token, 2N for the weights and 4 for each layer, number of
    the query heads and token that it looks at: a product of query and key, and one of weight and
    value, each a multiplication and an addition.
    """
    model, layers, heads, size = (8.030e9, 131_072.0, 400e12), 32, 32, 128
    for tokens, rounded in ((1, 3.3), (32_768, 2.1), (131_072, 1.0)):
        seen = np.arange(1.0, tokens + 1)
        compute = float((2 * model[0] + 2 * (2 * layers * heads * size * seen)).sum()) / model[2]
        expected = tokens * model[1] / compute
        got = break_even_bandwidth(*model, tokens, layers * heads * size)
        checks.close(f"{tokens} tokens [B/s]", got, expected, rtol=1e-9)
        checks.close(f"{tokens} tokens [GB/s]", got / 1e9, rounded, atol=0.05)


def check_bad_input_is_refused() -> None:
    """Negative memory, more found than repeated and a speed of zero are errors."""
    checks.raises("memory", longest_context, -1.0, 1, 8.0, match="memory_bytes must be non-neg")
    told = "found must be at most the 0.4 that is repeated"
    checks.raises("found", what_the_cache_says, 0.0, 0.5, 0.4, match=told)
    checks.raises(
        "speed", break_even_bandwidth, 1.0, 1.0, 0.0, match="flops_per_s must be positive"
    )
