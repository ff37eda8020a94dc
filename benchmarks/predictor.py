"""Hold the step model against a public predictor on the same runs: `make bench-predict`.

aiconfigurator 0.12.0 (Apache-2.0) is fetched by pip into an environment of its own under
`.cache/bench-predict`. It knows the kernel measurements that this book's constants were read from,
and is asked as its documentation says: batch of an attention rank, widths, and quantization modes.
Both get the runs as `published_runs` reads them; runs that guess and whole fleets are left out, for
which it has other arguments. Its time includes what it loads once for a system and backend.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "snippets"))  # ours is there alone

from serving_mathematics.core.hardware.calibration import (
    KERNELS,
    errors,
    fit,
    groupings,
    left_out,
    predict_runs,
    tabulate,
)
from serving_mathematics.core.hardware.published_runs import Run, read_lines, read_runs
from serving_mathematics.support.measuring import provenance, write_record

ROOT = Path(__file__).resolve().parents[1]
PEER = "aiconfigurator==0.12.0"
FOLDER = ROOT / ".cache" / "bench-predict"
WORKER = """
import json, logging, sys, time
from aiconfigurator.cli.api import cli_estimate
logging.disable(logging.CRITICAL)
for line in sys.stdin:
    asked = json.loads(line)
    start, told = time.perf_counter(), None
    try:
        found = cli_estimate(asked.pop("model"), asked.pop("system"), **asked)
        told = [found.ttft / 1e3, found.tpot / 1e3]
    except BaseException as problem:
        told = f"{type(problem).__name__}: {problem}"[:120]
    print("ANSWER " + json.dumps([told, time.perf_counter() - start]), flush=True)
"""


def peer_python() -> Path:
    """The interpreter of the peer's environment, made where it is not there yet."""
    python = FOLDER / "bin" / "python"
    if not python.exists():
        venv.create(FOLDER, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
    return python


def ask(
    questions: Iterable[dict[str, Any]], worker: str = WORKER, python: Path | str = ""
) -> Iterator[tuple[Any, float]]:
    """The peer's answer to each question as it is taken, and how long that took [s].

    questions: in its arguments. worker: the program that reads them, one JSON object on a line, and
    prints `ANSWER` with both. python: that runs it; by default that of the peer's environment.
    Raises RuntimeError when it ends before it answered.
    """
    with subprocess.Popen(
        [python or peer_python(), "-c", worker],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        for asked in questions:
            print(json.dumps(asked), file=peer.stdin, flush=True)
            for line in peer.stdout:
                if line.startswith("ANSWER "):
                    told, seconds = json.loads(line.removeprefix("ANSWER "))
                    break
            else:
                raise RuntimeError(f"{PEER} ended before it answered {asked}")
            yield told, seconds


def question(run: Run, line: dict[str, str]) -> dict[str, Any]:
    """A run in the peer's arguments."""
    engine = run.answers
    asked: dict[str, Any] = {
        "model": engine.architecture.name,  # by the name whose configuration it brings along
        "system": line["system"],
        "backend_name": line["backend"],
        "isl": int(engine.input_tokens),
        "osl": int(engine.output_tokens),
        "batch_size": max(1, round(run.concurrency / engine.attention_data)),
        "tp_size": engine.tensor,
        "attention_dp_size": engine.attention_data,
        "moe_ep_size": engine.expert,
        "moe_tp_size": engine.devices // engine.expert,
    }
    if line["gemm"]:
        asked["gemm_quant_mode"] = line["gemm"]
    if line["moe"]:
        asked["moe_quant_mode"] = line["moe"]
    return asked


def main(arguments: list[str] | None = None) -> int:
    """Draw runs, ask both, write `records/machine_peer.json`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=400, help="drawn at random")
    parser.add_argument("--seconds", type=float, default=3600.0, help="of the peer, at most")
    options = parser.parse_args(arguments)
    lines = read_lines()
    whole = [run for run in read_runs(lines) if run.kind != "separate"]
    table = tabulate(whole)
    started = time.perf_counter()
    kernels = predict_runs(table, KERNELS)
    ours_s = (time.perf_counter() - started) / len(whole)
    held = left_out(table, groupings(table)["model"], fit(table))
    plain = [
        i for i, run in enumerate(whole) if run.kind == "engine" and not run.answers.draft_tokens
    ]
    drawn = np.random.default_rng(20).permutation(plain)[: options.runs].tolist()
    answers: dict[int, Any] = {}
    started = time.perf_counter()
    asked_of = (question(whole[i], lines[whole[i].line - 1]) for i in drawn)
    for i, answered_with in zip(drawn, ask(asked_of), strict=False):
        answers[i] = answered_with
        print(len(answers), answers[i], file=sys.stderr)
        if time.perf_counter() - started > options.seconds:
            break
    asked = list(answers)
    answered = np.array([i for i in asked if isinstance(answers[i][0], list)])
    peer_times = np.array([answers[i][0] for i in answered])
    content: dict[str, Any] = {
        "title": "The step model beside a public predictor, on the same published runs",
        "peer": PEER,
        "asked": len(asked),
        "answered by the peer": len(answered),
        "seconds a row": {
            "peer": float(f"{np.mean([answers[i][1] for i in asked]):.3g}"),
            "here": float(f"{ours_s:.3g}"),
        },
    } | provenance("python benchmarks/predictor.py", ("numpy",))
    for quantity, column, measured, found in (
        ("per token", 1, table.per_token_s, (kernels.per_token_s, held.per_token_s)),
        ("first token", 0, table.first_token_s, (kernels.first_token_s, held.first_token_s)),
    ):
        content[quantity] = {
            "peer, where it answered": errors(peer_times[:, column], measured[answered]),
            "kernels alone, the same runs": errors(found[0][answered], measured[answered]),
            "model left out, the same runs": errors(found[1][answered], measured[answered]),
            "kernels alone, all that were asked": errors(found[0][asked], measured[asked]),
            "model left out, all that were asked": errors(found[1][asked], measured[asked]),
        }
    write_record("machine_peer", content)
    print(json.dumps({k: content[k] for k in ("per token", "first token")}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
