"""What is left to do on rendered pages: names for a screen reader, less markup in code,
and a preview for those to whom a link is sent.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

_PLAIN = re.compile(r'<span class="(?:n|p|o|w)">([^<]*)</span>')
_SECTION = re.compile(r'aria-labelledby="(__nav_[\d_]+)_label"')
_DIALOG = 'data-md-component="search" role="dialog"'
_EAGER = 'location.protocol!=="file:"),'  # in the theme's script: whether search is in use at once


def named_landmarks(page: str) -> str:
    """A rendered page whose search dialog has a name, and each section of the navigation its own.

    A section with an index page is labelled by an element that holds an icon only; its title stands
    in another label.
    """

    def name(match: re.Match[str]) -> str:
        title = re.search(rf'for="{match[1]}">\s*<span[^>]*></span>\s*([^<]+?)\s*<', page)
        return f'aria-label="{title[1]}"' if title else match[0]

    return _SECTION.sub(name, page).replace(_DIALOG, f'{_DIALOG} aria-label="Search"')


def plain_names(content: str) -> str:
    """Highlighted code without the markup of names, operators, brackets and blanks, which look like
    plain text: a third of a page's weight.
    """
    return _PLAIN.sub(r"\1", content)


def patient_search(script: str) -> str:
    """The theme's script without its haste: it fetches the search index, several times the size of
    a page, when the search is opened, as it does where there is no server. Raises ValueError when
    the script is not the one that is known.
    """
    if script.count(_EAGER) != 1:
        raise ValueError(f"script must have {_EAGER!r} once, got {script.count(_EAGER)} times")
    return script.replace(_EAGER, "!1),")


def with_preview(page: str, preview: Mapping[str, str]) -> str:
    """A rendered page with Open Graph properties in its head."""
    tags = "".join(
        f'<meta property="{name}" content="{html.escape(content)}">'
        for name, content in preview.items()
    )
    return page.replace("</head>", f"{tags}</head>", 1)
