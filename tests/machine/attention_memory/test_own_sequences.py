"""Own sequences: the machines' own numbers."""

from __future__ import annotations

import pytest
from serving_mathematics.core.machines.machines import AGENTS, MIXTURE
from serving_mathematics.machine.attention_memory.own_sequences import (
    AGENTS_CONTEXT,
    PLACES,
    _ceiling_per_s,
    _made,
    _own,
    example,
)
from serving_mathematics.machine.attention_memory.who_fits import _engine


def test_the_agents_engine_is_the_machine_s() -> None:
    """Its sessions take a second to draw, which a build does without."""
    assert AGENTS.mean_context_tokens == pytest.approx(AGENTS_CONTEXT, rel=0.02)
    mine, theirs = _engine("heads"), AGENTS.deployment
    assert (mine.architecture, mine.system) == (theirs.architecture, theirs.system)
    assert (mine.precision, mine.tensor, mine.backend) == (
        theirs.precision,
        theirs.tensor,
        theirs.backend,
    )


def test_the_mixture_with_shared_layers_is_the_machine() -> None:
    engine, fit = _made(MIXTURE, own=False)
    assert engine.kv_blocks == MIXTURE.engine.kv_blocks
    assert fit == pytest.approx(MIXTURE.cache_tokens / MIXTURE.mean_context_tokens, abs=1)
    assert _ceiling_per_s(MIXTURE, False, MIXTURE.sequences_at_most) == pytest.approx(
        MIXTURE.ceiling_per_s, rel=0.02
    )
    own, more = _made(MIXTURE, own=True)
    assert more > PLACES > fit
    assert own.kv_blocks > 4 * engine.kv_blocks
    assert _own(MIXTURE.deployment).devices == MIXTURE.devices


def test_the_gain_within_the_promise_is_below_that_of_the_ceiling() -> None:
    told = example()
    ceiling = _ceiling_per_s(MIXTURE, True) / _ceiling_per_s(MIXTURE, False) - 1
    assert ceiling > told.kept_gain > told.kept_gain_slower > 0


def test_more_places_and_shorter_steps_carry_more() -> None:
    few, many = (_ceiling_per_s(MIXTURE, True, places) for places in (32, 256))
    assert few < many
    fit = _made(MIXTURE, own=False)[1]
    assert _ceiling_per_s(MIXTURE, False, 256) == _ceiling_per_s(MIXTURE, False, fit)  # no memory
    assert _ceiling_per_s(MIXTURE, True, 32, 2.0) == pytest.approx(few / 2)
