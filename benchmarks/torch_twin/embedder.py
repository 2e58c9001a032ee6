"""The embedder DeML(I, J) on prepared images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.torch_twin import efficientnet_lite, googlenet
from benchmarks.torch_twin.gates import ChannelAttention
from benchmarks.torch_twin.regions import WHOLE, region_boxes
from benchmarks.torch_twin.walk import above_mean, saliency
from benchmarks.torch_twin.zoom import compose_boxes, zoom

BACKBONES = {"googlenet": googlenet, "efficientnet_lite0": efficientnet_lite}
MODELS = {"U512": (1, 1), "DeML(3,3)": (3, 3)}  # I, J
EMBEDDING_DIM = 512


class Scale(nn.Module):
    """One scale: a backbone, its gates, the parts, and where to look closer.

    Args:
        backbone: A key of `BACKBONES`.
        learners: Number of learners, J.
        part_dim: Length of a part, d.
        looks_closer: Whether another scale follows.
        bfloat16: Whether the backbone runs in bfloat16.
    """

    def __init__(
        self,
        backbone: str,
        learners: int,
        part_dim: int,
        looks_closer: bool,
        bfloat16: bool,
    ):
        super().__init__()
        network = BACKBONES[backbone]
        self.lower, self.upper = network.build()
        self.channel_attention = None
        if learners > 1:
            self.channel_attention = ChannelAttention(
                network.CUT_CHANNELS, learners, network.GATE_BIAS
            )
        self.projection = nn.Linear(network.LAST_CHANNELS, part_dim, bias=False)
        nn.init.xavier_uniform_(self.projection.weight)
        self.learners = learners
        self.looks_closer = looks_closer
        self.in_bfloat16 = bfloat16

    def forward(
        self, view: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Embeds what the scale sees.

        Args:
            view: (b, 3, s, s), 0..255.

        Returns:
            parts (j, b, d), of length one; pooled (b, c), of learner 1; above
            (b, s, s) boolean, None on the last scale.
        """
        with torch.autocast(view.device.type, torch.bfloat16, enabled=self.in_bfloat16):
            features = self.lower(view)
            if self.channel_attention is not None:
                features = self.channel_attention(features)
            last = self.upper(features)  # (j * b, c, h, w)
        pooled = last.mean(dim=(2, 3), dtype=torch.float32)
        pooled = pooled.unflatten(0, (self.learners, -1))  # (j, b, c)
        parts = F.normalize(self.projection(pooled), dim=-1)
        above = None
        if self.looks_closer:
            with torch.no_grad():
                first = last[: len(view)].detach()
                above = above_mean(saliency(first), view.shape[-1])
        return parts, pooled[0], above


class Outputs(NamedTuple):
    """What the embedder returns.

    Attributes:
        parts: For each scale (j, b, d), of length one.
        pooled: For each scale (b, c), of learner 1.
        boxes: (b, i, 4), what each scale saw.
    """

    parts: list[torch.Tensor]
    pooled: list[torch.Tensor]
    boxes: torch.Tensor


class Embedder(nn.Module):
    """The embedder: parts of every scale and learner.

    Args:
        scales: Number of scales, I.
        learners: Number of learners, J.
        backbone: A key of `BACKBONES`.
        bfloat16: Whether the backbones run in bfloat16.
    """

    def __init__(
        self, scales: int, learners: int, backbone: str, bfloat16: bool = False
    ):
        super().__init__()
        part_dim = EMBEDDING_DIM // (scales * learners)
        self.scales = nn.ModuleList(
            Scale(backbone, learners, part_dim, i < scales - 1, bfloat16)
            for i in range(scales)
        )
        self.learners, self.part_dim = learners, part_dim

    def fold(self) -> None:
        """Folds frozen norms into the convolutions, for inference."""
        for module in list(self.modules()):
            if isinstance(module, efficientnet_lite.ConvNorm):
                module.fold()

    def forward(
        self,
        images: torch.Tensor,
        scales: Sequence[Callable] | None = None,
        views: Sequence[torch.Tensor] = (),
    ) -> Outputs:
        """Embeds images scale by scale.

        Args:
            images: (b, 3, s, s) float32, RGB 0..255.
            scales: The scales to call, if they were compiled.
            views: What the later scales are to see, instead of the zoom's crops.
        """
        boxes = [images.new_tensor(WHOLE).expand(len(images), 4)]
        view, parts, pooled = images, [], []
        for i, scale in enumerate(scales or self.scales):
            if i > 0:
                view = views[i - 1] if views else zoom(images, boxes[-1])
            part, mean, above = scale(view)
            parts.append(part)
            pooled.append(mean)
            if above is not None:
                boxes.append(compose_boxes(boxes[-1], region_boxes(above)))
        return Outputs(parts, pooled, torch.stack(boxes, dim=1))


def embedding(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """Joins parts I x (j, b, d) to embeddings (b, i * j * d) of length one."""
    joined = torch.stack(list(parts)).permute(2, 0, 1, 3).flatten(1)
    return F.normalize(joined, dim=1)
