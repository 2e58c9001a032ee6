from dataclasses import replace

import numpy as np
import pytest

from deml_tf.data.example import Example
from deml_tf.data.layouts import (
    CORNERS,
    SIDES,
    Layout,
    clutter,
    draw_places,
    draw_side,
    empty,
    halve_box,
    put_side_by_side,
    shift,
    shift_box,
)
from deml_tf.errors import UsageError

BOX = (0.25, 0.5, 0.75, 0.75)


def image(h=8, w=12, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3)).astype("uint8")


def object_of(image, box):
    h, w = image.shape[:2]
    y, x = (
        slice(round(box[k] * s), round(box[k + 2] * s)) for k, s in ((0, h), (1, w))
    )
    return image[y, x]


@pytest.mark.parametrize(
    "side, box, whole",
    [
        ("up", (0.0, 0.5, 0.5, 0.75), True),
        ("down", (0.5, 0.5, 1.0, 0.75), True),
        ("left", (0.25, 0.25, 0.75, 0.5), True),
        ("right", (0.25, 0.75, 0.75, 1.0), True),
    ],
)
def test_shift_moves_the_object_and_its_box(side, box, whole):
    given = image()
    moved = shift(given, SIDES[side])
    assert moved.shape == given.shape and moved.dtype == np.uint8
    assert shift_box(BOX, SIDES[side]) == pytest.approx(box)
    np.testing.assert_array_equal(object_of(moved, box), object_of(given, BOX))


def test_shift_uncovers_the_mean_colour_of_the_border():
    given = np.full((8, 8, 3), 200, "uint8")
    given[0] = given[-1] = given[:, 0] = given[:, -1] = (10, 20, 30)
    moved = shift(given, SIDES["down"])
    np.testing.assert_array_equal(moved[:2], np.broadcast_to([10, 20, 30], (2, 8, 3)))
    np.testing.assert_array_equal(moved[2:], given[:6])


def test_boxes_are_clipped_and_their_middles_stay():
    assert shift_box((0.1, 0.0, 0.9, 0.4), SIDES["up"]) == pytest.approx(
        (0, 0, 0.65, 0.4)
    )
    random = np.random.default_rng(0)
    drawn = {draw_side((0.0, 0.4, 0.2, 0.6), random) for _ in range(50)}
    assert drawn == {"down", "left", "right"}
    assert {draw_side(None, random) for _ in range(50)} == {*SIDES}


@pytest.mark.parametrize("on_right", [False, True])
def test_two_whole_images_side_by_side(on_right):
    given, other = np.full((8, 12, 3), 50, "uint8"), np.full((20, 10, 3), 150, "uint8")
    found = put_side_by_side(given, other, on_right)
    assert found.shape == given.shape
    box = halve_box((0, 0, 1, 1), on_right)
    assert box == (0.25, 0.5 * on_right, 0.75, 0.5 * on_right + 0.5)
    assert np.all(object_of(found, box) == 50)
    others = np.argwhere((found == 150).all(axis=-1))
    assert len(others) == 8 * 4  # as high as the canvas
    assert np.all((others[:, 1] < 6) == on_right)
    assert halve_box(BOX, on_right)[1] == 0.25 + 0.5 * on_right


@pytest.mark.parametrize("seed", range(5))
def test_clutter_leaves_the_object_alone(seed):
    given, others = image(40, 40), [np.full((9, 7, 3), k, "uint8") for k in range(4)]
    given[...] = given // 2 + 100
    for box in (BOX, (0.0, 0.0, 1.0, 1.0), (0.1, 0.1, 0.9, 0.95)):
        places = draw_places(box, np.random.default_rng(seed))
        assert len(places) == 4
        found = clutter(given, others, places, box)
        np.testing.assert_array_equal(object_of(found, box), object_of(given, box))
    places = draw_places(BOX, np.random.default_rng(seed))
    found = clutter(given, others, places, BOX)
    for k in range(4):  # all of each patch is beside this box
        assert np.sum((found == k).all(axis=-1)) == 100
    assert np.sum((found != given).any(axis=-1)) == 400


def test_clutter_without_a_box_is_in_the_corners():
    given, others = image(8, 8) // 2 + 100, [image(8, 8, 1) // 4] * 4
    assert draw_places(None, np.random.default_rng(0)) == CORNERS
    found = clutter(given, others, CORNERS, None)
    changed = (found != given).any(axis=-1)
    expected = np.zeros((8, 8), bool)
    for y in (0, 6):
        for x in (0, 6):
            expected[y : y + 2, x : x + 2] = True
    np.testing.assert_array_equal(changed, expected)


def test_empty_keeps_the_colours_and_no_place():
    given = np.zeros((64, 64, 3), "uint8")
    given[16:32, 16:32] = (200, 100, 40)  # one of 4 x 4 cells
    places = set()
    for seed in range(8):
        found = empty(given, np.random.default_rng(seed))
        assert found.shape == given.shape
        np.testing.assert_allclose(found.mean((0, 1)), given.mean((0, 1)), atol=4)
        places.add(tuple(np.argwhere(found[..., 0] == found[..., 0].max())[0] // 16))
    assert len(places) > 3


EXAMPLES = [Example(f"{n}", f"class {n % 2}", box=BOX) for n in range(6)]


def read(example):
    return image(8, 12, seed=int(example.path))


@pytest.mark.parametrize("name", ["shifted", "cluttered", "several", "empty"])
def test_a_layout_is_a_function_of_seed_and_place(name):
    first, again, other = (Layout(name, EXAMPLES, read, seed) for seed in (0, 0, 1))
    assert first.examples == again.examples
    differ = 0
    for n in range(6):
        found = first(read(EXAMPLES[n]), n)
        assert found.shape == (8, 12, 3) and found.dtype == np.uint8
        np.testing.assert_array_equal(found, again(read(EXAMPLES[n]), n))
        differ += not np.array_equal(found, other(read(EXAMPLES[n]), n))
    assert differ
    if name == "empty":
        assert all(example.box is None for example in first.examples)
    if name in ("shifted", "several"):
        assert len({example.box for example in first.examples}) > 1


def test_the_box_is_where_the_layout_puts_the_object():
    layout = Layout("shifted", EXAMPLES, read)
    for n, example in enumerate(layout.examples):
        given = read(EXAMPLES[n])
        found = object_of(layout(given, n), example.box)
        np.testing.assert_array_equal(found, object_of(given, BOX))


def test_others_are_of_other_classes():
    asked = []
    layout = Layout(
        "cluttered", EXAMPLES, lambda e: (asked.append(e.label), read(e))[1]
    )
    layout(read(EXAMPLES[2]), 2)
    assert asked == ["class 1"] * 4
    with pytest.raises(UsageError, match="layout=several needs images of two classes"):
        Layout("several", EXAMPLES[::2], read)


class Label(str):
    comparisons = 0

    def __ne__(self, other):
        Label.comparisons += 1
        return super().__ne__(other)

    __hash__ = str.__hash__


def test_labels_are_not_compared_for_each_image():
    examples = [replace(e, label=Label(e.label)) for e in EXAMPLES]
    layout = Layout("several", examples, read)
    Label.comparisons = 0
    layout(read(examples[2]), 2)
    assert Label.comparisons == 0


def test_patches_stay_on_an_image_that_is_a_crop():
    whole, crop = (0.0, 0.0, 1.0, 1.0), (0.1, 0.1, 0.9, 0.9)
    cropped = [replace(e, box=whole, crop=crop) for e in EXAMPLES]
    given = read(EXAMPLES[0])
    found = Layout("cluttered", cropped, read)(given, 0)
    boxless = [replace(e, box=None) for e in EXAMPLES]
    assert np.any(found != given)
    np.testing.assert_array_equal(found, Layout("cluttered", boxless, read)(given, 0))
