"""Orders and stale sets against graphlib and brute force; hashes of what is stale."""

from __future__ import annotations

import graphlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.endpoints_as_contracts.stale_artifacts import (
    _topological_order,
    lineage_fingerprints,
    stale_after,
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
def test_order_and_stale_sets(graph: dict[str, list[str]]) -> None:
    order = _topological_order(graph)
    assert sorted(order) == sorted(graph)
    assert all(order.index(p) < order.index(n) for n, above in graph.items() for p in above)
    for node in graph:
        stale = stale_after(graph, [node])
        assert set(stale) == reachable(graph, node)
        assert stale == [n for n in order if n in stale]
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
            _topological_order(graph)
    else:
        assert _topological_order(graph)


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
    assert _topological_order(graph) == ["b", "c", "z", "a", "d"]
    assert stale_after(graph, ["z", "b"]) == ["c", "a", "d"]
    assert stale_after(graph, ["z", "a"]) == ["a", "d"]


def test_parents_are_part_of_the_fingerprint_once_and_in_any_order() -> None:
    contents = {"a": b"1", "b": b"2", "c": b"3"}
    one, two, three = (
        lineage_fingerprints({"a": [], "b": [], "c": above}, contents)["c"]
        for above in (["a", "b"], ["b", "a", "a"], ["a"])
    )
    assert one == two != three
