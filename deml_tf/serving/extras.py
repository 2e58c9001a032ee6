"""Packages that some formats need and the project does not require."""

import importlib.util
from collections.abc import Mapping
from importlib import metadata

from deml_tf.errors import UsageError

PACKAGES: Mapping[str, Mapping[str, str]] = {
    "litert": {"ai_edge_litert": "ai-edge-litert"},
    "onnx": {"tf2onnx": "tf2onnx", "onnx": "onnx", "onnxruntime": "onnxruntime"},
}
"""Modules by extra of setup.cfg, each with the name of its package."""


def require_extra(extra: str) -> None:
    """Refuse a format whose packages are not installed.

    Args:
        extra: One of `PACKAGES`.

    Raises:
        UsageError: A module is not installed.
    """
    for module in PACKAGES[extra]:
        if importlib.util.find_spec(module) is None:
            raise UsageError(
                f"format={extra} needs {module}, which is not installed: run "
                f"pip install 'deml_tf[{extra}]'."
            )


def versions(extra: str) -> dict[str, str]:
    """Return the installed versions of an extra's packages.

    Args:
        extra: One of `PACKAGES`.
    """
    return {name: metadata.version(name) for name in PACKAGES[extra].values()}
