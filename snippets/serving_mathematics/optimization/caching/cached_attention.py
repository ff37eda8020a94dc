"""A decoder with a real KV cache: the same numbers, at a cost per token that hardly grows.

In a causal model the keys and values of a token depend only on the tokens before it, so they may be
kept. A step without the cache multiplies all n tokens with all weights, with it only one; what
still grows is the attention over n keys, 4·L·n_q·d_head·n operations, and a sliding window of W
bounds that too.

Assumes: two layers in numpy float32, grouped heads, rotary positions, no batch; operations are
counted from the shapes of the products that run, two per multiplication and addition.

Source: Shazeer (2019) and Ainslie et al. (2023) for shared keys and values, Jiang et al. (2023) for
the rolling window; what a cache must reproduce is the same model without one.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    as_numbers,
    require,
    require_in,
    require_non_negative_integer,
    require_positive_integer,
    require_work,
    widen_fields,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float32]

STEPS, PROMPT = 64, 16  # tokens generated and given in the worked numbers


@dataclass(frozen=True)
class Decoder:
    """Weights of a small language model, and how its attention shares and limits keys. Raises
    ValueError on matrices that do not fit each other or are not finite, and on numbers of heads
    that do not divide.

    >>> one = np.ones((2, 2), dtype=np.float32)
    >>> Decoder(np.ones((5, 2), np.float32), ((one,) * 6,), 1, 1).vocabulary
    5
    """

    embedding: Array  # (vocabulary, width), also the output matrix
    layers: tuple[tuple[Array, ...], ...]  # each: query, key, value, output, up, down
    query_heads: int
    kv_heads: int
    window: int = 0  # W, keys that a token attends to, itself included; 0 for all

    def __post_init__(self) -> None:
        """Refuse what is not a decoder."""
        widen_fields(self)
        table = np.ndim(self.embedding) == 2 and np.size(self.embedding) > 0
        require(table, "embedding", "of shape (vocabulary, width)", np.shape(self.embedding))
        for name in ("query_heads", "kv_heads"):
            heads = getattr(self, name)
            require(1 <= heads < math.inf and heads % 1 == 0, name, "a positive integer", heads)
        shares = self.query_heads % self.kv_heads == 0
        require(shares, "query_heads", "a multiple of kv_heads", self.query_heads)
        whole = 0 <= self.window < math.inf and self.window % 1 == 0
        require(whole, "window", "a non-negative integer", self.window)
        some = isinstance(self.layers, tuple) and len(self.layers) > 0
        require(some, "layers", "a tuple of one or more", self.layers)
        width = self.embedding.shape[1]
        for layer in self.layers:
            shapes = [np.shape(matrix) for matrix in layer]
            six = len(shapes) == 6 and all(len(shape) == 2 for shape in shapes)
            require(six, "layers", "of six matrices each", shapes)
            inner, shared, hidden = shapes[0][1], shapes[1][1], shapes[4][1]
            fitting = [(width, inner), (width, shared), (width, shared), (inner, width)]
            fitting += [(width, hidden), (hidden, width)]
            require(shapes == fitting, "layers", f"of shapes {fitting}", shapes)
            even = inner % (2 * self.query_heads) == 0
            require(even, "layers", "of heads with an even size", inner)
            ratio = inner * self.kv_heads == shared * self.query_heads
            require(ratio, "layers", "of query and key heads with one size", shapes)
        for name, matrices in (("embedding", (self.embedding,)), ("layers", sum(self.layers, ()))):
            finite = all(np.all(np.isfinite(matrix)) for matrix in matrices)
            require(finite, name, "finite", "NaN or infinite weights")

    @property
    def vocabulary(self) -> int:
        """Number of tokens."""
        return len(self.embedding)

    @property
    def head_dim(self) -> int:
        """Numbers per head."""
        return int(self.layers[0][1].shape[1]) // self.kv_heads


def random_decoder(
    rng: np.random.Generator,
    *,
    layers: int = 2,
    width: int = 64,
    query_heads: int = 8,
    kv_heads: int = 2,
    hidden: int = 256,
    vocabulary: int = 97,
    window: int = 0,
) -> Decoder:
    """A decoder with random weights of variance 1/fan-in.

    width: numbers per token between layers. query_heads: divides width into an even head size.
    kv_heads: divides query_heads. hidden: width inside the feed-forward block. window: W, 0 for
    none. Raises ValueError on sizes that are not positive integers or do not divide, and on more
    than 1000 layers.
    """
    layers, width, query_heads, hidden, vocabulary = as_number(
        layers=layers, width=width, query_heads=query_heads, hidden=hidden, vocabulary=vocabulary
    )
    sizes = {"layers": layers, "width": width, "query_heads": query_heads, "kv_heads": kv_heads}
    for name, size in (sizes | {"hidden": hidden, "vocabulary": vocabulary}).items():
        require(1 <= size < math.inf and size % 1 == 0, name, "a positive integer", size)
    require(layers <= 1000, "layers", "at most 1000", layers)
    window = require_non_negative_integer(window=window)
    require(width % (2 * query_heads) == 0, "width", "a multiple of 2·query_heads", width)
    weights = width * (width + hidden + vocabulary)
    require_work(weights, width=width, hidden=hidden, vocabulary=vocabulary)
    require(query_heads % kv_heads == 0, "query_heads", "a multiple of kv_heads", query_heads)
    shared = kv_heads * (width // query_heads)
    shapes = [(width, width), (width, shared), (width, shared), (width, width)]
    shapes += [(width, hidden), (hidden, width)]

    def matrix(rows: int, columns: int, scale: float) -> Array:
        return (rng.standard_normal((rows, columns)) * scale).astype(np.float32)

    return Decoder(
        matrix(vocabulary, width, width**-0.5),
        tuple(tuple(matrix(a, b, a**-0.5) for a, b in shapes) for _ in range(layers)),
        query_heads,
        kv_heads,
        window,
    )


class KVCache:
    """Keys and values of the tokens seen, in a fixed number of slots per layer.

    decoder: gives layers, KV heads, head size and window. slots: tokens it can hold; with a window
    no more than that, the newest overwriting the oldest. Raises ValueError when slots is not a
    positive integer.

    >>> one = np.ones((2, 2), dtype=np.float32)
    >>> cache = KVCache(Decoder(np.ones((5, 2), np.float32), ((one,) * 6,), 1, 1), slots=10)
    >>> cache.nbytes  # 2 × 1 layer × 10 slots × 1 head × 2 numbers × 4 bytes
    160
    """

    def __init__(self, decoder: Decoder, slots: int) -> None:
        """An empty cache."""
        slots = require_positive_integer(slots=slots)
        self.rolling = decoder.window > 0
        self.slots = min(int(slots), decoder.window) if self.rolling else int(slots)
        shape = (len(decoder.layers), self.slots, decoder.kv_heads, decoder.head_dim)
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self.length = 0  # tokens seen

    @property
    def nbytes(self) -> int:
        """Memory of both arrays [B]."""
        return self.keys.nbytes + self.values.nbytes

    def read(self, layer: int) -> tuple[Array, Array]:
        """Keys and values held by a layer, oldest first, each (held, kv_heads, head_dim)."""
        first = max(0, self.length - self.slots)
        places = np.arange(first, self.length) % self.slots
        return self.keys[layer, places], self.values[layer, places]

    def write(self, layer: int, keys: Array, values: Array) -> None:
        """Put new tokens behind those seen; `length` moves when all layers have written."""
        fits = self.rolling or self.length + len(keys) <= self.slots
        require(fits, "tokens", f"at most {self.slots} with this cache", self.length + len(keys))
        kept = min(len(keys), self.slots)
        places = np.arange(self.length + len(keys) - kept, self.length + len(keys)) % self.slots
        self.keys[layer, places], self.values[layer, places] = keys[-kept:], values[-kept:]


def _normal(x: Array) -> Array:
    """Rows scaled to a root mean square of 1."""
    return np.asarray(x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + np.float32(1e-6)))


def _turns(positions: npt.NDArray[np.int64], d: int) -> tuple[Array, Array]:
    """Cosine and sine (n, 1, d/2) of an angle per pair of numbers that grows with the position."""
    half = d // 2
    angles = positions[:, None, None] * 100.0 ** (-np.arange(half) / half)
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def _rotated(x: Array, cosine: Array, sine: Array) -> Array:
    """Heads (n, heads, d) with their pairs of numbers turned."""
    half = x.shape[-1] // 2
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cosine - b * sine, a * sine + b * cosine], axis=-1)


def forward(
    decoder: Decoder, tokens: npt.ArrayLike, cache: KVCache | None = None
) -> tuple[Array, int]:
    """Logits (n, vocabulary) of new tokens, and the operations that they took.

    tokens: integers in [0, vocabulary), shape (n,); with a cache, those that follow what it has
    seen, and the cache has seen them afterwards. Raises ValueError on other tokens, or when the
    cache is too small.

    >>> one = np.ones((2, 2), dtype=np.float32)
    >>> logits, operations = forward(Decoder(np.eye(2, dtype=np.float32), ((one,) * 6,), 1, 1), [0])
    >>> logits.shape, operations  # 2 × (6 matrices and the output) × 2 × 2, and twice 2 × 2
    ((1, 2), 64)
    """
    tokens = as_numbers(tokens=tokens)
    t = np.asarray(tokens)
    whole = t.ndim == 1 and t.size > 0 and np.issubdtype(t.dtype, np.integer)
    require(whole, "tokens", "a non-empty (n,) array of integers", t)
    known = np.all((t >= 0) & (t < decoder.vocabulary))
    require(known, "tokens", f"in [0, {decoder.vocabulary})", t)
    operations = 0

    def product(a: Array, b: Array) -> Array:
        nonlocal operations
        result = np.asarray(a @ b)
        operations += 2 * result.size * a.shape[-1]
        return result

    past = cache.length if cache else 0
    n, groups, d = t.size, decoder.query_heads // decoder.kv_heads, decoder.head_dim
    positions = np.arange(past, past + n)
    x, turns = decoder.embedding[t], _turns(positions, d)
    for layer, (query, key, value, output, up, down) in enumerate(decoder.layers):
        y = _normal(x)
        q = _rotated(product(y, query).reshape(n, decoder.query_heads, d), *turns)
        k = _rotated(product(y, key).reshape(n, decoder.kv_heads, d), *turns)
        v = product(y, value).reshape(n, decoder.kv_heads, d)
        if cache:
            old_keys, old_values = cache.read(layer)
            cache.write(layer, k, v)
            k, v = np.concatenate([old_keys, k]), np.concatenate([old_values, v])
        seen = np.arange(past + n - len(k), past + n)
        hidden = seen > positions[:, None]  # the future
        if decoder.window:
            hidden |= seen <= positions[:, None] - decoder.window
        heads = q.reshape(n, decoder.kv_heads, groups, d).transpose(1, 2, 0, 3)
        scores = product(heads, k.transpose(1, 2, 0)[:, None]) / np.float32(math.sqrt(d))
        scores[..., hidden] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed = product(weights, v.transpose(1, 0, 2)[:, None]).transpose(2, 0, 1, 3)
        x = x + product(mixed.reshape(n, -1), output)
        x = x + product(np.maximum(product(_normal(x), up), 0), down)
    if cache:
        cache.length += n
    return product(_normal(x), decoder.embedding.T), operations


@dataclass(frozen=True)
class Generation:
    """What a greedy generation produced, and what each step took.

    >>> Generation(np.array([1]), np.zeros((1, 2), np.float32), np.array([8])).operations.sum()
    np.int64(8)
    """

    tokens: npt.NDArray[np.int64]  # generated, shape (steps,)
    logits: Array  # that chose them, shape (steps, vocabulary)
    operations: npt.NDArray[np.int64]  # of each step, shape (steps,); the first reads the prompt


def generate(
    decoder: Decoder, prompt: npt.ArrayLike, steps: int, cache: KVCache | None = None
) -> Generation:
    """Greedy continuation of a prompt, from a cache or by computing everything again in each step.

    prompt: tokens, shape (n,). steps: tokens to generate, a positive integer. cache: empty, or
    None. Errors as for `forward`; ValueError also on a cache that is not empty.

    >>> one = np.ones((2, 2), dtype=np.float32)
    >>> tiny = Decoder(np.eye(2, dtype=np.float32), ((one,) * 6,), 1, 1)
    >>> generate(tiny, [0], steps=2).operations.tolist()
    [64, 144]
    >>> generate(tiny, [0], steps=2, cache=KVCache(tiny, 2)).operations.tolist()
    [64, 72]
    """
    steps = require_positive_integer(steps=steps)
    steps = require_in("[1, 1e5]", steps=steps)
    require_work(25_000 * steps, steps=steps)
    require(cache is None or cache.length == 0, "cache", "empty", cache and cache.length)
    known = np.asarray(prompt)
    logits, operations, chosen = [], [], []
    for step in range(int(steps)):
        new = known if cache is None or step == 0 else known[-1:]
        last, cost = forward(decoder, new, cache)
        logits.append(last[-1])
        operations.append(cost)
        chosen.append(int(np.argmax(last[-1])))
        known = np.append(known, chosen[-1])
    return Generation(np.array(chosen), np.array(logits), np.array(operations))


def _model(**sizes: int) -> Decoder:
    return random_decoder(np.random.default_rng(181), **sizes)


def _prompt(decoder: Decoder, length: int = PROMPT) -> npt.NDArray[np.int64]:
    return np.random.default_rng(182).integers(0, decoder.vocabulary, length)


@functools.cache
def _generated(kv_heads: int, window: int, cached: bool, steps: int) -> Generation:
    """What the model says after the prompt, with a cache or without."""
    model = _model(kv_heads=kv_heads, window=window)
    cache = KVCache(model, PROMPT + steps) if cached else None
    return generate(model, _prompt(model), steps, cache)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    cache = KVCache(_model(), PROMPT + STEPS)
    cached, plain = (_generated(2, 0, way, STEPS) for way in (True, False))
    difference = float(np.abs(cached.logits - plain.logits).max())
    last = int(cached.operations[-1])
    context = PROMPT + STEPS - 1
    return SimpleNamespace(
        # rounded up to a power of ten: how a processor adds up its products decides the rest
        below_millionths=10.0 ** math.ceil(math.log10(1e6 * difference)),
        cache_kib=cache.nbytes / 1024,
        cache_tokens=cache.slots,
        first_cached_kflop=float(cached.operations[1]) / 1000,
        last_cached_kflop=last / 1000,
        last_uncached_kflop=float(plain.operations[-1]) / 1000,
        times_saved=float(plain.operations.sum() / cached.operations.sum()),
        attention_share_percent=100 * 4 * 2 * 64 * context / last,
        tokens_in_context=context,
        window_kib=KVCache(_model(window=32), PROMPT + STEPS).nbytes / 1024,
    )


def figure_cost_per_token(figure: Figure) -> None:
    """With the cache the cost of a token hardly grows with the context; with a window it stops
    growing; without a cache it is proportional to the context and more.

    Operations counted in the products of a two-layer decoder of width 64 that generates 64 tokens
    after a prompt of 16.

    Alt: Operations per generated token on a logarithmic axis against tokens in context, 17 to 79.
    Without a cache it rises from 3 to 18 million. With the cache it rises slowly from 0.19 to 0.22
    million, and with a window of 32 tokens it is constant from 32 on.
    """
    axes = figure.subplots()
    context = np.arange(PROMPT + 1, PROMPT + STEPS)
    for label, window, use, colour, place in (
        ("without a cache", 0, False, "C3", (45, 6)),
        ("with a cache", 0, True, "C0", (56, 0.29)),
        ("cache and a window of 32", 32, True, "C2", (42, 0.13)),
    ):
        costs = _generated(2, window, use, STEPS).operations[1:]
        axes.semilogy(context, costs / 1e6, color=colour)
        axes.annotate(label, place, color=colour)
    axes.set_yticks([0.1, 1, 10, 100], ["0.1", "1", "10", "100"])
    axes.set(xlim=(16, 80), ylim=(0.1, 100))
    axes.set(xlabel="tokens in context", ylabel="operations per token [million]")


def check_cached_equals_uncached() -> None:
    """Logits from the cache equal those computed from scratch to 1e-5, and so do the tokens chosen.

    Source: the same weights without a cache, all keys computed again in each of 30 or 64 steps; own
    heads, grouped heads, one head, and a window smaller than the context.
    """
    for label, kv_heads, window, steps in (
        ("MHA, 8 of 8 heads", 8, 0, 30),
        ("GQA, 2 of 8", 2, 0, STEPS),
        ("MQA, 1 of 8", 1, 0, 30),
        ("GQA, window of 12", 2, 12, 30),
    ):
        cached, plain = (_generated(kv_heads, window, way, steps) for way in (True, False))
        gap = float(np.abs(cached.logits - plain.logits).max())
        checks.close(f"{label}: largest difference of logits", gap, 0.0, atol=1e-5)
        checks.equal(f"{label}: tokens", cached.tokens.tolist(), plain.tokens.tolist())


def check_bytes_equal_the_formula() -> None:
    """The memory of the arrays is 2·L·n_kv·d_head·bytes per token, and a window caps it.

    Source: the formula, multiplied out; nbytes as numpy reports it.
    """
    for kv_heads in (8, 2, 1):
        cache = KVCache(_model(kv_heads=kv_heads), 128)
        checks.equal(f"{kv_heads} KV heads", cache.nbytes, 2 * 2 * kv_heads * 8 * 4 * 128)
    model = _model(window=32)
    rolling = KVCache(model, 128)
    generate(model, _prompt(model), 60, rolling)
    checks.equal("window of 32", rolling.nbytes, 2 * 2 * 2 * 8 * 4 * 32)


def check_counted_operations() -> None:
    """The operations counted are those of the matrices, per new token, and of attention, per pair.

    Source: 2·(L·(2·D·D + 2·D·n_kv·d + 2·D·F) + D·V) per token and 4·L·D per token and key.
    """
    matrices = 2 * (2 * (2 * 64 * 64 + 2 * 64 * 16 + 2 * 64 * 256) + 64 * 97)
    cached, plain = (_generated(2, 0, way, STEPS).operations for way in (True, False))
    for step in (0, 1, 29):
        n = PROMPT + step
        checks.equal(f"uncached, {n} tokens", int(plain[step]), n * matrices + 4 * 2 * 64 * n * n)
        new = n if step == 0 else 1
        expected = new * matrices + 4 * 2 * 64 * new * n
        checks.equal(f"cached, {n} tokens", int(cached[step]), expected)
    rolling = _generated(2, 12, True, 30).operations[1:]
    checks.equal("window: different costs", len(set(rolling.tolist())), 1)


def check_cached_prefix_continues() -> None:
    """A prompt whose first part is in the cache gives the logits of the whole prompt.

    Source: the whole prompt in one pass; parts of 1, 20 and 47 of 48 tokens, without and with a
    window of 12.
    """
    for window in (0, 12):
        model = _model(window=window)
        prompt = _prompt(model, 48)
        whole = forward(model, prompt)[0]
        for part in (1, 20, 47):
            cache = KVCache(model, 48)
            forward(model, prompt[:part], cache)
            rest = forward(model, prompt[part:], cache)[0]
            gap = float(np.abs(rest - whole[part:]).max())
            checks.close(f"window {window}, {part} cached", gap, 0.0, atol=1e-5)


def check_only_whole_prefixes_may_be_reused() -> None:
    """The same tokens at the same places have other keys after another prefix, from the second
    layer on.

    Source: two caches whose first token differs; the first layer sees only the token and its place.
    """
    model = _model()
    one, other = _prompt(model, 24), _prompt(model, 24)
    other[0] = (one[0] + 1) % model.vocabulary
    caches = [KVCache(model, 24) for _ in range(2)]
    for tokens, cache in zip((one, other), caches, strict=True):
        forward(model, tokens, cache)
    gaps = np.abs(caches[0].keys - caches[1].keys)[:, 1:].max(axis=(1, 2, 3))
    checks.close("first layer", float(gaps[0]), 0.0, atol=1e-6)
    checks.holds("second layer differs", bool(gaps[1] > 0.01), got=float(gaps[1]))


def check_reach_of_windows() -> None:
    """Two layers with a window of 6 see ten tokens back, and nothing of what came before.

    Source: L·(W − 1); the last logits after one token at each distance is changed.
    """
    model = _model(window=6)
    prompt = _prompt(model, 20)
    last = forward(model, prompt)[0][-1]
    reach = 0
    for distance in range(1, 20):
        changed = prompt.copy()
        changed[-1 - distance] = (changed[-1 - distance] + 1) % model.vocabulary
        if float(np.abs(forward(model, changed)[0][-1] - last).max()) > 1e-6:
            reach = distance
    checks.equal("farthest token that matters", reach, 2 * (6 - 1))


def check_bad_input_is_refused() -> None:
    """Unknown tokens, heads that do not divide and a full cache are errors."""
    model = _model()
    checks.raises("token", forward, model, [97], match="tokens must be in [0, 97)")
    checks.raises("none", forward, model, [], match="tokens must be a non-empty (n,) array")
    checks.raises("heads", _model, kv_heads=3, match="query_heads must be a multiple of kv_heads")
    checks.raises("width", _model, width=60, match="width must be a multiple of 2·query_heads")
    checks.raises("slots", KVCache, model, 0, match="slots must be a positive integer")
    checks.raises("full", generate, model, [1] * 9, 2, KVCache(model, 9), match="tokens must be at")
    used = KVCache(model, 9)
    forward(model, [1], used)
    checks.raises("used", generate, model, [1], 2, used, match="cache must be empty, got 1")
