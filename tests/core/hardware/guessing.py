"""Deployments that guess, for the tests of their steps and of what they are worth."""

from __future__ import annotations

from dataclasses import replace

from serving_mathematics.core.hardware.catalogue import deployed, find_model
from serving_mathematics.core.hardware.deployments import WORKED

SMALL = find_model("Qwen3-0.6B")[0]
DENSE = replace(WORKED, architecture=find_model("Qwen3-32B")[0], tensor=2)
GUESSED = replace(DENSE, draft_tokens=3, accepted_tokens=2.5, drafter=SMALL)
MIXTURE = deployed("DeepSeek-R1", "H200", precision="fp8", tensor=8)
