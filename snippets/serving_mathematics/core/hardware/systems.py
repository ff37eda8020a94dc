"""What a device can do: bandwidth, peaks by precision, memory, links.

The numbers are those of data sheets, kept in `records/machine_systems.json` with a source each;
what share of them an engine attains is for `step_time` to say.

Source: the system files of aiconfigurator-core 0.12.0 (Apache-2.0) and the makers' data sheets.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from serving_mathematics.support.require import require, require_positive, require_positive_integer

GENERATIONS = ("ampere", "ada", "hopper", "blackwell", "cdna", "tpu")


@dataclass(frozen=True)
class System:
    """One kind of device, and how it is joined to others."""

    name: str
    generation: str  # one of GENERATIONS
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

    row: the fields of `System` but its name, SI units, and its source. Raises ValueError where one
    is missing, is none of these, or is no positive number.

    >>> row = {"generation": "hopper", "memory_bytes": 8e10, "bandwidth_bytes_per_s": 3.35e12,
    ...        "bf16_flops_per_s": 9.89e14, "link_bytes_per_s": 4.5e11, "domain_devices": 8,
    ...        "outside_bytes_per_s": 5e10}
    >>> read_system("h100", row).fp8_flops_per_s / 1e12  # not given: no faster than bf16
    989.0
    """
    known = [field.name for field in fields(System) if field.name != "name"]
    if odd := sorted(row.keys() - {*known, "source"}):
        raise ValueError(
            f"system {name} has {odd[0]!r}, which is none of {', '.join(known)}, source"
        )
    slower = {key: row.get("bf16_flops_per_s") for key in ("fp8_flops_per_s", "fp4_flops_per_s")}
    given: dict[str, Any] = slower | {key: value for key, value in row.items() if value is not None}
    try:
        numbers = {key: given[key] for key in known if key != "generation"}
        devices = require_positive_integer(domain_devices=numbers.pop("domain_devices"))
        for key, value in numbers.items():
            numbers[key] = float(require_positive(**{key: value}))
        made = str(given["generation"])
        require(made in GENERATIONS, "generation", f"one of {', '.join(GENERATIONS)}", repr(made))
        return System(name, made, domain_devices=devices, **numbers)
    except KeyError as problem:
        raise ValueError(f"system {name} must have {problem.args[0]!r}") from problem
    except ValueError as problem:
        raise ValueError(f"system {name}: {problem}") from problem
