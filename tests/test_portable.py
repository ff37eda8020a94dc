"""What a fresh machine gets: a browser for the tests, and the suite under other kernels."""

from __future__ import annotations

import http.server
import io
import os
import shutil
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from . import browsing, fetch_browser, kernels
from .profiles import its_turn


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without any browser, and with no commands but those that a test writes."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PLAYWRIGHT_BROWSERS_PATH", str(tmp_path / "browsers"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def write(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def browser_here() -> str:
    """Where this machine's browser is, or Playwright's own among all that it has."""
    found = next(filter(None, map(shutil.which, browsing.NAMES)), None)
    if found:
        return found
    with browsing.sync_playwright() as driver:
        folder = Path(driver.chromium.executable_path).parents[2]
    return str(next(folder.glob("chromium_headless_shell-*/*/*headless[-_]shell")))


def test_a_browser_that_is_here_is_taken_and_nothing_is_fetched(
    capsys: pytest.CaptureFixture[str], browser_here: str, alone: Path
) -> None:
    write(alone / "chromium-browser", f'exec {browser_here} "$@"')
    write(alone / "chromium", "exit 1")  # is there, and does not start
    fetch_browser.fetch([("nothing", lambda: pytest.fail("it fetched"))])
    assert capsys.readouterr().out == ""


@its_turn(0)
def test_the_first_way_that_ends_in_a_browser_is_the_last_that_is_tried(
    capsys: pytest.CaptureFixture[str], browser_here: str, alone: Path
) -> None:
    def refused() -> None:
        raise OSError("no route to host")

    def installs() -> None:
        write(alone / "chromium", f'exec {browser_here} "$@"')

    never = ("too much", lambda: pytest.fail("it fetched too much"))
    ways = [("the first", refused), ("nothing", lambda: None), ("the third", installs), never]
    fetch_browser.fetch(ways)
    lead = "The tests need a browser, and none starts here. Fetching"
    assert capsys.readouterr().out.splitlines() == [
        f"{lead} {what}." for what in ("the first", "nothing", "the third")
    ]


@its_turn(1)
@pytest.mark.usefixtures("alone")
def test_where_no_browser_can_be_had_each_way_says_why(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No host of Playwright's, and no apt."""
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", "http://127.0.0.1:9")
    with pytest.raises(SystemExit) as ended:
        fetch_browser.fetch()
    told = capsys.readouterr().out
    assert "about 110 MB" in told
    assert "about 210 MB" in told
    said = str(ended.value.code).splitlines()
    assert said[0] == "No browser could be had:"
    assert said[1].startswith(f"- {fetch_browser.OWN}: ")
    assert "ECONNREFUSED" in said[1]
    assert said[2:] == [
        f"- {fetch_browser.SMALL}: there is no apt-get",
        f"- {fetch_browser.PACKAGE}: there is no apt-get",
        "Install Chromium, and the tests take it.",
    ]


@its_turn(2)
def test_playwrights_own_browser_is_fetched_and_found(
    capsys: pytest.CaptureFixture[str],
    browser_here: str,
    alone: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From a stand-in for its host, whose archive leads to the browser of this machine."""
    asked: list[str] = []

    class Host(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            name = Path(self.path).stem
            buffer = io.BytesIO()
            with zipfile.ZipFile(buffer, "w") as archive:
                for inside in (f"{name}/chrome-headless-shell", "chrome-linux/headless_shell"):
                    entry = zipfile.ZipInfo(inside)
                    entry.external_attr = 0o755 << 16
                    archive.writestr(entry, f'#!/bin/sh\nexec {browser_here} "$@"\n')
            self.send_response(200)
            self.send_header("Content-Length", str(len(buffer.getvalue())))
            self.end_headers()
            self.wfile.write(buffer.getvalue())

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Host) as host:
        thread = threading.Thread(target=host.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{host.server_port}"
            monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", address)
            monkeypatch.setenv("PATH", f"{alone}:/usr/bin:/bin")
            monkeypatch.setattr(browsing, "NAMES", ["none"])
            assert browsing.why_none_starts()
            fetch_browser.fetch()
            assert browsing.why_none_starts() is None
        finally:
            host.shutdown()
            thread.join()
    assert any("shell" in path for path in asked)
    assert capsys.readouterr().out.count("Fetching") == 1


@pytest.mark.parametrize("root", [True, False])
def test_packages_are_installed_as_root_or_by_sudo(
    root: bool, alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    told = alone / "told"
    write(alone / "apt-get", f'echo apt-get "$@" $DEBIAN_FRONTEND >> {told}')
    if not root:
        with pytest.raises(OSError, match="apt-get takes root, and there is no sudo"):
            fetch_browser.package("chromium")
        write(alone / "sudo", f'echo sudo $1 >> {told}; shift; exec "$@"')
    fetch_browser.package("chromium")
    lines = told.read_text(encoding="utf-8").splitlines()
    commands = [line for line in lines if line.startswith("apt-get")]
    assert commands == [
        "apt-get update -qq noninteractive",
        "apt-get install -qq --yes --no-install-recommends chromium fonts-dejavu-core"
        " noninteractive",
    ]
    assert [line for line in lines if line.startswith("sudo")] == ([] if root else ["sudo -n"] * 2)


def test_what_playwright_itself_needs_comes_first_and_only_where_it_does_not_start(
    alone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = alone / "told"
    write(alone / "apt-get", f'echo "$@" >> {told}')
    write(alone / "playwright", f"test -f {told}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(fetch_browser, "PLAYWRIGHT", [str(alone / "playwright")])
    whys = iter(["closed while reading", "closed while reading", None])
    monkeypatch.setattr(fetch_browser, "why_none_starts", lambda: next(whys))
    fetch_browser.fetch()
    lines = told.read_text(encoding="utf-8").splitlines()
    assert lines[1].endswith(" libatomic1")
    whys = iter(["nothing", "it lacks libraries", None])
    write(alone / "playwright", f'echo "$@" >> {told}')
    fetch_browser.fetch()
    lines = told.read_text(encoding="utf-8").splitlines()
    assert lines[2:] == ["--version", "install --only-shell chromium", "install-deps chromium"]


def test_a_command_that_fails_says_its_first_error(alone: Path) -> None:
    write(alone / "broken", "echo fine; echo 'E: Error: no space'; echo more; exit 3")
    with pytest.raises(OSError, match="broken: E: Error: no space"):
        fetch_browser.ran([str(alone / "broken")])
    write(alone / "mute", "exit 3")
    with pytest.raises(OSError, match="mute: status 3"):
        fetch_browser.ran([str(alone / "mute")])


def test_kernels_are_those_that_the_processor_can_run() -> None:
    features = {"AVX": True, "AVX2": True, "AVX512F": False, "X86_V3": True, "X86_V4": False}
    found = kernels.settings("x86_64", features, ["X86_V3", "X86_V4"])
    assert found == {
        "as it is": {},
        "narrow numpy": {"NPY_DISABLE_CPU_FEATURES": "X86_V3"},
        "Prescott": {"OPENBLAS_CORETYPE": "Prescott", "PYTHON_CPU_COUNT": "1"},
        "Nehalem": {"OPENBLAS_CORETYPE": "Nehalem"},
        "Sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge"},
        "Haswell": {"OPENBLAS_CORETYPE": "Haswell"},
        "Zen": {"OPENBLAS_CORETYPE": "Zen", "PYTHON_CPU_COUNT": "16"},
    }
    assert kernels.settings("riscv64", {}, []) == {"as it is": {}}
    assert "as it is" in kernels.here()


def test_what_computes_is_there_and_an_unknown_kernel_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert all(Path(kernels.ROOT, path).exists() for path in kernels.tests())
    names = {Path(path).name for path in kernels.tests()}
    assert {"snippets", "capacity", "test_keep.py"} < names
    assert "builder" not in names
    assert kernels.main(["Abacus"]) == 2
    assert capsys.readouterr().err.startswith("Abacus must be of as it is, ")
