"""Orders and stale sets against graphlib and brute force; hashes and collisions."""

from __future__ import annotations

import graphlib
import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.endpoints_as_contracts.lineage import (
    CHAIN,
    ancestors,
    birthday_bound,
    fingerprint,
    lineage_fingerprints,
    stale_after,
    topological_order,
    weighted_checksum,
)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Acyclic graphs with names in an order that says nothing about the edges."""
    names = draw(st.permutations("abcdef"))[: draw(st.integers(1, 6))]
    return {
        name: [other for other in names[:i] if draw(st.booleans())] for i, name in enumerate(names)
    }


def reachable(graph: dict[str, list[str]], start: str) -> set[str]:
    """Descendants by repeated search along the edges."""
    found: set[str] = set()
    frontier = {start}
    while frontier:
        frontier = {n for n, above in graph.items() if frontier & set(above)} - found
        found |= frontier
    return found


@given(graphs())
def test_order_ancestors_and_stale_sets(graph: dict[str, list[str]]) -> None:
    order = topological_order(graph)
    assert sorted(order) == sorted(graph)
    assert all(order.index(p) < order.index(n) for n, above in graph.items() for p in above)
    for node in graph:
        stale = stale_after(graph, [node])
        assert set(stale) == reachable(graph, node)
        assert stale == [n for n in order if n in stale]
        assert ancestors(graph, node) == {n for n in graph if node in reachable(graph, n)}
    assert stale_after(graph, []) == []


@given(graphs(), st.data())
def test_a_cycle_is_found_whenever_graphlib_finds_one(
    graph: dict[str, list[str]], data: st.DataObject
) -> None:
    child, parent = (data.draw(st.sampled_from(sorted(graph))) for _ in range(2))
    graph[child] = [*graph[child], parent]
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError:
        with pytest.raises(ValueError, match="free of cycles"):
            topological_order(graph)
    else:
        assert topological_order(graph)


@given(graphs())
def test_hashes_change_for_what_is_stale(graph: dict[str, list[str]]) -> None:
    contents = {node: node.encode() for node in graph}
    before = lineage_fingerprints(graph, contents)
    assert len(set(before.values())) == len(graph)
    for changed in graph:
        after = lineage_fingerprints(graph, {**contents, changed: b""})
        differ = {node for node in graph if before[node] != after[node]}
        assert differ == {changed} | reachable(graph, changed)


def test_ties_are_broken_by_name_and_several_changes_add_up() -> None:
    graph = {"z": [], "a": ["z"], "b": [], "c": ["b"], "d": ["a", "c"]}
    assert topological_order(graph) == ["b", "c", "z", "a", "d"]
    assert stale_after(graph, ["z", "b"]) == ["c", "a", "d"]
    assert stale_after(graph, ["z", "a"]) == ["a", "d"]


def test_parents_are_part_of_the_fingerprint_once_and_in_any_order() -> None:
    contents = {"a": b"1", "b": b"2", "c": b"3"}
    one, two, three = (
        lineage_fingerprints({"a": [], "b": [], "c": above}, contents)["c"]
        for above in (["a", "b"], ["b", "a", "a"], ["a"])
    )
    assert one == two != three


@given(st.lists(st.integers(0, 255), min_size=2, max_size=8), st.data())
def test_every_array_collides(values: list[int], data: st.DataObject) -> None:
    """Adding j to place i and subtracting i from place j keeps the sum, and not the hash."""
    i, j = data.draw(st.permutations(range(len(values))))[:2]
    other = list(values)
    other[i] += j + 1
    other[j] -= i + 1
    assert weighted_checksum(other) == weighted_checksum(values)
    assert fingerprint(other) != fingerprint(values)


def test_checksum_sees_a_swap_of_neighbours_and_little_else() -> None:
    assert weighted_checksum([1, 2]) == 5
    assert weighted_checksum([2, 1]) == 4
    assert weighted_checksum([3, 1]) == weighted_checksum([1, 2])


def test_fingerprint_by_hand() -> None:
    expected = hashlib.sha256(b"f8[1]\n" + bytes([0, 0, 0, 0, 0, 0, 0xF0, 0x3F])).hexdigest()
    assert fingerprint([1.0]) == expected == fingerprint(np.array([1.0], dtype=">f8"))
    assert fingerprint([1.0]) != fingerprint(np.array([1.0], dtype=np.float32))
    assert fingerprint([0.0]) != fingerprint([-0.0])
    assert fingerprint([True]) != fingerprint(np.array([1], dtype=np.uint8))
    assert fingerprint(np.zeros((0, 2))) != fingerprint(np.zeros((2, 0)))
    strided = np.arange(6).reshape(2, 3)[:, ::2]
    assert fingerprint(strided) == fingerprint(strided.copy())


def test_birthday_bound_against_the_exact_product() -> None:
    for items, bits in ((2, 1), (5, 8), (20, 12)):
        exact = 1 - math.prod(1 - k / 2**bits for k in range(items))
        assert exact <= birthday_bound(items, bits) + 1e-15
    assert birthday_bound(1, 8) == 0
    assert birthday_bound(2, 8) == 1 / 256
    assert birthday_bound(10**6, 8) == 1


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="values must be non-empty"):
        weighted_checksum([])
    assert weighted_checksum([2**63 - 1, -(2**63)]) == -(2**63) - 1
    for value in (math.nan, math.inf, 0.5, 2**63, -(2**63) - 1, 10**400):
        with pytest.raises(ValueError, match="values must be made of 64-bit integers"):
            weighted_checksum([value])  # type: ignore[list-item]
    for text in ("a", "nan", "inf", "1j"):
        array = np.array([text]) if text == "a" else np.array([complex(text)])
        with pytest.raises(ValueError, match="array must be"):
            fingerprint(array if text in "a1j" else array.real)
    with pytest.raises(ValueError, match="nodes of the graph"):
        topological_order({"a": ["b"]})
    with pytest.raises(ValueError, match="node must be"):
        ancestors(CHAIN, "x")
    with pytest.raises(ValueError, match="changed must be"):
        stale_after(CHAIN, ["x"])
    with pytest.raises(ValueError, match="contents must be"):
        lineage_fingerprints(CHAIN, {"raw": b""})
