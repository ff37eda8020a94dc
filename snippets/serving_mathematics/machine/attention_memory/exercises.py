"""Solutions to the exercises on what a token leaves behind: a full device, a log, windows.

Assumes: sequences of one length; layers that read all that they hold.

Source: the chapter's counts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

from serving_mathematics.core.hardware.catalogue import deployed, find_model
from serving_mathematics.core.hardware.deployments import (
    WORKED,
    cache_room_bytes,
    sequence_bytes,
)
from serving_mathematics.machine.attention_memory.attention_memory import held_bytes
from serving_mathematics.machine.attention_memory.who_fits import (
    full_read_s,
    sequences_that_fit,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "full_device": (
        "What is left for the cache does not depend on the length of a sequence. Which of the two"
        " answers does?"
    ),
    "what_is_kept": (
        "Divide the bytes of all devices by the requests and by the tokens of each. What would a"
        " token take if windows never forgot, and what if they did?"
    ),
    "windowed_layers": (
        "A full layer holds s tokens and one with a window W. How many bytes does a layer save"
        " that gets a window?"
    ),
}


def full_device(
    room_bytes: float, bandwidth: float, token_bytes: float, tokens: float
) -> tuple[int, float]:
    """Whole sequences of so many tokens that fit, and the least time to read all they hold [s].

    room_bytes: left for the cache. bandwidth: of the device [B/s]. token_bytes: what a token
    leaves. Raises ValueError unless all are positive.

    >>> full_device(52e9, bandwidth=3.2e12, token_bytes=125_000, tokens=8000)
    (52, 0.01625)
    """
    room_bytes, bandwidth = require_positive(room_bytes=room_bytes, bandwidth=bandwidth)
    token_bytes, tokens = require_positive(token_bytes=token_bytes, tokens=tokens)
    each = token_bytes * tokens
    count = math.floor(room_bytes / each)
    return count, count * each / bandwidth


def what_is_kept(
    cache_bytes: float,
    concurrency: float,
    tokens: float,
    full_bytes: float,
    windowed_bytes: float,
    devices: int,
) -> str:
    """What a log says of windows: they are "freed", they are "kept", or neither explains it.

    cache_bytes: room for the cache on one device, > 0. concurrency: requests that fit by the log, >
    0. tokens: of each, many windows and budgets long. full_bytes: what a token leaves in all full
    layers, > 0. windowed_bytes: the same in all layers with a window, >= 0. devices: those that
    share the layers, no more than KV heads. What differs by more than a tenth is "neither": a
    window and its next chunks stay. Raises ValueError on other numbers.

    >>> what_is_kept(9e9, 10, tokens=100_000, full_bytes=36_000, windowed_bytes=36_000, devices=4)
    'freed'
    """
    cache_bytes, concurrency = require_positive(cache_bytes=cache_bytes, concurrency=concurrency)
    tokens = require_positive(tokens=tokens)
    full_bytes = require_positive(full_bytes=full_bytes)
    windowed_bytes = require_non_negative(windowed_bytes=windowed_bytes)
    devices = require_positive_integer(devices=devices)
    each = devices * cache_bytes / concurrency / tokens
    if abs(each / full_bytes - 1) <= 0.1:
        return "freed"
    if abs(each / (full_bytes + windowed_bytes) - 1) <= 0.1:
        return "kept"
    return "neither"


def windowed_layers(
    layers: int, layer_bytes: float, window: int, tokens: int, budget_bytes: float
) -> int:
    """Fewest layers that need a window for a sequence to hold no more than a budget.

    layers: L, of which all are full at first. layer_bytes: of a token in one layer. window: W.
    tokens: s. Raises ValueError where a window in every layer is not enough.

    >>> windowed_layers(80, layer_bytes=4096, window=1024, tokens=131072, budget_bytes=10e9)
    62
    """
    layers, window, tokens = require_positive_integer(layers=layers, window=window, tokens=tokens)
    layer_bytes, budget_bytes = require_positive(layer_bytes=layer_bytes, budget_bytes=budget_bytes)
    least = layers * layer_bytes * min(window, tokens)
    require(least <= budget_bytes, "budget_bytes", f"at least {least:,.0f}", budget_bytes)
    excess = layers * layer_bytes * tokens - budget_bytes
    if excess <= 0:
        return 0
    return math.ceil(excess / (layer_bytes * (tokens - window)))


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    short, long = (full_device(56e9, 3.35e12, 131_072, tokens) for tokens in (4000, 32_000))
    return SimpleNamespace(
        pencil_short=short[0],
        pencil_long=long[0],
        pencil_ms=1e3 * short[1],
        pencil_long_ms=1e3 * long[1],
        board_first=what_is_kept(20e9, 8.2, 131_072, 36_864, 36_864, 2),
        board_second=what_is_kept(20e9, 4.1, 131_072, 36_864, 36_864, 2),
        board_third=what_is_kept(20e9, 16.5, 131_072, 36_864, 36_864, 2),
        llama_windowed=windowed_layers(80, 4096, 1024, 131072, 10e9),
    )


def check_full_device() -> None:
    """As many sequences fit as in a deployment of one device, and they take as long to read.

    Source: `sequences_that_fit` and `full_read_s` of two dense models.
    """
    for name, tokens in (("Llama-3.1-8B", 3000), ("Qwen3-8B", 20_000)):
        one = deployed(name, "h200")
        each = held_bytes(one.architecture, 1)
        count, seconds = full_device(cache_room_bytes(one), 4.8e12, each, tokens)
        checks.equal(f"{name}: sequences", count, sequences_that_fit(one, tokens))
        checks.close(f"{name}: read [s]", seconds, full_read_s(one, tokens), rtol=1e-9)


def check_what_is_kept() -> None:
    """If each request of the longest context takes what its sequence holds, windows are freed; if
    it takes twice as much, they are kept. This holds on one device and on eight that share the
    layers.

    Source: gpt-oss-120b, what a sequence holds on one device of a deployment, with 2,048 tokens of
    the next chunk in each window; what four H200 logged of Qwen3-235B, which has no windows: 8.11
    GiB and 178,880 tokens (vLLM issue 21348).
    """
    model = find_model("gpt-oss-120b")[0]
    full = held_bytes(model, 10_001) - held_bytes(model, 10_000)
    windowed = held_bytes(model, 1) - full
    for devices in (1, 8):
        one = replace(WORKED, architecture=model, precision="bf16", tensor=devices)
        each = sequence_bytes(one, 131_072) + 2048 * windowed / devices
        for factor, expected in ((1.0, "freed"), (2.0, "kept"), (0.5, "neither"), (1.4, "neither")):
            fit = 30e9 / (factor * each)
            found = what_is_kept(30e9, fit, 131_072, full, windowed, devices)
            checks.equal(f"{devices} devices, times {factor}", found, expected)
    for share, near in ((0.89, False), (0.92, True), (1.09, True), (1.12, False)):
        for each, expected in ((2e3, "freed"), (2.5e3, "kept")):
            found = what_is_kept(1e9, 1e9 / (100 * share * each), 100, 2e3, 500, 1)
            checks.equal(f"{share:g} of {each:g}", found, expected if near else "neither")
    qwen = held_bytes(find_model("Qwen3-235B-A22B")[0], 1)
    logged = what_is_kept(8.11 * 2**30, 178_880 / 40_960, 40_960, qwen, 0.0, 4)
    checks.equal("logged, of four devices", logged, "freed", kind="published")


def check_windowed_layers() -> None:
    """With that many windows a sequence holds no more than the budget, and with one fewer it holds
    more.

    Source: layers added up one by one.
    """
    for layers, a_token, window, tokens, budget in (
        (48, 2048, 512, 65536, 1e9),
        (80, 4096, 4096, 32768, 8e9),
        (36, 1000, 128, 4096, 3e7),
    ):
        got = windowed_layers(layers, a_token, window, tokens, budget)
        held = [
            sum(a_token * (window if layer < turned else tokens) for layer in range(layers))
            for turned in (got, got - 1)
        ]
        checks.holds(f"{layers} layers", held[0] <= budget < held[1], got=got)
    checks.equal("no need", windowed_layers(4, 10, 5, 100, 4000), 0)
    checks.equal("room to spare", windowed_layers(4, 10, 5, 100, 9000), 0)
    checks.equal("windows that are never full", windowed_layers(4, 10, 500, 100, 4000), 0)


def check_bad_input_is_refused() -> None:
    """Zero tokens, no room and too small a budget are errors that name the argument."""
    checks.raises("tokens", what_is_kept, 1e9, 1, 0, 1, 1, 1, match="tokens must be positive")
    checks.raises("room", full_device, 0, 1, 1, 1, match="room_bytes must be positive")
    checks.raises("too little", windowed_layers, 8, 10, 100, 1000, 10, match="budget_bytes must be")
