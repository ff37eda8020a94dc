"""Trees of prefixes from what is known of prompts: identities of blocks, or what repeats what.

Blocks that always follow each other become one node. Of a session, each prompt has tokens of its
own, behind those that it repeats; they are cut where later prompts turn off.

Source: Qin et al. (2025), Mooncake, for hashes of blocks that stand for a whole beginning.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.fleet.prefixes import Prefixes
from serving_mathematics.core.fleet.requests import Requests
from serving_mathematics.support.require import require, require_all_finite

IntArray = npt.NDArray[np.int64]


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
        for identity, size in zip(own, _counted("lengths", sizes).tolist(), strict=True):
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
    sums = np.bincount(run.astype(np.intp), tokens, kept.size).astype(np.int64)
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
    prompts = _counted("prompt_tokens", prompt_tokens)
    base = _counted("earlier", earlier, prompts.shape)
    reused = _counted("reused_tokens", reused_tokens, prompts.shape)
    answers = _counted("answer_tokens", answer_tokens, prompts.shape)
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


def _counted(name: str, values: npt.ArrayLike, shape: tuple[int, ...] | None = None) -> IntArray:
    """Whole numbers, of a shape where one is given."""
    numbers = np.asarray(require_all_finite(**{name: values}), dtype=float)
    whole = np.all((numbers == np.floor(numbers)) & (np.abs(numbers) < 2**53))
    require(whole, name, "whole numbers", values)
    if shape is not None:
        fits = numbers.shape in ((), shape)
        require(fits, name, f"of shape {shape}", numbers.shape)
        numbers = np.broadcast_to(numbers, shape)
    return np.asarray(numbers.astype(np.int64))


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


def reused_tokens(requests: Requests) -> IntArray:
    """Tokens at the beginning of each prompt that the request before it in its session had, shape
    (n,). Raises ValueError where it is not known what prompts share.

    >>> from serving_mathematics.core.fleet.requests import Requests
    >>> from serving_mathematics.core.fleet.sharing import prefixes_of_reuse
    >>> tree = prefixes_of_reuse([-1, 0], [0, 60], [100, 90])
    >>> reused_tokens(Requests([0, 0], [100, 90], [1, 1], after=[-1, 0], prefixes=tree)).tolist()
    [0, 60]
    """
    tree = requests.prefixes
    require(tree is not None, "requests.prefixes", "given", tree)
    assert tree is not None
    parent, ends = tree.parent.tolist(), tree.ends().tolist()
    found = np.zeros(requests.after.size, dtype=np.int64)
    for request, before in enumerate(requests.after.tolist()):
        if before < 0:
            continue
        one, other = int(tree.node[request]), int(tree.node[before])
        while one != other:  # the deeper of two nodes is the later one
            one, other = max(one, other), min(one, other)
            one = parent[one]
        found[request] = ends[one] if one >= 0 else 0
    return found


def session_of(requests: Requests) -> IntArray:
    """The session of each request, numbered from 0, shape (n,).

    >>> from serving_mathematics.core.fleet.requests import Requests
    >>> session_of(Requests([0, 0, 1], [9, 9, 9], [1, 1, 1], after=[-1, 0, -1])).tolist()
    [0, 0, 1]
    """
    found: list[int] = []
    count = 0
    for before in requests.after.tolist():
        found.append(found[before] if before >= 0 else count)
        count += before < 0
    return np.array(found, dtype=np.int64)
