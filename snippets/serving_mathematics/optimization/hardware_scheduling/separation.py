"""Prompts and answers on the same devices or on different ones.

A device that also decodes interrupts its streams by each prompt. Where no gap may exceed w and a
decode step takes ℓ, chunks leave prompts the share 1 − ℓ/w of it if the times of both add up. On
devices of their own prompts are in nobody's gaps; what it costs is that a few devices do not divide
as the work does.

Assumes: equal prompts in the formulas; the machines' steps, where a prompt costs what it adds.

Source: Zhong et al. (2024), DistServe, figure 1 and the transfer of the cache in section 3.3; the
capacity with chunks is derived here.
"""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np

from serving_mathematics.core.machines.machines import CHAT, MIXTURE, Machine
from serving_mathematics.support import checks
from serving_mathematics.support.require import (
    as_number,
    require,
    require_non_negative,
    require_positive,
)

MACHINES, MANY = 4, 8  # of one kind, to be divided


def chunked_capacity(prefill_s: float, step_s: float, gap_s: float) -> float:
    """Prompts that a device can prefill beside its streams [1/s]: (1 − ℓ/w)/D.

    prefill_s: D > 0 of a prompt [s]. step_s: ℓ ≥ 0 of a decode step without prefill [s]. gap_s: w
    > ℓ, longest gap that is allowed between tokens [s]. Every gap of w holds w − ℓ of prefill.
    Raises ValueError outside these ranges.

    >>> chunked_capacity(prefill_s=0.5, step_s=0.25, gap_s=1.0)
    1.5
    """
    gap_s = as_number(gap_s=gap_s)
    prefill_s = require_positive(prefill_s=prefill_s)
    step_s = require_non_negative(step_s=step_s)
    require(step_s < gap_s < math.inf, "gap_s", f"finite and above {step_s:g}", gap_s)
    return (1 - step_s / gap_s) / prefill_s


def best_split(prefill_rate: float, decode_rate: float, devices: int) -> tuple[int, float]:
    """How many devices should prefill so that the most requests pass both phases.

    prefill_rate, decode_rate: what one device carries of either phase alone [1/s], positive.
    devices: n ≥ 2, one for each phase at least. Returns their number and the rate of all [1/s].
    Raises ValueError outside these ranges.

    >>> best_split(prefill_rate=2.0, decode_rate=6.0, devices=4)
    (3, 6.0)
    """
    devices = as_number(devices=devices)
    prefill_rate, decode_rate = require_positive(prefill_rate=prefill_rate, decode_rate=decode_rate)
    whole = 2 <= devices < math.inf and devices % 1 == 0
    require(whole, "devices", "an integer of at least 2", devices)
    even = int(devices / (1 + prefill_rate / decode_rate))  # below where both phases are as fast
    first = min(max(even, 1), int(devices) - 1)
    splits = [k for k in (first, first + 1) if k < devices]
    rates = [min(k * prefill_rate, (devices - k) * decode_rate) for k in splits]
    best = rates.index(max(rates))
    return splits[best], rates[best]


def cache_bandwidth(arrival_rate: float, prompt_tokens: float, bytes_per_token: float) -> float:
    """Mean bandwidth that it takes to move the caches from prefill to decode [B/s].

    arrival_rate: λ ≥ 0 [1/s]. prompt_tokens: mean, at least 1. bytes_per_token: of the cache, all
    layers [B]. Raises ValueError outside these ranges.

    >>> cache_bandwidth(arrival_rate=2.0, prompt_tokens=10.0, bytes_per_token=5.0)
    100.0
    """
    prompt_tokens = as_number(prompt_tokens=prompt_tokens)
    arrival_rate = require_non_negative(arrival_rate=arrival_rate)
    require(1 <= prompt_tokens < math.inf, "prompt_tokens", "at least 1 and finite", prompt_tokens)
    bytes_per_token = require_positive(bytes_per_token=bytes_per_token)
    return arrival_rate * prompt_tokens * bytes_per_token


def _rates(machine: Machine) -> tuple[float, float]:
    """Requests a second of a machine that only reads prompts, and of one that only decodes."""
    lengths = machine.sample
    prompts = machine.prompt_s(lengths.prompt_tokens, lengths.cached_tokens)
    most = machine.sequences_at_most
    later = float(lengths.output_tokens.mean()) - 1
    return 1 / float(prompts.mean()), most / (later * float(machine.step_s(most)))


def _apart_percent(machine: Machine, count: int = MACHINES) -> float:
    """What machines that are divided carry at most, over what they carry together [%]."""
    return 100 * best_split(*_rates(machine), count)[1] / (count * machine.ceiling_per_s)


def _wanted(machine: Machine) -> float:
    """Machines that should read prompts, if they could be divided as the work is."""
    prefill, decode = _rates(machine)
    return MACHINES * decode / (prefill + decode)


def _cache_gbit(machine: Machine) -> float:
    """Bandwidth for the caches of one machine's ceiling [Gbit/s]."""
    lengths, rate = machine.sample, machine.ceiling_per_s
    fresh = float(lengths.prompt_tokens.mean())
    return 8e-9 * cache_bandwidth(rate, fresh, machine.made.token_bytes * machine.devices)


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        mixture_lost_percent=100 - _apart_percent(MIXTURE),
        mixture_wanted=_wanted(MIXTURE),
        many=MANY,
        chat_cache_gbit=_cache_gbit(CHAT),
    )


def check_published_split() -> None:
    """A GPU that carried 1.6 requests a second in both phases carried 5.6 in prefill or 10 in
    decode alone; two GPUs for prefill and one for decode carry 10 together, 2.1 times as many per
    GPU.

    Source: DistServe, figure 1: OPT-13B on A100, 512 tokens in, 64 out.
    """
    prefilling, rate = best_split(5.6, 10.0, 3)
    checks.equal("GPUs that prefill", prefilling, 2, kind="published")
    checks.close("requests a second", rate, 10.0, kind="published")
    checks.close("per GPU", rate / 3, 3.3, atol=0.05, kind="published")
    checks.close("against both phases", rate / 3 / 1.6, 2.1, atol=0.05, kind="published")


def check_cache_transfer() -> None:
    """The cache of 512 tokens of OPT-66B is 1.13 GiB, which DistServe prints as GB; ten of them a
    second need 90 Gbit/s by its count, and 97 if its GB are GiB.

    Source: DistServe, section 3.3, 1.13 GB and 90 Gbps; keys and values of 64 layers of width 9216
    in two bytes, the model's published configuration.
    """
    per_token = 2 * 64 * 9216 * 2
    size = cache_bandwidth(1.0, 512, per_token)
    checks.close("one request [GiB]", size / 2**30, 1.13, atol=0.005, kind="published")
    printed = cache_bandwidth(10.0, 512, 1.13e9 / 512) * 8 / 1e9
    checks.close("as printed [Gbit/s]", printed, 90, atol=0.5, kind="published")
    exact = cache_bandwidth(10.0, 512, per_token) * 8 / 1e9
    checks.close("ten a second [Gbit/s]", exact, 96.6, atol=0.05)


def check_chunks_leave_a_share() -> None:
    """A device whose steps take at most 40 ms, 25 ms of that for its streams, prefills at 37.5% of
    its full rate: prompts keep up below that rate and fall behind above it.

    Source: steps walked one by one for 4000 s, Poisson prompts of 0.1 s; the work that was done.
    """
    capacity = chunked_capacity(0.1, 0.025, 0.040)
    checks.close("capacity [1/s]", capacity, 3.75, rtol=1e-12)
    for share, low, high in ((0.9, 0.88, 0.92), (1.3, 0.999, 1.0)):
        rng = np.random.default_rng(62)
        clock, backlog, done, coming = 0.0, 0.0, 0.0, float(rng.exponential(1))
        while clock < 4000.0:
            while coming / (share * capacity) <= clock:
                backlog += 0.1
                coming += float(rng.exponential(1))
            work = min(backlog, 0.015)
            backlog, done, clock = backlog - work, done + work, clock + 0.025 + work
        label = f"{share:.0%} of it offered: done over capacity"
        checks.inside(label, done / 0.1 / clock / capacity, low, high, kind="simulation")


def check_overlap_leaves_more_than_the_share() -> None:
    """Where a step takes the longer of reading weights and computing, not the sum, an 8B model on
    an H100 reads prompts beside 64 streams at nearly its full speed, at least a tenth more than the
    share says.

    Source: bytes and operations by hand: 16 GB of weights and 64 caches of 131 MB at 3.35 TB/s, two
    operations for each parameter at half of 989 TFLOP/s; gaps of 40 ms.
    """
    gap_s, streams = 0.040, 64
    token_s = 2 * 8e9 / (0.5 * 989e12)
    alone_s = (16e9 + streams * 131e6) / 3.35e12
    share = chunked_capacity(token_s, alone_s, gap_s) * token_s
    overlapped = max(0.0, gap_s - streams * token_s) / gap_s
    checks.inside("where both add up", share, 0.78, 0.85)
    checks.inside("where they overlap", overlapped, share + 0.1, 1.0)


def check_machines_apart_carry_less() -> None:
    """Four machines, divided in the best way, carry less than four that do both, on both machines,
    but more than three quarters as much. The loss comes from their small number: eight mixtures
    lose less than a hundredth, and larger numbers, up to 32, at most an eighth.

    Source: the closed form of places that are always taken; one phase alone at its own rate.
    """
    for machine in (CHAT, MIXTURE):
        prefill, decode = _rates(machine)
        by_hand = max(min(k * prefill, (MACHINES - k) * decode) for k in range(1, MACHINES))
        share = by_hand / (MACHINES * machine.ceiling_per_s)
        checks.close(f"{machine.name}: share", _apart_percent(machine) / 100, share, rtol=1e-12)
        checks.inside(f"{machine.name}: apart over together", share, 0.75, 1.0)
        for count in range(MANY, 33):
            many = _apart_percent(machine, count) / 100
            checks.inside(f"{machine.name}: {count} apart over together", many, 0.88, 1.0)
        if machine is MIXTURE:
            eight = _apart_percent(machine, MANY)
            checks.inside(f"{MANY} mixtures [%]", eight, 99.0, 100.0)
        both = 1 / (1 / prefill + 1 / decode)
        label = f"{machine.name}: one after the other, over the ceiling"
        checks.close(label, both / machine.ceiling_per_s, 1.0, rtol=0.005)
