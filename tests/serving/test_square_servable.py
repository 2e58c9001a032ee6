import dataclasses

import numpy as np
import pytest
from PIL import Image

from deml_tf.layers.prepare import fit_square
from deml_tf.models.embedder import explainer
from deml_tf.serving.square_servable import SquareServable


@pytest.mark.parametrize(
    "fit, scales", [pytest.param("squash", 2, marks=pytest.mark.slow), ("pad", 1)]
)
def test_is_the_embedder_on_its_own_squares(fit, scales, tiny):
    embedder = tiny(scales=scales, learners=1, fit=fit)
    servable = SquareServable(embedder, tuple(range(scales)), (0,))
    images = np.random.default_rng(0).uniform(0, 255, (2, 60, 90, 3))
    squares = fit_square(images.astype("float32"), 48, fit)
    found = servable.signatures["images_float"](squares)
    expected = explainer(embedder)(squares)
    assert set(found) == {"embedding", "boxes"}
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], atol=1e-6)
    of_images = explainer(embedder)(images.astype("float32"))
    np.testing.assert_allclose(found["embedding"], of_images["embedding"], atol=1e-6)
    # 40 of 48 pixels are seen, so the first box is the crop.
    np.testing.assert_allclose(
        found["boxes"][:, 0], [[4 / 48, 4 / 48, 44 / 48, 44 / 48]] * 2
    )


def test_says_how_to_prepare(tiny):
    servable = SquareServable(tiny(scales=1, learners=1), (0,), (0,))
    squash = servable.describe_preprocessing()
    servable.geometry = dataclasses.replace(servable.geometry, fit="pad")
    pad = servable.describe_preprocessing()
    assert squash["resize_size"] == 48 and squash["crop_size"] == 40
    assert "48 x 48 pixels, whatever its shape" in squash["by_the_caller"][1]
    assert "black square of 48 x 48" in pad["by_the_caller"][1]


def test_what_is_said_of_pillow_is_true():
    small = np.random.default_rng(0).integers(0, 256, (9, 13, 3)).astype("uint8")
    image = Image.fromarray(small).resize((130, 90), Image.Resampling.BICUBIC)
    for side in (48, 200):
        ours = fit_square(np.array(image), side)
        theirs = image.resize((side, side), Image.Resampling.BILINEAR)
        assert np.abs(ours - np.array(theirs, "float32")).max() < 1.01
