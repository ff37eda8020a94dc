"""Commands of a replica: what is planned stands in them, under each engine's names."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from itertools import pairwise

import pytest
import yaml
from serving_mathematics.core.hardware.catalogue import find_model, model_names
from serving_mathematics.core.hardware.deployments import (
    cache_room_bytes,
    sequence_bytes,
    stored,
    weight_bytes,
)
from serving_mathematics.planner.answers.launch import kubernetes_deployment, starts
from serving_mathematics.planner.answers.launch_commands import (
    CHECKPOINTS,
    Limits,
    _launch_notes,
    _repository,
    _words,
    launch_files,
    launch_text,
    launch_words,
    planned_limits,
)
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets, Performance
from serving_mathematics.planner.configurations import whole_answer
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.planner.questions.questions import read_choices, read_question
from serving_mathematics.report.findings.of_the_engine import ENGINE_FLAGS

from ..started import GUESSING, WIDE, behind, planned


def command(question: Question, best: Limits) -> str:
    """What starts a replica, on one line."""
    return shlex.join(launch_words(question, best))


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


@pytest.mark.parametrize(
    ("change", "made"),
    [
        ({}, ["fp8_per_channel"]),
        ({"device": "A100"}, ["fp8_per_tensor"]),
        ({"model": "Qwen3-30B-A3B"}, ["fp8_per_tensor"]),
        ({"device": "TPU v7"}, []),
    ],
)
def test_vllm_makes_eight_bits_by_names_that_it_takes(
    change: dict[str, str], made: list[str]
) -> None:
    """Of a checkpoint in sixteen bits: `fp8` is deprecated there from 0.31 on, and the package for
    TPUs (0.32) has no format that is made while loading."""
    asked = {"rate_per_s": 2, "precision": "fp8", "parallelism": "tp1", "device": "H100"}
    question = read_question(asked | change)
    words = _words(question, 8, 2048)
    assert [after for word, after in pairwise(words) if word == "--quantization"] == made
    assert any("needs a checkpoint in FP8" in note for note in _launch_notes(question)) != bool(
        made
    )


def test_the_report_names_the_flags_that_start_an_engine() -> None:
    """An engine that renames one, or a slip, would leave advice that nobody can follow."""
    question, best = planned(WIDE)
    for engine, flags in ENGINE_FLAGS.items():
        backend = {"TensorRT-LLM": "trtllm"}.get(engine, engine)
        started = launch_text(behind(question, backend), best)
        advised = re.findall(r"--[\w-]+", " ".join(flags[:4]))  # the fifth is for preemptions
        assert len(advised) >= 3
        assert all(f"{flag} " in started for flag in advised)


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


def test_what_stands_behind_routers_is_started_as_it_was_simulated() -> None:
    asked = WIDE | {"replicas": 2, "requests": 100, "ttft_s": 9, "batch_limit": 64}
    told = whole_answer(read_choices(asked), asked)
    limits: Limits = planned_limits(told)
    assert (limits.replicas, limits.places) == (2, 64)
    (one,) = starts(told)
    assert "--max-num-seqs 8 " in one.flags  # of each of eight ranks
    assert "  replicas: 3" in one.kubernetes.splitlines()  # with the one that may fail


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
