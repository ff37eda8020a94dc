"""What a smaller model saves on the same device, and after how many tokens it has paid.

A student of a fraction of the parameters is not that fraction of the price: what a token leaves in
the cache, and what a step costs whoever is in it, shrink less. What the student cannot do goes to
the teacher as well. It has paid when what it saves exceeds what the teacher wrote for it and what
its training took, six operations for each parameter and token.

Assumes: the traffic and the device of the chat machine; a full machine; the teacher's answers
bought at its own price; people, evaluations and the failed attempts left out.

Source: `core.machines` for ceilings; Kaplan et al. (2020), section 2.1, for the operations of
training; Chen, Tiwari et al. (2024) for drafts beside long contexts.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

from serving_mathematics.core.batching.speculative_decoding import expected_tokens
from serving_mathematics.core.hardware.catalogue import deployed, find_model
from serving_mathematics.core.hardware.deployments import (
    OWN_HEADS,
    Deployment,
    cache_room_bytes,
    sequence_bytes,
)
from serving_mathematics.core.hardware.fronts import find_front, front_constants
from serving_mathematics.core.hardware.guessed_steps import guessed_step_s
from serving_mathematics.core.machines.machines import CHAT, Machine
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import (
    require_in,
    require_non_negative,
    require_positive,
)

STUDENTS = {  # parameters as their makers count them
    "Qwen3-0.6B": 0.6e9,
    "Llama-3.2-1B": 1.24e9,
    "Qwen3-1.7B": 1.7e9,
    "Llama-3.2-3B": 3.21e9,
    "Qwen3-4B": 4.0e9,
    "Llama-3.1-8B": 8.03e9,
}
TEACHER, PICKED = "Llama-3.1-8B", "Llama-3.2-1B"
TAUGHT_TOKENS, TRAINING_SHARE = 1e9, 0.3  # answers to learn from; of the device's peak that is used
DRAFTED = 3  # tokens of the draft in `draft-model-vllm.yaml`
LARGE, MIDDLE = "Qwen3-32B", "Qwen3-14B"  # of which one nearly fills the device with its weights
LARGE_SIZES = {LARGE: 32.8e9, MIDDLE: 14.8e9}  # parameters as their maker counts them
LONG_CONTEXT = 8000  # tokens of a sequence that leaves few places
PEAK_PER_S = 989e12  # operations of an H100 in 16 bits, its data sheet


def _machine(model: str, base: Machine = CHAT) -> Machine:
    """The machine with another model."""
    return replace(base, model=model)


def _price(model: str, base: Machine = CHAT) -> float:
    """Of a million tokens of answers, with their prompts, on a full machine [$]."""
    machine = _machine(model, base)
    return machine.price_per_hour / 3600 / machine.ceiling_tokens_per_s * 1e6


def training_price(parameters: float, tokens: float, device_price_per_hour: float) -> float:
    """One-off cost of training a student on this many tokens [$].

    parameters: of the student, positive. tokens: that it learns from, non-negative.
    device_price_per_hour: of an H100, non-negative [$]. Raises ValueError otherwise.

    >>> round(training_price(1e9, 1e9, device_price_per_hour=2.0), 2)
    11.23
    """
    parameters = require_positive(parameters=parameters)
    tokens, hourly = require_non_negative(
        tokens=tokens, device_price_per_hour=device_price_per_hour
    )
    hours = 6 * parameters * tokens / (TRAINING_SHARE * PEAK_PER_S) / 3600
    return float(hours * hourly)


def pay_back_tokens(
    taught_price: float, teacher_price: float, student_price: float, fallback: float = 0.0
) -> float:
    """Tokens after which a student has paid for its training; infinite where it never does.

    taught_price: of the teacher's answers and of the training [$], non-negative. teacher_price,
    student_price: of a million tokens [$], positive. fallback: share of the tokens that the teacher
    has to write after all, in [0, 1]; the student's attempt is paid as well. Raises ValueError
    otherwise.

    >>> pay_back_tokens(10.0, teacher_price=0.5, student_price=0.25, fallback=0.25)
    80000000.0
    """
    taught_price = require_non_negative(taught_price=taught_price)
    teacher_price, student_price = require_positive(
        teacher_price=teacher_price, student_price=student_price
    )
    fallback = require_in("[0, 1]", fallback=fallback)
    saved = teacher_price - student_price - fallback * teacher_price
    if saved <= 0:
        return 0.0 if taught_price == 0 and saved == 0 else math.inf
    return taught_price / saved * 1e6


def _taught_price(student: str) -> float:
    """What the teacher's answers and the training cost [$]."""
    answers = TAUGHT_TOKENS / 1e6 * _price(TEACHER)
    return answers + training_price(STUDENTS[student], TAUGHT_TOKENS, CHAT.device_price_per_hour)


def _drafted() -> Deployment:
    """The chat machine with the draft that the page hands out."""
    return replace(CHAT.deployment, draft_tokens=DRAFTED, drafter=find_model(PICKED)[0])


def _tokens_beside_a_draft() -> float:
    """Tokens that the chat machine holds, each in the draft's cache too."""
    return cache_room_bytes(_drafted()) / sequence_bytes(_drafted(), 1)


def _times_longer(sequences: int, context: float = CHAT.mean_context_tokens) -> float:
    """How many times as long a step of the chat machine takes with the draft, and so how many
    tokens it must yield."""
    return _step_s(_drafted(), sequences, context) / _step_s(CHAT.deployment, sequences, context)


def _step_s(one: Deployment, sequences: int, context: float) -> float:
    """A step behind the chat machine's front, with so many sequences of a context [s]."""
    constants = front_constants(find_front(CHAT.front))
    return float(guessed_step_s(one, constants, sequences, context)[0])


def _full_needs(one: Deployment, context: float = LONG_CONTEXT) -> float:
    """Tokens that a step must yield so that a full engine with a draft writes as many as one
    without, which holds more sequences of so long a context."""
    rates = []
    for way in (_without_draft(one), one):
        held = _held(way, context)
        rates.append(held / _step_s(way, held, context))
    return rates[0] / rates[1]


def _without_draft(one: Deployment) -> Deployment:
    return replace(one, draft_tokens=0, drafter=OWN_HEADS)


def _held(one: Deployment, context: float) -> int:
    """Sequences of a context that memory holds."""
    return int(cache_room_bytes(one) // sequence_bytes(one, context))


def _pair(model: str, draft: str, device: str, devices: int) -> Deployment:
    """The chat machine's requests on other devices, with another model and its draft."""
    drafter, _ = find_model(draft)
    return deployed(model, device, _drafted(), tensor=devices, drafter=drafter)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    teacher, student = _price(TEACHER), _price(PICKED)
    smallest = _price("Qwen3-0.6B")
    taught, room = _taught_price(PICKED), _tokens_beside_a_draft()
    return SimpleNamespace(
        fewer_parameters=STUDENTS[TEACHER] / STUDENTS[PICKED],
        cheaper=teacher / student,
        fewer_smallest=STUDENTS[TEACHER] / STUDENTS["Qwen3-0.6B"],
        cheaper_smallest=teacher / smallest,
        fewer_middle=LARGE_SIZES[LARGE] / LARGE_SIZES[MIDDLE],
        cheaper_middle=_price(LARGE) / _price(MIDDLE),
        pays_after=pay_back_tokens(taught, teacher, student) / TAUGHT_TOKENS,
        most_fallback=100 * (1 - student / teacher),
        drafted=DRAFTED,
        longer_alone=_times_longer(1),
        longer_full=_times_longer(CHAT.places),
        fewer_tokens_percent=100 * (1 - room / CHAT.cache_tokens),
        long_context=LONG_CONTEXT,
        longer_long=_times_longer(int(room // LONG_CONTEXT), LONG_CONTEXT),
        needs_long=_full_needs(_drafted()),
        needs_other=_full_needs(_pair(LARGE, "Qwen3-0.6B", "h100", 2)),
        yields_high=expected_tokens(0.8, DRAFTED),
        yields_low=expected_tokens(0.5, DRAFTED),
    )


def figure_price_by_size(figure: Figure) -> None:
    """A model with a tenth of the parameters costs more than a tenth: its cache and its steps
    shrink less than its weights.

    The chat machine with other models, full. Dashed: the price if it shrank in proportion to the
    parameters.

    Alt: Price of a million tokens against parameters, both logarithmic, for six models from two
    families. All lie on or above a dashed line through the largest; within a family, the smaller
    the model, the further above. The smallest costs more than a model of the other family twice its
    size.
    """
    axes = figure.subplots()
    prices = {name: _price(name) for name in STUDENTS}
    for name, price in prices.items():
        llama = name.startswith("Llama")
        colour, offset, side = ("C0", (-4, 5), "right") if llama else ("C1", (-4, 7), "left")
        axes.loglog(STUDENTS[name] / 1e9, price, "o", color=colour)
        place = (STUDENTS[name] / 1e9, price)
        axes.annotate(name, place, offset, textcoords="offset points", color=colour, ha=side)
    ends = [0.5, 8.03]
    slope = prices[TEACHER] / 8.03
    axes.plot(ends, [slope * end for end in ends], "--", color="C4")
    axes.annotate("as the parameters", (0.62, slope * 0.62), color="C4", ha="left", va="top")
    axes.set_xticks([0.6, 1, 2, 4, 8], ["0.6", "1", "2", "4", "8"])
    axes.set_yticks([0.01, 0.02, 0.05, 0.1], ["0.01", "0.02", "0.05", "0.10"])
    axes.minorticks_off()
    axes.set(xlim=(0.45, 14), xlabel="parameters [10⁹]", ylabel="a million tokens [$]")


def check_smaller_is_not_as_much_cheaper() -> None:
    """Every smaller model is cheaper, but by less than it is smaller, on this machine, with half of
    its places, with as many as its memory holds, and behind the front of an installed engine.

    Source: the machine with each model; the parameters of their makers.
    """
    for label, base in (
        ("all places", CHAT),
        ("half of them", CHAT.limited(places=128)),
        ("what memory holds", CHAT.limited(places=1024)),
        ("as installed", replace(CHAT, front="engine")),
    ):
        teacher = _price(TEACHER, base)
        gains = {n: teacher / _price(n, base) for n in STUDENTS if n != TEACHER}
        for name, gain in gains.items():
            fewer = STUDENTS[TEACHER] / STUDENTS[name]
            checks.inside(f"{label}: {name}, of what its size says", gain / fewer, 0.05, 0.999)
            checks.holds(f"{label}: {name} is cheaper", gain > 1, got=gain)


def check_weights_that_fill_the_device_turn_it_round() -> None:
    """Next to a model whose weights leave a tenth of the device, one with 2.2 times fewer
    parameters is more than three times cheaper, by memory alone too; where both models leave room,
    the smaller is cheaper by less than it is smaller.

    Source: sequences that memory holds over the bytes that a step of them reads, by hand.
    """
    gain, fewer = _price(LARGE) / _price(MIDDLE), LARGE_SIZES[LARGE] / LARGE_SIZES[MIDDLE]
    checks.inside("cheaper, of what its size says", gain / fewer, 1.5, 3.5)
    rate = {}
    for name, layers in ((LARGE, 64), (MIDDLE, 40)):
        weights, token = 2 * LARGE_SIZES[name], 4 * layers * 8 * 128  # [B]
        held = min(CHAT.places, (73e9 - weights) / token // CHAT.mean_context_tokens)
        rate[name] = held / (weights + held * CHAT.mean_context_tokens * token)
    checks.inside("by memory alone", rate[MIDDLE] / rate[LARGE] / fewer, 1.5, 6.0)
    both = _price(MIDDLE) / _price(TEACHER) * STUDENTS[TEACHER] / LARGE_SIZES[MIDDLE]
    checks.inside("both leave room", both, 0.5, 0.999)


def check_long_contexts_leave_room_for_drafts() -> None:
    """Full of contexts of 4,000 tokens or more, the chat machine's step lengthens with drafts as
    much as for one sequence, to within 3%, and at an acceptance of 0.5 yields more; full of its own
    shorter contexts it lengthens a quarter more, and yields less.

    Source: the steps of the scored model; Chen, Tiwari et al. (2024), who measure large
    batches that gain from drafts where contexts are long.
    """
    alone = _times_longer(1)
    for context in (4000, LONG_CONTEXT, 32_000):
        held = int(_tokens_beside_a_draft() // context)
        longer = _times_longer(held, context)
        checks.close(f"{held} of {context:,} tokens", longer, _times_longer(1, context), rtol=0.03)
        checks.holds("yields more at 0.5", expected_tokens(0.5, DRAFTED) > longer, got=longer)
    full = _times_longer(CHAT.places)
    checks.inside("its own contexts, full over alone", full / alone, 1.2, 1.4)
    checks.holds("yields less at 0.5", expected_tokens(0.5, DRAFTED) < full, got=full)


def check_a_drafts_memory_is_paid_in_full_batches() -> None:
    """Full of long contexts, an engine that holds fewer sequences beside a draft must yield more
    tokens than its step's lengthening alone asks for, by up to a quarter. At an acceptance of 0.7
    all of five pairs then write more tokens than without the draft; at 0.5 three of them write
    fewer.

    Source: whole engines by the scored step, at 8,000 and at 16,000 tokens.
    """
    for model, draft, device, devices, least in (
        ("Llama-3.1-8B", "Llama-3.2-1B", "h100", 1, 0.0),
        ("Llama-3.1-70B", "Llama-3.2-1B", "h100", 4, 0.0),
        ("Llama-3.1-8B", "Llama-3.2-1B", "l40s", 1, 1.03),
        ("Llama-3.1-70B", "Llama-3.2-3B", "h200", 2, 1.03),
        ("Qwen3-32B", "Qwen3-0.6B", "h100", 2, 1.03),
    ):
        one = _pair(model, draft, device, devices)
        plain = _without_draft(one)
        for context in (LONG_CONTEXT, 16_000.0):
            held = _held(one, context)
            longer = _step_s(one, held, context) / _step_s(plain, held, context)
            needs, label = _full_needs(one, context), f"{draft} on {device}, {context:,.0f}"
            checks.inside(f"{label}: needs over longer", needs / longer, 1.02, 1.3)
            checks.inside(
                f"{label}: needs at most", needs, 1.0, 0.95 * expected_tokens(0.7, DRAFTED)
            )
            if least:
                over = needs / expected_tokens(0.5, DRAFTED)
                checks.inside(f"{label}: over what 0.5 yields", over, least, 1.3)


def check_acceptance_says_whether_a_draft_pays() -> None:
    """With every place of the chat machine taken, the draft that is handed out still makes it
    faster at an acceptance of 0.8, and slower at 0.5; for one sequence it pays at both.

    Source: bytes by hand, a lone step with three passes of a draft of 0.15 of the weights; the
    steps of the scored model, which differ from measured ones by a tenth.
    """
    alone, full = _times_longer(1), _times_longer(CHAT.places)
    bytes_only = 1 + DRAFTED * 1.24 / 8.03
    checks.inside("alone, over what weights say", alone / bytes_only, 1.0, 1.25)
    checks.holds("alone, at 0.5", expected_tokens(0.5, DRAFTED) > 1.03 * alone, got=alone)
    checks.holds("full, at 0.8", expected_tokens(0.8, DRAFTED) > 1.1 * full, got=full)
    checks.holds("full, at 0.5", expected_tokens(0.5, DRAFTED) < 0.95 * full, got=full)


def check_a_draft_takes_memory() -> None:
    """Beside the draft the chat machine holds a fifth to a quarter fewer tokens, and still enough
    for all its places.

    Source: by hand, 2.5 GB of weights and 16 layers with 8 heads of 64 numbers beside 32 of 128.
    """
    held = _tokens_beside_a_draft()
    by_hand = (0.9 * 80 * 2**30 - 4 * 2**30 - 2 * 8.03e9 - 2 * 1.24e9) / (131_072 + 32_768)
    checks.close("tokens", held, by_hand, rtol=0.01)
    checks.inside("of those without", held / CHAT.cache_tokens, 0.75, 0.8)
    wanted = CHAT.places * CHAT.mean_context_tokens
    checks.holds("enough for all places", held > wanted, got=held / wanted)


def check_pay_back() -> None:
    """At the number of tokens found, savings equal the price paid, and a student that has to ask
    too often never pays; a price a fifth higher or lower moves the number by less than half.

    Source: the account of both sides, summed; a share of 1 − student/teacher is the border.
    """
    taught, teacher, student = 125.0, 0.11, 0.03
    for fallback in (0.0, 0.3):
        tokens = pay_back_tokens(taught, teacher, student, fallback) / 1e6
        own = taught + tokens * (student + fallback * teacher)
        checks.close(f"fallback {fallback}", own, tokens * teacher, rtol=1e-12)
    border = 1 - student / teacher
    never = pay_back_tokens(taught, teacher, student, border + 1e-9)
    checks.holds("never", never == math.inf, got=never)
    usual = pay_back_tokens(taught, teacher, student)
    for factor in (0.8, 1.2):
        moved = pay_back_tokens(taught, teacher, factor * student) / usual
        checks.inside(f"student's price times {factor}", moved, 0.5, 1.5)
