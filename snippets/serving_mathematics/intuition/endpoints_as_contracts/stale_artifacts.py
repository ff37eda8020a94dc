"""An endpoint is what it was built from: reachability finds what is stale, and hashes find it too.

A lineage is a directed acyclic graph from data to endpoint. What a change makes stale are the
descendants of what changed, in topological order. A fingerprint that hashes a node's content
together with the fingerprints of its parents changes for exactly that set, provided that two
contents never share a hash: a position-weighted sum fails at that, SHA-256 does not.

Assumes: every dependency is in the graph; a build depends on nothing else (code, seeds, versions of
packages are nodes too).

Source: topological order as in Python's graphlib; SHA-256 as in FIPS 180-4.
"""

from __future__ import annotations

import graphlib
import hashlib
import heapq
from collections.abc import Iterable, Mapping, Sequence

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import require


def _topological_order(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Nodes with every node after its parents; among those that are ready, by name.

    Raises ValueError when a parent is no node, or when there is a cycle, naming the nodes on it.
    """
    missing = sorted({p for above in parents.values() for p in above} - parents.keys())
    require(not missing, "parents", "nodes of the graph", missing)
    sorter = graphlib.TopologicalSorter(parents)
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        require(False, "parents", "free of cycles", error.args[1])
    ready, order = list[str](), list[str]()
    while sorter.is_active():
        for node in sorter.get_ready():
            heapq.heappush(ready, node)
        order.append(heapq.heappop(ready))
        sorter.done(order[-1])
    return order


def stale_after(parents: Mapping[str, Sequence[str]], changed: Iterable[str]) -> list[str]:
    """What must be rebuilt when some nodes have changed, in an order in which it can be.

    parents: for every node, the nodes it is built from. changed: nodes whose content is already
    new; one of them is stale too when it is built from another. Raises ValueError on an unknown
    node or a cycle.

    >>> stale_after({"model": ["features"], "features": ["raw"], "raw": []}, ["features"])
    ['model']
    """
    new = set(changed)
    require(new <= parents.keys(), "changed", "nodes of the graph", sorted(new - parents.keys()))
    stale: list[str] = []
    for name in _topological_order(parents):
        if not new.isdisjoint(parents[name]):
            stale.append(name)
            new.add(name)
    return stale


def lineage_fingerprints(
    parents: Mapping[str, Sequence[str]], contents: Mapping[str, bytes]
) -> dict[str, str]:
    """For every node, the SHA-256 of its own content and its parents' fingerprints.

    parents: for every node, the nodes it is built from. contents: what each node adds itself: data,
    code or configuration [bytes]. Raises ValueError on a cycle, or when the two name different
    nodes.

    >>> graph = {"raw": [], "model": ["raw"]}
    >>> one = lineage_fingerprints(graph, {"raw": b"1", "model": b"fit"})
    >>> two = lineage_fingerprints(graph, {"raw": b"2", "model": b"fit"})
    >>> one["model"] == two["model"]
    False
    """
    require(contents.keys() == parents.keys(), "contents", "given for every node", sorted(contents))
    found: dict[str, str] = {}
    for name in _topological_order(parents):
        above = "".join(sorted(f"{parent}={found[parent]}\n" for parent in set(parents[name])))
        own = hashlib.sha256(contents[name]).hexdigest()
        found[name] = hashlib.sha256(f"{own}\n{above}".encode()).hexdigest()
    return found


CHAIN = {  # data, cleaned data, features, model, endpoint
    "raw": [],
    "clean": ["raw"],
    "features": ["clean"],
    "model": ["features"],
    "endpoint": ["model"],
}
SERVED = {  # what a chat endpoint answers from
    "chats": [],
    "base weights": [],
    "tuned weights": ["base weights", "chats"],
    "samples": ["chats"],
    "8-bit weights": ["tuned weights", "samples"],
    "draft model": ["tuned weights"],
    "template": [],
    "engine": [],
    "endpoint": ["8-bit weights", "draft model", "template", "engine"],
    "stored answers": ["endpoint"],
}


def figure_stale_set(figure: Figure) -> None:
    """New samples for quantization make the 8-bit weights, the endpoint and the stored answers
    stale, but not the draft model, the template and the engine.

    Alt: Graph of ten boxes with arrows from left to right. Chats and base weights lead to tuned
    weights, chats also to samples; tuned weights and samples lead to 8-bit weights, tuned weights
    to a draft; 8-bit weights, draft, template and engine lead to the endpoint, and the endpoint to
    stored answers. Samples are marked as changed; 8-bit weights, endpoint and stored answers as
    stale.
    """
    changed = "samples"
    stale = stale_after(SERVED, [changed])
    places = {
        "base weights": (0, 2),
        "chats": (0, 1),
        "tuned weights": (1.1, 2),
        "samples": (1.1, 1),
        "draft model": (2.2, 2.5),
        "8-bit weights": (2.2, 1.5),
        "template": (2.2, 0.7),
        "engine": (2.2, 0),
        "endpoint": (3.3, 1.5),
        "stored answers": (4.4, 1.5),
    }
    figure.set_size_inches(5.8, 3.2)
    axes = figure.subplots()
    for node, above in SERVED.items():
        for parent in above:
            axes.annotate(
                "",
                places[node],
                places[parent],
                arrowprops={
                    "arrowstyle": "->",
                    "color": "C3" if parent in {changed, *stale} else "C4",
                    "shrinkA": 26,
                    "shrinkB": 30,
                    "linewidth": 1.4,
                },
            )
    for node, (x, y) in places.items():
        colour = "C1" if node == changed else "C3" if node in stale else "C0"
        style = {"boxstyle": "round", "facecolor": "none", "edgecolor": colour, "linewidth": 1.6}
        axes.text(x, y, node.replace(" ", "\n"), ha="center", va="center", fontsize=10, bbox=style)
        note = "changed" if node == changed else "stale" if node in stale else ""
        axes.text(x, y - 0.33, note, color=colour, ha="center", va="top", fontsize=10)
    axes.set(xlim=(-0.45, 4.9), ylim=(-0.4, 2.9))
    axes.axis("off")


def check_chain() -> None:
    """The chain of five nodes has four edges, one order, and goes stale from the change onwards.

    Source: by hand.
    """
    found, order = _topological_order(CHAIN), ["raw", "clean", "features", "model", "endpoint"]
    checks.equal("nodes", len(found), 5)
    checks.equal("edges", sum(map(len, CHAIN.values())), 4)
    checks.equal("order", found, order)
    stale = ["features", "model", "endpoint"]
    checks.equal("stale after clean", stale_after(CHAIN, ["clean"]), stale)
    checks.equal("stale after endpoint", stale_after(CHAIN, ["endpoint"]), [])


def check_checksum_collides() -> None:
    """A position-weighted sum, 1090 for 17, 23, 42, 99, 101, is the same for 19, 22, 42, 99, 101;
    their hashes differ.

    Source: by hand, 17 + 46 + 126 + 396 + 505.
    """
    values = ([17, 23, 42, 99, 101], [19, 22, 42, 99, 101])
    one, other = (sum(i * value for i, value in enumerate(some, 1)) for some in values)
    checks.equal("checksum", one, 17 + 46 + 126 + 396 + 505)
    checks.equal("another array", other, one)
    hashes = [lineage_fingerprints({"a": []}, {"a": bytes(some)})["a"] for some in values]
    checks.holds("SHA-256 tells the two apart", hashes[0] != hashes[1])


def check_bad_input_is_refused() -> None:
    """Unknown nodes and missing contents are refused."""
    checks.raises("unknown parent", _topological_order, {"a": ["b"]}, match="nodes of the graph")
    checks.raises("unknown change", stale_after, CHAIN, ["b"], match="changed must be")
    checks.raises("content missing", lineage_fingerprints, CHAIN, {}, match="contents must be")
