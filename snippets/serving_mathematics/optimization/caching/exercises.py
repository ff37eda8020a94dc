"""Solutions: context under a budget, waste of a block size, a size for a hit ratio, a threshold for
a semantic cache, and loading against recomputing.

Source: the chapter's formulas; for the mean of rounded-up geometric lengths, that a geometric
number of tokens fills a geometric number of blocks.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import batch_means
from serving_mathematics.optimization.caching.cache_replacement import (
    hit_ratio,
    simulate_hits,
    zipf,
)
from serving_mathematics.optimization.caching.caching import sequence_bytes
from serving_mathematics.optimization.caching.paged_memory import paged_waste
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_floats,
    as_number,
    require,
    require_all_finite,
    require_in,
    require_non_negative,
    require_non_negative_integer,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "longest_context": (
        "A layer with a window stops growing at W tokens, the others go on. First ask whether "
        "the windows are full at all; if so, subtract what they hold for good and divide the "
        "rest among the other layers."
    ),
    "block_waste": (
        "The chance that one more block is begun is the chance that the length exceeds a "
        "multiple of B, a power of q: so the number of blocks is geometric too. Waste is mean "
        "slots less mean tokens."
    ),
    "items_for": (
        "The hit ratio rises with the places, so bisect on `hit_ratio` between 0 and all items."
        " Return the side that reaches the target, and remember that with all items everything "
        "hits."
    ),
    "semantic_threshold": (
        "Sort by similarity and add the gain of answering each request from the cache, from the"
        " most similar down: the best prefix gives the threshold. Requests of equal similarity "
        "go in together or not at all."
    ),
    "break_even_bandwidth": (
        "Write both times for one token: its operations at the rate of prefill, or its cache "
        "bytes over the bandwidth. The 2N of the weights are the same for every token; those of "
        "attention grow with its place, so take their mean over the prefix."
    ),
}


def longest_context(
    memory_bytes: float,
    sequences: int,
    bytes_per_token: float,
    windowed_share: float = 0.0,
    window: int = 0,
) -> float:
    """Tokens that each of several equal sequences may reach in the memory for the cache.

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
    if windowed_share == 0 or tokens <= window:
        return float(math.floor(tokens))
    if windowed_share == 1:
        return math.inf
    return float(math.floor((tokens - windowed_share * window) / (1 - windowed_share)))


def _coth_excess(x: float) -> float:
    """x·coth(x) − 1, for x > 0, where the series takes over from a difference of equal numbers."""
    if x < 0.1:
        return x**2 / 3 - x**4 / 45 + 2 * x**6 / 945 - x**8 / 4725
    return x / math.tanh(x) - 1


def block_waste(mean_tokens: float, block_tokens: int) -> float:
    """Mean slots left empty in the last block, when lengths are geometric: B/(1 − q^B) − m.

    mean_tokens: m = 1/(1 − q), at least 1. block_tokens: B, a positive integer. A geometric number
    of tokens fills a geometric number of blocks. Raises ValueError outside these ranges.

    >>> block_waste(mean_tokens=1.0, block_tokens=16)
    15.0
    """
    mean_tokens = as_number(mean_tokens=mean_tokens)
    require(1 <= mean_tokens < math.inf, "mean_tokens", "at least 1 and finite", mean_tokens)
    block_tokens = require_positive_integer(block_tokens=block_tokens)
    if mean_tokens == 1:
        return block_tokens - 1.0
    rate = -math.log1p(-1 / mean_tokens)  # −ln q; B/(1 − q^B) is (B + B·coth(B·rate/2))/2
    curved = _coth_excess(block_tokens * rate / 2) - _coth_excess(rate / 2)
    return (block_tokens - 1) / 2 + curved / rate


def items_for(popularity: npt.ArrayLike, target: float) -> int:
    """Fewest places of an LRU cache whose hit ratio reaches a target, by Che's approximation.

    popularity: probabilities, shape (n,), n ≥ 2. target: hit ratio in (0, 1). By bisection over
    the places; n when n − 1 are not enough. Raises ValueError on other numbers.

    >>> items_for([0.25] * 4, target=0.5)
    2
    """
    target = require_in("(0, 1)", target=target)
    p = as_floats(popularity=popularity)
    fine = p.ndim == 1 and p.size > 1 and np.all(p > 0) and abs(float(p.sum()) - 1) < 1e-9
    require(fine, "popularity", "two or more positive numbers with sum 1", p)
    low, high = 0, p.size
    while high - low > 1:
        middle = (low + high) // 2
        enough = hit_ratio(p, middle, renewed=True) >= target - 1e-12
        low, high = (low, middle) if enough else (middle, high)
    return high


def semantic_threshold(
    similarities: npt.ArrayLike, same: npt.ArrayLike, call_cost: float, false_hit_loss: float
) -> tuple[float, float]:
    """Similarity from which a cached answer is worth giving, and its gain per request.

    similarities: of each request to its nearest cached one, finite, shape (n,). same: whether the
    cached answer is right for it, shape (n,). call_cost: c ≥ 0, saved by every hit. false_hit_loss:
    L ≥ 0, lost by every wrong one. Returns the threshold with the largest gain on these requests,
    infinity and 0 when answering from the cache never gains. Raises ValueError on other input.

    >>> semantic_threshold([0.9, 0.8, 0.7], [True, True, False], call_cost=1.0, false_hit_loss=5.0)
    (0.8, 0.6666666666666666)
    """
    s, right = as_floats(similarities=similarities), np.asarray(same)
    require(s.ndim == 1 and s.size > 0, "similarities", "a non-empty (n,) array", s.shape)
    require_all_finite(similarities=s)
    fine = right.shape == s.shape and right.dtype == np.bool_
    require(fine, "same", f"booleans of shape {s.shape}", right)
    call_cost, false_hit_loss = require_non_negative(
        call_cost=call_cost, false_hit_loss=false_hit_loss
    )
    order = np.argsort(-s, kind="stable")
    gains = np.cumsum(call_cost - false_hit_loss * ~right[order]) / s.size
    last = np.append(np.diff(s[order]) < 0, True)  # a threshold takes all of one similarity
    best = int(np.argmax(np.where(last, gains, -math.inf)))
    return (float(s[order][best]), float(gains[best])) if gains[best] > 0 else (math.inf, 0.0)


def break_even_bandwidth(
    parameters: float,
    kv_bytes_per_token: float,
    flops_per_s: float,
    prefix_tokens: float = 1.0,
    attention_width: float = 0.0,
) -> float:
    """Bandwidth above which loading a cached prefix beats computing it again [B/s].

    parameters: N of the dense model. kv_bytes_per_token: κ [B]. flops_per_s: π that prefill
    reaches. prefix_tokens: n ≥ 1. attention_width: w ≥ 0, layers times the numbers of all query
    heads; 0 leaves attention out. Token i costs 2N operations and 4wi in attention, on average
    2N + 2w(n + 1), or κ bytes: β = κ·π/(2N + 2w(n + 1)). Raises ValueError on other numbers.

    >>> break_even_bandwidth(parameters=5.0, kv_bytes_per_token=10.0, flops_per_s=4.0)
    4.0
    >>> break_even_bandwidth(5.0, 10.0, 4.0, prefix_tokens=9.0, attention_width=0.5)
    2.0
    """
    prefix_tokens = as_number(prefix_tokens=prefix_tokens)
    for name, value in (
        ("parameters", parameters),
        ("kv_bytes_per_token", kv_bytes_per_token),
        ("flops_per_s", flops_per_s),
    ):
        require(0 < value < math.inf, name, "positive and finite", value)
    require(1 <= prefix_tokens < math.inf, "prefix_tokens", "at least 1 and finite", prefix_tokens)
    attention_width = require_non_negative(attention_width=attention_width)
    operations = 2 * parameters + 2 * attention_width * (prefix_tokens + 1)
    return kv_bytes_per_token * flops_per_s / operations


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    mha, gqa = (6.738e9, 524_288.0, 400e12), (8.030e9, 131_072.0, 400e12)
    width = 32 * 4096.0  # of both
    return SimpleNamespace(
        mha_bandwidth_gb=break_even_bandwidth(*mha) / 1e9,
        gqa_bandwidth_gb=break_even_bandwidth(*gqa) / 1e9,
        gqa_32k_bandwidth_gb=break_even_bandwidth(*gqa, 32_768, width) / 1e9,
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


def check_block_waste() -> None:
    """The mean waste is a little above (B − 1)/2 for long sequences and far above it for short.

    Source: the sum over lengths, cut where nothing is left; 200,000 drawn lengths.
    """
    for mean, block in ((8.0, 16), (200.0, 16), (500.0, 128)):
        lengths = np.arange(1, int(60 * mean))
        chances = (1 - 1 / mean) ** (lengths - 1) / mean
        expected = float(chances @ paged_waste(lengths, block))
        checks.close(f"m = {mean:g}, B = {block}", block_waste(mean, block), expected, rtol=1e-9)
    drawn = np.random.default_rng(183).geometric(1 / 200, 200_000)
    checks.covers("drawn", batch_means(paged_waste(drawn, 16).astype(float)), block_waste(200, 16))


def check_items_for_a_target() -> None:
    """For 80% of hits on 1,000 Zipf items LRU needs a third of them; the size below misses.

    Source: a simulated cache of that size, and the approximation at the size and one less.
    """
    p = zipf(1000, 1.0)
    size = items_for(p, 0.8)
    values = [hit_ratio(p, places, renewed=True) for places in (size - 1, size)]
    checks.holds(f"{size} places", bool(values[0] < 0.8 <= values[1]), got=values)
    requests = np.random.default_rng(184).choice(1000, 60_000, p=p)
    hits = batch_means(simulate_hits(requests, size)[10_000:].astype(float))
    checks.covers("simulated", hits, values[1])


def check_semantic_threshold() -> None:
    """The best threshold answers from the cache where the chance of being right exceeds 1 − c/L.

    Source: every threshold tried on 400 requests; for normal similarities of right and wrong
    neighbours, Bayes' rule, whose gain the fitted threshold reaches within its standard error.
    """
    rng = np.random.default_rng(185)
    right = rng.random(400) < 0.6
    scores = np.round(rng.normal(np.where(right, 0.9, 0.7), 0.1), 2)
    best = semantic_threshold(scores, right, 1.0, 8.0)
    tried = [float(np.mean((scores >= t) * (1.0 - 8.0 * ~right))) for t in np.unique(scores)]
    checks.close("gain", best[1], max(tried), rtol=1e-12)
    rule = 0.8 + 0.1**2 / 0.2 * math.log((1 - 1 / 8) / (1 / 8) * 0.4 / 0.6)
    right = rng.random(200_000) < 0.6
    scores = rng.normal(np.where(right, 0.9, 0.7), 0.1)
    fitted = semantic_threshold(scores[:100_000], right[:100_000], 1.0, 8.0)[0]
    fresh, judged = scores[100_000:], right[100_000:]
    gap = ((fresh >= fitted).astype(float) - (fresh >= rule)) * (1.0 - 8.0 * ~judged)
    checks.covers("gain against Bayes' threshold", batch_means(gap), 0.0)
    checks.equal("never", semantic_threshold([0.9, 0.8], [False, False], 1.0, 3.0), (math.inf, 0.0))


def check_break_even_bandwidth() -> None:
    """At the break-even bandwidth 3,000 tokens take as long to load as to compute.

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
    """Negative memory, half a block, a certain hit and unequal lists are errors."""
    checks.raises("memory", longest_context, -1.0, 1, 8.0, match="memory_bytes must be non-neg")
    checks.raises("block", block_waste, 9.0, 0.5, match="block_tokens must be a positive integer")
    checks.raises("target", items_for, [0.5, 0.5], 1.0, match="target must be in (0, 1)")
    checks.raises(
        "lists", semantic_threshold, [0.5], [True, False], 1.0, 1.0, match="same must be booleans"
    )
    checks.raises(
        "speed", break_even_bandwidth, 1.0, 1.0, 0.0, match="flops_per_s must be positive"
    )
