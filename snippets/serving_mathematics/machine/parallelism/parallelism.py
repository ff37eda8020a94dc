"""Several devices for one model: what sharing its layers divides, and what it leaves.

Devices that share every layer divide weights, cache and multiplications; floors of kernels,
messages and a cache of fewer heads than devices they do not. What that leaves of a gain is held
against published runs that differ in nothing but their devices. Amdahl's law, of a step that keeps
f and divides d, promises (f + d)/(f + d/n), without messages and narrow slices: it is too kind.

Assumes: messages are not hidden behind other work; devices of one kind, evenly loaded.

Source: Pope et al. (2023), MLSys, section 3; Shoeybi et al. (2019), arXiv 1909.08053, section 3
(two messages a layer); Amdahl (1967), AFIPS; published runs from aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import interruptions_s
from serving_mathematics.core.hardware.calibration import KERNELS, predict_runs, tabulate
from serving_mathematics.core.hardware.catalogue import deployed
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.core.hardware.published_runs import Run, _engine_runs
from serving_mathematics.core.hardware.step_time import (
    CONSTANT_NAMES,
    FITTED,
    Array,
    Constants,
    count_work,
    decode_step_s,
    step_parts,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import require_positive, require_positive_integer


def _engines() -> list[Run]:
    """Runs whose devices share every layer."""
    return [
        run
        for run in _engine_runs()
        if run.answers.attention_data == 1 and not run.answers.draft_tokens
    ]


def _medians(groups: list[dict[int, list[Run]]], *constants: Constants) -> list[dict[int, Array]]:
    """Of each group's runs, by devices, medians of the time per token [s]: measured, then one for
    each set of constants."""
    table = tabulate([run for by in groups for runs in by.values() for run in runs])
    predicted = [predict_runs(table, told).per_token_s for told in constants]
    times, row, found = np.array([table.per_token_s, *predicted]), 0, []
    for by in groups:
        medians = dict[int, Array]()
        for devices, runs in by.items():
            medians[devices] = np.median(times[:, row : row + len(runs)], axis=1)
            row += len(runs)
        found.append(medians)
    return found


@cache
def _alike() -> list[dict[int, Array]]:
    """Times per token of runs that differ in nothing but devices, by devices: measured, by kernels
    alone, and fitted [s], shape (3,)."""
    alike: dict[tuple[object, ...], dict[int, list[Run]]] = {}
    for run in _engines():
        a = run.answers
        asked = a.input_tokens, a.output_tokens, run.concurrency
        key = (run.model, a.system.name, a.backend, run.release, a.precision, *asked, run.source)
        place = alike.setdefault((*key, a.expert > 1), {})
        place.setdefault(a.tensor, []).append(run)
    several = [by_devices for by_devices in alike.values() if len(by_devices) > 1]
    return _medians(several, KERNELS, FITTED)


def _speedups(fewer: int, more: int) -> tuple[Array, Array, Array]:
    """Gains of runs that differ in nothing but devices: measured, by kernels alone, and fitted."""
    gains = [times[fewer] / times[more] for times in _alike() if {fewer, more} <= times.keys()]
    measured, kernels, fitted = np.array(gains).T
    return measured, kernels, fitted


PAIRS = ((1, 2), (2, 4), (4, 8), (1, 8))


def _speedup_rows() -> list[str]:
    rows = []
    for fewer, more in PAIRS:
        measured, _, fitted = _speedups(fewer, more)
        low, middle, high = np.quantile(measured, (0.1, 0.5, 0.9))
        rows.append(
            f"| {fewer} to {more} | {measured.size} | {middle:.2f} | {low:.2f} to {high:.2f} |"
            f" {np.median(fitted):.2f} |"
        )
    return rows


def example() -> SimpleNamespace:
    """Numbers of the page."""
    eight = _speedups(1, 8)[0]
    one, many = (_spread(devices) for devices in (1, 8))
    return SimpleNamespace(
        gain_eight=float(np.median(eight)),
        gain_pairs=eight.size,
        gain_doubling=(doubling := float(np.median(_speedups(4, 8)[0]))),
        price_doubling=2 / doubling,
        speedup_rows="\n".join(_speedup_rows()),
        fixed_one=_fixed_share(one),
        fixed_eight=_fixed_share(many),
        amdahl_eight=_amdahl(8),
        own_eight=sum(one.values()) / sum(many.values()),
    )


def _llama_on(devices: int, load: float, system: str = "h200") -> Deployment:
    """Llama-3.1-70B in 8 bits: prompts of 1,024 tokens, answers of as many."""
    return deployed(
        "Llama-3.1-70B",
        system,
        precision="fp8",
        input_tokens=1024,
        output_tokens=1024,
        shortest_share=0.8,
        tensor=devices,
        concurrency=load,
    )


def _spread(devices: int, load: float = 16.0) -> dict[str, float]:
    """Parts of the time per token of that model on so many devices [s]."""
    work = count_work([_llama_on(devices, load)])
    parts = step_parts(work, FITTED, work.running, work.context)
    return {
        "weights": float((parts.weights + parts.vocabulary)[0]),
        "cache": float(parts.cache[0]),
        "prompts of others": float(interruptions_s(work, FITTED, work.running)[0]),
        "kernels": float(parts.kernels[0]),
        "messages": float(parts.messages[0]),
        "host": float(parts.host[0]),
    }


def _fixed_share(parts: dict[str, float]) -> float:
    """Share of a token's time that more devices do not shorten."""
    fixed = parts["kernels"] + parts["messages"] + parts["host"]
    return fixed / sum(parts.values())


def amdahl_gain(fixed_s: float, divided_s: float, devices: int) -> float:
    """How many times as fast a step is if n devices divide only a part of it: (f + d)/(f + d/n).

    fixed_s: f, the part that stays as it is, > 0 [s]. divided_s: d, the part that devices divide, >
    0 [s]. devices: n, a positive integer. Raises ValueError outside. Source: Amdahl (1967).

    >>> amdahl_gain(fixed_s=1.0, divided_s=9.0, devices=9)
    5.0
    """
    fixed_s, divided_s = require_positive(fixed_s=fixed_s, divided_s=divided_s)
    devices = require_positive_integer(devices=devices)
    return (fixed_s + divided_s) / (fixed_s + divided_s / devices)


def _amdahl(devices: int) -> float:
    """Amdahl's gain of that model, from its parts on one device, where nothing is sent."""
    parts = _spread(1)
    fixed = parts["kernels"] + parts["host"]
    return amdahl_gain(fixed, sum(parts.values()) - fixed, devices)


def figure_spread(figure: Figure) -> None:
    """Devices divide the time of weights, cache and prompts. Floors of kernels stay, and messages
    are added.

    Predicted for Llama-3.1-70B in 8 bits on H200 with vLLM, and 16 requests with prompts and
    answers of 1,024 tokens.

    Alt: Stacked bars of the time per token on 1, 2, 4 and 8 devices. Weights and cache shrink from
    about nineteen milliseconds to less than three; floors stay near five; messages appear with the
    second device. A dotted line, the first bar over the number of devices, ends at less than half
    of the last bar.
    """
    axes = figure.subplots()
    widths = (1, 2, 4, 8)
    found = [_spread(devices) for devices in widths]
    at = np.zeros(len(widths))
    for name, colour, of in (
        ("weights", "C0", ["weights"]),
        ("cache", "C5", ["cache"]),
        ("others' prompts", "C3", ["prompts of others"]),
        ("kernel floors, host", "C4", ["kernels", "host"]),
        ("messages", "C1", ["messages"]),
    ):
        heights = np.array([1e3 * sum(parts[one] for one in of) for parts in found])
        axes.bar(range(len(widths)), heights, 0.6, bottom=at, color=colour, label=name)
        at += heights
    ideal = [at[0] / devices for devices in widths]
    axes.plot(range(len(widths)), ideal, "o:", color="C2", label="if all were divided")
    axes.legend(loc="upper right", reverse=True)  # as they are stacked
    axes.set_xticks(range(len(widths)), [str(n) for n in widths])
    axes.set(xlabel="devices", ylabel="time per token [ms]", ylim=(0, 27))


def check_gains_of_devices() -> None:
    """In pairs of runs that differ only in their devices, tokens are 2.6 times as fast on 8 devices
    as on 1, in the median, and each doubling gains less than the one before.

    Source: published pairs of runs; the step with fitted constants, within 12%, and by kernels
    alone, whose messages are too cheap and whose gains are at most a quarter too large.
    """
    gains = []
    for fewer, more in PAIRS:
        measured, kernels, fitted = (float(np.median(x)) for x in _speedups(fewer, more))
        name = f"{fewer} to {more} devices"
        checks.close(f"{name}, fitted", fitted, measured, rtol=0.12, kind="measured")
        checks.close(f"{name}, kernels alone", kernels, measured, rtol=0.25, kind="measured")
        gains.append(measured)
    checks.close("gain from 1 to 8", gains[3], 2.59, atol=0.005, kind="stated")
    checks.holds("less each time", gains[0] > gains[1] > gains[2], got=gains[2])


def check_a_step_by_hand() -> None:
    """A step with one sequence of Llama-3.1-70B reads the weights once, and of eight devices each
    reads an eighth.

    Source: 70.55 billion parameters in one byte each, but of the vocabulary's two tables only one,
    in two; over 4.8 TB/s times the attained share; on eight devices also 160 messages.
    """
    perfect = replace(
        FITTED,
        **{name: 0.0 for name in CONSTANT_NAMES if name.startswith(("factor", "sequence"))},
    )
    for devices in (1, 8):
        one = _llama_on(devices, 1)
        step = decode_step_s(count_work([one]), perfect, np.ones(1), np.zeros(1))
        matrices = 70_553_706_496 - 2 * 128_256 * 8_192 - 81 * 2 * 8_192 + 8_192
        read = (matrices + 2 * 128_256 * 8_192) / devices / (4.8e12 * FITTED.weight_share)
        sent = 0.0 if devices == 1 else 160 * (5e-6 + 28_672 / (450e9 * FITTED.link_share))
        checks.close(f"{devices} devices [s]", float(step[0]), read + sent, rtol=1e-9)


def check_amdahl_is_too_kind() -> None:
    """Amdahl's law, with the floors and the host's time of Llama-3.1-70B on one device, promises a
    gain from eight devices that is at least a fifth larger than the step model's, and than the
    median of the measured pairs.

    Source: the parts of the predicted step; published pairs of runs.
    """
    one, many = (sum(_spread(devices).values()) for devices in (1, 8))
    measured = float(np.median(_speedups(1, 8)[0]))
    told = _amdahl(8)
    checks.holds("more than its step", told > 1.2 * one / many, got=[told, one / many])
    checks.holds("more than measured", told > 1.2 * measured, got=[told, measured])
    checks.close("by hand", amdahl_gain(0.004, 0.018, 8), 0.022 / 0.00625, rtol=1e-12)
