"""How long builds take, here and with other builders, from the record of `make bench-build`.

The same chapters were given to each builder, with the same checks and figures to run, and the
builders took turns in rounds. A ratio is formed within a round, so that a machine that was slower
for a while slows both of its sides; what is shown is the median over the rounds with its range.

Assumes: the record of `benchmarks/build.py --peers`; nothing of the machine.

Source: records/site_builders.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.support import checks
from serving_mathematics.support.measuring import read_record, spread_text
from serving_mathematics.support.require import as_floats, require

RECORD = "site_builders"
CASES = {
    "cold": "cold",
    "unchanged": "nothing changed",
    "snippet": "one function edited",
    "serve": "edited under the server",
}
BUILDERS = {
    "ours": "this site",
    "plain": "plain Material",
    "sphinx-gallery": "sphinx-gallery",
    "mkdocs-jupyter": "mkdocs-jupyter",
    "myst-nb": "MyST-NB",
}
PEERS = ("sphinx-gallery", "mkdocs-jupyter", "myst-nb")
NO_CHANGE_AIM = 1.2  # times the build of the plain site
SERVE_AIM_S = 1.0  # met by what rounds to it


def _paired_ratios(
    times: Sequence[float], reference: Sequence[float]
) -> tuple[float, float, float]:
    """Median, least and most of the ratios of two series that were measured in turn [1]."""
    for name, series in (("times", times), ("reference", reference)):
        values = np.asarray(series, dtype=float)
        usable = values.size and bool(np.all(np.isfinite(values) & (values > 0)))
        require(bool(usable), name, "positive and finite, and at least one", list(series))
    require(len(times) == len(reference), "times", f"of length {len(reference)}", len(times))
    ratios = as_floats(times=times) / as_floats(reference=reference)
    return float(np.median(ratios)), float(ratios.min()), float(ratios.max())


def _results() -> dict[str, Any]:
    """Case, builder, and what was found."""
    found: dict[str, Any] = read_record(RECORD)["results"]
    return found


def _ratio(case: str, builder: str, reference: str = "ours") -> tuple[float, float, float]:
    """How many times as long as the reference a builder takes."""
    row = _results()[case]
    return _paired_ratios(row[builder]["samples"], row[reference]["samples"])


def _rows() -> str:
    """A row of the table for each builder: seconds of every case, and memory."""
    results = _results()
    lines = []
    for builder, name in BUILDERS.items():
        cells = [spread_text(results[case][builder]) for case in CASES]
        memory = results.get("cold_pss", {}).get(builder)
        lines.append(f"| {' | '.join([name, *cells, spread_text(memory) if memory else '–'])} |")
    return "\n".join(lines)


def _faster(case: str) -> str:
    """The peers that are faster than this site in a case."""
    return ", ".join(BUILDERS[b] for b in PEERS if _ratio(case, b)[0] < 1) or "none"


def _aims() -> list[tuple[str, str, str, bool]]:
    """What builds aimed at: of what, the aim, what was measured, and whether it was met."""
    unchanged = _ratio("unchanged", "ours", "plain")[0]
    serve = read_record(RECORD)["results"]["serve"]["ours"]["median"]
    return [
        (
            "a build when nothing changed, over plain Material's",
            f"{NO_CHANGE_AIM:g} at most",
            f"{unchanged:.2f}",
            unchanged <= NO_CHANGE_AIM,
        ),
        (
            "an edit under the server, until it shows",
            f"about {SERVE_AIM_S:g} s",
            f"{serve:.1f} s",
            round(serve) <= SERVE_AIM_S,
        ),
    ]


def example() -> SimpleNamespace:
    """Read from the record."""
    record = read_record(RECORD)
    ours, peers = record["ours"], record["peers"]
    nearest = min(PEERS, key=lambda builder: _ratio("cold", builder)[0])
    unchanged = _ratio("unchanged", "ours", "plain")[0]
    versions = {peer: record["versions"][peer].get(peer, "") for peer in PEERS}
    return SimpleNamespace(
        builds_made_on=record["date"],
        builds_processor=record["machine"]["cpu"],
        builds_cores=record["machine"]["cores"],
        builds_rounds=record["rounds"],
        our_pages=ours["pages"],
        our_modules=ours["modules"],
        our_figures=ours["figures"],
        peer_pages=peers["pages"],
        peer_modules=peers["modules"],
        peer_figures=peers["figures"],
        peer_comparisons=peers["comparisons"],
        peer_versions=", ".join(f"{BUILDERS[peer]} {versions[peer]}" for peer in PEERS),
        build_rows=_rows(),
        cold_peer=BUILDERS[nearest],
        cold_peer_ratio=_ratio("cold", nearest)[0],
        unchanged_ratio=unchanged,
        faster_cold=_faster("cold"),
        faster_unchanged=_faster("unchanged"),
        faster_snippet=_faster("snippet"),
        faster_serve=_faster("serve"),
    )


def check_summaries_of_builds() -> None:
    """Every median and range of the record is that of its samples, and every builder was timed
    equally often.

    Source: the samples, which the record holds in the order of the rounds.
    """
    rounds = read_record(RECORD)["rounds"]
    for case in CASES:
        rows = _results()[case]
        lengths = {builder: len(rows[builder]["samples"]) for builder in BUILDERS}
        fewest = min(lengths.values())
        checks.equal(f"{case}: samples", lengths, dict.fromkeys(BUILDERS, fewest), kind="measured")
        checks.equal(f"{case}: samples in a round", fewest % rounds, 0, kind="measured")
        for builder in BUILDERS:
            ordered = sorted(rows[builder]["samples"])
            half = len(ordered) // 2
            median = (ordered[half] + ordered[~half]) / 2
            got = [rows[builder][key] for key in ("median", "least", "most")]
            checks.close(
                f"{case}, {BUILDERS[builder]}",
                got,
                [median, ordered[0], ordered[-1]],
                atol=1e-4,
                kind="measured",
            )


def check_builders_computed_with_the_same() -> None:
    """Every builder that runs code ran it with the same numpy and matplotlib.

    Source: the versions that each environment reported.
    """
    versions = read_record(RECORD)["versions"]
    for package in ("numpy", "matplotlib"):
        for peer in PEERS:
            checks.equal(
                f"{package} of {BUILDERS[peer]}",
                versions[peer][package],
                versions["ours"][package],
                kind="measured",
            )
