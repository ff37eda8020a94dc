"""The same pages from another generator: Zensical knows no hook, no plugin and nothing of ours but
the Markdown extension for formulas, and gives readers the same.
"""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from builder import ROOT

from .profiles import its_turn

COUNTED = {
    "formulas": "<math",
    "figures": '<figure class="plot"',
    "blocks of code": "<pre",
    "checks": '<details class="check"',
    "sliders": 'class="slider"',
    "tables": "<table",
    "images": "<img",
    "links": "<a ",
}
OF_THE_THEME = '<a id="__skip" tabindex="-1"></a>'


@pytest.fixture(scope="module")
def zensical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as Zensical builds it from the expanded folder."""
    folder = tmp_path_factory.mktemp("zensical") / "plain"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = Path(sys.executable).with_name("zensical")
    assert command.is_file(), "zensical is not installed: pip install -r requirements.txt"
    for words in (
        [sys.executable, "-m", "builder", "--expand", str(folder)],
        [str(command), "build", "--config-file", str(folder / "mkdocs.yml")],
    ):
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def article(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    found = re.search(r"<article[^>]*>(.*?)</article>", text, re.DOTALL)
    assert found is not None, page
    return re.sub(r'<a class="headerlink".*?</a>', "", found[1].replace(OF_THE_THEME, ""))


def words(markup: str) -> str:
    """All text without what only copies, and without blanks."""
    text = re.sub(r"<(script|style|button)\b.*?</\1>", "", markup, flags=re.DOTALL)
    return re.sub(r"[\s¶]+", "", html.unescape(re.sub(r"<[^>]+>", "", text)))


@its_turn(1)
def test_another_generator_gives_the_same_pages(site: Path, zensical: Path) -> None:
    pages = [page.relative_to(site) for page in site.rglob("index.html")]
    pages.remove(Path("notebook/index.html"))  # a file to take along there
    assert len(pages) > 40
    for page in pages:
        ours, theirs = article(site / page), article(zensical / page)
        counts = [{what: text.count(of) for what, of in COUNTED.items()} for text in (ours, theirs)]
        assert counts[0] == counts[1], page
        assert words(ours) == words(theirs), page
