"""What the chapter on distillation hands out: requests that collect lessons, flags of a draft."""

from __future__ import annotations

import json
import re

import yaml

from builder import ROOT

DOWNLOADS = ROOT / "docs" / "downloads"
PAGE = ROOT / "docs" / "optimization" / "distillation.md"


def test_requests_ask_for_probabilities() -> None:
    lines = (DOWNLOADS / "collect-answers.jsonl").read_text("utf-8").splitlines()
    requests = [json.loads(line) for line in lines]
    assert len({one["custom_id"] for one in requests}) == len(requests) == 2
    for one in requests:
        assert one.keys() == {"custom_id", "method", "url", "body"}
        assert (one["method"], one["url"]) == ("POST", "/v1/chat/completions")
        body = one["body"]
        assert body["logprobs"] is True
        assert body["return_tokens_as_token_ids"] is True
        assert 0 < body["top_logprobs"] <= 20
        assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_the_draft_is_of_the_targets_family() -> None:
    told = yaml.safe_load((DOWNLOADS / "draft-model-vllm.yaml").read_text("utf-8"))
    draft = json.loads(told["speculative-config"])
    keys = {"method", "model", "num_speculative_tokens", "draft_sample_method"}
    assert draft.keys() == keys
    assert told.keys() == {"model", "speculative-config"}  # and no limit that nobody asked for
    assert draft["model"].split("-")[0] == told["model"].split("-")[0]


def test_the_page_shows_what_the_file_has() -> None:
    page = PAGE.read_text("utf-8")
    shown = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert shown
    assert shown[1] in (DOWNLOADS / "draft-model-vllm.yaml").read_text("utf-8")
    for name in ("collect-answers.jsonl", "draft-model-vllm.yaml"):
        assert f"](../downloads/{name})" in page
