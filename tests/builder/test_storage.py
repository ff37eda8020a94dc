"""Files are written whole, or not at all where they are as wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder import storage


def test_a_file_is_written_where_its_content_is_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A cache that holds everything is only read."""
    file = tmp_path / "notebook" / "one.ipynb"
    for content in (b"one", b"two"):
        assert storage.as_file(file, content) == file
        assert file.read_bytes() == content
    monkeypatch.setattr(storage, "write_whole", None)
    assert storage.as_file(file, b"two").read_bytes() == b"two"
