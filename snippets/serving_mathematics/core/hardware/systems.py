"""What a device can do: bandwidth, peaks by precision, memory, links.

The numbers are those of data sheets, kept in `records/machine_systems.json` with a source each;
what share of them an engine attains is for `step_time` to say.

Source: the system files of aiconfigurator-core 0.12.0 (Apache-2.0) and the makers' data sheets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class System:
    """One kind of device, and how it is joined to others."""

    name: str
    generation: str  # ampere, ada, hopper, blackwell, cdna or tpu
    memory_bytes: float
    bandwidth_bytes_per_s: float
    bf16_flops_per_s: float  # dense
    fp8_flops_per_s: float  # dense; that of bf16 where there is no fp8 arithmetic
    fp4_flops_per_s: float  # dense; that of bf16 where there is no fp4 arithmetic
    link_bytes_per_s: float  # one direction, to the other devices of its domain
    domain_devices: int  # devices that are joined by that link
    outside_bytes_per_s: float  # one direction, to devices beyond

    @property
    def shown(self) -> str:
        """Its name in prose; one without a number is no make."""
        make = any(letter.isdigit() for letter in self.name)
        return self.name.replace("_", " ").upper() if make else f"{self.name} GPU"


def read_system(name: str, row: Mapping[str, Any]) -> System:
    """A system from its row of the record.

    row: the fields of `System` but its name, SI units. Raises ValueError where one is missing.

    >>> row = {"generation": "hopper", "memory_bytes": 8e10, "bandwidth_bytes_per_s": 3.35e12,
    ...        "bf16_flops_per_s": 9.89e14, "link_bytes_per_s": 4.5e11, "domain_devices": 8,
    ...        "outside_bytes_per_s": 5e10}
    >>> read_system("h100", row).fp8_flops_per_s / 1e12  # not given: no faster than bf16
    989.0
    """
    try:
        bf16 = float(row["bf16_flops_per_s"])
        return System(
            name=name,
            generation=str(row["generation"]),
            memory_bytes=float(row["memory_bytes"]),
            bandwidth_bytes_per_s=float(row["bandwidth_bytes_per_s"]),
            bf16_flops_per_s=bf16,
            fp8_flops_per_s=float(row.get("fp8_flops_per_s") or bf16),
            fp4_flops_per_s=float(row.get("fp4_flops_per_s") or bf16),
            link_bytes_per_s=float(row["link_bytes_per_s"]),
            domain_devices=int(row["domain_devices"]),
            outside_bytes_per_s=float(row["outside_bytes_per_s"]),
        )
    except KeyError as problem:
        raise ValueError(f"system {name} must have {problem.args[0]!r}") from problem
