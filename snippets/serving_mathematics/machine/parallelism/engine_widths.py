"""Eight devices are one engine, two of four, four of two or eight: which width is fastest?

Engines of n devices that share every layer read the weights in w/n, and send the values of all
requests. With r requests a device a step is

    w/n + (n - 1) e r + what the width does not change,

because a ring sends 2(n - 1)/n of the bytes of n·r requests. It is least at

    n* = sqrt(w / (e r)).

A prompt's values are sent too, in larger messages, which find more of the link: e counts those of
an answered token, and of as much of the prompt as there are prompt tokens to each.

Measured runs are compared at equal requests a device: what is faster then is cheaper too, to a few
percent, where none waits for a place.

Assumes: the model fits on each width with a cache that is large enough; engines are loaded evenly,
and their prefix caches find what one would. Floors of messages, which begin with the second device,
are left out.

Source: the step of `step_time`; published runs from aiconfigurator-core 0.12.0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import loop_latencies
from serving_mathematics.core.hardware.deployments import Deployment
from serving_mathematics.core.hardware.published_runs import Run
from serving_mathematics.core.hardware.step_time import FITTED, Array, Parts, count_work, step_parts
from serving_mathematics.core.machines.machines import CHAT
from serving_mathematics.machine.parallelism.parallelism import _engines, _llama_on, _medians
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import require_positive

WIDTHS = (1, 2, 4, 8)
LARGE, SMALL = "Llama-3.1-70B", ("Llama-3.1-8B", "Qwen3-32B")
DENSE = (LARGE, *SMALL)
POINTS = (((LARGE,), (4, 8, 16)), (SMALL, (8, 16)))  # requests a device, drawn of each
MIXTURE, SPARSE = "MiniMax-M2.5", "gpt-oss-120b"
OVER_PCIE = {"h100_pcie": 2, "l40s": 4}  # devices of each that hold the 70B with a cache


def best_width(weights_s: float, token_s: float, requests: float) -> float:
    """Devices of an engine with which tokens are fastest, at equal requests a device: sqrt(w/(e
    r)).

    weights_s: w, the time in which one device reads all weights, > 0 [s]. token_s: e, the time that
    messages among many devices take for each token of an answer, including its share of the prompt,
    > 0 [s]. requests: r, requests a device, > 0. Raises ValueError outside.

    >>> best_width(weights_s=0.016, token_s=1e-4, requests=10.0)
    4.0
    """
    weights_s, token_s = require_positive(weights_s=weights_s, token_s=token_s)
    requests = require_positive(requests=requests)
    return math.sqrt(weights_s / (token_s * requests))


class _Load(NamedTuple):
    """Engines of several widths that differ in nothing else, with as many requests a device."""

    model: str
    requests: float
    one: Deployment
    measured: dict[int, float]  # time per token [s], by devices
    predicted: dict[int, float]


@cache
def _loads() -> list[_Load]:
    """Loads of which three widths or more were measured."""
    alike: dict[tuple[object, ...], dict[int, list[Run]]] = {}
    for run in _engines():
        a = run.answers
        if a.pipeline == 1:
            asked = (a.input_tokens, a.output_tokens, run.concurrency / a.tensor, run.release)
            key = (run.model, a.system.name, a.backend, a.precision, *asked, run.source)
            alike.setdefault((*key, a.expert > 1), {}).setdefault(a.tensor, []).append(run)
    several, found = {key: by for key, by in alike.items() if len(by) > 2}, []
    medians = _medians(list(several.values()), FITTED)
    for ((model, *_), by), times in zip(several.items(), medians, strict=True):
        measured, predicted = ({n: float(of[i]) for n, of in times.items()} for i in (0, 1))
        first = by[min(by)][0].answers
        found.append(_Load(str(model), first.concurrency / min(by), first, measured, predicted))
    return found


def _of(*names: str) -> list[_Load]:
    return [load for load in _loads() if any(name in load.model for name in names)]


def _fastest(times: dict[int, float]) -> int:
    return min(times, key=times.__getitem__)


def _nearest(width: float, among: dict[int, float]) -> int:
    """Of the widths, the one whose ratio to this is least."""
    return min(among, key=lambda n: abs(math.log(n / width)))


def _later(load: _Load, width: int) -> float:
    """Time of that width over that of the fastest, measured."""
    return load.measured[width] / min(load.measured.values())


def _parts(one: Deployment, devices: int, requests: float) -> Parts:
    """Of a step of that many requests [s]."""
    work = count_work([replace(one, tensor=devices)])
    return step_parts(work, FITTED, np.array([requests]), work.context)


@cache
def _terms(one: Deployment) -> tuple[float, float]:
    """Of a model's step: w and e of the closed form [s]."""
    alone = _parts(one, 1, 1.0)
    few, more = (_parts(one, 8, requests).messages[0] for requests in (1.0, 65.0))
    answered = float(more - few) / 64 * 8 / 7  # without the (n - 1)/n of eight devices
    a_prompts = FITTED.link_share / FITTED.prompt_link_share
    e = answered * (1 + a_prompts * one.input_tokens / one.output_tokens)
    return float((alone.weights + alone.vocabulary)[0]), e


def _by_form(load: _Load) -> int:
    """Of a load's widths, the nearest to the closed form's."""
    return _nearest(best_width(*_terms(load.one), load.requests), load.measured)


def _predicted(
    one: Deployment, requests: float, widths: tuple[int, ...] = WIDTHS
) -> dict[int, float]:
    """Time per token by the whole prediction, by width [s]."""
    work = count_work([replace(one, tensor=n, concurrency=n * requests) for n in widths])
    return dict(zip(widths, loop_latencies(work, FITTED).per_token_s.tolist(), strict=True))


def _fewest_wins_pcie() -> float:
    """The first whole number of requests a device at which engines of the fewest devices are
    predicted fastest without NVLink, whichever device it is."""
    firsts = []
    for system, fewest in OVER_PCIE.items():
        widths = tuple(n for n in WIDTHS if n >= fewest)
        one = _llama_on(1, 1.0, system)
        told = ((r, _predicted(one, r, widths)) for r in range(1, 99))
        firsts.append(next(r for r, times in told if _fastest(times) == fewest))
    return float(max(firsts))


def _by_prediction(load: _Load) -> int:
    """The width that the prediction calls fastest."""
    return _fastest(load.predicted)


def _later_median_and_decile(loads: list[_Load], widths: list[int]) -> tuple[float, float]:
    """Time of these widths over that of the fastest: median, and below what nine of ten lie."""
    later = [_later(load, width) for load, width in zip(loads, widths, strict=True)]
    return float(np.median(later)), float(np.quantile(later, 0.9))


def _on_fewest(name: str) -> list[bool]:
    """Of a model's loads, whether the fewest devices are fastest."""
    return [_fastest(x.measured) == min(x.measured) for x in _of(name)]


def _over_four(names: tuple[str, ...], requests: int) -> tuple[Array, Array]:
    """Times per token over that of four devices, by width, medians of the loads on all four widths
    with so many requests a device: measured and predicted."""
    at = [x for x in _of(*names) if (x.requests, len(x.measured)) == (requests, len(WIDTHS))]
    seen, told = (
        np.median([[times[n] / times[4] for n in WIDTHS] for times in both], axis=0)
        for both in ([x.measured for x in at], [x.predicted for x in at])
    )
    return seen, told


def _eight_over_four() -> float:
    """Time per token of eight devices over that of four, where w and e are told of: the large model
    in eight bits on H200, prompts as long as answers, four requests a device; the median."""
    told = _llama_on(1, 1.0)
    return float(
        np.median(
            [
                x.measured[8] / x.measured[4]
                for x in _of(LARGE)
                if x.requests == 4 and x.one.input_tokens == x.one.output_tokens
                if (x.one.system, x.one.precision) == (told.system, told.precision)
            ]
        )
    )


def _between() -> list[bool]:
    """Of the large model's loads on all four widths, whether two or four devices are fastest."""
    return [_fastest(x.measured) in (2, 4) for x in _of(LARGE) if len(x.measured) == len(WIDTHS)]


def example() -> SimpleNamespace:
    """Numbers of the page."""
    dense = _of(*DENSE)
    weights_s, token_s = _terms(_llama_on(1, 1.0))
    sparse = _on_fewest(SPARSE)
    return SimpleNamespace(
        loads=len(dense),
        full_loads=len(_between()),
        between=sum(_between()),
        form_off=_later_median_and_decile(dense, [_by_form(x) for x in dense])[1] - 1,
        fewest_off=_later_median_and_decile(dense, [min(x.measured) for x in dense])[0] - 1,
        width_few=best_width(weights_s, token_s, 4.0),
        eight_off=_eight_over_four() - 1,
        sparse_loads=len(sparse),
        sparse_fewest=sum(sparse),
        fewest_pcie=_fewest_wins_pcie(),
    )


def figure_engine_widths(figure: Figure) -> None:
    """The more requests a device has, the less engines of one fall behind engines of four, and the
    more engines of eight do.

    Time per token over that of engines of four devices, at equal requests a device. Points are
    medians of measured runs of dense models; lines are the fitted step.

    Alt: Two panels, one for a 70B and one for 8B and 32B, of time per token over that of four
    devices, against one, two, four and eight devices. Each line is a shallow bowl. The more
    requests a device has, the lower is the left end of its line, and the higher the right one. The
    lowest point of a line is at four devices or, with the most requests, at two. Points of 8B and
    32B lie near the lines; those of the 70B lie a seventh to a third above them on one device.
    """
    figure.set_size_inches(5.8, 3.2)
    for axes, (names, drawn), title in zip(
        figure.subplots(1, 2, sharey=True), POINTS, ("dense 70B", "dense 8B and 32B"), strict=True
    ):
        for requests in drawn:
            seen, told = _over_four(names, requests)
            colour = {4: "C2", 8: "C0", 16: "C3"}[requests]
            axes.plot(WIDTHS, seen, "o", color=colour)
            axes.plot(WIDTHS, told, color=colour, label=f"{requests} requests a device")
        axes.axhline(1.0, color="C4", linestyle=":", linewidth=1.2)
        axes.set_title(title)
        axes.set_xscale("log", base=2)
        axes.set_xticks(WIDTHS, [str(n) for n in WIDTHS])
        axes.set(ylim=(0.8, 1.8), xlabel="devices of an engine")
        axes.set(ylabel="time per token over that of four")
        if title == "dense 70B":
            axes.legend()


def check_widths_between_are_fastest() -> None:
    """With four, eight and 16 requests a device, a dense 70B that one device holds is fastest in
    engines of two or four devices in 40 of 45 measured loads, and in engines of one in none. Dense
    models of 8B and 32B are fastest in engines of two or four in 30 of 35 loads, and in engines of
    eight in none.

    Source: published runs that differ only in their devices, at equal requests a device.
    """
    for names, expected in (((LARGE,), (0, 40, 5)), (SMALL, (5, 30, 0))):
        found = [_fastest(x.measured) for x in _of(*names) if len(x.measured) == len(WIDTHS)]
        ways = tuple(sum(n in of for n in found) for of in ((1,), (2, 4), (8,)))
        checks.equal(
            f"{names[0]}: fastest on one, on two or four, on eight", ways, expected, kind="stated"
        )


def check_the_width_is_nearly_fastest() -> None:
    """In nine of ten loads, the measured width nearest to the closed form's takes at most 8% longer
    than the fastest, and so does the width that the prediction calls fastest: for a dense 70B and
    for smaller dense models. The closed form's does so with short prompts and with long ones, too.
    The narrowest engine and the widest take at least 30% longer in one of ten loads.

    Source: published runs on three or four widths.
    """
    for names in ((LARGE,), SMALL):
        loads = _of(*names)
        ways = {
            "closed form": [_by_form(x) for x in loads],
            "prediction": [_by_prediction(x) for x in loads],
        }
        for way, widths in ways.items():
            middle, high = _later_median_and_decile(loads, widths)
            checks.inside(f"{names[0]}, {way}: nine of ten", high, 1.0, 1.08, kind="measured")
            checks.equal(f"{names[0]}, {way}: median", middle, 1.0, kind="measured")
        for way, end in (("fewest", min), ("most", max)):
            high = _later_median_and_decile(loads, [end(x.measured) for x in loads])[1]
            checks.inside(f"{names[0]}, {way}: nine of ten", high, 1.3, 2.0)
    for long in (False, True):
        loads = [x for x in _of(*DENSE) if (x.one.input_tokens > 2 * x.one.output_tokens) == long]
        high = _later_median_and_decile(loads, [_by_form(x) for x in loads])[1]
        checks.inside(f"long prompts {long}: nine of ten", high, 1.0, 1.08, kind="measured")


def check_points_beside_the_lines() -> None:
    """The medians that the figure draws for 8B and 32B lie within a tenth of its lines. Those for
    the 70B lie at most a tenth below the lines and a third above, and on one device at least an
    eighth above.

    With four requests a device the 70B is fastest on four.

    Source: published runs on four widths, at equal requests a device.
    """
    fastest = WIDTHS[int(np.argmin(_over_four((LARGE,), 4)[0]))]
    checks.equal("70B, four requests a device: fastest", fastest, 4, kind="stated")
    for names, drawn in POINTS:
        for requests in drawn:
            seen, told = _over_four(names, requests)
            for n, ratio in zip(WIDTHS, (seen / told).tolist(), strict=True):
                label = (
                    f"{names[0]}, {requests} requests a device, engines of {n}: measured over drawn"
                )
                large = names == (LARGE,)
                least, most = 1.13 if large and n == 1 else 0.9, 1.35 if large else 1.1
                checks.inside(label, ratio, least, most, kind="measured")


def check_mixtures_differ() -> None:
    """MiniMax-M2.5 is fastest on the fewest devices in every load that was measured on three
    widths, and gpt-oss-120b in two fifths to a half of them. In nine of ten loads, the width that
    the prediction calls fastest takes at most a fifth longer than the fastest for MiniMax-M2.5, 6%
    for gpt-oss-120b and 5% for dense models.

    Source: published runs on three or four widths.
    """
    for name, least, most in ((MIXTURE, 1.0, 1.0), (SPARSE, 0.4, 0.5)):
        share = float(np.mean(_on_fewest(name)))
        checks.inside(f"{name}: on the fewest", share, least, most)
    for names, least, most in (((MIXTURE,), 1.1, 1.2), ((SPARSE,), 1.0, 1.06), (DENSE, 1.0, 1.05)):
        loads = _of(*names)
        high = _later_median_and_decile(loads, [_by_prediction(x) for x in loads])[1]
        checks.inside(f"{', '.join(names)}: nine of ten", high, least, most, kind="measured")


def check_the_closed_form_by_the_prediction() -> None:
    """By the whole prediction, the width nearest to the closed form's takes at most 2% longer than
    the fastest width for a 70B, and 13% for an 8B, whose floors count for more. This holds with 2
    to 40 requests a device, and with prompts as long as answers, four times and eight times as
    long. Four times the requests halve the closed form's width.

    Source: the whole prediction, width by width.
    """
    for model, one, most in (("70B", _llama_on(1, 1.0), 1.02), ("chat", CHAT.deployment, 1.13)):
        for times in (1, 4, 8):
            asked = replace(one, output_tokens=one.input_tokens / times)
            terms = _terms(asked)
            worst = 1.0
            for requests in (2.0, 4.0, 8.0, 16.0, 26.0, 40.0):
                told = _predicted(asked, requests)
                width = _nearest(best_width(*terms, requests), told)
                worst = max(worst, told[width] / min(told.values()))
            label = f"{model}, prompts of {times} answers"
            checks.inside(label, worst, 1.0, most, kind="identity")
    checks.close("four times the requests", best_width(1.0, 1.0, 4.0), 0.5, rtol=1e-12)
