"""Channel attention: one gate over the features for each learner."""

import math

import torch
from torch import nn


class ChannelAttention(nn.Module):
    """Gates a feature map J times: sigmoid(W2_j relu(W1_j U + b1_j) + b2_j) * U.

    Args:
        channels: Channels of U.
        learners: Number of learners, J.
        bias: Where the output's bias starts.
    """

    def __init__(self, channels: int, learners: int, bias: float):
        super().__init__()
        hidden = channels // 8
        limit = math.sqrt(6.0 / (channels + hidden))
        self.hidden_kernel = nn.Parameter(
            torch.empty(channels, learners, hidden).uniform_(-limit, limit)
        )
        self.hidden_bias = nn.Parameter(torch.zeros(learners, hidden))
        self.gate_kernel = nn.Parameter(
            torch.empty(learners, hidden, channels).uniform_(-limit, limit)
        )
        self.gate_bias = nn.Parameter(torch.full((learners, channels), bias))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Maps (b, c, h, w) to (j * b, c, h, w), one learner after the other."""
        batch, channels, h, w = features.shape
        learners = len(self.gate_bias)
        rows = features.permute(0, 2, 3, 1).reshape(-1, channels)  # (b h w, c)
        hidden = torch.baddbmm(
            self.hidden_bias[:, None],
            rows.expand(learners, -1, -1),
            self.hidden_kernel.transpose(0, 1),
        )
        gates = torch.baddbmm(self.gate_bias[:, None], hidden.relu(), self.gate_kernel)
        gated = gates.sigmoid() * rows  # (j, b h w, c)
        return gated.view(learners * batch, h, w, channels).permute(0, 3, 1, 2)
