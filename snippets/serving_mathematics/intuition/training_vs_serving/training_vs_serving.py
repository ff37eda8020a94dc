"""The model that is cheapest to train to a loss is larger than the one that is cheapest to own.

Training N parameters on D tokens takes 6·N·D floating-point operations and serving a token 2·N. On
the curve L(N, D) = E + A/N^α + B/D^β = const, training alone is cheapest where α·u = β·v, with the
two excess losses u = A/N^α and v = B/D^β. With D_inf tokens to serve it is cheapest where

    D_inf = 3·D·(α·u/(β·v) − 1),

at fewer parameters and more tokens.

Assumes: demand does not depend on the size of the model, every operation costs the same, and the
law holds at the ratios D/N that it is asked about.

Source: Hoffmann et al. (2022), appendix F for the operations and approach 3 for the law; Besiroglu
et al. (2024) for what its TeX source says of it; Sardana et al. (2024), section 2, for the
objective, which they solve numerically; the condition is derived on the page.
"""

# In one piece: a scaling law in ninety lines; what is longer are its pictures and checks, which
# stand beside what they show.

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    as_number,
    require,
    require_non_negative,
    require_positive,
    widen_fields,
)


@dataclass(frozen=True)
class ScalingLaw:
    """Constants of L(N, D) = E + A/N^α + B/D^β [nats per token].

    Raises ValueError unless E is non-negative, the others positive, and all finite.
    """

    irreducible: float  # E [nats]
    a: float  # A
    b: float  # B
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        """Refuse what does not fall with size and data."""
        widen_fields(self)
        require_non_negative(irreducible=self.irreducible)
        require_positive(a=self.a, b=self.b, alpha=self.alpha, beta=self.beta)


PRINTED = ScalingLaw(1.69, 406.4, 410.7, 0.34, 0.28)  # Hoffmann et al. (2022), equation 10
UNROUNDED = ScalingLaw(  # the comment after it in their TeX source
    math.exp(0.5267228), math.exp(6.0073404), math.exp(6.0179186), 0.33917084, 0.2849083
)
SARDANA = ScalingLaw(1.69, 406.4, 410.7, 0.336, 0.283)  # Sardana et al. (2024), appendix A
REFITTED = ScalingLaw(1.8172, 482.01, 2085.43, 0.3478, 0.3658)  # Besiroglu et al. (2024)
LAWS = {"as printed": PRINTED, "unrounded": UNROUNDED, "refitted": REFITTED}
LLAMA = 15e12  # tokens of Llama 3.1 70B: Meta's model card
IN_TRAINING = 0.4  # of the peak in 16 bits: Grattafiori et al. (2024), table 4, 38 to 43%
DAY_PEAK = 2.5  # busiest minute over the mean, for which a fleet is built
DEAR = 3  # a served operation over one of training: see `deployment_choice`
SERVED_T = (0, 1, 2, 5, 10, 20, 50, 100)  # trillion tokens
_TWO = ("cheapest to train", "cheapest to own")
SIZES_B = (7, 70, 400)  # billion parameters of the compute-optimal model, whose loss is matched


@dataclass(frozen=True)
class Training:
    """A model of N parameters trained on D tokens, and what its whole life costs [FLOP]."""

    parameters: float
    tokens: float
    flops: float


def lifetime_flops(parameters: float, tokens: float, inference_tokens: float = 0.0) -> float:
    """Operations to train and to serve a model, 6·N·D + 2·N·D_inf [FLOP].

    parameters: N. tokens: D, tokens of training. inference_tokens: D_inf, tokens read and written
    over the life of the model; 0 leaves the training. Raises ValueError on N or D ≤ 0, on a
    negative D_inf, and on infinite arguments.

    >>> lifetime_flops(2.0, 5.0), lifetime_flops(2.0, 5.0, inference_tokens=15.0)
    (60.0, 120.0)
    """
    parameters, tokens = require_positive(parameters=parameters, tokens=tokens)
    inference_tokens = require_non_negative(inference_tokens=inference_tokens)
    return 6 * parameters * tokens + 2 * parameters * inference_tokens


def loss(law: ScalingLaw, parameters: float, tokens: float) -> float:
    """Loss that the law predicts, E + A/N^α + B/D^β [nats per token].

    law: its constants. parameters: N. tokens: D. Raises ValueError unless both are positive and
    finite.

    >>> loss(ScalingLaw(1.0, 4.0, 9.0, 0.5, 0.5), parameters=16.0, tokens=81.0)  # 1 + 4/4 + 9/9
    3.0
    """
    parameters, tokens = require_positive(parameters=parameters, tokens=tokens)
    return float(law.irreducible + law.a / parameters**law.alpha + law.b / tokens**law.beta)


def compute_optimal_tokens(law: ScalingLaw, parameters: float) -> float:
    """Tokens D on which a model of N parameters is the best use of its training compute.

    law: its constants. parameters: N. Solves α·A/N^α = β·B/D^β. Raises ValueError unless N is
    positive and finite.

    >>> compute_optimal_tokens(ScalingLaw(1.0, 4.0, 9.0, 0.5, 0.5), parameters=16.0)
    81.0
    """
    parameters = require_positive(parameters=parameters)
    return float((law.beta * law.b * parameters**law.alpha / (law.alpha * law.a)) ** (1 / law.beta))


def tokens_for_loss(law: ScalingLaw, parameters: float, target_loss: float) -> float:
    """Tokens D that bring N parameters to a loss: one point of the iso-loss curve.

    law: its constants. parameters: N. target_loss: L [nats], above E + A/N^α, which N parameters
    approach and never reach. Raises ValueError outside these ranges.

    >>> tokens_for_loss(ScalingLaw(1.0, 4.0, 9.0, 0.5, 0.5), parameters=16.0, target_loss=3.0)
    81.0
    """
    target_loss = as_number(target_loss=target_loss)
    parameters = require_positive(parameters=parameters)
    floor = law.irreducible + law.a / parameters**law.alpha
    require(
        floor < target_loss < math.inf,
        "target_loss",
        f"finite and above {floor:.6g}, the loss after endless training",
        target_loss,
    )
    return float((law.b / (target_loss - floor)) ** (1 / law.beta))


def lifetime_optimum(
    law: ScalingLaw, target_loss: float, inference_tokens: float = 0.0
) -> Training:
    """The model of a given loss that takes the fewest operations to train and to serve.

    law: its constants. target_loss: L [nats], above E. inference_tokens: D_inf ≥ 0. Bisects on the
    share s = u/(u + v) of the excess loss that is due to the size: 3·D·(α·u/(β·v) − 1) rises from 0
    at s = β/(α + β) without limit, and meets D_inf once. Raises ValueError outside these ranges.

    >>> best = lifetime_optimum(ScalingLaw(1.0, 4.0, 9.0, 0.5, 0.5), target_loss=3.0)
    >>> round(best.parameters, 6), round(best.tokens, 6), round(best.flops, 6)
    (16.0, 81.0, 7776.0)
    """
    target_loss = as_number(target_loss=target_loss)
    require(
        law.irreducible < target_loss < math.inf,
        "target_loss",
        f"finite and above {law.irreducible:g}",
        target_loss,
    )
    inference_tokens = require_non_negative(inference_tokens=inference_tokens)
    excess = target_loss - law.irreducible
    low, high = law.beta / (law.alpha + law.beta), 1.0
    for _ in range(100):
        share = (low + high) / 2
        data = (1 - share) * excess
        if data <= 0:
            high = share
            continue
        tokens = (law.b / data) ** (1 / law.beta)
        if 3 * tokens * (law.alpha * share * excess / (law.beta * data) - 1) < inference_tokens:
            low = share
        else:
            high = share
    parameters = float((law.a / (low * excess)) ** (1 / law.alpha))
    tokens = float((law.b / ((1 - low) * excess)) ** (1 / law.beta))
    return Training(parameters, tokens, lifetime_flops(parameters, tokens, inference_tokens))


def lifetime_saving(law: ScalingLaw, parameters: float, inference_tokens: float) -> float:
    """Share of the lifetime operations that the best model of the same loss saves.

    law: its constants. parameters: N of the compute-optimal model that it is compared with.
    inference_tokens: D_inf. Raises ValueError as `lifetime_optimum` does.

    >>> lifetime_saving(ScalingLaw(1.0, 4.0, 9.0, 0.5, 0.5), 16.0, inference_tokens=0.0)
    0.0
    """
    tokens = compute_optimal_tokens(law, parameters)
    best = lifetime_optimum(law, loss(law, parameters, tokens), inference_tokens)
    return 1 - best.flops / lifetime_flops(parameters, tokens, inference_tokens)


def _law_row(name: str, law: ScalingLaw) -> str:
    """A set of constants as a row of the page's table."""
    cells = [law.irreducible, law.a, law.alpha, law.b, law.beta]
    return f"| {name} | {' | '.join(f'{cell:g}' for cell in cells)} |"


def example() -> SimpleNamespace:
    """The numbers quoted in the text, mostly for the quality of 70 billion parameters."""
    size, demand = 70e9, 10e12
    savings = [lifetime_saving(law, size, demand) for law in LAWS.values()]
    longer = [LLAMA / compute_optimal_tokens(law, size) for law in LAWS.values()]
    dear = [lifetime_saving(law, size, DEAR * demand) for law in LAWS.values()]
    optima = [
        lifetime_optimum(law, loss(law, size, compute_optimal_tokens(law, size)), demand)
        for law in LAWS.values()
    ]
    believed = optima[0].parameters  # the choice under one law, paid for under another
    target = loss(REFITTED, size, compute_optimal_tokens(REFITTED, size))
    paid = lifetime_flops(believed, tokens_for_loss(REFITTED, believed, target), demand)
    return SimpleNamespace(
        least_saving_percent=100 * min(savings),
        most_saving_percent=100 * max(savings),
        dear_factor=DEAR,
        dear_least_percent=100 * min(dear),
        dear_most_percent=100 * max(dear),
        least_b=min(one.parameters for one in optima) / 1e9,
        most_b=max(one.parameters for one in optima) / 1e9,
        regret_percent=100 * (paid / optima[2].flops - 1),
        llama_least_times=min(longer),
        llama_most_times=max(longer),
        law_rows="\n".join(_law_row(name, law) for name, law in LAWS.items()),
    )


def figure_lifetime_flops(figure: Figure) -> None:
    """The more tokens a model will serve, the smaller is the cheapest model of equal loss.

    In print, all models have the loss of the compute-optimal one of 70 billion parameters, under
    the unrounded constants.

    Alt: Lifetime operations against parameters, both on logarithmic axes, one U-shaped curve for
    each of no inference, 10 and 100 trillion tokens. The dots move left as demand grows, from 70
    billion parameters without inference to 42 and 23 billion.
    """
    axes = figure.subplots()
    target = loss(UNROUNDED, 70e9, compute_optimal_tokens(UNROUNDED, 70e9))
    sizes = np.geomspace(12.5e9, 260e9, 200)
    for demand, colour, text in (
        (0.0, "C4", "training only"),
        (1e13, "C2", "10 T served"),
        (1e14, "C0", "100 T"),
    ):
        cost = [
            lifetime_flops(n, tokens_for_loss(UNROUNDED, n, target), demand) for n in sizes.tolist()
        ]
        axes.plot(sizes / 1e9, cost, color=colour)
        best = lifetime_optimum(UNROUNDED, target, demand)
        axes.plot(best.parameters / 1e9, best.flops, "o", color=colour)
        axes.annotate(
            text,
            (260, cost[-1]),
            (6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    axes.annotate("cheapest", (70, 1.45e24), ha="center")
    axes.set(
        xscale="log",
        yscale="log",
        xlim=(11.5, 480),
        ylim=(1e24, 1e26),
        xlabel="parameters [billion]",
        ylabel="lifetime compute [FLOP]",
    )
    axes.set_xticks([15, 30, 70, 150], ["15", "30", "70", "150"])
    axes.set_yticks([1e24, 1e25, 1e26], ["10²⁴", "10²⁵", "10²⁶"])
    axes.minorticks_off()


def figure_rounding(figure: Figure) -> None:
    """At 10 trillion served tokens, rounding exponents to two digits takes away nearly half of the
    predicted saving.

    Saving over the compute-optimal model of 70 billion parameters, by the constants as printed, the
    unrounded exponents, and the later refit.

    Alt: Predicted saving in percent against tokens served, from 1 to 100 trillion on a logarithmic
    axis. Three rising curves: as printed lowest, unrounded in the middle, refitted highest; at 10
    trillion they read about 6, 11 and 29 percent.
    """
    axes = figure.subplots()
    demand = np.geomspace(1e12, 1e14, 60)
    for law, colour, text, place in (
        (REFITTED, "C2", "refitted", (4.2, 24)),
        (UNROUNDED, "C0", "unrounded", (23, 26.5)),
        (PRINTED, "C3", "as printed", (40, 18)),
    ):
        saved = [100 * lifetime_saving(law, 70e9, d) for d in demand.tolist()]
        axes.plot(demand / 1e12, saved, color=colour)
        axes.annotate(text, place, color=colour, ha="left" if law is PRINTED else "right")
    axes.axvline(10, color="C4", linewidth=0.8, linestyle=":")
    axes.set(
        xscale="log",
        xlim=(1, 100),
        ylim=(0, 65),
        xlabel="tokens served [trillion]",
        ylabel="saving [% of lifetime FLOP]",
    )
    axes.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])


def _lives(served_t: float, law: ScalingLaw, size_b: float) -> tuple[Training, Training]:
    """Of one loss, the model that is cheapest to train and the one that is cheapest to own."""
    size, served = 1e9 * size_b, 1e12 * served_t
    tokens = compute_optimal_tokens(law, size)
    trained = Training(size, tokens, lifetime_flops(size, tokens, served))
    return trained, lifetime_optimum(law, loss(law, size, tokens), served)


def slider_lifetime_flops() -> dict[str, Any]:
    """Serve more tokens: which of two models of the same quality costs less over its life?"""

    def each(told: Callable[[Training, Training], Any]) -> list[Any]:
        laws = LAWS.values()
        return [[[told(*_lives(t, law, b)) for b in SIZES_B] for law in laws] for t in SERVED_T]

    def bars(trained: Training, owned: Training) -> list[tuple[Any, ...]]:
        drawn: list[tuple[Any, ...]] = []
        for row, one in zip(_TWO, (trained, owned), strict=True):
            words = f"{one.parameters / 1e9:.1f} B, {one.tokens / 1e12:.1f} T"
            training, whole = (
                100 * flops / trained.flops
                for flops in (lifetime_flops(one.parameters, one.tokens), one.flops)
            )
            parts = [(row, 0, training, "prompt"), (row, training, whole, "answer")]
            drawn += [part for part in parts if part[1] < part[2] - 1e-6]
            drawn[-1] = (*drawn[-1][:4], words)
        return drawn

    return {
        "controls": [
            {"label": "served", "values": list(SERVED_T), "start": 10, "text": "{} T tokens"},
            {"label": "constants", "values": list(LAWS), "start": "unrounded"},
            {"label": "quality", "values": list(SIZES_B), "start": 70, "text": "of {}B"},
        ],
        "panels": [
            {
                "kind": "bars",
                "label": "two models of one loss: size, tokens of training",
                "lanes": list(_TWO),
                "x": {
                    "label": "lifetime operations, relative to the first",
                    "unit": "%",
                    "range": (0, 100),
                },
                "bars": each(bars),
            }
        ],
        "readouts": [
            {"label": label, "unit": unit, "decimals": decimals, "values": each(told)}
            for label, unit, decimals, told in (
                ("saved", "%", 0, lambda *two: round(100 * (1 - two[1].flops / two[0].flops), 6)),
                ("size", "", 1, lambda _, owned: owned.parameters / 1e9),
                ("data", "", 1, lambda _, owned: owned.tokens / 1e12),
                ("ratio", "", 0, lambda _, owned: owned.tokens / owned.parameters),
            )
        ],
        "legend": {"prompt": "training", "answer": "serving"},
        "reading": "With {served} to serve, the model cheapest to own has {size} billion parameters"
        " and is trained on {data} trillion tokens, {ratio} per parameter. It saves {saved} of the"
        " other's operations.",
    }


def check_decision_under_every_law() -> None:
    """By all three sets of constants, the model to own is smaller than the one to train, also where
    a served operation costs ten times or a third as much as a training one. By any set, taking the
    best size of another and training it until the loss is reached costs less than an eighth more
    over its life. The smallest of the three sizes is a third smaller than the largest; compared
    with the unrounded constants, rounded ones predict little more than half of the saving, and
    refitted ones more than double.

    Source: the optimum under each law, at 10 trillion tokens and the quality of 70 billion.
    """
    size, served, saved, sizes = 70e9, 1e13, dict[str, float](), []
    for name, law in LAWS.items():
        target = loss(law, size, compute_optimal_tokens(law, size))
        for price in (1 / 3, 1.0, 10.0):
            best = lifetime_optimum(law, target, price * served)
            label = f"{name}, price {price:.2g} [billion]"
            checks.inside(label, best.parameters / 1e9, 1.0, 65.0)
        best = lifetime_optimum(law, target, served)
        alone = lifetime_flops(size, compute_optimal_tokens(law, size), served)
        saved[name] = 1 - best.flops / alone
        sizes.append(best.parameters)
        for other, told in LAWS.items():
            if other == name:
                continue
            goal = loss(told, size, compute_optimal_tokens(told, size))
            plan = lifetime_optimum(told, goal, served)
            paid = lifetime_flops(
                plan.parameters, tokens_for_loss(law, plan.parameters, target), served
            )
            checks.inside(
                f"{name}, size of {other}: paid over the best", paid / best.flops, 1 - 1e-9, 1.125
            )
    checks.close("smallest over largest", min(sizes) / max(sizes), 2 / 3, atol=0.04)
    rounded, whole, refitted = saved.values()
    checks.inside("saved, as printed over unrounded", rounded / whole, 0.5, 0.6)
    checks.inside("saved, refitted over unrounded", refitted / whole, 2.0, 3.0)


def check_no_law_shrinks_a_model_trained_long() -> None:
    """For the loss of Llama 3.1 70B, at ten trillion served tokens, no set of constants asks for a
    model that is more than a tenth smaller.

    Source: the optimum under each law.
    """
    for name, law in LAWS.items():
        target = loss(law, 70e9, LLAMA)
        best = lifetime_optimum(law, target, 1e13).parameters
        checks.inside(f"{name}: of 70 billion", best / 70e9, 0.9, 2.0)


def check_training_compute() -> None:
    """GPT-3 took 3.15e23 operations to train and Chinchilla 5.88e23; serving 3·D tokens takes as
    many as training.

    Source: products by hand; 3.14e23 in table D.1 of Brown et al. (2020), which counts 174.6
    billion parameters.
    """
    checks.close("GPT-3", lifetime_flops(175e9, 300e9), 3.15e23, rtol=1e-12)
    checks.close("Chinchilla", lifetime_flops(70e9, 1.4e12), 5.88e23, rtol=1e-12)
    checks.close(
        "GPT-3, table D.1", lifetime_flops(174.6e9, 300e9), 3.14e23, rtol=0.002, kind="published"
    )
    served = lifetime_flops(70e9, 1.4e12, 4.2e12) - lifetime_flops(70e9, 1.4e12)
    checks.close("2·N·D_inf at D_inf = 3·D", served, 5.88e23, rtol=1e-12)


def check_sardana_numbers() -> None:
    """Sizes, tokens and savings printed by Sardana et al. come out of the condition, with their
    exponents.

    Source: Sardana et al. (2024): figure 1 (7B for 13B at 2T tokens: 1.7e22 FLOP, 17%), section 2
    (13.6B on 2.84 times the data, 28%), table 2 (41.6B on 7.92T for 70B on 4.26T, 12%). Tolerances
    are half of the last printed digit, except for the 4.26, which is 0.1% above the condition.
    """
    law = SARDANA

    def versus(size: float, demand: float) -> tuple[Training, float, float]:
        tokens = compute_optimal_tokens(law, size)
        best = lifetime_optimum(law, loss(law, size, tokens), demand)
        return best, tokens, lifetime_flops(size, tokens, demand)

    best, tokens, base = versus(13e9, 2e12)
    checks.close("13B: size [B]", best.parameters / 1e9, 7, atol=0.05, kind="published")
    checks.close("13B: saved [FLOP]", base - best.flops, 1.7e22, atol=5e20, kind="published")
    checks.close("13B: saved [%]", 100 * (1 - best.flops / base), 17, atol=0.5, kind="published")
    best, tokens, base = versus(30e9, 1e13)
    checks.close("30B: size [B]", best.parameters / 1e9, 13.6, atol=0.05, kind="published")
    checks.close("30B: tokens", best.tokens / tokens, 2.84, atol=0.01, kind="published")
    checks.close("30B: saved [%]", 100 * (1 - best.flops / base), 28, atol=0.5, kind="published")
    best, tokens, base = versus(70e9, 1e13)
    checks.close("70B: size [B]", best.parameters / 1e9, 41.6, atol=0.05, kind="published")
    checks.close("70B: tokens [T]", best.tokens / 1e12, 7.92, atol=0.01, kind="published")
    checks.close("70B: trained on [T]", tokens / 1e12, 4.26, atol=0.006, kind="published")
    checks.close("70B: saved [%]", 100 * (1 - best.flops / base), 12, atol=0.5, kind="published")
