import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from deml_tf.config import DataConfig
from deml_tf.data import images as image_files
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples
from deml_tf.errors import DataError
from deml_tf.kernels.normed_convolution import NormedConvolution
from deml_tf.layers.prepare import fit_square
from deml_tf.retrieval.embedding import embed, inference


def test_embed_keeps_order_and_partial_batches(painted):
    examples = read_examples(DataConfig("folder", str(painted)))[:11]
    images = keras.Input((None, None, 3))
    mean = keras.layers.GlobalAveragePooling2D()(images)
    model = keras.Model(images, {"mean": mean, "twice": 2 * mean})
    outputs = embed(
        inference(model)(), examples, resize_size=24, fit="squash", batch_size=4
    )
    for n, example in enumerate(examples):
        image = tf.io.decode_image(tf.io.read_file(example.path), channels=3)
        expected = fit_square(image, 24).numpy().mean((0, 1))
        np.testing.assert_allclose(outputs["mean"][n], expected, rtol=1e-4)
    np.testing.assert_allclose(outputs["twice"], 2 * outputs["mean"], rtol=1e-6)


def test_an_image_that_is_gone_meanwhile_is_named(painted):
    examples = read_examples(DataConfig("folder", str(painted)))[:3]
    Path(examples[1].path).unlink()
    with pytest.raises(DataError, match=re.escape(examples[1].path)):
        embed(lambda images: images, examples, resize_size=8, fit="squash")


@pytest.mark.parametrize(
    ("error", "looked_at"),
    [
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating"), 0),
        (tf.errors.InternalError(None, None, "a passing fault"), 4),
    ],
)
def test_a_failure_is_looked_for_in_its_batch_alone(
    error, looked_at, painted, monkeypatch
):
    """A look into all images of a large set would take hours."""
    examples = read_examples(DataConfig("folder", str(painted)))[:20]
    passed, looks = [], []

    def forward(pixels):
        passed.append(pixels)
        if len(passed) == 3:
            raise error
        return pixels

    stat = image_files.stat_image
    monkeypatch.setattr(
        image_files, "stat_image", lambda p: (looks.append(p), stat(p))[1]
    )
    with pytest.raises(type(error)):
        embed(forward, examples, resize_size=8, fit="squash", batch_size=4)
    assert looks == [e.path for e in examples[8:12][:looked_at]]


@pytest.mark.parametrize("fit", ["squash", "pad"])
def test_embed_gives_boxes_on_the_images_themselves(tmp_path, fit, capsys):
    """The middle quarter of the square is another part of each padded image."""
    shapes = [(40, 80), (80, 40), (60, 60)]
    examples = []
    for n, shape in enumerate(shapes):
        path = str(tmp_path / f"{n}.png")
        keras.utils.save_img(path, np.zeros((*shape, 3)), scale=False)
        examples.append(Example(path, "bird"))
    middle = np.float32([[0.25, 0.25, 0.75, 0.75]])

    def forward(images):
        return {"boxes": tf.tile(middle[None], [len(images), 1, 1])}

    how = {"resize_size": 16, "fit": fit, "batch_size": 2}
    found = embed(forward, examples, **how, progress="scoring")
    assert capsys.readouterr().out == "scoring: 3/3\n"  # images, not batches
    boxes = found["boxes"]
    expected = {
        "squash": [middle] * 3,
        "pad": [[[0, 0.25, 1, 0.75]], [[0.25, 0, 0.75, 1]], middle],
    }
    np.testing.assert_allclose(boxes, expected[fit], atol=1e-6)
    assert ("views" in found) == (fit == "pad")


def test_views_hold_their_share_of_the_padding(tmp_path):
    path = str(tmp_path / "wide.png")
    keras.utils.save_img(path, np.zeros((40, 80, 3)), scale=False)
    given = tf.constant([[[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 1.0, 1.0]]])
    examples = [Example(path, "bird")]
    found = embed(lambda _: {"boxes": given}, examples, resize_size=16, fit="pad")
    expected = [[[-0.5, 0, 1.5, 1], [0.5, 0.5, 1.5, 1]]]
    np.testing.assert_allclose(found["views"], expected, atol=1e-6)
    np.testing.assert_allclose(found["boxes"], np.clip(expected, 0, 1), atol=1e-6)


def test_each_pass_sees_the_weights_of_its_beginning():
    images = keras.Input((8, 8, 3))
    layer = NormedConvolution(4, 3)
    model = keras.Model(images, layer(images))
    begin = inference(model)
    x = np.random.default_rng(0).normal(0, 1, (2, 8, 8, 3)).astype("f4")
    forward, before = begin(), model(x)
    layer.norm.gamma.assign(1.5 * layer.norm.gamma)
    np.testing.assert_array_equal(forward(x), before)
    np.testing.assert_array_equal(begin()(x), model(x))
    assert np.abs(model(x) - before).max() > 0.01
