"""A conversation resends its history: a prefix cache computes only what is new, while it lasts.

Full blocks of B tokens are kept under a key that chains over all tokens before them, so that a key
stands for a whole prefix. Each turn reads the longest cached prefix, writes its own blocks, and the
blocks not used for longest make room. Without a limit, turn k reads all full blocks of turn k − 1
and the first turn those of the shared system prompt. With one, blocks live for a characteristic
time T after their last use, and a turn whose user thought for longer than T finds only the system
prompt.

Assumes: the answer's last token is not cached, since nothing attended to it; a turn reads and
writes at its arrival; exponential think times; a system prompt that stays in the cache.

Source: vLLM, design of automatic prefix caching, for blocks, keys and eviction; the closed form
and the characteristic time are derived on the page, after Che, Tung and Wang (2002).
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.queues.queue_simulator import MeanEstimate, batch_means
from serving_mathematics.support import checks
from serving_mathematics.support.intervals import half_width
from serving_mathematics.support.require import (
    as_number,
    as_numbers,
    require,
    require_finite,
    require_non_negative,
    require_positive,
    require_positive_integer,
    require_work,
    widen_fields,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

BLOCK_TOKENS = 16  # B
RATE_PER_S = 0.4  # new conversations [1/s]
TURNS, THINK_S = 5, 30.0  # mean turns of a conversation, mean time between them [s]
SYSTEM_TOKENS, USER_TOKENS, ANSWER_TOKENS = 256, 40.0, 80.0  # shared; means per turn
WARM_UP_S = 10 * THINK_S  # longer than the longest conversation lasts on average [s]
VOCABULARY = 50_000


@dataclass(frozen=True)
class Turn:
    """One request of a conversation: what it sends, and what the answer makes of it. Raises
    ValueError on tokens that are not an array of integers, and on a prompt longer than all of them.

    >>> Turn(time_s=0.0, conversation=0, number=1, tokens=np.arange(5), prompt_tokens=3).number
    1
    """

    time_s: float
    conversation: int
    number: int  # of the turn in its conversation, from 1
    tokens: IntArray  # prompt and answer, shape (n,)
    prompt_tokens: int  # how many of them are the prompt

    def __post_init__(self) -> None:
        """Refuse what is not a request."""
        widen_fields(self)
        require_finite(time_s=self.time_s)
        whole = np.ndim(self.tokens) == 1 and np.issubdtype(
            np.asarray(self.tokens).dtype, np.integer
        )
        require(whole, "tokens", "an (n,) array of integers", self.tokens)
        size = len(self.tokens)
        inside = 1 <= self.prompt_tokens <= size and self.prompt_tokens % 1 == 0
        require(inside, "prompt_tokens", f"an integer from 1 to {size}", self.prompt_tokens)


def multi_turn_workload(
    rng: np.random.Generator,
    conversations: int,
    *,
    rate_per_s: float = RATE_PER_S,
    turns: int = TURNS,
    think_s: float = THINK_S,
    system_tokens: int = SYSTEM_TOKENS,
    user_tokens: float = USER_TOKENS,
    answer_tokens: float = ANSWER_TOKENS,
) -> list[Turn]:
    """Turns of many conversations in order of time, each with everything said before in its prompt.

    conversations: how many start, Poisson with rate_per_s. turns: K, their number is uniform from 1
    to 2K − 1. think_s: mean time between turns, exponential. system_tokens: shared first tokens.
    user_tokens, answer_tokens: means of what each turn adds, geometric. Tokens are uniform numbers.
    Raises ValueError on counts below 1 or times that are not positive and finite.
    """
    conversations, turns, system_tokens, user_tokens, answer_tokens = as_number(
        conversations=conversations,
        turns=turns,
        system_tokens=system_tokens,
        user_tokens=user_tokens,
        answer_tokens=answer_tokens,
    )
    for name, count in (
        ("conversations", conversations),
        ("turns", turns),
        ("system_tokens", system_tokens),
    ):
        require(1 <= count < math.inf and count % 1 == 0, name, "a positive integer", count)
    for name, mean in (("user_tokens", user_tokens), ("answer_tokens", answer_tokens)):
        require(1 <= mean < math.inf, name, "at least 1 and finite", mean)
    rate_per_s, think_s = require_positive(rate_per_s=rate_per_s, think_s=think_s)
    added = 2 * turns * (user_tokens + answer_tokens)  # at most, in the mean
    require_work(
        conversations * turns * (system_tokens + added),
        conversations=conversations,
        turns=turns,
        system_tokens=system_tokens,
        user_tokens=user_tokens,
        answer_tokens=answer_tokens,
    )
    system = rng.integers(0, VOCABULARY, int(system_tokens))
    starts = np.cumsum(rng.exponential(1 / rate_per_s, int(conversations)))
    result = []
    for conversation, start in enumerate(starts.tolist()):
        count = int(rng.integers(1, 2 * int(turns)))
        users = rng.geometric(1 / user_tokens, count)
        answers = rng.geometric(1 / answer_tokens, count)
        times = start + np.append(0.0, np.cumsum(rng.exponential(think_s, count - 1)))
        total = int(system_tokens + users.sum() + answers.sum())
        tokens = np.append(system, rng.integers(0, VOCABULARY, total - system.size))
        ends = int(system_tokens) + np.cumsum(users + answers)
        for k in range(count):
            prompt = int(ends[k] - answers[k])
            turn = Turn(float(times[k]), conversation, k + 1, tokens[: ends[k]], prompt)
            result.append(turn)
    return sorted(result, key=lambda turn: turn.time_s)


def block_keys(tokens: npt.ArrayLike, block_tokens: int) -> list[bytes]:
    """Key of each full block: a hash of the block's tokens and of the key before it.

    tokens: integers, shape (n,). block_tokens: B, a positive integer. Two equal keys mean equal
    tokens from the first one on. Raises ValueError on other input.

    >>> a, b = block_keys([1, 2, 3, 4, 5], 2), block_keys([1, 2, 9, 9], 2)
    >>> len(a), a[0] == b[0], a[1] == b[1]
    (2, True, False)
    """
    tokens = as_numbers(tokens=tokens)
    t = np.asarray(tokens)
    whole = t.ndim == 1 and (t.size == 0 or np.issubdtype(t.dtype, np.integer))
    require(whole, "tokens", "an (n,) array of integers", t)
    block_tokens = require_positive_integer(block_tokens=block_tokens)
    keys, parent, data = [], b"", t.astype(np.int64).tobytes()
    step = 8 * int(block_tokens)
    for start in range(0, len(data) - step + 1, step):
        parent = hashlib.sha256(parent + data[start : start + step]).digest()
        keys.append(parent)
    return keys


class PrefixCache:
    """Blocks by key; the least recently used go first, and the end of a prefix before its start.

    capacity: blocks, a positive integer. Since a turn uses a prefix from its first block, what is
    left of a prefix is a prefix again. Raises ValueError on another capacity.

    >>> cache = PrefixCache(capacity=2)
    >>> cache.store([b"a", b"ab", b"abc"])
    >>> cache.match([b"a", b"ab", b"abc"])
    2
    """

    def __init__(self, capacity: int) -> None:
        """An empty cache."""
        capacity = require_positive_integer(capacity=capacity)
        self.capacity = int(capacity)
        self.blocks: OrderedDict[bytes, None] = OrderedDict()  # oldest first

    def match(self, keys: Sequence[bytes]) -> int:
        """How many blocks from the first one on are cached."""
        for count, key in enumerate(keys):
            if key not in self.blocks:
                return count
        return len(keys)

    def store(self, keys: Sequence[bytes]) -> None:
        """Mark these blocks as used now, from the last to the first, then shrink to capacity."""
        for key in reversed(keys):
            self.blocks[key] = None
            self.blocks.move_to_end(key)
        while len(self.blocks) > self.capacity:
            self.blocks.popitem(last=False)


def hit_tokens(
    turns: Sequence[Turn], capacities: Sequence[int], block_tokens: int = BLOCK_TOKENS
) -> IntArray:
    """Prompt tokens that each turn finds in the cache, for several cache sizes.

    turns: in order of time. capacities: blocks. Returns shape (capacities, turns). Raises
    ValueError on turns out of order.

    >>> first = Turn(0.0, 0, 1, np.arange(6), prompt_tokens=4)
    >>> again = Turn(9.0, 0, 2, np.arange(10), prompt_tokens=8)
    >>> hit_tokens([first, again], [1, 9], block_tokens=2).tolist()
    [[0, 2], [0, 4]]
    """
    times = [turn.time_s for turn in turns]
    require(
        len(times) > 0 and times == sorted(times), "turns", "non-empty, in order of time", times
    )
    require(len(capacities) > 0, "capacities", "at least one", capacities)
    whole = all(1 <= capacity < math.inf and capacity % 1 == 0 for capacity in capacities)
    require(whole, "capacities", "positive integers", capacities)
    caches = [PrefixCache(capacity) for capacity in capacities]
    found = np.zeros((len(caches), len(turns)), dtype=np.int64)
    for place, turn in enumerate(turns):
        keys = block_keys(turn.tokens[:-1], block_tokens)
        prompt = keys[: turn.prompt_tokens // int(block_tokens)]
        for row, cache in enumerate(caches):
            found[row, place] = block_tokens * cache.match(prompt)
            cache.store(keys)
    return found


def unlimited_hit_tokens(
    turns: Sequence[Turn], system_tokens: int, block_tokens: int = BLOCK_TOKENS
) -> IntArray:
    """What each turn finds in a cache without a limit, from lengths alone, shape (turns,).

    Turn k > 1 finds the full blocks of turn k − 1, whose last token is not cached; a first turn
    those of the system prompt, and the very first nothing. turns: in order of time. Raises
    ValueError when there are none, and when a number of tokens is not a positive integer.

    >>> first = Turn(0.0, 0, 1, np.arange(6), prompt_tokens=4)
    >>> again = Turn(9.0, 0, 2, np.arange(10), prompt_tokens=8)
    >>> unlimited_hit_tokens([first, again], system_tokens=3, block_tokens=2).tolist()
    [0, 4]
    """
    for name, count in (("system_tokens", system_tokens), ("block_tokens", block_tokens)):
        require(1 <= count < math.inf and count % 1 == 0, name, "a positive integer", count)
    require(len(turns) > 0, "turns", "not empty", turns)
    before: dict[int, int] = {}
    found = []
    for turn in turns:
        shared = int(system_tokens) if before else 0
        found.append(before.get(turn.conversation, shared) // int(block_tokens) * int(block_tokens))
        before[turn.conversation] = turn.tokens.size - 1
    return np.array(found, dtype=np.int64)


def timer_hit_tokens(
    turns: Sequence[Turn],
    lifetime_s: float,
    *,
    system_tokens: int = SYSTEM_TOKENS,
    think_s: float = THINK_S,
    block_tokens: int = BLOCK_TOKENS,
) -> tuple[float, FloatArray]:
    """Mean blocks held and expected hits of each turn, when a block lives for T after its last use.

    turns: in order of time; their conversations over the time until the last one starts are the
    rate. lifetime_s: T, non-negative. think_s: Z. A turn after the first finds its conversation
    with probability 1 − e^{−T/Z}; a conversation holds its blocks for min(think time, T) after each
    turn, and for T after the last. Raises ValueError on other input.

    >>> first, other = (Turn(t, int(t), 1, np.arange(33), 20) for t in (0.0, 4.0))
    >>> blocks, hits = timer_hit_tokens([first, other], 10.0, system_tokens=16)
    >>> blocks, hits.tolist()  # 1 shared, and 2/4 per second × 1 × 10 s
    (6.0, [16.0, 16.0])
    """
    system_tokens, block_tokens = as_number(system_tokens=system_tokens, block_tokens=block_tokens)
    lifetime_s = require_non_negative(lifetime_s=lifetime_s)
    think_s = require_positive(think_s=think_s)
    for name, count in (("system_tokens", system_tokens), ("block_tokens", block_tokens)):
        require(1 <= count < math.inf and count % 1 == 0, name, "a positive integer", count)
    last = {turn.conversation: turn.number for turn in turns}
    starts = [turn.time_s for turn in turns if turn.number == 1]
    apart = len(last) > 1 and len(starts) > 0 and max(starts) > 0
    require(apart, "turns", "of two or more conversations, the last starting after 0", last)
    alive = -math.expm1(-lifetime_s / think_s)
    shared = system_tokens // block_tokens
    before: dict[int, int] = {}
    held, hits = 0.0, []
    for turn in turns:
        found = before.get(turn.conversation, shared)
        hits.append(block_tokens * (shared + alive * (found - shared)))
        blocks = (turn.tokens.size - 1) // block_tokens
        before[turn.conversation] = blocks
        ends = turn.number == last[turn.conversation]
        held += (blocks - shared) * (lifetime_s if ends else think_s * alive)
    return shared + held / max(starts), np.array(hits)


@functools.cache
def _workload(seed: int, conversations: int) -> list[Turn]:
    return multi_turn_workload(np.random.default_rng(seed), conversations)


def _steady(turns: Sequence[Turn]) -> npt.NDArray[np.bool_]:
    """Turns after the warm-up and before the last conversation starts."""
    end = max(turn.time_s for turn in turns if turn.number == 1)
    times = np.array([turn.time_s for turn in turns])
    return np.asarray((times > WARM_UP_S) & (times < end))


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    turns = _workload(176, 450)
    steady = _steady(turns)
    prompts = np.array([turn.prompt_tokens for turn in turns])
    unlimited = unlimited_hit_tokens(turns, SYSTEM_TOKENS)
    lifetime = THINK_S * math.log(2)
    blocks, hits = timer_hit_tokens(turns, lifetime)
    shared = SYSTEM_TOKENS // BLOCK_TOKENS * BLOCK_TOKENS
    total = float(prompts[steady].sum())
    added = USER_TOKENS + ANSWER_TOKENS

    def share(found: FloatArray, asked: FloatArray) -> float:
        return float(found.sum() / asked.sum())

    system = np.full(int(steady.sum()), shared)
    half = max(
        float(half_width(share, found, prompts[steady]))
        for found in (unlimited[steady], hits[steady], system)
    )
    return SimpleNamespace(
        turns_count=len(turns),
        prompt_mean=float(prompts[steady].mean()),
        unlimited_percent=100 * float(unlimited[steady].sum()) / total,
        half_percent=100 * float(hits[steady].sum()) / total,
        found_half_percent=100 * half,
        half_thousand_tokens=blocks * BLOCK_TOKENS / 1000,
        half_gib=blocks * BLOCK_TOKENS * 131_072 / 2**30,
        half_lifetime_s=lifetime,
        system_only_percent=100 * shared * int(steady.sum()) / total,
        live_conversations=RATE_PER_S * (TURNS - 1) * THINK_S,
        sent_in_20_turns=20 * SYSTEM_TOKENS + added * 20 * 19 / 2 + 20 * USER_TOKENS,
        computed_in_20_turns=20 * USER_TOKENS + SYSTEM_TOKENS + 19 * (BLOCK_TOKENS + 1) / 2,
    )


def figure_prefix_hits(figure: Figure) -> None:
    """The hits of a prefix cache follow one characteristic time, and end where every conversation
    in progress fits.

    Points are a simulated cache with real block keys, 95% intervals by batch means; the curve has
    no fitted constant. Conversations of five turns on average, half a minute apart.

    Alt: Share of prompt tokens found in the cache against cache size in thousand tokens. It starts
    at 43 percent, which is the system prompt, rises steeply and flattens towards a dashed line for
    the unlimited cache, at 92 percent. Four points lie on the curve.
    """
    axes = figure.subplots()
    turns = _workload(176, 450)
    steady = _steady(turns)
    prompts = np.array([turn.prompt_tokens for turn in turns])[steady]
    total = float(prompts.mean())
    curve = [timer_hit_tokens(turns, float(t)) for t in 210 * np.linspace(0, 1, 18) ** 1.5]
    x = [blocks * BLOCK_TOKENS / 1000 for blocks, _ in curve]
    axes.plot(x, [100 * hits[steady].mean() / total for _, hits in curve], color="C0")
    capacities = [150, 450, 900, 1800]
    found = [batch_means(100 * hits[steady] / total) for hits in hit_tokens(turns, capacities)]
    axes.errorbar(
        [size * BLOCK_TOKENS / 1000 for size in capacities],
        [share.mean for share in found],
        [share.half_width for share in found],
        fmt="o",
        color="C1",
    )
    best = 100 * unlimited_hit_tokens(turns, SYSTEM_TOKENS)[steady].mean() / total
    axes.axhline(best, color="C4", linestyle="--", linewidth=1)
    axes.annotate("no limit", (2, best + 1), color="C4")
    axes.annotate("simulated cache", (21, 68), color="C1")
    axes.annotate("characteristic time", (21, 62), color="C0")
    axes.set(xlim=(0, 58), ylim=(40, 100))
    axes.set(xlabel="cache size [thousand tokens]", ylabel="prompt tokens found [%]")


def check_unlimited_cache() -> None:
    """A cache with room for everything finds what the lengths say, token for token.

    Source: the closed form, which knows no tokens and no keys, for blocks of 16 and of 7.
    """
    turns = _workload(177, 40)
    for block in (16, 7):
        found = hit_tokens(turns, [10**6], block)[0]
        expected = unlimited_hit_tokens(turns, SYSTEM_TOKENS, block)
        checks.equal(f"hits, B = {block}", found.tolist(), expected.tolist())


def check_characteristic_time() -> None:
    """Limited caches find what one characteristic time per size predicts.

    Source: a cache with real keys, as large as the timers fill on average; mean difference per
    turn after the warm-up, standard error from six independent runs of 195 conversations, with a
    system prompt of 64 tokens.
    """
    lifetimes, system = (9.0, 24.0), 64
    gaps = np.empty((len(lifetimes), 6))
    for run in range(6):
        turns = multi_turn_workload(np.random.default_rng(1780 + run), 195, system_tokens=system)
        steady = _steady(turns)
        timers = [timer_hit_tokens(turns, time, system_tokens=system) for time in lifetimes]
        caches = hit_tokens(turns, [round(blocks) for blocks, _ in timers])
        for place, (found, (_, predicted)) in enumerate(zip(caches, timers, strict=True)):
            gaps[place, run] = np.mean((found - predicted)[steady])
    for lifetime, gap in zip(lifetimes, gaps, strict=True):
        error = float(np.std(gap, ddof=1) / math.sqrt(6))
        estimate = MeanEstimate(float(np.mean(gap)), error, 2.571 * error)
        checks.covers(f"tokens found less predicted, T = {lifetime:g} s", estimate, 0.0)


def check_cached_prefixes_are_whole() -> None:
    """No block is in the cache without the blocks before it, whatever was thrown out.

    Source: after each of the turns of 40 conversations, every key's predecessors are looked up.
    """
    cache, parents = PrefixCache(150), dict[bytes, bytes]()
    broken = 0
    for turn in _workload(179, 40):
        keys = block_keys(turn.tokens[:-1], BLOCK_TOKENS)
        parents.update(zip(keys[1:], keys[:-1], strict=True))
        cache.store(keys)
        broken += sum(key in parents and parents[key] not in cache.blocks for key in cache.blocks)
    checks.equal("orphans", broken, 0)
    checks.equal("blocks held", len(cache.blocks), 150)


def check_first_token_decides() -> None:
    """A time of day in front of the system prompt leaves no hits at all, behind the prompt nearly
    all of them.

    Source: the same turns with one token changed in each; a changed token at the end costs at most
    one block per turn.
    """
    turns = _workload(180, 30)
    found = hit_tokens(turns, [10**6])[0]
    for front in (True, False):
        changed = []
        for place, turn in enumerate(turns):
            tokens = turn.tokens.copy()
            tokens[0 if front else turn.prompt_tokens - 1] = VOCABULARY + place
            changed.append(
                Turn(turn.time_s, turn.conversation, turn.number, tokens, turn.prompt_tokens)
            )
        now = hit_tokens(changed, [10**6])[0]
        if front:
            checks.equal("tokens found, changed in front", int(now.sum()), 0)
        else:
            lost = (found - now)[[turn.number == 1 for turn in turns]]
            checks.equal("first turns, changed behind", int(lost.sum()), 0)


def check_bad_input_is_refused() -> None:
    """No room, no tokens, times out of order and endless thinking are errors."""
    rng = np.random.default_rng(0)
    checks.raises("room", PrefixCache, 0, match="capacity must be a positive integer")
    checks.raises("floats", block_keys, [0.5], 16, match="tokens must be an (n,) array of integers")
    checks.raises("block", block_keys, [1], 0, match="block_tokens must be a positive integer")
    late = [Turn(t, 0, 1, np.arange(3), 2) for t in (1.0, 0.0)]
    checks.raises("order", hit_tokens, late, [9], match="turns must be non-empty, in order of time")
    checks.raises("system", unlimited_hit_tokens, late, 0, match="system_tokens must be a positive")
    checks.raises("T", timer_hit_tokens, late, math.nan, match="lifetime_s must be non-negative")
    checks.raises("none", multi_turn_workload, rng, 0, match="conversations must be a positive int")
    checks.raises(
        "think", multi_turn_workload, rng, 9, think_s=math.inf, match="think_s must be positive"
    )
