"""Pytorch-metric-learning, in its own environment: python pml.py IN.npz OUT.npz."""

# pyright: reportMissingImports=false

import math
import sys

import oracle_batches as batches
import oracle_cases as cases
import torch
from pytorch_metric_learning import losses
from pytorch_metric_learning.distances import SNRDistance
from pytorch_metric_learning.regularizers import ZeroMeanRegularizer

OF_CLASSES = (cases.CLASSES, cases.DIMENSIONS)
LOSSES = {
    "triplet, all": losses.TripletMarginLoss(margin=0.3),
    "triplet, all, soft": losses.TripletMarginLoss(margin=0, smooth_loss=True),
    "contrastive": losses.ContrastiveLoss(),
    "lifted structure, unit": losses.LiftedStructureLoss(),
    "angular": losses.AngularLoss(),
    "margin": losses.MarginLoss(learn_beta=True),
    "margin, per class": losses.MarginLoss(learn_beta=True, num_classes=cases.CLASSES),
    "snr": losses.SignalToNoiseRatioContrastiveLoss(),
    "snr, not normalised": losses.SignalToNoiseRatioContrastiveLoss(
        distance=SNRDistance(normalize_embeddings=False),
        embedding_regularizer=ZeroMeanRegularizer(),
        embedding_reg_weight=0.1,
    ),
    "multi-similarity": losses.MultiSimilarityLoss(),
    "circle": losses.CircleLoss(),
    "supervised contrastive": losses.SupConLoss(),
    "proxy anchor": losses.ProxyAnchorLoss(*OF_CLASSES),
    "proxy NCA++": losses.ProxyNCALoss(*OF_CLASSES, softmax_scale=9),
    "normalised softmax": losses.NormalizedSoftmaxLoss(*OF_CLASSES),
    "ArcFace": losses.ArcFaceLoss(*OF_CLASSES, margin=math.degrees(0.5)),
    "CosFace": losses.CosFaceLoss(*OF_CLASSES),
    "SoftTriple": losses.SoftTripleLoss(*OF_CLASSES),
}


def parameter(loss):
    """The loss's weights, and whether they stand as columns."""
    for name in ("proxies", "beta", "W", "fc"):
        if isinstance(getattr(loss, name, None), torch.nn.Parameter):
            return getattr(loss, name), name in ("W", "fc")
    return None, False


def compute(name, batch):
    loss = LOSSES[name]
    labels = torch.tensor(batch["labels"])
    x = torch.tensor(batch["embeddings"], requires_grad=True)
    weights, is_across = parameter(loss)
    if weights is not None:
        given = torch.tensor(batch[cases.weight_of(*cases.TORCH[name][:2])])
        rows = given.reshape(-1, given.shape[-1]) if given.ndim > 1 else given
        weights.data, weights.grad = (rows.T if is_across else rows).clone(), None
    # Its negatives are taken as they come; the others' are normalised in the loss.
    shown = torch.nn.functional.normalize(x) if name == "angular" else x
    value = loss(shown, labels)
    value.backward()
    values = value.detach().numpy(), x.grad.numpy()
    if weights is None:
        return *values, None
    # There is none where no hinge costs anything.
    gradient = torch.zeros_like(weights) if weights.grad is None else weights.grad
    gradient = gradient.T if is_across else gradient
    return *values, gradient.reshape(given.shape).numpy()


if __name__ == "__main__":
    torch.set_num_threads(1)
    batches.run(compute, cases.TORCH, batches.read(sys.argv[1]), sys.argv[2])
