"""What starts separate fleets: commands of replicas that take prompts and of those that answer, and
what stands before them.

Assumes: caches that travel by NIXL, which all three engines can use.

Source: vLLM documentation, NixlConnector, and its package vllm-router (0.1.17), whose flags were
tried before servers that answer as engines do; SGLang documentation, PD disaggregation and router;
TensorRT-LLM documentation, disaggregated serving.
"""

from __future__ import annotations

import json
import math
import shlex
from dataclasses import dataclass, replace

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.hardware.deployed_engine import MOST_PLACES
from serving_mathematics.planner.answers.launch_commands import (
    ADDRESS,
    NO_OVERLAP,
    _commented,
    _common_notes,
    _options,
    _spread_notes,
    _words,
)
from serving_mathematics.planner.capacity_planner.separate_fleets import (
    TIGHT,
    Apart,
    SeparateFleets,
)
from serving_mathematics.planner.questions.question import Question
from serving_mathematics.support import checks
from serving_mathematics.support.require import require

ROUTED = "fleets.yaml"  # what TensorRT-LLM's router reads
PAIR_ROUTERS = {  # before separate fleets
    "vllm": ["vllm-router", "--vllm-pd-disaggregation"],
    "sglang": ["python", "-m", "sglang_router.launch_router", "--pd-disaggregation"],
}
IN_TURN = ["--policy", "round_robin"]  # by default both follow prefixes, as no pair is planned


@dataclass(frozen=True)
class Started:
    """What starts separate fleets: the command of a replica of either, of what stands before them,
    and the files that they read, by name."""

    prompts: str
    answers: str
    router: str
    note: str  # what the engine's documentation says of it
    files: dict[str, str]


def role_words(question: Question, pair: Apart, role: str) -> list[str]:
    """The command that starts one replica of a separate fleet, as words.

    question: of the deployment. pair: its fleets. role: prompts or answers. Raises ValueError on
    another role.

    >>> from serving_mathematics.planner.capacity_planner import separate_fleets as two
    >>> pair = two.SeparateFleets(two.TIGHT).performance(3, 3, 2048)
    >>> role_words(two.TIGHT, pair, "prompts")[-1] if pair else ""
    '{"kv_connector": "NixlConnector", "kv_role": "kv_producer"}'
    """
    require(role in ("prompts", "answers"), "role", "prompts or answers", role)
    first = role == "prompts"
    question = question.of_prompts() if first else question
    backend = question.deployment.backend
    most = question.batch_limit or MOST_PLACES
    limit = min(MOST_PLACES, pair.budget) if first else most
    words = _words(question, limit, pair.budget if first else 2 * most)
    if backend == "vllm":
        kind = "kv_producer" if first else "kv_consumer"
        config = {"kv_connector": "NixlConnector", "kv_role": kind}
        return [*words, "--kv-transfer-config", json.dumps(config)]
    if backend == "sglang":
        words += ["--disaggregation-mode", "prefill" if first else "decode"]
        return [*words, "--disaggregation-transfer-backend", "nixl"]
    return [*words, "--extra_llm_api_options", f"{role}.yaml"]


def separate_launch(question: Question, pair: Apart) -> Started:
    """What starts separate fleets: commands of replicas and of what stands before them, on one line
    each. Hosts are called as Kubernetes calls them, `prompts-0.prompts` and so on.

    question, pair: as for role_words.

    >>> from serving_mathematics.planner.capacity_planner import separate_fleets as two
    >>> pair = two.SeparateFleets(two.TIGHT).performance(3, 3, 2048)
    >>> separate_launch(two.TIGHT, pair).router.split()[4:6] if pair else []
    ['--prefill', 'http://prompts-0.prompts:8000']
    """
    backend = question.deployment.backend
    prompts, answers = (
        shlex.join(role_words(question, pair, role)) for role in ("prompts", "answers")
    )
    ones = [f"prompts-{i}.prompts" for i in range(pair.prompts + question.spare_replicas)]
    others = [f"answers-{i}.answers" for i in range(pair.answers + question.spare_replicas)]
    if backend != "trtllm":
        words = [word for host in ones for word in ("--prefill", f"http://{host}:8000")]
        words += [word for host in others for word in ("--decode", f"http://{host}:8000")]
        router = shlex.join([*PAIR_ROUTERS[backend], *IN_TURN, *words, *ADDRESS])
        if backend == "sglang":
            return Started(prompts, answers, router, "", {})
        host = "VLLM_NIXL_SIDE_CHANNEL_HOST=ADDRESS_OF_THIS_HOST "
        note = "vLLM calls this experimental; pip install vllm-router"
        return Started(host + prompts, host + answers, router, note, {})
    buffer = _long_prompt(question)
    cache = f"cache_transceiver_config:\n  backend: NIXL\n  max_tokens_in_buffer: {buffer}\n"
    options = _options(question.deployment) + cache
    urls = "hostname: 0.0.0.0\nport: 8000\nbackend: pytorch\n"
    for kind, hosts in (("context_servers", ones), ("generation_servers", others)):
        urls += f"{kind}:\n  num_instances: {len(hosts)}\n  urls:\n"
        urls += "".join(f'    - "{host}:8000"\n' for host in hosts)
    alone = "" if NO_OVERLAP in options else NO_OVERLAP
    files = {"prompts.yaml": alone + options, "answers.yaml": options}
    router = f"trtllm-serve disaggregated -c {ROUTED}"
    note = "TensorRT-LLM calls this experimental"
    return Started(prompts, answers, router, note, files | {ROUTED: urls})


def _long_prompt(question: Question) -> int:
    """Tokens that few prompts exceed: the longest of a trace, the 99th percentile of a geometric
    length."""
    traffic, context = question.traffic, question.deployment.architecture.context_tokens
    if isinstance(traffic, Workload):
        return int(traffic.prompt_tokens.max())
    means = [kind.mean_prompt_tokens for kind in traffic.classes] or [traffic.mean_prompt_tokens]
    return min(context, math.ceil(math.log(100) * max(means)))


def separate_text(question: Question, pair: Apart) -> str:
    """What starts separate fleets, as text of a shell with comments.

    question, pair: as for role_words.

    >>> from serving_mathematics.planner.capacity_planner import separate_fleets as two
    >>> pair = two.SeparateFleets(two.TIGHT).performance(3, 2, 2048)
    >>> separate_text(two.TIGHT, pair).splitlines()[:3:2] if pair else []
    ['# each of 3 replicas for prompts', '# each of 2 for answers']
    """
    found, spare = separate_launch(question, pair), question.spare_replicas
    lines = [
        *_common_notes(question),
        *_spread_notes(question),
        f"# each of {pair.prompts + spare} replicas for prompts",
        found.prompts,
        f"# each of {pair.answers + spare} for answers",
        found.answers,
        f"# before them{f' ({found.note})' if found.note else ''}",
        found.router,
    ]
    return "\n".join(lines + _commented(found.files))


def check_separate_flags_carry_the_plan() -> None:
    """Either fleet gets its own limits and its part, and what stands before them knows every
    replica.

    Source: the words of the commands, read back.
    """
    asked = replace(TIGHT, requests=400, batch_limit=96)
    pair = SeparateFleets(asked).performance(2, 3, 2048)
    assert pair is not None
    for backend, tokens, parts in (
        ("vllm", "--max-num-batched-tokens", ("kv_producer", "kv_consumer")),
        ("sglang", "--chunked-prefill-size", ("prefill", "decode")),
        ("trtllm", "--max_num_tokens", ("prompts.yaml", "answers.yaml")),
    ):
        deployment = replace(asked.deployment, backend=backend)
        found = separate_launch(replace(asked, deployment=deployment), pair)
        texts = (found.prompts, found.answers)
        for text, budget, part in zip(texts, (2048, 192), parts, strict=True):
            words = shlex.split(text)
            got = words[words.index(tokens) + 1], any(part in word for word in words)
            checks.equal(f"{backend}, {part}", got, (f"{budget}", True))
        before = found.router + "".join(found.files.values())
        hosts = [
            f"{role}-{i}.{role}" for role, n in (("prompts", 2), ("answers", 3)) for i in range(n)
        ]
        checks.equal(f"{backend}, hosts", [before.count(host) for host in hosts], [1] * 5)
