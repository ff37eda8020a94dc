"""What the engine knows of a module without running it: symbols, imports, digest."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path
from textwrap import dedent

import pytest

from builder import BuildError, Missing, source
from builder.directives import bundle
from builder.outline import read
from builder.source import MOST_COPIED, Module, Sources, module_names, self_contained, to_copy

from .project import Project

SOURCE = dedent(
    '''
    """A module."""

    from __future__ import annotations

    import functools
    import math, os.path
    import numpy as np
    from collections import (
        Counter as Bag,
        deque,  # (unused)
    )

    BASE: float = 2.0
    LOW, (HIGH, *REST) = 1.0, (3.0, 4.0)
    LABEL = "unused"


    def half(value: float) -> float:
        """Half of it, in
        two lines."""
        return value / BASE


    @functools.cache
    def quarter(value: float) -> float:
        return half(half(value)) if value > LOW else np.nan


    class Tally:
        bag: Bag[str] = Bag()

        def add(self, name: str) -> None:
            self.bag[name] += 1


    def drawing() -> deque:
        return deque()
    '''
).lstrip("\n")


def shown(source: str, name: str) -> str:
    """The lines of a definition."""
    module = Module("part.own", source, read(source.encode()))
    return module.shown(module.outline.symbols[name])


def copied(source: str, *names: str, **others: str) -> str:
    """What the button copies of a module, which may import the others from the package."""
    texts = {"part.own": source} | {f"part.{name}": text for name, text in others.items()}
    modules = {name: Module(name, text, read(text.encode())) for name, text in texts.items()}
    return self_contained(modules["part.own"], names, modules.__getitem__)


def test_modules_are_found_and_what_is_private_is_not(project: Project) -> None:
    for path in ("b/two", "a/one", "a/_hidden", "a/more/one", "_engine/own", "support/own", "top"):
        project.write(f"snippets/serving_mathematics/{path}.py", "")
    assert module_names(project.root) == ["a.more.one", "a.one", "b.two"]


@pytest.mark.parametrize("separator", ["\f", "\x1c", "\x85", "\u2028", "\v"])
def test_characters_that_end_no_line_of_python_shift_nothing(separator: str) -> None:
    source = f'TEXT = "a{separator}b"\n# {separator}\nVALUE = 1\nREST = 2\n'
    assert shown(source, "VALUE") == "VALUE = 1"
    assert copied(source, "VALUE") == "VALUE = 1\n"


def test_a_parameter_is_not_the_definition_of_its_name() -> None:
    source = (
        "LOAD = 1\n\n\ndef load(of=LOAD):\n    return of\n\n\n"
        "def ratio(load: float) -> float:\n    return (lambda LOAD: LOAD)(1 / load)\n"
    )
    assert copied(source, "ratio").startswith("def ratio(")
    assert copied(source, "load").startswith("LOAD = 1\n")


def test_copied_code_runs_though_a_module_is_needed_twice() -> None:
    """First for what needs nothing, then for what needs a third module."""
    head = "from serving_mathematics.part."
    code = copied(
        f"{head}second import DOUBLE, ONE\nHERE = DOUBLE\nALONE = ONE\n",
        *("HERE", "ALONE"),
        second=f"{head}third import BASE\nONE = 1\nDOUBLE = 2 * BASE\n",
        third="BASE = 3\n",
    )
    space: dict[str, object] = {}
    exec(code, space)
    assert (space["HERE"], space["ALONE"]) == (6, 1)


def test_copied_code_brings_what_it_needs_and_nothing_else() -> None:
    assert copied(SOURCE, "quarter") == dedent(
        '''
        import functools
        import numpy as np


        BASE: float = 2.0


        LOW, (HIGH, *REST) = 1.0, (3.0, 4.0)


        def half(value: float) -> float:
            """Half of it, in
            two lines."""
            return value / BASE


        @functools.cache
        def quarter(value: float) -> float:
            return half(half(value)) if value > LOW else np.nan
        '''
    ).lstrip("\n")


HALVES = """\
from serving_mathematics.part.checked import ok


def half(value):
    return ok(value) / _two()


def _two():
    return 2.0
"""
FINITE = """\
import math


def ok(value):
    assert math.isfinite(value)
    return value
"""


def test_copied_code_brings_what_it_needs_from_other_modules() -> None:
    source = """\
    from __future__ import annotations
    from serving_mathematics.part.checked import ok
    from .halves import half


    def quarter(value):
        return half(half(ok(value)))
    """
    text = copied(dedent(source), "quarter", halves=HALVES, checked=FINITE)
    namespace: dict[str, object] = {}
    exec(text, namespace)
    assert eval("quarter(6.0)", namespace) == 1.5
    assert text.startswith("import math\n")
    assert "serving_mathematics" not in text
    assert text.count("def ok(") == 1
    assert text.index("def ok(") < text.index("def half(") < text.index("def quarter(")


def test_a_copy_brings_the_rules_in_their_short_form() -> None:
    head = "from serving_mathematics.support.require import ok\n\n\n"
    own = head + "def half(x):\n    return ok(x) / 2\n"
    texts = {"part.own": own, "support.require": "def ok(x):\n    return long(x)\n"}
    texts["support.short_require"] = "def ok(x):\n    return x\n"
    modules = {name: Module(name, text, read(text.encode())) for name, text in texts.items()}
    copy = self_contained(modules["part.own"], ["half"], modules.__getitem__)
    assert copy == "def ok(x):\n    return x\n\n\ndef half(x):\n    return ok(x) / 2\n"


@pytest.mark.parametrize("needs", ["the package", "many lines"])
def test_what_is_long_or_needs_the_package_is_copied_with_imports(needs: str) -> None:
    own = dedent(
        """\
        import math
        from serving_mathematics.part.halves import half

        LIMIT = 2


        def quarter(value):
            return half(half(min(value, LIMIT)))


        def other(value):
            return math.inf
        """
    )
    reads = "from importlib.resources import files\n\n\ndef half(value):\n    return files()\n"
    long = "def half(value):\n" + "    value = value\n" * MOST_COPIED
    halves = reads if needs == "the package" else long
    texts = {"part.own": own, "part.halves": halves}
    modules = {name: Module(name, text, read(text.encode())) for name, text in texts.items()}
    assert to_copy(modules["part.own"], ["quarter"], modules.__getitem__) == (
        "from serving_mathematics.part.halves import half\n"
        "from serving_mathematics.part.own import LIMIT\n\n\n"
        "def quarter(value):\n    return half(half(min(value, LIMIT)))\n"
    )
    assert to_copy(modules["part.own"], ["other"], modules.__getitem__).startswith("import math\n")


def test_copied_names_that_clash_are_an_error() -> None:
    own = """\
    from serving_mathematics.part.halves import half


    def _two():
        return 3.0


    def sixth(value):
        return half(value) / _two()
    """
    with pytest.raises(BuildError, match=r"_two of part\.halves and _two of part\.own are"):
        copied(dedent(own), "sixth", halves=HALVES, checked=FINITE)
    same = dedent(own).replace("3.0", "2.0")
    assert copied(same, "sixth", halves=HALVES, checked=FINITE).count("def _two():") == 1


def test_renamed_import_cannot_be_taken_for_another_definition() -> None:
    """Under the name of another function of the same module, or of what that module imports."""
    both = HALVES + "\n\ndef other(value):\n    return value\n"
    own = "from serving_mathematics.part.halves import {} as {}\n\n\ndef f(x):\n    return {}(x)\n"
    with pytest.raises(BuildError, match="half as other cannot be copied"):
        copied(own.format("half", "other", "other"), "f", halves=both, checked=FINITE)
    again = "from serving_mathematics.part.halves import ok\n\n\ndef f(x):\n    return ok(x)\n"
    with pytest.raises(BuildError, match=r"part\.own:1: ok cannot be copied with what it needs"):
        copied(again, "f", halves=HALVES, checked=FINITE)


def test_what_a_module_that_python_cannot_read_defines_is_missing() -> None:
    """Its syntax error is told where it stands, and not again by whoever copies from it."""
    own = "from serving_mathematics.part.halves import half\n\n\ndef f(x):\n    return half(x)\n"
    with pytest.raises(Missing, match="half cannot be copied"):
        copied(own, "f", halves="def half(x:\n", checked=FINITE)


@pytest.mark.parametrize(
    "beside",
    [
        "WIDE += [2]",
        "WIDE[0] = 2",
        "WIDE.append(2)",
        "WIDE = [2]",
        "if len(WIDE):\n    WIDE = [2]",
        "for WIDE in ():\n    pass",
    ],
)
def test_what_is_bound_or_changed_beside_its_definition_cannot_be_copied(beside: str) -> None:
    own = f"WIDE = [1]\n{beside}\n\n\ndef f(x):\n    return WIDE\n\n\ndef g(x):\n    return x\n"
    with pytest.raises(BuildError, match=r"part\.own:2: WIDE cannot be copied, which is bound or"):
        copied(own, "f")
    assert "WIDE" not in copied(own, "g")


def test_what_reads_the_package_is_imported_and_not_copied() -> None:
    record = "HERE = __file__\n\n\ndef read():\n    return HERE\n\n\ndef plain():\n    return 1\n"
    own = (
        "from serving_mathematics.part.record import plain, read\n\n\n"
        "def both():\n    return read(), plain()\n"
    )
    text = copied(own, "both", record=record)
    assert text.startswith("from serving_mathematics.part.record import read\n")
    assert "def plain():" in text
    assert "def read():" not in text


IMPORTS = {
    "absolute": "import serving_mathematics.lib.base",
    "renamed": "import serving_mathematics.lib.base as b",
    "from_package": "from serving_mathematics.lib import base",
    "from_module": "from serving_mathematics.lib.base import value",
    "relative": "from ..lib import base",
    "relative_to_module": "from ..lib.base import value",
    "from_nothing": "from . import neighbour",
    "indented": "def f():\n    from serving_mathematics.lib import base\n    return base",
    "on_lines": "from serving_mathematics.lib import (\n    other,\n    base,\n)",
    "after_comment": "from serving_mathematics.lib import (\n    other,  # (see)\n    base,\n)",
    "after_semicolon": "import os; from serving_mathematics.lib import base",
    "after_colon": "if True: import serving_mathematics.lib.base",
    "continued": "from serving_mathematics.lib \\\n    import base",
    "beside_prose": '"""\nimport everything you need,\nfrom here import nothing\n"""\n'
    "from serving_mathematics.lib import (  # (one\n    base,\n)",
    "transitive": "from serving_mathematics.lib import through",
}


def test_digest_follows_an_import(project: Project) -> None:
    base = project.module("lib.base", "value = 1\n")
    project.module("lib.other", "")
    project.module("lib.through", "from . import base\n")
    project.module("part.neighbour", "from ..lib import base\n")
    for form, imports in IMPORTS.items():
        project.module(f"part.{form}", f"{imports}\n")
    project.module("part.stranger", "from serving_mathematics.lib import other\n")
    before, stranger = Sources(project.root), Sources(project.root).digest("part.stranger")
    digests = {form: before.digest(f"part.{form}") for form in IMPORTS}
    base.write_text("value = 2\n", encoding="utf-8")
    after = Sources(project.root)
    same = [form for form, digest in digests.items() if after.digest(f"part.{form}") == digest]
    assert same == []
    assert after.digest("part.stranger") == stranger


def test_digest_follows_the_packages_that_imports_pass_through(project: Project) -> None:
    project.module("lib.base", "")
    project.module("part.user", "import serving_mathematics.lib.base\n")
    before = Sources(project.root).digest("part.user")
    project.write("snippets/serving_mathematics/lib/__init__.py", "LIMIT = 3\n")
    assert Sources(project.root).digest("part.user") != before


def test_digest_follows_the_kernel(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another order of sums may decide a check in another way."""
    project.module("part.user", "")
    for name in source.KERNELS:
        monkeypatch.delenv(name, raising=False)
    seen = {Sources(project.root).digest("part.user")}
    for name in source.KERNELS:
        monkeypatch.setenv(name, "Prescott")
        seen.add(Sources(project.root).digest("part.user"))
    monkeypatch.setattr(source, "_instructions", lambda: ["flags: vmx"])
    seen.add(Sources(project.root).digest("part.user"))
    assert len(seen) == len(source.KERNELS) + 2


def test_processors_tell_their_names_and_instructions(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    one = "processor\t: {}\nmodel name\t: Some\ncpu MHz\t\t: {}.5\nflags\t\t: fpu avx2\n\n"
    file.write_text(one.format(0, 3100) + one.format(1, 900), encoding="utf-8")
    assert source._instructions(file) == ["flags\t\t: fpu avx2", "model name\t: Some"]
    assert source._instructions(tmp_path / "none") == []


def test_modules_that_import_each_other_have_a_digest(project: Project) -> None:
    project.module("part.a", "from serving_mathematics.part import b\n")
    project.module("part.b", "from serving_mathematics.part import a\n")
    assert Sources(project.root).digest("part.a") != Sources(project.root).digest("part.b")


def test_what_was_read_stands_until_a_file_changes(project: Project) -> None:
    path = project.module("part.limit", "LIMIT = 1\n")
    project.module("part.user", "from .limit import LIMIT\n")
    project.module("part.other", "")
    sources = Sources(project.root)
    known = sources.digest("part.user")
    assert sources.unchanged("part.user")
    path.write_text("LIMIT = 2\n")
    assert not sources.unchanged("part.user")
    assert sources.unchanged("part.other")
    assert sources.digest("part.user") == known
    assert Sources(project.root).digest("part.user") != known
    path.unlink()
    assert not sources.unchanged("part.user")


CHECKED = """
from serving_mathematics.support import checks
from serving_mathematics.lib.base import value


def check_value() -> None:
    checks.equal("value", value, 1)
"""


def test_bundle_runs_in_an_empty_folder_and_its_bytes_repeat(project: Project) -> None:
    project.module("lib.base", "from . import deep\n\nvalue = deep.value\n")
    project.module("lib.deep", "value = 1\n")
    project.module("lib.stranger", "")
    path = project.module("part.user", CHECKED)
    archive = bundle(Sources(project.root), ["part.user"])
    path.touch()
    assert bundle(Sources(project.root), ["part.user"]) == archive

    assert bundle(Sources(project.root), ["part.user"], ["notes.txt"]) == archive
    (project.root / "notes.txt").touch()
    with pytest.raises(BuildError, match=r"part\.user: a module reads notes\.txt, which a down"):
        bundle(Sources(project.root), ["part.user"], ["notes.txt"])

    folder = project.root.parent / "unpacked"
    folder.mkdir()
    with zipfile.ZipFile(io.BytesIO(archive)) as unpacked:
        unpacked.extractall(folder)
    assert not (folder / "serving_mathematics/lib/stranger.py").exists()
    command = [sys.executable, "-m", "serving_mathematics", "check", "part.user"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "PASS value: got 1, expected 1 (exact)" in done.stdout

    (folder / "serving_mathematics/lib/deep.py").write_text(
        "value = 2  # another size\n", encoding="utf-8"
    )
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAIL check_value: value: got 2, expected 1 (exact)" in done.stdout
