"""The losses of a training step: metric loss and the release's regularisers."""

from collections.abc import Sequence

import torch
from pytorch_metric_learning.losses import MultiSimilarityLoss
from torch import nn

ACTIVATION_DECAY, DECOUPLING = 0.014, 0.2


def metric_loss() -> nn.Module:
    """Returns the library's loss that is closest in form to binomial deviance."""
    return MultiSimilarityLoss(alpha=2, beta=50, base=0.5)


def metric_term(
    loss: nn.Module, parts: Sequence[torch.Tensor], labels: torch.Tensor
) -> torch.Tensor:
    """Returns the mean over learners, summed over scales.

    Args:
        loss: Function of embeddings (b, d) and labels (b,).
        parts: For each scale (j, b, d).
        labels: (b,).
    """
    terms = [torch.stack([loss(e, labels) for e in scale]).mean() for scale in parts]
    return torch.stack(terms).sum()


def regularisers(pooled: Sequence[torch.Tensor], kernels: Sequence[torch.Tensor]):
    """Returns activation decay and unit rows, weighted and summed over scales.

    Args:
        pooled: For each scale (b, c), of learner 1; no gradient flows to it.
        kernels: For each scale (d, c), the projection's kernel.
    """
    total = torch.zeros(())
    for features, kernel in zip(pooled, kernels, strict=True):
        decay = (features.detach() @ kernel.T).square().mean()
        rows = 0.5 * (kernel.square().sum(dim=1) - 1.0).square().mean()
        total = total + ACTIVATION_DECAY * decay + rows
    return total
