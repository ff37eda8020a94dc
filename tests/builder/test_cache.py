"""Runs once, again only when something it depends on changed, and never leaves half a record."""

from __future__ import annotations

import json
import os
import py_compile
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from builder import BuildError, runner, worker
from builder.runner import STALE_S, cached
from builder.source import Sources, default_cache, module_names

from .project import GOOD, SLIDER, Project, is_alive, wait_until

CHECK = """
from serving_mathematics.support import checks


def check_value() -> None:
    checks.equal("value", value, value)
"""


def chain(project: Project) -> None:
    """`base` ← `middle` ← `top`, and `stranger` by itself."""
    project.module("part.base", f"value = 1\n{CHECK}")
    project.module("part.middle", f"from .base import value\n{CHECK}")
    project.module(
        "part.top", f"import serving_mathematics.part.middle as m\n\nvalue = m.value\n{CHECK}"
    )
    project.module("part.stranger", f"value = 1\n{CHECK}")


ALL = {"part.base", "part.middle", "part.top", "part.stranger"}


def stale(project: Project) -> set[str]:
    sources = Sources(project.root, project.cache)
    return {n for n in module_names(project.root) if not cached(sources, n)}


def test_edit_runs_the_module_and_what_imports_it_and_nothing_else(project: Project) -> None:
    chain(project)
    assert project.run().ran == ALL
    assert stale(project) == set()
    middle = project.root / "snippets/serving_mathematics/part/middle.py"
    before = middle.read_text(encoding="utf-8")
    middle.write_text(before + "value += 1\n", encoding="utf-8")
    assert project.run().ran == {"part.middle", "part.top"}
    unchanged = project.run()
    assert (unchanged.status, unchanged.ran) == (0, set())
    assert "4 modules: 0 run, 4 from the cache" in unchanged.text

    middle.write_text(before, encoding="utf-8")
    assert stale(project) == set(), "the record of the earlier version is still there"
    project.module("part.base", f"value = 2\n{CHECK}")
    assert stale(project) == {"part.base", "part.middle", "part.top"}
    with (project.root / "snippets/serving_mathematics/house.mplstyle").open(
        "a", encoding="utf-8"
    ) as style:
        style.write("\n")
    assert stale(project) == ALL


READS = """
import os
from pathlib import Path

import numpy as np

from serving_mathematics.support import checks

DATA = Path(__file__).parents[1] / "records"


def check_data() -> None:
    rows = np.loadtxt(DATA / "rows.csv")
    with open(os.fsencode(DATA / "count.txt")) as file:
        checks.equal("rows", len(rows), int(file.read()))
    upwards = DATA / ".." / ".." / "serving_mathematics" / "records" / "upwards.txt"
    checks.holds("upwards", bool(upwards.read_text()))
    try:
        (DATA / "optional.txt").read_text()
    except FileNotFoundError:
        pass
"""


def test_change_of_a_file_that_a_module_reads_makes_it_stale(project: Project) -> None:
    project.module("part.reads", READS)
    rows = project.write("snippets/serving_mathematics/records/rows.csv", "1\n2\n3\n")
    count = project.write("snippets/serving_mathematics/records/count.txt", "3")
    upwards = project.write("snippets/serving_mathematics/records/upwards.txt", "up")
    outcome = project.run()
    assert outcome.status == 0, outcome.text

    def fresh() -> bool:
        return cached(Sources(project.root, project.cache), "part.reads") is not None

    assert fresh()
    for file in (rows, count, upwards):
        content = file.read_bytes()
        file.write_bytes(content + b"\n")
        assert not fresh(), file.name
        file.unlink()
        assert not fresh(), file.name
        file.write_bytes(content)
        assert fresh(), file.name
    project.write("snippets/serving_mathematics/records/optional.txt", "")
    assert not fresh()
    (project.root / "snippets/serving_mathematics/records/optional.txt").unlink()
    project.write("snippets/serving_mathematics/records/other.txt", "")
    assert fresh()

    count.write_text("4")
    outcome = project.run()
    assert outcome.ran == {"part.reads"}
    assert "rows: got 3, expected 4" in outcome.text


def test_a_record_that_is_damaged_is_made_anew(project: Project) -> None:
    project.module("part.base", f"value = 1\n{CHECK}")
    project.module("part.other", f"value = 1\n{CHECK}")
    assert project.run().status == 0
    kept = project.record("part.base").folder / worker.RECORD
    whole = kept.read_bytes()
    others = (project.record("part.other").folder / worker.RECORD).read_bytes()
    for damaged in (b"", whole[:-1], others, whole.replace(b'"1"', b'"7"')):
        kept.write_bytes(damaged)
        assert stale(project) == {"part.base"}
    assert project.run().ran == {"part.base"}
    [compared] = project.record("part.base").record["checks"][0]["comparisons"]
    assert compared["got"] == "1"


def test_a_figure_that_is_damaged_is_drawn_anew(project: Project) -> None:
    project.module("part.twice")
    assert project.run().status == 0
    figure = project.record("part.twice").folder / "line-light.svg"
    whole = figure.read_bytes()
    for damaged in (whole[:-1], b""):
        figure.write_bytes(damaged)
        assert stale(project) == {"part.twice"}
    figure.unlink()
    assert project.run().ran == {"part.twice"}
    assert figure.read_bytes() == whole
    assert stale(project) == set()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose only module, `part.twice`, ran."""
    project = Project.make(tmp_path_factory.mktemp("ran"))
    project.module("part.twice")
    assert project.run().status == 0
    return project


def test_cache_that_cannot_be_written_is_refused_only_when_something_must_run(
    ran: Project,
) -> None:
    below_a_file = ran.write("file", "") / "cache"
    outcome = Project(ran.root, below_a_file).run()
    assert outcome.status == 2
    assert outcome.text == (
        f"error: cannot write the cache {below_a_file}: Not a directory;"
        " set SNIPPETS_CACHE to a folder that can be written\n"
    )

    # A cache that holds everything is only read: neither it nor any folder in it changes.
    folders = [ran.cache, *(path for path in ran.cache.rglob("*") if path.is_dir())]
    before = {folder: folder.stat().st_mtime_ns for folder in folders}
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert ran.run().status == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert {folder: folder.stat().st_mtime_ns for folder in folders} == before


def test_full_disk_is_reported_and_leaves_nothing(project: Project) -> None:
    project.module("part.base", f"value = 1\n{CHECK}")
    project.draw_nothing()
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (128, 128));"
        " sys.argv[0] = 'engine'; runpy.run_module('builder', run_name='__main__')"
    )
    assert hasattr(resource, "RLIMIT_FSIZE")
    done = subprocess.run(
        [sys.executable, "-B", "-c", limited],
        cwd=project.root,
        env=project.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert re.search(rf"error: {project.cache}/\S+: File too large", done.stderr)
    assert "Traceback" not in done.stderr
    left = [path for path in project.cache.rglob("*") if path.is_file()]  # what fits is whole
    assert {(path.parent.name, path.suffix) for path in left} <= {("syntax", ".py")}
    assert {path.name for path in project.cache.iterdir()} == {"syntax"}


def test_cache_is_relative_to_the_project(
    monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    monkeypatch.setenv("SNIPPETS_CACHE", "records")
    assert default_cache(project.root) == project.root / "records"
    monkeypatch.setenv("SNIPPETS_CACHE", str(project.cache))
    assert default_cache(project.root) == project.cache
    monkeypatch.delenv("SNIPPETS_CACHE")
    assert default_cache(project.root) == project.root / ".cache" / "snippets"


def test_record_that_another_run_put_there_first_is_kept(ran: Project) -> None:
    entry = ran.record("part.twice").folder
    folder = ran.cache / "tmp-part.twice-later"
    shutil.copytree(entry, folder)
    identity = entry.stat().st_ino
    run = runner._kept(Sources(ran.root, ran.cache), "part.twice", folder)
    shutil.rmtree(folder)
    assert run is not None
    assert run.folder == entry
    assert entry.stat().st_ino == identity
    assert ran.leftovers == []


WAITS = """
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]

child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
unfinished = ROOT / ".pids"
unfinished.write_text(f"{os.getpid()} {child.pid}")
unfinished.rename(ROOT / "pids")
time.sleep(600)
"""


def killed(project: Project, *command: str) -> None:
    """Kill a command while `part.waits` runs; wait until the module and its child are gone."""
    project.module("part.waits", WAITS)
    project.draw_nothing()
    pids = project.root / "pids"
    with project.started(*command, log=project.root.parent / "log") as process:
        wait_until(pids.exists, "the module to run")
        process.kill()
        process.wait()
    running = [int(pid) for pid in pids.read_text().split()]
    wait_until(lambda: not any(is_alive(pid) for pid in running), "the workers to end")
    assert not (project.cache / "part.waits").exists()


def test_build_after_a_killed_one_is_clean(project: Project) -> None:
    killed(project, "mkdocs", "build", "-q")
    assert project.site_files == []
    project.chapter("part.twice")  # which nobody can still be running
    project.module("part.waits", "value = 1\n")
    project.write("docs/part/waits.md", "# Waits\n")
    assert project.leftovers
    for name in project.leftovers:
        os.utime(project.cache / name, (0, time.time() - STALE_S - 1))
    fresh = project.cache / "tmp-part.other-running"
    fresh.mkdir()
    outcome = project.build("-q")
    assert (outcome.status, outcome.text) == (0, "")
    assert project.leftovers == [fresh.name]
    assert not project.record("part.waits").failed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(number: signal.Signals, project: Project) -> None:
    project.module("part.waits", WAITS)
    project.draw_nothing()
    pids = project.root / "pids"
    log = project.root.parent / "log"
    with project.started("builder", log=log) as run:
        wait_until(pids.exists, "the module to run")
        run.send_signal(number)
        assert run.wait(timeout=60) == 128 + number
    assert project.leftovers == []
    running = [int(pid) for pid in pids.read_text().split()]
    wait_until(lambda: not any(map(is_alive, running)), "the workers to end")
    assert "Traceback" not in log.read_text()


EDITED = """
import time
from pathlib import Path

from serving_mathematics.support import checks
from serving_mathematics.part.limit import LIMIT

ROOT = Path(__file__).parents[3]
DATA = int((ROOT / "data.txt").read_text())


def check_limit() -> None:
    checks.equal("limit", (LIMIT, DATA), (1, 1))
    if not (ROOT / ".seen").exists():
        (ROOT / ".seen").write_text("")
        while not (ROOT / "edited").exists():
            time.sleep(0.05)
"""


@pytest.mark.parametrize(
    ("path", "text"),
    [("snippets/serving_mathematics/part/limit.py", "LIMIT = 2\n"), ("data.txt", "2")],
)
def test_edit_during_the_run_makes_it_run_again(path: str, text: str, project: Project) -> None:
    project.module("part.limit", "LIMIT = 1\n")
    project.module("part.edited", EDITED)
    project.write("data.txt", "1")
    with ThreadPoolExecutor(1) as threads:
        runs = threads.submit(runner.run_all, Sources(project.root, project.cache))
        wait_until((project.root / ".seen").exists, "the module to run")
        project.write(path, text)
        project.write("edited", "")
        (told,) = runner.failures(runs.result(timeout=60))
    assert "limit: got [" in told  # what stood there when the check ran again
    assert project.record("part.edited").failed
    assert len(list((project.cache / "part.edited").iterdir())) == 1


def test_what_a_module_reads_are_the_project_s_own_files(project: Project) -> None:
    """Not those of its cache, wherever that lies, of its environment, of what Python makes of it;
    and not modules, whose text counts as such."""
    project = replace(project, cache=project.root / "records")
    names = "data.txt", "own.egg-info/PKG-INFO", "__pycache__/a.pyc", ".venv/data.txt", "data.py"
    for name in names:
        project.write(name, "1")
    project.module(
        "part.reads",
        f"""
        from pathlib import Path

        from serving_mathematics.support import checks


        def check_one():
            for name in {names}:
                checks.equal(name, Path(__file__).parents[3].joinpath(name).read_text(), "1")
        """,
    )
    assert project.run().status == 0
    assert [*project.record("part.reads").record["reads"]] == ["data.txt"]


def test_module_that_writes_into_the_project_fails_where_it_does(project: Project) -> None:
    """However it opens the file; a temporary folder is its own."""
    path = project.write("data.txt", "1")
    project.module(
        "part.writes",
        """
        import os
        import tempfile
        from pathlib import Path

        DATA = Path(__file__).parents[3] / "data.txt"


        def check_one():
            with tempfile.TemporaryFile() as file:
                file.write(b"2")
            DATA.write_text("2")


        def check_two():
            os.open(DATA.with_name("new.txt"), os.O_RDWR | os.O_CREAT)
        """,
    )
    outcome = project.run()
    assert outcome.status == 1
    for line, check, name in ((11, "one", "data.txt"), (15, "two", "new.txt")):
        told = f"part/writes.py:{line}: check_{check}: PermissionError: {name} is a file of the pro"
        assert told in outcome.text
    assert path.read_text() == "1"
    assert not path.with_name("new.txt").exists()


DRAWS = """
import numpy as np
from matplotlib.figure import Figure


def figure_walk(figure: Figure) -> None:
    \"\"\"A walk.\"\"\"
    axes = figure.add_subplot(xlabel="step [1]", ylabel=r"place $x$ [1]")
    rng = np.random.default_rng(7)
    for label in "ab":
        axes.plot(rng.normal(size=200).cumsum(), label=label)
    axes.scatter(np.arange(20), rng.normal(size=20))
    axes.legend()


def figure_map(figure: Figure) -> None:
    \"\"\"A map.\"\"\"
    axes = figure.add_subplot(xlabel="x", ylabel="y")
    figure.colorbar(axes.imshow(np.random.default_rng(7).random((9, 9))))
"""


def test_two_cold_runs_draw_the_same_bytes_and_have_sets_in_one_order(project: Project) -> None:
    """Of two processes, of which the second has a seed of its own, with which the words of the set
    are in another order, and a backend for drawing that is not there and not asked for."""
    words = "{'one', 'two', 'three', 'four', 'five', 'six'}"
    project.module("part.drawn", f"{GOOD}{SLIDER}\n\nvalue = str(list({words}))\n{CHECK}\n{DRAWS}")
    found = []
    for environment in ({}, {"PYTHONHASHSEED": "1", "MPLBACKEND": "nowhere"}):
        cache = project.root.parent / f"cache{len(found)}"
        outcome = Project(project.root, cache).run(**environment)
        assert (outcome.status, outcome.ran) == (0, {"part.drawn"}), outcome.text
        run = Project(project.root, cache).record("part.drawn")
        drawn = {file.name: file.read_bytes() for file in run.folder.glob("*.svg")}
        compared = [check["comparisons"] for check in run.record["checks"]]
        found.append((drawn, json.dumps(run.record["sliders"]), compared))
    assert len(found[0][0]) == 12
    assert "Doubled {times}" in found[0][1]
    assert found[0] == found[1]


def test_engine_that_was_edited_since_it_started_runs_nothing(
    monkeypatch: pytest.MonkeyPatch, project: Project
) -> None:
    project.module("part.twice")
    monkeypatch.setattr(runner, "_LOADED", "another")
    with pytest.raises(BuildError, match="the builder was edited since it started; stop it and"):
        runner.run_all(Sources(project.root, project.cache))
    assert not (project.cache / "part.twice").exists()


def test_bytecode_of_an_earlier_text_is_not_run(project: Project) -> None:
    """An edit within a second, of the same length, leaves bytecode that Python takes for fresh."""
    project.module("part.base", f"value = 1\n{CHECK}")
    path = project.module("part.top", f"from serving_mathematics.part.base import value\n{CHECK}")
    base = path.with_name("base.py")
    py_compile.compile(str(base), doraise=True)
    made = base.stat()
    base.write_text(f"value = 2\n{CHECK}", encoding="utf-8")
    os.utime(base, ns=(made.st_atime_ns, made.st_mtime_ns))
    assert project.run().status == 0
    rows = project.record("part.top").record["checks"][0]["comparisons"]
    assert rows[0]["got"] == "2"


def test_an_edit_of_what_a_worker_has_imported_counts(project: Project) -> None:
    """Before it runs modules, a worker imports what they stand on, once for all of them."""
    given = (
        "from types import SimpleNamespace\n\n\ndef example():\n    return SimpleNamespace(a=value)"
    )
    project.module(
        "part.top", f"from serving_mathematics.core.low import value\n{CHECK}\n{given}\n"
    )
    for value in (1, 2):
        project.module("core.low", f"value = {value}\nprint(value)\n{CHECK}")
        assert project.run().status == 0
        assert project.record("part.top").record["example"] == {"a": value}
    project.module("core.low", f"value = 2\n{CHECK}").unlink()
    assert "No module named 'serving_mathematics.core.low'" in project.run().text
    project.module("core.low", "value = 1 / 0\n")
    assert (
        project.run().text.count("core/low.py:1: import: ZeroDivisionError: division by zero") == 1
    )
