"""Packages that would tell their makers of their use, kept from it.

ONNX Runtime, when it is imported, writes the number of a device and looks up
mobile.events.data.microsoft.com; OpenVINO does so with www.google-analytics.com. The package calls
this when it is imported itself, before either; what imports them calls it again, so that it comes
along with a copied function.

Source: ONNX Runtime's docs/Privacy.md, which names the variable; `telemetry_utils.py` of OpenVINO
2026.4, which goes on with a stub where the package openvino_telemetry is not installed.
"""

from __future__ import annotations

import os
import sys


def switch_off_telemetry() -> None:
    """Let ONNX Runtime and OpenVINO look up, send and write nothing about their use.

    For this process and those that it starts, as long as neither package was imported. A variable
    that is set keeps its value, and openvino_telemetry stays where it was imported on purpose.

    >>> switch_off_telemetry()
    >>> "ORT_DISABLE_TELEMETRY" in os.environ, "openvino_telemetry" in sys.modules
    (True, True)
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
