"""Test our own engine's server with a public load generator: `make measure-load-test`.

AIPerf (Apache-2.0) and a reader of GGUF files are fetched by pip into an environment of their own
under `.cache/bench-load`. The generator gets the model's own tokenizer, made from its file, and
takes the numbers of tokens from the server. Peaks of the machine are those that numpy attains: a
product of matrices, and a copy. What is kept of the generator's file are the fields that
`load_tests` reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "snippets"))

from serving_mathematics.engine.completion_schema import MODEL
from serving_mathematics.engine.token_engine import model_path
from serving_mathematics.support.measuring import provenance, write_record

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("aiperf==0.13.0", "gguf==0.19.0")
FOLDER = ROOT / ".cache" / "bench-load"
RECORD = "own_load_test"
LOADS = (1, 2, 4, 8, 16)  # requests at a time
PROMPT, ANSWER = 128, 32  # tokens
EACH = 5  # requests for each of those at a time, twice as many where it is one
READER = """
import json, sys
from gguf import GGUFReader
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
fields = GGUFReader(sys.argv[1]).fields
told = lambda name: fields[name].contents()
numbers = {token: i for i, token in enumerate(told("tokenizer.ggml.tokens"))}
merges = [tuple(one.split(" ")) for one in told("tokenizer.ggml.merges")]
tokenizer = Tokenizer(models.BPE(vocab=numbers, merges=merges))
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
end = told("tokenizer.ggml.tokens")[told("tokenizer.ggml.eos_token_id")]
whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, bos_token=end)
whole.save_pretrained(sys.argv[2])
kind, names = told("general.architecture"), {
    "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "intermediate_size": "feed_forward_length", "max_position_embeddings": "context_length",
}
config = {name: int(told(f"{kind}.{short}")) for name, short in names.items()}
tied = not any(name.startswith("output.") for name in fields)
print("CONFIG " + json.dumps(config | {"vocab_size": len(numbers), "tie_word_embeddings": tied}))
"""


def own_python() -> Path:
    """The interpreter of the generator's environment, made where it is not there yet."""
    python = FOLDER / "bin" / "python"
    if not python.exists():
        venv.create(FOLDER, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def read_model(tokenizer: Path) -> dict[str, Any]:
    """The model's shape, in the words of a config.json, and its tokenizer into a folder."""
    done = subprocess.run(
        [own_python(), "-c", READER, model_path(), tokenizer],
        check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    line = next(one for one in done.stdout.splitlines() if one.startswith("CONFIG "))
    config: dict[str, Any] = json.loads(line.removeprefix("CONFIG "))
    return config


def peaks(size: int = 1536, megabytes: int = 256) -> dict[str, float]:
    """What numpy attains here: operations a second of a product, bytes a second of a copy, and the
    bytes of the memory; the best of five."""
    a, b = np.ones((size, size), np.float32), np.ones((size, size), np.float32)
    source = np.ones(megabytes << 17)
    target = np.empty_like(source)
    products, copies = [], []
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        products.append(time.perf_counter() - start)
        start = time.perf_counter()
        np.copyto(target, source)
        copies.append(time.perf_counter() - start)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = {
        "flops_per_s": 2 * size**3 / min(products),
        "bytes_per_s": 2 * source.nbytes / min(copies),
        "memory_bytes": float(memory),
    }
    return {name: float(f"{value:.3g}") for name, value in found.items()}


@contextlib.contextmanager
def served(places: int) -> Iterator[str]:
    """Our engine's server with so many places; its address."""
    words = ["-m", "serving_mathematics", "serve", "--port", "0", "--max-sequences", f"{places}"]
    with subprocess.Popen([sys.executable, *words], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def words_of(address: str, tokenizer: Path, load: int, out: Path) -> list[str]:
    """The generator's command for one load."""
    options = {
        "model": MODEL,
        "tokenizer": tokenizer,
        "url": address,
        "endpoint-type": "completions",
        "concurrency": load,
        "request-count": EACH * max(2, load),
        "warmup-request-count": load,
        "isl": PROMPT,
        "isl-stddev": 0,
        "osl": ANSWER,
        "osl-stddev": 0,
        "extra-inputs": "ignore_eos:true",
        "random-seed": 1,
        "workers-max": 1,
        "record-processors": 1,
        "ui": "none",
        "output-artifact-dir": out,
    }
    words = [f"{part}" for name, value in options.items() for part in (f"--{name}", value)]
    flags = ("--streaming", "--use-server-token-count", "--no-gpu-telemetry", "--no-server-metrics")
    return ["profile", *words, *flags]


def kept(told: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the generator's file that are read, digits as many as are known."""
    names = ("input_sequence_length", "output_sequence_length")
    times = ("request_throughput", "time_to_first_token", "inter_token_latency")
    found: dict[str, Any] = {name: told[name] for name in ("schema_version", "aiperf_version")}
    for name in ("request_count", *names, *times):
        parts = {key: told[name][key] for key in ("unit", "avg", "std") if key in told[name]}
        found[name] = {
            key: value if isinstance(value, str) else float(f"{value:.5g}")
            for key, value in parts.items()
        }
    settings = told["input_config"]
    return found | {"input_config": {name: settings[name] for name in ("models", "phases")}}


def main() -> int:
    """Test and write `records/own_load_test.json`."""
    results, before = [], os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, served(max(LOADS)) as address:
        tokenizer = Path(folder) / "tokenizer"
        config = read_model(tokenizer)
        attained = peaks()
        generator = own_python().parent / "aiperf"
        for load in LOADS:
            out = Path(folder) / f"{load}"
            subprocess.run(
                [generator, *words_of(address, tokenizer, load, out)],
                check=True,
                stdout=subprocess.DEVNULL,
            )
            text = (out / "profile_export_aiperf.json").read_text(encoding="utf-8")
            results.append(kept(json.loads(text)))
            print(load, results[-1]["inter_token_latency"], file=sys.stderr, flush=True)
    content = provenance("python benchmarks/load_test.py", ("numpy", "openvino-genai")) | {
        "what": "a load test of the handbook's engine server by a public load generator",
        "generator": PACKAGES[0],
        "load average before": round(before, 1),
        "config": config,
        "precision": "int4",  # of the file's weights
        "peaks": attained,
        "results": results,
    }
    print(write_record(RECORD, content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
