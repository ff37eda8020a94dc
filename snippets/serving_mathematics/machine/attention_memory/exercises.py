"""Solutions to the exercises on what a token leaves behind: contexts that fit, windows, equal work.

Assumes: full layers that grow, windowed ones that stop, states that are there from the start;
operations counted as two for each multiplication.

Source: the chapter's counts; Hoffmann et al. (2022), arXiv 2203.15556, appendix F, for operations.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

from serving_mathematics.core.hardware.catalogue import find_model
from serving_mathematics.machine.attention_memory.attention_memory import (
    GIB,
    attention_flops,
    held_bytes,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require,
    require_non_negative,
    require_positive,
    require_positive_integer,
)

HINTS = {
    "longest_context": (
        "What a sequence holds grows in two straight pieces, one until the windows are full and one"
        " beyond. Which piece does the memory of one sequence end on?"
    ),
    "windowed_layers": (
        "A full layer holds s tokens and a windowed one W. How many bytes does each that you turn"
        " into a windowed one save?"
    ),
    "context_of_equal_work": (
        "A token's matrices take two operations a parameter; attention takes four for each token of"
        " context, layer and unit of width. Set the two equal."
    ),
}


def longest_context(
    memory_bytes: float,
    sequences: int,
    full_bytes: float,
    windowed_bytes: float = 0.0,
    window: int = 0,
    state_bytes: float = 0.0,
) -> int:
    """Longest context, in whole tokens, of which so many sequences fit into the memory together.

    full_bytes: of a token in all full layers, > 0. windowed_bytes: of a token in all layers with a
    window. window: its tokens. state_bytes: of a sequence, whatever its length. 0 where the states
    alone are too many. Raises ValueError on what is negative.

    >>> longest_context(1000, sequences=2, full_bytes=4, windowed_bytes=6, window=20)
    95
    """
    memory_bytes, windowed_bytes, window = require_non_negative(
        memory_bytes=memory_bytes, windowed_bytes=windowed_bytes, window=window
    )
    state_bytes = require_non_negative(state_bytes=state_bytes)
    full_bytes = require_positive(full_bytes=full_bytes)
    sequences = require_positive_integer(sequences=sequences)
    each = memory_bytes / sequences - state_bytes
    if each < 0:
        return 0
    short = each / (full_bytes + windowed_bytes)
    if short <= window:
        return math.floor(short)
    return math.floor((each - windowed_bytes * window) / full_bytes)


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


def context_of_equal_work(parameters: float, layers: int, width: int) -> float:
    """Tokens of context at which attention takes as many operations as the weights, in decoding.

    parameters: N. layers: L. width: of attention, heads times their width. Raises ValueError unless
    all are positive.

    >>> round(context_of_equal_work(8.03e9, layers=32, width=4096))
    30632
    """
    parameters = require_positive(parameters=parameters)
    layers, width = require_positive_integer(layers=layers, width=width)
    return parameters / (2 * layers * width)


def example() -> SimpleNamespace:
    """Answers to the exercises."""
    return SimpleNamespace(
        oss_longest=longest_context(40 * GIB, 16, 36864, 36864, 128),
        llama_longest=longest_context(40 * GIB, 16, 327680),
        llama_windowed=windowed_layers(80, 4096, 1024, 131072, 10e9),
        llama_equal=context_of_equal_work(8_030_261_248, 32, 4096),
        llama_at_128k=131072 / context_of_equal_work(8_030_261_248, 32, 4096),
    )


def check_longest_context() -> None:
    """So long a context fits, and one token more does not.

    Source: bytes of gpt-oss-120b, Llama-3.1-70B and Qwen3.5-27B, counted from their configurations.
    """
    for name, full, windowed, window in (
        ("gpt-oss-120b", 36864.0, 36864.0, 128),
        ("Llama-3.1-70B", 327680.0, 0.0, 0),
        ("Qwen3.5-27B", 65536.0, 0.0, 0),
    ):
        model = find_model(name)[0]
        state = held_bytes(model, 0)
        for memory, sequences in ((5e9, 4), (2e6 + 9 * state, 9)):
            got = longest_context(memory, sequences, full, windowed, window, state)
            held = [sequences * held_bytes(model, tokens) for tokens in (got, got + 1)]
            checks.holds(f"{name}, {sequences} of them", held[0] <= memory < held[1], got=got)
    checks.equal("states too many", longest_context(10, 3, 1.0, state_bytes=4.0), 0)


def check_windowed_layers() -> None:
    """With so many windows a sequence holds no more than the budget, with one fewer it does.

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
    checks.equal("no need", windowed_layers(4, 10, 5, 100, 5000), 0)


def check_equal_work() -> None:
    """There attention takes as many operations as the weights, for models that share no width.

    Source: `attention_flops` of two models against two operations a parameter.
    """
    for name, width in (("Llama-3.1-8B", 4096), ("Llama-3.1-70B", 8192), ("Qwen3-32B", 8192)):
        model = find_model(name)[0]
        tokens = context_of_equal_work(model.parameters, model.layer_count, width)
        got = attention_flops(model, tokens)
        checks.close(name, got, 2.0 * model.parameters, rtol=1e-12)


def check_bad_input_is_refused() -> None:
    """No memory for windows, no sequences and no width name the argument."""
    checks.raises(
        "no sequences", longest_context, 1e9, 0, 1.0, match="sequences must be a positive"
    )
    checks.raises("too little", windowed_layers, 8, 10, 100, 1000, 10, match="budget_bytes must be")
    checks.raises("no width", context_of_equal_work, 1e9, 8, 0, match="width must be a positive")
