"""Markdown of every page, for language models and whoever reads without a browser: the page as it
was expanded, without what only a browser needs, at the address of the page with `.md` for its last
slash, where links from page to page still lead.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from builder.expansion import COMPANION, front_matter

_UNREAD = re.compile(  # lines of finished HTML that are nothing without a script
    r'<p (?:hidden|class="snippet-)|<div class="(?:slider|live)\b|<form\b'
    r"|</?(?:div|details)\b[^>]*>$"
)
_FENCE = re.compile(r"^ *(`{3,}|~{3,})(?: \{ \.(\w+).*)?")
_WRITTEN: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [  # in a line of finished HTML
    (r'<(script|button)\b.*?</\1>|<div class="checks".*?</div>|<img class="only-dark"[^>]*>', ""),
    (r' ?<a class="headerlink".*?</a>|<text\b.*?</text>', ""),
    (r'<img\b[^>]*?alt="([^"]*)"[^>]*?src="([^"]*)"[^>]*>', r"![\1](\2)"),
    (r'<a\b[^>]*?href="([^"]*)"[^>]*>((?:(?!</a>).)*)</a>', r"[\2](\1)"),
    (r"</title>", ": "),
    (r"</?code\b[^>]*>", "`"),
    (r"</?(?:strong|b)\b[^>]*>", "**"),
    (r"<li\b[^>]*>", "\n- "),
    (r"<thead>.*?</thead>", lambda head: f"{head[0]}\n|{'---|' * head[0].count('</th>')}"),
    (r"<tr\b[^>]*>", "\n|"),
    (r"<t[hd]\b[^>]*>", " "),
    (r"</t[hd]>", " |"),
    (r"<(?:p|h\d|ul|ol|table|figcaption|summary|details|div|br|pre)\b[^>]*>", "\n\n"),
    (r"<[^>]*>", ""),
    (r"\n\s*\n\s*", "\n\n"),
]
_TEXTS = [(re.compile(pattern), text) for pattern, text in _WRITTEN]


def markdown(path: str, text: str) -> str:
    """An expanded page as plain Markdown. path: of the page in docs."""
    _, body, meta = front_matter(path, text)
    deeper = "" if PurePosixPath(path).name == "index.md" else "../"  # is the page in the site
    lines, fence = [], ""
    for line in body.split("\n"):
        found = _FENCE.match(line)
        if found and not fence:
            fence = found[1]
            lines.append(f"{fence}{found[2]}" if found[2] else line)
        elif fence:
            fence = "" if line.strip() == fence else fence
            lines.append(line)
        elif not line.startswith("<"):
            if not line.lstrip().startswith("{ ."):  # classes of the line before
                lines.append(line.replace(f'href="{deeper}', 'href="'))
        elif not _UNREAD.match(line):
            for pattern, replacement in _TEXTS:
                line = pattern.sub(replacement, line)
            lines.append(html.unescape(line).replace(f"]({deeper}", "](").strip())
    told = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    told = re.sub(rf"(\]\((?:\.\./)*){COMPANION}", rf"\1downloads/{COMPANION}", told)
    if (said := meta.get("description")) and told.startswith("# "):
        told = told.replace("\n", f"\n\n> {said}\n", 1)
    return f"{told}\n"


def write_markdown(folder: Path, pages: Mapping[str, str]) -> None:
    """A Markdown file beside every page of a built site, which its overview links to. Raises
    OSError.
    """
    for path, text in pages.items():
        (folder / path).write_text(markdown(path, text), encoding="utf-8")
    overview = folder / "llms.txt"
    told = re.sub(r"\]\((\S+?)/\)", r"](\1.md)", overview.read_text(encoding="utf-8"))
    overview.write_text(told, encoding="utf-8")
