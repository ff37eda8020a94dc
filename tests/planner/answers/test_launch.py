"""Objects for Kubernetes, and what is started first: what is planned stands in them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from serving_mathematics.planner.answers.launch import (
    Start,
    kubernetes_deployment,
    kubernetes_separate,
    starts,
)
from serving_mathematics.planner.answers.launch_apart import role_words, separate_launch
from serving_mathematics.planner.answers.launch_commands import (
    launch_files,
    launch_words,
)
from serving_mathematics.planner.capacity_planner.fleet_search import Fleets
from serving_mathematics.planner.questions.questions import read_question

from builder import ROOT

from ..started import GUESSING, WIDE, apart, container_of, planned, two_fleets


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


@pytest.mark.parametrize("backend", ["vllm", "sglang", "trtllm"])
def test_separate_fleets_are_yaml_with_what_was_planned(backend: str) -> None:
    question, pair = apart()
    deployment = replace(question.deployment, backend=backend)
    asked = replace(question, deployment=deployment, spare_replicas=1)
    found = [one for one in yaml.safe_load_all(kubernetes_separate(asked, pair)) if one]
    services = [one for one in found if one["kind"] == "Service"]
    states = [one for one in found if one["kind"] == "StatefulSet"]
    assert [one["spec"]["replicas"] for one in states] == [
        pair.prompts + 1,
        pair.answers + 1,
    ]
    for role, service, state in zip(("prompts", "answers"), services, states, strict=True):
        labels = {"app": role}
        assert state["spec"]["serviceName"] == service["metadata"]["name"] == role
        assert service["spec"] == {
            "clusterIP": "None", "selector": labels, "ports": [{"port": 8000}],
        }  # fmt: skip
        assert state["spec"]["template"]["metadata"]["labels"] == labels
        container = container_of(state)
        words, ours = role_words(asked, pair, role), container["command"]
        drain = ["--shutdown-timeout", "600"] * (backend == "vllm")
        assert [word.removeprefix("/options/") for word in ours] == words + drain
        named = [one["name"] for one in container["env"]]
        assert named == ["HF_TOKEN"] + ["VLLM_NIXL_SIDE_CHANNEL_HOST"] * (backend == "vllm")
        assert state["spec"]["podManagementPolicy"] == "Parallel"  # or one would wait for another
    if backend == "trtllm":
        told, files = separate_launch(asked, pair).files, files_mounted(found)
        roles = ("prompts", "answers")
        assert files == {f"/options/{role}.yaml": told[f"{role}.yaml"] for role in roles}
        behind = kubernetes_separate(asked, pair).partition("# before them")[2]
        assert "# fleets.yaml, in the folder where it starts:" in behind


def test_the_cheaper_start_comes_first() -> None:
    told, found = two_fleets(), two_fleets().apart
    _, pair = apart()
    assert found is not None
    assert all(isinstance(one, Start) for one in starts(told))
    assert [one.of for one in starts(told)] == ["separate fleets", "one fleet"]
    dear = replace(found, run=replace(pair, usd_per_hour=1e6))
    assert [one.of for one in starts(replace(told, apart=dear))] == ["one fleet", "separate fleets"]
    assert [one.of for one in starts(replace(told, apart=replace(found, run=None)))] == [
        "one fleet"
    ]
