"""The cache of prefixes of one engine: which nodes of the tree are there, and who goes first.

Blocks that requests use are held; the others stay until room is needed, and the least recently
used go first, the end of a prefix before its beginning. A node whose last holder leaves is stamped,
and one without a kept child can go: the oldest stamp does, from its end, block by block. That is
the order of a queue to which every request returns its blocks from the last to the first, and it
costs the nodes that a request passes, whatever their length.

Source: vLLM, design of automatic prefix caching, for the queue of free blocks; Zheng et al. (2024),
SGLang, for the eviction of leaves of a tree.
"""

from __future__ import annotations

import heapq

from serving_mathematics.core.fleet.prefixes import BlockTree


class BlockCache:
    """Nodes of a tree that are kept, in blocks.

    tree: what prompts share.

    >>> cache = BlockCache(BlockTree([-1, 0], [2, 3], [2, 5], None, None))
    >>> cache.look(1), cache.hold(1), cache.look(1), cache.resident
    ((5, 0), None, (0, 5), 5)
    >>> cache.release(1), cache.shrink(4), cache.look(1)
    (None, None, (5, 1))
    """

    def __init__(self, tree: BlockTree) -> None:
        """Nothing is kept."""
        self.parent, self.size, self.depth = tree.parent, tree.blocks, tree.depth
        self.kept: dict[int, int] = {}  # blocks of each node, from its beginning
        self.children: dict[int, int] = {}  # how many of a node's are kept
        self.holders: dict[int, int] = {}  # requests that end at a node, and children with holders
        self.stamp: dict[int, int] = {}  # when the last holder left
        self.oldest: list[tuple[int, int]] = []  # a heap of stamps and nodes without children
        self.resident = self.pinned = self.moment = self.evicted = 0  # the last in blocks

    def look(self, node: int) -> tuple[int, int]:
        """Blocks on the way to a node that nobody holds, and blocks of it that are kept."""
        v, found = node, -1
        while v >= 0 and v not in self.holders:
            if found < 0 and v in self.kept:
                found = self.depth[v] - self.size[v] + self.kept[v]
            v = self.parent[v]
        above = self.depth[v] if v >= 0 else 0
        return (self.depth[node] if node >= 0 else 0) - above, found if found >= 0 else above

    def hold(self, node: int) -> None:
        """A request uses the way to a node; what was not kept is now."""
        v = node
        while v >= 0:
            holders = self.holders.get(v, 0)
            self.holders[v] = holders + 1
            if holders:
                break
            self.pinned += self.size[v]
            self._keep(v)
            v = self.parent[v]

    def _keep(self, node: int) -> None:
        """All of a node is kept from now on."""
        kept = self.kept.get(node, 0)
        self.resident += self.size[node] - kept
        self.kept[node] = self.size[node]
        if not kept and self.parent[node] >= 0:
            self.children[self.parent[node]] = self.children.get(self.parent[node], 0) + 1

    def release(self, node: int, answer: int = -1) -> None:
        """A request leaves the way to a node, and, if it is done, the rest of its blocks."""
        self.moment += 1
        v = answer
        while v >= 0 and v != node:
            self._keep(v)
            if v not in self.holders:
                self._leave(v)
            v = self.parent[v]
        v = node
        while v >= 0:
            holders = self.holders[v] - 1
            if holders:
                self.holders[v] = holders
                break
            del self.holders[v]
            self.pinned -= self.size[v]
            self._leave(v)
            v = self.parent[v]

    def _leave(self, node: int) -> None:
        """Nobody uses a node any more."""
        self.stamp[node] = self.moment
        if not self.children.get(node):
            heapq.heappush(self.oldest, (self.moment, node))

    def forget(self, node: int, blocks: int) -> None:
        """Of the way to a node only so many blocks were ever computed."""
        v = node
        while v >= 0 and self.depth[v] > blocks and v not in self.holders and v in self.kept:
            self._cut(v, max(0, blocks - self.depth[v] + self.size[v]))
            v = self.parent[v]

    def _cut(self, node: int, left: int) -> None:
        """Keep only the first blocks of a node."""
        self.resident -= self.kept[node] - left
        if left:
            self.kept[node] = left
            return
        del self.kept[node], self.stamp[node]
        parent = self.parent[node]
        if parent >= 0:
            self.children[parent] -= 1
            if not self.children[parent] and parent not in self.holders and parent in self.stamp:
                heapq.heappush(self.oldest, (self.stamp[parent], parent))

    def shrink(self, excess: int) -> None:
        """Evict so many blocks, if positive."""
        while excess > 0:
            moment, node = self.oldest[0]
            stale = self.stamp.get(node) != moment or node in self.holders
            if stale or self.children.get(node) or node not in self.kept:
                heapq.heappop(self.oldest)
                continue
            going = min(excess, self.kept[node])
            self._cut(node, self.kept[node] - going)
            self.evicted += going
            excess -= going
