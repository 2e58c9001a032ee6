import os

import pytest
from PIL import Image

from deml_tf.config import DataConfig
from deml_tf.data.example import Example
from deml_tf.data.selection import read_examples
from deml_tf.data.splits import zero_shot_split
from deml_tf.errors import DataError

NAMES = ("099.Wren", "100.Tern", "101.Auk", "102.Gull")


def read(where):
    return read_examples(DataConfig("cub200_2011", str(where)))


@pytest.fixture
def birds(tmp_path):
    """Four classes of the 200, numbered as there, two images of 20 x 10 each."""
    files = {name: [] for name in ("classes", "images", "image_class_labels")}
    files["bounding_boxes"] = []
    for c, name in enumerate(NAMES):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        files["classes"].append(f"{c + 99} {name}")
        for n in range(2):
            image = 2 * c + n + 1
            Image.new("RGB", (20, 10)).save(folder / f"{name}_{n}.jpg")
            files["images"].append(f"{image} {name}/{name}_{n}.jpg")
            files["image_class_labels"].append(f"{image} {c + 99}")
            files["bounding_boxes"].append(f"{image} 5.0 1.0 {10.0 + n} 4.0")
    for name, lines in files.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def test_birds(birds):
    found = read(birds)
    assert len(found) == 8
    assert found[3] == Example(
        f"{birds}/images/100.Tern/100.Tern_1.jpg",
        "100.Tern",
        "train",
        (0.1, 0.25, 0.5, 0.8),
    )
    split = zero_shot_split(found)
    assert {e.label for e in split.train} == set(NAMES[:2])
    assert {e.label for e in split.test} == set(NAMES[2:])


def test_the_archives_folder_is_found_below(birds):
    os.mkdir(birds / "CUB_200_2011")
    for name in (n for n in os.listdir(birds) if n != "CUB_200_2011"):
        os.rename(birds / name, birds / "CUB_200_2011" / name)
    found = read(birds)
    assert found == read_examples(
        DataConfig("cub200_2011", str(birds / "CUB_200_2011"))
    )
    assert len(found) == 8


def test_classes_are_halved_by_number_and_not_by_what_is_left(birds):
    # Without the images of class 100 the border stays between 100 and 101.
    for name in ("images", "image_class_labels", "bounding_boxes"):
        path = birds / f"{name}.txt"
        lines = [x for x in path.read_text().splitlines() if x.split()[0] not in "34"]
        path.write_text("\n".join(lines))
    found = read(birds)
    roles = {example.label: example.split for example in found}
    assert roles == {"099.Wren": "train", "101.Auk": "test", "102.Gull": "test"}


def test_boxes_may_be_missing(birds):
    (birds / "bounding_boxes.txt").unlink()
    found = read(birds)
    assert len(found) == 8 and all(example.box is None for example in found)


def replace(name, old, new):
    def change(folder):
        path = folder / f"{name}.txt"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "images.txt").unlink(),
            "there is no images.txt in DIR or DIR/CUB_200_2011; give the "
            "data_dir=FOLDER that holds images.txt, image_class_labels.txt, "
            "classes.txt, bounding_boxes.txt and images/",
        ),
        (
            lambda folder: (folder / "classes.txt").unlink(),
            "there is no classes.txt in DIR beside images.txt; put it there from the "
            "data set's archive",
        ),
        (
            replace("image_class_labels", "3 100\n", "3 100 1\n4\n"),
            "DIR/image_class_labels.txt, line 3: 3 words for 2 columns (image_id "
            "class_id); correct the list (1 more lines are wrong)",
        ),
        (
            replace("images", "2 099", "two 099"),
            "DIR/images.txt, line 2: the image_id is two, no whole number of up to 18 "
            "digits; correct the list",
        ),
        (
            replace("classes", "99 099", f"{'9' * 5000} x\n99 099"),
            f"DIR/classes.txt, line 1: the class_id is {'9' * 40}, no whole number of "
            "up to 18 digits; correct the list",
        ),
        (
            replace("images", "2 099", "1 099"),
            "DIR/images.txt, line 2: image_id 1 is in line 1; correct the list",
        ),
        (
            replace("image_class_labels", "8 102", "9 102"),
            "DIR/image_class_labels.txt, line 8: image 9 is not in images.txt; correct "
            "the list",
        ),
        (
            replace("image_class_labels", "8 102", ""),
            "DIR/images.txt, line 8: image 8 has no class in image_class_labels.txt; "
            "correct the list",
        ),
        (
            replace("image_class_labels", "8 102", "8 103"),
            "DIR/image_class_labels.txt, line 8: class 103 is not in classes.txt; "
            "correct the list",
        ),
        (
            lambda folder: (folder / "images/100.Tern/100.Tern_1.jpg").unlink(),
            "DIR/images.txt, line 4: there is no file DIR/images/100.Tern/"
            "100.Tern_1.jpg; correct the list",
        ),
        (
            replace("bounding_boxes", "1 5.0 1.0 10.0", "1 5.0 1.0 wide"),
            "DIR/bounding_boxes.txt, line 1: x,y,w,h is 5.0,1.0,wide,4.0: not four "
            "numbers, nor all four empty; correct the list",
        ),
        (
            replace("bounding_boxes", "1 5.0 1.0", "1 25.0 1.0"),
            "DIR/bounding_boxes.txt, line 1: the box x,y,w,h = 25.0,1.0,10.0,4.0 holds "
            "nothing of the 20 x 10 pixels of DIR/images/099.Wren/099.Wren_0.jpg; "
            "correct the list",
        ),
        (
            lambda folder: (folder / "classes.txt").write_bytes(b"1 caf\xe9\n"),
            "DIR/classes.txt is no UTF-8 text (invalid continuation byte at byte 5); "
            "take the file from the data set's archive again",
        ),
    ],
)
def test_mistakes(change, message, birds):
    change(birds)
    with pytest.raises(DataError) as caught:
        read(birds)
    assert str(caught.value).replace(str(birds), "DIR") == message
