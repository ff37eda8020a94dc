"""What the benchmark needs to know from the engine. It runs in the copy of the tree, as a process
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
from types import SimpleNamespace
from typing import Any

_SLOT_LINE = re.compile(r"^([ \t]*)(builder-slot-\d+\.)[ \t]*$", re.MULTILINE)
_DIRECTIVE = re.compile(r"^[ \t]*\{\{ ([a-z]+)((?: [\w.]+)*) \}\}[ \t]*$")
_CODE_LINE = re.compile(r"^\{\{ code ([\w. ]+) \}\}$", re.MULTILINE)
_ATTRIBUTE = re.compile(r'(?<=data-clipboard-text=")[^"]*')
_PUNCTUATION = re.compile(r"[^\w ;&#]", re.ASCII)


def expand(target: Path) -> dict[str, Any]:
    """Write the site as a project without the engine: pages expanded, figures and downloads as
    files. Answers what can be edited in both projects with the same effect on a page.
    """
    from mkdocs.config import load_config
    from mkdocs.structure.files import get_files
    from mkdocs.utils import meta

    from builder import ROOT, runner, source

    config = load_config(str(ROOT / "mkdocs.yml"))
    files = config.plugins.on_files(get_files(config), config=config)
    shutil.copytree(ROOT / "docs", target / "docs")
    shutil.copy(ROOT / "mkdocs.yml", target / "site.yml")
    (target / "mkdocs.yml").write_text("INHERIT: site.yml\nhooks: []\nwatch: []\n", "utf-8")
    edits = []
    for file in files:
        place = target / "docs" / file.src_uri
        if file.src_uri.endswith(".md"):
            original = file.content_string
            body, front = meta.get_data(original)
            text = _expanded(file, files, config)
            place.write_text(original.removesuffix(body) + text, encoding="utf-8")
            edits += _edits(file.src_uri, front, body, text)
        elif not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(file.content_bytes)
    names = source.module_names(ROOT)
    sources = source.Sources(ROOT)
    needs = {name: sources.dependencies(source.module_path(ROOT, name))[0] for name in names}
    return {
        "workers": runner.cores(),
        "pages": len(list(files.documentation_pages())),
        "figures": len([file for file in files if file.src_uri.endswith("-light.svg")]),
        "edits": edits,
        "needs": {
            name: [path.relative_to(ROOT).as_posix() for path in paths]
            for name, paths in needs.items()
        },
    }


def _expanded(file: Any, files: Any, config: Any) -> str:
    """The Markdown of a page after expansion, with the finished HTML of the engine in it."""
    context = {"page": SimpleNamespace(file=file), "files": files, "config": config}

    def finished(slot: re.Match[str]) -> str:
        markup: str = config.plugins.on_page_content(f"<p>{slot[2]}</p>", **context)
        if slot[1]:  # in an indented block Markdown reads on inside of tags
            markup = _ATTRIBUTE.sub(lambda code: _PUNCTUATION.sub(_reference, code[0]), markup)
        return slot[1] + markup.replace("\n", "&#10;")

    text: str = config.plugins.on_page_markdown("", **context)
    return _SLOT_LINE.sub(finished, text)


def _reference(character: re.Match[str]) -> str:
    return f"&#{ord(character[0])};"


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
    from mkdocs.config import load_config
    from mkdocs.structure.files import get_files
    from mkdocs.utils import meta

    from builder import ROOT, pages, runner, source

    config = load_config(str(ROOT / "mkdocs.yml"))
    names, cache = source.module_names(ROOT), runner.default_cache(ROOT)
    runs = {name: run for name in names if (run := runner.cached(ROOT, cache, name))}
    found, taken = [], set[str]()
    for file in get_files(config).documentation_pages():
        body, front = meta.get_data(file.content_string)
        if "question" not in front:
            continue
        used = pages.module_names_of(file.src_uri, front, names)[0]
        page = pages.Page(
            file.src_uri, front, "", [runs[name] for name in used], list(runs.values())
        )
        mine = [runs[n] for n in used if n not in taken and not runs[n].record["needs"]]
        taken |= {run.name for run in mine}
        found.append(
            {
                "path": file.src_uri,
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
    from builder import pages

    pieces: list[list[str]] = [["text", ""]]
    for line in body.split("\n"):
        directive = _DIRECTIVE.match(line)
        kind, words = (directive[1], directive[2].split()) if directive else ("", [])
        if kind in ("code", "solution"):
            line = f"``` python\n{pages._code_block(page, words)[1]}\n```"
        elif kind in ("figure", "slider", "checks"):  # a slider belongs to a figure of its name
            pieces += [[kind.replace("slider", "figure"), "".join(words)], ["text", ""]]
            continue
        elif kind == "downloads":
            continue
        else:
            line = pages._VALUE.sub(
                lambda found: pages._value(page, found[1], found[2] or ""), line
            )
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
    seconds, sources = {}, source.Sources(ROOT)
    for name in source.module_names(ROOT):
        place = Path(tempfile.mkdtemp(dir=folder))
        pid = os.fork()
        if not pid:
            worker.main(ROOT, name, place, sources.needs(name))
            os._exit(0)
        seconds[name] = _waited_for(pid)
        if not (place / "record.json").is_file():
            raise SystemExit(f"{name} left no record")
        shutil.rmtree(place)
    return seconds


def _waited_for(pid: int) -> float:
    """Processor seconds of a child and of what it waited for itself."""
    try:
        usage = os.wait4(pid, 0)[2]
    except BaseException:  # it has a session of its own: nobody else would end it
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    action = {"expand": expand, "cpu": cpu_seconds, "chapters": chapters}[sys.argv[1]]
    answer = action(Path(sys.argv[2]))
    Path(sys.argv[3]).write_text(json.dumps(answer), encoding="utf-8")
