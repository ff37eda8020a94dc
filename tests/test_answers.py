"""Calls are moved, and their answers told, as `tests/answers.py` says."""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_mathematics.support.require import require

from builder import PACKAGE

from . import answers, keep
from .answers import Refused


@dataclass(frozen=True)
class Pair:
    """Two numbers."""

    low: float
    high: float

    def __post_init__(self) -> None:
        require(self.low <= self.high, "low", "at most high", self.low)

    @property
    def middle(self) -> float:
        """Between both."""
        return (self.low + self.high) / 2


Pair.__module__ = PACKAGE  # as one of ours


def bound(*arguments: object) -> inspect.BoundArguments:
    def function(a: Any = None, b: Any = None) -> None:
        del a, b

    return inspect.signature(function).bind(*arguments)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, [(" not", False)]),
        (3, [("+1", 4), ("=0", 0), ("-1", 2), ("+0.5", 3.5)]),
        (np.uint8(255), [("+1", 256), ("=0", 0), ("-1", 254), ("+0.5", 255.5)]),
        (2.0, [("*1.5", 3.0), ("=0", 0.0), ("*0.7", 1.4), ("=1", 1.0)]),
        (None, [("=1", 1), ("=0.5", 0.5)]),
        ("word", [("[:-1]", "wor")]),
        ("12", [("+1", "13"), ("=0", "0"), ("-1", "11"), ("+0.5", "12.5"), ("[:-1]", "1")]),
        ("2.0", [
            ("*1.5", "3.0"), ("=0", "0.0"), ("*0.7", "1.4"), ("=1", "1.0"), ("[:-1]", "2."),
        ]),
        ([], []),
        ([1, 5], [
            ("[:-1]", [1]), ("[::-1]", [5, 1]), ("[-1]=[0]", [1, 1]), ("[:0]", []),
            ("+1", [2, 6]), ("[0]+0.5", [1.5, 5]), (" in one row", [[1, 5]]),
            ("[0]+1", [2, 5]), ("[0]=0", [0, 5]),
        ]),
        ((2.0,), [
            ("[:-1]", ()), ("*1.5", (3.0,)), ("[0]+0.5", (2.5,)),
            (" in one row", ([2.0],)), ("[0]*1.5", (3.0,)), ("[0]=0", (0.0,)),
        ]),
        ({"a": 1, "b": ""}, [("['a']+1", {"a": 2, "b": ""}), ("['a']=0", {"a": 0, "b": ""}),
                             ("['b'][:-1]", {"a": 1, "b": ""})]),
        (
            Pair(2.0, 2.5),
            [
                (".low*1.5", "refused"),
                (".low=0", Pair(0.0, 2.5)),
                (".high*1.5", Pair(2.0, 3.75)),
                (".high=0", "refused"),
            ],
        ),
        (object(), []),
    ],
)  # fmt: skip
def test_values_near_a_value(value: object, expected: list[tuple[str, object]]) -> None:
    found = [
        (how, "refused" if isinstance(x, Refused) else x) for how, x in answers.near_values(value)
    ]
    assert found == expected


def test_arrays_are_moved_as_arrays() -> None:
    found = dict(answers.near_values(np.array([[1.0, 2.0], [3.0, 4.0]])))
    assert {how: array.tolist() for how, array in found.items()} == {
        "[:-1]": [[1.0, 2.0]],
        "[:0]": [],
        "[::-1]": [[3.0, 4.0], [1.0, 2.0]],
        "[-1]=[0]": [[1.0, 2.0], [1.0, 2.0]],
        "[0][::-1]": [[2.0, 1.0], [3.0, 4.0]],
    }
    small = dict(answers.near_values(np.array([255, 3], np.uint8)))
    assert small["[:-1]"].dtype == small["[0]=0"].dtype == np.uint8
    assert small["+1"].tolist() == [256, 4]
    assert small["[0]+0.5"].tolist() == [255.5, 3]
    assert small[" in one row"].tolist() == [[255, 3]]
    assert next(answers.near_values(np.array([3], np.uint8)))[1].dtype == np.uint8


def test_one_argument_is_another_at_a_time() -> None:
    found = {how: tuple(call.arguments.values()) for how, call in answers.near_calls(bound(2.0, 8))}
    mixed = {how: found.pop(how) for how in [*found] if ", " in how}
    assert found == {
        "": (2.0, 8),
        "a*1.5": (3.0, 8), "a*0.7": (1.4, 8), "a=0": (0.0, 8), "a=1": (1.0, 8), "a=b": (8, 8),
        "b+1": (2.0, 9), "b-1": (2.0, 7), "b=0": (2.0, 0), "b+0.5": (2.0, 8.5),
        "b=a": (2.0, 2.0),
        "a*999": (1998.0, 8), "b*999": (2.0, 7992),
    }  # fmt: skip
    assert not any("=" in how for how, _ in answers.near_calls(bound([], [2])) if "[" not in how)
    assert 0 < len(mixed) <= answers.MIXED
    for how, (a, b) in mixed.items():  # each of them another
        first, second = how.split(", ")
        assert found[first] == (a, 8)
        assert found[second] == (2.0, b)


def test_a_call_may_change_what_it_was_given() -> None:
    call = bound([3, 1, 2])
    for _, other in answers.near_calls(call):
        other.arguments["a"].append(7)
    assert call.arguments["a"] == [3, 1, 2]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (0.25, 0.25),
        (np.float64(0.25), 0.25),
        (True, True),
        (None, "None"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
        (2**60, 2.0**60),
        (10**400, "401 digits"),
        (1 + 2j, [1.0, 2.0]),
        (b"ab", "ab"),
        ("x" * 121, [121, zlib.crc32(b"x" * 121)]),
        ({"a": [1, (2.5,)]}, ["a", 1, 2.5]),
        ({"b", "a"}, ["a", "b"]),
        ((x for x in (1, 2)), [1, 2]),
        (Pair(1.0, 2.0), [1.0, 2.0, 1.5]),
        (np.array([[1, 2], [3, 4]])[:1], [2, 1, 2]),
        (np.array([]), []),
        ({}, []),
        (int, "type"),
        (object(), "object"),
    ],
)
def test_an_answer_is_a_few_numbers(found: object, expected: object) -> None:
    assert answers.answer(lambda **_: found, bound()) == expected


def test_a_long_answer_is_a_sum_that_each_of_its_numbers_moves() -> None:
    numbers = np.array([3.0, -1e-9, 0.0, 1e12, 1e-17, 2.0])
    was = answers.reduced([numbers])
    logs = [math.log(1 + 3e12), -math.log(1001), 0, math.log(1e24), 0, math.log(1 + 2e12)]
    weighted = sum(k * x for k, x in zip(range(1, 7), logs, strict=True))
    assert was == {"of": 6, "ends": [3.0, 2.0], "sum": pytest.approx(weighted)}

    def alike(one: object, other: object) -> bool:
        return keep.unchanged("answer f()", one, other)

    for place in (0, 1, 3, 5):
        for other in (1.001 * numbers[place], -numbers[place]):
            now = numbers.copy()
            now[place] = other
            assert not alike(was, answers.reduced([now]))
    near = numbers * (1 + 1e-7)
    near[2], near[4] = 1e-16, -1e-16
    assert alike(was, answers.reduced([near]))
    for others in (["a", 1, 2, 3, 4], [None, 1, 2, 3, 4], [math.nan, 1, 2, 3, 4], [0, 1, 2, 3, 4]):
        assert answers.reduced(others)["of"] == 5
        assert not alike(answers.reduced(others), answers.reduced([7, *others[1:]]))
    assert answers.reduced([math.inf, 1, 2, 3, 10**400])["of"] == 5


@pytest.mark.parametrize("long", [True, False])
def test_a_fraction_in_a_text_is_a_number_and_its_last_digits_are_the_processors(
    long: bool,
) -> None:
    def kept_of(loss: str, word: str = "rotated") -> object:
        text = f"{word} " + "bfloat16 " * 20 + loss
        return answers.reduced([text] if long else ["shipped", *range(6), f"{word} {loss}", "end"])

    was = kept_of("2.705330610000")
    for loss in ("2.70533055050", "2.705330610", "2.70533"):
        assert keep.same(was, kept_of(loss))
    for other in (kept_of("2.8"), kept_of("2.705330610000", "resized"), kept_of("3")):
        assert not keep.same(was, other)


def refusing(a: object) -> None:
    require(False, "a", "above 1", a)


@pytest.mark.parametrize(
    ("function", "given"),
    [
        (refusing, 0),
        (lambda a: int(a), "x"),
        (lambda a: a[3], ()),
        (lambda a: a, Refused()),
    ],
)
def test_a_refusal_is_no_answer(function: Callable[..., Any], given: object) -> None:
    with pytest.raises(Refused):
        answers.answer(function, bound(given))


def test_what_is_printed_is_part_of_the_answer() -> None:
    assert answers.answer(lambda a: print(a), bound("told")) == ["None", "told\n"]


ONES = """
import os, time

LIMITS = {"a": (2, 3.5)}

def quick(a):
    '''>>> quick(1)'''
    if a > 1.8:
        return -a
    return 2 * a

def slow(a):
    '''>>> slow(9_000_000)'''
    for _ in range(a):
        pass

def slower(a):
    '''>>> slower(3)'''
    if a > 999:
        slow(9_000_000)
    return a

def waits(a):
    '''>>> waits(1)'''
    while sum(range(9_000_000)):
        pass

def other(a):
    '''>>> other(1)'''
    return time.perf_counter_ns()

def writes(a):
    '''>>> writes("x")'''
    open(a, "w").close()

def reads(a=0, b=""):
    '''>>> reads(0)'''
    return len(open(__file__).read()) > a
"""


def test_those_calls_are_kept_that_tell_most_and_not_those_that_take_long(tmp_path: Path) -> None:
    code = (
        "import json; from tests import answers, test_bad_input;"
        "answers.PACKAGE = test_bad_input.PACKAGE = 'odd'; answers.watched();"
        "answers.HANGS_S = 0.1; answers.computing_modules = lambda: ['ones'];"
        "print(json.dumps([answers.worth_keeping('ones', {}), answers.constants('ones'),"
        " answers.worth_keeping('ones', {'quick()': 2, 'quick(a=0)': 0, 'reads()': None}),"
        " answers.answers('ones', {'quick(a-1)': 0, 'quick(gone)': 1})]))"
    )
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "ones.py").write_text(ONES)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    chosen, constants, again, known = json.loads(done.stdout)
    assert constants == {"LIMITS": ["a", 2, 3.5], "reads": [0, ""]}
    assert list(chosen)[:2] == ["quick()", "quick(a+1)"]  # another way, and then what differs
    assert chosen["quick(a+1)"] == -2
    assert chosen["slower()"] == 3
    assert "slower(a*999)" not in chosen
    assert chosen["reads()"] is True
    none = dict.fromkeys(("slow()", "waits()", "other()", "writes()"))
    assert {key: told for key, told in chosen.items() if told is None} == none
    assert not (tmp_path / "x").exists()

    assert {key for key in again if key[:5] == "quick"} == {"quick()", "quick(a=0)"}
    assert again["reads()"] is None
    assert known == {"quick(a-1)": 0} | dict.fromkeys(
        ("slow()", "slower()", "waits()", "other()", "writes()", "reads()")
    )


def test_no_more_are_kept_than_tell_anything() -> None:
    def found(*told: Any) -> answers.Tried:
        return {f"f({n})": (x, {(0, 0, way) for way in ways}) for n, (x, ways) in enumerate(told)}

    assert answers.telling({}) == {}
    same = found((1, "ab"), (1, "ab"), (1 + 1e-9, "abc"), (2, "a"), (2.5, "a"), (9, "a"))
    assert list(answers.telling(same)) == ["f(0)", "f(5)", "f(4)", "f(3)"]
    ways = found((1, "ab"), (9, "a"), (2, "ac"), (3, "acd"), (4, ""), *((n, "") for n in range(20)))
    assert list(answers.telling(ways))[:3] == ["f(0)", "f(3)", "f(5)"]
    assert len(answers.telling(ways)) == answers.MOST


def test_constants_are_read_where_nothing_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """
import absent
A, (B, C) = 1, (2.5, "c")
LIMITS = {"a": None, "b": [1, 2, 3, 4]}
MADE = absent.made("b", True)
SIZE = 3 << absent.BITS
class Asked(absent.Model):
    tokens: absent.Whole(ge=1, le=9) = absent.field(default=4)
    name: str = "d"
    kind = 7
def serve(host, port=8000, *, wait_s=3): ...
def made(it=absent): ...
def _own(x=1): ...
def check_it(x=1): ...
def plain(x): ...
"""
    (tmp_path / "one.py").write_text(text)
    monkeypatch.setattr(answers, "module_path", lambda *_: tmp_path / "one.py")
    assert answers.written("one") == {
        "(A, (B, C))": [1, 2.5, "c"],
        "LIMITS": answers.reduced(["a", None, "b", 1, 2, 3, 4]),
        "serve": [8000, 3],
        "SIZE": 3,
        "Asked.tokens": [1, 9, 4],
    }
