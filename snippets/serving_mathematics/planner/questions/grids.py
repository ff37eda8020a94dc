"""Questions of a grid, from a file: every combination of lists, or a question in each row.

Assumes: nothing about the input.

Source: RFC 8259 for JSON, where the standard library is more lenient (repeated names, NaN);
RFC 4180 for CSV.
"""

from __future__ import annotations

from serving_mathematics.planner.questions.fields import find_field, read_value
from serving_mathematics.support.files import read_json, read_table
from serving_mathematics.support.require import require

MOST_QUESTIONS = 100_000  # in a grid


def read_grid(text: str, kind: str) -> list[dict[str, object]]:
    """Questions of a grid, as named values, in order.

    text: of the file. kind: "json", an object whose values may be lists, of which all combinations
    are taken, the last list changing fastest; or "csv", a header of fields and one question a row,
    empty cells left out. Raises ValueError that names line, row, column or entry.

    >>> read_grid('{"rate_per_s": [1, 2], "seed": 7}', "json")
    [{'rate_per_s': 1, 'seed': 7}, {'rate_per_s': 2, 'seed': 7}]
    >>> read_grid("rate_per_s,model\\n3,\\n", "csv")
    [{'rate_per_s': '3'}]
    """
    require(kind in ("json", "csv"), "kind", "json or csv", kind)
    return _json_grid(text) if kind == "json" else _csv_grid(text)


def _json_grid(text: str) -> list[dict[str, object]]:
    found = read_json(text)
    flat = isinstance(found, dict)
    require(flat, "the file", "one JSON object of fields", type(found).__name__)
    rows: list[dict[str, object]] = [{}]
    for name, value in found.items():
        choices = value if isinstance(value, list) else [value]
        require(len(choices) > 0, name, "a value or a list of some", "an empty list")
        for place, choice in enumerate(choices, start=1):
            try:
                read_value(name, choice)
            except ValueError as error:
                where = f"entry {place} of {name}: " if isinstance(value, list) else ""
                raise ValueError(f"{where}{error}") from error
        size, rule = len(rows) * len(choices), f"of at most {MOST_QUESTIONS:,} questions"
        require(size <= MOST_QUESTIONS, "the grid", rule, f"{size:,} or more")
        rows = [row | {name: choice} for row in rows for choice in choices]
    return rows


def _csv_grid(text: str) -> list[dict[str, object]]:
    lines = read_table(text, "the file", MOST_QUESTIONS)
    require(len(lines) > 1, "the file", "a header and at least one row", "fewer rows")
    header = lines[0]
    for name in header:
        try:
            find_field(name)
        except ValueError as error:
            raise ValueError(f"row 1: {error}") from error
    rows: list[dict[str, object]] = []
    for number, line in enumerate(lines[1:], start=2):
        require(len(line) == len(header), f"row {number}", f"{len(header)} fields long", line)
        row: dict[str, object] = {}
        for name, cell in zip(header, line, strict=True):
            if cell:
                try:
                    read_value(name, cell)
                except ValueError as error:
                    raise ValueError(f"row {number}, column {error}") from error
                row[name] = cell
        rows.append(row)
    return rows
