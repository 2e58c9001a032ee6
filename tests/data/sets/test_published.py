import pytest

from deml_tf.data.example import Example
from deml_tf.data.sets.published import PUBLISHED, differences, ranks_of
from deml_tf.data.splits import Split


def role(classes, images, first=0):
    """So many examples of so many classes."""
    return tuple(Example("", f"{first + n % classes}") for n in range(images))


@pytest.mark.parametrize(
    ("dataset", "images"),
    [("cub200_2011", 11_788), ("cars196", 16_185), ("sop", 120_053)]
    + [("in_shop", 52_712)],
)
def test_roles_add_up_to_the_set(dataset, images):
    assert sum(count for _, count in PUBLISHED[dataset].counts.values()) == images


@pytest.mark.parametrize(
    ("dataset", "ranks"),
    [
        ("cub200_2011", (1, 2, 4, 8)),
        ("folder", (1, 2, 4, 8)),
        (None, (1, 2, 4, 8)),
        ("sop", (1, 10, 100, 1000)),
        ("tfds:stanford_online_products:1.0.0", (1, 10, 100, 1000)),
        ("in_shop", (1, 10, 20, 30)),
    ],
)
def test_ranks(dataset, ranks):
    assert ranks_of(dataset) == ranks


def test_held_out_classes_are_of_the_seen_half():
    split = Split(role(90, 5_000), role(10, 864, 90), role(100, 5_924, 100))
    assert differences("cub200_2011", split) == []
    assert differences("tfds:caltech_birds2011/any:0.1.0", split) == []
    assert differences("folder", split) == []


def test_differences_give_both_numbers():
    split = Split(role(3_997, 25_882), (), role(3_985, 14_218), role(3_984, 12_000))
    assert differences("in_shop", split) == [
        "--dataset=in_shop has 3,984 classes with 12,000 images to search in, and "
        "3,985 classes with 12,612 images are published"
    ]
    split = Split(role(100, 5_863), (), role(99, 5_924))
    assert [text.partition(",")[0] for text in differences("cub200_2011", split)] == [
        "--dataset=cub200_2011 has 100 classes with 5",
        "--dataset=cub200_2011 has 99 classes with 5",
    ]
