"""Grids of sliders: what is kept of them, what is refused and how, and the sentences they make."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from builder.directives import told
from builder.sliders import LARGEST, as_json, grid, legend

from ..sentences import reading

LOADS, SERVERS = np.array([0.1, 0.5, 0.9]), [1, 16]


def changed(told: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy with each change at its path, such as `panels__0__curves`."""
    told = copy.deepcopy(told)
    for path, value in changes.items():
        *way, last = path.split("__")
        place: Any = told
        for step in way:
            place = place[int(step) if step.isdigit() else step]
        place[last] = value
    return told


def slider(**changes: Any) -> dict[str, Any]:
    """A slider of two controls, with curves along the first."""
    curve = {"label": "wait", "unit": "s", "values": np.outer(LOADS, SERVERS) / 3}
    x = {"label": "load", "unit": "", "range": (0, 1)}
    told = {
        "controls": [
            {"label": "load", "values": LOADS, "text": "ρ = {:.2f}", "start": 0.5},
            {"label": "servers", "values": SERVERS, "start": 16},
        ],
        "panels": [
            {"kind": "load", "x": x, "y": {"label": "wait", "unit": "s"}, "curves": [curve]}
        ],
        "readouts": [{"label": "late", "unit": "%", "values": np.ones((3, 2)), "decimals": 0}],
        "reading": "{load}, {servers} servers: {wait}, {late} late.",
    }
    return changed(told, changes)


def test_grid_is_plain_small_and_in_the_order_of_the_controls() -> None:
    data = grid(slider())
    assert json.loads(as_json(data)) == data
    assert data["controls"][0] == {
        "label": "load",
        "texts": ["ρ = 0.10", "ρ = 0.50", "ρ = 0.90"],
        "start": 1,
    }
    assert data["controls"][1]["texts"] == ["1", "16"]
    assert data["panels"][0]["curves"][0]["values"] == [0.03333, 0.5333, 0.1667, 2.667, 0.3, 4.8]
    assert data["readouts"][0]["values"] == [1] * 6
    assert data["panels"][0]["x"]["values"] == [0.1, 0.5, 0.9]
    assert data["panels"][0]["x"]["range"] == [0, 1]
    assert data["panels"][0]["y"]["range"] == [0, 4.8]
    assert "limit" not in data["panels"][0]["y"]


def test_four_digits_are_kept_and_whole_numbers_have_no_point() -> None:
    values = [[0.000123456, 123456.7], [2.0, 1e-12], [3, np.int64(7)]]
    found = grid(slider(panels__0__curves__0__values=values))["panels"][0]["curves"][0]["values"]
    assert found == [0.000123456, 123500, 2, 1e-12, 3, 7]  # a last 5 would be rounded again
    assert [type(value) for value in found] == [float, int, int, float, int, int]


def test_an_axis_may_be_logarithmic_and_that_of_the_curves_have_a_limit() -> None:
    limit = {"at": 0.2, "label": "objective"}
    panel = grid(
        slider(panels__0__x__range=(0.1, 20), panels__0__x__log=True, panels__0__y__limit=limit)
    )["panels"][0]
    assert panel["x"]["log"]
    assert panel["x"]["range"] == [0.1, 20]
    assert panel["y"]["limit"] == limit


def test_every_mark_has_words_in_the_legend() -> None:
    data = grid(timed())
    assert legend(data) == data["legend"] | {"future": "still to come"}
    assert legend(grid(slider())) == {"ghost": "other values of “servers”"}
    curves = [*slider()["panels"][0]["curves"], *slider()["readouts"]]
    two = slider(panels__0__curves=curves, readouts=[])
    assert legend(grid(two)) == {"ghost": "wait at other values of “servers”"}
    alone = {
        "controls": slider()["controls"][:1],
        "panels__0__curves__0__values": LOADS,
        "readouts": [],
    }
    assert legend(grid(slider(**alone, reading="{load}: {wait}"))) == {}


def test_what_is_absent_is_said() -> None:
    values = [[1.0, 2.0], [3.0, None], [None, None]]
    data = grid(slider(panels__0__curves__0__values=values, absent="Nothing there."))
    assert data["panels"][0]["curves"][0]["values"] == [1, 2, 3, None, None, None]
    assert reading(data, [1, 0]) == "ρ = 0.50, 1 server: 3.0 s, 1% late."  # one of many
    assert reading(data, [1, 1]) == "Nothing there."
    named = slider(panels__0__curves__0__values=values, absent="Nothing at {servers}.")
    assert reading(grid(named), [1, 1]) == "Nothing at 16."
    hollow = slider(panels__0__curves__0__values=values, absent="Nothing but {wait}.")
    with pytest.raises(ValueError, match=r"absent names \['wait'\], which is none of"):
        grid(hollow)


def test_rates_below_the_last_digit_are_less_than_it() -> None:
    texts = [told(0.0004, "s", 3), told(0.0005, "s", 3), told(0, "s", 3), told(-0.4, "", 1)]
    assert texts == ["less than 0.001 s", "0.001 s", "0.000 s", "−0.4"]
    assert told(1234567, "%", 0) == "1,234,567%"
    assert [told(value, "", 0) for value in (0.5, 1.5, 2.5)] == ["1", "2", "3"]  # as JavaScript
    assert told(0.15, "", 1) == "0.2"  # though 0.15/0.1 is below 1.5 by a last digit


def test_what_is_no_dictionary_is_refused() -> None:
    with pytest.raises(ValueError, match="the slider must be a dictionary, got list"):
        grid([1, 2])
    with pytest.raises(ValueError, match="y must be a dictionary, got str"):
        grid(slider(panels__0__y="wait"))
    with pytest.raises(ValueError, match="the slider lacks panels, reading"):
        grid({})


def test_heavy_grid_is_refused_with_its_weight() -> None:
    loads = np.linspace(0, 1, 4000)
    values = np.random.default_rng(1).random((4000, 2))
    heavy = slider(
        controls__0__values=loads,
        controls__0__start=0.0,
        controls__0__text="{:.6f}",
        panels__0__curves__0__values=values,
        readouts__0__values=values,
    )
    with pytest.raises(ValueError, match=f"may weigh {LARGEST} bytes packed, this one has [0-9]+"):
        grid(heavy)


TIMES, ENGINES = [0.0, 0.5, 1.0], ["A", "B"]


def timed(**changes: Any) -> dict[str, Any]:
    """A slider of two runs and three frames."""
    running = [[[0, 1], [2, 1], [2, 2]], [[0, 0], [1, 0], [0, 0]]]
    curve = {"label": "late", "unit": "%", "state": "broken", "values": [[0, 5, 9], [1] * 3]}
    told = {
        "controls": [{"label": "rate", "values": [1, 2], "start": 2, "text": "{} a second"}],
        "clock": {"label": "time", "unit": "s", "values": TIMES, "start": 0.5},
        "panels": [
            {
                "kind": "engine",
                "engines": ENGINES,
                "places": 2,
                "running": running,
                "prompts": np.zeros((2, 3, 2), dtype=int),
                "waiting": np.ones((2, 3, 2), dtype=int),
            },
            {
                "kind": "lanes",
                "label": "requests",
                "lanes": ["1", "2"],
                "bars": [[("1", 0, 0.5, "waits"), ("1", 0.5, 1, "answer", "1.0")], []],
            },
            {
                "kind": "curves",
                "y": {"label": "late", "unit": "%"},
                "curves": [curve],
            },
        ],
        "readouts": [
            {"label": "mean", "unit": "s", "values": [3, 4]},
            {"label": "done", "unit": "", "decimals": 0, "values": [[0, 0, 1], [0, 0, 0]]},
        ],
        "reading": "{time}, {rate}: {done}, {mean}, {late}.",
    }
    return changed(told, changes)


def test_what_is_kept_is_controls_a_clock_panels_and_a_sentence() -> None:
    data = grid(timed())
    assert json.loads(as_json(data)) == data
    engine, lanes, curves = data["panels"]
    assert data["clock"]["start"] == 1
    assert engine["places"] == [2]
    assert engine["running"] == [0, 1, 2, 1, 2, 2, 0, 0, 1, 0, 0, 0]
    assert lanes["bars"] == [[[0, 0, 0.5, "waits"], [0, 0.5, 1, "answer", "1.0"]], []]
    assert curves["y"]["range"] == [0, 9]
    assert list(data["legend"]) == ["answer", "prompt", "waits", "free"]
    assert reading(data, [0], 2) == "1.0 s, 1 a second: 1, 3.0 s, 9.0%."
    assert reading(data, [1], 1) == "0.5 s, 2 a second: 0, 4.0 s, 1.0%."


def test_what_happens_meanwhile_may_differ_between_runs_and_two_curves_have_a_shade() -> None:
    once = grid(timed(clock__events=[(0.5, 0.5, "jump")]))
    assert once["clock"]["events"] == [[[0.5, 0.5, "jump"]]] * 2
    stalls = grid(timed(clock__events=[[], [(0, 1, "stall")]]))
    assert stalls["clock"]["events"] == [[], [[0, 1, "stall"]]]
    assert "events" not in grid(timed(clock__events=[]))["clock"]
    curve = timed()["panels"][2]["curves"][0]
    two = timed(panels__2__curves=[curve, curve | {"label": "lost"}], panels__2__shade="between")
    two["reading"] += " {lost}"
    assert legend(grid(two))["shade"] == "between"


def test_places_may_change_and_a_slider_needs_neither_controls_nor_clock() -> None:
    places = np.full((2, 3, 2), 2)
    data = grid(timed(panels__0__places=places))
    assert len(data["panels"][0]["places"]) == 12
    still = {
        "panels": [{"kind": "engine", "places": 4, "running": 3, "waiting": 0}],
        "reading": ".",
    }
    data = grid(still)
    assert data["panels"][0]["running"] == [3]
    assert "clock" not in data
    assert reading(data, []) == "."


def test_places_may_be_of_something_that_nobody_waits_for() -> None:
    panel = {"kind": "engine", "places": 4, "running": 3, "of": "experts"}
    data = grid({"panels": [panel], "reading": "."})
    assert "waiting" not in data["panels"][0]
    assert data["panels"][0]["of"] == "experts"
    assert list(data["legend"]) == ["answer", "free"]
    assert "of" not in grid(timed())["panels"][0]


@pytest.mark.parametrize("given", [None, 3, np.nan, "12", 1j])
def test_values_that_are_no_list_are_named(given: object) -> None:
    for part, name in (("controls__0", "controls.0."), ("clock", "clock")):
        with pytest.raises(ValueError, match=f"{name} values must be a list, got "):
            grid(timed(**{f"{part}__values": given}))


def test_what_needs_a_clock_or_a_control_says_so() -> None:
    for place, kind in ((1, "lanes"), (2, "curves")):
        told = timed(panels=[timed()["panels"][place]])
        del told["clock"]
        with pytest.raises(ValueError, match=rf"panels\[0\] kind {kind} needs a clock"):
            grid(told)
    axes = {name: {"label": name, "unit": ""} for name in "xy"}
    load = {"kind": "load", "curves": [{"label": "a", "unit": "", "values": 1}], **axes}
    dots = {"kind": "dots", "label": "a", "x": axes["x"], "dots": [1]}
    for panel in (load, dots):
        kind = panel["kind"]
        with pytest.raises(ValueError, match=rf"panels\[0\] kind {kind} needs a control"):
            grid({"panels": [panel], "reading": "{a}"})


def pictures(**changes: Any) -> dict[str, Any]:
    """A slider of bars, a table and dots; two controls of two and three values."""
    told = {
        "controls": [
            {"label": "factor", "values": [1, 2], "start": 1},
            {"label": "who", "values": ["I", "you", "they"], "start": "you"},
        ],
        "panels": [
            {
                "kind": "bars",
                "label": "a call",
                "lanes": ["JSON", "gRPC"],
                "x": {"label": "time", "unit": "ms"},
                "bars": [[[("gRPC", 0, 1e4, "answer", "10 s")]] * 3, [[]] * 3],
            },
            {
                "kind": "cells",
                "label": "who breaks",
                "rows": ["I", "you", "they"],
                "columns": ["a", "", "b"],
                "cells": [[[["free", "free", "broken"]] * 3] * 3] * 2,
            },
            {
                "kind": "dots",
                "label": "runs",
                "x": {"label": "factor", "unit": ""},
                "dots": [[0.5, 1.5], [0.5, 2.5], [1, 2]],
            },
        ],
        "reading": "{factor} {who}",
    }
    return changed(told, changes)


def test_bars_tables_and_dots_are_kept_as_they_are_drawn() -> None:
    data = grid(pictures())
    bars, cells, dots = data["panels"]
    assert bars["bars"][0] == [[1, 0, 10000, "answer", "10 s"]]
    assert len(bars["bars"]) == len(cells["cells"]) == 6
    assert bars["x"] == {"label": "time", "unit": "ms", "log": False}  # as long as the run
    assert cells["cells"][0][0] == ["free", "free", "broken"]
    assert dots["dots"] == [0.5, 1.5, 0.5, 2.5, 1, 2]
    assert dots["x"]["values"] == [1, 2]
    assert legend(data).keys() == {"answer", "broken", "free"}
    clock = {"label": "t", "unit": "s", "values": [0, 1], "start": 0}
    framed = pictures(clock=clock, panels__0__bars=[[[[]] * 2] * 3] * 2)
    assert len(grid(framed)["panels"][0]["bars"]) == 12  # for each frame


FIRST, LANES = "panels__0__", "panels__1__"
VALUES = "panels__0__curves__0__values"
WRONG = [
    ({"controls": []}, r"panels\[0\] kind load needs a control"),
    ({FIRST + "curves": []}, "curves must be a list of one or more"),
    ({"colour": "red"}, "the slider has unknown fields: colour"),
    ({"controls__0__values": [0.5]}, r"controls\[0\] must have two or more values, got \[0.5\]"),
    ({"controls__0__start": 0.4}, r"controls\[0\] starts at 0.4, which is none of its values"),
    ({"controls__0__text": "{:.0f}"}, r"controls\[0\] has two values that read alike"),
    (
        {"controls__0__values": [0.9, 0.5, 0.1]},
        r"controls\[0\], .* must have numbers that increase",
    ),
    ({"controls__0__label": ""}, r"controls\[0\] label must be a text, got ''"),
    (
        {
            "controls__0__values": ["a", "b", "c"],
            "controls__0__start": "a",
            "controls__0__text": "{}",
        },
        r"controls\[0\] must have finite numbers .* got 'a' at \(0,\)",
    ),
    (
        {VALUES: [[1, 2], [3, 4]]},
        r"curves\[0\] \(wait\) must have shape \(3, 2\)",
    ),
    (
        {VALUES: [[1, 2], [3, np.inf], [5, 6]]},
        r"finite numbers .* inf at \(1, 1\)",
    ),
    (
        {VALUES: [[1, 2], [3, None], [5, 6]]},
        r"or None, and a text `absent`\), got None",
    ),
    (
        {VALUES: [[1, 2], [3, 4], [5, "6"]]},
        r"finite numbers .* got '6' at \(2, 1\)",
    ),
    ({"readouts__0__decimals": 7}, r"readouts\[0\] decimals must be an integer in \[0, 6\], got 7"),
    ({"readouts__0__label": "wait"}, "labels must differ, got"),
    ({FIRST + "x__values": [1, 2, 3]}, "x has unknown fields: values"),
    ({FIRST + "x__limit": {"at": 1, "label": "SLO"}}, "x has unknown fields: limit"),
    ({VALUES: [[None, None]] * 3, "absent": "none"}, r"y has no value anywhere"),
    ({FIRST + "y__range": (3, 1)}, r"y range must be finite and increase, got \(3, 1\)"),
    ({FIRST + "x__log": True}, "x is logarithmic and must be positive, got 0"),
    ({FIRST + "y__limit": {"at": 9, "label": "SLO"}}, r"y limit must be in \(0, 4.8\), got 9"),
    ({FIRST + "y__limit": {"at": 1}}, "y limit lacks label"),
    ({"reading": "At {rho}."}, r"reading names \['rho'\], which is none of"),
    ({"reading": "{load}: {wait}."}, r"reading never says \['late'\]"),
]
WRONG_TIMED = [
    ({"panels": []}, "panels must be a list of 1 to 3, got 0"),
    ({FIRST + "kind": "motor"}, "panels.0. kind must be one of engine, lanes, .* got 'motor'"),
    ({LANES + "colour": 1}, r"panels\[1\] has unknown fields: colour"),
    ({"clock__values": [0.5, 0.5, 1.0]}, "clock must have numbers that increase in 4"),
    ({"clock__values": [0.5, np.nan, 1.0]}, r"clock \(time\) must have finite numbers"),
    ({"clock__events": [(0, 2, "stall")]}, r"event \(0, 2, 'stall'\) must be in \(0.0, 1.0\)"),
    ({"clock__events": [[(0, 1, "stall")]]}, "events for each value of a control must be a list"),
    ({"clock__events": [(0, 1)]}, "clock event must be a list of 3 to 3, got 2"),
    ({"panels__2__shade": "inside"}, r"panels\[2\] shade must be between two curves, got 1"),
    ({FIRST + "places": 1}, r"\[0\] running must be at most places, got 2 of 1 at \(0, 1, 0\)"),
    ({FIRST + "prompts": np.ones((2, 3, 2))}, r"prompts must be at most running, got 1 of 0"),
    ({FIRST + "waiting": np.full((2, 3, 2), -1)}, r"waiting must be integers .* got -1"),
    ({FIRST + "waiting": np.full((2, 3, 2), 0.5)}, r"waiting must be integers .* got 0.5"),
    ({FIRST + "waiting": np.full((2, 3, 2), np.nan)}, r"waiting must have finite .* got nan"),
    ({FIRST + "running": [[1] * 3] * 2}, r"running must have shape \(2, 3, 2\), got \(2, 3\)"),
    (
        {LANES + "bars": [[("3", 0, 1, "idle")], []]},
        r"bars \(3, 0, 1, idle\) lane must be one of 1, 2",
    ),
    ({LANES + "bars": [[("1", 0, 1, "answers")], []]}, "must be one of answer, .* got 'answers'"),
    ({LANES + "bars": [[("1", 0, 2, "idle")], []]}, r"must start before its end, in \(0, 1\)"),
    ({LANES + "bars": [[("1", 1, 0, "idle")], []]}, r"must start before its end, in \(0, 1\)"),
    ({LANES + "bars": [[("1", 0, np.nan, "idle")], []]}, "must have finite numbers"),
    ({LANES + "bars": [[]]}, "bars for each value of a control must be a list of 2"),
    ({LANES + "bars": [[("1", 0)], []]}, r"bars must be .lane, start, end, state., got \('1', 0\)"),
    ({"panels__2__curves__0__state": "red"}, "state must be one of answer, .* got 'red'"),
    ({"panels__2__curves__0__values": [1, 2]}, r"\(late\) must have shape \(2, 3\), got \(2,\)"),
    ({"readouts__0__values": [1, 2, 3]}, r"\(mean\) must have shape \(2, 3\) or \(2,\), got"),
    ({"legend": {"grey": "x"}}, "legend has unknown fields: grey"),
    ({"controls__0__text": "{x}"}, "cannot be read: KeyError: 'x'"),
    ({"clock__values": [0.5, 10**400]}, "cannot be read: OverflowError: int too large"),
    ({"panels__2__curves__0__state": []}, r"state must be one of answer, .* got \[\]"),
    ({LANES + "bars": [[("1", 0, 1, {})], []]}, "must be one of answer, .* got {}"),
    ({"readouts__0__decimals": 1.0}, "decimals must be an integer in .0, 6., got 1.0"),
    ({"panels__2__y__limit": {"at": "1", "label": "a"}}, "cannot be read: TypeError: '<=' not"),
]
WRONG_PICTURES = [
    ({FIRST + "x__range": (0, 5)}, r"bars .* must start before its end, in \(0.0, 5.0\)"),
    ({FIRST + "bars": [[[]] * 3]}, "for each value of a control must be a list of 2 to 2"),
    ({"panels__1__cells": [[[["free"] * 3] * 2] * 3] * 2}, "of a run must be a list of 3 to 3"),
    ({"panels__1__cells": [[[["free"]] * 3] * 3] * 2}, "of a row must be a list of 3 to 3"),
    ({"panels__1__cells": [[[["no"] * 3] * 3] * 3] * 2}, "must be one of answer.* got 'no'"),
    ({"panels__1__rows": ["I", "", "they"]}, "rows must be a text, got ''"),
    ({"panels__2__dots": [[1, 2]] * 2}, r"dots must have shape \(3, 2\), got \(2, 2\)"),
    ({"panels__2__dots": 1}, "something that cannot be read: IndexError"),
    ({"panels__2__dots": [[1, np.nan]] * 3}, "must have finite numbers"),
]


@pytest.mark.parametrize(
    ("make", "changes", "message"),
    [
        (make, *wrong)
        for make, all_wrong in ((slider, WRONG), (timed, WRONG_TIMED), (pictures, WRONG_PICTURES))
        for wrong in all_wrong
    ],
)
def test_what_is_wrong_is_named_with_part_rule_and_value(
    make: Callable[..., Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        grid(make(**changes))
