"""Systems: the record's rows, and what is not given."""

from __future__ import annotations

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
