"""How many examples a property is tried on: few while you write, many at night."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from typing import TypeVar

import pytest
from hypothesis import settings

Thing = TypeVar("Thing")

settings.register_profile("handbook", deadline=None, max_examples=25, derandomize=True)
settings.register_profile(  # other examples every night; what fails can be replayed
    "thorough", deadline=None, max_examples=300, derandomize=False, print_blob=True
)
PROFILE = os.environ.get("HANDBOOK_TESTS") or "handbook"
settings.load_profile(PROFILE)

THOROUGH = PROFILE == "thorough"
# Whose turn it is; the same in every process of a run, also of one that goes on past midnight.
TODAY = int(os.environ.setdefault("HANDBOOK_DAY", str(date.today().toordinal())))
ROTATING = (  # printed at the end of every other run of all tests
    "by turns, all of them with HANDBOOK_TESTS=thorough: a third of the pages in a browser, a"
    " twelfth for axe and colours, at one of two widths and in one of two themes; a third of the"
    " mistakes in colours, of the exercises with wrong answers and as the buttons of pages ask"
    " them, of what listings fold, and of the sliders, at a few settings; a sixth of what moves, on"
    " a desk and on a phone; a third of the companion notebook, of how large targets are, of what"
    " ends Python, of the modules whose functions run their examples when copied, of what may stand"
    " at a place of a load test's file, of the extreme requests that the engine's server gets, and"
    " of the commands that pages show, whose plans have a tenth of their requests; an eighth of the"
    " bits of a packed trace; an eleventh of the planner's fields with hostile values; one of the"
    " browser's files damaged; a module of a twelfth of the pages as live code, on a host that"
    " sends headers or on one that sends none; and every third day a second build, with a sixth of"
    " the pages and a twelfth of the modules made anew, the ways to a browser, what is watched for"
    " names that it looks up, measurements from beginning to end, installations, the other"
    " generator, a worker that is killed amid a sweep, the engine's official client, its server's"
    " memory and its notebook"
)
costly = settings(max_examples=60 if THOROUGH else 10)  # where one example takes a simulation


def its_turn(place: int) -> pytest.MarkDecorator:
    """Of tests that start whole programs or measure from beginning to end, a third each day; in a
    thorough run, and where a file is run by itself, all. place: 0 to 2, so that the days take about
    the same.
    """
    waits = not THOROUGH and place != TODAY % 3
    everything = "config.args == config.getini('testpaths')"
    return pytest.mark.skipif(f"{waits} and {everything}", reason="BY TURNS")


def todays(things: Sequence[Thing]) -> Sequence[Thing]:
    """The third of them whose turn it is, another tomorrow; in a thorough run all."""
    return things if THOROUGH else things[TODAY % 3 :: 3]
