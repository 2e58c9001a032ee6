"""The adversary: it tries to predict each learner from every other one."""

import math

import torch
import torch.nn.functional as F
from torch import nn

HIDDEN = 256


class Adversary(nn.Module):
    """One small network for each ordered pair of a scale's learners.

    Args:
        learners: Number of learners J, at least 2.
        part_dim: Length of a part, d.
    """

    def __init__(self, learners: int, part_dim: int):
        super().__init__()
        pairs = [(a, b) for a in range(learners) for b in range(learners) if a != b]
        source, target = zip(*pairs, strict=True)
        self.register_buffer("source", torch.tensor(source), persistent=False)
        self.register_buffer("target", torch.tensor(target), persistent=False)
        bound = math.sqrt(6.0 / (part_dim + HIDDEN))

        def glorot(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        self.hidden_kernel = glorot(len(pairs), part_dim, HIDDEN)
        self.hidden_bias = nn.Parameter(torch.zeros(len(pairs), 1, HIDDEN))
        self.output_kernel = glorot(len(pairs), HIDDEN, part_dim)
        self.output_bias = nn.Parameter(torch.zeros(len(pairs), 1, part_dim))

    def forward(self, parts: torch.Tensor) -> torch.Tensor:
        """Returns its loss: 1 - mean cosine of predictions and their targets.

        Args:
            parts: (j, b, d), of length one; no gradient flows to them as targets.
        """
        sources = parts[self.source]  # (p, b, d)
        hidden = torch.baddbmm(self.hidden_bias, sources, self.hidden_kernel).relu()
        predicted = torch.baddbmm(self.output_bias, hidden, self.output_kernel)
        targets = parts.detach()[self.target]
        return 1.0 - F.cosine_similarity(predicted, targets, dim=-1).mean()
