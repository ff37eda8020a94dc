"""Attention kernels: the lines that are asked for, and tokens that are counted together."""

from __future__ import annotations

from serving_mathematics.machine.attention_memory.attention_kernels import (
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
