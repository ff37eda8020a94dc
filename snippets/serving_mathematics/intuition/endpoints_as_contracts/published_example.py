"""The example of a protocol against the protocol's own rules: one value for three elements.

Assumes: nothing.

Source: Open Inference Protocol, REST, section Inference Request Examples against Tensor Data and
Inference Response JSON Object (github.com/kserve/open-inference-protocol, commit 7ef512b).
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

from serving_mathematics.support import checks

PUBLISHED_REQUEST: dict[
    str, Any
] = {  # the protocol's own example, section Inference Request Examples
    "id": "42",
    "inputs": [
        {"name": "input0", "shape": [2, 2], "datatype": "UINT32", "data": [1, 2, 3, 4]},
        {"name": "input1", "shape": [3], "datatype": "BOOL", "data": [True]},
    ],
    "outputs": [{"name": "output0"}],
}
PUBLISHED_RESPONSE: dict[str, Any] = {  # same section, where a comma is missing after "42"
    "id": "42",
    "outputs": [
        {
            "name": "output0",
            "shape": [3, 2],
            "datatype": "FP32",
            "data": [1.0, 1.1, 2.0, 2.1, 3.0, 3.1],
        }
    ],
}
REQUIRED = {"model_name", "outputs"}  # of a response, by the protocol's schema


def example() -> SimpleNamespace:
    """What the errata quote."""
    tensor = PUBLISHED_REQUEST["inputs"][1]
    return SimpleNamespace(
        published_elements=math.prod(tensor["shape"]),
        published_given=len(tensor["data"]),
        published_missing=", ".join(REQUIRED - PUBLISHED_RESPONSE.keys()),
    )


def check_published_example_breaks_its_own_rules() -> None:
    """The protocol's example request sends one element for shape [3]; its response names no model.

    Source: Open Inference Protocol, REST, Inference Request Examples against Tensor Data and
    Inference Response JSON Object.
    """
    counts = [
        (math.prod(one["shape"]), len(one["data"]))
        for one in (*PUBLISHED_REQUEST["inputs"], *PUBLISHED_RESPONSE["outputs"])
    ]
    checks.equal("elements due and given", counts, [(4, 4), (3, 1), (6, 6)], kind="published")
    checks.equal("missing", REQUIRED - PUBLISHED_RESPONSE.keys(), {"model_name"}, kind="published")
