"""EfficientNet-Lite0 in two pieces, cut after stage 5, with frozen BatchNorm."""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

CUT_CHANNELS, LAST_CHANNELS, GATE_BIAS = 112, 1280, 3.0
# repeats, kernel, stride, expansion, channels
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_CUT_STAGE, _STEM = 5, 32


class _Relu6(torch.autograd.Function):
    """Keeps its result, which the next convolution keeps too, instead of its input."""

    @staticmethod
    def forward(ctx, x):
        y = x.clamp(0.0, 6.0) if torch.compiler.is_compiling() else x.clamp_(0.0, 6.0)
        if y is x:
            ctx.mark_dirty(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, *gradients):
        (y,) = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradients[0], y, 0.0, 6.0)


def relu6(x: torch.Tensor) -> torch.Tensor:
    """Clips to 0..6, in place where that is allowed."""
    return _Relu6.apply(x) if torch.is_grad_enabled() else F.relu6(x, inplace=True)


class FrozenNorm(nn.BatchNorm2d):
    """BatchNorm that runs on its stored averages and is not trained."""

    def __init__(self, channels: int):
        super().__init__(channels, eps=1e-3)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True):
        """Stays in evaluation mode."""
        return super().train(False)


class ConvNorm(nn.Module):
    """A convolution without bias, its norm, and ReLU6 unless a projection ends here.

    As the norm is frozen, it is a factor and a summand of each output channel. Both go
    into the convolution's weights, which saves passes over the maps in both directions.
    """

    def __init__(
        self,
        inputs: int,
        count: int,
        kernel: int,
        stride: int = 1,
        depthwise: bool = False,
        relu6: bool = True,
    ):
        super().__init__()
        self.conv = nn.Conv2d(
            inputs,
            count,
            kernel,
            stride,
            kernel // 2 if stride == 1 else 0,
            groups=inputs if depthwise else 1,
            bias=False,
        )
        fan = "fan_in" if depthwise else "fan_out"
        nn.init.kaiming_normal_(self.conv.weight, mode=fan, nonlinearity="relu")
        self.norm: nn.Module = FrozenNorm(count)
        self.relu6 = relu6

    def fold(self) -> None:
        """Folds the norm into the convolution permanently, for inference."""
        self.conv = nn.utils.fuse_conv_bn_eval(self.conv.eval(), self.norm)
        self.norm = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (b, c, h, w) to (b, count, h', w')."""
        conv, norm = self.conv, self.norm
        if conv.stride[0] == 2:
            x = F.pad(x, _same(x.shape[-1], conv.kernel_size[0]))
        if isinstance(norm, FrozenNorm):
            factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            weight = conv.weight * factor[:, None, None, None]
            bias = norm.bias - norm.running_mean * factor
            x = F.conv2d(x, weight, bias, conv.stride, conv.padding, groups=conv.groups)
        else:
            x = conv(x)
        return relu6(x) if self.relu6 else x


class Block(nn.Module):
    """Expands, filters each channel, projects; adds the input where shapes allow."""

    def __init__(self, inputs: int, count: int, kernel: int, stride: int, expand: int):
        super().__init__()
        hidden = expand * inputs
        self.expand = ConvNorm(inputs, hidden, 1) if expand != 1 else None
        self.depthwise = ConvNorm(hidden, hidden, kernel, stride, depthwise=True)
        self.project = ConvNorm(hidden, count, 1, relu6=False)
        self.adds = inputs == count and stride == 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (b, c, h, w) to (b, count, h', w')."""
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return y + x if self.adds else y


class Pixels(nn.Module):
    """Scales 0..255 to about -1..1, as the checkpoint was trained."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scales (b, 3, s, s)."""
        return (x - 127.0) / 128.0


def build() -> tuple[nn.Module, nn.Module]:
    """Returns the lower and the upper piece."""
    lower: OrderedDict[str, nn.Module] = OrderedDict(
        pixels=Pixels(), stem=ConvNorm(3, _STEM, 3, 2)
    )
    upper: OrderedDict[str, nn.Module] = OrderedDict()
    inputs, number = _STEM, 0
    for stage, (repeats, kernel, stride, expand, count) in enumerate(_STAGES, 1):
        piece = lower if stage <= _CUT_STAGE else upper
        for repeat in range(repeats):
            step = stride if repeat == 0 else 1
            piece[f"block{number}"] = Block(inputs, count, kernel, step, expand)
            inputs, number = count, number + 1
    upper["head"] = ConvNorm(inputs, LAST_CHANNELS, 1)
    return nn.Sequential(lower), nn.Sequential(upper)


def _same(side: int, kernel: int) -> tuple[int, int, int, int]:
    """Returns TensorFlow's SAME padding at stride 2: more at the end."""
    total = kernel - 2 + side % 2
    before = total // 2
    return before, total - before, before, total - before
