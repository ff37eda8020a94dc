"""What guessing costs a step, and how many tokens it must yield.

With γ guesses a step is one pass of the model over γ + 1 positions of each sequence, and the
passes of what guesses. A draft model takes γ, the first over the positions that the last step
settled, the others over one each; each of the model's own heads is a layer more; guesses from the
text so far take none. Guessing pays where a step yields more tokens than times it takes longer.

Assumes: one chain of guesses, no tree; a draft model on the same devices, within the model's step,
so that the host is asked once; the same yield at every load.

Source: Leviathan, Kalman and Matias (2023), arXiv 2211.17192, theorem 3.8, of which this is the
form for a batch; vLLM documentation, speculative decoding, and pull request 31998.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
from numpy.typing import ArrayLike

from serving_mathematics.core.batching.speculative_decoding import expected_tokens, speedup
from serving_mathematics.core.hardware.architectures import Architecture
from serving_mathematics.core.hardware.catalogue import find_model, find_system
from serving_mathematics.core.hardware.deployments import (
    FROM_TEXT,
    OWN_HEADS,
    WORKED,
    Deployment,
    cache_room_bytes,
    draft_engine,
    require_deployment,
    sequence_bytes,
)
from serving_mathematics.core.hardware.guessed_steps import guessed_step_s
from serving_mathematics.core.hardware.step_time import (
    FITTED,
    Array,
    Constants,
    count_work,
    decode_step_s,
)
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import require_all_positive


def break_even_tokens(
    deployment: Deployment, constants: Constants, sequences: ArrayLike, context: ArrayLike
) -> Array:
    """Tokens that a step with guesses must yield to be worth it: how many times it takes longer
    than a step without, shape (n,).

    sequences, context: as for guessed_step_s, sequences positive.

    >>> from dataclasses import replace
    >>> from serving_mathematics.core.hardware.deployments import WORKED
    >>> from serving_mathematics.core.hardware.step_time import FITTED
    >>> heads = replace(WORKED, draft_tokens=3, accepted_tokens=2.5)
    >>> bool(1.1 < break_even_tokens(heads, FITTED, 1, 1000)[0] < 1.4)  # 3 layers more of 32
    True
    """
    sequences = require_all_positive(sequences=sequences)
    plain = replace(deployment, draft_tokens=0, drafter=OWN_HEADS)
    taken = guessed_step_s(deployment, constants, sequences, context)
    return np.asarray(taken / guessed_step_s(plain, constants, sequences, context))


GUESSES, CONTEXT_TOKENS = 3, 2000.0  # of the page
LOADS, MANY = (1, 8, 64, 256), 64


def _compared() -> list[tuple[str, str, Deployment]]:
    """What the page compares: what guesses, the model, and the deployment."""
    dense = replace(
        WORKED,
        architecture=find_model("Qwen3-32B")[0],
        tensor=2,
        draft_tokens=GUESSES,
    )
    mixture = replace(
        dense,
        architecture=find_model("DeepSeek-R1")[0],
        system=find_system("H200"),
        precision="fp8",
        tensor=8,
        expert=8,
    )
    drafters = [find_model(name)[0] for name in ("Qwen3-0.6B", "Qwen3-1.7B")]
    found = [
        ("the text", "Qwen3-32B", replace(dense, drafter=FROM_TEXT)),
        *((one.name.split("/")[-1], "Qwen3-32B", replace(dense, drafter=one)) for one in drafters),
        ("the text", "DeepSeek-R1", replace(mixture, drafter=FROM_TEXT)),
        ("its own heads", "DeepSeek-R1", mixture),
    ]
    for _, _, one in found:
        require_deployment(one)
    return found


def figure_break_even(figure: Figure) -> None:
    """Guesses from the text cost a dense model's devices little until a step holds dozens of
    sequences; this mixture must yield most with about ten, as more tokens touch more experts.

    Three guesses, 2,000 tokens of context: Qwen3-32B on two H100, whose lines end where memory is
    full, and DeepSeek-R1 on eight H200.

    Alt: Line chart of tokens that a step must yield against sequences, from 1 to 256 on a
    logarithmic axis, with a dotted line at four, the most that three guesses can yield. The lines
    of the dense model rise slowly up to a few dozen sequences and faster beyond: guesses from the
    text from one to nearly one and a half, two draft models from about one and a half to two, where
    the lines end. Those of the mixture rise at once to above one and a half, fall beyond ten
    sequences by most of that rise, and rise a little again beyond a hundred.
    """
    axes = figure.subplots()
    loads = np.unique(np.geomspace(1, LOADS[-1], 40).round())
    colours = ("C0", "C2", "C3", "C1", "C4")
    for (drafter, model, one), colour in zip(_compared(), colours, strict=True):
        most = min(_fit(one, CONTEXT_TOKENS), LOADS[-1])
        fit = np.append(loads[loads < most], most)
        needed = break_even_tokens(one, FITTED, fit, CONTEXT_TOKENS)
        style = "-" if model.startswith("Qwen") else "--"
        axes.plot(fit, needed, style, color=colour, label=f"{model}, guesses from {drafter}")
    axes.legend(loc="upper left", bbox_to_anchor=(0, 0.88), reverse=True)
    axes.axhline(GUESSES + 1, linestyle=":", color="C5")
    axes.annotate("all that three guesses can yield", (1.1, GUESSES + 1.1), color="C5")
    axes.set(
        xscale="log",
        xlim=(LOADS[0], LOADS[-1]),
        ylim=(0.8, GUESSES + 1.4),
        xlabel="sequences in a step",
        ylabel="tokens that a step must yield",
    )


def _fit(one: Deployment, context: float) -> int:
    """Sequences of so many tokens that its memory holds."""
    return int(cache_room_bytes(one) / sequence_bytes(one, context))


def example() -> SimpleNamespace:
    """What a step must yield, by what guesses and how many sequences."""
    dense = next(one for _, _, one in _compared() if isinstance(one.drafter, Architecture))
    draft = draft_engine(dense)
    assert draft is not None
    plain = replace(dense, draft_tokens=0, drafter=OWN_HEADS)
    lasts = [float(guessed_step_s(one, FITTED, 1, CONTEXT_TOKENS)[0]) for one in (draft, plain)]
    many = [
        float(break_even_tokens(one, FITTED, MANY, CONTEXT_TOKENS)[0]) for *_, one in _compared()
    ]
    return SimpleNamespace(
        even_many=MANY,
        even_text=many[0],
        even_draft=many[1],
        even_heads=many[-1],
        even_parameters=draft.architecture.parameters / plain.architecture.parameters,
        even_time=lasts[0] / lasts[1],
        even_far=_far_limit(dense),
        peak_r1=_peak("DeepSeek-R1", "fp8", 8)[0],
    )


def _peak(model: str, precision: str, tensor: int, drafter: str = OWN_HEADS) -> tuple[int, float]:
    """Sequences, up to E/k, at which a mixture on H200 must yield most, and their share of E/k."""
    architecture = find_model(model)[0]
    part = next(part for _, _, part in architecture.layers if part.experts)
    guessing = replace(
        WORKED,
        architecture=architecture,
        system=find_system("H200"),
        precision=precision,
        tensor=tensor,
        draft_tokens=GUESSES,
        drafter=drafter,
    )
    most = part.experts / part.chosen
    counts = np.arange(1.0, most + 1)
    peak = int(counts[np.argmax(break_even_tokens(guessing, FITTED, counts, CONTEXT_TOKENS))])
    return peak, peak / most


def _even_on(guessing: Deployment, devices: int) -> float:
    """What a step of one sequence must yield on so many devices that share all layers."""
    wide = replace(guessing, tensor=devices)
    return float(break_even_tokens(wide, FITTED, 1, CONTEXT_TOKENS)[0])


def _far_limit(guessing: Deployment) -> float:
    """What a step with a draft model must yield at endless contexts, where caches are all that is
    read: the model's once, and the draft's once for each guess."""
    draft = draft_engine(guessing)
    assert draft is not None
    both, drafts = (sequence_bytes(one, CONTEXT_TOKENS) for one in (guessing, draft))
    return 1 + guessing.draft_tokens * drafts / (both - drafts)


def check_one_sequence_is_the_theorem() -> None:
    """For one sequence whose step reads weights and little else, guesses from a draft model make
    the engine faster by the theorem's factor, to within 2%.

    Source: Leviathan, Kalman and Matias (2023), theorem 3.8, (1 − α^(γ+1)) / ((1 − α)(γc + 1)),
    with c from the two models' own steps.
    """
    target = replace(WORKED, architecture=find_model("Qwen3-32B")[0], tensor=2)
    for name, acceptance, guesses in (("Qwen3-0.6B", 0.6, 3), ("Qwen3-1.7B", 0.8, 5)):
        drafter = find_model(name)[0]
        alone = [
            float(decode_step_s(count_work([one]), FITTED, np.ones(1), np.full(1, 500.0))[0])
            for one in (replace(target, architecture=drafter), target)
        ]
        expected = speedup(acceptance, guesses, alone[0] / alone[1])
        guessing = replace(target, draft_tokens=guesses, drafter=drafter)
        yields = expected_tokens(acceptance, guesses)
        got = yields / float(break_even_tokens(guessing, FITTED, 1, 500)[0])
        checks.close(f"{name}, γ = {guesses}", got, expected, rtol=0.02)


def check_a_full_device_gains_nothing() -> None:
    """Where multiplying is all that takes time, γ guesses from the text must all be right: a step
    over γ + 1 positions takes γ + 1 times as long.

    Source: the limit of the roofline, with peaks a thousandth of the data sheet's; kernels and the
    vocabulary, which do not grow, below 2%.
    """
    slow = replace(WORKED.system, bf16_flops_per_s=WORKED.system.bf16_flops_per_s / 1000)
    guessing = replace(WORKED, system=slow, draft_tokens=3, drafter=FROM_TEXT)
    got = float(break_even_tokens(guessing, FITTED, 512, 100)[0])
    checks.close("tokens to yield", got, 4.0, rtol=0.02)


def check_int4_ends_free_guesses_sooner() -> None:
    """With weights in INT4, which are multiplied in 16 bits, guesses from the text come to cost a
    tenth of a step with about a third as many sequences as with weights in 16 bits.

    Source: the step with every number of sequences, of two dense models on four kinds of devices.
    """
    counts = np.arange(1.0, LOADS[-1])
    for model in ("Llama-3.1-8B", "Qwen3-32B"):
        for device in ("A100", "H100", "H200", "B200"):
            first = []
            for precision in ("int4", "bf16"):
                one = replace(WORKED, architecture=find_model(model)[0], precision=precision)
                one = replace(one, system=find_system(device), draft_tokens=3, drafter=FROM_TEXT)
                needed = break_even_tokens(one, FITTED, counts, CONTEXT_TOKENS)
                first.append(float(counts[np.argmax(needed > 1.1)]))
            checks.inside(f"{model}, {device}: INT4 over 16 bits", first[0] / first[1], 0.25, 0.4)


def check_long_contexts_ask_for_the_drafts_cache() -> None:
    """With long contexts, guesses from the text cost a dense model little, even with as many
    sequences as memory holds; each guess of a draft model costs its cache's share of the model's.

    Source: the caches' bytes a token by hand, 28 layers of 8 heads of 128 over 64 of the same; 1 +
    γ times their ratio for four pairs; the step at 128,000 tokens.
    """
    for model, drafter, tensor in (
        ("Qwen3-32B", "Qwen3-0.6B", 2),
        ("Llama-3.1-8B", "Llama-3.2-1B", 1),
        ("Llama-3.1-70B", "Llama-3.2-1B", 4),
        ("Llama-3.1-70B", "Llama-3.1-8B", 4),
    ):
        target = replace(WORKED, architecture=find_model(model)[0], tensor=tensor, draft_tokens=3)
        guessing = replace(target, drafter=find_model(drafter)[0])
        got = float(break_even_tokens(guessing, FITTED, 64, 128_000)[0])
        checks.close(f"{drafter} for {model}", got, _far_limit(guessing), rtol=0.03)
        text = replace(target, drafter=FROM_TEXT)
        most = float(break_even_tokens(text, FITTED, LOADS[:-1], 16_000).max())
        checks.inside(f"the text for {model}, 16,000 tokens", most, 1.0, 1.15)
    pair = next(one for _, _, one in _compared() if isinstance(one.drafter, Architecture))
    checks.close("by hand", _far_limit(pair), 1 + 3 * 28 / 64, rtol=1e-12)


def check_a_mixture_must_yield_most_near_a_third() -> None:
    """Three guesses must yield most with a quarter to a half of E/k sequences, for mixtures with 2
    of 8 to 10 of 512 experts, with guesses from the text and from heads of their own.

    Source: the step with every number of sequences up to E/k, at 2,000 tokens.
    """
    for model, precision, tensor in (
        ("Mixtral-8x7B", "bf16", 2),
        ("Qwen3-30B-A3B", "fp8", 1),
        ("MiniMax-M2.5", "fp8", 8),
        ("DeepSeek-R1", "fp8", 8),
        ("Kimi-K2.5", "int4", 8),
        ("Qwen3.5-397B-A17B", "fp8", 8),
    ):
        for drafter in (OWN_HEADS, FROM_TEXT):
            share = _peak(model, precision, tensor, drafter)[1]
            checks.inside(f"{model}, {drafter}: of E/k", share, 0.25, 0.5)


def check_more_devices_ask_a_draft_for_more() -> None:
    """With one sequence and a draft model, a step on more devices must yield more, because they do
    not share the draft's floors; with the model's own heads it need not, to a fiftieth.

    Source: Qwen3-0.6B, and heads, for Qwen3-32B on one to eight H100.
    """
    dense = next(one for _, _, one in _compared() if isinstance(one.drafter, Architecture))
    asked = [_even_on(dense, devices) for devices in (1, 2, 4, 8)]
    checks.holds("rises with each doubling", bool(np.all(np.diff(asked) > 0.1)), got=asked)
    heads = replace(dense, drafter=OWN_HEADS)
    checks.close("heads, four over one", _even_on(heads, 4), _even_on(heads, 1), rtol=0.02)
