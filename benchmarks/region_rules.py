"""Compares region rules on a frozen backbone, on images of seen classes.

    python -m benchmarks.region_rules --dataset=list --data_dir=SCENES --json=FILE

For each rule: the box it finds, against the listed one, and Recall@1 of the crop's
frozen features alone and joined with those of the whole image. Nothing is trained, and
no unseen class is used, so that a rule can be chosen here. A rule looks once, or twice:
the second time at the crop that the first look found.
"""

import time
from collections import Counter
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from absl import flags
from rich.table import Table

from benchmarks.region_candidates import (
    Absorbing,
    Contrast,
    Personalised,
    box_of_mean_maps,
)
from deml_tf.cli import command
from deml_tf.cli.flags import define
from deml_tf.cli.settings import Setting
from deml_tf.config import DataConfig, ModelConfig
from deml_tf.data.batches import scoring_dataset
from deml_tf.data.selection import read_examples
from deml_tf.data.splits import zero_shot_split
from deml_tf.errors import UsageError
from deml_tf.layers import FixedRegion, ObjectAttention, SeparationRegion
from deml_tf.layers.zoom import compose_boxes, zoom
from deml_tf.models.scale import build_scale
from deml_tf.retrieval.attention_scores import score_attention
from deml_tf.retrieval.metrics import evaluate
from deml_tf.runs.atomic import check_output, write_atomically
from deml_tf.runs.environment import environment
from deml_tf.runs.json_text import json_text

FLAGS = flags.FLAGS
BATCH = 32


def rules(size):
    """Return the looks by name: a rule for each look."""
    walk = partial(ObjectAttention, resolution=size)
    return {
        "walk (the paper's)": [walk()],
        "walk, above .65 of the range": [walk(threshold=0.65)],
        "walk sent back to the contrast, above .5": [Personalised(0.5)],
        "absorbing border, above .4": [Absorbing(0.4)],
        "contrast to the border, above .5": [Contrast(0.5)],
        "separation, last map": [SeparationRegion(multi_layer=False)],
        "separation": [SeparationRegion()],
        "middle of the view, side .52": [FixedRegion(side=0.52)],
        "walk twice (the paper's)": [walk(), walk()],
        "separation twice": [SeparationRegion(), SeparationRegion()],
        "separation, 1.3 as wide, then separation": [
            SeparationRegion(margin=1.3),
            SeparationRegion(),
        ],
    }


class Frozen:
    """A frozen backbone on views of images.

    Args:
        size: Side of a view in pixels.
        stride: Stride of the maps that the rules read; that of crops is 32.
    """

    def __init__(self, size, stride):
        self.size = size
        self.maps = self.network(size, stride, lambda pooled, *maps: maps)
        self.describe = self.network(size, 32, lambda pooled, *maps: pooled[:, 0])
        self.cut = tf.function(partial(zoom, size=size))

    def network(self, size, stride, choose):
        """Return a function from views to what is chosen of a scale's outputs."""
        settings = ModelConfig(
            scales=1,
            learners=1,
            input_size=size,
            output_stride=stride,
            batch_norm="frozen",
        )
        scale = build_scale(settings, 1, 0, prefix=f"stride{stride}_", is_last=True)
        views = keras.Input((size, size, 3))
        network = keras.Model(views, choose(*scale.features(views)))
        return tf.function(lambda images: network(images, training=False))

    def look(self, rule, view, images, maps):
        """Return the boxes of the next view."""
        middle, last = maps
        found = rule(last, middle) if rule.multi_layer else rule(last)
        return compose_boxes(view, found["boxes"])


def measure(frozen, examples):
    """Measure boxes, pooled features and costs of every rule.

    Returns:
        Boxes (n, 4) and pooled features (n, c) by name; CPU seconds by name.
    """
    table = rules(frozen.size)
    compiled = {
        name: [tf.function(partial(frozen.look, rule)) for rule in looks]
        for name, looks in table.items()
    }
    boxes, pooled, seconds, taken = {}, {}, {}, 0
    of_classes = {}

    def timed(name, function, *arguments):
        begin = time.process_time()
        result = function(*arguments)
        tf.nest.map_structure(lambda t: t.numpy(), result)
        seconds.setdefault(name, []).append(time.process_time() - begin)
        return result

    def keep(name, box, features):
        boxes.setdefault(name, []).append(np.array(box))
        pooled.setdefault(name, []).append(features.numpy())

    def batches():
        return scoring_dataset(
            examples, resize_size=2 * frozen.size, fit="squash", batch_size=BATCH
        )

    for images, _ in batches():
        whole = repeated([0, 0, 1, 1], len(images))
        views = frozen.cut(images, whole)
        maps = timed("forward", frozen.maps, views)
        keep("whole image", whole, frozen.describe(views))
        for name, looks in compiled.items():
            box, seen = whole, maps
            for number, look in enumerate(looks):
                if number:
                    seen = frozen.maps(frozen.cut(images, box))
                box = timed(name, look, box, images, seen)
            keep(name, box, frozen.describe(frozen.cut(images, box)))
        batch = examples[taken : taken + len(images)]
        taken += len(images)
        for example, last in zip(batch, maps[1].numpy(), strict=True):
            of_classes.setdefault(example.label, []).append(last)
            if len(of_classes[example.label]) > 1:  # their sum is enough
                first, second = of_classes[example.label]
                of_classes[example.label] = [first + second]
        listed = [e.box for e in batch]
        if all(listed):
            box = tf.constant(np.array(listed, np.float32))
            keep("the listed box", box, frozen.describe(frozen.cut(images, box)))
        print(f"{taken} of {len(examples)} images", flush=True)
    counts = Counter(e.label for e in examples)
    means = np.stack([total / counts[name] for name, (total,) in of_classes.items()])
    fixed = box_of_mean_maps(means)
    for images, _ in batches():
        box = repeated(fixed, len(images))
        features = frozen.describe(frozen.cut(images, box))
        keep("walk on the classes' mean maps", box, features)
    joined = {name: np.concatenate(parts) for name, parts in boxes.items()}
    return joined, {n: np.concatenate(p) for n, p in pooled.items()}, seconds


def repeated(box, count):
    """Return the same box for `count` images."""
    return tf.constant(np.tile(np.array(box, "float32"), (count, 1)))


def scores(boxes, pooled, seconds, examples):
    """Return one row per rule, as a dict."""
    labels = [e.label for e in examples]
    listed = np.array([e.box for e in examples]) if examples[0].box else None
    whole = unit(pooled["whole image"])
    forward = np.median(seconds["forward"])
    rows = []
    for name, box in boxes.items():
        found = score_attention(
            box[:, None],
            np.ones((len(box), 1, 1, 1)),
            np.zeros((len(box), 1), bool),
            listed,
        )
        own = unit(pooled[name])
        cost = np.median(seconds[name]) / forward if name in seconds else None
        rows.append(
            {
                "rule": name,
                "side": found["side"][0],
                "side_deviation": found["side_deviation"][0],
                "side_correlation": (found["side_correlation"] or [None])[0],
                "iou": (found["iou"] or [None])[0],
                "recall_at_1": evaluate(own, labels, (1,))["recall_at_1"],
                "joined_recall_at_1": evaluate(
                    np.concatenate([own, whole], axis=1), labels, (1,)
                )["recall_at_1"],
                "share_of_forward": cost,
            }
        )
    return rows


def unit(features):
    """Return the features scaled to length one."""
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def printed(rows):
    """Return the rows as a table."""
    result = Table(
        "rule", "side", "corr.", "IoU", "R@1, crop", "with whole", "cost of its looks"
    )
    for row in rows:
        correlation, iou, cost = (
            "" if row[key] is None else f"{row[key]:{form}}"
            for key, form in (
                ("side_correlation", ".2f"),
                ("iou", ".3f"),
                ("share_of_forward", ".1%"),
            )
        )
        result.add_row(
            row["rule"],
            f"{row['side']:.2f} ± {row['side_deviation']:.2f}",
            correlation,
            iou,
            f"{row['recall_at_1']:.3f}",
            f"{row['joined_recall_at_1']:.3f}",
            cost,
        )
    return result


def main(arguments):
    """Compare the rules and print a table."""
    if arguments:
        raise UsageError(f"{arguments[0]!r} is no flag: flags start with --.")
    if FLAGS.json:
        check_output("json", FLAGS.json)
    data = {"dataset": FLAGS.dataset, "data_dir": FLAGS.data_dir}
    if FLAGS.dataset == "plumage":
        data |= {"plumage_species": 120, "plumage_images": 16}
    seen = zero_shot_split(read_examples(DataConfig(**data))).train[:: FLAGS.every]
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    measured = measure(Frozen(FLAGS.input_size, FLAGS.output_stride), seen)
    rows = scores(*measured, seen)
    if FLAGS.json:
        report = {
            "environment": environment(),
            "input_size": FLAGS.input_size,
            "output_stride": FLAGS.output_stride,
            "images": len(seen),
            "rows": rows,
        }
        write_atomically(FLAGS.json, json_text(report, indent=2).encode())
    command.console().print(printed(rows))


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "list", "As in training.")
    flags.DEFINE_string("data_dir", None, "As in training.")
    flags.DEFINE_integer("input_size", 224, "Side of a view in pixels.")
    flags.DEFINE_integer(
        "output_stride", 16, "Stride of the last feature map: 16 or 32."
    )
    flags.DEFINE_integer(
        "every", 2, "Spacing of the images that are measured: every Nth seen image."
    )
    define(Setting("json", Path, None, "File for the figures and the machine."))
    command.run(main)
