"""The comparison of region rules: its own rules, and a pass with a network of none."""

from functools import partial

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from benchmarks.region_candidates import (
    Absorbing,
    Contrast,
    Personalised,
    border,
    box_of_mean_maps,
)
from benchmarks.region_rules import Frozen, measure, printed, scores
from deml_tf.data.example import Example
from deml_tf.layers import ObjectAttention
from deml_tf.layers.zoom import zoom


def squares_on_ground(count, cells=8, channels=6, seed=0):
    """Maps with a square of another feature, and noise."""
    rng = np.random.default_rng(seed)
    ground, thing = rng.normal(size=(2, channels))
    maps = ground + 0.05 * rng.normal(size=(count, cells, cells, channels))
    maps[:, 2:5, 3:6] += thing
    return maps.astype("float32")


@pytest.mark.parametrize("rule", [Contrast(0.5), Personalised(0.5), Absorbing(0.4)])
def test_rules_find_a_square(rule):
    box = rule(squares_on_ground(1))["boxes"].numpy()[0]
    np.testing.assert_allclose(box, np.array([2, 3, 5, 6]) / 8, atol=0.13)


def test_expected_steps_until_the_border_absorbs():
    """Against many walks, taken one step at a time."""
    maps = squares_on_ground(1, cells=5)
    flat = tf.reshape(maps, (1, 25, -1))
    steps = Absorbing(0.4).saliency(flat, 5, 5).numpy()[0]
    assert (steps[border(5, 5)] == 0).all() and (steps[~border(5, 5)] >= 1).all()
    points = flat.numpy()[0]
    apart = np.linalg.norm(points[:, None] - points[None], axis=2)
    y, x = np.divmod(np.arange(25), 5)
    near = ((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / 25
    chain = np.exp(-((apart / (0.5 * apart.mean())) ** 2) - near / (2 * 0.15**2))
    np.fill_diagonal(chain, 0)
    chain /= chain.sum(1, keepdims=True)
    for start in (6, 12):
        at, lasted = np.eye(25)[start], 0.0
        for _ in range(5000):
            at = np.where(border(5, 5), 0, at)
            lasted += at.sum()
            at = at @ chain
        np.testing.assert_allclose(steps[start], lasted, rtol=0.01)


def test_mean_maps_of_one_map_give_its_own_box():
    maps = squares_on_ground(1)
    own = ObjectAttention(resolution=227)(maps)["boxes"].numpy()[0]
    np.testing.assert_allclose(box_of_mean_maps(maps), own, atol=0.01)


class Plain(Frozen):
    """Views themselves, made coarse, are the maps and the features."""

    def __init__(self, size):
        self.size = size
        pool = partial(tf.nn.avg_pool2d, ksize=size // 8, strides=size // 8)
        self.maps = lambda views: [pool(views, padding="VALID")] * 2
        self.describe = lambda views: tf.reduce_mean(views, axis=(1, 2))
        self.cut = partial(zoom, size=size)


@pytest.mark.slow
def test_every_rule_gets_a_row(tmp_path):
    rng, examples = np.random.default_rng(0), []
    for n in range(6):
        pixels = rng.integers(0, 60, (32, 32, 3)).astype("uint8")
        pixels[8:20, 12:24] = (200, 90 * (n % 2), 30)
        path = tmp_path / f"{n}.png"
        Image.fromarray(pixels).save(path)
        box = (0.25, 0.375, 0.625, 0.75)
        examples.append(Example(str(path), "ab"[n % 2], box=box))
    rows = scores(*measure(Plain(32), examples), examples)
    found = {row["rule"]: row for row in rows}
    assert found["whole image"]["side"] == 1
    assert found["the listed box"]["iou"] == pytest.approx(1)
    assert found["the listed box"]["recall_at_1"] == 1
    assert found["separation"]["iou"] > 0.8
    assert found["middle of the view, side .52"]["side"] == pytest.approx(0.52)
    assert "walk on the classes' mean maps" in found
    costs = [row["share_of_forward"] for row in rows]
    assert sum(cost is not None for cost in costs) == len(rows) - 3
    assert len(printed(rows).rows) == len(rows)
    bare = [Example(e.path, e.label) for e in examples]
    rows = scores(*measure(Plain(32), bare), bare)
    assert all(row["iou"] is None for row in rows)
    assert "the listed box" not in {row["rule"] for row in rows}
