"""The numbers that are told of a figure are drawn in it, written with or computed beside it."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from builder.captions import _TOLD, Told, drawn, told, untrue, written

LIMIT = 37
SETTINGS = SimpleNamespace(servers=14, name="at 2.5 GHz")


def _slope() -> float:
    return 0.375


def figure_wait(figure: Figure) -> None:
    """The wait of M/M/1."""
    load = np.linspace(0.1, 0.9, 200)
    axes = figure.add_subplot(xlabel="load [1]", ylabel="wait [s]", xlim=(0, 1), ylim=(0, 11))
    axes.plot(load, load / (1 - load))
    axes.plot([0.2, 0.6], [6.3, 7.9], "o")
    axes.axhline(_slope() * SETTINGS.servers / LIMIT)
    axes.annotate("88 of them", (0.3, 3.0))


@pytest.fixture(scope="module")
def shown() -> list[float]:
    figure = Figure()
    figure_wait(figure)
    return drawn(figure) + written(
        Path(__file__).read_text(encoding="utf-8").partition("@pytest")[0]
    )


@pytest.mark.parametrize(
    "text",
    [
        "The wait rises from 0.11 to 9 at a load of 0.9.",  # ends
        "It is 9,000 ms at most.",
        "Points at 6.3 and 7.9.",
        "37 servers, 14 places, 0.375 of 2.5 GHz; 88 are named.",  # what it is written with
        "The p99 of M/M/1 in fp8 on an H100, DeepSeek-V3.2, the 99th percentile.",  # names
        "One in 21 of 95% intervals.",  # a field of example(), and what intervals are
        "No number.",
    ],
)
def test_what_can_be_read_off_is_true(shown: list[float], text: str) -> None:
    assert untrue(text, shown, [21.2, "odd", True]) == []


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("The wait rises from 0.11 to 9.7.", ["9.7"]),
        ("It is 8,500 ms at most.", ["8,500"]),
        ("Points at 6.3 and 7.2.", ["7.2"]),
        ("73 servers, 0.475 of them.", ["73", "0.475"]),
        ("At 10⁻³ of it.", ["10⁻³"]),
    ],
)
def test_a_wrong_number_is_found(shown: list[float], text: str, wrong: list[str]) -> None:
    assert set(wrong) <= set(untrue(text, shown))


def test_numbers_are_read_as_precisely_as_they_are_told() -> None:
    assert told("0.85") == [Told("0.85", 0.85, 0.005)]
    assert told("2100")[0].slack == pytest.approx(42)
    assert told("10⁻³")[0].value == pytest.approx(1e-3)
    assert told("from 5 to 8 percent")[1].scales == (1.0, 0.01)


def test_most_wrong_digits_are_found(shown: list[float]) -> None:
    text = "The wait is 0.11 at 0.1 and 9 at 0.9; points at 6.3 and 7.9; 37, 14, 88."
    assert untrue(text, shown) == []
    rng, found, tried = random.Random(1), 0, 0
    for match in _TOLD.finditer(text):
        for _ in range(5):
            digit = rng.choice([d for d in "123456789" if d != match["whole"][0]])
            other = text[: match.start()] + digit + text[match.start() + 1 :]
            found, tried = found + bool(untrue(other, shown)), tried + 1
    assert found / tried > 0.6
