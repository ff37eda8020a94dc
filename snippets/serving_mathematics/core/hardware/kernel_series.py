"""Digests of a package's measured kernels: floors and shares, and times by tokens or context.

Every table of the package is a file of rows, one a measured call; reading them needs pyarrow.

Source: aiconfigurator-core 0.12.0, Copyright (c) 2025-2026 NVIDIA CORPORATION & AFFILIATES,
Apache-2.0.
"""

from __future__ import annotations

import importlib
import io
import json
import re
import statistics
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from serving_mathematics.support.measuring import read_record

VALUE_BYTES = {"bfloat16": 2.0, "fp8": 1.0, "fp8_block": 1.0, "nvfp4": 0.5625, "int4_wo": 0.53125}


def _columns(package: zipfile.ZipFile, name: str) -> dict[str, list[Any]]:
    """A table of the package, by column."""
    parquet = importlib.import_module("pyarrow.parquet")
    columns: dict[str, list[Any]] = parquet.read_table(io.BytesIO(package.read(name))).to_pydict()
    return columns


def _rows(package: zipfile.ZipFile, name: str) -> Iterator[dict[str, Any]]:
    """Its rows."""
    table = _columns(package, name)
    for values in zip(*table.values(), strict=True):
        yield dict(zip(table, values, strict=True))


def _counted(
    kind: str, backend: str, row: Mapping[str, Any], bandwidth: float
) -> tuple[str, str, float] | None:
    """What a call tells of: a floor or a share, of which kernels, and its value; None of nothing.

    A floor is of calls with next to nothing to do [s], a share of those with much.
    """
    seconds = row["latency"] * 1e-3
    if seconds <= 0:
        return None
    if kind == "gemm_perf":
        key = f"{backend} {row['gemm_dtype']}"
        size = row["n"] * row["k"] * VALUE_BYTES.get(row["gemm_dtype"], 1.0)
        if row["m"] <= 4 and size < 2.4e6:
            return "matrix floor [s]", key, seconds
        if row["m"] <= 16 and size > 1e8:
            return "matrix share of the bandwidth", key, size / seconds / bandwidth
    elif kind == "moe_perf" and row["num_tokens"] <= 4:
        experts, chosen = row["num_experts"], row["topk"]
        touched = experts * (1 - (1 - chosen / experts) ** row["num_tokens"])
        an_expert = 3 * row["hidden_size"] * row["inter_size"]
        size = touched * an_expert * VALUE_BYTES.get(row["moe_dtype"], 0.53125)
        weights = size / row["moe_tp_size"] / row["moe_ep_size"]
        left = seconds - weights / (0.85 * bandwidth)
        return "experts floor [s]", f"{backend} {row['moe_dtype']}", left
    elif kind == "generation_attention_perf":
        tokens, key = row["isl"] + row["step"], f"{backend} cache {row['kv_cache_dtype']}"
        heads = row["num_key_value_heads"] * row["head_dim"]
        cache = row["batch_size"] * tokens * heads * (2 if "fp8" in row["kv_cache_dtype"] else 4)
        if row["batch_size"] <= 4 and tokens <= 1025:
            return "attention floor [s]", key, seconds
        if cache > 2e8 and not row.get("window_size"):
            return "cache share of the bandwidth", key, cache / seconds / bandwidth
    elif kind == "custom_allreduce_perf" and row["message_size"] <= 4096:
        told = "message floor [s]", f"{backend} {row['num_gpus']}", seconds
        return told if "eager" not in row["kernel_source"] else None
    return None


def _kernel_digest(
    wheel: Path, systems: Iterable[str] = ("a100_sxm", "h100_sxm", "h200_sxm", "b200_sxm")
) -> dict[str, Any]:
    """Medians of kernel measurements by system, backend and type."""
    sheet = read_record("machine_systems")["systems"]
    digest: dict[str, Any] = {}
    kinds = "gemm_perf", "moe_perf", "generation_attention_perf", "custom_allreduce_perf"
    with zipfile.ZipFile(wheel) as package:
        for system in systems:
            bandwidth = sheet[system]["bandwidth_bytes_per_s"]
            found: dict[str, dict[str, list[float]]] = {}
            for name in package.namelist():
                kind = Path(name).stem
                if f"/data/{system}/" not in name or name[-8:] != ".parquet" or kind not in kinds:
                    continue
                for row in _rows(package, name):
                    if told := _counted(kind, name.split("/")[-3], row, bandwidth):
                        of, key, value = told
                        found.setdefault(of, {}).setdefault(key, []).append(float(value))
            digest[system] = {
                kind: {
                    key: {
                        "median": float(f"{statistics.median_high(values):.3g}"),
                        "calls": len(values),
                    }
                    for key, values in sorted(by_key.items())
                }
                for kind, by_key in sorted(found.items())
            }
    return digest


MIXTURES = {  # experts, chosen, hidden and inner width, and their types: whose they are
    (128, 8, 2048, 768, "bfloat16"): "Qwen3-30B-A3B",
    (256, 8, 7168, 2048, "fp8_block"): "DeepSeek-V3",
    (256, 8, 3072, 1536, "fp8_block"): "MiniMax-M2.5",
    (128, 4, 2880, 2880, "w4a16_mxfp4"): "gpt-oss-120b",
    (8, 2, 4096, 14336, "bfloat16"): "Mixtral-8x7B",
}
MIXTURE_COLUMNS = ("num_experts", "topk", "hidden_size", "inter_size", "moe_dtype")


def _series_key(kind: str, row: Mapping[str, Any]) -> dict[str, Any] | None:
    """What one line of a figure has in common; None where the kernel is of no such line."""
    if kind == "moe_perf":
        shape = tuple(row[column] for column in MIXTURE_COLUMNS)
        split = (row["moe_tp_size"], row["moe_ep_size"])
        if shape not in MIXTURES or split not in ((1, 1), (1, 8)):
            return None
        return {"kernel": "experts", "model": MIXTURES[shape], "devices": split[1]} | {
            "routing": row["distribution"]
        }
    if kind == "generation_attention_perf":
        heads = (row["num_heads"], row["num_key_value_heads"], row["head_dim"], row["window_size"])
        if heads not in ((64, 8, 128, 0), (8, 1, 128, 0), (64, 8, 64, 0), (64, 8, 64, 128)):
            return None
        key = dict(zip(("heads", "kv_heads", "width", "window"), heads, strict=True))
        return {"kernel": "grouped", **key}
    if kind == "generation_mla_perf" and row["num_heads"] in (16, 128):
        return {"kernel": "latent", "heads": row["num_heads"]}
    if kind in ("mla_generation_module_perf", "dsa_generation_module_perf"):
        wanted = row["num_heads"] == 128 and row["gemm_type"] == "fp8_block"
        whole = {"mla": "latent module", "dsa": "selecting module"}[kind[:3]]
        return {"kernel": whole} if wanted and "GLM" not in row["model"] else None
    if kind == "gdn_perf" and row["phase"] == "generation" and row["num_v_heads"] == 48:
        return {"kernel": "linear", "part": row["kernel_source"], "heads": row["num_v_heads"]}
    if kind == "wideep_deepep_ll_perf" and row["node_num"] == 1 and row["num_experts"] == 256:
        return {"kernel": "messages", "hidden": row["hidden_size"]}
    return None


def _by_version(name: str) -> list[str]:
    """A path with its numbers as numbers, so that 0.5.12 comes after 0.5.9."""
    return [part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _kernel_series(
    wheel: Path, systems: Iterable[str] = ("h100_sxm", "b200_sxm")
) -> list[dict[str, Any]]:
    """Kernel times by tokens or context: what each line is, and `x` and seconds of its points.

    Of several versions of a backend the newest that has a point gives it.
    """
    found: dict[str, dict[Any, list[float]]] = {}
    with zipfile.ZipFile(wheel) as package:
        for name in sorted(package.namelist(), key=_by_version):
            parts = name.split("/")
            if not name.endswith(".parquet") or parts[-5] not in systems:
                continue
            kind = Path(name).stem
            for row in _rows(package, name):
                key = _series_key(kind, row)
                if key is None:
                    continue
                key = {"system": parts[-5], "backend": parts[-3]} | key
                if key["kernel"] in ("grouped", "latent", "latent module", "selecting module"):
                    if row["batch_size"] not in (1, 16, 64):
                        continue
                    key |= {"sequences": row["batch_size"], "cache": row["kv_cache_dtype"]}
                    at, times = row["isl"] + row["step"], [row["latency"] * 1e-3]
                elif key["kernel"] == "messages":
                    at = row["num_token"]
                    times = [row["dispatch_avg_t_us"] * 1e-6, row["combine_avg_t_us"] * 1e-6]
                else:
                    at = row["num_tokens"] if kind == "moe_perf" else row["batch_size"]
                    times = [row["latency"] * 1e-3]
                rounded = [float(f"{seconds:.3g}") for seconds in times]
                found.setdefault(json.dumps(key), {})[at] = rounded
    return [
        json.loads(key)
        | {"x": sorted(points)}
        | {
            "seconds": [
                points[at] if len(points[at]) > 1 else points[at][0] for at in sorted(points)
            ]
        }
        for key, points in found.items()
    ]
