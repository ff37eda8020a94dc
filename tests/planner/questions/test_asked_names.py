"""Names in a question: the device, the format, what guesses, and the checkpoint."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from serving_mathematics.core.hardware.catalogue import find_system
from serving_mathematics.core.hardware.deployments import Impossible
from serving_mathematics.planner.questions.questions import read_choices, read_question


def test_experts_that_stay_in_four_bits_are_not_planned_under_another_name() -> None:
    asked = {"rate_per_s": 1, "model": "gpt-oss-120b", "precision": "bf16"}
    with pytest.raises(ValueError, match="must be auto, as the experts of openai/gpt-oss"):
        read_choices(asked)
    for bits in ("BF16", "FP8"):  # by the name as well
        with pytest.raises(Impossible, match="must be auto, as the experts of openai/gpt-oss"):
            read_choices(asked | {"model": f"gpt-oss-120b-{bits}", "precision": "any"})
        guessed = {"draft_tokens": 2, "accepted_tokens": 2, "drafter": f"gpt-oss-20b-{bits}"}
        with pytest.raises(Impossible, match="precision must be left out of a drafter's name"):
            read_choices({"rate_per_s": 1, "model": "gpt-oss-120b"} | guessed)
    beside = read_choices(asked | {"model": "DeepSeek-V4-Flash", "precision": "fp8"})
    assert {one.deployment.precision for one in beside} == {"fp8"}  # what is beside its experts


def test_precision_is_what_the_name_or_the_checkpoint_says() -> None:
    for name, precision in (
        ("Llama-3.1-8B", "bf16"),
        ("Qwen3-32B-FP8", "fp8"),
        ("DeepSeek-R1", "fp8"),
        ("gpt-oss-120b", "fp4"),
    ):
        asked = read_question({"rate_per_s": 1, "model": name, "device": "B200"})
        assert asked.deployment.precision == precision


def test_a_config_json_is_a_model(tmp_path: Path) -> None:
    config = {
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "intermediate_size": 8192,
        "vocab_size": 128256,
        "max_position_embeddings": 8192,
    }
    file = tmp_path / "config.json"
    file.write_text(json.dumps(config))
    asked = read_question({"rate_per_s": 1, "model": str(file)})
    assert asked.deployment.architecture.layer_count == 16
    del config["num_hidden_layers"]
    file.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"model: .*num_hidden_layers"):
        read_question({"rate_per_s": 1, "model": str(file)})


GUESSING: dict[str, object] = {
    "rate_per_s": 1,
    "model": "Qwen3-32B",
    "draft_tokens": 3,
    "accepted_tokens": 2,
}


def test_what_guesses_is_a_word_or_a_model() -> None:
    assert read_question({"rate_per_s": 1}).deployment.drafter == "mtp"
    for word in ("mtp", "ngram", " NGram "):
        found = read_question(GUESSING | {"drafter": word}).deployment.drafter
        assert found == word.strip().lower()
    for name, published in (("Qwen3-0.6B", "bf16"), ("Qwen/Qwen3-0.6B-FP8", "fp8")):
        found = read_question(GUESSING | {"drafter": name}).deployment.drafter
        assert not isinstance(found, str)
        assert (found.name.removesuffix("-FP8"), found.published) == ("Qwen/Qwen3-0.6B", published)
    tried = read_choices(GUESSING | {"drafter": "Qwen/Qwen3-0.6B-FP8", "parallelism": "auto"})
    tried = [one for one in tried if one.deployment.precision == "bf16"]
    assert [one.deployment.tensor for one in tried] == [1, 2, 4, 8]
    assert all(one.deployment.drafter == found for one in tried)


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("Llama-3.3-70B", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama 3.3 70b instruct", "meta-llama/Llama-3.3-70B-Instruct"),
        ("unsloth/Llama-3.3-70B-Instruct", "unsloth/Llama-3.3-70B-Instruct"),
        ("Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B"),
        ("Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("meta-llama/Meta-Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B"),
        ("DeepSeek-R1-0528", "deepseek-ai/DeepSeek-R1-0528"),
        ("DeepSeek-R1-0528-FP4", "DeepSeek-R1-0528-FP4"),
        ("deepseek v3.1", "deepseek-ai/DeepSeek-V3.1"),
        ("gpt-oss", "openai/gpt-oss-120b"),
        ("Qwen3-Coder-30B-A3B", "Qwen/Qwen3-Coder-30B-A3B-Instruct"),
    ],
)
def test_the_asked_model_is_the_one_that_is_served(asked: str, name: str) -> None:
    """And not another of its shape."""
    values = {"rate_per_s": 1, "model": asked, "device": "B200", "drafter": asked}
    values |= {"draft_tokens": 2, "accepted_tokens": 2}
    found = read_question({**values, "drafter": "mtp"})
    assert found.served == name


def test_a_file_is_served_from_its_folder(tmp_path: Path) -> None:
    config = tmp_path / "mine" / "config.json"
    config.parent.mkdir()
    config.write_text(
        json.dumps(
            {
                "architectures": ["LlamaForCausalLM"],
                "hidden_size": 1024,
                "intermediate_size": 2048,
                "num_attention_heads": 8,
                "num_hidden_layers": 4,
                "vocab_size": 1000,
                "max_position_embeddings": 16384,
            }
        )
    )
    for path in (str(config), str(config.parent)):
        assert read_question({"rate_per_s": 1, "model": path}).served == str(config.parent)


def test_formats_that_are_compared_where_nothing_is_said() -> None:
    def formats(**asked: object) -> list[str]:
        values = {"rate_per_s": 1, "device": "B200", "parallelism": "tp8"} | asked
        return [one.deployment.precision for one in read_choices(values)]

    assert formats() == ["bf16", "fp8"]
    assert formats(precision="auto") == ["bf16"]
    assert formats(model="Qwen/Qwen3-32B-FP8") == ["fp8"]
    assert formats(model="DeepSeek-R1", parallelism="tp8ep8") == ["fp8"]
    assert len(formats(model="gpt-oss-120b")) == 1
    assert formats(precision="any, fp4") == ["bf16", "fp8", "fp4"]
    assert formats(load_test="16:0.25:0.011") == ["bf16"]


def test_a_device_given_by_the_numbers_of_an_h100_is_one_in_every_format() -> None:
    like = find_system("H100")
    sheet = {"peak_tflops": 1e-12 * like.bf16_flops_per_s, "memory_gib": like.memory_bytes / 2**30}
    sheet["bandwidth_gb_per_s"] = 1e-9 * like.bandwidth_bytes_per_s
    given = read_question({"rate_per_s": 1, **sheet}).deployment.system
    assert given.generation == like.generation
    numbers = [{k: x for k, x in asdict(one).items() if k[0] not in "ng"} for one in (given, like)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-12)
