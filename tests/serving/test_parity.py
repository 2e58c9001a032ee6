from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deml_tf.errors import DataError
from deml_tf.serving.differences import (
    compare,
    largest_difference,
    parity_table,
    require,
)
from deml_tf.serving.expected import choose
from deml_tf.serving.parity import precision_difference
from deml_tf.serving.proof_images import drawn_images, proof_images
from deml_tf.serving.square_servable import SIGNATURE
from deml_tf.serving.trial import trial_of_encoded, trial_of_squares


def test_largest_difference():
    zeros = np.zeros((2, 3), np.float32)
    assert largest_difference(zeros, zeros) == 0
    moved = zeros.copy()
    moved[1, 2] = -0.25
    assert largest_difference(zeros, moved) == 0.25
    moved[0, 0] = np.nan
    for wrong in (moved, None, zeros[:1], zeros > 1, zeros[None]):
        assert largest_difference(zeros, wrong) == np.inf
    assert largest_difference(zeros > 1, zeros > 1) == 0
    assert largest_difference(zeros > 1, zeros < 1) == np.inf


def test_what_another_precision_costs():
    """Over the images that can be read."""
    trained, served = (
        SimpleNamespace(of_files=lambda encoded, rows=rows: rows)
        for rows in (
            [{"embedding": [1.0, 0.0]}, None, *[{"embedding": [0.0, 1.0]}] * 2],
            [{"embedding": [0.75, 0.5]}, None, *[{"embedding": [0.0, 1.0]}] * 2],
        )
    )
    models: Any = trained, served
    lost = precision_difference(*models, [b""] * 4, "bfloat16")
    assert lost == {"largest_difference": 0.5, "smallest_cosine": 0.75}


def test_another_precision_that_computes_something_else_is_refused():
    def model(*rows) -> Any:
        found = [{"embedding": [x, (1 - x * x) ** 0.5]} for x in rows]
        return SimpleNamespace(of_files=lambda encoded: found)

    exact, given = model(1, 1, 1), ([b""] * 3, "bfloat16")
    near = precision_difference(exact, model(1, 0.95, 0.5), *given)
    assert near["smallest_cosine"] == 0.5  # a box may jump
    with pytest.raises(DataError, match=r"precision=bfloat16 .* cosine 0.850"):
        precision_difference(exact, model(1, 0.85, 0.5), *given)


def test_names_the_worst():
    expected = {"embedding": np.zeros((3, 4)), "valid": np.ones(3, bool)}
    found = {**expected, "embedding": np.full((3, 4), 1e-6)}
    good = compare("python", "images", expected, found, 1e-5)
    require(good)
    found["embedding"][2, 1] = 0.5
    bad = compare("session", "explain", expected, found, 1e-5)
    sentence = (
        "nothing was published: signature explain, session loader, batch size 3, "
        r"output embedding by 0.5, up to 5e\+04 times what is allowed \(1 of 4"
    )
    with pytest.raises(DataError, match=sentence):
        require(good + bad)
    del found["valid"]
    with pytest.raises(DataError, match="output valid by inf"):
        require(compare("session", "explain", expected, found, 1.0))
    assert parity_table(good + bad).row_count == 2


def test_what_is_sensitive_may_differ_more():
    expected = {"parts": np.zeros((2, 2, 1, 3))}
    found = {"parts": expected["parts"].copy()}
    moved = {"parts": np.array([[0.0, 1e-3], [0.0, 5.0]])[:, :, None, None]}

    def share(image, scale, by):
        found["parts"][:] = 0
        found["parts"][image, scale, 0, 1] = by
        (difference,) = compare("python", "images", expected, found, 1e-5, moved)
        assert difference.largest == abs(by)
        assert difference.is_within == (difference.share < 1)
        return difference.share

    assert share(0, 0, -2e-5) == pytest.approx(2)  # the bound
    assert share(0, 1, -2e-5) == pytest.approx(0.02)  # as far as it moves
    assert share(1, 1, 0.005) == pytest.approx(0.5)  # never more than MOST


def test_sensitivity_is_how_far_a_moved_pixel_moves_the_outputs(tiny, trained):
    of = trained(tiny(scales=2, learners=1, region_rule="separation"), (0, 1), (0,))
    images = np.random.default_rng(0).uniform(0, 255, (3, 60, 70, 3)).astype("float32")
    moved, still = of.sensitivity(images), of.of_pixels(images)
    assert moved.keys() == still.keys() - {"fallback"}
    assert moved["parts"].shape == (3, 2, 1, 1) and moved["embedding"].shape == (3, 1)
    assert moved["boxes"].shape == (3, 2, 1) and not moved["boxes"][:, 0].any()
    for name, value in moved.items():
        assert np.isfinite(value).all() and value.max() < 1e-2, name
    signs = np.random.default_rng(2).choice((-1e-3, 1e-3), images.shape)
    gap = np.abs(of.of_pixels(images + signs)["parts"] - still["parts"])
    assert (gap <= moved["parts"] + 1e-6).all() and moved["parts"].min() > 0


def test_choose_joins_anew():
    random = np.random.default_rng(0)
    parts = random.normal(size=(4, 3, 2, 5))
    outputs = {
        "parts": parts,
        "embedding": parts,
        "boxes": random.normal(size=(4, 3, 4)),
    }
    found = choose(outputs, (0, 2), (1,))
    np.testing.assert_array_equal(found["boxes"], outputs["boxes"][:, [0, 2]])
    joined = np.concatenate([parts[:, 0, 1], parts[:, 2, 1]], axis=1)
    joined /= np.linalg.norm(joined, axis=1, keepdims=True)
    np.testing.assert_allclose(found["embedding"], joined)


def test_the_trial_has_good_and_broken_images(tiny, trained):
    images = proof_images(drawn_images(1))
    trial = trial_of_encoded(trained(tiny(scales=1, learners=1), (0,), (0,)), images)
    assert np.flatnonzero(~trial.valid).tolist() == [4, 9]
    upright, turned = (tf.io.decode_image(images[n], 3) for n in (2, 3))
    np.testing.assert_array_equal(upright, turned)  # but for the EXIF
    explained = trial.expected["explain"]
    gap = np.abs(explained["embedding"][2] - explained["embedding"][3]).max()
    assert gap > 1e-3, "a rotation must show"
    found = explained["embedding"][trial.valid]
    np.testing.assert_allclose(trial.scored, found, atol=1e-6)
    for values in (explained, trial.sensitivity["explain"]):
        for name, value in values.items():
            assert not value[~trial.valid].any(), name
    assert trial.expected["serving_default"].keys() == {"embedding", "boxes", "valid"}
    assert explained.keys() > {"embedding", "boxes", "valid", "parts", "saliency"}
    assert [len(batch) for batch in trial.batches] == [1] * 10 + [3, 32]
    assert trial.batches[-2] == [0, 4, 1]  # a broken one between good ones


def test_squares_leave_broken_images_out(tiny, trained):
    of = trained(tiny(scales=1, learners=1), (0,), (0,))
    trial = trial_of_squares(of, proof_images(drawn_images(2)))
    squares = trial.inputs[SIGNATURE]
    assert squares.shape == (8, 48, 48, 3) and squares.dtype == np.float32
    assert 0 <= squares.min() < squares.max() <= 255
    assert [len(batch) for batch in trial.batches] == [1] * 8 + [3, 32]
    with pytest.raises(DataError, match="can be read"):
        trial_of_squares(of, [b"no image"])
