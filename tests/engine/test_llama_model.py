"""The forward pass against one number at a time, and against the engine on a real model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from serving_mathematics.engine.gguf_file import GgufFile, Tensor, encoded, read_gguf, write_gguf
from serving_mathematics.engine.language_measurement import _engine_losses, whole_minimum
from serving_mathematics.engine.llama_model import (
    MATRICES,
    Llama,
    _random_llama,
    expectations,
    llama_of,
    rescaled,
    rotated,
)


def slow_losses(model: Llama, tokens: list[int]) -> list[float]:
    """The loss of every token but the first, by loops over places, heads and channels."""
    w = {name: value.astype(float) for name, value in model.weights.items()}
    width = 32 // model.heads

    def norm(x: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return x / math.sqrt(sum(v * v for v in x) / len(x) + model.epsilon) * gain

    def turn(x: np.ndarray, place: int) -> np.ndarray:
        out = x.copy()
        for pair in range(width // 2):
            angle = place * model.turn_base ** (-2 * pair / width)
            a, b = x[2 * pair], x[2 * pair + 1]
            out[2 * pair] = a * math.cos(angle) - b * math.sin(angle)
            out[2 * pair + 1] = a * math.sin(angle) + b * math.cos(angle)
        return out

    stream = [w["token_embd.weight"][token] for token in tokens]
    for i in range(model.layers):
        q, k, v, o, gate, up, down = (w[f"blk.{i}.{name}.weight"] for name in MATRICES)
        read = [norm(x, w[f"blk.{i}.attn_norm.weight"]) for x in stream]
        after = []
        for place, x in enumerate(stream):
            heads = []
            for head in range(model.heads):
                shared = head // (model.heads // model.kv_heads)
                mine = slice(head * width, (head + 1) * width)
                theirs = slice(shared * width, (shared + 1) * width)
                query = turn((q @ read[place])[mine], place)
                scores = [
                    math.exp(query @ turn((k @ read[p])[theirs], p) / math.sqrt(width))
                    for p in range(place + 1)
                ]
                mixed = sum(s * (v @ read[p])[theirs] for p, s in enumerate(scores))
                heads.append(mixed / sum(scores))
            after.append(x + o @ np.concatenate(heads))
        stream = []
        for x in after:
            h = norm(x, w[f"blk.{i}.ffn_norm.weight"])
            opened = [g / (1 + math.exp(-g)) * u for g, u in zip(gate @ h, up @ h, strict=True)]
            stream.append(x + down @ np.array(opened))
    losses = []
    for x, due in zip(stream, tokens[1:], strict=False):
        scores = w["token_embd.weight"] @ norm(x, w["output_norm.weight"])
        losses.append(math.log(sum(math.exp(s) for s in scores)) - scores[due])
    return losses


def test_losses_are_those_of_loops() -> None:
    model = _random_llama(np.random.default_rng(11))
    tokens = np.random.default_rng(12).integers(0, 50, (2, 9))
    loss, likeliest = expectations(model, tokens)
    for got, text in zip(loss.tolist(), tokens.tolist(), strict=True):
        assert got == pytest.approx(slow_losses(model, text), abs=2e-5)
    for place in (0, 4, 7):
        expected = int(likeliest[0, place])
        sure, _ = expectations(model, [[*tokens[0, : place + 1], expected]])
        for other in range(50):
            worse, _ = expectations(model, [[*tokens[0, : place + 1], other]])
            assert worse[0, -1] >= sure[0, -1]


def test_what_matrices_read_can_be_rounded() -> None:
    model = _random_llama(np.random.default_rng(13))
    tokens = np.random.default_rng(14).integers(0, 50, (1, 6))
    seen: list[tuple[int, ...]] = []

    def kept(rows: np.ndarray) -> np.ndarray:
        seen.append(rows.shape)
        return rows

    assert (expectations(model, tokens, kept)[0] == expectations(model, tokens)[0]).all()
    assert seen == [(6, 32), (6, 32), (6, 32), (6, 64)] * 2
    coarse, _ = expectations(model, tokens, lambda rows: np.round(rows))
    assert np.abs(coarse - expectations(model, tokens)[0]).max() > 1e-3


def test_rescaled_and_rotated_weights_are_what_they_say() -> None:
    model = _random_llama(np.random.default_rng(15))
    other = rescaled(model, 1.25, np.random.default_rng(16))
    ratio = other.weights["blk.1.attn_norm.weight"] / model.weights["blk.1.attn_norm.weight"]
    assert 1 / 1.25 <= ratio.min() < 0.9 < 1.1 < ratio.max() <= 1.25
    gate = other.weights["blk.1.ffn_gate.weight"] / model.weights["blk.1.ffn_gate.weight"]
    assert np.ptp(gate, axis=0).max() < 1e-6
    assert np.ptp(gate, axis=1).min() > 0.1
    turned = rotated(model, np.random.default_rng(17))
    for name in ("attn_norm", "ffn_norm"):
        assert (turned.weights[f"blk.0.{name}.weight"] == 1).all()
    assert np.linalg.norm(turned.weights["blk.0.ffn_down.weight"]) == pytest.approx(
        np.linalg.norm(model.weights["blk.0.ffn_down.weight"]), rel=1e-5
    )
    assert "output.weight" in turned.weights
    assert "output.weight" not in model.weights


def test_the_model_of_a_file() -> None:
    facts = {
        "general.architecture": "llama",
        "llama.block_count": 2,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.freq_base": 1e4,
    }
    made = _random_llama(np.random.default_rng(18))
    tensors = {n: Tensor(w.shape, "F32", encoded(w, "F32")) for n, w in made.weights.items()}
    read = llama_of(GgufFile(facts, tensors, b""))
    tokens = [[1, 2, 3, 4]]
    assert (expectations(read, tokens)[0] == expectations(made, tokens)[0]).all()


def test_the_engine_computes_the_same(small_model: Path, tmp_path: Path) -> None:
    """In 16 bits; of the shipped blocks it makes what `whole_minimum` says, which is not what they
    stand for."""
    file, tokens = read_gguf(small_model), np.array([[49, 157, 717, 837, 649, 690, 331] * 5])
    model = llama_of(file)
    assert model.layers == 2
    halves = {
        name: t if t.kind != "Q4_1" else Tensor(t.shape, "F16", encoded(t.values(), "F16"))
        for name, t in file.tensors.items()
    }
    write_gguf(tmp_path / "half.gguf", file, halves)
    exact, _ = expectations(model, tokens)
    assert _engine_losses(tmp_path / "half.gguf", tokens) == pytest.approx(exact, abs=0.3)
    weights = dict(model.weights)
    for name in model.matrices():
        weights[name] = whole_minimum(file.tensors[name])
    engines = _engine_losses(small_model, tokens)
    whole, _ = expectations(Llama(2, 9, 3, model.epsilon, model.turn_base, weights), tokens)
    assert np.abs(engines - whole).mean() < 0.33 * np.abs(engines - exact).mean()
