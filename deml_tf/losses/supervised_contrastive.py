"""Softmax over all other images of the batch: the supervised contrastive loss."""

from typing import Any

import keras

from deml_tf.losses.keras_ops import ops
from deml_tf.losses.n_pairs import n_pairs_costs
from deml_tf.losses.pair_loss import PairLoss, check_above_zero
from deml_tf.losses.pairs import pairs_of


def supervised_contrastive(
    labels: Any,
    embeddings: Any,
    *,
    temperature: float = 0.1,
    pairs: str = "global",
    references: Any = None,
) -> Any:
    """Return each anchor's share of the supervised contrastive loss of the batch.

    The mean of the following over the learners, over anchors that have a positive, and
    over the positives p of each, with s the cosine of the anchor and another image:

        -log( exp(s_p / temperature) / sum_{all other images a} exp(s_a / temperature) )

    Khosla et al. (NeurIPS 2020), with the sum over positives outside the logarithm and
    the paper's temperature; their release has .07. Where each class has two images, two
    views of one, it is NT-Xent (Chen et al., ICML 2020). Anchors without a positive
    contribute 0 and are not counted; the release counts them.

    Args:
        labels: `(b,)` or `(b, 1)`, whole numbers of any type.
        embeddings: `(b, d)`, or `(b, j, d)` for several learners; of any length
            and floating type: normalised internally, in float32.
        temperature: Divides the cosines, above 0.
        pairs: Under several replicas, "global" for the pairs of the whole batch, or
            "replica" for those that lie on one replica alone, whose losses the
            replicas then average.
        references: Labels `(m,)` and embeddings `(m, d)` or `(m, j, d)` of other
            images, to compare the batch with instead of itself.

    Returns:
        `(b,)`, float32; its mean over the batch is the formula.

    Raises:
        UsageError: If the shapes are not those above.
    """
    batch = pairs_of(labels, embeddings, pairs, references)
    logits = batch.cosines() / temperature  # (j, b, B)
    costs = ops.mean(n_pairs_costs(logits, batch.same, batch.other), axis=0)
    counted = ops.cast(ops.any(batch.same, axis=-1), "float32")  # (b,)
    return batch.share(costs, batch.total(counted))


@keras.saving.register_keras_serializable(package="deml_tf")
class SupervisedContrastive(PairLoss):
    """Supervised contrastive loss for Keras; see `supervised_contrastive`.

    Args:
        temperature: Divisor of the cosines in the softmax, above 0.
        pairs: "global", or "replica" for pairs within each replica alone.
        reduction: As in `keras.losses.Loss`.
        name: Name of the loss.
        dtype: As in `keras.losses.Loss`.

    Raises:
        UsageError: If a constant is out of its range.
    """

    function = staticmethod(supervised_contrastive)

    def __init__(
        self,
        temperature: float = 0.1,
        pairs: str = "global",
        reduction: str = "sum_over_batch_size",
        name: str = "supervised_contrastive",
        dtype: Any = None,
    ):
        super().__init__(pairs, reduction, name, dtype, temperature=temperature)
        check_above_zero(temperature=temperature)
