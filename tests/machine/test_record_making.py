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


@pytest.mark.parametrize(
    "name", ["machine_runs", "machine_models", "machine_systems", "machine_kernels"]
)
def test_records_say_where_they_are_from(name: str) -> None:
    record = read_record(name)
    assert "Apache-2.0" in record["licence"]
    assert "0.12.0" in record["source"]
    assert record["command"] == record_making.COMMAND
    assert record["date"] >= "2026"


def test_records_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.glob("machine_*")) < 400_000
