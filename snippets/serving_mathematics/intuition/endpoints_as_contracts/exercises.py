"""Solutions: a contract from metadata, the gate in front of a model, what a canary may promise, and
when the endpoint is fresh again.

Two versions behind one endpoint accept only what both accept, and give only what either may give:
the greatest contract that both can replace. A rebuild with workers enough takes as long as the
longest path through what is stale.

Assumes: the chapter's models; during a canary any request may meet either version.

Source: Open Inference Protocol, REST, Model Metadata and Inference; the chapter's definition of the
order; critical path of a directed acyclic graph.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence

from serving_mathematics.intuition.endpoints_as_contracts.endpoints_as_contracts import (
    Contract,
    Tensor,
    accepts,
    can_replace,
)
from serving_mathematics.intuition.endpoints_as_contracts.inference_protocol import status_of
from serving_mathematics.intuition.endpoints_as_contracts.lineage import stale_after
from serving_mathematics.support import checks
from serving_mathematics.support.require import require, require_non_negative

HINTS = {
    "contract_from_metadata": (
        "Walk both lists with their index, so that an error can name its path such as "
        "inputs[0].shape. Python counts True as an integer and a text as a sequence: refuse "
        "both as sizes."
    ),
    "gate": (
        "Ask the protocol first and stop there when it objects. Then compare with the contract:"
        " unknown names, tensors that do not fit, required inputs that are missing, and "
        "requested outputs that do not exist."
    ),
    "common_contract": (
        "A request must suit both versions, so take what both inputs allow; an answer may come "
        "from either, so promise only what holds for both. The wildcard −1 yields to a number "
        "in inputs and wins in outputs."
    ),
    "time_until_fresh": (
        "Go through the stale nodes in topological order: a build starts when the last of its "
        "parents has finished. Parents that are not stale are ready at once, and what changed "
        "is new already and takes no time."
    ),
}


def contract_from_metadata(metadata: Mapping[str, object]) -> Contract:
    """The contract that a server's model metadata declares; the protocol knows no optional inputs.

    metadata: the parsed answer to GET v2/models/NAME. Raises ValueError when a tensor has no name,
    datatype or shape, or a shape that is none.

    >>> tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 4]}
    >>> contract_from_metadata({"inputs": [tensor], "outputs": [tensor]}).inputs[0].shape
    (-1, 4)
    """
    sides: dict[str, tuple[Tensor, ...]] = {}
    for side in ("inputs", "outputs"):
        listed = metadata.get(side)
        require(isinstance(listed, list), side, "a list", repr(listed))
        tensors = []
        for i, entry in enumerate(listed if isinstance(listed, list) else []):
            require(isinstance(entry, dict), f"{side}[{i}]", "an object", repr(entry))
            name, datatype, shape = (entry.get(key) for key in ("name", "datatype", "shape"))
            require(isinstance(name, str), f"{side}[{i}].name", "a string", repr(name))
            typed = isinstance(datatype, str)
            require(typed, f"{side}[{i}].datatype", "a string", repr(datatype))
            whole = isinstance(shape, list) and all(type(size) is int for size in shape)
            require(whole, f"{side}[{i}].shape", "a list of integers", repr(shape))
            tensors.append(Tensor(name, datatype, tuple(shape)))
        sides[side] = tuple(tensors)
    return Contract(sides["inputs"], sides["outputs"])


def gate(contract: Contract, text: str) -> tuple[int, list[str]]:
    """HTTP status and errors of a request to a model: sound by the protocol, within its contract.

    text: the body. Never raises.

    >>> y = Tensor("y", "FP32", (-1,))
    >>> gate(Contract((Tensor("x", "INT8", (-1,)),), (y,)), '{"inputs": []}')
    (400, ['inputs: must be a non-empty list, got []'])
    """
    status, errors = status_of(text)
    if errors:
        return status, errors
    body = json.loads(text)
    sent = [Tensor(t["name"], t["datatype"], tuple(t["shape"])) for t in body["inputs"]]
    known = {tensor.name: tensor for tensor in contract.inputs}
    for i, tensor in enumerate(sent):
        if tensor.name not in known:
            errors.append(f"inputs[{i}].name: must be one of {sorted(known)}, got {tensor.name!r}")
        elif not accepts(Contract((known[tensor.name],), contract.outputs), [tensor]):
            wanted = known[tensor.name]
            got = f"{tensor.datatype} {list(tensor.shape)}"
            errors.append(f"inputs[{i}]: must be {wanted.datatype} {list(wanted.shape)}, got {got}")
    missing = {t.name for t in contract.inputs if not t.optional} - {t.name for t in sent}
    errors += [f"inputs: must have {name!r}, got nothing" for name in sorted(missing)]
    given = {tensor.name for tensor in contract.outputs}
    for i, output in enumerate(body.get("outputs", [])):
        if output["name"] not in given:
            got = output["name"]
            errors.append(f"outputs[{i}].name: must be one of {sorted(given)}, got {got!r}")
    return (400 if errors else 200), errors


def common_contract(first: Contract, second: Contract) -> Contract:
    """The most that callers may rely on while either version may answer; both can replace it.

    Raises ValueError when no request suits both or no output can be promised.

    >>> x, y = Tensor("x", "FP32", (-1, 4)), Tensor("y", "FP32", (-1, 3))
    >>> one = Contract((Tensor("x", "FP32", (1, -1)),), (Tensor("y", "FP32", (1, 3)),))
    >>> common = common_contract(one, Contract((x,), (y,)))
    >>> common.inputs[0].shape, common.outputs[0].shape
    ((1, 4), (-1, 3))
    """
    inputs = []
    sides = [{tensor.name: tensor for tensor in c.inputs} for c in (first, second)]
    for name in sorted({*sides[0], *sides[1]}):
        a, b = (side.get(name) for side in sides)
        optional = all(t is None or t.optional for t in (a, b))
        met = _both(a, b) if a and b else None
        require(bool(met) or optional, f"input {name}", "acceptable to both", (a, b))
        if met:
            inputs.append(Tensor(name, met.datatype, met.shape, optional))
    outputs = []
    given = {tensor.name: tensor for tensor in second.outputs}
    for a in first.outputs:
        b = given.get(a.name)
        if b and a.datatype == b.datatype and len(a.shape) == len(b.shape):
            shape = tuple(m if m == n else -1 for m, n in zip(a.shape, b.shape, strict=True))
            outputs.append(Tensor(a.name, a.datatype, shape))
    require(len(outputs) > 0, "outputs", "shared by both", (first.outputs, second.outputs))
    return Contract(tuple(inputs), tuple(outputs))


def _both(a: Tensor, b: Tensor) -> Tensor | None:
    """The tensors that fit both, if there are any."""
    if a.datatype != b.datatype or len(a.shape) != len(b.shape):
        return None
    sizes = [(m, n) for m, n in zip(a.shape, b.shape, strict=True)]
    if any(m != n and -1 not in (m, n) for m, n in sizes):
        return None
    return Tensor(a.name, a.datatype, tuple(max(m, n) for m, n in sizes))


def time_until_fresh(
    parents: Mapping[str, Sequence[str]],
    changed: Sequence[str],
    duration_s: Mapping[str, float],
    node: str,
) -> float:
    """Time until a node is rebuilt after a change, each stale node as soon as its parents are [s].

    parents: for every node, the nodes it is built from. changed: nodes whose content is already
    new. duration_s: build time of every node, non-negative [s]. Zero when the node is not stale.
    Raises ValueError on an unknown node or a bad duration.

    >>> graph = {"raw": [], "model": ["raw"], "report": ["raw", "model"]}
    >>> seconds = {"raw": 5.0, "model": 60.0, "report": 2.0}
    >>> time_until_fresh(graph, ["raw"], seconds, "report")
    62.0
    """
    require(node in parents, "node", "in the graph", repr(node))
    require(duration_s.keys() >= parents.keys(), "duration_s", "given for all", list(duration_s))
    takes = {name: require_non_negative(duration_s=s) for name, s in duration_s.items()}
    finished: dict[str, float] = {}
    for name in stale_after(parents, changed):
        ready = max(finished.get(parent, 0.0) for parent in parents[name])
        finished[name] = ready + takes[name]
    return finished.get(node, 0.0)


def check_metadata_becomes_a_contract() -> None:
    """Metadata in any order gives the same contract, and a changed batch size another.

    Source: Open Inference Protocol: variable-size dimensions are specified as −1.
    """
    a, b = ({"name": n, "datatype": "INT64", "shape": [-1, 128]} for n in ("ids", "mask"))
    out = {"name": "logits", "datatype": "FP32", "shape": [-1, 2]}
    one = contract_from_metadata({"name": "m", "platform": "p", "inputs": [a, b], "outputs": [out]})
    two = contract_from_metadata({"inputs": [b, a], "outputs": [out]})
    checks.holds("order does not matter", one == two)
    fixed = contract_from_metadata(
        {"inputs": [a, {**b, "shape": [8, 128]}], "outputs": [out]},
    )
    checks.equal(
        "fixed may replace / be replaced",
        (can_replace(fixed, one), can_replace(one, fixed)),
        (False, True),
    )


def check_gate_agrees_with_the_set() -> None:
    """The gate lets a request pass exactly when the contract's set contains it.

    Source: `accepts`, over all requests with two inputs of one dimension and size up to 2.
    """
    contract = Contract(
        (Tensor("a", "INT8", (-1,)), Tensor("b", "INT8", (2,), optional=True)),
        (Tensor("y", "FP32", (1,)),),
    )
    differ = passed = 0
    kinds = [None, *itertools.product(("INT8", "UINT8"), (1, 2))]
    for a, b, c in itertools.product(kinds, kinds, (None, ("INT8", 1))):
        chosen = [(n, k) for n, k in (("a", a), ("b", b), ("c", c)) if k]
        if chosen:
            inputs = [
                {"name": n, "datatype": k[0], "shape": [k[1]], "data": [0] * k[1]}
                for n, k in chosen
            ]
            status, _ = gate(contract, json.dumps({"inputs": inputs}))
            expected = accepts(contract, [Tensor(n, k[0], (k[1],)) for n, k in chosen])
            differ += (status == 200) != expected
            passed += expected
    checks.equal("requests on which they differ", differ, 0)
    checks.equal("requests that pass", passed, 4)
    body = {"inputs": [{"name": "a", "datatype": "INT8", "shape": [1], "data": [1]}]}
    status, errors = gate(contract, json.dumps({**body, "outputs": [{"name": "z"}]}))
    checks.equal("an unknown output", (status, errors[0].split(":")[0]), (400, "outputs[0].name"))
    checks.equal("no JSON", gate(contract, "{")[0], 400)


def check_common_contract_is_the_greatest() -> None:
    """Both versions can replace the common contract, and none that both can replace says more.

    Source: enumeration of all contracts with one input and one output over sizes −1, 1 and 2.
    """
    shapes = [*itertools.product((-1, 1, 2), repeat=2)]
    specs = [
        Contract((Tensor("x", "FP32", s, o),), (Tensor("y", "FP32", t),))
        for s, t, o in itertools.product(shapes, shapes[:5], (False, True))
    ]
    first, second = specs[3], specs[20]
    pairs = [(first, second), (specs[4], specs[31]), (specs[0], specs[89]), (specs[7], specs[66])]
    pairs.append((specs[1], specs[21]))  # optional in both
    for a, b in pairs:
        common = common_contract(a, b)
        lower = [c for c in specs if can_replace(a, c) and can_replace(b, c)]
        checks.holds(
            f"greatest of {len(lower)} lower bounds",
            can_replace(a, common)
            and can_replace(b, common)
            and all(can_replace(common, c) for c in lower),
        )
    x, y = Tensor("x", "FP32", (4,)), Tensor("y", "FP32", (1,))
    other = Tensor("x", "FP32", (8,))
    extra = Tensor("z", "FP32", (1,), True)
    common = common_contract(Contract((x, extra), (y,)), Contract((x,), (y,)))
    checks.equal("what one version does not know", [t.name for t in common.inputs], ["x"])
    checks.raises(
        "4 or 8 features",
        common_contract,
        Contract((x,), (y,)),
        Contract((other,), (y,)),
        match="input x must be",
    )
    checks.raises(
        "no common output",
        common_contract,
        Contract((x,), (y,)),
        Contract((x,), (x,)),
        match="outputs must be",
    )


def check_time_is_the_longest_path() -> None:
    """The time until a node is fresh is the longest path from what changed.

    Source: all paths by brute force.
    """
    graph = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"], "e": ["c", "f"], "f": []}
    seconds = {"a": 9.0, "b": 3.0, "c": 4.0, "d": 1.5, "e": 7.0, "f": 2.0}

    def longest(node: str) -> float:
        if node == "a":
            return 0.0
        above = [longest(parent) for parent in graph[node]]
        return max(above, default=-math.inf) + seconds[node]

    for node in "bcde":
        got = time_until_fresh(graph, ["a"], seconds, node)
        checks.close(f"until {node} is fresh", got, longest(node), atol=1e-12)
    checks.equal("f is not stale", time_until_fresh(graph, ["a"], seconds, "f"), 0.0)


def check_bad_input_is_refused() -> None:
    """Metadata without its parts, and durations that are none, are refused with their path."""
    good = {"name": "x", "datatype": "FP32", "shape": [1]}
    for path, entry in (
        ("inputs[0] must be", 3),
        ("inputs[0].name must be", {**good, "name": None}),
        ("inputs[0].datatype must be", {**good, "datatype": 1}),
        ("inputs[0].shape must be", {**good, "shape": [1.5]}),
    ):
        metadata = {"inputs": [entry], "outputs": [good]}
        checks.raises(path, contract_from_metadata, metadata, match=path)
    checks.raises("no outputs", contract_from_metadata, {"inputs": []}, match="outputs must be")
    graph: dict[str, list[str]] = {"a": []}
    for label, seconds in (("negative", {"a": -1.0}), ("NaN", {"a": math.nan}), ("missing", {})):
        checks.raises(label, time_until_fresh, graph, ["a"], seconds, "a", match="duration_s must")
    checks.raises(
        "unknown node", time_until_fresh, graph, [], {"a": 1.0}, "b", match="node must be"
    )
