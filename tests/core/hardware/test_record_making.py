"""Records: what is kept of a row and of a configuration, and that they say where they are from."""

from __future__ import annotations

import functools
import gzip
import json
import sys
import zipfile
from pathlib import Path

import pytest
from serving_mathematics.core.hardware import record_making
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.record_making import RUN_COLUMNS, kept_config, run_rows
from serving_mathematics.support.measuring import FOLDER, read_record, write_record

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


H100 = """
data: x
gpu:
  sm_version: 90
  mem_capacity: 8.5e+10
  mem_bw: 3.35e12
  bfloat16_tc_flops: 989e12
  fp8_tc_flops: 1979e12
node:
  num_gpus_per_node: 4
  intra_node_bw: 4.5e11
  inter_node_bw: 5e10
"""


def test_a_system_is_read_from_its_description() -> None:
    found = record_making._system_row(H100, "h100")
    assert found == {
        "generation": "hopper",
        "memory_bytes": 8.5e10,
        "bandwidth_bytes_per_s": 3.35e12,
        "bf16_flops_per_s": 989e12,
        "fp8_flops_per_s": 1979e12,
        "link_bytes_per_s": 4.5e11,
        "domain_devices": 4,
        "outside_bytes_per_s": 5e10,
        "source": f"{record_making.SOURCE}: systems/h100.yaml",
    }
    rack = H100 + "  num_gpus_per_rack: 72\n  inter_rack_bw: 6e10\n"
    row = record_making._system_row(rack, "rack")
    assert row is not None
    assert (row["domain_devices"], row["outside_bytes_per_s"]) == (72, 6e10)
    alone = record_making._system_row("sm_version: 120\n", "alone")
    assert alone is not None
    assert (alone["generation"], alone["domain_devices"]) == ("blackwell", 8)
    assert record_making._system_row("sm_version: 70\n", "old") is None
    assert record_making._system_row("mem_bw: 1e12\n", "none") is None


@pytest.mark.parametrize("more", ["", "[one]\nhidden_size = 1\n", '["a/b"]\nhidden = 2\n', "[one"])
def test_what_is_typed_is_taken_into_the_records(
    more: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unchanged, the records are the same to the byte, without what was typed once; what cannot be
    read is in none of them.
    """
    for kind in ("typed_models", "typed_devices"):
        text = (FOLDER / f"{kind}.toml").read_text()
        (tmp_path / f"{kind}.toml").write_text(text + "\n" + more * (kind == "typed_models"))
    monkeypatch.setattr(record_making, "FOLDER", tmp_path)
    here = functools.partial(write_record, folder=tmp_path)
    monkeypatch.setattr(record_making, "write_record", here)
    monkeypatch.setattr(sys, "argv", ["record_making", "--typed"])
    if more:
        with pytest.raises(
            SystemExit,
            match=r"(one|a/b): config.json must have|typed_models.toml is not TOML: Expected",
        ):
            record_making.main()
        assert not list(tmp_path.glob("machine_*"))
        return
    once = read_record("machine_systems")
    once["systems"]["gone"] = once["systems"]["h200_sxm"] | {"source": "typed once"}
    known = {"machine_systems": once}
    monkeypatch.setattr(record_making, "read_record", lambda n: known.get(n) or read_record(n))
    assert record_making.main() == 0
    for name in ("machine_models.json.gz", "machine_systems.json"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


def test_records_are_made_from_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    here = functools.partial(write_record, folder=folder)
    monkeypatch.setattr(record_making, "write_record", here)
    cells = ["7", "db-dump/x; silicon_concurrency=8", *["2.0"] * len(RUN_COLUMNS), "100", "9"]
    models = read_record("machine_models")["models"]
    name, config = next((n, c) for n, c in models.items() if "/" in n)
    configs = "p/model_configs"
    with zipfile.ZipFile(tmp_path / "wheel", "w") as package:
        package.writestr("p/data/silicon_sample.csv", ",".join(HEADER) + "\n" + ",".join(cells))
        package.writestr(f"{configs}/{name.replace('/', '--')}_config.json", json.dumps(config))
        quantized = {"quantization": {"quant_algo": "NVFP4"}}
        file = f"{configs}/{name.replace('/', '--')}-FP4"
        bare = {key: value for key, value in config.items() if key != "quantization_config"}
        package.writestr(f"{file}_config.json", json.dumps(bare))
        package.writestr(f"{file}_hf_quant_config.json", json.dumps(quantized))
        package.writestr("p/systems/h100.yaml", H100)
        package.writestr("p/systems/old.yaml", "sm_version: 70")
        package.writestr("p/systems/deeper/h200.yaml", H100)
        package.writestr("p/other/h300.yaml", H100)
    record_making._make_records(tmp_path / "wheel")
    written = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert set(written) == {
        *("machine_runs.json.gz", "machine_models.json.gz", "machine_systems.json")
    }
    runs, made = (
        json.loads(gzip.decompress(written[f"machine_{part}.json.gz"]))
        for part in ("runs", "models")
    )
    assert runs["rows"] == [list(run_rows([",".join(HEADER), ",".join(cells)])[0].values())]
    assert len(runs["columns"]) == len(runs["rows"][0])
    assert made["models"][name] == kept_config(config, None)
    assert made["models"][f"{name}-FP4"] == kept_config(bare, quantized)
    others = record_making._older_models() | record_making._typed("typed_models")
    assert made["models"].keys() == {name, f"{name}-FP4"} | others.keys()
    systems = json.loads(written["machine_systems.json"])["systems"]
    assert systems["h100"] == record_making._system_row(H100, "h100")
    assert list(systems) == sorted({"h100"} | record_making._typed("typed_devices").keys())
    for record in (runs, made):
        assert (record["source"], record["licence"]) == (
            record_making.SOURCE,
            record_making.LICENCE,
        )
