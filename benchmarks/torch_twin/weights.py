"""Loads weights from Keras: the variables of `core_of(embedder)`, into the twin."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import nn

from benchmarks.torch_twin.embedder import Embedder

_CONVOLUTION = {"weight": "kernel", "bias": "bias"}
_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def load_keras(embedder: Embedder, arrays: Mapping[str, np.ndarray]) -> None:
    """Copies every array into the tensor it belongs to.

    Args:
        embedder: The embedder to load into, not yet folded.
        arrays: Arrays by the variables' paths.

    Raises:
        ValueError: Names or shapes do not agree.
    """
    tensors = dict(_tensors(embedder))
    if strangers := sorted(set(tensors) ^ set(arrays)):
        raise ValueError(f"{len(strangers)} names without a partner: {strangers[:5]}")
    with torch.no_grad():
        for path, tensor in tensors.items():
            array = torch.from_numpy(_as_torch(path, arrays[path]))
            if array.shape != tensor.shape:
                raise ValueError(
                    f"{path} is {tuple(array.shape)} and not {tuple(tensor.shape)}."
                )
            tensor.copy_(array)


def _tensors(embedder: Embedder) -> Iterator[tuple[str, torch.Tensor]]:
    """Yields each tensor with the path of its Keras variable."""
    for number, scale in enumerate(embedder.scales, 1):
        for piece in (scale.lower, scale.upper):
            yield from _named(piece, f"scale{number}_")
        if scale.channel_attention is not None:
            for name, tensor in scale.channel_attention.named_parameters():
                yield f"scale{number}_channel_attention/{name}", tensor
        yield f"scale{number}_projection/kernel_0", scale.projection.weight


def _named(piece: nn.Module, prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, module in piece.named_modules():
        layer = prefix + name.replace(".", "_").removesuffix("_conv")
        if isinstance(module, nn.Conv2d):
            variables = _CONVOLUTION
        elif isinstance(module, nn.BatchNorm2d):
            variables = _NORM
        else:
            continue
        for attribute, variable in variables.items():
            if (tensor := getattr(module, attribute)) is not None:
                yield f"{layer}/{variable}", tensor


def _as_torch(path: str, array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:  # (h, w, in, out), of depthwise kernels (h, w, c, 1)
        return array.transpose((2, 3, 0, 1) if "_depthwise/" in path else (3, 2, 0, 1))
    return array.T if path.endswith("_projection/kernel_0") else array
