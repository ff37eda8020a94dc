"""No public function answers another thing in silence."""

from __future__ import annotations

import inspect
import json
import math
import os
import subprocess
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_mathematics.require import require

from builder import PACKAGE

from . import nudged, shown
from .nudged import Refused


@pytest.mark.parametrize("name", nudged.modules())
def test_no_answer_changes_in_silence(name: str) -> None:
    known = shown.kept(name, nudged.FOLDER)
    found = list(nudged.changes(known, nudged.answers(name, known)))
    advice = "if that is meant, `python -m tests.nudged` keeps it for the reviewer to see"
    assert not found, "\n".join([f"{name}, {advice}:", *found])


def test_answers_that_are_kept_are_of_modules_that_there_are() -> None:
    held = {name for path in nudged.FOLDER.glob("*.json") for name in shown.read(path)}
    assert held == set(nudged.modules())


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
                (".low*1.5", Refused("ValueError: low must be at most high, got 3.0")),
                (".low=0", Pair(0.0, 2.5)),
                (".high*1.5", Pair(2.0, 3.75)),
                (".high=0", Refused("ValueError: low must be at most high, got 2.0")),
            ],
        ),
        (object(), []),
    ],
)  # fmt: skip
def test_a_value_is_nudged(value: object, expected: list[tuple[str, object]]) -> None:
    assert list(nudged.nudged(value)) == expected


def test_arrays_are_nudged_as_arrays() -> None:
    found = dict(nudged.nudged(np.array([[1.0, 2.0], [3.0, 4.0]])))
    assert {how: array.tolist() for how, array in found.items()} == {
        "[:-1]": [[1.0, 2.0]],
        "[:0]": [],
        "[::-1]": [[3.0, 4.0], [1.0, 2.0]],
        "[-1]=[0]": [[1.0, 2.0], [1.0, 2.0]],
        "[0][::-1]": [[2.0, 1.0], [3.0, 4.0]],
    }
    small = dict(nudged.nudged(np.array([255, 3], np.uint8)))
    assert small["[:-1]"].dtype == small["[0]=0"].dtype == np.uint8
    assert small["+1"].tolist() == [256, 4]
    assert small["[0]+0.5"].tolist() == [255.5, 3]
    assert small[" in one row"].tolist() == [[255, 3]]
    assert next(nudged.nudged(np.array([3], np.uint8)))[1].dtype == np.uint8


def test_one_argument_is_another_at_a_time() -> None:
    found = {how: tuple(call.arguments.values()) for how, call in nudged.variants(bound(2.0, 8))}
    mixed = {how: found.pop(how) for how in [*found] if ", " in how}
    assert found == {
        "": (2.0, 8),
        "a*1.5": (3.0, 8), "a*0.7": (1.4, 8), "a=0": (0.0, 8), "a=1": (1.0, 8), "a=b": (8, 8),
        "b+1": (2.0, 9), "b-1": (2.0, 7), "b=0": (2.0, 0), "b+0.5": (2.0, 8.5),
        "b=a": (2.0, 2.0),
        "a*999": (1998.0, 8), "b*999": (2.0, 7992),
    }  # fmt: skip
    assert not any("=" in how for how, _ in nudged.variants(bound([], [2])) if "[" not in how)
    assert 0 < len(mixed) <= nudged.MIXED
    for how, (a, b) in mixed.items():  # each of them another
        first, second = how.split(", ")
        assert found[first] == (a, 8)
        assert found[second] == (2.0, b)


def test_a_call_may_change_what_it_was_given() -> None:
    call = bound([3, 1, 2])
    for _, other in nudged.variants(call):
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
    assert nudged.answer(lambda **_: found, bound()) == expected


def test_a_long_answer_is_a_sum_that_each_of_its_numbers_moves() -> None:
    numbers = np.array([3.0, -1e-9, 0.0, 1e12, 1e-17, 2.0])
    was = nudged.reduced([numbers])
    logs = [math.log(1 + 3e12), -math.log(1001), 0, math.log(1e24), 0, math.log(1 + 2e12)]
    assert was == [
        6,
        3.0,
        2.0,
        pytest.approx(sum(k * x for k, x in zip(range(1, 7), logs, strict=True))),
    ]
    for place in (0, 1, 3, 5):
        for other in (1.001 * numbers[place], -numbers[place]):
            now = numbers.copy()
            now[place] = other
            assert not nudged.unchanged("", was, nudged.reduced([now]))
    near = numbers * (1 + 1e-13)
    near[2], near[4] = 1e-16, -1e-16
    assert nudged.unchanged("", was, nudged.reduced([near]))
    for others in (["a", 1, 2, 3, 4], [None, 1, 2, 3, 4], [math.nan, 1, 2, 3, 4], [0, 1, 2, 3, 4]):
        assert nudged.reduced(others)[0] == 5
        assert not nudged.unchanged("", nudged.reduced(others), nudged.reduced([7, *others[1:]]))
    assert nudged.reduced([math.inf, 1, 2, 3, 10**400])[0] == 5


def test_a_refusal_is_an_answer_in_words_of_ours() -> None:
    def refusing(a: object, b: object = None) -> None:
        require(False, "a", "of two lines,\n above 1", a if b is None else b)

    assert nudged.answer(refusing, bound(0)) == "ValueError: a must be of two lines, above 1, got 0"
    assert len(nudged.answer(refusing, bound("x" * 199))) == 119  # without the end of the line
    assert nudged.answer(lambda a: int(a), bound("x")) == "ValueError"
    assert nudged.answer(lambda a: a[3], bound(())) == "IndexError"
    assert nudged.answer(lambda a: a, bound(Refused("ValueError: no"))) == "ValueError: no"


def test_what_is_printed_is_part_of_the_answer() -> None:
    assert nudged.answer(lambda a: print(a), bound("told")) == ["None", "told\n"]


ONES = """
import time

LIMITS = {"a": (2, 3.5)}
Kind = float

def quick(a):
    '''>>> quick(1)'''
    return 2 * a

def slow(a):
    '''>>> slow(9)'''
    until = time.process_time() + a
    while time.process_time() < until:
        pass

def slower(a):
    '''>>> slower(0.5)'''
    if a > 0.9:
        slow(9)
    return a

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


def test_what_is_not_to_be_called_again_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "ones.py").write_text(ONES)
    code = (
        "import json, sys; from tests import nudged; nudged.PACKAGE = 'odd'; nudged.watched();"
        "nudged.READS_S = 0.1;"
        "nudged.computing_modules = lambda: ['ones'];"
        "print(json.dumps(nudged.worth_keeping('ones', {})))"
    )
    (tmp_path / "odd").mkdir()
    (tmp_path / "ones.py").rename(tmp_path / "odd" / "ones.py")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = {how: told for how, told in json.loads(done.stdout).items() if ", " not in how}
    assert found == {
        "LIMITS": ["a", 2, 3.5], "reads": [0, ""],
        "quick()": 2, "quick(a+1)": 4, "quick(a-1)": 0, "quick(a=0)": 0, "quick(a+0.5)": 3.0,
        "quick(a*999)": 1998,
        "slow()": None, "other()": None, "writes()": None,
        "slower()": 0.5, "slower(a*1.5)": 0.75, "slower(a*0.7)": 0.35, "slower(a=0)": 0.0,
        "slower(a=1)": None, "slower(a*999)": None,
        "reads()": True, "reads(a+1)": True, "reads(a-1)": True, "reads(a=0)": True,
        "reads(a+0.5)": True,
        "reads(b[:-1])": True, "reads(a*999)": True,
    }  # fmt: skip
    assert not (tmp_path / "x").exists()


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
    monkeypatch.setattr(nudged, "module_path", lambda *_: tmp_path / "one.py")
    assert nudged.written("one") == {
        "(A, (B, C))": [1, 2.5, "c"],
        "LIMITS": nudged.reduced(["a", None, "b", 1, 2, 3, 4]),
        "serve": [8000, 3],
        "SIZE": 3,
        "Asked.tokens": [1, 9, 4],
    }
