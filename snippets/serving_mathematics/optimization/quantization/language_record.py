"""The recorded measurement of a language model in fewer bits: what it loses, and its time.

Two models read the same text, so their losses are compared token by token: the mean difference d
[nats] has a much narrower interval than either mean, and perplexity grows by the factor e^d. What
the likeliest next token is, changes more often than right answers are lost, because changes go
both ways.

Assumes: blocks of consecutive tokens are exchangeable; the text is one kind of prose.

Source: measurement, made by `python -m serving_mathematics.engine.language_measurement`; Dutta et
al. (2024) for changed answers beside accuracy.
"""

from __future__ import annotations

import functools
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.optimization.quantization.language_formats import weight_formats
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.intervals import TENTHS, half_width
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    as_floats,
    require,
    require_all_finite,
    require_shape,
)

FILES = ("F16", "Q8_0", "Q4_0", "Q4_1")
TABLE = [name for name, form in weight_formats().items() if form.rows is None]
SHORT = (  # of the page: format, and the same with products in it, where there are any
    ("int8, per output", "int8 products"),
    ("E4M3, per output", "E4M3 products"),
    ("MXFP8", "MXFP8 products"),
    ("int4, per output", ""),
    ("int4, blocks of 32", ""),
    ("NF4, blocks of 64", ""),
    ("MXFP4", "MXFP4 products"),
    ("NVFP4", "NVFP4 products"),
)


def perplexity_growth(
    nats: npt.ArrayLike, reference_nats: npt.ArrayLike
) -> tuple[float, float, float]:
    """Growth of perplexity between two models that read the same text, with its 95% interval.

    nats: mean losses of consecutive blocks of tokens, all of one size, shape (n,), n ≥ 10.
    reference_nats: of the other model, same shape. Returns e^d − 1 for the mean difference d, and
    for the ends of its interval by the jackknife over tenths of the text. Raises ValueError on
    other input.

    >>> growth = perplexity_growth([1.1] * 10, [1.0] * 10)
    >>> [round(value, 4) for value in growth]  # e^0.1 − 1, without any spread
    [0.1052, 0.1052, 0.1052]
    """
    x, y = as_floats(nats=nats), as_floats(reference_nats=reference_nats)
    require(x.ndim == 1 and x.size >= TENTHS, "nats", f"{TENTHS} or more losses", x.shape)
    require_shape(x.shape, reference_nats=y)
    require_all_finite(nats=x, reference_nats=y)
    largest = max(float(np.abs(x).max()), float(np.abs(y).max()))
    require(largest <= 300, "nats", "at most 300 in size, as those of the reference", largest)
    change = x - y
    middle, half = float(change.mean()), float(half_width(np.mean, change))
    return math.expm1(middle), math.expm1(middle - half), math.expm1(middle + half)


@functools.cache
def _record() -> tuple[dict[str, Any], dict[tuple[str, str], dict[str, Any]]]:
    """The record, and its rows by basis and format."""
    record = read_record("language_quality")
    return record, {(row["basis"], row["format"]): row for row in record["rows"]}


def _growth(basis: str, form: str) -> tuple[float, float, float]:
    _, rows = _record()
    reference = rows["shipped", "float32"]["block_nats"]
    return perplexity_growth(rows[basis, form]["block_nats"], reference)


def _tokens(record: dict[str, Any]) -> int:
    """Tokens that were expected."""
    return int(record["text"]["passages"]) * (int(record["text"]["places"]) - 1)


def _changed_percent(basis: str, form: str) -> float:
    record, rows = _record()
    return 100 * float(rows[basis, form]["changed"]) / _tokens(record)


def _percent(growth: tuple[float, float, float]) -> str:
    """A growth in percent, as a table cell, with as many digits as its interval leaves."""
    decimals = 1 if growth[2] - growth[1] > 0.01 else 2
    return f"{100 * growth[0]:+.{decimals}f}".replace("-", "−")


def _table() -> str:
    """Rows of the page's table: format, bits, what perplexity grows by and which share of the
    likeliest tokens changes; then the growth where products are computed in the format too."""
    _, rows = _record()
    lines = []
    for form, products in SHORT:
        bits, changed = rows["rescaled", form]["bits"], _changed_percent("rescaled", form)
        growth, both = (_percent(_growth("rescaled", f)) if f else "" for f in (form, products))
        lines.append(f"{form} | {bits:.2f} | {growth} | {changed:.0f} | {both}")
    return " |\n| ".join(lines)


def _engine_nats(file: str) -> list[float]:
    (found,) = [row["block_nats"] for row in _record()[0]["engine"] if row["file"] == file]
    return list(found)


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the two records; growth of perplexity in percent."""
    record, rows = _record()
    speed = read_record("language_speed")
    reference = rows["shipped", "float32"]["block_nats"]
    q41, q40, q80 = (
        100 * perplexity_growth(_engine_nats(file), reference)[0] for file in FILES[:0:-1]
    )
    return SimpleNamespace(
        language_tokens=_tokens(record),
        language_rows=_table(),
        language_q41_engine=q41,
        language_q40_engine=q40,
        language_q80_engine=q80,
        language_wall_percent=100 * (speed["rules"]["wall_over_cpu"] - 1),  # at most, in a round
    )


def figure_language_formats(figure: Figure) -> None:
    """In eight bits the model reads its text nearly as before; in four, the scales decide how much
    it loses.

    Growth of perplexity with 95% intervals. The file is in four bits already, so its weights are
    first moved off that grid: channels are rescaled, as in the table, or rotated, which is meant
    for products and makes weights lose more.

    Alt: Dot plot with a row for each of thirteen formats, from eight bits at the top to four at the
    bottom, and growth of perplexity in percent along the axis, linear up to 1 and logarithmic
    beyond. The rows of eight bits lie between zero and five; those of four bits spread over a
    decade, with one scale an output farthest to the right and the diamonds right of the circles.
    """
    _, rows = _record()
    figure.set_size_inches(5.8, 4.2)
    axes = figure.subplots()
    forms = TABLE[2:]
    for basis, shift, marker, colour, side in (
        ("rescaled", -0.13, "o", "C0", "right"),
        ("rotated", 0.13, "D", "C1", "left"),
    ):
        growths = 100 * np.array([_growth(basis, form) for form in forms])
        places = np.arange(len(forms)) + shift
        errors = np.abs(growths[:, 1:] - growths[:, :1]).T
        axes.errorbar(growths[:, 0], places, xerr=errors, fmt=marker, color=colour, markersize=4)
        last = growths[-1, 1] / 1.2 if side == "right" else growths[-1, 2] * 1.2
        axes.annotate(basis, (last, places[-1]), color=colour, ha=side, va="center")
    labels = [f"{form}: {rows['rescaled', form]['bits']:.2f}" for form in forms]
    axes.set_yticks(range(len(forms)), labels)
    axes.invert_yaxis()
    axes.axvline(0, color="0.5", linewidth=0.8)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xticks([-1, 0, 1, 10, 100], ["−1", "0", "1", "10", "100"])
    axes.set(xlabel="growth of perplexity [%]", ylabel="format [bits per weight]")
    axes.set_xlim(-1, 700)


def check_the_function_is_kept() -> None:
    """Rescaled or rotated, the model keeps its losses; half precision changes no block of the text
    by more than two hundredths of a nat.

    Source: the record; the losses of the weights as shipped, in single precision.
    """
    _, rows = _record()
    reference = np.array(rows["shipped", "float32"]["block_nats"])
    for basis, form, most in (
        ("rescaled", "float32", 0.001),
        ("rotated", "float32", 0.001),
        ("rescaled", "float16", 0.02),
    ):
        got = np.array(rows[basis, form]["block_nats"])
        checks.close(f"{basis}, {form}: losses", got, reference, atol=most, kind="measured")


def check_eight_bits_are_enough() -> None:
    """Whole numbers of eight bits with a scale per output cost less than two percent of perplexity,
    and every format of four bits changes more tokens than they do.

    Source: the record, both bases.
    """
    for basis in ("rescaled", "rotated"):
        growth = 100 * _growth(basis, "int8, per output")[0]
        checks.inside(f"{basis}: int8 [%]", growth, -1.0, 2.0)
        eight = _changed_percent(basis, "int8, per output")
        four = min(_changed_percent(basis, form) for form in TABLE[7:])
        label = f"{basis}: changed in four bits over eight"
        checks.holds(label, four > eight, got=four / eight)


def check_rotation_helps_activations_alone() -> None:
    """With the stream rotated, weights of four bits lose more in every format, and products in
    whole numbers of eight bits lose less.

    Source: the record, both bases.
    """
    forms = TABLE[7:]
    pairs = [[_growth(basis, form)[0] for basis in ("rescaled", "rotated")] for form in forms]
    more = all(rescaled < rotated for rescaled, rotated in pairs)
    checks.holds("weights of four bits lose more", more, got=pairs)
    plain, turned = (_growth(basis, "int8 products")[0] for basis in ("rescaled", "rotated"))
    checks.holds("int8 products lose less", turned < plain, got=(turned, plain))


def check_small_blocks_lose_less() -> None:
    """In four bits, a scale for 32 weights loses less than one for 192, which loses less than one
    for each output.

    Source: the record, both bases; the order of the noise on Gaussian weights.
    """
    for basis in ("rescaled", "rotated"):
        forms = ("int4, per output", "int4, blocks of 192", "int4, blocks of 32")
        growth = [_growth(basis, form)[0] for form in forms]
        falls = growth[0] > growth[1] > growth[2]
        checks.holds(f"{basis}: growth falls", falls, got=growth)


def check_the_engine_rounds_the_smallest_value() -> None:
    """The engine reads a Q4_1 file as if its zero points were whole, and the other files as the
    weights that they stand for.

    Source: the record; losses of the engine against those of numpy with both weights.
    """
    _, rows = _record()
    grows = [float(np.mean(_engine_nats(file))) for file in FILES[1:]]
    checks.holds("Q8_0 loses least, Q4_1 no less than Q4_0", grows == sorted(grows), got=grows)
    for file in FILES:
        engine = np.array(_engine_nats(file))
        exact = np.array(rows["file", file]["block_nats"])
        apart = float(np.abs(engine - exact).mean())
        if file != "Q4_1":
            checks.inside(f"{file}: engine from numpy [nats]", apart, 0, 0.1, kind="measured")
            continue
        whole = np.array(rows["file", "Q4_1, whole minimum"]["block_nats"])
        ratio = float(np.abs(engine - whole).mean()) / apart
        checks.inside("Q4_1: from whole zero points over exact", ratio, 0, 0.8)


def check_growth_by_hand() -> None:
    """A difference that alternates between 0 and 0.2 nats has a mean of 0.1, and the interval of
    Student's t over the ten tenths.

    Source: s = 0.2·√(10/36), t of nine degrees of freedom, by hand.
    """
    nats = 3 + 0.2 * (np.arange(10) % 2)
    half = 2.2621571628 * 0.2 * math.sqrt(10 / 36) / math.sqrt(10)
    expected = [math.expm1(value) for value in (0.1, 0.1 - half, 0.1 + half)]
    got = np.array(perplexity_growth(nats, np.full(10, 3.0)))
    checks.close("growth and ends", got, np.array(expected), atol=1e-9)
