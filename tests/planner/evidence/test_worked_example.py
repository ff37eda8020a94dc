"""The worked example: its rows. What its fleets and its sweep are is kept, and checked there."""

from __future__ import annotations

from ...recorded import HERE


def test_the_load_of_a_row_is_that_of_its_replicas() -> None:
    rows = HERE.example_of("planner.evidence.worked_example").closed_rows.splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows]
    loads = [float(load.strip("%")) * float(count) for count, load, *_ in cells]
    counts = [int(count) for count, *_ in cells]
    assert counts == sorted(counts, reverse=True)
    for load, count in zip(loads, counts, strict=True):
        assert abs(load - loads[0]) < 2.5 * count  # percent, each rounded


def test_first_tokens_come_sooner_than_the_closed_form_says_the_more_the_fuller() -> None:
    rows = (
        HERE.example_of("planner.evidence.worked_example")
        .closed_rows.replace("−", "-")
        .splitlines()
    )
    errors = [[float(cell.strip("% ")) for cell in row.strip("| ").split("|")[2:]] for row in rows]
    assert max(abs(error) for row in errors for error in row[:2]) < 3
    assert all([*first] == sorted({*first, 0.0})[1:] for first in [*zip(*errors, strict=True)][2:])
