"""Tests, and what they keep."""

import sys
from pathlib import Path

# the modules beside these tests, in whatever folder, also where a command is no run of pytest
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "snippets"))
