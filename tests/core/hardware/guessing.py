"""Deployments that guess, for the tests of their steps and of what they are worth."""

from __future__ import annotations

from dataclasses import replace

from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED

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
