"""A contract of tensors names what goes in and comes out, and may replace another as sets say.

Each tensor has a datatype and a shape in which −1 stands for any size. A contract denotes two sets:
A, the requests it accepts, and P, the responses it may give. The new contract can replace the old
one when A(old) ⊆ A(new) and, on the outputs that the old one names, P(new) ⊆ P(old). That relation
is a partial order: two contracts that may replace each other are equal.

Assumes: callers read outputs by name and ignore those they do not know; requests with unknown
inputs are refused; every −1 is independent of every other.

Source: metadata and −1 from the Open Inference Protocol, REST, section Model Metadata; the
direction of the two inclusions from Liskov and Wing (1994).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import SimpleNamespace

from serving_mathematics.support import checks
from serving_mathematics.support.require import require


@dataclass(frozen=True, order=True)
class Tensor:
    """A named set of tensors: one datatype, and a shape in which −1 is any size.

    optional: whether a request may leave it out (inputs only). Raises ValueError on an empty name
    or datatype, or a size outside [−1, 2⁶⁴).
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no tensor."""
        require(bool(self.name), "name", "a non-empty string", repr(self.name))
        require(bool(self.datatype), "datatype", "a non-empty string", repr(self.datatype))
        sizes = [-1 <= size < 2**64 and size % 1 == 0 for size in self.shape]
        require(all(sizes), "shape", "made of integers in [−1, 2⁶⁴)", self.shape)


@dataclass(frozen=True)
class Contract:
    """The inputs and outputs of an endpoint, in any order, each name once.

    Raises ValueError on a repeated name, no output, or an optional output.
    """

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def __post_init__(self) -> None:
        """Sort by name, so that equal contracts compare equal."""
        for side in ("inputs", "outputs"):
            tensors = tuple(sorted(getattr(self, side)))
            names = [tensor.name for tensor in tensors]
            require(len(set(names)) == len(names), side, "named once each", names)
            object.__setattr__(self, side, tensors)
        require(len(self.outputs) > 0, "outputs", "at least one", self.outputs)
        optional = [tensor.name for tensor in self.outputs if tensor.optional]
        require(not optional, "outputs", "promised, not optional", optional)


def includes(wide: Tensor, narrow: Tensor) -> bool:
    """Whether every tensor that fits `narrow` fits `wide`: datatype, rank, and each size or −1.

    Names and optionality are not compared.

    >>> includes(Tensor("x", "FP32", (-1, 4)), Tensor("x", "FP32", (2, 4)))
    True
    >>> includes(Tensor("x", "FP32", (2, 4)), Tensor("x", "FP32", (-1, 4)))
    False
    """
    return (
        wide.datatype == narrow.datatype
        and len(wide.shape) == len(narrow.shape)
        and all(w in (-1, n) for w, n in zip(wide.shape, narrow.shape, strict=True))
    )


def _accepts(contract: Contract, request: Iterable[Tensor]) -> bool:
    """Whether a request of concrete tensors is in A: none missing, none unknown, each allowed."""
    sent = {tensor.name: tensor for tensor in request}
    known = {tensor.name: tensor for tensor in contract.inputs}
    return all(name in known and includes(known[name], sent[name]) for name in sent) and all(
        tensor.optional or tensor.name in sent for tensor in contract.inputs
    )


def violations(old: Contract, new: Contract) -> list[str]:
    """Every way in which `new` breaks a caller of `old`, with the tensor's path; empty if none.

    >>> y = Tensor("y", "FP32", (-1, 3))
    >>> old = Contract((Tensor("x", "FP32", (-1, 4)),), (y,))
    >>> violations(old, Contract((Tensor("x", "FP32", (1, 4)),), (y,)))
    ['inputs.x: FP32 (-1, 4) is no longer accepted, only FP32 (1, 4)']
    """
    found = []
    before, after = ({t.name: t for t in c.inputs} for c in (old, new))
    for name, tensor in before.items():
        if name not in after:
            found.append(f"inputs.{name}: no longer accepted")
        elif not includes(after[name], tensor):
            sent, taken = (f"{t.datatype} {t.shape}" for t in (tensor, after[name]))
            found.append(f"inputs.{name}: {sent} is no longer accepted, only {taken}")
        elif tensor.optional and not after[name].optional:
            found.append(f"inputs.{name}: was optional, is required")
    found += [
        f"inputs.{name}: new and required"
        for name, tensor in after.items()
        if name not in before and not tensor.optional
    ]
    given = {t.name: t for t in new.outputs}
    for tensor in old.outputs:
        if tensor.name not in given:
            found.append(f"outputs.{tensor.name}: no longer given")
        elif not includes(tensor, given[tensor.name]):
            promised, now = (f"{t.datatype} {t.shape}" for t in (tensor, given[tensor.name]))
            found.append(f"outputs.{tensor.name}: promised {promised}, may be {now}")
    return found


def _iris() -> dict[str, Contract]:
    """An iris classifier and six changes of its contract."""
    x, y = Tensor("x", "FP32", (-1, 4)), Tensor("y", "FP32", (-1, 3))
    mask = replace(x, name="mask", datatype="BOOL", optional=True)  # which numbers are given
    version = Tensor("info", "BYTES", (1,))
    return {
        "base": Contract((x,), (y,)),
        "mask": Contract((x, mask), (y,)),
        "info": Contract((x,), (y, version)),
        "both": Contract((x, mask), (y, version)),
        "single": Contract((replace(x, shape=(1, 4)),), (y,)),
        "classes": Contract((x,), (replace(y, shape=(-1, -1)),)),
        "half": Contract((replace(x, datatype="FP16"),), (y,)),
    }


def example() -> SimpleNamespace:
    """What the text quotes."""
    c = _iris()
    return SimpleNamespace(half_reason=violations(c["base"], c["half"])[0])


def _all_requests() -> list[tuple[Tensor, ...]]:
    """Every request with inputs a and b, two datatypes, and shapes of rank one or two up to 3."""
    shapes = [s for rank in (1, 2) for s in itertools.product((1, 2, 3), repeat=rank)]
    choices = [
        [(), *((Tensor(name, kind, s),) for kind in ("FP32", "INT64") for s in shapes)]
        for name in "ab"
    ]
    return [first + second for first, second in itertools.product(*choices)]


def check_rules_equal_the_sets() -> None:
    """The rules say “replaces” exactly when every request of the old contract is still accepted.

    All pairs among 36 contracts with two inputs, against all 625 requests up to size 3.

    Source: the definition A(old) ⊆ A(new), by enumeration.
    """
    y = (Tensor("y", "FP32", (1,)),)
    kinds = [("FP32", (-1,)), ("FP32", (2,)), ("INT64", (-1, 2))]
    firsts = [(Tensor("a", k, s, o),) for k, s in kinds for o in (False, True)]
    seconds = [(), *((Tensor("b", "FP32", (-1, d), o),) for d, o in ((-1, False), (-1, True)))]
    seconds += [(Tensor("b", "FP32", (2, 2), o),) for o in (False, True)] + [
        (Tensor("b", "INT64", (-1,)),)
    ]
    contracts = [Contract(a + b, y) for a, b in itertools.product(firsts, seconds)]
    requests = _all_requests()
    accepted = [{i for i, r in enumerate(requests) if _accepts(c, r)} for c in contracts]
    pairs = list(itertools.product(range(len(contracts)), repeat=2))
    by_rule = {(i, j) for i, j in pairs if not violations(contracts[j], contracts[i])}
    by_sets = {(i, j) for i, j in pairs if accepted[j] <= accepted[i]}
    checks.equal("contracts compared", len(contracts), 36)
    checks.equal("pairs on which rule and sets differ", len(by_rule ^ by_sets), 0)
    checks.inside("pairs of different contracts that replace", len(by_rule) - 36, 30, 600)


def check_order_of_tensors() -> None:
    """What is safe forwards is never safe backwards: the relation is a partial order.

    Source: antisymmetry, over the seven contracts.
    """
    c = _iris()
    safe = [p for p in itertools.permutations(c, 2) if not violations(c[p[1]], c[p[0]])]
    back = [p for p in safe if not violations(c[p[0]], c[p[1]])]
    checks.equal("safe deployments among the seven", len(safe), 13)
    checks.equal("of these with a safe rollback", len(back), 0)


def check_bad_input_is_refused() -> None:
    """Repeated names, impossible sizes and missing outputs are refused."""
    y = Tensor("y", "FP32", (-1,))
    checks.raises("size −2", Tensor, "x", "FP32", (-2,), match="shape must be")
    checks.raises("no name", Tensor, "", "FP32", (1,), match="name must be")
    checks.raises("no datatype", Tensor, "x", "", (1,), match="datatype must be")
    checks.raises("a name twice", Contract, (y, y), (y,), match="inputs must be")
    checks.raises("no output", Contract, (y,), (), match="outputs must be")
