"""What fewer bits buy on the book's chat machine: a faster step, a faster prompt, or more room.

Three formats of its weights. In 16 bits products are of 16 bits. In FP8 weights and products have
eight. In int4 matrices have four, with scales, and are widened before they are multiplied. So int4
reads least, and FP8 alone multiplies faster: which is quicker depends on how many share a step.

Assumes: the scored step model, whose constants for formats come from measured kernels; the cache in
16 bits throughout; int4 with 4.25 bits a weight in steps, whatever the block.

Source: `core.machines` for steps, memory and ceilings; Kurtic et al. (2025) for the same order on
measured engines; the measured rounds of a small model for the gain that shrinks with the batch.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.hardware.catalogue import deployed, find_model
from serving_mathematics.core.hardware.deployed_engine import engine_of
from serving_mathematics.core.hardware.deployments import (
    Deployment,
    cache_room_bytes,
    sequence_bytes,
    weight_bytes,
)
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.hardware.guessed_steps import guessed_step_s
from serving_mathematics.core.hardware.step_time import count_work, step_parts
from serving_mathematics.core.machines.machines import CHAT, INSTALLED, L40S, Machine
from serving_mathematics.optimization.quantization.language_formats import weight_formats
from serving_mathematics.optimization.quantization.language_record import _changed_percent
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record

FloatArray = npt.NDArray[np.float64]

FORMATS = {"BF16": "bf16", "FP8": "fp8", "int4": "int4"}
SHORT = replace(CHAT, model="Qwen3-32B")  # whose weights leave little of the device
BATCHES = [1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256]
SHOWN = {  # formats that the card has: of the machine's weights, and of the measured model's
    "FP8": ("FP8", "E4M3, per output"),
    "int4, blocks of 32": ("int4", "int4, blocks of 32"),
    "int4, blocks of 192": ("int4", "int4, blocks of 192"),
    "int4, per output": ("int4", "int4, per output"),
}
STEPS = [1, 4, 16, 64, 128, 256]  # batches of the card
FEW = 6  # weights that it shows


def _machine(form: str, base: Machine = CHAT) -> Machine:
    """The machine with its weights in a format."""
    return replace(base, precision=FORMATS[form])


def _tokens_per_s(form: str) -> FloatArray:
    """Tokens of answers a second at each batch, while no prompt is read."""
    return np.array(BATCHES) / _machine(form).step_s(BATCHES)


def _fewer_gain(model: str, devices: int, system: str, batches: list[int]) -> FloatArray:
    """A step in 16 bits over one in FP8, at each batch, on devices that share the layers."""
    one = deployed(model, system, CHAT.deployment, tensor=devices)
    constants = front_constants(find_front(CHAT.front))
    whole, fewer = (
        guessed_step_s(replace(one, precision=bits, cache_bytes=2.0), constants, batches, 500.0)
        for bits in ("bf16", "fp8")
    )
    return np.asarray(whole / fewer)


def example() -> SimpleNamespace:
    """Numbers quoted in the text."""
    rates = {form: _tokens_per_s(form) for form in FORMATS}
    one = CHAT.deployment.system
    return SimpleNamespace(
        int4_alone=rates["int4"][0] / rates["BF16"][0],
        half_ridge=round(one.bf16_flops_per_s / one.bandwidth_bytes_per_s / 2),
        fp8_ceiling=_machine("FP8").ceiling_per_s / CHAT.ceiling_per_s,
        int4_short=_machine("int4", SHORT).ceiling_per_s / _machine("BF16", SHORT).ceiling_per_s,
    )


def figure_speed_by_format(figure: Figure) -> None:
    """While no prompt is read, four bits are fastest up to half of the places, and eight bits with
    eight-bit products beyond that.

    The chat machine without prompts; in print, its tokens a second over those in 16 bits at the
    same batch. The weights shown on screen are the first of SmolLM2's first output projection; time
    and size are the same for all int4 formats.

    Alt: Lines of relative speed against sequences in a step, logarithmic. Int4 starts near twice
    the speed of sixteen bits and falls to the speed of sixteen bits. FP8 starts lower and falls
    less. The lines cross on the way.
    """
    axes = figure.subplots()
    base = _tokens_per_s("BF16")
    for form, colour, x, y in (("int4", "C1", 1.3, 1.97), ("FP8", "C0", 1.3, 1.5)):
        axes.semilogx(BATCHES, _tokens_per_s(form) / base, "o-", color=colour, markersize=4)
        axes.annotate(form, (x, y), color=colour)
    axes.axhline(1, color="C4", linestyle=":")
    axes.annotate("BF16", (1.3, 1.02), color="C4")
    axes.set_xticks([1, 4, 16, 64, 256], ["1", "4", "16", "64", "256"])
    axes.minorticks_off()
    axes.set(ylim=(0.9, 2.1), xlabel="sequences in a step", ylabel="speed over BF16")


@functools.cache
def _step_ms(form: str, size: int) -> dict[str, float]:
    """Parts of a step by their state [ms]: floors, weights and tables as they are read, what
    multiplying takes beyond, cache, host."""
    machine = _machine(form)
    sizes = np.array([1.0, size])
    contexts = np.full(2, machine.mean_context_tokens)
    work = count_work([machine.deployment]).rows(np.zeros(2, dtype=np.int64))
    parts = step_parts(work, front_constants(find_front(CHAT.front)), sizes, contexts)
    alone, shared = 1e3 * (parts.weights + parts.vocabulary)
    kernels, cache, host = (1e3 * part[1] for part in (parts.kernels, parts.cache, parts.host))
    return {
        "starts": float(kernels),
        "answer": float(alone),
        "prompt": float(shared - alone),
        "cached": float(cache),
        "idle": float(host),
    }


def _step_bars(lane: str, form: str, size: int) -> list[tuple[Any, ...]]:
    """A step as (lane, start, end, state), the whole beside the last."""
    times = {state: ms for state, ms in _step_ms(form, size).items() if ms > 1e-3}
    ends = list(itertools.accumulate(times.values()))
    spans = zip([0, *ends], ends, times, strict=False)
    bars: list[tuple[Any, ...]] = [(lane, start, end, state) for start, end, state in spans]
    return [*bars[:-1], (*bars[-1], f"{ends[-1]:.1f} ms")]


def _weight_bars(form: str) -> list[tuple[Any, ...]]:
    """The first weights of the measured model's row: what they are and are rounded to have in
    common, and by how much these differ."""
    row = np.array(read_record("language_weights")["weights"])
    rounded = weight_formats()[form].rounded(row[None])[0]
    bars: list[tuple[Any, ...]] = []
    for i, (exact, told) in enumerate(np.abs([row, rounded]).T[:FEW].tolist(), 1):
        ends = sorted((exact, told))
        words = f"{abs(told / exact - 1):.0%} off"
        spans = ((0.0, ends[0], "answer"), (*ends, "broken"))
        wide = [(f"weight {i}", *span) for span in spans if span[1] - span[0] > 1e-6]
        bars += [*wide[:-1], (*wide[-1], words)]
    return bars


def slider_speed_by_format() -> dict[str, Any]:
    """Drop bits, then fill the batch: what shrinks, what stays, and what do the weights lose?"""

    def each(told: Callable[[str, str, int], Any]) -> list[list[Any]]:
        return [[told(*SHOWN[name], size) for size in STEPS] for name in SHOWN]

    def readout(
        label: str, unit: str, decimals: int, told: Callable[[str, str, int], float]
    ) -> dict[str, Any]:
        return {"label": label, "unit": unit, "decimals": decimals, "values": each(told)}

    def size_gb(form: str) -> float:
        return weight_bytes(_machine(form).deployment) / 1e9

    largest = 1.02 * max(bar[2] for _, named in SHOWN.values() for bar in _weight_bars(named))
    return {
        "controls": [
            {"label": "weights", "values": list(SHOWN), "start": "int4, per output"},
            {"label": "batch", "values": STEPS, "text": "{} sequences", "start": 4},
        ],
        "panels": [
            {
                "kind": "bars",
                "label": "one step of chat",
                "lanes": ["BF16", "chosen"],
                "x": {"label": "time", "unit": "ms"},
                "bars": each(
                    lambda form, _, size: [
                        *_step_bars("BF16", "BF16", size),
                        *_step_bars("chosen", form, size),
                    ]
                ),
            },
            {
                "kind": "bars",
                "label": "weights of a small model, rounded",
                "lanes": [f"weight {i + 1}" for i in range(FEW)],
                "x": {"label": "size of the weight", "unit": "", "range": (0, largest)},
                "bars": each(lambda *run: _weight_bars(run[1])),
            },
        ],
        "readouts": [
            readout("whole", "GB", 1, lambda *_: size_gb("BF16")),
            readout("size", "GB", 1, lambda form, *_: size_gb(form)),
            readout(
                "gain", "", 2, lambda form, _, n: float(CHAT.step_s(n) / _machine(form).step_s(n))
            ),
            readout("changed", "%", 0, lambda *run: _changed_percent("rescaled", run[1])),
        ],
        "legend": {
            "starts": "floors of kernels",
            "answer": "weights",
            "prompt": "multiplying takes longer than reading",
            "cached": "cache",
            "idle": "host",
            "broken": "error of rounding",
        },
        "reading": "A step of {batch} is {gain} times as fast as in BF16, and weights take {size}"
        " instead of {whole}. In {weights}, the small model names another likeliest token at"
        " {changed} of all places.",
    }


def check_four_bits_for_few_eight_for_many() -> None:
    """For one sequence int4 is fastest; at the ceiling FP8 carries at least a fifth more than 16
    bits, and int4 about as much as 16 bits.

    The same holds behind the front of an installed engine, and with half as many places.

    While no prompt is read, int4 leads up to half of the places, and FP8 above, by about a tenth
    over 16 bits where all are taken. With 32 places int4 carries 30 to 60% more, also on an L40S.

    Source: `core.machines`; the machine with other limits, and with another front.
    """
    rates = {form: _tokens_per_s(form) for form in FORMATS}
    ahead = np.array(BATCHES)[rates["int4"] > rates["FP8"]]
    checks.equal("int4 leads up to, of 256 places", int(ahead.max()), CHAT.places // 2)
    full = float(rates["FP8"][-1] / rates["BF16"][-1])
    checks.inside("FP8 with all places taken", full, 1.05, 1.15)
    for base, label in (
        (CHAT, "benchmark"),
        (INSTALLED, "installed"),
        (CHAT.limited(128), "128 places"),
    ):
        alone = {form: float(_machine(form, base).step_s(1)) for form in FORMATS}
        ordered = alone["int4"] < alone["FP8"] < alone["BF16"]
        checks.holds(f"{label}: one sequence", ordered, got=alone)
        most = {form: _machine(form, base).ceiling_per_s for form in FORMATS}
        checks.inside(f"{label}: FP8 at most", most["FP8"] / most["BF16"], 1.2, 2.0)
        checks.inside(f"{label}: int4 at most", most["int4"] / most["BF16"], 0.9, 1.15)
    for base in (CHAT.limited(32), L40S.limited(32)):
        gain = _machine("int4", base).ceiling_per_s / base.ceiling_per_s
        checks.inside(f"32 places on {base.device}: int4 at most", gain, 1.3, 1.6)


def check_floors_take_what_few_bytes_gain() -> None:
    """For one sequence, FP8 gains from three billion parameters per device up, and on a B200, which
    reads faster, from ten up; it then gains in every batch. It gains nothing where a device reads
    fewer, as slices of a split model or over a small model's many layers.

    Source: the scored step, whose floors of kernels that quantize their input are measured.
    """
    for model, devices, system, low, high in (
        ("Qwen3-0.6B", 1, "h100", 0.9, 0.95),
        ("Llama-3.1-8B", 8, "h100", 0.95, 1.02),
        ("Llama-3.2-3B", 1, "h100", 1.2, 1.3),
        ("Llama-3.1-8B", 2, "h100", 1.2, 1.3),
        ("Llama-3.1-70B", 8, "h100", 1.2, 1.3),
        ("Llama-3.1-8B", 1, "h100", 1.4, 1.5),
        ("Llama-3.1-70B", 8, "b200", 0.9, 1.0),
        ("Qwen3-14B", 1, "b200", 1.1, 1.3),
        ("Qwen3-14B", 1, "h200", 1.3, 1.6),
    ):
        gains = _fewer_gain(model, devices, system, BATCHES)
        label = f"{model} on {devices} {system}: gain"
        checks.inside(label, float(gains[0]), low, high)
        if low > 1:
            checks.inside(f"{label}, any batch", float(gains.min()), 1.0, high)


def check_room_is_a_ceiling_where_memory_is_short() -> None:
    """A model of 32 billion parameters on the chat machine's device carries more than twice as much
    with four bits as with sixteen, and even more in FP8, since several times as many tokens fit.

    Source: memory by hand: 80 GiB by nine tenths, less 4 GiB and the weights, over 64 layers with 8
    heads of 128 numbers.
    """
    token = 2 * 2 * 64 * 8 * 128
    for form, low, high in (("BF16", 1.0, 1.0), ("FP8", 3.0, 4.0), ("int4", 2.0, 3.0)):
        machine = _machine(form, SHORT)
        room = 0.9 * 80 * 2**30 - 4 * 2**30 - weight_bytes(machine.deployment)
        checks.close(f"{form}: tokens", machine.cache_tokens, room / token, atol=16)  # a block
        gain = machine.ceiling_per_s / _machine("BF16", SHORT).ceiling_per_s
        checks.inside(f"{form}: ceiling over BF16", gain, low, high)


def _backlog_tokens_per_s(one: Deployment, prompt: int, answer: int) -> float:
    """Tokens of answers a second of a thousand requests that are there from the start, of such
    lengths, to a half more or less; by the simulator."""
    draws = np.random.default_rng(5).uniform(0.5, 1.5, (2, 1000))
    prompts, answers = np.rint(draws * [[prompt], [answer]]).astype(int)
    asked = Workload(np.zeros(prompts.size), prompts, answers)
    made = engine_of(one, asked, CHAT.token_budget, CHAT.places)
    return float(answers.sum() / simulate(asked, made.engine).completion_s.max())


def check_a_cache_in_eight_bits_where_memory_is_short() -> None:
    """Where requests wait for memory and answers are long, a cache in eight bits carries more than
    weights in four bits or in FP8 would, even if the weights are a seventh larger than the cache;
    if the weights are three times as large, it carries less than either.

    Source: the simulator with all requests there from the start.
    """
    for model, system, devices, low, high in (
        ("Llama-3.1-70B", "h200", 2, 0.7, 0.95),
        ("Qwen3-14B", "l40s", 1, 1.1, 1.6),
    ):
        one = deployed(model, system, CHAT.deployment, tensor=devices)
        forms = (("bf16", 1.0), ("int4", 2.0), ("fp8", 2.0))
        cache, *weights = (
            _backlog_tokens_per_s(replace(one, precision=bits, cache_bytes=kept), 1000, 4000)
            for bits, kept in forms
        )
        for (bits, _), rate in zip(forms[1:], weights, strict=True):
            checks.inside(f"{model}: {bits} over a cache in eight", rate / cache, low, high)


def check_products_where_memory_is_short() -> None:
    """Where requests wait for memory, FP8 carries more if, once weights have four bits, enough
    short requests fit to make products pay; int4 carries more if few long ones fit. The format
    chosen by this rule carries at most a tenth less than the better one; FP8 every time may carry
    an eighth less, int4 every time a quarter.

    Source: the simulator with all requests there from the start; a dense model on one device and
    one on two whose weights take nine tenths of what an engine may use.
    """
    short = replace(SHORT.deployment, cache_bytes=2.0)
    large = replace(short, architecture=find_model("Llama-3.1-70B")[0], tensor=2)
    worst = dict.fromkeys(("told apart", "FP8", "int4"), 1.0)
    enough = example().half_ridge
    for one, (prompt, answer) in itertools.product(
        (short, large), ((300, 300), (1000, 300), (1000, 1000), (2000, 2000), (500, 3000))
    ):
        told = {
            form: _backlog_tokens_per_s(replace(one, precision=FORMATS[form]), prompt, answer)
            for form in ("FP8", "int4")
        }
        smaller = replace(one, precision="int4")
        fit = cache_room_bytes(smaller) / sequence_bytes(smaller, prompt + answer / 2)
        many = min(fit, CHAT.places) > enough
        told["told apart"] = told["FP8" if many else "int4"]
        for name in worst:
            worst[name] = min(worst[name], told[name] / max(told.values()))
    checks.inside("told apart, over the better", worst["told apart"], 0.9, 1.0)
    for form, low, high in (("FP8", 0.84, 0.9), ("int4", 0.7, 0.8)):
        checks.inside(f"always {form}, over the better", worst[form], low, high)


def check_the_gain_shrinks_in_a_measured_engine_too() -> None:
    """On a processor, too, a file of four bits gains most for one sequence and least for 32.

    Source: the record of speed, medians of its rounds.
    """
    record = read_record("language_speed")
    gains = []
    for batch in record["asked"]["batches"]:
        ratios = []
        for rows in record["rounds"]:
            times = {row["file"]: row["step_s"] for row in rows if row["batch"] == batch}
            ratios.append(times["F16"] / times["Q4_0"])
        gains.append(float(np.median(ratios)))
    falls = bool(np.all(np.diff(gains) < 0))
    checks.holds("gain falls", falls, got=np.round(gains, 2).tolist())
    checks.inside("alone: F16 over Q4_0", gains[0], 1.5, 3.0)
