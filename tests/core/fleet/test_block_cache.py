"""The cache of chains against one of single blocks, and the tree against counting."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.batching.continuous_batching import Engine
from serving_mathematics.core.fleet.block_cache import BlockCache
from serving_mathematics.core.fleet.design import Fleet
from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.core.fleet.sharing import prefixes_of_ids, prefixes_of_reuse
from serving_mathematics.core.fleet.simulator import simulate_fleet


def ways(tree: Prefixes, nodes: np.ndarray) -> list[list[int]]:
    """The node of every token on the way to each request's end."""
    found = []
    for end in nodes.tolist():
        way: list[int] = []
        while end >= 0:
            way = [end] * int(tree.tokens[end]) + way
            end = int(tree.parent[end])
        found.append(way)
    return found


def sessions(seed: int) -> tuple[Prefixes, np.ndarray]:
    """Prompts that repeat parts of earlier ones or of their answers."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 40))
    earlier, reused, prompts = [], [], []
    answers = rng.integers(0, 30, size)
    for row in range(size):
        base = int(rng.integers(-1, row)) if row else -1
        most = prompts[base] + max(int(answers[base]) - 1, 0) if base >= 0 else 0
        share = int(rng.integers(0, most + 1))
        earlier.append(base)
        reused.append(share)
        prompts.append(share + int(rng.integers(0 if share else 1, 40)))
    return prefixes_of_reuse(earlier, reused, prompts, answers), np.array(prompts)


@given(st.integers(0, 2**32), st.sampled_from([1, 3, 16]), st.integers(1, 60))
def test_hits_are_those_of_single_blocks(seed: int, block: int, capacity: int) -> None:
    """One request after the other through caches of any size, block by block and chain by chain."""
    tree, _ = sessions(seed)
    blocks = tree.in_blocks(block)
    cache, plain = BlockCache(blocks), OrderedDict[tuple[int, int], None]()
    prompts, whole = ways(tree, tree.node), ways(tree, tree.answer_node)
    for request, prompt in enumerate(prompts):
        both = whole[request] if tree.answer_node[request] >= 0 else prompt
        keys = [(both[end - 1], end) for end in range(block, len(both) + 1, block)]
        own = len(prompt) // block
        found = 0
        while found < own and keys[found] in plain:
            found += 1
        chain, depth = int(blocks.chain[request]), int(blocks.blocks[request])
        assert cache.look(chain, depth) == (depth, found) == (own, found)
        cache.hold(chain, depth)
        answer = int(blocks.answer_chain[request]), int(blocks.answer_blocks[request])
        cache.release(chain, depth, *answer)
        cache.shrink(cache.resident - capacity)
        for key in reversed(keys):
            plain[key] = None
            plain.move_to_end(key)
        while len(plain) > capacity:
            plain.popitem(last=False)
        assert cache.resident == len(plain)
        assert cache.pinned == 0


@given(st.integers(0, 2**32))
def test_a_tree_of_reuse_shares_what_is_repeated(seed: int) -> None:
    """Two prompts have the same nodes as far as they repeat each other, and no further."""
    tree, prompts = sessions(seed)
    whole = ways(tree, tree.node)
    assert [len(way) for way in whole] == prompts.tolist()
    assert np.array_equal(tree.ends()[tree.node], prompts)


def test_reuse_by_hand() -> None:
    """A prompt of 100 tokens with an answer of 21; one repeats 115 of the 120 that are kept, one 40
    of the first."""
    tree = prefixes_of_reuse([-1, 0, 0], [0, 115, 40], [100, 150, 60], [21, 0, 0])
    assert tree.parent.tolist() == [-1, 0, 1, 2, 2, 0]
    assert tree.tokens.tolist() == [40, 60, 15, 5, 35, 20]
    assert tree.node.tolist() == [1, 4, 5]
    assert tree.answer_node.tolist() == [3, -1, -1]


def test_chains_turn_off_only_at_their_ends() -> None:
    """The same in blocks of 16: the common 2 blocks, then 4 to the depth of 6, where the answer's
    block and what repeats it turn off; 60 tokens have a block of their own."""
    tree = prefixes_of_reuse([-1, 0, 0], [0, 115, 40], [100, 150, 60], [21, 0, 0]).in_blocks(16)
    assert (tree.parent, tree.begins, tree.ends) == ([-1, 0, 0], [0, 2, 2], [2, 9, 3])
    assert tree.chain.tolist() == [1, 1, 2]
    assert tree.blocks.tolist() == [6, 9, 3]
    assert tree.answer_blocks.tolist() == [7, 0, 0]


def test_identities_that_lie() -> None:
    assert prefixes_of_ids([[1], [1, 2]], [[4], [4, 4]]).tokens.tolist() == [4, 4]
    assert prefixes_of_ids([[], []], [[], []]).node.tolist() == [-1, -1]
    with pytest.raises(ValueError, match="row 2: block 1 must be 4 tokens, as in row 1, got 3"):
        prefixes_of_ids([[1], [1]], [[4], [3]])
    with pytest.raises(ValueError, match="row 2: block 2 must be another beginning, as in row 1"):
        prefixes_of_ids([[1, 2], [2]], [[4, 4], [4]])
    with pytest.raises(ValueError, match=r"earlier\[0\] must be an earlier request, or −1, got 1"):
        prefixes_of_reuse([1, -1], [3, 0], [9, 9])
    with pytest.raises(ValueError, match=r"reused_tokens\[1\] must be at most what the earlier"):
        prefixes_of_reuse([-1, 0], [0, 10], [9, 20])
    with pytest.raises(ValueError, match=r"reused_tokens\[1\] must be from 0 to the prompt's"):
        prefixes_of_reuse([-1, 0], [0, 9], [9, 8])


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (([0], [4], [0], [-1]), r"parent\[0\] must be an earlier node, got 0"),
        (([-2], [4], [0], [-1]), r"parent\[0\] must be a node, or −1 for the root, got -2"),
        (([-1], [0], [0], [-1]), r"tokens\[0\] must be at least 1, got 0"),
        (([-1], [4], [1], [-1]), r"node\[0\] must be from −1 to 0, got 1"),
        (([-1], [4], [0], [3]), r"answer_node\[0\] must be a node, got 3"),
        (([-1], [4, 4], [0], [-1]), r"tokens must be of shape \(1,\), got \(2,\)"),
        (([-1], [4.5], [0], [-1]), r"tokens must be whole numbers, of shape \(n,\)"),
        (([-1], [[4]], [0], [-1]), r"tokens must be whole numbers, of shape \(n,\)"),
    ],
)
def test_what_is_no_tree(columns: tuple[list[float], ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Prefixes(*(np.array(column) for column in columns))


def test_a_tree_that_says_more_than_a_prompt_has() -> None:
    tree = prefixes_of_reuse([-1], [0], [40], [10])
    with pytest.raises(ValueError, match=r"prompt_tokens\[0\] must be enough for the 40 tokens"):
        Requests([0.0], [39], [30], prefixes=tree)
    with pytest.raises(ValueError, match=r"output_tokens\[0\] must be enough for the 49 tokens"):
        Requests([0.0], [40], [8], prefixes=tree)


def test_two_turns_by_hand() -> None:
    """40 tokens and an answer of 9 leave 3 blocks of 16, of which the next prompt finds all that it
    repeats; steps of 1 s and 0.5 s a token of a prompt."""
    tree = prefixes_of_reuse([-1, 0], [0, 48], [40, 60], [9, 1])
    asked = Requests([0.0, 0.0], [40, 60], [9, 1], after=[-1, 0], pause_s=1.0, prefixes=tree)
    engine = Engine(1.0, prefill_token_s=0.5, block_tokens=16)
    got = simulate_fleet(asked, Fleet([engine], caching=True))
    assert got.found_tokens.tolist() == [0, 48]
    assert got.completion_s.tolist() == [1 + 20 + 8, 29 + 1 + 1 + 6]
    alone = simulate_fleet(asked, Fleet([engine]))
    assert alone.completion_s[1] == 29 + 1 + 1 + 30
