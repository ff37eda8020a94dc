"""The order of contracts of tensors: its laws on random contracts, its sets by enumeration."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.intuition.endpoints_as_contracts.endpoints_as_contracts import (
    Contract,
    Tensor,
    _accepts,
    includes,
    violations,
)

sizes = st.lists(st.sampled_from([-1, 1, 2]), min_size=0, max_size=2).map(tuple)
kinds = st.sampled_from(["FP32", "INT64"])
X, Y = Tensor("x", "FP32", (-1, 4)), Tensor("y", "FP32", (-1, 3))
BASE = Contract((X,), (Y,))


def tensors(name: str, optional: bool) -> st.SearchStrategy[Tensor]:
    flags = st.booleans() if optional else st.just(False)
    return st.builds(Tensor, st.just(name), kinds, sizes, flags)


def side(names: str, optional: bool, least: int) -> st.SearchStrategy[tuple[Tensor, ...]]:
    chosen = st.lists(st.sampled_from(names), unique=True, min_size=least)
    return chosen.flatmap(lambda some: st.tuples(*(tensors(n, optional) for n in some)))


contracts = st.builds(Contract, side("ab", True, 0), side("yz", False, 1))


@st.composite
def neighbours(draw: st.DrawFn) -> list[Contract]:
    """Three contracts, each often one step from the one before, so that many are comparable."""
    found = [draw(contracts)]
    for _ in range(2):
        before = found[-1]
        step = draw(st.sampled_from(["same", "widen", "narrow", "add", "drop", "any"]))
        inputs, outputs = before.inputs, before.outputs
        if step == "widen":
            inputs = tuple(replace(t, shape=(-1,) * len(t.shape), optional=True) for t in inputs)
        if step == "narrow":
            outputs = tuple(replace(t, shape=tuple(map(abs, t.shape))) for t in outputs)
        if step == "add":
            inputs = (*inputs, Tensor(f"c{len(inputs)}", "BOOL", (1,), True))
        if step == "drop" and len(outputs) > 1:
            outputs = outputs[1:]
        found.append(draw(contracts) if step == "any" else Contract(inputs, outputs))
    return draw(st.permutations(found))


@given(neighbours())
def test_replacement_is_a_partial_order(three: list[Contract]) -> None:
    a, b, c = three
    assert not violations(a, a)
    if not violations(b, a) and not violations(a, b):
        assert a == b
    if not violations(b, a) and not violations(c, b):
        assert not violations(c, a)


@given(neighbours(), st.data())
def test_what_was_accepted_stays_accepted(three: list[Contract], data: st.DataObject) -> None:
    old, new = three[:2]
    request = [
        replace(t, shape=tuple(data.draw(st.integers(1, 9)) if s < 0 else s for s in t.shape))
        for t in old.inputs
        if not t.optional or data.draw(st.booleans())
    ]
    assert _accepts(old, request)
    if not violations(old, new):
        assert _accepts(new, request)


@given(tensors("x", True), tensors("x", True), tensors("x", True))
def test_inclusion_of_tensors(a: Tensor, b: Tensor, c: Tensor) -> None:
    assert includes(a, a)
    if includes(a, b) and includes(b, c):
        assert includes(a, c)
    if includes(a, b) and includes(b, a):
        assert (a.datatype, a.shape) == (b.datatype, b.shape)


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (Contract((), (Y,)), "inputs.x: no longer accepted"),
        (
            Contract((replace(X, datatype="FP16"),), (Y,)),
            "inputs.x: FP32 (-1, 4) is no longer accepted, only FP16 (-1, 4)",
        ),
        (Contract((X, Tensor("m", "BOOL", (1,))), (Y,)), "inputs.m: new and required"),
        (Contract((X,), (replace(Y, name="z"),)), "outputs.y: no longer given"),
        (
            Contract((X,), (replace(Y, shape=(-1, 4)),)),
            "outputs.y: promised FP32 (-1, 3), may be FP32 (-1, 4)",
        ),
    ],
)
def test_each_violation_is_named(new: Contract, reason: str) -> None:
    assert violations(BASE, new) == [reason]


def test_optional_may_not_become_required() -> None:
    optional = Contract((replace(X, optional=True),), (Y,))
    assert violations(optional, BASE) == ["inputs.x: was optional, is required"]
    assert not violations(BASE, optional)


def test_several_violations_are_all_reported() -> None:
    assert len(violations(BASE, Contract((Tensor("m", "BOOL", (1,)),), (X,)))) == 3


def test_a_request_has_what_is_required_and_nothing_unknown() -> None:
    sent = replace(X, shape=(7, 4))
    assert _accepts(BASE, [sent])
    assert not _accepts(BASE, [])
    assert not _accepts(BASE, [sent, Tensor("m", "BOOL", (1,))])
    assert not _accepts(BASE, [replace(sent, datatype="FP64")])
    assert not _accepts(BASE, [replace(sent, shape=(7, 5))])


def test_order_of_tensors_does_not_matter() -> None:
    z = replace(Y, name="z")
    assert Contract((X,), (Y, z)) == Contract((X,), (z, Y))


@pytest.mark.parametrize("shape", [(-2,), (1.5,), (math.nan,), (math.inf,), (2**64,), (10**400,)])
def test_impossible_sizes(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shape must be"):
        Tensor("x", "FP32", shape)


def test_impossible_contracts() -> None:
    with pytest.raises(ValueError, match="name must be"):
        Tensor("", "FP32", ())
    with pytest.raises(ValueError, match="datatype must be"):
        Tensor("x", "", ())
    with pytest.raises(ValueError, match="inputs must be named once each"):
        Contract((X, X), (Y,))
    with pytest.raises(ValueError, match="outputs must be at least one"):
        Contract((X,), ())
    with pytest.raises(ValueError, match="outputs must be promised"):
        Contract((X,), (replace(Y, optional=True),))
    assert Tensor("x", "FP32", (-1, 0, 2**64 - 1)).shape[1] == 0
