import numpy as np
import pytest

from deml_tf.errors import DataError, UsageError
from deml_tf.serving import threshold
from deml_tf.serving.threshold import best_cosines, calibrate


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


def sample(classes=20, images=15, spread=0.5, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(classes, 1, 16))
    rows = centres + spread * random.normal(size=(classes, images, 16))
    labels = np.repeat([f"class {c}" for c in range(classes)], images)
    return unit(rows.reshape(-1, 16)), labels


@pytest.mark.parametrize("block", [1024, 7])
def test_best_cosines_against_a_loop(block, monkeypatch):
    monkeypatch.setattr(threshold, "_BLOCK", block)
    embeddings, labels = sample(5, 4)
    embeddings, labels = embeddings[:-3], labels[:-3]  # one class of one image
    codes = np.unique(labels, return_inverse=True)[1]
    others, own = best_cosines(embeddings, codes)
    for i, row in enumerate(embeddings):
        cosines = {True: [-np.inf], False: [-np.inf]}
        for k, other in enumerate(embeddings):
            if k != i:
                cosines[bool(codes[k] == codes[i])].append(float(row @ other))
        assert others[i] == pytest.approx(max(cosines[False]), abs=1e-6)
        assert own[i] == pytest.approx(max(cosines[True]), abs=1e-6)
    assert own[-1] == -np.inf


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1, 0.5])
def test_lets_the_share_pass_and_no_more(rate):
    embeddings, labels = sample()
    found = calibrate(embeddings, labels, rate)
    others, own = best_cosines(embeddings, np.unique(labels, return_inverse=True)[1])
    # No lower threshold would do; fewer may pass, since pairs of images tie.
    lower = np.nextafter(np.float32(found["cosine"]), np.float32(0))
    assert (others >= lower).sum() > int(rate * len(labels))
    assert found["measured_false_accept_rate"] <= rate
    assert found["true_accept_rate"] == (own >= found["cosine"]).mean()
    assert (found["images"], found["classes"]) == (300, 20)


def test_ties_are_refused():
    embeddings = unit(np.array([[1, 0], [1, 0], [1, 0], [1, 0]]))
    found = calibrate(embeddings, list("aabb"), 0.5)
    assert found["measured_false_accept_rate"] == 0
    assert found["true_accept_rate"] == 0


def test_easy_classes_are_all_accepted():
    embeddings, labels = sample(spread=0.01)
    assert calibrate(embeddings, labels, 0.01)["true_accept_rate"] == 1


def test_classes_of_one_image():
    embeddings, _ = sample(6, 1)
    assert calibrate(embeddings, range(6), 0.1)["true_accept_rate"] is None


def test_one_class_has_no_unknown():
    embeddings, labels = sample(1, 4)
    with pytest.raises(DataError, match="classes in labels is 1: give images of two"):
        calibrate(embeddings, labels, 0.1)


@pytest.mark.parametrize("rate", [0, 1, -0.1, float("nan")])
def test_no_share(rate):
    with pytest.raises(UsageError, match="^false_accept_rate"):
        calibrate(*sample(2, 2), rate)
