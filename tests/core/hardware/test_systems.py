"""Systems: the record's rows, and what is not given."""

from __future__ import annotations

from dataclasses import replace

import pytest
from serving_mathematics.core.hardware.catalogue import systems
from serving_mathematics.core.hardware.systems import System, read_system
from serving_mathematics.support.measuring import read_record

ROW = read_record("machine_systems")["systems"]["h200_sxm"]


def test_data_sheets_are_in_si_units() -> None:
    h200 = read_system("h200", ROW)
    assert isinstance(h200, System)
    assert (h200.bandwidth_bytes_per_s, h200.bf16_flops_per_s) == (4.8e12, 989e12)
    assert h200.fp8_flops_per_s == 2 * h200.bf16_flops_per_s
    assert h200.fp4_flops_per_s == h200.bf16_flops_per_s  # it has no such arithmetic


def test_every_system_is_plausible_and_has_a_source() -> None:
    assert {"a100_sxm", "h100_sxm", "b200_sxm", "b300_sxm", "gb200", "gb300"} <= systems().keys()
    assert {"l40s", "rtx_pro_6000_server", "mi300x"} <= systems().keys()
    for name, system in systems().items():
        assert 1.5e10 < system.memory_bytes < 4e11, name
        assert 30 < system.bf16_flops_per_s / system.bandwidth_bytes_per_s < 1000, name
        assert system.fp8_flops_per_s >= system.bf16_flops_per_s, name
        assert read_record("machine_systems")["systems"][name]["source"], name


@pytest.mark.parametrize("key", ["memory_bytes", "bandwidth_bytes_per_s", "generation"])
def test_a_missing_number_is_named(key: str) -> None:
    with pytest.raises(ValueError, match=f"system x must have '{key}'"):
        read_system("x", {name: value for name, value in ROW.items() if name != key})


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"memory_bytes": -3e11}, "system x: memory_bytes must be positive and finite, got -3"),
        ({"memory_bytes": "3e11"}, "system x: memory_bytes must be .*'3e11'"),
        ({"domain_devices": 2.5}, "system x: domain_devices must be a positive integer, got 2.5"),
        ({"generation": "blackwel"}, "system x: generation must be one of .*, got 'blackwel'"),
        ({"fp8_flop_per_s": 1e15}, "system x has 'fp8_flop_per_s', which is none of generation"),
    ],
)
def test_a_field_that_is_none_is_named(change: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_system("x", ROW | change)


@pytest.mark.parametrize(("name", "pod_bytes_per_s"), [("tpu_v5e", 51.2e12), ("tpu_v6e", 102.4e12)])
def test_links_of_a_pod_of_256_carry_its_all_reduces(name: str, pod_bytes_per_s: float) -> None:
    """Source: Google Cloud documentation, all-reduce bandwidth per Pod, beside that of a chip."""
    assert 256 * systems()[name].link_bytes_per_s == pytest.approx(pod_bytes_per_s)


@pytest.mark.parametrize(("cut", "whole"), [("a800_sxm", "a100_sxm"), ("h800_sxm", "h100_sxm")])
def test_what_may_be_exported_differs_by_its_links(cut: str, whole: str) -> None:
    """400 GB/s in both directions."""
    one = systems()[cut]
    assert one == replace(systems()[whole], name=cut, link_bytes_per_s=200e9)


@pytest.mark.parametrize(
    ("name", "multiprocessors", "clock_hz", "flops"),
    [
        ("rtx_3090", 82, 1.695e9, 512), ("rtx_a6000", 84, 1.8e9, 1024), ("a40", 84, 1.74e9, 1024),
        ("a10", 72, 1.695e9, 1024), ("rtx_4090", 128, 2.52e9, 512), ("l20", 92, 2.52e9, 512),
        ("rtx_6000_ada", 142, 2.505e9, 1024), ("l40", 142, 2.49e9, 512),
        ("l40s", 142, 2.52e9, 1024), ("rtx_5090", 170, 2.407e9, 512),
        ("dgx_spark_gb10", 48, 2.5e9, 1024),
    ],
)  # fmt: skip
def test_a_dense_peak_is_what_its_multiprocessors_do_in_a_cycle(
    name: str, multiprocessors: int, clock_hz: float, flops: int
) -> None:
    """With sums in 32 bits, which cards for games and some of data centers do at half the rate; a
    sparse peak would be twice that. Source: multiprocessors and boost clocks of data sheets."""
    peak = multiprocessors * clock_hz * flops
    assert systems()[name].bf16_flops_per_s == pytest.approx(peak, rel=0.03)


def test_four_and_eight_bits_take_their_share_of_a_cycle() -> None:
    for name, system in systems().items():
        eight = system.fp8_flops_per_s / system.bf16_flops_per_s
        assert eight == pytest.approx(1 if system.generation == "ampere" else eight), name
        if system.generation in ("ada", "hopper", "blackwell", "cdna"):
            assert eight == pytest.approx(2, rel=0.02), name
