"""The same devices, twice: one engine whose layers they share, or copies of a smaller one.

Copies hold the weights several times and send nothing. With the same devices and as many requests
in all, an engine over n devices reads an nth of the weights and sends messages for everybody's
tokens; a copy reads all weights, for its own requests. With r requests a device, sharing saves w(1
− 1/n) of a step and costs floors m and e·n·r for the values of n·r tokens, so it is the faster one
up to

    r* = (w(1 − 1/n) − m) / (e n)

requests a device. Measured runs are compared at equal requests a device: what is faster then is
cheaper too, where none waits for a place.

Assumes: the model fits on the fewer devices with a cache that is large enough; copies are loaded
evenly, and their prefix caches find what one would.

Source: the step of `step_time`; published runs from aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.benchmark_loops import (
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.calibration import predict_runs, tabulate
from serving_mathematics.core.hardware.published_runs import Run
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    Constants,
    Parts,
    count_work,
    step_parts,
)
from serving_mathematics.machine.parallelism.all_reduce_times import _small
from serving_mathematics.machine.parallelism.parallelism import _engines, _llama_on
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    require_non_negative,
    require_positive,
    require_positive_integer,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

TIMES = (2, 4, 8)  # as many devices in one engine as in a copy
EDGES = (0.0, 3.0, 6.0, 12.0, 24.0, 48.0)  # requests a device, between which runs are pooled
LARGE = "Llama-3.1-70B"  # whose weights are most of its step
SMALLER = ("Llama-3.1-8B", "Qwen3-32B", "gpt-oss-120b")
OVER_PCIE = {"h100_pcie": 2, "l40s": 4}  # devices of each that hold it with a cache
FEWEST = 9  # comparisons, of which a median is shown


def requests_worth_sharing(
    weights_s: float, floors_s: float, token_s: float, devices: int
) -> float:
    """Requests a device up to which sharing layers is faster than copies, (w(1 − 1/n) − m)/(e n),
    or 0 where it never is.

    weights_s: w, of a step that reads them all, > 0. floors_s: m of a step's messages, ≥ 0.
    token_s: e that one token's values add to them, > 0 [s]. devices: n, 2 or more whole ones.
    Raises ValueError outside.

    >>> requests_worth_sharing(weights_s=0.02, floors_s=0.001, token_s=7e-5, devices=4)
    50.0
    """
    weights_s, token_s = require_positive(weights_s=weights_s, token_s=token_s)
    floors_s = require_non_negative(floors_s=floors_s)
    devices = require_positive_integer(devices=devices)
    return max(0.0, (weights_s * (1 - 1 / devices) - floors_s) / (token_s * devices))


@cache
def _comparisons(constants: Constants = FITTED) -> list[tuple[str, int, float, float, float]]:
    """Model, times as many devices, requests a device, and copies' time per token over that of one
    engine: measured, and by the step."""
    alike: dict[tuple[object, ...], dict[tuple[int, float], list[Run]]] = {}
    for run in _engines():
        a = run.answers
        if a.pipeline == 1:
            key = (run.model, a.system.name, a.backend, a.precision, a.input_tokens)
            place = alike.setdefault((*key, a.output_tokens, run.source, a.expert > 1), {})
            place.setdefault((a.tensor, run.concurrency), []).append(run)
    pairs = [
        (str(key[0]), times, load / width, copies, by_width[width * times, load * times])
        for key, by_width in alike.items()
        for (width, load), copies in by_width.items()
        for times in TIMES
        if (width * times, load * times) in by_width
    ]
    table = tabulate([run for *_, copies, shared in pairs for run in (*copies, *shared)])
    told, row = predict_runs(table, constants).per_token_s, 0
    found = list[tuple[str, int, float, float, float]]()
    for model, times, load, copies, shared in pairs:
        middle, end = row + len(copies), row + len(copies) + len(shared)
        seen, step = (
            float(np.median(of[row:middle]) / np.median(of[middle:end]))
            for of in (table.per_token_s, told)
        )
        row = end
        found.append((model, times, load, seen, step))
    return found


def _pooled(large: bool, times: int) -> dict[float, Array]:
    """By the middle of a bin of requests a device: low, median and high measured, and the fitted
    median, shape (4,)."""
    found = {}
    for low, high in itertools.pairwise(EDGES):
        chosen = np.array(
            [
                (seen, told)
                for model, n, load, seen, told in _comparisons()
                if n == times and low < load <= high
                if (LARGE in model if large else any(name in model for name in SMALLER))
            ]
        )
        if len(chosen) >= FEWEST:
            seen = np.quantile(chosen[:, 0], (0.1, 0.5, 0.9))
            found[max(low, 1.5) * 2**0.5] = np.append(seen, np.median(chosen[:, 1]))
    return found


def _seen_beyond(requests: float) -> list[float]:
    """Measured ratios of the large model with more requests a device."""
    return [seen for name, _, load, seen, _ in _comparisons() if LARGE in name and load > requests]


def _parts(devices: int, requests: float) -> Parts:
    """Of a step of that model [s]."""
    work = count_work([_llama_on(devices, requests)])
    return step_parts(work, FITTED, np.array([requests]), work.prompt + work.answer / 2)


def _terms(devices: int) -> tuple[float, float, float]:
    """Of that model's step: w, m and e of the closed form [s]."""
    one, more = (_parts(devices, requests).messages[0] for requests in (1.0, 65.0))
    weights = float((_parts(1, 1.0).weights + _parts(1, 1.0).vocabulary)[0])
    token_s = float(more - one) / 64
    return weights, float(one) - token_s, token_s


def _even(devices: int) -> float:
    """Requests a device up to which that model is worth sharing, by the closed form."""
    return requests_worth_sharing(*_terms(devices), devices)


def _even_whole(
    devices: int, constants: Constants = FITTED, system: str = "h200", copy: int = 1
) -> float:
    """The same by the whole prediction, with prompts: the first whole number at which the token of
    a copy on fewer devices is no slower."""
    loads = np.arange(1.0, 41.0)
    shared, copies = (
        loop_latencies(
            count_work([_llama_on(n, n * r, system) for r in loads]), constants
        ).per_token_s
        for n in (devices, copy)
    )
    return float(loads[np.argmax(copies <= shared)])


def _links_of_kernels() -> Constants:
    """The fitted step with what small messages attain of the links of eight H100."""
    return replace(FITTED, link_share=_small("h100_sxm", 8)[1])


def example() -> SimpleNamespace:
    """Numbers of the page."""
    few = _pooled(True, 8)
    weights_s, floors_s, token_s = _terms(8)
    return SimpleNamespace(
        comparisons=len(_comparisons()),
        large_few=float(next(iter(few.values()))[1]),
        large_many=float(np.mean([seen > 1 for seen in _seen_beyond(12.0)])),
        even_requests=_even(8),
        even_whole=_even_whole(8),
        even_pcie=max(_even_whole(8, system=name, copy=copy) for name, copy in OVER_PCIE.items()),
        weights_ms=1e3 * weights_s,
        floors_ms=1e3 * floors_s,
        token_us=1e6 * token_s,
    )


def figure_share_or_copy(figure: Figure) -> None:
    """A dense 70B is clearly faster when four times the devices share it, up to about ten requests
    a device. Smaller models, most with long prompts, are as fast in copies at any load.

    Time per token of copies over that of one engine with four times the devices, at equal requests
    a device; points are medians of measured runs, with the middle eight of ten, and lines are the
    fitted step.

    Alt: Chart of a ratio against requests a device on a logarithmic axis, with a dotted line at
    one. Points of the large model begin well above one and come down to it. Those of smaller
    models lie at one or below it throughout. A line runs near each set of points.
    """
    axes = figure.subplots()
    for large, colour, label, place in (
        (True, "C0", "dense 70B", (2.4, 1.62)),
        (False, "C3", "8B, 32B, sparse 120B", (5, 0.62)),
    ):
        rows = _pooled(large, 4)
        at = np.array(list(rows))
        low, middle, high, told = np.array(list(rows.values())).T
        axes.errorbar(at, middle, (middle - low, high - middle), fmt="o", color=colour)
        axes.plot(at, told, color=colour)
        axes.annotate(label, place, color=colour)
    axes.axhline(1.0, color="C4", linestyle=":", linewidth=1.2)
    axes.set_xscale("log", base=2)
    axes.set_xticks((2, 4, 8, 16, 32), ["2", "4", "8", "16", "32"])
    axes.set(ylim=(0.5, 2.05), xlabel="requests a device")
    axes.set(ylabel="time per token, copies over shared [ratio]")


def check_sharing_wins_where_weights_lead() -> None:
    """A dense 70B is faster shared by a seventh or more up to six requests a device, and no longer
    by much beyond a dozen; smaller models never are by more than a twelfth.

    Source: medians of measured runs at equal requests a device, for two, four and eight times the
    devices.
    """
    for times in TIMES:
        large, small = _pooled(True, times), _pooled(False, times)
        for at, (_, middle, _, _) in large.items():
            low, high = (1.14, 2.2) if at < 6 else (0.8, 1.35)
            label = f"70B, {times} times, about {at:.0f} a device"
            checks.inside(label, middle, low, high, kind="measured")
        for at, (_, middle, _, _) in small.items():
            label = f"smaller, {times} times, about {at:.0f} a device"
            checks.inside(label, middle, 0.7, 1.08, kind="measured")


def check_the_step_knows_it_too() -> None:
    """The fitted step's ratio lies within 0.25 of the measured median up to two dozen requests a
    device; beyond, where few runs are, it is harder on sharing than they are.

    Source: the same runs; the ratio is of two predictions of one model.
    """
    for large in (True, False):
        for times in TIMES:
            for at, (_, middle, _, told) in _pooled(large, times).items():
                if at > 24:
                    continue
                label = f"{'70B' if large else 'smaller'}, {times} times, about {at:.0f}"
                checks.close(label, float(told), float(middle), atol=0.25, kind="measured")


def check_sharing_wins_by_little_beyond_a_dozen() -> None:
    """Beyond a dozen requests a device the dense 70B gains less than a tenth by being shared, in
    the median, and the prediction says nothing; with what kernels of messages attain of a link,
    nearly twice as much as whole runs fit, it is nearer to them there and from six on,
    and changes sides ten requests later.

    Source: the same runs; all-reduces of up to a mebibyte over eight H100.
    """
    kernels = _links_of_kernels()
    ratio = FITTED.link_share / kernels.link_share
    checks.close("fitted share of a link, over that of kernels", ratio, 0.5, atol=0.06)
    for low, high in ((6.0, 12.0), (12.0, 1000.0)):
        seen, fitted, own = (
            np.median([row[at] for row in of if LARGE in row[0] and low < row[2] <= high])
            for of, at in ((_comparisons(), 3), (_comparisons(), 4), (_comparisons(kernels), 4))
        )
        label = f"more than {low:.0f}: kernels' links are nearer"
        checks.holds(label, bool(abs(own - seen) < abs(fitted - seen)), got=float(own))
    later = _even_whole(8, kernels) - _even_whole(8)
    checks.close("changes sides later by, on eight", later, 10, atol=1)
    checks.inside("beyond a dozen, measured", float(seen), 1.02, 1.1, kind="measured")
    checks.inside("beyond a dozen, predicted", float(fitted), 0.95, 1.02, kind="measured")


def check_a_full_cache_is_copied_unless_weights_fill_the_devices() -> None:
    """With a full cache twice the devices write more tokens as two copies where weights fill a
    quarter of the memory, and fewer where they fill half.

    Source: the whole prediction of a 70B in 8 bits on H200, for prompts of 8,000 tokens.
    """
    for devices, copy in ((2, True), (1, False)):
        load = 40.0 * devices  # more than memory holds, in a copy
        both = [
            replace(_llama_on(n, r), input_tokens=8000.0)
            for n, r in ((devices, load), (2 * devices, 2 * load))
        ]
        work, widths = count_work(both), np.array([devices, 2.0 * devices])
        loops = loop_latencies(work, FITTED)
        rates = tokens_per_s_per_device(loops, work.answer, work.concurrency, widths)
        checks.holds(
            f"{devices} devices, who waits", loops.running[0] < load, got=float(loops.running[0])
        )
        label = f"weights on {devices} devices: a copy writes more"
        checks.equal(label, bool(rates[0] > rates[1]), copy)


def check_the_closed_form_by_parts() -> None:
    """At as many requests as the closed form says, messages of one engine take two thirds to all of
    what it saves of the weights, because large messages find more of the link than small ones; with
    links a fifth faster it is worth sharing up to a fifth more. Prompts send messages too, so
    that the whole prediction changes sides earlier on eight devices, among the measured loads, and
    over PCIe at a few, with what messages attain of eight H100's links, too.

    Source: the step's parts on both sides.
    """
    for devices in (2, 4, 8):
        even = _even(devices)
        shared, copy = _parts(devices, even * devices), _parts(1, even)
        saved = (copy.weights + copy.vocabulary - shared.weights - shared.vocabulary)[0]
        ratio = float(shared.messages[0] / saved)
        checks.inside(f"{devices} devices: sent over saved", ratio, 0.66, 1.02, kind="identity")
    slow = requests_worth_sharing(0.02, 0.001, 7e-5, 8)
    fast = requests_worth_sharing(0.02, 0.001, 7e-5 / 1.2, 8)
    checks.close("faster links", fast / slow, 1.2, rtol=1e-9)
    checks.inside("8 devices, with prompts", _even_whole(8), 12.0, 0.75 * _even(8), kind="identity")
    for name, fewest in OVER_PCIE.items():
        found = [_even_whole(8, link, name, fewest) for link in (FITTED, _links_of_kernels())]
        checks.inside(f"{name}: eight or copies of {fewest}", found[0], 2.0, 4.0, kind="identity")
        checks.inside("with the links of kernels", found[1], found[0], 8.0, kind="identity")
    checks.equal("nothing is sent by one", float(_parts(1, 1.0).messages[0]), 0.0)


def check_bad_input_is_refused() -> None:
    """Weights that take no time, and devices that are none, name the argument."""
    checks.raises("w", requests_worth_sharing, 0.0, 0.0, 1.0, 2, match="weights_s must be positive")
    checks.raises("n", requests_worth_sharing, 1.0, 0.0, 1.0, 0, match="devices must be a positive")
