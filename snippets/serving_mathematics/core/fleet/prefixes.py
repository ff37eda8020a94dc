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

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.require import (
    COUNTED,
    as_floats,
    require,
    require_positive_integer,
    require_shape,
)

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
        for name in ("parent", "tokens", "node", "answer_node"):
            column = as_floats(**{name: getattr(self, name)})
            whole = np.all((column == np.floor(column)) & (np.abs(column) <= COUNTED))
            require(column.ndim == 1 and whole, name, "whole numbers, of shape (n,)", column)
            object.__setattr__(self, name, column.astype(np.int64))
        size = self.parent.size
        require_shape((size,), tokens=self.tokens)
        require_shape(self.node.shape, answer_node=self.answer_node)
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
        block_tokens = require_positive_integer(block_tokens=block_tokens)
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
        children = np.bincount((higher_of + 1).astype(np.intp), minlength=depth.size + 1)[1:]
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
