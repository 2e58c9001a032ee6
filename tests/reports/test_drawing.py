import numpy as np
import pytest

from deml_tf.reports.drawing import (
    MARK_COLOURS,
    SCALE_COLOURS,
    TRUTH_COLOUR,
    contact_sheet,
    crop,
    draw_boxes,
    overlay_saliency,
    scale_colour,
    thumbnail,
)

GREY = np.full((100, 200, 3), 128, np.uint8)


def where(image, colour):
    """Bounding box (y0, x0, y1, x1), last pixels included, of a colour."""
    rows, columns = np.nonzero((image == colour).all(-1))
    return rows.min(), columns.min(), rows.max(), columns.max()


def test_every_scale_has_its_box_in_its_colour():
    boxes = np.array([[0, 0, 1, 1], [0.2, 0.1, 0.8, 0.6], [0.4, 0.3, 0.6, 0.5]])
    drawn = draw_boxes(GREY, boxes)
    assert drawn.shape == GREY.shape and drawn.dtype == np.uint8
    assert (GREY == 128).all()  # the original is left alone
    expected = [(0, 0, 99, 199), (20, 20, 79, 119), (40, 60, 59, 99)]
    for scale, edges in enumerate(expected):
        assert where(drawn, SCALE_COLOURS[scale]) == edges
    assert (drawn[50, 80] == 128).all()  # inside all of them
    assert (drawn[10, 150] == 128).all()
    assert len(set(SCALE_COLOURS)) == len(SCALE_COLOURS)
    assert scale_colour(6) == SCALE_COLOURS[0]


def test_box_beyond_the_image_is_cut_off():
    drawn = draw_boxes(GREY, np.array([[-0.5, 0.5, 0.5, 1.5]]))
    assert where(drawn, SCALE_COLOURS[0]) == (0, 100, 49, 199)


@pytest.mark.parametrize(
    "box", [[np.nan, 0, 1, 1], [2, 2, 3, 3], [0.5, 0.5, 0.5, 0.5], [0.9, 0, 0.1, 1]]
)
def test_box_without_pixels_is_left_out(box):
    assert (draw_boxes(GREY, np.array([box])) == 128).all()


@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 5, 3), (300, 7, 3)])
def test_small_images_take_boxes(shape):
    image = np.zeros(shape, np.uint8)
    drawn = draw_boxes(image, np.array([[0, 0, 1, 1]]), np.array([0.1, 0, 0.9, 1]))
    assert drawn.shape == shape


def test_no_boxes():
    assert (draw_boxes(GREY, np.zeros((0, 4))) == 128).all()


def test_truth_is_dashed():
    drawn = draw_boxes(GREY, np.zeros((0, 4)), truth=np.array([0.2, 0.1, 0.8, 0.6]))
    assert where(drawn, TRUTH_COLOUR)[:2] == (20, 20)
    top = (drawn[20, 20:120] == 255).all(-1)
    assert 0.3 < top.mean() < 0.7
    assert (drawn[50, 70] == 128).all()


@pytest.mark.parametrize("peak", [(1, 2), (0, 6), (6, 3)])
def test_overlay_is_brightest_where_the_map_is(peak):
    saliency = np.full((7, 7), 0.01)
    saliency[peak] = 0.3
    image = overlay_saliency(np.full((70, 140, 3), 128, np.uint8), saliency)
    assert image.shape == (70, 140, 3) and image.dtype == np.uint8
    light = image.sum(-1).reshape(7, 10, 7, 20).mean((1, 3))
    assert np.unravel_index(light.argmax(), light.shape) == peak


def test_overlay_keeps_the_image_under_it():
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 20:] = 255
    light = overlay_saliency(image, np.eye(5)).sum(-1).astype(int)
    assert (light[:, 25:].mean() - light[:, :15].mean()) > 200


@pytest.mark.parametrize("value", [0.0, 1 / 49, np.nan, np.inf])
def test_constant_map_gives_an_even_image(value):
    image = overlay_saliency(GREY, np.full((7, 7), value))
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 1


def test_crop_takes_the_box():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:40, 60:120] = (10, 200, 30)
    cut = crop(image, np.array([0.2, 0.3, 0.4, 0.6]), 32)
    assert cut.shape == (32, 32, 3)
    assert (cut[1:-1, 1:-1] == (10, 200, 30)).all()  # the rim blends outwards
    assert cut[..., 1].min() > 100
    wider = crop(image, np.array([0.1, 0.15, 0.5, 0.75]), 32)
    green = (wider == (10, 200, 30)).all(-1)
    assert green[10:22, 10:22].all() and not green[[2, -3], :].any()


def test_crop_beyond_the_border_is_black():
    image = np.full((100, 100, 3), 255, np.uint8)
    cut = crop(image, np.array([-0.5, 0.0, 0.5, 1.0]), 40)
    assert (cut[:18] == 0).all() and (cut[22:] == 255).all()


@pytest.mark.parametrize("box", [[np.nan] * 4, [0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0]])
def test_crop_of_no_box_is_the_whole_image(box):
    image = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8)
    assert (crop(image, np.array(box), 64) == image).all()


def test_thumbnail_keeps_the_shape():
    assert thumbnail(GREY, 50).shape == (25, 50, 3)
    assert thumbnail(GREY, 500).shape == GREY.shape


def test_contact_sheet_frames_every_mark():
    rows = [
        [(GREY, "query"), (GREY, "hit"), (GREY, "miss")],
        [(np.full((50, 20, 3), 9, np.uint8), "query")],
    ]
    sheet = contact_sheet(rows, size=40)
    pitch = 40 + 2 * 4 + 6
    assert sheet.shape == (6 + 2 * pitch, 6 + 3 * pitch, 3)
    for column, mark in enumerate(("query", "hit", "miss")):
        x = 6 + column * pitch
        assert (sheet[6, x : x + 48] == MARK_COLOURS[mark]).all()
        assert (sheet[6 : 6 + 48, x + 47] == MARK_COLOURS[mark]).all()
        assert (sheet[6 + 24, x + 30] == 128).all()
    assert (sheet[6 + pitch :, 6 + pitch :] == 245).all()  # the ragged end
    assert (sheet[6 + pitch + 24, 6 + 24] == 9).all()


def test_marks_differ_without_colour():
    def sign(mark):
        sheet = contact_sheet([[(GREY, mark)]], size=60)
        return (sheet[10:20, 10:20] == 255).all(-1)

    cross, tick = sign("miss"), sign("hit")
    diagonal = np.eye(10, dtype=bool)[3:7, 3:7]
    assert cross[3:7, 3:7][diagonal | diagonal[::-1]].mean() > 0.7
    assert tick.any() and not tick[:4, :4].any()  # a tick starts at mid-height
    assert cross[:4, :4].any()
    assert not sign("query").any()


def test_empty_contact_sheet():
    assert contact_sheet([]).dtype == np.uint8


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 4), (1, 8, 8, 3)])
def test_wrong_shapes_are_named(shape):
    with pytest.raises(ValueError, match=str(shape[0])):
        thumbnail(np.zeros(shape, np.uint8), 4)


def test_float_images_are_rounded():
    assert (thumbnail(np.full((4, 4, 3), 127.6), 4) == 128).all()
