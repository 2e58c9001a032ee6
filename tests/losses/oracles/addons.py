"""TensorFlow Addons, in an environment of its own: python addons.py IN.npz OUT.npz."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

import sys

import oracle_batches as batches
import oracle_cases as cases
import tensorflow as tf
import tensorflow_addons as tfa

LOSSES = {
    "triplet, semi-hard": tfa.losses.TripletSemiHardLoss(),
    "triplet, semi-hard, squared": tfa.losses.TripletSemiHardLoss(
        distance_metric="squared-L2"
    ),
    "triplet, hard": tfa.losses.TripletHardLoss(margin=0.5),
    "triplet, hard, soft": tfa.losses.TripletHardLoss(soft=True),
}


def contrastive(labels, x):
    """Addons takes distances of pairs, and 1 for those of one class."""
    first, second = tf.unstack(
        tf.where(tf.linalg.band_part(tf.ones([len(labels)] * 2), 0, -1) > 0), axis=1
    )
    pairs = first < second
    first, second = first[pairs], second[pairs]
    distances = tf.norm(tf.gather(x, first) - tf.gather(x, second), axis=-1)
    same = tf.gather(labels, first) == tf.gather(labels, second)
    return tfa.losses.ContrastiveLoss()(tf.cast(same, tf.int64), distances)


def value(name, labels, x):
    if name == "lifted structure":
        return tfa.losses.LiftedStructLoss()(labels, x)
    if name == "n-pairs":
        similarities = tf.matmul(x[::2], x[1::2], transpose_b=True)
        return tfa.losses.NpairsLoss()(labels[::2], similarities)
    x = tf.math.l2_normalize(x, axis=-1)
    if name == "contrastive, all pairs":
        return contrastive(labels, x)
    return LOSSES[name](labels, x)


def compute(name, batch):
    labels, x = tf.constant(batch["labels"]), tf.constant(batch["embeddings"])
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = value(name, labels, x)
    return loss.numpy(), tape.gradient(loss, x).numpy(), None


if __name__ == "__main__":
    batches.run(compute, cases.ADDONS, batches.read(sys.argv[1]), sys.argv[2])
