"""Joules: what a token takes, whether that is what its deployment should draw, and what draws it.

Measured power comes from a column, the devices' own readings or a tool. What it is held against is
the power that the model of `core.hardware.energy` has for the load of the file: what waits, moves
bytes and multiplies, each a share of the power on the data sheet.

Assumes: power of the devices of this engine and no others, over the whole run; the model's error is
that of devices which were measured (H100 and B200).

Source: `core.hardware.energy`, with its scores on published runs.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from serving_mathematics.core.hardware.deployments import WORKED, Deployment
from serving_mathematics.core.hardware.energy import (
    BOARD_W,
    POWER,
    PowerShares,
    board_power_w,
    served_power_w,
)
from serving_mathematics.report.evidence import Run, _inside_at, _rates_told
from serving_mathematics.report.findings.finding import Asked, Finding, percent
from serving_mathematics.support import checks
from serving_mathematics.support.digits import sized

MORE_THAN_MODEL = 1.4  # times the modelled power, from which the difference is no error of it


def joules(run: Run, asked: Asked) -> Finding | None:
    """How many joules an answer token takes, and whether the deployment should draw that much.

    run: with its tokens, its time and a power. asked: the deployment, where it is known.

    >>> told = {"duration_s": 100.0, "completed": 500.0, "output_tokens": 200.0, "power_w": 600.0}
    >>> joules(Run("", "", told=told), Asked()).seen
    '600 W for 1,000 answer tokens a second: 0.6 J each'
    """
    watts, how = _power_told_w(run)
    rates = _rates_told(run)
    tokens = rates["output_tokens"]
    if not (watts > 0 and tokens > 0):
        return None
    seen = f"{sized(watts)} W for {sized(tokens, 4)} answer tokens a second: "
    seen += f"{sized(watts / tokens, 2)} J each"
    level, change = "note", "compare at the load of the day: a token of an idle device takes most"
    one = asked.deployment
    if one is not None and one.system.name in BOARD_W:
        # with all of the planner
        from serving_mathematics.planner.capacity_planner.fleet_energy import power_error

        inside = _inside(run, rates["requests"])
        one = _at_load(one, rates, inside)
        model, parts = _modelled(one, inside, tokens, rates["requests"])
        ratio = watts / model
        largest = max(parts, key=lambda name: parts[name])
        seen += f"; the model says {sized(model)} W ({100 * (ratio - 1):+z.0f}%), of which "
        seen += f"{percent(parts[largest])} is for {largest}"
        twice = _modelled(one, 2 * inside, 2 * tokens, 2 * rates["requests"])[0] / (2 * tokens)
        change = f"at twice the load a token takes {sized(twice, 2)} J if the promise still holds"
        if ratio > MORE_THAN_MODEL or ratio < 1 / MORE_THAN_MODEL:
            level = "warning"
            change = (
                "look for devices that are counted and serve nothing, another process on them, or "
                "steps that compute what nobody reads"
                if ratio > 1
                else "look for devices that were left out, a limit of power, or a mean that holds "
                "the time before and after the test"
            )
        error, runs, own = power_error(one.system.name)
        how += f"; the model is off by {percent(error)} or less in nine of ten of {runs} runs"
        how += "" if own else " of other devices"
    return Finding(
        level,
        seen,
        "a waiting device draws nearly half of what a busy one does, so joules a token fall with "
        "the load",
        change,
        how,
        "intuition/latency-throughput-cost",
    )


def _power_told_w(run: Run) -> tuple[float, str]:
    """Mean power of all devices over a run [W], and what tells it; NaN and "" where none."""
    if run.said("power_w") > 0:
        return run.said("power_w"), "the mean that the file tells"
    if run.series is not None:
        times = run.series.time_s[np.isfinite(run.series.time_s)]
        seconds = float(np.ptp(times)) if times.size > 1 else math.nan
        if run.series.grown("joules") > 0 and seconds > 0:
            return run.series.grown("joules") / seconds, "counted energy"
        power = run.series.level("power_w")
        if power.size and power.mean() > 0:
            return float(power.mean()), f"the mean of {power.size:,} readings"
    seconds = _rates_told(run)["seconds"]
    if run.has("joules") and seconds > 0:
        return float(np.nansum(run.column("joules"))) / seconds, "the sum over its requests"
    return math.nan, ""


def _inside(run: Run, rate: float) -> float:
    """Requests inside, on average and at least 1, by counting, by the tool, or by Little's law."""
    found = run.said("in_flight")
    if run.has("sent_s", "latency_s"):
        sent = run.column("sent_s")
        moments = np.linspace(float(np.nanmin(sent)), float(np.nanmax(sent)), 400)
        found = float(_inside_at(run, moments).mean())
    if not found > 0:
        found = rate * run.said("latency_s")
    held = run.said("concurrency")
    if not found > 0 and run.said("rate_asked") == math.inf:
        found = held
    return min(max(1.0, found), 1e6) if math.isfinite(found) else 1.0


def _at_load(one: Deployment, rates: dict[str, float], inside: float) -> Deployment:
    """The deployment with the file's own lengths and load."""
    prompt, output = (
        rates[name] / rates["requests"] if rates["requests"] > 0 else math.nan
        for name in ("prompt_tokens", "output_tokens")
    )
    return replace(
        one,
        input_tokens=max(2.0, prompt) if math.isfinite(prompt) else one.input_tokens,
        output_tokens=max(2.0, output) if math.isfinite(output) else one.output_tokens,
        shortest_share=1.0,
        concurrency=inside,
    )


def _modelled(
    one: Deployment, inside: float, tokens: float, prompts: float
) -> tuple[float, dict[str, float]]:
    """Power of a deployment at a load [W], and the shares of it by what draws it."""
    board = board_power_w(one.system.name)
    running = min(max(1.0, inside), 1e6)
    none = PowerShares(0.0, 0.0, 0.0, 0.0)
    parts = {
        "waiting for the next step": replace(
            none, idle_hopper=POWER.idle_hopper, idle_blackwell=POWER.idle_blackwell
        ),
        "moving bytes": replace(none, memory=POWER.memory),
        "multiplying": replace(none, arithmetic=POWER.arithmetic),
    }
    whole = served_power_w(one, board, running, tokens, prompts)
    each = {
        name: served_power_w(one, board, running, tokens, prompts, shares)
        for name, shares in parts.items()
    }
    total = sum(each.values())
    return whole, {name: watts / total for name, watts in each.items()}


def check_joules_by_hand() -> None:
    """A device that draws what the model has is a note; one that draws twice that is a warning.

    Source: the model, called for the load that the run has.
    """
    told = {"duration_s": 100.0, "completed": 1500.0, "latency_s": 1.6, "in_flight": 24.0}
    told |= {"prompt_tokens": 1000.0, "output_tokens": 200.0}
    model = served_power_w(replace(WORKED, concurrency=24.0), 700.0, 24.0, 3000.0, 15.0)
    for times, level in ((1.0, "note"), (2.0, "warning"), (0.5, "warning")):
        run = Run("", "", told=told | {"power_w": times * model})
        found = joules(run, Asked(deployment=WORKED))
        checks.equal(f"{times:g} times", found.level if found else "", level)
