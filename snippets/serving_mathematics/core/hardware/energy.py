"""Power and joules a token: what a device draws while it serves, from what keeps it busy.

A device that serves draws, as a share of the power on its data sheet,

    idle + a * (bytes moved / bandwidth) + b * (operations / peak),   at most 1

with both busy shares over the whole step, host included. Idle is that of a device that waits for
its next step: Blackwell has a number of its own, and all others are given Hopper's, which was
measured on no other; a and b are one number each for all devices. Energy follows:

    joules a token = devices * power / (tokens a second)

Four constants, fitted to measured power behind the front of the same harness, and scored on models
that were left out.

Assumes: power as the device reports it, without host, fans and conversion; a step model that is
itself off by some percent, which is in the error of joules a token. Measured were H100 and B200:
all but Blackwell devices are taken to wait as H100 does, and how far off they are is not known. The
data sheets of a GH200 and of a DGX Spark have the processor in their power.

Source: ML.ENERGY leaderboard v3 (scores in `records/energy_scores.json`, see `harness_runs`); Chung
et al. (2025), arXiv 2505.06371, section 3 (what it measures); data sheets for the power.
"""

# In one piece: one model of four constants: its formula, its fit and its scores.

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.calibration import errors
from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.core.hardware.fronts import FRONTS, front_constants
from serving_mathematics.core.hardware.harness_runs import HarnessRun, read_files
from serving_mathematics.core.hardware.step_terms import DATA_SHEET, roofline_parts
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    Array,
    Constants,
    Work,
    count_work,
    prompt_s,
    step_parts,
)
from serving_mathematics.support import checks
from serving_mathematics.support.measuring import provenance, read_record, write_record
from serving_mathematics.support.require import (
    require,
    require_all_positive,
    require_in,
    require_non_negative,
    require_positive,
)

BOARD_W = {  # of the data sheets, a device; TPUs have none published
    "a10": 150.0,
    "a100_pcie": 300.0,
    "a100_sxm": 400.0,
    "a100_sxm_40gb": 400.0,
    "a10g": 300.0,  # no data sheet: the limit that the device reports
    "a30": 165.0,
    "a40": 300.0,
    "a800_sxm": 400.0,
    "b200_sxm": 1000.0,
    "b300_sxm": 1400.0,
    "dgx_spark_gb10": 140.0,  # processor and memory in it
    "gb200": 1200.0,
    "gb300": 1400.0,
    "gh200": 1000.0,  # processor and memories in it
    "h100_nvl": 400.0,
    "h100_pcie": 350.0,
    "h100_sxm": 700.0,
    "h20": 400.0,
    "h200_sxm": 700.0,
    "h800_sxm": 700.0,
    "l20": 275.0,
    "l4": 72.0,
    "l40": 300.0,
    "l40s": 350.0,
    "mi300x": 750.0,
    "mi325x": 1000.0,
    "mi355x": 1400.0,
    "rtx_3090": 350.0,
    "rtx_4090": 450.0,
    "rtx_5090": 575.0,
    "rtx_6000_ada": 300.0,
    "rtx_a6000": 300.0,
    "rtx_pro_6000_server": 600.0,
    "rtx_pro_6000_workstation": 600.0,
}


@dataclass(frozen=True)
class PowerShares:
    """Shares of a data sheet's power: what waits, what moves bytes, what multiplies."""

    idle_hopper: float  # between the kernels of a running engine; of all but Blackwell
    idle_blackwell: float
    memory: float  # at the whole bandwidth
    arithmetic: float  # at the whole peak


POWER = PowerShares(0.42, 0.52, 0.46, 1.40)  # fitted to all runs, see records/energy_scores.json


def board_power_w(name: str) -> float:
    """Power on the data sheet of a device [W]. Raises ValueError where none is published.

    name: of the system.

    >>> board_power_w("h100_sxm")
    700.0
    """
    known = ", ".join(sorted(BOARD_W))
    require(name in BOARD_W, "device", f"one whose power is published: {known}", name)
    return BOARD_W[name]


def busy_shares(work: Work, constants: Constants) -> tuple[Array, Array]:
    """Shares of the bandwidth and of the peak that a batch uses of each device, shape (rows,) each.

    constants: of the time; bytes and operations are counted as data sheets have it. Those of
    prompts are among the operations.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work
    >>> memory, arithmetic = busy_shares(count_work([WORKED]), FITTED)
    >>> bool(0.6 < memory[0] < 0.9), bool(0.03 < arithmetic[0] < 0.2)
    (True, True)
    """
    reading, counting = _spent_s(work, work.running)
    prompts = np.maximum(work.running - 1, 0) / work.answer * prompt_s(work, DATA_SHEET)
    taken = loop_latencies(work, constants).per_token_s * work.accepted
    return reading / taken, (counting + prompts * work.accepted) / taken


def _spent_s(work: Work, running: Array) -> tuple[Array, Array]:
    """What a step of so many sequences would take if there were nothing but bytes to move, and
    nothing but operations, as data sheets have it, shape (rows,) each, [s]."""
    endless = np.full_like(work.bandwidth, 1e30)
    spent = []
    for one in (
        replace(work, rest_peak=endless, attention_peak=endless),
        replace(work, bandwidth=endless),
    ):
        parts = step_parts(one, DATA_SHEET, running, work.context)
        spent.append(roofline_parts(parts))
    return spent[0], spent[1]


def power_w(
    deployments: Sequence[Deployment], constants: Constants = FITTED, shares: PowerShares = POWER
) -> Array:
    """Power of all devices of each deployment under its load [W], shape (rows,).

    constants: of the time, behind its front. Raises ValueError where a device's power is not
    published.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> bool(350 < power_w([WORKED])[0] < 700)
    True
    """
    boards = np.array([board_power_w(one.system.name) for one in deployments])
    hopper = np.array([one.system.generation != "blackwell" for one in deployments])
    devices = np.array([float(one.devices) for one in deployments])
    memory, arithmetic = busy_shares(count_work(deployments), constants)
    idle = np.where(hopper, shares.idle_hopper, shares.idle_blackwell)
    share = idle + shares.memory * memory + shares.arithmetic * arithmetic
    return np.asarray(devices * boards * np.minimum(share, 1.0))


def joules_a_token(
    deployments: Sequence[Deployment], constants: Constants = FITTED, shares: PowerShares = POWER
) -> Array:
    """Energy of an output token and of others' prompts that are read meanwhile, shape (rows,) [J].

    The request's own prompt comes before its first token, and is not in it.

    Raises ValueError where a device's power is not published.

    >>> from dataclasses import replace
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> alone, many = joules_a_token([replace(WORKED, concurrency=load) for load in (1.0, 64.0)])
    >>> bool(alone > 15 * many)
    True
    """
    work = count_work(deployments)
    rate = work.running / loop_latencies(work, constants).per_token_s
    return np.asarray(power_w(deployments, constants, shares) / rate)


def served_power_w(
    one: Deployment,
    board_w: float,
    running: float,
    tokens_per_s: float,
    prompts_per_s: float,
    shares: PowerShares = POWER,
) -> float:
    """Power of all devices of an engine that writes so many tokens a second [W]: it waits, moves
    the bytes of as many steps as they take, and computes every token and every prompt.

    board_w: on the data sheet of a device [W]. running: sequences in a step, on average, at least
    1. tokens_per_s: of answers. prompts_per_s: of mean length, as far as no cache has them. Both
    are 0 for an engine that only waits. Raises ValueError outside these ranges.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> round(served_power_w(WORKED, 700.0, 1.0, 0.0, 0.0))  # 42% of 700 W
    294
    >>> 400 < served_power_w(WORKED, 700.0, 64.0, 3000.0, 15.0) < 700
    True
    """
    board_w = require_positive(board_w=board_w)
    tokens_per_s = require_non_negative(tokens_per_s=tokens_per_s)
    prompts_per_s = require_non_negative(prompts_per_s=prompts_per_s)
    running = require_in("[1, 1e6]", running=running)
    work = count_work([one])
    reading, counting = _spent_s(work, np.full(1, running))
    steps = tokens_per_s / (running * work.accepted)
    arithmetic = steps * counting + prompts_per_s * prompt_s(work, DATA_SHEET)
    new = one.system.generation == "blackwell"
    idle = shares.idle_blackwell if new else shares.idle_hopper
    share = idle + shares.memory * steps * reading + shares.arithmetic * arithmetic
    return one.devices * board_w * min(float(share[0]), 1.0)


def fit_power(
    deployments: Sequence[Deployment], measured_w: Array, constants: Constants
) -> PowerShares:
    """Shares of power that fit measured power of all devices best, in relative terms.

    measured_w: of each deployment [W], shape (rows,). A row that is far off weighs less. Raises
    ValueError unless it is positive, one for each.

    >>> from dataclasses import replace
    >>> from serving_mathematics.core.hardware.catalogue import find_system
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.energy import power_w
    >>> from serving_mathematics.core.hardware.step_time import FITTED
    >>> loads = [replace(WORKED, concurrency=float(load)) for load in (1, 2, 4, 8, 16)]
    >>> b200 = [replace(one, system=find_system("b200")) for one in loads]
    >>> found = fit_power([*loads, *b200], power_w([*loads, *b200]), FITTED)
    >>> round(found.memory, 3), round(found.arithmetic, 3)
    (0.46, 1.4)
    """
    measured_w = require_all_positive(measured_w=measured_w)
    count = len(deployments)
    require(np.shape(measured_w) == (count,), "measured_w", f"of shape ({count},)", measured_w)
    memory, arithmetic = busy_shares(count_work(deployments), constants)
    boards = np.array([one.devices * board_power_w(one.system.name) for one in deployments])
    new = np.array([one.system.generation == "blackwell" for one in deployments], dtype=float)
    share = measured_w / boards
    columns = np.stack([1 - new, new, memory, arithmetic], axis=1) / share[:, None]
    weights = np.ones(count)
    for _ in range(30):
        found = np.linalg.lstsq(columns * weights[:, None], weights, rcond=None)[0]
        weights = np.maximum(np.abs(columns @ found - 1), 0.02) ** -0.5
    return PowerShares(*(float(value) for value in found))


ENERGY_SCORES = "energy_scores"
SERVED = "power at the measured throughput"
COMMAND = "python -m serving_mathematics.core.hardware.energy .cache/harnesses"


def score_energy(runs: Sequence[HarnessRun]) -> dict[str, Any]:
    """Errors of power and of joules a token on measured runs, each model's left out.

    runs: with power and joules. Returns errors of all and by device, and of the power that
    `served_power_w` has for the measured batch and throughput.

    >>> from dataclasses import replace
    >>> import numpy as np
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.energy import joules_a_token
    >>> from serving_mathematics.core.hardware.energy import power_w
    >>> from serving_mathematics.core.hardware.harness_runs import HarnessRun
    >>> def made(family, load):
    ...     one = replace(WORKED, concurrency=float(load))
    ...     told = float(power_w([one])[0]), float(joules_a_token([one])[0])
    ...     return HarnessRun("ml-energy", family, one, 0.01, np.nan, 1.0, *told)
    >>> told = score_energy([made(family, load) for family in "ab" for load in (1, 8, 64, 256)])
    >>> told["power"]["all"]["runs"]
    8
    """
    require(len(runs) > 0, "runs", "one or more with power", "none")
    constants = front_constants(FRONTS["ml-energy"])
    asked = [run.deployment for run in runs]
    watts, joules = (
        np.array([getattr(run, name) for run in runs]) for name in ("power_w", "joules")
    )
    rates = np.array([run.rate for run in runs])
    families = np.array([run.family for run in runs])
    kinds = np.array([one.system.name for one in asked])
    power, energy, served = (np.empty(watts.size) for _ in range(3))
    for family in dict.fromkeys(families.tolist()):
        inside, rest = np.flatnonzero(families == family), np.flatnonzero(families != family)
        shares = fit_power([asked[i] for i in rest], watts[rest], constants)
        part = [asked[i] for i in inside]
        power[inside] = power_w(part, constants, shares)
        energy[inside] = joules_a_token(part, constants, shares)
        served[inside] = [
            served_power_w(
                *(one, board_power_w(one.system.name), max(1.0, one.concurrency), rate),
                rate / one.mean_output_tokens,
                shares,
            )
            for one, rate in zip(part, rates[inside], strict=True)
        ]
    scores: dict[str, Any] = {}
    for name, got, told in (
        ("power", power, watts),
        ("joules a token", energy, joules),
        (SERVED, served, watts),
    ):
        by_device = {
            kind: errors(got[kinds == kind], told[kinds == kind])
            for kind in np.unique(kinds).tolist()
        }
        scores[name] = {"all": errors(got, told), "device": by_device}
    fitted = fit_power(asked, watts, constants)
    scores["fitted"] = {name: round(value, 3) for name, value in vars(fitted).items()}
    return scores


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the runs of a folder and write the record: 2 where there is none with power."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        require(len(given) == 1, "arguments", "a folder with the files of harness_runs", given)
        runs = [run for run in read_files(Path(given[0])) if np.isfinite(run.power_w)]
        require(len(runs) > 0, "folder", "one with ml_energy.csv", given[0])
    except ValueError as problem:
        print(f"energy: {problem}", file=sys.stderr)
        return 2
    record = provenance(COMMAND, ("numpy",)) | {
        "title": "Errors of power and joules a token, each model left out",
        "source": "ML.ENERGY leaderboard v3 (github.com/ml-energy/leaderboard, public/data/tasks)",
        "licence": "the repository states none: no row of it is kept here, only these scores",
    }
    print(write_record(ENERGY_SCORES, record | score_energy(runs)), file=sys.stderr)
    return 0


def check_idle_and_full_by_hand() -> None:
    """A device that only waits draws its idle share, and none draws more than its data sheet says.

    Source: the formula, with no bandwidth used and with all of it and of the peak.
    """
    slow = replace(FITTED, sequence_s=1e3)  # a step is all host
    waiting = float(power_w([WORKED], slow)[0])
    checks.close("waiting [W]", waiting, 700 * POWER.idle_hopper, rtol=1e-3)
    full = float(power_w([replace(WORKED, concurrency=400.0)], DATA_SHEET)[0])
    checks.inside("all at once [W]", full, 600.0, 700.0)


def check_a_full_engine_draws_what_its_loop_does() -> None:
    """At the rate of a closed loop the power of what is served is that of the loop, up to the one
    prompt of those that run which the loop leaves out.

    Source: `power_w`, which the scores are of.
    """
    for load in (16.0, 64.0, 256.0):
        one = replace(WORKED, concurrency=load)
        rate = load / float(loop_latencies(count_work([one]), FITTED).per_token_s[0])
        served = served_power_w(one, 700.0, load, rate, rate / one.mean_output_tokens)
        checks.close(f"{load:.0f} sequences [W]", served, float(power_w([one])[0]), rtol=0.02)


def check_scores_meet_their_aims() -> None:
    """Of models that were left out, power is off by at most 10% in the median and joules a token by
    at most 18%; told batch and throughput instead of a deployment's load, power by at most 12%.

    Source: the record of scores; the first two aims were set before.
    """
    record = read_record(ENERGY_SCORES)
    for name, most in (("power", 0.10), ("joules a token", 0.18), (SERVED, 0.12)):
        checks.inside(
            f"{name}: median error", record[name]["all"]["median"], 0.0, most, kind="measured"
        )


def check_shares_are_those_of_the_record() -> None:
    """The shares of power on this page are those that were fitted to all runs.

    Source: the record of scores.
    """
    for name, value in read_record(ENERGY_SCORES)["fitted"].items():
        checks.close(name, getattr(POWER, name), value, atol=0.005, kind="measured")


if __name__ == "__main__":
    sys.exit(main())
