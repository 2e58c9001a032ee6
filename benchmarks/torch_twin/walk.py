"""Object attention's map: where the random walk on a feature map ends."""

import torch
import torch.nn.functional as F

EPSILON, FLAT = 0.15, 1e-5


def location_kernel(h: int, w: int) -> torch.Tensor:
    """Weighs pairs of positions by their closeness: (n, n) float32."""
    place = torch.cartesian_prod(torch.arange(h) / h, torch.arange(w) / w)
    square = (place[:, None] - place).square().sum(-1)
    return torch.exp(-square / (2.0 * EPSILON**2))


def saliency(features: torch.Tensor) -> torch.Tensor:
    """Returns where the walk ends: the row sums of D, D_pq = ||f_p - f_q|| K_pq.

    Args:
        features: (b, c, h, w), any floating type.

    Returns:
        (b, h, w) float32, summing to 1; 0 everywhere if all features are the same.
    """
    _, _, h, w = features.shape
    rows = features.float().flatten(2).transpose(1, 2)  # (b, n, c)
    mean = rows.mean(dim=1, keepdim=True)
    rows = rows - mean
    gram = rows @ rows.transpose(1, 2)
    square = gram.diagonal(dim1=1, dim2=2)  # (b, n)
    rounding = (h * w * 2.0**-24) ** 2 * mean.square().sum(dim=(1, 2))
    differ = square.amax(dim=1) > rounding
    square = square[:, :, None] + square[:, None, :] - 2.0 * gram
    # Rounding must not make a position differ from itself.
    square = square * (1.0 - torch.eye(h * w))
    state = (square.clamp(min=0.0).sqrt() * location_kernel(h, w)).sum(dim=2)
    state = state / state.sum(dim=1, keepdim=True)
    return torch.where(differ[:, None], state, 0.0).view(-1, h, w)


def above_mean(maps: torch.Tensor, resolution: int) -> torch.Tensor:
    """Marks the pixels above the mean of maps that are resized to images.

    Args:
        maps: (b, h, w) float32.
        resolution: Side of the images.

    Returns:
        (b, resolution, resolution) boolean; all false if a map is flat or not finite.
    """
    low = maps.amin(dim=(1, 2), keepdim=True)
    high = maps.amax(dim=(1, 2), keepdim=True)
    usable = torch.isfinite(high) & (high - low > FLAT * high)
    heights = (maps - low) / (high - low)
    size = (resolution, resolution)
    pixels = F.interpolate(heights[:, None], size=size, mode="bilinear")[:, 0]
    return (pixels > pixels.mean(dim=(1, 2), keepdim=True)) & usable
