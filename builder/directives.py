"""What each `{{ … }}` directive puts on a page: code, figures, what moves, checks, downloads, lists
of the whole site.

What comes out is Markdown that any Python-Markdown generator renders: code is fenced, and finished
HTML stands in a line of its own, because Markdown reads what is indented or blank in between.
"""

from __future__ import annotations

import ast
import doctest
import functools
import io
import itertools
import json
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from serving_mathematics.exercises import unwritten
from serving_mathematics.support.digits import one_of_many

from builder import PACKAGE, SOURCES, BuildError, Missing
from builder.listings import beside_the_algorithm
from builder.markup import block, inline, listed, markup
from builder.pages import Page, meant
from builder.runner import Run
from builder.sliders import curves_of, legend
from builder.source import Sources, module_path, to_copy

LINES_OPEN = 26  # of a long block of code, which a button unfolds (docs/assets/handbook.js)
LINES_OVER = 6  # that are not worth a button
IN_BROWSER = {"numpy", "matplotlib", "pydantic"}  # packages that the browser's Python can load


def _definitions(page: Page, names: list[str]) -> tuple[Run, list[str]]:
    """The module of a page that defines what is named, and each definition as it is shown."""
    if not names:
        raise BuildError("name what to show: {{ code function }}")
    there = ", ".join(run.path for run in page.runs) or "any module, because the page has none"
    owners: dict[str, Run] = {}
    for name in names:
        found = [run for run in page.runs if name in run.module.outline.symbols]
        if not found:
            near = meant(name, (known for run in page.runs for known in run.module.outline.symbols))
            raise Missing(f"{name} is not defined in {there}{near}")
        if len(found) > 1:
            raise BuildError(f"{name} is defined more than once in {there}")
        owners[found[0].name] = found[0]
    if len(owners) > 1:
        told = ", ".join(sorted(owners))
        raise BuildError(f"{' '.join(names)} come from several modules ({told})")
    [run] = owners.values()
    return run, [run.module.shown(run.module.outline.symbols[name]) for name in names]


def _code(page: Page, names: list[str], *, runs: bool = True) -> str:
    run, texts = _definitions(page, names)
    whole = to_copy(run.module, names, page.sources.module)
    ours = re.search(rf"^( *>>> )?from {PACKAGE}\.", whole, re.MULTILINE)
    needed = ("The examples in it need" if ours[1] else "The copy needs") if ours else ""
    text, told = "\n\n\n".join(texts), ", ".join(names)
    lines, aside = text.count("\n") + 1, beside_the_algorithm(text)
    long = lines - len(aside) > LINES_OPEN + LINES_OVER
    folded = long or bool(aside)
    unfold = [markup("unfold", long and lines, told)] if folded else []
    call = None
    if runs and _in_browser(page, run):  # what the button that opens an editor has it run
        calls = ([one.source for one in _examples(it) if one.exc_msg is None] for it in texts)
        call = "".join(next(filter(None, calls), [])).rstrip("\n")
    copied = whole.rstrip().count("\n") + 1
    tools = markup("tools", page, run, told, call, _listed(page, whole), copied, needed)
    defined = f"<p hidden>{told}</p>"  # for the search, which skips code
    classes = ".python .snippet" + " .is-folded" * folded + " .is-long" * long
    marked = f' hl_lines="{" ".join(map(str, aside))}"' if aside else ""  # which the page folds
    fence = "`" * max(3, 1 + max(map(len, re.findall(r"^`{3,}", text, re.MULTILINE)), default=0))
    head = f'{fence} {{ {classes} title="{run.address}"{marked} data-search-exclude="" }}'
    return f"{head}\n{text}\n{fence}\n{block(*unfold, tools, defined)}"


def _listing(page: Page, names: list[str]) -> str:
    """Code between the words of a page, or, where its front matter says `code: folded`, the names
    that open it: a page that says how something is decided is read without.
    """
    code = _code(page, names)
    if page.meta.get("code") != "folded":
        return code
    opened = block("<details class='listing' markdown='1'>")
    told = ", ".join(f"<code>{name}</code>" for name in names)
    return f"{opened}<summary>Code: {told}</summary>\n\n{code}\n</details>\n"


def _listed(page: Page, text: str) -> str:
    """The place of what a button copies in a list of its page, which docs/assets/handbook.js loads
    when somebody goes to the button: in the page it would be a third of its weight.
    """
    page.copies.append(text)
    return f"{page.base}{page.copies_address}#{len(page.copies) - 1}"


def _in_browser(page: Page, run: Run) -> bool:
    """Whether a reader's browser can run a module."""
    return bool(page.pyodide) and not run.record["needs"]


def _examples(definition: str) -> list[doctest.Example]:
    """The examples in a definition's docstring."""
    match ast.parse(definition).body[0]:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() as node:
            return doctest.DocTestParser().get_examples(ast.get_docstring(node) or "")
    return []


def _unwritten(definition: str) -> str:
    """What is asked for, to be filled in."""
    node = ast.parse(definition).body[0]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return unwritten(node)
    return ast.unparse(node)


def _solution(page: Page, names: list[str]) -> str:
    """What is asked, by the examples of the solution, which ran as doctests; a button that opens an
    editor to answer; a hint; and the solution.
    """
    run, texts = _definitions(page, names)
    lines = []
    for example in (one for text in texts for one in _examples(text)):
        first, *more = example.source.rstrip("\n").split("\n")
        lines += [f">>> {first}", *(f"... {line}".rstrip() for line in more)]
        lines += example.want.rstrip("\n").split("\n") if example.want else []
    body = "\n".join(lines)
    asked = f'``` {{ .pycon data-search-exclude="" }}\n{body}\n```\n\n' if lines else ""
    folds = []
    if _in_browser(page, run):
        folds.append(markup("answers", run, names, "\n\n\n".join(map(_unwritten, texts))))
    if hints := [hint for name in names if (hint := run.record["hints"].get(name))]:
        told = f"<p>{inline(' '.join(hints))}</p>"
        folds.append(f'<details class="tip"><summary>Hint</summary>{told}</details>')
    opened = block(*folds, "<details class='success' markdown='1'>")
    code = _code(page, names, runs=False)
    return f"{asked}{opened}<summary>Solution</summary>\n\n{code}\n</details>\n"


def _named(page: Page, names: list[str], kind: str) -> tuple[Run, dict[str, Any]]:
    """The one figure or slider of that name, and the module it is from."""
    if len(names) != 1:
        raise BuildError(f"name one {kind}: {{{{ {kind} name }}}}")
    there = [(run, item) for run in page.runs for item in run.record[f"{kind}s"]]
    found = [(run, item) for run, item in there if item["name"] == names[0]]
    if len(found) != 1:
        known = ", ".join(item["name"] for _, item in there) or "none"
        raise Missing(f"no single {kind} {names[0]}; the page's modules have: {known}")
    return found[0]


def _figure(page: Page, names: list[str], *above: str) -> str:
    """A figure, numbered in the order of the page."""
    run, figure = _named(page, names, "figure")
    page.figures_shown.append(figure["name"])
    return block(
        "".join([*above, markup("figure", page, run.name, figure, len(page.figures_shown))])
    )


def _slider(page: Page, names: list[str]) -> str:
    """What moves, and below it its figure."""
    run, slider = _named(page, names, "slider")
    moves = markup("moving", page, run.name, slider, _sentences(slider["data"]))
    return _figure(page, names, moves)


def _sentences(data: Mapping[str, Any]) -> dict[str, Any]:
    """What a slider says where it starts, the longest that it may say, whose place is kept free,
    the times of its clock, and what its marks mean.
    """
    controls, clock = data["controls"], data.get("clock")
    runs = math.prod(len(control["texts"]) for control in controls)
    run = functools.reduce(lambda at, one: at * len(one["texts"]) + one["start"], controls, 0)
    texts = {control["label"]: (control["texts"], control["start"]) for control in controls}
    times = _texts(clock) if clock else []
    if clock:
        texts[clock["label"]] = (times, clock["start"])
    for part in curves_of(data):
        words, at = _texts(part), run  # the same in every frame
        if clock and len(words) != runs:
            at = run * len(times) + clock["start"]
        texts[part["label"]] = (words, at)

    def sentence(which: str, pick: Callable[[Sequence[str], int], str]) -> str:
        said = re.sub(r"\{([^{}]*)\}", lambda label: pick(*texts[label[1]]), data[which])
        return one_of_many(said)

    there = all(words[at] for words, at in texts.values())
    widest = [
        sentence(which, lambda words, _: max(words, key=len)) for which in ("reading", "absent")
    ]
    return {
        "first": sentence("reading" if there else "absent", lambda words, at: words[at]),
        "longest": max(widest, key=len),
        "times": times,
        "legend": legend(data),
    }


def _texts(part: Mapping[str, Any]) -> list[str]:
    """The values of a curve or a clock; empty where there is none."""
    unit, decimals = part["unit"], part["decimals"]
    return ["" if value is None else told(value, unit, decimals) for value in part["values"]]


def told(value: float, unit: str, decimals: int) -> str:
    """A value with its unit, as docs/assets/slider.js writes it; one that would read as nothing is
    less than the last digit.
    """
    least = 10.0**-decimals
    small = 0 < value < least / 2
    shown = least if small else value
    shown = math.copysign(math.floor(abs(shown) / least + 0.5 + 1e-9) * least, shown)
    text = f"{shown:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")
    space = " " if unit and unit != "%" else ""
    return f"{'less than ' * small}{text}{space}{unit}"


def _checks(page: Page) -> str:
    if not any(run.record["checks"] for run in page.runs):
        raise Missing("the page's modules have no checks")
    return block(markup("checks", page.runs))


def _downloads(page: Page) -> str:
    if not page.runs:
        raise BuildError("{{ downloads }} needs a page with modules")
    notebook, archive = page.download("ipynb"), page.download("zip")
    live, place = _live(page, archive)
    return block(markup("downloads", page, notebook, archive, page.all_modules, live, place))


def _live(page: Page, archive: str) -> tuple[str, str]:
    """What a reader's browser needs to run the page's modules, and from where it loads Python and
    without which; nothing where none can run there.
    """
    here = [run for run in page.runs if _in_browser(page, run)]
    if not here:
        return "", ""
    address = page.pyodide if "://" in page.pyodide else page.base + page.pyodide
    imported = {one.module.partition(".")[0] for run in here for one in run.module.outline.imports}
    settings = {
        "modules": [run.name for run in here],
        "packages": sorted({"numpy", "matplotlib", *imported & IN_BROWSER}),
        "pyodide": address,
        "downloads": f"{page.base}downloads/",
        "bundle": f"{page.base}downloads/{archive}",
    }
    left_out = ", ".join(run.file for run in page.runs if run.record["needs"])
    without = f" ({left_out}: only on a machine of your own)" if left_out else ""
    return json.dumps(settings), (urlsplit(address).netloc or "this site") + without


def bundle(sources: Sources, names: Sequence[str], data: Iterable[str] = ()) -> bytes:
    """Modules, with every project file they import, as a zip whose bytes depend on the contents
    only.

    data: files that the modules read, relative to the project; one that is absent is left out.
    Raises BuildError for one that would lie outside of the zip.
    """
    root = sources.root
    there = [name for name in data if (root / name).is_file()]
    for name in there:
        if not name.startswith("snippets/"):
            raise BuildError(
                f"{', '.join(names)}: a module reads {name}, which a download of it would lack:"
                " keep the file beside the module, under snippets/"
            )
    files = {root / SOURCES / "house.mplstyle", *(root / name for name in there)}
    # the command, and what runs exercises in the browser
    for start in ("__main__", "exercises", *names):
        files.update(sources.dependencies(module_path(root, start))[0])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(files):
            name = file.relative_to(root / "snippets").as_posix()
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, sources.content(file), zipfile.ZIP_DEFLATED, 1)
    return buffer.getvalue()


def _chapters(page: Page, names: list[str]) -> str:
    part = names[0] if len(names) == 1 else page.part
    chapters = [chapter for chapter in page.chapters if chapter.part == part]
    if not chapters:
        raise BuildError(f"no chapter in part {part!r} to show")
    return block(markup("cards", page, chapters))


def _notation(page: Page) -> str:
    by_letter = sorted(page.uses, key=lambda use: (use.symbol.strip("\\").lower(), use.symbol))
    found = itertools.groupby(by_letter, key=lambda use: use.symbol)
    return listed("notation", [(symbol, list(uses)) for symbol, uses in found])


NAMED: dict[str, Callable[[Page, list[str]], str]] = {
    "code": _listing,
    "solution": _solution,
    "figure": _figure,
    "slider": _slider,
    "chapters": _chapters,
}
ALL: dict[str, Callable[[Page], str]] = {  # of a page or of the site, without a choice
    "checks": _checks,
    "downloads": _downloads,
    "exercises": lambda page: block(markup("exercises", page)),
    "gallery": lambda page: block(markup("gallery", page)),
    "report": lambda page: block(markup("report", page)),
    "notation": _notation,
    "references": lambda page: listed("references", page.references),
}
