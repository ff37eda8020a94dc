"""Records: what is kept of a row and of a configuration, and that they say where they are from."""

from __future__ import annotations

import pytest
from serving_mathematics.machine import record_making
from serving_mathematics.machine.architectures import read_architecture
from serving_mathematics.machine.record_making import RUN_COLUMNS, kept_config, run_rows
from serving_mathematics.measuring import FOLDER, read_record

HEADER = ["id", "silicon_data_source", *RUN_COLUMNS.values(), "silicon_ttft_ms", "silicon_tpot_ms"]


def test_a_row_keeps_what_is_read() -> None:
    source = (
        '"source_file=2026-04-06.csv; silicon_concurrency=64; measured=2026-02-05T00:00:00.000Z"'
    )
    cells = ["x", source, *["1.0"] * len(RUN_COLUMNS), "123.456789", "1e1"]
    (row,) = run_rows([",".join(HEADER), ",".join(cells)])
    assert (row["source"], row["concurrency"], row["day"]) == ("2026-04-06", "64", "2026-02-05")
    assert (row["tp"], row["ttft_ms"], row["tpot_ms"]) == ("1", "123.457", "10")
    own = source.replace("2026-04-06.csv", "/a/b/c.csv")
    (row,) = run_rows([",".join(HEADER), ",".join([cells[0], own, *cells[2:]])])
    assert row["source"] == "kernel makers"


def test_a_configuration_keeps_what_is_read() -> None:
    config = {
        "text_config": {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
        "vocab_size": 10, "intermediate_size": 5, "torch_dtype": "bfloat16",
        "quantization_config": {"quant_method": "fp8", "ignore": ["a"] * 99},
    }  # fmt: skip
    kept = kept_config(config, None)
    assert "torch_dtype" not in kept
    assert kept["quantization_config"] == {"quant_method": "fp8"}
    assert read_architecture(kept) == read_architecture(config)
    beside = {"quantization": {"quant_algo": "NVFP4", "exclude_modules": ["x"]}}
    del config["quantization_config"]
    assert kept_config(config, beside)["quantization_config"] == {"quant_algo": "NVFP4"}


def test_older_models_keep_their_full_layers() -> None:
    """Ten of 62 layers of Gemma-3-27B are full, 21 of 42 of Gemma-2-9B, none of Mistral."""
    found = record_making._older_models()
    for name, full in (("Gemma-3-27B", 10), ("Gemma-2-9B", 21)):
        assert found[name]["layer_types"].count("full_attention") == full
    assert found["Gemma-3-27B"]["layer_types"].index("full_attention") == 6
    assert "layer_types" not in found["Mistral-7B-v0.1"]
    assert found["Mistral-7B-v0.1"]["sliding_window"] == 4096


def test_versions_are_in_order() -> None:
    names = ["a/0.5.9/x", "a/0.5.12/x", "a/0.5.6.post2/x", "a/1.3.0rc20/x", "a/1.3.0rc3/x"]
    ordered = sorted(names, key=record_making._by_version)
    assert ordered == [names[2], names[0], names[1], names[4], names[3]]


def test_series_are_told_apart() -> None:
    row = {
        "num_experts": 8, "topk": 2, "hidden_size": 4096, "inter_size": 14336,
        "moe_dtype": "bfloat16", "moe_tp_size": 1, "moe_ep_size": 8, "distribution": "balanced",
    }  # fmt: skip
    told = {"kernel": "experts", "model": "Mixtral-8x7B", "devices": 8, "routing": "balanced"}
    assert record_making._series_key("moe_perf", row) == told
    one = record_making._series_key("moe_perf", row | {"moe_ep_size": 1})
    assert one == told | {"devices": 1}
    for size in (2, 4):
        assert record_making._series_key("moe_perf", row | {"moe_ep_size": size}) is None
    assert record_making._series_key("moe_perf", row | {"moe_tp_size": 8, "moe_ep_size": 1}) is None
    assert record_making._series_key("moe_perf", row | {"topk": 3}) is None
    assert record_making._series_key("gemm_perf", row) is None
    heads = {"num_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "window_size": 128}
    found = record_making._series_key("generation_attention_perf", heads)
    assert found == {"kernel": "grouped", "heads": 64, "kv_heads": 8, "width": 64, "window": 128}


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


@pytest.mark.parametrize(
    "name",
    ["machine_runs", "machine_models", "machine_systems", "machine_kernels", "machine_series"],
)
def test_records_say_where_they_are_from(name: str) -> None:
    record = read_record(name)
    assert "Apache-2.0" in record["licence"]
    assert "0.12.0" in record["source"]
    assert record["command"] == record_making.COMMAND
    assert record["date"] >= "2026"


def test_records_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("machine_*")) < 400_000
