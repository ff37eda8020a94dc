"""The stepper's bars against the step of the machines."""

from __future__ import annotations

from itertools import pairwise

import pytest
from serving_mathematics.machine.step_time.step_in_parts import (
    _MACHINES,
    CONTEXTS,
    LANES,
    SEQUENCES,
    example,
    stepper_step_in_parts,
)


def test_bars_follow_each_other_and_end_with_the_step() -> None:
    told = stepper_step_in_parts()
    end = told["clock"]["values"][-1]
    for panel, (name, machine) in zip(told["panels"], _MACHINES.items(), strict=True):
        assert panel["lanes"] == [lane for lane, *_ in LANES]
        for row, count in enumerate(SEQUENCES):
            for column, context in enumerate(CONTEXTS):
                bars = panel["bars"][row][column]
                step = 1e3 * float(machine.step_s(count, float(context)))
                assert bars[-1][2] == pytest.approx(step, rel=1e-3)
                assert bars[-1][2] <= end
                for (_, _, before, _), (_, start, _, _) in pairwise(bars):
                    assert 0 <= start - before + 1e-9 < 2e-3  # what takes nothing is left out
                values = {x["label"]: x["values"][row][column] for x in told["readouts"]}
                assert values[f"{name} step"] == pytest.approx(step, rel=1e-3)
                floors = 100 * bars[0][2] / step
                assert values[f"{name} floors"] == pytest.approx(floors, rel=1e-3)
                assert count * context < machine.cache_tokens


def test_numbers_of_the_page_are_those_shown() -> None:
    told, found = stepper_step_in_parts(), example()
    values = {x["label"]: x["values"][0][1] for x in told["readouts"]}
    assert found.chat_alone_ms == pytest.approx(values["chat step"])
    assert 100 * found.mixture_floors == pytest.approx(values["mixture floors"])
    assert found.parts_low < 1 < found.parts_high
