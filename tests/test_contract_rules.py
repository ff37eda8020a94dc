"""The contract and the alerts of the chapter on endpoints: read, and run."""

from __future__ import annotations

import numpy as np
import pytest
from serving_mathematics.intuition.endpoints_as_contracts.chat_contract import CHAT, read_contract

from builder import ROOT

from .promql import Series
from .rule_files import firing

ENGINES = ("vllm", "sglang")
DOWNLOADS = ROOT / "docs" / "downloads"


def run(engine: str, prompt: float, answer: float = 210.0, cut: float = 0.05) -> set[str]:
    """The alerts that fire at the end of two hours with a request a second."""
    steady = np.full(120, 60.0)
    series: dict[str, Series] = {
        "vllm:request_prompt_tokens_sum": prompt * steady,
        "vllm:request_prompt_tokens_count": steady,
        "vllm:request_success_total": steady,
        'vllm:request_success_total{finished_reason="length"}': cut * steady,
        "sglang:prompt_tokens_total": prompt * steady,
        "sglang:generation_tokens_total": answer * steady,
        "sglang:num_requests_total": steady,
    }
    return firing(f"endpoint-contract-{engine}", series)


@pytest.mark.parametrize("engine", ENGINES)
def test_alerts_fire_beyond_their_bounds(engine: str) -> None:
    assert run(engine, 1150) == run(engine, 1260) == run(engine, 1040) == set()
    assert run(engine, 1270) == run(engine, 1030) == {"PromptsCountOtherwise"}


def test_answers_that_end_otherwise_are_told() -> None:
    assert run("vllm", 1150, cut=0.11) == {"AnswersCutMoreOften"}
    for tokens in (140, 280):
        assert run("sglang", 1150, tokens) == {"AnswersCountOtherwise"}


def test_the_file_is_the_contract_of_the_chapter() -> None:
    text = (DOWNLOADS / "endpoint-contract.json").read_text("utf-8")
    assert read_contract(text) == CHAT


def test_the_page_hands_out_the_contract() -> None:
    page = (ROOT / "docs" / "intuition" / "endpoints-as-contracts.md").read_text("utf-8")
    assert "](../downloads/endpoint-contract.json)" in page
