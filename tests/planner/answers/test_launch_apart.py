"""Commands of separate fleets: either has its part, and the router knows all."""

from __future__ import annotations

import json
from dataclasses import replace

import yaml
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.planner.answers.launch import kubernetes_separate
from serving_mathematics.planner.answers.launch_apart import (
    Started,
    role_words,
    separate_launch,
    separate_text,
)

from ..started import apart, behind


def test_files_of_separate_fleets_are_yaml() -> None:
    question, pair = apart()
    found = separate_launch(behind(question, "trtllm"), pair)
    assert isinstance(found, Started)
    read = {name: yaml.safe_load(text) for name, text in found.files.items()}
    assert read["prompts.yaml"]["disable_overlap_scheduler"] is True
    assert "disable_overlap_scheduler" not in read["answers.yaml"]
    for name in ("prompts.yaml", "answers.yaml"):
        cache = read[name]["cache_transceiver_config"]
        assert cache == {"backend": "NIXL", "max_tokens_in_buffer": 4606}  # 1,000 · ln 100
    fleets = read["fleets.yaml"]
    urls = [f"prompts-{i}.prompts:8000" for i in range(pair.prompts)]
    assert fleets["context_servers"] == {"num_instances": pair.prompts, "urls": urls}
    assert fleets["generation_servers"]["num_instances"] == pair.answers
    log = Workload([0.0, 1.0], [30, 70], [5, 5])
    asked = replace(question, traffic=log)
    text = separate_launch(behind(asked, "trtllm"), pair).files["answers.yaml"]
    assert "max_tokens_in_buffer: 70\n" in text


def test_a_connector_is_json_and_the_router_knows_every_replica() -> None:
    question, pair = apart()
    words = role_words(behind(question, "vllm"), pair, "answers")
    config = json.loads(words[words.index("--kv-transfer-config") + 1])
    assert config == {"kv_connector": "NixlConnector", "kv_role": "kv_consumer"}
    found = separate_launch(behind(question, "vllm"), pair)
    words = found.router.split()
    assert words[:4] == ["vllm-router", "--vllm-pd-disaggregation", "--policy", "round_robin"]
    for flag, role, replicas in (
        ("--prefill", "prompts", pair.prompts),
        ("--decode", "answers", pair.answers),
    ):
        told = [words[i + 1] for i, word in enumerate(words) if word == flag]
        assert told == [f"http://{role}-{i}.{role}:8000" for i in range(replicas)]
    assert words[-4:] == ["--host", "0.0.0.0", "--port", "8000"]
    other = separate_launch(behind(question, "sglang"), pair).router.split()
    assert other[3:] == ["--pd-disaggregation", *words[2:]]
    assert "experimental" in found.note
    text = separate_text(behind(question, "vllm"), pair)
    assert text.startswith(f"# each of {pair.prompts} replicas for prompts\n")
    assert f"({found.note})" in text
    one = question.deployment
    tpu = replace(one, system=replace(one.system, generation="tpu"))
    asked = replace(question, deployment=tpu)
    for text in (separate_text(asked, pair), kubernetes_separate(asked, pair)):
        assert "TPUConnector stands for\n# NixlConnector, and" in text.split("replicas")[0]


def test_files_of_separate_fleets_say_what_guesses_once() -> None:
    question, pair = apart()
    one = replace(question.deployment, draft_tokens=2, accepted_tokens=1.5, drafter="ngram")
    asked = replace(question, deployment=one)
    files = separate_launch(behind(asked, "trtllm"), pair).files
    for name in ("prompts.yaml", "answers.yaml"):
        assert files[name].count("disable_overlap_scheduler") == 1
        read = yaml.safe_load(files[name])
        assert read["speculative_config"] == {"decoding_type": "NGram", "max_draft_len": 2}
        assert read["cache_transceiver_config"]["backend"] == "NIXL"
    for role in ("prompts", "answers"):
        words = role_words(behind(asked, "trtllm"), pair, role)
        assert words[-2:] == ["--extra_llm_api_options", f"{role}.yaml"]
        assert words.count("--extra_llm_api_options") == 1
        assert "--speculative-config" in role_words(behind(asked, "vllm"), pair, role)
