"""The cache of prefixes of one engine: which blocks of the tree are there, and who goes first.

Blocks that requests use are held; the others stay until room is needed, and the least recently
used go first, the end of a prefix before its beginning. Of a chain of the tree the first blocks are
kept, so many as a number says, and its runs of blocks carry stamps of when their last holder left:
the deeper a run, the older. A chain without a kept child can go, from its end, by the oldest stamp.
That is the order of a queue to which every request returns its blocks from the last to the first,
and it costs the chains that a request passes, not their blocks.

Source: vLLM, design of automatic prefix caching, for the queue of free blocks; Zheng et al. (2024),
SGLang, for the eviction of leaves of a tree.
"""

from __future__ import annotations

import heapq
from collections import deque

from serving_mathematics.core.fleet.prefixes import BlockTree


class BlockCache:
    """Chains of a tree, as far as they are kept. All depths are blocks from the root.

    tree: what prompts share.

    >>> import numpy as np
    >>> cache = BlockCache(BlockTree([-1, 0], [0, 2], [2, 5], *[np.array([0])] * 4))
    >>> cache.look(1, 5), cache.hold(1, 5), cache.look(1, 5), cache.resident
    ((5, 0), None, (0, 5), 5)
    >>> cache.release(1, 5), cache.shrink(4), cache.look(1, 5)
    (None, None, (5, 1))
    """

    def __init__(self, tree: BlockTree) -> None:
        """Nothing is kept."""
        self.parent, self.begins = tree.parent, tree.begins
        self.kept: dict[int, int] = {}  # depth to which a chain is kept
        self.children: dict[int, int] = {}  # how many of a chain's are kept
        self.holders: dict[int, dict[int, int]] = {}  # of a chain: how many hold it to a depth
        self.held: dict[int, int] = {}  # the largest of these depths
        self.stamps: dict[int, deque[tuple[int, int]]] = {}  # ends and moments of runs
        self.oldest: list[tuple[int, int]] = []  # a heap of moments and chains
        self.resident = self.pinned = self.moment = self.evicted = 0  # the last in blocks

    def look(self, chain: int, depth: int) -> tuple[int, int]:
        """Blocks on the way to a depth that nobody holds, and blocks of it that are kept."""
        found, to, v = -1, depth, chain
        kept, held, parent, begins = self.kept, self.held, self.parent, self.begins
        while v >= 0:
            if found < 0 and v in kept:
                found = min(kept[v], to)
            if v in held:
                return depth - min(held[v], to), found
            to = begins[v]
            v = parent[v]
        return depth, max(found, 0)

    def hold(self, chain: int, depth: int) -> None:
        """A request uses the way to a depth; what was not kept is now."""
        v, to = chain, depth
        while v >= 0:
            if self.kept.get(v, 0) < to:
                self._keep(v, to)
            holders = self.holders.get(v)
            if holders:
                holders[to] = holders.get(to, 0) + 1
                if to > self.held[v]:
                    self.pinned += to - self.held[v]
                    self.held[v] = to
                return
            self.holders[v] = {to: 1}
            self.held[v] = to
            to, start = self.begins[v], to
            self.pinned += start - to
            v = self.parent[v]

    def _keep(self, chain: int, depth: int) -> None:
        """A chain is kept to a depth from now on."""
        kept = self.kept.get(chain)
        if kept is None:
            kept = self.begins[chain]
            parent = self.parent[chain]
            if parent >= 0:
                self.children[parent] = self.children.get(parent, 0) + 1
        self.resident += depth - kept
        self.kept[chain] = depth

    def release(self, chain: int, depth: int, answer: int = -1, answer_depth: int = 0) -> None:
        """A request leaves the way to a depth; if it is done, its answer stays behind that."""
        self.moment += 1
        v, to = answer, answer_depth
        while v >= 0 and v != chain:
            self._leave(v, to)
            v, to = self.parent[v], self.begins[v]
        if v >= 0 and to > depth:
            self._leave(v, to)
        v, to = chain, depth
        while v >= 0:
            holders = self.holders[v]
            if holders[to] > 1:
                holders[to] -= 1
                return
            del holders[to]
            if holders:
                most = max(holders)
                if most < to:
                    self.pinned -= to - most
                    self.held[v] = most
                    self._leave(v, to)
                return
            del self.holders[v], self.held[v]
            self.pinned -= to - self.begins[v]
            self._leave(v, to)
            v, to = self.parent[v], self.begins[v]

    def _leave(self, chain: int, depth: int) -> None:
        """A chain is left to this depth; what others hold is stamped anew when they leave."""
        if self.kept.get(chain, 0) < depth:
            self._keep(chain, depth)
        runs = self.stamps.setdefault(chain, deque())
        while runs and runs[0][0] <= depth:
            runs.popleft()
        runs.appendleft((depth, self.moment))
        if not self.children.get(chain):
            heapq.heappush(self.oldest, (runs[-1][1], chain))

    def forget(self, chain: int, depth: int) -> None:
        """Of a way that was left only the blocks to a depth were ever computed."""
        v = chain
        while v >= 0 and self.kept.get(v, 0) > depth and self.held.get(v, 0) <= depth:
            self._cut(v, max(depth, self.begins[v]))
            v = self.parent[v]

    def _cut(self, chain: int, depth: int) -> None:
        """Keep a chain only to a depth."""
        self.resident -= self.kept[chain] - depth
        runs = self.stamps[chain]
        whole = len(runs)
        while len(runs) > 1 and runs[-2][0] >= depth:
            runs.pop()
        if depth > self.begins[chain]:
            self.kept[chain] = depth
            runs[-1] = (depth, runs[-1][1])
            if len(runs) < whole and not self.children.get(chain):
                heapq.heappush(self.oldest, (runs[-1][1], chain))
            return
        del self.kept[chain], self.stamps[chain]
        parent = self.parent[chain]
        if parent >= 0:
            self.children[parent] -= 1
            if not self.children[parent] and parent in self.stamps:
                heapq.heappush(self.oldest, (self.stamps[parent][-1][1], parent))

    def shrink(self, excess: int) -> None:
        """Evict so many blocks, if positive."""
        while excess > 0:
            moment, chain = self.oldest[0]
            runs = self.stamps.get(chain)
            start = self.begins[chain]
            if runs and len(runs) > 1:
                start = runs[-2][0]
            start = max(start, self.held.get(chain, 0))
            if (
                not runs
                or runs[-1][1] != moment
                or self.children.get(chain)
                or self.kept[chain] <= start
            ):
                heapq.heappop(self.oldest)
                continue
            going = min(excess, self.kept[chain] - start)
            self._cut(chain, self.kept[chain] - going)
            self.evicted += going
            excess -= going
