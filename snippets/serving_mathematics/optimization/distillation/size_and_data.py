"""What a small student learns from a language model's answers: how often it says the same, by its
size, by how much it has read, and by what it was told.

The teacher answers questions of one kind, and says how likely each token was. Students of one
hidden layer learn from the words, from the likeliest tokens, from a few probabilities or from all.
On questions that nobody learned from, the share of tokens whose likeliest one is the teacher's
counts what is kept, and the overlap of the probabilities what a draft would have accepted.

Assumes: one narrow traffic, a small teacher, students far smaller than anyone would serve.

Source: measurement, made by `python -m serving_mathematics.engine.students_measurement`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from serving_mathematics.core.batching.speculative_decoding import expected_tokens
from serving_mathematics.support import checks
from serving_mathematics.support.drawing import Figure
from serving_mathematics.support.measuring import read_record

RECORD, PARTS = "students", ("same", "nats", "accepted")
DRAFTED = 5  # tokens that a step drafts
WORDS, NAMES, FEW, ALL = "words", "likeliest tokens", "20 probabilities", "all probabilities"


@functools.cache
def _scores() -> dict[tuple[int, int, str], dict[str, list[float]]]:
    """For each size, number of tokens and source: what each seed scored."""
    found: dict[tuple[int, int, str], dict[str, list[float]]] = {}
    for row in read_record(RECORD)["rows"]:
        place = found.setdefault((row["units"], row["taught"], row["source"]), {})
        for part in PARTS:
            place.setdefault(part, []).append(float(row[part]))
    return found


def _mean(units: int, taught: int, source: str, part: str) -> float:
    return float(np.mean(_scores()[units, taught, source][part]))


def _axes() -> tuple[list[int], list[int]]:
    """Sizes, and tokens that were learned from."""
    return sorted({key[0] for key in _scores()}), sorted({key[1] for key in _scores()})


def _worth(units: int, part: str = "accepted") -> float:
    """How many words teach as much as the probabilities of one token, with least read."""
    taught = _axes()[1]
    goal = _mean(units, taught[0], ALL, part)
    reached = np.maximum.accumulate([_mean(units, tokens, WORDS, part) for tokens in taught])
    return float(np.exp(np.interp(goal, reached, np.log(taught))) / taught[0])


def example() -> SimpleNamespace:
    """The numbers quoted in the text."""
    return SimpleNamespace(
        lesson_questions=read_record(RECORD)["asked"]["questions"],
        few_count=int(FEW.split()[0]),
        worth_words=_worth(_axes()[0][-1]),
    )


def figure_size_and_data(figure: Figure) -> None:
    """Probabilities teach more than words, most so where little was read; from the second size up,
    more units help only where much was read.

    Questions that no student learned from. In print, the share of a student's drafts that the
    teacher would accept; on screen, the drafts for the beginning of one answer, where “…” is a
    token that students do not know, and an unlabelled part is all other tokens, or too narrow for
    its word.

    Alt: Lines of the accepted share against tokens learned from, logarithmic. Solid lines for
    probabilities lie above dashed ones for words at every size, with the widest gap on the left.
    All rise to the right.
    """
    axes = figure.subplots()
    units, taught = _axes()
    for colour, size in zip(("C0", "C1", "C2"), units, strict=True):
        for source, style in ((ALL, "o-"), (WORDS, "o--")):
            share = [100 * _mean(size, tokens, source, "accepted") for tokens in taught]
            axes.semilogx(taught, share, style, color=colour, markersize=4)
            if source == ALL:
                axes.annotate(
                    f"{size} units", (taught[-1] * 1.05, share[-1]), color=colour, va="center"
                )
    axes.plot([], [], "-", color="C4", label="from probabilities")
    axes.plot([], [], "--", color="C4", label="from words")
    axes.legend()
    axes.set_xticks(taught, [f"{tokens:,}" for tokens in taught])
    axes.minorticks_off()
    axes.set(xlim=(taught[0] * 0.9, taught[-1] * 2.2))
    axes.set(xlabel="tokens learned from", ylabel="drafts that are accepted [%]")


def figure_lessons_compared(figure: Figure) -> None:
    """Twenty probabilities teach as much as all of them; the likeliest token alone teaches more
    than the word that was drawn, and less than the twenty.

    The largest student, after reading the least and the most. Dashed: a student that says the usual
    words, whatever is asked.

    Alt: Two groups of four bars of accepted drafts. In both, the bars of twenty probabilities and
    of all are highest and equal, that of words is lowest, and that of likeliest tokens lies
    between. In the left group the bars are half as high, and further apart in proportion. A dashed
    line runs far below.
    """
    axes = figure.subplots()
    units, taught = _axes()
    sources = (NAMES, WORDS, FEW, ALL)
    ends = (taught[0], taught[-1])
    for place, (source, colour) in enumerate(zip(sources, ("C4", "C1", "C2", "C0"), strict=True)):
        shares = [100 * _mean(units[-1], tokens, source, "accepted") for tokens in ends]
        across = np.arange(2) + 0.2 * (place - 1.5)
        axes.bar(across, shares, 0.18, color=colour, label=source)
    highest = axes.get_ylim()[1]
    usual = 100 * float(read_record(RECORD)["usual"]["accepted"])
    axes.axhline(usual, color="C4", linestyle="--", linewidth=1)
    axes.set_xticks([0, 1], [f"{tokens:,} tokens read" for tokens in ends])
    axes.legend(ncols=2, loc="upper left")
    axes.set(ylim=(0, 1.3 * highest), xlabel="lessons", ylabel="drafts that are accepted [%]")


def _places() -> list[str]:
    """The first tokens of the answer whose drafts the card shows, numbered."""
    answer = read_record(RECORD)["answer"]
    return [f"{i}. {word.strip() or '…'}" for i, word in enumerate(answer, 1)]


def _drafted(units: int, taught: int, source: str) -> list[tuple[Any, ...]]:
    """What a student would draft at each place, as (place, start, end, state) in percent: what is
    accepted, then what is struck, a token after the other; beside it the share accepted."""
    (row,) = (
        row
        for row in read_record(RECORD)["rows"]
        if (row["units"], row["taught"], row["source"]) == (units, taught, source)
        if "drafts" in row
    )
    bars: list[tuple[Any, ...]] = []
    for place, draft in zip(_places(), row["drafts"], strict=True):
        parts = [(*p, "answer") for p in draft["accepted"]]
        parts += [(*p, "broken") for p in draft["struck"]]
        ends = np.minimum(100 * np.cumsum([share for _, share, _ in parts]), 100).round(1).tolist()
        mine = [
            (place, start, end, state, *([word.strip()] if word.strip() else []))
            for start, end, (word, _, state) in zip([0.0, *ends], ends, parts, strict=False)
            if start < end
        ]
        told = 100 * sum(share for _, share in draft["accepted"])
        bars += [*mine[:-1], (*mine[-1][:4], f"{told:.0f}%")]
    return bars


def slider_size_and_data() -> dict[str, Any]:
    """Teach a student and let it draft: what would its teacher accept, and what is struck out?"""
    units, taught = _axes()
    sources = [WORDS, ALL]

    def each(told: Callable[[int, int, str], Any]) -> list[Any]:
        return [[[told(size, n, source) for source in sources] for size in units] for n in taught]

    def accepted(size: int, n: int, source: str) -> float:
        return 100 * _mean(size, n, source, "accepted")

    def yields(size: int, n: int, source: str) -> float:
        return expected_tokens(_mean(size, n, source, "accepted"), DRAFTED)

    return {
        "controls": [
            {"label": "tokens read", "values": taught, "start": taught[1], "text": "{:,}"},
            {"label": "units", "values": units, "start": units[1]},
            {"label": "learned from", "values": sources, "start": WORDS},
        ],
        "panels": [
            {
                "kind": "bars",
                "label": "drafts for a teacher's answer, word by word",
                "lanes": _places(),
                "x": {"label": "what the student would draft", "unit": "%", "range": (0, 100)},
                "bars": each(_drafted),
            }
        ],
        "readouts": [
            {"label": "accepted", "unit": "%", "decimals": 0, "values": each(accepted)},
            {"label": "yield", "unit": "", "decimals": 2, "values": each(yields)},
        ],
        "legend": {
            "answer": "accepted: the teacher would say it as often",
            "broken": "struck: it would not",
        },
        "reading": "Of this student's drafts {accepted} are accepted on questions that nobody"
        f" learned from; a step that drafts {DRAFTED} yields {{yield}} tokens, if acceptances are"
        " independent.",
    }


def check_probabilities_teach_more() -> None:
    """At every size and amount read, probabilities bring more accepted drafts and a smaller
    distance than words, for each seed; where least was read, as many as three or four times the
    words.

    Source: the record; the same rows, steps and initial weights for both.
    """
    units, taught = _axes()
    worth = [_worth(size) for size in units]
    checks.inside("words for a token's probabilities, least", min(worth), 2.5, 4.0)
    checks.inside("and most", max(worth), 2.5, 4.0)
    for size in units:
        for tokens in taught:
            pairs = [_scores()[size, tokens, source] for source in (ALL, WORDS)]
            wins = [a > b for a, b in zip(*(one["accepted"] for one in pairs), strict=True)]
            nearer = [a < b for a, b in zip(*(one["nats"] for one in pairs), strict=True)]
            label = f"{size} units, {tokens:,} tokens"
            checks.holds(label, all(wins) and all(nearer))


def check_more_is_learned_from_more() -> None:
    """Ten times as much to read teaches more, from every kind of lesson; the trivial student, who
    says the same words in the same shares whatever is asked, is far below all others.

    Source: the record; each seed.
    """
    units, taught = _axes()
    usual = float(read_record(RECORD)["usual"]["accepted"])
    for source in (WORDS, NAMES, FEW, ALL):
        few, many = (_scores()[units[-1], n, source]["accepted"] for n in (taught[0], taught[-1]))
        checks.holds(source, min(many) > max(few))
        checks.inside(f"{source}: over the trivial one", min(few) / usual, 1.5, 100.0)


def check_a_few_probabilities_do() -> None:
    """Twenty probabilities teach nearly as much as all of them, and far more than the likeliest
    token.

    Source: the record; accepted drafts at most that was read.
    """
    units, taught = _axes()
    few, every, names = (
        _mean(units[-1], taught[-1], source, "accepted") for source in (FEW, ALL, NAMES)
    )
    checks.inside("twenty over all", few / every, 0.95, 1.05)
    checks.holds("over the likeliest token", few > names, got=few - names)
