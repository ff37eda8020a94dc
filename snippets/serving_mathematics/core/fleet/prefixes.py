"""What prompts share: a tree whose nodes are runs of tokens.

A prompt is the way from the root to a node. Two prompts that begin alike share the nodes of what
they share, so that a cache need not look at tokens, and a chain of a thousand blocks that always
come together is one number. The node of an answer is what the next prompt of a session begins with.

In a cache of blocks of B tokens a node that reaches from token a to token b has ⌊b/B⌋ − ⌊a/B⌋
blocks: one that lies across the end of a node depends on what follows, and belongs to that.

Source: vLLM, design of automatic prefix caching, for full blocks whose keys chain over all tokens
before them; Zheng et al. (2024), SGLang, for the tree.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.require import require, require_positive_integer

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BlockTree:
    """The tree in blocks, of chains that turn off only at their ends; −1 is the root.

    parent: of each chain. begins, ends: of each, in blocks from the root. chain: where the prompt
    of each request ends, shape (n,), and blocks: how many full ones it has. answer_chain,
    answer_blocks: the same for prompt and answer.
    """

    parent: list[int]
    begins: list[int]
    ends: list[int]
    chain: IntArray
    blocks: IntArray
    answer_chain: IntArray
    answer_blocks: IntArray


@dataclass(frozen=True, eq=False)
class Prefixes:
    """A tree of prompts. Raises ValueError on a node that comes before its parent, on one without
    tokens, and on requests whose node is not there.

    parent: of each node, smaller than its own number, or −1 for the root, shape (nodes,). tokens:
    of each node, from 1. node: where each request's prompt ends as far as it is known, shape (n,).
    answer_node: where prompt and answer end, −1 where nobody will ask for that.

    >>> nodes, none = np.array([0, 1]), np.array([-1, -1])
    >>> Prefixes(np.array([-1, 0]), np.array([40, 24]), nodes, none).in_blocks(16).ends
    [4]
    """

    parent: IntArray
    tokens: IntArray
    node: IntArray
    answer_node: IntArray

    def __post_init__(self) -> None:
        """Refuse what is no tree."""
        size = self.parent.size
        shape = self.tokens.shape == (size,) and self.node.shape == self.answer_node.shape
        require(shape, "tokens", f"of shape ({size},)", self.tokens.shape)
        for name, wrong, rule in (
            ("parent", self.parent >= np.arange(size), "an earlier node"),
            ("parent", self.parent < -1, "a node, or −1 for the root"),
            ("tokens", self.tokens < 1, "at least 1"),
            ("node", (self.node < -1) | (self.node >= size), f"from −1 to {size - 1}"),
            ("answer_node", (self.answer_node < -1) | (self.answer_node >= size), "a node"),
        ):
            if wrong.any():
                row = int(np.flatnonzero(wrong)[0])
                require(False, f"{name}[{row}]", rule, getattr(self, name)[row])

    def ends(self) -> IntArray:
        """Tokens from the root to the end of each node, shape (nodes,).

        >>> none = np.array([0])
        >>> Prefixes(np.array([-1, 0]), np.array([40, 24]), none, none).ends().tolist()
        [40, 64]
        """
        found: list[int] = []
        for above, own in zip(self.parent.tolist(), self.tokens.tolist(), strict=True):
            found.append(own + (found[above] if above >= 0 else 0))
        return np.array(found, dtype=np.int64)

    def refuse_lengths(self, prompt_tokens: IntArray, output_tokens: IntArray) -> None:
        """Raise ValueError where a prompt is shorter than its nodes say."""
        ends = np.append(self.ends(), 0)
        for name, nodes, most in (
            ("prompt_tokens", self.node, prompt_tokens),
            ("output_tokens", self.answer_node, prompt_tokens + output_tokens),
        ):
            short = ends[nodes] > most
            if short.any():
                row = int(np.flatnonzero(short)[0])
                rule = f"enough for the {ends[nodes[row]]} tokens that its nodes stand for"
                require(False, f"{name}[{row}]", rule, most[row])

    def in_blocks(self, block_tokens: int) -> BlockTree:
        """The tree that a cache with blocks of this size keeps. Raises ValueError unless positive.

        >>> none = np.array([-1])
        >>> Prefixes(np.array([-1, 0]), np.array([9, 24]), np.array([1]), none).in_blocks(16).blocks
        array([2])
        """
        require_positive_integer(block_tokens=block_tokens)
        depth = self.ends() // block_tokens
        above = np.append(depth, 0)[self.parent]
        kept = depth > above  # nodes with a full block of their own
        stands: list[int] = []  # the node that stands for each, itself or the nearest above it
        for place, parent in enumerate(self.parent.tolist()):
            higher = stands[parent] if parent >= 0 else -1
            stands.append(place if kept[place] else higher)
        of = np.array([*stands, -1], dtype=np.int64)
        nodes = np.flatnonzero(kept)
        higher_of = of[self.parent[nodes]]
        children = np.bincount(higher_of + 1, minlength=depth.size + 1)[1:]
        joined = np.zeros(depth.size, dtype=bool)
        joined[nodes] = (higher_of >= 0) & (children[higher_of] == 1)
        number = np.full(depth.size + 1, -1)
        number[:-1] = np.cumsum(kept & ~joined) - 1
        parents: list[int] = []
        begins: list[int] = []
        ends: list[int] = []
        for place, higher in zip(nodes.tolist(), higher_of.tolist(), strict=True):
            if joined[place]:
                number[place] = number[higher]
                ends[number[place]] = int(depth[place])
            else:
                parents.append(int(number[higher]))
                begins.append(int(above[place]))
                ends.append(int(depth[place]))
        depth = np.append(depth, 0)
        return BlockTree(
            parents,
            begins,
            ends,
            number[of[self.node]],
            depth[self.node],
            number[of[self.answer_node]],
            depth[self.answer_node],
        )


def prefixes_of_ids(
    ids: Sequence[Sequence[Hashable]],
    lengths: Sequence[Sequence[int]],
    where: str = "row",
    numbers: Sequence[int] = (),
) -> Prefixes:
    """A tree from the identities of the blocks of each prompt, equal ones for equal beginnings.

    ids: of the blocks of each request. lengths: tokens of each block. where, numbers: what a
    refusal calls a request, and its number, from 1 by default. Blocks that always follow each other
    are one node. Raises ValueError when one identity stands for two lengths, or comes after two
    different beginnings.

    >>> tree = prefixes_of_ids([[7, 8, 9], [7, 8, 5]], [[4, 4, 4], [4, 4, 2]])
    >>> tree.tokens.tolist(), tree.node.tolist()
    ([8, 4, 2], [1, 2])
    """
    known: dict[Hashable, int] = {}
    parent: list[int] = []
    tokens: list[int] = []
    first: list[int] = []  # the request that had it first
    uses: list[int] = []
    node: list[int] = []
    numbers = numbers or range(1, len(ids) + 1)
    for row, own, sizes in zip(numbers, ids, lengths, strict=True):
        above = -1
        for identity, size in zip(own, sizes, strict=True):
            place = known.get(identity)
            if place is None:
                place = known[identity] = len(parent)
                parent.append(above)
                tokens.append(size)
                first.append(row)
                uses.append(0)
            elif tokens[place] != size or parent[place] != above:
                what = f"{tokens[place]} tokens" if tokens[place] != size else "another beginning"
                rule = f"{what}, as in {where} {first[place]}"
                require(False, f"{where} {row}: block {identity}", rule, f"{size} tokens")
            uses[place] += 1
            above = place
        node.append(above)
    return _merged(np.array(parent), np.array(tokens), np.array(uses), np.array(node))


def _merged(parent: IntArray, tokens: IntArray, uses: IntArray, node: IntArray) -> Prefixes:
    """The same tree, with each node that its parent's requests all go on to joined to that."""
    if not parent.size:
        return Prefixes(parent, tokens, node, np.full(node.size, -1))
    joined = (parent >= 0) & (uses == uses[parent])  # nobody ends at the parent or turns off there
    number = np.cumsum(~joined) - 1
    run = np.array(number)
    for place in np.flatnonzero(joined).tolist():
        run[place] = run[parent[place]]
    kept = np.flatnonzero(~joined)
    above = np.where(parent[kept] >= 0, run[parent[kept]], -1)
    sums = np.bincount(run, tokens, kept.size).astype(np.int64)
    return Prefixes(above, sums, np.append(run, -1)[node], np.full(node.size, -1))


def prefixes_of_reuse(
    earlier: npt.ArrayLike,
    reused_tokens: npt.ArrayLike,
    prompt_tokens: npt.ArrayLike,
    answer_tokens: npt.ArrayLike = 0,
) -> Prefixes:
    """A tree from what each prompt repeats of an earlier request, as sessions do.

    earlier: number of the request whose first tokens it repeats, or −1, shape (n,). reused_tokens:
    how many. prompt_tokens: from 1. answer_tokens: of each answer, that later prompts may repeat
    too; its last token is in no cache. Raises ValueError when a prompt repeats a request that comes
    later, or more tokens than that one or it has.

    >>> tree = prefixes_of_reuse([-1, 0, 0], [0, 80, 60], [100, 150, 90])
    >>> tree.tokens.tolist(), tree.parent.tolist(), tree.node.tolist()
    ([60, 20, 20, 70, 30], [-1, 0, 1, 1, 0], [2, 3, 4])
    """
    base, reused = np.asarray(earlier, dtype=np.int64), np.asarray(reused_tokens, dtype=np.int64)
    prompts = np.asarray(prompt_tokens, dtype=np.int64)
    answers = np.broadcast_to(np.asarray(answer_tokens, dtype=np.int64), prompts.shape)
    ends = prompts + np.maximum(answers - 1, 0)
    known = np.where(base >= 0, ends[base], 0)
    for name, wrong, rule in (
        ("earlier", (base >= np.arange(base.size)) | (base < -1), "an earlier request, or −1"),
        ("reused_tokens", (reused < 0) | (reused > prompts), "from 0 to the prompt's tokens"),
        ("reused_tokens", reused > known, "at most what the earlier request had"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            require(False, f"{name}[{row}]", rule, {"earlier": base}.get(name, reused)[row])
    owner: list[int] = []  # the request whose own tokens end what is repeated
    cuts: list[set[int]] = []  # where the own tokens of each request are cut
    starts = reused.tolist()
    for row, (above, depth) in enumerate(zip(base.tolist(), starts, strict=True)):
        while above >= 0 and depth <= starts[above]:
            above = owner[above]
        owner.append(above if depth else -1)
        cuts.append({int(prompts[row]), int(ends[row])} - {depth})
        if owner[row] >= 0:
            cuts[owner[row]].add(depth)
    return _cut(owner, starts, cuts, prompts, np.where(answers > 1, ends, -1))


def _cut(
    owner: list[int], starts: list[int], cuts: list[set[int]], prompts: IntArray, ends: IntArray
) -> Prefixes:
    """Nodes from the own tokens of each request, cut where others turn off."""
    parent: list[int] = []
    tokens: list[int] = []
    places: list[dict[int, int]] = []  # of each request: the node that ends at a depth
    for above, start, own in zip(owner, starts, cuts, strict=True):
        here = places[above][start] if above >= 0 else -1
        mine = {start: here}
        for end in sorted(own):
            parent.append(here)
            tokens.append(end - start)
            here = mine[end] = len(parent) - 1
            start = end
        places.append(mine)
    node = [mine[end] for mine, end in zip(places, prompts.tolist(), strict=True)]
    answer = [mine.get(end, -1) for mine, end in zip(places, ends.tolist(), strict=True)]
    return Prefixes(np.array(parent), np.array(tokens), np.array(node), np.array(answer))
