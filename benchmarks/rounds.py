"""Takes the samples of the build benchmark: both projects are built, edited and served in turn."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import sites
from benchmarks.processes import Server
from benchmarks.sites import Edit, Facts, Project

SETTLE_S = 1.0  # between a rebuild and the next edit; the server looks for changes twice a second

Change = Callable[[Project, str], None]
"""Does something to a project; the word goes into what it writes."""


def nothing(project: Project, marker: str) -> None:
    """Leaves the project as it is."""


def forget(project: Project, marker: str) -> None:  # noqa: ARG001
    """Removes what was built, the run records included."""
    project.clear()


@dataclass(frozen=True)
class Cost:
    """What an edit makes run again."""

    modules: int
    cpu_s: float


def cost(edit: Edit, facts: Facts, cpu: dict[str, float]) -> Cost:
    """The modules that run again after an edit, and their processor time."""
    names = sites.run_again(edit.module, facts)
    return Cost(len(names), sum(cpu[name] for name in names))


def choose_edits(facts: Facts, cpu: dict[str, float]) -> dict[str, Edit]:
    """By row: the edit of median and the one of highest cost, of one per module.

    Only modules count of which a page shows a function: the others cannot be seen to change.
    """
    by_module = {edit.module: edit for edit in reversed(facts.edits)}
    ranked = sorted(by_module.values(), key=lambda edit: cost(edit, facts, cpu).cpu_s)
    edits = {"snippet": ranked[(len(ranked) - 1) // 2]}
    if len(ranked) > 1:
        edits["costly_snippet"] = ranked[-1]
    return edits


@dataclass
class Bench:
    """The two projects, what is edited in them, and the samples so far."""

    ours: Project
    plain: Project
    facts: Facts
    edits: dict[str, Edit]
    costs: dict[str, Cost]
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    rounds: int = 0
    markers: int = 0

    def round(self, served_edits: int) -> Iterator[str]:
        """One sample of every figure, `served_edits` of those under `mkdocs serve`.

        Yields what comes next, for whoever waits.
        """
        self.rounds += 1
        changes = self.changes()
        yield "builds"
        self.builds("cold", forget)
        self.builds("unchanged", nothing)
        for row, (_, change) in changes.items():
            self.builds(row, change)
        yield "snippets alone"
        self.note("snippet_cpu", "ours", sum(sites.cpu_seconds(self.ours).values()))
        yield "memory"
        self.memory("cold", forget)
        self.memory("unchanged", nothing)
        yield "serve"
        for project in self.turns():
            self.serve(project, served_edits)

    def changes(self) -> dict[str, tuple[str, Change]]:
        """By row: the address of the page that shows an edit, and the edit."""

        def code(edit: Edit) -> Change:
            return lambda project, marker: project.edit_code(edit, marker)

        page = self.edits["snippet"]
        found = {row: (edit.address, code(edit)) for row, edit in self.edits.items()}
        found["prose"] = (
            page.address,
            lambda project, marker: project.edit_prose(page.page, marker),
        )
        return found

    def turns(self) -> list[Project]:
        """The two projects, the one first in one round, the other in the next."""
        return [self.ours, self.plain] if self.rounds % 2 else [self.plain, self.ours]

    def note(self, row: str, side: str, value: float) -> None:
        """Keep a sample."""
        self.samples.setdefault(row, {}).setdefault(side, []).append(value)

    def marker(self) -> str:
        """A word that was on no page before, so that no cache knows the edit."""
        self.markers += 1
        return f"timededit{self.markers:05d}"

    def builds(self, row: str, change: Change) -> None:
        """A timed build of each project after a change."""
        for project in self.turns():
            change(project, self.marker())
            self.note(row, project.name, project.build())

    def memory(self, row: str, change: Change) -> None:
        """A build of each project for its peak memory, apart from the timed ones that sampling
        would slow.
        """
        for project in self.turns():
            change(project, self.marker())
            peak = project.memory()
            if peak:
                self.note(f"{row}_rss", project.name, peak.rss_mib)
                self.note(f"{row}_pss", project.name, peak.pss_mib)

    def serve(self, project: Project, edits: int) -> None:
        """Edit a project under `mkdocs serve`, and wait for the edit in the page over HTTP."""
        changes = self.changes()
        with project.served() as server:
            server.wait_for("", "</html>")
            for number in range(edits):
                for row, (address, change) in changes.items():
                    if number and row == "costly_snippet":  # long, and so the less uncertain
                        continue
                    time.sleep(SETTLE_S + random.random() / 2)  # at any phase of its looking
                    elapsed = self.until_shown(server, address, project, change)
                    self.note(f"serve_{row}", project.name, elapsed)

    def until_shown(self, server: Server, address: str, project: Project, change: Change) -> float:
        """Seconds from an edit to the page with it."""
        marker = self.marker()
        started = time.perf_counter()
        change(project, marker)
        return server.wait_for(address, marker) - started


def prepare(tree: Path, temporary: Path) -> tuple[Bench, list[str]]:
    """Both projects, built once, and the pages whose text is not the same in both."""
    ours = sites.private_copy(tree, temporary)
    ours.build()  # compiles, fills the font cache of matplotlib, and proves that the tree builds
    plain, facts = sites.plain_project(ours)
    plain.build()
    cpu = sites.cpu_seconds(ours)
    edits = choose_edits(facts, cpu)
    costs = {row: cost(edit, facts, cpu) for row, edit in edits.items()}
    return Bench(ours, plain, facts, edits, costs), sites.differing_pages(ours, plain)
