"""A language model of the Llama family in numpy: what it expects next, at every place of a text.

A layer adds to the stream of each token what its attention and its gated perceptron read from it:
x ← x + W_o·attention(W_q h, W_k h, W_v h), x ← x + W_d(silu(W_g h) ∘ W_u h), with h = g ∘ x/rms(x).
Queries and keys are turned by an angle that grows with the place; three heads of queries share
one of keys and values.

Two changes of the weights leave the function what it is. A channel may be multiplied by d where it
is read and divided by it where it is made: in the gains before a matrix, in W_v for W_o, in W_u for
W_d. And the whole stream may be turned by an orthogonal matrix R, x ← xR, because rms(xR) = rms(x),
once the gains are in the matrices.

Assumes: single precision; no biases; pairs of neighbours are turned, as GGUF files of this family
have them.

Source: Touvron et al. (2023), section 2.2; Su et al. (2021) for the angles; Ainslie et al. (2023)
for shared keys; Xiao et al. (2023) for factors, Ashkboos et al. (2024), section 3, for rotations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from serving_mathematics.engine.gguf_file import GgufFile
from serving_mathematics.support import checks
from serving_mathematics.support.require import as_numbers, require, require_in

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Rounding = Callable[[FloatArray], FloatArray]

MATRICES = (
    "attn_q",
    "attn_k",
    "attn_v",
    "attn_output",
    "ffn_gate",
    "ffn_up",
    "ffn_down",
)  # of a layer, as GGUF names them
PLACES = 128  # whose expectations are held at a time, 49,152 numbers each


@dataclass(frozen=True, eq=False)
class Llama:
    """Sizes and weights of a model.

    weights: by the names of GGUF, matrices of shape (outputs, inputs); `output.weight` may be
    missing, and then is the embedding.
    """

    layers: int
    heads: int
    kv_heads: int
    epsilon: float
    turn_base: float
    weights: Mapping[str, FloatArray]

    @property
    def head(self) -> FloatArray:
        """The matrix that scores every token of the vocabulary."""
        return self.weights.get("output.weight", self.weights["token_embd.weight"])

    def matrices(self) -> list[str]:
        """Names of the matrices of the layers."""
        return [f"blk.{i}.{name}.weight" for i in range(self.layers) for name in MATRICES]


def llama_of(file: GgufFile) -> Llama:
    """The model of a file, its weights decoded to single precision. Raises ValueError when the file
    holds another architecture.

    file: as read.

    >>> facts = {f"llama.{name}": 0 for name in ("block_count", "rope.freq_base")}
    >>> facts |= {f"llama.attention.{name}": 0 for name in ("head_count", "head_count_kv")}
    >>> facts |= {"llama.attention.layer_norm_rms_epsilon": 1e-5, "general.architecture": "llama"}
    >>> llama_of(GgufFile(facts, {}, b"")).epsilon
    1e-05
    """
    facts = file.facts
    family = facts.get("general.architecture")
    require(family == "llama", "file", "of the llama architecture", family)
    return Llama(
        int(facts["llama.block_count"]),
        int(facts["llama.attention.head_count"]),
        int(facts["llama.attention.head_count_kv"]),
        float(facts["llama.attention.layer_norm_rms_epsilon"]),
        float(facts["llama.rope.freq_base"]),
        {name: tensor.values() for name, tensor in file.tensors.items()},
    )


def _normalized(x: FloatArray, epsilon: float) -> FloatArray:
    """Rows divided by their root mean square.

    x: shape (..., channels). epsilon: added to the mean square.

    >>> _normalized(np.array([[3.0, 4.0]], np.float32), 3.5).tolist()
    [[0.75, 1.0]]
    """
    return np.asarray(x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(epsilon)))


def _turned(x: FloatArray, base: float) -> FloatArray:
    """Pairs of neighbouring channels turned by place/base^(pair/pairs).

    x: shape (..., places, channels), channels even. base: above 1.

    >>> _turned(np.array([[1, 0], [1, 0]], np.float32), 1e4).astype(float).round(4).tolist()
    [[1.0, 0.0], [0.5403, 0.8415]]
    """
    places, channels = x.shape[-2:]
    pairs = np.arange(channels // 2) / (channels // 2)
    angles = np.arange(places)[:, None] * base**-pairs
    cosine, sine = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
    even, odd = x[..., 0::2], x[..., 1::2]
    pair = (even * cosine - odd * sine, even * sine + odd * cosine)
    return np.stack(pair, axis=-1).reshape(x.shape)


def _final_states(model: Llama, tokens: IntArray, rounding: Rounding | None) -> FloatArray:
    """What the head reads of every token: the stream after the last layer, normalized, times its
    gain, shape (texts, places, channels)."""
    texts, places = tokens.shape
    w, kept = model.weights, rounding or (lambda rows: rows)
    x = w["token_embd.weight"][tokens].reshape(texts * places, -1)
    width = x.shape[1] // model.heads
    hidden = np.triu(np.full((places, places), -np.inf, np.float32), 1)

    def split(rows: FloatArray, heads: int) -> FloatArray:
        return rows.reshape(texts, places, heads, width).transpose(0, 2, 1, 3)

    for i in range(model.layers):
        q, k, v, o, gate, up, down = (w[f"blk.{i}.{name}.weight"] for name in MATRICES)
        h = kept(_normalized(x, model.epsilon) * w[f"blk.{i}.attn_norm.weight"])
        queries = _turned(split(h @ q.T, model.heads), model.turn_base) / np.float32(width**0.5)
        keys = _turned(split(h @ k.T, model.kv_heads), model.turn_base)
        values = split(h @ v.T, model.kv_heads)
        shared = model.heads // model.kv_heads
        queries = queries.reshape(texts, model.kv_heads, shared, places, width)
        scores = queries @ keys[:, :, None].transpose(0, 1, 2, 4, 3) + hidden
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        read = (scores / scores.sum(axis=-1, keepdims=True)) @ values[:, :, None]
        read = read.reshape(texts, model.heads, places, width).transpose(0, 2, 1, 3)
        x = x + kept(read.reshape(texts * places, -1)) @ o.T
        h = kept(_normalized(x, model.epsilon) * w[f"blk.{i}.ffn_norm.weight"])
        opened = h @ gate.T
        opened = opened / (1 + np.exp(-opened)) * (h @ up.T)
        x = x + kept(opened) @ down.T
    x = _normalized(x, model.epsilon) * w["output_norm.weight"]
    return x.reshape(texts, places, -1)


def expectations(
    model: Llama, tokens: npt.ArrayLike, rounding: Rounding | None = None
) -> tuple[FloatArray, IntArray]:
    """What a model makes of texts: the loss of every token but the first, and what it expected.

    tokens: numbers of the vocabulary, shape (texts, places), two places or more; texts do not see
    each other. rounding: of what each matrix of a layer reads, rows of shape (n, inputs). Returns
    −ln p of tokens 2, 3, ... [nats] and the likeliest token in each of these places, both of shape
    (texts, places − 1). Raises ValueError on other tokens.

    >>> weights = {"token_embd.weight": np.eye(2), "output_norm.weight": np.ones(2)}
    >>> loss, likeliest = expectations(Llama(0, 1, 1, 0.0, 1e4, weights), [[0, 0, 1]])
    >>> np.round(loss.astype(float), 3).tolist()  # ln(1 + e^−√2), and √2 more
    [[0.218, 1.632]]
    """
    tokens = as_numbers(tokens=tokens)
    t = np.asarray(tokens)
    fits = t.ndim == 2 and t.shape[1] > 1 and t.size > 0 and np.issubdtype(t.dtype, np.integer)
    known = fits and t.min() >= 0 and t.max() < len(model.head)
    require(known, "tokens", "rows of two or more numbers of the vocabulary", t)
    states = _final_states(model, t, rounding)[:, :-1]
    rows, due = states.reshape(-1, states.shape[-1]), t[:, 1:].ravel()
    loss, likeliest = np.empty(len(rows), np.float32), np.empty(len(rows), np.int64)
    for at in range(0, len(rows), PLACES):
        part = slice(at, at + PLACES)
        scores = rows[part] @ model.head.T
        most = scores.max(axis=1)
        told = np.log(np.exp(scores - most[:, None]).sum(axis=1)) + most
        loss[part] = told - np.take_along_axis(scores, due[part, None], axis=1)[:, 0]
        likeliest[part] = scores.argmax(axis=1)
    return loss.reshape(t[:, 1:].shape), likeliest.reshape(t[:, 1:].shape)


def rescaled(model: Llama, factor: float, rng: np.random.Generator) -> Llama:
    """The same function with other weights: every channel that a matrix reads multiplied by a
    random number, and divided by it where it is made.

    factor: random numbers are log-uniform from 1/factor to factor, in (1, 4]. rng: random numbers.
    Raises ValueError on another factor.

    >>> weights = {"token_embd.weight": np.eye(2), "output_norm.weight": np.ones(2)}
    >>> bare = Llama(0, 1, 1, 0.0, 1e4, weights)
    >>> same = rescaled(bare, 1.25, np.random.default_rng(0)).weights  # nothing to rescale
    >>> same == weights
    True
    """
    factor = require_in("(1, 4]", factor=factor)
    weights = dict(model.weights)

    def random(size: int) -> FloatArray:
        return np.asarray(factor ** rng.uniform(-1, 1, size), dtype=np.float32)

    shared = model.heads // model.kv_heads
    for i in range(model.layers):
        names = {name: f"blk.{i}.{name}.weight" for name in (*MATRICES, "attn_norm", "ffn_norm")}
        for gain, readers in (
            ("attn_norm", MATRICES[:3]),
            ("ffn_norm", ("ffn_gate", "ffn_up")),
        ):
            d = random(len(weights[names[gain]]))
            weights[names[gain]] = weights[names[gain]] / d
            for reader in readers:
                weights[names[reader]] = weights[names[reader]] * d
        d = random(len(weights[names["attn_v"]]))
        weights[names["attn_v"]] = weights[names["attn_v"]] / d[:, None]
        each = np.repeat(d.reshape(model.kv_heads, 1, -1), shared, axis=1)
        weights[names["attn_output"]] = weights[names["attn_output"]] * each.ravel()
        d = random(len(weights[names["ffn_up"]]))
        weights[names["ffn_up"]] = weights[names["ffn_up"]] / d[:, None]
        weights[names["ffn_down"]] = weights[names["ffn_down"]] * d
    return replace(model, weights=weights)


def rotated(model: Llama, rng: np.random.Generator) -> Llama:
    """The same function with the stream turned by a random orthogonal matrix, gains absorbed.

    rng: random numbers. The head is no longer the embedding.

    >>> weights = {"token_embd.weight": 2 * np.eye(2), "output_norm.weight": np.ones(2)}
    >>> turned = rotated(Llama(0, 1, 1, 0.0, 1e4, weights), np.random.default_rng(0))
    >>> np.linalg.norm(turned.head, axis=1).round(5).tolist()  # as long as before
    [2.0, 2.0]
    """
    weights = dict(model.weights)
    channels = weights["token_embd.weight"].shape[1]
    turn, corner = np.linalg.qr(rng.normal(size=(channels, channels)))
    turn = (turn * np.sign(np.diag(corner))).astype(np.float32)  # uniform over rotations
    ones = np.ones(channels, np.float32)
    for i in range(model.layers):
        names = {name: f"blk.{i}.{name}.weight" for name in (*MATRICES, "attn_norm", "ffn_norm")}
        for gain, readers in (
            ("attn_norm", MATRICES[:3]),
            ("ffn_norm", ("ffn_gate", "ffn_up")),
        ):
            for reader in readers:
                weights[names[reader]] = (weights[names[reader]] * weights[names[gain]]) @ turn
            weights[names[gain]] = ones
        for writer in ("attn_output", "ffn_down"):
            weights[names[writer]] = turn.T @ weights[names[writer]]
    weights["output.weight"] = (model.head * weights["output_norm.weight"]) @ turn
    weights["output_norm.weight"] = ones
    weights["token_embd.weight"] = weights["token_embd.weight"] @ turn
    return replace(model, weights=weights)


def _random_llama(rng: np.random.Generator) -> Llama:
    """Two layers of random weights: four heads of eight channels, 50 tokens."""
    shapes = {"token_embd": (50, 32), "output_norm": (32,)}
    for i in range(2):
        sizes = (32, 16, 16, 32, 64, 64, 32), (32, 32, 32, 32, 32, 32, 64)
        shapes |= {
            f"blk.{i}.{name}": (outputs, inputs)
            for name, outputs, inputs in zip(MATRICES, *sizes, strict=True)
        }
        shapes |= {f"blk.{i}.{name}": (32,) for name in ("attn_norm", "ffn_norm")}
    weights = {
        f"{name}.weight": np.asarray(
            rng.normal(size=shape) / shape[-1] ** 0.5
            if len(shape) == 2
            else rng.uniform(0.5, 2, shape),
            dtype=np.float32,
        )
        for name, shape in shapes.items()
    }
    return Llama(2, 4, 2, 1e-5, 1e4, weights)


def check_the_function_stays() -> None:
    """Rescaled channels and a rotated stream change every weight of the matrices, and no loss.

    Source: the losses of the first weights, a random model in single precision.
    """
    model = _random_llama(np.random.default_rng(1))
    tokens = np.random.default_rng(2).integers(0, 50, (3, 20))
    expected, _ = expectations(model, tokens)
    for name, other in (
        ("rescaled", rescaled(model, 1.25, np.random.default_rng(3))),
        ("rotated", rotated(model, np.random.default_rng(4))),
    ):
        same = sum(int((other.weights[m] == model.weights[m]).sum()) for m in model.matrices())
        checks.equal(f"{name}: weights that stayed", same, 0)
        checks.close(f"{name}: losses", expectations(other, tokens)[0], expected, atol=2e-5)


def check_no_place_sees_what_follows() -> None:
    """What comes later, and other texts, do not change the loss of a token; what came before does.

    Source: the same tokens with one changed.
    """
    model = _random_llama(np.random.default_rng(5))
    tokens = np.random.default_rng(6).integers(0, 50, (2, 12))
    before, _ = expectations(model, tokens)
    tokens[0, 6] = (tokens[0, 6] + 1) % 50
    after, _ = expectations(model, tokens)
    checks.close("earlier places", after[0, :5], before[0, :5], atol=0, rtol=1e-6)
    checks.close("the other text", after[1], before[1], atol=0, rtol=1e-6)
    moved = float(np.abs(after[0, 6:] - before[0, 6:]).min())
    checks.holds("every later place moves", moved > 1e-6, got=moved)


def check_bad_input_is_refused() -> None:
    """Unknown tokens, single places and wild factors are errors that name the argument."""
    model = _random_llama(np.random.default_rng(7))
    for name, tokens in (("unknown", [[1, 50]]), ("negative", [[-1, 1]]), ("single", [[1]])):
        checks.raises(name, expectations, model, tokens, match="tokens must be rows of two or more")
    rng = np.random.default_rng(8)
    checks.raises("factor", rescaled, model, 1.0, rng, match="factor must be in (1, 4], got 1.0")
    other = GgufFile({"general.architecture": "gpt2"}, {}, b"")
    checks.raises("family", llama_of, other, match="file must be of the llama architecture")
