"""Commands and YAML: what is planned stands in them, under each engine's names."""

from __future__ import annotations

import pytest
import yaml
from serving_mathematics.planner.capacity_planner import Fleet, Performance, Question
from serving_mathematics.planner.launch import (
    kubernetes_deployment,
    launch_command,
    launch_words,
)
from serving_mathematics.planner.questions import read_question

WIDE: dict[str, object] = {
    "rate_per_s": 2,
    "model": "deepseek-ai/DeepSeek-R1",
    "device": "H200",
    "parallelism": "dp8ep8",
    "cache_precision": "fp8",
    "ttft_s": 5,
    "requests": 200,
    "spare_replicas": 1,
}


def planned(values: dict[str, object], places: int = 96) -> tuple[Question, Performance]:
    question = read_question(values)
    best = Fleet(question).performance(3, places, 2048)
    assert best is not None
    return question, best


def test_attention_over_data_divides_the_limit() -> None:
    question, best = planned(WIDE)
    words = launch_words(question, best)
    assert words[words.index("--max-num-seqs") + 1] == "12"
    assert words[words.index("--data-parallel-size") + 1] == "8"
    assert "--enable-expert-parallel" in words
    assert words[words.index("--kv-cache-dtype") + 1] == "fp8"
    assert "--tensor-parallel-size" not in words
    assert "--quantization" not in words  # published in 8 bits
    words = launch_words(question, best, "sglang")
    assert words[words.index("--tp-size") + 1] == "8"
    assert words[words.index("--dp-size") + 1] == "8"
    assert "--enable-dp-attention" in words
    assert words[words.index("--max-running-requests") + 1] == "96"
    words = launch_words(question, best, "trtllm")
    assert words[words.index("--ep_size") + 1] == "8"


def test_eight_bits_are_made_where_they_are_not_published() -> None:
    values = {"rate_per_s": 2, "precision": "fp8", "parallelism": "tp2pp2", "requests": 200}
    question, best = planned(values)
    for backend in ("vllm", "sglang"):
        assert "--quantization fp8" in launch_command(question, best, backend)
    words = launch_words(question, best, "trtllm")
    assert words[words.index("--tp_size") + 1] == words[words.index("--pp_size") + 1] == "2"
    plain = launch_command(*planned({"rate_per_s": 2, "parallelism": "tp1", "requests": 200}))
    assert "quantization" not in plain
    assert "parallel" not in plain


def test_the_deployment_is_yaml_with_what_was_planned() -> None:
    question, best = planned(WIDE)
    found = yaml.safe_load(kubernetes_deployment(question, best))
    assert found["spec"]["replicas"] == 4
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["command"] == launch_words(question, best)
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert found["spec"]["selector"]["matchLabels"] == labels


def test_another_engine_is_refused() -> None:
    question, best = planned({"rate_per_s": 2, "parallelism": "tp1", "requests": 200})
    with pytest.raises(ValueError, match="backend must be one of vllm, sglang, trtllm, got x"):
        launch_words(question, best, "x")
