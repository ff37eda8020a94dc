"""What shapes, names, published runs and rows of a table come to that are read here, as they are
and with one value of each another; and what a few runs calibrate.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from serving_mathematics.core.hardware.catalogue import (
    find_backend,
    find_model,
    find_precision,
    find_system,
    model_names,
    preset_model,
    systems,
)
from serving_mathematics.core.hardware.deployments import WORKED
from serving_mathematics.core.hardware.published_configs import read_architecture
from serving_mathematics.core.hardware.published_runs import Run, read_lines, read_runs, widths
from serving_mathematics.core.hardware.record_making import RUN_COLUMNS, kept_config, run_rows
from serving_mathematics.machine.predictions import calibration_scores, predict
from serving_mathematics.machine.predictions.calibration_scores import deployment_name, measure
from serving_mathematics.machine.predictions.own_runs import (
    Calibration,
    OwnRun,
    calibrate,
    calibration_rows,
    calibration_text,
)
from serving_mathematics.machine.predictions.predict import Answer, answer_rows
from serving_mathematics.machine.predictions.table_rows import Row, parallel_widths, read_row
from serving_mathematics.support.measuring import read_record

from ..answers import leaves, near_values, reduced
from ..cases import in_no_folder
from ..variants import LONG, differing, near_json, tied

CONFIGS = Path(__file__).with_name("configs")
PRESETS = (  # one for each kind of layer
    *("deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-V3.2", "openai/gpt-oss-120b"),
    *("Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B", "Gemma-3-27B"),
)
NAMES = (
    *("Llama-3.1-8B", "llama 3.1 8b instruct", "meta-llama/Llama-3.3-70B-Instruct", "DeepSeek R1"),
    *("deepseek-ai/DeepSeek-R1-0528-FP4", "Qwen3-235B", "Qwen3", "Qwen3-32B-AWQ", "Lama-3.1-8B"),
    *("nvidia/Llama-3.1-70B-Instruct-FP8", "gpt-oss", "gpt-oss-120b-fp8", "x", "", LONG, "./none"),
    *("none.json", "Kimi-K2.5", "nvidia/Kimi-K2.5-NVFP4", "mixtral", "GLM-5", "MiniMax M2.5"),
)
DEVICES = (
    *("H100", "h100 sxm 80gb", "NVIDIA H100 PCIe", "A100 40GB", "A100-80GB", "B200", "4090"),
    *("MI300X", "mi 300", "H10", "", LONG, "GB200 NVL72", "H200 141GB", "L40S-48GB", "L4"),
)
WORDS = (
    *("vllm", "vLLM 0.9", "SGLang", "trtllm", "TensorRT-LLM", "tgi", "", LONG, "fp16", "bf16"),
    *("bfloat16", "FP8", "fp8_block", "e4m3", "nvfp4", "mxfp4", "w4a16", "awq", "int4", "int8"),
)


def shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration comes to, as it is and with one value of it another."""
    changed = ((how, (other,)) for how, other in near_json(config))
    return differing(read_architecture, changed) | tied(read_architecture, config)


def preset(name: str) -> dict[str, Any]:
    """The same for one of the record."""
    return shape(read_record("machine_models")["models"][name])


def names() -> dict[str, Any]:
    """Every preset, and what names are taken for."""
    found = {name: reduced(list(leaves(preset_model(name)))) for name in model_names()}
    found |= {name: reduced(list(leaves(one))) for name, one in systems().items()}
    for what, find, words in (
        ("model", find_model, NAMES),
        ("device", find_system, DEVICES),
        ("backend", find_backend, WORDS),
        ("precision", find_precision, WORDS),
    ):
        told = differing(find, ((word, (word,)) for word in words))
        found |= {f"{what} {word}": x for word, x in told.items()}
    return found


def read_run(row: Mapping[str, str]) -> Run:
    """A published run by itself."""
    return read_runs([row])[0]


def with_one(
    row: Mapping[str, str], others: Callable[[str], Iterable[tuple[str, str]]]
) -> Iterator[tuple[str, tuple[Mapping[str, str]]]]:
    """Cells by column, and the same with one of them another."""
    yield "as it is", (row,)
    for column, cell in row.items():
        for _, other in others(cell):
            yield column, ({**row, column: other},)


def near(cell: str) -> Iterable[tuple[str, str]]:
    """Cells near a cell."""
    return [*near_values(cell), ("=''", ""), ("=-1", "-1"), ("=8", "8"), ("=long", LONG)]


def few(_: str) -> Iterable[tuple[str, str]]:
    """Some that are told apart."""
    return ("=''", ""), ("=8", "8"), ("=16", "16")


def runs() -> dict[str, Any]:
    """All published runs together, and some of them with one cell another."""
    rows = read_lines()
    read = read_runs(rows)
    numbers = {
        "answer engines": [run.answer_engines for run in read],
        "prompt engines": [run.prompt_engines for run in read],
        "concurrency": [run.concurrency for run in read],
        "load of an engine": [run.answers.concurrency for run in read],
        "devices": [run.answers.devices for run in read],
        "groups": [run.answers.attention_data for run in read],
        "experts": [run.answers.expert for run in read],
        "guesses": [run.answers.draft_tokens for run in read],
        "lengths": [run.answers.mean_input_tokens for run in read],
        "devices for prompts": [run.prompts.devices if run.prompts else 0 for run in read],
        "repeated": [run.repeated for run in read],
    }
    found: dict[str, Any] = {name: reduced([np.array(x)]) for name, x in numbers.items()}
    found["words"] = reduced([part for run in read for part in (run.kind, run.workers, run.family)])
    kinds: dict[Any, int] = {}
    for place, run in enumerate(read):
        guesses = run.answers.draft_tokens > 0
        kinds.setdefault((run.kind, run.workers, guesses), place)
    for place in kinds.values():
        told = differing(read_run, with_one(rows[place], few))
        found |= {f"line {place + 1}: {how}": x for how, x in told.items()}
    return found


ROWS: dict[str, dict[str, str]] = {
    "one engine": {
        "model": "DeepSeek-R1",
        "system": "b200_sxm",
        "backend": "sglang",
        "precision": "fp8",
        "isl": "1024",
        "osl": "1024",
        "concurrency": "64",
        "tp": "8",
        "pp": "1",
        "dp": "1",
        "ep": "1",
        "mode": "agg",
        "shortest_share": "",
        "speculation": "mtp",
        "draft_tokens": "",
        "accepted_tokens": "",
    },
    "two fleets": {
        "model": "DeepSeek-R1",
        "system": "gb200",
        "isl": "8192",
        "osl": "1024",
        "concurrency": "512",
        "mode": "disagg",
        "prefill_tp": "4",
        "prefill_dp": "1",
        "prefill_ep": "4",
        "prefill_workers": "",
        "decode_tp": "1",
        "decode_dp": "8",
        "decode_ep": "8",
        "decode_workers": "2",
    },
    "a whole fleet": {
        "model": "Llama-3.1-70B",
        "system": "gb200",
        "isl": "1000",
        "osl": "500",
        "concurrency": "96",
        "tp": "48",
        "pp": "",
        "speculation": "none",
    },
}


def predicted(cells: Mapping[str, str]) -> tuple[Row, list[Answer]]:
    """A row as it is read, and what it is answered."""
    row = read_row(cells)
    return row, answer_rows([row])


def rows() -> dict[str, Any]:
    """Rows of a table with one cell another, and widths of which some are counted twice."""
    some = (1, 2, 3, 4, 8, 9, 16, 64)
    found: dict[str, Any] = {
        f"tp={tensor}": reduced(
            list(leaves([parallel_widths(tensor, *pair) for pair in product(some, some)]))
        )
        for tensor in some
    }
    for mixture, own in product((False, True), (False, True)):
        told = [
            widths(*four, mixture, own) for four in product(some, (0, *some), (0, 1, 8), (0, 8, 9))
        ]
        found[f"widths {mixture} {own}"] = reduced([np.array(told)])
    for name, cells in ROWS.items():
        told = differing(predicted, with_one(cells, near))
        found |= {f"{name}: {how}": x for how, x in told.items()}
    return found


TABLE = """Model Path,Hardware,Framework,isl,osl,Max Concurrency,tp size,ttft_s,tpot_s
Llama-3.1-8B,H100,vllm,1000,200,8,1,0.05,0.009
Llama-3.1-70B,H100,sglang,1024,1024,64,4,0.3,0.02

Llama-3.1-70B,H100,trtllm,8192,1024,64,4,,0.03
Llama-3.1-70B,H100,trtllm,8192,1024,64,3,,0.03
gpt-oss-120b,B200,vllm,1024,1024,256,2,x,0.01
"""


def tables() -> dict[str, Any]:
    """What the command prints and writes for a table, whole and with a row less."""
    found: dict[str, Any] = {}
    lines = TABLE.splitlines(keepends=True)
    texts = {
        "whole": TABLE,
        "right": "".join(lines[:5]),
        "no measured": "\n".join(",".join(line.split(",")[:7]) for line in TABLE.splitlines()[:5]),
        "ragged": "".join([*lines[:2], "a,b\n"]),
        "a column twice": TABLE.replace("osl", "isl"),
        "no column": TABLE.replace("osl", "other"),
        "no row": lines[0],
        "empty": "",
    }
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for name, text in texts.items():
            Path("rows.csv").write_text(text, encoding="utf-8")
            for more in ([], ["--out", "out.csv"], ["--leave-blank"], ["--out", "none/out.csv"]):
                printed, errors = io.StringIO(), io.StringIO()
                with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
                    try:
                        status = predict.main(["rows.csv", *more])
                    except SystemExit as end:
                        status = int(end.code or 0)
                told: list[Any] = [status, *printed.getvalue().splitlines()]
                told += errors.getvalue().splitlines()
                if Path("out.csv").exists():
                    told += [Path("out.csv").read_text(encoding="utf-8")]
                    Path("out.csv").unlink()
                found[" ".join([name, *more])] = reduced(told) if status != 2 else status
    return found


def calibrated(found: Calibration) -> list[Any]:
    """What a calibration came to, in the digits that every processor gives."""
    numbers = [*leaves(found.factors), *leaves(found.shrunk), *leaves(found.before)]
    numbers += [*leaves(found.after), *leaves(found.held_out), *leaves(found.constants)]
    whole = np.concatenate([np.ravel(one).astype(float) for one in numbers if one is not None])
    digits = [float(f"{number:.5g}") for number in whole]
    return [reduced(digits), calibration_rows(found), calibration_text(found)]


def fits() -> dict[str, Any]:
    """What a few runs calibrate: of one, of two and of four, of an unknown device, in a queue."""
    loads, first, each = (1, 8, 64, 128), (0.05, 0.1, 0.3, 0.9), (0.008, 0.009, 0.013, 0.03)
    runs = [
        OwnRun(replace(WORKED, concurrency=float(load)), ttft, tpot, load != 64, f"{load} held")
        for load, ttft, tpot in zip(loads, first, each, strict=True)
    ]
    found: dict[str, Any] = {
        f"{count} runs{', unknown' * (not known)}": calibrated(calibrate(runs[:count], known))
        for count, known in ((1, True), (1, False), (2, True), (4, True))
    }
    rows = [run for run in read_runs(read_lines()) if run.kind == "engine"]
    kinds = [deployment_name(run) for run in rows]
    chosen = next(name for name in kinds if 5 <= kinds.count(name) <= 6)
    some = [run for run, name in zip(rows, kinds, strict=True) if name == chosen]
    some.append(next(run for run in rows if run.family != some[0].family))  # fits it, unscored
    with mock.patch.object(calibration_scores, "fit", lambda _, start: start):
        found["scores"] = measure(some)
    return found


HEADER = ["id", "silicon_data_source", *RUN_COLUMNS.values(), "silicon_ttft_ms", "silicon_tpot_ms"]
SOURCES = (
    "source_file=2026-04-06.csv; silicon_concurrency=64; measured=2026-02-05T00:00:00.000Z",
    "db-dump/x; config_id=733; silicon_concurrency=8",
    "source_file=/a/b/c.csv",
    "nothing",
)


def kept() -> dict[str, Any]:
    """What is kept of rows and configurations of the package."""
    found: dict[str, Any] = {}
    for source in SOURCES:
        cells = ["x", source, *(f"{place}.0" for place in range(len(RUN_COLUMNS))), "123.456789"]
        table = "\n".join([",".join(HEADER), ",".join([*cells, "1e1"])])
        found[source] = run_rows(table.splitlines())
    config = {
        "text_config": {"hidden_size": 64, "num_hidden_layers": 1},
        "llm_config": {"hidden_size": 32},
        "quantization_config": {
            "quant_method": "fp8",
            "ignore": ["a"],
            "format": "x",
            "quant_algo": "FP8",
            "config_groups": {"group_0": {"weights": {"num_bits": 4, "type": "float"}}},
        },
    }
    beside = {"quantization": {"quant_algo": "NVFP4"}}
    changed = ((how, (other, beside)) for how, other in near_json(config))
    return found | differing(kept_config, changed)


WHOLE: dict[str, Callable[[], dict[str, Any]]] = {
    **{
        f"shapes.{path.stem}": functools.partial(shape, json.loads(path.read_text("utf-8")))
        for path in sorted(CONFIGS.glob("*.json"))
    },
    **{f"shapes.{name}": functools.partial(preset, name) for name in PRESETS},
    "names": names,
    "runs": runs,
    "rows": rows,
    "rows.tables": tables,
    "fits": fits,
    "kept": kept,
}
CASES = {f"machine.{name}": in_no_folder(make) for name, make in WHOLE.items()}
