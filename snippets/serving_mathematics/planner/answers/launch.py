"""What starts the fleet that was planned: commands, and Kubernetes objects with the number of
replicas.

Assumes: what the commands assume.

Source: `tpu_platform.py` of vLLM for TPUs; at SIGTERM `engine/core.py` of vLLM (0.34), which
aborts unless it is told how long to wait, `tokenizer_manager.py` of SGLang (0.5.23) and
`serve/lifecycle.py` of TensorRT-LLM, which wait without a limit; Kubernetes documentation,
Deployments, StatefulSets, ConfigMaps, termination of pods, probes, scheduling of GPUs, downward
API; GKE documentation, TPUs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from serving_mathematics.planner.answers.launch_apart import (
    ROUTED,
    role_words,
    separate_launch,
    separate_text,
)
from serving_mathematics.planner.answers.launch_commands import (
    Limits,
    _commented,
    _common_notes,
    _launch_notes,
    _machines,
    launch_files,
    launch_text,
    launch_words,
    planned_limits,
)
from serving_mathematics.planner.capacity_planner.routing import Routed
from serving_mathematics.planner.capacity_planner.separate_fleets import Apart
from serving_mathematics.planner.configurations import Answered
from serving_mathematics.planner.questions.question import Question

IMAGES = {
    "vllm": "vllm/vllm-openai:VERSION",
    "sglang": "lmsysorg/sglang:VERSION",
    "trtllm": "nvcr.io/nvidia/tensorrt-llm/release:VERSION",
}
OTHERS = {  # images for other makers' devices
    ("vllm", "cdna"): "vllm/vllm-openai-rocm:VERSION",
    ("sglang", "cdna"): "lmsysorg/sglang:VERSION-rocmROCM",
    ("vllm", "tpu"): "vllm/vllm-tpu:VERSION",
}
ELSEWHERE = {"cdna": "amd.com/gpu", "tpu": "google.com/tpu"}
SET = [
    "# Set VERSION to the one that you tested, and a Secret hf with the key token if the model",
    "# is gated.",
]
WHERE = ", in the folder where it starts:"  # a router's file lies
MOUNT = "/options"  # of a pod, where its files lie
SLEEP_S = 15  # in which nobody sends to a pod that goes any more
ANSWER_S = 600  # of an answer, for users to set


def kubernetes_deployment(question: Question, best: Limits) -> str:
    """The fleet as a Kubernetes Deployment, in YAML: its replicas with those that may fail, the
    engine's command, and the devices of a replica; where the command reads a file, the ConfigMap
    with it.

    question, best: as for launch_words.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> told = _small_answer()
    >>> "  replicas: 1" in kubernetes_deployment(told.question, told.plan.best).splitlines()
    True
    """
    words, files = launch_words(question, best), launch_files(question)
    lines = [*SET, *_leaving(question), *_launch_notes(question), *_placing(question)]
    lines += _config_map(files)
    lines += ["apiVersion: apps/v1", "kind: Deployment", "metadata:", "  name: model", "spec:"]
    replicas = best.replicas + question.spare_replicas
    return "\n".join(lines + _pods(question, "model", replicas, words, files))


def _leaving(question: Question) -> list[str]:
    """What a pod that goes needs to end its answers, as comments."""
    own = ", and --shutdown-timeout (vLLM from 0.18 on) at that answer's"
    return [
        "# Set terminationGracePeriodSeconds 30 s above your longest answer, which a pod that goes",
        f"# still ends{own if question.deployment.backend == 'vllm' else ''}.",
    ]


def _config_map(files: dict[str, str]) -> list[str]:
    """Lines of the ConfigMap that holds files, before other documents; none without files."""
    if not files:
        return []
    lines = ["apiVersion: v1", "kind: ConfigMap", "metadata:", "  name: options", "data:"]
    for name, text in files.items():
        lines += [f"  {name}: |", *(f"    {line}" for line in text.splitlines())]
    return [*lines, "---"]


def _pods(
    question: Question,
    name: str,
    replicas: int,
    words: list[str],
    files: dict[str, str],
    env: list[str] | None = None,
) -> list[str]:
    """Lines of a `spec` with so many replicas, a command, the files that it reads, time to end
    answers, and the devices of a replica."""
    words = [f"{MOUNT}/{word}" if word in files else word for word in words]
    if question.deployment.backend == "vllm":
        words += ["--shutdown-timeout", f"{ANSWER_S}"]
    mount = f", {{name: options, mountPath: {MOUNT}}}" if files else ""
    return [
        f"  replicas: {replicas}",
        "  selector:",
        f"    matchLabels: {{app: {name}}}",
        "  template:",
        "    metadata:",
        f"      labels: {{app: {name}}}",
        "    spec:",
        f"      terminationGracePeriodSeconds: {ANSWER_S + 2 * SLEEP_S}",
        "      containers:",
        "        - name: engine",
        f"          image: {_image(question)}",
        f"          command: {json.dumps(words)}",
        "          env:",
        "            - name: HF_TOKEN",
        "              valueFrom: {secretKeyRef: {name: hf, key: token, optional: true}}",
        *(env or []),
        "          ports: [{containerPort: 8000}]",
        "          readinessProbe:  # to which SGLang answers after a second",
        "            httpGet: {path: /health, port: 8000}",
        "            timeoutSeconds: 10",
        "          resources:",
        f"            limits: {{{_resource(question)}: {question.deployment.devices}}}",
        f"          lifecycle: {{preStop: {{sleep: {{seconds: {SLEEP_S}}}}}}}",
        f"          volumeMounts: [{{name: shm, mountPath: /dev/shm}}{mount}]",
        "      volumes:",
        "        - {name: shm, emptyDir: {medium: Memory}}",
        *["        - {name: options, configMap: {name: options}}"] * bool(files),
    ]


def _image(question: Question) -> str:
    """What the engine is packed in, for the maker of the devices."""
    one = question.deployment
    return OTHERS.get((one.backend, one.system.generation), IMAGES[one.backend])


def _resource(question: Question) -> str:
    """What Kubernetes calls the devices."""
    return ELSEWHERE.get(question.deployment.system.generation, "nvidia.com/gpu")


def _placing(question: Question) -> list[str]:
    """What else the image and the nodes ask for, and that a pod cannot hold a replica, as
    comments."""
    one, lines = question.deployment, []
    if "ROCM" in _image(question):
        lines.append("# Set ROCM as the tags of the image have it, such as 720-mi30x or 720-mi35x.")
    if one.system.generation == "tpu":
        lines.append(
            "# GKE also wants a nodeSelector with cloud.google.com/gke-tpu-accelerator and"
        )
        lines.append("# cloud.google.com/gke-tpu-topology.")
    if _machines(one) > 1:
        lines.append(
            f"# {one.devices} devices are on {_machines(one)} machines or more,"
            " and a pod is on one: make it a LeaderWorkerSet."
        )
    return lines


def kubernetes_separate(question: Question, pair: Apart) -> str:
    """Separate fleets as Kubernetes StatefulSets, whose replicas have names that stay, in YAML,
    with what stands before them as a comment.

    question: of the deployment. pair: its fleets.

    >>> from serving_mathematics.planner.capacity_planner import separate_fleets as two
    >>> pair = two.SeparateFleets(two.TIGHT).performance(3, 2, 2048)
    >>> kubernetes_separate(two.TIGHT, pair).count("kind: StatefulSet") if pair else 0
    2
    """
    found, documents = separate_launch(question, pair), []
    env = None
    if question.deployment.backend == "vllm":
        source = "{fieldRef: {fieldPath: status.podIP}}"
        env = ["            - name: VLLM_NIXL_SIDE_CHANNEL_HOST"]
        env += [f"              valueFrom: {source}"]
    own_files = {name: text for name, text in found.files.items() if name != ROUTED}
    for role, count in (("prompts", pair.prompts), ("answers", pair.answers)):
        words = role_words(question, pair, role)
        own = question.of_prompts() if role == "prompts" else question
        pods = _pods(own, role, count + question.spare_replicas, words, own_files, env)
        service = ["apiVersion: v1", "kind: Service", "metadata:", f"  name: {role}", "spec:"]
        service += ["  clusterIP: None", f"  selector: {{app: {role}}}"]
        service += ["  ports: [{port: 8000}]"]
        state = ["apiVersion: apps/v1", "kind: StatefulSet", "metadata:", f"  name: {role}"]
        state += ["spec:", f"  serviceName: {role}", "  podManagementPolicy: Parallel", *pods]
        documents += ["\n".join(service), "\n".join(state)]
    note = f" ({found.note})" if found.note else ""
    routed = {name: text for name, text in found.files.items() if name == ROUTED}
    lines = [f"# before them{note}:", f"# {found.router}", *_commented(routed, WHERE)]
    notes = [*SET, *_leaving(question), *_common_notes(question), *_placing(question)]
    documents[0] = "\n".join([*notes, *_config_map(own_files), documents[0]])
    return "\n---\n".join(documents) + "\n" + "\n".join(lines)


@dataclass(frozen=True)
class Start:
    """What starts one of the answers: commands, and objects for Kubernetes."""

    of: str  # "one fleet" or "separate fleets"
    flags: str
    kubernetes: str


def starts(told: Answered) -> list[Start]:
    """What starts the fleet of an answer and, where they were asked for and can be, the separate
    ones; the cheaper first.

    told: the answer.

    >>> from serving_mathematics.planner.configurations import _small_answer
    >>> [one.of for one in starts(_small_answer())]
    ['one fleet']
    """
    question, best = told.question, planned_limits(told)
    before = _before(told)
    parts = launch_text(question, best), kubernetes_deployment(question, best)
    one = Start("one fleet", *("\n".join([part, *before]) for part in parts))
    apart = None if isinstance(told, Routed) else told.apart
    if isinstance(told, Routed) or apart is None or apart.run is None:
        return [one]
    asked, pair = apart.question, apart.run
    two = Start("separate fleets", separate_text(asked, pair), kubernetes_separate(asked, pair))
    return [two, one] if pair.usd_per_hour < told.plan.best.usd_per_hour else [one, two]


def _before(told: Answered) -> list[str]:
    """What stands before replicas behind a router, as comments."""
    if not isinstance(told, Routed):
        return []
    lines, router = [], told.best.router.name
    if router != "random":
        lines = [f"# before them: a {router} router; a Kubernetes Service chooses at random"]
    one, gib = told.question.deployment, told.best.host_gib
    if gib and one.backend == "trtllm":
        size = int(gib * 2**30 / one.devices)
        lines += [f"# with {gib:,.0f} GiB of host memory, of which each rank has its part:"]
        lines += [f"# host_cache_size: {size} in kv_cache_config"]
    return lines
