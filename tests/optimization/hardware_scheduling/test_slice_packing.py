"""Packing: every packing is valid, searches against brute force, places on a GPU, refusals."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_mathematics.optimization.hardware_scheduling.slice_packing import (
    MIG,
    Profile,
    fewest_devices,
    fewest_gpus,
    ffd_bound,
    first_fit,
    place_instances,
)

instances = st.lists(st.sampled_from(list(MIG)), min_size=1, max_size=10)


def brute_force_devices(sizes: list[int], capacity: int) -> int:
    """The fewest devices by trying every assignment."""
    for devices in range(1, len(sizes) + 1):
        for places in itertools.product(range(devices), repeat=len(sizes)):
            loads = Counter[int]()
            for size, place in zip(sizes, places, strict=True):
                loads[place] += size
            if max(loads.values()) <= capacity:
                return devices
    return len(sizes)


@given(st.lists(st.integers(1, 10), min_size=1, max_size=6), st.integers(10, 14))
def test_searches_and_packings_agree(sizes: list[int], capacity: int) -> None:
    fewest = brute_force_devices(sizes, capacity)
    assert fewest_devices(sizes, capacity) == fewest
    for largest_first in (True, False):
        packed = first_fit(sizes, capacity, largest_first)
        assert sorted(itertools.chain(*packed)) == sorted(sizes)
        assert all(sum(device) <= capacity for device in packed)
        for earlier, later in itertools.pairwise(packed):  # nothing later had room before
            assert sum(earlier) + min(later) > capacity or later[0] > capacity - sum(earlier[:1])
    assert fewest <= len(first_fit(sizes, capacity)) <= ffd_bound(fewest)


def test_first_fit_keeps_the_order_and_looks_at_all_devices() -> None:
    assert first_fit([3, 4, 2, 1], 5, largest_first=False) == [[3, 2], [4, 1]]
    assert first_fit([3, 4, 2, 1], 5) == [[4, 1], [3, 2]]
    assert first_fit([], 5) == []
    assert fewest_devices([], 5) == 0


def test_bound_is_the_floor_of_the_fraction() -> None:
    assert [ffd_bound(n) for n in range(1, 11)] == [1, 3, 4, 5, 6, 8, 9, 10, 11, 12]


def valid(placed: Sequence[Sequence[tuple[str, int]]]) -> bool:
    """Instances start where they may and no slice is used twice."""
    for held in placed:
        slices = [start + offset for name, start in held for offset in range(MIG[name].memory)]
        if len(set(slices)) < len(slices) or max(slices) > 7:
            return False
        if any(start not in MIG[name].starts for name, start in held):
            return False
    return True


@given(instances, st.booleans(), st.booleans())
def test_placements_are_valid_and_not_better_than_the_search(
    names: list[str], largest_first: bool, last_start: bool
) -> None:
    placed = place_instances(names, largest_first, last_start)
    assert Counter(name for held in placed for name, _ in held) == Counter(names)
    assert valid(placed)
    fewest = fewest_gpus(names)
    assert fewest <= len(placed)
    assert fewest >= math.ceil(sum(MIG[name].memory for name in names) / 8)
    assert fewest >= math.ceil(sum(MIG[name].compute for name in names) / 7)


@given(st.lists(st.sampled_from(list(MIG)), min_size=1, max_size=5))
def test_fewest_gpus_by_brute_force(names: list[str]) -> None:
    for gpus in range(1, len(names) + 1):
        starts = [
            [(gpu, start) for gpu in range(gpus) for start in MIG[name].starts] for name in names
        ]
        for chosen in itertools.islice(itertools.product(*starts), 400_000):
            taken = [0] * gpus
            for name, (gpu, start) in zip(names, chosen, strict=True):
                mask = ((1 << MIG[name].memory) - 1) << start
                if taken[gpu] & mask:
                    break
                taken[gpu] |= mask
            else:
                assert fewest_gpus(names) == gpus
                return
        if math.prod(map(len, starts)) > 400_000:
            return


def test_masks_are_the_slices() -> None:
    assert Profile(3, 4, (0, 4)).masks() == (0b1111, 0b11110000)
    assert all(mask < 256 for profile in MIG.values() for mask in profile.masks())


def test_places_by_hand() -> None:
    assert place_instances(["1g.10gb", "2g.20gb"], False, False) == [
        [("1g.10gb", 0), ("2g.20gb", 2)]
    ]
    assert place_instances(["1g.10gb", "2g.20gb"]) == [[("2g.20gb", 4), ("1g.10gb", 6)]]
    assert place_instances([]) == []
    assert fewest_gpus([]) == 0
    assert fewest_gpus(["7g.80gb", "1g.10gb"]) == 2
    assert fewest_gpus(["2g.20gb"] * 4) == 2  # four times two slices, but three starts


BAD: list[tuple[Callable[[], object], str]] = [
    (lambda: first_fit([1], 0), "capacity must be a positive integer"),
    (lambda: first_fit([1], math.inf), "capacity must be a positive integer"),  # type: ignore[arg-type]
    (lambda: first_fit([6], 5), "sizes must be integers from 1 to 5"),
    (lambda: first_fit([0], 5), "sizes must be integers from 1 to 5"),
    (lambda: first_fit([math.nan], 5), "sizes must be integers from 1 to 5"),  # type: ignore[list-item]
    (lambda: fewest_devices([2.5], 5), "sizes must be integers from 1 to 5"),  # type: ignore[list-item]
    (lambda: fewest_devices([1] * 25, 5), "sizes must be at most 24"),
    (lambda: Profile(0, 2, (0,)), "compute must be a positive integer"),
    (lambda: Profile(1, math.nan, (0,)), "memory must be a positive integer"),  # type: ignore[arg-type]
    (lambda: Profile(1, 2, ()), "starts must be a tuple of one or more"),
    (lambda: Profile(1, 2, (0, -2)), "starts must be a tuple of one or more"),
    (lambda: Profile(1, 2, (0.5,)), "starts must be a tuple of one or more"),  # type: ignore[arg-type]
    (lambda: ffd_bound(0), "fewest must be a positive integer"),
    (lambda: ffd_bound(1.5), "fewest must be a positive integer"),  # type: ignore[arg-type]
    (lambda: place_instances(["1g"]), "names must be among 7g.80gb"),
    (lambda: fewest_gpus(["1g"]), "names must be among 7g.80gb"),
    (lambda: fewest_gpus(["1g.10gb"] * 25), "names must be at most 24"),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input_names_the_argument(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
