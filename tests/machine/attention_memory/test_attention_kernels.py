"""Attention kernels: the lines that are asked for, and tokens that are counted together."""

from __future__ import annotations

import pytest
from serving_mathematics.machine.attention_memory.attention_kernels import (
    KERNELS,
    _line,
    example,
)


def test_lines_are_the_ones_asked_for() -> None:
    line = _line(kernel="latent", backend="trtllm", heads=128, sequences=64, cache="bfloat16")
    eighth = _line(kernel="latent", backend="trtllm", heads=16, sequences=64, cache="bfloat16")
    assert max(line) == max(eighth) == 131072
    assert all(line[place] > eighth[place] for place in line if place > 4096)
    told = example()
    assert told.latent_small < 20 < 45 < told.grouped_small < 55
    assert told.slow_factor > 4


@pytest.mark.parametrize("sequences", [16, 64])
def test_time_grows_with_tokens_and_not_with_sequences(sequences: int) -> None:
    """Twice the tokens take at most twice as long and, when long, nearly that."""
    for kernel, wanted, token, _, _ in KERNELS:
        line = _line(
            kernel=kernel, backend="trtllm", sequences=sequences, cache="bfloat16", **wanted
        )
        long = max(line)
        assert 1.7 < line[long] / line[long // 2] < 2.05
        assert line[long] > sequences * long * token / 3.35e12
