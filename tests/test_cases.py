"""What is made is kept in lines that are short."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from . import cases, variants
from .answers import REFUSED, reduced


def test_what_is_long_is_told_in_parts_and_these_in_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = ["word"] * 200

    def make(folder: Path) -> Mapping[str, Any]:
        part = {"short": 1.5, "long": words, "deep": {"a": words}}
        return {
            "text": f"{folder}/a\nb",
            "mapping": part,
            "rows": [part, {"b": 2}],
            "long": words,
            "many": {n: n for n in range(90)},
        }

    monkeypatch.setattr(cases, "cases", lambda: {"one": make})
    many = reduced(words)
    found = cases.made("one")
    packed = {key: found.pop(key) for key in [*found] if key.startswith("many, ")}
    assert len(packed) == 2
    assert all(key == f"many, {next(iter(line))}" for key, line in packed.items())
    assert {k: x for line in packed.values() for k, x in line.items()} == {
        str(n): n for n in range(90)
    }
    assert found == {
        "text": ["…/a", "b"],
        "mapping, short": {"short": 1.5, "long": many, "deep": reduced(["a", *words])},
        "rows, 0": {
            "0": reduced(["short", 1.5, "long", *words, "deep", "a", *words]),
            "1": {"b": 2},
        },
        "long": many,
    }


def test_readings_are_told_by_place() -> None:
    values = [("as it is", 4), ("a", 0), ("a", 8), ("b", 0), ("b", 0), ("c", 4), ("d", 0)]
    found = variants.differing(lambda x: 8 // x, ((name, (x,)) for name, x in values))
    assert found == {"as it is": 2, "a": [REFUSED, 1], "refused": 3}
