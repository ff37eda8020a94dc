"""Compares whole builders on the same chapters: this site, plain Material, and the peers.

`python benchmarks/build.py --peers` goes through rounds in which every builder builds cold, without
a change, and after an edit of one function, and serves that edit; it writes
records/site_builders.json.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from serving_mathematics.reference.build_benchmark import _paired_ratios
from serving_mathematics.support.measuring import provenance

from benchmarks import peers, report, rounds, sites
from benchmarks.peers import Peer
from benchmarks.processes import BenchmarkError, Memory, Server
from benchmarks.sites import Edit, Facts, Project

RECORD = "site_builders"
COMMAND = "python benchmarks/build.py --peers"
WATCH_S = 0.25  # between two looks at the memory of a build
CASES = {
    "cold": "cold build [s]",
    "unchanged": "no-change rebuild [s]",
    "snippet": "rebuild, one snippet edit [s]",
    "serve": "serve, snippet edit to page [s]",
    "cold_rss": "peak memory, cold, RSS [MiB]",
    "cold_pss": "peak memory, cold, PSS [MiB]",
}
BUILDERS = {
    "ours": "this site",
    "plain": "plain Material, nothing executed",
    "mkdocs-jupyter": "mkdocs-jupyter",
    "sphinx-gallery": "sphinx-gallery",
    "myst-nb": "MyST-NB with its cache",
}
SERVED_EDITS = 2  # in each round

Samples = dict[str, dict[str, list[float]]]  # case, builder, values


class Builder(Protocol):
    """What a round does with each of them."""

    @property
    def name(self) -> str:
        """Which of them."""

    def clear(self) -> None:
        """Forget everything that was built."""

    def observed(self, every_s: float) -> tuple[float, Memory]:
        """Seconds and peak memory of a build."""

    def edit(self, edit: Edit, marker: str) -> None:
        """Change a function on a page of its site."""

    def address(self, edit: Edit) -> str:
        """The address of that page."""

    def served(self) -> contextlib.AbstractContextManager[Server]:
        """Its server with live reload."""


@dataclass
class Material:
    """This site or the plain one, as the other benchmark prepares them."""

    project: Project

    @property
    def name(self) -> str:
        """Which of the two."""
        return self.project.name

    def clear(self) -> None:
        """Forget everything that was built."""
        self.project.clear()

    def observed(self, every_s: float) -> tuple[float, Memory]:
        """Seconds and peak memory of a build."""
        return self.project.building.observed(every_s)

    def edit(self, edit: Edit, marker: str) -> None:
        """A new comment in a function."""
        self.project.edit_code(edit, marker)

    def address(self, edit: Edit) -> str:
        """Where the edited page is in the site."""
        return edit.address

    def served(self) -> contextlib.AbstractContextManager[Server]:
        """The project under `mkdocs serve`."""
        return self.project.served()


@dataclass
class Contest:
    """The builders, the edit, and the samples so far."""

    builders: Sequence[Builder]
    edit: Edit
    samples: Samples = field(default_factory=dict)
    rounds: int = 0
    markers: int = 0

    def round(self, served_edits: int = SERVED_EDITS) -> Iterator[str]:
        """One sample of every build by every builder, `served_edits` of those under a server. The
        order of the builders moves on by one from round to round.

        Yields what comes next, for whoever waits.
        """
        first = self.rounds % len(self.builders)
        turns = [*self.builders[first:], *self.builders[:first]]
        self.rounds += 1
        for builder in turns:
            yield f"cold build, {BUILDERS[builder.name]}"
            builder.clear()
            memory = self.build("cold", builder)
            if memory.rss_mib:
                self.note("cold_rss", builder.name, memory.rss_mib)
                self.note("cold_pss", builder.name, memory.pss_mib)
        yield "rebuilds"
        for builder in turns:
            self.build("unchanged", builder)
        for builder in turns:
            builder.edit(self.edit, self.marker())
            self.build("snippet", builder)
        for builder in turns:
            yield f"serve, {BUILDERS[builder.name]}"
            self.serve(builder, served_edits)

    def build(self, case: str, builder: Builder) -> Memory:
        """A build, timed and noted."""
        elapsed, memory = builder.observed(WATCH_S)
        self.note(case, builder.name, elapsed)
        return memory

    def serve(self, builder: Builder, edits: int) -> None:
        """Edit under the builder's server, and wait for the edit in the page over HTTP."""
        address = builder.address(self.edit)
        with builder.served() as server:
            server.wait_for(address, "</html>")
            for _ in range(edits):
                time.sleep(rounds.SETTLE_S + random.random() / 2)  # at any phase of its looking
                marker = self.marker()
                started = time.perf_counter()
                builder.edit(self.edit, marker)
                self.note("serve", builder.name, server.wait_for(address, marker) - started)

    def note(self, case: str, builder: str, value: float) -> None:
        """Keep a sample."""
        self.samples.setdefault(case, {}).setdefault(builder, []).append(value)

    def marker(self) -> str:
        """A word that was on no page before, so that no cache knows the edit."""
        self.markers += 1
        return f"timededit{self.markers:05d}"


def choose_edit(
    facts: Facts, chapters: Sequence[peers.Chapter], seconds: Mapping[str, float]
) -> Edit:
    """The edit of median cost, of one per module that a chapter owns and shows."""
    owned = {(chapter.path, module.name) for chapter in chapters for module in chapter.modules}
    mine = [edit for edit in facts.edits if (edit.page, edit.module) in owned]
    if not mine:
        raise BenchmarkError("no chapter shows a function of a module of its own")
    return rounds.choose_edits(Facts(**(vars(facts) | {"edits": mine})), dict(seconds))["snippet"]


@dataclass(frozen=True)
class Prepared:
    """What the rounds need, and what the record says of it."""

    contest: Contest
    facts: Facts
    chapters: Sequence[peers.Chapter]
    versions: Mapping[str, Mapping[str, str]]


def prepare(
    tree: Path, temporary: Path, environments: Path, tell: Callable[[str], object], first: int
) -> Prepared:
    """Every project, built once and looked at. first: how many chapters the peers get; 0 for all.

    The first builds compile, fill caches of fonts, and prove that all figures and comparisons are
    on the pages.
    """
    tell("this site")
    ours = sites.private_copy(tree, temporary)
    ours.build()
    tell("plain Material")
    plain, facts = sites.plain_project(ours)
    plain.build()
    answer = sites.ask(ours, "chapters", temporary)
    chapters = peers.read_chapters(answer)[: first or None]
    found, versions = list[Peer](), dict[str, Mapping[str, str]]()
    for name in peers.REQUIREMENTS:
        tell(f"environment of {name}")
        python, versions[name] = peers.environment(name, environments)
        folder = temporary / name
        folder.mkdir()
        own = {"PYTHONPATH": str(folder / "snippets"), "IPYTHONDIR": str(temporary / "ipython")}
        peer = Peer(name, folder, ours.environment | own, python, chapters, facts.workers)
        peer.write(ours.folder)
        tell(f"{name}: first build")
        peer.build()
        peer.verify()
        found.append(peer)
    edit = choose_edit(facts, chapters, answer["seconds"])
    contest = Contest([Material(ours), Material(plain), *found], edit)
    return Prepared(contest, facts, chapters, versions)


def describe(prepared: Prepared, load_before: float) -> dict[str, Any]:
    """The record: what was measured, on what, and what came out."""
    contest, facts, chapters = prepared.contest, prepared.facts, prepared.chapters
    modules = [module for chapter in chapters for module in chapter.modules]
    made = provenance(f"{COMMAND} --rounds {contest.rounds}")
    return {
        "what": "builds of the same chapters by this site and by other builders",
        **made,
        "machine": report.machine(),
        "versions": {"ours": report.versions(), **prepared.versions},
        "load_before": load_before,
        "rounds": contest.rounds,
        "ours": {
            "pages": facts.pages,
            "modules": len(facts.needs),
            "figures": facts.figures,
            "workers": facts.workers,
        },
        "peers": {
            "pages": len(chapters),
            "modules": len(modules),
            "figures": sum(len(module.figures) for module in modules),
            "comparisons": sum(module.comparisons for module in modules),
        },
        "edited": {"file": contest.edit.file, "function": contest.edit.function},
        "results": results(contest.samples),
    }


def results(samples: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, Any]:
    """By case and builder: median and range beside every sample, in the order of the rounds."""
    return {
        case: {
            builder: {
                key: round(value, 4)
                for key, value in asdict(report.summarise(samples[case][builder])).items()
            }
            | {"samples": [round(value, 4) for value in samples[case][builder]]}
            for builder in BUILDERS
            if builder in samples[case]
        }
        for case in CASES
        if case in samples
    }


def lines(record: Mapping[str, Any]) -> list[str]:
    """What is printed: median, range, and the ratio to this site."""
    theirs, mine = record["peers"], record["ours"]
    found = [
        f"peers: {theirs['pages']} chapters, {theirs['modules']} modules, {theirs['figures']}"
        f" figures, {theirs['comparisons']} comparisons; this site: {mine['pages']} pages,"
        f" {mine['modules']} modules, {mine['figures']} figures in two themes,"
        f" {mine['workers']} workers",
        f"{record['rounds']} rounds, the builders in turn; median [least–most], and the ratio to"
        " this site within a round",
    ]
    for case, title in CASES.items():
        if case not in record["results"]:
            continue
        found += ["", title]
        rows = record["results"][case]
        for builder, row in rows.items():
            summary = report.Summary(row["median"], row["least"], row["most"])
            ratio, least, most = _paired_ratios(row["samples"], rows["ours"]["samples"])
            found.append(
                f"  {BUILDERS[builder]:34}{summary!s:>24}{ratio:>8.2f} [{least:.2f}–{most:.2f}]"
            )
    return found
