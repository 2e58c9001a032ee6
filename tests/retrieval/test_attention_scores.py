import numpy as np
import pytest

from deml_tf.retrieval.attention_scores import (
    intersection_over_union,
    score_attention,
)


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ((0, 0, 1, 1), (0, 0, 1, 1), 1.0),
        ((0, 0, 1, 1), (0.25, 0.25, 0.75, 0.75), 0.25),
        ((0, 0, 0.5, 1), (0.25, 0, 0.75, 1), 1 / 3),
        ((0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1), 0.0),
        ((0, 0, 0.2, 0.2), (0.5, 0.6, 1, 1), 0.0),
    ],
)
def test_overlap(a, b, expected):
    found = intersection_over_union(np.array([a]), np.array([b]))
    np.testing.assert_allclose(found, [expected], atol=1e-9)


def random_boxes(*shape, seed=3):
    corners = np.random.default_rng(seed).uniform(0, 1, (*shape, 2, 2))
    corners = np.sort(corners, axis=-2)
    return corners.reshape(*shape, 4)


def scored(boxes, listed=None, saliency=None):
    if saliency is None:
        saliency = np.ones((*boxes.shape[:2], 3, 4))
    fallback = np.zeros(boxes.shape[:2], bool)
    return score_attention(boxes, saliency, fallback, listed)


def test_sides_and_overlaps_are_those_of_a_loop():
    boxes, listed = random_boxes(7, 2), random_boxes(7, seed=4)
    found = scored(boxes, listed)
    for i in range(2):
        sides, wanted, centres = [], [], []
        for (top, left, bottom, right), truth in zip(boxes[:, i], listed, strict=True):
            h, w = bottom - top, right - left
            sides.append((h * w) ** 0.5)
            wanted.append(((truth[2] - truth[0]) * (truth[3] - truth[1])) ** 0.5)
            centred = [0.5 - h / 2, 0.5 - w / 2, 0.5 + h / 2, 0.5 + w / 2]
            centres.append(intersection_over_union(np.array(centred), truth))
        assert found["side"][i] == pytest.approx(np.mean(sides))
        assert found["side_deviation"][i] == pytest.approx(np.std(sides))
        assert found["iou_of_centre"][i] == pytest.approx(np.mean(centres))
        a, b = np.array(sides) - np.mean(sides), np.array(wanted) - np.mean(wanted)
        pearson = (a @ b) / ((a @ a) * (b @ b)) ** 0.5
        assert found["side_correlation"][i] == pytest.approx(pearson)


def test_sides_that_go_with_the_listed_ones():
    listed = random_boxes(6)
    low, high = listed[:, :2], listed[:, 2:]
    half = np.concatenate([low, (low + high) / 2], axis=1)  # half of each side
    whole = np.tile([0.0, 0.0, 1.0, 1.0], (6, 1))
    found = scored(np.stack([half, whole], axis=1), listed)
    assert found["side_correlation"] == [pytest.approx(1.0), None]
    assert found["side_deviation"][1] == 0 and found["side"][1] == 1


def test_a_central_box_is_as_good_as_itself_only():
    box = np.array([[[0.25, 0.25, 0.75, 0.75]], [[0.0, 0.0, 0.5, 0.5]]])
    found = scored(box, box[:, 0])
    assert found["iou"] == [1.0]
    assert found["iou_of_centre"] == [pytest.approx((1 + 1 / 7) / 2)]


def test_entropy_of_even_maps_points_and_halves():
    maps = np.zeros((1, 3, 4, 4))
    maps[:, 0] = 7.0
    maps[:, 1, 2, 1] = 0.1
    maps[:, 2, :2] = 1 / 8
    found = scored(random_boxes(1, 3), saliency=maps)
    np.testing.assert_allclose(found["entropy"], [1, 0, 0.75], atol=1e-12)


def test_what_needs_listed_boxes_is_none_without():
    found = scored(random_boxes(3, 2))
    names = ("iou", "iou_of_centre", "side_correlation")
    assert [found[name] for name in names] == [None] * 3
    assert np.shape(found["mean_box"]) == (2, 4) and found["fallback_share"] == 0
