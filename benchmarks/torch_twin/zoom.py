"""Zoom: cuts a box out of each image and resizes it."""

import torch
import torch.nn.functional as F


def zoom(images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Cuts boxes out of images and resizes them to the images' size, bilinearly.

    Args:
        images: (b, 3, s, s).
        boxes: (b, 4): ymin, xmin, ymax, xmax relative to the image.

    Returns:
        (b, 3, s, s), channels_last.
    """
    ymin, xmin, ymax, xmax = boxes.unbind(dim=1)
    zero = torch.zeros_like(ymin)
    across = torch.stack([xmax - xmin, zero, xmin + xmax - 1.0], dim=1)
    down = torch.stack([zero, ymax - ymin, ymin + ymax - 1.0], dim=1)
    grid = F.affine_grid(
        torch.stack([across, down], dim=1), list(images.shape), align_corners=False
    )
    view = F.grid_sample(
        images, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return view.contiguous(memory_format=torch.channels_last)


def compose_boxes(outer: torch.Tensor, inner: torch.Tensor) -> torch.Tensor:
    """Converts boxes relative to a crop into boxes relative to its image.

    Args:
        outer: (b, 4), the crop's box.
        inner: (b, 4), relative to the crop.
    """
    start, side = outer[:, :2], outer[:, 2:] - outer[:, :2]
    return torch.cat([start + inner[:, :2] * side, start + inner[:, 2:] * side], dim=1)
