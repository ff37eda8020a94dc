"""Makes the records of the machine from a package of measurements that pip fetches.

    python -m serving_mathematics.core.hardware.record_making
    python -m serving_mathematics.core.hardware.record_making --typed

The first fetches the wheel of aiconfigurator-core into `.cache/machine`, reads it without
unpacking, and writes `machine_runs.json.gz` (every end-to-end run, in its order),
`machine_models.json.gz` (the published configurations, what is read of them),
`machine_systems.json` (data sheets) and, where pyarrow can be imported, `machine_kernels.json` (a
digest of the kernel measurements) and `machine_series.json.gz` (kernels of experts, attention and
messages by tokens and context). What that package lacks is typed in `records/typed_models.toml` and
`records/typed_devices.toml`; the second command takes them into the records and fetches nothing.

Source: aiconfigurator-core 0.12.0, Copyright (c) 2025-2026 NVIDIA CORPORATION & AFFILIATES,
Apache-2.0; for what that package has not, data sheets of AMD, NVIDIA and Google, each named at its
device, and `config.json` of the models' makers on Hugging Face.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from serving_mathematics.core.hardware.kernel_series import _kernel_digest, _kernel_series
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.systems import read_system
from serving_mathematics.support.measuring import FOLDER, provenance, read_record, write_record

PACKAGE, VERSION = "aiconfigurator-core", "0.12.0"
COMMAND = "python -m serving_mathematics.core.hardware.record_making"
LICENCE = (
    "Apache-2.0: https://www.apache.org/licenses/LICENSE-2.0; "
    "Copyright (c) 2025-2026 NVIDIA CORPORATION & AFFILIATES; shortened and rounded here"
)
SOURCE = f"{PACKAGE} {VERSION} on PyPI"
FROM_PACKAGE = SOURCE + ": systems/{}.yaml"  # the source of a device that is not typed
CACHE = Path(".cache/machine")

KEPT_KEYS = """
    model_type hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim
    v_head_dim intermediate_size vocab_size max_position_embeddings tie_word_embeddings kv_lora_rank
    q_lora_rank qk_rope_head_dim qk_nope_head_dim mla_use_output_gate index_topk index_head_dim
    index_n_heads indexer_types compress_ratios o_lora_rank o_groups sliding_window
    attention_chunk_size use_sliding_window layer_types hybrid_layer_pattern full_attention_interval
    attn_output_gate attention_output_gate sparse_attention_config linear_attn_config
    linear_num_key_heads linear_num_value_heads linear_key_head_dim linear_value_head_dim
    global_head_dim num_global_key_value_heads swa_head_dim swa_v_head_dim swa_num_key_value_heads
    hybrid_override_pattern layers_block_type attention_head_dim mamba_num_heads mamba_head_dim
    n_groups ssm_state_size block_configs moe_intermediate_size expert_intermediate_size
    dense_intermediate_size intermediate_size_mlp n_routed_experts num_local_experts num_experts
    num_experts_per_tok num_experts_per_token top_k_experts experts_per_token moe_latent_size
    routed_expert_hidden_size moe_shared_expert_intermediate_size shared_expert_intermediate_size
    share_expert_dim n_shared_experts num_shared_experts enable_moe_block mlp_layer_types
    moe_layer_freq decoder_sparse_step interleave_moe_layer_step first_k_dense_replace
    mlp_only_layers expert_dtype attn_type_list attn_layer_period attn_layer_offset
    expert_layer_period expert_layer_offset mamba_expand mamba_d_state mamba_dt_rank
    mamba_ssm_dtype mamba_ssm_cache_dtype
"""  # what `published_configs` reads


RUN_COLUMNS = {  # in the record: in the package
    "backend": "backend",
    "version": "backend_version",
    "model": "model_path",
    "system": "system",
    "precision": "precision",
    "mode": "mode",
    "isl": "isl",
    "osl": "osl",
    "gemm": "gemm_quant_mode",
    "moe": "moe_quant_mode",
    "batch": "batch_size",
    "tp": "tp_size",
    "dp": "attention_dp_size",
    "moe_tp": "moe_tp_size",
    "ep": "moe_ep_size",
    "prefill_workers": "prefill_num_workers",
    "prefill_tp": "prefill_tp_size",
    "prefill_dp": "prefill_attention_dp_size",
    "prefill_moe_tp": "prefill_moe_tp_size",
    "prefill_ep": "prefill_moe_ep_size",
    "decode_batch": "decode_batch_size",
    "decode_workers": "decode_num_workers",
    "decode_tp": "decode_tp_size",
    "decode_dp": "decode_attention_dp_size",
    "decode_moe_tp": "decode_moe_tp_size",
    "decode_ep": "decode_moe_ep_size",
}

BLACKWELLS = dict.fromkeys((100, 103, 120), "blackwell")
GENERATIONS = {80: "ampere", 89: "ada", 90: "hopper"} | BLACKWELLS


def _fetch_wheel() -> Path:
    """The package's wheel in the cache, fetched by pip where it is not there yet."""
    CACHE.mkdir(parents=True, exist_ok=True)
    pattern = f"{PACKAGE.replace('-', '_')}-{VERSION}-*.whl"
    found = sorted(CACHE.glob(pattern))
    if not found:
        command = [sys.executable, *("-m", "pip", "download", "--quiet", "--no-deps")]
        command += ["--disable-pip-version-check", "--dest", str(CACHE), f"{PACKAGE}=={VERSION}"]
        subprocess.run(command, check=True)
        found = sorted(CACHE.glob(pattern))
    return found[0]


def _short(cell: str) -> str:
    """A number without a trailing .0, other text as it is."""
    return cell[:-2] if re.fullmatch(r"\d+\.0", cell) else cell


def _rounded(cell: str) -> str:
    return f"{float(cell):.6g}"


def run_rows(lines: Iterable[str]) -> list[dict[str, str]]:
    """The runs of the package's table, with the parts of `silicon_data_source` that are read.

    lines: of the table, its header first.

    >>> head = ["silicon_data_source", "silicon_ttft_ms", "silicon_tpot_ms", *RUN_COLUMNS.values()]
    >>> cells = ["db-dump/x; silicon_concurrency=8", "100", "9.87654321", *["2.0"] * 26]
    >>> row = run_rows([",".join(head), ",".join(cells)])[0]
    >>> row["source"], row["concurrency"], row["tp"], row["tpot_ms"]
    ('db-dump', '8', '2', '9.87654')
    """
    rows = []
    for number, row in enumerate(csv.DictReader(lines), 1):
        told = row["silicon_data_source"]
        source = re.match(r"source_file=([^;]+?)\.csv|(db-dump)", told)
        family = source[1] or source[2] if source else ""
        parts = family.split("/")
        if len(parts) > 1:
            family = "kernel makers"
        found = {
            "line": str(number),
            "source": family,
            "config": (re.search(r"config_id=(\d+)", told) or ["", ""])[1],
            "day": (re.search(r"measured=(\d{4}-\d\d-\d\d)", told) or ["", ""])[1],
            "concurrency": (re.search(r"silicon_concurrency=(\d+)", told) or ["", ""])[1],
        }
        found |= {name: _short(row[column]) for name, column in RUN_COLUMNS.items()}
        found["ttft_ms"] = _rounded(row["silicon_ttft_ms"])
        found["tpot_ms"] = _rounded(row["silicon_tpot_ms"])
        rows.append(found)
    return rows


def kept_config(config: Mapping[str, Any], quantized: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is read of a `config.json`, and of the `hf_quant_config.json` beside it.

    >>> kept_config({"hidden_size": 8, "rope_theta": 1e4}, {"quantization": {"quant_algo": "FP8"}})
    {'hidden_size': 8, 'quantization_config': {'quant_algo': 'FP8'}}
    """
    merged = {**config, **(config.get("text_config") or {}), **(config.get("llm_config") or {})}
    kept = {key: merged[key] for key in KEPT_KEYS.split() if merged.get(key) is not None}
    told = merged.get("quantization_config") or (quantized or {}).get("quantization")
    if told:
        text = str(told)
        kept["quantization_config"] = {
            key: value
            for key, value in {
                "quant_method": told.get("quant_method"),
                "quant_algo": told.get("quant_algo"),
                "format": told.get("format"),
                "num_bits": 4 if "'num_bits': 4" in text else None,
                "type": "float" if "'type': 'float'" in text else None,
            }.items()
            if value is not None
        }
    return kept


def _older_models() -> dict[str, dict[str, Any]]:
    """Dense models of the record of shapes, in the words of a `config.json`."""
    found = {}
    for shape in read_record("model_configs")["models"]:
        if shape["latent_dim"] or shape["model"].startswith("gpt-oss"):
            continue
        layers, full = shape["layers"], shape["layers"] - shape["windowed_layers"]
        pattern = [i * full // layers == (i + 1) * full // layers for i in range(layers)]
        config = {
            "hidden_size": shape["hidden"],
            "num_hidden_layers": shape["layers"],
            "num_attention_heads": shape["query_heads"],
            "num_key_value_heads": shape["kv_heads"],
            "head_dim": shape["head_dim"],
            "intermediate_size": shape["ffn"] * shape["ffn_matrices"] // 3,
            "vocab_size": shape["vocabulary"],
            "max_position_embeddings": shape["context"],
            "tie_word_embeddings": shape["tied_embeddings"],
        }
        if shape["window"] and shape["windowed_layers"]:
            config["sliding_window"] = shape["window"]
            if shape["windowed_layers"] < shape["layers"]:
                config["layer_types"] = [
                    "sliding_attention" if windowed else "full_attention" for windowed in pattern
                ]
        found[shape["model"]] = config
    return found


def _system_row(text: str, name: str) -> dict[str, Any] | None:
    def number(key: str) -> float | None:
        match = re.search(rf"^\s*{key}:\s*([\d.e+]+)", text, re.MULTILINE)
        return float(match[1]) if match else None

    generation = GENERATIONS.get(int(number("sm_version") or 0))
    if generation is None:
        return None
    bf16 = number("bfloat16_tc_flops")
    row = {
        "generation": generation,
        "memory_bytes": number("mem_capacity"),
        "bandwidth_bytes_per_s": number("mem_bw"),
        "bf16_flops_per_s": bf16,
        "fp8_flops_per_s": number("fp8_tc_flops"),
        "fp4_flops_per_s": number("fp4_tc_flops"),
        "link_bytes_per_s": number("intra_node_bw"),
        "domain_devices": int(number("num_gpus_per_rack") or number("num_gpus_per_node") or 8),
        "outside_bytes_per_s": number("inter_rack_bw") or number("inter_node_bw"),
        "source": FROM_PACKAGE.format(name),
    }
    return {key: value for key, value in row.items() if value is not None}


def _make_records(wheel: Path) -> None:
    """Write the records of runs, models and systems from the wheel."""
    made = {"source": SOURCE, "licence": LICENCE} | provenance(COMMAND)
    with zipfile.ZipFile(wheel) as package:
        names = package.namelist()
        runs = run_rows(io.StringIO(package.read(_named(names, "silicon_sample.csv")).decode()))
        configs, systems = {}, {}
        for name in names:
            stem = Path(name).name
            if name.endswith("_config.json") and "hf_quant" not in name:
                quant = name.replace("_config.json", "_hf_quant_config.json")
                quantized = json.loads(package.read(quant)) if quant in names else None
                config = json.loads(package.read(name))
                published = stem.removesuffix("_config.json").replace("--", "/", 1)
                configs[published] = kept_config(config, quantized)
            elif name.endswith(".yaml") and "/systems/" in name and name.count("/") == 2:
                row = _system_row(package.read(name).decode(), stem.removesuffix(".yaml"))
                if row is not None:
                    systems[stem.removesuffix(".yaml")] = row
    table = {"columns": list(runs[0]), "rows": [list(run.values()) for run in runs]}
    write_record("machine_runs", made | table, packed=True)
    title = {
        "title": "Devices as their data sheets describe them, dense peaks, links one direction"
    }
    _write_with_typed(made | {"models": configs}, title | made | {"systems": systems})


def _typed(name: str) -> dict[str, dict[str, Any]]:
    """What is typed in a file of the records, by name."""
    try:
        return tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    except ValueError as problem:
        raise ValueError(f"records/{name}.toml is not TOML: {problem}") from problem


def _write_with_typed(models: dict[str, Any], devices: dict[str, Any]) -> None:
    """Write the records of models and devices, with those that the package lacks; each is read."""
    further = _older_models() | _typed("typed_models")
    configs = models["models"] | {
        name: config for name, config in further.items() if name not in models["models"]
    }
    for name, config in configs.items():
        read_architecture(config, name)
    rows = devices["systems"] | _typed("typed_devices")
    for name, row in rows.items():
        read_system(name, row)
        if not row.get("source"):
            raise ValueError(f"system {name} must have a 'source'")
    write_record("machine_models", models | {"models": configs}, packed=True)
    write_record("machine_systems", devices | {"systems": dict(sorted(rows.items()))})


def _take_typed() -> None:
    """Write the records of models and devices with what is typed now in the place of what was."""
    models, devices = read_record("machine_models"), read_record("machine_systems")
    typed = _typed("typed_models")
    configs = {name: row for name, row in models["models"].items() if name not in typed}
    rows = {
        name: row
        for name, row in devices["systems"].items()
        if row["source"] == FROM_PACKAGE.format(name)
    }
    _write_with_typed(models | {"models": configs}, devices | {"systems": rows})


def _named(names: Iterable[str], end: str) -> str:
    return next(name for name in names if name.endswith(f"/{end}"))


def main() -> int:
    """Fetch, read, write; kernels only where pyarrow is there. With `--typed`, fetch nothing, and
    take into the records what is typed."""
    if sys.argv[1:] == ["--typed"]:
        try:
            _take_typed()
        except ValueError as problem:
            sys.exit(f"error: {problem}")
        counts = [len(_typed(f"typed_{kind}")) for kind in ("devices", "models")]
        print("taken into the records: {} devices, {} models".format(*counts))
        return 0
    wheel = _fetch_wheel()
    _make_records(wheel)
    with contextlib.suppress(ModuleNotFoundError):
        digest = _kernel_digest(wheel)
        made = {"source": SOURCE, "licence": LICENCE} | provenance(COMMAND)
        title = {"title": "Kernel measurements, medians by backend and type"}
        write_record("machine_kernels", title | made | {"systems": digest})
        title = {"title": "Kernel measurements by tokens or context"}
        series = {"series": _kernel_series(wheel)}
        write_record("machine_series", title | made | series, packed=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
