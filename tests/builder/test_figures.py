"""One drawing for two pages: the same bytes every time, and only the inks differ."""

from __future__ import annotations

import re
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from builder import ROOT, SOURCES
from builder.figures import PALETTE, house_style, light_and_dark, nothing_finite

from ..visits import PHONE


def drawing() -> Figure:
    """Lines, dots, text and clipping in every ink of the house."""
    figure = Figure(layout="constrained")
    axes = figure.add_subplot(xlabel=r"utilization $\rho$ [1]", ylabel="wait [s]", title="#1f6f8b")
    x = np.linspace(0, 0.95, 50)
    for slope in range(6):
        axes.plot(x, slope / (1 - x), label=f"slope {slope}")
    axes.scatter(x, x, alpha=0.5)
    axes.fill_between(x, 0, x, alpha=0.2)
    axes.imshow(np.eye(3), extent=(0, 1, 0, 1))
    axes.legend()
    return figure


def test_the_words_of_figures_are_nine_pixels_high_on_a_phone() -> None:
    """A figure is as wide there as the screen, by handbook.css."""
    parts = ("font.size", "xtick.labelsize", "ytick.labelsize", "legend.fontsize")
    with house_style(ROOT / SOURCES / "house.mplstyle"):
        sizes = [float(mpl.rcParams[part]) for part in parts]
        widths = [float(mpl.rcParams["figure.figsize"][0])]
    for module in (ROOT / SOURCES).rglob("*.py"):
        text = module.read_text(encoding="utf-8")
        found = re.findall(r"fontsize=([^,)]+)", text)
        sizes += [float(size) for size in found if size != '"medium"']
        widths += [float(width) for width in re.findall(r"set_size_inches\(([^,]+)", text)]
    assert min(sizes) * PHONE["width"] / (72 * max(widths)) >= 9


def draw(salt: str) -> tuple[str, str]:
    with house_style(ROOT / SOURCES / "house.mplstyle"):
        return light_and_dark(drawing(), salt)


def test_a_name_stands_where_the_values_of_its_axis_stand() -> None:
    figure = Figure()
    above, below = figure.subplots(2, sharex=True)
    above.xaxis.tick_top()
    for axes in (above, below):
        axes.set(xlabel="load", ylabel="wait [s]")
    above.tick_params(labeltop=True)
    light_and_dark(figure, "top")
    assert above.xaxis.label.get_visible()
    above.tick_params(labeltop=False)
    light_and_dark(figure, "shared")
    names = [axis.label.get_visible() for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    assert names == [False, True, True, True]


def test_a_point_on_an_axis_is_whole_unless_others_lie_beyond() -> None:
    axes = Figure().subplots()
    lines = [axes.plot([0.5, 1], [0.5, end], "o")[0] for end in (0, -1e-3)]
    lines += axes.plot([0.5, 1], [0.5, 0])
    axes.set(xlim=(0, 1), ylim=(0, 1))
    assert axes.figure is not None
    light_and_dark(axes.figure, "whole")
    assert [line.get_clip_on() for line in lines] == [False, True, True]


@pytest.fixture(scope="module")
def themes() -> tuple[str, str]:
    return draw("part.module.drawing")


def test_two_drawings_are_the_same_bytes(themes: tuple[str, str]) -> None:
    assert draw("part.module.drawing") == themes


def test_themes_differ_in_inks_only(themes: tuple[str, str]) -> None:
    light, dark = themes
    colour = re.compile("|".join([*PALETTE, *PALETTE.values()]))
    assert colour.sub("ink", light) == colour.sub("ink", dark)
    assert colour.findall(dark) == [PALETTE[ink] for ink in colour.findall(light)]
    assert len(set(colour.findall(light))) >= 8


@pytest.mark.parametrize(
    ("values", "log", "written"),
    [
        ([0.01, 9000], True, ["0.01", "0.1", "1", "10", "100", "1,000"]),
        ([1, 1e9], True, [r"$\mathdefault{10^{0}}$"]),
        ([-3000, 3000], False, ["−3,000", "−2,000", "0", "3,000"]),
        ([0, 0.5], False, ["0.0", "0.5"]),
    ],
)
def test_ticks_are_written_as_numbers_of_the_text(
    values: list[float], log: bool, written: list[str]
) -> None:
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    axes.plot(values, [0, 1])
    if log:
        axes.set_xscale("log")
    light, _ = light_and_dark(figure, "")
    assert set(written) <= set(re.findall("<!-- (.*) -->", light))


def test_no_ink_of_the_style_is_missing_from_the_palette() -> None:
    style = (ROOT / SOURCES / "house.mplstyle").read_text(encoding="utf-8")
    settings = re.sub(r"^#.*$", "", style, flags=re.MULTILINE)
    inks = {f"#{ink}" for ink in re.findall(r"\b[0-9a-f]{6}\b", settings)}
    assert inks <= PALETTE.keys()


def test_no_ink_is_replaced_twice() -> None:
    assert not PALETTE.keys() & set(PALETTE.values())


def test_ids_of_two_figures_do_not_collide(themes: tuple[str, str]) -> None:
    clips = [set(re.findall(r'<clipPath id="([^"]+)"', text)) for text in (themes[0], draw("b")[0])]
    assert clips[0]
    assert not clips[0] & clips[1]


def test_drawing_carries_no_date_and_no_version(themes: tuple[str, str]) -> None:
    assert not re.search(r"<dc:date>|Matplotlib v", themes[0])


def test_short_coordinates_stay_numbers(themes: tuple[str, str]) -> None:
    paths = re.findall(r' d="([^"]*)"', themes[0])
    tokens = {token for path in paths for token in path.split()}
    assert all(re.fullmatch(r"[MLQCz]|-?\d+(\.\d{1,2})?|-?\d(\.\d+)?e-?\d+", t) for t in tokens)


NONE, HALF, GOOD = [np.nan, np.inf], [np.nan, 2.0], [1.0, 2.0]
ARTISTS: dict[str, Callable[[Axes, list[float]], object]] = {
    "a line": lambda axes, y: axes.plot([0, 1], y),
    "the other way": lambda axes, y: axes.plot(y, [0, 1]),
    "dots": lambda axes, y: axes.scatter([0, 1], y),
    "coloured dots": lambda axes, y: axes.scatter([0, 1], [0, 1], c=y),
    "bars": lambda axes, y: axes.bar([0, 1], y),
    "bars to the right": lambda axes, y: axes.barh([0, 1], y),
    "a band": lambda axes, y: axes.fill_between([0, 1, 2], [*y, y[-1]]),
    "an image": lambda axes, y: axes.imshow([y, y]),
    "a mesh": lambda axes, y: axes.pcolormesh([y, y]),
}


@pytest.mark.parametrize("artist", ARTISTS)
@pytest.mark.parametrize(("values", "nothing"), [(NONE, True), (HALF, False), (GOOD, False)])
@pytest.mark.filterwarnings("ignore")  # of what cannot be drawn
def test_data_without_a_number_are_noticed(artist: str, values: list[float], nothing: bool) -> None:
    axes = Figure().add_subplot()
    ARTISTS[artist](axes, values)
    assert nothing_finite(axes) is nothing
    axes.plot([0, 1], [0, 1])
    assert not nothing_finite(axes)


def test_without_data_nothing_is_missing() -> None:
    axes = Figure().add_subplot()
    assert not nothing_finite(axes)
    axes.axhline(np.nan)
    axes.axvspan(0, 1)
    assert not nothing_finite(axes)


def test_one_finite_coordinate_of_a_point_is_none() -> None:
    axes = Figure().add_subplot()
    axes.plot([0, np.nan], [np.nan, 1])
    assert nothing_finite(axes)
