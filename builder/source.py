"""What can be known about a snippet module without running it: symbols, imports, digest."""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import platform
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder import PACKAGE, SOURCES, BuildError, Missing
from builder.outline import Import, Outline, Symbol, read
from builder.storage import recall, remember

RECORDING = ("worker", "figures", "captions", "sliders", "source", "outline")  # decide a record
SUPPORT = "support"  # the folder of what all modules need
CORE = "core"  # the folder of what several chapters stand on
IN_COPIES = {"support.require": "support.short_require"}  # what a copy brings in a module's place
SOLUTIONS = "exercises"  # the module of a chapter's solutions
MOST_COPIED = 500  # lines that somebody may want to have in a file of their own
OPTIONAL = ("serve", "models", "scale")  # extras of the package that modules import as usual

KERNELS = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES")  # chosen by hand


def default_cache(root: Path) -> Path:
    """Where records live: $SNIPPETS_CACHE, relative to the project, or else `.cache/snippets`."""
    return root / (os.environ.get("SNIPPETS_CACHE") or Path(".cache", "snippets"))


def module_names(root: Path) -> list[str]:
    """Every module that a page shows, as dotted names in the package, sorted: all that lie in a
    folder, but for those of `support/`, which no page teaches.
    """
    folder = root / SOURCES
    places = (path.relative_to(folder).with_suffix("").parts for path in folder.rglob("*.py"))
    return sorted(
        ".".join(parts)
        for parts in places
        if len(parts) > 1
        and parts[0] != SUPPORT
        and not any(part.startswith(("_", ".")) for part in parts)
    )


def package_of(page: str) -> str:
    """The package of a chapter's modules, from its page; none of a page that lies in no part.

    >>> package_of("capacity/tail-latency.md")
    'capacity.tail_latency'
    """
    return page.removesuffix(".md").replace("-", "_").replace("/", ".") if "/" in page else ""


def holds_exercises(name: str) -> bool:
    """Whether a module has the solutions of a chapter's exercises."""
    return name.endswith(f".{SOLUTIONS}")


def path_of(name: str) -> str:
    """The file of a module, from its dotted name in the package: relative to the project."""
    return f"{SOURCES}/{name.replace('.', '/')}.py"


def module_path(root: Path, name: str) -> Path:
    """The file of a module, from its dotted name in the package."""
    return root / path_of(name)


@dataclass(frozen=True)
class Module:
    """A module as text: its dotted name in the package, its source, and its outline."""

    name: str
    source: str
    outline: Outline

    @functools.cached_property
    def _lines(self) -> list[str]:
        return self.source.split("\n")  # as Python counts them: no page break, no other separator

    def shown(self, symbol: Symbol) -> str:
        """The lines of a definition, decorators included."""
        return "\n".join(self._lines[symbol.first_line - 1 : symbol.last_line])

    @functools.cached_property
    def bound(self) -> dict[str, tuple[Import, str]]:
        """What imports bind, by name: the statement, and what it is called there."""
        return {name: (one, as_is) for one in self.outline.imports for as_is, name in one.names}

    @functools.cached_property
    def reads_package(self) -> set[str]:
        """The definitions that find data beside the module, which a copy would not have."""
        resources = (n for n, (line, _) in self.bound.items() if "importlib.resources" in line.head)
        found, size = {"__file__", *resources}, 0
        while len(found) > size:
            size, symbols = len(found), self.outline.symbols.items()
            found |= {name for name, one in symbols if not found.isdisjoint(one.uses)}
        return found


def to_copy(module: Module, names: Iterable[str], find: Callable[[str], Module]) -> str:
    """What a reader takes along: the named definitions ready for an empty file, or, where that is
    longer than anybody reads or needs the package all the same, with imports from the package.
    """
    whole = self_contained(module, names, find)
    needs_package = re.search(rf"^from {PACKAGE}\b", whole, re.MULTILINE)
    if not needs_package and whole.count("\n") <= MOST_COPIED:
        return whole
    symbols = module.outline.symbols
    imports: dict[str, dict[str, None]] = {}
    for name in set[str]().union(*(symbols[name].uses for name in names)) - {*names}:
        if name in symbols:
            imports.setdefault(f"from {PACKAGE}.{module.name} import ", {})[name] = None
        elif name in module.bound:
            _enter(imports, *module.bound[name])
    blocks = {symbols[name].first_line: module.shown(symbols[name]) for name in names}
    return _joined(imports, [text for _, text in sorted(blocks.items())])


def self_contained(module: Module, names: Iterable[str], find: Callable[[str], Module]) -> str:
    """The named definitions with the imports and definitions that they need, from whichever modules
    of the package, ready for an empty file or below other code: what is needed first stands first.

    A definition that reads a file of the package is imported and not copied.

    find: the module of a dotted name in the package. Raises BuildError when two modules define
    something else under one name that both need.
    """
    kept: dict[str, tuple[str, str]] = {}  # name: module it is from and its text
    imports: dict[str, dict[str, None]] = {}  # a line, or its beginning: what
    wanted: dict[str, tuple[Module, set[str]]] = {}
    sources: dict[str, dict[str, None]] = {}  # the modules that one needs, which stand before it
    order: dict[str, Module] = {}

    def gather(place: Module, asked: Iterable[str]) -> None:
        _, needed = wanted.setdefault(place.name, (place, set()))
        for name in reversed([*asked]):  # any order would do
            if name in needed:
                continue
            needed.add(name)
            if name in place.outline.changed:
                raise BuildError(
                    f"{place.name}:{place.outline.changed[name]}: {name} cannot be copied, which is"
                    " bound or changed here beside its definition: write it in one statement"
                )
            if name in place.outline.symbols:
                gather(place, place.outline.symbols[name].uses)
            elif name in place.bound:
                statement, written = place.bound[name]
                source = _package_module(statement, place.name)
                if source is None or name in find(source).reads_package:
                    _enter(imports, statement, written)
                elif written != name or name not in find(source).outline.symbols:
                    gone = written == name and name not in find(source).bound  # as of half a file
                    raise (Missing if gone else BuildError)(
                        f"{place.name}:{statement.line}: {written} cannot be copied with what it"
                        " needs: import the definition itself, under its own name"
                    )
                else:
                    sources.setdefault(place.name, {})[source] = None
                    gather(find(source), [name])

    def lay(name: str) -> None:
        for source in sources.pop(name, {}):
            lay(source)
        order.setdefault(name, wanted[name][0])

    gather(module, names)
    lay(module.name)
    blocks: dict[tuple[str, int], str] = {}  # by their first lines: one may define several names
    for place in order.values():
        for name, symbol in place.outline.symbols.items():
            if name in wanted[place.name][1]:
                text = place.shown(symbol)
                owner, other = kept.setdefault(name, (place.name, text))
                if owner == place.name:
                    blocks[owner, symbol.first_line] = text
                elif other != text:
                    raise BuildError(
                        f"{name} of {owner} and {name} of {place.name} are different and would be"
                        f" copied together with {', '.join(names)}: rename one"
                    )
    return _joined(imports, blocks.values())


def _enter(imports: dict[str, dict[str, None]], statement: Import, written: str) -> None:
    """Add what an import says of one name to the lines, or their beginnings with what they take."""
    plain = statement.head == "import "
    line, what = (f"import {written}", "") if plain else (statement.head, written)
    imports.setdefault(line, {})[what] = None


def _joined(imports: Mapping[str, Iterable[str]], blocks: Iterable[str]) -> str:
    lines = [head + ", ".join(sorted(what)) for head, what in sorted(imports.items(), key=_rank)]
    return "\n\n\n".join([*(["\n".join(lines)] if lines else []), *blocks]) + "\n"


def _rank(item: tuple[str, Iterable[str]]) -> tuple[bool, bool, str]:
    """Standard library first, then `import`, then `from`: as linters sort."""
    name = item[0].split()[1].partition(".")[0]
    return name not in sys.stdlib_module_names, item[0].startswith("from "), item[0]


def _package_module(statement: Import, within: str) -> str | None:
    """The module of this package that an import takes names from; None for another package."""
    target = statement.module
    if level := len(target) - len(target.lstrip(".")):
        return ".".join([*within.split(".")[:-level], target.lstrip(".")])
    package, _, rest = target.partition(".")
    return IN_COPIES.get(rest, rest) if package == PACKAGE else None


class Sources:
    """The project's files as they are now: each is read, and its imports looked up, once."""

    def __init__(self, root: Path, cache: Path | None = None) -> None:
        """Of the project in this folder, with nothing read yet. cache: where records are kept, and
        what a file does, which takes parsing it; by default the project's.
        """
        self.root, self.cache = root, (cache or default_cache(root)).absolute()
        self._builder = builder_digest()
        self.content = functools.cache(Path.read_bytes)
        self.syntax = functools.cache(self._syntax)
        self.imports = functools.cache(self._imports)
        self.dependencies = functools.cache(self._dependencies)
        self.digest = functools.cache(self._digest)
        self._files_of = functools.cache(self._files)
        self.module = functools.cache(self._module)

    def _dependencies(self, path: Path) -> tuple[list[Path], list[str]]:
        """The project files a module is made of, itself included, transitively, and the packages
        they use.
        """
        files, packages, pending = set[Path](), {"numpy", "matplotlib"}, [path]
        while pending:
            if (current := pending.pop()) not in files:
                files.add(current)
                local, others = self.imports(current)
                packages |= others
                pending += local
        return sorted(files), sorted(packages)

    def _imports(self, path: Path) -> tuple[list[Path], set[str]]:
        """What a file imports anywhere in it: files of the project, names of other packages."""
        local, others = list[Path](), set[str]()
        for level, module, what in self.syntax(path).imported:
            parts = path.relative_to(self.root / "snippets").parts[:-level] if level else ()
            base = ".".join([*parts, *([module] if module else [])])
            top = base.partition(".")[0]
            if top == PACKAGE:
                local += self._files_of(base)
                local += self._files_of(f"{base}.{what}")  # where it is a module
            elif top and top not in sys.stdlib_module_names:
                others.add(top)
        return local, others

    def _files(self, target: str) -> list[Path]:
        """The files that importing a module of this project reads: its own, its packages'."""
        package = target.rpartition(".")[0]
        place = self.root.joinpath("snippets", *target.split("."))
        own = (place / "__init__.py", place.with_suffix(".py"))
        return [*(self._files_of(package) if package else []), *filter(Path.is_file, own)]

    def _module(self, name: str) -> Module:
        """A module of the package as text, with an outline, which is empty for what is not Python.
        Raises BuildError when it cannot be read.
        """
        path = module_path(self.root, name)
        try:
            text = self.content(path).decode("utf-8", errors="replace")
        except OSError as problem:
            raise BuildError(f"cannot read module {name}: {problem}") from problem
        return Module(name, text, self.syntax(path))

    def needs(self, name: str) -> list[str]:
        """What a reader installs for a module beside numpy and matplotlib, as pip calls it."""
        from serving_mathematics.support.extras import EXTRAS

        known = {top: called for extra in OPTIONAL for top, called in EXTRAS[extra].items()}
        imported = self.dependencies(module_path(self.root, name))[1]
        return sorted(known[package] for package in imported if package in known)

    def unchanged(self, name: str) -> bool:
        """Whether all that decides a module's run still stands in the files."""
        files, _ = self.dependencies(module_path(self.root, name))
        try:
            return all(file.read_bytes() == self.content(file) for file in files)
        except OSError:
            return False

    def _syntax(self, file: Path) -> Outline:
        """What is read in a file."""
        content = self.content(file)
        key = f"{self._builder} {hashlib.sha256(content).hexdigest()}"
        place = self.cache / "syntax" / ".".join(file.relative_to(self.root).parts)
        if not (kept := recall(place, key)):
            kept = pickle.dumps(read(content))
            remember(place, key, kept)
        found: Outline = pickle.loads(kept)
        return found

    def _digest(self, name: str) -> str:
        """A name for everything that decides a module's run and is known before it runs."""
        path = module_path(self.root, name)
        found = {file: self.syntax(file) for file in self.dependencies(path)[0]}
        said = any(one.reads_docstrings for one in found.values())
        where = f"{platform.python_version()} on {processor()} with {_installed()}"
        home = str(self.root)
        decides = [name, where, self._builder]
        decides += [f"{f} {one.behaviour}".removeprefix(home) for f, one in found.items()]
        whole = [path, self.root / SOURCES / "house.mplstyle", *(found if said else ())]
        parts = [*map(str.encode, decides), *map(self.content, whole)]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]


def processor() -> str:
    """What the order of a sum depends on besides its text: a check that held on one processor has
    not been seen to hold on another.
    """
    chosen = (f"{name}={os.environ[name]}" for name in KERNELS if name in os.environ)
    return " ".join([platform.machine(), *_instructions(), *chosen])


@functools.cache
def _instructions(file: Path = Path("/proc/cpuinfo")) -> list[str]:
    """The names of the processors and their instructions, where the system has such a file."""
    told = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    return sorted({*re.findall(r"^(?:model name|CPU part|flags|Features)\b.*", told, re.MULTILINE)})


@functools.cache
def _installed() -> list[str]:
    """The packages that are installed here, with their versions."""
    return sorted(path.name for path in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))


def builder_digest() -> str:
    """The part of the builder that decides what a run record holds."""
    files = [Path(__file__).with_name(f"{name}.py").read_bytes() for name in RECORDING]
    return " ".join(read(content).behaviour for content in files)
