"""Whatever a snippet does wrong ends as one clear message, and a build with it does not pass.

One run meets every fault at once: so all of them are reported, and none stops the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from textwrap import dedent

import pytest

from .project import GOOD, Outcome, Project, is_alive, wait_until

IMPORTS = """\
import os
import sys
from types import SimpleNamespace

import numpy as np
from matplotlib.figure import Figure

from serving_mathematics.support import checks

"""


@dataclass(frozen=True)
class Fault:
    """A module that goes wrong, and the function, the code on the line, and the message.

    What more is told, without a process of its own, `builder.worker` and `builder.runner` keep.
    """

    text: str
    function: str
    at: str  # the text of the line that the message names
    message: str


def fault(text: str, function: str, at: str, message: str) -> Fault:
    return Fault(IMPORTS + dedent(text), function, at, message)


FAULTS = {
    "check_fails": fault(
        """
        def check_doubling() -> None:
            checks.close("double(2)", 2 * 2.5, 4.0, atol=0.1)
        """,
        "check_doubling",
        '    checks.close("double(2)", 2 * 2.5, 4.0, atol=0.1)',
        "AssertionError: double(2): got 5, expected 4 (± 0.1)",
    ),
    "check_in_a_helper_fails": fault(
        """
        def compare() -> None:
            checks.equal("answer", 41, 42)


        def check_answer() -> None:
            compare()
        """,
        "check_answer",
        '    checks.equal("answer", 41, 42)',
        "AssertionError: answer: got 41, expected 42 (exact)",
    ),
    "check_is_asynchronous": fault(
        """
        async def check_later() -> None:
            checks.equal("answer", 42, 42)
        """,
        "check_later",
        "async def check_later() -> None:",
        "AssertionError: check_later compared nothing",
    ),
    "import_missing": fault(
        """
        from serving_mathematics.faults import nowhere
        """,
        "import",
        "from serving_mathematics.faults import nowhere",
        "ImportError: cannot import name 'nowhere'",
    ),
    "syntax_error": fault(
        """
        def broken(:
            pass
        """,
        "import",
        "def broken(:",
        "SyntaxError: invalid syntax",
    ),
    "leaves_with_0": fault(
        """
        def check_leaving() -> None:
            checks.equal("answer", 42, 42)
            os._exit(0)
        """,
        "check_leaving",
        "def check_leaving() -> None:",
        "ended its process with exit status 0 before it was done",
    ),
    "slider_that_stumbles": fault(
        """
        def figure_wait(figure: Figure) -> None:
            figure.add_subplot().plot([0, 1])


        def slider_wait() -> dict[str, object]:
            values = [1 / load for load in (1, 0)]
            return {"curves": values}
        """,
        "slider_wait",
        "    values = [1 / load for load in (1, 0)]",
        "ZeroDivisionError: division by zero",
    ),
    "example_is_no_function": fault(
        """
        example = 3
        """,
        "example",
        "import os",  # a number has no line of its own
        "TypeError: 'int' object is not callable",
    ),
    "figure_cannot_be_saved": fault(
        r"""
        def figure_label(figure: Figure) -> None:
            figure.add_subplot(xlabel=r"$\nocommand$").plot([1, 2])
        """,
        "figure_label",
        "def figure_label(figure: Figure) -> None:",
        r"Unknown symbol: \nocommand",
    ),
    "figure_lacks_a_glyph": fault(
        """
        def figure_glyph(figure: Figure) -> None:
            figure.add_subplot(xlabel="\\U0001f0e1 [1]").plot([1, 2])
        """,
        "figure_glyph",
        "def figure_glyph(figure: Figure) -> None:",
        "UserWarning: Glyph 127201",
    ),
    "example_of_infinity": fault(
        """
        def example() -> SimpleNamespace:
            return SimpleNamespace(wait=float("inf"))
        """,
        "example",
        "def example() -> SimpleNamespace:",
        "TypeError: example field wait must be a number or a text, got inf",
    ),
    "example_of_a_truth": fault(
        """
        def example() -> SimpleNamespace:
            return SimpleNamespace(stable=True)
        """,
        "example",
        "def example() -> SimpleNamespace:",
        "TypeError: example field stable must be a number or a text, got True",
    ),
    "hints_of_a_list": fault(
        'HINTS = ["a"]',
        "HINTS",
        IMPORTS.split("\n")[0],
        "AttributeError: 'list' object has no attribute 'items'",
    ),
    "divides_by_zero": fault(
        """
        def rate() -> np.ndarray:
            return np.ones(2) / np.zeros(2)


        def check_rate() -> None:
            checks.equal("values", rate().size, 2)
        """,
        "check_rate",
        "    return np.ones(2) / np.zeros(2)",
        "RuntimeWarning: divide by zero encountered",
    ),
    "takes_much_memory": fault(
        """
        def check_memory() -> None:
            checks.equal("values", np.empty(2**30).size, 2**30)
        """,
        "check_memory",
        '    checks.equal("values", np.empty(2**30).size, 2**30)',
        "MemoryError: Unable to allocate 8.00 GiB",
    ),
    "message_not_in_unicode": fault(
        """
        def check_bytes() -> None:
            raise ValueError(os.fsdecode(b"bad \\xff byte"))
        """,
        "check_bytes",
        '    raise ValueError(os.fsdecode(b"bad \\xff byte"))',
        "ValueError: bad \\udcff byte",
    ),
}

ODD = {
    "prints_binary": """
        print("≤ \\udcff")
        sys.stdout.buffer.write(bytes(range(256)))
        os.write(2, bytes(range(256)))
        """,
    "prints_megabytes": """
        sys.stdout.write("x" * 8_000_000)
        """,
    "prints_to_the_last": """
        import atexit
        import subprocess
        import threading

        atexit.register(print, "the last word")
        threading.Timer(0.3, print, ["from a thread"]).start()
        threading.Thread(target=threading.Event().wait).start()
        subprocess.Popen([sys.executable, "-c", "while True: print('from a child')"])
        """,
    "changes_folder": """
        os.chdir("/")
        """,
    "told_of_a_product_falsely": """
        import warnings

        warnings.warn("divide by zero encountered in matmul", RuntimeWarning)
        """,
    "closes_its_output": """
        def check_output() -> None:
            checks.equal("answer", 42, 42)
            sys.stdout.close()
        """,
}
CHECK = """
def check_answer() -> None:
    checks.equal("≤ answer", 42, 42)


"""


IMPORTS_BROKEN = "from serving_mathematics.faults import syntax_error\n"


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Outcome]:
    """Every fault in one run, beside modules that are odd but right."""
    project = Project.make(tmp_path_factory.mktemp("faults"))
    for name, case in FAULTS.items():
        project.module(f"faults.{name}", case.text)
    project.module("faults.imports_syntax_error", IMPORTS_BROKEN)
    for name, text in ODD.items():
        project.module(f"faults.{name}", IMPORTS + CHECK + dedent(text))
    return project, project.run(
        "--timeout", "600", SNIPPETS_CACHE="../cache", PYTHONIOENCODING="ascii"
    )


@pytest.mark.parametrize("name", FAULTS)
def test_fault_is_reported_with_function_line_and_message(
    name: str, faulty: tuple[Project, Outcome]
) -> None:
    project, outcome = faulty
    case = FAULTS[name]
    line = case.text.split("\n").index(case.at) + 1
    place = f"snippets/serving_mathematics/faults/{name}.py:{line}: {case.function}: "
    assert outcome.text.count(place) == 1, f"not once: {place}\n{outcome.text}"
    report = outcome.text.partition(place)[2].partition("\nsnippets/")[0]
    assert case.message.encode("ascii", "backslashreplace").decode() in report
    assert project.record(f"faults.{name}").failed


def test_what_keeps_two_modules_from_being_imported_is_told_once(
    faulty: tuple[Project, Outcome],
) -> None:
    project, outcome = faulty
    assert project.record("faults.imports_syntax_error").failed
    assert "faults/imports_syntax_error.py" not in outcome.text
    (told,) = (line for line in outcome.text.split("\n") if "/syntax_error.py:" in line)
    assert "import: SyntaxError: invalid syntax: " in told


@pytest.mark.parametrize("name", ODD)
def test_odd_module_passes(name: str, faulty: tuple[Project, Outcome]) -> None:
    run = faulty[0].record(f"faults.{name}")
    assert run.record["failures"] == []
    assert run.record["checks"][0]["comparisons"][0]["label"] == "≤ answer"


def test_run_with_failures_exits_with_1_and_leaves_nothing_half_done(
    faulty: tuple[Project, Outcome],
) -> None:
    project, outcome = faulty
    assert outcome.status == 1
    names = [*FAULTS, *ODD, "imports_syntax_error"]
    assert all(project.record(f"faults.{name}") for name in names)
    assert len(
        re.findall(r"^snippets/serving_mathematics/faults/", outcome.text, re.MULTILINE)
    ) == len(FAULTS)
    assert "Traceback" not in outcome.text
    assert project.leftovers == []


HANGS = """
import subprocess
import sys
import threading
from pathlib import Path

from serving_mathematics.support import checks


def check_endless() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(__file__, "../../../../.child").resolve().write_text(str(child.pid))
    threading.Event().wait()
"""


DEAF = "import signal\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)"


@pytest.mark.parametrize("deaf", ["", DEAF])
def test_hanging_module_is_ended_with_its_children(deaf: str, project: Project) -> None:
    text = HANGS.replace("\n\n\n", f"\n{deaf}\n\n", 1)
    project.module("part.endless", text)
    outcome = project.run("--timeout", "2")
    assert outcome.status == 1
    line = text.lstrip("\n").split("\n").index("def check_endless() -> None:") + 1
    assert (
        f"snippets/serving_mathematics/part/endless.py:{line}: check_endless: Ended:"
        " ran longer than the limit of 2 s and was ended" in outcome.text
    )
    child = int((project.root / ".child").read_text())
    wait_until(lambda: not is_alive(child), "the child to end")
    assert project.leftovers == []


LEAVES = """
import os
import subprocess
import sys
import time
from pathlib import Path

from serving_mathematics.support import checks


def check_left() -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    leave = f"import subprocess; print(subprocess.Popen({sleep}, stdout=-3).pid)"
    pids = [subprocess.Popen(sleep).pid, subprocess.check_output([sys.executable, "-c", leave])]
    if (forked := os.fork()) == 0:
        time.sleep(600)
    pids += [forked]
    Path(__file__, "../../../../.pids").resolve().write_text(" ".join(str(int(p)) for p in pids))
    checks.equal("answer", 42, 42)
    END
"""


@pytest.mark.parametrize(
    ("end", "told"),
    [
        ("pass", ""),
        ("os.abort()", "check_left: Ended: was ended by signal SIGABRT"),
        ("os._exit(3)", "check_left: Ended: ended its process with exit status 3"),
    ],
)
def test_what_a_module_leaves_running_ends_with_it(end: str, told: str, project: Project) -> None:
    """Also what its parent left behind, and what it forked, for which nobody waits."""
    project.module("part.leaves", LEAVES.replace("END", end))
    outcome = project.run("part.leaves")
    pids = [int(pid) for pid in (project.root / ".pids").read_text().split()]
    wait_until(lambda: not any(map(is_alive, pids)), "what was left to end")
    assert outcome.status == bool(told), outcome.text
    assert told in outcome.text


ENDS_ITS_WORKER = """
import os
import threading
from pathlib import Path

Path(__file__, "../../../../.pid").resolve().write_text(str(os.getpid()))
os.kill(os.getppid(), 9)
threading.Event().wait()
"""


def test_a_worker_that_ends_is_the_failure_of_its_module_and_others_run(project: Project) -> None:
    """As when the system is out of memory; the module ends after its time."""
    project.module("part.ends", ENDS_ITS_WORKER)
    for name in ("part.one", "part.two"):
        project.module(name, "VALUE = 1\n")
    outcome = project.run("--timeout", "3")
    assert outcome.status == 1
    assert "part/ends.py:1: import: Ended: was ended by signal SIGKILL" in outcome.text
    assert outcome.ran >= {"part.one", "part.two"}
    wait_until(lambda: not is_alive(int((project.root / ".pid").read_text())), "the module to end")


def test_an_endless_import_of_what_others_stand_on_is_told_of_each(project: Project) -> None:
    """It is imported before they are forked, and ends the process that they are forked from."""
    project.module("core.endless", "while True:\n    pass\n")
    project.module("part.user", "from serving_mathematics.core import endless\n")
    project.module("part.well", "VALUE = 1\n")
    outcome = project.run("--timeout", "1")
    told = r"/(\w+)\.py:1: import: Ended: ran longer than the limit of 1 s and was ended"
    assert re.findall(told, outcome.text) == ["endless", "user"]
    assert not project.record("part.well").failed


def test_a_process_that_modules_cannot_fork_from_is_a_sentence(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a package is damaged, of which Python tells above."""
    project.module("part.one", "VALUE = 1\n")
    monkeypatch.setattr(Project, "_forked_from", "raise SystemExit(3)")
    outcome = project.run()
    assert outcome.status == 2
    assert outcome.text == (
        "error: no module could be run: the process that they fork from ended with 3\n"
    )
    assert project.leftovers == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["part.nowhere"], "error: no module part.nowhere: "),
        (["--timeout", "-1"], "error: --timeout must be a positive number, got -1"),
        (["--timeout", "nan"], "error: --timeout must be a positive number, got nan"),
        (["--timeout", "inf"], "error: --timeout must be a positive number, got inf"),
    ],
)
def test_wrong_argument_is_refused(arguments: list[str], message: str, project: Project) -> None:
    outcome = project.run(*arguments)
    assert outcome.status == 2
    assert message in outcome.text
    assert "Traceback" not in outcome.text


def test_a_style_that_cannot_be_read_is_the_failure_of_figures(project: Project) -> None:
    project.module("part.twice", GOOD)
    (project.root / "snippets/serving_mathematics/house.mplstyle").write_bytes(b"\xff\xfe: \x00\n")
    outcome = project.run()
    assert outcome.status == 1, outcome.text
    assert ": figure_line: UnicodeDecodeError: " in outcome.text
