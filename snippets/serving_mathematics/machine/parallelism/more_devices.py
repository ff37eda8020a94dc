"""More devices for the book's chat machine and its mixture, split in every way, and the price.

So many requests are held by all devices together, and whoever is done asks again. Copies, and
groups with attention of their own, share the requests out evenly. With devices and requests given,
a faster split is a cheaper one where no request waits: the same devices write more tokens.

Assumes: what `benchmark_loops` does; the machines' own traffic and price of a device.

Source: `benchmark_loops` with the fitted step; published runs, counted.
"""

# In one piece: one table of predictions, of which a third is its picture and a third are checks.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from serving_mathematics.core.hardware.benchmark_loops import (
    interruptions_s,
    loop_latencies,
    tokens_per_s_per_device,
)
from serving_mathematics.core.hardware.catalogue import deployed, find_model, find_system
from serving_mathematics.core.hardware.deployments import (
    Deployment,
    Impossible,
    require_deployment,
    room_sequences,
    weight_bytes,
)
from serving_mathematics.core.hardware.published_runs import _engine_runs
from serving_mathematics.core.hardware.step_time import FITTED, count_work, step_parts
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure

DEVICES = (1, 2, 4, 8, 16, 32)
REQUESTS = (1, 16, 64, 128, 512)
_DRAWN, _ROWS = REQUESTS[1:4], DEVICES[:5]  # by the slider: requests, and devices
_COPY = "copy"  # its first row


class _Split(NamedTuple):
    machine: Machine
    way: Callable[[Machine, int, int, float], dict[str, Any]]
    unit: int  # devices of a copy or of a stage


def _shared(machine: Machine, _unit: int, devices: int, _requests: float) -> dict[str, Any]:
    return {"tensor": devices, "expert": devices if machine is MIXTURE else 1}


def _copies(_machine: Machine, unit: int, devices: int, requests: float) -> dict[str, Any]:
    copies = devices // unit
    alone = {"concurrency": requests / copies if copies and requests >= copies else 0.0}
    return alone | {"tensor": unit}


def _apart(_machine: Machine, _unit: int, devices: int, _requests: float) -> dict[str, Any]:
    return {"tensor": 1, "attention_data": devices, "expert": devices}


def _stages(_machine: Machine, unit: int, devices: int, _requests: float) -> dict[str, Any]:
    return {"pipeline": devices // unit}


SPLITS = {
    "chat, layers shared": _Split(CHAT, _shared, 1),
    "chat, copies": _Split(CHAT, _copies, 1),
    "chat, copies of two": _Split(CHAT, _copies, 2),
    "chat, stages": _Split(CHAT, _stages, 1),
    "mixture, layers shared": _Split(MIXTURE, _shared, 8),
    "mixture, attention apart": _Split(MIXTURE, _apart, 8),
    "mixture, copies of eight": _Split(MIXTURE, _copies, 8),
    "mixture, stages of eight": _Split(MIXTURE, _stages, 8),
}


def _deployed(split: str, devices: int, requests: float) -> Deployment | None:
    """One engine of a split; none where it cannot be, or where a copy has no request."""
    machine, way, unit = SPLITS[split]
    widths = {"concurrency": float(requests)} | way(machine, unit, devices, float(requests))
    if devices % unit and way is not _shared and way is not _apart:
        return None
    if min(widths.values()) <= 0:
        return None
    one = replace(machine.deployment, **widths)
    try:
        require_deployment(one)
    except Impossible:
        return None
    return one


@cache
def _found() -> dict[tuple[str, int, int], tuple[float, float, float]]:
    """Time per token [ms], price of a million tokens [$] and requests that run, by split, devices
    and requests; the others wait for a place."""
    keys = [(s, n, c) for s in SPLITS for n in DEVICES for c in REQUESTS]
    there = [(key, one) for key in keys if (one := _deployed(*key)) is not None]
    work = count_work([one for _, one in there])
    loops = loop_latencies(work, FITTED)
    widths = np.array([float(one.devices) for _, one in there])
    rates = tokens_per_s_per_device(loops, work.answer, work.concurrency, widths)
    fits = work.room >= np.minimum(work.concurrency / 4, 8.0)  # no engine of a few sequences
    found = {}
    rows = zip(there, loops.per_token_s, rates, loops.running / work.concurrency, fits, strict=True)
    for (key, _), each_s, rate, inside, fit in rows:
        if fit:
            price = 1e6 / float(rate) / 3600 * SPLITS[key[0]].machine.device_price_per_hour
            found[key] = 1e3 * float(each_s), price, key[2] * float(inside)
    return found


@cache
def _runs() -> dict[tuple[bool, bool, int], int]:
    """Published runs of one engine without stages: sparse, attention apart, devices."""
    counts: dict[tuple[bool, bool, int], int] = {}
    for run in _engine_runs():
        a = run.answers
        if a.pipeline == 1:
            key = a.architecture.routed_parameters > 0, a.attention_data > 1, a.devices
            counts[key] = counts.get(key, 0) + 1
    return counts


def _measured(split: str, devices: int) -> int:
    """Published runs of engines that are split so, of dense models or of mixtures."""
    machine, way, unit = SPLITS[split]
    if way is _stages and devices > unit:
        return 0
    width = unit if way in (_copies, _stages) else devices
    return _runs().get((machine is MIXTURE, way is _apart, width), 0)


def example() -> SimpleNamespace:
    """Numbers of the page: prices."""
    found = _found()
    return SimpleNamespace(
        apart_price=found["mixture, attention apart", 32, 128][1],
        copies_price=found["mixture, copies of eight", 32, 128][1],
    )


def figure_more_devices(figure: Figure) -> None:
    """More devices make tokens faster, but by less than their number. Which split is fastest
    depends on the number of requests.

    Predicted for the book's chat machine, Llama-3.1-8B in 16 bits on H100; with shared layers,
    tokens take longer again where messages leave a node.

    Alt: Two panels of time per token against devices, both axes logarithmic, each with a line for
    shared layers, for copies, for copies of two devices and for stages. With few requests the line
    of shared layers lies lowest up to eight devices and then jumps up. With many requests the line
    of copies lies below it from two devices on, and that of copies of two lowest from four on.
    """
    figure.set_size_inches(5.8, 3.0)
    for axes, requests in zip(figure.subplots(1, 2, sharey=True), (16, 128), strict=True):
        for way, colour in (
            ("layers shared", "C0"),
            ("stages", "C2"),
            ("copies", "C1"),
            ("copies of two", "C4"),
        ):
            rows = [(n, _found().get((f"chat, {way}", n, requests))) for n in DEVICES]
            points = [(n, row[0]) for n, row in rows if row]
            axes.plot(*zip(*points, strict=True), "o-", ms=3, color=colour, label=way)
        axes.set_title(f"{requests} requests")
        axes.set(xscale="log", yscale="log", xlabel="devices", ylabel="time per token [ms]")
        axes.set_xticks(DEVICES, [str(n) for n in DEVICES])
        axes.set_yticks([5, 10, 20], ["5", "10", "20"])
        axes.minorticks_off()
    axes.legend()


@cache
def _token_ms() -> dict[tuple[str, int, int], dict[str, float]]:
    """What the time of one of chat's tokens is made of, by the state that draws it [ms]: the step
    of `_found`, and the prompts of others. By split, devices and requests."""
    there = {key: one for key in _found() if (one := _deployed(*key)) and "chat" in key[0]}
    work = count_work([*there.values()])
    step = step_parts(work, FITTED, work.running, work.context)
    drawn = {
        "answer": step.weights + step.vocabulary,
        "cached": step.cache,
        "starts": step.kernels + step.host,
        "waits": interruptions_s(work, FITTED, work.running),
        "prompt": step.messages,
    }
    return {
        key: {state: 1e3 * float(each_s[row]) for state, each_s in drawn.items()}
        for row, key in enumerate(there)
    }


def _devices(split: str, devices: int, requests: int) -> list[tuple[Any, ...]]:
    """One token's way as bars, (row, start, end, state), on each device of a split: what of it is
    done there, when others are served, and at the end of a row the weights that it holds. Stages
    take it in turns of one length."""
    one = _deployed(split, devices, requests)
    if one is None:
        return []
    parts = _token_ms()[split, devices, requests]
    whole, holds = (
        sum(parts.values()),
        f"{'≤ ' * (one.pipeline > 1)}{weight_bytes(one) / 1e9:.1f} GB",
    )
    bars: list[tuple[Any, ...]] = []
    for device in range(devices):
        row, start = str(device + 1), whole * (device % one.pipeline) / one.pipeline
        mine = {state: time / one.pipeline for state, time in parts.items()}
        turns = [("idle", start), *mine.items(), ("idle", whole - start - whole / one.pipeline)]
        if device >= one.devices:
            turns = [("idle", whole)]
        end, drawn = 0.0, []
        for state, time in turns:
            if time > 1e-3:
                drawn.append((row, end, end + time, state))
                end += time
        bars += [*drawn[:-1], (*drawn[-1], holds)]
    return bars


def slider_more_devices() -> dict[str, Any]:
    """Add devices: which parts of a token's time shrink, which stay, and which are new? At equal
    requests, its price grows with its time multiplied by the devices."""
    ways = [split.removeprefix("chat, ") for split in SPLITS if "chat" in split]
    ways.remove("copies")

    def each(told: Callable[[str, int, int], Any]) -> list[Any]:
        return [[[told(f"chat, {w}", n, c) for c in _DRAWN] for w in ways] for n in _ROWS]

    def bars(split: str, devices: int, requests: int) -> list[tuple[Any, ...]]:
        copy = [(_COPY, *bar[1:]) for bar in _devices("chat, copies", devices, requests)]
        first = [bar for bar in copy if bar[3] != "idle"]
        return [*first, *_devices(split, devices, requests)]

    def found(place: int, split: str | None = None) -> Callable[[str, int, int], float | None]:
        return lambda s, n, c: _found().get((split or s, n, c), [None] * 3)[place]

    said = {
        "time": ("ms", 1, found(0)),
        "copy": ("ms", 1, found(0, "chat, copies")),
        "price": ("", 2, found(1)),
        "copies": ("", 2, found(1, "chat, copies")),
        "runs": ("", 0, lambda *key: _measured(key[0], key[1])),
    }
    return {
        "controls": [
            {"label": "devices", "values": list(_ROWS), "start": 8, "text": "{}"},
            {"label": "split", "values": ways, "start": "layers shared"},
            {"label": "requests", "values": list(_DRAWN), "start": 16, "text": "{}"},
        ],
        "panels": [
            {
                "kind": "bars",
                "label": "one token's time on each device, and the weights held",
                "lanes": [_COPY, *map(str, range(1, _ROWS[-1] + 1))],
                "x": {"label": "time", "unit": "ms"},
                "bars": each(bars),
            }
        ],
        "readouts": [
            {"label": label, "unit": unit, "decimals": decimals, "values": each(told)}
            for label, (unit, decimals, told) in said.items()
        ],
        "legend": {
            "answer": "reads weights",
            "cached": "reads the cache",
            "starts": "kernel floors, host",
            "waits": "others' prompts",
            "prompt": "messages",
            "idle": "serves others",
        },
        "reading": "A token takes {time}, in copies {copy}; a million tokens cost ${price},"
        f" in copies ${{copies}}, at ${CHAT.device_price_per_hour:.2f} a device-hour."
        " Published runs of engines split this way: {runs}.",
        "absent": "A copy of two needs two devices.",
    }


def check_with_devices_and_requests_given_faster_is_cheaper() -> None:
    """With equal devices and equal requests, one or 16, of which none waits for a place, no split
    whose tokens are faster by 3% or more than those of another is dearer.

    Source: all pairs of splits of a machine; tokens a second are the requests over the time of a
    token.
    """
    found, turned = _found(), 0
    for (split, devices, requests), (each, price, _) in found.items():
        for other, way in SPLITS.items():
            there = found.get((other, devices, requests))
            if way.machine is SPLITS[split].machine and there and requests <= 16:
                turned += (there[0] < 0.97 * each) and there[1] > price
    checks.equal("pairs in which the faster is dearer", turned, 0)


def check_short_answers_pay_for_their_first_token() -> None:
    """With one request a device, prompts of 3,000 tokens and answers of 20, a dense 70B costs 15%
    to 30% more at the width with the fastest tokens (of one, two, four and eight devices) than at
    the cheapest. With answers of 50 and of 200 tokens it costs at most 6% more, and so it does with
    answers of 50 to prompts of 16,000.

    Source: the fitted step; a price includes the time of first tokens.
    """
    for prompt, answer, low, high in (
        (3000.0, 20.0, 1.15, 1.3),
        (3000.0, 50.0, 1.0, 1.06),
        (16_000.0, 50.0, 1.0, 1.06),
        (3000.0, 200.0, 1.0, 1.06),
    ):
        one = deployed(
            "Llama-3.1-70B",
            "h200",
            CHAT.deployment,
            precision="fp8",
            input_tokens=prompt,
            output_tokens=answer,
        )
        wide = [replace(one, tensor=n, concurrency=float(n)) for n in (1, 2, 4, 8)]
        work, widths = count_work(wide), np.array([1.0, 2.0, 4.0, 8.0])
        loops = loop_latencies(work, FITTED)
        rates = tokens_per_s_per_device(loops, work.answer, work.concurrency, widths)
        ratio = float(rates.max() / rates[int(np.argmin(loops.per_token_s))])
        checks.inside(f"{prompt:,.0f} and {answer:.0f} tokens", ratio, low, high)


def check_which_split_is_best_turns_with_the_requests() -> None:
    """On eight devices, the chat machine's tokens are faster with shared layers than in copies if
    there are 16 requests, and slower if there are 128; then copies of two are faster still. On 32
    devices, with 128 and with 512 requests, the mixture is cheapest with attention apart and
    dearest with shared layers. With 128 it keeps its promised time per token with attention apart
    and in copies of eight, and takes twice that time with shared layers.

    Source: the fitted step; the margins are wider than the tenth by which it errs between splits.
    """
    found = _found()
    ways = ["layers shared", "copies"]
    for requests, order in ((16, ways), (128, ways[::-1])):
        first, second = (found[f"chat, {way}", 8, requests][0] for way in order)
        checks.holds(f"{requests} requests: {order[0]}", first < 0.87 * second, got=[first, second])
    twos = found["chat, copies of two", 8, 128][0]
    checks.holds("128 requests: copies of two", twos < 0.87 * first, got=[twos, first])
    for requests in (128, 512):
        prices = {split: row[1] for (split, n, c), row in found.items() if (n, c) == (32, requests)}
        mixture = {split: price for split, price in prices.items() if "mixture" in split}
        best, worst = min(mixture, key=mixture.__getitem__), max(mixture, key=mixture.__getitem__)
        checks.equal(f"{requests} requests, best", best, "mixture, attention apart")
        checks.equal(f"{requests} requests, worst", worst, "mixture, layers shared")
    promise_ms, wide = 1e3 * MIXTURE.promise.tpot_s, "mixture, layers shared"
    kept = [found[f"mixture, {way}", 32, 128][0] for way in ("attention apart", "copies of eight")]
    checks.holds("128 requests: kept", max(kept) < 0.8 * promise_ms, got=kept)
    checks.inside("shared, over the promise", found[wide, 32, 128][0] / promise_ms, 2.0, 2.2)


def check_a_full_cache_is_copied_unless_weights_fill_the_devices() -> None:
    """If the cache is full, twice the devices write more tokens as two copies than with shared
    layers, or at most a tenth fewer, where weights fill up to half of the memory, or up to two
    fifths with long prompts. Where weights fill more, it is the other way round, and with more than
    70% shared layers write more than twice as many. Without NVLink they may write a third fewer
    even where weights fill more than half.

    Source: the whole prediction of dense models of 8B to 70B on one to four devices of three kinds,
    and of two without NVLink.
    """
    filled: list[tuple[float, bool, float]] = []
    apart: list[tuple[float, bool, float]] = []
    most = []
    for model, bits, system, devices in (
        ("Llama-3.1-70B", "bf16", "h100_pcie", 4),
        ("Llama-3.1-70B", "bf16", "rtx_pro_6000", 2),
        ("Llama-3.1-8B", "bf16", "h100", 1),
        ("Llama-3.1-70B", "fp8", "h200", 2),
        ("Qwen3-32B", "bf16", "b200", 1),
        ("Qwen3-32B", "fp8", "h100", 1),
        ("Llama-3.1-70B", "bf16", "h100", 4),
        ("Llama-3.1-70B", "bf16", "h200", 2),
        ("Llama-3.1-70B", "fp8", "h200", 1),
        ("Qwen3-32B", "bf16", "h100", 1),
    ):
        for prompts, answers in ((1000.0, 1000.0), (2000.0, 200.0), (8000.0, 1000.0)):
            one = deployed(
                model,
                system,
                CHAT.deployment,
                tensor=devices,
                concurrency=4096.0 * devices,  # more than memory holds
                precision=bits,
                input_tokens=prompts,
                output_tokens=answers,
            )
            both = [one, replace(one, tensor=2 * devices, concurrency=2 * one.concurrency)]
            work, widths = count_work(both), np.array([devices, 2.0 * devices])
            loops = loop_latencies(work, FITTED)
            copied, shared = tokens_per_s_per_device(loops, work.answer, work.concurrency, widths)
            share = weight_bytes(one) / one.system.memory_bytes
            row = share, share > (0.5 if prompts < 4000 else 0.39), shared / copied
            (filled if one.system.link_bytes_per_s > 1e11 else apart).append(row)
            most.append(float(loops.running[0]) / one.concurrency)
    checks.inside("of all, run at a time", max(most), 0.0, 0.5)
    shares, told, gains = np.array(filled).T
    least = float(np.where(told, gains, 1 / gains).min())
    checks.inside("what the rule says over the other, least", least, 0.9, 1.0, kind="identity")
    checks.inside("sharing, from 0.7 on", float(gains[shares > 0.7].min()), 2.0, 4.0)
    short = (shares > 0.4) & (shares < 0.5) & (told == 0)
    checks.inside("sharing, two fifths and short", float(gains[short].min()), 0.7, 0.85)
    shares, told, gains = np.array(apart).T
    checks.inside("without NVLink, weights", float(shares[told == 1].max()), 0.65, 0.75)
    checks.inside("sharing without it, least", float(gains[told == 1].min()), 0.5, 0.8)


def check_sharing_divides_no_cache_past_its_heads() -> None:
    """If a model has a latent, or no more KV heads than devices, twice the devices hold fewer
    sequences with shared layers than as two copies, even where weights fill more than half of the
    memory. If it has more KV heads than devices, they hold as many or more.

    Source: what each device holds, at contexts of 4,500 tokens.
    """
    for model, devices, low, high in (
        ("DeepSeek-R1", 8, 0.9, 1.0),  # a latent
        ("Llama-3.1-70B", 8, 0.5, 0.6),  # eight heads
        ("Qwen3-30B-A3B", 4, 0.5, 0.6),  # four
        ("Llama-3.1-70B", 4, 1.0, 1.2),  # not yet as many
    ):
        one = replace(CHAT.deployment, tensor=devices, input_tokens=4000.0, output_tokens=500.0)
        held = find_model(model)[0], find_system("h200")
        one = replace(one, architecture=held[0], system=held[1], precision="fp8")
        shared = float(room_sequences(replace(one, tensor=2 * devices)))
        label = f"{model}, {2 * devices} that share over two copies"
        checks.inside(label, shared / (2 * float(room_sequences(one))), low, high)


def check_no_stage_was_measured() -> None:
    """The record has no engine with stages and none of more than eight devices, and more than a
    hundred runs with shared layers on each of one, two, four and eight.

    Source: published runs, counted.
    """
    staged = sum(run.answers.pipeline > 1 for run in _engine_runs())
    checks.equal("runs with stages", staged, 0, kind="stated")
    for split in SPLITS:
        for devices in (16, 32):
            if SPLITS[split].way is not _copies:
                checks.equal(f"{split}, {devices}", _measured(split, devices), 0, kind="stated")
    checks.holds("shared", min(_measured("chat, layers shared", n) for n in (1, 2, 4, 8)) > 100)
