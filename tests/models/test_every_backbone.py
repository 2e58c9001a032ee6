"""DeML on every backbone: a step of training, then away and back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.config import LossConfig, TrainConfig
from deml_tf.models.embedder import build_deml, core_of
from deml_tf.training.build import build_trainer

# Name, side of the images at which its final map has more than one position, and
# what else makes it small.
BACKBONES = [
    ("efficientnet_lite0", 64, {"width": 0.25}),
    ("mobilenet_v2", 64, {}),
    ("convnext_tiny", 64, {}),
    ("googlenet", 64, {"width": 0.25}),
    ("vit:tiny", 48, {}),
]
# They come by the same way as the two of Keras above.
MORE = [
    ("resnet50", 64, {}),
    ("inception_v3", 107, {}),
    ("efficientnet_b0", 64, {}),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "options", "scales"),
    [
        *((*backbone, 1) for backbone in BACKBONES),
        *(
            pytest.param(*backbone, 2, marks=pytest.mark.long)
            for backbone in BACKBONES + MORE
        ),
    ],
)
def test_trains_and_reloads(name, size, options, scales, tmp_path):
    keras.utils.set_random_seed(0)
    embedder = build_deml(
        backbone=name,
        weights="none",
        input_size=size,
        scales=scales,
        learners=2,
        embedding_dim=32,
        **options,
    )
    core = core_of(embedder)
    trainer = build_trainer(
        embedder, LossConfig(decoupling="hinge"), TrainConfig(learning_rate=1e-3)
    )
    random = np.random.default_rng(0)
    x = random.uniform(0, 255, (4, size, size, 3)).astype("float32")
    labels = np.array([0, 0, 1, 1], "int32")
    before = [v.numpy() for v in core.trainable_variables]
    # Not by `fit`, for tracing takes longer than a step.
    logs = trainer.train_step((tf.constant(x), tf.constant(labels)))
    assert logs.keys() >= {"loss", "metric_loss", "hinge_loss"}
    assert np.isfinite([float(value) for value in logs.values()]).all()

    moved = {
        variable.path: not np.array_equal(variable.numpy(), old)
        for variable, old in zip(core.trainable_variables, before, strict=True)
    }
    for scale in [f"scale{i}" for i in range(1, scales + 1)]:
        for part in ("lower", "upper"):
            own = {v.path for v in core.get_layer(f"{scale}_{part}").trainable_weights}
            assert own and own <= set(moved)
            still = [path for path in own if not moved[path]]
            assert len(still) < 0.05 * len(own), still
        for part in ("channel_attention", "projection"):
            own = core.get_layer(f"{scale}_{part}").trainable_weights
            assert own and all(moved[v.path] for v in own)

    embedder.save(tmp_path / "embedder.keras")
    loaded = keras.saving.load_model(tmp_path / "embedder.keras", safe_mode=True)
    np.testing.assert_array_equal(loaded(x), embedder(x))
    assert embedder(x).shape == (4, 32)
    assert np.isfinite(embedder(x)).all()
