"""The slider's bars against the step of the machines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from serving_mathematics.machine.step_time.step_in_parts import (
    _MACHINES,
    CONTEXTS,
    SEQUENCES,
    example,
    slider_step_in_parts,
)


def test_bars_follow_each_other_and_end_with_the_step() -> None:
    told = slider_step_in_parts()
    (panel,) = told["panels"]
    for row, count in enumerate(SEQUENCES):
        for column, context in enumerate(CONTEXTS):
            values = {x["label"]: x["values"][row][column] for x in told["readouts"]}
            for name, machine in _MACHINES.items():
                bars = [bar for bar in panel["bars"][row][column] if bar[0] == name]
                step = 1e3 * float(machine.step_s(count, float(context)))
                assert bars[-1][2] == pytest.approx(step, rel=1e-3)
                assert bars[-1][4] == f"{bars[-1][2]:.1f} ms"
                assert bars[-1][2] <= panel["x"]["range"][1]
                for (_, _, before, _), (_, start, *_) in pairwise(bars):
                    assert 0 <= start - before + 1e-9 < 2e-3  # what takes nothing is left out
                assert values[f"{name} step"] == pytest.approx(step, rel=1e-3)
                assert values[f"{name} a token"] == pytest.approx(step / count, rel=1e-3)
                floors = 100 * bars[0][2] / step
                assert values[f"{name} floors"] == pytest.approx(floors, rel=1e-3)
                assert count * context < machine.cache_tokens


def test_numbers_of_the_page_are_those_shown() -> None:
    told, found = slider_step_in_parts(), example()
    values = {x["label"]: x["values"][0][2] for x in told["readouts"]}
    assert 100 * found.mixture_floors == pytest.approx(values["mixture floors"])
    assert found.parts_low < 1 < found.parts_high
