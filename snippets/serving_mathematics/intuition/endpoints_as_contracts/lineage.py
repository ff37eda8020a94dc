"""An endpoint is what it was built from: reachability finds what is stale, and hashes find it too.

A lineage is a directed acyclic graph from raw data to endpoint. What a change makes stale are the
descendants of what changed, rebuilt in topological order. A fingerprint that hashes a node's
content together with the fingerprints of its parents changes for exactly that set, provided that
two contents never share a hash: a position-weighted sum fails at that, SHA-256 does not.

Assumes: every dependency is in the graph; a build depends on nothing else (code, seeds, library
versions are nodes too); fingerprints are taken of canonical bytes.

Source: topological order as in Python's graphlib; canonical bytes before hashing as in RFC 8785;
SHA-256 as in FIPS 180-4.
"""

from __future__ import annotations

import graphlib
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_positive_integer,
    require_work,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def topological_order(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Nodes with every node after its parents; among those that are ready, by name.

    parents: for every node, the nodes it is built from. Raises ValueError when a parent is no node,
    or when there is a cycle, naming the nodes on or behind it.

    >>> topological_order({"model": ["features"], "features": ["clean"], "clean": []})
    ['clean', 'features', 'model']
    """
    missing = sorted({p for above in parents.values() for p in above} - parents.keys())
    require(not missing, "parents", "nodes of the graph", missing)
    order: list[str] = []
    waiting = {node: set(above) for node, above in parents.items()}
    while waiting:
        ready = min((node for node, above in waiting.items() if not above), default=None)
        require(ready is not None, "parents", "free of cycles", sorted(waiting))
        order.append(str(ready))
        del waiting[str(ready)]
        for above in waiting.values():
            above.discard(str(ready))
    return order


def ancestors(parents: Mapping[str, Sequence[str]], node: str) -> set[str]:
    """Everything that a node was built from, directly or not, itself excluded.

    parents: as for `topological_order`. Raises ValueError on an unknown node or a cycle.

    >>> sorted(ancestors({"model": ["features"], "features": ["raw"], "raw": []}, "model"))
    ['features', 'raw']
    """
    require(node in parents, "node", "in the graph", repr(node))
    known: dict[str, set[str]] = {}
    for name in topological_order(parents):
        known[name] = set(parents[name]).union(*(known[parent] for parent in parents[name]))
    return known[node]


def stale_after(parents: Mapping[str, Sequence[str]], changed: Iterable[str]) -> list[str]:
    """What must be rebuilt when some nodes have changed, in an order in which it can be.

    parents: as for `topological_order`. changed: nodes whose content is already new; one of them is
    stale too when it is built from another. Raises ValueError on an unknown node or a cycle.

    >>> stale_after({"model": ["features"], "features": ["raw"], "raw": []}, ["features"])
    ['model']
    """
    new = set(changed)
    require(new <= parents.keys(), "changed", "nodes of the graph", sorted(new - parents.keys()))
    stale: list[str] = []
    for name in topological_order(parents):
        if not new.union(stale).isdisjoint(parents[name]):
            stale.append(name)
    return stale


def weighted_checksum(values: Sequence[int]) -> int:
    """Position-weighted sum 1·v₁ + 2·v₂ + … + n·vₙ.

    values: 64-bit integers, at least one. Raises ValueError otherwise.

    >>> weighted_checksum([17, 23, 42, 99, 101])
    1090
    """
    require(not np.ma.is_masked(values), "values", "without masked elements", values)
    require(len(values) > 0, "values", "non-empty", list(values))
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    whole = [-(2**63) <= value < 2**63 and value % 1 == 0 for value in plain]
    require(all(whole), "values", "made of 64-bit integers", plain)
    return sum(position * int(value) for position, value in enumerate(plain, start=1))


def arrays_per_checksum(length: int, levels: int = 256) -> npt.NDArray[np.int64]:
    """How many arrays of `length` values in 0 … levels − 1 have each position-weighted checksum.

    Entry s counts the arrays with checksum s, exactly, by multiplying the polynomials
    Σₖ z^{jk} of the positions j. Raises ValueError unless length ≥ 1, levels ≥ 2 and
    levels^length fits 63 bits.

    >>> arrays_per_checksum(length=2, levels=3)
    array([1, 1, 2, 1, 2, 1, 1])
    """
    length, levels = as_number(length=length, levels=levels)
    require(1 <= length < 64 and length == int(length), "length", "an integer in [1, 63]", length)
    require(
        2 <= levels < 2**63 and levels == int(levels), "levels", "an integer of at least 2", levels
    )
    require(length * math.log2(levels) < 63, "length", "such that levels^length < 2⁶³", length)
    length, levels = int(length), int(levels)
    require_work(length * length * (length + 1) / 2 * levels, length=length, levels=levels)
    counts = np.ones(1, dtype=np.int64)
    for position in range(1, length + 1):
        longer = np.zeros(counts.size + position * (levels - 1), dtype=np.int64)
        for rest in range(min(position, longer.size)):  # values move the checksum by `position`
            part = counts[rest::position]
            below = np.zeros(longer[rest::position].size + 1, dtype=np.int64)
            below[1 : part.size + 1] = np.cumsum(part)
            below[part.size + 1 :] = below[part.size]
            longer[rest::position] = below[1:]
            longer[rest::position][levels:] -= below[1 : below.size - levels]
        counts = longer
    return counts


def fingerprint(array: npt.ArrayLike) -> str:
    """SHA-256, in hexadecimal, of an array's datatype, shape and values as canonical bytes.

    array: booleans, integers or finite floats. Memory order and byte order do not matter; datatype
    and shape do, and so does the sign of zero. Raises ValueError on other types, NaN, infinities.

    >>> fingerprint([1, 2]) == fingerprint(np.array([1, 2], dtype=">i8"))
    True
    >>> fingerprint([[1, 2]]) == fingerprint([[1], [2]])
    False
    """
    require(not np.ma.is_masked(array), "array", "without masked elements", array)
    values = np.asarray(array)  # of the type that they come in
    require(values.dtype.kind in "biuf", "array", "of booleans, integers or floats", values.dtype)
    require(np.all(np.isfinite(values)), "array", "finite", array)
    little = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    header = f"{little.dtype.kind}{little.dtype.itemsize}{list(values.shape)}".encode()
    return hashlib.sha256(header + b"\n" + little.tobytes()).hexdigest()


def lineage_fingerprints(
    parents: Mapping[str, Sequence[str]], contents: Mapping[str, bytes]
) -> dict[str, str]:
    """For every node the SHA-256 of its own content and of its parents' fingerprints.

    parents: as for `topological_order`. contents: what each node adds itself: data, code or
    configuration [bytes]. Raises ValueError on a cycle or when the two name different nodes.

    >>> graph = {"raw": [], "model": ["raw"]}
    >>> one = lineage_fingerprints(graph, {"raw": b"1", "model": b"fit"})
    >>> two = lineage_fingerprints(graph, {"raw": b"2", "model": b"fit"})
    >>> one["model"] == two["model"]
    False
    """
    require(contents.keys() == parents.keys(), "contents", "given for every node", sorted(contents))
    found: dict[str, str] = {}
    for name in topological_order(parents):
        above = "".join(sorted(f"{parent}={found[parent]}\n" for parent in set(parents[name])))
        own = hashlib.sha256(contents[name]).hexdigest()
        found[name] = hashlib.sha256(f"{own}\n{above}".encode()).hexdigest()
    return found


def birthday_bound(items: int, bits: int) -> float:
    """Upper bound n(n−1)/2^{bits+1} on the probability that any two of n random hashes are equal.

    items: n ≥ 1. bits: length of the hash ≥ 1. At most 1. Raises ValueError otherwise.

    >>> birthday_bound(items=2, bits=3)
    0.125
    """
    items = require_positive_integer(items=items)
    bits = require_positive_integer(bits=bits)
    return min(1.0, math.ldexp(float(items) * (items - 1), -int(bits) - 1))


CHAIN = {  # data, cleaned data, features, model, endpoint
    "raw": [],
    "clean": ["raw"],
    "features": ["clean"],
    "model": ["features"],
    "endpoint": ["model"],
}


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    counts = arrays_per_checksum(5)
    return SimpleNamespace(
        order=" → ".join(topological_order(CHAIN)),
        stale=", ".join(stale_after(CHAIN, ["clean"])),
        checksum=weighted_checksum([17, 23, 42, 99, 101]),
        sharing_millions=float(counts[1090]) / 1e6,
        all_arrays_billions=float(counts.sum()) / 1e9,
        original_sha=fingerprint([17, 23, 42, 99, 101])[:8],
        collided_sha=fingerprint([19, 22, 42, 99, 101])[:8],
        sha_bound=birthday_bound(10**12, 256),
        checksum_bits=math.log2(counts.size),
    )


def figure_stale_set(figure: Figure) -> None:
    """A change of the cleaning step makes four of seven artefacts stale and leaves the rest alone.

    Along the chain, with labels and evaluation beside it. Rebuilding in topological order uses
    nothing stale.

    Alt: Graph of seven boxes with arrows. Raw leads to clean, features, model and endpoint in a
    row; labels lead to model and to report, and model leads to report. Clean is marked as changed;
    features, model, endpoint and report are coloured as stale; raw and labels are not.
    """
    graph = {**CHAIN, "labels": [], "report": ["labels", "model"]}
    graph["model"] = ["features", "labels"]
    changed = "clean"
    stale = stale_after(graph, [changed])
    places = {
        "raw": (0, 1),
        "clean": (1, 1),
        "features": (2.1, 1),
        "model": (3.2, 1),
        "endpoint": (4.3, 1),
        "labels": (2.1, 0),
        "report": (4.3, 0),
    }
    figure.set_size_inches(5.8, 2.6)
    axes = figure.subplots()
    for node, above in graph.items():
        for parent in above:
            axes.annotate(
                "",
                places[node],
                places[parent],
                arrowprops={
                    "arrowstyle": "->",
                    "color": "C3" if parent in {changed, *stale} else "C4",
                    "shrinkA": 24,
                    "shrinkB": 26,
                    "linewidth": 1.4,
                },
            )
    for node, (x, y) in places.items():
        colour = "C5" if node == changed else "C3" if node in stale else "C0"
        note = (
            f"rebuild {stale.index(node) + 1}" if node in stale else "changed" * (node == changed)
        )
        axes.text(
            x,
            y,
            node,
            ha="center",
            va="center",
            fontsize=9.5,
            bbox={"boxstyle": "round", "facecolor": "none", "edgecolor": colour, "linewidth": 1.6},
        )
        side = -0.42 if node == "report" else 0.27
        axes.text(x, y + side, note, color=colour, ha="center", fontsize=9)
    axes.set(xlim=(-0.45, 4.85), ylim=(-0.5, 1.5))
    axes.axis("off")


def figure_collisions(figure: Figure) -> None:
    """Five bytes have 3,826 checksums between them, so hundreds of millions share a typical one.

    Exact counts. The marked checksum is that of 17, 23, 42, 99, 101.

    Alt: Curve of the number of arrays of five bytes against their position-weighted checksum, on a
    logarithmic axis: from one at both ends it rises to several hundred million in the middle. A
    point marks checksum 1090.
    """
    counts = arrays_per_checksum(5)
    axes = figure.subplots()
    shown = np.unique(np.append(np.arange(0, counts.size, 12), [1, 3, 6, counts.size - 1]))
    axes.semilogy(shown, counts[shown], color="C0")
    marked = weighted_checksum([17, 23, 42, 99, 101])
    axes.plot([marked], [counts[marked]], "o", color="C3")
    axes.annotate(
        f"{marked}: {counts[marked] / 1e6:.0f} million arrays",
        (marked, counts[marked]),
        xytext=(6, -16),
        textcoords="offset points",
        color="C3",
    )
    axes.set(
        xlim=(0, counts.size),
        ylim=(1, 3e9),
        xlabel="position-weighted checksum",
        ylabel="arrays of five bytes",
    )
    axes.set_yticks([1, 100, 1e4, 1e6, 1e8], ["1", "100", "10⁴", "10⁶", "10⁸"])


def check_chain() -> None:
    """The chain of five nodes has four edges, one order, and goes stale from the change onwards.

    Source: by hand; Python's graphlib for the order.
    """
    checks.equal("nodes", len(CHAIN), 5, kind="published")
    checks.equal("edges", sum(map(len, CHAIN.values())), 4, kind="published")
    order = list(graphlib.TopologicalSorter(CHAIN).static_order())
    checks.equal("order", topological_order(CHAIN), order)
    checks.equal("ancestors of model", ancestors(CHAIN, "model"), {"raw", "clean", "features"})
    stale = ["features", "model", "endpoint"]
    checks.equal("stale after clean", stale_after(CHAIN, ["clean"]), stale)
    checks.equal("stale after endpoint", stale_after(CHAIN, ["endpoint"]), [])


def check_hashes_find_the_stale_set() -> None:
    """Fingerprints that include the parents change for the changed node and exactly its stale set.

    Source: reachability, an independent computation of the same set.
    """
    graph = {**CHAIN, "labels": [], "model": ["features", "labels"], "report": ["labels", "model"]}
    contents = {node: node.encode() for node in graph}
    before = lineage_fingerprints(graph, contents)
    for changed in graph:
        after = lineage_fingerprints(graph, {**contents, changed: b"new"})
        differ = {node for node in graph if before[node] != after[node]}
        expected = {changed, *stale_after(graph, [changed])}
        checks.equal(f"changed {changed}", sorted(differ), sorted(expected))


def check_checksum_collides() -> None:
    """The checksum 1090 of 17, 23, 42, 99, 101 is shared by 19, 22, 42, 99, 101 and many others.

    Source: by hand, 17 + 46 + 126 + 396 + 505; counts by brute force over small arrays.
    """
    checks.equal("checksum", weighted_checksum([17, 23, 42, 99, 101]), 1090, kind="published")
    checks.equal("another array", weighted_checksum([19, 22, 42, 99, 101]), 1090)
    grid = np.indices((6,) * 4).reshape(4, -1)
    brute = np.bincount(np.array([1, 2, 3, 4]) @ grid)
    checks.equal(
        "all arrays of 4 values below 6", arrays_per_checksum(4, 6).tolist(), brute.tolist()
    )
    checks.equal("arrays of five bytes in all", int(arrays_per_checksum(5).sum()), 256**5)
    differ = fingerprint([17, 23, 42, 99, 101]) != fingerprint([19, 22, 42, 99, 101])
    checks.holds("SHA-256 tells the two apart", differ)


def check_fingerprint_is_canonical() -> None:
    """The fingerprint follows the values, datatype and shape, and nothing of the memory layout.

    Source: SHA-256 of the bytes written out by hand.
    """
    by_hand = b"u2[2, 2]\n" + bytes([1, 0, 2, 0, 3, 0, 0, 1])
    array = np.array([[1, 2], [3, 256]], dtype=np.uint16)
    checks.equal("bytes by hand", fingerprint(array), hashlib.sha256(by_hand).hexdigest())
    layouts = {fingerprint(a) for a in (array, np.asfortranarray(array), array.astype(">u2"))}
    checks.equal("three memory layouts, fingerprints", len(layouts), 1)
    others = (array, array.ravel(), array.T, array.astype(np.int16), array.astype(np.uint32))
    checks.equal("five different arrays, fingerprints", len({fingerprint(a) for a in others}), 5)


def check_birthday_bound() -> None:
    """A trillion SHA-256 fingerprints have a chance of 4·10⁻⁵⁴ that any two are equal.

    Source: the exact product ∏(1 − k/2^b) for small hashes, which the bound exceeds.
    """
    checks.close("10¹² fingerprints of 256 bits", birthday_bound(10**12, 256), 4.318e-54, rtol=1e-3)
    exact = 1 - math.prod(1 - k / 2**16 for k in range(30))
    checks.inside("bound over exact, 30 of 16 bits", birthday_bound(30, 16) / exact, 1, 1.01)


def check_bad_input_is_refused() -> None:
    """Cycles, unknown nodes, fractions, and arrays without canonical bytes are refused."""
    cycle = {**CHAIN, "raw": ["endpoint"]}
    checks.raises("cycle", topological_order, cycle, match="parents must be free of cycles")
    checks.raises("itself", topological_order, {"a": ["a"]}, match="parents must be free of cycles")
    checks.raises("unknown parent", topological_order, {"a": ["b"]}, match="nodes of the graph")
    checks.raises("unknown node", ancestors, CHAIN, "b", match="node must be")
    checks.raises("unknown change", stale_after, CHAIN, ["b"], match="changed must be")
    checks.raises("empty", weighted_checksum, [], match="values must be")
    checks.raises("NaN", weighted_checksum, [math.nan], match="values must be")
    checks.raises("no length", arrays_per_checksum, 0, match="length must be")
    checks.raises("overflow", arrays_per_checksum, 8, match="length must be")
    checks.raises("one level", arrays_per_checksum, 2, 1, match="levels must be")
    checks.raises("NaN in an array", fingerprint, [math.nan], match="array must be finite")
    checks.raises("strings", fingerprint, ["a"], match="array must be")
    checks.raises("content missing", lineage_fingerprints, CHAIN, {}, match="contents must be")
    checks.raises("no items", birthday_bound, 0, 256, match="items must be")
    checks.raises("no bits", birthday_bound, 2, 0, match="bits must be")
