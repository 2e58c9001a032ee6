"""Searching against loops over all images."""

import numpy as np
import pytest

from deml_tf.errors import UsageError
from deml_tf.search.found import Found, find
from deml_tf.search.query import Query
from tests.search.made_index import (
    BOXES,
    HOSTILE,
    LABELS,
    THRESHOLD,
    drawn,
    embedding_of,
)


def naive(files, query, label=None, without=None):
    """Rows and cosines of all images, one after the other, nearest first."""
    found = []
    for row, path in enumerate(files):
        if row != without and label in (None, LABELS[row % len(LABELS)]):
            stored = embedding_of(path.read_bytes()).astype(np.float64)
            found.append((float(stored @ query.astype(np.float64)), row))
    return sorted(found, key=lambda pair: (-pair[0], pair[1]))


@pytest.mark.parametrize("label", [None, "green", HOSTILE])
@pytest.mark.parametrize("k", [1, 3, 200])
@pytest.mark.parametrize("without", [None, 1])
def test_nearest_images(reader, indexed, label, k, without):
    query = Query(embedding_of(drawn(1)), BOXES)
    found = find(reader, query, k, label=label, without=without)
    expected = naive(indexed[1], query.embedding, label, without)[:k]
    assert [hit.row for hit in found.hits] == [row for _, row in expected]
    np.testing.assert_allclose(
        [hit.cosine for hit in found.hits],
        [cosine for cosine, _ in expected],
        atol=1e-6,
    )
    for hit in found.hits:
        assert hit.path == str(indexed[1][hit.row])
        assert hit.label == LABELS[hit.row % len(LABELS)]
        np.testing.assert_array_equal(hit.boxes, BOXES)
    (best, _), *_ = naive(indexed[1], query.embedding, None, without)
    assert found.best == pytest.approx(best, abs=1e-6)  # of any label
    assert found.unknown == (best < THRESHOLD) == (without == 1)


def test_unknown_is_below_the_threshold_alone():
    assert Found((), 0.4999, 0.5).unknown
    assert not Found((), 0.5, 0.5).unknown
    assert not Found((), 0.1, None).unknown
    assert not Found((), None, 0.5).unknown
    assert Found((), 0.4, 0.5).verdict == (
        "unknown: the best cosine is 0.400, and below 0.500 no match is to be believed"
    )


def test_a_label_that_no_image_has(reader):
    query = Query(embedding_of(drawn(1)), BOXES)
    with pytest.raises(UsageError, match="label=blue: no image of index=.* has it"):
        find(reader, query, 3, label="blue")
