"""What a page shows is told in numbers."""

from __future__ import annotations

from dataclasses import replace

from serving_mathematics.support.checks import Comparison

from . import keep, page_numbers


def test_a_drawing_is_told_from_another() -> None:
    line = '<path id="a9" d="M 1.5 -2 L 3 4"/><use x="5" y="6"/><g transform="translate(7 0.5)"/>'
    assert page_numbers.drawn(line) == [8, 1.5 - 4 + 9 + 16 + 25 + 36 + 49 + 0.5]
    was, other = {"page figure_a": page_numbers.drawn(line)}, line.replace("L 3 4", "L 4 3")
    assert not list(keep.changes(was, {"page figure_a": [8, was["page figure_a"][1] + 0.4]}))
    assert list(keep.changes(was, {"page figure_a": page_numbers.drawn(other)}))
    assert list(keep.changes(was, {"page figure_a": [9, was["page figure_a"][1]]}))


def test_a_comparison_is_kept_with_both_of_its_sides() -> None:
    row = Comparison("waits", "identity", "2.5", "2.4", "± 0.2", True)
    assert page_numbers.told(row) == "waits: 2.4, 2.5 (± 0.2)"
    assert page_numbers.told(replace(row, expected="0")) == "waits: about 0, 0 (± 0.2)"
    assert (
        page_numbers.told(replace(row, expected="0", tolerance="exact")) == "waits: 2.4, 0 (exact)"
    )
    found = page_numbers.numbers_of("definitions.utilization.pooling").items()
    checks = {name: value for name, value in found if name.startswith("check_")}
    assert len(checks) > 1
    assert all(isinstance(text, str) for rows in checks.values() for text in rows)
    refused = replace(row, expected="TypeError with “x”")
    assert page_numbers.compared("check_a", [row, refused]) == {"check_a": [page_numbers.told(row)]}
    assert page_numbers.compared("check_a", [refused]) == {}
