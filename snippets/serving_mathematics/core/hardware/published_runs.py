"""How each of 5,221 published runs is read, by stated rules, and nine are not.

The package's columns mean different things by source. The rules, in their order:

1. Concurrency is the client's (`concurrency`), or the batch of a group times the groups. `batch`
   is a group's share where attention is in parallel over data. `UNTOLD` are passed over: a script
   sent ten requests a place at once (first tokens took (10 - 1)/2 answers), and no places are told.
2. A blank precision is that of the matrices (`gemm`), and 16 bits where that is blank too.
3. `ep` > 1 with `tp` = `ep`^2 = `moe_tp` * `ep`, outside of the kernel makers' own runs: the
   product of two widths that are the same devices. There are `ep` of them. The same for `dp`.
4. `dp` = `tp` > 1: the same devices counted twice. With `ep` = `tp`^2, as in all such rows, they
   share attention and hold different experts, because a quarter of them are published again, to
   four digits, with `dp` = 1; else attention is in parallel over them.
5. Blank `dp`, in mixtures: `moe_tp` * `ep` / `tp`. In 29 of the kernel makers' own runs the
   concurrency is two to 32 times the batch, and `dp` does not say so: mixtures have attention in
   parallel over as many groups, and the others are as many engines, of which one is read. As one
   engine three of them would need six times the peak of their devices for the prompts alone.
6. More than 8 devices with `ep` = 1: not one engine but a whole fleet with separate prompts, of
   which only the size is known. Engines of the largest power of two beside four devices (at most
   32, attention and experts over all) answer, and as many of four as stay below 80% take prompts.
7. Separate fleets without worker counts: those of the same run in the source that has them (equal
   lengths, concurrency and latencies); otherwise one wide engine, or one of SGLang and four of
   TensorRT-LLM, and as many for prompts as keep them below 80% busy.
8. Guessing (MTP) is in no column. Aggregated runs of DeepSeek-R1 on TensorRT-LLM: those of the
   images and days of the benchmark's `-mtp` configurations. With SGLang 0.5.9 on Blackwell, 8-bit
   weights and experts on all devices: Qwen3.5 on four devices, and of DeepSeek on eight what the
   source without guessing does not have. Separate fleets: DeepSeek-R1 runs of 2026 that it does not
   have. Three tokens are guessed, one with attention in parallel over data, and two of DeepSeek
   with SGLang, as the benchmark's scripts set.
9. Lengths are uniform between 0.8 and 1 of nominal, but for the kernel makers' own runs.
10. A cache beside 8-bit weights has 8 bits where the benchmark's scripts set it: with TensorRT-LLM,
   with SGLang on Blackwell and for Qwen3.5, with vLLM for Llama, and for MiniMax-M2.5 on Blackwell
   from April 2026 on. Beside 4-bit weights it has 8. For gpt-oss-120b the scripts set that on
   Blackwell alone; averaged over its runs on Hopper 16 bits would lengthen the predicted time per
   token by 2%, far below the error, and the fit leaves it.
11. Engines use 0.9 of the memory, 0.95 where the scripts say so: vLLM for MiniMax-M2.5 until then,
   and SGLang for DeepSeek on four devices.
12. New prompts are kept back as `kept_back` says, but in the kernel makers' own runs.

Source: the benchmark's scripts and configurations (InferenceX, SemiAnalysis, Apache-2.0).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from typing import Any

from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.catalogue import find_model, find_precision, find_system
from serving_mathematics.core.hardware.deployments import MEMORY_SHARE, Deployment
from serving_mathematics.core.hardware.kept_back import held_steps
from serving_mathematics.core.hardware.systems import System
from serving_mathematics.support.measuring import read_record
from serving_mathematics.support.require import (
    require_non_negative_integer,
    require_positive_integer,
)

ACCEPTED = {0: 1.0, 1: 1.8, 3: 2.5}  # tokens a step by tokens guessed, DeepSeek-R1; see the scores
WITH_SGLANG = {2: 1.8, 3: 2.1}  # the same less what guessing takes there, where nothing hides it
OWN_SOURCE = "kernel makers"
PLAIN_SOURCE = "db-dump"  # without guessing
SHORTEST_SHARE = 0.8
UNTOLD = ("openai/gpt-oss-120b", "h100_sxm", "512")  # nine runs; rule 1
MINIMAX_CHANGED = "2026-04"  # the scripts of MiniMax-M2.5 with vLLM on Blackwell, to vLLM 0.19
GUESSING = {  # system, version of TensorRT-LLM, day: the benchmark's -mtp configurations
    ("b200_sxm", "1.2.0rc6.post3", "2026-02-05"),
    ("b200_sxm", "1.2.0rc6.post3", "2026-02-06"),
    ("b200_sxm", "1.1.0rc2.post2", "2026-01-14"),
    ("h200_sxm", "1.1.0rc2.post2", "2026-01-14"),
}


@dataclass(frozen=True)
class Run:
    """One published run, read: what was deployed, and what was measured."""

    line: int  # in the package's table, from 1
    source: str
    model: str  # as the package names it
    family: str  # models of one shape
    release: str  # of the engine, empty where it is not said
    kind: str  # engine, fleet (aggregated, but read as separate fleets) or separate
    answers: Deployment  # the engine, or one engine that answers
    prompts: Deployment | None  # one engine that takes prompts, with separate fleets
    answer_engines: float
    prompt_engines: float  # 0: as many as keep them below 80% busy
    workers: str  # stated, twin or assumed
    concurrency: float
    first_token_s: float
    per_token_s: float
    repeated: bool  # a run of the same latencies stands before it


def read_lines() -> list[dict[str, str]]:
    """The record's rows, as text.

    >>> len(read_lines())
    5221
    """
    record = read_record("machine_runs")
    return [dict(zip(record["columns"], row, strict=True)) for row in record["rows"]]


def _whole_of(row: Mapping[str, str], key: str, blank: int = 0) -> int:
    cell = row.get(key, "")
    return int(float(cell)) if cell else blank


def _precision(row: Mapping[str, str]) -> str:
    """Rule 2."""
    return find_precision(row["precision"] or row["gemm"] or "bf16")


def _concurrency(row: Mapping[str, str], groups: int) -> float:
    """Rule 1."""
    if row["concurrency"]:
        return float(row["concurrency"])
    return float(_whole_of(row, "batch", 1) * max(1, groups))


def _untold_groups(row: Mapping[str, str]) -> int:
    """Rule 5: batches in the concurrency where `dp` does not say how many."""
    batches = float(row["concurrency"] or 0) / _whole_of(row, "batch", 1)
    return int(batches) if row["batch"] and batches > _whole_of(row, "dp", 1) else 1


def widths(
    tp: int, dp: int, moe_tp: int, ep: int, mixture: bool, own: bool
) -> tuple[int, int, int]:
    """Devices that share attention, groups, devices with different experts: rules 3 to 5.

    tp, dp, moe_tp, ep: as the package has them, 0 where blank. own: a kernel makers' run. Raises
    ValueError on other numbers.

    >>> widths(64, 1, 8, 8, True, False), widths(1, 64, 8, 8, True, False)
    ((8, 1, 8), (1, 8, 8))
    """
    tp = require_positive_integer(tp=tp)
    dp, moe_tp, ep = require_non_negative_integer(dp=dp, moe_tp=moe_tp, ep=ep)
    ep, moe_tp = max(1, ep), max(1, moe_tp)
    if dp == 0:
        dp = moe_tp * ep // tp if mixture and moe_tp * ep > tp else 1
    if mixture and ep > 1 and not own:
        if moe_tp == ep and tp == ep * ep:
            tp = ep
        if moe_tp == ep and dp == ep * ep:
            dp = ep
    if dp == tp > 1:
        tp, dp = (tp, 1) if ep == tp * tp else (1, dp)
    return tp, dp, max(1, min(ep, tp * dp))


@functools.cache
def _model(name: str) -> Architecture:
    return find_model(name)[0]


@functools.cache
def _system(name: str) -> System:
    return find_system(name)


def _engine(row: Mapping[str, str], tensor: int, data: int, expert: int, load: float) -> Deployment:
    own = row["source"] == OWN_SOURCE
    model, system, precision = _model(row["model"]), _system(row["system"]), _precision(row)
    return Deployment(
        model,
        system,
        row["backend"],
        precision,
        float(row["isl"]),
        float(row["osl"]),
        max(1.0, load),
        tensor=tensor,
        attention_data=data,
        expert=expert,
        shortest_share=1.0 if own else SHORTEST_SHARE,
        cache_bytes=_cache_bytes(row, precision, system.generation),
        memory_share=0.95 if _nearly_all(row, tensor) else MEMORY_SHARE,
    )


def _nearly_all(row: Mapping[str, str], tensor: int) -> bool:
    """Rule 11: whether the engine may use 0.95 of the memory."""
    if "MiniMax" in row["model"]:
        return row["day"] < MINIMAX_CHANGED
    return row["backend"] == "sglang" and "DeepSeek" in row["model"] and tensor == 4


def _cache_bytes(row: Mapping[str, str], precision: str, generation: str) -> float:
    """Rule 10: bytes of a cached value, 0 where it is as checkpoints of the precision say."""
    if precision == "fp4":
        return 1.0
    late = "MiniMax" in row["model"] and row["day"] >= MINIMAX_CHANGED
    small = {
        "trtllm": True,
        "sglang": generation == "blackwell" or "Qwen3.5" in row["model"],
        "vllm": "Llama" in row["model"] or (late and generation == "blackwell"),
    }
    return 1.0 if precision == "fp8" and small[row["backend"]] else 0.0


def guessing(engine: Deployment) -> Deployment:
    """The same engine with as many guesses as the benchmark's scripts set.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> guessing(WORKED).draft_tokens
    3
    """
    drafts = 1 if engine.attention_data > 1 else 3
    return replace(engine, draft_tokens=drafts, accepted_tokens=ACCEPTED[drafts])


def fleet_split(devices: int) -> tuple[int, int]:
    """Rule 6: width of an answering engine, and how many of them.

    devices: of the whole fleet. Raises ValueError unless it is a positive integer.

    >>> fleet_split(36), fleet_split(72)
    ((32, 1), (32, 2))
    """
    devices = require_positive_integer(devices=devices)
    width = min(32, 2 ** int(math.log2(max(devices - 4, 1))))
    return width, max(1, (devices - 4) // width)


def _same_run(row: Mapping[str, str]) -> tuple[str, ...]:
    latencies = (f"{float(row['ttft_ms']):.4g}", f"{float(row['tpot_ms']):.4g}")
    return (row["isl"], row["osl"], row["concurrency"], *latencies)


def _with_guesses(
    row: Mapping[str, str], engine: Deployment, plain: Set[tuple[str, ...]]
) -> Deployment:
    """Rule 8 for one engine. plain: the runs of the source without guessing."""
    model, image = row["model"], (row["system"], row["version"], row["day"])
    if "DeepSeek" in model and row["backend"] == "trtllm" and image in GUESSING:
        return guessing(engine)
    drafts = 3 if "Qwen3.5" in model and engine.tensor == 4 else 0
    if "DeepSeek" in model and engine.tensor == 8 and _same_run(row) not in plain:
        drafts = 2
    told = (row["backend"], row["version"], engine.precision, engine.system.generation)
    if not drafts or engine.expert > 1 or told != ("sglang", "0.5.9", "fp8", "blackwell"):
        return engine
    return replace(engine, draft_tokens=drafts, accepted_tokens=WITH_SGLANG[drafts])


def _aggregated(
    row: Mapping[str, str], mixture: bool, plain: Set[tuple[str, ...]]
) -> dict[str, Any]:
    """What is read of a run without separate fleets: one engine, or rule 6."""
    tp, own = _whole_of(row, "tp", 1), row["source"] == OWN_SOURCE
    if tp > 8 and _whole_of(row, "ep", 1) <= 1:
        width, answering = fleet_split(tp)
        load = _concurrency(row, 1)
        return {
            "kind": "fleet",
            "answers": _engine(row, 1, width, width, load / answering),
            "prompts": _engine(row, 4, 1, 4, load),
            "answer_engines": float(answering),
            "prompt_engines": 0.0,
            "workers": "assumed",
            "concurrency": load,
        }
    dp, untold = _whole_of(row, "dp"), _untold_groups(row) if own else 1
    dp = untold if untold > 1 and mixture else dp
    tensor, data, expert = widths(
        tp, dp, _whole_of(row, "moe_tp"), _whole_of(row, "ep"), mixture, own
    )
    load = _concurrency(row, _whole_of(row, "dp", 1)) / (1 if mixture else untold)
    engine = _engine(row, tensor, data, expert, load)
    engine = engine if own else _with_guesses(row, engine, plain)
    held = 0.0 if own else held_steps(engine, row["version"])
    return {
        "kind": "engine",
        "answers": replace(engine, held_steps=held),
        "prompts": None,
        "answer_engines": 1.0,
        "prompt_engines": 0.0,
        "workers": "stated",
        "concurrency": load,
    }


def _separate(
    row: Mapping[str, str], stated: Mapping[tuple[str, ...], Mapping[str, str]]
) -> dict[str, Any]:
    """What is read of a run with separate fleets: rules 7 and 8."""
    twin = stated.get(_same_run(row))
    workers = "stated" if row["decode_workers"] else "twin" if twin is not None else "assumed"
    told = row if workers == "stated" or twin is None else twin
    (prompt_tensor, prompt_data, prompt_expert), (tensor, data, expert) = (
        [max(1, _whole_of(told, f"{part}_{width}", 1)) for width in ("tp", "dp", "ep")]
        for part in ("prefill", "decode")
    )
    answering = float(_whole_of(told, "decode_workers", 1))
    taking = float(_whole_of(told, "prefill_workers"))
    guess = False
    if workers == "assumed":
        two_nodes = row["system"] == "h100_sxm"  # 16 devices that hold one copy
        whole = row["prefill_tp"] == row["decode_tp"] and tensor > 8 and expert == 1
        whole = whole and not two_nodes
        if whole or (tensor == 1 and row["backend"] == "sglang"):
            width, count = fleet_split(tensor if whole else 12)
            tensor, data, expert, answering = 1, width, width, float(count)
            prompt_tensor, prompt_data, prompt_expert, taking = 4, 1, 4, 0.0
        elif tensor >= 16 and not two_nodes:
            tensor, data, expert = 1, tensor, tensor
        else:
            answering = 1.0 if row["backend"] == "sglang" else 4.0
        guess = not whole and "DeepSeek" in row["model"] and row["day"] >= "2026"
    load = (
        _concurrency(row, data)
        if row["concurrency"]
        else (_whole_of(row, "decode_batch", 1) * answering * data)
    )
    answers = _engine(row, tensor, data, min(expert, tensor * data), load / answering)
    prompt_expert = min(prompt_expert, prompt_tensor * prompt_data)
    return {
        "kind": "separate",
        "answers": guessing(answers) if guess else answers,
        "prompts": _engine(row, prompt_tensor, prompt_data, prompt_expert, load),
        "answer_engines": answering,
        "prompt_engines": taking,
        "workers": workers,
        "concurrency": load,
    }


def read_runs(rows: Iterable[Mapping[str, str]]) -> list[Run]:
    """Runs from rows of the record, in their order, but for `UNTOLD`. ValueError on a bad cell.

    >>> from serving_mathematics.core.hardware.published_runs import read_lines
    >>> run = read_runs(read_lines()[:1])[0]
    >>> run.family, run.answers.devices, run.concurrency
    ('MiniMax-M2.5', 4, 128.0)
    """
    listed = [row for row in rows if (row["model"], row["system"], row["concurrency"]) != UNTOLD]
    stated = {
        _same_run(row): row for row in listed if row["mode"] == "disagg" and row["decode_workers"]
    }
    plain = {_same_run(row) for row in listed if row["source"] == PLAIN_SOURCE}
    seen: set[tuple[str, ...]] = set()
    runs = []
    for row in listed:
        model = _model(row["model"])
        mixture, together = model.routed_parameters > 0, row["mode"] == "agg"
        told = _aggregated(row, mixture, plain) if together else _separate(row, stated)
        same = (row["system"], row["backend"], *_same_run(row))
        runs.append(
            Run(
                line=int(row["line"]),
                source=row["source"],
                model=row["model"],
                family=family_name(model),
                release=row["version"],
                first_token_s=float(row["ttft_ms"]) * 1e-3,
                per_token_s=float(row["tpot_ms"]) * 1e-3,
                repeated=same in seen,
                **told,
            )
        )
        seen.add(same)
    return runs


@functools.cache
def _engine_runs() -> list[Run]:
    """The record's aggregated runs that are those of one engine."""
    runs = read_runs(line for line in read_lines() if line["mode"] == "agg")
    return [run for run in runs if run.kind == "engine"]


def family_name(model: Architecture) -> str:
    """One name for all models of one shape: DeepSeek-V3, -R1 and -V3.1 are one.

    >>> from serving_mathematics.core.hardware.catalogue import find_model
    >>> family_name(find_model("DeepSeek-V3")[0]) == family_name(find_model("DeepSeek-R1")[0])
    True
    """
    shared = "DeepSeek-V3, R1" if "DeepSeek-V3" in model.name or "DeepSeek-R1" in model.name else ""
    return shared or model.name.split("/")[-1]
