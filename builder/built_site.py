"""What a built site gets beside its pages: what its search knows, their Markdown, the book, and the
policy of its scripts.
"""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

from builder import epub, search_index, theme_markup
from builder.expansion import Expansion, Site
from builder.markdown_copies import write_markdown

POLICY = "content-security-policy.txt"  # what a web server may send with every file


def complete(folder: Path, site: Site, made: Expansion, *, day: str) -> None:
    """Complete the folder of a built site, less the styles that nothing has there. Raises OSError,
    and BuildError that names a page of which no book can be made.

    made: what its pages came from. day: of the build, such as 2026-01-31; empty while an author is
    at work, who needs what pages show and no more.
    """
    if (folder / search_index.INDEX).is_file():  # a site may do without a search
        search_index.write(folder, made.terms)
    theme_markup.trim_styles(folder)
    if day:
        write_markdown(folder, made.pages)
        epub.write(folder, site, f"{day}T00:00:00Z")
        write_policy(folder, site.pyodide)


_RULES = (  # columns of tables have styles, which run nothing; a frame holds the browser's Python
    "default-src 'none'; script-src 'self' {scripts} 'wasm-unsafe-eval' blob:;"
    " style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self';"
    " connect-src 'self'{python}; worker-src 'self' blob:; frame-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'self'\n"
)


def write_policy(site: Path, pyodide: str) -> None:
    """Leave beside the pages of a built site the value of a header Content-Security-Policy under
    which they work: no script runs but the site's own files, those inline scripts that stand in the
    pages now, by their hash, and what these make themselves, as Python for the browser, once its
    bytes are compared.

    pyodide: where that is fetched from, an address or a folder of the site.
    """
    pages = (file.read_text(encoding="utf-8") for file in site.rglob("*.html"))
    script = re.compile(r"<script>(.*?)</script>", re.DOTALL)  # with attributes: none, or a file
    inline = {text.encode() for page in pages for text in script.findall(page)}
    digests = (base64.b64encode(hashlib.sha256(text).digest()).decode() for text in inline)
    scripts = " ".join(sorted(f"'sha256-{digest}'" for digest in digests))
    url = urlsplit(pyodide)
    python = f" {url.scheme}://{url.netloc}" if url.netloc else ""
    (site / POLICY).write_text(_RULES.format(scripts=scripts, python=python), encoding="utf-8")
