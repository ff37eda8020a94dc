"""What lies beside the pages of a built site: the policy of its scripts."""

from __future__ import annotations

from pathlib import Path

from builder.built_site import write_policy


def test_policy_names_inline_scripts_by_their_hash_and_where_python_comes_from(
    tmp_path: Path,
) -> None:
    """The hash is what `openssl dgst -sha256 -binary | base64` makes of the text."""
    (tmp_path / "a").mkdir()
    for name in ("index.html", "a/index.html"):
        (tmp_path / name).write_text("<script>alert(1)</script><script src='a.js'></script>")
    (tmp_path / "a/b.txt").write_text("<script>alert(2)</script>")
    for pyodide, where in (
        ("https://python.example/full/", " https://python.example"),
        ("/p/", ""),
    ):
        write_policy(tmp_path, pyodide)
        told = (tmp_path / "content-security-policy.txt").read_text()
        assert told.endswith("\n")
        rules = dict(rule.split(" ", 1) for rule in told.strip().split("; "))
        assert rules["default-src"] == "'none'"
        assert rules["script-src"].split() == [
            "'self'",
            "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='",
            "'wasm-unsafe-eval'",
            "blob:",
        ]
        assert rules["connect-src"] == f"'self'{where}"
