"""The alternating training step and its optimizers."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from benchmarks.torch_twin.adversary import Adversary
from benchmarks.torch_twin.embedder import Embedder
from benchmarks.torch_twin.losses import (
    DECOUPLING,
    metric_loss,
    metric_term,
    regularisers,
)

RATE, ADVERSARY_RATE, L2 = 1e-5, 1e-3, 2e-4
HEAD_FACTOR, BIAS_FACTOR = 10.0, 2.0


class Training:
    """Trains an embedder on batches: first the adversaries, then the embedder.

    Args:
        embedder: The embedder to train.
        scales: The scales to call, if they were compiled.
    """

    def __init__(self, embedder: Embedder, scales: Sequence[Callable] | None = None):
        self.embedder, self.scales = embedder.train(), scales
        self.optimizer = optimizer_of(embedder)
        self.loss = metric_loss()
        self.adversaries = nn.ModuleList()
        if embedder.learners > 1:
            self.adversaries.extend(
                Adversary(embedder.learners, embedder.part_dim) for _ in embedder.scales
            )
            self.adversary_optimizer = torch.optim.Adam(
                self.adversaries.parameters(), ADVERSARY_RATE, fused=True
            )

    def step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Updates everything once.

        Args:
            images: (b, 3, s, s).
            labels: (b,).

        Returns:
            The embedder's loss.
        """
        parts, pooled, _ = self.embedder(images, self.scales)
        loss = metric_term(self.loss, parts, labels)
        if self.adversaries:
            self.adversaries.requires_grad_(True)
            self._unpredictability([part.detach() for part in parts]).backward()
            self.adversary_optimizer.step()
            self.adversary_optimizer.zero_grad()
            self.adversaries.requires_grad_(False)  # fixed from here on
            loss = loss - DECOUPLING * self._unpredictability(parts)
        kernels = [scale.projection.weight for scale in self.embedder.scales]
        loss = loss + regularisers(pooled, kernels)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def _unpredictability(self, parts):
        pairs = zip(self.adversaries, parts, strict=True)
        return torch.stack([adversary(part) for adversary, part in pairs]).sum()


def optimizer_of(embedder: Embedder) -> torch.optim.Adam:
    """Returns Adam in four groups: faster heads and biases, L2 on all but biases."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in embedder.named_parameters():
        if parameter.requires_grad:
            head = "projection" in name or "channel_attention" in name
            groups.setdefault((head, name.endswith("bias")), []).append(parameter)
    return torch.optim.Adam(
        [
            {
                "params": parameters,
                "lr": RATE
                * (HEAD_FACTOR if head else 1.0)
                * (BIAS_FACTOR if bias else 1.0),
                "weight_decay": 0.0 if bias else L2,
            }
            for (head, bias), parameters in groups.items()
        ],
        fused=True,
    )
