"""Splits: how they are written, which are tried, and which are proposed."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.deployments import WORKED, Deployment, weight_bytes
from serving_mathematics.planner.questions.questions import read_choices, read_question
from serving_mathematics.planner.questions.splits import _require_possible, read_parallelism


def test_weights_must_be_below_what_is_left_of_the_memory() -> None:
    """Of 80 GiB four fifths may be used, and 54 are taken."""
    asked = {"rate_per_s": 1, "model": "Llama-3.1-8B", "device": "H100", "parallelism": "tp1"}
    asked |= {"memory_share": 0.8, "reserved_gib": 54, "precision": "bf16"}
    left = f"{(0.8 * 80 - 54) * 2**30 / 1e9:.1f} GB that memory_share and reserved_gib leave of"
    told = rf"weights must be below the {left} the H100 SXM \(tp2 would do\), got 16.1 GB a device"
    with pytest.raises(ValueError, match=told):
        read_question(asked)
    assert read_question(asked | {"parallelism": "tp2"}).deployment.tensor == 2


R1 = deployed("DeepSeek-R1", "B200", precision="fp8", attention_data=8, expert=8)


@pytest.mark.parametrize(
    ("one", "tensor", "share", "told"),
    [
        (WORKED, 2, 1.0, "tp4"),  # as much as is left is too much
        (WORKED, 1024, 1.01, "tp1024"),
        (WORKED, 1024, 1.0, "no split"),
        (replace(WORKED, pipeline=2), 8, 1.05, "tp8"),  # of one stage
        (R1, 16, 1.05, "tp16"),  # of one group
    ],
)
def test_a_refusal_proposes_the_narrowest_split_that_fits(
    one: Deployment, tensor: int, share: float, told: str
) -> None:
    least = weight_bytes(replace(one, tensor=tensor, pipeline=1, attention_data=1))
    with pytest.raises(ValueError, match=rf"\({told} would do\)"):
        _require_possible(one, 1.0, one.system.memory_bytes - share * least)


@pytest.mark.parametrize("model", ["DeepSeek-R1", "Llama-3.1-405B", "Llama-3.1-70B"])
@pytest.mark.parametrize("device", ["L40S", "H100", "H200"])
def test_a_proposed_split_is_not_refused_in_turn(model: str, device: str) -> None:
    """DeepSeek-R1 on an L40S had tp16 proposed, which the reserved memory then refused."""
    asked = {"model": model, "device": device, "rate_per_s": 1, "precision": "auto"}
    with pytest.raises(ValueError, match="would do") as refused:
        read_question(asked | {"parallelism": "tp1"})
    proposed = re.search(r"\((tp\d+) would do", str(refused.value))
    assert proposed
    assert read_question(asked | {"parallelism": proposed[1]}).deployment.devices > 1


def test_experts_are_proposed_with_attention_apart_too() -> None:
    """On 16 H100 a refusal named tp16 alone, which carries less than a third as much."""
    asked = {"model": "DeepSeek-R1", "device": "H100", "rate_per_s": 1}
    both = "tp16,dp16ep16"
    for less in ({}, {"device": "H200", "reserved_gib": 60, "parallelism": "tp8"}):
        with pytest.raises(ValueError, match=f"a device; parallelism: {both} compares both ways$"):
            read_question(asked | less)
    assert len(read_choices(asked | {"parallelism": both})) == 2
    for other in ({"device": "L40S"}, {"model": "Llama-3.1-405B", "parallelism": "tp1"}):
        with pytest.raises(ValueError, match=r"GB a device$"):
            read_question(asked | other)


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        ("tp4", (4, 1, 1, 1)),
        ("TP8 EP8", (8, 1, 1, 8)),
        ("dp8+ep8", (1, 1, 8, 8)),
        ("tp=2 pp=2", (2, 2, 1, 1)),
    ],
)
def test_splits(text: str, widths: tuple[int, ...]) -> None:
    assert tuple(read_parallelism(text).values()) == widths


@pytest.mark.parametrize(
    "text", ["", "4", "tp", "tp0", "tp4tp2", "tp4x2", "xtp4", "tp-1", "tp99999", "tp\uff12"]
)
def test_splits_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="parallelism must be auto, or such as tp4"):
        read_parallelism(text)


def test_experts_are_spread_as_far_as_links_reach() -> None:
    """Over 64 of a GB200's 72 devices, over eight of an H100's, and two where two are linked; a
    dense model over eight, whatever the links."""
    for device, model, widest in (
        ("GB200", "DeepSeek-R1", 64),
        ("H200", "DeepSeek-R1", 8),
        ("H100 NVL", "gpt-oss-120b", 8),
        ("GB200", "Llama-3.1-8B", 8),
    ):
        asked = {"rate_per_s": 1, "device": device, "model": model, "precision": "auto"}
        found = [one.deployment for one in read_choices(asked)]
        assert max(one.devices for one in found) == widest
        assert max(one.tensor for one in found) <= 8
        wide = [one for one in found if one.devices > 8]
        assert all(one.attention_data == one.expert == one.devices for one in wide)
