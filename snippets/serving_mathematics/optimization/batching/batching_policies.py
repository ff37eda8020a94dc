"""Static, dynamic and continuous batching of generated text, compared on the same engines.

Static batching waits for a full batch, dynamic batching takes what is there; both run a batch until
its longest answer is done and let nobody in. Continuous batching changes the batch after every
step. All three have the same places and pay the same for a step.

Assumes: padded batches pay for every place until they end, others for those that still write;
lengths are not known in advance.

Source: Yu et al. (2022) for batches that wait for their longest member; the book's machines for
steps, memory and lengths.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from serving_mathematics.core.batching.continuous_batching import Engine, Workload
from serving_mathematics.core.batching.event_skipping import simulate
from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.core.machines.running import ask_machine
from serving_mathematics.core.queues.batches import form_batches
from serving_mathematics.optimization.batching.batching import static_efficiency
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.require import require

FloatArray = npt.NDArray[np.float64]

REQUESTS = 1500
FEW = CHAT.limited(64), MIXTURE.limited(16)  # as many places for all three policies
FULL = CHAT, MIXTURE.limited(MIXTURE.sequences_at_most)  # as many as memory holds
POLICIES = {"static": math.inf, "dynamic": 0.0, "continuous": None}  # window of a batch [s]


def _padded_batch_s(asked: Workload, engine: Engine, padded: bool = True) -> float:
    """Time of a batch [s] that ends with its longest answer: all prompts, then steps with every
    place occupied until then.

    asked: the members. engine: its costs and token budget; memory is not checked. padded: whether
    answers that are finished go on costing what the others do. Raises ValueError where the engine's
    table is too short for what is asked.

    >>> _padded_batch_s(Workload([0, 0], [4, 2], [3, 1]), Engine(step_s=2.0, prefill_token_s=0.5))
    9.0
    """
    size = asked.arrival_s.size
    each = asked.output_tokens - 1
    longest = int(each.max())
    each = np.full(size, longest) if padded else each
    fresh = int((asked.prompt_tokens - asked.cached_tokens).sum())
    steps = -(-fresh // engine.token_budget)
    context = int((each * asked.prompt_tokens + each * (each + 1) // 2).sum())
    batch = engine.table.batch if engine.table else [0] * (size + 1)
    require(size < len(batch), "asked", f"at most {len(batch) - 1} requests", size)
    still = np.diff(np.sort(each), prepend=0).tolist()  # steps in which size, size − 1, … write
    ticks = int(engine.prompt_ticks(asked).sum()) + steps * batch[0]
    ticks += sum(count * batch[size - gone] for gone, count in enumerate(still))
    return engine.elapsed_s(steps + longest, fresh, int(each.sum()), context, ticks)


def _completions(
    policy: str, asked: Workload, engine: Engine, most: int = 2**30, padded: bool = True
) -> FloatArray:
    """When requests have all of their tokens, or their batch has [s]."""
    if (window_s := POLICIES[policy]) is None:
        return simulate(asked, engine).completion_s

    def batch_s(first: int, end: int) -> float:
        return _padded_batch_s(asked.part(slice(first, end)), engine, padded)

    return form_batches(asked.arrival_s, batch_s, min(engine.max_sequences, most), window_s)[1]


@functools.cache
def _latencies_s(
    policy: str,
    machine: Machine,
    load: float,
    most: int = 2**30,
    padded: bool = True,
) -> FloatArray:
    """Times of requests [s] at a share of the continuous ceiling, the first tenth left out."""
    asked = ask_machine(machine, load, REQUESTS)
    ends = _completions(policy, asked, machine.engine, most, padded)
    return np.asarray((ends - asked.arrival_s)[REQUESTS // 10 :])


def _p99(values: FloatArray) -> float:
    return float(np.quantile(values, 0.99))


@functools.cache
def _static_ceiling_per_s(machine: Machine, padded: bool = True) -> float:
    """Requests a second of full static batches, one after the other, all of them full."""
    count = 10 * REQUESTS // machine.places * machine.places
    asked = ask_machine(machine, 1.0, count)
    burst = replace(asked, arrival_s=np.zeros(count))
    return count / float(_completions("static", burst, machine.engine, padded=padded)[-1])


def _carries_times(machine: Machine, padded: bool) -> float:
    """Load of continuous batching over that of static batches."""
    return machine.ceiling_per_s / _static_ceiling_per_s(machine, padded)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    chat = FEW[0]
    one, full = chat.step_s([1, chat.places]).tolist()
    wrong = chat.how_wrong
    least, *_, most = sorted(_carries_times(machine, padded=False) for machine in (*FEW, *FULL))
    return SimpleNamespace(
        few_places=chat.places,
        step_times=full / one,
        trace_8_percent=100 * static_efficiency(chat.sample.output_tokens, 8),
        trace_64_percent=100 * static_efficiency(chat.sample.output_tokens, 64),
        carries_times=_carries_times(chat, padded=True),
        carries_least=least,
        carries_most=most,
        measured_low=wrong.low,
        measured_high=wrong.high,
    )


def figure_policies(figure: Figure) -> None:
    """Batches that wait for their longest answer are slower at every load, and are full before half
    the load that continuous batching carries.

    The chat machine with 64 places and the lengths of its trace; finished answers keep costing
    until their batch ends. Static batching is slow at low load too, because a batch then takes long
    to fill.

    Alt: 99th percentile of latency, logarithmic, against the load in percent of what continuous
    batching carries. The curve of static batching falls until it ends before half of the load,
    that of dynamic batching rises to the same end; the curve of continuous batching lies far below
    both and stays nearly flat to the right edge.
    """
    axes, chat = figure.subplots(), FEW[0]
    loads = (0.05, 0.1, 0.2, 0.3, 0.38)
    for policy, colour in (("static", "C3"), ("dynamic", "C1")):
        tails = [_p99(_latencies_s(policy, chat, load)) for load in loads]
        axes.plot([100 * load for load in loads], tails, "o-", color=colour, markersize=3.5)
    loads = (0.05, 0.3, 0.6, 0.8, 0.95)
    tails = [_p99(_latencies_s("continuous", chat, load)) for load in loads]
    axes.plot([100 * load for load in loads], tails, "o-", color="C0", markersize=3.5)
    wall = 100 * _static_ceiling_per_s(chat) / chat.ceiling_per_s
    axes.axvline(wall, color="C4", linestyle="--", linewidth=1.2)
    axes.annotate("ceiling of static and dynamic", (wall + 1, 70), color="C4")
    axes.annotate("static", (12, 50), color="C3")
    axes.annotate("dynamic", (20, 9), color="C1")
    axes.annotate("continuous", (60, 5.3), color="C0")
    axes.set(xlim=(0, 100), ylim=(3, 120), yscale="log", yticks=[3, 10, 30, 100])
    axes.set_yticks([], minor=True)
    axes.set_yticklabels(["3", "10", "30", "100"])
    axes.set(xlabel="load [% of the continuous ceiling]", ylabel="p99 latency [s]")


def check_letting_in_at_every_step_wins() -> None:
    """Continuous batching has a lower mean and p99 latency than static and dynamic batching at
    their best batch limits, on both machines, even where batches pay only for answers that are
    still being written.

    Source: the three policies on the same 1,500 requests; batches of at most a quarter of the
    places, half of them, or all.
    """
    for machine in FEW:
        for load, padded in ((0.1, True), (0.3, True), (0.3, False)):
            own = _latencies_s("continuous", machine, load)
            label = f"{machine.name} at {100 * load:.0f}%"
            label += "" if padded else ", finished ones free"
            for policy in ("static", "dynamic"):
                others = [
                    _latencies_s(policy, machine, load, machine.places // share, padded)
                    for share in (4, 2, 1)
                ]
                best = min(map(_p99, others))
                got = f"{_p99(own):.2f} and {best:.2f} s"
                checks.holds(f"{label}: p99 below {policy}", _p99(own) < best, got=got)
                mean = min(float(other.mean()) for other in others)
                checks.holds(f"{label}: and the mean", float(own.mean()) < mean)


def check_padded_batch_step_by_step() -> None:
    """A padded batch takes the sum of the times of its steps.

    Source: the machine's own step times, one after the other, with every place at its context, and
    with those that still write.
    """
    machine = FEW[0]
    asked = ask_machine(machine, 1.0, 16)
    prompts = asked.prompt_tokens
    read_s = float(machine.prompt_s(prompts, asked.cached_tokens).sum())
    steps = -(-int(prompts.sum()) // machine.token_budget)
    read_s += steps * float(machine.step_s(0, 0.0))
    for padded, label in ((True, "batch of 16 [s]"), (False, "finished ones free [s]")):
        expected = read_s
        for step in range(1, int(asked.output_tokens.max())):
            there = prompts[padded | (asked.output_tokens > step)]
            expected += float(machine.step_s(there.size, float(there.mean()) + step))
        checks.close(label, _padded_batch_s(asked, machine.engine, padded), expected, rtol=1e-6)
