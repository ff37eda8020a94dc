"""What the benchmark needs to know from the builder. It runs in the copy of the tree, as a process
of its own: `probe.py expand FOLDER ANSWER`, `probe.py cpu FOLDER ANSWER` and `probe.py chapters
FOLDER ANSWER`; ANSWER is a JSON file.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

_DIRECTIVE = re.compile(r"^[ \t]*\{\{ ([a-z]+)((?: [\w.]+)*) \}\}[ \t]*$")
_CODE_LINE = re.compile(r"^\{\{ code ([\w. ]+) \}\}$", re.MULTILINE)


def expand(target: Path) -> dict[str, Any]:
    """Write the site as a project of the plain theme: pages expanded, figures and downloads as
    files. Answers what can be edited in both projects with the same effect on a page.
    """
    from serving_mathematics.support.measuring import processors

    from builder import ROOT, configuration, expansion, runner, source

    site = configuration.site_of(ROOT)
    runs = runner.run_all(source.Sources(ROOT))
    made = expansion.expand(ROOT, site, runs)
    config = configuration.plain_configuration(ROOT)
    target.rmdir()  # empty: the whole project takes its place
    expansion.write(made, ROOT, target, f"{config}plugins: [search]\n")
    edits = []
    for page, text in made.pages.items():
        written = (ROOT / "docs" / page).read_text(encoding="utf-8")
        _, body, front = expansion.front_matter(page, written)
        edits += _edits(page, front, body, text)
    names = source.module_names(ROOT)
    sources = source.Sources(ROOT)
    needs = {name: sources.dependencies(source.module_path(ROOT, name))[0] for name in names}
    return {
        "workers": max(2, processors()),
        "pages": len(made.pages),
        "figures": len([file for file in made.files if file.endswith("-light.svg")]),
        "edits": edits,
        "needs": {
            name: [path.relative_to(ROOT).as_posix() for path in paths]
            for name, paths in needs.items()
        },
    }


def _edits(path: str, front: dict[str, Any], body: str, expanded: str) -> list[dict[str, Any]]:
    """Every function that the page shows: a comment in it changes module, page and text alike."""
    from builder import ROOT, pages, source

    named = {name for line in _CODE_LINE.findall(body) for name in line.split()}
    found = []
    for module in pages.module_names_of(path, front, source.module_names(ROOT))[0]:
        file = source.module_path(ROOT, module)
        text = file.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if not isinstance(node, ast.FunctionDef) or node.name not in named:
                continue
            first, last = node.lineno - 1, node.body[-1]
            code = "\n".join(text.splitlines()[first : node.end_lineno])
            if last.lineno > node.lineno and code in expanded:
                found.append(
                    {
                        "page": path,
                        "module": module,
                        "file": file.relative_to(ROOT).as_posix(),
                        "function": node.name,
                        "code": code,
                        "line": last.lineno - 1 - first,
                        "indent": last.col_offset,
                    }
                )
    return found


def chapters(_: Path) -> dict[str, Any]:
    """Every chapter in pieces, for other builders: its text with the numbers in it and the code
    that it shows, its figures, its checks; and what its modules hold. A module that several
    chapters list belongs to the first, and those that need further packages are left out.
    """
    from builder import ROOT, configuration, expansion, pages, runner, source

    names, files = source.module_names(ROOT), source.Sources(ROOT)
    known = (runner.cached(files, name) for name in names)
    runs = {run.name: run for run in known if run}
    found, taken = [], set[str]()
    for path in configuration.site_of(ROOT).order:
        if not (file := ROOT / "docs" / path).is_file():  # as that of the notebook
            continue
        written = file.read_text(encoding="utf-8")
        _head, body, front = expansion.front_matter(path, written)
        if "question" not in front:
            continue
        used = pages.module_names_of(path, front, names)[0]
        own = [runs[name] for name in used]
        page = pages.Page(path, front, runs=own, every_run=list(runs.values()))
        mine = [runs[n] for n in used if n not in taken and not runs[n].record["needs"]]
        taken |= {run.name for run in mine}
        found.append(
            {
                "path": path,
                "title": str(front["title"]),
                "pieces": _pieces(body, page),
                "modules": [
                    {
                        "name": run.name,
                        "checks": [check["name"] for check in run.record["checks"]],
                        "comparisons": sum(len(c["comparisons"]) for c in run.record["checks"]),
                        "figures": [figure["name"] for figure in run.record["figures"]],
                        "example": bool(run.record["example"]),
                    }
                    for run in mine
                ],
            }
        )
    return {"chapters": found, "seconds": {name: run.seconds for name, run in runs.items()}}


def _pieces(body: str, page: Any) -> list[list[str]]:
    """Pairs: `text` and Markdown, `figure` and its name, `checks` and nothing."""
    from builder import directives, filling

    pieces: list[list[str]] = [["text", ""]]
    for line in body.split("\n"):
        directive = _DIRECTIVE.match(line)
        kind, words = (directive[1], directive[2].split()) if directive else ("", [])
        if kind in ("code", "solution"):
            shown = "\n\n\n".join(directives._definitions(page, words)[1])
            line = f"``` python\n{shown}\n```"
        elif kind in ("figure", "slider", "checks"):  # what moves has a figure's name
            pieces += [["checks" if kind == "checks" else "figure", "".join(words)], ["text", ""]]
            continue
        elif kind == "downloads":
            continue
        else:
            line = filling._expand_line(line, page, len(pieces))
        pieces[-1][1] += line + "\n"
    return [piece for piece in pieces if piece[0] != "text" or piece[1].strip()]


def cpu_seconds(folder: Path) -> dict[str, float]:
    """Processor seconds of each module, run alone and as the engine runs it: in a fork of a process
    that has the libraries loaded, with one thread of linear algebra.
    """
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    os.environ.update(dict.fromkeys(threads, "1"))
    from builder import ROOT, preload, source, worker

    assert preload
    seconds = {}
    for name in source.module_names(ROOT):
        place = Path(tempfile.mkdtemp(dir=folder))
        pid = os.fork()
        if not pid:
            worker.main(ROOT, name, place, 600.0)
            os._exit(0)
        seconds[name] = _waited_for(pid)
        if not (place / worker.RECORD).is_file():
            raise SystemExit(f"{name} left no record")
        shutil.rmtree(place)
    return seconds


def _waited_for(pid: int) -> float:
    """Processor seconds of a child and of what it waited for itself."""
    try:
        usage = os.wait4(pid, 0)[2]
    except BaseException:  # nobody else would end it
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    action = {"expand": expand, "cpu": cpu_seconds, "chapters": chapters}[sys.argv[1]]
    answer = action(Path(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(answer), encoding="utf-8")
