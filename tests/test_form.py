"""The form of a page is measured as a reader meets it, and every page keeps it."""

from __future__ import annotations

import pytest

from author import form
from author.form import AIMS, form_of, problems
from builder.directives import LINES_OPEN
from builder.runner import Run

from .conftest import CHAPTERS

PAGE = """
# Title

<p class="question">How many of these nine words are counted here?</p>

One sentence with $x = 3$ and 80% [Little (1961)](#little-1961).

<figure class="plot"><img alt="3"><figcaption>Two words. <a class="figure-file">SVG</a></figcaption>

<figure class="plot"><figcaption>One 5.</figcaption></figure><div class="slider">9</div>

## The answer

- First of two, with 12 numbers of 7.
- Second `code`
  goes on.

| a | 4 |
|---|---|

$$
x = 5 words
$$

## More words

``` { .python .snippet .is-folded title="a" hl_lines="2 3" data-search-exclude="" }
one
two
three
four
```

``` { .python .snippet .is-folded .is-long title="a" hl_lines="2 3" data-search-exclude="" }
one
```

<details class="tip" markdown="1">
<summary>Folded</summary>

Not open.

``` python
neither
```

</details>

??? note "Folded"

    Not open.

Open.

## Exercises

No words.

```
no code
```

## Symbols

| Symbol | Meaning |
|---|---|
| $x$ | number of things |
| $y$ | share |
| $A$ | elsewhere |
"""


def test_what_is_open_on_a_page_is_counted() -> None:
    found = form_of(PAGE)
    assert found.bullets == ["- First of two, with 12 numbers of 7.", "- Second code goes on."]
    assert found.code == 2 + LINES_OPEN
    assert found.figures == 2
    opening = 1 + 8 + 2  # title, sentence with a formula that says a number, first caption
    assert found.before == opening
    answer = 2 + 8 + 4 + 2  # heading, bullets, table
    assert form.words(found.answer) == answer - 2
    assert form.words(found.prose) == opening + 2 + answer + 2 + 1
    assert form.numerals(found.prose) == 2 + 1 + 2 + 1
    assert found.measures()["numerals"] == round(100 * 6 / form.SHORT, 1)


def test_nothing_that_moves_is_as_far_as_the_page_is_long() -> None:
    assert form_of("One two three.\n\nFour.").measures()["before"] == 4


@pytest.mark.parametrize(
    ("line", "count"),
    [
        ("At 80% the p99 of M/M/1 is 1,200 ms, 3.5 ± 0.2.", 4),
        ("An 8B model on an H100 and GPT-4 with v0.19.", 0),
        ("See [Little (1961)](#little-1961) and [2 pages](a.md).", 1),
        (r"With $\rho = 0.8$, $x \le 3$ and $c_2$ in `code 7`.", 2),
    ],
)
def test_numerals_are_numbers_that_a_reader_meets(line: str, count: int) -> None:
    assert form.numerals([form.bare(line)]) == count


def test_letters_are_explained_where_they_come_first() -> None:
    late = form_of(f"Here is $y$ alone.\n\nMore.\n\nStill more, a share.\n\nA number $x$.{PAGE}")
    assert form.unexplained(late, "a/b.md", PAGE) == ["y"]


def test_a_page_that_misses_an_aim_is_told() -> None:
    limit = AIMS["prose"][0]
    assert problems("a/b", {"prose": limit}) == []
    (told,) = problems("a/b", {"prose": limit + 1})
    assert told == "docs/a/b.md: 1,751 words of open prose: say less, show more; 1750 or fewer."
    assert problems("a/b", {"numerals": 4.6}) != []
    assert problems("a/b", {"screens": 16.4}) == []  # on another machine's fonts
    assert problems("a/b", {"screens": 16.6}) != []


def test_every_page_keeps_its_aims(records: dict[str, Run]) -> None:
    pages = form.measured(list(records.values()))
    assert {*pages} == {chapter.slug for chapter in CHAPTERS}
    told = [
        problem
        for slug, (found, _) in pages.items()
        for problem in problems(slug, found.measures())
    ]
    assert not told, "\n".join(told)
