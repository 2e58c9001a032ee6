"""Local response normalisation across channels, by a product with a banded matrix.

`torch.nn.functional.local_response_norm` pools in three dimensions, which takes several
times as long on CPUs, and raises to a power where two square roots suffice. Sums over
slices are slower too, even if the compiler makes one loop of them.
"""

import torch
import torch.nn.functional as F
from torch import nn

RADIUS, ALPHA, BETA = 2, 2e-5, 0.75


class ResponseNorm(nn.Module):
    """Divides each channel by (1 + alpha * sum of its neighbours' squares) ** 0.75.

    It is computed in float32, even under autocast.

    Args:
        channels: Channels of what is normalised.
    """

    def __init__(self, channels: int):
        super().__init__()
        place = torch.arange(channels)
        near = (place[:, None] - place).abs() <= RADIUS
        self.register_buffer("band", ALPHA * near.float(), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalises x, (b, c, h, w), of any floating type."""
        with torch.autocast(x.device.type, enabled=False):
            rows = x.float().permute(0, 2, 3, 1)  # contiguous in channels_last
            if torch.is_grad_enabled():
                result = _Normalise.apply(rows, self.band)
            else:
                result = rows * _inverse(_strength(rows, self.band))
            return result.permute(0, 3, 1, 2).to(x.dtype)


class _Normalise(torch.autograd.Function):
    """Keeps what the backward pass needs, once, and computes nothing twice."""

    @staticmethod
    def forward(ctx, x, band):
        strength = _strength(x, band)
        inverse = _inverse(strength)
        ctx.save_for_backward(x, strength, inverse, band)
        return x * inverse

    @staticmethod
    def backward(ctx, *gradients):
        x, strength, inverse, band = ctx.saved_tensors
        direct = gradients[0] * inverse
        around = F.linear((direct * x).div_(strength), band)
        return direct.addcmul_(x, around, value=-2.0 * BETA), None


def _strength(x, band):
    return F.linear(x.square(), band).add_(1.0)


def _inverse(strength):
    """Returns the strength to the power of -0.75."""
    return strength.sqrt().mul_(strength).rsqrt_()
