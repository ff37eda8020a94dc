"""Time the simulators and sketches of the site against their peers: `make bench-speed`.

Processor time, in rounds in which everything takes its turn; every figure is the median over the
rounds with its range, every ratio is formed within a round. The same is done a second time, and
both runs are in the record, so that it shows how far its ratios can be trusted. Mean waits are held
against Erlang C and Pollaczek–Khinchine in the same run, and a simulator that misses them by more
than three standard errors ends the benchmark.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # Python put only our folder there

from serving_mathematics.reference.simulation_trust import customers_needed
from serving_mathematics.support.measuring import write_record

from benchmarks import batching, environment, queues, sketches, timing
from benchmarks.environment import Worker
from benchmarks.processes import BenchmarkError

COMMAND = "python benchmarks/speed.py"
RUNS = (1, 2)
SIGMAS = 3.0
ENGINES = {  # customers of a sample
    "long_run": 17_039_360,
    "drawing": 17_039_360,
    "one_log": 1_000_000,
    "plain_loop": 300_000,
    "cimba": 2_000_000,
    "simpy": 100_000,
    "ciw": 50_000,
}
FOREIGN = ("cimba", "simpy", "ciw")
REQUESTS = {"events": 50_000, "steps": 2_000}
VALUES = 1_000_000
ROUNDS = 7
SAME_LOG = 1_000_000  # customers whose waits are compared bit by bit
PRECISION = 0.01


@dataclass(frozen=True)
class Plan:
    """What to run: in a hurry little of it, and only what is installed here."""

    ours: Worker
    peers: Worker | None
    quick: bool
    rounds: int  # how many times everything takes its turn

    def less(self, size: int) -> int:
        """A size, or a small part of it."""
        return max(min(size, 300_000), size // 10) if self.quick else size


def tell(what: str) -> None:
    """One line for whoever waits."""
    print(f"{time.strftime('%H:%M:%S')}  {what}", file=sys.stderr, flush=True)


def simulators(plan: Plan, run: int) -> dict[str, Any]:
    """Customers a second and time to ±1% of every simulator, on every queue."""
    engines = [name for name in ENGINES if plan.peers or name not in FOREIGN]
    found: dict[str, dict[str, list[dict[str, Any]]]] = {
        workload: {engine: [] for engine in engines} for workload in queues.WORKLOADS
    }
    for number in range(plan.rounds):
        tell(f"run {run}, simulators: round {number + 1} of {plan.rounds}")
        for place, workload in enumerate(queues.WORKLOADS):
            for engine in timing.in_turn(engines, number):
                worker = plan.peers if plan.peers and engine in FOREIGN else plan.ours
                customers = plan.less(ENGINES[engine])
                seed = 10_000 * run + 100 * number + place
                given = {"workload": workload, "customers": customers, "seed": seed}
                found[workload][engine].append(worker.ask("queues", engine, **given))
    return {name: _of_queue(plan, run, name, answers) for name, answers in found.items()}


def _of_queue(
    plan: Plan, run: int, workload: str, answers: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    """The record of one queue: every engine, its ratios, and the time to a mean within ±1%."""
    exact = queues.WORKLOADS[workload].mean_wait
    cost = {
        engine: [1e9 * answer["cpu_s"] / answer["customers"] for answer in samples]
        for engine, samples in answers.items()
    }
    variance = _variance(answers["long_run"])
    engines = {}
    for engine, samples in answers.items():
        engines[engine] = {"customers": samples[0]["customers"], "ns": timing.spread(cost[engine])}
        engines[engine]["ratio"] = timing.spread(timing.ratios(cost[engine], cost["long_run"]))
        if engine == "drawing":
            continue
        mean, error = timing.pooled(samples)
        if engine != "cimba":  # the same variance for all that average over customers
            error = math.sqrt(variance / sum(answer["customers"] for answer in samples))
        distance = (mean - exact) / error
        engines[engine] |= {"mean_wait": mean, "standard_error": error, "sigmas": distance}
        if abs(distance) > SIGMAS:
            found = f"mean wait {mean:.4g} ± {error:.2g}, not {exact:.4g}"
            raise BenchmarkError(f"{engine} on {workload}: {found}")
    record = {"mean_wait": exact, "engines": engines}
    record["to_one_percent"] = _to_one_percent(plan, run, workload, answers["long_run"], cost)
    if queues.WORKLOADS[workload].servers > 1:
        given = {"workload": workload, "customers": plan.less(SAME_LOG), "seed": 7 + run}
        record["compared_customers"] = given["customers"]
        record["waits_that_differ"] = plan.ours.ask("queues", "waits_that_differ", **given)
    return record


def _variance(samples: list[dict[str, Any]]) -> float:
    """Variance of the mean wait of n customers, times n, from long runs."""
    return statistics.fmean(
        answer["customers"] * answer["standard_error"] ** 2 for answer in samples
    )


def _to_one_percent(
    plan: Plan,
    run: int,
    workload: str,
    samples: list[dict[str, Any]],
    cost: dict[str, list[float]],
) -> dict[str, Any]:
    """Customers and processor time for an interval of ±1%, and a run of that length."""
    exact = queues.WORKLOADS[workload].mean_wait
    needed = math.ceil((1.96 / PRECISION) ** 2 * _variance(samples) / exact**2)
    if workload == "M/M/1":
        needed = customers_needed(queues.WORKLOADS[workload].utilization, PRECISION)
    tried = plan.ours.ask(
        "queues", "long_run", workload=workload, customers=plan.less(needed), seed=90 + run
    )
    return {
        "customers": needed,
        "seconds": {
            engine: float(f"{needed * statistics.median(values) / 1e9:.4g}")
            for engine, values in cost.items()
        },
        "tried": {
            "customers": tried["customers"],
            "cpu_s": tried["cpu_s"],
            "half_width_percent": 196 * tried["standard_error"] / tried["mean"],
            "error_percent": 100 * (tried["mean"] / exact - 1),
        },
    }


def batches(plan: Plan, run: int) -> dict[str, Any]:
    """Requests a second of the two batching simulators."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {
        case: {name: [] for name in REQUESTS} for case in batching.CASES
    }
    for number in range(plan.rounds):
        tell(f"run {run}, batching: round {number + 1} of {plan.rounds}")
        for case in batching.CASES:
            for name in timing.in_turn([*REQUESTS], number):
                asked = max(200, REQUESTS[name] // 50) if plan.quick else REQUESTS[name]
                given = {"case": case, "simulator": name, "requests": asked}
                seed = 1000 * run + number
                found[case][name].append(plan.ours.ask("batching", "sample", seed=seed, **given))
    record: dict[str, Any] = {}
    for case, answers in found.items():
        cost = {
            name: [1e9 * answer["cpu_s"] / answer["requests"] for answer in samples]
            for name, samples in answers.items()
        }
        first = answers["events"][0]
        given = {"case": case, "requests": 200 if plan.quick else 2000, "seed": run}
        record[case] = {
            "rate_per_s": batching.CASES[case][0],
            "inside": float(f"{first['inside']:.3g}"),
            "preempted_share": first["preempted_share"],
            "steps_a_request": first["steps"] / first["requests"],
            "ns": {name: timing.spread(values) for name, values in cost.items()},
            "ratio": timing.spread(timing.ratios(cost["steps"], cost["events"])),
            "times_that_differ": plan.ours.ask("batching", "times_that_differ", **given),
        }
    return record


def quantiles(plan: Plan, run: int) -> dict[str, Any]:
    """Time a value, errors, and time to merge of every sketch."""
    names = [*sketches.SKETCHES] if plan.peers else ["log histogram", "DDSketch"]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(plan.rounds):
        tell(f"run {run}, sketches: round {number + 1} of {plan.rounds}")
        for name in timing.in_turn(names, number):
            worker = plan.peers if plan.peers and name != "log histogram" else plan.ours
            given = {"name": name, "values": plan.less(VALUES), "seed": 1000 * run + number}
            found[name].append(worker.ask("sketches", "sample", **given))
    record = {}
    for name, samples in found.items():
        cost = {key: [s[key] for s in samples] for key in ("fill_ns", "merge_us")}
        ours = {key: [s[key] for s in found["log histogram"]] for key in cost}
        record[name] = {
            "values": plan.less(VALUES),
            **{key: timing.spread(values) for key, values in cost.items()},
            "ratio": timing.spread(timing.ratios(cost["fill_ns"], ours["fill_ns"])),
            "merge_ratio": timing.spread(timing.ratios(cost["merge_us"], ours["merge_us"])),
            "worst": {
                state: {
                    level: {
                        kind: float(f"{max(s[state][level][kind] for s in samples):.4g}")
                        for kind in ("relative", "rank")
                    }
                    for level in samples[0][state]
                }
                for state in ("errors", "merged_errors")
            },
        }
    return record


Section = Callable[[Plan, int], dict[str, Any]]
SECTIONS: dict[str, tuple[str, Section, str]] = {
    "simulators": ("simulator_speed", simulators, "one queue in several simulators"),
    "batching": ("batching_speed", batches, "two simulators of continuous batching"),
    "sketches": ("sketch_speed", quantiles, "quantile sketches of several packages"),
}


def tables(section: str, result: dict[str, Any]) -> list[str]:
    """The lines that are printed of a section."""
    lines = []
    if section == "simulators":
        for workload, row in result.items():
            lines.append(f"{workload}, mean wait {row['mean_wait']:.4f}")
            seconds = row["to_one_percent"]["seconds"]
            for engine, cell in row["engines"].items():
                line = f"  {engine:12}{timing.text(cell['ns']):>26} ns a customer"
                line += f"{1e9 / cell['ns']['median']:>14,.0f} /s"
                line += f"{timing.text(cell['ratio']):>26} × long_run"
                line += f"{seconds[engine]:>10.3g} s to ±1%"
                lines.append(line + (f"{cell['sigmas']:>+7.1f} σ" if "sigmas" in cell else ""))
            if "waits_that_differ" in row:
                compared = f"{row['waits_that_differ']} of {row['compared_customers']:,}"
                lines.append(f"  waits that differ from the loop in any bit: {compared}")
    elif section == "batching":
        for case, row in result.items():
            rates = (f"{name} {1e9 / ns['median']:>10,.0f} /s" for name, ns in row["ns"].items())
            line = f"{case:14} {'  '.join(rates)}  {timing.text(row['ratio']):>22} ×"
            lines.append(f"{line}  {row['times_that_differ']} times differ")
    else:
        for name, row in result.items():
            worst = row["worst"]["errors"].values()
            line = f"{name:18}{timing.text(row['fill_ns']):>24} ns a value"
            line += f"{timing.text(row['merge_us']):>24} µs a merge"
            line += f"  worst error {max(cell['relative'] for cell in worst):8.3%}"
            lines.append(line + f", of rank {max(cell['rank'] for cell in worst):.3%}")
    return lines


def shared_spreads(one: Any, other: Any, path: str = "") -> dict[str, bool]:
    """Which ratios of two runs overlap, by their place in the record."""
    if not isinstance(one, dict):
        return {}
    if set(one) == {"median", "least", "most"}:
        name = path.rpartition("/")[2]
        fixed = one["least"] == one["most"] == 1  # of something to itself
        ratio = name in ("ratio", "merge_ratio") and not fixed
        return {path: timing.overlap(one, other)} if ratio else {}
    found: dict[str, bool] = {}
    for key, value in one.items():
        found |= shared_spreads(value, other[key], f"{path}/{key}")
    return found


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", choices=[*SECTIONS], action="append", help="sections to run")
    parser.add_argument("--resume", action="store_true", help="keep what an ended run had measured")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, no foreign packages, no record here"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="folder of the records (measurements/)")
    options = parser.parse_args(arguments)
    if options.rounds < 2:
        parser.error(f"--rounds must be at least 2, got {options.rounds}")
    return options


def measured(plan: Plan, section: str, run: int, kept: Path | None) -> dict[str, Any]:
    """The result of a section in a run, measured now or kept from before."""
    if kept and kept.is_file():
        result: dict[str, Any] = json.loads(kept.read_text("utf-8"))
        tell(f"run {run}, {section}: kept")
    else:
        load = round(os.getloadavg()[0], 2)
        result = {"load_before": load, "found": SECTIONS[section][1](plan, run)}
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(json.dumps(result), encoding="utf-8")
    print(f"\n{section}, run {run}", *tables(section, result["found"]), sep="\n", flush=True)
    return result


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 when all was measured, 1 when it could not be or a mean wait was wrong."""
    options = parse(arguments)
    chosen = options.only or [*SECTIONS]
    folder = environment.FOLDER / "results"
    kept = {
        (section, run): None if options.quick else folder / f"{section}-{run}.json"
        for run in RUNS
        for section in chosen
    }
    for path in kept.values():
        if path and not options.resume:
            path.unlink(missing_ok=True)
    try:
        pythons = [Path(sys.executable)]
        if not options.quick:
            tell("the environment of the peers")
            pythons.append(environment.peers_python())
        with environment.workers(pythons) as started:
            peers = None if options.quick else started[1]
            plan = Plan(started[0], peers, options.quick, 2 if options.quick else options.rounds)
            versions = {}
            if plan.peers:
                names = [*environment.PEERS]
                versions = plan.peers.ask("environment", "installed", names=names)
            results = {
                (section, run): measured(plan, section, run, path)
                for (section, run), path in kept.items()
            }
    except BenchmarkError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    print()
    for section in chosen:
        name, _, what = SECTIONS[section]
        runs = [results[section, run] for run in RUNS]
        shared = shared_spreads(*(run["found"] for run in runs))
        apart = [path for path, same in shared.items() if not same]
        print(f"{section}: {len(shared) - len(apart)} of {len(shared)} ratios agree", *apart)
        few = f" --rounds {options.rounds}" if options.rounds != ROUNDS else ""
        record = timing.about(COMMAND + few, ["numpy"], versions) | {"what": what, "runs": runs}
        record["agree"] = {"ratios": len(shared), "apart": apart}
        if options.output or not options.quick:
            print(f"wrote {write_record(name, record, options.output)}")
    for path in kept.values():
        if path:
            path.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
