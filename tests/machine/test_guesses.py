"""What guesses cost, against the same passes taken one by one, and in the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.machine.catalogue import find_model, find_system
from serving_mathematics.machine.deployments import (
    FROM_TEXT,
    OWN_HEADS,
    WORKED,
    Deployment,
    Impossible,
    draft_engine,
    fewest_devices,
    require_deployment,
    sequence_bytes,
    weight_bytes,
)
from serving_mathematics.machine.guesses import (
    break_even_tokens,
    guessed_prompt_s,
    guessed_step_s,
)
from serving_mathematics.machine.step_time import (
    FITTED,
    count_work,
    decode_step_s,
    prompt_s,
    step_parts,
)

SMALL = find_model("Qwen3-0.6B")[0]
DENSE = replace(WORKED, architecture=find_model("Qwen3-32B")[0], tensor=2)
GUESSED = replace(DENSE, draft_tokens=3, accepted_tokens=2.5, drafter=SMALL)
MIXTURE = replace(
    WORKED,
    architecture=find_model("DeepSeek-R1")[0],
    system=find_system("H200"),
    precision="fp8",
    tensor=8,
)


def step_s(one: Deployment, sequences: float, context: float) -> float:
    """Without what a draft model takes."""
    work = count_work([one])
    return float(decode_step_s(work, FITTED, np.array([sequences]), np.array([context]))[0])


@pytest.mark.parametrize("sequences", [1.0, 40.0, 500.0])
def test_a_draft_models_passes_are_added_one_by_one(sequences: float) -> None:
    verified = step_s(replace(GUESSED, drafter=FROM_TEXT), sequences, 900)
    draft = replace(DENSE, architecture=SMALL)
    host = float(
        step_parts(count_work([draft]), FITTED, np.array([sequences]), np.array([900.0])).host[0]
    )
    first = step_s(replace(draft, draft_tokens=3, drafter=FROM_TEXT), sequences, 900)
    later = step_s(draft, sequences, 900)
    by_hand = verified + (first - host) + 2 * (later - host)
    assert guessed_step_s(GUESSED, FITTED, sequences, 900)[0] == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("one", [WORKED, DENSE, replace(MIXTURE, draft_tokens=2)])
def test_without_a_draft_model_it_is_the_step(one: Deployment) -> None:
    found = guessed_step_s(one, FITTED, [1.0, 30.0], [700.0, 20.0])
    assert found.tolist() == [step_s(one, 1, 700), step_s(one, 30, 20)]
    alone = prompt_s(replace(count_work([one]), prompt=np.array([5.0, 900.0])), FITTED)
    assert guessed_prompt_s(one, FITTED, [5, 900]).tolist() == alone.tolist()


def test_heads_are_layers_and_text_is_free() -> None:
    """One sequence: three heads are three layers of 61 and three readings of the vocabulary."""
    heads = replace(MIXTURE, draft_tokens=3, accepted_tokens=2.5)
    text = replace(heads, drafter=FROM_TEXT)
    rows = [count_work([one]) for one in (heads, text)]
    parts = [step_parts(work, FITTED, np.ones(1), np.full(1, 1000.0)) for work in rows]
    for name in ("kernels", "weights", "experts", "cache", "messages"):
        ratio = getattr(parts[0], name)[0] / getattr(parts[1], name)[0]
        assert ratio == pytest.approx(1 + 3 / 61, rel=1e-12), name
    assert parts[0].vocabulary[0] == pytest.approx(4 * parts[1].vocabulary[0], rel=1e-12)
    plain = step_parts(count_work([MIXTURE]), FITTED, np.ones(1), np.full(1, 1000.0))
    assert parts[1].vocabulary[0] == plain.vocabulary[0]
    assert parts[1].weights[0] == plain.weights[0]  # read once for four positions
    assert parts[1].experts[0] > 2 * plain.experts[0]  # of which four positions touch more


@given(st.integers(1, 6), st.floats(1, 1000), st.floats(0, 8000))
def test_more_guesses_need_more_tokens_and_never_more_than_all(
    guesses: int, sequences: float, context: float
) -> None:
    fewer, more = (
        replace(DENSE, draft_tokens=n, drafter=FROM_TEXT) for n in (guesses, guesses + 1)
    )
    few, many = (break_even_tokens(one, FITTED, sequences, context)[0] for one in (fewer, more))
    assert 1 <= few <= many <= guesses + 2


def test_a_draft_model_lives_on_the_same_devices() -> None:
    draft = draft_engine(GUESSED)
    assert draft is not None
    assert (draft.tensor, draft.precision, draft.draft_tokens, draft.drafter) == (
        2,
        "bf16",
        0,
        OWN_HEADS,
    )
    assert draft_engine(replace(GUESSED, drafter=OWN_HEADS)) is None
    eight = replace(GUESSED, precision="fp4")  # whose cache is in eight bits
    alone = replace(DENSE, architecture=SMALL, cache_bytes=1.0)
    plain = replace(eight, draft_tokens=0, accepted_tokens=1.0, drafter=OWN_HEADS)
    assert weight_bytes(eight) == weight_bytes(plain) + weight_bytes(alone)
    assert sequence_bytes(eight, 77) == sequence_bytes(plain, 77) + sequence_bytes(alone, 77)
    spread = draft_engine(replace(MIXTURE, expert=8, draft_tokens=1, drafter=MIXTURE.architecture))
    assert spread is not None
    assert (spread.expert, spread.precision) == (8, "fp8")
    dense = draft_engine(replace(MIXTURE, expert=8, draft_tokens=1, drafter=SMALL))
    assert dense is not None
    assert dense.expert == 1


def test_devices_have_to_hold_both() -> None:
    heavy = replace(GUESSED, drafter=DENSE.architecture)
    assert fewest_devices(replace(DENSE, tensor=1)) == 1  # 66 GB of 84
    assert fewest_devices(heavy) == 2
    with pytest.raises(Impossible, match="2 devices would do at bf16"):
        require_deployment(replace(heavy, tensor=1))


def test_vocabularies_may_differ_by_their_padding() -> None:
    words = DENSE.architecture.vocabulary
    require_deployment(replace(GUESSED, drafter=replace(SMALL, vocabulary=words + 128)))
    for other in (round(1.011 * words), round(0.989 * words)):
        with pytest.raises(ValueError, match="drafter must be a model of the 151,936 tokens"):
            require_deployment(replace(GUESSED, drafter=replace(SMALL, vocabulary=other)))


@pytest.mark.parametrize("drafter", [FROM_TEXT, SMALL])
def test_sglang_does_not_guess_beside_attention_over_data(drafter: object) -> None:
    groups = replace(GUESSED, attention_data=2, drafter=drafter)
    require_deployment(groups)
    require_deployment(replace(groups, backend="sglang", drafter=OWN_HEADS))
    require_deployment(replace(groups, backend="sglang", attention_data=1))
    with pytest.raises(Impossible, match="attention_data must be 1 in sglang"):
        require_deployment(replace(groups, backend="sglang"))


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_bad_numbers_are_refused(bad: float) -> None:
    for call, name in (
        (lambda: guessed_step_s(WORKED, FITTED, bad, 1), "sequences"),
        (lambda: guessed_step_s(WORKED, FITTED, 1, bad), "context"),
        (lambda: guessed_prompt_s(WORKED, FITTED, [bad]), "tokens"),
        (lambda: break_even_tokens(WORKED, FITTED, bad, 1), "sequences"),
    ):
        with pytest.raises(ValueError, match=f"{name} must be"):
            call()
