"""A prefix cache: blocks whose keys chain, so that what begins alike is kept and computed once.

Full blocks of B tokens are kept under a key that chains over all tokens before them, so that a key
stands for a whole prefix. A request reads the longest cached prefix, writes its own blocks, and the
blocks not used for longest make room, the end of a prefix before its start.

Assumes: a request reads and writes at its arrival.

Source: vLLM, design of automatic prefix caching, for blocks, keys and eviction.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_numbers, require, require_positive_integer

IntArray = npt.NDArray[np.int64]

BLOCK_TOKENS = 16  # B


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
    """Blocks by key; the least recently used are evicted first, the end of a prefix before its
    start.

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


def _sessions(count: int, turns: int = 4, system: int = 64) -> list[IntArray]:
    """Prompts of sessions that take turns, each with all that its session said before."""
    rng = np.random.default_rng(177)
    said = [rng.integers(0, 50_000, system)] * count
    prompts = []
    for _ in range(turns):
        for session in rng.permutation(count).tolist():
            more = rng.integers(0, 50_000, int(rng.integers(20, 90)))
            said[session] = np.append(said[session], more)
            prompts.append(said[session])
    return prompts


def _found(prompts: Sequence[IntArray], capacity: int) -> list[int]:
    """Blocks that each finds."""
    cache, found = PrefixCache(capacity), []
    for tokens in prompts:
        keys = block_keys(tokens, BLOCK_TOKENS)
        found.append(cache.match(keys))
        cache.store(keys)
    return found


def check_keys_find_what_a_tree_finds() -> None:
    """Chained keys find exactly the blocks that a tree of prefixes finds, at any cache size.

    Source: `BlockCache` of the fleet simulator, which knows no tokens and no keys; sessions without
    a common beginning, from a cache that forgets most to one that keeps all.
    """
    prompts = _sessions(12, system=1)
    first = {int(tokens[1]): k for k, tokens in reversed(list(enumerate(prompts)))}
    last: dict[int, int] = {}
    parent, tokens, node = [], [], []
    for k, prompt in enumerate(prompts):
        session = first[int(prompt[1])]
        before = last.get(session, -1)
        parent.append(before)
        tokens.append(prompt.size - (prompts[before].size if before >= 0 else 0))
        node.append(k)
        last[session] = k
    none = np.full(len(node), -1)
    tree = Prefixes(np.array(parent), np.array(tokens), np.array(node), none).in_blocks(16)
    for capacity in (12, 60, 90, 10_000):
        cache, found = BlockCache(tree), []
        for k in range(len(prompts)):
            chain, depth = int(tree.chain[k]), int(tree.blocks[k])
            found.append(cache.look(chain, depth)[1])
            cache.hold(chain, depth)
            cache.release(chain, depth)
            cache.shrink(cache.resident - capacity)
        checks.equal(f"{capacity} blocks", _found(prompts, capacity), found)


def check_cached_prefixes_are_whole() -> None:
    """No block is in the cache without the blocks before it, whatever was evicted.

    Source: after each prompt of 40 sessions, every key's predecessors are looked up.
    """
    cache, parents = PrefixCache(150), dict[bytes, bytes]()
    broken = 0
    for tokens in _sessions(40):
        keys = block_keys(tokens, BLOCK_TOKENS)
        parents.update(zip(keys[1:], keys[:-1], strict=True))
        cache.store(keys)
        broken += sum(key in parents and parents[key] not in cache.blocks for key in cache.blocks)
    checks.equal("orphans", broken, 0)
    checks.equal("blocks held", len(cache.blocks), 150)


def check_first_token_decides() -> None:
    """A timestamp in front of the system prompt leaves no hits at all; behind the prompt, nearly
    all of them.

    Source: the same prompts with one token changed in each.
    """
    prompts = _sessions(30)
    found = _found(prompts, 10**6)
    for place, name in ((0, "in front"), (-1, "behind")):
        changed = [tokens.copy() for tokens in prompts]
        for k, tokens in enumerate(changed):
            tokens[place] = 50_000 + k
        share = sum(_found(changed, 10**6)) / sum(found)
        low, high = (0.0, 0.0) if place == 0 else (0.9, 1.0)
        checks.inside(f"{name}, share of the hits", share, low, high)
