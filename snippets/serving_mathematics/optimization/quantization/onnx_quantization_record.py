"""The recorded measurement of quantized ONNX models, and what the arithmetic predicts of it.

Files shrink by the bits of a weight. Errors add up over layers: each of n layers whose weights have
a signal-to-noise ratio q adds its share, so that 10·log₁₀ n dB are lost. Time falls with the bytes
of the weights as long as reading them is what takes the time, in small batches.

Assumes: independent errors of the layers; activations err much less than weights of four bits.

Source: measurement, made by `python -m
serving_mathematics.optimization.quantization.onnx_quantization_measurement`.
"""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.optimization.quantization.bits_and_noise import bits_per_weight, sqnr_db
from serving_mathematics.optimization.quantization.paired_accuracy import paired_change
from serving_mathematics.optimization.quantization.quantization import quantize
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import require_finite, require_positive_integer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FLOAT, FOUND, CALIBRATED, FOUR = "float32", "int8, ranges found", "int8, calibrated", "int4 weights"


def chained_sqnr_db(layer_db: float, layers: int) -> float:
    """SQNR [dB] after layers that each add the same share of noise, q − 10·log₁₀ n.

    layer_db: q, of the weights of one layer, finite. layers: n, a positive integer. Raises
    ValueError outside these ranges.

    >>> chained_sqnr_db(30.0, layers=10)
    20.0
    """
    layer_db = require_finite(layer_db=layer_db)
    layers = require_positive_integer(layers=layers)
    return layer_db - 10 * math.log10(layers)


def _parts() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The record, and its digit readers and perceptrons by name of the model."""
    record = read_record("onnx_quantization")
    digits = {row["model"]: row for row in record["digits"]}
    return record, digits, {row["model"]: row for row in record["perceptron"]}


def _times(row: dict[str, Any]) -> npt.NDArray[np.float64]:
    """Batch, median and quartiles [ms] of a model, shape (4, batches)."""
    cells = [(t["batch"], t["median_ms"], *t["quartiles_ms"]) for t in row["times"]]
    return np.array(cells, dtype=float).T


def _weights(record: dict[str, Any]) -> int:
    """Weights of the large perceptron."""
    return sum(a * b for a, b in itertools.pairwise(record["asked"]["widths"]))


def _cells(row: dict[str, Any]) -> str:
    """Right answers, lost and gained ones, bytes, and microseconds per image, as table cells."""
    change = paired_change(row["lost"], row["gained"], row["images"])
    text = f"{100 * change.share:+.2f} ({100 * change.low:+.2f} to {100 * change.high:+.2f})"
    time_us = 1000 * float(_times(row)[1, 0])
    return f"{row['right']} | {text.replace('-', '−')} | {row['bytes']:,} | {time_us:.1f}"


def _speedup(name: str, batch: int) -> float:
    """Median time of the original over that of a model, at one batch size."""
    rows = _parts()[2]
    original, other = _times(rows[FLOAT]), _times(rows[name])
    at = int(np.flatnonzero(original[0] == batch)[0])
    return float(original[1, at] / other[1, at])


def _digits_ratio(name: str) -> float:
    """Median time of a model of the digits over that of the original, for one image."""
    rows = _parts()[1]
    return float(_times(rows[name])[1, 0] / _times(rows[FLOAT])[1, 0])


def _predicted_db() -> float:
    """SQNR [dB] that Gaussian weights of four bits in groups promise after all layers."""
    asked = _parts()[0]["asked"]
    rows = np.random.default_rng(1).normal(size=(1000, asked["group"]))
    layer = sqnr_db(rows, quantize(rows, 4, axis=1).values())
    return chained_sqnr_db(layer, len(asked["widths"]) - 1)


def example() -> SimpleNamespace:
    """Numbers quoted in the text, all from the record; times in ms, sizes in MB, ratios in dB."""
    record, digits, large = _parts()
    return SimpleNamespace(
        digits_float=_cells(digits[FLOAT]),
        digits_found=_cells(digits[FOUND]),
        digits_calibrated=_cells(digits[CALIBRATED]),
        digits_four=_cells(digits[FOUR]),
        perceptron_millions=_weights(record) / 1e6,
        float_mb=large[FLOAT]["bytes"] / 1e6,
        int8_mb=large[FOUND]["bytes"] / 1e6,
        int4_mb=large[FOUR]["bytes"] / 1e6,
        float_single_ms=float(_times(large[FLOAT])[1, 0]),
        int8_single_ms=float(_times(large[FOUND])[1, 0]),
        float_gb_per_s=large[FLOAT]["bytes"] / float(_times(large[FLOAT])[1, 0]) / 1e6,
        int8_gb_per_s=large[FOUND]["bytes"] / float(_times(large[FOUND])[1, 0]) / 1e6,
        digits_slower_percent=100 * (_digits_ratio(FOUND) - 1),
        int8_speedup_1=_speedup(FOUND, 1),
        int8_speedup_64=_speedup(FOUND, 64),
        int4_speedup_1=_speedup(FOUR, 1),
        int4_speedup_64=_speedup(FOUR, 64),
        int8_sqnr_db=large[FOUND]["sqnr_db"],
        int4_sqnr_db=large[FOUR]["sqnr_db"],
        int4_predicted_db=_predicted_db(),
        recorded_on=record["date"],
        recorded_runtime=record["versions"]["onnxruntime"],
        recorded_python=record["versions"]["python"],
        recorded_system=f"{record['machine']['system']} {record['machine']['architecture']}",
        recorded_instructions=" and ".join(record["machine"]["int8_instructions"]) or "none known",
    )


def figure_time_by_batch(figure: Figure) -> None:
    """Fewer bits help most where the weights are read for one request; four bits lose their
    advantage over eight as the batch grows.

    Median time of a batch through a perceptron of 6.3 million weights on one thread, with
    quartiles: 32 bits, eight bits for weights and activations, and four bits for the weights.

    Alt: Log-log chart of batch time in milliseconds against 1 to 128 rows. The 32-bit model takes
    about 0.8 ms for one row and rises slowly, then in proportion to the batch, to about 15 ms.
    The eight-bit model starts at about 0.12 ms and stays a factor of five to seven below. The
    four-bit model starts beside it and rises faster, to about half of the 32-bit model.
    """
    _, _, rows = _parts()
    axes = figure.subplots()
    for name, colour, text, side in (
        (FLOAT, "C0", "32 bits", 1.25),
        (FOUR, "C1", "4 bits, weights", 1.3),
        (FOUND, "C2", "8 bits", 0.62),
    ):
        batch, median, low, high = _times(rows[name])
        axes.errorbar(
            batch, median, (median - low, high - median), fmt="o-", color=colour, markersize=4
        )
        place = 3 if name != FOUR else 4
        axes.annotate(text, (batch[place], median[place] * side), color=colour, ha="right")
    axes.set(xscale="log", yscale="log", xlabel="batch [rows]", ylabel="batch time [ms]")
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64, 128], ["1", "2", "4", "8", "16", "32", "64", "128"])
    axes.minorticks_off()


def check_files() -> None:
    """The files have the bytes of their weights, scales and biases, and less than 1% besides.

    Source: the number of weights times 32, 8 and 4 bits, with 32-bit scales in groups for four.
    """
    record, _, rows = _parts()
    widths, group = record["asked"]["widths"], record["asked"]["group"]
    weights = _weights(record)
    four = bits_per_weight(4, [(32, group)])
    for name, bits in ((FLOAT, 32.0), (FOUND, 8.0), (FOUR, four)):
        expected = weights * bits / 8 + 4 * sum(widths[1:])
        checks.close(f"{name} [B]", rows[name]["bytes"], expected, rtol=0.01, kind="measured")


def check_errors_add_up_over_layers() -> None:
    """Four bits in three layers lose what three independent layers of Gaussian weights would.

    Source: the SQNR of 32,000 Gaussian weights in groups, less 10·log₁₀ 3, against the outputs
    that ONNX Runtime computed.
    """
    rows = _parts()[2]
    got = rows[FOUR]["sqnr_db"]
    checks.close("SQNR of the outputs [dB]", got, _predicted_db(), atol=0.5, kind="measured")


def check_answers() -> None:
    """In eight bits ONNX Runtime reads the digits as before, in four within the interval.

    Source: lost and gained answers of the record, on any machine.
    """
    _, digits, _ = _parts()
    for name in (FOUND, CALIBRATED):
        share = digits[name]["different"] / digits[name]["images"]
        checks.inside(f"{name}: read differently", share, 0.0, 0.01, kind="measured")
    right = digits[FLOAT]["right"]
    for name, row in digits.items():
        balance = right - row["lost"] + row["gained"]
        checks.equal(f"{name}: right", row["right"], balance, kind="measured")
    four = paired_change(digits[FOUR]["lost"], digits[FOUR]["gained"], digits[FOUR]["images"])
    checks.inside("int4: change", four.share, -0.02, 0.005, kind="measured")


def check_a_small_model_turns_the_order() -> None:
    """Eight bits are faster than 32 in a model of millions of weights and slower in one of a few
    thousand; the factor of four in bytes is not all of the gain, for the smaller file is read at
    more bytes a second.

    Source: medians in the record for one row; bytes of the files over these times.
    """
    large = _parts()[2]
    checks.inside("large: 32 over 8 bits", _speedup(FOUND, 1), 1.5, 20.0, kind="measured")
    checks.inside("digits: 8 over 32 bits", _digits_ratio(FOUND), 1.0, 3.0, kind="measured")
    rates = [large[name]["bytes"] / float(_times(large[name])[1, 0]) for name in (FLOAT, FOUND)]
    checks.inside(
        "8 bits: bytes a second over 32 bits", rates[1] / rates[0], 1.2, 5, kind="measured"
    )


def check_time_of_the_record() -> None:
    """On the machine of the record, eight and four bits are faster for one row, and four bits are
    slower than eight in every larger batch.

    Source: medians in the record.
    """
    batches = [int(batch) for batch in _times(_parts()[2][FLOAT])[0] if batch > 1]
    ahead = max(_speedup(FOUR, batch) / _speedup(FOUND, batch) for batch in batches)
    for name in (FOUND, FOUR):
        speedup = _speedup(name, 1)
        checks.holds(f"{name}, one row", speedup > 1, got=speedup, kind="measured")
    checks.holds("int4 over int8, larger batches", ahead < 1, got=ahead, kind="measured")


def check_bad_input_is_refused() -> None:
    """NaN and no layers name the argument."""
    checks.raises("NaN", chained_sqnr_db, math.nan, 1, match="layer_db must be finite")
    checks.raises("no layers", chained_sqnr_db, 20.0, 0, match="layers must be a positive integer")
