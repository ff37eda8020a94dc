"""Names as people write them, and the nearest ones for those that are unknown."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.core.hardware.catalogue import (
    Unserved,
    compared,
    deployed,
    find_backend,
    find_model,
    find_precision,
    find_system,
    model_names,
    nearest,
    preset_model,
    systems,
    was_measured,
)
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.published_runs import read_lines

LLAMA = "meta-llama/Meta-Llama-3.1-70B"
R1 = "deepseek-ai/DeepSeek-R1"


@pytest.mark.parametrize(
    ("name", "preset", "precision"),
    [
        ("deepseek-ai/DeepSeek-R1", R1, ""),
        ("DeepSeek-R1-0528", R1, ""),
        ("nvidia/DeepSeek-R1-0528-FP4-v2", R1, "fp4"),
        ("dsr1", R1, ""),
        ("Llama-3.1-70B-Instruct", LLAMA, ""),
        ("llama 3.3 70b", LLAMA, ""),
        ("nvidia/Llama-3.3-70B-Instruct-FP8", LLAMA, "fp8"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", "Qwen/Qwen3-235B-A22B", ""),
        ("Qwen3-235B", "Qwen/Qwen3-235B-A22B", ""),
        ("zhipuai/GLM-5", "zai-org/GLM-5", ""),
        ("gpt-oss-120b", "openai/gpt-oss-120b", ""),
        ("gemma-4-31B-it", "nvidia/Gemma-4-31B-IT-NVFP4", "bf16"),  # a copy is the preset
        ("nvidia/Gemma-4-31B-IT-NVFP4", "nvidia/Gemma-4-31B-IT-NVFP4", "fp4"),
        ("amd/gpt-oss-120b-w-mxfp4", None, ""),
        ("mistralai/Mistral-7B-Instruct-v0.3", "Mistral-7B-v0.1", ""),
        ("Mixtral-8x7B", "mistralai/Mixtral-8x7B-v0.1", ""),
    ],
)
def test_names_lead_to_their_shape(name: str, preset: str | None, precision: str) -> None:
    if preset is None:
        with pytest.raises(ValueError, match="nearest: openai/gpt-oss-120b"):
            find_model(name)
        return
    model, told = find_model(name)
    assert (model.name, told) == (preset_model(preset).name, precision)


def test_every_preset_is_found_by_its_name() -> None:
    assert len(model_names()) >= 95
    for name in model_names():
        assert find_model(name)[0].layers == preset_model(name).layers, name
        assert find_model(name.lower())[0].layers == preset_model(name).layers, name
    with pytest.raises(ValueError, match="model must be a preset, got nothing like it"):
        preset_model("nothing like it")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("DeepSeek-R1-BF16", "bf16"), ("unsloth/Kimi-K2.5-FP16", "bf16"), ("GLM-5-bf16", ""),
        ("gpt-oss-120b-BF16", "bf16"), ("gpt-oss-120b-FP8", "fp8"), ("gpt-oss-120b-MXFP4", "fp4"),
        ("DeepSeek-R1", ""), ("Qwen3-8B-BF16", ""),  # as its checkpoint has it
        ("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", ""), ("NVIDIA-Nemotron-3-Nano-30B-A3B", ""),
        ("Qwen3.6-27B", "bf16"), ("Qwen3.6-27B-BF16", "bf16"), ("Qwen3.6-27B-NVFP4", "fp4"),
    ],
)  # fmt: skip
def test_a_name_says_the_bits_of_its_weights(name: str, told: str) -> None:
    """Where it says other ones than the checkpoint of its preset."""
    assert find_model(name)[1] == told


def test_a_file_is_read_and_a_bad_one_named(tmp_path: Path) -> None:
    shape = {
        "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 128, "vocab_size": 100,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    for given_path in (tmp_path, tmp_path / "config.json"):
        model = find_model(str(given_path))[0]
        assert (model.hidden, model.name) == (64, tmp_path.name)
        assert find_model(given_path)[0] == model  # also a folder whose name is like a model's
    (tmp_path / "mine.json").write_text(json.dumps(shape), encoding="utf-8")
    assert find_model(str(tmp_path / "mine.json"))[0].name == "mine"
    del shape["vocab_size"]
    (tmp_path / "config.json").write_text(json.dumps(shape), encoding="utf-8")
    with pytest.raises(ValueError, match=r"config\.json must have 'vocab_size'"):
        find_model(str(tmp_path))
    for text in ("{", "[" * 100_000):
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match="must hold JSON"):
            find_model(str(tmp_path))
    with pytest.raises(ValueError, match="cannot be read: No such file"):
        find_model(str(tmp_path / "none.json"))
    with pytest.raises(ValueError, match="model must be named"):
        find_model("  ")


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("Qwen3-14B", 14.8), ("Qwen/Qwen3-Coder-30B-A3B-Instruct", 30.5), ("Yi-34B", 34.4),
        ("Qwen3-235B-A22B-Thinking-2507", 235.1), ("Qwen3-Coder-480B-A35B-Instruct-FP8", 480.2),
        ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", 8.9), ("NVIDIA-Nemotron-Nano-12B-v2", 12.3),
        ("google/gemma-3-12b-it", 11.8), ("gemma-3-27b-it", 27.0), ("openai/gpt-oss-20b", 20.9),
        ("mistralai/Mistral-Nemo-Instruct-2407", 12.2), ("Llama-3.1-405B-Instruct-FP8", 405.9),
        ("deepseek-ai/DeepSeek-V3.1", 671.0), ("deepseek-ai/DeepSeek-R1", 671.0),
        ("meta-llama/Llama-3.3-70B-Instruct", 70.6), ("meta-llama/Llama-3.1-8B-Instruct", 8.0),
    ],
)  # fmt: skip
def test_models_of_other_harnesses_are_known_by_name(name: str, billions: float) -> None:
    """Names in ML.ENERGY's table and in the validation sets of other predictors, and the sizes that
    their makers state."""
    assert find_model(name)[0].parameters / 1e9 == pytest.approx(billions, rel=0.03)


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("H100", "h100_sxm"), ("h100-80gb", "h100_sxm"), ("NVIDIA H200 141GB", "h200_sxm"),
        ("b200-nb", "b200_sxm"), ("GB200 NVL72", "gb200"), ("A100-SXM4-80GB", "a100_sxm"),
        ("AMD Instinct MI300X", "mi300x"), ("L40S", "l40s"), ("h100_pcie", "h100_pcie"),
        ("RTX PRO 6000", "rtx_pro_6000_server"), ("A100 40 GB", "a100_sxm_40gb"),
        ("NVIDIA A100-SXM4-40GB", "a100_sxm_40gb"), ("a100-sxm-40gb", "a100_sxm_40gb"),
        ("3090", "rtx_3090"), ("RTX 3090 24GB", "rtx_3090"), ("RTX 4090 24GB", "rtx_4090"),
        ("NVIDIA GeForce RTX 5090", "rtx_5090"), ("A6000", "rtx_a6000"), ("A10", "a10"),
        ("RTX 6000 Ada", "rtx_6000_ada"), ("NVIDIA RTX 6000 Ada Generation", "rtx_6000_ada"),
        ("A800-SXM4-80GB", "a800_sxm"), ("H800", "h800_sxm"), ("NVIDIA GH200 480GB", "gh200"),
        ("DGX Spark", "dgx_spark_gb10"), ("NVIDIA GB10", "dgx_spark_gb10"),
    ],
)  # fmt: skip
def test_systems_go_by_many_names(name: str, system: str) -> None:
    assert find_system(name).name == system
    assert system in systems()


def test_unknown_names_are_answered_with_near_ones() -> None:
    with pytest.raises(ValueError, match=r"system 'h10' is not known; nearest: .*h100"):
        find_system("h10")


@pytest.mark.parametrize(
    "name",
    ["V100", "Tesla V100-SXM2-32GB", "NVIDIA V100S-PCIE-32GB", "P100", "Tesla P40", "GTX 1080 Ti"],
)
def test_devices_that_engines_have_left_are_refused_for_that(name: str) -> None:
    """The wheels of vLLM 0.34 hold kernels from sm_75 on; SGLang 0.5.23 refuses what is older."""
    with pytest.raises(
        Unserved, match=f"system '{name}' is too old for engines of today: vLLM 0.34"
    ):
        find_system(name)


@pytest.mark.parametrize("name", ["Gaudi 3", "Intel Gaudi2", "AWS Trainium2", "trn2", "Inf2"])
def test_devices_of_plugins_are_refused_for_that(name: str) -> None:
    """Built into vLLM 0.34 are CUDA, ROCm, TPU, XPU and processors (`platforms/__init__.py`)."""
    with pytest.raises(ValueError, match=f"system '{name}' is not known: vLLM 0.34 serves it by"):
        find_system(name)


@pytest.mark.parametrize("name", ["T4", "inference box", "p4d.24xlarge", "GTX 1660", "V100X"])
def test_other_unknown_devices_are_not_called_old(name: str) -> None:
    with pytest.raises(ValueError, match=r"is not known; nearest"):
        find_system(name)


@pytest.mark.parametrize(
    "name", ["H100 80GB", "A100-80GB", "B200 180GB", "B200-192GB", "L40S 48GB"]
)
def test_a_memory_in_the_name_that_is_the_systems(name: str) -> None:
    assert compared(find_system(name).name).startswith(compared(name.replace("-", " ").split()[0]))


@pytest.mark.parametrize("name", ["A100-PCIE-40GB", "H100 94GB", "H200-80GB", "A800 40GB"])
def test_another_memory_in_the_name_is_another_system(name: str) -> None:
    with pytest.raises(ValueError, match=f"system '{name}' is known with [0-9]+ GiB only"):
        find_system(name)
    with pytest.raises(ValueError, match=r"backend 'vlm' is not known; nearest: vllm"):
        find_backend("vlm")
    with pytest.raises(ValueError, match=r"precision 'fp3' is not known; known: bf16, fp8"):
        find_precision("fp3")
    with pytest.raises(ValueError, match=r"nearest: .*Llama-3.1-70B.*give the path of its config"):
        find_model("meta-lama/Llama-3.2-70B")
    for name in ("bge-large", "BAAI/bge-reranker-v2-m3", "Qwen3-Embedding-8B", "whisper-large-v3"):
        with pytest.raises(ValueError, match=r"config.json, of a decoder: an encoder"):
            find_model(name)
    with pytest.raises(ValueError, match=r"its config.json$"):
        find_model("Edge5-7B")
    assert nearest("zzz", ["b", "a"]) == "a, b"
    like = ["ab20", "cb20", "db20"]  # more than what goes on from there, which is named before them
    assert nearest("b20", [*like, "b20sxm"]).startswith("b20sxm, ")


def test_a_deployment_by_names_differs_in_nothing_else() -> None:
    one = deployed("DeepSeek-R1", "b200", tensor=8)
    assert (one.architecture, one.system.name) == (find_model("DeepSeek-R1")[0], "b200_sxm")
    assert replace(one, architecture=WORKED.architecture, system=WORKED.system, tensor=1) == WORKED
    assert deployed("DeepSeek-R1", "b200", one, tensor=4) == replace(one, tensor=4)
    with pytest.raises(ValueError, match="model 'no such' is not known"):
        deployed("no such", "b200")
    with pytest.raises(ValueError, match="system 'no such' is not known"):
        deployed("DeepSeek-R1", "no such")
    with pytest.raises(TypeError, match="devices"):
        deployed("DeepSeek-R1", "b200", devices=8)


@pytest.mark.parametrize(
    ("name", "backend"),
    [("vLLM", "vllm"), ("dynamo-trt", "trtllm"), ("TRT-LLM", "trtllm"), ("SGLang", "sglang")],
)
def test_backends_go_by_many_names(name: str, backend: str) -> None:
    assert find_backend(name) == backend


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("BF16", "bf16"),
        ("fp8_block", "fp8"),
        ("nvfp4", "fp4"),
        ("int4_wo", "int4"),
        ("mxfp4", "fp4"),
    ],
)
def test_precisions_go_by_many_names(name: str, precision: str) -> None:
    assert find_precision(name) == precision


@given(st.text(max_size=30))
def test_any_text_is_found_or_refused(text: str) -> None:
    assert compared(text) == compared(compared(text))
    for finder in (find_system, find_backend, find_precision):
        with contextlib.suppress(ValueError):
            finder(text)


@pytest.mark.parametrize(
    "name", ["~nobody-is-called-so/config.json", "./a\0.json", f"./{'a' * 900}"]
)
def test_a_path_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^model '[~.]"):
        find_model(name)


def test_devices_that_were_measured_are_those_of_the_runs() -> None:
    measured = {line["system"] for line in read_lines()}
    assert {name for name in systems() if was_measured(name)} == measured
