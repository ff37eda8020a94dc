"""Customers: whose prompts begin alike, and how often each asks."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.core.machines.customers import (
    LONGEST,
    PREAMBLE,
    _customers,
    _long_chat,
)
from serving_mathematics.core.machines.machines import CHAT


def test_a_prompt_is_a_preamble_and_a_conversation() -> None:
    asked = _customers(np.random.default_rng(3), 20.0, 4000, customers=50, preamble=512, skew=0.0)
    assert asked.prefixes is not None
    tree = asked.prefixes
    who = tree.parent[tree.node]
    assert (asked.prompt_tokens == tree.tokens[tree.node] + 512).all()
    counts = np.bincount(who, minlength=50)
    assert counts.size == 50
    assert counts.max() < 2 * counts.min()  # all ask alike
    assert asked.arrival_s[-1] == pytest.approx(200, rel=0.1)


def test_the_engine_is_the_chat_machine_s_with_longer_prompts() -> None:
    engine = _long_chat()
    assert engine.kv_blocks == CHAT.engine.kv_blocks
    assert engine.step_s == CHAT.engine.step_s
    assert PREAMBLE < LONGEST
