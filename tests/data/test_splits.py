from dataclasses import replace

import pytest

from deml_tf.data.example import Example
from deml_tf.data.splits import (
    check_batches,
    large_classes,
    protocol,
    roles_without_pairs,
    zero_shot_split,
)
from deml_tf.errors import DataError, UsageError


def examples(**roles_of_classes):
    """Two examples of each class; its roles separated by commas, "" for none."""
    made = []
    for label, roles in roles_of_classes.items():
        given = [role or None for role in roles.split(",")]
        for i, role in enumerate(given * (3 - len(given))):
            made.append(Example(f"{label}/{i}.jpg", label, role))
    return made


def numbered(classes, images=2):
    labels = [f"{i:03d}" for i in range(classes)]
    return [Example(f"{c}/{i}.jpg", c) for i in range(images) for c in labels]


def labels(part):
    return sorted({example.label for example in part})


@pytest.mark.parametrize(("classes", "seen"), [(200, 100), (196, 98), (5, 2), (4, 2)])
def test_first_half_of_the_names_trains(classes, seen):
    split = zero_shot_split(numbered(classes)[::-1])
    names = [f"{i:03d}" for i in range(classes)]
    assert labels(split.train) == names[:seen]
    assert labels(split.test) == names[seen:]
    assert split.validation == ()


def test_order_within_a_role_is_kept():
    given = numbered(6, 3)[::-1]
    split = zero_shot_split(given)
    assert list(split.train) == [e for e in given if e.label in ("000", "001", "002")]


@pytest.mark.parametrize(
    ("share", "held_out"), [(0.1, 2), (0.01, 2), (0.125, 3), (0.5, 10), (0.0, 0)]
)
def test_validation_classes_are_seen_classes(share, held_out):
    given = numbered(40)
    split = zero_shot_split(given, share, seed=1)
    train, validation, test = map(labels, (split.train, split.validation, split.test))
    assert len(validation) == held_out
    assert sorted(train + validation) == [f"{i:03d}" for i in range(20)]
    assert test == labels(zero_shot_split(given).test)
    assert zero_shot_split(given, share, seed=1) == split


def test_validation_classes_depend_on_the_seed_and_not_on_others():
    given = numbered(40)
    chosen = [
        tuple(labels(zero_shot_split(given, 0.2, s).validation)) for s in range(9)
    ]
    assert len(set(chosen)) > 6
    # Every seen class has its turn.
    turns = [zero_shot_split(given, 0.2, seed).validation for seed in range(60)]
    assert len({e.label for turn in turns for e in turn}) == 20
    # The draw is part of the protocol: it must never change.
    assert chosen[0] == ("003", "012", "014", "017")


def test_listed_roles_win():
    given = examples(a="test", b="train", c="train", d="test", e="validation", f="")
    given = [replace(e, split=e.split or "validation") for e in given]
    split = zero_shot_split(given, validation_classes=0.5)
    assert labels(split.train) == ["b", "c"]
    assert labels(split.validation) == ["e", "f"]
    assert labels(split.test) == ["a", "d"]


def test_share_applies_to_listed_training_classes():
    roles = {f"t{i}": "train" for i in range(6)} | {"a": "test", "b": "test"}
    split = zero_shot_split(examples(**roles), validation_classes=0.3)
    assert len(labels(split.train)) == 4 and len(labels(split.validation)) == 2
    assert labels(split.test) == ["a", "b"]


def test_queries_have_a_gallery():
    given = examples(
        a="train", b="train", c="query,gallery", d="gallery,query", e="gallery"
    )
    split = zero_shot_split(given)
    assert labels(split.train) == ["a", "b"]
    assert [e.path for e in split.test] == ["c/0.jpg", "d/1.jpg"]
    assert [e.path for e in split.gallery] == ["c/1.jpg", "d/0.jpg", "e/0.jpg"] + [
        "e/1.jpg"
    ]
    counts = protocol(split)
    assert (counts["gallery_classes"], counts["gallery_images"]) == (3, 4)
    assert (counts["test_classes"], counts["test_images"]) == (2, 2)


def test_validation_beside_a_gallery():
    seen = {f"t{i}": "train" for i in range(6)}
    given = examples(**seen, a="query,gallery", b="query,gallery")
    split = zero_shot_split(given, validation_classes=0.3)
    assert len(labels(split.train)) == 4 and len(labels(split.validation)) == 2
    assert labels(split.test) == labels(split.gallery) == ["a", "b"]


def test_one_class_of_two_images_is_enough():
    given = [*numbered(2), Example("x0", "x"), Example("y0", "y"), Example("y1", "y")]
    assert len(zero_shot_split(given).test) == 3
    assert roles_without_pairs(zero_shot_split(given)) == []


def test_queries_are_found_in_the_gallery_alone():
    given = examples(a="train", b="train", c="query,gallery", d="query,gallery")
    split = zero_shot_split(given)  # one query of each class
    assert roles_without_pairs(split) == []
    twice = replace(split, test=split.test * 2, gallery=(Example("e", "e"),))
    assert roles_without_pairs(twice) == ["test"]
    assert roles_without_pairs(replace(split, test=())) == []  # nobody scores it


def test_what_is_only_scored_needs_no_other_roles():
    tested = zero_shot_split(examples(a="test,test", b="test,test"), needed=["test"])
    assert len(tested.test) == 4 and not tested.train
    asked = examples(c="query,gallery", d="query,gallery", e="train")
    asked = zero_shot_split(asked, 0.5, needed=["test"])
    assert (len(asked.test), len(asked.gallery)) == (2, 2)
    seen = zero_shot_split(examples(a="train,train", b="train,train"), needed=["train"])
    assert len(seen.train) == 4 and not seen.test
    with pytest.raises(DataError, match="1 class left to test on"):
        zero_shot_split(examples(a="test,test", b="train"), needed=["test"])
    alone = [Example(label, label, "test") for label in "ab"]
    with pytest.raises(DataError, match="each of the 2 test classes has one image"):
        zero_shot_split(alone, needed=["test"])


def test_protocol_counts():
    split = zero_shot_split(numbered(20, 3), 0.2)
    assert protocol(split) == {
        "train_classes": 8,
        "train_images": 24,
        "validation_classes": 2,
        "validation_images": 6,
        "test_classes": 10,
        "test_images": 30,
    }


@pytest.mark.parametrize(
    ("given", "share", "error", "message"),
    [
        (numbered(9), 1.0, UsageError, "validation_classes=1.0 is no share"),
        (numbered(9), -0.1, UsageError, "from 0 to below 1"),
        (numbered(3), 0.0, DataError, "1 class left to train on; retrieval needs two"),
        (numbered(1), 0.0, DataError, "0 classes left to train on;"),
        (numbered(6), 0.4, DataError, "1 class left to train on after validation_cl"),
        (numbered(4), 0.9, DataError, "0 classes left to train on after"),
        (
            examples(a="train", b="train", c="test"),
            0.0,
            DataError,
            "1 class left to test on;",
        ),
        (
            examples(a="train", b="train", c="test", d="test", e="validation"),
            0.0,
            DataError,
            "1 class left to validation on;",
        ),
        (
            [*numbered(2), Example("x", "x"), Example("y", "y")],
            0.0,
            DataError,
            "^each of the 2 test classes has one image alone, so no image has another",
        ),
        (
            [
                *examples(a="train", b="train", c="test", d="test"),
                *(Example(label, label, "validation") for label in "xyz"),
            ],
            0.0,
            DataError,
            "^each of the 3 validation classes has one image alone, so",
        ),
        (
            examples(a="train", b="", c="test"),
            0.0,
            DataError,
            r"b/0.jpg has no split .* \(2 of 6 rows lack it\)",
        ),
        (
            examples(a="train", b="train,test", c="test,train", d="test"),
            0.0,
            DataError,
            "puts b, c into train and test; zero-shot roles share no class",
        ),
        (
            examples(a="train", b="train", c="validation,test", d="test"),
            0.0,
            DataError,
            "puts c into validation and test",
        ),
        (
            examples(a="train", b="train", c="query,gallery", d="test"),
            0.0,
            DataError,
            "has the split test beside query or gallery; write test for images that",
        ),
        (
            examples(a="train", b="train", c="query", d="query"),
            0.0,
            DataError,
            "has the split query and no gallery; add the gallery rows, or write test",
        ),
        (
            examples(a="train", b="train", c="gallery", d="gallery"),
            0.0,
            DataError,
            "has the split gallery and no query; add the query rows, or write test",
        ),
        (
            examples(a="train", b="train", c="query", d="gallery", e="query"),
            0.0,
            DataError,
            r"no class of the queries \(c, e\) is in the gallery; give both images",
        ),
        (
            examples(a="train", b="train,gallery", c="query,gallery", d="query"),
            0.0,
            DataError,
            "puts b into train and gallery; zero-shot",
        ),
        (
            examples(a="train", b="train", c="query,gallery"),
            0.0,
            DataError,
            "1 class left to test on;",
        ),
        (
            examples(**{c: "train,test" for c in "abcdefg"}),
            0.0,
            DataError,
            "puts a, b, c, 4 more classes into",
        ),
    ],
)
def test_bad_splits(given, share, error, message):
    with pytest.raises(error, match=message):
        zero_shot_split(given, share)


@pytest.mark.parametrize(
    ("p", "k", "message"),
    [
        (6, 2, r"classes_per_batch=6 is more than the 5 classes trained on \(000, "),
        (6, 2, r"001, 002, 2 more classes\); give 5 or less"),
        (
            6,
            3,
            r"images_per_class=3 .* of a \(1\), b \(2\) and leaves 5 of the 6 "
            "classes of a batch; give 2 or less",
        ),
        (7, 3, "of a .* leaves 5 of the 7 .*; give classes_per_batch=5 or less"),
        (
            5,
            4,
            r"000 \(3\), 001 \(3\), 002 \(3\), 4 more classes and leaves 0 of the 5 "
            "classes of a batch; give 3 or less",
        ),
        (1, 2, "classes_per_batch=1 leaves no pairs"),
        (2, 1, "images_per_class=1 leaves no pairs"),
    ],
)
def test_batches_that_cannot_be_filled(p, k, message):
    given = numbered(5, 3)
    if k > 2:
        given += [Example("a", "a"), Example("b1", "b"), Example("b2", "b")]
    with pytest.raises(UsageError, match=message):
        check_batches(given, p, k)


def test_batches_that_can_be_filled():
    check_batches(numbered(5, 3), 5, 3)
    check_batches([*numbered(5, 3), Example("a", "a")], 5, 3)


def test_classes_of_one_image_alone():
    alone = [Example(name, name) for name in "abc"]
    with pytest.raises(UsageError, match="leaves 0 of the 2 .*; add images to them"):
        check_batches(alone, 2, 2)


def test_small_classes_are_left_out_and_order_is_kept():
    given = [Example("a", "a"), *numbered(2, 3), Example("b", "b"), Example("c", "b")]
    assert large_classes(given, 3) == tuple(numbered(2, 3))
    assert large_classes(given, 2) == tuple(given[1:])
    assert large_classes(given, 4) == ()


class Label(str):
    hashes = 0

    def __hash__(self):
        Label.hashes += 1
        return super().__hash__()


def test_a_split_by_image_is_refused_in_one_pass():
    made = examples(**{f"c{i}": "train,test" for i in range(100)})
    made = [replace(example, label=Label(example.label)) for example in made]
    Label.hashes = 0
    with pytest.raises(DataError, match="puts c0, .*into train and test"):
        zero_shot_split(made)
    assert Label.hashes < 20 * len(made)
