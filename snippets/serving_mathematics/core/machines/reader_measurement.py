"""How long a reader of lines of text takes for a batch of them, on one core of a processor.

The model that reads lines in RapidOCR (PP-OCRv4, 10.9 MB, Apache-2.0) is taken out of its wheel and
run by ONNX Runtime on one thread, in rounds over all batch sizes in a new random order each.

    pip download --no-deps --python-version 3.12 --only-binary=:all: rapidocr-onnxruntime==1.4.4
    python -m serving_mathematics.core.machines.reader_measurement rapidocr_onnxruntime-*.whl

writes records/reader_batches.json in a few minutes. Kept is processor time, which others on the
machine do not lengthen by taking turns; on a quiet machine it is the time that passes. What a line
says does not matter to the time, its width does: all are 320 pixels.

Assumes: nothing of the machine; the times hold for the one that the record names.

Source: measurement; RapidOCR 1.4.4 on PyPI; ONNX Runtime's Python API.
"""

from __future__ import annotations

import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.support.measuring import provenance, write_record
from serving_mathematics.support.require import require, require_positive_integer
from serving_mathematics.support.telemetry import switch_off_telemetry

RECORD = "reader_batches"
COMMAND = "python -m serving_mathematics.core.machines.reader_measurement WHEEL"
MODEL = "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"
LINE = (3, 48, 320)  # colours, height, width of an image of a line
BATCHES = (1, 2, 3, 4, 6, 8)
ROUNDS = 40

FloatArray = npt.NDArray[np.float64]


def processor_times_s(
    run: Callable[[int], object], batches: Sequence[int], rounds: int, rng: np.random.Generator
) -> FloatArray:
    """Processor time [s] of every batch size in every round, shape (rounds, sizes).

    run: does the work of a batch of so many. batches: sizes. rounds: repetitions, each in a new
    random order, after one that is not counted. Raises ValueError on sizes or rounds below 1.

    >>> times = processor_times_s(range, [1, 2], rounds=3, rng=np.random.default_rng(0))
    >>> times.shape
    (3, 2)
    """
    require(len(batches) > 0 and min(batches) >= 1, "batches", "positive integers", batches)
    rounds = require_positive_integer(rounds=rounds)
    times = np.zeros((rounds + 1, len(batches)))
    for row in times:
        for place in rng.permutation(len(batches)):
            started = time.process_time()
            run(batches[place])
            row[place] = time.process_time() - started
    return times[1:]


def _measure(wheel: Path) -> dict[str, Any]:
    """The whole record."""
    switch_off_telemetry()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        zipfile.ZipFile(wheel).read(MODEL), options, providers=["CPUExecutionProvider"]
    )
    name = session.get_inputs()[0].name
    rng = np.random.default_rng(4)
    lines = rng.normal(size=(max(BATCHES), *LINE)).astype(np.float32)
    times = processor_times_s(
        lambda batch: session.run(None, {name: lines[:batch]}), BATCHES, ROUNDS, rng
    )
    return {
        **provenance(COMMAND, ("numpy", "onnxruntime")),
        "what": "processor time of batches of lines of text, one thread, one value a round",
        "source": "PP-OCRv4, text recognition, of rapidocr-onnxruntime 1.4.4 (Apache-2.0)",
        "line": LINE,
        "batches": BATCHES,
        "times_s": times.T.round(5).tolist(),
    }


def main(paths: Sequence[str]) -> int:
    """Measure and write the record."""
    require(len(paths) == 1, "paths", "one, of the wheel", len(paths))
    print(f"wrote {write_record(RECORD, _measure(Path(paths[0]))).name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
