"""Several learners without gates: projections of the features of one pass."""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_backbone import build_tiny

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.losses.unit_rows import unit_rows
from deml_tf.models.cost import gmacs, parameters
from deml_tf.models.embedder import core_of, explainer, scales_and_learners
from deml_tf.models.parts import part_core
from deml_tf.models.scale import scale_of
from deml_tf.training.build import build_trainer

UNGATED = {"channel_attention": False, "shared_projection": False}


def ungated(**arguments):
    keras.utils.set_random_seed(2)
    return build_tiny(**{"scales": 2, "learners": 3, **UNGATED, **arguments})


def squares(count=3, seed=0):
    random = np.random.default_rng(seed)
    images = random.uniform(0, 90, (count, 40, 40, 3)).astype("float32")
    images[:, 5:20, 8:22] += 160
    return images


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_each_learner_projects_the_same_features():
    core = core_of(ungated())
    view, outputs = squares(), core(squares())
    for i in (1, 2):
        layer = {
            name: core.get_layer(f"scale{i}_{name}")
            for name in ("lower", "upper", "projection", "object_attention")
        }
        _, last = layer["upper"](layer["lower"](view))
        pooled = last.numpy().mean((1, 2))
        kernels = [kernel.numpy() for kernel in layer["projection"].kernels]
        assert len(kernels) == 3
        assert all(np.abs(k - kernels[0]).max() > 0.1 for k in kernels[1:])
        parts = np.stack([unit(pooled @ kernel) for kernel in kernels], 1)
        np.testing.assert_allclose(outputs["parts"][:, i - 1], parts, atol=2e-5)
        found = layer["object_attention"](last)
        if i == 1:
            np.testing.assert_allclose(outputs["boxes"][:, 1], found["boxes"])
            view = core.get_layer("scale1_zoom")(view, found["boxes"])


def test_the_backbone_runs_once():
    """Eight learners more cost and weigh eight projections, and nothing else."""
    sizes = {"scales": 1, **UNGATED}
    one = core_of(build_tiny(learners=1, embedding_dim=4, **sizes))
    nine = core_of(build_tiny(learners=9, embedding_dim=36, **sizes))
    channels = one.get_layer("scale1_upper").output[1].shape[-1]
    more = 8 * channels * 4
    assert parameters(nine) - parameters(one) == more
    difference = gmacs(nine, 40, 40, 3) - gmacs(one, 40, 40, 3)
    assert difference * 1e9 == pytest.approx(more, abs=0.5)
    assert not [layer for layer in nine.layers if "channel_attention" in layer.name]


def test_scales_are_found_again():
    core = core_of(ungated())
    assert scales_and_learners(core) == (2, 3)
    scale = scale_of(core, 2)
    assert scale.gates is None and scale.learners == 3
    pooled, _, last = scale.features(squares())
    assert pooled.shape == (3, 3, 64) and len(last) == 3
    np.testing.assert_array_equal(pooled[:, 0], pooled[:, 2])


@pytest.mark.parametrize(
    "scales, learners", [((0, 1), (1,)), ((1,), (0, 2)), ((0,), (2,)), ((1,), (1,))]
)
def test_fewer_learners(scales, learners):
    core = core_of(ungated(zoom_source="previous"))
    images = squares()
    whole = {name: value.numpy() for name, value in core(images).items()}
    parts = whole["parts"][:, scales][:, :, learners]
    some = part_core(core, scales, learners, explain=True)(images)
    np.testing.assert_allclose(some["parts"], parts, atol=1e-6)
    for name in ("boxes", "saliency", "fallback"):
        np.testing.assert_allclose(some[name], whole[name][:, scales], atol=1e-6)
    served = part_core(core, scales, learners)
    joined = unit(parts.reshape(len(images), -1))
    np.testing.assert_allclose(served(images)["embedding"], joined, atol=1e-6)
    kernels = [
        weight
        for layer in served.layers
        if "projection" in layer.name
        for weight in layer.weights
    ]
    # Of the first scale learner 1 as well, or alone, where it shows where to look.
    assert len(kernels) <= sum(len({0, *learners}) for _ in range(scales[-1] + 1))
    assert len(core.get_layer("scale1_projection").kernels) == 3


def test_saved_and_loaded(tmp_path):
    embedder = ungated()
    embedder.save(tmp_path / "embedder.keras")
    loaded: Any = keras.saving.load_model(tmp_path / "embedder.keras")
    for found, wanted in zip(
        tf.nest.flatten(explainer(loaded)(squares())),
        tf.nest.flatten(explainer(embedder)(squares())),
        strict=True,
    ):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("decoupling", ["hinge", "adversary", "none"])
def test_they_train_and_differ(decoupling):
    embedder = ungated(embedding_dim=48)
    loss = LossConfig(decoupling=decoupling)
    trainer = build_trainer(embedder, loss, TrainConfig(learning_rate=1e-3))
    kernels = [k for p in trainer.projections for k in p.kernels]
    before = [k.numpy() for k in kernels]
    rows = sum(
        np.mean([unit_rows(k) for k in projection.kernels])
        for projection in trainer.projections
    )
    batch = tf.constant(squares(8)), tf.repeat(tf.range(4), 2)
    step = tf.function(trainer.train_step, autograph=False)
    first = {name: float(value) for name, value in step(batch).items()}
    assert first["unit_rows"] == pytest.approx(rows, rel=1e-5)
    step(batch)
    for kernel, old in zip(kernels, before, strict=True):
        assert np.abs(kernel.numpy() - old).max() > 1e-3
    parts = core_of(embedder)(squares(8))["parts"].numpy()
    cosines = np.einsum("bijd,bikd->bijk", parts, parts)
    assert np.abs(cosines[..., 0, 1:]).max() < 0.99
