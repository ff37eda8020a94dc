"""Commands and YAML: what is planned stands in them, under each engine's names."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import Any, cast

import pytest
import yaml
from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.catalogue import find_model, model_names
from serving_mathematics.core.hardware.deployments import (
    cache_room_bytes,
    sequence_bytes,
    stored,
    weight_bytes,
)
from serving_mathematics.planner.configurations import Answer, Separate, answer, whole_answer
from serving_mathematics.planner.fleet_search import Fleets, Performance
from serving_mathematics.planner.launch import (
    CHECKPOINTS,
    Limits,
    Start,
    Started,
    _launch_notes,
    _repository,
    kubernetes_deployment,
    kubernetes_separate,
    launch_files,
    launch_text,
    launch_words,
    planned_limits,
    role_words,
    separate_launch,
    separate_text,
    starts,
)
from serving_mathematics.planner.question import Question
from serving_mathematics.planner.questions import read_choices, read_question

from builder import ROOT

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
    best = Fleets(question).performance(3, places, 2048)
    assert best is not None
    return question, best


def behind(question: Question, backend: str) -> Question:
    """The same with another engine."""
    return replace(question, deployment=replace(question.deployment, backend=backend))


def command(question: Question, best: Limits) -> str:
    """What starts a replica, on one line."""
    return shlex.join(launch_words(question, best))


def container_of(document: dict[str, Any]) -> dict[str, Any]:
    """The one container of a Deployment or a StatefulSet."""
    (container,) = document["spec"]["template"]["spec"]["containers"]
    return cast("dict[str, Any]", container)


def test_what_stands_behind_routers_is_started_as_it_was_simulated() -> None:
    asked = WIDE | {"replicas": 2, "requests": 100, "ttft_s": 9, "batch_limit": 64}
    told = whole_answer(read_choices(asked), asked)
    limits: Limits = planned_limits(told)
    assert (limits.replicas, limits.places) == (2, 64)
    (one,) = starts(told)
    assert "--max-num-seqs 8 " in one.flags  # of each of eight ranks
    assert "  replicas: 3" in one.kubernetes.splitlines()  # with the one that may fail


@pytest.mark.parametrize("device", ["L4", "H100", "B200"])
def test_what_sglang_takes_for_weights_and_cache_leaves_the_planned_cache(device: str) -> None:
    asked = {"rate_per_s": 0.2, "backend": "sglang", "device": device, "requests": 100}
    question, best = planned(asked | {"tpot_s": 0.4, "ttft_s": 60, "parallelism": "tp1"})
    words = launch_words(question, best)
    one = question.deployment
    taken = float(words[words.index("--mem-fraction-static") + 1]) * one.system.memory_bytes
    room = cache_room_bytes(one, question.reserved_bytes)
    assert taken - weight_bytes(one) == pytest.approx(room, abs=1e-3 * one.system.memory_bytes)
    assert taken - weight_bytes(one) <= room


@pytest.mark.parametrize(
    ("change", "short"),
    [
        ({"model": "Qwen3-32B", "precision": "bf16"}, True),
        ({"model": "Qwen3-32B", "precision": "fp8"}, False),
        ({"model": "DeepSeek-R1", "device": "B200", "parallelism": "tp4"}, True),
        ({"model": "Llama-4-Scout", "parallelism": "tp8"}, True),  # of ten million tokens
    ],
)
def test_vllm_starts_where_a_whole_context_does_not_fit(
    change: dict[str, object], short: bool
) -> None:
    """By the bytes of one sequence as long as the context, against the room for it."""
    asked = {"rate_per_s": 1, "ttft_s": 5, "tpot_s": 0.1, "parallelism": "tp1", "requests": 100}
    question, best = planned(asked | change)
    one, most = question.deployment, question.deployment.architecture.context_tokens
    room = cache_room_bytes(one, question.reserved_bytes)
    assert (sequence_bytes(one, float(most)) > room) == short
    for text in (launch_text(question, best), kubernetes_deployment(question, best)):
        assert text.replace('", "', " ").count("--max-model-len auto") == 1
        assert (f"of the context of {most:,}, or is refused" in text) == short
    found = re.search(r"has about ([\d,]+) tokens at most", launch_text(question, best))
    if found and "Llama-4" not in one.architecture.name:  # whose chunks hold less, the longer
        engine = Fleets(question).engine
        assert int(found[1].replace(",", "")) == engine.kv_blocks * engine.block_tokens
    for backend in ("sglang", "trtllm"):  # which shorten it themselves
        assert "auto" not in launch_text(behind(question, backend), best)


def test_a_tpu_is_told_the_length_that_fits() -> None:
    """Its workers cannot be told another than they began with."""
    asked = {"rate_per_s": 1, "ttft_s": 5, "tpot_s": 0.1, "requests": 100, "device": "tpu_v6e"}
    for split, short in (("tp4", True), ("tp8", False)):
        model = {"model": "Llama-3.1-70B", "precision": "fp8", "parallelism": split}
        words = launch_words(*planned(asked | model, places=8))
        assert ("--max-model-len" in words) == short
        if short:
            assert 1000 < int(words[words.index("--max-model-len") + 1]) < 131_072


def test_a_replica_on_two_machines_says_how_each_is_started() -> None:
    values: dict[str, object] = {"rate_per_s": 1, "ttft_s": 9, "tpot_s": 0.2, "requests": 100}
    tensor, best = planned(values | {"model": "Llama-3.1-405B", "parallelism": "tp16"})
    data, _ = planned(values | {"model": "DeepSeek-R1", "parallelism": "dp16ep16"})
    for question, backend, words in (
        (tensor, "vllm", "--nnodes 2 --node-rank RANK --master-addr FIRST"),
        (data, "vllm", "--data-parallel-size-local 8 --data-parallel-address FIRST"),
        (tensor, "sglang", "--nnodes 2 --node-rank RANK --dist-init-addr FIRST:PORT"),
        (data, "trtllm", "mpirun -n 16 trtllm-llmapi-launch"),
    ):
        text = launch_text(behind(question, backend), best)
        assert f"# 16 devices are on 2 machines or more: {words}" in text.replace(
            "on each, with ", ""
        )
    one, _ = planned(values | {"model": "Llama-3.1-70B", "parallelism": "tp8"})
    assert "machines" not in launch_text(one, best)
    pair, best = planned(values | {"model": "Llama-3.1-8B", "device": "GB10", "parallelism": "tp2"})
    assert "# 2 devices are on 2 machines or more" in launch_text(pair, best)


def test_eight_bits_that_older_releases_cannot_load_say_so() -> None:
    """Of 16 bits, Llama-3.1-70B has 141 GB, which one H200 does not hold and two do."""
    asked: dict[str, object] = {"model": "Llama-3.1-70B", "device": "H200", "precision": "fp8"}
    for split, said in (("tp1", True), ("tp2", False)):
        question, best = planned(asked | {"rate_per_s": 1, "parallelism": split, "requests": 100})
        assert ("# vLLM up to 0.14 loads 16 bits first" in launch_text(question, best)) == said
        assert "16 bits" not in launch_text(behind(question, "sglang"), best)


@pytest.mark.parametrize(
    ("model", "precision", "bits"),
    [
        ("gpt-oss-120b", "auto", 16),  # whose checkpoint says nothing of its cache
        ("Llama-3.1-70B", "fp4", 8),
    ],
)
def test_a_cache_of_eight_bits_is_asked_for(model: str, precision: str, bits: int) -> None:
    asked = {"model": model, "device": "B200", "precision": precision, "requests": 100}
    question, best = planned(asked | {"rate_per_s": 1, "parallelism": "tp1"})
    assert stored(question.deployment).cache == bits / 8
    for backend, word in (
        ("vllm", "--kv-cache-dtype fp8"),
        ("sglang", "--kv-cache-dtype fp8_e4m3"),
        ("trtllm", "dtype: fp8"),
    ):
        assert (word in launch_text(behind(question, backend), best)) == (bits == 8)


def test_attention_over_data_divides_the_limit() -> None:
    question, best = planned(WIDE)
    words = launch_words(question, best)
    assert words[words.index("--max-num-seqs") + 1] == "12"
    few = launch_words(question, replace(best, places=7))
    assert few[few.index("--max-num-seqs") + 1] == "1"
    assert words[words.index("--data-parallel-size") + 1] == "8"
    assert "--enable-expert-parallel" in words
    assert words[words.index("--kv-cache-dtype") + 1] == "fp8"
    assert "--tensor-parallel-size" not in words
    assert "--quantization" not in words  # published in 8 bits
    words = launch_words(behind(question, "sglang"), best)
    assert words[words.index("--tp-size") + 1] == "8"
    assert words[words.index("--attn-dp-size") + 1] == "8"
    assert not {"--dp-size", "--enable-dp-attention"} & set(words)  # of which one asks for 64
    assert "--dp-size 8 --enable-dp-attention" in launch_text(behind(question, "sglang"), best)
    assert words[words.index("--max-running-requests") + 1] == "96"
    assert words[words.index("--chunked-prefill-size") + 1] == "16384"  # which it divides
    words = launch_words(behind(question, "trtllm"), best)
    assert words[words.index("--ep_size") + 1] == "8"
    assert words[words.index("--max_num_tokens") + 1] == "2048"
    told = yaml.safe_load(launch_files(behind(question, "trtllm"))["options.yaml"])
    assert told["enable_attention_dp"] is told["enable_chunked_prefill"] is True


def test_eight_bits_are_made_where_they_are_not_published() -> None:
    values = {"rate_per_s": 2, "precision": "fp8", "parallelism": "tp2pp2", "requests": 200}
    question, best = planned(values)
    for backend, made in (("vllm", "fp8_per_channel"), ("sglang", "fp8")):
        words = launch_words(behind(question, backend), best)
        assert words[words.index("--quantization") + 1] == made
    words = launch_words(behind(question, "trtllm"), best)
    assert words[words.index("--tp_size") + 1] == words[words.index("--pp_size") + 1] == "2"
    text = launch_text(behind(question, "sglang"), best)
    assert " --enable-mixed-chunk\n# SGLang from 0.5.12 on mixes chunks with stages" in text
    plain = command(*planned({"rate_per_s": 2, "parallelism": "tp1", "requests": 200}))
    assert "quantization" not in plain
    assert "parallel" not in plain


def test_the_deployment_is_yaml_with_what_was_planned() -> None:
    question, best = planned(WIDE)
    found = yaml.safe_load(kubernetes_deployment(question, best))
    assert found["spec"]["replicas"] == 4
    container = container_of(found)
    drain = ["--shutdown-timeout", "600"]
    assert container["command"] == launch_words(question, best) + drain
    assert container["resources"]["limits"] == {"nvidia.com/gpu": 8}
    labels = found["spec"]["template"]["metadata"]["labels"]
    assert found["spec"]["selector"]["matchLabels"] == labels


@pytest.mark.parametrize(
    ("precision", "model", "asked"),
    [
        ("bf16", "Llama-3.1-8B", ""),
        ("fp8", "Llama-3.1-8B", "trtllm"),
        ("fp8", "nvidia/Llama-3.1-8B-Instruct-FP8", ""),
        ("fp4", "Llama-3.1-8B", "vllm sglang trtllm"),
        ("int4", "Llama-3.1-8B", "vllm sglang trtllm"),
        ("fp8", "DeepSeek-R1", ""),
        ("bf16", "DeepSeek-R1", "vllm sglang trtllm"),
        ("fp4", "gpt-oss-120b", ""),
    ],
)
def test_a_checkpoint_in_another_format_is_asked_for(
    precision: str, model: str, asked: str
) -> None:
    """Where the engine neither finds nor makes the planned format."""
    question = read_question({"rate_per_s": 2, "model": model, "precision": precision,
                              "device": "B200", "parallelism": "tp8"})  # fmt: skip
    noted = [one for one in ("vllm", "sglang", "trtllm") if _launch_notes(behind(question, one))]
    assert noted == asked.split()


@pytest.mark.parametrize("backend", ["vllm", "sglang", "trtllm"])
def test_a_pod_hears_others_and_waits_until_it_serves(backend: str) -> None:
    """vLLM listens everywhere at port 8000 by default, as the probe asks."""
    question, best = planned({"rate_per_s": 2, "parallelism": "tp1", "backend": backend})
    *_, found = yaml.safe_load_all(kubernetes_deployment(question, best))
    container = container_of(found)
    assert ("--host 0.0.0.0 --port 8000" in " ".join(container["command"])) == (backend != "vllm")
    assert ("--enable-metrics" in container["command"]) == (backend == "sglang")
    assert container["readinessProbe"]["httpGet"] == {"path": "/health", "port": 8000}
    assert container["readinessProbe"]["timeoutSeconds"] > 1  # which SGLang takes to answer
    assert container["image"].endswith(":VERSION")


@pytest.mark.parametrize("backend", ["vllm", "sglang", "trtllm"])
def test_a_pod_that_goes_ends_its_answers(backend: str) -> None:
    """The grace period holds the sleep and what vLLM waits; other engines wait by themselves, until
    it ends."""
    question, best = planned({"rate_per_s": 2, "parallelism": "tp1", "backend": backend})
    text = kubernetes_deployment(question, best)
    *_, found = yaml.safe_load_all(text)
    container, words = container_of(found), container_of(found)["command"]
    assert ("--shutdown-timeout" in words) == (backend == "vllm") == ("--shutdown" in text[:500])
    waits_s = int(words[words.index("--shutdown-timeout") + 1]) if backend == "vllm" else 600
    sleep_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace_s = found["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s == waits_s + 2 * sleep_s  # and some to end itself
    assert "longest answer" in text.partition("apiVersion")[0]
    page = (ROOT / "docs" / "capacity" / "autoscaling.md").read_text("utf-8")
    assert f"`preStop` sleep of {sleep_s} s" in page
    assert "--shutdown-timeout" not in launch_words(question, best)  # Ctrl+C ends it at once


def test_host_memory_and_a_router_are_started_too() -> None:
    """Of 100 GiB beside eight devices that are data-parallel, vLLM is told a rank's in GiB, SGLang
    a device's in GB, TensorRT-LLM in bytes; where tensors are split, vLLM is told all."""
    asked = WIDE | {"replicas": 2, "rate_per_s": 1, "requests": 100, "batch_limit": 64}
    asked |= {
        "host_memory_gib": "100",
        "routers": "least-requests",
        "like": "agents",
        "ttft_s": 60,
    }
    told = whole_answer(read_choices(asked), asked)
    (one,) = starts(told)
    assert "--kv-offloading-backend native --kv-offloading-size 12.5" in one.flags
    for text in (one.flags, one.kubernetes):
        assert "\n# before them: a least-requests router; a Kubernetes Service" in text
    words = launch_words(behind(told.question, "sglang"), planned_limits(told))
    assert words[words.index("--hicache-size") + 1] == "13"  # 107 GB over eight
    assert "--enable-hierarchical-cache" in words
    for split in ({"tensor": 8, "pipeline": 1}, {"tensor": 4, "pipeline": 2}):
        other = replace(told.question.deployment, attention_data=1, expert=1, **split)
        words = launch_words(replace(told.question, deployment=other), planned_limits(told))
        assert words[words.index("--kv-offloading-size") + 1] == "100"
    other = replace(told.question.deployment, backend="trtllm")
    (one,) = starts(replace(told, question=replace(told.question, deployment=other)))
    assert one.flags.endswith("\n# host_cache_size: 13421772800 in kv_cache_config")


@pytest.mark.parametrize(
    ("device", "backend", "resource", "image", "noted"),
    [
        ("H100", "vllm", "nvidia.com/gpu", "vllm/vllm-openai:VERSION", ()),
        ("MI300X", "vllm", "amd.com/gpu", "vllm/vllm-openai-rocm:VERSION", ()),
        ("MI300X", "sglang", "amd.com/gpu", "lmsysorg/sglang:VERSION-rocmROCM", ("720-mi30x",)),
        (
            *("tpu_v6e", "vllm", "google.com/tpu", "vllm/vllm-tpu:VERSION"),
            ("vllm-tpu", "gke-tpu-accelerator", "gke-tpu-topology"),
        ),
        ("tpu_v6e", "sglang", "google.com/tpu", "lmsysorg/sglang:VERSION", ("SGLang-JAX",)),
    ],
)
def test_a_pod_asks_for_devices_and_packages_by_their_makers_names(
    device: str, backend: str, resource: str, image: str, noted: tuple[str, ...]
) -> None:
    asked = {"rate_per_s": 2, "parallelism": "tp1", "device": device, "backend": backend}
    text = kubernetes_deployment(*planned(asked))
    container = container_of(yaml.safe_load(text))
    assert container["resources"]["limits"] == {resource: 1}
    assert container["image"] == image
    assert [word for word in noted if word not in text] == []
    assert "LeaderWorkerSet" not in text
    if device != "H100":
        with pytest.raises(ValueError, match="backend must be vllm or sglang on"):
            read_question({"rate_per_s": 2, "device": device, "backend": "trtllm"})


def test_what_spans_machines_is_no_pod() -> None:
    values: dict[str, object] = {"rate_per_s": 2, "device": "GB200", "model": "DeepSeek-R1"}
    for width, machines in ((8, 2), (16, 4)):
        question = read_question(values | {"parallelism": f"dp{width}ep{width}", "ttft_s": 5})
        best = Fleets(question).performance(2, 96, 2048)
        assert best is not None
        assert f"are on {machines} machines or more" in kubernetes_deployment(question, best)


SHORT = {  # what people type, which is no repository, and one that is; a named variant stays
    "Mistral-Small-24B": "mistralai/Mistral-Small-24B-Base-2501",
    "Mistral-Small-24B-Instruct-2501": "mistralai/Mistral-Small-24B-Instruct-2501",
    "Mixtral-8x7B": "mistralai/Mixtral-8x7B-v0.1",
    "Kimi-K2": "moonshotai/Kimi-K2-Instruct",
}


def test_presets_are_served_by_the_names_of_their_checkpoints() -> None:
    """With an owner, as on Hugging Face; and no other name is changed."""
    names = {find_model(name)[0].name for name in model_names()}
    assert all("/" in CHECKPOINTS.get(name, name) for name in names)
    assert {name for name in names if "/" not in name} == set(CHECKPOINTS)
    question, best = planned({"rate_per_s": 1, "model": "Gemma-3-27B", "parallelism": "tp1"})
    assert launch_words(question, best)[2] == "google/gemma-3-27b-it"
    for short, whole in SHORT.items():
        question = read_question(
            {"rate_per_s": 1, "model": short, "device": "B300", "parallelism": "tp8"}
        )
        assert _repository(question) == whole


def test_a_shape_alone_is_no_checkpoint() -> None:
    """An engine loads folders and repositories, and no file that a plan can read a model from."""
    question, best = planned({"rate_per_s": 1, "model": "Gemma-3-27B", "parallelism": "tp1"})
    for served, whole in (("of/mine", True), ("of/mine.json", False)):
        told = launch_text(replace(question, checkpoint=served), best)
        assert ("# of/mine.json is no checkpoint" not in told) == whole


GUESSING: dict[str, object] = {
    "rate_per_s": 2,
    "model": "Qwen3-32B",
    "parallelism": "tp2",
    "draft_tokens": 3,
    "accepted_tokens": 2,
    "requests": 200,
}
HEAD = "Qwen3-32B-EAGLE3"


def guessing(drafter: str) -> tuple[Question, Performance]:
    """A question with guesses and a fleet; a head is called after its method."""
    name = "Qwen3-0.6B" if drafter == HEAD else drafter
    question, best = planned(GUESSING | {"drafter": name})
    one = question.deployment
    if drafter == HEAD:
        assert not isinstance(one.drafter, str)
        one = replace(one, drafter=replace(one.drafter, name=HEAD))
    return replace(question, deployment=one), best


@pytest.mark.parametrize(
    ("drafter", "vllm", "sglang", "trtllm"),
    [
        (
            "mtp",
            {"method": "mtp", "num_speculative_tokens": 3},
            "EAGLE --speculative-num-steps 3 --speculative-eagle-topk 1",
            {"decoding_type": "MTP", "max_draft_len": 3, "num_nextn_predict_layers": 3},
        ),
        (
            "ngram",
            {"method": "ngram", "num_speculative_tokens": 3},
            "NGRAM --speculative-ngram-max-bfs-breadth 1",
            {"decoding_type": "NGram", "max_draft_len": 3},
        ),
        (
            "Qwen3-0.6B",
            {
                "method": "draft_model",
                "model": "Qwen/Qwen3-0.6B",
                "num_speculative_tokens": 3,
                "draft_tensor_parallel_size": 2,
            },
            "STANDALONE --speculative-draft-model-path Qwen/Qwen3-0.6B "
            "--speculative-num-steps 3 --speculative-eagle-topk 1",
            {
                "decoding_type": "Draft_Target",
                "max_draft_len": 3,
                "speculative_model": "Qwen/Qwen3-0.6B",
            },
        ),
        (
            HEAD,
            {
                "method": "eagle3",
                "model": HEAD,
                "num_speculative_tokens": 3,
                "draft_tensor_parallel_size": 2,
            },
            f"EAGLE3 --speculative-draft-model-path {HEAD} "
            "--speculative-num-steps 3 --speculative-eagle-topk 1",
            {"decoding_type": "Eagle3", "max_draft_len": 3, "speculative_model": HEAD},
        ),
    ],
)
def test_engines_are_told_what_guesses(
    drafter: str, vllm: dict[str, object], sglang: str, trtllm: dict[str, object]
) -> None:
    """As the engines' pages on speculative decoding say it."""
    question, best = guessing(drafter)
    words = launch_words(behind(question, "vllm"), best)
    assert json.loads(words[words.index("--speculative-config") + 1]) == vllm
    assert launch_files(behind(question, "vllm")) == launch_files(behind(question, "sglang")) == {}
    text = command(behind(question, "sglang"), best)
    tokens = "--speculative-num-draft-tokens 4 --prefill-decode-interval 1"
    assert text.endswith(f"--speculative-algorithm {sglang} {tokens}")
    simulated = "\n# comes one that guesses; this was simulated as if one step did both"
    assert simulated in launch_text(behind(question, "sglang"), best)
    heads = "its config.json counts them" in launch_text(behind(question, "vllm"), best)
    assert heads == (drafter == "mtp")
    text = command(behind(question, "trtllm"), best)
    assert text.endswith("--tp_size 2 --extra_llm_api_options options.yaml")
    told = yaml.safe_load(launch_files(behind(question, "trtllm"))["options.yaml"])
    alone = {"disable_overlap_scheduler": True} if drafter in ("ngram", "Qwen3-0.6B") else {}
    assert told == {"speculative_config": trtllm, "enable_chunked_prefill": True} | alone
    shown = launch_text(behind(question, "trtllm"), best).splitlines()
    assert [shown[0], shown[1 + heads]] == [text, "# options.yaml"]
    read = yaml.safe_load("\n".join(line.removeprefix("#   ") for line in shown[2 + heads :]))
    assert read == told


def test_nothing_is_told_where_nothing_guesses() -> None:
    question, best = planned({"rate_per_s": 2, "parallelism": "tp1", "requests": 200})
    for backend in ("vllm", "sglang", "trtllm"):
        text = launch_text(behind(question, backend), best)
        assert "specul" not in text
        assert ("options" in text) == (backend == "trtllm")


def test_one_device_tells_no_width_of_its_draft_model() -> None:
    values = GUESSING | {"parallelism": "tp1", "device": "B200", "drafter": "Qwen3-1.7B"}
    text = command(*planned(values))
    assert "draft_tensor_parallel_size" not in text
    assert '"model": "Qwen/Qwen3-1.7B"' in text


def files_mounted(documents: list[dict[str, Any]]) -> dict[str, str]:
    """Of the one ConfigMap, by the path under which every pod finds them."""
    (held,) = (one for one in documents if one["kind"] == "ConfigMap")
    found: dict[str, str] = {}
    for document in documents:
        if document["kind"] not in ("Deployment", "StatefulSet"):
            continue
        pod = document["spec"]["template"]["spec"]
        (volume,) = (one for one in pod["volumes"] if "configMap" in one)
        assert volume["configMap"]["name"] == held["metadata"]["name"]
        mounts = container_of(document)["volumeMounts"]
        (folder,) = (one["mountPath"] for one in mounts if one["name"] == volume["name"])
        found = {f"{folder}/{name}": text for name, text in held["data"].items()}
        assert container_of(document)["command"][-2] == "--extra_llm_api_options"
        assert container_of(document)["command"][-1] in found
    return found


def test_a_pod_finds_its_file_in_a_config_map() -> None:
    question, best = planned(GUESSING | {"backend": "trtllm", "cache_precision": "fp8"})
    documents = list(yaml.safe_load_all(kubernetes_deployment(question, best)))
    ((path, text),) = files_mounted(documents).items()
    assert path == "/options/options.yaml"
    assert text == launch_files(question)["options.yaml"]


PAIR = {
    "rate_per_s": 60,
    "tpot_s": 0.015,
    "requests": 120,
    "quantile": 0.9,
    "parallelism": "tp1",
    "fleets": "two",
    "precision": "bf16",
}


@pytest.fixture(scope="module")
def told() -> Answer:
    return answer(read_choices(PAIR))


@pytest.fixture(scope="module")
def apart(told: Answer) -> Separate:
    assert told.apart is not None
    return told.apart


@pytest.mark.parametrize("backend", ["vllm", "sglang", "trtllm"])
def test_separate_fleets_are_yaml_with_what_was_planned(backend: str, apart: Separate) -> None:
    assert apart.run is not None
    deployment = replace(apart.question.deployment, backend=backend)
    asked = replace(apart.question, deployment=deployment, spare_replicas=1)
    found = [one for one in yaml.safe_load_all(kubernetes_separate(asked, apart.run)) if one]
    services = [one for one in found if one["kind"] == "Service"]
    states = [one for one in found if one["kind"] == "StatefulSet"]
    assert [one["spec"]["replicas"] for one in states] == [
        apart.run.prompts + 1,
        apart.run.answers + 1,
    ]
    for role, service, state in zip(("prompts", "answers"), services, states, strict=True):
        labels = {"app": role}
        assert state["spec"]["serviceName"] == service["metadata"]["name"] == role
        assert service["spec"] == {
            "clusterIP": "None", "selector": labels, "ports": [{"port": 8000}],
        }  # fmt: skip
        assert state["spec"]["template"]["metadata"]["labels"] == labels
        container = container_of(state)
        words, ours = role_words(asked, apart.run, role), container["command"]
        drain = ["--shutdown-timeout", "600"] * (backend == "vllm")
        assert [word.removeprefix("/options/") for word in ours] == words + drain
        named = [one["name"] for one in container["env"]]
        assert named == ["HF_TOKEN"] + ["VLLM_NIXL_SIDE_CHANNEL_HOST"] * (backend == "vllm")
        assert state["spec"]["podManagementPolicy"] == "Parallel"  # or one would wait for another
    if backend == "trtllm":
        told, files = separate_launch(asked, apart.run).files, files_mounted(found)
        roles = ("prompts", "answers")
        assert files == {f"/options/{role}.yaml": told[f"{role}.yaml"] for role in roles}
        behind = kubernetes_separate(asked, apart.run).partition("# before them")[2]
        assert "# fleets.yaml, in the folder where it starts:" in behind


def test_files_of_separate_fleets_are_yaml(apart: Separate) -> None:
    assert apart.run is not None
    found = separate_launch(behind(apart.question, "trtllm"), apart.run)
    assert isinstance(found, Started)
    read = {name: yaml.safe_load(text) for name, text in found.files.items()}
    assert read["prompts.yaml"]["disable_overlap_scheduler"] is True
    assert "disable_overlap_scheduler" not in read["answers.yaml"]
    for name in ("prompts.yaml", "answers.yaml"):
        cache = read[name]["cache_transceiver_config"]
        assert cache == {"backend": "NIXL", "max_tokens_in_buffer": 4606}  # 1,000 · ln 100
    fleets = read["fleets.yaml"]
    urls = [f"prompts-{i}.prompts:8000" for i in range(apart.run.prompts)]
    assert fleets["context_servers"] == {"num_instances": apart.run.prompts, "urls": urls}
    assert fleets["generation_servers"]["num_instances"] == apart.run.answers
    log = Workload([0.0, 1.0], [30, 70], [5, 5])
    asked = replace(apart.question, traffic=log)
    text = separate_launch(behind(asked, "trtllm"), apart.run).files["answers.yaml"]
    assert "max_tokens_in_buffer: 70\n" in text


def test_a_connector_is_json_and_the_router_knows_every_replica(apart: Separate) -> None:
    assert apart.run is not None
    words = role_words(behind(apart.question, "vllm"), apart.run, "answers")
    config = json.loads(words[words.index("--kv-transfer-config") + 1])
    assert config == {"kv_connector": "NixlConnector", "kv_role": "kv_consumer"}
    found = separate_launch(behind(apart.question, "vllm"), apart.run)
    words = found.router.split()
    assert words[:4] == ["vllm-router", "--vllm-pd-disaggregation", "--policy", "round_robin"]
    for flag, role, replicas in (
        ("--prefill", "prompts", apart.run.prompts),
        ("--decode", "answers", apart.run.answers),
    ):
        told = [words[i + 1] for i, word in enumerate(words) if word == flag]
        assert told == [f"http://{role}-{i}.{role}:8000" for i in range(replicas)]
    assert words[-4:] == ["--host", "0.0.0.0", "--port", "8000"]
    other = separate_launch(behind(apart.question, "sglang"), apart.run).router.split()
    assert other[3:] == ["--pd-disaggregation", *words[2:]]
    assert "experimental" in found.note
    text = separate_text(behind(apart.question, "vllm"), apart.run)
    assert text.startswith(f"# each of {apart.run.prompts} replicas for prompts\n")
    assert f"({found.note})" in text
    one = apart.question.deployment
    tpu = replace(one, system=replace(one.system, generation="tpu"))
    asked = replace(apart.question, deployment=tpu)
    for text in (separate_text(asked, apart.run), kubernetes_separate(asked, apart.run)):
        assert "TPUConnector stands for\n# NixlConnector, and" in text.split("replicas")[0]


def test_the_cheaper_start_comes_first(told: Answer, apart: Separate) -> None:
    assert apart.run is not None
    assert [one.of for one in starts(told)] == ["separate fleets", "one fleet"]
    dear = replace(apart, run=replace(apart.run, usd_per_hour=1e6))
    assert [one.of for one in starts(replace(told, apart=dear))] == ["one fleet", "separate fleets"]
    none = replace(apart, run=None)
    assert all(isinstance(one, Start) for one in starts(told))
    assert [one.of for one in starts(replace(told, apart=none))] == ["one fleet"]


def test_files_of_separate_fleets_say_what_guesses_once(apart: Separate) -> None:
    assert apart.run is not None
    one = replace(apart.question.deployment, draft_tokens=2, accepted_tokens=1.5, drafter="ngram")
    asked = replace(apart.question, deployment=one)
    files = separate_launch(behind(asked, "trtllm"), apart.run).files
    for name in ("prompts.yaml", "answers.yaml"):
        assert files[name].count("disable_overlap_scheduler") == 1
        read = yaml.safe_load(files[name])
        assert read["speculative_config"] == {"decoding_type": "NGram", "max_draft_len": 2}
        assert read["cache_transceiver_config"]["backend"] == "NIXL"
    for role in ("prompts", "answers"):
        words = role_words(behind(asked, "trtllm"), apart.run, role)
        assert words[-2:] == ["--extra_llm_api_options", f"{role}.yaml"]
        assert words.count("--extra_llm_api_options") == 1
        assert "--speculative-config" in role_words(behind(asked, "vllm"), apart.run, role)
