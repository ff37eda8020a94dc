"""One drawing, two themes: a figure is saved once and its inks are replaced for the dark
background.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

PALETTE = {  # ink on a light page: ink on a dark page
    "#23272e": "#e3e6ea",  # text
    "#6f7680": "#9aa3ae",  # axes
    "#dfe3e8": "#3a414b",  # grid
    "#1f6f8b": "#5bb0cc",  # primary
    "#c9701a": "#eba35a",  # secondary
    "#9a4fd6": "#b57df2",  # tertiary
    "#b3261e": "#ff7a6e",  # error
    "#555555": "#bcc3cc",  # neutral
    "#2c2270": "#e6dc5c",  # highlight
}

_INK = re.compile("|".join(PALETTE))
_COORDINATES = re.compile(r' (?:d|x|y)="[^"]*"')
_DIGITS = re.compile(r"(\.\d)\d+")
_PATH_DATA = re.compile(r' d="[^"]*"')
_LINE = re.compile(r"(?<=stroke-width: )[1-9][\d.]*")  # and no grid
_LONG_FRACTION = re.compile(r"(\.\d\d)\d+")


@contextlib.contextmanager
def house_style(file: Path) -> Iterator[None]:
    """Draw meanwhile in the style of a `.mplstyle` file, with everything in a place of its own."""
    with mpl.rc_context():
        matplotlib.style.use(file)
        mpl.rcParams["figure.constrained_layout.use"] = True
        yield


def light_and_dark(figure: Figure, salt: str) -> tuple[str, str]:
    """The figure as SVG text for a light and for a dark page; the same bytes for the same drawing.

    salt: keeps the ids of different figures apart, and one figure's ids the same from build to
    build.
    """
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        for axes in figure.axes:
            _draw_points_whole(axes)
            for axis, sides in ((axes.xaxis, ("bottom", "top")), (axes.yaxis, ("left", "right"))):
                _write_as_in_text(axis)
                ticks = axis.get_tick_params()
                if not any(ticks.get(f"label{side}") for side in sides):
                    axis.label.set_visible(False)  # a neighbour has its values, and its name
        canvas: Any = FigureCanvasSVG(figure)
        told = {"Date": None, "Creator": None}
        canvas.print_svg(buffer, metadata=told)  # `savefig` draws twice
    svg = _PATH_DATA.sub(lambda path: _LONG_FRACTION.sub(r"\1", path[0]), buffer.getvalue())
    return svg, on_dark(svg)


def on_dark(svg: str) -> str:
    """A figure with the inks of a dark page."""
    return _INK.sub(lambda ink: PALETTE[ink[0]], svg)


def without_words(svg: str) -> str:
    """A figure without its text and its legend, whose marks say nothing without it; matplotlib
    draws both as shapes in groups of their own, a text with the box around it, which stays. With
    lines twice as wide, since a card is less than half as large, and one digit of its coordinates:
    a third of its weight.
    """
    kept, depth, of_text, box = [], 0, False, False
    for part in re.split(r"(<g\b[^>]*>|</g>)", svg):
        if depth:
            box = box or (of_text and part.startswith('<g id="patch_'))
            kept += [part] * box
            depth += part.startswith("<g") - (part == "</g>")
            box = box and depth > 1
        elif part.startswith(('<g id="text_', '<g id="legend_')):
            depth, of_text = 1, part.startswith('<g id="text_')
        else:
            kept.append(part)
    text = _LINE.sub(lambda width: f"{2 * float(width[0]):g}", "".join(kept))
    return _COORDINATES.sub(lambda found: _DIGITS.sub(r"\1", found[0]), text)


def _write_as_in_text(axis: Axis) -> None:
    """Ticks that a figure leaves to matplotlib have commas, and no powers of ten where all of them
    are numbers that are read at once.
    """
    least, most = sorted(axis.get_view_interval())
    powers = isinstance(axis.get_major_formatter(), LogFormatter)
    if axis.isDefault_majfmt and (0.001 <= least < most <= 1.5e5 if powers else 1000 <= most < 1e6):
        axis.set_major_formatter(lambda tick, _: f"{tick:,g}".replace("-", "\N{MINUS SIGN}"))


def _draw_points_whole(axes: Axes) -> None:
    """A point on an axis, such as one of nothing, is not cut in half, unless others lie beyond."""
    for line in axes.lines:
        if line.get_marker() not in ("None", "", None) and _of_data(line, axes):
            at = (axes.transScale + axes.transLimits).transform(line.get_xydata())
            if np.all((at > -1e-6) & (at < 1 + 1e-6)):
                line.set_clip_on(False)


def nothing_finite(axes: Axes) -> bool:
    """Whether data are drawn in the axes, and none of them is a finite number."""
    found = [_finite(line.get_xydata()).all(axis=-1) for line in axes.lines if _of_data(line, axes)]
    found += [_finite(image.get_array()) for image in axes.images]
    for patch in axes.patches:
        if _of_data(patch, axes):  # a bar without a height has some finite corners all the same
            corners = patch.get_patch_transform().transform(patch.get_path().vertices)
            found.append(_finite(corners).all(keepdims=True))
    for shape in axes.collections:
        if shape.get_array() is not None:
            found.append(_finite(shape.get_array()))
        elif _of_data(shape, axes):
            found += [_finite(path.vertices).all(axis=-1) for path in shape.get_paths()]
            found.append(np.array([], dtype=bool))  # nothing is left of a band without a number
        else:
            found.append(_finite(shape.get_offsets()).all(axis=-1))
    return bool(found) and not any(part.any() for part in found)


def _finite(values: Any) -> npt.NDArray[np.bool_]:
    finite: npt.NDArray[np.bool_] = np.isfinite(
        np.ma.filled(np.ma.asarray(values).astype(float), np.nan)
    )
    return finite


def _of_data(artist: Artist, axes: Axes) -> bool:
    return bool(artist.get_transform().contains_branch(axes.transData))
