"""GoogLeNet in two pieces, cut at inception_4b, as Caffe's replica has it."""

import math
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_twin.response_norm import ResponseNorm

CUT_CHANNELS, LAST_CHANNELS, GATE_BIAS = 512, 1024, 0.0
# Channels of 1x1, 3x3_reduce, 3x3, 5x5_reduce, 5x5, pool_proj.
_LOWER = {
    "pool2": None,
    "inception_3a": (64, 96, 128, 16, 32, 32),
    "inception_3b": (128, 128, 192, 32, 96, 64),
    "pool3": None,
    "inception_4a": (192, 96, 208, 16, 48, 64),
    "inception_4b": (160, 112, 224, 24, 64, 64),
}
_UPPER = {
    "inception_4c": (128, 128, 256, 24, 64, 64),
    "inception_4d": (112, 144, 288, 32, 64, 64),
    "inception_4e": (256, 160, 320, 32, 128, 128),
    "pool4": None,
    "inception_5a": (256, 160, 320, 32, 128, 128),
    "inception_5b": (384, 192, 384, 48, 128, 128),
}


class Convolution(nn.Conv2d):
    """Convolves, adds the bias, clips below 0; keeps the side at stride 1."""

    def __init__(self, inputs: int, count: int, kernel: int, stride: int = 1):
        super().__init__(inputs, count, kernel, stride, kernel // 2)

    def reset_parameters(self) -> None:
        """Draws Caffe's "xavier" weights, and sets its bias."""
        bound = math.sqrt(3.0 / self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)
        assert self.bias is not None
        nn.init.constant_(self.bias, 0.2)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Maps (b, c, h, w) to (b, count, h, w)."""
        return F.relu(super().forward(input), inplace=True)


class Inception(nn.ModuleDict):
    """Applies four branches of different windows, and stacks their results."""

    def __init__(self, inputs: int, counts: tuple[int, ...]):
        one, reduce3, three, reduce5, five, projected = counts
        super().__init__(
            {
                "1x1": Convolution(inputs, one, 1),
                "3x3_reduce": Convolution(inputs, reduce3, 1),
                "3x3": Convolution(reduce3, three, 3),
                "5x5_reduce": Convolution(inputs, reduce5, 1),
                "5x5": Convolution(reduce5, five, 5),
                "pool_proj": Convolution(inputs, projected, 1),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (b, c, h, w) to (b, c', h, w)."""
        return torch.cat(
            [
                self["1x1"](x),
                self["3x3"](self["3x3_reduce"](x)),
                self["5x5"](self["5x5_reduce"](x)),
                self["pool_proj"](F.max_pool2d(x, 3, 1, 1)),
            ],
            dim=1,
        )


class Pixels(nn.Module):
    """Subtracts the means of R, G and B."""

    def __init__(self):
        super().__init__()
        means = torch.tensor([123.0, 117.0, 104.0]).view(3, 1, 1)
        self.register_buffer("means", means, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Subtracts from (b, 3, s, s), 0..255."""
        return x - self.means


def build() -> tuple[nn.Module, nn.Module]:
    """Returns the lower and the upper piece."""
    stem = {
        "pixels": Pixels(),
        "conv1_7x7_s2": Convolution(3, 64, 7, 2),
        "pool1": _halve(),
        "norm1": ResponseNorm(64),
        "conv2_3x3_reduce": Convolution(64, 64, 1),
        "conv2_3x3": Convolution(64, 192, 3),
        "norm2": ResponseNorm(192),
    }
    lower = stem | _blocks(_LOWER, 192)
    upper = _blocks(_UPPER, CUT_CHANNELS)
    return nn.Sequential(OrderedDict(lower)), nn.Sequential(OrderedDict(upper))


def _halve() -> nn.Module:
    # Caffe rounds the number of windows up, and crops the last one at the border.
    return nn.MaxPool2d(3, 2, ceil_mode=True)


def _blocks(table, inputs: int) -> dict[str, nn.Module]:
    blocks: dict[str, nn.Module] = {}
    for name, counts in table.items():
        if counts is None:
            blocks[name] = _halve()
        else:
            blocks[name] = Inception(inputs, counts)
            inputs = counts[0] + counts[2] + counts[4] + counts[5]
    return blocks
