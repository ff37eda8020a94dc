"""The measurement at a small scale with the real engine, and its rules. Its speed is
kept, of a clock that a test made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from serving_mathematics.engine import language_measurement as measurement
from serving_mathematics.engine.engine_measurement import NotQuiet
from serving_mathematics.engine.gguf_file import GgufFile, Tensor, encoded, read_gguf, write_gguf
from serving_mathematics.engine.language_measurement import FILES, main, refused, whole_minimum
from serving_mathematics.engine.token_engine import model_path

from ..profiles import its_turn

SOME = ("Q8_0", "Q4_1")


@pytest.fixture(scope="module", autouse=True)
def small(small_model: Path) -> Iterator[None]:
    """Two layers of thirty, two files of four, few tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "model_path", lambda: small_model)
        patch.setattr(measurement, "FILES", SOME)
        patch.setattr(measurement, "PLACES", 17)
        patch.setattr(measurement, "BLOCK", 8)
        yield


@its_turn(1)
def test_quality_of_a_few_formats() -> None:
    names = ["int8, per output", "MXFP4 products"]
    record = measurement._measure_quality(1, names)
    rows = {(row["basis"], row["format"]): row for row in record["rows"]}
    assert set(rows) == {
        *((basis, "float32") for basis in ("shipped", "rescaled", "rotated")),
        *((basis, name) for basis in ("rescaled", "rotated") for name in names),
        ("shipped", "int8, per output"),
        *(("file", kind) for kind in (*SOME, "Q4_1, whole minimum")),
    }
    reference = np.array(rows["shipped", "float32"]["block_nats"])
    assert reference.shape == (2,)
    for basis in ("rescaled", "rotated"):
        assert rows[basis, "float32"]["block_nats"] == pytest.approx(reference, abs=1e-3)
        assert rows[basis, "int8, per output"]["sqnr_db"] > 35
        assert rows[basis, "MXFP4 products"]["sqnr_db"] < 25
    assert rows["file", "Q4_1"]["block_nats"] == pytest.approx(reference, abs=1e-4)
    assert rows["file", "Q4_1, whole minimum"]["block_nats"] != pytest.approx(reference, abs=0.01)
    engine = {row["file"]: row["block_nats"] for row in record["engine"]}
    assert engine["Q8_0"] == pytest.approx(reference, abs=0.3)
    assert list(record["bytes"]) == list(SOME)
    json.dumps(record, allow_nan=False)


def test_a_busy_machine_ends_the_measurement(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def busy(*_: Any) -> dict[str, Any]:
        raise NotQuiet("busy")

    monkeypatch.setattr(measurement, "_measure_speed", busy)
    assert main(["speed", "--folder", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "busy\n"
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(measurement, "_measure_quality", lambda most: {"passages": most})
    assert main(["quality", "--passages", "3", "--folder", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "language_quality.json").read_text()) == {"passages": 3}
    assert main(["weights", "--folder", str(tmp_path)]) == 0
    kept = json.loads((tmp_path / "language_weights.json").read_text())
    shipped = read_gguf(measurement.model_path()).tensors[kept["matrix"]].values()[0]
    ratios = np.abs(np.array(kept["weights"]) / np.where(shipped == 0, np.inf, shipped))
    factors = ratios[np.abs(shipped) > 0.01]
    assert 1 / 1.26 < factors.min() < 0.9
    assert 1.1 < factors.max() < 1.26


def test_rounds_are_refused_from_both_sides() -> None:
    assert not refused([1.0, 1.05])
    assert refused([1.051, 1.0])


def test_whole_minimum_is_that_of_loops() -> None:
    rng = np.random.default_rng(2)
    x = (rng.normal(size=(3, 64)) + 0.2).astype(np.float32)
    tensor = Tensor((3, 64), "Q4_1", encoded(x, "Q4_1"))
    got = whole_minimum(tensor)
    assert got.shape == (3, 64)
    for block, back in zip(tensor.raw.reshape(-1, 20), got.reshape(-1, 32), strict=True):
        scale, least = (float(v) for v in block[:4].copy().view(np.float16))
        zero = np.floor(-least / scale + 0.5)
        codes = [*(block[4:] & 15), *(block[4:] >> 4)]
        assert back == pytest.approx([scale * (code - zero) for code in codes], abs=1e-6)
    with pytest.raises(ValueError, match="tensor must be of the kind Q4_1, got Q8_0"):
        whole_minimum(Tensor((1, 32), "Q8_0", encoded(x[0, :32], "Q8_0")))


def test_the_text_has_its_passages() -> None:
    passages = measurement.TEXT.read_text(encoding="utf-8").strip().split("\n\n")
    assert len(passages) == 12
    assert all(2500 < len(passage) < 3200 for passage in passages)


def test_no_zero_point_of_the_shipped_file_is_beyond_four_bits() -> None:
    file = read_gguf(model_path())
    halves = file.tensors["blk.3.ffn_up.weight"].raw.reshape(-1, 20)[:, :4].copy().view(np.float16)
    scale, least = halves.astype(float).T
    zero = np.floor(-least / scale + 0.5)
    assert zero.min() >= 0
    assert zero.max() <= 15


def test_files_have_the_kinds_that_they_are_named_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(measurement, "FILES", FILES)
    x = np.random.default_rng(3).normal(size=(4, 32))
    kinds = {
        "token_embd.weight": "Q8_0",
        "blk.0.ffn_up.weight": "Q4_1",
        "output_norm.weight": "F32",
    }
    tensors = {name: Tensor((4, 32), kind, encoded(x, kind)) for name, kind in kinds.items()}
    write_gguf(tmp_path / "shipped", GgufFile({}, {}, bytes(8)), tensors)
    with measurement._files_of(read_gguf(tmp_path / "shipped"), tmp_path / "shipped") as paths:
        assert list(paths) == list(FILES)
        assert paths["Q4_1"] == tmp_path / "shipped"
        for kind, path in paths.items():
            found = {name: t.kind for name, t in read_gguf(path).tensors.items()}
            head = "F16" if kind == "F16" else "Q8_0"
            assert list(found.values()) == [head, kind, "F32"]
    assert not paths["F16"].exists()
