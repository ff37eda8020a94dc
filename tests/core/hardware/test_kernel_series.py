"""What a table of measured kernels comes to: floors, shares, and lines by tokens or context."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serving_mathematics.core.hardware import kernel_series
from serving_mathematics.support.measuring import read_record


def test_versions_are_in_order() -> None:
    names = ["a/0.5.9/x", "a/0.5.12/x", "a/0.5.6.post2/x", "a/1.3.0rc20/x", "a/1.3.0rc3/x"]
    ordered = sorted(names, key=kernel_series._by_version)
    assert ordered == [names[2], names[0], names[1], names[4], names[3]]


def test_series_are_told_apart() -> None:
    row = {
        "num_experts": 8, "topk": 2, "hidden_size": 4096, "inter_size": 14336,
        "moe_dtype": "bfloat16", "moe_tp_size": 1, "moe_ep_size": 8, "distribution": "balanced",
    }  # fmt: skip
    told = {"kernel": "experts", "model": "Mixtral-8x7B", "devices": 8, "routing": "balanced"}
    assert kernel_series._series_key("moe_perf", row) == told
    one = kernel_series._series_key("moe_perf", row | {"moe_ep_size": 1})
    assert one == told | {"devices": 1}
    for size in (2, 4):
        assert kernel_series._series_key("moe_perf", row | {"moe_ep_size": size}) is None
    assert kernel_series._series_key("moe_perf", row | {"moe_tp_size": 8, "moe_ep_size": 1}) is None
    assert kernel_series._series_key("moe_perf", row | {"topk": 3}) is None
    assert kernel_series._series_key("gemm_perf", row) is None
    heads = {"num_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "window_size": 128}
    found = kernel_series._series_key("generation_attention_perf", heads)
    assert found == {"kernel": "grouped", "heads": 64, "kv_heads": 8, "width": 64, "window": 128}


HEADS = ("num_heads", "num_key_value_heads", "head_dim", "window_size")
MODULE = {"num_heads": 128, "gemm_type": "fp8_block", "model": "DeepSeek"}
STEP = {"phase": "generation", "num_v_heads": 48, "kernel_source": "step"}
FAR = {"node_num": 1, "num_experts": 256, "hidden_size": 7168}


@pytest.mark.parametrize(
    ("kind", "row", "changed", "told"),
    [
        *(
            ("generation_attention_perf", dict(zip(HEADS, heads, strict=True)), HEADS, "grouped")
            for heads in ((64, 8, 128, 0), (8, 1, 128, 0), (64, 8, 64, 0), (64, 8, 64, 128))
        ),
        ("generation_mla_perf", {"num_heads": 16}, ["num_heads"], "latent"),
        ("generation_mla_perf", {"num_heads": 128}, ["num_heads"], "latent"),
        ("mla_generation_module_perf", MODULE, ["num_heads", "gemm_type"], "latent module"),
        ("dsa_generation_module_perf", MODULE, ["num_heads", "gemm_type"], "selecting module"),
        ("gdn_perf", STEP, ["phase", "num_v_heads"], "linear"),
        ("wideep_deepep_ll_perf", FAR, ["node_num", "num_experts"], "messages"),
    ],
)
def test_a_line_is_of_these_numbers_and_of_no_others(
    kind: str, row: dict[str, Any], changed: Sequence[str], told: str
) -> None:
    found = kernel_series._series_key(kind, row)
    assert found is not None
    assert found["kernel"] == told
    for key in changed:
        other = row[key] + (1 if isinstance(row[key], int) else "x")
        assert kernel_series._series_key(kind, row | {key: other}) is None
    assert kernel_series._series_key(f"another_{kind}", row) is None
    if "model" in row:
        assert kernel_series._series_key(kind, row | {"model": "GLM-5"}) is None


GEMM = {"gemm_dtype": "fp8", "m": 4, "n": 1000, "k": 2000, "latency": 0.002}
MIXTURE = {
    "moe_dtype": "bfloat16", "num_tokens": 2, "num_experts": 4, "topk": 2, "hidden_size": 1000,
    "inter_size": 500, "moe_tp_size": 2, "moe_ep_size": 5, "latency": 0.004,
}  # fmt: skip
ATTENTION = {
    "isl": 1000, "step": 25, "kv_cache_dtype": "fp8", "batch_size": 4, "num_key_value_heads": 2,
    "head_dim": 100, "window_size": 0, "latency": 0.005,
}  # fmt: skip
REDUCTION = {"kernel_source": "graph", "message_size": 4096, "num_gpus": 2, "latency": 0.006}
BANDWIDTH = 3.35e12  # of an H100 [B/s]


def with_latencies(row: dict[str, Any], *milliseconds: float) -> list[dict[str, Any]]:
    return [row | {"latency": one} for one in milliseconds]


def wheel_of(
    tables: Mapping[str, list[dict[str, Any]]], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A wheel with these tables, and what reads them in the place of pyarrow."""
    wheel = folder / "wheel.zip"
    with zipfile.ZipFile(wheel, "w") as package:
        for name, rows in tables.items():
            package.writestr(name, json.dumps(rows))

    def read_table(file: Any) -> Any:
        rows = json.loads(file.read())
        columns = {k: [row[k] for row in rows] for k in rows[0]}
        return SimpleNamespace(to_pydict=lambda: columns, column_names=list(columns))

    parquet = SimpleNamespace(read_table=read_table)
    monkeypatch.setattr(
        kernel_series, "importlib", SimpleNamespace(import_module=lambda _: parquet)
    )
    return wheel


def test_kernels_are_digested_by_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Floors of calls with next to nothing to do, shares of the bandwidth of those with much, and
    nothing of what lies between; medians by hand."""
    large = {"n": 10_000, "k": 20_000, "latency": 0.1}
    cache = ATTENTION | {"batch_size": 128, "isl": 5000, "latency": 0.2}
    tables: dict[str, list[dict[str, Any]]] = {
        "a/data/h100_sxm/vllm/1.0/gemm_perf.parquet": [
            *with_latencies(GEMM, 0.003, 0.001, 0.002, 0.005, 0.0015, -1.0, 0.0),
            GEMM | {"m": 5, "latency": 9.0},
            GEMM | {"n": 1200, "latency": 9.0},  # 2.4 MB, no longer small
            GEMM | large | {"m": 16},
            GEMM | large | {"m": 17, "latency": 0.001},
            GEMM | large | {"n": 5000, "latency": 0.001},  # 100 MB, not yet large
            GEMM | {"gemm_dtype": "bfloat16", "latency": 0.008},  # 4 MB
            GEMM | large | {"gemm_dtype": "nvfp4"},
        ],
        "a/data/h100_sxm/vllm/1.0/moe_perf.parquet": [
            MIXTURE,
            MIXTURE | {"num_tokens": 4, "moe_dtype": "w4", "moe_tp_size": 1, "moe_ep_size": 1},
            MIXTURE | {"num_tokens": 5, "latency": 9.0},
        ],
        "a/data/h100_sxm/trtllm/1.0/generation_attention_perf.parquet": [
            ATTENTION,
            ATTENTION | {"batch_size": 5, "latency": 9.0},
            ATTENTION | {"step": 26, "latency": 9.0},
            cache,
            cache | {"window_size": 128, "latency": 0.001},
            cache | {"kv_cache_dtype": "bfloat16"},
        ],
        "a/data/h100_sxm/trtllm/1.0/custom_allreduce_perf.parquet": [
            REDUCTION,
            REDUCTION | {"message_size": 4097, "latency": 9.0},
            REDUCTION | {"kernel_source": "eager one", "latency": 9.0},
            REDUCTION | {"num_gpus": 8},
        ],
        "a/data/h100_sxm/trtllm/1.0/other_perf.parquet": [{"latency": 1.0}],
        "a/data/l40s/vllm/1.0/gemm_perf.parquet": [GEMM | {"latency": 9.0}],
        "a/data/h100_sxm/vllm/1.0/gemm_perf.txt": [],
    }
    wheel = wheel_of(tables, tmp_path, monkeypatch)
    found = kernel_series._kernel_digest(wheel, ["h100_sxm"])["h100_sxm"]
    told = {
        kind: {k: (v["median"], v["calls"]) for k, v in by.items()} for kind, by in found.items()
    }

    def about(value: float, calls: int = 1) -> tuple[Any, int]:
        return pytest.approx(value, rel=0.005), calls  # three digits are kept

    weights = 4 * (1 - 0.5**2) * 3 * 1000 * 500 * 2.0 / 10
    packed = 4 * (1 - 0.5**4) * 3 * 1000 * 500 * 0.53125
    held = 128 * 5025 * 2 * 100 * 2  # K and V of a byte
    assert told == {
        "matrix floor [s]": {"vllm fp8": about(2e-6, 5)},
        "matrix share of the bandwidth": {
            "vllm fp8": about(2e8 / 1e-4 / BANDWIDTH),
            "vllm nvfp4": about(0.5625 * 2e8 / 1e-4 / BANDWIDTH),
        },
        "experts floor [s]": {
            "vllm bfloat16": about(4e-6 - weights / (0.85 * BANDWIDTH)),
            "vllm w4": about(4e-6 - packed / (0.85 * BANDWIDTH)),
        },
        "attention floor [s]": {"trtllm cache fp8": about(5e-6)},
        "cache share of the bandwidth": {
            "trtllm cache fp8": about(held / 2e-4 / BANDWIDTH),
            "trtllm cache bfloat16": about(2 * held / 2e-4 / BANDWIDTH),
        },
        "message floor [s]": {"trtllm 2": about(6e-6), "trtllm 8": about(6e-6)},
    }


def test_lines_of_kernels_have_their_points_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By tokens of context or of a step; of two versions the newer, of other systems nothing."""
    grouped = ATTENTION | {"num_heads": 64, "num_key_value_heads": 8, "head_dim": 128}
    grouped |= {"batch_size": 16}
    mixture = {
        "num_experts": 8, "topk": 2, "hidden_size": 4096, "inter_size": 14336, "num_tokens": 64,
        "moe_dtype": "bfloat16", "moe_tp_size": 1, "moe_ep_size": 8, "distribution": "balanced",
        "batch_size": 9, "latency": 0.25,
    }  # fmt: skip
    linear = {"phase": "generation", "num_v_heads": 48, "kernel_source": "step", "batch_size": 3}
    messages = {
        "node_num": 1, "num_experts": 256, "hidden_size": 7168, "num_token": 128,
        "dispatch_avg_t_us": 20.0, "combine_avg_t_us": 31.239,
    }  # fmt: skip
    tables: dict[str, list[dict[str, Any]]] = {
        "a/data/h100_sxm/kind/vllm/0.12.0/generation_attention_perf.parquet": [
            grouped | {"step": 3000, "latency": 0.0123456},
            grouped,
            grouped | {"batch_size": 17},
            grouped | {"batch_size": 64, "kv_cache_dtype": "bfloat16"},
        ],
        "a/data/h100_sxm/kind/vllm/0.9.0/generation_attention_perf.parquet": [
            grouped | {"latency": 9.0},
            grouped | {"step": 24, "latency": 0.004},
        ],
        "a/data/h100_sxm/kind/vllm/1.0/moe_perf.parquet": [mixture, mixture | {"topk": 3}],
        "a/data/h100_sxm/kind/vllm/1.0/gdn_perf.parquet": [linear | {"latency": 0.5}],
        "a/data/h100_sxm/kind/vllm/1.0/wideep_deepep_ll_perf.parquet": [messages],
        "a/data/l40s/kind/vllm/1.0/gdn_perf.parquet": [linear | {"latency": 0.5}],
        "a/data/h100_sxm/kind/vllm/1.0/gdn_perf.txt": [linear],
    }
    series = kernel_series._kernel_series(wheel_of(tables, tmp_path, monkeypatch))
    of = {"system": "h100_sxm", "backend": "vllm"}
    heads = {"kernel": "grouped", "heads": 64, "kv_heads": 8, "width": 128, "window": 0}
    experts = {"kernel": "experts", "model": "Mixtral-8x7B", "devices": 8, "routing": "balanced"}
    expected = [
        of
        | heads
        | {"sequences": 16, "cache": "fp8"}
        | {"x": [1024, 1025, 4000], "seconds": [4e-6, 5e-6, 1.23e-5]},
        of | heads | {"sequences": 64, "cache": "bfloat16", "x": [1025], "seconds": [5e-6]},
        of | experts | {"x": [64], "seconds": [2.5e-4]},
        of | {"kernel": "linear", "part": "step", "heads": 48} | {"x": [3], "seconds": [5e-4]},
        of | {"kernel": "messages", "hidden": 7168} | {"x": [128], "seconds": [[2e-5, 3.12e-5]]},
    ]
    assert sorted(series, key=str) == sorted(expected, key=str)


def test_every_line_of_the_series_has_its_points() -> None:
    series = read_record("machine_series")["series"]
    assert len(
        {str({k: v for k, v in line.items() if k not in ("x", "seconds")}) for line in series}
    ) == len(series)
    for line in series:
        assert line["x"] == sorted(set(line["x"]))
        assert len(line["x"]) == len(line["seconds"])
        times = [
            time
            for each in line["seconds"]
            for time in ([each] if isinstance(each, float) else each)
        ]
        assert all(1e-6 < time < 0.1 for time in times)
