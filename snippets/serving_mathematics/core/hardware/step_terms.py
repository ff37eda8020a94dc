"""A step taken apart: what each term of it is worth, on thousands of published runs.

The terms are added one by one: the roofline, attained shares, floors of kernels, messages, and the
prompts of others that interrupt. Each is computed from kernels and data sheets alone. Which term
is the largest is the regime of a run; a regime says what would make it faster.

Assumes: as `step_time` and `benchmark_loops`; runs that are read as fleets are left out.

Source: `records/machine_runs.json.gz`, from aiconfigurator-core 0.12.0; Williams, Waterman and
Patterson (2009).
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.benchmark_loops import interruptions_s
from serving_mathematics.core.hardware.calibration import KERNELS, Table, tabulate
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import WORKED, Deployment, room_sequences
from serving_mathematics.core.hardware.run_reading import read_lines, read_runs
from serving_mathematics.core.hardware.step_time import (
    CONSTANT_NAMES,
    FITTED,
    Constants,
    Parts,
    Work,
    count_work,
    decode_step_s,
    step_parts,
)
from serving_mathematics.support import checks
from serving_mathematics.support.require import require_non_negative

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

DATA_SHEET = Constants(
    **{name: 1.0 if name.endswith("_share") else 0.0 for name in CONSTANT_NAMES}
)  # everything is attained, and nothing else takes time


def attention_over_weights(architecture: Architecture, context_tokens: float) -> float:
    """Operations of a new token with its context, over those with all parameters.

    context_tokens: >= 0. All heads meet every token of the context; the vocabulary's two tables
    count as parameters. Raises ValueError otherwise.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> round(attention_over_weights(WORKED.architecture, 131072), 2)
    4.28
    """
    context_tokens = require_non_negative(context_tokens=context_tokens)
    scores = sum(
        count
        * min(
            context_tokens,
            attention.window_tokens or np.inf,
            attention.selected_tokens or np.inf,
        )
        * attention.score_width
        for count, attention, _ in architecture.layers
    )
    return float(scores / architecture.parameters)


def roofline_parts(parts: Parts) -> Array:
    """What a roofline counts of a step: weights, experts, cache and vocabulary, in seconds.

    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED, count_work, step_parts
    >>> parts = step_parts(count_work([WORKED]), FITTED, np.ones(1), np.ones(1))
    >>> rest = parts.total() - parts.kernels - parts.host  # one device sends nothing
    >>> bool(np.allclose(roofline_parts(parts), rest, rtol=1e-12))
    True
    """
    return np.asarray(parts.weights + parts.experts + parts.cache + parts.vocabulary, dtype=float)


def terms_added(work: Work, constants: Constants) -> dict[str, Array]:
    """Times per token of a closed loop, with one more term each, shape (rows,), in seconds.

    >>> from serving_mathematics.core.hardware.calibration import KERNELS
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import count_work
    >>> found = terms_added(count_work([WORKED]), KERNELS)
    >>> times = [float(seconds[0]) for seconds in found.values()]
    >>> times == sorted(times), list(found)[0]
    (True, 'roofline')
    """
    running = np.minimum(work.concurrency, work.room)
    context = work.prompt + work.answer / 2
    ideal = step_parts(work, DATA_SHEET, running, context)
    parts = step_parts(work, constants, running, context)
    attained = roofline_parts(parts)
    kernels = attained + parts.kernels
    messages = kernels + parts.messages + parts.exchange + parts.host
    taken = interruptions_s(work, constants, running)
    return {
        "roofline": roofline_parts(ideal) / work.accepted,
        "attained shares": attained / work.accepted,
        "floors of kernels": kernels / work.accepted,
        "messages": messages / work.accepted,
        "prompts of others": messages / work.accepted + taken,
    }


REGIMES = ("kernels", "weights", "cache", "messages", "prompts of others")


def regimes(work: Work, constants: Constants) -> NDArray[np.int64]:
    """The largest term of each row's time per token, shape (rows,): an index into `REGIMES`.

    Weights are those of experts too.

    >>> from serving_mathematics.core.hardware.calibration import KERNELS
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import count_work
    >>> regimes(count_work([WORKED]), KERNELS)  # weights
    array([1])
    """
    running = np.minimum(work.concurrency, work.room)
    parts = step_parts(work, constants, running, work.prompt + work.answer / 2)
    weights = parts.weights + parts.experts + parts.vocabulary
    sent = parts.messages + parts.exchange
    terms = np.stack([parts.kernels, weights, parts.cache, sent]) / work.accepted
    taken = interruptions_s(work, constants, running)
    return np.asarray(np.argmax(np.vstack([terms, taken]), axis=0), dtype=np.int64)


@cache
def _runs() -> tuple[Table, dict[str, Array], NDArray[np.bool_]]:
    """Runs of one engine, their times per token term by term, and which have experts."""
    runs = read_runs(line for line in read_lines() if line["mode"] == "agg")
    table = tabulate([run for run in runs if run.kind == "engine"])
    sparse = np.array([run.answers.architecture.routed_parameters > 0 for run in table.runs])
    return table, terms_added(table.engines, KERNELS), sparse


def _below_the_roof(table: Table, added: dict[str, Array]) -> tuple[int, int]:
    """Runs faster than their roofline: with one token a step, and with those that guesses yield."""
    roof = added["roofline"]
    guesses_ignored = table.per_token_s < roof * table.engines.accepted
    return int(guesses_ignored.sum()), int((table.per_token_s < roof).sum())


def _term_rows(table: Table, added: dict[str, Array], sparse: NDArray[np.bool_]) -> list[str]:
    rows = []
    for name, seconds in added.items():
        ratio = seconds / table.per_token_s
        cells = [np.median(ratio[~sparse]), np.median(ratio[sparse])]
        error = np.median(np.abs(ratio - 1))
        rows.append(f"| {name} | {cells[0]:.2f} | {cells[1]:.2f} | {error:.0%} |")
    return rows


@cache
def _regimes() -> NDArray[np.int64]:
    """The largest term of each of these runs, by kernels alone."""
    return regimes(_runs()[0].engines, KERNELS)


def _regime_rows(table: Table, added: dict[str, Array]) -> list[str]:
    found = _regimes()
    ratio = added["prompts of others"] / table.per_token_s
    rows = []
    for index, name in enumerate(REGIMES):
        inside = ratio[found == index]
        if inside.size:
            error = np.median(np.abs(inside - 1))
            rows.append(f"| {name} | {inside.size:,} | {np.median(inside):.2f} | {error:.0%} |")
    return rows


def _floors_of_the_lack(table: Table, added: dict[str, Array], index: NDArray[np.bool_]) -> float:
    """Share of what the roofline lacks, in medians of predicted over measured, that floors add."""
    names = ("roofline", "attained shares", "floors of kernels", "prompts of others")
    first, before, after, last = (np.median((added[n] / table.per_token_s)[index]) for n in names)
    return float((after - before) / (last - first))


def example() -> SimpleNamespace:
    """Numbers of the page."""
    table, added, sparse = _runs()
    led = (added["prompts of others"] / table.per_token_s)[_regimes() == REGIMES.index("kernels")]
    ignored, below = _below_the_roof(table, added)
    small, large = find_model("Llama-3.1-8B")[0], find_model("Llama-3.1-70B")[0]
    one = _parts(_small_on_one(1.0), FITTED)
    slow = 1 / (added["roofline"] / table.per_token_s)
    return SimpleNamespace(
        engine_runs=len(table.runs),
        below_ignored=ignored,
        below_roof=below,
        times_roof=float(np.median(slow)),
        ratio_8b=attention_over_weights(small, 131_072),
        ratio_70b=attention_over_weights(large, 131_072),
        one_ms=1e3 * float(one.total()[0]),
        one_weights_ms=1e3 * float(one.weights[0] + one.vocabulary[0]),
        one_kernels_ms=1e3 * float(one.kernels[0]),
        term_rows="\n".join(_term_rows(table, added, sparse)),
        regime_rows="\n".join(_regime_rows(table, added)),
        floors_dense=_floors_of_the_lack(table, added, ~sparse),
        floors_sparse=_floors_of_the_lack(table, added, sparse),
        floors_lead_short=1 - float(np.median(led)),
    )


def _parts(one: Deployment, constants: Constants) -> Parts:
    work = count_work([one])
    return step_parts(work, constants, work.concurrency, work.prompt)


def _small_on_one(sequences: float, context_tokens: float = 2000.0) -> Deployment:
    """Llama-3.1-8B in 16 bits on one H100, served by vLLM: so many sequences of such a context."""
    return replace(WORKED, concurrency=sequences, input_tokens=context_tokens, output_tokens=1.0)


BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
CONTEXTS = (500, 2000, 8000, 32000)
LOOKS = (
    ("weights", "C0", ("weights", "vocabulary")),
    ("experts", "C1", ("experts",)),
    ("cache", "C2", ("cache",)),
    ("kernels", "C4", ("kernels",)),
    ("messages", "C3", ("messages", "exchange")),
    ("host", "C5", ("host",)),
)


def figure_step_apart(figure: Figure) -> None:
    """A small batch pays for weights and kernels, a large one for cache, experts and arithmetic.

    Eight H200 with TensorRT-LLM, 8 bits, 4,000 tokens of context each.

    Alt: Two stacked area charts of the time of a step against the batch from 1 to 256, on
    logarithmic batch axes, for Llama-3.1-70B and DeepSeek-R1 on eight H200. For the dense model
    kernels and weights are flat and messages and the cache grow from some tens of sequences on; for
    the mixture kernels come first and the experts grow until about 128 sequences.
    """
    panels = figure.subplots(1, 2)
    batches = np.geomspace(1, 256, 40)
    for axes, name in zip(panels, ("Llama-3.1-70B", "DeepSeek-R1"), strict=True):
        one = replace(
            WORKED,
            architecture=find_model(name)[0],
            system=find_system("h200"),
            backend="trtllm",
            precision="fp8",
            tensor=8,
            input_tokens=4000.0,
        )
        work = count_work([one] * batches.size)
        parts = step_parts(work, FITTED, batches, np.full(batches.size, 4000.0))
        bands = [sum(getattr(parts, part) for part in members) for _, _, members in LOOKS]
        axes.stackplot(
            batches,
            1e3 * np.array(bands),
            colors=[colour for _, colour, _ in LOOKS],
            labels=[label for label, _, _ in LOOKS],
        )
        axes.set(xscale="log", xlim=(1, 256), ylim=(0, 60), xlabel="sequences in a step")
        axes.set_title(name)
        axes.set_ylabel("time of a step [ms]")
        axes.minorticks_off()
    panels[0].legend(loc="upper left", reverse=True)


def figure_by_regime(figure: Figure) -> None:
    """Where the terms fail, and where not: times per token by their largest term.

    Runs of one engine, predicted from kernels alone; dotted lines are off by a factor of two.

    Alt: Scatter plot with logarithmic axes of predicted over measured time per token against
    measured time, thousands of points coloured by their largest term. Those of kernels lie at the
    left from three to twenty milliseconds, weights and cache in the middle, prompts of others at
    the right up to several hundred; all centre on one, most within a factor of one and a half.
    """
    figure.set_dpi(64)  # of the points, each a pixel: thousands of them stay a small picture
    axes = figure.subplots()
    table, added, _ = _runs()
    found, ratio = _regimes(), added["prompts of others"] / table.per_token_s
    for index, (name, colour) in enumerate(
        zip(REGIMES, ("C4", "C0", "C2", "C3", "C1"), strict=True)
    ):
        inside = found == index
        axes.plot(
            1e3 * table.per_token_s[inside], ratio[inside], ",", color=colour, rasterized=True
        )
        place = (0.98, 0.96 - 0.065 * index)
        axes.annotate(
            f"{name}, {int(inside.sum()):,}",
            place,
            xycoords="axes fraction",
            color=colour,
            ha="right",
            va="top",
        )
    for level in (0.5, 1.0, 2.0):
        axes.axhline(level, color="C4", linewidth=1, linestyle="-" if level == 1 else ":")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(1.5, 600),
        ylim=(0.2, 8),
        xlabel="measured time per token [ms]",
        ylabel="predicted over measured",
    )
    axes.set_yticks([0.25, 0.5, 1, 2, 4], ["0.25", "0.5", "1", "2", "4"])
    axes.minorticks_off()


def figure_step(figure: Figure) -> None:
    """A step of an 8-billion model on one H100: flat, then the cache bends it upward.

    Llama-3.1-8B in 16 bits with vLLM; a curve ends where memory does.

    Alt: Line chart of the time of a step against the number of sequences from 1 to 512, on
    logarithmic axes, for contexts of 500, 2,000, 8,000 and 32,000 tokens. All begin at seven
    milliseconds; longer contexts turn upward earlier and end earlier.
    """
    axes = figure.subplots()
    times = _slider_values()[0]
    for place, (context, colour) in enumerate(zip(CONTEXTS, ("C2", "C0", "C1", "C3"), strict=True)):
        line = [(b, row[place]) for b, row in zip(BATCHES, times, strict=True) if row[place]]
        axes.plot(*zip(*line, strict=True), "-", color=colour)
        axes.annotate(
            f"{context:,} tokens",
            line[-1],
            xytext=(0, 5),
            textcoords="offset points",
            color=colour,
            ha="right",
        )
    axes.set(
        xscale="log",
        xlim=(1, 900),
        ylim=(0, 40),
        xlabel="sequences in a step",
        ylabel="time of a step [ms]",
    )
    axes.minorticks_off()


@cache
def _slider_values() -> tuple[list[list[float | None]], ...]:
    """Times [ms] and shares of weights, cache, kernels and host [%] by batch and context."""
    lists: tuple[list[list[float | None]], ...] = ([], [], [], [], [])
    for batch in BATCHES:
        rows: tuple[list[float | None], ...] = ([], [], [], [], [])
        for context in CONTEXTS:
            one = _small_on_one(float(batch), float(context))
            parts = _parts(one, FITTED)
            whole = float(parts.total()[0])
            cells = (
                1e3 * whole,
                100 * float(parts.weights[0] + parts.vocabulary[0]) / whole,
                100 * float(parts.cache[0]) / whole,
                100 * float(parts.kernels[0]) / whole,
                100 * float(parts.host[0]) / whole,
            )
            fits = batch <= room_sequences(one)
            for row, cell in zip(rows, cells, strict=True):
                row.append(cell if fits else None)
        for part, row in zip(lists, rows, strict=True):
            part.append(row)
    return lists


def slider_step() -> dict[str, Any]:
    """Put more sequences into a step, and let each have more context."""
    times, weights, cached, kernels, host = _slider_values()
    shares = (("weights", weights), ("cache", cached), ("kernels", kernels), ("host", host))
    return {
        "controls": [
            {"label": "sequences", "values": list(BATCHES), "text": "B = {}", "start": 32},
            {"label": "context", "values": list(CONTEXTS), "text": "{:,} tokens", "start": 2000},
        ],
        "x": {"label": "sequences in a step", "unit": "", "log": True, "range": (1, 900)},
        "y": {"label": "time of a step", "unit": "ms", "range": (0, 40)},
        "curves": [
            {"label": "time of a step", "unit": "ms", "values": times, "decimals": 1},
        ],
        "readouts": [
            {"label": label, "unit": "%", "values": values, "decimals": 0}
            for label, values in shares
        ],
        "reading": "With {sequences} and {context} a step takes {time of a step}: {weights} of it"
        " weights, {cache} cache, {kernels} floors of kernels, {host} the host's work.",
        "absent": "With {sequences} and {context} the cache does not fit into 80 GB.",
    }


def check_no_run_is_above_its_roof() -> None:
    """Of 3,564 runs, 70 are faster than one token a step allows; guesses explain all but eleven.

    Source: published runs; bytes over bandwidth and operations over peak of the data sheets. The
    eleven are runs of Qwen3-32B and gpt-oss-120b of which the record cannot say what they were.
    """
    table, added, _ = _runs()
    ignored, below = _below_the_roof(table, added)
    checks.close("guesses ignored", ignored, 70, rtol=0, kind="measured")
    checks.close("guesses counted", below, 11, rtol=0, kind="measured")
    fast = table.per_token_s < added["roofline"]
    families = {run.family for run, one in zip(table.runs, fast, strict=True) if one}
    checks.holds("all of two models", families == {"Qwen3-32B", "gpt-oss-120b"}, got=len(families))


def check_attention_over_weights() -> None:
    """At 131,072 tokens attention multiplies 4.28 and 2.43 times as much as all parameters do.

    Source: 4 L s d operations a token, over two a parameter; 8.03 and 70.6 billion as published.
    """
    for name, layers, width, billions in (
        ("Llama-3.1-8B", 32, 4096, 8.03),
        ("Llama-3.1-70B", 80, 8192, 70.6),
    ):
        found = attention_over_weights(find_model(name)[0], 131_072)
        expected = 4 * layers * 131_072 * width / (2 * billions * 1e9)
        checks.close(name, found, expected, rtol=1e-3, kind="published")


def check_parts_add_up() -> None:
    """Alone, DeepSeek-R1 on eight H200 reads its weights beside the experts, and 8 of 256 experts.

    Source: counts of its report: 61 layers, 58 with 256 experts of 3 x 7,168 x 2,048 parameters,
    8 a token; a byte each over eight times 4.8 TB/s.
    """
    one = replace(
        WORKED,
        architecture=find_model("DeepSeek-R1")[0],
        system=find_system("h200"),
        precision="fp8",
        tensor=8,
    )
    parts = step_parts(count_work([one]), DATA_SHEET, np.ones(1), np.zeros(1))
    read = 58 * 8 * 3 * 7168 * 2048 / (8 * 4.8e12)
    checks.close("experts [s]", float(parts.experts[0]), read, rtol=1e-9)
    rest = (671.0e9 - 58 * 256 * 3 * 7168 * 2048 - 2 * 129_280 * 7_168) / (8 * 4.8e12)
    checks.close("other weights [s]", float(parts.weights[0]), rest, rtol=0.01, kind="published")
    whole = float(sum(getattr(parts, field.name)[0] for field in fields(parts)))
    step = decode_step_s(count_work([one]), DATA_SHEET, np.ones(1), np.zeros(1))
    checks.close("sum [s]", whole, float(step[0]), rtol=1e-12)


def check_every_term_is_needed() -> None:
    """Each term brings the median of predicted over measured nearer to one, for dense and sparse.

    Source: the published runs of one engine, by constants from kernels alone.
    """
    table, added, sparse = _runs()
    for name, index in (("dense", ~sparse), ("with experts", sparse)):
        ratios = [float(np.median((s / table.per_token_s)[index])) for s in added.values()]
        steps = np.diff([abs(ratio - 1) for ratio in ratios])
        checks.holds(f"{name}: nearer each time", bool(np.all(steps < 0)), got=ratios[-1])


def check_bad_input_is_refused() -> None:
    """A context that is none names the argument."""
    model = WORKED.architecture
    checks.raises(
        "NaN", attention_over_weights, model, float("nan"), match="context_tokens must be"
    )
