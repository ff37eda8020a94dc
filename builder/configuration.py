"""The site's `mkdocs.yml`: what the expansion needs of it, and the same for a generator that has
neither hooks nor plugins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from mkdocs.exceptions import ConfigurationError
from mkdocs.utils.yaml import yaml_load

from builder import BuildError
from builder.expansion import Site

MATHS = "builder.maths"  # the Markdown extension that turns TeX into MathML


def site_of(root: Path) -> Site:
    """What the expansion needs to know."""
    return site_from(_read(root))


def site_from(config: Mapping[str, Any]) -> Site:
    """The same of a configuration that somebody has read, such as MkDocs."""
    extra = config.get("extra") or {}
    return Site(
        str(config.get("site_name", "")),
        str(config.get("site_description") or ""),
        str(config.get("site_url") or ""),
        tuple(paths_of(config.get("nav") or [])),
        str(extra.get("pyodide") or ""),
        extra.get("notebook") or {},
        {name: str(value) for name, value in (extra.get("cited") or {}).items() if value},
    )


def paths_of(nav: list[Any]) -> Iterator[str]:
    """Every page of a navigation in order."""
    for item in nav:
        for value in item.values() if isinstance(item, dict) else [item]:
            if isinstance(value, list):
                yield from paths_of(value)
            else:
                yield str(value)


def plain_configuration(root: Path) -> str:
    """The text of a `mkdocs.yml` for expanded pages: formulas by a Markdown extension, HTML with
    Markdown in it, and no hook. The notebook is a file.
    """
    config = _read(root)
    for name in ("hooks", "plugins", "watch", "validation"):
        config.pop(name, None)
    config["docs_dir"] = "docs"
    config["markdown_extensions"] = [*config.get("markdown_extensions", []), MATHS]
    theme = config.get("theme") or {}
    if isinstance(theme, dict) and "custom_dir" in theme:  # a folder beside the site's mkdocs.yml
        theme["custom_dir"] = str(root / theme["custom_dir"])
    return str(yaml.safe_dump(config, allow_unicode=True, sort_keys=False))


def _read(root: Path) -> dict[str, Any]:
    file = root / "mkdocs.yml"
    try:
        config = yaml_load(file.read_text(encoding="utf-8"))
    except (OSError, ConfigurationError) as problem:
        raise BuildError(f"cannot read {file}: {problem}") from problem
    if not isinstance(config, dict):
        raise BuildError(f"cannot read {file}: it must be a table of names and values")
    return config
