"""Fetch a browser for the tests that look at pages, where none is here that starts: `make browser`.

First the library that Playwright itself needs, where a small system lacks it. Then Playwright's own
Chromium, which goes to the folder of its cache, and what it needs of the system; where that cannot
be had, a package of Debian or Ubuntu, by `apt-get` as root or with `sudo`. Where there is one
without windows, it is that one.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable

from .browsing import SHELL, why_none_starts

OWN = "Playwright's own Chromium, about 110 MB, to Playwright's cache in your home"
DRIVER = "libatomic1, which Playwright itself needs, 10 kB, by apt-get"
LIBRARIES = "the libraries of the system that Chromium needs, up to 100 MB, by apt-get"
SMALL = "Chromium without windows of this system's packages, about 160 MB with what it needs"
PACKAGE = "Chromium of this system's packages, about 210 MB with what it needs, by apt-get"
LIMIT_S = 900.0  # for one download

PLAYWRIGHT = [sys.executable, "-m", "playwright"]


def as_root(*command: str) -> list[str]:
    """A command as root: as it is for root, or else by sudo, which asks where there is somebody to
    answer. Raises OSError where there is no sudo.
    """
    if os.geteuid() == 0:
        return list(command)
    if not shutil.which("sudo"):
        raise OSError(f"{command[0]} takes root, and there is no sudo")
    return ["sudo", *([] if sys.stdin.isatty() else ["-n"]), *command]


def ran(command: list[str]) -> None:
    """Run a command to its end. Raises OSError with its last words when it fails."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        done = subprocess.run(
            command,
            env=os.environ | quiet,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=None if command[0] == "sudo" else subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"{' '.join(command)} took more than {LIMIT_S:g} s") from None
    if done.returncode:
        said = [line.strip() for line in done.stdout.splitlines() if "rror" in line]
        why = said[0] if said else f"status {done.returncode}"
        raise OSError(f"{' '.join(command)}: {why}")


def apt_get(*packages: str) -> None:
    """Install packages of the system."""
    apt = shutil.which("apt-get")
    if not apt:
        raise OSError("there is no apt-get")
    ran(as_root(apt, "update", "-qq"))
    ran(as_root(apt, "install", "-qq", "--yes", "--no-install-recommends", *packages))


def driver_starts() -> bool:
    """Whether Playwright itself does."""
    try:
        ran([*PLAYWRIGHT, "--version"])
    except OSError:
        return False
    return True


def driver() -> None:
    """What Playwright itself needs of the system."""
    apt_get("libatomic1")


def own() -> None:
    """Playwright's Chromium without windows, which is all that tests need."""
    ran([*PLAYWRIGHT, "install", "--only-shell", "chromium"])


def libraries() -> None:
    """What Playwright's Chromium needs of the system, if it is here."""
    ran(as_root(*PLAYWRIGHT, "install-deps", "chromium"))


def package(name: str) -> None:
    """A browser of the system's packages, with a font."""
    apt_get(name, "fonts-dejavu-core")


WAYS: list[tuple[str, Callable[[], None]]] = [
    (DRIVER, driver),
    (OWN, own),
    (LIBRARIES, libraries),
    (SMALL, functools.partial(package, SHELL)),
    (PACKAGE, functools.partial(package, "chromium")),
]


def fetch(ways: list[tuple[str, Callable[[], None]]] = WAYS) -> None:
    """Try one way after the other until a browser starts. Ends the process where none does."""
    why = why_none_starts()
    failed: list[str] = []
    absent: list[str] = []
    for what, way in ways:
        if why is None:
            return
        if way is libraries and OWN in absent:
            continue
        if way is driver and driver_starts():
            continue
        print(f"The tests need a browser, and none starts here. Fetching {what}.", flush=True)
        try:
            way()
        except OSError as problem:
            absent.append(what)
            failed.append(f"{what}: {problem}")
            continue
        why = why_none_starts()
        if why is not None:
            failed.append(f"{what}: it is there and does not start: {why}")
    if why is not None:
        reasons = "\n".join(f"- {one}" for one in failed)
        sys.exit(f"No browser could be had:\n{reasons}\nInstall Chromium, and the tests take it.")


if __name__ == "__main__":
    fetch()
