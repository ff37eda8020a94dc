"""What computes, run under each kernel of linear algebra that this processor has: `make kernels`.

A kernel decides in which order a sum is added up, and so its last digits. Nothing that a page shows
or a test asserts may depend on them. All but the tests of pages and of the builder run, for each
kernel anew: the record of a module's run is of the kernel that it ran with.
`python -m tests.kernels Prescott` runs one of them.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from builder import ROOT
from builder.source import KERNELS

PROCESSES = "2"
NAMES = {  # by machine: from the oldest that there is to the newest, as OpenBLAS calls them
    "x86_64": ("Prescott", "Nehalem", "Sandybridge", "Haswell", "Zen", "SkylakeX"),
    "aarch64": ("ARMV8", "CORTEXA57", "NEOVERSEN1"),
}
NEEDS = {"Sandybridge": "AVX", "Haswell": "AVX2", "Zen": "AVX2", "SkylakeX": "AVX512F"}
KEPT = ("test_keep.py", "test_exact_values.py", "test_swapped_numbers.py", "test_checks.py")


def settings(
    machine: str, features: Mapping[str, bool], dispatched: Sequence[str]
) -> dict[str, dict[str, str]]:
    """The environment of each kernel: that of the processor, numpy without wider instructions, and
    each of OpenBLAS that the processor can run; the first and the last of them with one processor
    and with 16, as Python counts them.

    features: instructions that numpy knows, and whether they are here. dispatched: those that it
    has other code for.
    """
    wider = " ".join(name for name in dispatched if features.get(name))
    found: dict[str, dict[str, str]] = {"as it is": {}}
    if wider:
        found["narrow numpy"] = {"NPY_DISABLE_CPU_FEATURES": wider}
    names = [n for n in NAMES.get(machine, ()) if features.get(NEEDS.get(n, ""), n not in NEEDS)]
    for name in names:
        found[name] = {"OPENBLAS_CORETYPE": name}
    if names:
        found[names[0]] |= {"PYTHON_CPU_COUNT": "1"}
        found[names[-1]] |= {"PYTHON_CPU_COUNT": "16"}
    return found


def here() -> dict[str, dict[str, str]]:
    """The same, of this processor."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return settings(platform.machine(), __cpu_features__, __cpu_dispatch__)


def tests() -> list[str]:
    """Checks of chapters, the tests of their folders, and what is kept of numbers and answers."""
    folder = Path(__file__).parent
    tops = {one.relative_to(folder).parts[0] for one in folder.glob("*/**/test_*.py")}
    names = [*sorted(tops - {"builder"}), *KEPT]
    return ["snippets", *(str(folder / name) for name in names)]


def main(names: Sequence[str]) -> int:
    """Run them, and say which failed."""
    known = here()
    if unknown := [name for name in names if name not in known]:
        print(f"{', '.join(unknown)} must be of {', '.join(known)}", file=sys.stderr)
        return 2
    failed = []
    plain = {name: value for name, value in os.environ.items() if name not in KERNELS}
    for name in names or known:
        chosen = " ".join(f"{key}={value!r}" for key, value in known[name].items())
        print(f"{name}: {chosen or 'what the processor has'}", flush=True)
        command = [sys.executable, "-m", "pytest", "-q", "--numprocesses", PROCESSES, *tests()]
        if subprocess.run(command, cwd=ROOT, env=plain | known[name], check=False).returncode:
            failed.append(name)
    print(f"Under {', '.join(failed)} something failed." if failed else "All passed.")
    return len(failed) > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
