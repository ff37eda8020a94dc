"""Put twelve questions to a public configurator and to our planner: `make bench-plan`.

The configurator is that of `predictor`, in the same environment, with its `recommend`: the fewest
devices for a rate under limits of TTFT and TPOT, over all its splits, as one fleet and with
separate prompts. It is asked with chunked prompts, of which it then tries more than whole ones, in
its default mode, which fills in what its makers did not measure, and strictly, so that what it
answers keeps the limits. Then both predict the runs that were measured nearest to what either
proposed.

`--here` asks the planner alone again, and keeps what the peer answered.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "snippets"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Python put only our folder there

from serving_mathematics.core.hardware.published_runs import Run, read_lines
from serving_mathematics.planner.evidence.planner_peer import (
    QUANTILES,
    QUESTIONS,
    RECORD,
    Asked,
    answer_here,
    answer_measured,
    measured_runs,
    nearest_run,
    peer_words,
)
from serving_mathematics.support.measuring import provenance, read_record, write_record

from benchmarks.predictor import PEER, ask, question

WORKER = """
import json, logging, sys, time
from aiconfigurator.cli.api import cli_recommend
logging.disable(logging.CRITICAL)
for line in sys.stdin:
    asked = json.loads(line)
    start, told = time.perf_counter(), None
    try:
        found = cli_recommend(asked.pop("model"), asked.pop("system"), **asked)
        told = {
            name: json.loads(table.head(1).to_json(orient="records"))[0]
            for name, table in found.best_configs.items() if len(table)
        }
    except BaseException as problem:
        told = f"{type(problem).__name__}: {problem}"[:200]
    print("ANSWER " + json.dumps([told, time.perf_counter() - start]), flush=True)
"""


def split_of(row: dict[str, Any]) -> str:
    """A split of the peer in our short form, such as "tp4 ep4" for one engine."""
    widths = [(name, int(row[name])) for name in ("tp", "pp", "dp")]
    widths.append(("ep", int(row["moe_ep"])))
    return " ".join(f"{name}{width}" for name, width in widths if width > 1) or "tp1"


def peer_answer(told: Any, asked: Asked) -> dict[str, Any] | None:
    """The peer's answer to one question, as far as it keeps the limits; None where it does not know
    model or device. Devices are 0 where it knows both, and nothing keeps them.

    told: its first row by kind of fleet, or what went wrong.
    """
    if isinstance(told, str) and "NoFeasible" not in told:
        return None
    found: dict[str, Any] = {
        "devices": 0,
        "split": "",
        "devices_of_replica": 0,
        "concurrency": 0.0,
        "ttft_s": 0.0,
        "tpot_s": 0.0,
        "apart": 0,
    }
    for kind, row in ({} if isinstance(told, str) else told).items():
        if row["ttft"] > 1e3 * asked.ttft_s or row["tpot"] > 1e3 * asked.tpot_s:
            continue
        devices = int(row["total_gpus_needed"])
        if kind == "disagg":
            found["apart"] = devices
            continue
        found |= {
            "devices": devices,
            "split": f"{row['replicas_needed']:.0f} x {split_of(row)}",
            "devices_of_replica": int(row["num_total_gpus"]),
            "concurrency": float(row["concurrency"]),
            "ttft_s": row["ttft"] / 1e3,
            "tpot_s": row["tpot"] / 1e3,
        }
    return found


def runs_beside(asked: Asked, answers: dict[str, dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Measured runs nearest to the fleets that were proposed, each once.

    answers: by who proposed them, "theirs" and "ours".
    """
    found: dict[int, dict[str, Any]] = {}
    for who, one in answers.items():
        near = (
            one
            and one["devices"]
            and nearest_run(asked, one["devices_of_replica"], max(1.0, one["concurrency"]))
        )
        if not near:
            continue
        run, predicted_s = near
        if run.line in found:
            found[run.line]["proposed_by"] = "both"
            continue
        found[run.line] = {
            "line": run.line,
            "proposed_by": who,
            "devices": run.answers.devices,
            "concurrency": run.concurrency,
            "measured_s": run.per_token_s,
            "here_s": float(f"{predicted_s:.4g}"),
            "peer_s": None,
        }
    return list(found.values())


def row_of(asked: Asked, told: Any, here: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the record holds of one question, but for the peer's predictions of measured runs."""
    peer, measured = peer_answer(told, asked), answer_measured(asked)
    return {
        "asked": asdict(asked),
        "peer": peer,
        "peer said": told if isinstance(told, str) else "",
        "here": here,
        "measured": None if measured is None else _measured(*measured),
        "runs": runs_beside(asked, {"theirs": peer, "ours": here["0.5"]}),
    }


def _measured(devices: int, run: Run) -> dict[str, Any]:
    return {"devices": devices, "line": run.line, "concurrency": run.concurrency}


def _here(asked: Asked) -> dict[str, dict[str, Any]]:
    return {f"{quantile}": answer_here(asked, quantile) for quantile in QUANTILES}


def asked_again(record: dict[str, Any]) -> dict[str, Any]:
    """The record with what the planner answers today; what the peer said of a run that neither
    proposed before is not known."""
    with ProcessPoolExecutor(2) as pool:
        answers = list(pool.map(_here, QUESTIONS))
    for row, asked, here in zip(record["questions"], QUESTIONS, answers, strict=True):
        known = {run["line"]: run["peer_s"] for run in row["runs"]}
        row |= {
            "here": here,
            "runs": runs_beside(asked, {"theirs": row["peer"], "ours": here["0.5"]}),
        }
        for run in row["runs"]:
            run["peer_s"] = known.get(run["line"])
    today = provenance("python benchmarks/configurator.py", ("numpy",))["date"]
    told = f"{today}; the peer's answers are those of the date above"
    return record | {"here asked again": told}


def main(arguments: list[str] | None = None) -> int:
    """Ask both, write `records/planner_peer.json`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=len(QUESTIONS), help="the first of them")
    parser.add_argument("--record", default=RECORD, help="its name")
    parser.add_argument("--here", action="store_true", help="ask the planner alone again")
    options = parser.parse_args(arguments)
    if options.here:
        write_record(options.record, asked_again(read_record(RECORD)))
        return 0
    asked = QUESTIONS[: options.questions]
    told = []
    for answer, seconds in ask(map(peer_words, asked), WORKER):
        told.append(answer)
        print(len(told), f"{seconds:.0f} s", str(answer)[:100], file=sys.stderr, flush=True)
    with ProcessPoolExecutor(2) as pool:
        here = list(pool.map(_here, asked))
    rows = [row_of(*each) for each in zip(asked, told, here, strict=True)]
    lines, runs = read_lines(), [run for row in rows for run in row["runs"]]
    by_line = {run.line: run for one in asked for run, _ in measured_runs(one)}
    asked_of = [question(by_line[run["line"]], lines[run["line"] - 1]) for run in runs]
    for run, (answer, _) in zip(runs, ask(asked_of), strict=True):
        run["peer_s"] = float(f"{answer[1]:.4g}") if isinstance(answer, list) else None
    what = (
        "fewest devices for twelve questions, by a public configurator, here, and by published runs"
    )
    record = provenance("python benchmarks/configurator.py", ("numpy",))
    write_record(options.record, record | {"what": what, "peer": PEER, "questions": rows})
    print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
